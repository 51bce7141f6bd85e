// SPDX-License-Identifier: MIT
#include "host_sources.hpp"

#include <clockpage/counter.h>
#include <clockpage/reader.h>
#include <gtest/gtest.h>
#include <sys/timex.h>

#include <cmath>
#include <ctime>

namespace clockpage::producer {
namespace {

std::int64_t now_ns(clockid_t clock) {
  timespec ts{};
  clock_gettime(clock, &ts);
  return static_cast<std::int64_t>(ts.tv_sec) * 1'000'000'000 + ts.tv_nsec;
}

// ---- OffsetInterval

TEST(OffsetIntervalTest, BeginsInTheMiddleOfTheFirstReading) {
  OffsetInterval interval;
  interval.add(100, 200);
  EXPECT_EQ(interval.value(), 150);
  OffsetInterval negative;
  negative.add(-200, -100);
  EXPECT_EQ(negative.value(), -150);
}

TEST(OffsetIntervalTest, SettlesInTheMiddleOfAllReadings) {
  OffsetInterval interval;
  interval.add(0, 100);
  interval.add(40, 120);
  EXPECT_EQ(interval.value(), 50);
  interval.settle();
  EXPECT_EQ(interval.value(), 70);
}

TEST(OffsetIntervalTest, NarrowingIsNoStep) {
  OffsetInterval interval;
  interval.add(100, 200);
  for (const auto& [low, high] : {std::pair{90, 190}, std::pair{110, 250}, std::pair{140, 160}}) {
    interval.add(low, high);
    EXPECT_EQ(interval.value(), 150);
  }
}

TEST(OffsetIntervalTest, MovesWhereTheValueHeldIsRefuted) {
  OffsetInterval interval;
  interval.add(100, 200);
  interval.add(160, 300);
  EXPECT_EQ(interval.value(), 180);  // within 160 to 200
  interval.add(170, 175);
  EXPECT_EQ(interval.value(), 172);
}

TEST(OffsetIntervalTest, AStepIsSeenAtOnceAndForgetsThePast) {
  OffsetInterval interval;
  for (int i = 0; i < 100; i++) interval.add(100, 200);
  interval.add(1'000'000'100, 1'000'000'200);
  EXPECT_EQ(interval.value(), 1'000'000'150);
  interval.add(100, 200);
  EXPECT_EQ(interval.value(), 150);
  interval.add(201, 203);  // by less than the interval's width, too
  EXPECT_EQ(interval.value(), 202);
}

// ---- pending_leap_from_timex

int pending_leap(int state, int status, std::int64_t into_day_s) {
  timex fields{};
  fields.status = status;
  fields.time.tv_sec = 1483142400 + into_day_s;
  return pending_leap_from_timex(state, fields);
}

TEST(PendingLeapTest, IsWhatTheStatusBitsSayUntilItIsTaken) {
  EXPECT_EQ(pending_leap(TIME_OK, STA_INS, 0), 1);
  EXPECT_EQ(pending_leap(TIME_INS, STA_INS, 86'399), 1);
  EXPECT_EQ(pending_leap(TIME_DEL, STA_DEL, 86'398), -1);
  EXPECT_EQ(pending_leap(TIME_OK, 0, 0), 0);
  EXPECT_EQ(pending_leap(TIME_OOP, STA_INS, 86'399), 0);
  EXPECT_EQ(pending_leap(TIME_WAIT, STA_INS, 0), 0);
  EXPECT_EQ(pending_leap(TIME_ERROR, STA_INS, 0), 1);  // it leaps all the same
  EXPECT_EQ(pending_leap(-1, STA_INS, 0), 0);
}

// leap_kernel_test.py has a kernel do it.
TEST(PendingLeapTest, ABitThatIsSetWithinTheLastSecondBeforeTheLeapIsForTheDayAfter) {
  EXPECT_EQ(pending_leap(TIME_OK, STA_INS, 86'398), 1);
  EXPECT_EQ(pending_leap(TIME_OK, STA_INS, 86'399), 0);
  EXPECT_EQ(pending_leap(TIME_OK, STA_DEL, 86'397), -1);
  EXPECT_EQ(pending_leap(TIME_OK, STA_DEL, 86'398), 0);
}

// ---- quality_from_timex

struct QualityCase {
  int state;
  int status;
  long maxerror_us;
  bool synchronised;
  std::uint8_t reason;
  std::optional<std::uint64_t> max_error_ns;
};

class QualityTest : public testing::TestWithParam<QualityCase> {};

TEST_P(QualityTest, IsWhatAdjtimexSays) {
  const QualityCase& c = GetParam();
  timex fields{};
  fields.status = c.status;
  fields.maxerror = c.maxerror_us;
  const Quality quality = quality_from_timex(c.state, fields);
  EXPECT_EQ(quality.synchronised, c.synchronised);
  EXPECT_EQ(quality.reason, c.reason);
  EXPECT_EQ(quality.max_error_ns, c.max_error_ns);
}

constexpr std::uint8_t kFine = CLOCKPAGE_REASON_NONE;
constexpr std::uint8_t kUnsync = CLOCKPAGE_REASON_KERNEL_UNSYNCHRONISED;
constexpr std::uint8_t kError = CLOCKPAGE_REASON_KERNEL_CLOCK_ERROR;

INSTANTIATE_TEST_SUITE_P(
    Timex, QualityTest,
    testing::Values(QualityCase{TIME_OK, STA_PLL, 1500, true, kFine, 1'500'000},
                    QualityCase{TIME_OK, 0, 0, true, kFine, 0},
                    QualityCase{TIME_INS, STA_INS, 1500, true, kFine, 1'500'000},
                    QualityCase{TIME_WAIT, STA_INS, 1500, true, kFine, 1'500'000},
                    QualityCase{TIME_OK, 0, 15'999'999, true, kFine, 15'999'999'000},
                    QualityCase{TIME_OK, 0, 16'000'000, false, kUnsync, std::nullopt},
                    QualityCase{TIME_OK, 0, -1, false, kUnsync, std::nullopt},
                    // A fresh host: STA_UNSYNC, TIME_ERROR and 16 s.
                    QualityCase{TIME_ERROR, STA_UNSYNC, 16'000'000, false, kUnsync, std::nullopt},
                    QualityCase{TIME_ERROR, STA_UNSYNC, 1500, false, kUnsync, 1'500'000},
                    QualityCase{TIME_ERROR, STA_CLOCKERR, 1500, false, kError, 1'500'000},
                    QualityCase{-1, 0, 1500, false, kError, 1'500'000}));

TEST(KernelTaiOffsetTest, BelowTenSecondsItWasNeverSet) {
  Observation observation;
  for (const int unset : {-1, 0, 1, 9}) {
    set_tai_offset(unset, observation);
    EXPECT_FALSE(observation.tai_known);
    EXPECT_EQ(observation.tai_minus_realtime_ns, unset * std::int64_t{1'000'000'000});
  }
  for (const int set : {10, 37}) {
    set_tai_offset(set, observation);
    EXPECT_TRUE(observation.tai_known);
    EXPECT_EQ(observation.tai_minus_realtime_ns, set * std::int64_t{1'000'000'000});
  }
}

TEST(ObserveTrustedTest, ACounterThatTheKernelHasLeftIsNotTrusted) {
  KernelClockSnapshot snapshot;
  snapshot.shift = snapshot.raw_shift = 24;
  snapshot.mult = snapshot.raw_mult = 1U << 24;
  snapshot.cycle_last = snapshot.raw_cycle_last = 1000;
  Observation observation;
  for (const std::int32_t mode : {0, 2, 3, INT32_MAX}) {
    snapshot.clock_mode = mode;
    EXPECT_EQ(observe_trusted(snapshot, 2000, observation), ObserveResult::counter_untrusted);
  }
  snapshot.clock_mode = kKernelClockModeTsc;
  EXPECT_EQ(observe_trusted(snapshot, 2000, observation), ObserveResult::ok);
  EXPECT_EQ(observation.counter, 2000U);
  EXPECT_EQ(whole_ns(observation.monotonic), 1000U);
  EXPECT_EQ(observe_trusted(snapshot, 999, observation), ObserveResult::ok);
  EXPECT_EQ(observation.counter, 1000U);
}

// ---- this machine's clocks

// All clocks but RAW of an observation, read around it.
template <typename Source>
void expect_within_clock_gettime(Source& source, double ns_per_tick, std::int64_t slack_ns) {
  for (int i = 0; i < 300; i++) {
    Observation o;
    const std::uint64_t c0 = clockpage_counter_ordered();
    const std::int64_t monotonic0 = now_ns(CLOCK_MONOTONIC);
    const std::int64_t raw0 = now_ns(CLOCK_MONOTONIC_RAW);
    const std::int64_t realtime0 = now_ns(CLOCK_REALTIME);
    const std::int64_t boottime0 = now_ns(CLOCK_BOOTTIME);
    ASSERT_EQ(source.observe(o), ObserveResult::ok);
    const std::int64_t boottime1 = now_ns(CLOCK_BOOTTIME);
    const std::int64_t realtime1 = now_ns(CLOCK_REALTIME);
    const std::int64_t raw1 = now_ns(CLOCK_MONOTONIC_RAW);
    const std::int64_t monotonic1 = now_ns(CLOCK_MONOTONIC);
    const std::uint64_t c1 = clockpage_counter_ordered();
    ASSERT_GE(o.counter, c0);
    ASSERT_LE(o.counter, c1);
    const auto slack = slack_ns + static_cast<std::int64_t>(o.noise_ns);
    const auto monotonic = static_cast<std::int64_t>(whole_ns(o.monotonic));
    const auto raw = static_cast<std::int64_t>(whole_ns(o.raw));
    const std::int64_t realtime = monotonic + o.realtime_minus_monotonic_ns;
    const std::int64_t boottime = monotonic + o.boottime_minus_monotonic_ns;
    ASSERT_GE(monotonic, monotonic0 - slack);
    ASSERT_LE(monotonic, monotonic1 + slack);
    ASSERT_GE(raw, raw0 - slack);
    ASSERT_LE(raw, raw1 + slack);
    ASSERT_GE(realtime, realtime0 - slack);
    ASSERT_LE(realtime, realtime1 + slack);
    ASSERT_GE(boottime, boottime0 - slack);
    ASSERT_LE(boottime, boottime1 + slack);
    if (o.period != 0) {
      const double period = static_cast<double>(o.period) * 0x1p-64;
      ASSERT_NEAR(period / ns_per_tick, 1, 1e-3);
    }
  }
}

class HostClockTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto defect = counter_defect()) GTEST_SKIP() << *defect;
  }
};

TEST_F(HostClockTest, BracketObservesWithinClockGettime) {
  const std::uint64_t hz = measure_frequency_hz();
  BracketSource source(hz);
  EXPECT_EQ(source.name(), "bracket");
  expect_within_clock_gettime(source, 1e9 / static_cast<double>(hz), 1);
}

TEST_F(HostClockTest, ABracketIsNeverSaidToBeExact) {
  BracketSource source(measure_frequency_hz());
  Observation o;
  ASSERT_EQ(source.observe(o), ObserveResult::ok);
  EXPECT_GT(o.noise_ns, 0U);
  EXPECT_TRUE(o.period == 0);
}

#if defined(__x86_64__)

TEST_F(HostClockTest, VvarObservesWithinClockGettime) {
  auto created = VvarSource::create();
  if (const auto* refusal = std::get_if<std::string>(&created)) GTEST_SKIP() << *refusal;
  VvarSource& source = *std::get<std::unique_ptr<VvarSource>>(created);
  EXPECT_EQ(source.name(), "vvar");
  ASSERT_GT(source.frequency_hz(), 0U);
  EXPECT_EQ(source.frequency_hz() % 1000, 0U);
  expect_within_clock_gettime(source, 1e9 / static_cast<double>(source.frequency_hz()), 1);
}

TEST_F(HostClockTest, VvarIsExactAndSaysHowMuchItsMultiplierDithers) {
  auto created = VvarSource::create();
  if (const auto* refusal = std::get_if<std::string>(&created)) GTEST_SKIP() << *refusal;
  Observation o;
  ASSERT_EQ(std::get<std::unique_ptr<VvarSource>>(created)->observe(o), ObserveResult::ok);
  EXPECT_EQ(o.noise_ns, 0U);
  EXPECT_TRUE(o.dither > 0 && o.dither < o.period / 100'000);
  EXPECT_TRUE(o.raw_period > 0);
}

TEST_F(HostClockTest, TheMeasuredFrequencyIsTheKernels) {
  auto created = VvarSource::create();
  if (const auto* refusal = std::get_if<std::string>(&created)) GTEST_SKIP() << *refusal;
  const auto kernels =
      static_cast<double>(std::get<std::unique_ptr<VvarSource>>(created)->frequency_hz());
  // Adoption takes two measurements of one counter for one within 200 ppm.
  EXPECT_NEAR(static_cast<double>(measure_frequency_hz()) / kernels, 1, 20e-6);
}

#else

TEST_F(HostClockTest, TheVvarSourceSaysThatItIsForX86Only) {
  const auto created = VvarSource::create();
  const auto* refusal = std::get_if<std::string>(&created);
  ASSERT_NE(refusal, nullptr);
  EXPECT_NE(refusal->find("x86-64 only"), std::string::npos) << *refusal;
}

#endif

}  // namespace
}  // namespace clockpage::producer
