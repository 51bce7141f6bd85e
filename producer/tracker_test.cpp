// SPDX-License-Identifier: MIT
#include "tracker.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace clockpage::producer {
namespace {

constexpr std::uint64_t kHz = 2'300'000'000;
constexpr std::uint64_t kInterval = kHz / 250;  // ticks between two readings
constexpr Period kNominal = nominal_period(kHz);
// One unit of a kernel's multiplier with shift 24.
constexpr Period kDither = Period{1} << 40;

double error_ns(Instant a, Instant b) { return to_double_ns(difference(a, b)); }

Period with_ppm(double ppm) {
  return kNominal +
         static_cast<Period>(static_cast<InstantDelta>(static_cast<double>(kNominal) * ppm * 1e-6));
}

// A clock that can be read exactly or with noise, and steered.
class Clock {
 public:
  explicit Clock(Period period) : period_(period) {}
  void run(std::uint64_t ticks) {
    counter_ += ticks;
    value_ += static_cast<Instant>(span(period_, static_cast<std::int64_t>(ticks)));
  }
  void set_period(Period period) { period_ = period; }
  [[nodiscard]] Instant ahead(std::uint64_t ticks) const {
    return value_ + static_cast<Instant>(span(period_, static_cast<std::int64_t>(ticks)));
  }
  [[nodiscard]] std::uint64_t counter() const { return counter_; }
  [[nodiscard]] Phase exact() const { return {counter_, value_, period_, kDither, 0}; }
  [[nodiscard]] Phase noisy(std::uint64_t noise_ns, double off_ns) const {
    const auto off = static_cast<InstantDelta>(off_ns * 0x1p64);
    return {counter_, value_ + static_cast<Instant>(off), 0, 0, noise_ns};
  }

 private:
  std::uint64_t counter_ = 1'000'000'000'000;
  Instant value_ = make_instant(5'000'000'000, 12345);
  Period period_;
};

TEST(TrackerTest, HasNoPhaseBeforeTheFirstReading) {
  Tracker tracker(kNominal);
  EXPECT_FALSE(tracker.has_phase());
  EXPECT_TRUE(tracker.period() == kNominal);
  tracker.add(Clock(kNominal).exact());
  EXPECT_TRUE(tracker.has_phase());
}

TEST(TrackerTest, TakesAnExactReadingToTheLastBitAndPredictsBothWays) {
  Clock clock(kNominal);
  Tracker tracker(kNominal);
  const Phase first = clock.exact();
  for (int i = 0; i < 20; i++) {
    clock.run(kInterval);
    tracker.add(clock.exact());
    ASSERT_TRUE(tracker.predict(clock.counter()) == clock.exact().value);
  }
  EXPECT_TRUE(tracker.predict(clock.counter() + kInterval) == clock.ahead(kInterval));
  EXPECT_TRUE(tracker.predict(first.counter) == first.value);
}

TEST(TrackerTest, AveragesTheDitherOfTheKernelsMultiplier) {
  Clock clock(kNominal);
  Tracker tracker(kNominal);
  double worst_period = 0;
  for (int i = 0; i < 100; i++) {
    clock.set_period(i % 2 == 0 ? kNominal : kNominal + kDither);
    clock.run(kInterval);
    tracker.add(clock.exact());
    if (i < 8) continue;
    const Period mean = kNominal + kDither / 2;
    const auto off = static_cast<InstantDelta>(tracker.period() - mean);
    worst_period = std::max(worst_period, std::abs(static_cast<double>(off)));
  }
  // Half a unit is what any single reading would be off by.
  EXPECT_LT(worst_period, static_cast<double>(kDither) / 10);
}

TEST(TrackerTest, ForgetsThePastWhenTheFrequencyChanges) {
  for (const double ppm : {500.0, -500.0, 1.0, -1.0}) {
    Clock clock(kNominal);
    Tracker tracker(kNominal);
    for (int i = 0; i < 20; i++) {
      clock.run(kInterval);
      tracker.add(clock.exact());
    }
    clock.set_period(with_ppm(ppm));
    clock.run(kInterval / 3);
    tracker.add(clock.exact());
    EXPECT_TRUE(tracker.period() == with_ppm(ppm)) << ppm;
    EXPECT_TRUE(tracker.predict(clock.counter() + kInterval) == clock.ahead(kInterval)) << ppm;
    // Nor does the old frequency come back with the mean of the next readings.
    for (int i = 0; i < 10; i++) {
      clock.run(kInterval);
      tracker.add(clock.exact());
      ASSERT_TRUE(tracker.period() == with_ppm(ppm)) << ppm << ", reading " << i;
    }
  }
}

TEST(TrackerTest, IsAtMostOneDitherUnitOffHoweverTheFrequencyChangedBetweenTwoReadings) {
  // From one frequency over another, and a third, for a while each; only readings are seen.
  for (int from = -3; from <= 3; from++)
    for (int over = -60; over <= 60; over++)
      for (int to = -3; to <= 3; to++) {
        Clock clock(kNominal);
        Tracker tracker(kNominal);
        const auto at = [](double units) {
          return with_ppm(units * static_cast<double>(kDither) / static_cast<double>(kNominal) *
                          1e6 / 2);
        };
        clock.set_period(at(from));
        for (int i = 0; i < 10; i++) {
          clock.run(kInterval);
          tracker.add(clock.exact());
        }
        clock.set_period(at(over));
        clock.run(kInterval / 4);
        clock.set_period(at(to));
        clock.run(kInterval - kInterval / 4);
        for (int i = 0; i < 10; i++) {
          tracker.add(clock.exact());
          const auto off =
              static_cast<double>(static_cast<InstantDelta>(tracker.period() - at(to)));
          ASSERT_LE(std::abs(off), static_cast<double>(kDither) * 1.01)
              << from << " " << over << " " << to << ", reading " << i;
          clock.run(kInterval);
        }
      }
}

TEST(TrackerTest, IgnoresAReadingThatDoesNotAdvance) {
  Clock clock(kNominal);
  Tracker tracker(kNominal);
  clock.run(kInterval);
  tracker.add(clock.exact());
  Phase same = clock.exact();
  same.value = add_ns(same.value, 1000);
  tracker.add(same);
  same.counter -= 10;
  tracker.add(same);
  EXPECT_TRUE(tracker.predict(clock.counter()) == clock.exact().value);
}

TEST(TrackerTest, ConvergesOnANoisyClockFarBelowItsNoise) {
  std::mt19937_64 random(3);
  std::uniform_real_distribution<double> noise(-40, 40);
  Clock clock(with_ppm(180));
  Tracker tracker(kNominal);
  double sum_of_squares = 0;
  double worst = 0;
  constexpr int kCounted = 2000;
  for (int i = 0; i < 200 + kCounted; i++) {
    clock.run(kInterval);
    tracker.add(clock.noisy(40, noise(random)));
    if (i < 200) continue;
    const double off =
        error_ns(tracker.predict(clock.counter() + kInterval), clock.ahead(kInterval));
    sum_of_squares += off * off;
    worst = std::max(worst, std::abs(off));
  }
  EXPECT_LT(std::sqrt(sum_of_squares / kCounted), 8);  // the readings': 23
  EXPECT_LT(worst, 30);
}

TEST(TrackerTest, IgnoresOneOutlierForGood) {
  for (const double off_ns : {1e6, -1e6, 2000.0}) {
    Clock clock(kNominal);
    Tracker tracker(kNominal);
    for (int i = 0; i < 70; i++) {
      clock.run(kInterval);
      tracker.add(clock.noisy(20, i % 2 == 0 ? 5 : -5));
    }
    clock.run(kInterval);
    tracker.add(clock.noisy(20, off_ns));
    EXPECT_NEAR(error_ns(tracker.predict(clock.counter()), clock.ahead(0)), 0, 3) << off_ns;
    for (int i = 0; i < 70; i++) {
      clock.run(kInterval);
      tracker.add(clock.noisy(20, i % 2 == 0 ? 5 : -5));
      ASSERT_NEAR(error_ns(tracker.predict(clock.counter()), clock.ahead(0)), 0, 3)
          << off_ns << ", " << i << " readings later";
    }
  }
}

TEST(TrackerTest, FollowsANoisyClockThatWasSteered) {
  Clock clock(kNominal);
  Tracker tracker(kNominal);
  for (int i = 0; i < 70; i++) {
    clock.run(kInterval);
    tracker.add(clock.noisy(20, i % 2 == 0 ? 5 : -5));
  }
  clock.set_period(with_ppm(400));
  for (int i = 0; i < 2; i++) {
    clock.run(kInterval);
    tracker.add(clock.noisy(20, i % 2 == 0 ? 5 : -5));
  }
  EXPECT_NEAR(error_ns(tracker.predict(clock.counter() + kInterval), clock.ahead(kInterval)), 0,
              30);
}

}  // namespace
}  // namespace clockpage::producer
