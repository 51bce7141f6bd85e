// SPDX-License-Identifier: MIT
#include "tracker.hpp"

#include <algorithm>

namespace clockpage::producer {

const Phase& Tracker::back(std::size_t age) const noexcept {
  return ring_[(newest_ + kNoisyWindow - age) % kNoisyWindow];
}

void Tracker::push(const Phase& phase) noexcept {
  newest_ = (newest_ + 1) % kNoisyWindow;
  ring_[newest_] = phase;
  count_ = std::min(count_ + 1, kNoisyWindow);
}

void Tracker::forget_all_but(std::size_t count) noexcept { count_ = std::min(count_, count); }

void Tracker::forget_second_newest() noexcept {
  const Phase last = back(0);
  newest_ = (newest_ + kNoisyWindow - 1) % kNoisyWindow;
  ring_[newest_] = last;
  count_--;
}

Instant Tracker::predict(std::uint64_t counter) const noexcept {
  return anchor_ +
         static_cast<Instant>(span(period_, static_cast<std::int64_t>(counter - anchor_counter_)));
}

std::uint64_t Tracker::doubt_growth_frac() const noexcept {
  if (doubt_ns_ == 0) return 0;
  const std::uint64_t since = whole_ns(period_ * (back(0).counter - back(1).counter));
  if (doubt_ns_ >= since) return ~std::uint64_t{0};
  return static_cast<std::uint64_t>(make_instant(doubt_ns_) / since);
}

void Tracker::add(const Phase& phase) noexcept {
  // A reading that does not advance carries nothing, and would divide by zero.
  if (count_ > 0 && static_cast<std::int64_t>(phase.counter - back(0).counter) <= 0) return;
  push(phase);
  if (phase.noise_ns == 0)
    update_exact();
  else
    update_noisy();
}

// While nobody steers it, the kernel's own period is one of two values a dither unit apart, and its
// mean lies between them. Older readings, to which that does not apply, are forgotten: then the
// period kept is at most one unit off, however the frequency changed between any two readings.
void Tracker::update_exact() noexcept {
  const Phase& last = back(0);
  doubt_ns_ = 0;
  anchor_counter_ = last.counter;
  anchor_ = last.value;
  forget_all_but(kExactWindow);
  Period lowest = last.period;
  Period highest = last.period;
  for (std::size_t age = 1; age < count_; age++) {
    const Period low = std::min(lowest, back(age).period);
    const Period high = std::max(highest, back(age).period);
    if (high - low > last.dither) {
      forget_all_but(age);
    } else {
      lowest = low;
      highest = high;
    }
  }
  if (count_ >= 2) period_ = mean_period();
  if (last.period == 0) return;
  if (count_ < 2 || period_ + last.dither < highest || period_ > lowest + last.dither) {
    period_ = last.period;
    forget_all_but(1);
  }
}

Period Tracker::mean_period() const noexcept {
  const Phase& last = back(0);
  const Phase& first = back(count_ - 1);
  return (last.value - first.value) / (last.counter - first.counter);
}

// Least squares over readings relative to the line through the latest one with the present
// period: all quantities are then small, and doubles lose nothing that the noise has not.
void Tracker::update_noisy() noexcept {
  const Phase& last = back(0);
  doubt_ns_ = 0;
  if (count_ >= 3) {
    const auto residual = difference(last.value, predict(last.counter));
    const std::uint64_t tolerance = 4 * last.noise_ns + 100;
    const bool missed_before = misses_ > 0;
    misses_ = magnitude_ns(residual) > tolerance ? misses_ + 1 : 0;
    // Once is a disturbed reading; twice in a row is a steered clock.
    if (misses_ == 0 && missed_before) {
      forget_second_newest();
    } else if (misses_ >= 2) {
      forget_all_but(2);
      misses_ = 0;
    } else if (misses_ == 1) {
      doubt_ns_ = magnitude_ns(residual);
      return;
    }
  }
  double sum_x = 0;
  double sum_y = 0;
  double sum_xx = 0;
  double sum_xy = 0;
  const auto n = static_cast<double>(count_);
  for (std::size_t age = 0; age < count_; age++) {
    const Phase& p = back(age);
    const auto ticks = static_cast<std::int64_t>(p.counter - last.counter);
    const auto x = static_cast<double>(ticks);
    const auto line = last.value + static_cast<Instant>(span(period_, ticks));
    const double y = to_double_ns(difference(p.value, line));
    sum_x += x;
    sum_y += y;
    sum_xx += x * x;
    sum_xy += x * y;
  }
  const double spread = n * sum_xx - sum_x * sum_x;
  const double slope = count_ >= 2 && spread > 0 ? (n * sum_xy - sum_x * sum_y) / spread : 0;
  const double offset = (sum_y - slope * sum_x) / n;
  anchor_counter_ = last.counter;
  anchor_ = last.value + static_cast<Instant>(static_cast<InstantDelta>(offset * 0x1p64));
  period_ += static_cast<Period>(static_cast<InstantDelta>(slope * 0x1p64));
  const std::uint64_t left = magnitude_ns(difference(last.value, anchor_));
  if (left > last.noise_ns) doubt_ns_ = left;
}

}  // namespace clockpage::producer
