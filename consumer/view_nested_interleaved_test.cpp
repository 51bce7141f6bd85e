// SPDX-License-Identifier: MIT
// Reading through a nested view while its ancestors change, and it is composed anew, between any
// two loads of the reader, word by word.
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
#include <vector>

#include "view_test_pages.h"

namespace {

using clockpage::testing::MakeSegment;
using clockpage::testing::TestChain;
using clockpage::testing::TestPage;
using clockpage::testing::TestRegion;

constexpr std::uint64_t kHost = std::uint64_t{1} << 40;  // it stands still
constexpr std::uint64_t kBegin = 1000;

// What the writers will do, in order: one word each. The counter jumps as an ancestor that has
// changed of itself is published, since no virtual CPU runs meanwhile.
struct Store {
  std::uint64_t* to;
  std::uint64_t value;
  std::uint64_t jump;
};
std::vector<Store> script;
std::size_t next_store;
unsigned loads, from, speed;
std::uint64_t guest;

void WriterRuns() {
  if (loads++ < from) return;
  for (unsigned i = 0; i < speed && next_store < script.size(); i++, next_store++) {
    const Store& store = script[next_store];
    *store.to = store.value;
    guest += store.jump;
  }
}
std::uint64_t GuestsCounter() {
  WriterRuns();
  return guest;
}

class NestedInterleavedTest : public testing::TestWithParam<unsigned> {
 protected:
  NestedInterleavedTest() {
    for (TestPage& page : region_->data) {
      auto s = MakeSegment(99, kBegin, kBegin, 2'000'000'000);
      page.Slot(99) = s;
      s.number = 100;
      s.lease_end = kHost * 2;
      s.tai_ns = s.tai_frac = 0;
      s.tai_period_frac = std::uint64_t{1} << 63;  // 1 ns per tick
      page.page.delta_shift = 1;
      s.monotonic_offset_ns = 0;
      page.Slot(100) = s;
      page.page.index = 100;
    }
  }
  // What publishing view i of `plan`, as it is composed there, stores in chain_.
  void Plan(TestChain& plan, unsigned i, std::uint64_t jump) {
    plan.own[i] += static_cast<std::int64_t>(jump);
    plan.Publish(i);
    clockpage_view_page& page = chain_->views[i].page;
    const auto n = plan.views[i].page.index;
    const auto* words = reinterpret_cast<const std::uint64_t*>(&plan.views[i].Newest());
    auto* to = reinterpret_cast<std::uint64_t*>(&page.slot[n % CLOCKPAGE_VIEW_SLOT_COUNT]);
    for (unsigned w = 0; w < 8; w++) script.push_back({to + w, words[w], 0});
    script.push_back({&page.index, n, jump});
  }
  // unfollowed: how many changes, the last ones, are not followed by what was composed from it.
  void Begin(unsigned changes, unsigned unfollowed, unsigned speed_, unsigned from_) {
    *chain_ = TestChain(GetParam());
    TestChain plan = *chain_;
    script.clear();
    next_store = 0;
    loads = 0;
    from = ~0u;  // not yet
    guest = kHost;
    for (unsigned change = 0; change < changes; change++) {
      const unsigned which = GetParam() - change % GetParam();
      Plan(plan, which, 1'000'007 + change * 1000);
      if (change + unfollowed >= changes) continue;
      for (unsigned below = which; below-- > 0;) Plan(plan, below, 0);
    }
    reader_ = chain_->Reader(*region_);
    loads = 0;
    speed = speed_;
    from = from_;
  }
  // Runs `read` once for every moment at which the writers may begin, at several speeds.
  template <typename Read>
  void AtEveryMoment(Read read) {
    for (const unsigned unfollowed : {0u, 1u, 12u})
      for (const bool anew : {true, false})  // by a reader of an earlier view: all is looked at
        for (const unsigned count : {1u, 2u, 5u, 12u})
          for (const unsigned pace : {1u, 2u, 5u, 9u, 18u, 36u, 100u})
            for (unsigned start = 0;; start++) {
              Begin(count, unfollowed, pace, start);
              if (anew) reader_.number--;
              read();
              if (loads < start) break;  // they began after the reading's end
            }
    EXPECT_GT(whole_, 100u);
    EXPECT_GT(disrupted_, 100u);
  }
  // A value is right whoever changed when: what the view said was true of this counter value.
  void Check(int error, const clockpage_view_time& time) {
    disrupted_ += error == CLOCKPAGE_E_DISRUPTED;
    if (error == CLOCKPAGE_E_BUSY || error == CLOCKPAGE_E_DISRUPTED) return;
    ASSERT_EQ(error, CLOCKPAGE_OK);
    whole_++;
    ASSERT_EQ(time.time.counter, kHost);
    ASSERT_EQ(time.time.ns, static_cast<std::int64_t>(kHost - kBegin));
  }

  std::unique_ptr<TestRegion> region_ = std::make_unique<TestRegion>();
  std::unique_ptr<TestChain> chain_ = std::make_unique<TestChain>(GetParam());
  clockpage_view_reader reader_{};
  unsigned whole_ = 0, disrupted_ = 0;
};
INSTANTIATE_TEST_SUITE_P(WithAncestors, NestedInterleavedTest, testing::Values(1u, 2u, 3u));

TEST_P(NestedInterleavedTest, NowNeverGivesATimeWithAWrongParent) {
  AtEveryMoment([&] {
    clockpage_view_time time{};
    const int error = clockpage_view_now_bounds(&reader_, CLOCKPAGE_MONOTONIC, &time);
    ASSERT_NO_FATAL_FAILURE(Check(error, time));
    ASSERT_LT(loads, 3000u);
  });
}

TEST_P(NestedInterleavedTest, NowWithoutBoundsDoesNotEither) {
  AtEveryMoment([&] {
    clockpage_view_time time{};
    const int error = clockpage_view_now_relaxed(&reader_, CLOCKPAGE_MONOTONIC, &time.time.ns);
    time.time.counter = kHost;
    ASSERT_NO_FATAL_FAILURE(Check(error, time));
  });
}

// The marker asked for at one moment, the counter captured at another, the time asked for at a
// third.
TEST_P(NestedInterleavedTest, ACapturedValueIsReadUnderItsOwnViewOrNotAtAll) {
  AtEveryMoment([&] {
    std::uint64_t marker = 0;
    clockpage_view_time time{};
    int error = clockpage_view_marker(&reader_, &marker);
    if (error == CLOCKPAGE_OK)
      error =
          clockpage_view_at_bounds(&reader_, CLOCKPAGE_MONOTONIC, GuestsCounter(), marker, &time);
    ASSERT_NO_FATAL_FAILURE(Check(error, time));
  });
}

}  // namespace
