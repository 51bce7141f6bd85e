// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

namespace clockpage::timens {

/// An offset as the kernel takes it: sec + nsec / 10^9 s, 0 <= nsec < 10^9.
struct Seconds {
  std::int64_t sec = 0;
  std::int64_t nsec = 0;
  bool operator==(const Seconds&) const = default;
};

/// "-1.5", "+3", ".000000001": a sign, digits, at most nine digits after the point; exact. Or what
/// is wrong with the text. Any number of 64 bits of seconds: which offsets there can be the kernel
/// says.
std::variant<Seconds, std::string> parse_seconds(std::string_view text);

/// Of any number of ns: "-1.500000000".
std::string seconds_text(std::int64_t ns);

}  // namespace clockpage::timens
