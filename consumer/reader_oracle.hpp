// SPDX-License-Identifier: MIT
//
// What a reader must answer, written from sections 4 and 5.2 of the spec and not from the reader:
// in 128-bit arithmetic, on a page that does not change. For fuzz targets.
#ifndef CLOCKPAGE_READER_ORACLE_HPP
#define CLOCKPAGE_READER_ORACLE_HPP

#include <clockpage/reader.h>

#include <algorithm>
#include <cstdint>

namespace clockpage::test {

__extension__ using wide = __int128;
__extension__ using unsigned_wide = unsigned __int128;

struct answer {
  int error = 0;
  clockpage_time time{};  // where error is 0
};

inline bool is_before(std::uint64_t a, std::uint64_t b) {
  return (a - b) >> 63 != 0;  // modulo 2^64
}

// Section 4, item 4.
inline std::uint64_t oracle_utc_offset(const clockpage_segment& s, std::uint64_t tai) {
  const auto signed_tai = static_cast<std::int64_t>(tai);
  const auto offset = static_cast<std::uint64_t>(s.utc_offset_ns);
  const auto after = static_cast<std::uint64_t>(s.utc_offset_after_ns);
  if (signed_tai < s.leap_start_ns || s.leap_start_ns == CLOCKPAGE_NO_LEAP) return offset;
  if (signed_tai >= s.leap_end_ns) return after;
  const unsigned_wide into_leap = tai - static_cast<std::uint64_t>(s.leap_start_ns);
  const unsigned_wide moved = into_leap * s.leap_slope_frac;
  const auto whole = static_cast<std::uint64_t>(moved >> 64);
  if ((after - offset) >> 63 == 0) return offset + whole;
  return offset - whole - (static_cast<std::uint64_t>(moved) != 0 ? 1 : 0);
}

// The end of section 5.2: what a result at `tai` says of its segment's leap second.
struct leap_words {
  std::uint8_t indicator;
  std::uint32_t flags;
};

inline leap_words oracle_leap(const clockpage_segment& s, int clock, std::uint64_t tai) {
  if (s.leap_start_ns == CLOCKPAGE_NO_LEAP) return {s.leap_indicator, 0};
  const auto as_signed = [](std::uint64_t word) { return static_cast<std::int64_t>(word); };
  const wide change = as_signed(static_cast<std::uint64_t>(s.utc_offset_after_ns) -
                                static_cast<std::uint64_t>(s.utc_offset_ns));
  const wide past = as_signed(tai - static_cast<std::uint64_t>(s.leap_start_ns));
  const bool twice = clock == 0 && s.leap_start_ns == s.leap_end_ns && change > 0 &&
                     past >= -change && past < change;
  const std::uint32_t flags = twice ? CLOCKPAGE_TIME_AMBIGUOUS : 0;
  if (as_signed(tai) >= std::max(s.leap_start_ns, s.leap_end_ns))
    return {CLOCKPAGE_LEAP_JUST_PAST, flags};
  if (as_signed(tai) >= s.leap_start_ns) return {CLOCKPAGE_LEAP_IN_SMEAR, flags};
  if (wide{s.leap_start_ns} - as_signed(tai) > 86'400 * wide{1'000'000'000})
    return {s.leap_indicator, flags};
  return {static_cast<std::uint8_t>(change < 0 ? CLOCKPAGE_LEAP_PENDING_DELETION
                                               : CLOCKPAGE_LEAP_PENDING_INSERTION),
          flags};
}

// Section 4 on one segment; `shift` is the page's k.
inline answer oracle_segment(const clockpage_segment& s, unsigned shift, std::uint8_t smear,
                             int clock, std::uint64_t counter, bool overdue) {
  const std::uint64_t cap = CLOCKPAGE_MAX_TICKS;
  const std::uint64_t delta = counter - s.start;
  const std::uint64_t ticks = delta > cap >> shift ? cap : delta << shift;
  const auto line = [ticks](std::uint64_t ns, std::uint64_t frac, std::uint64_t period) {
    return ns + static_cast<std::uint64_t>((unsigned_wide{ticks} * period + frac) >> 64);
  };
  const std::uint64_t tai = line(s.tai_ns, s.tai_frac, s.tai_period_frac);
  const bool tai_known = (s.flags & CLOCKPAGE_SEGMENT_TAI_KNOWN) != 0;
  std::uint64_t value = tai;
  switch (clock) {
    case 0:
      value -= oracle_utc_offset(s, tai);
      break;
    case 1:
      value -= static_cast<std::uint64_t>(s.monotonic_offset_ns);
      break;
    case 4:
      value = line(s.raw_ns, s.raw_frac, s.raw_period_frac);
      break;
    case 7:
      value -= static_cast<std::uint64_t>(s.boottime_offset_ns);
      break;
    case 11:
      if (!tai_known) return {CLOCKPAGE_E_TAI_UNKNOWN, {}};
      break;
    default:
      return {CLOCKPAGE_E_CLOCK, {}};
  }
  const bool utc = clock == 0 || clock == 11;
  const std::uint64_t bound = utc ? s.utc_bound_ns : s.local_bound_ns;
  const std::uint64_t growth = utc ? s.utc_bound_growth_frac : s.local_bound_growth_frac;
  const wide half = wide{bound} + static_cast<wide>((unsigned_wide{ticks} * growth) >> 64) + 2;
  const bool bounded = half <= INT64_MAX;
  answer result;
  clockpage_time& t = result.time;
  t.ns = static_cast<std::int64_t>(value);
  t.earliest_ns =
      bounded ? static_cast<std::int64_t>(std::max<wide>(t.ns - half, INT64_MIN)) : INT64_MIN;
  t.latest_ns =
      bounded ? static_cast<std::int64_t>(std::min<wide>(t.ns + half, INT64_MAX)) : INT64_MAX;
  t.counter = counter;
  t.epoch = s.epoch;
  const leap_words leap = oracle_leap(s, clock, tai);
  t.flags = (tai_known ? CLOCKPAGE_TIME_TAI_KNOWN : 0) | (overdue ? CLOCKPAGE_TIME_OVERDUE : 0) |
            ((s.flags & CLOCKPAGE_SEGMENT_HOST_IN_SMEAR) != 0 ? CLOCKPAGE_TIME_HOST_IN_SMEAR : 0) |
            leap.flags;
  t.status = std::min<std::uint8_t>(s.status, CLOCKPAGE_STATUS_UNRELIABLE);
  if (overdue && t.status != CLOCKPAGE_STATUS_UNRELIABLE) t.status = CLOCKPAGE_STATUS_FREE_RUNNING;
  t.reason = s.reason;
  t.leap_indicator = leap.indicator;
  t.smear = smear;
  return result;
}

// Section 5.2, steps 3 to 5, on a page that does not change, the segment before the newest looked
// at first: on a page whose segments overlap the order matters.
inline answer oracle_at(const clockpage_data_page& page, unsigned shift, int clock,
                        std::uint64_t counter) {
  if (page.revoked != 0) return {CLOCKPAGE_E_REVOKED, {}};
  const std::uint64_t n = page.index;
  const auto slot = [&](std::uint64_t back) -> const clockpage_segment& {
    return page.segment[(n - back) & 15];
  };
  const auto in = [&](const clockpage_segment& s, bool overdue) {
    return oracle_segment(s, shift, page.smear, clock, counter, overdue);
  };
  const clockpage_segment& newest = slot(0);
  const clockpage_segment& before = slot(1);
  if (counter - before.start < before.lease_end - before.start) return in(before, false);
  if (!is_before(counter, newest.start)) return in(newest, !is_before(counter, newest.lease_end));
  for (std::uint64_t back = 2; back <= 14; back++) {
    if ((slot(back - 1).flags & 0x1c) != 0) return {CLOCKPAGE_E_DISCONTINUITY, {}};
    if (slot(back).number != n - back) return {CLOCKPAGE_E_OUT_OF_RANGE, {}};
    if (!is_before(counter, slot(back).start)) return in(slot(back), false);
  }
  return {CLOCKPAGE_E_OUT_OF_RANGE, {}};
}

inline bool same_time(const clockpage_time& a, const clockpage_time& b) {
  return a.ns == b.ns && a.earliest_ns == b.earliest_ns && a.latest_ns == b.latest_ns &&
         a.counter == b.counter && a.epoch == b.epoch && a.flags == b.flags &&
         a.status == b.status && a.reason == b.reason && a.leap_indicator == b.leap_indicator &&
         a.smear == b.smear;
}

// Whether the readable segments divide the counter between them, as an honest writer's do.
inline bool is_partition(const clockpage_data_page& page) {
  for (std::uint64_t back = 0; back <= 14; back++) {
    const clockpage_segment& s = page.segment[(page.index - back) & 15];
    if (s.number != page.index - back || s.lease_end - s.start > std::uint64_t{1} << 58)
      return false;
    if (s.lease_end == s.start) return false;
    if (back > 0 && s.lease_end != page.segment[(page.index - back + 1) & 15].start) return false;
  }
  return true;
}

}  // namespace clockpage::test

#endif  // CLOCKPAGE_READER_ORACLE_HPP
