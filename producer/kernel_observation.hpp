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

// adjtimex with modes 0: reads, changes nothing. Fills in quality and pending_leap.
void observe_timex(Observation& observation) noexcept;

// TAI - REALTIME in s as the kernel has it. Never set, it is 0, and counts leap seconds from there.
void set_tai_offset(std::int64_t tai_offset_s, Observation& observation) noexcept;

// Of adjtimex(2), as quality_from_timex: see Observation::pending_leap.
int pending_leap_from_timex(int state, const timex& fields) noexcept;

}  // namespace clockpage::producer
