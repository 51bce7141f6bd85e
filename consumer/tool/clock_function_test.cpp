// SPDX-License-Identifier: MIT
//
// The checker's own evaluation against the reader's, and its rules for one function.
#include "clock_function.hpp"

#include <gtest/gtest.h>

#include <random>

#include "../reader_test_page.h"
#include "../test_seed.hpp"
#include "line_fit.hpp"

namespace clockpage::tool {
namespace {

using clockpage::testing::MakeSegment;
using clockpage::testing::NextSegment;
using clockpage::testing::PeriodFrac;
using clockpage::testing::TestPage;

constexpr uint64_t kHz = 2'000'000'000;

HistoryPage page_with(uint8_t shift = 0, uint8_t format = CLOCKPAGE_FORMAT_UNSCALED) {
  HistoryPage page = {};
  page.format = format;
  page.delta_shift = shift;
  page.scale_ratio = 1;
  page.counter_frequency_hz = kHz;
  return page;
}

// Any segment that a page may carry, leaps, unknown bounds and odd status numbers included.
clockpage_segment random_segment(std::mt19937_64& random, uint8_t shift) {
  const uint64_t start = random();
  clockpage_segment s =
      MakeSegment(random() >> 16, start, start + 1 + random() % 100'000'000, kHz, shift);
  s.tai_frac = random();
  s.raw_frac = random();
  s.tai_period_frac = random() % 8 ? PeriodFrac(kHz + random() % 1'000'000, shift) : random();
  if (random() % 3 == 0) {
    s.leap_start_ns = static_cast<int64_t>(s.tai_ns + random() % 100'000'000);
    s.leap_end_ns = s.leap_start_ns + static_cast<int64_t>(random() % 2 * (random() % 50'000'000));
    s.utc_offset_after_ns += random() % 2 ? 1'000'000'000 : -1'000'000'000;
    s.leap_slope_frac = random() >> (random() % 16);
  }
  if (random() % 4 == 0) s.utc_bound_ns = random() % 2 ? CLOCKPAGE_BOUND_UNKNOWN : random();
  if (random() % 4 == 0) s.local_bound_growth_frac = random();
  s.flags = random() % 4 ? CLOCKPAGE_SEGMENT_TAI_KNOWN : 0;
  if (random() % 4 == 0) s.flags |= CLOCKPAGE_SEGMENT_HOST_IN_SMEAR;
  s.status = static_cast<uint8_t>(random() % 7);
  s.reason = static_cast<uint8_t>(random() % 7);
  return s;
}

TEST(ValueOfTest, IsWhatTheReaderGivesBitForBit) {
  std::mt19937_64 random(seed_of_this_test());
  uint64_t compared = 0, ambiguous = 0;
  for (unsigned round = 0; round < 20'000; round++) {
    const auto shift = static_cast<uint8_t>(random() % 3 ? 0 : random() % 33);
    TestPage page(shift, kHz);
    const clockpage_segment s = random_segment(random, shift);
    page.Slot(s.number) = s;
    page.page.index = s.number;
    const clockpage_reader reader = page.Reader();
    const uint64_t past = random() % 16 ? random() % 200'000'000 : random() >> 1;
    const bool overdue = past >= s.lease_end - s.start;
    for (int clock : {CLOCKPAGE_REALTIME, CLOCKPAGE_MONOTONIC, CLOCKPAGE_MONOTONIC_RAW,
                      CLOCKPAGE_BOOTTIME, CLOCKPAGE_TAI}) {
      clockpage_time time = {};
      const int error = clockpage_at_bounds(&reader, clock, s.start + past, &time);
      const auto value =
          value_of(page_with(shift), s, static_cast<uint8_t>(clock), s.start + past, overdue);
      ASSERT_EQ(value.has_value(), error == CLOCKPAGE_OK)
          << "round " << round << " error " << error;
      if (error) continue;
      const FunctionValue read = {time.ns,    time.earliest_ns,    time.latest_ns,
                                  time.epoch, history_flags(time), time.status,
                                  time.reason};
      ASSERT_EQ(read, *value) << "round " << round << " clock " << clock << " delta " << past
                              << ": reader " << read.ns << ", function " << value->ns;
      compared++;
      ambiguous += (time.flags & CLOCKPAGE_TIME_AMBIGUOUS) != 0;
    }
  }
  EXPECT_GT(compared, 80'000u);
  EXPECT_GT(ambiguous, 100u);
}

// Ten segments; every third a bridge, the seventh a step of REALTIME by a second.
std::vector<HistorySegment> good_segments(uint8_t shift = 0) {
  std::vector<HistorySegment> out(10);
  clockpage_segment s = MakeSegment(100, 5'000'000, 7'000'000, kHz, shift);
  for (unsigned i = 0; i < out.size(); i++) {
    if (i > 0) {
      const bool bridge = i % 3 == 0;
      const uint64_t grown =
          clockpage_mul_frac((s.lease_end - s.start) << shift, s.utc_bound_growth_frac) + 1;
      s = NextSegment(s, 2'000'000, bridge ? s.tai_period_frac : PeriodFrac(kHz + i * 1000, shift),
                      shift);
      s.flags = CLOCKPAGE_SEGMENT_TAI_KNOWN | (bridge ? CLOCKPAGE_SEGMENT_BRIDGE : 0);
      s.utc_bound_ns += grown;
      s.local_bound_ns += grown;
    }
    if (i == 7) {
      s.flags |= CLOCKPAGE_SEGMENT_REALTIME_STEP | CLOCKPAGE_SEGMENT_TAI_STEP;
      s.tai_ns += 1'000'000'000;
      s.monotonic_offset_ns += 1'000'000'000;
      s.boottime_offset_ns += 1'000'000'000;
      s.epoch++;
    }
    out[i].segment = s;
  }
  return out;
}

std::string first_rule(std::vector<HistorySegment> segments, uint8_t shift = 0) {
  const auto findings = ClockFunction(page_with(shift), std::move(segments)).check();
  return findings.empty() ? "" : findings[0].rule;
}

TEST(OneFunctionTest, AcceptsContinuousLinesBridgesAndFlaggedSteps) {
  EXPECT_EQ(first_rule(good_segments()), "");
  EXPECT_EQ(first_rule(good_segments(5), 5), "");
}

TEST(OneFunctionTest, NamesTheRuleThatOneDamageBreaks) {
  const auto broken = [](unsigned i, auto damage) {
    auto segments = good_segments();
    damage(segments[i].segment);
    return first_rule(std::move(segments));
  };
  EXPECT_EQ(broken(4, [](auto& s) { s.tai_frac++; }), "base");
  EXPECT_EQ(broken(4, [](auto& s) { s.raw_frac--; }), "raw-base");
  EXPECT_EQ(broken(4, [](auto& s) { s.start--; }), "start");
  EXPECT_EQ(broken(4, [](auto& s) { s.number--; }), "number");
  EXPECT_EQ(broken(4, [](auto& s) { s.epoch++; }), "epoch");
  EXPECT_EQ(broken(4, [](auto& s) { s.monotonic_offset_ns++; }), "monotonic");
  EXPECT_EQ(broken(4, [](auto& s) { s.boottime_offset_ns--; }), "boottime");
  EXPECT_EQ(broken(4, [](auto& s) { s.utc_offset_ns--; }), "realtime");
  EXPECT_EQ(broken(4, [](auto& s) { s.lease_end = s.start; }), "lease");
  EXPECT_EQ(broken(6, [](auto& s) { s.tai_period_frac++; }), "bridge");
  EXPECT_EQ(broken(6, [](auto& s) { s.utc_bound_ns -= 2; }), "bridge");
  EXPECT_EQ(broken(7, [](auto& s) { s.epoch--; }), "epoch");
  EXPECT_EQ(broken(7, [](auto& s) { s.flags &= ~uint32_t{CLOCKPAGE_SEGMENT_TAI_STEP}; }), "base");
  EXPECT_EQ(broken(7, [](auto& s) { s.monotonic_offset_ns--; }), "monotonic");
}

TEST(OneFunctionTest, AGapMustBeRecordedAndHoldSomething) {
  auto segments = good_segments();
  segments.erase(segments.begin() + 4);
  EXPECT_EQ(first_rule(segments), "number");
  segments[4].after_gap = 1;
  EXPECT_EQ(first_rule(segments), "");
  segments = good_segments();
  segments[4].after_gap = 1;
  EXPECT_EQ(first_rule(segments), "number");
}

TEST(FormatsTest, MustCarryOneFunction) {
  const ClockFunction unscaled(page_with(), good_segments());
  const auto with = [&](auto damage) {
    auto segments = good_segments();
    damage(segments);
    return check_formats(unscaled, ClockFunction(page_with(0, CLOCKPAGE_FORMAT_SCALED), segments))
        .size();
  };
  EXPECT_EQ(with([](auto&) {}), 0u);
  EXPECT_EQ(with([](auto& s) { s[3].segment.tai_ns += 2; }), 0u);
  EXPECT_EQ(with([](auto& s) { s[3].segment.tai_ns += 3; }), 1u);
  EXPECT_EQ(with([](auto& s) { s[3].segment.lease_end++; }), 1u);
  EXPECT_EQ(with([](auto& s) { s[3].segment.epoch++; }), 1u);
  EXPECT_EQ(with([](auto& s) { s.erase(s.begin() + 3); }), 0u);
}

TEST(LookupTest, FindsSegmentsByCounterAndByNumber) {
  const ClockFunction f(page_with(), good_segments());
  size_t hint = 0;
  EXPECT_EQ(f.last_begun(4'999'999, hint), ClockFunction::kNone);
  EXPECT_EQ(f.last_begun(5'000'000, hint), 0u);
  EXPECT_EQ(f.last_begun(6'999'999, hint), 0u);
  EXPECT_EQ(f.last_begun(7'000'000, hint), 1u);
  EXPECT_EQ(f.last_begun(uint64_t{1} << 50, hint), 9u);
  EXPECT_EQ(f.last_begun(5'000'001, hint), 0u);
  EXPECT_EQ(f.by_number(99), ClockFunction::kNone);
  EXPECT_EQ(f.by_number(104), 4u);
  EXPECT_EQ(f.by_number(1000), 9u);
  EXPECT_EQ(f.next_steering(3), 4u);
  EXPECT_EQ(f.next_gap(0), 10u);
}

// ---- LineFit ---------------------------------------------------------------------------------

struct Range {
  int64_t x, y;  // the line must pass through [y, y + 1] at x
};

// By trying every line through two corners: slow, and plainly right.
bool some_line_fits(const std::vector<Range>& ranges) {
  if (ranges.size() < 2) return true;
  for (const Range& a : ranges)
    for (const Range& b : ranges)
      for (int corners = 0; a.x < b.x && corners < 4; corners++) {
        const int64_t ay = a.y + corners % 2, by = b.y + corners / 2;
        bool fits = true;
        for (const Range& r : ranges) {
          const int64_t scaled = ay * (b.x - a.x) + (by - ay) * (r.x - a.x);
          fits &= scaled >= r.y * (b.x - a.x) && scaled <= (r.y + 1) * (b.x - a.x);
        }
        if (fits) return true;
      }
  return false;
}

TEST(LineFitTest, FindsALineExactlyWhereThereIsOne) {
  std::mt19937_64 random(seed_of_this_test());
  unsigned fitted = 0, refused = 0;
  for (unsigned round = 0; round < 20'000; round++) {
    const int64_t slope = static_cast<int64_t>(random() % 200) - 50;
    std::vector<Range> ranges;
    LineFit fit;
    int64_t x = static_cast<int64_t>(random() % 1000);
    const auto n = 2 + random() % 9;
    for (unsigned i = 0; i < n; i++) {
      const auto noise = static_cast<int64_t>(random() % 8 ? 0 : random() % 3) - 1;
      ranges.push_back({x, slope * x / 64 + noise});
      const bool expected = some_line_fits(ranges);
      const bool got = fit.add(static_cast<uint64_t>(x), ranges.back().y);
      ASSERT_EQ(got, expected) << "round " << round << " range " << i;
      (got ? fitted : refused)++;
      if (!got) break;
      x += 1 + static_cast<int64_t>(random() % 100);
    }
  }
  EXPECT_GT(fitted, 20'000u);
  EXPECT_GT(refused, 5'000u);
}

TEST(LineFitTest, ExplainsALongRunOfRoundedReadingsAndNoBend) {
  const uint64_t period = PeriodFrac(2'300'000'000, 0);
  const uint64_t begin = uint64_t{1} << 60;
  LineFit fit;
  uint64_t ticks = 0;
  for (unsigned i = 0; i < 200'000; i++, ticks += 997)
    ASSERT_TRUE(fit.add(begin + ticks, static_cast<int64_t>(clockpage_mul_frac(ticks, period))));
  // 2 ns off after 87 ms
  EXPECT_FALSE(fit.add(begin + ticks, static_cast<int64_t>(clockpage_mul_frac(ticks, period)) + 2));
}

}  // namespace
}  // namespace clockpage::tool
