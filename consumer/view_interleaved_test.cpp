// SPDX-License-Identifier: MIT
// Reading through a view that changes between any two loads of the reader, word by word.
#include <clockpage/counter.h>

#include <cstdint>

namespace {
void WriterRuns();
template <typename T>
T HookedLoad(const T& field) {
  WriterRuns();
  return __atomic_load_n(&field, __ATOMIC_RELAXED);
}
std::uint64_t GuestsCounter();
}  // namespace

#undef CLOCKPAGE_LOAD
#define CLOCKPAGE_LOAD(field) HookedLoad(field)
#define clockpage_load_index(index) HookedLoad(*(index))
#define clockpage_counter_ordered() GuestsCounter()
#define clockpage_counter_ordered_by(how, index) \
  (static_cast<void>(how), static_cast<void>(index), GuestsCounter())
#define clockpage_counter_relaxed() GuestsCounter()

#include <clockpage/view.h>
#include <gtest/gtest.h>

#include <memory>

#include "view_test_pages.h"

namespace {

using clockpage::testing::MakeSegment;
using clockpage::testing::TestPage;
using clockpage::testing::TestRegion;
using clockpage::testing::TestView;

constexpr std::uint64_t kHost = std::uint64_t{1} << 40;  // it stands still
constexpr std::uint64_t kBegin = 1000;
constexpr std::uint64_t kFirst = 0x1000;

// Slot n, as a function of n alone: some have a ratio to undo, some the smeared page.
clockpage_view_slot SlotOf(std::uint64_t n) {
  clockpage_view_slot slot{};
  slot.number = n;
  const auto mode = static_cast<unsigned>(n % 3);
  slot.counter_ratio = mode == 0 ? 1 : std::uint64_t{mode} << 47;
  slot.counter_frac_bits = mode == 0 ? 0 : 48;
  slot.smear = n % 2;
  slot.counter_offset = static_cast<std::int64_t>((n & 0xffff) * 1'000'000'007);
  slot.monotonic_offset_ns = static_cast<std::int64_t>((n & 0xffff) * 1'000'003);
  slot.disruption_marker = n;
  return slot;
}
std::uint64_t GuestOf(const clockpage_view_slot& slot) {
  return clockpage_scale_counter(kHost, slot.counter_ratio, slot.counter_frac_bits) +
         static_cast<std::uint64_t>(slot.counter_offset);
}
std::int64_t MonotonicOf(const clockpage_view_slot& slot) {
  return static_cast<std::int64_t>(kHost - kBegin) + slot.monotonic_offset_ns;
}

// The writer: from the reader's `from`-th load on, `speed` of its stores before each load, until
// it has published `changes` slots. Then, and in between, the guest's counter is the newest's.
TestView* view;
unsigned loads, from, speed, changes, word;

void Step() {
  if (changes == 0) return;
  clockpage_view_page& page = view->page;
  const std::uint64_t next = page.index + 1;
  const clockpage_view_slot slot = SlotOf(next);
  auto* to = reinterpret_cast<std::uint64_t*>(&page.slot[next % CLOCKPAGE_VIEW_SLOT_COUNT]);
  if (word < 8) {
    to[word] = reinterpret_cast<const std::uint64_t*>(&slot)[word];
    word++;
  } else {
    page.index = next;
    word = 0;
    changes--;
  }
}
void WriterRuns() {
  if (loads++ < from) return;
  for (unsigned i = 0; i < speed; i++) Step();
}
// No virtual CPU runs while the view changes: the counter jumps as the index does.
std::uint64_t GuestsCounter() {
  WriterRuns();
  return GuestOf(SlotOf(view->page.index));
}

class InterleavedTest : public testing::Test {
 protected:
  InterleavedTest() {
    for (TestPage& page : region_->data) {
      auto s = MakeSegment(99, kBegin, kBegin, 2'000'000'000);
      page.Slot(99) = s;
      s.number = 100;
      s.lease_end = kHost * 2;
      s.tai_ns = s.tai_frac = 0;
      s.tai_period_frac = std::uint64_t{1} << 63;  // 1 ns per tick
      page.page.delta_shift = 1;
      s.monotonic_offset_ns = 0;
      s.epoch = &page == &region_->Page(0, 1);
      page.Slot(100) = s;
      page.page.index = 100;
    }
  }
  void Begin(unsigned changes_, unsigned speed_, unsigned from_) {
    view = view_.get();
    view->page.index = kFirst;
    for (std::uint64_t n = kFirst - 3; n != kFirst + 1; n++)
      view->page.slot[n % CLOCKPAGE_VIEW_SLOT_COUNT] = SlotOf(n);
    changes = word = 0;
    ASSERT_EQ(clockpage_view_reader_init(&reader_, &view->page, 4096, region_.get(), 32768), 0);
    loads = 0;
    changes = changes_;
    speed = speed_;
    from = from_;
  }
  // Runs `read` once for every moment at which the writer may begin, at several speeds.
  template <typename Read>
  void AtEveryMoment(Read read) {
    for (const bool anew : {true, false})  // by a reader of an earlier view: all is looked at
      for (const unsigned count : {1u, 2u, 4u, 9u, 40u})
        for (const unsigned pace : {1u, 2u, 5u, 9u, 13u, 36u, 100u})
          for (unsigned start = 0;; start++) {
            Begin(count, pace, start);
            if (anew) reader_.number--;
            read();
            if (loads < start) break;  // it began after the reading's end
          }
    EXPECT_GT(whole_, 100u);
  }
  void Check(int error, const clockpage_view_time& time) {
    readings_++;
    if (error == CLOCKPAGE_E_BUSY || error == CLOCKPAGE_E_DISRUPTED) return;
    ASSERT_EQ(error, CLOCKPAGE_OK);
    whole_++;
    const clockpage_view_slot slot = SlotOf(time.disruption_marker);
    ASSERT_GE(time.disruption_marker, kFirst);
    ASSERT_LE(time.disruption_marker, view->page.index);
    ASSERT_EQ(time.guest_counter, GuestOf(slot));
    ASSERT_EQ(time.time.ns, MonotonicOf(slot));
    ASSERT_EQ(time.time.epoch, slot.smear);
  }

  std::unique_ptr<TestRegion> region_ = std::make_unique<TestRegion>();
  std::unique_ptr<TestView> view_ = std::make_unique<TestView>();
  clockpage_view_reader reader_{};
  unsigned readings_ = 0, whole_ = 0;
};

TEST_F(InterleavedTest, NowNeverMixesTwoViewsNorACounterOfOneWithAnother) {
  AtEveryMoment([&] {
    clockpage_view_time time{};
    const int error = clockpage_view_now_bounds(&reader_, CLOCKPAGE_MONOTONIC, &time);
    ASSERT_NO_FATAL_FAILURE(Check(error, time));
    ASSERT_LT(loads, 3000u);
  });
}

TEST_F(InterleavedTest, ACapturedValueIsReadUnderItsOwnViewOrNotAtAll) {
  unsigned disrupted = 0;
  AtEveryMoment([&] {
    const clockpage_view_slot slot = SlotOf(kFirst);
    clockpage_view_time time{};
    const int error = clockpage_view_at_bounds(&reader_, CLOCKPAGE_MONOTONIC, GuestOf(slot),
                                               slot.disruption_marker, &time);
    disrupted += error == CLOCKPAGE_E_DISRUPTED;
    ASSERT_NO_FATAL_FAILURE(Check(error, time));
    ASSERT_TRUE(error != CLOCKPAGE_OK || time.disruption_marker == kFirst);
  });
  EXPECT_GT(disrupted, 100u);
}

TEST_F(InterleavedTest, AMarkerIsOneThatWasThere) {
  unsigned number = 0;
  for (unsigned start = 0; start < 10; start++)
    for (const unsigned pace : {1u, 5u, 9u, 36u, 100u}) {
      std::uint64_t marker = 0;
      Begin(9, pace, start);
      if (clockpage_view_marker(&reader_, &marker) == CLOCKPAGE_OK) {
        number++;
        EXPECT_GE(marker, kFirst);
        EXPECT_LE(marker, view->page.index);
      }
    }
  EXPECT_GT(number, 10u);
}

}  // namespace
