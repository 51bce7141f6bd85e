// SPDX-License-Identifier: MIT
#include "utc_plan.hpp"

#include <algorithm>

namespace clockpage::producer {

namespace {

// A smear that could not begin in time is no steeper than this: one part in so many.
constexpr std::int64_t kSteepest = 1000;
constexpr std::int64_t kJustPastNs = 86'400 * kNsPerSecond;

bool is_within(std::int64_t value, std::int64_t middle, std::int64_t radius) noexcept {
  return value >= middle - radius && value <= middle + radius;
}

// The least time for so much of a change.
std::int64_t shortest_ns(std::int64_t change_ns, const Smear& smear) noexcept {
  return std::abs(change_ns) * std::min<std::int64_t>(kSteepest, smear.length_s);
}

// A step of the unsmeared pages as the leap second that it is.
LeapSecond leap_of(const UtcOffset& step) noexcept {
  const std::int64_t before = step.before_ns / kNsPerSecond;
  const std::int64_t after = step.after_ns / kNsPerSecond;
  return {step.start_ns / kNsPerSecond - std::min(before, after), before, after};
}

// From a host's smear, unsmeared REALTIME is found by its inverse, which is linear too; only the
// leap second itself is a step, so that it takes two ramps.
UtcOffset undone_host_smear(const LeapSecond& leap, const Smear& smear, std::int64_t tai) noexcept {
  const std::int64_t before = leap.before_s * kNsPerSecond;
  const std::int64_t by = (leap.after_s - leap.before_s) * kNsPerSecond;
  const std::int64_t start = (leap.utc_s + smear.start_s + leap.before_s) * kNsPerSecond;
  const std::int64_t end = start + smear.length_s * kNsPerSecond;
  const std::int64_t at_leap = host_leap_ns(leap, smear);
  if (at_leap <= start) {
    // The host's clock is right up to the leap second and wrong after it: a step, then one ramp.
    if (tai < at_leap) return leap_offset(leap, kNoSmear);
    return tai < end ? offset_ramp(before + by, start, end, before) : constant_offset(before);
  }
  // What the smear has made good by the leap second: that much of it is undone.
  const std::int64_t done = (at_leap - start) / smear.length_s * (leap.after_s - leap.before_s);
  if (tai < at_leap) return offset_ramp(before, start, at_leap, before - done);
  if (tai < end) return offset_ramp(before - done + by, at_leap, end, before);
  return constant_offset(before);
}

}  // namespace

std::int64_t host_leap_ns(const LeapSecond& leap, const Smear& smear) noexcept {
  const std::int64_t start = (leap.utc_s + smear.start_s + leap.before_s) * kNsPerSecond;
  if (leap.tai_ns() <= start) return leap.tai_ns();  // by a clock that is not smeared yet
  const std::int64_t true_length = smear.length_s + (leap.after_s - leap.before_s);
  const clockpage_u128 into = static_cast<clockpage_u128>(leap.tai_ns() - start) * smear.length_s;
  const auto length = static_cast<clockpage_u128>(true_length);
  return start + static_cast<std::int64_t>((into + length - 1) / length);
}

UtcOffset unsmeared_offset(const UtcOffset& before, std::int64_t tai, const UtcKnowledge& known,
                           const Smear& host_smear) noexcept {
  if (known.host_in_smear_of) return undone_host_smear(*known.host_in_smear_of, host_smear, tai);
  const std::int64_t now = known.tai_offset_ns;
  // The source takes its leap second at the tick after it, and was read a little before this
  // segment begins. Afterwards it is kept for a second, so that readers know which one is repeated.
  if (before.leaps() && before.start_ns == before.end_ns &&
      is_within(tai, before.start_ns, kLeapGraceNs)) {
    const bool over = now == before.after_ns && tai >= before.end_ns + kNsPerSecond;
    if (!over && (now == before.before_ns || now == before.after_ns)) return before;
  }
  if (known.next && known.next->tai_ns() > tai) return leap_offset(*known.next, kNoSmear);
  return constant_offset(now);
}

UtcOffset regular_offset(std::int64_t tai, const UtcOffset& unsmeared, const UtcKnowledge& known,
                         const LeapConfig& config) noexcept {
  if (config.smear == kNoSmear) return unsmeared;
  if (config.host_smear != kNoSmear) return constant_offset(known.tai_offset_ns);
  const std::int64_t base = unsmeared.at(tai);
  const bool to_come = unsmeared.leaps() && tai < unsmeared.start_ns;
  const UtcOffset coming = to_come ? leap_offset(leap_of(unsmeared), config.smear) : UtcOffset{};
  if (to_come && coming.start_ns <= tai) return coming;
  // In the second that is repeated the source's date is that of before.
  const std::optional<LeapSecond> last =
      unsmeared.leaps() && !to_come ? leap_of(unsmeared) : known.previous;
  if (last) {
    const UtcOffset going = leap_offset(*last, config.smear);
    if (going.after_ns == base && tai >= going.start_ns && tai < going.end_ns) return going;
  }
  return to_come ? coming : constant_offset(base);
}

UtcOffset smeared_offset(const UtcOffset& before, std::int64_t tai, std::int64_t tai_step_ns,
                         const UtcOffset& unsmeared, UtcChange change, const UtcKnowledge& known,
                         const LeapConfig& config) noexcept {
  const Smear& smear = config.smear;
  if (smear == kNoSmear || config.host_smear != kNoSmear || change == UtcChange::set)
    return regular_offset(tai, unsmeared, known, config);
  UtcOffset old = before;
  if (change == UtcChange::rebased) {
    old.before_ns += tai_step_ns;
    old.after_ns += tai_step_ns;
    if (old.leaps()) {
      old.start_ns += tai_step_ns;
      old.end_ns += tai_step_ns;
    }
  }
  const bool to_come = unsmeared.leaps() && tai < unsmeared.start_ns;
  const std::int64_t base = unsmeared.at(tai);
  const bool moving = old.leaps() && tai >= old.start_ns && tai < old.end_ns;
  // One that begins with or after the leap second may still be a second ahead.
  const bool about_to = old.leaps() && tai < old.start_ns && tai >= old.start_ns - kLeapGraceNs;
  if ((moving || about_to) && old.after_ns == base) return old;
  if (moving && to_come && old.after_ns == unsmeared.after_ns && old.end_ns >= unsmeared.start_ns)
    return old;
  // Where a smear is broken off: the formats' lines may be a nanosecond apart here, and of the
  // values near by this one lets REALTIME go forwards on both.
  const std::int64_t now = moving ? std::min(old.at(tai - 1), old.at(tai + 1)) : old.at(tai);
  const UtcOffset coming = to_come ? leap_offset(leap_of(unsmeared), smear) : UtcOffset{};
  if (now == base) {
    if (!to_come) return constant_offset(base);
    if (tai <= coming.start_ns) return coming;
    // Announced late, or after another one that was not over.
    const std::int64_t shortest = tai + shortest_ns(coming.after_ns - now, smear);
    return offset_ramp(now, tai, std::max(coming.end_ns, shortest), coming.after_ns);
  }
  const std::int64_t target = to_come && coming.start_ns <= tai ? coming.after_ns : base;
  if (now == target) return constant_offset(target);
  return offset_ramp(now, tai, tai + shortest_ns(target - now, smear), target);
}

std::uint8_t leap_indicator(const UtcOffset& offset, const UtcOffset& unsmeared, std::int64_t tai,
                            const UtcKnowledge& known, const Smear& smear) noexcept {
  if (known.host_in_smear_of) return CLOCKPAGE_LEAP_IN_SMEAR;
  if (offset.leaps()) {
    if (tai >= offset.end_ns) return CLOCKPAGE_LEAP_JUST_PAST;
    if (tai >= offset.start_ns) return CLOCKPAGE_LEAP_IN_SMEAR;
    if (offset.start_ns - tai <= CLOCKPAGE_LEAP_NOTICE_NS)
      return offset.after_ns > offset.before_ns ? CLOCKPAGE_LEAP_PENDING_INSERTION
                                                : CLOCKPAGE_LEAP_PENDING_DELETION;
  }
  // A smear may end with the leap second, of which the source knows nothing yet then.
  const bool at_it = unsmeared.leaps() && tai >= unsmeared.start_ns;
  if (!at_it && !known.previous) return CLOCKPAGE_LEAP_NONE;
  const LeapSecond previous = at_it ? leap_of(unsmeared) : *known.previous;
  const std::int64_t end = leap_offset(previous, smear).end_ns;
  return tai >= end && tai < end + kJustPastNs ? CLOCKPAGE_LEAP_JUST_PAST : CLOCKPAGE_LEAP_NONE;
}

}  // namespace clockpage::producer
