// SPDX-License-Identifier: MIT
// Phase and mean frequency of an observed clock, to predict it a few milliseconds ahead.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "instant.hpp"

namespace clockpage::producer {

// One reading of one clock.
struct Phase {
  std::uint64_t counter = 0;
  Instant value = 0;
  Period period = 0;           // the clock's own, now; 0: not known
  Period dither = 0;           // flicker of `period` around its mean
  std::uint64_t noise_ns = 0;  // half-width; 0: exact
};

// Follows one clock. Exact readings: the phase is the latest reading's, the period the mean
// over the last few, so that the kernel's dither of its multiplier averages out; what
// does not fit the dither's range is a steered clock, and the past is forgotten. Noisy readings: a
// least-squares line over a longer window, forgotten when two readings in a row fall off it; a
// single one is left out, but doubted from then on to the next.
class Tracker {
 public:
  explicit Tracker(Period nominal_period) noexcept : period_(nominal_period) {}

  void add(const Phase& phase) noexcept;

  // The clock's expected value at `counter`, before or after the last reading. Only after add().
  [[nodiscard]] Instant predict(std::uint64_t counter) const noexcept;
  // The reading that predictions start from; older than the last one, where that was left out.
  [[nodiscard]] std::uint64_t phase_counter() const noexcept { return anchor_counter_; }
  // Mean period, 2^-64 ns per tick.
  [[nodiscard]] Period period() const noexcept { return period_; }
  [[nodiscard]] bool has_phase() const noexcept { return count_ > 0; }
  // How far the last reading was from what is expected there, if by more than its noise: it was
  // left out, or the line that was fitted does not meet it. Otherwise 0.
  [[nodiscard]] std::uint64_t doubt_ns() const noexcept { return doubt_ns_; }
  // How fast that would have come about since the reading before: 2^-64 ns per ns, below 1.
  [[nodiscard]] std::uint64_t doubt_growth_frac() const noexcept;

 private:
  static constexpr std::size_t kExactWindow = 8;
  static constexpr std::size_t kNoisyWindow = 64;

  void push(const Phase& phase) noexcept;
  void forget_all_but(std::size_t count) noexcept;
  void forget_second_newest() noexcept;
  [[nodiscard]] const Phase& back(std::size_t age) const noexcept;
  void update_exact() noexcept;
  [[nodiscard]] Period mean_period() const noexcept;
  void update_noisy() noexcept;

  std::array<Phase, kNoisyWindow> ring_{};
  std::size_t newest_ = 0;
  std::size_t count_ = 0;
  std::uint64_t anchor_counter_ = 0;
  Instant anchor_ = 0;
  Period period_;
  unsigned misses_ = 0;
  std::uint64_t doubt_ns_ = 0;
};

// period * signed ticks, 2^-64 ns.
constexpr InstantDelta span(Period period, std::int64_t ticks) noexcept {
  const auto magnitude =
      period * static_cast<std::uint64_t>(ticks < 0 ? -static_cast<InstantDelta>(ticks) : ticks);
  return ticks < 0 ? -static_cast<InstantDelta>(magnitude) : static_cast<InstantDelta>(magnitude);
}

}  // namespace clockpage::producer
