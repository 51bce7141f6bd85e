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

#include "reader_test_page.h"
#include "smear.hpp"
#include "view_test_pages.h"

namespace {

using clockpage::testing::kSecond;
using clockpage::testing::MakeSegment;
using clockpage::testing::NextSegment;
using clockpage::testing::TestPage;
using clockpage::testing::TestRegion;
using clockpage::testing::TestView;

constexpr std::size_t kCaptured = 1000;

// As `current` (the newest segment has begun), and then as `previous` (it has not: the usual case):
// unsmeared; smeared with no leap second in sight, with one in half a year, and within its smear.
enum SmearPage : std::size_t { kPlain, kNoLeap, kPending, kInSmear, kUsual };

// How the guest's counter comes of the host's: only an offset; the scaled page's own ratio; one
// that no page is made for.
enum ViewMode : std::size_t { kOffset, kScaled, kAnyRatio };

// What the candidates read.
struct Environment {
  TestPage current_page, previous_page, shifted_page{1}, history_page;
  clockpage_reader current, previous, shifted, history;
  // By SmearPage: all are read by one and the same code, `selected` is which.
  std::array<TestPage, 8> smear_pages;
  std::array<clockpage_reader, 8> smear_readers;
  clockpage_reader selected;
  // The newest segment has not begun, the usual case. `view_plain`: the page without a view.
  TestRegion view_region;
  clockpage_reader view_plain;
  std::array<TestView, 3> views;
  std::array<clockpage_view_reader, 3> view_readers;  // by ViewMode
  clockpage_timestamp_source stamps;                  // of `view_plain`: the usual case
  std::array<clockpage_view_timestamp_source, 3> view_stamps;
  std::array<std::uint64_t, kCaptured> captured;
  std::array<std::int64_t, kCaptured> converted;
};

// Two segments: `past` began half an hour ago; the newest begins now or in the far future.
void FillPage(TestPage& page, std::uint64_t now, bool newest_has_begun, std::uint64_t hz) {
  const std::uint64_t n = 100, far = std::uint64_t{1} << 50, shift = page.page.delta_shift;
  const std::uint64_t middle = newest_has_begun ? now : now + far;
  auto past = MakeSegment(n - 1, now - 1800 * hz, middle, hz, static_cast<unsigned>(shift));
  page.page.index = n;
  page.Slot(n - 1) = past;
  page.Slot(n) = NextSegment(past, far, past.tai_period_frac, static_cast<unsigned>(shift));
}

// The noon to noon smear of an inserted leap second that begins `ahead_s` s from now.
void SetSmear(TestPage& page, std::int64_t ahead_s) {
  page.page.smear = CLOCKPAGE_SMEAR_NOON;
  page.page.smear_start_s = -43200;
  page.page.smear_length_s = 86400;
  const clockpage_segment& past = page.Slot(page.page.index - 1);
  const std::int64_t start = static_cast<std::int64_t>(past.tai_ns) + (1800 + ahead_s) * kSecond;
  const clockpage::UtcOffset leap = clockpage::offset_ramp(
      past.utc_offset_ns, start, start + 86401 * kSecond, past.utc_offset_ns + kSecond);
  for (std::uint64_t number : {page.page.index - 1, page.page.index}) {
    clockpage_segment& s = page.Slot(number);
    s.leap_start_ns = leap.start_ns;
    s.leap_end_ns = leap.end_ns;
    s.utc_offset_after_ns = leap.after_ns;
    s.leap_slope_frac = leap.slope_frac;
  }
}

void FillSmearPages(Environment& env, std::uint64_t now, std::uint64_t hz) {
  for (std::size_t i = 0; i < env.smear_pages.size(); i++) {
    TestPage& page = env.smear_pages[i];
    FillPage(page, now, i < kUsual, hz);
    if (i % kUsual == kNoLeap) page.page.smear = CLOCKPAGE_SMEAR_NOON;
    if (i % kUsual == kPending) SetSmear(page, 182 * 86400);
    if (i % kUsual == kInSmear) SetSmear(page, -43200);
    env.smear_readers[i] = page.Reader();
  }
}

// One counter serves all modes: the scaled page's segments, and the any-ratio view's offset, are
// such that its value now, as it is, lies in them.
void FillViews(Environment& env, std::uint64_t now, std::uint64_t hz) {
  const std::uint64_t any_ratio = (std::uint64_t{1} << 48) / 10 * 9;
  for (TestPage& page : env.view_region.data) FillPage(page, now, false, hz);
  for (std::size_t mode = 0; mode < env.views.size(); mode++) {
    clockpage_view_slot& slot = env.views[mode].Newest();
    slot.counter_offset = 1'000'000;
    slot.monotonic_offset_ns = 12345 * kSecond;
    if (mode == kScaled) {
      slot.format = CLOCKPAGE_FORMAT_SCALED;
      slot.counter_ratio = env.view_region.Page(1, 0).page.scale_ratio;
      slot.counter_frac_bits = env.view_region.Page(1, 0).page.scale_frac_bits;
    } else if (mode == kAnyRatio) {
      slot.counter_ratio = any_ratio;
      slot.counter_frac_bits = 48;
      slot.counter_offset =
          static_cast<std::int64_t>(now - clockpage_scale_counter(now, any_ratio, 48));
    }
    env.view_readers[mode] = env.views[mode].Reader(env.view_region);
  }
  env.view_plain = env.view_region.Page(0, 0).Reader();
  if (clockpage_timestamp_source_init(&env.stamps, &env.view_plain, &env.view_region.directory,
                                      CLOCKPAGE_TAI) != CLOCKPAGE_OK)
    std::abort();
  for (std::size_t mode = 0; mode < env.views.size(); mode++)
    if (clockpage_view_timestamp_source_init(&env.view_stamps[mode], &env.view_readers[mode],
                                             CLOCKPAGE_TAI) != CLOCKPAGE_OK)
      std::abort();
}

void FillEnvironment(Environment& env, std::uint64_t hz) {
  const std::uint64_t now = clockpage_counter_ordered();
  FillPage(env.current_page, now, true, hz);
  FillPage(env.previous_page, now, false, hz);
  FillPage(env.shifted_page, now, true, hz);
  FillSmearPages(env, now, hz);
  FillViews(env, now, hz);
  env.current = env.current_page.Reader();
  env.previous = env.previous_page.Reader();
  env.shifted = env.shifted_page.Reader();
  for (std::size_t i = 0; i < kCaptured; i++) env.captured[i] = now + 1 + i * 1000;
}

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

struct Quartiles {
  double q1, median, q3;
};

Quartiles QuartilesOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return {values[n / 4], values[n / 2], values[n * 3 / 4]};
}

nlohmann::json ToJson(const Quartiles& q) {
  return {{"q1", q.q1}, {"median", q.median}, {"q3", q.q3}};
}

// ns[candidate][round]
using Samples = std::vector<std::vector<double>>;

Quartiles Ratio(const Samples& ns, std::size_t candidate, std::size_t base) {
  std::vector<double> ratios;
  for (std::size_t round = 0; round < ns[candidate].size(); round++)
    ratios.push_back(ns[candidate][round] / ns[base][round]);
  return QuartilesOf(std::move(ratios));
}

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
