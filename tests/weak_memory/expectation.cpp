// SPDX-License-Identifier: MIT
#include "expectation.hpp"

#include <fmt/format.h>

#include <stdexcept>

#include "instant.hpp"

namespace clockpage::weak_memory {

namespace {

using producer::Line;
using producer::make_instant;

bool before(std::uint64_t a, std::uint64_t b) { return static_cast<std::int64_t>(a - b) < 0; }

std::int64_t offset_of(const clockpage_segment& s, int clock) {
  switch (clock) {
    case CLOCKPAGE_REALTIME:
      if (s.leap_start_ns != CLOCKPAGE_NO_LEAP) throw std::logic_error("no leaps here");
      return s.utc_offset_ns;
    case CLOCKPAGE_MONOTONIC:
      return s.monotonic_offset_ns;
    case CLOCKPAGE_BOOTTIME:
      return s.boottime_offset_ns;
    default:
      return 0;
  }
}

void set_bounds(const clockpage_segment& s, int clock, std::uint64_t ticks, clockpage_time& time) {
  const bool utc = clock == CLOCKPAGE_REALTIME || clock == CLOCKPAGE_TAI;
  const clockpage_u128 growth =
      clockpage_u128{ticks} * (utc ? s.utc_bound_growth_frac : s.local_bound_growth_frac) >> 64;
  const clockpage_u128 bound = growth + (utc ? s.utc_bound_ns : s.local_bound_ns) + 2;
  if (bound > clockpage_u128{INT64_MAX}) {
    time.earliest_ns = INT64_MIN;
    time.latest_ns = INT64_MAX;
  } else {
    time.earliest_ns = time.ns - static_cast<std::int64_t>(bound);
    time.latest_ns = time.ns + static_cast<std::int64_t>(bound);
  }
}

}  // namespace

clockpage_time evaluated(const clockpage_data_page& page, const clockpage_segment& s,
                         std::uint64_t counter, int clock, bool overdue) {
  const bool raw = clock == CLOCKPAGE_MONOTONIC_RAW;
  const Line line{s.start,
                  raw ? make_instant(s.raw_ns, s.raw_frac) : make_instant(s.tai_ns, s.tai_frac),
                  raw ? s.raw_period_frac : s.tai_period_frac, page.delta_shift};
  clockpage_time time{};
  time.ns = static_cast<std::int64_t>(producer::whole_ns(line.at(counter))) - offset_of(s, clock);
  set_bounds(s, clock, (counter - s.start) << page.delta_shift, time);
  time.counter = counter;
  time.epoch = s.epoch;
  time.flags = (overdue ? CLOCKPAGE_TIME_OVERDUE : 0U) |
               ((s.flags & CLOCKPAGE_SEGMENT_TAI_KNOWN) != 0 ? CLOCKPAGE_TIME_TAI_KNOWN : 0U);
  time.status =
      overdue && s.status != CLOCKPAGE_STATUS_UNRELIABLE ? CLOCKPAGE_STATUS_FREE_RUNNING : s.status;
  time.reason = s.reason;
  time.leap_indicator = s.leap_indicator;
  time.smear = page.smear;
  return time;
}

Expectation expectation(const clockpage_data_page& page, const Published& published,
                        std::uint64_t index, std::uint64_t counter, int clock) {
  const auto find = [&](std::uint64_t number) {
    const auto found = published.find(number);
    return found != published.end() ? &found->second : nullptr;
  };
  const clockpage_segment* s = find(index);
  if (s == nullptr) throw std::logic_error("an index that was never published");
  const bool overdue = !before(counter, s->lease_end);
  for (unsigned back = 1; before(counter, s->start); back++) {
    if (back > kHistory) return {CLOCKPAGE_E_OUT_OF_RANGE, {}};
    if (back >= 2 && (s->flags & CLOCKPAGE_SEGMENT_DISCONTINUITY) != 0)
      return {CLOCKPAGE_E_DISCONTINUITY, {}};
    s = find(index - back);
    if (s == nullptr) return {CLOCKPAGE_E_OUT_OF_RANGE, {}};
  }
  if (clock == CLOCKPAGE_TAI && (s->flags & CLOCKPAGE_SEGMENT_TAI_KNOWN) == 0)
    return {CLOCKPAGE_E_TAI_UNKNOWN, {}};
  return {CLOCKPAGE_OK, evaluated(page, *s, counter, clock, overdue)};
}

bool same_time(const clockpage_time& a, const clockpage_time& b) {
  return a.ns == b.ns && a.earliest_ns == b.earliest_ns && a.latest_ns == b.latest_ns &&
         a.counter == b.counter && a.epoch == b.epoch && a.flags == b.flags &&
         a.status == b.status && a.reason == b.reason && a.leap_indicator == b.leap_indicator &&
         a.smear == b.smear;
}

std::string text_of(const clockpage_time& t) {
  return fmt::format("{} ns (-{}, +{}) at counter {}, epoch {}, flags {}, status {}, reason {}",
                     t.ns, t.ns - t.earliest_ns, t.latest_ns - t.ns, t.counter, t.epoch, t.flags,
                     t.status, t.reason);
}

}  // namespace clockpage::weak_memory
