// SPDX-License-Identifier: MIT
// From the kernel's own clock data to an observation, and what adjtimex says of its goodness.
#pragma once

#include <cstdint>
#include <kernel_clock.hpp>

#include "time_source.hpp"

struct timex;

namespace clockpage::producer {

// The five clocks of a snapshot at `counter`, exact to 2^-64 ns. counter >= cycle_last.
// Leaves counter-independent quality alone.
void observe_snapshot(const KernelClockSnapshot& snapshot, std::uint64_t counter,
                      Observation& observation) noexcept;

// The same, where the snapshot says that the kernel's clocksource is the counter; otherwise
// counter_untrusted. A `counter` a moment before cycle_last (another CPU's) is taken as that.
ObserveResult observe_trusted(const KernelClockSnapshot& snapshot, std::uint64_t counter,
                              Observation& observation) noexcept;

// The kernel's own verdict, from the fields of adjtimex(2): `state` is its return value.
// maxerror in us; 16 s (NTP_PHASE_LIMIT) means that it has given up.
Quality quality_from_timex(int state, const timex& fields) noexcept;

// adjtimex with modes 0: reads, changes nothing.
Quality read_kernel_quality() noexcept;

// TAI - UTC in ns as adjtimex reports it; nothing when it was never set (below 10 s).
std::optional<std::int64_t> kernel_tai_offset_ns(std::int64_t tai_offset_s) noexcept;

}  // namespace clockpage::producer
