// SPDX-License-Identifier: MIT
#include "change_reporter.hpp"

#include <array>
#include <string>

#include "say.hpp"
#include "utc_time.hpp"

namespace clockpage::producer {

namespace {

constexpr std::uint32_t kTaiFlags = CLOCKPAGE_SEGMENT_TAI_KNOWN | CLOCKPAGE_SEGMENT_TAI_SOURCE;

const char* status_name(std::uint8_t status) {
  constexpr std::array names = {"unknown", "initialising", "synchronised", "free-running",
                                "unreliable"};
  return status < names.size() ? names[status] : "invalid";
}

std::string tai_source_name(std::uint32_t source, const LeapConfig& leaps) {
  switch (source) {
    case CLOCKPAGE_SEGMENT_TAI_KERNEL:
      return "by the kernel";
    case CLOCKPAGE_SEGMENT_TAI_TABLE:
      if (!leaps.table) return "by the table of the page that is followed";
      return fmt::format("by the table of leap seconds of {}", date_text(leaps.table->updated_s()));
    default:
      return leaps.tai_offset_s ? "by --tai-offset-s" : "by the page that is followed";
  }
}

// "23:59:60 is inserted at the end of 2016-12-31"
std::string leap_text(const LeapSecond& leap) {
  return fmt::format("{} at the end of {}",
                     leap.after_s > leap.before_s ? "23:59:60 is inserted" : "23:59:59 is deleted",
                     date_text(leap.utc_s - 1));
}

}  // namespace

void ChangeReporter::report() {
  const Terms now = publisher_.newest().terms;
  const UtcKnowledge& known = publisher_.steering().leaps().known();
  if (known_ && now.epoch != last_.epoch) report_step(now);
  if (!known_ || now.status != last_.status) say(options_, "status {}", status_name(now.status));
  if (!known_ || (now.flags & kTaiFlags) != (last_.flags & kTaiFlags)) report_tai(now, known);
  report_leap(now, known);
  report_contradiction(now, known);
  last_ = now;
  known_ = true;
}

void ChangeReporter::report_step(const Terms& now) const {
  say(options_, "step: epoch {} begins{}{}{}", now.epoch,
      (now.flags & CLOCKPAGE_SEGMENT_REALTIME_STEP) != 0 ? ", REALTIME steps" : "",
      (now.flags & CLOCKPAGE_SEGMENT_TAI_STEP) != 0 ? ", TAI steps" : "",
      (now.flags & CLOCKPAGE_SEGMENT_MONOTONIC_STEP) != 0 ? ", MONOTONIC is disrupted" : "");
}

void ChangeReporter::report_tai(const Terms& now, const UtcKnowledge& known) const {
  if ((now.flags & CLOCKPAGE_SEGMENT_TAI_KNOWN) == 0)
    say(options_, "TAI is unknown{}", known.host_in_smear_of ? ": the host is being smeared" : "");
  else
    say(options_, "TAI - UTC is {} s, {}", known.tai_offset_ns / kNsPerSecond,
        tai_source_name(now.flags & CLOCKPAGE_SEGMENT_TAI_SOURCE,
                        publisher_.steering().leaps().config()));
}

void ChangeReporter::report_leap(const Terms& now, const UtcKnowledge& known) {
  if (known.host_in_smear_of != host_in_smear_of_) {
    if (known.host_in_smear_of)
      say(options_, "the host's clock is being smeared: {}", leap_text(*known.host_in_smear_of));
    host_in_smear_of_ = known.host_in_smear_of;
  }
  if (known.next == announced_) return;
  if (known.next) {
    say(options_, "leap second: {}", leap_text(*known.next));
  } else if (known.previous && known.previous->utc_s == announced_->utc_s) {
    say(options_, "leap second: {}; it is past", leap_text(*announced_));
  } else if (now.utc.leaps()) {
    return;  // at its instant: the kernel no longer announces it, and takes it some ticks later
  } else if (!known.host_in_smear_of) {
    say(options_, "leap second: no longer to come: {}", leap_text(*announced_));
  }
  announced_ = known.next;
}

void ChangeReporter::report_contradiction(const Terms& now_terms, const UtcKnowledge& known) {
  // While a second is repeated the date is that of before, and TAI - UTC is not.
  const UtcOffset& utc = now_terms.utc;
  const bool repeated = utc.leaps() && known.table_offset_s &&
                        *known.table_offset_s * kNsPerSecond == utc.before_ns &&
                        known.tai_offset_ns == utc.after_ns;
  const bool contradicts = known.tai_known && known.table_offset_s &&
                           known.tai_source != CLOCKPAGE_SEGMENT_TAI_TABLE &&
                           *known.table_offset_s * kNsPerSecond != known.tai_offset_ns && !repeated;
  const std::optional<std::int64_t> now = contradicts ? known.table_offset_s : std::nullopt;
  // For some ticks after a leap second they may be apart.
  const bool again = now && contradicted_ == now;
  if (again && ++contradictions_ == kBelieved)
    say(options_,
        "{} says that TAI - UTC is {} s, the table of leap seconds says {} s: the {} used",
        known.tai_source == CLOCKPAGE_SEGMENT_TAI_KERNEL ? "the kernel" : "--tai-offset-s",
        known.tai_offset_ns / kNsPerSecond, *now,
        known.tai_source == CLOCKPAGE_SEGMENT_TAI_KERNEL ? "kernel's is" : "option's is");
  if (!again) contradictions_ = 0;
  contradicted_ = now;
}

}  // namespace clockpage::producer
