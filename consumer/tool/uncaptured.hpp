// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <tuple>
#include <vector>

#include "clock_function.hpp"
#include "history_check.hpp"

namespace clockpage::tool {

/// Leased readings whose segment the follower missed. They are held against each other: one value
/// per counter value, none backwards, and no more straight lines than segments are missing.
class Uncaptured {
 public:
  /// Reading of page number `page`, before its captured segment number `before` (by position).
  void add(uint8_t page, size_t before, const HistoryReading& reading);
  void check(uint8_t page, const ClockFunction& function, HistoryReport& report);

 private:
  struct Loose {
    uint8_t page;
    uint8_t clock;
    size_t before;
    uint64_t epoch;
    HistoryReading reading;

    // What one sequence of lines has to explain, and the order in it.
    auto group() const { return std::tie(page, before, clock, epoch); }
  };
  void check_group(const std::vector<Loose>& readings, size_t begin, size_t end, uint64_t missing,
                   bool smeared, HistoryReport& report);

  std::vector<Loose> loose_;
  bool sorted_ = false;
};

}  // namespace clockpage::tool
