// SPDX-License-Identifier: MIT
// The lease protocol from the writer's side, on a virtual counter: lateness, lead, the end.
#include "publisher.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "publisher_fixture.hpp"

namespace clockpage::producer {
namespace {

TEST_F(PublisherBridgeTest, ALateWakeUpOnlyExtendsTheLeaseOfTheSameLine) {
  start(quiet());
  for (const std::uint64_t late_ms : {0, 1, 20}) {
    run(10);
    const std::uint64_t end = newest().lease_end;
    event(SimEvent::Kind::frequency, 100'000 * static_cast<std::int64_t>(late_ms + 1));
    sim_->counter().wait_until(end - kMs / 2 + late_ms * kMs);
    const std::uint64_t lead = sim_->publisher().lead_ticks();
    const std::uint64_t from = std::max(now(), end);
    listen(from + 4 * kMs);
    const std::uint64_t bridges = told().bridges;
    ASSERT_EQ(sim_->publisher().step(), StepResult::bridged) << late_ms;
    EXPECT_EQ(told().bridges, bridges + 1);
    EXPECT_NE(newest().terms.flags & CLOCKPAGE_SEGMENT_BRIDGE, 0U);
    EXPECT_EQ(newest().tai.start, end);
    // A fresh lease, and a dead writer shows in time: spec, G6.
    EXPECT_GE(newest().lease_end, from + 4 * kMs + lead);
    EXPECT_LE(newest().lease_end, now() + 4 * kMs + 2 * sim_->publisher().lead_ticks());
    expect_told_again();
  }
  EXPECT_EQ(told().late_publications, 0U);
}

TEST_F(PublisherTest, AdaptsItsLeadToLatenessAndForgetsIt) {
  SimOptions options = quiet();
  start(options);
  run(10);
  EXPECT_EQ(sim_->publisher().lead_ticks(), 4 * kMs);
  const auto late_step = [&] {
    const std::uint64_t due = newest().lease_end - sim_->publisher().lead_ticks();
    sim_->counter().wait_until(std::max(due, newest().tai.start) + 6 * kMs);
    return sim_->publisher().step();
  };
  EXPECT_EQ(late_step(), StepResult::bridged);
  EXPECT_GT(sim_->publisher().lead_ticks(), 7 * kMs);  // what it takes to be in time
  EXPECT_EQ(told().lead_ns, sim_->publisher().lead_ticks() * 1'000'000 / kMs);
  int bridged = 0;
  for (int i = 0; i < 50; i++) bridged += late_step() == StepResult::bridged ? 1 : 0;
  EXPECT_LE(bridged, 2);  // the same lateness is no trouble any more
  EXPECT_EQ(told().late_publications, 0U);
  run_for_ns(60 * kSecondNs);
  EXPECT_EQ(sim_->publisher().lead_ticks(), 4 * kMs);
}

TEST_F(PublisherTest, TheLeadHasALimit) {
  start(quiet());
  run(3);
  sim_->counter().wait_until(now() + 3600 * kHz);
  ASSERT_EQ(sim_->publisher().step(), StepResult::bridged);
  EXPECT_EQ(sim_->publisher().lead_ticks(), 50 * kMs);
  EXPECT_LE(newest().lease_end, now() + (4 + 2 * 50) * kMs);
}

TEST_F(PublisherTest, AtMostOneSegmentBeginsInTheFuture) {
  SimOptions options;
  options.publisher.lead_ns = 20'000'000;
  options.counter = {0, 50, kHz / 10'000, 30 * kMs, 0.05};
  start(options);
  for (int i = 0; i < 3000; i++) {
    const std::uint64_t before = index(0);
    const std::uint64_t lead = sim_->publisher().lead_ticks();
    ASSERT_NE(sim_->publisher().step(), StepResult::second_writer);
    // What a writer that dies now leaves: spec, G6.
    const std::uint64_t longest = 4 * kMs + 2 * std::max(lead, sim_->publisher().lead_ticks());
    ASSERT_LE(static_cast<std::int64_t>(newest().lease_end - now()),
              static_cast<std::int64_t>(longest));
    ASSERT_EQ(index(0), before + 1);
    const Segment previous = PageWriter(*sim_->region().page(0)).load(before);
    ASSERT_LE(previous.tai.start, now());
  }
}

TEST_F(PublisherTest, AtMostOneSegmentBeginsInTheFutureEvenIfTheLeadIsLongerThanTheSegment) {
  start(quiet());
  run(10);
  PublisherConfig config;
  config.lead_ns = 40'000'000;
  Publisher patient(sim_->region().pages(), sim_->counter(), sim_->source(), kHz, 1, config, true);
  for (int i = 0; i < 20; i++) {
    const Segment previous = newest();
    ASSERT_NE(patient.step(), StepResult::second_writer);
    ASSERT_LE(previous.tai.start, now());
  }
}

TEST_F(PublisherTest, PublishesNothingWhenItIsWokenEarly) {
  start(quiet());
  run(5);
  StallingCounter counter(sim_->counter());
  counter.wakes_early = true;
  sim_->restart_with(counter, sim_->source(), false);
  const std::uint64_t before = index(0);
  EXPECT_EQ(sim_->publisher().step(), StepResult::interrupted);
  EXPECT_EQ(index(0), before);
}

TEST_F(PublisherTest, ChangesNothingButTheFourPagesChangingParts) {
  start(quiet());
  std::vector<std::byte> before(CLOCKPAGE_REGION_SIZE);
  const std::byte* region = sim_->region().bytes();
  std::memcpy(before.data(), region, before.size());
  run(100);
  for (std::size_t i = 0; i < before.size(); i++) {
    const std::size_t page = i / CLOCKPAGE_PAGE_SIZE;
    const std::size_t offset = i % CLOCKPAGE_PAGE_SIZE;
    const bool data = page >= 1 && page <= 4 && offset >= 0x100;
    if (!data) {
      ASSERT_EQ(before[i], region[i]) << "byte " << i;
    }
  }
}

// ---- lateness within one step

class StallTest : public PublisherTest {
 protected:
  StallTest() {
    start(quiet());
    counter_ = std::make_unique<StallingCounter>(sim_->counter());
    sim_->restart_with(*counter_, sim_->source(), false);
    run(10);
    counter_->reads = 0;
    run(1);
    reads_per_step_ = counter_->reads;
  }
  std::unique_ptr<StallingCounter> counter_;
  int reads_per_step_ = 0;
};

TEST_F(StallTest, KeepsTheMarginWhereverItIsStalledBeforeTheStore) {
  ASSERT_GE(reads_per_step_, 3);
  for (int n = 1; n < reads_per_step_; n++) {
    run(3);
    const std::uint64_t end = newest().lease_end;
    counter_->reads = 0;
    counter_->stall_at_read = n;
    counter_->stall_until = end - kMs / 2;  // before the start, but within the margin
    EXPECT_EQ(sim_->publisher().step(), StepResult::bridged) << "stalled at read " << n;
    counter_->stall_at_read = 0;
    run_for_ns(100'000'000);
  }
  EXPECT_EQ(told().late_publications, 0U);
  EXPECT_GT(told().min_margin_ns, 900'000);
}

TEST_F(StallTest, LooksAtTheCounterOnceMoreBetweenFillingAndPublishing) {
  const std::uint64_t before = index(0);
  int looks = 0;
  counter_->on_read = [&] {
    const auto& slot = sim_->region().page(3)->segment[(before + 1) % CLOCKPAGE_SEGMENT_COUNT];
    if (slot.number == before + 1 && index(0) == before) looks++;
  };
  ASSERT_EQ(sim_->publisher().step(), StepResult::steered);
  EXPECT_GE(looks, 1);
}

TEST_F(StallTest, AStoreDelayedWithinTheMarginIsInTimeAndItsMarginIsTold) {
  const std::uint64_t end = newest().lease_end;
  counter_->reads = 0;
  counter_->stall_at_read = reads_per_step_;  // the read after the index has been stored
  counter_->stall_until = end - kMs / 4;
  EXPECT_EQ(sim_->publisher().step(), StepResult::steered);
  EXPECT_EQ(told().late_publications, 0U);
  EXPECT_NEAR(static_cast<double>(told().min_margin_ns), 250'000, 200);
}

TEST_F(StallTest, ALatePublicationIsCountedWithTheDisagreementItMadePossible) {
  run(5);
  event(SimEvent::Kind::realtime_step, 1'000'000);  // 1 ms between the lines
  const Segment before = newest();
  counter_->reads = 0;
  counter_->stall_at_read = reads_per_step_;
  counter_->stall_until = before.lease_end + 2 * kMs;
  EXPECT_EQ(sim_->publisher().step(), StepResult::steered);
  EXPECT_EQ(told().late_publications, 1U);
  EXPECT_NEAR(static_cast<double>(told().min_margin_ns), -2e6, 200);
  const auto apart = difference(newest().tai.at(now()), before.tai.at(now()));
  EXPECT_NEAR(static_cast<double>(told().late_max_ns), to_double_ns(apart), 2);
  EXPECT_NEAR(static_cast<double>(told().late_max_ns), 1e6, 100);
  // A later, smaller one leaves the largest.
  counter_->stall_at_read = 0;
  run_for_ns(kSecondNs);
  event(SimEvent::Kind::realtime_step, 1000);
  counter_->reads = 0;
  counter_->stall_at_read = reads_per_step_;
  counter_->stall_until = newest().lease_end + kMs;
  ASSERT_EQ(sim_->publisher().step(), StepResult::steered);
  EXPECT_EQ(told().late_publications, 2U);
  EXPECT_GT(told().late_max_ns, 900'000U);
}

TEST_F(StallTest, ALatePublicationIsCountedForTheClockThatDisagreesMost) {
  run(5);
  event(SimEvent::Kind::suspend, 10 * kSecondNs);  // REALTIME and TAI go on, MONOTONIC does not
  counter_->reads = 0;
  counter_->stall_at_read = reads_per_step_;
  counter_->stall_until = newest().lease_end + kMs;
  ASSERT_EQ(sim_->publisher().step(), StepResult::steered);
  EXPECT_EQ(told().late_publications, 1U);
  EXPECT_NEAR(static_cast<double>(told().late_max_ns), 1e10, 1e5);
}

TEST_F(StallTest, AStoreWithinAMicrosecondOfItsStartIsCountedAsLate) {
  const std::uint64_t us = kMs / 1000;
  for (const bool late : {false, true}) {
    const std::uint64_t end = newest().lease_end;
    counter_->reads = 0;
    counter_->stall_at_read = reads_per_step_;  // the read after the index has been stored
    counter_->stall_until = end - (late ? us * 9 / 10 : us * 11 / 10);
    ASSERT_EQ(sim_->publisher().step(), StepResult::steered);
    ASSERT_LT(now(), end);
    EXPECT_EQ(told().late_publications, late ? 1U : 0U);
    EXPECT_GT(told().min_margin_ns, 0);
    EXPECT_EQ(told().late_max_ns, 0U);  // nobody can have read the old line past the start yet
    counter_->stall_at_read = 0;
    run(5);
  }
}

TEST_F(StallTest, ABridgeAfterAStallSaysWhatTheSourceDidDuringIt) {
  TamperedSource source(sim_->source());
  sim_->restart_with(*counter_, source, false);
  run(10);
  ASSERT_EQ(newest().terms.status, CLOCKPAGE_STATUS_SYNCHRONISED);
  ASSERT_NE(newest().terms.utc_bound_ns, CLOCKPAGE_BOUND_UNKNOWN);
  const std::uint64_t end = newest().lease_end;
  source.during = [&] {
    if (counter_->stall_at_read != 0) return;  // it is read again, as it should be
    // The source has nothing to tell yet. Then a stall, at the next look at the counter, in the
    // middle of which the clock is set.
    const std::uint64_t set = now() + kMs;
    for (SimKernel* kernel : {&sim_->source().kernel(), &sim_->oracle()})
      kernel->schedule({set, SimEvent::Kind::realtime_step, 50'000'000});
    counter_->stall_at_read = counter_->reads + 1;
    counter_->stall_until = end - kMs / 2;  // within the margin: too late to steer
  };
  ASSERT_EQ(sim_->publisher().step(), StepResult::bridged);
  ASSERT_LT(now(), end);
  for (std::size_t page = 0; page < 4; page++) {
    const Terms terms = newest(page).terms;
    EXPECT_EQ(terms.utc_bound_ns, CLOCKPAGE_BOUND_UNKNOWN) << page;
    EXPECT_EQ(terms.status, CLOCKPAGE_STATUS_FREE_RUNNING) << page;
    EXPECT_EQ(terms.reason, CLOCKPAGE_REASON_CATCHING_UP) << page;
    EXPECT_NE(terms.local_bound_ns, CLOCKPAGE_BOUND_UNKNOWN) << page;  // no step of MONOTONIC
  }
  // Then the step itself is published.
  const std::uint64_t epoch = newest().terms.epoch;
  run(1);
  EXPECT_EQ(newest().terms.epoch, epoch + 1);
}

// ---- the end

TEST_F(PublisherTest, FinishLeavesAClockThatRunsOnAndSaysWhy) {
  start(quiet());
  run(10);
  event(SimEvent::Kind::frequency, 123'000);
  run(20);
  EXPECT_EQ(sim_->publisher().finish(), StepResult::steered);
  EXPECT_EQ(told().producer_pid, 0U);
  const Segment last = newest();
  EXPECT_EQ(last.terms.status, CLOCKPAGE_STATUS_FREE_RUNNING);
  EXPECT_EQ(last.terms.reason, CLOCKPAGE_REASON_PRODUCER_STOPPED);
  const Period mean = sim_->publisher().steering().period();
  const auto off = static_cast<InstantDelta>(Period{last.tai.period_frac} - mean);
  EXPECT_LT(std::abs(static_cast<double>(off)), 10.0);  // 2^-64 ns per tick: rounding
  for (std::size_t page = 0; page < 4; page++)
    for (const int clock : {CLOCKPAGE_REALTIME, CLOCKPAGE_MONOTONIC, CLOCKPAGE_MONOTONIC_RAW}) {
      clockpage_time before = read(clock, last.lease_end - 1, page);
      for (int s = 1; s < 100; s++) {
        const std::uint64_t c = last.lease_end + static_cast<std::uint64_t>(s) * kHz;
        const clockpage_time time = read(clock, c, page);
        ASSERT_GT(time.ns, before.ns + kSecondNs * 99 / 100);
        ASSERT_LT(time.ns, before.ns + kSecondNs * 101 / 100);
        ASSERT_NE(time.flags & CLOCKPAGE_TIME_OVERDUE, 0U);
        ASSERT_EQ(time.status, CLOCKPAGE_STATUS_FREE_RUNNING);
        ASSERT_GT(time.latest_ns - time.ns, before.latest_ns - before.ns);
        before = time;
      }
    }
}

TEST_F(PublisherTest, FinishBridgesFirstWhereItIsLate) {
  start(quiet());
  run(10);
  sim_->counter().wait_until(newest().lease_end + 10 * kMs);
  EXPECT_EQ(sim_->publisher().finish(), StepResult::steered);
  EXPECT_EQ(newest().terms.reason, CLOCKPAGE_REASON_PRODUCER_STOPPED);
  EXPECT_EQ(told().late_publications, 0U);
}

}  // namespace
}  // namespace clockpage::producer
