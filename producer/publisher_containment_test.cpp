// SPDX-License-Identifier: MIT
// The source's clock lies within the bounds of whatever readers are told.
#include <gtest/gtest.h>

#include <map>

#include "publisher.hpp"
#include "publisher_fixture.hpp"

namespace clockpage::producer {
namespace {

class ContainmentTest : public PublisherTest, public testing::WithParamInterface<std::uint64_t> {
 protected:
  // Everything that a reader could be told now: leased, and overdue if the writer dies.
  void ask_everything() {
    const std::uint64_t from = now();
    const std::uint64_t end = newest().lease_end;
    for (const std::size_t page : {std::size_t{0}, std::size_t{2}})
      for (const int clock : kClocks) {
        if (clock == CLOCKPAGE_TAI) continue;
        for (const std::uint64_t c : {from, from + (end - from) / 2, end - 1, end + kMs / 3,
                                      end + 3 * kMs, end + 17 * kMs, end + 90 * kMs}) {
          Told told{page, clock, c, {}};
          if (read(page, clock, c, told.time) == 0) asked_.emplace(c, told);
        }
      }
  }
  // Checks what was said of counter values that have come to pass.
  void judge() {
    while (!asked_.empty() && asked_.begin()->first <= now()) {
      const Told& told = asked_.begin()->second;
      const auto truth = *evaluate(sim_->oracle_at(told.host), told.clock, told.host);
      checked++;
      if ((told.time.flags & CLOCKPAGE_TIME_OVERDUE) != 0) overdue++;
      ASSERT_LE(told.time.earliest_ns, truth)
          << "clock " << told.clock << " page " << told.page << " ns " << told.time.ns;
      ASSERT_GE(told.time.latest_ns, truth)
          << "clock " << told.clock << " page " << told.page << " ns " << told.time.ns;
      asked_.erase(asked_.begin());
    }
  }

  std::multimap<std::uint64_t, Told> asked_;
  std::uint64_t checked = 0;
  std::uint64_t overdue = 0;
};

TEST_P(ContainmentTest, TheKernelsClockLiesWithinTheBoundsOfEveryRead) {
  SimOptions options;
  options.seed = GetParam();
  options.script.mean_interval_s = 0.03;
  options.script.max_frequency_ppb = 500'000;
  options.counter = {0, 50, kHz / 1'000'000 * 60, 60 * kMs, 0.02};
  start(options);
  const std::uint64_t end = now() + 60 * kHz;
  while (now() < end && !HasFatalFailure()) {
    ask_everything();
    ASSERT_NE(sim_->publisher().step(), StepResult::second_writer);
    judge();
  }
  EXPECT_GT(checked, 50'000U);
  EXPECT_GT(overdue, checked / 10);
  EXPECT_GT(told().bridges, 3U);
  EXPECT_EQ(told().realtime_steps, 0U);
}

INSTANTIATE_TEST_SUITE_P(Seed, ContainmentTest, testing::Values(1, 2, 3, 4));

}  // namespace
}  // namespace clockpage::producer
