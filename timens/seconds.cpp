// SPDX-License-Identifier: MIT
#include "seconds.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace clockpage::timens {
namespace {

constexpr std::int64_t kNsPerSec = 1'000'000'000;
constexpr std::size_t kDigits = 9;  // after the point

bool is_digits(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::variant<Seconds, std::string> parse_seconds(std::string_view text) {
  std::string_view rest = text;
  const bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  const std::size_t point = std::min(rest.find('.'), rest.size());
  const std::string_view whole = rest.substr(0, point);
  const std::string_view part = rest.substr(std::min(point + 1, rest.size()));
  if (whole.empty() && part.empty()) return fmt::format("\"{}\" is not a number of seconds", text);
  if (!is_digits(whole) || !is_digits(part))
    return fmt::format("\"{}\" is not a decimal number of seconds", text);
  if (part.size() > kDigits)
    return fmt::format("\"{}\" has more than {} digits after the point: the kernel counts in ns",
                       text, kDigits);
  Seconds seconds;
  if (!whole.empty() &&
      std::from_chars(whole.data(), whole.data() + whole.size(), seconds.sec).ec != std::errc())
    return fmt::format("\"{}\" is beyond 64 bits of seconds", text);
  for (std::size_t i = 0; i < kDigits; i++)
    seconds.nsec = seconds.nsec * 10 + (i < part.size() ? part[i] - '0' : 0);
  if (!negative) return seconds;
  seconds.sec = -seconds.sec;
  if (seconds.nsec != 0) {
    seconds.sec--;
    seconds.nsec = kNsPerSec - seconds.nsec;
  }
  return seconds;
}

std::string seconds_text(std::int64_t ns) {
  // Of INT64_MIN, too, there is no negative.
  const std::uint64_t size =
      ns < 0 ? 0 - static_cast<std::uint64_t>(ns) : static_cast<std::uint64_t>(ns);
  return fmt::format("{}{}.{:09}", ns < 0 ? "-" : "", size / kNsPerSec, size % kNsPerSec);
}

}  // namespace clockpage::timens
