// SPDX-License-Identifier: MIT
// The host kernel's clock as a time source: by its own mapping, or by bracketed calls.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "counter.hpp"
#include "kernel_observation.hpp"
#include "time_source.hpp"

namespace clockpage::producer {

// Reads the kernel's own data from [vvar]: exact.
class VvarSource final : public TimeSource {
 public:
  explicit VvarSource(KernelClock clock) : clock_(clock) {}
  // Proves the mapping; or says why there is none to be used.
  static std::variant<std::unique_ptr<VvarSource>, std::string> create();

  ObserveResult observe(Observation& observation) noexcept override;
  [[nodiscard]] std::string_view name() const noexcept override { return "vvar"; }
  [[nodiscard]] std::string description() const override;
  // Nominal frequency of the counter: the kHz that the kernel made RAW's multiplier from.
  [[nodiscard]] std::uint64_t frequency_hz() const noexcept;

 private:
  KernelClock clock_;
};

// An interval that a constant difference of two clocks is known to lie in.
class OffsetInterval {
 public:
  // One reading: low <= difference <= high (ns). Readings that do not meet the ones before mean
  // that the difference changed: the past is forgotten.
  void add(std::int64_t low, std::int64_t high) noexcept;
  // Holds the middle of what is known now.
  void settle() noexcept { held_ = low_ + (high_ - low_) / 2; }
  // Holds this value, where the readings allow it.
  void prefer(std::int64_t value) noexcept {
    if (value >= low_ && value <= high_) held_ = value;
  }
  // Held until it is refuted, so that a narrowing interval is no step.
  [[nodiscard]] std::int64_t value() const noexcept { return held_; }
  // How far the difference may be from value(), ns.
  [[nodiscard]] std::uint64_t half_width() const noexcept {
    return empty_ ? 0 : static_cast<std::uint64_t>(std::max(high_ - held_, held_ - low_));
  }

 private:
  std::int64_t low_ = INT64_MIN;
  std::int64_t high_ = INT64_MAX;
  std::int64_t held_ = 0;
  bool empty_ = true;
};

// counter, clock_gettime, counter; the narrowest of several. Works on every kernel.
class BracketSource final : public TimeSource {
 public:
  // Takes about 10 ms: the clocks' differences are narrowed first.
  explicit BracketSource(std::uint64_t frequency_hz);
  ObserveResult observe(Observation& observation) noexcept override;
  [[nodiscard]] std::string_view name() const noexcept override { return "bracket"; }
  [[nodiscard]] std::string description() const override;

 private:
  void read_differences() noexcept;
  [[nodiscard]] int consistent_tai_offset(int tai, std::int64_t realtime_before,
                                          std::int64_t monotonic_ns) noexcept;

  double ns_per_tick_;
  std::uint64_t observations_ = 0;
  OffsetInterval realtime_;
  OffsetInterval boottime_;
  std::optional<int> tai_;                       // the kernel's TAI offset as last used, s
  std::optional<std::int64_t> tai_moved_alone_;  // since when, MONOTONIC, ns
};

// The counter's frequency against MONOTONIC_RAW over about 0.2 s, rounded to whole kHz.
std::uint64_t measure_frequency_hz();

}  // namespace clockpage::producer
