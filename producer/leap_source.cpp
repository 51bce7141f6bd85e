// SPDX-License-Identifier: MIT
#include "leap_source.hpp"

#include <cstdlib>

namespace clockpage::producer {

namespace {

constexpr std::int64_t kDay = 86'400;

constexpr std::int64_t floor_div(std::int64_t a, std::int64_t b) noexcept {
  return a / b - (a % b < 0 ? 1 : 0);
}

std::int64_t realtime_of(const Observation& o) noexcept {
  return static_cast<std::int64_t>(whole_ns(add_ns(o.monotonic, o.realtime_minus_monotonic_ns)));
}

bool is_near(const LeapSecond& leap, std::int64_t realtime_ns) noexcept {
  const std::int64_t midnight = leap.utc_s * kNsPerSecond;
  return realtime_ns >= midnight - kLeapGraceNs && realtime_ns <= midnight + kLeapGraceNs;
}

}  // namespace

void LeapSource::observe(const Observation& o) noexcept {
  const std::int64_t realtime_ns = realtime_of(o);
  const std::int64_t utc_s = floor_div(realtime_ns, kNsPerSecond);
  known_ = UtcKnowledge{};
  choose_offset(o, realtime_ns);
  tai_minus_monotonic_ns_ = o.realtime_minus_monotonic_ns + known_.tai_offset_ns;
  remember_taken(o, utc_s);
  if (!known_.host_in_smear_of) known_.next = next(o, utc_s);
  known_.previous = previous(utc_s);
}

void LeapSource::choose_offset(const Observation& o, std::int64_t realtime_ns) noexcept {
  known_.tai_offset_ns = o.tai_minus_realtime_ns;
  if (config_.table)
    known_.table_offset_s = config_.table->tai_minus_utc_s(floor_div(realtime_ns, kNsPerSecond));
  const bool smeared = config_.host_smear != kNoSmear;
  // Whoever smears the kernel's clock has kept leap seconds from it: what it says of TAI is void.
  if (o.tai_known && !smeared) {
    known_.tai_known = true;
    known_.tai_source = o.tai_source;
  } else if (known_.table_offset_s) {
    known_.tai_known = true;
    known_.tai_source = CLOCKPAGE_SEGMENT_TAI_TABLE;
    known_.tai_offset_ns = table_offset_ns(o, realtime_ns);
  } else if (config_.tai_offset_s) {
    if (!configured_correction_ns_)
      configured_correction_ns_ = *config_.tai_offset_s * kNsPerSecond - o.tai_minus_realtime_ns;
    known_.tai_known = true;
    known_.tai_source = CLOCKPAGE_SEGMENT_TAI_CONFIGURATION;
    known_.tai_offset_ns = o.tai_minus_realtime_ns + *configured_correction_ns_;
  }
  if (!smeared) return;
  known_.host_in_smear_of = host_smear_at(realtime_ns);
  if (!known_.host_in_smear_of) return;
  known_.tai_known = false;  // the line follows a clock that is neither TAI nor UTC
  known_.tai_source = 0;
  known_.tai_offset_ns = known_.host_in_smear_of->before_s * kNsPerSecond;
}

// Around a leap second it cannot be told from the time whether the source has taken it; from TAI it
// can, which does not move then.
std::int64_t LeapSource::table_offset_ns(const Observation& o,
                                         std::int64_t realtime_ns) const noexcept {
  const std::int64_t by_date = *known_.table_offset_s * kNsPerSecond;
  if (!tai_minus_monotonic_ns_ || config_.host_smear != kNoSmear) return by_date;
  for (const LeapSecond& leap : config_.table->leaps()) {
    if (!is_near(leap, realtime_ns)) continue;
    const auto error = [&](std::int64_t offset_s) {
      return std::llabs(o.realtime_minus_monotonic_ns + offset_s * kNsPerSecond -
                        *tai_minus_monotonic_ns_);
    };
    const std::int64_t nearest =
        error(leap.before_s) < error(leap.after_s) ? leap.before_s : leap.after_s;
    // Neither: the clock was set.
    return error(nearest) < kNsPerSecond / 2 ? nearest * kNsPerSecond : by_date;
  }
  return by_date;
}

// The source counts its leap seconds in its offset, whether that was ever set or not.
void LeapSource::remember_taken(const Observation& o, std::int64_t utc_s) noexcept {
  const std::int64_t before = source_offset_ns_.value_or(o.tai_minus_realtime_ns);
  const std::int64_t moved_s = (o.tai_minus_realtime_ns - before) / kNsPerSecond;
  source_offset_ns_ = o.tai_minus_realtime_ns;
  if (o.pending_leap == 0) spent_ = false;
  if (moved_s != 1 && moved_s != -1) return;
  const std::int64_t offset_s = known_.tai_offset_ns / kNsPerSecond;
  const std::int64_t midnight = floor_div(utc_s + kDay / 2, kDay) * kDay;
  if (!is_near({midnight, 0, 0}, utc_s * kNsPerSecond)) return;
  taken_ = LeapSecond{midnight, offset_s - moved_s, offset_s};
  spent_ = o.pending_leap != 0;
}

std::optional<LeapSecond> LeapSource::next(const Observation& o,
                                           std::int64_t utc_s) const noexcept {
  const std::int64_t offset_s = known_.tai_offset_ns / kNsPerSecond;
  std::optional<LeapSecond> by_table;
  // An inserted one that is taken is before its midnight still, and not to come any more.
  const std::int64_t past = taken_ && taken_->utc_s == utc_s + 1 ? taken_->utc_s : utc_s;
  if (config_.table) by_table = config_.table->next_after(past);
  // Nor one that the kernel's TAI offset has in it already.
  if (by_table && by_table->utc_s - utc_s <= kLeapGraceNs / kNsPerSecond &&
      by_table->after_s == offset_s)
    by_table = config_.table->next_after(by_table->utc_s);
  if (by_table) {
    const std::int64_t by = by_table->after_s - by_table->before_s;
    by_table = LeapSecond{by_table->utc_s, offset_s, offset_s + by};
  }
  if (o.pending_leap_utc_s && o.pending_leap != 0 && config_.host_smear == kNoSmear) {
    const LeapSecond named{*o.pending_leap_utc_s, offset_s, offset_s + o.pending_leap};
    return by_table && by_table->utc_s < named.utc_s ? by_table : named;
  }
  const std::int64_t day = floor_div(utc_s, kDay) * kDay;
  // Just after midnight: one that is due, and not taken yet.
  const bool overdue = utc_s - day < kLeapGraceNs / kNsPerSecond;
  if (o.pending_leap == 0 || spent_ || overdue || config_.host_smear != kNoSmear) return by_table;
  const LeapSecond by_kernel{day + kDay, offset_s, offset_s + o.pending_leap};
  return by_table && by_table->utc_s < by_kernel.utc_s ? by_table : by_kernel;
}

std::optional<LeapSecond> LeapSource::previous(std::int64_t utc_s) const noexcept {
  std::optional<LeapSecond> last = taken_;
  if (!config_.table) return last;
  const std::int64_t offset_s = known_.tai_offset_ns / kNsPerSecond;
  for (const LeapSecond& leap : config_.table->leaps()) {
    if (leap.utc_s > utc_s || (last && leap.utc_s <= last->utc_s)) continue;
    last = LeapSecond{leap.utc_s, offset_s - (leap.after_s - leap.before_s), offset_s};
  }
  return last;
}

std::optional<LeapSecond> LeapSource::host_smear_at(std::int64_t realtime_ns) const noexcept {
  if (!config_.table) return std::nullopt;
  const Smear& smear = config_.host_smear;
  for (const LeapSecond& leap : config_.table->leaps()) {
    const std::int64_t start = (leap.utc_s + smear.start_s) * kNsPerSecond;
    if (realtime_ns >= start - kHostSmearAheadNs &&
        realtime_ns < start + smear.length_s * kNsPerSecond)
      return leap;
  }
  return std::nullopt;
}

}  // namespace clockpage::producer
