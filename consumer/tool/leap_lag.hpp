// SPDX-License-Identifier: MIT
//
// The kernel steps at a tick after the leap second, an unsmeared page at the leap second itself
// (spec section 4.1): for so long they differ by a second, and nothing is wrong.
#pragma once

#include <clockpage/abi.h>

#include <cstdint>
#include <optional>

namespace clockpage::tool {

/// The longest that a kernel may lag: two ticks of 10 ms, and the interrupt that is late.
inline constexpr int64_t kMaxLeapLag = 40'000'000;

/// ns since the leap second in `segment`, if the page's REALTIME, `page_ns`, is `difference_ns` off
/// the kernel's for no other reason than that the kernel has not leapt yet. Nothing: any other
/// difference, or too late for one.
inline std::optional<int64_t> leap_lag(const clockpage_segment& segment, int64_t page_ns,
                                       int64_t difference_ns) {
  constexpr int64_t kApart = 1'000'000;  // more than they differ by otherwise
  const int64_t leap = segment.leap_start_ns;
  if (leap == CLOCKPAGE_NO_LEAP || leap != segment.leap_end_ns) return std::nullopt;
  const auto u = [](int64_t value) { return static_cast<uint64_t>(value); };
  const uint64_t since = u(page_ns) + u(segment.utc_offset_after_ns) - u(leap);
  if (since >= u(kMaxLeapLag)) return std::nullopt;
  // The page has stepped by utc_offset_ns - utc_offset_after_ns.
  const uint64_t rest =
      u(difference_ns) - u(segment.utc_offset_ns) + u(segment.utc_offset_after_ns);
  if (rest + u(kApart) > 2 * u(kApart)) return std::nullopt;
  return static_cast<int64_t>(since);
}

}  // namespace clockpage::tool
