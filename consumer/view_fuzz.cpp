// SPDX-License-Identifier: MIT
//
// Fuzz target: a view, its ancestors and their region while they are read.
//
// With writers that mean harm every single load may return anything, and any word of any file may
// change: the input decides, load by load. What is promised nevertheless (spec, section 8): no load
// outside the files, a bounded number of them, a known error code, nothing written with an error,
// earliest <= ns <= latest, no time of a captured value under another marker.
//
// With honest writers (half of the inputs) the input decides which view is published when, store by
// store between the loads, in front of which ancestor's change the guest's counter jumps, and which
// views are composed anew. Then a time is the right one, and an error has its cause.
//
// Input: four bytes of what to read, then one operation for each load (see load_word).
#include "fuzz_reader.hpp"

// In this order.
#include <clockpage/view.h>

#include <algorithm>
#include <cstddef>

#include "../tests/fuzz.hpp"
#include "view_test_pages.h"

namespace clockpage::fuzz {
namespace {

using clockpage::testing::MakeSegment;
using clockpage::testing::TestChain;
using clockpage::testing::TestPage;
using clockpage::testing::TestRegion;
using clockpage::testing::TestView;

constexpr std::int64_t kUntouched = 0x5a5a'5a5a'5a5a'5a5a;
constexpr std::uint64_t kHost = std::uint64_t{1} << 40;  // host's counter, for honest writers
constexpr std::uint64_t kBegin = 1000;
constexpr unsigned kViews = CLOCKPAGE_VIEW_MAX_ANCESTORS + 1;

// What is taken of a view anew: both magics and the header; a slot; of each ancestor a header and
// three words of a slot; the directory's entries and a data page's header; all indices twice.
constexpr unsigned kLoadsOfHeader = 2 * CLOCKPAGE_MAGIC_SIZE + 12;
constexpr unsigned kLoadsOfTake =
    kViews * (kLoadsOfHeader + 5) + 10 + CLOCKPAGE_DATA_PAGE_COUNT * 3 + CLOCKPAGE_MAGIC_SIZE + 20;
constexpr unsigned kLoadsOfPage = 75;  // as in reader_mutating_fuzz, and two for a ratio
// By what is remembered, then CLOCKPAGE_MAX_PASSES anew, in each of which each part has as many.
constexpr unsigned kMostLoads =
    (1 + CLOCKPAGE_MAX_PASSES) * (CLOCKPAGE_MAX_PASSES * (kLoadsOfTake + kLoadsOfPage) + kViews);

// All files behind each other, between inaccessible pages.
struct Files {
  TestRegion region;
  TestView views[kViews];
};

Files* files;
Input input(nullptr, 0);
bool honest;
unsigned loads, counter_reads;
unsigned takes;  // how often the view's index was loaded to go by
std::uint64_t guest;

// ---- honest writers

// The files as they will be when the stores under way are done; which of them is published.
TestChain* plan;
unsigned publishing, word;  // the view, and how many of its words have been stored
std::uint64_t jump;
unsigned published[kViews];

void plan_next(std::uint8_t operation) {
  publishing = operation % (plan->depth + 1);
  word = 0;
  // Of itself, with the guest stopped; or composed anew from what there is.
  jump = (operation & 0x10) != 0 ? std::uint64_t{operation} * 1'000'007 : 0;
  plan->own[publishing] += static_cast<std::int64_t>(jump);
  plan->Publish(publishing);
}

void store() {
  clockpage_view_page& page = files->views[publishing].page;
  clockpage_view_page& next = plan->views[publishing].page;
  const std::uint64_t number = next.index;
  constexpr unsigned words = 8;
  if (word < words) {
    auto* to = reinterpret_cast<std::uint64_t*>(&page.slot[number % CLOCKPAGE_VIEW_SLOT_COUNT]);
    const auto* from =
        reinterpret_cast<const std::uint64_t*>(&next.slot[number % CLOCKPAGE_VIEW_SLOT_COUNT]);
    to[word] = from[word];
  } else if (word == words) {
    page.index = number;
    guest += jump;
    published[publishing]++;
  }
  word++;
}

void writers_run(std::uint8_t operation) {
  if (operation < 0x80) return;
  for (unsigned i = 0; i < (operation & 0x1fU) * 2; i++) {
    if (word > 8) plan_next(operation & 0x40 ? input.take<std::uint8_t>() : operation);
    store();
  }
}

bool is_stale() {
  for (unsigned i = 0; i < plan->depth; i++)
    if (files->views[i].Newest().parent_generation != files->views[i + 1].page.index) return true;
  return false;
}

// What the reader may say, given whether the view was stale as it began.
void check_honest(int error, bool was_stale, std::int64_t ns) {
  unsigned all = 0;
  for (const unsigned count : published) all += count;
  bool explained = false;
  if (error == CLOCKPAGE_OK)
    explained = ns == std::int64_t{kHost - kBegin};
  else if (error == CLOCKPAGE_E_BUSY)
    explained = all >= CLOCKPAGE_MAX_PASSES - 1;
  else if (error == CLOCKPAGE_E_DISRUPTED)
    explained = was_stale || all != 0;
  CLOCKPAGE_FUZZ_CHECK(explained);
}

// ---- writers that mean harm

std::uint64_t do_harm(std::uint8_t operation, std::uint64_t value) {
  clockpage_view_page& view = files->views[operation >> 3 & 3U].page;
  auto* bytes = reinterpret_cast<std::byte*>(files);
  switch (operation & 7U) {
    case 1:  // anything
      return input.take<std::uint64_t>();
    case 2:  // a little off
      return value + static_cast<std::uint64_t>(std::int64_t{operation >> 3} - 16);
    case 3:  // of the view or of an ancestor, for the loads after this one
      view.index += operation >> 5;
      return value;
    case 4:  // the view is composed anew, whatever of
      view.index++;
      view.slot[view.index % CLOCKPAGE_VIEW_SLOT_COUNT].number = view.index;
      view.slot[view.index % CLOCKPAGE_VIEW_SLOT_COUNT].parent_generation =
          files->views[1].page.index;
      return value;
    case 5: {  // one word of a file, for good
      const std::size_t at = input.take<std::uint16_t>() % (sizeof *files - 7);
      value = input.take<std::uint64_t>();
      std::memcpy(bytes + at, &value, 8);
      return value;
    }
    case 6:
      return ~value << (operation >> 3 << 1);
    default:
      return value;
  }
}

void check_error(int error) {
  const bool of_reading = error <= 0 && error >= CLOCKPAGE_E_DISRUPTED &&
                          error != CLOCKPAGE_E_OVERDUE && error != CLOCKPAGE_E_ARGUMENT;
  const bool of_opening =
      error <= CLOCKPAGE_E_MAGIC && error >= CLOCKPAGE_E_VIEW && error != CLOCKPAGE_E_SYSTEM;
  CLOCKPAGE_FUZZ_CHECK(of_reading || of_opening);
  CLOCKPAGE_FUZZ_CHECK(loads <= kMostLoads);
  CLOCKPAGE_FUZZ_CHECK(takes <= CLOCKPAGE_MAX_PASSES * CLOCKPAGE_MAX_PASSES);
  CLOCKPAGE_FUZZ_CHECK(counter_reads <= 1 + CLOCKPAGE_MAX_PASSES);
}

void check_time(const clockpage_view_time& time, int clock) {
  CLOCKPAGE_FUZZ_CHECK(time.time.earliest_ns <= time.time.ns &&
                       time.time.ns <= time.time.latest_ns);
  CLOCKPAGE_FUZZ_CHECK(time.time.status <= CLOCKPAGE_STATUS_UNRELIABLE);
  CLOCKPAGE_FUZZ_CHECK((time.time.flags & CLOCKPAGE_TIME_AMBIGUOUS) == 0 ||
                       clock == CLOCKPAGE_REALTIME);
}

// ---- readings

void begin() {
  loads = counter_reads = takes = 0;
  std::fill(std::begin(published), std::end(published), 0U);
}

void read_once(const clockpage_view_reader& reader, unsigned what, int clock) {
  clockpage_view_time time{};
  std::int64_t ns = kUntouched;
  timespec ts{kUntouched, kUntouched};
  std::uint64_t marker = 0, captured = guest;
  begin();
  const bool was_stale = is_stale();
  int error = 0;
  switch (what) {
    case 0:
      error = clockpage_view_now(&reader, clock, &ns);
      break;
    case 1:
      error = clockpage_view_now_relaxed(&reader, clock, &ns);
      break;
    case 2:
      error = clockpage_view_now_bounds(&reader, clock, &time);
      ns = error != 0 ? kUntouched : time.time.ns;
      break;
    case 3:
      error = clockpage_view_gettime(&reader, clock, &ts);
      if (error == 0) ns = ts.tv_sec * 1'000'000'000 + ts.tv_nsec;
      CLOCKPAGE_FUZZ_CHECK(error == 0 || ts.tv_sec == kUntouched);
      break;
    default:
      error = clockpage_view_marker(&reader, &marker);
      if (error != 0) break;
      check_error(error);
      CLOCKPAGE_FUZZ_CHECK(takes <= CLOCKPAGE_MAX_PASSES);
      captured = read_counter();
      loads = counter_reads = takes = 0;
      if (what == 4) {
        error = clockpage_view_at(&reader, clock, captured, marker, &ns);
      } else {
        error = clockpage_view_at_bounds(&reader, clock, captured, marker, &time);
        ns = error != 0 ? kUntouched : time.time.ns;
      }
      CLOCKPAGE_FUZZ_CHECK(counter_reads == 0);
      if (what != 4 && error == 0) {
        CLOCKPAGE_FUZZ_CHECK(time.guest_counter == captured);
        CLOCKPAGE_FUZZ_CHECK(time.disruption_marker == marker);
      }
      break;
  }
  check_error(error);
  CLOCKPAGE_FUZZ_CHECK(error == 0 || ns == kUntouched);
  if (error == 0 && (what == 2 || what > 4)) check_time(time, clock);
  if (honest) check_honest(error, was_stale, ns);
}

// The region: one tick is one ns, MONOTONIC counts from kBegin; to be harmed it is more varied.
void fill_region(bool varied) {
  files->region = TestRegion();
  for (TestPage& page : files->region.data) {
    auto s = MakeSegment(99, kBegin, kBegin, 2'000'000'000);
    page.Slot(99) = s;
    s.number = 100;
    s.lease_end = kHost * 2;
    s.tai_ns = s.tai_frac = 0;
    s.tai_period_frac = std::uint64_t{1} << 63;
    page.page.delta_shift = 1;
    s.monotonic_offset_ns = 0;
    if (varied) {
      s.leap_start_ns = static_cast<std::int64_t>(kHost);
      s.leap_end_ns = s.leap_start_ns + 1000;
      s.leap_slope_frac = std::uint64_t{1} << 60;
    }
    page.Slot(100) = s;
    page.page.index = 100;
  }
}

// Ratios to be undone and other pages, where nothing has to come out right.
void vary(clockpage_view_slot& slot, std::uint8_t how) {
  constexpr std::uint64_t kRatios[] = {
      1, std::uint64_t{1} << 48, std::uint64_t{1} << 47, 0x1'8000'0001, 0x0123'4567'89ab, 1,
      0, ~std::uint64_t{0}};
  constexpr std::uint8_t kBits[] = {0, 48, 48, 32, 48, 48, 0, 32};
  slot.counter_ratio = kRatios[how % 8];
  slot.counter_frac_bits = kBits[how % 8];
  slot.smear = how >> 3 & 1U;
  slot.format = how >> 4 & 1U;
}

}  // namespace

// Past the input's end everything stands still.
std::uint64_t load_word(const void* address, std::size_t size, bool is_index) {
  const auto* at = static_cast<const std::byte*>(address);
  const auto* first = reinterpret_cast<const std::byte*>(files);
  CLOCKPAGE_FUZZ_CHECK(at >= first && at + size <= first + sizeof *files);
  CLOCKPAGE_FUZZ_CHECK(reinterpret_cast<std::uintptr_t>(at) % size == 0);
  loads++;
  if (is_index && address == &files->views[0].page.index) takes++;
  const auto operation = input.take<std::uint8_t>();
  if (honest) writers_run(operation);
  std::uint64_t value = 0;
  std::memcpy(&value, address, size);
  return honest ? value : do_harm(operation, value);
}

std::uint64_t read_counter() {
  counter_reads++;
  if (honest) writers_run(input.take<std::uint8_t>());
  return guest;
}

}  // namespace clockpage::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clockpage;
  using namespace clockpage::fuzz;
  static const GuardedBytes area(sizeof(Files));
  files = reinterpret_cast<Files*>(area.last(sizeof(Files)).data());
  Input bytes(data, size);
  const auto what = bytes.take<std::uint8_t>();
  const auto variety = bytes.take<std::uint8_t>();
  constexpr int clocks[] = {1, 1, 1, 0, 4, 7, 11, 2};
  const int clock = clocks[bytes.take<std::uint8_t>() % 8];
  const auto where = bytes.take<std::int8_t>();

  honest = (what & 0x80) != 0;
  fill_region(!honest);
  TestChain chain(what >> 3 & 3U);
  plan = &chain;
  guest = kHost;
  word = 9;  // nothing is under way
  jump = 0;
  if (!honest) {
    vary(chain.views[0].Newest(), variety);
    guest = clockpage_scale_counter(kHost, chain.views[0].Newest().counter_ratio,
                                    chain.views[0].Newest().counter_frac_bits) +
            static_cast<std::uint64_t>(where) * 1'000'000;
  }
  std::copy(std::begin(chain.views), std::end(chain.views), files->views);

  clockpage_view_reader reader{};
  const void* ancestors[] = {&files->views[1], &files->views[2], &files->views[3]};
  input = (what & 0x40) != 0 ? bytes : Input(nullptr, 0);  // whether it stands still for this
  begin();
  const int error =
      clockpage_view_reader_init_nested(&reader, &files->views[0], sizeof(TestView), &files->region,
                                        sizeof(TestRegion), ancestors, chain.depth);
  check_error(error);
  CLOCKPAGE_FUZZ_CHECK(takes <= CLOCKPAGE_MAX_PASSES);
  if (error != 0) return 0;
  if ((what & 0x40) == 0) input = bytes;
  if ((what & 0x20) != 0) reader.number--;  // of an earlier view
  const int asked = honest ? CLOCKPAGE_MONOTONIC : clock;
  for (unsigned i = 0; i < 3; i++) read_once(reader, (what + i) & 7U, asked);
  return 0;
}
