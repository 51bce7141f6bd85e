// SPDX-License-Identifier: MIT
#include "kernel_side.hpp"

#include <clockpage/counter.h>
#include <time.h>

namespace clockpage::tool {
namespace {

// Enough for one window without an interrupt in it; more would only cost time.
constexpr int kBrackets = 8;

}  // namespace

KernelSide KernelSide::choose(bool force_bracket) {
  KernelSide side;
  if (force_bracket) {
    side.detail_ = "asked for";
    return side;
  }
  auto proof = KernelClock::prove();
  if (const std::string* refused = std::get_if<std::string>(&proof)) {
    side.detail_ = *refused;
  } else {
    side.exact_ = std::get<KernelClock>(proof);
    side.detail_ = side.exact_->layout_name();
  }
  return side;
}

std::optional<KernelSample> KernelSide::sample(int clock) const {
  return exact_ ? sample_exact(clock) : sample_bracket(clock);
}

std::optional<KernelSample> KernelSide::sample_exact(int clock) const {
  KernelClockSnapshot snapshot;
  KernelSample sample;
  if (!exact_->read_with_counter(snapshot, sample.counter)) return std::nullopt;
  const auto ns = evaluate(snapshot, clock, sample.counter);
  if (!ns) return std::nullopt;
  sample.ns = *ns;
  return sample;
}

std::optional<KernelSample> KernelSide::sample_bracket(int clock) {
  std::optional<KernelSample> best;
  for (int i = 0; i < kBrackets; i++) {
    timespec now = {};
    const uint64_t before = clockpage_counter_ordered();
    if (clock_gettime(clock, &now) != 0) return std::nullopt;
    const uint64_t width = clockpage_counter_ordered() - before;
    if (best && best->window_ticks <= width) continue;
    best =
        KernelSample{before + width / 2, int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec, width};
  }
  return best;
}

}  // namespace clockpage::tool
