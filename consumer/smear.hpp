// SPDX-License-Identifier: MIT
// Leap seconds and smears as the pages have them: TAI - UTC as a function of TAI. Pure arithmetic,
// shared by the writer and the tool. Spec section 4, items 4 and 8.
#pragma once

#include <clockpage/abi.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace clockpage {

inline constexpr std::int64_t kNsPerSecond = 1'000'000'000;

// One leap second. `utc_s` counts as POSIX does (s since 1970, without leap seconds).
struct LeapSecond {
  std::int64_t utc_s = 0;     // the midnight from which after_s holds: 2017-01-01 is 1483228800
  std::int64_t before_s = 0;  // TAI - UTC until then
  std::int64_t after_s = 0;   // and from then on: before_s + 1 (insertion) or - 1 (deletion)

  // TAI, in ns, at which TAI - UTC changes: the beginning of 23:59:60, or the end of 23:59:58.
  [[nodiscard]] std::int64_t tai_ns() const noexcept;
  bool operator==(const LeapSecond&) const = default;
};

// Which smear: CLOCKPAGE_SMEAR_* with its parameters, in seconds of the smeared clock.
struct Smear {
  std::uint8_t kind = CLOCKPAGE_SMEAR_NONE;
  std::int32_t start_s = 0;    // from the midnight UTC that follows the leap second
  std::uint32_t length_s = 0;  // 0: none
  bool operator==(const Smear&) const = default;
};
inline constexpr Smear kNoSmear{};
inline constexpr Smear kNoonSmear{CLOCKPAGE_SMEAR_NOON, -43200, 86400};
inline constexpr Smear kUtcSls{CLOCKPAGE_SMEAR_UTC_SLS, -1000, 1000};
// A linear smear's limits. Shorter ones would be steeper than 1 %; longer ones reach the next leap.
inline constexpr std::uint32_t kMinSmearLength = 100;
inline constexpr std::uint32_t kMaxSmearLength = 14 * 86400;

// From "none", "noon", "utc-sls" or "linear:START:LENGTH" (s, as in Smear); a linear one that is
// another's is that. Otherwise nothing, and *reason says why.
std::optional<Smear> parse_smear(std::string_view text, std::string* reason);
std::string smear_name(const Smear& smear);  // as parse_smear reads it

// TAI - UTC in ns as a function of TAI in ns, as one segment has it.
struct UtcOffset {
  std::int64_t before_ns = 0;
  std::int64_t start_ns = CLOCKPAGE_NO_LEAP;  // TAI
  std::int64_t end_ns = CLOCKPAGE_NO_LEAP;    // TAI; == start_ns: a step
  std::int64_t after_ns = 0;
  std::uint64_t slope_frac = 0;  // |after - before| / (end - start), 2^-64, rounded down

  // Bit for bit what readers compute.
  [[nodiscard]] std::int64_t at(std::int64_t tai_ns) const noexcept;
  [[nodiscard]] bool leaps() const noexcept { return start_ns != CLOCKPAGE_NO_LEAP; }
  bool operator==(const UtcOffset&) const = default;
};
UtcOffset constant_offset(std::int64_t offset_ns) noexcept;
// Moves from before_ns at start_ns to after_ns at end_ns > start_ns.
UtcOffset offset_ramp(std::int64_t before_ns, std::int64_t start_ns, std::int64_t end_ns,
                      std::int64_t after_ns) noexcept;
// The leap second as `smear` has it; a step for kNoSmear.
UtcOffset leap_offset(const LeapSecond& leap, const Smear& smear) noexcept;

}  // namespace clockpage
