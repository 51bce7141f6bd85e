// SPDX-License-Identifier: MIT
#include "sim_kernel.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "kernel_observation.hpp"

namespace clockpage::producer {
namespace {

constexpr std::uint64_t kStart = 1'000'000'000'000;
constexpr std::uint64_t kHz = 2'300'000'000;
constexpr std::int64_t kSecondNs = 1'000'000'000;

Instant monotonic_at(SimKernel& kernel, std::uint64_t counter) {
  kernel.advance(counter);
  Observation o;
  observe_snapshot(kernel.snapshot(), counter, o);
  return o.monotonic;
}

std::int64_t clock_ns(const SimKernel& kernel, int clock, std::uint64_t counter) {
  return evaluate(kernel.snapshot(), clock, counter).value();
}

class SimKernelRateTest : public testing::TestWithParam<std::int64_t> {};

TEST_P(SimKernelRateTest, KeepsTheScriptedMeanFrequencyToAPartInABillion) {
  const std::int64_t ppb = GetParam();
  SimKernel kernel({}, kStart);
  kernel.schedule({kStart + 1, SimEvent::Kind::frequency, ppb});
  const std::uint64_t from = kStart + kHz / 10;
  const std::uint64_t to = from + 100 * kHz;
  const Instant before = monotonic_at(kernel, from);
  const double elapsed_ns = to_double_ns(difference(monotonic_at(kernel, to), before));
  // As in Linux, nominal is what the rounded multiplier makes of the counter: RAW's rate.
  const double nominal_ns = static_cast<double>(100 * kHz) * kernel.snapshot().raw_mult * 0x1p-24;
  const double wanted_ns = nominal_ns * (1 + static_cast<double>(ppb) * 1e-9);
  EXPECT_NEAR((elapsed_ns / wanted_ns - 1) * 1e9, 0, 1);
}

TEST_P(SimKernelRateTest, DithersTheMultiplierByOneUnitAtMost) {
  SimKernel kernel({}, kStart);
  kernel.schedule({kStart + 1, SimEvent::Kind::frequency, GetParam()});
  kernel.advance(kStart + kHz / 10);
  std::set<std::uint32_t> multipliers;
  for (std::uint64_t c = kStart + kHz / 10; c < kStart + 20 * kHz; c += kHz / 300) {
    kernel.advance(c);
    multipliers.insert(kernel.snapshot().mult);
  }
  EXPECT_LE(*multipliers.rbegin() - *multipliers.begin(), 1U);
}

INSTANTIATE_TEST_SUITE_P(Ppb, SimKernelRateTest,
                         testing::Values(0, 1, -1, 12'345, -77'777, 500'000, -500'000));

TEST(SimKernelTest, DithersAtAll) {
  SimKernel kernel({}, kStart);
  kernel.schedule({kStart + 1, SimEvent::Kind::frequency, 12'345});
  std::set<std::uint32_t> multipliers;
  for (std::uint64_t c = kStart + kHz / 10; c < kStart + 5 * kHz; c += kHz / 300) {
    kernel.advance(c);
    multipliers.insert(kernel.snapshot().mult);
  }
  EXPECT_EQ(multipliers.size(), 2U);
}

TEST(SimKernelTest, IsContinuousAtEveryTickWhateverTheFrequencyDoes) {
  SimKernel kernel({}, kStart);
  SimScript::Options options;
  options.mean_interval_s = 0.05;
  options.tick_gaps_per_hour = 3600;
  SimScript script(options, kHz, kStart);
  script.feed(kernel, kStart + 20 * kHz);
  int ticks = 0;
  KernelClockSnapshot before = kernel.snapshot();
  for (std::uint64_t c = kStart; c < kStart + 20 * kHz; c += kHz / 1000) {
    kernel.advance(c);
    const KernelClockSnapshot now = kernel.snapshot();
    if (now.cycle_last == before.cycle_last) continue;
    ticks++;
    Observation old_line;
    Observation new_line;
    observe_snapshot(before, now.cycle_last, old_line);
    observe_snapshot(now, now.cycle_last, new_line);
    // Between two samples lies one tick at most, for samples are denser than ticks.
    ASSERT_TRUE(old_line.monotonic == new_line.monotonic) << ticks;
    ASSERT_TRUE(old_line.raw == new_line.raw) << ticks;
    before = now;
  }
  EXPECT_GT(ticks, 1000);
}

TEST(SimKernelTest, TakesAFrequencyOverAtTheNextTickOnly) {
  SimKernel kernel({}, kStart);
  const std::uint64_t event = kStart + kHz / 100;
  kernel.schedule({event, SimEvent::Kind::frequency, 500'000});
  kernel.advance(event);
  const std::uint32_t before = kernel.snapshot().mult;
  EXPECT_EQ(kernel.frequency_ppb(), 0);
  kernel.advance(event + kHz / 250);
  EXPECT_EQ(kernel.frequency_ppb(), 500'000);
  EXPECT_NEAR(kernel.snapshot().mult / static_cast<double>(before), 1.0005, 1e-6);
}

TEST(SimKernelTest, StepsRealtimeExactlyAndNothingElse) {
  for (const std::int64_t step : {std::int64_t{1}, std::int64_t{-1}, kSecondNs * 3 / 2,
                                  -kSecondNs * 7 / 3, kSecondNs * 100}) {
    SimKernel stepped({}, kStart);
    SimKernel plain({}, kStart);
    stepped.schedule({kStart + kHz, SimEvent::Kind::realtime_step, step});
    for (const std::uint64_t c : {kStart + kHz - 1, kStart + kHz, kStart + 3 * kHz}) {
      stepped.advance(c);
      plain.advance(c);
      const std::int64_t expected = c < kStart + kHz ? 0 : step;
      EXPECT_EQ(clock_ns(stepped, 0, c) - clock_ns(plain, 0, c), expected) << step;
      EXPECT_EQ(clock_ns(stepped, 11, c) - clock_ns(plain, 11, c), expected) << step;
      for (const int clock : {1, 4, 7})
        EXPECT_EQ(clock_ns(stepped, clock, c), clock_ns(plain, clock, c)) << clock;
    }
  }
}

TEST(SimKernelTest, LearnsTheTaiOffset) {
  SimKernel kernel({}, kStart);
  kernel.schedule({kStart + kHz, SimEvent::Kind::tai_offset, 37});
  kernel.advance(kStart + kHz - 1);
  EXPECT_EQ(clock_ns(kernel, 11, kStart + kHz) - clock_ns(kernel, 0, kStart + kHz), 0);
  kernel.advance(kStart + kHz);
  EXPECT_EQ(clock_ns(kernel, 11, kStart + kHz) - clock_ns(kernel, 0, kStart + kHz), 37 * kSecondNs);
}

// ---- leap seconds

constexpr std::int64_t kMidnight = 1'483'228'800;  // 2017-01-01T00:00:00Z

class SimLeapTest : public testing::Test {
 protected:
  // Some seconds before a midnight UTC, between two ticks; `plain` never leaps.
  explicit SimLeapTest(std::int64_t seconds_before = 10)
      : leaping_(config(seconds_before), kStart), plain_(config(seconds_before), kStart) {}
  static SimKernelConfig config(std::int64_t seconds_before) {
    SimKernelConfig config;
    config.realtime_ns = (kMidnight - seconds_before) * kSecondNs + 1'234'567;
    config.tai_offset_s = 36;
    return config;
  }
  void arm(std::int64_t value, std::uint64_t after_ticks) {
    leaping_.schedule({kStart + after_ticks, SimEvent::Kind::arm_leap, value});
  }
  // REALTIME against a kernel that does not leap; all other clocks must be as that one's.
  std::int64_t ahead(std::uint64_t counter) {
    leaping_.advance(counter);
    plain_.advance(counter);
    for (const int clock : {1, 4, 7, 11})
      EXPECT_EQ(clock_ns(leaping_, clock, counter), clock_ns(plain_, clock, counter)) << clock;
    Observation a;
    Observation b;
    observe_snapshot(leaping_.snapshot(), counter, a);
    observe_snapshot(plain_.snapshot(), counter, b);
    EXPECT_TRUE(a.monotonic == b.monotonic);
    EXPECT_EQ(a.tai_minus_realtime_ns + a.realtime_minus_monotonic_ns,
              b.tai_minus_realtime_ns + b.realtime_minus_monotonic_ns);
    return clock_ns(leaping_, 0, counter) - clock_ns(plain_, 0, counter);
  }
  // The first counter value at which the kernel without leap reads at least `ns`.
  std::uint64_t when(std::int64_t ns) {
    SimKernel kernel(config(10), kStart);
    std::uint64_t low = kStart;
    std::uint64_t high = kStart + 1000 * kHz;
    while (low < high) {
      const std::uint64_t middle = low + (high - low) / 2;
      if (clock_ns(kernel, 0, middle) < ns)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }
  // The tick at or after `counter`.
  static std::uint64_t tick_from(std::uint64_t counter) {
    SimKernel kernel({}, kStart);
    std::uint64_t at = counter;
    const auto last = [&](std::uint64_t c) {
      kernel.advance(c);
      return kernel.snapshot().cycle_last;
    };
    const std::uint64_t before = last(counter - 1);
    while (last(at) == before) at++;
    return at;
  }

  SimKernel leaping_;
  SimKernel plain_;
};

TEST_F(SimLeapTest, AnInsertionIsTakenAtTheTickAfterTheSecondAndNotBefore) {
  arm(1, kHz);
  const std::uint64_t second = when(kMidnight * kSecondNs);
  const std::uint64_t tick = tick_from(second);
  ASSERT_GT(tick, second);  // the kernel is late, and that is the point
  EXPECT_EQ(ahead(second - 1), 0);
  EXPECT_EQ(ahead(second), 0);  // REALTIME already reads 00:00:00
  EXPECT_EQ(clock_ns(leaping_, 0, second) / kSecondNs, kMidnight);
  EXPECT_EQ(ahead(tick - 1), 0);
  EXPECT_EQ(ahead(tick), -kSecondNs);
  EXPECT_EQ(clock_ns(leaping_, 0, tick) / kSecondNs, kMidnight - 1);  // 23:59:59 once more
  EXPECT_EQ(ahead(tick + kHz), -kSecondNs);
  EXPECT_EQ(clock_ns(leaping_, 0, tick + kHz) / kSecondNs, kMidnight);
}

TEST_F(SimLeapTest, ADeletionIsTakenAtTheTickAfterTheSecondThatIsLeftOut) {
  arm(-1, kHz);
  const std::uint64_t second = when((kMidnight - 1) * kSecondNs);
  const std::uint64_t tick = tick_from(second);
  ASSERT_GT(tick, second);
  EXPECT_EQ(ahead(tick - 1), 0);
  EXPECT_EQ(ahead(tick), kSecondNs);
  EXPECT_EQ(clock_ns(leaping_, 0, tick) / kSecondNs, kMidnight);
  EXPECT_EQ(ahead(tick + 3 * kHz), kSecondNs);
}

TEST_F(SimLeapTest, WhatIsPendingShowsFromTheNextSecondOnAndUntilItIsTaken) {
  for (const int leap : {1, -1}) {
    SimKernel kernel(config(10), kStart);
    kernel.schedule({kStart + kHz / 2, SimEvent::Kind::arm_leap, leap});
    kernel.advance(kStart + kHz * 9 / 10);
    EXPECT_EQ(kernel.pending_leap(), 0);
    kernel.advance(kStart + kHz * 11 / 10);
    EXPECT_EQ(kernel.pending_leap(), leap);
    kernel.advance(kStart + kHz * 89 / 10);
    EXPECT_EQ(kernel.pending_leap(), leap);
    kernel.advance(kStart + kHz * 101 / 10);
    EXPECT_EQ(kernel.pending_leap(), 0);
  }
}

TEST_F(SimLeapTest, IsNotTakenTwiceWhileItIsStillArmed) {
  arm(1, kHz);
  EXPECT_EQ(ahead(kStart + 12 * kHz), -kSecondNs);
  EXPECT_EQ(ahead(kStart + (2 * 86400 + 20) * kHz), -kSecondNs);
  EXPECT_EQ(leaping_.pending_leap(), 0);
}

TEST_F(SimLeapTest, IsTakenAgainOnceItHasBeenDisarmedAndArmedAnew) {
  arm(1, kHz);
  arm(0, 3600 * kHz);
  arm(1, 7200 * kHz);
  EXPECT_EQ(ahead(kStart + 86400 * kHz), -kSecondNs);
  EXPECT_EQ(leaping_.pending_leap(), 1);
  EXPECT_EQ(ahead(kStart + 86420 * kHz), -2 * kSecondNs);
}

TEST_F(SimLeapTest, IsNotTakenOnceItHasBeenDisarmed) {
  arm(-1, kHz);
  arm(0, 5 * kHz);
  EXPECT_EQ(ahead(kStart + 20 * kHz), 0);
  EXPECT_EQ(leaping_.pending_leap(), 0);
}

TEST_F(SimLeapTest, ArmedInTheLastSecondItIsTakenADayLater) {
  arm(1, kHz * 95 / 10);
  EXPECT_EQ(ahead(kStart + 20 * kHz), 0);
  EXPECT_EQ(leaping_.pending_leap(), 1);
  EXPECT_EQ(ahead(kStart + 86420 * kHz), -kSecondNs);
}

TEST_F(SimLeapTest, ATickGapOverTheLeapDelaysItToTheNextTick) {
  arm(1, kHz);
  const std::uint64_t second = when(kMidnight * kSecondNs);
  const std::uint64_t begin = second - kHz / 10;
  for (SimKernel* kernel : {&leaping_, &plain_})
    kernel->schedule({begin, SimEvent::Kind::tick_gap, 750});  // 3 s
  EXPECT_EQ(ahead(second + 2 * kHz), 0);
  EXPECT_EQ(clock_ns(leaping_, 0, second + 2 * kHz) / kSecondNs, kMidnight + 2);
  EXPECT_EQ(ahead(second + 3 * kHz), -kSecondNs);  // one second, though three have passed at once
}

TEST_F(SimLeapTest, AClockThatIsSetForgetsTheLeap) {
  arm(1, kHz);
  for (SimKernel* kernel : {&leaping_, &plain_})
    kernel->schedule({kStart + 5 * kHz, SimEvent::Kind::realtime_step, 1});
  EXPECT_EQ(ahead(kStart + 20 * kHz), 0);
  EXPECT_EQ(leaping_.pending_leap(), 0);
}

TEST_F(SimLeapTest, ATaiOffsetThatWasNeverSetCountsTheLeapsAllTheSame) {
  SimKernelConfig unset = config(10);
  unset.tai_offset_s = 0;
  SimKernel kernel(unset, kStart);
  kernel.schedule({kStart + kHz, SimEvent::Kind::arm_leap, 1});
  const std::uint64_t later = kStart + 20 * kHz;
  kernel.advance(later);
  EXPECT_EQ(clock_ns(kernel, 11, later) - clock_ns(kernel, 0, later), kSecondNs);
}

TEST(SimKernelTest, RawIsNotSteered) {
  SimKernel kernel({}, kStart);
  kernel.schedule({kStart + 1, SimEvent::Kind::frequency, -500'000});
  const std::uint64_t to = kStart + 50 * kHz;
  kernel.advance(to);
  const double elapsed_ns = static_cast<double>(clock_ns(kernel, 4, to) - SimKernelConfig().raw_ns);
  // Off nominal by what its multiplier is rounded to, no more.
  EXPECT_NEAR((elapsed_ns / 50e9 - 1) * 1e9, 0, 0.5e9 / (16777216.0 / 2.3));
}

TEST(SimScriptTest, PlannedEventsComeInOrderBesideThoseByChance) {
  SimScript::Options options;
  options.mean_interval_s = 0.1;
  options.max_frequency_ppb = 0;
  options.planned = {{kHz, SimEvent::Kind::realtime_step, 3600 * kSecondNs},
                     {kHz + 1, SimEvent::Kind::suspend, 10 * kSecondNs}};
  SimKernel kernel({}, kStart);
  SimKernel plain({}, kStart);
  SimScript script(options, kHz, kStart);
  const auto ahead = [&](int clock, std::uint64_t at) {
    script.feed(kernel, at);
    kernel.advance(at);
    plain.advance(at);
    return clock_ns(kernel, clock, at) - clock_ns(plain, clock, at);
  };
  EXPECT_EQ(ahead(0, kStart + kHz - 1), 0);
  EXPECT_EQ(ahead(0, kStart + kHz), 3600 * kSecondNs);
  EXPECT_EQ(ahead(1, kStart + kHz), 0);
  EXPECT_EQ(ahead(1, kStart + kHz + 1), -10 * kSecondNs);
  EXPECT_EQ(ahead(7, kStart + 3 * kHz), 0);
  EXPECT_EQ(ahead(0, kStart + 3 * kHz), 3600 * kSecondNs);
}

TEST(SimScriptTest, TheSameSeedGivesTheSameEvents) {
  SimScript::Options options;
  options.seed = 5;
  options.steps_per_hour = 100;
  SimKernel a({}, kStart);
  SimKernel b({}, kStart);
  SimScript one(options, kHz, kStart);
  SimScript two(options, kHz, kStart);
  for (int i = 0; i < 500; i++) {
    ASSERT_EQ(one.next().counter, two.next().counter);
    ASSERT_EQ(one.next().kind, two.next().kind);
    ASSERT_EQ(one.next().value, two.next().value);
    if (one.next().kind == SimEvent::Kind::frequency) {
      ASSERT_LE(std::abs(one.next().value), options.max_frequency_ppb);
    }
    one.feed(a, one.next().counter);
    two.feed(b, two.next().counter);
  }
}

}  // namespace
}  // namespace clockpage::producer
