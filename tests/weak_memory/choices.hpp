// SPDX-License-Identifier: MIT
// Depth-first enumeration by re-execution: a deterministic program asks choose() wherever an
// execution may go on in several ways, and is run once per way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace clockpage::weak_memory {

class Choices {
 public:
  // 0 <= result < count. Where there is only one way, nothing is remembered.
  std::uint32_t choose(std::uint32_t count) {
    if (count == 1) return 0;
    if (next_ == points_.size()) points_.push_back({0, count});
    return points_[next_++].taken;
  }

  // To be called before each run.
  void begin() noexcept { next_ = 0; }

  // Whether this run has not yet come to where it differs from the one before.
  [[nodiscard]] bool repeating() const noexcept { return next_ < points_.size(); }

  // To the next way after a run that has ended, here or early; false after the last.
  bool advance() {
    points_.resize(next_);
    while (!points_.empty() && ++points_.back().taken == points_.back().count) points_.pop_back();
    return !points_.empty();
  }

 private:
  struct Point {
    std::uint32_t taken;
    std::uint32_t count;
  };
  std::vector<Point> points_;
  std::size_t next_ = 0;
};

}  // namespace clockpage::weak_memory
