// SPDX-License-Identifier: MIT
// Instants as text: UTC with 23:59:60, TAI, and plain numbers. The calendar only: whether there was
// such a second, TimeScales knows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace clockpage {

struct UtcTime {
  // Seconds since 1970-01-01 as POSIX counts. Of 23:59:60: those of the 23:59:59 before it, which
  // Linux counts twice.
  std::int64_t posix_s = 0;
  std::int32_t ns = 0;  // 0 to 999999999
  bool leap_second = false;

  [[nodiscard]] std::int64_t posix_ns() const noexcept { return posix_s * 1'000'000'000 + ns; }
  bool operator==(const UtcTime&) const = default;
};

// Each parses all of `text` or gives nothing, and then *reason says why. Years 1970 to 2199.

// "2016-12-31T23:59:60.5Z": seconds to 9 digits behind the point; 60 only in the last minute of a
// day.
std::optional<UtcTime> parse_utc(std::string_view text, std::string* reason);
// "2017-01-01T00:00:36.5" with " TAI" behind it or nothing: ns since 1970-01-01 00:00:00 TAI.
std::optional<std::int64_t> parse_tai(std::string_view text, std::string* reason);
// "2016-12-31": POSIX seconds of the midnight with which it begins.
std::optional<std::int64_t> parse_date(std::string_view text, std::string* reason);
// "1483228799.25" (s, to 9 digits behind the point) or "1483228799250000000ns": ns, not negative.
std::optional<std::int64_t> parse_seconds(std::string_view text, std::string* reason);

// As parse_utc and parse_tai read it, always with 9 digits behind the point.
std::string utc_text(const UtcTime& time);
std::string tai_text(std::int64_t ns);
// "2016-12-31"
std::string date_text(std::int64_t posix_s);
// "1483228799.250000000"
std::string seconds_text(std::int64_t ns);

}  // namespace clockpage
