// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "page.hpp"

namespace clockpage::tool {

/// REALTIME of the four data pages, {unscaled, scaled} x {unsmeared, smeared}, at one host counter
/// value: side by side, in at most 100 columns.
class PageTable {
 public:
  static PageTable of(const Page& page, uint64_t host_counter);

  /// A head, and one line for each format.
  std::vector<std::string> lines() const;
  nlohmann::ordered_json json() const;

 private:
  struct Cell {
    int error = 0;
    clockpage_time time = {};
  };
  std::string line_of(unsigned format) const;

  Smear smear_;
  std::array<std::array<Cell, 2>, 2> cells_;  // by format, then unsmeared and smeared
};

}  // namespace clockpage::tool
