// SPDX-License-Identifier: MIT
#include "clock_function.hpp"

#include <clockpage/reader.h>  // numbers of clocks, flags and errors only
#include <fmt/format.h>

#include <algorithm>

namespace clockpage::tool {
namespace {

__extension__ typedef unsigned __int128 Wide;

int64_t signed_difference(uint64_t a, uint64_t b) { return static_cast<int64_t>(a - b); }

// Section 4, item 1.
uint64_t ticks_at(const HistoryPage& page, const clockpage_segment& s, uint64_t counter) {
  const Wide ticks = Wide{counter - s.start} << page.delta_shift;
  const Wide most = Wide{1} << 62;
  return static_cast<uint64_t>(std::min(ticks, most));
}

// A line's exact value in 2^-64 ns, modulo 2^128.
Wide exact(uint64_t ns, uint64_t frac, uint64_t period, uint64_t ticks) {
  return (Wide{ns} << 64) + frac + Wide{ticks} * period;
}

Wide tai_at(const HistoryPage& page, const clockpage_segment& s, uint64_t counter) {
  return exact(s.tai_ns, s.tai_frac, s.tai_period_frac, ticks_at(page, s, counter));
}

Wide raw_at(const HistoryPage& page, const clockpage_segment& s, uint64_t counter) {
  return exact(s.raw_ns, s.raw_frac, s.raw_period_frac, ticks_at(page, s, counter));
}

uint64_t whole(Wide instant) { return static_cast<uint64_t>(instant >> 64); }
Wide ns_of(int64_t ns) { return Wide{static_cast<uint64_t>(ns)} << 64; }

// Section 4, item 4.
int64_t utc_offset(const clockpage_segment& s, int64_t tai) {
  if (tai < s.leap_start_ns) return s.utc_offset_ns;
  if (tai >= s.leap_end_ns) return s.utc_offset_after_ns;
  const uint64_t into = static_cast<uint64_t>(tai) - static_cast<uint64_t>(s.leap_start_ns);
  const Wide moved = Wide{into} * s.leap_slope_frac;
  const auto before = static_cast<uint64_t>(s.utc_offset_ns);
  const bool insertion =
      signed_difference(static_cast<uint64_t>(s.utc_offset_after_ns), before) >= 0;
  return static_cast<int64_t>(insertion ? before + whole(moved)
                                        : before - whole(moved + ~uint64_t{0}));
}

// The end of section 5.2: whether REALTIME is read twice here, and which time it is.
uint8_t ambiguity(const clockpage_segment& s, int64_t tai) {
  if (s.leap_start_ns == CLOCKPAGE_NO_LEAP || s.leap_start_ns != s.leap_end_ns) return 0;
  const int64_t change = signed_difference(static_cast<uint64_t>(s.utc_offset_after_ns),
                                           static_cast<uint64_t>(s.utc_offset_ns));
  const int64_t x =
      signed_difference(static_cast<uint64_t>(tai), static_cast<uint64_t>(s.leap_start_ns));
  if (change <= 0 || x < -change || x >= change) return 0;
  const bool second = tai >= s.leap_start_ns;
  return static_cast<uint8_t>(CLOCKPAGE_TIME_AMBIGUOUS | (second ? kHistorySecondTime : 0));
}

// Section 4, item 5.
void add_bounds(FunctionValue& value, uint64_t bound, uint64_t growth, uint64_t ticks) {
  const Wide grown = Wide{bound} + (Wide{ticks} * growth >> 64) + 2;
  value.earliest_ns = INT64_MIN;
  value.latest_ns = INT64_MAX;
  if (bound == CLOCKPAGE_BOUND_UNKNOWN || grown > Wide{INT64_MAX}) return;
  const auto width = static_cast<int64_t>(grown);
  if (value.ns >= INT64_MIN + width) value.earliest_ns = value.ns - width;
  if (value.ns <= INT64_MAX - width) value.latest_ns = value.ns + width;
}

uint64_t bound_after(uint64_t bound, uint64_t growth, uint64_t ticks) {
  const Wide grown = Wide{bound} + (Wide{ticks} * growth >> 64);
  return static_cast<uint64_t>(std::min(grown, Wide{CLOCKPAGE_BOUND_UNKNOWN}));
}

std::string text_of(Wide instant) {
  return fmt::format("{} ns + {:#x} * 2^-64", whole(instant), static_cast<uint64_t>(instant));
}

// What goes on unchanged in a bridge.
bool same_line(const clockpage_segment& a, const clockpage_segment& b) {
  return a.tai_period_frac == b.tai_period_frac && a.raw_period_frac == b.raw_period_frac &&
         a.utc_offset_ns == b.utc_offset_ns && a.monotonic_offset_ns == b.monotonic_offset_ns &&
         a.boottime_offset_ns == b.boottime_offset_ns && a.leap_start_ns == b.leap_start_ns &&
         a.leap_end_ns == b.leap_end_ns && a.utc_offset_after_ns == b.utc_offset_after_ns &&
         a.leap_slope_frac == b.leap_slope_frac &&
         ((a.flags ^ b.flags) & CLOCKPAGE_SEGMENT_TAI_KNOWN) == 0;
}

// "A bridge says no better of the line than n did."
bool claims_more(const HistoryPage& page, const clockpage_segment& before,
                 const clockpage_segment& bridge) {
  const uint64_t ticks = ticks_at(page, before, bridge.start);
  return bridge.utc_bound_ns <
             bound_after(before.utc_bound_ns, before.utc_bound_growth_frac, ticks) ||
         bridge.local_bound_ns <
             bound_after(before.local_bound_ns, before.local_bound_growth_frac, ticks) ||
         bridge.utc_bound_growth_frac < before.utc_bound_growth_frac ||
         bridge.local_bound_growth_frac < before.local_bound_growth_frac;
}

// Each clock that is not flagged goes on where it was, to the last bit.
std::optional<Finding> check_continuity(const HistoryPage& page, const clockpage_segment& p,
                                        const clockpage_segment& s) {
  const Wide before = tai_at(page, p, s.start);
  const Wide now = tai_at(page, s, s.start);
  const auto differs = [&s](const char* rule, Wide is, Wide must_be) {
    return Finding{rule, fmt::format("segment {} begins at {} and not at its predecessor's {}",
                                     s.number, text_of(is), text_of(must_be))};
  };
  if (!(s.flags & CLOCKPAGE_SEGMENT_TAI_STEP) && now != before) return differs("base", now, before);
  const Wide raw_before = raw_at(page, p, s.start);
  const Wide raw_now = raw_at(page, s, s.start);
  if (!(s.flags & CLOCKPAGE_SEGMENT_MONOTONIC_STEP)) {
    if (raw_now != raw_before) return differs("raw-base", raw_now, raw_before);
    if (now - ns_of(s.monotonic_offset_ns) != before - ns_of(p.monotonic_offset_ns))
      return differs("monotonic", now - ns_of(s.monotonic_offset_ns),
                     before - ns_of(p.monotonic_offset_ns));
    if (now - ns_of(s.boottime_offset_ns) != before - ns_of(p.boottime_offset_ns))
      return differs("boottime", now - ns_of(s.boottime_offset_ns),
                     before - ns_of(p.boottime_offset_ns));
  }
  const Wide utc_before = before - ns_of(utc_offset(p, static_cast<int64_t>(whole(before))));
  const Wide utc_now = now - ns_of(utc_offset(s, static_cast<int64_t>(whole(now))));
  if (!(s.flags & CLOCKPAGE_SEGMENT_REALTIME_STEP) && utc_now != utc_before)
    return differs("realtime", utc_now, utc_before);
  return std::nullopt;
}

}  // namespace

std::optional<FunctionValue> value_of(const HistoryPage& page, const clockpage_segment& s,
                                      uint8_t clock, uint64_t counter, bool overdue) {
  const uint64_t ticks = ticks_at(page, s, counter);
  const bool raw = clock == CLOCKPAGE_MONOTONIC_RAW;
  const uint64_t line = whole(raw ? raw_at(page, s, counter) : tai_at(page, s, counter));
  const bool tai_known = s.flags & CLOCKPAGE_SEGMENT_TAI_KNOWN;
  uint64_t offset = 0;
  if (clock == CLOCKPAGE_TAI && !tai_known) return std::nullopt;
  if (clock == CLOCKPAGE_REALTIME)
    offset = static_cast<uint64_t>(utc_offset(s, static_cast<int64_t>(line)));
  if (clock == CLOCKPAGE_MONOTONIC) offset = static_cast<uint64_t>(s.monotonic_offset_ns);
  if (clock == CLOCKPAGE_BOOTTIME) offset = static_cast<uint64_t>(s.boottime_offset_ns);

  FunctionValue value;
  value.ns = static_cast<int64_t>(line - offset);
  if (clock == CLOCKPAGE_REALTIME || clock == CLOCKPAGE_TAI)
    add_bounds(value, s.utc_bound_ns, s.utc_bound_growth_frac, ticks);
  else
    add_bounds(value, s.local_bound_ns, s.local_bound_growth_frac, ticks);
  value.epoch = s.epoch;
  value.status = std::min<uint8_t>(s.status, CLOCKPAGE_STATUS_UNRELIABLE);
  if (overdue && value.status != CLOCKPAGE_STATUS_UNRELIABLE)
    value.status = CLOCKPAGE_STATUS_FREE_RUNNING;
  value.reason = s.reason;
  value.flags = static_cast<uint8_t>(
      (overdue ? CLOCKPAGE_TIME_OVERDUE : 0) | (tai_known ? CLOCKPAGE_TIME_TAI_KNOWN : 0) |
      (s.flags & CLOCKPAGE_SEGMENT_HOST_IN_SMEAR ? CLOCKPAGE_TIME_HOST_IN_SMEAR : 0));
  if (clock == CLOCKPAGE_REALTIME) value.flags |= ambiguity(s, static_cast<int64_t>(line));
  return value;
}

ClockFunction::ClockFunction(const HistoryPage& page, std::vector<HistorySegment> segments)
    : page_(page),
      segments_(std::move(segments)),
      next_steering_(segments_.size() + 1, segments_.size()),
      next_gap_(segments_.size() + 1, segments_.size()) {
  for (size_t i = segments_.size(); i-- > 0;) {
    const bool bridge = at(i).flags & CLOCKPAGE_SEGMENT_BRIDGE;
    next_steering_[i] = bridge && !after_gap(i) ? next_steering_[i + 1] : i;
    next_gap_[i] = after_gap(i) ? i : next_gap_[i + 1];
  }
}

size_t ClockFunction::gaps() const {
  return static_cast<size_t>(std::count_if(segments_.begin(), segments_.end(),
                                           [](const HistorySegment& s) { return s.after_gap; }));
}

uint64_t ClockFunction::image(uint64_t host) const {
  return static_cast<uint64_t>(Wide{host} * page_.scale_ratio >> page_.scale_frac_bits);
}

std::vector<Finding> ClockFunction::check() const {
  std::vector<Finding> out;
  for (size_t i = 0; i < size(); i++) {
    if (signed_difference(at(i).lease_end, at(i).start) <= 0 && i > 0)
      out.push_back({"lease", fmt::format("segment {} ends at {}, where it begins or before",
                                          at(i).number, at(i).lease_end)});
    if (i > 0) check_pair(i, out);
  }
  return out;
}

void ClockFunction::check_pair(size_t i, std::vector<Finding>& out) const {
  const clockpage_segment& p = at(i - 1);
  const clockpage_segment& s = at(i);
  const int64_t further = signed_difference(s.number, p.number);
  if (after_gap(i) ? further < 2 : further != 1) {
    out.push_back(
        {"number", fmt::format("segment {} follows segment {}{}", s.number, p.number,
                               after_gap(i) ? " after a gap" : ", and no gap is recorded")});
    return;
  }
  if (after_gap(i)) {
    if (signed_difference(s.start, p.lease_end) <= 0 || signed_difference(s.epoch, p.epoch) < 0)
      out.push_back(
          {"start", fmt::format("segment {} is not behind segment {}", s.number, p.number)});
    return;
  }
  if (s.start != p.lease_end)
    out.push_back({"start", fmt::format("segment {} begins at {}, the lease before it ends at {}",
                                        s.number, s.start, p.lease_end)});
  const bool discontinuity = s.flags & CLOCKPAGE_SEGMENT_DISCONTINUITY;
  if (s.epoch != p.epoch + (discontinuity ? 1 : 0))
    out.push_back({"epoch", fmt::format("segment {} is {}discontinuity, of epoch {} after {}",
                                        s.number, discontinuity ? "a " : "no ", s.epoch, p.epoch)});
  if (s.flags & CLOCKPAGE_SEGMENT_BRIDGE) {
    if (discontinuity || !same_line(p, s))
      out.push_back(
          {"bridge", fmt::format("segment {} is a bridge and not the line before it", s.number)});
    else if (claims_more(page_, p, s))
      out.push_back(
          {"bridge", fmt::format("segment {} is a bridge with better bounds than the line "
                                 "it continues",
                                 s.number)});
  }
  if (auto finding = check_continuity(page_, p, s)) out.push_back(std::move(*finding));
}

size_t ClockFunction::last_begun(uint64_t counter, size_t& hint) const {
  const auto begun = [&](size_t i) { return signed_difference(counter, at(i).start) >= 0; };
  if (segments_.empty()) return kNone;
  for (size_t i = hint; i < hint + 2 && i < size(); i++)
    if (begun(i) && (i + 1 == size() || !begun(i + 1))) return hint = i;
  const auto after = std::partition_point(
      segments_.begin(), segments_.end(),
      [&](const HistorySegment& s) { return signed_difference(counter, s.segment.start) >= 0; });
  if (after == segments_.begin()) return kNone;
  return hint = static_cast<size_t>(after - segments_.begin()) - 1;
}

size_t ClockFunction::by_number(uint64_t number) const {
  const auto after = std::partition_point(
      segments_.begin(), segments_.end(),
      [&](const HistorySegment& s) { return signed_difference(number, s.segment.number) >= 0; });
  return after == segments_.begin() ? kNone : static_cast<size_t>(after - segments_.begin()) - 1;
}

std::vector<Finding> check_formats(const ClockFunction& unscaled, const ClockFunction& scaled) {
  std::vector<Finding> out;
  size_t j = 0;
  for (size_t i = 0; i < unscaled.size(); i++) {
    const clockpage_segment& u = unscaled.at(i);
    while (j < scaled.size() && signed_difference(scaled.at(j).number, u.number) < 0) j++;
    if (j == scaled.size() || scaled.at(j).number != u.number) continue;
    const clockpage_segment& s = scaled.at(j);
    const uint64_t end = scaled.image(u.lease_end);
    if (s.lease_end != end || s.epoch != u.epoch || s.flags != u.flags || s.status != u.status ||
        s.reason != u.reason || s.utc_offset_ns != u.utc_offset_ns ||
        s.leap_start_ns != u.leap_start_ns || s.leap_end_ns != u.leap_end_ns ||
        s.utc_offset_after_ns != u.utc_offset_after_ns || s.leap_slope_frac != u.leap_slope_frac) {
      out.push_back(
          {"formats", fmt::format("segment {} is another one in the scaled page", u.number)});
      continue;
    }
    const uint64_t of_u = whole(tai_at(unscaled.page(), u, u.lease_end));
    const uint64_t of_s = whole(tai_at(scaled.page(), s, end));
    const int64_t apart = signed_difference(of_u, of_s);
    if (apart > 2 || apart < -2)
      out.push_back({"formats", fmt::format("at the end of segment {} the formats are {} ns apart",
                                            u.number, apart)});
  }
  return out;
}

}  // namespace clockpage::tool
