// SPDX-License-Identifier: MIT
// For tests: a producer on a virtual counter, a simulated kernel, and an oracle beside it: the
// same kernel once more, run to exactly the counter value that is asked about.
#pragma once

#include <clockpage/reader.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "publisher.hpp"
#include "region.hpp"
#include "sim_source.hpp"

namespace clockpage::producer {

struct SimOptions {
  std::uint64_t seed = 1;
  SimKernelConfig kernel;
  SimScript::Options script;
  VirtualCounter::Options counter;
  PublisherConfig publisher;
  std::uint64_t start = 1'000'000'000'000;
};

// A region in memory, page-aligned.
class MemoryRegion {
 public:
  explicit MemoryRegion(const std::vector<std::byte>& image)
      : bytes_(static_cast<std::byte*>(std::aligned_alloc(4096, image.size())), &std::free) {
    std::copy(image.begin(), image.end(), bytes_.get());
  }
  [[nodiscard]] clockpage_data_page* page(std::size_t i) const noexcept {
    return reinterpret_cast<clockpage_data_page*>(bytes_.get() + (i + 1) * CLOCKPAGE_PAGE_SIZE);
  }
  [[nodiscard]] std::array<clockpage_data_page*, 4> pages() const noexcept {
    return {page(0), page(1), page(2), page(3)};
  }
  [[nodiscard]] const std::byte* bytes() const noexcept { return bytes_.get(); }
  [[nodiscard]] clockpage_reader reader(std::size_t i) const noexcept {
    clockpage_reader reader{};
    if (clockpage_reader_init(&reader, page(i), CLOCKPAGE_PAGE_SIZE) != 0) std::abort();
    return reader;
  }

 private:
  std::unique_ptr<std::byte, decltype(&std::free)> bytes_;
};

class SimHarness {
 public:
  explicit SimHarness(const SimOptions& options)
      : options_(seeded(options)),
        counter_(options_.start, options_.counter),
        source_(counter_, options_.kernel, options_.script),
        region_(image()) {
    source_.set_quality({true, CLOCKPAGE_REASON_NONE, 1'000'000});
    restart(false);
    // The oracle begins where the source's kernel began: SimSource reads the counter twice.
    VirtualCounter again(options_.start, options_.counter);
    oracle_ = std::make_unique<SimKernel>(options_.kernel, again.read());
    oracle_script_ =
        std::make_unique<SimScript>(options_.script, options_.kernel.frequency_hz, again.read());
  }

  // A new publisher on the same region, as after a restart.
  void restart(bool adopted = true) {
    publisher_ =
        std::make_unique<Publisher>(region_.pages(), counter_, source_,
                                    options_.kernel.frequency_hz, 1, options_.publisher, adopted);
  }

  // The same with a counter or a source of the test's own.
  void restart_with(Counter& counter, TimeSource& source, bool adopted) {
    publisher_ =
        std::make_unique<Publisher>(region_.pages(), counter, source, options_.kernel.frequency_hz,
                                    1, options_.publisher, adopted);
  }
  // A new region, from what the source says now.
  void make_region_anew() {
    region_ = MemoryRegion(image());
    restart(false);
  }

  Publisher& publisher() noexcept { return *publisher_; }
  VirtualCounter& counter() noexcept { return counter_; }
  SimSource& source() noexcept { return source_; }
  MemoryRegion& region() noexcept { return region_; }
  SimScript& oracle_script() noexcept { return *oracle_script_; }

  // The simulated kernel's state at `counter`; must not go back.
  KernelClockSnapshot oracle_at(std::uint64_t counter) {
    oracle_script_->feed(*oracle_, counter);
    oracle_->advance(counter);
    return oracle_->snapshot();
  }
  SimKernel& oracle() noexcept { return *oracle_; }

 private:
  static SimOptions seeded(SimOptions options) {
    options.script.seed = options.seed;
    options.counter.seed = options.seed + 1;
    return options;
  }

  std::vector<std::byte> image() {
    const std::uint64_t hz = options_.kernel.frequency_hz;
    Observation observation;
    source_.observe(observation);
    Steering steering(hz, 1, options_.publisher.limits, options_.publisher.leaps);
    steering.observe(observation);
    RegionIdentity identity;
    identity.generation = options_.seed;
    identity.first_index = 0x123456789abc + options_.seed;
    identity.counter = {
        kThisCounterKind, hz, 1, 0, 0, static_cast<std::uint8_t>(options_.seed % 2 == 0 ? 32 : 48)};
    const std::uint64_t period = hz / 1000 * (options_.publisher.period_ns / 1000) / 1000;
    identity.smear = options_.publisher.leaps.smear;
    const std::uint64_t start = counter_.read();
    const Segment first =
        steering.first(start, start + 2 * period, delta_shift_for(nominal_period(hz)));
    return region_image(identity, period, first, steering.first_smeared(first));
  }

  SimOptions options_;
  VirtualCounter counter_;
  SimSource source_;
  MemoryRegion region_;
  std::unique_ptr<Publisher> publisher_;
  std::unique_ptr<SimKernel> oracle_;
  std::unique_ptr<SimScript> oracle_script_;
};

}  // namespace clockpage::producer
