// SPDX-License-Identifier: MIT
#include "time_scales.hpp"

#include <algorithm>

namespace clockpage {

namespace {

// The one that holds at `tai_ns`: the last that has begun to leap.
const UtcOffset& holding(const std::vector<UtcOffset>& offsets, std::int64_t tai_ns) {
  const auto later = std::find_if(offsets.begin() + 1, offsets.end(),
                                  [=](const UtcOffset& o) { return tai_ns < o.start_ns; });
  return *(later - 1);
}

std::vector<UtcOffset> offsets_of(const std::vector<LeapSecond>& leaps, const Smear& smear) {
  const std::int64_t first = leaps.empty() ? LeapTable::kFirstOffset : leaps.front().before_s;
  std::vector<UtcOffset> offsets = {constant_offset(first * kNsPerSecond)};
  for (const LeapSecond& leap : leaps) offsets.push_back(leap_offset(leap, smear));
  return offsets;
}

bool check_covered(std::int64_t tai_ns, std::string* reason) {
  if (TimeScales::covers(tai_ns)) return true;
  *reason = tai_ns < TimeScales::kFirstTai
                ? "is before 1972-01-01T00:00:00Z, where UTC as it is now begins"
                : "is after 2116-02-20, where the pages' time ends";
  return false;
}

}  // namespace

TimeScales::TimeScales(std::vector<LeapSecond> leaps, const Smear& smear)
    : leaps_(std::move(leaps)),
      unsmeared_(offsets_of(leaps_, kNoSmear)),
      smeared_(offsets_of(leaps_, smear)) {}

UtcTime TimeScales::utc(std::int64_t tai_ns) const {
  const UtcOffset& offset = holding(unsmeared_, tai_ns);
  const std::int64_t ns = tai_ns - offset.at(tai_ns);
  // At an insertion the second that begins there is the one that is counted twice.
  const bool leap = offset.leaps() && offset.after_ns > offset.before_ns &&
                    tai_ns >= offset.start_ns && tai_ns < offset.start_ns + kNsPerSecond;
  return {ns / kNsPerSecond, static_cast<std::int32_t>(ns % kNsPerSecond), leap};
}

std::int64_t TimeScales::smeared(std::int64_t tai_ns) const {
  return tai_ns - holding(smeared_, tai_ns).at(tai_ns);
}

bool TimeScales::in_smear(std::int64_t tai_ns) const {
  const UtcOffset& offset = holding(smeared_, tai_ns);
  return offset.leaps() && tai_ns >= offset.start_ns && tai_ns < offset.end_ns;
}

std::optional<std::int64_t> TimeScales::tai_from_utc(const UtcTime& utc,
                                                     std::string* reason) const {
  // Both offsets of the leap second at the end of this day, if there is one.
  const LeapSecond* ends_here = nullptr;
  std::int64_t offset_s = unsmeared_.front().before_ns / kNsPerSecond;
  for (const LeapSecond& leap : leaps_) {
    if (leap.utc_s <= utc.posix_s) offset_s = leap.after_s;
    if (leap.utc_s == utc.posix_s + 1) ends_here = &leap;
  }
  if (utc.leap_second && (ends_here == nullptr || ends_here->after_s < ends_here->before_s)) {
    *reason = "that day has no 23:59:60";
    return {};
  }
  if (!utc.leap_second && ends_here != nullptr && ends_here->after_s < ends_here->before_s) {
    *reason = "that day has no 23:59:59: it was deleted";
    return {};
  }
  const std::int64_t tai_s = utc.posix_s + offset_s + (utc.leap_second ? 1 : 0);
  const std::int64_t tai_ns = tai_s * kNsPerSecond + utc.ns;
  if (!check_covered(tai_ns, reason)) return {};
  return tai_ns;
}

std::optional<TaiInstants> TimeScales::tai_from_realtime(std::int64_t ns,
                                                         std::string* reason) const {
  // Each offset that has held is tried: is it the one that holds where it leads?
  TaiInstants found;
  if (ns > kLastTai || ns < 0) return check_covered(ns, reason), std::nullopt;
  if (!check_covered(ns + unsmeared_.front().before_ns, reason)) return {};
  for (std::size_t i = 0; i < unsmeared_.size(); i++) {
    const std::int64_t tai_ns = ns + unsmeared_[i].after_ns;
    if (&holding(unsmeared_, tai_ns) == &unsmeared_[i] && realtime(tai_ns) == ns) {
      if (!check_covered(tai_ns, reason)) return {};
      found.tai_ns.push_back(tai_ns);
    }
  }
  return found;
}

std::optional<TaiInstants> TimeScales::tai_from_smeared(std::int64_t ns,
                                                        std::string* reason) const {
  if (ns > kLastTai || ns < 0) return check_covered(ns, reason), std::nullopt;
  // It never goes back: the first instant at which it reads this much.
  const auto [least, most] = std::minmax_element(
      smeared_.begin(), smeared_.end(),
      [](const UtcOffset& a, const UtcOffset& b) { return a.after_ns < b.after_ns; });
  std::int64_t low = ns + least->after_ns - kNsPerSecond;
  std::int64_t high = ns + most->after_ns + kNsPerSecond;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (smeared(middle) < ns)
      low = middle + 1;
    else
      high = middle;
  }
  if (!check_covered(low, reason)) return {};
  TaiInstants found;
  if (smeared(low) == ns) found.tai_ns.push_back(low);
  found.next_too = !found.tai_ns.empty() && smeared(low + 1) == ns;
  return found;
}

}  // namespace clockpage
