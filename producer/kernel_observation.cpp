// SPDX-License-Identifier: MIT
#include "kernel_observation.hpp"

#include <clockpage/abi.h>
#include <clockpage/reader.h>
#include <sys/timex.h>

#include <algorithm>

namespace clockpage::producer {

namespace {

constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

Instant value_at(const KernelTimeBase& base, std::uint64_t ticks, std::uint32_t mult,
                 std::uint32_t shift) noexcept {
  const clockpage_u128 shifted = clockpage_u128{ticks} * mult + base.nsec_shifted;
  return make_instant(base.sec * kNsPerSecond) + (shifted << (64 - shift));
}

// Whole ns between two clocks of one snapshot: their fractions are the same.
std::int64_t base_difference_ns(const KernelTimeBase& a, const KernelTimeBase& b,
                                std::uint32_t shift) noexcept {
  const auto seconds = static_cast<std::int64_t>(a.sec - b.sec);
  const auto ns = static_cast<std::int64_t>((a.nsec_shifted >> shift) - (b.nsec_shifted >> shift));
  return seconds * static_cast<std::int64_t>(kNsPerSecond) + ns;
}

}  // namespace

void observe_snapshot(const KernelClockSnapshot& snapshot, std::uint64_t counter,
                      Observation& observation) noexcept {
  const KernelTimeBase& realtime = snapshot.base[CLOCKPAGE_REALTIME];
  const KernelTimeBase& monotonic = snapshot.base[CLOCKPAGE_MONOTONIC];
  const std::uint64_t ticks = counter - snapshot.cycle_last;
  observation.counter = counter;
  observation.monotonic = value_at(monotonic, ticks, snapshot.mult, snapshot.shift);
  observation.period = Period{snapshot.mult} << (64 - snapshot.shift);
  observation.dither = Period{1} << (64 - snapshot.shift);
  observation.raw =
      value_at(snapshot.base[CLOCKPAGE_MONOTONIC_RAW], counter - snapshot.raw_cycle_last,
               snapshot.raw_mult, snapshot.raw_shift);
  observation.raw_period = Period{snapshot.raw_mult} << (64 - snapshot.raw_shift);
  observation.noise_ns = 0;
  observation.realtime_minus_monotonic_ns = base_difference_ns(realtime, monotonic, snapshot.shift);
  observation.boottime_minus_monotonic_ns =
      base_difference_ns(snapshot.base[CLOCKPAGE_BOOTTIME], monotonic, snapshot.shift);
  set_tai_offset(static_cast<std::int64_t>(snapshot.base[CLOCKPAGE_TAI].sec - realtime.sec),
                 observation);
}

ObserveResult observe_trusted(const KernelClockSnapshot& snapshot, std::uint64_t counter,
                              Observation& observation) noexcept {
  // The kernel leaves the TSC as its clocksource when its watchdog no longer trusts it.
  if (snapshot.clock_mode != kKernelClockModeTsc) return ObserveResult::counter_untrusted;
  // On another CPU the last tick may be a moment ahead of this one's counter.
  observe_snapshot(snapshot, std::max(counter, snapshot.cycle_last), observation);
  return ObserveResult::ok;
}

Quality quality_from_timex(int state, const timex& fields) noexcept {
  Quality quality;
  constexpr std::int64_t give_up_us = 16'000'000;
  if (fields.maxerror < give_up_us && fields.maxerror >= 0)
    quality.max_error_ns = static_cast<std::uint64_t>(fields.maxerror) * 1000;
  if ((fields.status & STA_UNSYNC) != 0) {
    quality.reason = CLOCKPAGE_REASON_KERNEL_UNSYNCHRONISED;
  } else if (state == TIME_ERROR || state < 0) {
    quality.reason = CLOCKPAGE_REASON_KERNEL_CLOCK_ERROR;
  } else {
    quality.synchronised = quality.max_error_ns.has_value();
    quality.reason =
        quality.synchronised ? CLOCKPAGE_REASON_NONE : CLOCKPAGE_REASON_KERNEL_UNSYNCHRONISED;
  }
  return quality;
}

// The status bits stay set after the leap second, until a daemon clears them; the state tells. An
// unsynchronised kernel (chronyd without rtcsync leaves it so) takes what is armed as well, and
// hides its state (TIME_ERROR): whoever saw it leap knows better.
int pending_leap_from_timex(int state, const timex& fields) noexcept {
  if (state == TIME_OOP || state == TIME_WAIT || state < 0) return 0;
  const int pending = (fields.status & STA_INS) != 0 ? 1 : (fields.status & STA_DEL) != 0 ? -1 : 0;
  // The kernel acts on the bit at the next whole second. One set within the last second before the
  // leap second is for the day after, spec 4.1.
  constexpr std::int64_t day = 86'400;
  const std::int64_t into_day = fields.time.tv_sec % day;
  if (state == TIME_OK && into_day >= (pending > 0 ? day - 1 : day - 2)) return 0;
  return pending;
}

void observe_timex(Observation& observation) noexcept {
  timex fields{};
  const int state = adjtimex(&fields);
  observation.quality = quality_from_timex(state, fields);
  observation.pending_leap = pending_leap_from_timex(state, fields);
}

void set_tai_offset(std::int64_t tai_offset_s, Observation& observation) noexcept {
  observation.tai_minus_realtime_ns = tai_offset_s * static_cast<std::int64_t>(kNsPerSecond);
  observation.tai_known = tai_offset_s >= 10;  // 10 s since 1972; less was never set
}

}  // namespace clockpage::producer
