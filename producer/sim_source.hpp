// SPDX-License-Identifier: MIT
// The simulated kernel clock as a time source, and a virtual counter to run it on.
#pragma once

#include <cstdint>
#include <random>

#include "counter.hpp"
#include "sim_kernel.hpp"
#include "time_source.hpp"

namespace clockpage::producer {

// Time that passes only when it is asked for. Wake-ups are late at random, now and then by much.
class VirtualCounter final : public Counter {
 public:
  struct Options {
    std::uint64_t seed = 1;
    std::uint64_t read_ticks = 50;         // a read costs this
    std::uint64_t typical_late_ticks = 0;  // mean lateness of a wake-up
    std::uint64_t stall_ticks = 0;         // the longest stall
    double stalls_per_wakeup = 0;
  };
  VirtualCounter(std::uint64_t start, const Options& options)
      : options_(options), random_(options.seed), now_(start) {}
  std::uint64_t read() noexcept override { return now_ += options_.read_ticks; }
  void wait_until(std::uint64_t counter) noexcept override;
  [[nodiscard]] std::uint64_t now() const noexcept { return now_; }

 private:
  Options options_;
  std::mt19937_64 random_;
  std::uint64_t now_;
};

// Follows a simulated kernel on any counter.
class SimSource final : public TimeSource {
 public:
  // The counter's value now is where the simulation begins.
  SimSource(Counter& counter, const SimKernelConfig& config, const SimScript::Options& script);
  ObserveResult observe(Observation& observation) noexcept override;
  [[nodiscard]] std::string_view name() const noexcept override { return "sim"; }
  [[nodiscard]] std::string description() const override;
  // Begins anew with the clocks of `config` at the counter's value now: to go on from a region's.
  void restart_at(const SimKernelConfig& config) { kernel_ = SimKernel(config, counter_.read()); }
  [[nodiscard]] const SimKernelConfig& config() const noexcept { return config_; }
  SimKernel& kernel() noexcept { return kernel_; }
  SimScript& script() noexcept { return script_; }
  // What the simulated kernel says of itself; not synchronised unless set.
  void set_quality(const Quality& quality) noexcept { quality_ = quality; }

 private:
  Counter& counter_;
  SimKernelConfig config_;
  std::uint64_t seed_;
  SimKernel kernel_;
  SimScript script_;
  Quality quality_;
};

}  // namespace clockpage::producer
