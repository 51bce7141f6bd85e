// SPDX-License-Identifier: MIT
// Reading through a view while a thread changes it as fast as it can.
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
constexpr std::uint64_t kGuest = std::uint64_t{1} << 40;
constexpr auto kDuration = std::chrono::seconds(2);

// Everything in slot n is a function of n (and so is which page it chooses, and whether a ratio
// has to be undone), and the offsets cancel: MONOTONIC at the guest's counter value kGuest is
// kGuest - kBegin whatever n is, unless two are mixed.
void StoreSlot(clockpage_view_slot& slot, std::uint64_t n, bool change_marker) {
  const std::uint64_t shift = (n & 0xffffff) * 1000;
  const bool half = n % 3 == 1;  // the guest's counter ticks at half the host's rate
  CLOCKPAGE_STORE(slot.number, n);
  CLOCKPAGE_STORE(slot.counter_ratio, half ? std::uint64_t{1} << 47 : std::uint64_t{1});
  CLOCKPAGE_STORE(slot.counter_frac_bits, static_cast<std::uint8_t>(half ? 48 : 0));
  CLOCKPAGE_STORE(slot.smear, static_cast<std::uint8_t>(n % 2));
  // Host's counter: kGuest - shift, or twice that.
  CLOCKPAGE_STORE(slot.counter_offset, static_cast<std::int64_t>(shift));
  CLOCKPAGE_STORE(slot.monotonic_offset_ns,
                  static_cast<std::int64_t>(half ? 2 * shift - kGuest : shift));
  CLOCKPAGE_STORE(slot.disruption_marker, change_marker ? n : 7);
}

// Both unscaled pages: TAI and MONOTONIC count the host's counter from kBegin in ns; the smeared
// page's epoch is 1.
void FillRegion(TestRegion& region) {
  for (TestPage& page : region.data) {
    auto s = MakeSegment(99, kBegin, kBegin, 2'000'000'000);
    page.Slot(99) = s;
    s.number = 100;
    s.lease_end = kBegin + kEndless;
    s.tai_ns = s.tai_frac = s.raw_ns = s.raw_frac = 0;
    // One tick is 1 ns: no 64-bit fraction can say 1, so half of that and k = 1.
    s.tai_period_frac = s.raw_period_frac = std::uint64_t{1} << 63;
    page.page.delta_shift = 1;
    s.monotonic_offset_ns = 0;
    s.epoch = &page == &region.Page(0, 1);
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

class Changer {
 public:
  Changer(clockpage_view_page& page, bool change_marker) : page_(page), marker_(change_marker) {
    for (std::uint64_t n = page.index - 3; n != page.index + 1; n++)
      StoreSlot(page.slot[n % CLOCKPAGE_VIEW_SLOT_COUNT], n, marker_);
  }
  void Start() {
    thread_ = std::thread([this] {
      RunOn(1);
      for (std::uint64_t n = page_.index + 1; !stop_.load(std::memory_order_relaxed); n++) {
        clockpage_fence_before_fill();
        StoreSlot(page_.slot[n % CLOCKPAGE_VIEW_SLOT_COUNT], n, marker_);
        clockpage_publish_index(&page_.index, n - 1, n);
        // Bursts of more than a round of the ring; a breath after each, or all were BUSY.
        for (std::uint64_t i = 0; n % 8 == 0 && i < n % 4096; i++) asm volatile("");
      }
    });
  }
  ~Changer() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] std::uint64_t index() const { return clockpage_load_index(&page_.index); }

 private:
  clockpage_view_page& page_;
  const bool marker_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

struct Tally {
  std::uint64_t reads = 0, values = 0, busy = 0, disrupted = 0, torn = 0, other = 0, met = 0;
  void Add(int error, bool whole) {
    reads++;
    values += error == CLOCKPAGE_OK;
    busy += error == CLOCKPAGE_E_BUSY;
    disrupted += error == CLOCKPAGE_E_DISRUPTED;
    torn += error == CLOCKPAGE_OK && !whole;
    other += error != CLOCKPAGE_OK && error != CLOCKPAGE_E_BUSY && error != CLOCKPAGE_E_DISRUPTED;
  }
};

Tally ReadFor(clockpage_view_reader reader, const TestView& view, const TestRegion& region,
              const Changer& changer, bool change_marker) {
  Tally tally;
  RunOn(0);
  // Until the two have really run side by side, which they may not for long on a loaded machine.
  const auto begin = std::chrono::steady_clock::now();
  const auto goes_on = [&] {
    const auto past = std::chrono::steady_clock::now() - begin;
    return past < kDuration || (tally.met < 1000 && past < 30 * kDuration);
  };
  while (goes_on()) {
    for (unsigned i = 0; i < 1000; i++) {
      // The first pass, which uses what the reader remembers, as often as the others.
      clockpage_view_reader anew;
      if (i % 4 == 0) {
        const int error =
            clockpage_view_reader_init(&anew, &view.page, 4096, &region, sizeof region);
        if (error == CLOCKPAGE_OK)
          reader = anew;
        else
          tally.Add(error, false);
      }
      std::uint64_t marker = 0;
      if (clockpage_view_marker(&reader, &marker) != CLOCKPAGE_OK) continue;
      const std::uint64_t before = changer.index();
      clockpage_view_time time{};
      std::int64_t ns = 0;
      int error = clockpage_view_at(&reader, CLOCKPAGE_MONOTONIC, kGuest, marker, &ns);
      tally.Add(error, ns == static_cast<std::int64_t>(kGuest - kBegin));
      error = clockpage_view_at_bounds(&reader, CLOCKPAGE_MONOTONIC, kGuest, marker, &time);
      bool whole = time.time.ns == static_cast<std::int64_t>(kGuest - kBegin);
      if (change_marker) {  // it names the slot
        const std::uint64_t n = time.disruption_marker;
        const std::uint64_t unscaled = kGuest - (n & 0xffffff) * 1000;
        whole = whole && n == marker && n <= before && time.time.epoch == n % 2 &&
                time.time.counter == (n % 3 == 1 ? 2 * unscaled : unscaled);
      }
      tally.Add(error, whole);
      tally.met += changer.index() != before;
    }
  }
  return tally;
}

void NeverMixes(bool change_marker) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "needs two CPUs";
  static TestRegion region;
  FillRegion(region);
  auto view = std::make_unique<TestView>();
  Changer changer(view->page, change_marker);
  const std::uint64_t first = changer.index();
  const clockpage_view_reader reader = view->Reader(region);
  changer.Start();
  Tally tally;
  std::thread([&] { tally = ReadFor(reader, *view, region, changer, change_marker); }).join();
  std::cout << tally.reads << " reads, " << tally.values << " values, " << tally.busy << " busy, "
            << tally.disrupted << " disrupted, " << tally.met << " changed meanwhile, "
            << tally.torn << " torn; " << changer.index() - first << " changes\n";
  EXPECT_GT(tally.values, 1000u);
  EXPECT_EQ(tally.torn, 0u);
  EXPECT_EQ(tally.other, 0u);
  EXPECT_GE(tally.met, 1000u);
  EXPECT_EQ(tally.disrupted > 0, change_marker);
  EXPECT_GT(changer.index() - first, 10'000u);
}

TEST(TornViewTest, NeverMixesTwoViewsHoweverFastTheyChange) { NeverMixes(false); }
TEST(TornViewTest, NeverMixesTwoViewsWhoseMarkersDiffer) { NeverMixes(true); }

}  // namespace
