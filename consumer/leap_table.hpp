// SPDX-License-Identifier: MIT
// The table of leap seconds, read from a leap-seconds.list as IERS and tzdata publish it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "smear.hpp"

namespace clockpage {

// Where Debian's tzdata puts it.
inline constexpr const char* kLeapTablePath = "/usr/share/zoneinfo/leap-seconds.list";

// What is wrong with a table, for people. Lines count from 1; 0: the file as a whole.
struct LeapTableError {
  unsigned line = 0;
  std::string reason;
};

// Times are POSIX times of UTC: seconds since 1970 without leap seconds.
class LeapTable {
 public:
  // 1972-01-01, from which on UTC differs from TAI by whole seconds: 10, to begin with.
  static constexpr std::int64_t kBegin = 63'072'000;
  static constexpr std::int64_t kFirstOffset = 10;

  // Parses the whole text of a leap-seconds.list, strictly: known lines only, times from the
  // epoch 1900-01-01, ascending, at the beginning of a month, before 2200, offsets that change by
  // one, the SHA-1 of line #h. Expiry is no error: what has happened stays true.
  static std::variant<LeapTable, LeapTableError> parse(std::string_view text);

  // TAI - UTC in seconds at `utc_s`; nothing before 1972. During 23:59:60, which POSIX time cannot
  // tell from the second after it: the new one.
  [[nodiscard]] std::optional<std::int64_t> tai_minus_utc_s(std::int64_t utc_s) const noexcept;
  // The first leap second whose midnight is after `utc_s`.
  [[nodiscard]] std::optional<LeapSecond> next_after(std::int64_t utc_s) const noexcept;

  // All, ascending.
  [[nodiscard]] const std::vector<LeapSecond>& leaps() const noexcept { return leaps_; }
  // When it was made, and until when it says all there is to say.
  [[nodiscard]] std::int64_t updated_s() const noexcept { return updated_s_; }
  [[nodiscard]] std::int64_t expires_s() const noexcept { return expires_s_; }

 private:
  friend class LeapTableParser;
  std::vector<LeapSecond> leaps_;
  std::int64_t updated_s_ = 0;
  std::int64_t expires_s_ = 0;
};

// Reads and parses a file. The error is one line: "FILE:LINE: reason" or "FILE: reason".
std::variant<LeapTable, std::string> read_leap_table(const std::string& path);

}  // namespace clockpage
