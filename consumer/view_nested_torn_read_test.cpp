// SPDX-License-Identifier: MIT
// Reading through a nested view while a thread changes its parent, and composes it anew, as fast as
// it can.
#include <clockpage/view.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <iostream>
#include <memory>
#include <thread>

#include "view_test_pages.h"

namespace {

using clockpage::testing::MakeSegment;
using clockpage::testing::TestPage;
using clockpage::testing::TestRegion;
using clockpage::testing::TestView;

constexpr std::uint64_t kBegin = 1'000'000;
constexpr std::uint64_t kEndless = std::uint64_t{1} << 61;
constexpr auto kDuration = std::chrono::seconds(2);

void FillRegion(TestRegion& region) {
  for (TestPage& page : region.data) {
    auto s = MakeSegment(99, kBegin, kBegin, 2'000'000'000);
    page.Slot(99) = s;
    s.number = 100;
    s.lease_end = kBegin + kEndless;
    s.tai_ns = s.tai_frac = s.raw_ns = s.raw_frac = 0;
    s.tai_period_frac = s.raw_period_frac = std::uint64_t{1} << 63;
    page.page.delta_shift = 1;
    s.monotonic_offset_ns = 0;
    page.Slot(100) = s;
    page.page.index = 100;
  }
}

// The n-th CPU that this process may run on: side by side, or nothing is torn.
void RunOn(int n) {
  cpu_set_t allowed, one;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &allowed) || n-- != 0) continue;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
  }
}

// Publishes view `page`'s next slot: its marker is the parent's number that it was composed from.
void Publish(clockpage_view_page& page, std::uint64_t parent) {
  const std::uint64_t n = page.index + 1;
  clockpage_view_slot& slot = page.slot[n % CLOCKPAGE_VIEW_SLOT_COUNT];
  clockpage_fence_before_fill();
  CLOCKPAGE_STORE(slot.number, n);
  CLOCKPAGE_STORE(slot.counter_ratio, std::uint64_t{1});
  CLOCKPAGE_STORE(slot.parent_generation, parent);
  CLOCKPAGE_STORE(slot.disruption_marker, parent);
  clockpage_publish_index(&page.index, n - 1, n);
}

struct Tally {
  std::uint64_t reads = 0, values = 0, busy = 0, disrupted = 0, late = 0, other = 0, met = 0;
};

Tally ReadFor(const TestView& child, const TestView& parent, const TestRegion& region) {
  Tally tally;
  RunOn(0);
  const void* const ancestors[] = {&parent};
  clockpage_view_reader reader{};
  while (clockpage_view_reader_init_nested(&reader, &child, 4096, &region, sizeof region, ancestors,
                                           1) != CLOCKPAGE_OK) {
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto goes_on = [&] {
    const auto past = std::chrono::steady_clock::now() - begin;
    return past < kDuration || (tally.met < 1000 && past < 30 * kDuration);
  };
  while (goes_on()) {
    for (unsigned i = 0; i < 1000; i++) {
      clockpage_view_reader anew;
      if (i % 4 == 0 && clockpage_view_reader_init_nested(&anew, &child, 4096, &region,
                                                          sizeof region, ancestors, 1) == 0)
        reader = anew;
      const std::uint64_t before = clockpage_load_index(&parent.page.index);
      clockpage_view_time time{};
      const int error = clockpage_view_now_bounds(&reader, CLOCKPAGE_MONOTONIC, &time);
      tally.reads++;
      tally.values += error == CLOCKPAGE_OK;
      tally.busy += error == CLOCKPAGE_E_BUSY;
      tally.disrupted += error == CLOCKPAGE_E_DISRUPTED;
      tally.other +=
          error != CLOCKPAGE_OK && error != CLOCKPAGE_E_BUSY && error != CLOCKPAGE_E_DISRUPTED;
      // Read under a parent that had been replaced before the reading began.
      tally.late += error == CLOCKPAGE_OK && time.disruption_marker < before;
      tally.met += clockpage_load_index(&parent.page.index) != before;
    }
  }
  return tally;
}

TEST(TornNestedViewTest, AParentThatChangedIsSeenByTheVeryNextRead) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "needs two CPUs";
  static TestRegion region;
  FillRegion(region);
  auto child = std::make_unique<TestView>(0x1000), parent = std::make_unique<TestView>(0x2000);
  Publish(child->page, parent->page.index);
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    RunOn(1);
    while (!stop.load(std::memory_order_relaxed)) {
      Publish(parent->page, 0);
      const std::uint64_t n = parent->page.index;
      // Sometimes the child follows at once, sometimes only after a while.
      for (std::uint64_t i = 0; i < n % 512; i++) asm volatile("");
      Publish(child->page, n);
      for (std::uint64_t i = 0; i < n % 4096; i++) asm volatile("");
    }
  });
  Tally tally;
  std::thread([&] { tally = ReadFor(*child, *parent, region); }).join();
  stop = true;
  writer.join();
  std::cout << tally.reads << " reads, " << tally.values << " values, " << tally.busy << " busy, "
            << tally.disrupted << " disrupted, " << tally.met << " changed meanwhile, "
            << tally.late << " under an old parent\n";
  EXPECT_GT(tally.values, 1000u);
  EXPECT_GT(tally.disrupted, 1000u);
  EXPECT_GE(tally.met, 1000u);
  EXPECT_EQ(tally.late, 0u);
  EXPECT_EQ(tally.other, 0u);
}

}  // namespace
