// SPDX-License-Identifier: MIT
// The reader while a writer on another CPU publishes as fast as it can.
#include <clockpage/reader.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <iostream>
#include <thread>
#include <vector>

#include "reader_test_page.h"

namespace {

using clockpage::testing::MakeSegment;
using clockpage::testing::TestPage;

constexpr std::uint64_t kEndless = std::uint64_t{1} << 61;
constexpr std::uint64_t kBegin = 1'000;
constexpr auto kDuration = std::chrono::seconds(2);

// Every word of segment n is a function of n, so that a mixture of two shows in any reading: each
// line is constant at Value(n), with epoch, bound and offset of the same n.
std::uint64_t Value(std::uint64_t number) { return (number & 0xffffff) * 1'000'000; }

// Segment n lasts `length` ticks from n * length on; length 0: all contain every counter value.
void StoreSegment(clockpage_segment& slot, std::uint64_t n, std::uint64_t length) {
  CLOCKPAGE_STORE(slot.start, length ? n * length : kBegin);
  CLOCKPAGE_STORE(slot.lease_end, length ? (n + 1) * length : kBegin + kEndless);
  CLOCKPAGE_STORE(slot.number, n);
  CLOCKPAGE_STORE(slot.tai_ns, Value(n));
  CLOCKPAGE_STORE(slot.utc_bound_ns, Value(n) / 2);
  CLOCKPAGE_STORE(slot.epoch, n);
  CLOCKPAGE_STORE(slot.monotonic_offset_ns, static_cast<std::int64_t>(Value(n)));
  CLOCKPAGE_STORE(slot.utc_offset_ns, static_cast<std::int64_t>(Value(n)));
  CLOCKPAGE_STORE(slot.raw_ns, Value(n));
}

// Publishes without a pause, through the protocol's fences.
class Publisher {
 public:
  Publisher(TestPage& page, std::uint64_t length) : page_(page.page), length_(length) {
    for (std::uint64_t n = 0; n < CLOCKPAGE_SEGMENT_COUNT; n++) {
      auto s = MakeSegment(n, kBegin, kBegin + kEndless, 2'000'000'000);
      s.tai_period_frac = s.raw_period_frac = s.tai_frac = s.raw_frac = 0;
      s.utc_bound_growth_frac = 0;
      page_.segment[n] = s;
      StoreSegment(page_.segment[n], n, length_);
    }
    page_.index = CLOCKPAGE_SEGMENT_COUNT - 1;
    thread_ = std::thread([this] { Run(); });
  }
  ~Publisher() {
    stop_ = true;
    thread_.join();
  }
  std::uint64_t published() const { return clockpage_load_index(&page_.index); }

 private:
  void Run() {
    for (std::uint64_t n = CLOCKPAGE_SEGMENT_COUNT; !stop_.load(std::memory_order_relaxed); n++) {
      clockpage_fence_before_fill();
      StoreSegment(page_.segment[n % CLOCKPAGE_SEGMENT_COUNT], n, length_);
      clockpage_publish_index(&page_.index, n - 1, n);
    }
  }
  clockpage_data_page& page_;
  const std::uint64_t length_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

struct Tally {
  std::uint64_t reads = 0, busy = 0, torn = 0, other = 0;
};

// Whether a reading is of one segment alone.
bool IsWhole(const clockpage_time& time, std::uint64_t before, std::uint64_t after) {
  const auto value = static_cast<std::int64_t>(Value(time.epoch));
  const std::int64_t half = value / 2 + 2;
  return time.ns == value && time.latest_ns == value + half && time.earliest_ns == value - half &&
         time.epoch + CLOCKPAGE_HISTORY >= before && time.epoch <= after;
}

// REALTIME and MONOTONIC are line minus offset of one segment: zero, unless torn.
Tally ReadFor(const clockpage_reader& reader) {
  Tally tally;
  const auto end = std::chrono::steady_clock::now() + kDuration;
  while (std::chrono::steady_clock::now() < end) {
    for (unsigned i = 0; i < 1000; i++) {
      clockpage_time time = {};
      std::int64_t realtime = 0, many = 0;
      std::size_t converted = 0;
      const std::uint64_t counter = kBegin + i;
      const std::uint64_t before = clockpage_load_index(&reader.page->index);
      const std::array errors = {
          clockpage_at_bounds(&reader, CLOCKPAGE_TAI, counter, &time),
          clockpage_now(&reader, i % 2 ? CLOCKPAGE_REALTIME : CLOCKPAGE_MONOTONIC, &realtime),
          clockpage_at_many(&reader, CLOCKPAGE_REALTIME, &counter, 1, &many, &converted)};
      const std::uint64_t after = clockpage_load_index(&reader.page->index);
      const std::array whole = {IsWhole(time, before, after), realtime == 0, many == 0};
      for (std::size_t k = 0; k < errors.size(); k++) {
        tally.reads++;
        tally.busy += errors[k] == CLOCKPAGE_E_BUSY;
        tally.other += errors[k] != CLOCKPAGE_OK && errors[k] != CLOCKPAGE_E_BUSY;
        tally.torn += errors[k] == CLOCKPAGE_OK && !whole[k];
      }
    }
  }
  return tally;
}

TEST(TornReadTest, NeverMixesTwoSegmentsHoweverFastTheWriterPublishes) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "needs two CPUs";
  TestPage page;
  const clockpage_reader reader = page.Reader();
  Publisher publisher(page, 0);
  const std::uint64_t first = publisher.published();
  std::vector<Tally> tallies(2);  // one competes with the writer for its CPU
  std::vector<std::thread> threads;
  threads.reserve(tallies.size());
  for (Tally& tally : tallies) threads.emplace_back([&] { tally = ReadFor(reader); });
  for (std::thread& thread : threads) thread.join();
  const std::uint64_t published = publisher.published() - first;
  for (const Tally& tally : tallies) {
    std::cout << tally.reads << " reads, " << tally.busy << " busy, " << tally.torn << " torn; "
              << published << " publications\n";
    EXPECT_GT(tally.reads, tally.busy);
    EXPECT_EQ(tally.torn, 0u);
    EXPECT_EQ(tally.other, 0u);
  }
  EXPECT_GT(published, 10'000u);
}

// The oldest slot a reader may use is the next but one to be refilled: here a missing re-check
// shows at once. A counter value determines its segment, so the value must be exactly that one's.
TEST(TornReadTest, NeverMixesTwoSegmentsAtTheFarEndOfTheHistory) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "needs two CPUs";
  constexpr std::uint64_t kLength = 100;
  TestPage page;
  const clockpage_reader reader = page.Reader();
  Publisher publisher(page, kLength);
  std::uint64_t reads = 0, values = 0, torn = 0, other = 0;
  const auto end = std::chrono::steady_clock::now() + kDuration;
  while (std::chrono::steady_clock::now() < end) {
    for (unsigned i = 0; i < 1000; i++, reads++) {
      const std::uint64_t number = publisher.published() - CLOCKPAGE_HISTORY + i % 8;
      const std::uint64_t counter = number * kLength + i % kLength;
      clockpage_time time = {};
      std::int64_t many = 0;
      std::size_t converted = 0;
      const bool single = i / 8 % 2;
      const int error =
          single ? clockpage_at_bounds(&reader, CLOCKPAGE_TAI, counter, &time)
                 : clockpage_at_many(&reader, CLOCKPAGE_TAI, &counter, 1, &many, &converted);
      if (error == CLOCKPAGE_OK) {
        values++;
        torn += single ? time.epoch != number || !IsWhole(time, number, number)
                       : many != static_cast<std::int64_t>(Value(number));
      } else {
        other += error != CLOCKPAGE_E_BUSY && error != CLOCKPAGE_E_OUT_OF_RANGE;
      }
    }
  }
  std::cout << reads << " reads, " << values << " values, " << torn << " torn\n";
  EXPECT_GT(values, 1000u);
  EXPECT_EQ(torn, 0u);
  EXPECT_EQ(other, 0u);
}

// Hammering only the index makes nearly every pass find it changed.
TEST(BusyTest, GivesUpWhenTheIndexChangesInEveryPass) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "needs two CPUs";
  TestPage page;
  for (clockpage_segment& s : page.page.segment)
    s = MakeSegment(0, kBegin, kBegin + 1, 2'000'000'000);
  const clockpage_reader reader = page.Reader();
  std::atomic<bool> stop = false;
  std::thread hammer([&] {
    for (std::uint64_t n = 0; !stop.load(std::memory_order_relaxed); n++)
      CLOCKPAGE_STORE(page.page.index, n);
  });
  std::uint64_t busy = 0, reads = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);  // mostly under 5
  while (busy == 0 && std::chrono::steady_clock::now() < end) {
    for (unsigned i = 0; i < 1000; i++, reads++) {
      std::int64_t ns = 42;
      const int error = clockpage_at(&reader, CLOCKPAGE_TAI, kBegin + 7, &ns);  // overdue: slowly
      busy += error == CLOCKPAGE_E_BUSY;
      if (error == CLOCKPAGE_E_BUSY) {
        EXPECT_EQ(ns, 42);
      }
    }
  }
  stop = true;
  hammer.join();
  std::cout << busy << " of " << reads << " busy\n";
  EXPECT_GT(busy, 0u);
}

}  // namespace
