// SPDX-License-Identifier: MIT
#include "statistics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <vector>

namespace clockpage::tool {
namespace {

uint64_t magnitude_of(int64_t value) {
  return value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
}

}  // namespace

size_t Histogram::cell_of(uint64_t magnitude) {
  if (magnitude < kExact) return magnitude;
  const auto shift = static_cast<unsigned>(std::bit_width(magnitude)) - 11;
  return kExact + (shift - 1) * kCellsPerOctave + ((magnitude >> shift) - kCellsPerOctave);
}

uint64_t Histogram::top_of(size_t cell) {
  if (cell < kExact) return cell;
  const uint64_t shift = (cell - kExact) / kCellsPerOctave + 1;
  const uint64_t step = (cell - kExact) % kCellsPerOctave + kCellsPerOctave;
  return ((step + 1) << shift) - 1;  // the last cell wraps to 2^64 - 1, which is right
}

void Histogram::add(int64_t value) {
  min_ = count_ ? std::min(min_, value) : value;
  max_ = count_ ? std::max(max_, value) : value;
  count_++;
  auto& side = value < 0 ? below_ : above_;
  side[cell_of(magnitude_of(value))]++;
}

uint64_t Histogram::max_magnitude() const {
  return std::max(magnitude_of(min()), magnitude_of(max()));
}

uint64_t Histogram::rank(uint64_t share_ppm) const {
  constexpr uint64_t kMillion = 1'000'000;
  // In two parts, so that no count overflows.
  const uint64_t whole = count_ / kMillion * share_ppm;
  const uint64_t part = (count_ % kMillion * share_ppm + kMillion - 1) / kMillion;
  return std::clamp<uint64_t>(whole + part, 1, std::max<uint64_t>(count_, 1));
}

int64_t Histogram::quantile(uint64_t share_ppm) const {
  if (!count_) return 0;
  uint64_t left = rank(share_ppm);
  for (size_t cell = kCells; cell-- > 0;) {
    if (below_[cell] >= left)
      return static_cast<int64_t>(0 - std::min(top_of(cell), magnitude_of(min_)));
    left -= below_[cell];
  }
  for (size_t cell = 0; cell < kCells; cell++) {
    if (above_[cell] >= left)
      return static_cast<int64_t>(std::min(top_of(cell), magnitude_of(max_)));
    left -= above_[cell];
  }
  return max_;
}

uint64_t Histogram::magnitude_quantile(uint64_t share_ppm) const {
  if (!count_) return 0;
  uint64_t left = rank(share_ppm);
  for (size_t cell = 0; cell < kCells; cell++) {
    const uint64_t here = below_[cell] + above_[cell];
    if (here >= left) return std::min(top_of(cell), max_magnitude());
    left -= here;
  }
  return max_magnitude();
}

uint64_t Histogram::count_between(int64_t low, int64_t high) const {
  if (low > high) return 0;
  uint64_t total = 0;
  if (high >= 0) {
    const size_t first = cell_of(low > 0 ? magnitude_of(low) : 0);
    for (size_t cell = first; cell <= cell_of(magnitude_of(high)); cell++) total += above_[cell];
  }
  if (low < 0) {
    const size_t first = cell_of(high < 0 ? magnitude_of(high) : 1);
    for (size_t cell = first; cell <= cell_of(magnitude_of(low)); cell++) total += below_[cell];
  }
  return total;
}

std::string histogram_text(const Histogram& histogram, unsigned rows) {
  if (!histogram.count()) return "  (no samples)\n";
  const int64_t low = histogram.quantile(1'000);
  const int64_t high = histogram.quantile(999'000);
  const auto span = static_cast<uint64_t>(high - low) + 1;
  const auto width = static_cast<int64_t>((span + rows - 1) / rows);
  const auto total = static_cast<double>(histogram.count());

  struct Row {
    std::string label;
    uint64_t count;
  };
  std::vector<Row> table;
  if (histogram.min() < low)
    table.push_back(
        {fmt::format("below {}", low), histogram.count_between(histogram.min(), low - 1)});
  for (int64_t from = low; from <= high; from += width) {
    const int64_t to = std::min(from + width - 1, high);
    table.push_back({from == to ? fmt::format("{}", from) : fmt::format("{} to {}", from, to),
                     histogram.count_between(from, to)});
  }
  if (histogram.max() > high)
    table.push_back(
        {fmt::format("above {}", high), histogram.count_between(high + 1, histogram.max())});

  uint64_t most = 1;
  for (const Row& row : table) most = std::max(most, row.count);
  std::string text;
  for (const Row& row : table) {
    const auto bar =
        static_cast<size_t>(40.0 * static_cast<double>(row.count) / static_cast<double>(most));
    text += fmt::format("  {:>16} ns  {:>8.4f} %  {}\n", row.label,
                        100.0 * static_cast<double>(row.count) / total, std::string(bar, '#'));
  }
  return text;
}

}  // namespace clockpage::tool
