// SPDX-License-Identifier: MIT
// A simulated kernel clock: Linux' timekeeping arithmetic, dither of the multiplier included, on
// any counter, steered by a script. For tests and `clockpaged --source sim`.
#pragma once

#include <cstdint>
#include <deque>
#include <kernel_clock.hpp>
#include <limits>
#include <optional>
#include <random>
#include <vector>

namespace clockpage::producer {

struct SimKernelConfig {
  std::uint64_t frequency_hz = 2'300'000'000;  // true frequency of the counter
  std::uint32_t hz = 250;                      // ticks per second
  std::uint32_t shift = 24;
  std::int64_t realtime_ns = 1'700'000'000'000'000'000;  // at the first counter value
  std::int64_t monotonic_ns = 1'000'000'000;
  std::int64_t boottime_ns = 5'000'000'000;
  std::int64_t raw_ns = 1'000'000'000;
  std::int64_t tai_offset_s = 0;  // the kernel's; 0: never set
};

// What happens to the simulated clock, at a counter value.
struct SimEvent {
  enum class Kind {
    frequency,      // value: ppb from nominal
    realtime_step,  // value: ns
    tai_offset,     // value: s
    suspend,        // value: ns that MONOTONIC and RAW stood still until now; REALTIME did not
    tick_gap,       // value: ticks of the kernel left out (an idle CPU)
    arm_leap,       // value: +1 STA_INS, -1 STA_DEL, 0 neither
  };
  std::uint64_t counter = 0;
  Kind kind = Kind::frequency;
  std::int64_t value = 0;
};

// kernel/time/timekeeping.c in outline: accumulates whole tick intervals at `mult`, keeps the
// remaining error against the ideal NTP length, and dithers mult by one unit to work it off.
class SimKernel {
 public:
  SimKernel(const SimKernelConfig& config, std::uint64_t counter);

  // Events must come in order of their counters, not before the last advance().
  void schedule(const SimEvent& event) { events_.push_back(event); }
  // Runs all ticks and events up to `counter`.
  void advance(std::uint64_t counter);
  // What the kernel's mapping holds now.
  [[nodiscard]] KernelClockSnapshot snapshot() const noexcept;
  // The frequency in effect since the last tick, ppb from nominal.
  [[nodiscard]] std::int64_t frequency_ppb() const noexcept { return applied_frequency_ppb_; }
  // The leap second to be taken at the end of the current UTC day, as adjtimex's state tells: +1
  // inserted (TIME_INS), -1 deleted (TIME_DEL), 0 none. Armed and disarmed, it shows (and counts)
  // from the next full second on; once taken it must be disarmed before another can be armed.
  [[nodiscard]] int pending_leap() const noexcept;

 private:
  enum class LeapState { ok, insertion, deletion, in_second, wait };  // TIME_OK to TIME_WAIT
  static constexpr std::int64_t kNoLeap = std::numeric_limits<std::int64_t>::max();

  void apply(const SimEvent& event);
  void tick(std::uint64_t counter);
  void accumulate(std::uint64_t intervals) noexcept;
  void adjust(std::uint64_t offset) noexcept;
  [[nodiscard]] int leap_at_second(std::int64_t now_s) noexcept;
  void begin_second() noexcept;

  SimKernelConfig config_;
  std::deque<SimEvent> events_;
  std::uint64_t next_tick_ = 0;
  std::uint64_t ticks_to_skip_ = 0;
  std::int64_t frequency_ppb_ = 0;          // scripted
  std::int64_t applied_frequency_ppb_ = 0;  // since the last tick
  std::uint32_t seq_ = 0;
  std::uint64_t cycle_last_ = 0;
  std::uint64_t cycle_interval_ = 0;
  std::uint32_t mult_ = 0;
  std::uint32_t raw_mult_ = 0;
  std::uint32_t dither_ = 0;     // ntp_err_mult
  std::uint64_t ntp_tick_ = 0;   // ns << 32 of one interval
  std::uint64_t used_tick_ = 0;  // the one mult_ was made for
  std::int64_t ntp_error_ = 0;   // ns << 32
  std::int64_t xtime_remainder_ = 0;
  std::uint64_t seconds_ = 0;  // REALTIME
  std::uint64_t nsec_shifted_ = 0;
  std::uint64_t raw_seconds_ = 0;
  std::uint64_t raw_nsec_shifted_ = 0;
  std::int64_t monotonic_minus_realtime_ns_ = 0;
  std::int64_t boottime_minus_monotonic_ns_ = 0;
  std::int64_t tai_offset_s_ = 0;
  int armed_leap_ = 0;  // +1, -1, 0
  LeapState leap_state_ = LeapState::ok;
  std::int64_t next_leap_s_ = kNoLeap;  // REALTIME, s, at whose beginning it is taken
};

// NTP-like steering for ever: frequency changes of up to +-max_ppb, slews, steps (if any),
// from a seed. Feeds a kernel as far ahead as asked for.
class SimScript {
 public:
  struct Options {
    std::uint64_t seed = 1;
    std::int64_t max_frequency_ppb = 500'000;
    double mean_interval_s = 0.5;   // between changes of frequency
    double steps_per_hour = 0;      // of REALTIME, up to +-2 s
    double tick_gaps_per_hour = 0;  // up to 100 ms each
    // Beside those by chance; `counter` is in ticks from the beginning, in order.
    std::vector<SimEvent> planned = {};
  };
  SimScript(const Options& options, std::uint64_t frequency_hz, std::uint64_t counter);
  // Schedules all events up to `counter`.
  void feed(SimKernel& kernel, std::uint64_t counter);
  // The event by chance that feed() will schedule next.
  [[nodiscard]] const SimEvent& next() const noexcept { return next_; }

 private:
  void draw();

  Options options_;
  std::uint64_t frequency_hz_;
  std::mt19937_64 random_;
  SimEvent next_;
  std::deque<SimEvent> planned_;
};

}  // namespace clockpage::producer
