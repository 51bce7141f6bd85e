// SPDX-License-Identifier: MIT
// What a host's clocks and a view of them say at one value of the host's counter.
#pragma once

#include <clockpage/abi.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <smear.hpp>

#include "view_page.hpp"

namespace clockpage::producer {

// One reading of one clock. earliest_ns <= ns <= latest_ns; INT64_MIN, INT64_MAX: no bound.
struct ClockReading {
  std::int64_t ns = 0;
  std::int64_t earliest_ns = std::numeric_limits<std::int64_t>::min();
  std::int64_t latest_ns = std::numeric_limits<std::int64_t>::max();
  std::uint8_t status = CLOCKPAGE_STATUS_UNKNOWN;
  bool operator==(const ClockReading&) const = default;

  // The larger of the two distances to the bounds, ns; nothing: there is none.
  [[nodiscard]] std::optional<std::uint64_t> bound_ns() const noexcept;
};

// The host's own REALTIME (unsmeared) and TAI.
struct HostMoment {
  std::uint64_t counter = 0;
  ClockReading utc{};
  std::optional<ClockReading> tai{};  // nothing: not known
};
// Throws RegionError if the region cannot be read there.
HostMoment host_moment(const clockpage_directory_page& region, std::uint64_t counter);

// The same moment in the view: what a guest reads at this value of its counter, on the data page
// and by the arithmetic that the view chooses.
struct ViewMoment {
  std::uint64_t guest_counter = 0;
  ClockReading realtime{};
  ClockReading monotonic{};
  ClockReading boottime{};
};
// `state` alone, not a view's file: it may not have been published yet. Throws RegionError.
ViewMoment view_moment(const clockpage_directory_page& region, const ViewState& state,
                       std::uint64_t host_counter);

// guest's counter = ((host's counter * ratio) >> frac_bits) + offset, modulo 2^64.
std::uint64_t guest_counter_at(const ViewState& state, std::uint64_t host_counter) noexcept;

// The data page of a format (CLOCKPAGE_FORMAT_*) and smear (0 or not). Throws RegionError where a
// mapped region lacks it.
const clockpage_data_page& data_page_of(const clockpage_directory_page& region, unsigned format,
                                        unsigned smear);

// Which smear the region's smeared pages have.
Smear smear_of_region(const clockpage_directory_page& region);

// The frequency of the host's counter as the producer last measured it against its source, Hz; the
// nominal one where it has not, or where what it says is more than 1 % off.
std::uint64_t measured_frequency_hz(const clockpage_directory_page& region);

}  // namespace clockpage::producer
