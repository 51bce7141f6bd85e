// SPDX-License-Identifier: MIT
//
// The published function of one page, put together from its recorded segments: is it one function,
// and what is its value at a counter? Written from spec section 4, apart from the reader's code:
// what it is to judge.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "history.hpp"

namespace clockpage::tool {

/// What a reader must have got from a segment.
struct FunctionValue {
  int64_t ns = 0;
  int64_t earliest_ns = 0;
  int64_t latest_ns = 0;
  uint64_t epoch = 0;
  uint8_t flags = 0;   ///< CLOCKPAGE_TIME_*, kHistorySecondTime
  uint8_t status = 0;  ///< CLOCKPAGE_STATUS_*
  uint8_t reason = 0;

  bool operator==(const FunctionValue&) const = default;
};

/// Spec section 4 and the last paragraphs of 5.2. nullopt: TAI, and the segment does not know it.
std::optional<FunctionValue> value_of(const HistoryPage& page, const clockpage_segment& segment,
                                      uint8_t clock, uint64_t counter, bool overdue);

/// Something that is not as it must be: which rule, as one word for programs, and what was found.
struct Finding {
  std::string rule;
  std::string text;
};

class ClockFunction {
 public:
  static constexpr size_t kNone = ~size_t{0};

  ClockFunction(const HistoryPage& page, std::vector<HistorySegment> segments);

  const HistoryPage& page() const { return page_; }
  size_t size() const { return segments_.size(); }
  const clockpage_segment& at(size_t i) const { return segments_[i].segment; }
  bool after_gap(size_t i) const { return segments_[i].after_gap != 0; }
  size_t gaps() const;
  /// This page's counter at the host counter `host`.
  uint64_t image(uint64_t host) const;

  /// Whether the segments form one function: spec section 4, items 6 and 7, and 5.1.
  std::vector<Finding> check() const;

  /// The last segment that begins at or before `counter`; kNone: it is before all of them. `hint`
  /// is where to look first, and is moved.
  size_t last_begun(uint64_t counter, size_t& hint) const;
  /// The segment with that number, or the last one before it; kNone.
  size_t by_number(uint64_t number) const;
  bool covers(size_t i, uint64_t counter) const {
    return static_cast<int64_t>(counter - at(i).lease_end) < 0;
  }
  /// The first segment from i on that is no bridge, or begins after a gap; size() if none.
  size_t next_steering(size_t i) const { return next_steering_[i]; }
  size_t next_gap(size_t i) const { return next_gap_[i]; }

 private:
  void check_pair(size_t i, std::vector<Finding>& out) const;

  HistoryPage page_;
  std::vector<HistorySegment> segments_;
  std::vector<size_t> next_steering_, next_gap_;
};

/// Whether two formats of one clock carry one function: same leases, epochs and flags, at most
/// 2 ns apart (spec 5.1).
std::vector<Finding> check_formats(const ClockFunction& unscaled, const ClockFunction& scaled);

}  // namespace clockpage::tool
