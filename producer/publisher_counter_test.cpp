// SPDX-License-Identifier: MIT
// A counter that jumps or changes its rate under a kernel clock that does not: no reader is given a
// leased time outside of its bounds by any segment that was planned after the fault was seen. A
// jump shows in one reading of the source; a new rate, where readings are noisy, in two.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

#include "publisher_fixture.hpp"

namespace clockpage::producer {
namespace {

struct Fault {
  const char* name;
  double jump_s;
  double rate;  // of the counter afterwards, 1: as before
};

std::ostream& operator<<(std::ostream& out, const Fault& fault) { return out << fault.name; }

// True time, which only sleeping and reading take up, and a counter that is at fault from `at_ns`
// on.
class FaultyCounter final : public Counter {
 public:
  explicit FaultyCounter(std::uint64_t start) : start_(start) {}
  [[nodiscard]] double now_ns() const noexcept { return ns_; }
  [[nodiscard]] std::uint64_t value() const noexcept {
    double ticks = std::min(ns_, at_ns) * kTicksPerNs;
    if (ns_ >= at_ns) ticks += ((ns_ - at_ns) * fault.rate + fault.jump_s * 1e9) * kTicksPerNs;
    return start_ + static_cast<std::uint64_t>(static_cast<std::int64_t>(ticks));
  }
  std::uint64_t read() noexcept override {
    ns_ += 20;
    return value();
  }
  // As long as a healthy counter would take, and a little late; readers read meanwhile.
  void wait_until(std::uint64_t counter) noexcept override {
    const auto ticks = static_cast<std::int64_t>(counter - value());
    if (ticks <= 0) return;
    const double sleep = std::min(static_cast<double>(ticks) / kTicksPerNs, 1e8);
    const double end = ns_ + sleep + std::uniform_real_distribution<double>(0, 1e5)(random_);
    for (; ns_ + 1e5 < end; ns_ += 1e5) each();
    ns_ = end;
    each();
  }

  Fault fault{"", 0, 1};
  double at_ns = 1e18;
  std::function<void()> each = [] {};

 private:
  static constexpr double kTicksPerNs = kHz * 1e-9;
  std::uint64_t start_;
  double ns_ = 0;
  std::mt19937_64 random_{7};
};

// A kernel whose clock is not made from this counter, read between two reads of it.
class BracketedSource final : public TimeSource {
 public:
  explicit BracketedSource(FaultyCounter& counter) : counter_(counter) {}
  [[nodiscard]] static double monotonic_ns(double now_ns) noexcept { return 1e9 + now_ns; }
  ObserveResult observe(Observation& o) noexcept override {
    counter_.read();
    const double noise = std::uniform_real_distribution<double>(-30, 30)(random_);
    o = {};
    o.counter = counter_.value();
    o.monotonic = make_instant(
        static_cast<std::uint64_t>(std::llround(monotonic_ns(counter_.now_ns()) + noise)));
    o.raw = o.monotonic;
    o.noise_ns = 50;
    o.realtime_minus_monotonic_ns = 1'700'000'000 * kSecondNs;
    o.quality = {true, CLOCKPAGE_REASON_NONE, 1000};
    return ObserveResult::ok;
  }
  [[nodiscard]] std::string_view name() const noexcept override { return "bracketed"; }
  [[nodiscard]] std::string description() const override { return ""; }

 private:
  FaultyCounter& counter_;
  std::mt19937_64 random_{8};
};

struct Tally {
  int leased = 0;
  int overdue = 0;
  int refused = 0;
  int unforeseen = 0;   // wrong under a segment from before the fault
  int wrong = 0;        // leased and outside of its bounds, by a segment planned after it
  int called_good = 0;  // SYNCHRONISED and more than 1 ms off, likewise
  double worst_ns = 0;
};

class CounterFaultTest : public PublisherTest, public testing::WithParamInterface<Fault> {
 protected:
  void SetUp() override {
    start(quiet());
    counter_ = std::make_unique<FaultyCounter>(now());
    source_ = std::make_unique<BracketedSource>(*counter_);
    sim_->restart_with(*counter_, *source_, true);
  }

  // What a reader is told of MONOTONIC and REALTIME now, against the truth.
  void judge() {
    const std::uint64_t c = counter_->value();
    const bool planned_before = static_cast<std::int64_t>(c - old_lease_end_) < 0;
    for (const int clock : {CLOCKPAGE_MONOTONIC, CLOCKPAGE_REALTIME}) {
      clockpage_time t{};
      if (read(0, clock, c, t) != 0) {
        tally.refused++;
        continue;
      }
      if ((t.flags & CLOCKPAGE_TIME_OVERDUE) != 0) {
        EXPECT_NE(t.status, CLOCKPAGE_STATUS_SYNCHRONISED);
        tally.overdue++;
        continue;
      }
      tally.leased++;
      const std::int64_t truth = std::llround(BracketedSource::monotonic_ns(counter_->now_ns())) +
                                 (clock == CLOCKPAGE_REALTIME ? 1'700'000'000 * kSecondNs : 0);
      const auto off = std::abs(t.ns - truth);
      if (truth < t.earliest_ns || truth > t.latest_ns) {
        if (planned_before)
          tally.unforeseen++;
        else
          tally.wrong++;
        if (!planned_before) tally.worst_ns = std::max(tally.worst_ns, double(off));
      }
      if (!planned_before && t.status == CLOCKPAGE_STATUS_SYNCHRONISED && off > 1'000'000)
        tally.called_good++;
    }
  }

  StepResult run_for(double ns) {
    const double end = counter_->now_ns() + ns;
    while (counter_->now_ns() < end) {
      const StepResult result = sim_->publisher().step();
      if (result == StepResult::counter_untrusted) return result;
    }
    return StepResult::steered;
  }

  // In the middle of a sleep, so that all segments there are were planned before it.
  void inject(const Fault& fault) {
    counter_->fault = fault;
    counter_->at_ns = counter_->now_ns() + 2e6;
    counter_->each = [this, last_unforeseen = std::uint64_t{0}]() mutable {
      if (counter_->now_ns() < counter_->at_ns) return;
      const Segment s = newest();
      if (last_unforeseen == 0) last_unforeseen = s.number + (counter_->fault.rate != 1 ? 1 : 0);
      if (s.number <= last_unforeseen) old_lease_end_ = s.lease_end;
      judge();
    };
  }

  std::unique_ptr<FaultyCounter> counter_;
  std::unique_ptr<BracketedSource> source_;
  std::uint64_t old_lease_end_ = 0;
  Tally tally;
};

TEST_P(CounterFaultTest, NoLeasedTimeIsOutsideOfItsBoundsOnceItCouldBeSeen) {
  ASSERT_EQ(run_for(1e9), StepResult::steered);
  inject(GetParam());
  const StepResult result = run_for(0.5e9);
  std::printf("leased %d, overdue %d, refused %d, unforeseen %d, wrong %d (worst %.0f ns)\n",
              tally.leased, tally.overdue, tally.refused, tally.unforeseen, tally.wrong,
              tally.worst_ns);
  EXPECT_EQ(tally.wrong, 0) << "the worst by " << tally.worst_ns << " ns";
  EXPECT_EQ(tally.called_good, 0);
  if (result == StepResult::counter_untrusted) {
    clockpage_time t{};
    EXPECT_EQ(read(0, CLOCKPAGE_MONOTONIC, counter_->value(), t), CLOCKPAGE_E_REVOKED);
    EXPECT_LT(GetParam().jump_s, 0);
  } else {
    EXPECT_GT(tally.leased, 3000);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Fault, CounterFaultTest,
    testing::Values(Fault{"forward_2ms", 2e-3, 1}, Fault{"forward_20ms", 20e-3, 1},
                    Fault{"forward_1s", 1, 1}, Fault{"forward_100s", 100, 1},
                    Fault{"back_1ms", -1e-3, 1}, Fault{"back_3ms", -3e-3, 1},
                    Fault{"back_5ms", -5e-3, 1}, Fault{"back_10ms", -10e-3, 1},
                    Fault{"back_1s", -1, 1}, Fault{"faster_100ppm", 0, 1.0001},
                    Fault{"slower_100ppm", 0, 0.9999}, Fault{"faster_1percent", 0, 1.01},
                    Fault{"slower_1percent", 0, 0.99}, Fault{"faster_10percent", 0, 1.1},
                    Fault{"slower_10percent", 0, 0.9}, Fault{"half_speed", 0, 0.5}),
    [](const auto& parameter) { return parameter.param.name; });

// Backwards by less than the two newest segments is not seen in the pages, but by who remembers.
TEST_F(CounterFaultTest, ACounterThatGoesBackByLessThanASegmentRevokesThePages) {
  ASSERT_EQ(run_for(1e9), StepResult::steered);
  inject({"back", -5e-3, 1});
  EXPECT_EQ(run_for(1e9), StepResult::counter_untrusted);
}

}  // namespace
}  // namespace clockpage::producer
