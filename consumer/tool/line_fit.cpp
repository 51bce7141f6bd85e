// SPDX-License-Identifier: MIT
#include "line_fit.hpp"

namespace clockpage::tool {

void LineFit::begin(uint64_t x, int64_t y) {
  first_x_ = x;
  first_y_ = y;
  tops_.assign(1, {0, 1});
  bottoms_.assign(1, {0, 0});
  tops_begin_ = bottoms_begin_ = 0;
  least_[0] = tops_[0];
  greatest_[0] = bottoms_[0];
  count_ = 1;
}

bool LineFit::add(uint64_t x, int64_t y) {
  if (count_ == 0) {
    begin(x, y);
    return true;
  }
  const Wide dx = x - first_x_;
  const Wide dy = Wide{y} - first_y_;
  const Point top = {dx, dy + 1};
  const Point bottom = {dx, dy};
  if (count_++ == 1) {
    least_[1] = bottom;
    greatest_[1] = top;
    tops_.push_back(top);
    bottoms_.push_back(bottom);
    return true;
  }
  const Slope least = between(least_[1], least_[0]);
  const Slope greatest = between(greatest_[1], greatest_[0]);
  if (between(top, least_[1]).less_than(least) ||
      greatest.less_than(between(bottom, greatest_[1]))) {
    begin(x, y);
    return false;
  }
  if (between(top, greatest_[0]).less_than(greatest)) cut_above(top);
  if (least.less_than(between(bottom, least_[0]))) cut_below(bottom);
  return true;
}

// The new top lies below the steepest line: that one now goes through it.
void LineFit::cut_above(const Point& top) {
  size_t corner = bottoms_begin_;
  Slope lowest = between(bottoms_[corner], top);
  for (size_t i = corner + 1; i < bottoms_.size(); i++) {
    const Slope slope = between(bottoms_[i], top);
    if (lowest.less_than(slope)) break;
    lowest = slope;
    corner = i;
  }
  greatest_[0] = bottoms_[corner];
  greatest_[1] = top;
  bottoms_begin_ = corner;
  size_t end = tops_.size();
  while (end >= tops_begin_ + 2 && cross(tops_[end - 2], tops_[end - 1], top) <= 0) end--;
  tops_.resize(end);
  tops_.push_back(top);
}

// The new bottom lies above the flattest line.
void LineFit::cut_below(const Point& bottom) {
  size_t corner = tops_begin_;
  Slope highest = between(tops_[corner], bottom);
  for (size_t i = corner + 1; i < tops_.size(); i++) {
    const Slope slope = between(tops_[i], bottom);
    if (slope.less_than(highest)) break;
    highest = slope;
    corner = i;
  }
  least_[0] = tops_[corner];
  least_[1] = bottom;
  tops_begin_ = corner;
  size_t end = bottoms_.size();
  while (end >= bottoms_begin_ + 2 && cross(bottoms_[end - 2], bottoms_[end - 1], bottom) >= 0)
    end--;
  bottoms_.resize(end);
  bottoms_.push_back(bottom);
}

}  // namespace clockpage::tool
