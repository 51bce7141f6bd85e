// SPDX-License-Identifier: MIT
// What the publisher says of its source: steps, TAI, status and the growth of bounds.
#include <gtest/gtest.h>

#include "publisher.hpp"
#include "publisher_fixture.hpp"

namespace clockpage::producer {
namespace {

TEST_F(PublisherTest, ARealtimeStepIsCountedAndNotSeenByTheOtherClocks) {
  for (const std::int64_t step : {kSecondNs * 3 / 2, -kSecondNs * 3 / 2, std::int64_t{1}}) {
    start(quiet());
    event(SimEvent::Kind::tai_offset, 37);
    run(10);
    const clockpage_diagnostics before = told();
    const std::uint64_t epoch = newest().terms.epoch;
    event(SimEvent::Kind::realtime_step, step);
    std::array<Segment, 4> old{newest(0), newest(1), newest(2), newest(3)};
    run(1);
    EXPECT_EQ(told().realtime_steps, before.realtime_steps + 1);
    EXPECT_EQ(told().monotonic_steps, before.monotonic_steps);
    EXPECT_EQ(newest().terms.epoch, epoch + 1);
    EXPECT_NE(newest().terms.flags & CLOCKPAGE_SEGMENT_REALTIME_STEP, 0U);
    for (std::size_t i = 0; i < 4; i++) {
      const Segment& was = old[i];
      const Segment is = newest(i);
      const Instant at_end = was.tai.at(was.lease_end);
      ASSERT_EQ(is.tai.start, was.lease_end);
      EXPECT_TRUE(add_ns(is.tai.base, -is.terms.monotonic_offset_ns) ==
                  add_ns(at_end, -was.terms.monotonic_offset_ns));
      EXPECT_TRUE(add_ns(is.tai.base, -is.terms.boottime_offset_ns) ==
                  add_ns(at_end, -was.terms.boottime_offset_ns));
      EXPECT_TRUE(is.raw.base == was.raw.at(was.lease_end));
      EXPECT_TRUE(add_ns(is.tai.base, -is.terms.utc.before_ns) ==
                  add_ns(add_ns(at_end, -was.terms.utc.before_ns), step));
    }
    run(1);  // once only
    EXPECT_EQ(told().realtime_steps, before.realtime_steps + 1);
    EXPECT_EQ(newest().terms.epoch, epoch + 1);
  }
}

TEST_F(PublisherTest, ATaiOffsetLearnedLaterStepsTaiOnly) {
  start(quiet());
  run(10);
  clockpage_time time{};
  EXPECT_EQ(read(0, CLOCKPAGE_TAI, now(), time), CLOCKPAGE_E_TAI_UNKNOWN);
  event(SimEvent::Kind::tai_offset, 37);
  const Segment was = newest();
  run(1);
  const Segment is = newest();
  EXPECT_EQ(told().tai_steps, 1U);
  EXPECT_EQ(told().realtime_steps, 0U);
  EXPECT_EQ(told().monotonic_steps, 0U);
  EXPECT_EQ(is.terms.flags, CLOCKPAGE_SEGMENT_TAI_KNOWN | CLOCKPAGE_SEGMENT_TAI_KERNEL |
                                CLOCKPAGE_SEGMENT_TAI_STEP);
  const Instant at_end = was.tai.at(was.lease_end);
  EXPECT_TRUE(add_ns(is.tai.base, -is.terms.monotonic_offset_ns) ==
              add_ns(at_end, -was.terms.monotonic_offset_ns));
  EXPECT_TRUE(add_ns(is.tai.base, -is.terms.utc.before_ns) ==
              add_ns(at_end, -was.terms.utc.before_ns));
  EXPECT_EQ(is.terms.status, CLOCKPAGE_STATUS_SYNCHRONISED);
  run(5);
  for (std::size_t page = 0; page < 4; page++)
    EXPECT_EQ(read(CLOCKPAGE_TAI, now(), page).ns - read(CLOCKPAGE_REALTIME, now(), page).ns,
              37 * kSecondNs);
  EXPECT_EQ(told().tai_steps, 1U);
}

// The kernel takes one second out of REALTIME and adds it to TAI - UTC, at once and unannounced.
TEST_F(PublisherTest, ALeapSecondTakenByTheKernelStepsRealtimeAlone) {
  start(quiet());
  event(SimEvent::Kind::tai_offset, 37);
  run(10);
  const Segment was = newest();
  const clockpage_diagnostics before = told();
  event(SimEvent::Kind::realtime_step, -kSecondNs);
  event(SimEvent::Kind::tai_offset, 38);
  run(1);
  const Segment is = newest();
  EXPECT_EQ(is.terms.flags, CLOCKPAGE_SEGMENT_TAI_KNOWN | CLOCKPAGE_SEGMENT_TAI_KERNEL |
                                CLOCKPAGE_SEGMENT_REALTIME_STEP);
  EXPECT_EQ(is.terms.epoch, was.terms.epoch + 1);
  EXPECT_EQ(is.terms.utc.before_ns, 38 * kSecondNs);
  EXPECT_TRUE(is.tai.base == was.tai.at(was.lease_end));
  EXPECT_EQ(is.terms.monotonic_offset_ns, was.terms.monotonic_offset_ns);
  EXPECT_EQ(told().realtime_steps, before.realtime_steps + 1);
  EXPECT_EQ(told().tai_steps, before.tai_steps);
  EXPECT_EQ(is.terms.status, CLOCKPAGE_STATUS_SYNCHRONISED);
}

// Growth of a half-width over some ms, in ppm of the time between.
double growth_ppm(const clockpage_time& from, const clockpage_time& to) {
  const auto width = [](const clockpage_time& t) { return t.latest_ns - t.ns; };
  return static_cast<double>(width(to) - width(from)) / static_cast<double>(to.ns - from.ns) * 1e6;
}

TEST_F(PublisherTest, ALostSourceIsSaidAndTheBoundsGrowUntilItIsBack) {
  start(quiet());
  TamperedSource source(sim_->source());
  sim_->restart_with(sim_->counter(), source, false);
  run(10);
  EXPECT_EQ(read(CLOCKPAGE_REALTIME, now()).status, CLOCKPAGE_STATUS_SYNCHRONISED);
  source.answer = ObserveResult::lost;
  run(5);
  const clockpage_time utc = read(CLOCKPAGE_REALTIME, now());
  const clockpage_time local = read(CLOCKPAGE_MONOTONIC, now());
  EXPECT_EQ(utc.status, CLOCKPAGE_STATUS_FREE_RUNNING);
  EXPECT_EQ(utc.reason, CLOCKPAGE_REASON_SOURCE_LOST);
  run_for_ns(kSecondNs);
  EXPECT_NEAR(growth_ppm(utc, read(CLOCKPAGE_REALTIME, now())), 500, 5);
  EXPECT_NEAR(growth_ppm(local, read(CLOCKPAGE_MONOTONIC, now())), 1000, 10);
  source.answer = ObserveResult::ok;
  run(5);
  const clockpage_time back = read(CLOCKPAGE_REALTIME, now());
  EXPECT_EQ(back.status, CLOCKPAGE_STATUS_SYNCHRONISED);
  EXPECT_LT(back.latest_ns - back.ns, utc.latest_ns - utc.ns);
}

TEST_F(PublisherTest, ASourceThatWasNeverSynchronisedHasNoUtcBoundButALocalOne) {
  start(quiet());
  sim_->source().set_quality({false, CLOCKPAGE_REASON_KERNEL_UNSYNCHRONISED, std::nullopt});
  sim_->make_region_anew();
  run(10);
  const clockpage_time utc = read(CLOCKPAGE_REALTIME, now());
  EXPECT_EQ(utc.status, CLOCKPAGE_STATUS_UNKNOWN);
  EXPECT_EQ(utc.reason, CLOCKPAGE_REASON_KERNEL_UNSYNCHRONISED);
  EXPECT_EQ(utc.earliest_ns, INT64_MIN);
  EXPECT_EQ(utc.latest_ns, INT64_MAX);
  const clockpage_time local = read(CLOCKPAGE_MONOTONIC, now());
  EXPECT_LT(local.latest_ns - local.earliest_ns, 100'000);
  EXPECT_GT(local.latest_ns, local.ns);
}

TEST_F(PublisherTest, ASourceNoLongerSynchronisedFreeRunsOnItsLastGoodBound) {
  start(quiet());
  run(10);
  const clockpage_time good = read(CLOCKPAGE_REALTIME, now());
  sim_->source().set_quality({false, CLOCKPAGE_REASON_KERNEL_UNSYNCHRONISED, 1'000'000});
  run(5);
  const clockpage_time first = read(CLOCKPAGE_REALTIME, now());
  EXPECT_EQ(first.status, CLOCKPAGE_STATUS_FREE_RUNNING);
  EXPECT_EQ(first.reason, CLOCKPAGE_REASON_KERNEL_UNSYNCHRONISED);
  EXPECT_GT(first.latest_ns - first.ns, good.latest_ns - good.ns);
  EXPECT_LT(first.latest_ns - first.ns, 1'100'000);
  run_for_ns(10 * kSecondNs);
  EXPECT_NEAR(growth_ppm(first, read(CLOCKPAGE_REALTIME, now())), 500, 5);
}

TEST_F(PublisherTest, AClockThatWasSetByHandHasNoUtcBoundUntilItIsSynchronisedAgain) {
  start(quiet());
  run(10);
  const Quality unsynchronised{false, CLOCKPAGE_REASON_KERNEL_UNSYNCHRONISED, 1'000'000};
  sim_->source().set_quality(unsynchronised);
  run(5);
  ASSERT_EQ(read(CLOCKPAGE_REALTIME, now()).status, CLOCKPAGE_STATUS_FREE_RUNNING);
  event(SimEvent::Kind::realtime_step, 3600 * kSecondNs);
  run(5);
  const clockpage_time set = read(CLOCKPAGE_REALTIME, now());
  EXPECT_EQ(set.status, CLOCKPAGE_STATUS_UNKNOWN);
  EXPECT_EQ(set.earliest_ns, INT64_MIN);
  EXPECT_EQ(set.latest_ns, INT64_MAX);
  const clockpage_time local = read(CLOCKPAGE_MONOTONIC, now());
  EXPECT_LT(local.latest_ns - local.ns, 100'000);
  sim_->source().set_quality({true, CLOCKPAGE_REASON_NONE, 1'000'000});
  run(5);
  const clockpage_time good = read(CLOCKPAGE_REALTIME, now());
  EXPECT_EQ(good.status, CLOCKPAGE_STATUS_SYNCHRONISED);
  EXPECT_LT(good.latest_ns - good.ns, 1'100'000);
}

TEST_F(PublisherTest, ASuspendDisruptsMonotonicAndLeavesRealtimeRight) {
  start(quiet());
  run(10);
  const std::uint64_t epoch = newest().terms.epoch;
  // The counter goes on for 10 s; MONOTONIC and RAW stand still, BOOTTIME and REALTIME do not.
  sim_->counter().wait_until(now() + 10 * kHz);
  event(SimEvent::Kind::suspend, 10 * kSecondNs);
  run_for_ns(kSecondNs);
  for (const int clock :
       {CLOCKPAGE_REALTIME, CLOCKPAGE_MONOTONIC, CLOCKPAGE_MONOTONIC_RAW, CLOCKPAGE_BOOTTIME}) {
    const auto kernel = evaluate(sim_->source().kernel().snapshot(), clock, now());
    EXPECT_NEAR(static_cast<double>(read(clock, now()).ns), static_cast<double>(*kernel), 10)
        << clock;
    EXPECT_LT(read(clock, now()).latest_ns - read(clock, now()).ns, 1'100'000);
  }
  EXPECT_GT(newest().terms.epoch, epoch);
  EXPECT_GE(told().monotonic_steps, 1U);
}

TEST_F(PublisherTest, ABridgeOverAClockSetMeanwhileClaimsNothing) {
  start(quiet());
  run(10);
  ASSERT_EQ(read(CLOCKPAGE_REALTIME, now()).status, CLOCKPAGE_STATUS_SYNCHRONISED);
  sim_->counter().wait_until(now() + kHz);
  event(SimEvent::Kind::realtime_step, 10 * kSecondNs);
  sim_->source().set_quality({false, CLOCKPAGE_REASON_KERNEL_UNSYNCHRONISED, std::nullopt});
  sim_->restart();
  ASSERT_EQ(sim_->publisher().step(), StepResult::bridged);
  const clockpage_time bridged = read(CLOCKPAGE_REALTIME, now());
  EXPECT_EQ(bridged.flags & CLOCKPAGE_TIME_OVERDUE, 0U);
  EXPECT_EQ(bridged.status, CLOCKPAGE_STATUS_FREE_RUNNING);
  EXPECT_EQ(bridged.earliest_ns, INT64_MIN);
  EXPECT_EQ(bridged.latest_ns, INT64_MAX);
  EXPECT_LT(read(CLOCKPAGE_MONOTONIC, now()).latest_ns, INT64_MAX);
}

TEST_F(PublisherTest, ABridgeOverAGoodSourceStaysSynchronised) {
  start(quiet());
  run(10);
  sim_->counter().wait_until(now() + kHz / 10);
  ASSERT_EQ(sim_->publisher().step(), StepResult::bridged);
  EXPECT_EQ(read(CLOCKPAGE_REALTIME, now()).status, CLOCKPAGE_STATUS_SYNCHRONISED);
}

TEST_F(PublisherTest, ACounterThatJumpsBackRevokesThePages) {
  start(quiet());
  run(10);
  VirtualCounter back(now() - 100 * kHz, {});
  sim_->restart_with(back, sim_->source(), true);
  EXPECT_EQ(sim_->publisher().step(), StepResult::counter_untrusted);
  clockpage_time time{};
  for (std::size_t page = 0; page < 4; page++)
    EXPECT_EQ(read(page, CLOCKPAGE_REALTIME, now(), time), CLOCKPAGE_E_REVOKED);
}

TEST_F(PublisherTest, BoundsGrowFasterWhileTheSourceIsSlewedHard) {
  start(quiet());
  run(10);
  event(SimEvent::Kind::frequency, 83'333'000);  // as chrony's slew by the length of a tick
  run(20);
  EXPECT_GT(growth_ppm(read(CLOCKPAGE_MONOTONIC, newest().lease_end + kHz),
                       read(CLOCKPAGE_MONOTONIC, newest().lease_end + 2 * kHz)),
            83'000);
  const auto kernel = evaluate(sim_->source().kernel().snapshot(), CLOCKPAGE_MONOTONIC, now());
  EXPECT_NEAR(static_cast<double>(read(CLOCKPAGE_MONOTONIC, now()).ns),
              static_cast<double>(*kernel), 10);
}

}  // namespace
}  // namespace clockpage::producer
