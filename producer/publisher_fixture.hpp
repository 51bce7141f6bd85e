// SPDX-License-Identifier: MIT
// For the publisher's tests: a producer whose counter, source and kernel the test commands.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "sim_harness.hpp"

namespace clockpage::producer {

inline constexpr std::uint64_t kHz = 2'300'000'000;
inline constexpr std::uint64_t kMs = kHz / 1000;
inline constexpr std::array kClocks = {CLOCKPAGE_REALTIME, CLOCKPAGE_MONOTONIC,
                                       CLOCKPAGE_MONOTONIC_RAW, CLOCKPAGE_BOOTTIME, CLOCKPAGE_TAI};
inline constexpr std::int64_t kSecondNs = 1'000'000'000;

// A kernel that is left alone, woken on time: whatever happens, the test does.
inline SimOptions quiet() {
  SimOptions options;
  options.script.mean_interval_s = 1e6;
  return options;
}

// The source, with a word to say by the test.
class TamperedSource final : public TimeSource {
 public:
  explicit TamperedSource(TimeSource& source) : source_(source) {}
  ObserveResult observe(Observation& observation) noexcept override {
    if (during) during();
    const ObserveResult result = source_.observe(observation);
    return answer == ObserveResult::ok ? result : answer;
  }
  [[nodiscard]] std::string_view name() const noexcept override { return "tampered"; }
  [[nodiscard]] std::string description() const override { return ""; }

  std::function<void()> during;
  ObserveResult answer = ObserveResult::ok;

 private:
  TimeSource& source_;
};

// The counter, which the test makes jump at the n-th read from now: a stall at that place.
class StallingCounter final : public Counter {
 public:
  explicit StallingCounter(VirtualCounter& counter) : counter_(counter) {}
  std::uint64_t read() noexcept override {
    reads++;
    if (on_read) on_read();
    if (stall_at_read != 0 && reads == stall_at_read) counter_.wait_until(stall_until);
    return counter_.read();
  }
  void wait_until(std::uint64_t counter) noexcept override {
    if (!wakes_early) counter_.wait_until(counter);
  }

  std::function<void()> on_read;
  int reads = 0;
  int stall_at_read = 0;  // 0: never
  std::uint64_t stall_until = 0;
  bool wakes_early = false;

 private:
  VirtualCounter& counter_;
};

class PublisherTest : public testing::Test {
 protected:
  void start(const SimOptions& options) { sim_ = std::make_unique<SimHarness>(options); }

  void run(int steps) {
    for (int i = 0; i < steps; i++) ASSERT_EQ(sim_->publisher().step(), StepResult::steered);
  }
  // Until `ns` have passed, whatever the steps are.
  void run_for_ns(std::uint64_t ns) {
    const std::uint64_t end = now() + ns * (kHz / 1'000'000) / 1000;
    while (now() < end) {
      const StepResult result = sim_->publisher().step();
      ASSERT_TRUE(result == StepResult::steered || result == StepResult::bridged);
    }
  }
  [[nodiscard]] std::uint64_t now() const { return sim_->counter().now(); }
  [[nodiscard]] Segment newest(std::size_t page = 0) const {
    return PageWriter(*sim_->region().page(page)).newest();
  }
  [[nodiscard]] clockpage_diagnostics told() const { return sim_->region().page(0)->diagnostics; }
  [[nodiscard]] std::uint64_t index(std::size_t page) const {
    return sim_->region().page(page)->index;
  }
  // At a host counter, on any page.
  int read(std::size_t page, int clock, std::uint64_t host, clockpage_time& time) const {
    const clockpage_reader reader = sim_->region().reader(page);
    const Scale scale = PageWriter(*sim_->region().page(page)).scale();
    return clockpage_at_bounds(&reader, clock, scale.apply(host), &time);
  }
  [[nodiscard]] clockpage_time read(int clock, std::uint64_t host, std::size_t page = 0) const {
    clockpage_time time{};
    EXPECT_EQ(read(page, clock, host, time), CLOCKPAGE_OK) << "clock " << clock;
    return time;
  }
  // Makes the sim's kernel do something at once.
  void event(SimEvent::Kind kind, std::int64_t value) {
    sim_->source().kernel().schedule({now(), kind, value});
    sim_->oracle().schedule({now(), kind, value});
  }

  std::unique_ptr<SimHarness> sim_;
};

// What readers were told, to be compared with what they are told later.
struct Told {
  std::size_t page;
  int clock;
  std::uint64_t host;
  clockpage_time time;
};

class PublisherBridgeTest : public PublisherTest {
 protected:
  // Everything that overdue readers read between the lease's end and `until`.
  void listen(std::uint64_t until) {
    heard_.clear();
    const std::uint64_t from = newest().lease_end;
    for (std::size_t page = 0; page < 4; page++)
      for (const int clock : kClocks)
        for (std::uint64_t c = from; c < until; c += (until - from) / 37 + 1) {
          Told told{page, clock, c, {}};
          if (read(page, clock, c, told.time) == 0) heard_.push_back(told);
        }
    ASSERT_GT(heard_.size(), 100U);
  }
  void expect_told_again() {
    for (const Told& before : heard_) {
      clockpage_time again{};
      ASSERT_EQ(read(before.page, before.clock, before.host, again), 0);
      ASSERT_EQ(again.ns, before.time.ns) << before.page << ' ' << before.clock;
      ASSERT_EQ(again.epoch, before.time.epoch);
      ASSERT_EQ(again.flags & CLOCKPAGE_TIME_OVERDUE, 0U);
      // The bounds go on, too: no narrower, and wider only by what is rounded up.
      if (before.time.latest_ns == INT64_MAX) {
        ASSERT_EQ(again.latest_ns, INT64_MAX);
        continue;
      }
      ASSERT_GE(again.latest_ns, before.time.latest_ns);
      ASSERT_LE(again.latest_ns, before.time.latest_ns + 6);
    }
  }

  std::vector<Told> heard_;
};

}  // namespace clockpage::producer
