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
