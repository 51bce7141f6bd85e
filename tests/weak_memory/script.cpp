// SPDX-License-Identifier: MIT
#include <stdexcept>

#include "scenarios.hpp"

namespace clockpage::weak_memory {

using producer::SimEvent;
using producer::StepResult;

namespace {

void require(bool condition, const char* what) {
  if (!condition) throw std::logic_error(what);
}

}  // namespace

Script::Script(std::size_t page, Mutation mutation, bool steps)
    : page_(page),
      mutation_(mutation),
      sim_(producer::quiet()),
      counter_(sim_.counter()),
      source_(sim_.source()) {
  sim_.source().kernel().schedule({sim_.counter().now(), SimEvent::Kind::tai_offset, 37});
  sim_.restart_with(counter_, source_, false);
  publish(20, steps);
}

void Script::stir(bool step) {
  stirred_++;
  producer::SimKernel& kernel = sim_.source().kernel();
  const std::uint64_t now = sim_.counter().now();
  kernel.schedule({now, SimEvent::Kind::frequency, 1000 * (stirred_ % 7)});
  if (step) kernel.schedule({now, SimEvent::Kind::realtime_step, 1'000'000 + stirred_});
  const bool good = stirred_ % 2 == 0;
  sim_.source().set_quality(
      {good,
       static_cast<std::uint8_t>(good ? CLOCKPAGE_REASON_NONE
                                      : CLOCKPAGE_REASON_KERNEL_UNSYNCHRONISED),
       1'000'000U + 1000U * static_cast<unsigned>(stirred_)});
}

void Script::publish(int segments, bool steps) {
  for (int i = 0; i < segments; i++) {
    stir(steps);
    require(sim_.publisher().step() == StepResult::steered, "not steered");
  }
}

void Script::make_region_anew() {
  sim_.make_region_anew();
  sim_.restart_with(counter_, source_, false);
}

void Script::record() {
  memory_ = std::make_unique<PageMemory>(*sim_.region().page(page_), mutation_);
}

void Script::revoke() {
  source_.answer = producer::ObserveResult::counter_untrusted;
  require(sim_.publisher().step() == StepResult::counter_untrusted, "not revoked");
}

void Script::publish_after_refill() {
  stir(false);
  const unsigned fills = memory_->fills();
  // Looks at the counter for the fifth time between filling and publishing.
  counter_.reads = 0;
  counter_.stall_at_read = 5;
  counter_.stall_until = sim_.publisher().newest().lease_end;
  require(sim_.publisher().step() == StepResult::bridged, "not bridged");
  counter_.stall_at_read = 0;
  require(memory_->fills() == fills + 2, "not filled twice");
}

bool Script::die_and_restart(std::size_t after_stores) {
  memory_->writer_dies_after(after_stores);
  stir(true);
  (void)sim_.publisher().step();  // into the void, once dead
  const bool died = memory_->writer_died();
  memory_->writer_restarted();
  sim_.restart_with(counter_, source_, true);
  stir(true);
  require(sim_.publisher().step() == StepResult::bridged, "an adopted region is not bridged");
  return died;
}

Exploration Script::explore(const std::vector<Call>& calls) {
  if (!reading_) memory_->end_of_recording();
  reading_ = true;
  return weak_memory::explore(*memory_, calls);
}

std::vector<std::uint64_t> Script::corners(std::uint64_t from, std::uint64_t to) const {
  std::vector<std::uint64_t> result;
  for (std::uint64_t number = from; number <= to; number++) {
    const clockpage_segment s = segment(number);
    for (const std::uint64_t counter : {s.start - 1, s.start, s.lease_end - 1, s.lease_end})
      if (result.empty() || counter > result.back()) result.push_back(counter);
  }
  return result;
}

}  // namespace clockpage::weak_memory
