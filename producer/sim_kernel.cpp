// SPDX-License-Identifier: MIT
#include "sim_kernel.hpp"

#include <algorithm>
#include <cmath>

namespace clockpage::producer {

namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
constexpr std::int64_t kDay = 86400;  // s

// Divides rounding towards minus infinity.
constexpr std::int64_t floor_div(std::int64_t a, std::int64_t b) noexcept {
  return a / b - (a % b < 0 ? 1 : 0);
}

}  // namespace

SimKernel::SimKernel(const SimKernelConfig& config, std::uint64_t counter)
    : config_(config), cycle_last_(counter) {
  const std::uint64_t interval_ns = kNsPerSecond / config.hz;
  const std::uint64_t one_second = std::uint64_t{kNsPerSecond} << config.shift;
  mult_ = raw_mult_ =
      static_cast<std::uint32_t>((one_second + config.frequency_hz / 2) / config.frequency_hz);
  const std::uint64_t ntp_interval = interval_ns << config.shift;
  cycle_interval_ = std::max<std::uint64_t>(1, (ntp_interval + mult_ / 2) / mult_);
  xtime_remainder_ = static_cast<std::int64_t>(ntp_interval - cycle_interval_ * mult_);
  ntp_tick_ = used_tick_ = interval_ns << 32;
  seconds_ = static_cast<std::uint64_t>(config.realtime_ns / kNsPerSecond);
  nsec_shifted_ = static_cast<std::uint64_t>(config.realtime_ns % kNsPerSecond) << config.shift;
  raw_seconds_ = static_cast<std::uint64_t>(config.raw_ns / kNsPerSecond);
  raw_nsec_shifted_ = static_cast<std::uint64_t>(config.raw_ns % kNsPerSecond) << config.shift;
  monotonic_minus_realtime_ns_ = config.monotonic_ns - config.realtime_ns;
  boottime_minus_monotonic_ns_ = config.boottime_ns - config.monotonic_ns;
  tai_offset_s_ = config.tai_offset_s;
  next_tick_ = counter + cycle_interval_;
}

void SimKernel::advance(std::uint64_t counter) {
  for (;;) {
    const bool event_due =
        !events_.empty() && static_cast<std::int64_t>(counter - events_.front().counter) >= 0;
    const bool tick_due = static_cast<std::int64_t>(counter - next_tick_) >= 0;
    const bool event_first =
        event_due && static_cast<std::int64_t>(next_tick_ - events_.front().counter) >= 0;
    if (event_due && (event_first || !tick_due)) {
      const SimEvent event = events_.front();
      events_.pop_front();
      apply(event);
    } else if (tick_due) {
      tick(next_tick_);
      next_tick_ += cycle_interval_ * (1 + ticks_to_skip_);
      ticks_to_skip_ = 0;
    } else {
      return;
    }
  }
}

void SimKernel::apply(const SimEvent& event) {
  switch (event.kind) {
    case SimEvent::Kind::frequency: {
      // Takes effect at the next tick, as in the kernel: the mapping's mult is never changed
      // behind readers' backs between two updates.
      frequency_ppb_ = event.value;
      const double tick = static_cast<double>(std::uint64_t{kNsPerSecond} / config_.hz << 32);
      ntp_tick_ = static_cast<std::uint64_t>(tick * (1 + static_cast<double>(event.value) * 1e-9));
      break;
    }
    case SimEvent::Kind::realtime_step: {
      // do_settimeofday64: REALTIME moves, MONOTONIC does not. It forgets when a leap second that
      // is armed was to be taken (and does not take it until it is armed anew).
      const std::int64_t ns =
          static_cast<std::int64_t>(nsec_shifted_ >> config_.shift) + event.value;
      const std::uint64_t fraction = nsec_shifted_ & ((std::uint64_t{1} << config_.shift) - 1);
      const std::int64_t carry = floor_div(ns, kNsPerSecond);
      seconds_ += static_cast<std::uint64_t>(carry);
      nsec_shifted_ =
          static_cast<std::uint64_t>(ns - carry * kNsPerSecond) << config_.shift | fraction;
      monotonic_minus_realtime_ns_ -= event.value;
      next_leap_s_ = kNoLeap;
      seq_ += 2;
      break;
    }
    case SimEvent::Kind::tai_offset:
      tai_offset_s_ = event.value;
      seq_ += 2;
      break;
    case SimEvent::Kind::suspend: {
      monotonic_minus_realtime_ns_ -= event.value;
      boottime_minus_monotonic_ns_ += event.value;
      const std::int64_t raw = static_cast<std::int64_t>(raw_seconds_) * kNsPerSecond - event.value;
      const std::int64_t carry = floor_div(raw, kNsPerSecond);
      raw_seconds_ = static_cast<std::uint64_t>(carry);
      raw_nsec_shifted_ += static_cast<std::uint64_t>(raw - carry * kNsPerSecond) << config_.shift;
      seq_ += 2;
      break;
    }
    case SimEvent::Kind::tick_gap:
      ticks_to_skip_ = static_cast<std::uint64_t>(event.value);
      break;
    case SimEvent::Kind::arm_leap:
      armed_leap_ = static_cast<int>(event.value);
      break;
  }
}

void SimKernel::tick(std::uint64_t counter) {
  accumulate((counter - cycle_last_) / cycle_interval_);
  adjust(counter - cycle_last_);
  seq_ += 2;
}

void SimKernel::accumulate(std::uint64_t intervals) noexcept {
  const std::uint64_t second = std::uint64_t{kNsPerSecond} << config_.shift;
  for (; intervals > 0; intervals--) {
    cycle_last_ += cycle_interval_;
    nsec_shifted_ += cycle_interval_ * mult_;
    for (; nsec_shifted_ >= second; nsec_shifted_ -= second) begin_second();
    raw_nsec_shifted_ += cycle_interval_ * raw_mult_;
    for (; raw_nsec_shifted_ >= second; raw_nsec_shifted_ -= second) raw_seconds_++;
    const auto done = static_cast<std::int64_t>(cycle_interval_ * mult_) + xtime_remainder_;
    ntp_error_ += static_cast<std::int64_t>(used_tick_) - (done << (32 - config_.shift));
  }
}

// accumulate_nsecs_to_secs: once for every second of REALTIME that begins, at the tick that finds
// it begun. A leap second moves REALTIME alone: what MONOTONIC and TAI are made of moves against
// it.
void SimKernel::begin_second() noexcept {
  seconds_++;
  const int leap = leap_at_second(static_cast<std::int64_t>(seconds_));
  seconds_ += static_cast<std::uint64_t>(std::int64_t{leap});
  monotonic_minus_realtime_ns_ -= leap * kNsPerSecond;
  tai_offset_s_ -= leap;
}

// second_overflow in kernel/time/ntp.c: what to add to REALTIME, in s, now that it has reached
// now_s. The state moves by one step each second.
int SimKernel::leap_at_second(std::int64_t now_s) noexcept {
  switch (leap_state_) {
    case LeapState::ok:
      if (armed_leap_ == 0) return 0;
      leap_state_ = armed_leap_ > 0 ? LeapState::insertion : LeapState::deletion;
      // An insertion when 00:00:00 is reached, a deletion when 23:59:59 is; later than now.
      next_leap_s_ = now_s + kDay - (armed_leap_ > 0 ? now_s : now_s + 1) % kDay;
      return 0;
    case LeapState::insertion:
    case LeapState::deletion: {
      const bool insertion = leap_state_ == LeapState::insertion;
      if (armed_leap_ != (insertion ? 1 : -1)) {
        leap_state_ = LeapState::ok;
        next_leap_s_ = kNoLeap;
        return 0;
      }
      if (now_s != next_leap_s_) return 0;
      leap_state_ = insertion ? LeapState::in_second : LeapState::wait;
      next_leap_s_ = kNoLeap;
      return insertion ? -1 : 1;
    }
    case LeapState::in_second:
      leap_state_ = LeapState::wait;
      return 0;
    case LeapState::wait:
      if (armed_leap_ == 0) leap_state_ = LeapState::ok;
      return 0;
  }
  return 0;
}

int SimKernel::pending_leap() const noexcept {
  if (next_leap_s_ == kNoLeap) return 0;
  if (leap_state_ == LeapState::insertion) return armed_leap_ == 1 ? 1 : 0;
  return leap_state_ == LeapState::deletion && armed_leap_ == -1 ? -1 : 0;
}

void SimKernel::adjust(std::uint64_t offset) noexcept {
  std::uint32_t mult = mult_ - dither_;
  if (used_tick_ != ntp_tick_) {
    used_tick_ = ntp_tick_;
    applied_frequency_ppb_ = frequency_ppb_;
    const auto wanted =
        static_cast<std::int64_t>(ntp_tick_ >> (32 - config_.shift)) - xtime_remainder_;
    mult = static_cast<std::uint32_t>(wanted / static_cast<std::int64_t>(cycle_interval_));
  }
  dither_ = ntp_error_ > 0 ? 1 : 0;
  mult += dither_;
  // Continuous at `offset` past cycle_last: what the new rate would have added is taken off.
  nsec_shifted_ -= offset * mult - offset * mult_;
  mult_ = mult;
}

KernelClockSnapshot SimKernel::snapshot() const noexcept {
  KernelClockSnapshot s;
  s.seq = seq_;
  s.clock_mode = kKernelClockModeTsc;
  s.cycle_last = s.raw_cycle_last = cycle_last_;
  s.max_cycles = s.raw_max_cycles = ~std::uint64_t{0} / (std::uint64_t{mult_} * 2);
  s.mask = ~std::uint64_t{0};
  s.mult = mult_;
  s.raw_mult = raw_mult_;
  s.shift = s.raw_shift = config_.shift;
  s.has_max_cycles = true;
  const auto base = [&](std::int64_t offset_ns) {
    const std::uint64_t fraction = nsec_shifted_ & ((std::uint64_t{1} << config_.shift) - 1);
    const std::int64_t ns = static_cast<std::int64_t>(seconds_) * kNsPerSecond +
                            static_cast<std::int64_t>(nsec_shifted_ >> config_.shift) + offset_ns;
    const std::int64_t sec = floor_div(ns, kNsPerSecond);
    return KernelTimeBase{
        static_cast<std::uint64_t>(sec),
        static_cast<std::uint64_t>(ns - sec * kNsPerSecond) << config_.shift | fraction};
  };
  s.base[0] = base(0);
  s.base[1] = base(monotonic_minus_realtime_ns_);
  s.base[4] = {raw_seconds_, raw_nsec_shifted_};
  s.base[7] = base(monotonic_minus_realtime_ns_ + boottime_minus_monotonic_ns_);
  s.base[11] = base(tai_offset_s_ * kNsPerSecond);
  return s;
}

SimScript::SimScript(const Options& options, std::uint64_t frequency_hz, std::uint64_t counter)
    : options_(options), frequency_hz_(frequency_hz), random_(options.seed) {
  next_.counter = counter;
  for (SimEvent event : options.planned) {
    event.counter += counter;
    planned_.push_back(event);
  }
  draw();
}

void SimScript::draw() {
  // Three Poisson processes in one: the next event of any kind, then its kind by its rate.
  const double frequency_rate = 1 / options_.mean_interval_s;
  const double step_rate = options_.steps_per_hour / 3600;
  const double gap_rate = options_.tick_gaps_per_hour / 3600;
  const double rate = frequency_rate + step_rate + gap_rate;
  std::exponential_distribution<double> wait(rate);
  next_.counter +=
      static_cast<std::uint64_t>(wait(random_) * static_cast<double>(frequency_hz_)) + 1;
  const double kind = std::uniform_real_distribution<double>(0, rate)(random_);
  if (kind < frequency_rate) {
    // Mostly the small adjustments of a servo, now and then a slew at full rate.
    const bool large = std::uniform_int_distribution<int>(0, 3)(random_) == 0;
    const std::int64_t most = large ? options_.max_frequency_ppb : options_.max_frequency_ppb / 100;
    next_.kind = SimEvent::Kind::frequency;
    next_.value = std::uniform_int_distribution<std::int64_t>(-most, most)(random_);
  } else if (kind < frequency_rate + step_rate) {
    next_.kind = SimEvent::Kind::realtime_step;
    next_.value =
        std::uniform_int_distribution<std::int64_t>(-2 * kNsPerSecond, 2 * kNsPerSecond)(random_);
  } else {
    next_.kind = SimEvent::Kind::tick_gap;
    next_.value = std::uniform_int_distribution<std::int64_t>(1, 25)(random_);
  }
}

void SimScript::feed(SimKernel& kernel, std::uint64_t counter) {
  const auto due = [counter](const SimEvent& event) {
    return static_cast<std::int64_t>(counter - event.counter) >= 0;
  };
  for (;;) {
    const bool planned = !planned_.empty() &&
                         static_cast<std::int64_t>(planned_.front().counter - next_.counter) <= 0;
    if (!due(planned ? planned_.front() : next_)) return;
    if (planned) {
      kernel.schedule(planned_.front());
      planned_.pop_front();
    } else {
      kernel.schedule(next_);
      draw();
    }
  }
}

}  // namespace clockpage::producer
