// SPDX-License-Identifier: MIT
// What the producer follows.
#pragma once

#include <clockpage/abi.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "instant.hpp"

namespace clockpage::producer {

// What the source says of its own goodness.
struct Quality {
  bool synchronised = false;
  std::uint8_t reason = 0;                    // CLOCKPAGE_REASON_*; why not
  std::optional<std::uint64_t> max_error_ns;  // |source - UTC|; nothing: it does not say
  // max_error_ns holds whatever else is said, and where there is none nothing bounds the source: a
  // page. A kernel's holds only while it is synchronised; what was good before then grows.
  bool max_error_is_all = false;
};

// The source's five clocks at one counter value.
struct Observation {
  std::uint64_t counter = 0;  // host counter
  Instant monotonic = 0;
  Period period = 0;           // of MONOTONIC at this moment, 2^-64 ns per tick; 0: not known
  Period dither = 0;           // by how much `period` may flicker around its mean
  Instant raw = 0;             // MONOTONIC_RAW
  Period raw_period = 0;       // 0: not known
  std::uint64_t noise_ns = 0;  // half-width of the reading; 0: exact
  std::int64_t realtime_minus_monotonic_ns = 0;
  std::int64_t boottime_minus_monotonic_ns = 0;
  // As the source counts it: with the leap seconds that it took, even where it was never set.
  std::int64_t tai_minus_realtime_ns = 0;
  bool tai_known = false;                                   // it was set
  std::uint32_t tai_source = CLOCKPAGE_SEGMENT_TAI_KERNEL;  // CLOCKPAGE_SEGMENT_TAI_*: from where
  // The leap second that the source will take at the end of the current UTC day: +1 inserts one, -1
  // deletes one, 0: none.
  int pending_leap = 0;
  // Where the source names the day: the midnight that ends it (POSIX s). It then no longer
  // announces what it has taken.
  std::optional<std::int64_t> pending_leap_utc_s;
  // Where the source has an error of its own beside noise_ns (a page): how far MONOTONIC, RAW and
  // BOOTTIME as given here may be from what they stand for, and how fast that and max_error_ns may
  // grow, 2^-64 ns per ns, at least (SteeringLimits say how fast in any case).
  std::uint64_t local_error_ns = 0;
  std::uint64_t local_growth_frac = 0;
  std::uint64_t utc_growth_frac = 0;
  Quality quality;
};

enum class ObserveResult {
  ok,
  lost,               // could not be read this time
  doubtful,           // nor is it known whether the counter still means what it meant
  counter_untrusted,  // the source no longer trusts the counter: nothing published holds
};

class TimeSource {
 public:
  virtual ~TimeSource() = default;
  // Reads the source at a counter value not before the call. Not thread-safe.
  virtual ObserveResult observe(Observation& observation) noexcept = 0;
  // At most 15 characters; written to the page.
  [[nodiscard]] virtual std::string_view name() const noexcept = 0;
  // For people: how it was proven, or what it fell back from.
  [[nodiscard]] virtual std::string description() const = 0;
  // For people, after counter_untrusted or where it must not be followed any more: why. Empty
  // otherwise.
  [[nodiscard]] virtual std::string trouble() const { return {}; }
};

}  // namespace clockpage::producer
