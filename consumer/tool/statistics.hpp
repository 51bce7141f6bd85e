// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace clockpage::tool {

/// Counts of signed integers (here always ns). Exact for magnitudes below 2048, within 1/1024 of
/// the magnitude above, rounded away from zero. Fixed size and without pointers, so that it may
/// lie in memory shared between processes; not thread-safe. About 900 KB: not for the stack.
class Histogram {
 public:
  void add(int64_t value);

  uint64_t count() const { return count_; }
  /// Exact. 0 when nothing was added.
  int64_t min() const { return count_ ? min_ : 0; }
  int64_t max() const { return count_ ? max_ : 0; }
  /// Largest |value|, exact.
  uint64_t max_magnitude() const;

  /// Smallest value that at least share_ppm / 1,000,000 of the values do not exceed (nearest
  /// rank). 0 when nothing was added.
  int64_t quantile(uint64_t share_ppm) const;
  /// The same of |value|.
  uint64_t magnitude_quantile(uint64_t share_ppm) const;

  /// How many values lie in [low, high]; whole cells, so exact where cells are.
  uint64_t count_between(int64_t low, int64_t high) const;

 private:
  static constexpr uint64_t kExact = 2048;
  static constexpr uint64_t kCellsPerOctave = kExact / 2;
  static constexpr size_t kCells = kExact + 53 * kCellsPerOctave;

  static size_t cell_of(uint64_t magnitude);
  static uint64_t top_of(size_t cell);  // largest magnitude in the cell
  uint64_t rank(uint64_t share_ppm) const;

  uint64_t count_ = 0;
  int64_t min_ = 0;
  int64_t max_ = 0;
  std::array<uint64_t, kCells> below_{};  // of values < 0, by magnitude
  std::array<uint64_t, kCells> above_{};  // of values >= 0
};

/// The distribution as lines of text: bars over the middle 99.8 %, one line for each tail.
/// At most `rows` bars.
std::string histogram_text(const Histogram& histogram, unsigned rows = 24);

}  // namespace clockpage::tool
