// SPDX-License-Identifier: MIT
#include "sim_source.hpp"

#include <clockpage/abi.h>
#include <fmt/format.h>

#include "kernel_observation.hpp"

namespace clockpage::producer {

void VirtualCounter::wait_until(std::uint64_t counter) noexcept {
  if (static_cast<std::int64_t>(counter - now_) > 0) now_ = counter;
  if (options_.typical_late_ticks != 0) {
    std::exponential_distribution<double> late(1 /
                                               static_cast<double>(options_.typical_late_ticks));
    now_ += static_cast<std::uint64_t>(late(random_));
  }
  if (options_.stalls_per_wakeup > 0 &&
      std::bernoulli_distribution(options_.stalls_per_wakeup)(random_))
    now_ += std::uniform_int_distribution<std::uint64_t>(0, options_.stall_ticks)(random_);
}

SimSource::SimSource(Counter& counter, const SimKernelConfig& config,
                     const SimScript::Options& script)
    : counter_(counter),
      config_(config),
      seed_(script.seed),
      kernel_(config, counter.read()),
      script_(script, config.frequency_hz, counter.read()) {
  // Nobody shall take it for the time.
  quality_ = {false, CLOCKPAGE_REASON_SIMULATED, std::nullopt};
}

ObserveResult SimSource::observe(Observation& observation) noexcept {
  const std::uint64_t now = counter_.read();
  script_.feed(kernel_, now);
  kernel_.advance(now);
  observe_snapshot(kernel_.snapshot(), now, observation);
  observation.pending_leap = kernel_.pending_leap();
  observation.quality = quality_;
  return ObserveResult::ok;
}

std::string SimSource::description() const {
  return fmt::format("a simulated kernel clock, seed {}: not a real time", seed_);
}

}  // namespace clockpage::producer
