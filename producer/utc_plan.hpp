// SPDX-License-Identifier: MIT
// TAI - UTC for the next segment, of the unsmeared and of the smeared pages. Pure functions of what
// the pages say, what is known, and the TAI at which the segment begins (ns, by the page's line).
// Spec section 4, item 8.
#pragma once

#include <cstdint>

#include "leap_source.hpp"

namespace clockpage::producer {

// REALTIME of one kind of page.
struct UtcTerms {
  UtcOffset offset;
  std::uint8_t leap_indicator = CLOCKPAGE_LEAP_NONE;
};

// How REALTIME of the unsmeared pages comes to move where it does.
enum class UtcChange {
  none,     // as it was announced, if at all
  leap,     // a leap second that was not announced, or announced and not taken: by whole seconds
  rebased,  // with TAI: REALTIME itself goes on
  set,      // somebody set the clock
};

// For the unsmeared pages: goes on from `before`.
UtcOffset unsmeared_offset(const UtcOffset& before, std::int64_t tai_ns, const UtcKnowledge& known,
                           const Smear& host_smear) noexcept;

// For the smeared pages, where the unsmeared ones are given `unsmeared`. Never steps, and never
// lets REALTIME go backwards, unless `change` is `set`. `tai_step_ns`: how TAI steps at tai_ns.
UtcOffset smeared_offset(const UtcOffset& before, std::int64_t tai_ns, std::int64_t tai_step_ns,
                         const UtcOffset& unsmeared, UtcChange change, const UtcKnowledge& known,
                         const LeapConfig& config) noexcept;
// The same where nothing has been published that it should go on from.
UtcOffset regular_offset(std::int64_t tai_ns, const UtcOffset& unsmeared, const UtcKnowledge& known,
                         const LeapConfig& config) noexcept;

// CLOCKPAGE_LEAP_* at tai_ns, as a reader of a segment that begins there computes it. Until the
// leap of `offset` is near that is what is left of the one before: JUST_PAST for 24 h from its end.
// `unsmeared`: as for smeared_offset; of the unsmeared pages it is `offset`.
std::uint8_t leap_indicator(const UtcOffset& offset, const UtcOffset& unsmeared,
                            std::int64_t tai_ns, const UtcKnowledge& known,
                            const Smear& smear) noexcept;

// While the source is in its smear: TAI as the line has it at which unsmeared REALTIME takes the
// leap second. The line runs as the source does.
std::int64_t host_leap_ns(const LeapSecond& leap, const Smear& host_smear) noexcept;

}  // namespace clockpage::producer
