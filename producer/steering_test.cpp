// SPDX-License-Identifier: MIT
#include "steering.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "sim_harness.hpp"

namespace clockpage::producer {
namespace {

constexpr std::uint64_t kHz = 2'300'000'000;
constexpr std::uint64_t kStart = 1'000'000'000'000;
constexpr std::uint64_t kSpan = kHz / 250;
constexpr double kNsPerTick = 1e9 / kHz;

// A source that runs at nominal rate and can be set off from what it was.
class Source {
 public:
  [[nodiscard]] Observation at(std::uint64_t counter) const {
    Observation o;
    o.counter = counter;
    const auto ticks = static_cast<std::int64_t>(counter - kStart);
    const auto elapsed = static_cast<Instant>(span(nominal_period(kHz), ticks));
    o.monotonic = add_ns(make_instant(10'000'000'000) + elapsed, off_ns);
    o.raw = add_ns(make_instant(20'000'000'000) + elapsed, raw_off_ns);
    o.period = o.raw_period = nominal_period(kHz);
    o.dither = Period{1} << 40;
    o.realtime_minus_monotonic_ns = 1'700'000'000'000'000'000;
    o.boottime_minus_monotonic_ns = 4'000'000'000;
    o.quality = {true, CLOCKPAGE_REASON_NONE, 1'000'000};
    return o;
  }
  std::int64_t off_ns = 0;
  std::int64_t raw_off_ns = 0;
};

class SteeringTest : public testing::Test {
 protected:
  SteeringTest() {
    steering_.observe(source_.at(kStart));
    RegionIdentity identity;
    identity.counter = {kThisCounterKind, kHz, 1, 0, 0, 48};
    region_ = std::make_unique<MemoryRegion>(
        region_image(identity, kSpan, steering_.first(kStart, kStart + 2 * kSpan, 0)));
    page_ = std::make_unique<PageWriter>(*region_->page(0));
    newest_ = page_->newest();
  }

  // Plans the next segment as the publisher does, nearly two spans after the observation.
  Plan next() {
    steering_.observe(source_.at(newest_.tai.start + 1000));
    return steering_.plan(newest_, newest_.terms.utc, newest_.lease_end + kSpan);
  }

  void accept(const Plan& plan) {
    page_->fill_next(steered(*page_, newest_, plan));
    ASSERT_TRUE(page_->publish());
    newest_ = page_->newest();
  }

  // Page - source at a counter value, ns.
  [[nodiscard]] double error_ns(std::uint64_t counter) const {
    const Instant page = add_ns(newest_.tai.at(counter), -newest_.terms.monotonic_offset_ns);
    return to_double_ns(difference(page, source_.at(counter).monotonic));
  }

  // Half-width of MONOTONIC as a reader is told it, overdue or not; infinite if there is none.
  [[nodiscard]] double bound_ns(std::uint64_t counter) const {
    const clockpage_reader reader = region_->reader(0);
    clockpage_time time{};
    EXPECT_EQ(clockpage_at_bounds(&reader, CLOCKPAGE_MONOTONIC, counter, &time), 0);
    return static_cast<double>(time.latest_ns) - static_cast<double>(time.ns);
  }

  Source source_;
  Steering steering_{kHz, 1, {}};
  std::unique_ptr<MemoryRegion> region_;
  std::unique_ptr<PageWriter> page_;
  Segment newest_;
};

TEST_F(SteeringTest, TheFirstSegmentIsTheSourcesOwnLineAndNoStep) {
  EXPECT_TRUE(add_ns(newest_.tai.base, -newest_.terms.monotonic_offset_ns) ==
              source_.at(kStart).monotonic);
  EXPECT_TRUE(newest_.raw.base == source_.at(kStart).raw);
  EXPECT_EQ(newest_.terms.epoch, 1U);
  EXPECT_EQ(newest_.terms.flags, 0U);
  EXPECT_EQ(newest_.terms.status, CLOCKPAGE_STATUS_SYNCHRONISED);
}

TEST_F(SteeringTest, StaysOnASteadySource) {
  for (int i = 0; i < 100; i++) {
    accept(next());
    ASSERT_LT(std::abs(error_ns(newest_.lease_end)), 0.01);
    ASSERT_EQ(newest_.terms.status, CLOCKPAGE_STATUS_SYNCHRONISED);
    ASSERT_EQ(newest_.terms.reason, CLOCKPAGE_REASON_NONE);
  }
}

TEST_F(SteeringTest, ReachesTheSourceAtTheSegmentsEndWhereTheSlewAllowsIt) {
  source_.off_ns = 20'000;  // of 40 us that 4 ms allow
  accept(next());
  EXPECT_NEAR(error_ns(newest_.tai.start), -20'000, 1);
  EXPECT_NEAR(error_ns(newest_.lease_end), 0, 0.01);
  EXPECT_EQ(newest_.terms.status, CLOCKPAGE_STATUS_SYNCHRONISED);
  EXPECT_GE(newest_.terms.local_bound_ns, 20'000U);
}

class CatchingUpTest : public SteeringTest, public testing::WithParamInterface<std::int64_t> {};

TEST_P(CatchingUpTest, IsSaidAndCoveredByTheBoundAndKeepsTheSlewLimit) {
  source_.off_ns = GetParam();
  const Plan plan = next();
  EXPECT_EQ(plan.terms.status, CLOCKPAGE_STATUS_FREE_RUNNING);
  EXPECT_EQ(plan.terms.reason, CLOCKPAGE_REASON_CATCHING_UP);
  const double rate = to_double_ns(static_cast<InstantDelta>(plan.period)) / kNsPerTick;
  EXPECT_NEAR(rate, GetParam() > 0 ? 1.01 : 0.99, 1e-6);
  accept(plan);
  const Terms& terms = newest_.terms;
  const auto error = static_cast<double>(std::abs(GetParam()));
  EXPECT_GE(bound_ns(newest_.tai.start), error);
  EXPECT_LT(bound_ns(newest_.tai.start), error + 50'000);
  // utc: the same, and what the source says of itself.
  EXPECT_GE(static_cast<double>(terms.utc_bound_ns), error + 1e6);
}

TEST_P(CatchingUpTest, TheBoundHoldsWhenTheSlewIsContinuedPastItsEnd) {
  source_.off_ns = GetParam();
  accept(next());
  // Overdue readers and bridges go on along the slewing line.
  for (const std::uint64_t ms : {1, 4, 10, 100, 1000, 5000}) {
    const std::uint64_t counter = newest_.tai.start + ms * (kHz / 1000);
    EXPECT_GE(bound_ns(counter), std::abs(error_ns(counter))) << ms << " ms";
  }
}

INSTANTIATE_TEST_SUITE_P(OffNs, CatchingUpTest,
                         testing::Values(100'000, -100'000, 1'000'000, -1'000'000, -1'000'000'000));

TEST_F(SteeringTest, ASmallSlewContinuedPastItsEndStaysWithinTheBound) {
  source_.off_ns = 30'000;
  accept(next());
  for (const std::uint64_t ms : {1, 4, 10, 100, 1000}) {
    const std::uint64_t counter = newest_.tai.start + ms * (kHz / 1000);
    EXPECT_GE(bound_ns(counter), std::abs(error_ns(counter))) << ms << " ms";
  }
}

TEST_F(SteeringTest, NeverGoesBackwardsEvenASecondAheadAndCatchesUp) {
  source_.off_ns = -1'000'000'000;
  int segments = 0;
  do {
    const Instant before = newest_.tai.at(newest_.lease_end);
    accept(next());
    segments++;
    ASSERT_TRUE(newest_.tai.base == before);
    ASSERT_GT(newest_.tai.period_frac, static_cast<std::uint64_t>(nominal_period(kHz)) / 100 * 98);
    ASSERT_EQ(newest_.terms.flags & CLOCKPAGE_SEGMENT_DISCONTINUITY, 0U);
  } while (newest_.terms.reason == CLOCKPAGE_REASON_CATCHING_UP && segments < 30'000);
  EXPECT_NEAR(segments, 25'000, 100);  // 1 s at 1 %, 4 ms at a time
  EXPECT_NEAR(error_ns(newest_.lease_end), 0, 1);
  EXPECT_EQ(newest_.terms.status, CLOCKPAGE_STATUS_SYNCHRONISED);
}

TEST_F(SteeringTest, NeverStandsStillWhateverTheTarget) {
  Plan plan = next();
  plan.tai_target = add_ns(newest_.tai.base, -5'000'000'000);
  plan.raw_target = newest_.raw.base;
  for (std::size_t i = 0; i < 4; i++) {
    const PageWriter page(*region_->page(i));
    const Segment segment = steered(page, page.newest(), plan);
    EXPECT_GT(segment.tai.period_frac, 0U);
    EXPECT_GT(segment.raw.period_frac, 0U);
  }
}

TEST_F(SteeringTest, SaysHowFarThePageIsAhead) {
  steering_.observe(source_.at(kStart + kSpan));
  EXPECT_EQ(steering_.source_error_ns(newest_), 0);
  source_.off_ns = -250;  // the page is ahead
  steering_.observe(source_.at(kStart + kSpan + 1000));
  EXPECT_EQ(steering_.source_error_ns(newest_), 250);
}

TEST_F(SteeringTest, ABoundIsNeverBelowTheCountersQuantumAndTheReadingsNoise) {
  Steering coarse(1'000'000, 10, {});  // 10 us a step
  Observation o = source_.at(kStart);
  o.period = o.raw_period = 0;
  o.noise_ns = 333;
  coarse.observe(o);
  EXPECT_GE(coarse.first(kStart, kStart + 8000, 11).terms.local_bound_ns, 10'333U);
}

// adjtimex allows a tick 10 % off, and may end that while the writer is dead after its first
// segment.
TEST_F(SteeringTest, TheFirstSegmentsBoundGrowsWithTheSlewThatItFollows) {
  Source source;
  Observation slewed = source.at(kStart);
  slewed.period += slewed.period / 10;
  Steering steering(kHz, 1, {});
  steering.observe(slewed);
  const Segment first = steering.first(kStart, kStart + kSpan, 0);
  const double slew_frac = 0.1 * 0x1p64 * kNsPerTick;
  EXPECT_GE(static_cast<double>(first.terms.local_bound_growth_frac), slew_frac);
  EXPECT_GE(static_cast<double>(first.terms.utc_bound_growth_frac), slew_frac);
}

TEST_F(SteeringTest, AReadingThatIsLeftOutDoesNotMakeTheBoundYounger) {
  std::uint64_t counter = kStart;
  for (int i = 0; i < 5; i++) {
    Observation o = source_.at(counter += kSpan);
    o.noise_ns = 20;
    steering_.observe(o);
  }
  source_.off_ns = source_.raw_off_ns = 1'000'000;  // disturbed
  Observation o = source_.at(counter += kHz);
  o.noise_ns = 20;
  steering_.observe(o);
  // The second that has passed since the last good reading, at 1000 ppm.
  newest_.lease_end = counter + kSpan;
  EXPECT_GT(
      steering_.plan(newest_, newest_.terms.utc, newest_.lease_end + kSpan).terms.local_bound_ns,
      1'000'000U);
}

TEST_F(SteeringTest, TheLastSegmentKeepsTheMeanFrequencyAndCorrectsNoPhase) {
  source_.off_ns = 20'000;
  source_.raw_off_ns = 20'000;
  (void)next();
  const Plan last = steering_.last_plan(newest_, newest_.terms.utc, newest_.lease_end + kSpan);
  EXPECT_EQ(last.terms.reason, CLOCKPAGE_REASON_PRODUCER_STOPPED);
  EXPECT_EQ(last.terms.status, CLOCKPAGE_STATUS_FREE_RUNNING);
  EXPECT_TRUE(last.period == steering_.period());
  accept(last);
  EXPECT_NEAR(error_ns(newest_.lease_end), error_ns(newest_.tai.start), 0.01);
  // RAW goes on at its own rate, too.
  EXPECT_NEAR(static_cast<double>(newest_.raw.period_frac) * 0x1p-64 / kNsPerTick, 1, 1e-8);
}

TEST(SteeringStatusTest, ALastSegmentIsFreeRunningAndClaimsNoBoundThatNeverWas) {
  Source source;
  Observation o = source.at(kStart);
  o.quality = {false, CLOCKPAGE_REASON_KERNEL_UNSYNCHRONISED, std::nullopt};
  Steering steering(kHz, 1, {});
  steering.observe(o);
  const Segment first = steering.first(kStart, kStart + kSpan, 0);
  EXPECT_EQ(first.terms.status, CLOCKPAGE_STATUS_UNKNOWN);
  const Plan last = steering.last_plan(first, first.terms.utc, first.lease_end + kSpan);
  EXPECT_EQ(last.terms.status, CLOCKPAGE_STATUS_FREE_RUNNING);
  EXPECT_EQ(last.terms.utc_bound_ns, CLOCKPAGE_BOUND_UNKNOWN);
  EXPECT_EQ(last.terms.reason, CLOCKPAGE_REASON_PRODUCER_STOPPED);
  EXPECT_EQ(last.terms.utc_bound_ns, CLOCKPAGE_BOUND_UNKNOWN);
}

}  // namespace
}  // namespace clockpage::producer
