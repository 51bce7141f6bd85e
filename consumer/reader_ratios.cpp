// SPDX-License-Identifier: MIT
// What a reading costs, as ratios within one run.
//
// Absolute times on a shared or virtual machine wander by tens of per cent within seconds; ratios
// of neighbours do not. So: pinned to one CPU, many short rounds, each runs every candidate once in
// random order, and the ratio is taken within the round. Reported are median and quartiles over
// the rounds. The pages are in memory; no producer is needed. Never a test: exits 0 either way.

#include <clockpage/timestamp.h>
#include <clockpage/view.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "reader_ratios_pages.hpp"
#include "reader_ratios_statistics.hpp"

namespace {

using namespace clockpage::ratios;

template <typename T>
inline __attribute__((always_inline)) void Sink(const T& value) {
  asm volatile("" : : "r"(value));
}

// Runs `call` n times; call(i) is inlined.
template <typename Call>
inline __attribute__((always_inline)) void Repeat(unsigned n, Call call) {
  for (unsigned i = 0; i < n; i++) call(i);
}

// As a caller would. Errors would be a defect of the pages above.
inline __attribute__((always_inline)) void Check(int error) {
  if (error != CLOCKPAGE_OK) [[unlikely]]
    std::abort();
}

using Batch = void (*)(Environment&, unsigned);

void Rdtsc(Environment&, unsigned n) {
  Repeat(n, [](unsigned) { Sink(clockpage_counter_relaxed()); });
}
void LfenceRdtsc(Environment&, unsigned n) {
  Repeat(n, [](unsigned) { Sink(clockpage_counter_ordered()); });
}
void Rdtscp(Environment&, unsigned n) {
  Repeat(n, [](unsigned) {
    std::uint64_t low, high;
    asm volatile("rdtscp" : "=a"(low), "=d"(high) : : "rcx", "memory");
    Sink(high << 32 | low);
  });
}
template <clockid_t kClock>
void VdsoGettime(Environment&, unsigned n) {
  Repeat(n, [](unsigned) {
    timespec ts;
    clock_gettime(kClock, &ts);
    Sink(ts.tv_nsec);
  });
}
void SyscallGettime(Environment&, unsigned n) {
  Repeat(n, [](unsigned) {
    timespec ts;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &ts);
    Sink(ts.tv_nsec);
  });
}
void SystemClockNow(Environment&, unsigned n) {
  Repeat(n, [](unsigned) { Sink(std::chrono::system_clock::now().time_since_epoch().count()); });
}

template <int kClock, clockpage_reader Environment::*kReader>
void Now(Environment& env, unsigned n) {
  Repeat(n, [&](unsigned) {
    std::int64_t ns = 0;
    Check(clockpage_now(&(env.*kReader), kClock, &ns));
    Sink(ns);
  });
}
template <int kClock, clockpage_reader Environment::*kReader>
void NowRelaxed(Environment& env, unsigned n) {
  Repeat(n, [&](unsigned) {
    std::int64_t ns = 0;
    Check(clockpage_now_relaxed(&(env.*kReader), kClock, &ns));
    Sink(ns);
  });
}
inline __attribute__((always_inline)) void SinkTime(const clockpage_time& time) {
  Sink(time.ns);
  Sink(time.earliest_ns);
  Sink(time.latest_ns);
  Sink(time.status);
}
template <int kClock, clockpage_reader Environment::*kReader>
void NowBounds(Environment& env, unsigned n) {
  Repeat(n, [&](unsigned) {
    clockpage_time time;
    Check(clockpage_now_bounds(&(env.*kReader), kClock, &time));
    SinkTime(time);
  });
}
template <int kClock, clockpage_reader Environment::*kReader>
void Gettime(Environment& env, unsigned n) {
  Repeat(n, [&](unsigned) {
    timespec ts = {};
    Check(clockpage_gettime(&(env.*kReader), kClock, &ts));
    Sink(ts.tv_sec);
    Sink(ts.tv_nsec);
  });
}
template <int kClock, ViewMode kMode>
void ViewNow(Environment& env, unsigned n) {
  Repeat(n, [&](unsigned) {
    std::int64_t ns = 0;
    Check(clockpage_view_now(&env.view_readers[kMode], kClock, &ns));
    Sink(ns);
  });
}
template <int kClock, ViewMode kMode>
void ViewNowRelaxed(Environment& env, unsigned n) {
  Repeat(n, [&](unsigned) {
    std::int64_t ns = 0;
    Check(clockpage_view_now_relaxed(&env.view_readers[kMode], kClock, &ns));
    Sink(ns);
  });
}
template <int kClock, ViewMode kMode>
void ViewNowBounds(Environment& env, unsigned n) {
  Repeat(n, [&](unsigned) {
    clockpage_view_time time;
    Check(clockpage_view_now_bounds(&env.view_readers[kMode], kClock, &time));
    SinkTime(time.time);
    Sink(time.disruption_marker);
  });
}
// All of it, in memory, as who sends it would have it.
void TimestampNow(Environment& env, unsigned n) {
  Repeat(n, [&](unsigned) {
    clockpage_timestamp t;
    Check(clockpage_timestamp_now(&env.stamps, &t));
    asm volatile("" : : "r"(&t) : "memory");
  });
}
void TimestampWire(Environment& env, unsigned n) {
  Repeat(n, [&](unsigned) {
    clockpage_timestamp t;
    std::uint8_t wire[CLOCKPAGE_TIMESTAMP_SIZE];
    Check(clockpage_timestamp_now(&env.stamps, &t));
    Check(clockpage_timestamp_encode(&t, wire));
    asm volatile("" : : "r"(wire) : "memory");
  });
}
template <ViewMode kMode>
void ViewTimestampNow(Environment& env, unsigned n) {
  Repeat(n, [&](unsigned) {
    clockpage_timestamp t;
    Check(clockpage_view_timestamp_now(&env.view_stamps[kMode], &t));
    asm volatile("" : : "r"(&t) : "memory");
  });
}
void At(Environment& env, unsigned n) {
  Repeat(n, [&](unsigned i) {
    std::int64_t ns = 0;
    Check(clockpage_at(&env.current, CLOCKPAGE_REALTIME, env.captured[i % 512], &ns));
    Sink(ns);
  });
}
void AtBounds(Environment& env, unsigned n) {
  Repeat(n, [&](unsigned i) {
    clockpage_time time;
    Check(clockpage_at_bounds(&env.current, CLOCKPAGE_REALTIME, env.captured[i % 512], &time));
    SinkTime(time);
  });
}
template <int kClock, clockpage_reader Environment::*kReader>
void AtMany(Environment& env, unsigned n) {
  for (unsigned left = n; left != 0;) {
    const std::size_t count = std::min<std::size_t>(left, kCaptured);
    std::size_t converted = 0;
    Check(clockpage_at_many(&(env.*kReader), kClock, env.captured.data(), count,
                            env.converted.data(), &converted));
    asm volatile("" : : "r"(env.converted.data()) : "memory");
    left -= static_cast<unsigned>(count);
  }
}

struct Candidate {
  const char* name;
  Batch batch;
  std::size_t selected = kPlain;  // SmearPage, + kUsual
};

constexpr auto kCurrent = &Environment::current;
constexpr auto kPrevious = &Environment::previous;
constexpr auto kShifted = &Environment::shifted;
constexpr auto kSelected = &Environment::selected;
constexpr auto kViewPlain = &Environment::view_plain;
constexpr Batch kNowSelected = Now<CLOCKPAGE_REALTIME, kSelected>;
constexpr Batch kBoundsSelected = NowBounds<CLOCKPAGE_REALTIME, kSelected>;
constexpr Batch kManySelected = AtMany<CLOCKPAGE_REALTIME, kSelected>;

const std::vector<Candidate> kCandidates = {
    {"lfence;rdtsc", LfenceRdtsc},
    {"rdtsc", Rdtsc},
    {"rdtscp", Rdtscp},
    {"clock_gettime vDSO REALTIME", VdsoGettime<CLOCK_REALTIME>},
    {"clock_gettime vDSO MONOTONIC", VdsoGettime<CLOCK_MONOTONIC>},
    {"clock_gettime vDSO RAW", VdsoGettime<CLOCK_MONOTONIC_RAW>},
    {"clock_gettime syscall", SyscallGettime},
    {"system_clock::now", SystemClockNow},
    {"now REALTIME", Now<CLOCKPAGE_REALTIME, kCurrent>},
    {"now REALTIME, i-1", Now<CLOCKPAGE_REALTIME, kPrevious>},
    {"now REALTIME, shift 1", Now<CLOCKPAGE_REALTIME, kShifted>},
    {"now MONOTONIC", Now<CLOCKPAGE_MONOTONIC, kCurrent>},
    {"now MONOTONIC, i-1", Now<CLOCKPAGE_MONOTONIC, kPrevious>},
    {"now RAW", Now<CLOCKPAGE_MONOTONIC_RAW, kCurrent>},
    {"now TAI", Now<CLOCKPAGE_TAI, kCurrent>},
    {"now_bounds REALTIME", NowBounds<CLOCKPAGE_REALTIME, kCurrent>},
    {"now_bounds REALTIME, i-1", NowBounds<CLOCKPAGE_REALTIME, kPrevious>},
    {"now_bounds MONOTONIC", NowBounds<CLOCKPAGE_MONOTONIC, kCurrent>},
    {"now_relaxed REALTIME", NowRelaxed<CLOCKPAGE_REALTIME, kCurrent>},
    {"now_relaxed REALTIME, i-1", NowRelaxed<CLOCKPAGE_REALTIME, kPrevious>},
    {"now_relaxed MONOTONIC", NowRelaxed<CLOCKPAGE_MONOTONIC, kCurrent>},
    {"gettime REALTIME", Gettime<CLOCKPAGE_REALTIME, kCurrent>},
    {"at REALTIME", At},
    {"at_bounds REALTIME", AtBounds},
    {"at_many REALTIME", AtMany<CLOCKPAGE_REALTIME, kCurrent>},
    {"at_many MONOTONIC", AtMany<CLOCKPAGE_MONOTONIC, kCurrent>},
    {"now, unsmeared", kNowSelected, kPlain},
    {"now, smeared", kNowSelected, kNoLeap},
    {"now, smear pending", kNowSelected, kPending},
    {"now, in smear", kNowSelected, kInSmear},
    {"now_bounds, unsmeared", kBoundsSelected, kPlain},
    {"now_bounds, smeared", kBoundsSelected, kNoLeap},
    {"now_bounds, smear pending", kBoundsSelected, kPending},
    {"now_bounds, in smear", kBoundsSelected, kInSmear},
    {"at_many, unsmeared", kManySelected, kPlain},
    {"at_many, in smear", kManySelected, kInSmear},
    {"now, unsmeared, i-1", kNowSelected, kPlain + kUsual},
    {"now, smeared, i-1", kNowSelected, kNoLeap + kUsual},
    {"now, smear pending, i-1", kNowSelected, kPending + kUsual},
    {"now, in smear, i-1", kNowSelected, kInSmear + kUsual},
    {"now_bounds, unsmeared, i-1", kBoundsSelected, kPlain + kUsual},
    {"now_bounds, smeared, i-1", kBoundsSelected, kNoLeap + kUsual},
    {"now_bounds, smear pending, i-1", kBoundsSelected, kPending + kUsual},
    {"now_bounds, in smear, i-1", kBoundsSelected, kInSmear + kUsual},
    {"now MONOTONIC, no view", Now<CLOCKPAGE_MONOTONIC, kViewPlain>},
    {"now MONOTONIC, view", ViewNow<CLOCKPAGE_MONOTONIC, kOffset>},
    {"now MONOTONIC, scaled view", ViewNow<CLOCKPAGE_MONOTONIC, kScaled>},
    {"now MONOTONIC, any ratio", ViewNow<CLOCKPAGE_MONOTONIC, kAnyRatio>},
    {"now REALTIME, no view", Now<CLOCKPAGE_REALTIME, kViewPlain>},
    {"now REALTIME, view", ViewNow<CLOCKPAGE_REALTIME, kOffset>},
    {"now REALTIME, scaled view", ViewNow<CLOCKPAGE_REALTIME, kScaled>},
    {"now REALTIME, any ratio", ViewNow<CLOCKPAGE_REALTIME, kAnyRatio>},
    {"now_bounds MONOTONIC, no view", NowBounds<CLOCKPAGE_MONOTONIC, kViewPlain>},
    {"now_bounds MONOTONIC, view", ViewNowBounds<CLOCKPAGE_MONOTONIC, kOffset>},
    {"now_bounds MONOTONIC, any ratio", ViewNowBounds<CLOCKPAGE_MONOTONIC, kAnyRatio>},
    {"now MONOTONIC, nested in 1", ViewNow<CLOCKPAGE_MONOTONIC, kNested1>},
    {"now MONOTONIC, nested in 2", ViewNow<CLOCKPAGE_MONOTONIC, kNested2>},
    {"now_bounds MONOTONIC, scaled view", ViewNowBounds<CLOCKPAGE_MONOTONIC, kScaled>},
    {"now_bounds MONOTONIC, nested in 1", ViewNowBounds<CLOCKPAGE_MONOTONIC, kNested1>},
    {"now_bounds MONOTONIC, nested in 2", ViewNowBounds<CLOCKPAGE_MONOTONIC, kNested2>},
    {"now_relaxed MONOTONIC, no view", NowRelaxed<CLOCKPAGE_MONOTONIC, kViewPlain>},
    {"now_relaxed MONOTONIC, view", ViewNowRelaxed<CLOCKPAGE_MONOTONIC, kOffset>},
    {"now_relaxed MONOTONIC, any ratio", ViewNowRelaxed<CLOCKPAGE_MONOTONIC, kAnyRatio>},
    {"timestamp TAI", TimestampNow},
    {"timestamp TAI, encoded", TimestampWire},
    {"timestamp TAI, view", ViewTimestampNow<kOffset>},
    {"timestamp TAI, any ratio", ViewTimestampNow<kAnyRatio>},
};

// `limit` is a ratio to `base`, or ns where base is empty.
struct Target {
  const char* name;
  const char* base;
  double limit;
};
const std::vector<Target> kTargets = {
    {"now REALTIME", "lfence;rdtsc", 1.17},
    {"now REALTIME, i-1", "lfence;rdtsc", 1.17},
    {"now MONOTONIC", "lfence;rdtsc", 1.17},
    {"now REALTIME", "clock_gettime vDSO REALTIME", 0.87},
    {"now REALTIME, i-1", "clock_gettime vDSO REALTIME", 0.87},
    {"now_bounds REALTIME", "lfence;rdtsc", 1.22},
    {"now_bounds REALTIME, i-1", "lfence;rdtsc", 1.22},
    {"now_relaxed REALTIME", "rdtsc", 1.05},
    {"now_relaxed REALTIME, i-1", "rdtsc", 1.05},
    {"at_many REALTIME", "", 2.0},
    {"now, smeared", "now, unsmeared", 1.02},
    {"now, smear pending", "now, unsmeared", 1.02},
    {"now, in smear", "now, unsmeared", 1.10},
    {"now_bounds, smeared", "now_bounds, unsmeared", 1.02},
    {"now_bounds, smear pending", "now_bounds, unsmeared", 1.02},
    {"now_bounds, in smear", "now_bounds, unsmeared", 1.10},
    {"now, smeared, i-1", "now, unsmeared, i-1", 1.02},
    {"now, smear pending, i-1", "now, unsmeared, i-1", 1.02},
    {"now, in smear, i-1", "now, unsmeared, i-1", 1.10},
    {"now_bounds, smeared, i-1", "now_bounds, unsmeared, i-1", 1.02},
    {"now_bounds, smear pending, i-1", "now_bounds, unsmeared, i-1", 1.02},
    {"now_bounds, in smear, i-1", "now_bounds, unsmeared, i-1", 1.10},
    {"now MONOTONIC, view", "now MONOTONIC, no view", 1.03},
    {"now MONOTONIC, scaled view", "now MONOTONIC, no view", 1.03},
    {"now MONOTONIC, any ratio", "now MONOTONIC, no view", 1.12},
    {"now REALTIME, view", "now REALTIME, no view", 1.03},
    {"now REALTIME, scaled view", "now REALTIME, no view", 1.03},
    {"now REALTIME, any ratio", "now REALTIME, no view", 1.12},
    {"now_bounds MONOTONIC, view", "now_bounds MONOTONIC, no view", 1.03},
    {"now_bounds MONOTONIC, any ratio", "now_bounds MONOTONIC, no view", 1.12},
    {"timestamp TAI", "lfence;rdtsc", 1.30},
    {"timestamp TAI, view", "lfence;rdtsc", 1.30},
};

// What a view costs: each against the plain page, in the same round.
struct ViewRow {
  const char* name;
  const char* now;
  const char* now_bounds;
};
constexpr const char* kPlainNow = "now MONOTONIC, no view";
constexpr const char* kPlainBounds = "now_bounds MONOTONIC, no view";
const std::vector<ViewRow> kViewRows = {
    {"plain page", kPlainNow, kPlainBounds},
    {"+ view", "now MONOTONIC, view", "now_bounds MONOTONIC, view"},
    {"+ view, any ratio", "now MONOTONIC, any ratio", "now_bounds MONOTONIC, any ratio"},
    {"+ view, scaled page", "now MONOTONIC, scaled view", "now_bounds MONOTONIC, scaled view"},
    {"+ view nested in 1", "now MONOTONIC, nested in 1", "now_bounds MONOTONIC, nested in 1"},
    {"+ view nested in 2", "now MONOTONIC, nested in 2", "now_bounds MONOTONIC, nested in 2"},
};

std::size_t Find(const std::string& name) {
  for (std::size_t i = 0; i < kCandidates.size(); i++)
    if (name == kCandidates[i].name) return i;
  std::abort();
}

double TicksPerNs() {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  const std::uint64_t first = clockpage_counter_ordered();
  while (Clock::now() - begin < std::chrono::milliseconds(50)) {
  }
  const auto end = Clock::now();
  const std::uint64_t last = clockpage_counter_ordered();
  return static_cast<double>(last - first) /
         static_cast<double>(std::chrono::nanoseconds(end - begin).count());
}

Samples Measure(Environment& env, unsigned rounds, unsigned calls, double ticks_per_ns,
                std::mt19937_64& random) {
  Samples ns(kCandidates.size());
  std::vector<std::size_t> order(kCandidates.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (unsigned round = 0; round < rounds; round++) {
    std::shuffle(order.begin(), order.end(), random);
    for (const std::size_t candidate : order) {
      env.selected = env.smear_readers[kCandidates[candidate].selected];
      kCandidates[candidate].batch(env, 32);  // code and branch history
      const std::uint64_t begin = clockpage_counter_ordered();
      kCandidates[candidate].batch(env, calls);
      const std::uint64_t ticks = clockpage_counter_ordered() - begin;
      ns[candidate].push_back(static_cast<double>(ticks) / ticks_per_ns / calls);
    }
  }
  return ns;
}

struct Options {
  unsigned rounds = 1000;
  unsigned calls = 2000;
  int cpu = -1;
  std::uint64_t seed = 0;
  bool json = false;
};

void PrintTable(const Samples& ns) {
  std::printf("%-32s %10s %16s   %-21s %s\n", "", "ns median", "(quartiles)", "/ lfence;rdtsc",
              "/ rdtsc");
  for (std::size_t i = 0; i < ns.size(); i++) {
    const Quartiles t = QuartilesOf(ns[i]), f = Ratio(ns, i, 0), r = Ratio(ns, i, 1);
    std::printf("%-32s %10.2f (%6.2f ..%6.2f)  %5.3f (%5.3f..%5.3f)  %5.3f (%5.3f..%5.3f)\n",
                kCandidates[i].name, t.median, t.q1, t.q3, f.median, f.q1, f.q3, r.median, r.q1,
                r.q3);
  }
  std::printf("\n%-22s %28s %34s\n", "what a view costs", "now", "now_bounds");
  for (const ViewRow& row : kViewRows) {
    std::printf("%-22s", row.name);
    for (const auto& [name, plain] :
         {std::pair{row.now, kPlainNow}, {row.now_bounds, kPlainBounds}}) {
      const Quartiles extra = Extra(ns, Find(name), Find(plain));
      const Quartiles ratio = Ratio(ns, Find(name), Find(plain));
      std::printf("   %+6.2f ns  %5.3f (%5.3f..%5.3f)", extra.median, ratio.median, ratio.q1,
                  ratio.q3);
    }
    std::printf("\n");
  }
  std::printf("\n%-28s %-29s %-22s %s\n", "target", "against", "measured", "limit");
}

void Report(const Samples& ns, const Options& options, double ticks_per_ns) {
  nlohmann::json report = {{"seed", options.seed},
                           {"cpu", options.cpu},
                           {"rounds", options.rounds},
                           {"calls", options.calls},
                           {"tsc_ghz", ticks_per_ns},
                           {"candidates", nlohmann::json::array()},
                           {"targets", nlohmann::json::array()}};
  if (!options.json) PrintTable(ns);
  for (const ViewRow& row : kViewRows)
    for (const auto& [name, plain] :
         {std::pair{row.now, kPlainNow}, {row.now_bounds, kPlainBounds}})
      report["views"].push_back({{"name", row.name},
                                 {"candidate", name},
                                 {"base", plain},
                                 {"extra_ns", ToJson(Extra(ns, Find(name), Find(plain)))},
                                 {"ratio", ToJson(Ratio(ns, Find(name), Find(plain)))}});
  for (std::size_t i = 0; i < ns.size(); i++)
    report["candidates"].push_back({{"name", kCandidates[i].name},
                                    {"ns", ToJson(QuartilesOf(ns[i]))},
                                    {"ratio_to_lfence_rdtsc", ToJson(Ratio(ns, i, 0))},
                                    {"ratio_to_rdtsc", ToJson(Ratio(ns, i, 1))}});
  for (const Target& target : kTargets) {
    const std::size_t i = Find(target.name);
    const bool absolute = target.base[0] == '\0';
    const Quartiles q = absolute ? QuartilesOf(ns[i]) : Ratio(ns, i, Find(target.base));
    const bool met = q.median <= target.limit;
    report["targets"].push_back({{"name", target.name},
                                 {"base", absolute ? "ns per value" : target.base},
                                 {"measured", ToJson(q)},
                                 {"limit", target.limit},
                                 {"met", met}});
    if (!options.json)
      std::printf("%-28s %-29s %5.3f (%5.3f..%5.3f)  <= %.2f  %s\n", target.name,
                  absolute ? "(ns per value)" : target.base, q.median, q.q1, q.q3, target.limit,
                  met ? "met" : "NOT MET");
  }
  if (options.json) std::printf("%s\n", report.dump(2).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  options.seed = std::random_device{}();
  CLI::App app{"Cost of reading the page, as ratios within shuffled rounds on one CPU"};
  app.add_option("--rounds", options.rounds, "Rounds; each runs every candidate once")
      ->check(CLI::Range(1u, 10'000'000u));
  app.add_option("--calls", options.calls, "Calls per candidate and round")
      ->check(CLI::Range(1u, 10'000'000u));
  app.add_option("--cpu", options.cpu, "CPU to pin to (default: the one it starts on)");
  app.add_option("--seed", options.seed, "Seed of the order");
  app.add_flag("--json", options.json, "One JSON object instead of the table");
  CLI11_PARSE(app, argc, argv);

  if (options.cpu < 0) options.cpu = sched_getcpu();
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  CPU_SET(static_cast<unsigned>(options.cpu), &cpus);
  if (sched_setaffinity(0, sizeof cpus, &cpus) != 0) {
    std::fprintf(stderr, "reader_ratios: cannot pin to CPU %d\n", options.cpu);
    return 1;
  }
  if (!options.json)
    std::printf("seed %llu, CPU %d, %u rounds of %u calls\n\n",
                static_cast<unsigned long long>(options.seed), options.cpu, options.rounds,
                options.calls);
  const double ticks_per_ns = TicksPerNs();
  static Environment env;
  FillEnvironment(env, static_cast<std::uint64_t>(ticks_per_ns * 1e9));
  std::mt19937_64 random(options.seed);
  Report(Measure(env, options.rounds, options.calls, ticks_per_ns, random), options, ticks_per_ns);
}
