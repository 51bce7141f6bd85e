// SPDX-License-Identifier: MIT
//
// What a region says of leap seconds, TAI and smears, for people and programs. Whatever a hostile
// page says is shown, and nothing is assumed of it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "page.hpp"

namespace clockpage::tool {

/// A leap second as a segment has it.
struct SegmentLeap {
  int64_t midnight_s = 0;  // POSIX; the one that follows it
  int64_t change_ns = 0;   // of TAI - UTC; positive: an insertion
  int64_t start_ns = 0;    // TAI: the leap, or where its smear begins
  int64_t end_ns = 0;      // TAI: the same, or where the smear ends
  int64_t from_ns = 0;     // REALTIME of this page at those two
  int64_t to_ns = 0;
};

/// One of the two kinds of data pages.
struct SmearState {
  Smear smear;
  clockpage_segment segment = {};
  std::optional<SegmentLeap> leap;
  int error = 0;  // of reading REALTIME
  clockpage_time realtime = {};
};

struct LeapState {
  SmearState unsmeared, smeared;
  int64_t tai_ns = 0;  // now; while TAI is unknown, the line that stands for it
  clockpage_diagnostics diagnostics = {};

  /// At host counter value `counter`.
  static LeapState of(const Page& page, uint64_t counter);

  bool tai_known() const { return unsmeared.segment.flags & CLOCKPAGE_SEGMENT_TAI_KNOWN; }
  bool host_in_smear() const { return unsmeared.segment.flags & CLOCKPAGE_SEGMENT_HOST_IN_SMEAR; }
  /// TAI - UTC now.
  int64_t offset_ns() const;
  bool has_table() const { return diagnostics.leap_table_expires_s != 0; }
  bool table_expired() const;
  /// What is used is not what the table says.
  bool contradicts_table() const;
};

void print_leap_state(const LeapState& state);
nlohmann::ordered_json json_of_leap_state(const LeapState& state);

/// "kernel", "table", "configuration"; empty: not said.
std::string tai_source_name(const clockpage_segment& segment);

}  // namespace clockpage::tool
