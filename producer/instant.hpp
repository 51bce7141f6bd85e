// SPDX-License-Identifier: MIT
// Exact times in the producer: 64 bits of nanoseconds, 64 bits of fraction.
#pragma once

#include <clockpage/fixed_point.h>

#include <cstdint>

namespace clockpage::producer {

// A time or a duration in 2^-64 ns, modulo 2^64 ns.
using Instant = clockpage_u128;
// A difference of two instants, signed, in 2^-64 ns.
__extension__ using InstantDelta = __int128;

constexpr Instant make_instant(std::uint64_t ns, std::uint64_t frac = 0) noexcept {
  return Instant{ns} << 64 | frac;
}
constexpr std::uint64_t whole_ns(Instant instant) noexcept {
  return static_cast<std::uint64_t>(instant >> 64);
}
constexpr std::uint64_t frac_of(Instant instant) noexcept {
  return static_cast<std::uint64_t>(instant);
}
// Adds whole nanoseconds, which may be negative.
constexpr Instant add_ns(Instant instant, std::int64_t ns) noexcept {
  return instant + (Instant{static_cast<std::uint64_t>(ns)} << 64);
}
constexpr InstantDelta difference(Instant a, Instant b) noexcept {
  return static_cast<InstantDelta>(a - b);
}
// |delta| in ns, rounded up.
constexpr std::uint64_t magnitude_ns(InstantDelta delta) noexcept {
  const auto magnitude = static_cast<Instant>(delta < 0 ? -delta : delta);
  return whole_ns(magnitude) + (frac_of(magnitude) != 0 ? 1 : 0);
}
constexpr double to_double_ns(InstantDelta delta) noexcept {
  return static_cast<double>(delta) * 0x1p-64;
}

// A straight line from counter to time, exactly as readers evaluate it.
struct Line {
  std::uint64_t start = 0;        // page's counter
  Instant base = 0;               // value at start
  std::uint64_t period_frac = 0;  // 2^-64 ns per 2^-shift tick
  std::uint32_t shift = 0;        // the page's delta_shift

  // Exact value at a counter value at or after start.
  [[nodiscard]] Instant at(std::uint64_t counter) const noexcept {
    const auto value =
        clockpage_line_at(whole_ns(base), frac_of(base), period_frac, (counter - start) << shift);
    return make_instant(value.ns, value.frac);
  }
};

// 2^-64 ns per tick; more than 64 bits for counters slower than 1 GHz.
using Period = clockpage_u128;

constexpr Period nominal_period(std::uint64_t frequency_hz) noexcept {
  return make_instant(1'000'000'000) / frequency_hz;
}

}  // namespace clockpage::producer
