// SPDX-License-Identifier: MIT
// What the candidates of reader_ratios read: pages and views in memory.
#pragma once

#include <clockpage/timestamp.h>
#include <clockpage/view.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "reader_test_page.h"
#include "smear.hpp"
#include "view_test_pages.h"

namespace clockpage::ratios {

using clockpage::testing::kSecond;
using clockpage::testing::MakeSegment;
using clockpage::testing::NextSegment;
using clockpage::testing::TestChain;
using clockpage::testing::TestPage;
using clockpage::testing::TestRegion;
using clockpage::testing::TestView;

constexpr std::size_t kCaptured = 1000;

// As `current` (the newest segment has begun), and then as `previous` (it has not: the usual case):
// unsmeared; smeared with no leap second in sight, with one in half a year, and within its smear.
enum SmearPage : std::size_t { kPlain, kNoLeap, kPending, kInSmear, kUsual };

// How the guest's counter comes of the host's: only an offset; the scaled page's own ratio; one
// that no page is made for. Then: only an offset, of a view with one ancestor, and with two.
enum ViewMode : std::size_t { kOffset, kScaled, kAnyRatio, kNested1, kNested2, kViewModes };

// What the candidates read.
struct Environment {
  TestPage current_page, previous_page, shifted_page{1}, history_page;
  clockpage_reader current, previous, shifted, history;
  // By SmearPage: all are read by one and the same code, `selected` is which.
  std::array<TestPage, 8> smear_pages;
  std::array<clockpage_reader, 8> smear_readers;
  clockpage_reader selected;
  // The newest segment has not begun, the usual case. `view_plain`: the page without a view.
  TestRegion view_region;
  clockpage_reader view_plain;
  std::array<TestView, kNested1> views;
  TestChain chain1{1}, chain2{2};
  std::array<clockpage_view_reader, kViewModes> view_readers;  // by ViewMode
  clockpage_timestamp_source stamps;                           // of `view_plain`: the usual case
  std::array<clockpage_view_timestamp_source, 3> view_stamps;
  std::array<std::uint64_t, kCaptured> captured;
  std::array<std::int64_t, kCaptured> converted;
};

// Two segments: `past` began half an hour ago; the newest begins now or in the far future.
inline void FillPage(TestPage& page, std::uint64_t now, bool newest_has_begun, std::uint64_t hz) {
  const std::uint64_t n = 100, far = std::uint64_t{1} << 50, shift = page.page.delta_shift;
  const std::uint64_t middle = newest_has_begun ? now : now + far;
  auto past = MakeSegment(n - 1, now - 1800 * hz, middle, hz, static_cast<unsigned>(shift));
  page.page.index = n;
  page.Slot(n - 1) = past;
  page.Slot(n) = NextSegment(past, far, past.tai_period_frac, static_cast<unsigned>(shift));
}

// The noon to noon smear of an inserted leap second that begins `ahead_s` s from now.
inline void SetSmear(TestPage& page, std::int64_t ahead_s) {
  page.page.smear = CLOCKPAGE_SMEAR_NOON;
  page.page.smear_start_s = -43200;
  page.page.smear_length_s = 86400;
  const clockpage_segment& past = page.Slot(page.page.index - 1);
  const std::int64_t start = static_cast<std::int64_t>(past.tai_ns) + (1800 + ahead_s) * kSecond;
  const clockpage::UtcOffset leap = clockpage::offset_ramp(
      past.utc_offset_ns, start, start + 86401 * kSecond, past.utc_offset_ns + kSecond);
  for (std::uint64_t number : {page.page.index - 1, page.page.index}) {
    clockpage_segment& s = page.Slot(number);
    s.leap_start_ns = leap.start_ns;
    s.leap_end_ns = leap.end_ns;
    s.utc_offset_after_ns = leap.after_ns;
    s.leap_slope_frac = leap.slope_frac;
  }
}

inline void FillSmearPages(Environment& env, std::uint64_t now, std::uint64_t hz) {
  for (std::size_t i = 0; i < env.smear_pages.size(); i++) {
    TestPage& page = env.smear_pages[i];
    FillPage(page, now, i < kUsual, hz);
    if (i % kUsual == kNoLeap) page.page.smear = CLOCKPAGE_SMEAR_NOON;
    if (i % kUsual == kPending) SetSmear(page, 182 * 86400);
    if (i % kUsual == kInSmear) SetSmear(page, -43200);
    env.smear_readers[i] = page.Reader();
  }
}

// One counter serves all modes: the scaled page's segments, and the any-ratio view's offset, are
// such that its value now, as it is, lies in them. So what is measured is the reading alone; a
// guest whose counter hardware scales reads it at the cost of any other.
inline void FillViews(Environment& env, std::uint64_t now, std::uint64_t hz) {
  const std::uint64_t any_ratio = (std::uint64_t{1} << 48) / 10 * 9;
  for (TestPage& page : env.view_region.data) FillPage(page, now, false, hz);
  for (std::size_t mode = 0; mode < env.views.size(); mode++) {
    clockpage_view_slot& slot = env.views[mode].Newest();
    slot.counter_offset = 1'000'000;
    slot.monotonic_offset_ns = 12345 * kSecond;
    if (mode == kScaled) {
      slot.format = CLOCKPAGE_FORMAT_SCALED;
      slot.counter_ratio = env.view_region.Page(1, 0).page.scale_ratio;
      slot.counter_frac_bits = env.view_region.Page(1, 0).page.scale_frac_bits;
    } else if (mode == kAnyRatio) {
      slot.counter_ratio = any_ratio;
      slot.counter_frac_bits = 48;
      slot.counter_offset =
          static_cast<std::int64_t>(now - clockpage_scale_counter(now, any_ratio, 48));
    }
    env.view_readers[mode] = env.views[mode].Reader(env.view_region);
  }
  for (TestChain* chain : {&env.chain1, &env.chain2}) {
    chain->views[0].Newest().counter_offset = 1'000'000;
    chain->views[0].Newest().monotonic_offset_ns = 12345 * kSecond;
    env.view_readers[kNested1 + (chain == &env.chain2)] = chain->Reader(env.view_region);
  }
  env.view_plain = env.view_region.Page(0, 0).Reader();
  if (clockpage_timestamp_source_init(&env.stamps, &env.view_plain, &env.view_region.directory,
                                      CLOCKPAGE_TAI) != CLOCKPAGE_OK)
    std::abort();
  for (std::size_t mode = 0; mode < env.views.size(); mode++)
    if (clockpage_view_timestamp_source_init(&env.view_stamps[mode], &env.view_readers[mode],
                                             CLOCKPAGE_TAI) != CLOCKPAGE_OK)
      std::abort();
}

inline void FillEnvironment(Environment& env, std::uint64_t hz) {
  const std::uint64_t now = clockpage_counter_ordered();
  FillPage(env.current_page, now, true, hz);
  FillPage(env.previous_page, now, false, hz);
  FillPage(env.shifted_page, now, true, hz);
  FillSmearPages(env, now, hz);
  FillViews(env, now, hz);
  env.current = env.current_page.Reader();
  env.previous = env.previous_page.Reader();
  env.shifted = env.shifted_page.Reader();
  for (std::size_t i = 0; i < kCaptured; i++) env.captured[i] = now + 1 + i * 1000;
}

}  // namespace clockpage::ratios
