// SPDX-License-Identifier: MIT
// What each entry point of the reader costs, beside what it competes with. Pages are in memory,
// their leases cover the run: no producer is needed. For ratios see reader_ratios.
#include <benchmark/benchmark.h>
#include <clockpage/reader.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>

#include "reader_test_page.h"

namespace {

using clockpage::testing::MakeSegment;
using clockpage::testing::NextSegment;
using clockpage::testing::TestPage;

enum Path { kNewest, kBeforeNewest };

// A page whose newest segment has begun, or begins far in the future.
struct Page {
  explicit Page(Path path) {
    constexpr std::uint64_t kHz = 2'000'000'000, kFar = std::uint64_t{1} << 55;
    now = clockpage_counter_ordered();
    const std::uint64_t end = path == kNewest ? now : now + kFar;
    page.Slot(99) = MakeSegment(99, now - kHz, end, kHz);
    page.Slot(100) = NextSegment(page.Slot(99), kFar, page.Slot(99).tai_period_frac);
    page.page.index = 100;
    reader = page.Reader();
  }
  TestPage page;
  clockpage_reader reader;
  std::uint64_t now;
};

const Page& PageOf(Path path) {
  static const Page newest(kNewest), before(kBeforeNewest);
  return path == kNewest ? newest : before;
}

void Rdtsc(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(clockpage_counter_relaxed());
}
BENCHMARK(Rdtsc);

void LfenceRdtsc(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(clockpage_counter_ordered());
}
BENCHMARK(LfenceRdtsc);

#if defined(__x86_64__)
void Rdtscp(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(clockpage_counter_ordered_by(1, 0));
}
BENCHMARK(Rdtscp);
#endif

void ClockGettimeVdso(benchmark::State& state, clockid_t clock) {
  for (auto _ : state) {
    timespec ts;
    clock_gettime(clock, &ts);
    benchmark::DoNotOptimize(ts);
  }
}
BENCHMARK_CAPTURE(ClockGettimeVdso, realtime, CLOCK_REALTIME);
BENCHMARK_CAPTURE(ClockGettimeVdso, monotonic, CLOCK_MONOTONIC);
BENCHMARK_CAPTURE(ClockGettimeVdso, raw, CLOCK_MONOTONIC_RAW);

void ClockGettimeSyscall(benchmark::State& state) {
  for (auto _ : state) {
    timespec ts;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &ts);
    benchmark::DoNotOptimize(ts);
  }
}
BENCHMARK(ClockGettimeSyscall);

void SystemClockNow(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(std::chrono::system_clock::now());
}
BENCHMARK(SystemClockNow);

template <int kClock, Path kPath>
void Now(benchmark::State& state) {
  const clockpage_reader& reader = PageOf(kPath).reader;
  for (auto _ : state) {
    std::int64_t ns = 0;
    if (clockpage_now(&reader, kClock, &ns)) state.SkipWithError("clockpage_now");
    benchmark::DoNotOptimize(ns);
  }
}

template <int kClock, Path kPath>
void NowRelaxed(benchmark::State& state) {
  const clockpage_reader& reader = PageOf(kPath).reader;
  for (auto _ : state) {
    std::int64_t ns = 0;
    if (clockpage_now_relaxed(&reader, kClock, &ns)) state.SkipWithError("clockpage_now_relaxed");
    benchmark::DoNotOptimize(ns);
  }
}

template <int kClock, Path kPath>
void NowBounds(benchmark::State& state) {
  const clockpage_reader& reader = PageOf(kPath).reader;
  for (auto _ : state) {
    clockpage_time time = {};
    if (clockpage_now_bounds(&reader, kClock, &time)) state.SkipWithError("clockpage_now_bounds");
    benchmark::DoNotOptimize(time);
  }
}

template <int kClock, Path kPath>
void Gettime(benchmark::State& state) {
  const clockpage_reader& reader = PageOf(kPath).reader;
  for (auto _ : state) {
    timespec ts = {};
    if (clockpage_gettime(&reader, kClock, &ts)) state.SkipWithError("clockpage_gettime");
    benchmark::DoNotOptimize(ts);
  }
}

template <int kClock, Path kPath>
void At(benchmark::State& state) {
  const Page& page = PageOf(kPath);
  std::uint64_t counter = page.now;
  for (auto _ : state) {
    std::int64_t ns = 0;
    if (clockpage_at(&page.reader, kClock, counter++, &ns)) state.SkipWithError("clockpage_at");
    benchmark::DoNotOptimize(ns);
  }
}

template <int kClock, Path kPath>
void AtBounds(benchmark::State& state) {
  const Page& page = PageOf(kPath);
  std::uint64_t counter = page.now;
  for (auto _ : state) {
    clockpage_time time = {};
    if (clockpage_at_bounds(&page.reader, kClock, counter++, &time))
      state.SkipWithError("clockpage_at_bounds");
    benchmark::DoNotOptimize(time);
  }
}

template <int kClock, Path kPath>
void AtMany(benchmark::State& state) {
  const Page& page = PageOf(kPath);
  std::array<std::uint64_t, 1000> counters;
  std::array<std::int64_t, 1000> ns;
  for (std::size_t i = 0; i < counters.size(); i++) counters[i] = page.now + i * 1000;
  for (auto _ : state) {
    std::size_t converted = 0;
    if (clockpage_at_many(&page.reader, kClock, counters.data(), counters.size(), ns.data(),
                          &converted))
      state.SkipWithError("clockpage_at_many");
    benchmark::DoNotOptimize(ns);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(counters.size()));
}

#define CLOCKPAGE_BENCHMARK_CLOCKS(function)                        \
  BENCHMARK_TEMPLATE(function, CLOCKPAGE_REALTIME, kBeforeNewest);  \
  BENCHMARK_TEMPLATE(function, CLOCKPAGE_REALTIME, kNewest);        \
  BENCHMARK_TEMPLATE(function, CLOCKPAGE_MONOTONIC, kBeforeNewest); \
  BENCHMARK_TEMPLATE(function, CLOCKPAGE_MONOTONIC_RAW, kBeforeNewest)

CLOCKPAGE_BENCHMARK_CLOCKS(Now);
CLOCKPAGE_BENCHMARK_CLOCKS(NowRelaxed);
CLOCKPAGE_BENCHMARK_CLOCKS(NowBounds);
CLOCKPAGE_BENCHMARK_CLOCKS(Gettime);
CLOCKPAGE_BENCHMARK_CLOCKS(At);
CLOCKPAGE_BENCHMARK_CLOCKS(AtBounds);
CLOCKPAGE_BENCHMARK_CLOCKS(AtMany);

}  // namespace
