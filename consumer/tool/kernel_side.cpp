// SPDX-License-Identifier: MIT
#include "kernel_side.hpp"

#include <clockpage/counter.h>
#include <time.h>

#include "exit_code.hpp"

namespace clockpage::tool {
namespace {

// Enough for one window without an interrupt in it; more would only cost time.
constexpr int kBrackets = 8;

}  // namespace

KernelSide KernelSide::choose(bool force_bracket, Whose whose) {
  KernelSide side;
  if (force_bracket) {
    side.detail_ = "asked for";
    side.choose_offsets(whose);
    return side;
  }
  auto proof = KernelClock::prove();
  if (const std::string* refused = std::get_if<std::string>(&proof)) {
    side.detail_ = *refused;
  } else {
    side.exact_ = std::get<KernelClock>(proof);
    side.detail_ = side.exact_->layout_name();
  }
  side.choose_offsets(whose);
  return side;
}

// The mapping's clocks are the host's, clock_gettime's the time namespace's.
void KernelSide::choose_offsets(Whose whose) {
  if (exact_) {
    if (whose == Whose::kOwn)
      added_ = {exact_->offset_ns(CLOCK_MONOTONIC), exact_->offset_ns(CLOCK_BOOTTIME)};
    return;
  }
  if (whose == Whose::kOwn) return;
  const auto own = own_timens_offsets();
  if (const auto* unknown = std::get_if<TimensRefusal>(&own)) throw Failure("", unknown->text);
  const auto& offsets = std::get<TimensOffsets>(own);
  added_ = {-offsets.monotonic_ns, -offsets.boottime_ns};
}

std::optional<KernelSample> KernelSide::sample(int clock) const {
  auto sample = exact_ ? sample_exact(clock) : sample_bracket(clock);
  if (!sample) return sample;
  if (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_RAW) sample->ns += added_.monotonic_ns;
  if (clock == CLOCK_BOOTTIME) sample->ns += added_.boottime_ns;
  return sample;
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
