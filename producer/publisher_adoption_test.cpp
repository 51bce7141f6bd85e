// SPDX-License-Identifier: MIT
// Restarts, dead writers, second writers, and the revocation of the pages.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>

#include "publisher.hpp"
#include "publisher_fixture.hpp"

namespace clockpage::producer {
namespace {

TEST_F(PublisherBridgeTest, ARestartedPublisherGivesWhatOverdueReadersHadRead) {
  SimOptions options = quiet();
  options.script.mean_interval_s = 0.01;  // it never had the source's slope for long
  start(options);
  event(SimEvent::Kind::tai_offset, 37);
  run_for_ns(kSecondNs);
  const clockpage_diagnostics before = told();
  const std::uint64_t died = now();
  sim_->counter().wait_until(died + 5 * kHz);
  listen(now());
  sim_->restart();
  EXPECT_EQ(told().adoptions, before.adoptions + 1);
  EXPECT_EQ(told().producer_pid, static_cast<std::uint64_t>(getpid()));
  ASSERT_EQ(sim_->publisher().step(), StepResult::bridged);
  expect_told_again();
  for (int i = 0; i < 10; i++) ASSERT_NE(sim_->publisher().step(), StepResult::second_writer);
  expect_told_again();
  EXPECT_EQ(told().late_publications, before.late_publications);
  EXPECT_EQ(told().realtime_steps + told().tai_steps - 1 + told().monotonic_steps, 0U);
}

TEST_F(PublisherBridgeTest, ARestartedPublisherCatchesUpWithTheSource) {
  start(quiet());
  run(10);
  event(SimEvent::Kind::frequency, 300'000);
  sim_->counter().wait_until(now() + 2 * kHz);  // 600 us off by now
  sim_->restart();
  ASSERT_EQ(sim_->publisher().step(), StepResult::bridged);
  ASSERT_EQ(sim_->publisher().step(), StepResult::steered);
  EXPECT_EQ(newest().terms.reason, CLOCKPAGE_REASON_CATCHING_UP);
  run_for_ns(kSecondNs);
  EXPECT_EQ(newest().terms.reason, CLOCKPAGE_REASON_NONE);
  EXPECT_EQ(newest().terms.status, CLOCKPAGE_STATUS_SYNCHRONISED);
  const auto kernel = sim_->oracle_at(now());
  EXPECT_NEAR(static_cast<double>(read(CLOCKPAGE_MONOTONIC, now()).ns -
                                  *evaluate(kernel, CLOCKPAGE_MONOTONIC, now())),
              0, 3);
}

// What little a scaled line is off its unscaled one must not be taken back by a slope that a death
// then extends: 0.1 ns in 4 ms are 75 ns in 3 s.
TEST_F(PublisherTest, TheFormatsStayTogetherHoweverOftenTheWriterDiesRightAfterSteering) {
  SimOptions options = quiet();
  options.script.mean_interval_s = 0.002;  // a kink at every segment
  start(options);
  run(100);
  for (int death = 0; death < 200; death++) {
    sim_->counter().wait_until(now() + (death % 20 == 0 ? 3 * kHz : 60 * kMs));
    sim_->restart();
    ASSERT_EQ(sim_->publisher().step(), StepResult::bridged);
    ASSERT_EQ(sim_->publisher().step(), StepResult::steered);
    const Segment last = newest();
    for (const int clock : {CLOCKPAGE_REALTIME, CLOCKPAGE_MONOTONIC_RAW})
      for (const std::uint64_t host : {last.tai.start + 1000, last.lease_end - 1000})
        ASSERT_NEAR(static_cast<double>(read(clock, host, 2).ns - read(clock, host).ns), 0, 2)
            << "clock " << clock << ", death " << death;
  }
}

TEST_F(PublisherTest, ARestartedPublisherBridgesEvenWhenItIsInTime) {
  start(quiet());
  run(10);
  sim_->restart();
  EXPECT_EQ(sim_->publisher().step(), StepResult::bridged);
  // The longest lease that there is: the period and twice the lead (spec, G6).
  EXPECT_LE(newest().lease_end, now() + 3 * 4 * kMs);
  EXPECT_GT(newest().lease_end, now() + 3 * 4 * kMs - kMs / 100);
  EXPECT_EQ(sim_->publisher().step(), StepResult::steered);
  EXPECT_LE(newest().lease_end, now() + 2 * 4 * kMs);
}

// ---- adoption after a death between two index stores

class HalfPublishedTest : public PublisherTest, public testing::WithParamInterface<std::size_t> {
 protected:
  // As if the writer had died after it stored the index of the first GetParam() pages.
  void unpublish() {
    for (std::size_t i = GetParam(); i < 4; i++) sim_->region().page(i)->index--;
  }
  void expect_one_function() {
    const KernelClockSnapshot kernel = sim_->oracle_at(now());
    for (std::size_t i = 0; i < 4; i++) {
      EXPECT_EQ(index(i), index(0));
      EXPECT_EQ(newest(i).terms.epoch, newest(0).terms.epoch);
      for (const int clock : kClocks) {
        const clockpage_time time = read(clock, now(), i);
        EXPECT_NEAR(static_cast<double>(time.ns - *evaluate(kernel, clock, now())), 0, 3)
            << "page " << i << " clock " << clock;
      }
    }
  }
};

TEST_P(HalfPublishedTest, GoesOnCorrectlyOnAllPages) {
  start(quiet());
  event(SimEvent::Kind::tai_offset, 37);
  run(20);
  event(SimEvent::Kind::frequency, 200'000);
  run(1);
  unpublish();
  sim_->counter().wait_until(now() + 20 * kMs);
  sim_->restart();
  run_for_ns(100'000'000);
  expect_one_function();
}

TEST_P(HalfPublishedTest, GoesOnCorrectlyAcrossAStep) {
  start(quiet());
  event(SimEvent::Kind::tai_offset, 37);
  run(20);
  event(SimEvent::Kind::realtime_step, 3 * kSecondNs);
  run(1);
  ASSERT_NE(newest().terms.flags & CLOCKPAGE_SEGMENT_REALTIME_STEP, 0U);
  unpublish();
  std::array<std::int64_t, 4> monotonic{};
  for (std::size_t i = 0; i < 4; i++) monotonic[i] = read(CLOCKPAGE_MONOTONIC, now(), i).ns;
  sim_->restart();
  run_for_ns(100'000'000);
  for (std::size_t i = 0; i < 4; i++)
    EXPECT_LT(read(CLOCKPAGE_MONOTONIC, now(), i).ns - monotonic[i], kSecondNs);
  expect_one_function();
}

TEST_P(HalfPublishedTest, FinishingASteeringPublicationIsCountedAsLateOncePerPage) {
  start(quiet());
  run(20);
  event(SimEvent::Kind::realtime_step, 3 * kSecondNs);
  run(1);
  const clockpage_diagnostics before = told();
  const std::uint64_t index_of_all = index(0);
  unpublish();
  sim_->counter().wait_until(newest().tai.start + 20 * kMs);
  sim_->restart();
  for (std::size_t i = 0; i < 4; i++) {
    EXPECT_EQ(index(i), index_of_all);
    const clockpage_diagnostics& d = sim_->region().page(i)->diagnostics;
    EXPECT_EQ(d.late_publications, before.late_publications + 4 - GetParam());
    // Readers of the pages left behind missed the step for 20 ms.
    EXPECT_NEAR(static_cast<double>(d.late_max_ns), 3e9, 1e5);
  }
  run_for_ns(100'000'000);
  EXPECT_EQ(told().late_publications, before.late_publications + 4 - GetParam());
}

TEST_P(HalfPublishedTest, FinishingABridgeIsNotCountedAsLate) {
  start(quiet());
  run(20);
  event(SimEvent::Kind::realtime_step, 3 * kSecondNs);
  sim_->counter().wait_until(newest().lease_end + 20 * kMs);
  ASSERT_EQ(sim_->publisher().step(), StepResult::bridged);
  const clockpage_diagnostics before = told();
  const std::uint64_t index_of_all = index(0);
  unpublish();
  sim_->counter().wait_until(newest().lease_end + 20 * kMs);
  sim_->restart();
  for (std::size_t i = 0; i < 4; i++) EXPECT_EQ(index(i), index_of_all);
  EXPECT_EQ(told().late_publications, before.late_publications);
  EXPECT_EQ(told().late_max_ns, before.late_max_ns);
}

// As a writer would leave it that stores the indices in another order.
TEST_P(HalfPublishedTest, GoesOnCorrectlyWhicheverPagesCameFirst) {
  start(quiet());
  event(SimEvent::Kind::tai_offset, 37);
  run(20);
  event(SimEvent::Kind::realtime_step, 3 * kSecondNs);
  run(1);
  ASSERT_NE(newest().terms.flags & CLOCKPAGE_SEGMENT_REALTIME_STEP, 0U);
  const std::uint64_t index_of_all = index(0);
  for (std::size_t i = 0; i < GetParam(); i++) sim_->region().page(i)->index--;
  sim_->restart();
  for (std::size_t i = 0; i < 4; i++) EXPECT_EQ(index(i), index_of_all);
  run_for_ns(100'000'000);
  expect_one_function();
}

INSTANTIATE_TEST_SUITE_P(PagesPublished, HalfPublishedTest, testing::Values(1, 2, 3));

// ---- a second writer, a counter or a source that fails

class SecondWriterTest : public PublisherTest, public testing::WithParamInterface<std::size_t> {};

TEST_P(SecondWriterTest, IsNoticedAndNothingIsPublishedOrOverwritten) {
  start(quiet());
  run(20);
  TamperedSource source(sim_->source());
  sim_->restart_with(sim_->counter(), source, false);
  run(2);
  std::array<clockpage_data_page, 4> after_it{};
  source.during = [&] {
    PageWriter other(*sim_->region().page(GetParam()));
    other.fill_next(continued(other.newest(), other.newest().lease_end + kMs));
    ASSERT_TRUE(other.publish());
    for (std::size_t i = 0; i < 4; i++) after_it[i] = *sim_->region().page(i);
  };
  EXPECT_EQ(sim_->publisher().step(), StepResult::second_writer);
  for (std::size_t i = 0; i < 4; i++) {
    EXPECT_EQ(index(i), after_it[i].index) << "page " << i;
    // What readers of the other's page may be using: the newest and its 14 predecessors.
    const clockpage_data_page& page = *sim_->region().page(i);
    for (std::uint64_t back = 0; back <= CLOCKPAGE_HISTORY; back++) {
      const std::size_t slot = (after_it[i].index - back) % CLOCKPAGE_SEGMENT_COUNT;
      EXPECT_EQ(
          std::memcmp(&page.segment[slot], &after_it[i].segment[slot], sizeof page.segment[slot]),
          0)
          << "page " << i << ", " << back << " back";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(OnPage, SecondWriterTest, testing::Values(0, 1, 2, 3));

TEST_F(PublisherTest, AnUntrustedCounterRevokesAllPages) {
  start(quiet());
  run(5);
  TamperedSource source(sim_->source());
  source.answer = ObserveResult::counter_untrusted;
  sim_->restart_with(sim_->counter(), source, false);
  EXPECT_EQ(sim_->publisher().step(), StepResult::counter_untrusted);
  for (std::size_t page = 0; page < 4; page++)
    for (const int clock : {CLOCKPAGE_REALTIME, CLOCKPAGE_MONOTONIC, CLOCKPAGE_MONOTONIC_RAW}) {
      clockpage_time time{};
      EXPECT_EQ(read(page, clock, now(), time), CLOCKPAGE_E_REVOKED);
      EXPECT_EQ(read(page, clock, now() - kMs, time), CLOCKPAGE_E_REVOKED);
    }
}

}  // namespace
}  // namespace clockpage::producer
