// SPDX-License-Identifier: MIT
// What one update costs the producer, with and without the source's part of it.
#include <benchmark/benchmark.h>
#include <clockpage/counter.h>

#include <memory>
#include <string>
#include <variant>

#include "host_sources.hpp"
#include "publisher.hpp"
#include "sim_harness.hpp"

namespace clockpage::producer {
namespace {

constexpr std::uint64_t kHz = 2'300'000'000;
constexpr std::uint64_t kStart = 1'000'000'000'000;

// A line; nothing to read.
class TrivialSource final : public TimeSource {
 public:
  explicit TrivialSource(Counter& counter) : counter_(counter) {}
  ObserveResult observe(Observation& o) noexcept override {
    o.counter = counter_.read();
    const auto ticks = static_cast<std::int64_t>(o.counter - kStart);
    o.monotonic = o.raw =
        make_instant(1'000'000'000) + static_cast<Instant>(span(nominal_period(kHz), ticks));
    o.period = o.raw_period = nominal_period(kHz);
    o.realtime_minus_monotonic_ns = 1'700'000'000'000'000'000;
    o.quality = {true, CLOCKPAGE_REASON_NONE, 1'000'000};
    return ObserveResult::ok;
  }
  [[nodiscard]] std::string_view name() const noexcept override { return "trivial"; }
  [[nodiscard]] std::string description() const override { return {}; }

 private:
  Counter& counter_;
};

MemoryRegion make_region(TimeSource& source) {
  Observation o;
  source.observe(o);
  Steering steering(kHz, 1, {});
  steering.observe(o);
  RegionIdentity identity;
  identity.counter = {kThisCounterKind, kHz, 1, 0, 0, 48};
  return MemoryRegion(
      region_image(identity, kHz / 250, steering.first(o.counter, o.counter + kHz / 100, 0)));
}

// A whole update but for the wait and the source: plan, fill four pages, publish, diagnostics.
void BM_StepSteered(benchmark::State& state) {
  VirtualCounter counter(kStart, {});
  TrivialSource source(counter);
  MemoryRegion region = make_region(source);
  Publisher publisher(region.pages(), counter, source, kHz, 1, {}, false);
  for (auto _ : state)
    if (publisher.step() != StepResult::steered) state.SkipWithError("not steered");
}
BENCHMARK(BM_StepSteered);

void BM_StepBridged(benchmark::State& state) {
  VirtualCounter counter(kStart, {});
  TrivialSource source(counter);
  MemoryRegion region = make_region(source);
  Publisher publisher(region.pages(), counter, source, kHz, 1, {}, false);
  for (auto _ : state) {
    counter.wait_until(publisher.newest().lease_end);
    if (publisher.step() != StepResult::bridged) state.SkipWithError("not bridged");
  }
}
BENCHMARK(BM_StepBridged);

void BM_FillFourPages(benchmark::State& state) {
  VirtualCounter counter(kStart, {});
  TrivialSource source(counter);
  MemoryRegion region = make_region(source);
  std::array<PageWriter, 4> pages = {PageWriter(*region.page(0)), PageWriter(*region.page(1)),
                                     PageWriter(*region.page(2)), PageWriter(*region.page(3))};
  const Segment segment = pages[0].newest();
  for (auto _ : state) {
    for (PageWriter& page : pages) page.fill_next(segment);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(BM_FillFourPages);

void BM_VvarObserve(benchmark::State& state) {
  auto created = VvarSource::create();
  if (const auto* refusal = std::get_if<std::string>(&created)) {
    state.SkipWithError(refusal->c_str());
    return;
  }
  VvarSource& source = *std::get<std::unique_ptr<VvarSource>>(created);
  Observation o;
  for (auto _ : state) benchmark::DoNotOptimize(source.observe(o));
}
BENCHMARK(BM_VvarObserve);

void BM_BracketObserve(benchmark::State& state) {
  BracketSource source(measure_frequency_hz());
  Observation o;
  for (auto _ : state) benchmark::DoNotOptimize(source.observe(o));
}
BENCHMARK(BM_BracketObserve);

// For comparison.
void BM_LfenceRdtsc(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(clockpage_counter_ordered());
}
BENCHMARK(BM_LfenceRdtsc);

}  // namespace
}  // namespace clockpage::producer
