// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace clockpage::tool {

/// Whether one straight line explains a run of readings: is there a line whose value at each
/// counter x, rounded down, is that reading's y? Integer arithmetic throughout, so the answer is
/// exact, but for one thing: a line that has to touch y + 1 somewhere is let pass.
///
/// O'Rourke, "An on-line algorithm for fitting straight lines between data ranges" (1981): constant
/// time per reading, amortised. The lines that fit lie between the two that are extreme in slope;
/// each new range cuts them, at corners of the two convex hulls.
class LineFit {
 public:
  /// The next reading; x greater than the last one's, and x and y within 2^62 of the first one's.
  /// False: no line explains it and all before; then it is the first of a new run.
  bool add(uint64_t x, int64_t y);
  void clear() { count_ = 0; }

 private:
  __extension__ typedef __int128 Wide;
  struct Point {
    Wide x, y;
  };
  struct Slope {
    Wide dx, dy;
    bool less_than(const Slope& other) const { return dy * other.dx < dx * other.dy; }
  };
  static Slope between(const Point& to, const Point& from) {
    return {to.x - from.x, to.y - from.y};
  }
  static Wide cross(const Point& o, const Point& a, const Point& b) {
    return (a.x - o.x) * (b.y - o.y) - (a.y - o.y) * (b.x - o.x);
  }
  void begin(uint64_t x, int64_t y);
  void cut_above(const Point& top);
  void cut_below(const Point& bottom);

  size_t count_ = 0;
  uint64_t first_x_ = 0;
  int64_t first_y_ = 0;
  // The extreme lines: least_ through corner [0] of a range's top and [1] of a later one's bottom,
  // greatest_ through a bottom and a later top.
  Point least_[2] = {};
  Point greatest_[2] = {};
  std::vector<Point> tops_, bottoms_;  // hulls, from *_begin_ on
  size_t tops_begin_ = 0, bottoms_begin_ = 0;
};

}  // namespace clockpage::tool
