// SPDX-License-Identifier: MIT
//
// Whether one function explains a recorded history: every reading, and the order of all of them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "history_file.hpp"

namespace clockpage::tool {

/// One thing that is wrong: which rule was broken, what was found, and the records it is about.
struct HistoryOffence {
  std::string rule;
  std::string text;
  std::vector<HistoryReading> readings;
};

struct HistoryReport {
  uint64_t readings = 0;  ///< of the clock, those below included
  uint64_t leased = 0;
  uint64_t overdue = 0;
  uint64_t again = 0;     ///< at a received counter value; not among `readings`
  uint64_t refused = 0;   ///< by the page
  uint64_t dropped = 0;   ///< not in the file: there was no room
  uint64_t messages = 0;  ///< followed from one process to another
  uint64_t unlinked = 0;  ///< received, but the sending is not in the file
  uint64_t segments = 0;
  uint64_t gaps = 0;
  uint64_t epochs = 0;             ///< that leased readings belong to
  uint64_t uncaptured = 0;         ///< readings whose segment is not in the file
  uint64_t agreements = 0;         ///< leased readings evaluated again elsewhere with the same bits
  uint64_t overdue_unchecked = 0;  ///< may extend a segment that is not in the file
  uint64_t overdue_contradicted = 0;  ///< a segment that came late gives another value
  uint64_t late_seen = 0;             ///< steering segments that some overdue reading proves late
  uint64_t late_counted = 0;  ///< by the producer, meanwhile; with one for each that was killed
  uint64_t offences = 0;
  std::map<std::string, uint64_t> offences_by_rule;
  std::vector<HistoryOffence> first;  ///< a few of each rule

  void offend(const std::string& rule, const std::string& text,
              std::vector<HistoryReading> readings = {});
};

/// Reads the history once, in causal order. Throws Failure where a record cannot be one at all.
HistoryReport check_history(const HistoryReader& history);

}  // namespace clockpage::tool
