// SPDX-License-Identifier: MIT
#include "leap_state.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "format.hpp"
#include "utc_time.hpp"

namespace clockpage::tool {
namespace {

using Json = nlohmann::ordered_json;

// Modulo 2^64, as readers compute: a hostile page's numbers may be any.
int64_t minus(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}
int64_t plus(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}

int64_t floor_seconds(int64_t ns) { return ns / kNsPerSecond - (ns % kNsPerSecond < 0 ? 1 : 0); }

// UTC to the ns, without a fraction that is zero.
std::string utc_words(int64_t ns) {
  const int64_t rest = ns % kNsPerSecond + (ns % kNsPerSecond < 0 ? kNsPerSecond : 0);
  std::string text = utc_text({floor_seconds(ns), static_cast<int32_t>(rest), false});
  if (text.ends_with(".000000000Z")) text.replace(text.size() - 11, 11, "Z");
  return text;
}

// "3.2 s", "5 h 12 min", "74 days"; of no sign.
std::string span_text(int64_t ns) {
  const uint64_t size = ns < 0 ? 0 - static_cast<uint64_t>(ns) : static_cast<uint64_t>(ns);
  const uint64_t s = size / 1'000'000'000;
  if (s < 120) return duration_text(static_cast<int64_t>(std::min<uint64_t>(size, INT64_MAX)));
  if (s < 7200) return fmt::format("{} min", s / 60);
  if (s < 2 * 86400) return fmt::format("{} h {} min", s / 3600, s / 60 % 60);
  return fmt::format("{} days", s / 86400);
}

std::string days_text(int64_t s) {
  return span_text(s > INT64_MAX / kNsPerSecond ? INT64_MAX : s * kNsPerSecond);
}

std::optional<SegmentLeap> leap_of(const clockpage_segment& s, const Smear& smear) {
  if (s.leap_start_ns == CLOCKPAGE_NO_LEAP) return std::nullopt;
  SegmentLeap leap;
  leap.start_ns = s.leap_start_ns;
  leap.end_ns = s.leap_end_ns;
  leap.change_ns = minus(s.utc_offset_after_ns, s.utc_offset_ns);
  leap.from_ns = minus(s.leap_start_ns, s.utc_offset_ns);
  leap.to_ns = minus(s.leap_end_ns, s.utc_offset_after_ns);
  if (leap.start_ns == leap.end_ns) {
    // The step is at it (insertion), or leads to it (deletion).
    leap.midnight_s = floor_seconds(std::max(leap.from_ns, leap.to_ns));
  } else {
    // A smear that began late may also end later: the nearest midnight is meant.
    const int64_t s_of_end = floor_seconds(leap.to_ns) - smear.start_s - int64_t{smear.length_s};
    leap.midnight_s = (s_of_end + 43'200) / 86'400 * 86'400;
  }
  return leap;
}

SmearState smear_state(const Page& page, bool smeared, uint64_t counter) {
  SmearState state;
  state.smear = page.smear(smeared);
  state.segment = page.newest(smeared).segment;
  state.leap = leap_of(state.segment, state.smear);
  state.error = clockpage_at_bounds(&page.reader(CLOCKPAGE_FORMAT_UNSCALED, smeared),
                                    CLOCKPAGE_REALTIME, counter, &state.realtime);
  return state;
}

// "23:59:60 of 2016-12-31".
std::string leap_date(const SegmentLeap& leap) {
  const std::string day = date_text(leap.midnight_s - 1);
  if (leap.change_ns == kNsPerSecond) return fmt::format("{}T23:59:60Z (inserted)", day);
  if (leap.change_ns == -kNsPerSecond) return fmt::format("{}T23:59:59Z (deleted)", day);
  return fmt::format("at {} TAI - UTC changes by {}", utc_words(leap.from_ns),
                     duration_text(leap.change_ns));
}

void print_table(const LeapState& state) {
  const clockpage_diagnostics& words = state.diagnostics;
  if (!state.has_table()) {
    fmt::print("leap table    none was read\n");
    return;
  }
  const auto expires = static_cast<int64_t>(words.leap_table_expires_s);
  const auto updated = static_cast<int64_t>(words.leap_table_updated_s);
  const int64_t now = floor_seconds(state.unsmeared.realtime.ns);
  std::string made = fmt::format("second {}", words.leap_table_updated_s);
  std::string until = fmt::format("second {}", words.leap_table_expires_s);
  constexpr int64_t kLast = INT64_MAX / kNsPerSecond;  // whose date can be told
  if (updated >= 0 && updated <= kLast)
    made = fmt::format("{} ({} {})", date_text(updated), days_text(std::abs(now - updated)),
                       now < updated ? "from now" : "old");
  if (expires >= 0 && expires <= kLast)
    until = fmt::format("{} ({} {})", date_text(expires), days_text(std::abs(now - expires)),
                        now < expires ? "from now" : "ago: still used");
  fmt::print("leap table    made {}, {} {}; it says TAI - UTC = {} s\n", made,
             state.table_expired() ? "expired" : "expires", until, words.leap_table_offset_s);
  if (state.contradicts_table())
    fmt::print("              contradiction: TAI - UTC = {} is used and the table says {} s\n",
               duration_text(state.offset_ns()), words.leap_table_offset_s);
}

void print_leap(const LeapState& state) {
  const SmearState& unsmeared = state.unsmeared;
  const unsigned indicator =
      unsmeared.error ? unsmeared.segment.leap_indicator : unsmeared.realtime.leap_indicator;
  // The smeared page keeps it for longer.
  const auto& leap = unsmeared.leap ? unsmeared.leap : state.smeared.leap;
  // On its last day the indicator says so; one that is further ahead stands in the fields alone.
  const bool far_ahead =
      unsmeared.leap &&
      (indicator == CLOCKPAGE_LEAP_NONE || indicator == CLOCKPAGE_LEAP_JUST_PAST) &&
      minus(unsmeared.leap->start_ns, state.tai_ns) > 0;
  if (!far_ahead)
    fmt::print("leap second   {}", leap_words(indicator));
  else
    fmt::print("leap second   {}the next will be {}",
               indicator == CLOCKPAGE_LEAP_NONE ? "" : leap_words(indicator) + "; ",
               leap->change_ns < 0 ? "deleted" : "inserted");
  if (leap) {
    const auto midnight_ns = static_cast<int64_t>(static_cast<uint64_t>(leap->midnight_s) *
                                                  static_cast<uint64_t>(kNsPerSecond));
    const int64_t away = unsmeared.leap ? minus(leap->start_ns, state.tai_ns)
                                        : minus(midnight_ns, unsmeared.realtime.ns);
    fmt::print(": {}, {}{}", leap_date(*leap), away > 0 ? "in " : "",
               span_text(away) + (away > 0 ? "" : " ago"));
  }
  fmt::print("{}\n", !unsmeared.error && unsmeared.realtime.flags & CLOCKPAGE_TIME_AMBIGUOUS
                         ? "; REALTIME counts this second twice"
                         : "");
}

void print_smear(const LeapState& state, const SmearState& page, const char* name) {
  fmt::print("{:<14}{}", name,
             page.smear.kind == CLOCKPAGE_SMEAR_NONE ? "UTC with leap seconds"
                                                     : "smear " + smear_text(page.smear));
  if (page.leap && page.leap->start_ns != page.leap->end_ns) {
    fmt::print(": from {} to {} on its own clock", utc_words(page.leap->from_ns),
               utc_words(page.leap->to_ns));
    const int64_t in = minus(page.leap->start_ns, state.tai_ns);
    const int64_t left = minus(page.leap->end_ns, state.tai_ns);
    if (in > 0)
      fmt::print(", begins in {}", span_text(in));
    else if (left > 0)
      fmt::print(", in it, {} left", span_text(left));
    else
      fmt::print(", over since {}", span_text(left));
    if (in <= 0 && left > 0 && !page.error && !state.unsmeared.error)
      fmt::print(";\n{:<14}{} s off the unsmeared REALTIME", "",
                 seconds_text(minus(page.realtime.ns, state.unsmeared.realtime.ns)));
  }
  fmt::print("\n");
}

Json json_of_leap(const SmearState& page, int64_t tai_ns) {
  if (!page.leap) return {};
  Json json;
  json["utc_day"] = date_text(page.leap->midnight_s - 1);
  json["midnight_s"] = page.leap->midnight_s;
  json["change_ns"] = page.leap->change_ns;
  json["start_tai_ns"] = page.leap->start_ns;
  json["end_tai_ns"] = page.leap->end_ns;
  json["start_in_ns"] = minus(page.leap->start_ns, tai_ns);
  json["end_in_ns"] = minus(page.leap->end_ns, tai_ns);
  json["from"] = utc_words(page.leap->from_ns);
  json["to"] = utc_words(page.leap->to_ns);
  return json;
}

Json json_of_page(const SmearState& page, int64_t tai_ns) {
  Json json;
  json["smear"] = smear_text(page.smear);
  json["smear_start_s"] = page.smear.start_s;
  json["smear_length_s"] = page.smear.length_s;
  json["realtime_ns"] = page.error ? Json() : Json(page.realtime.ns);
  json["leap_indicator"] =
      leap_name(page.error ? page.segment.leap_indicator : page.realtime.leap_indicator);
  json["ambiguous"] = !page.error && (page.realtime.flags & CLOCKPAGE_TIME_AMBIGUOUS) != 0;
  json["leap"] = json_of_leap(page, tai_ns);
  return json;
}

}  // namespace

LeapState LeapState::of(const Page& page, uint64_t counter) {
  LeapState state;
  state.unsmeared = smear_state(page, false, counter);
  state.smeared = smear_state(page, true, counter);
  state.diagnostics = page.diagnostics();
  clockpage_time monotonic = {};
  if (!clockpage_at_bounds(&page.reader(CLOCKPAGE_FORMAT_UNSCALED, false), CLOCKPAGE_MONOTONIC,
                           counter, &monotonic))
    state.tai_ns = plus(monotonic.ns, state.unsmeared.segment.monotonic_offset_ns);
  return state;
}

int64_t LeapState::offset_ns() const {
  const clockpage_segment& s = unsmeared.segment;
  return tai_ns < s.leap_start_ns ? s.utc_offset_ns : s.utc_offset_after_ns;
}

bool LeapState::table_expired() const {
  const int64_t now = floor_seconds(unsmeared.realtime.ns);
  return has_table() && now >= 0 && static_cast<uint64_t>(now) >= diagnostics.leap_table_expires_s;
}

bool LeapState::contradicts_table() const {
  if (!has_table() || !tai_known()) return false;
  const clockpage_segment& s = unsmeared.segment;
  const auto says = [this](int64_t offset_ns) {
    return offset_ns % kNsPerSecond == 0 &&
           offset_ns / kNsPerSecond == diagnostics.leap_table_offset_s;
  };
  // The table's word is of another moment than this: shortly before a leap it may be the new
  // offset, and shortly after it the old one.
  const auto away = static_cast<uint64_t>(minus(tai_ns, s.leap_start_ns));
  constexpr auto kShortly = static_cast<uint64_t>(2 * kNsPerSecond);
  if (s.leap_start_ns != CLOCKPAGE_NO_LEAP && away + kShortly < 2 * kShortly)
    return !says(s.utc_offset_ns) && !says(s.utc_offset_after_ns);
  return !says(offset_ns());
}

std::string tai_source_name(const clockpage_segment& segment) {
  switch (segment.flags & CLOCKPAGE_SEGMENT_TAI_SOURCE) {
    case CLOCKPAGE_SEGMENT_TAI_KERNEL:
      return "kernel";
    case CLOCKPAGE_SEGMENT_TAI_TABLE:
      return "table";
    case CLOCKPAGE_SEGMENT_TAI_CONFIGURATION:
      return "configuration";
    default:
      return "";
  }
}

void print_leap_state(const LeapState& state) {
  const std::string source = tai_source_name(state.unsmeared.segment);
  if (state.tai_known())
    fmt::print("TAI           known: TAI - UTC = {}{}\n", duration_text(state.offset_ns()),
               source.empty() ? ""
               : source == "configuration"
                   ? ", as the producer was told"
                   : fmt::format(", from the {}{}", source == "table" ? "leap " : "", source));
  else
    fmt::print("TAI           unknown\n");
  print_table(state);
  print_leap(state);
  print_smear(state, state.unsmeared, "unsmeared");
  print_smear(state, state.smeared, "smeared");
  if (state.host_in_smear())
    fmt::print(
        "host's clock  is being smeared itself: unsmeared REALTIME and TAI are "
        "computed back from it\n");
}

Json json_of_leap_state(const LeapState& state) {
  const clockpage_diagnostics& words = state.diagnostics;
  const std::string source = tai_source_name(state.unsmeared.segment);
  Json json;
  json["tai_source"] = state.tai_known() && !source.empty() ? Json(source) : Json();
  json["tai_contradicts_table"] = state.contradicts_table();
  json["host_in_smear"] = state.host_in_smear();
  Json& table = json["leap_table"];
  if (state.has_table()) {
    table["updated_s"] = words.leap_table_updated_s;
    table["expires_s"] = words.leap_table_expires_s;
    table["expired"] = state.table_expired();
    table["offset_s"] = words.leap_table_offset_s;
  }
  json["unsmeared"] = json_of_page(state.unsmeared, state.tai_ns);
  json["smeared"] = json_of_page(state.smeared, state.tai_ns);
  return json;
}

}  // namespace clockpage::tool
