// SPDX-License-Identifier: MIT
// For tests/leap_oracle_test.py: a producer on a simulated kernel and a virtual counter, run
// through leap seconds. Writes what readers were told on all four pages, with the segments that
// they read and what the kernel's own clocks said. It judges nothing: it knows of leap seconds only
// what it passes on to the kernel and the producer. tests/leap_samples.py reads what it writes.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include "leap_table.hpp"
#include "sim_harness.hpp"
#include "smear.hpp"

namespace clockpage::producer {
namespace {

constexpr std::uint64_t kHz = 2'300'000'000;
constexpr std::int64_t kStartFractionNs = 123'456'789;  // not on a second
constexpr std::array kClocks = {CLOCKPAGE_REALTIME, CLOCKPAGE_MONOTONIC, CLOCKPAGE_MONOTONIC_RAW,
                                CLOCKPAGE_BOOTTIME, CLOCKPAGE_TAI};

// ---- what is written: little-endian, without padding

struct PageRecord {
  std::uint32_t kind = 1;
  std::uint32_t page = 0;
  std::uint64_t scale_ratio = 0;
  std::uint64_t counter_frequency_hz = 0;
  std::int32_t smear_start_s = 0;
  std::uint32_t smear_length_s = 0;
  std::uint8_t format = 0;
  std::uint8_t smear = 0;
  std::uint8_t delta_shift = 0;
  std::uint8_t scale_frac_bits = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(PageRecord) == 40);

struct SegmentRecord {
  std::uint32_t kind = 2;
  std::uint32_t page = 0;
  clockpage_segment segment;
};
static_assert(sizeof(SegmentRecord) == 8 + CLOCKPAGE_SEGMENT_SIZE);

// The kernel's clocks at a counter value; its last tick before it.
struct KernelRecord {
  std::uint32_t kind = 3;
  std::int32_t pending_leap = 0;
  std::uint64_t counter = 0;
  std::uint64_t last_tick = 0;
  std::array<std::int64_t, kClocks.size()> ns{};
};
static_assert(sizeof(KernelRecord) == 64);

struct Reading {
  std::int32_t error = 0;
  std::uint32_t flags = 0;
  std::int64_t ns = 0;
  std::int64_t earliest_ns = 0;
  std::int64_t latest_ns = 0;
  std::uint64_t epoch = 0;
  std::uint8_t status = 0;
  std::uint8_t reason = 0;
  std::uint8_t leap_indicator = 0;
  std::uint8_t smear = 0;
  std::uint32_t reserved = 0;
};
// What readers of one page were told at the counter value of the kernel's record before it.
struct SampleRecord {
  std::uint32_t kind = 4;
  std::uint32_t page = 0;
  std::uint64_t counter = 0;  // the page's
  std::array<Reading, kClocks.size()> clocks{};
};
static_assert(sizeof(SampleRecord) == 16 + kClocks.size() * 48);

struct EndRecord {
  std::uint32_t kind = 5;
  std::uint32_t killed = 0;
  std::uint64_t publications = 0;
  std::uint64_t bridges = 0;
  std::uint64_t late_publications = 0;
  std::uint64_t realtime_steps = 0;
  std::uint64_t tai_steps = 0;
  std::uint64_t monotonic_steps = 0;
};
static_assert(sizeof(EndRecord) == 56);

template <typename Record>
void write(const Record& record) {
  if (std::fwrite(&record, sizeof record, 1, stdout) != 1) {
    std::perror("leap_samples: standard output");
    std::exit(1);
  }
}

// ---- the run

struct Options {
  std::int64_t start_s = 0;     // POSIX seconds of REALTIME
  std::int64_t tai_s = 0;       // TAI - UTC at the start
  std::int64_t kernel_tai = 0;  // as the kernel has it; 0: not set
  std::string smear = "noon";
  std::string table;  // a file; empty: none
  double run_s = 0;
  std::vector<double> restart_s;  // another producer takes the pages over
  double kill_s = 1e18;           // from then on only readers live
  double kernel_max_ppb = 20'000;
  std::uint64_t period_ms = 100;
  std::uint64_t seed = 1;
  std::vector<std::int64_t> windows_ns;      // TAI: every ms around these
  std::int64_t reach_ns = 2 * kNsPerSecond;  // so far
  double coarse_s = 600;                     // and everywhere else, a boundary this often
};

class Sampler {
 public:
  Sampler(SimHarness& sim, const Options& options)
      : sim_(sim),
        options_(options),
        tai_minus_monotonic_ns_((options.start_s + options.tai_s) * kNsPerSecond +
                                kStartFractionNs - SimKernelConfig().monotonic_ns),
        last_(sim.counter().now()) {
    for (std::uint32_t i = 0; i < 4; i++) {
      const clockpage_data_page& page = *sim.region().page(i);
      readers_[i] = sim.region().reader(i);
      told_[i] = page.index - 1;
      write(PageRecord{1, i, page.scale_ratio, page.counter_frequency_hz, page.smear_start_s,
                       page.smear_length_s, page.format, page.smear, page.delta_shift,
                       page.scale_frac_bits});
    }
  }

  // All that is to be sampled from the last call to host counter `now`.
  void sample_until(std::uint64_t now) {
    std::vector<std::uint64_t> at;
    const std::int64_t from = tai(last_);
    const std::int64_t to = tai(now);
    next_ = std::max(next_, last_);
    bool watched = false;
    for (const std::int64_t centre : options_.windows_ns) {
      if (to < centre - options_.reach_ns || from > centre + options_.reach_ns) continue;
      watched = true;
      for (std::uint64_t c = next_; c <= now; c += kHz / 1000)
        if (std::abs(tai(c) - centre) <= options_.reach_ns) at.push_back(c);
      if (from >= centre || to < centre) continue;
      // Tick by tick where it happens.
      const std::uint64_t there = first_at(centre, last_, now);
      for (std::uint64_t c = there - 6; c <= there + 6; c++) at.push_back(c);
    }
    while (next_ <= now) next_ += kHz / 1000;
    const bool due = static_cast<double>(now - coarse_) >= options_.coarse_s * kHz;
    if (due) coarse_ = now;
    if (watched || due) {
      // And where one segment ends and another begins.
      const clockpage_data_page& page = *sim_.region().page(0);
      const std::uint64_t start = page.segment[(page.index - 1) % CLOCKPAGE_SEGMENT_COUNT].start;
      for (std::uint64_t c = start - 3; c <= start + 3; c++) at.push_back(c);
    }
    std::sort(at.begin(), at.end());
    at.erase(std::unique(at.begin(), at.end()), at.end());
    for (const std::uint64_t c : at)
      if (c > last_ && c <= now) sample(c);
    last_ = now;
  }

  // For readers of dead pages, who need not be asked between two windows: a little further.
  [[nodiscard]] std::uint64_t a_step_on(std::uint64_t limit) const {
    const std::int64_t from = tai(last_);
    std::int64_t begin = std::numeric_limits<std::int64_t>::max();
    for (const std::int64_t centre : options_.windows_ns)
      if (centre + options_.reach_ns >= from) begin = std::min(begin, centre - options_.reach_ns);
    if (begin <= from) return std::min(limit, last_ + kHz / 10);
    return tai(limit) <= begin ? limit : first_at(begin, last_, limit);
  }

 private:
  // Where the unscaled page is, by its MONOTONIC: no leap second touches that.
  [[nodiscard]] std::int64_t tai(std::uint64_t host) const {
    std::int64_t ns = 0;
    clockpage_at(readers_.data(), CLOCKPAGE_MONOTONIC, host, &ns);
    return ns + tai_minus_monotonic_ns_;
  }
  [[nodiscard]] std::uint64_t first_at(std::int64_t tai_ns, std::uint64_t from,
                                       std::uint64_t to) const {
    while (from < to) {
      const std::uint64_t middle = from + (to - from) / 2;
      if (tai(middle) < tai_ns)
        from = middle + 1;
      else
        to = middle;
    }
    return from;
  }

  void sample(std::uint64_t host) {
    const KernelClockSnapshot kernel = sim_.oracle_at(host);
    KernelRecord record;
    record.pending_leap = sim_.oracle().pending_leap();
    record.counter = host;
    record.last_tick = kernel.cycle_last;
    for (std::size_t i = 0; i < kClocks.size(); i++)
      record.ns[i] = evaluate(kernel, kClocks[i], host).value_or(0);
    write(record);
    for (std::uint32_t i = 0; i < 4; i++) {
      tell_segments(i);
      SampleRecord told;
      told.page = i;
      told.counter = PageWriter(*sim_.region().page(i)).scale().apply(host);
      for (std::size_t k = 0; k < kClocks.size(); k++) {
        clockpage_time time{};
        Reading& r = told.clocks[k];
        r.error = clockpage_at_bounds(&readers_[i], kClocks[k], told.counter, &time);
        if (r.error == 0)
          r = {0,          time.flags,  time.ns,     time.earliest_ns,    time.latest_ns,
               time.epoch, time.status, time.reason, time.leap_indicator, time.smear,
               0};
      }
      write(told);
    }
  }

  // The page's segments that were not written yet.
  void tell_segments(std::uint32_t i) {
    const clockpage_data_page& page = *sim_.region().page(i);
    const std::uint64_t oldest = page.index - CLOCKPAGE_HISTORY;
    std::uint64_t number = told_[i];
    if (static_cast<std::int64_t>(oldest - number) > 0) number = oldest;
    for (; number != page.index + 1; number++) {
      const clockpage_segment& segment = page.segment[number % CLOCKPAGE_SEGMENT_COUNT];
      if (segment.number == number) write(SegmentRecord{2, i, segment});
    }
    told_[i] = number;
  }

  SimHarness& sim_;
  Options options_;
  std::int64_t tai_minus_monotonic_ns_;
  std::array<clockpage_reader, 4> readers_{};
  std::array<std::uint64_t, 4> told_{};  // the first segment not written yet
  std::uint64_t last_;
  std::uint64_t next_ = 0;
  std::uint64_t coarse_ = 0;
};

std::vector<SimEvent> parse_events(const std::vector<std::string>& texts) {
  std::vector<SimEvent> events;
  for (const std::string& text : texts) {
    double at_s = 0;
    std::array<char, 16> kind{};
    long long value = 0;
    if (std::sscanf(text.c_str(), "%lf:%15[a-z]:%lld", &at_s, kind.data(), &value) != 3)
      throw CLI::ValidationError("--event", "must be SECONDS:KIND:VALUE");
    const std::string name = kind.data();
    SimEvent event{static_cast<std::uint64_t>(at_s * kHz), SimEvent::Kind::arm_leap, value};
    if (name == "step")
      event.kind = SimEvent::Kind::realtime_step;
    else if (name == "tai")
      event.kind = SimEvent::Kind::tai_offset;
    else if (name != "leap")
      throw CLI::ValidationError("--event", "KIND must be leap, step or tai");
    events.push_back(event);
  }
  std::sort(events.begin(), events.end(),
            [](const SimEvent& a, const SimEvent& b) { return a.counter < b.counter; });
  return events;
}

SimOptions sim_options(const Options& options, const std::vector<std::string>& events) {
  SimOptions sim;
  sim.seed = options.seed;
  sim.kernel.frequency_hz = kHz;
  sim.kernel.hz = 100;
  sim.kernel.realtime_ns = options.start_s * kNsPerSecond + kStartFractionNs;
  sim.kernel.tai_offset_s = options.kernel_tai;
  sim.script.max_frequency_ppb = static_cast<std::int64_t>(options.kernel_max_ppb);
  sim.script.mean_interval_s = 30;
  sim.script.planned = parse_events(events);
  sim.publisher.period_ns = options.period_ms * 1'000'000;
  std::string reason;
  const std::optional<Smear> smear = parse_smear(options.smear, &reason);
  if (!smear) throw CLI::ValidationError("--smear", reason);
  sim.publisher.leaps.smear = *smear;
  if (!options.table.empty()) {
    auto table = read_leap_table(options.table);
    if (const auto* error = std::get_if<std::string>(&table))
      throw CLI::ValidationError("--table", *error);
    sim.publisher.leaps.table = std::get<LeapTable>(table);
  }
  // Woken late, now and then too late to steer: bridges, at the leap too.
  sim.counter.typical_late_ticks = kHz / 20'000;
  sim.counter.stall_ticks = kHz / 50;
  sim.counter.stalls_per_wakeup = 0.01;
  return sim;
}

int run(const Options& options, const SimOptions& sim_options) {
  SimHarness sim(sim_options);
  Sampler sampler(sim, options);
  const std::uint64_t start = sim.counter().now();
  const auto after = [start](double s) {
    return s > 1e9 ? ~std::uint64_t{0} : start + static_cast<std::uint64_t>(s * kHz);
  };
  const std::uint64_t end = after(options.run_s);
  const std::uint64_t kill = after(options.kill_s);
  std::vector<double> restarts = options.restart_s;
  std::sort(restarts.rbegin(), restarts.rend());
  while (sim.counter().now() < end) {
    if (!restarts.empty() && sim.counter().now() >= after(restarts.back())) {
      restarts.pop_back();
      sim.restart();
    }
    if (sim.counter().now() >= kill) {
      sim.counter().wait_until(sampler.a_step_on(end));
    } else if (const StepResult result = sim.publisher().step();
               result != StepResult::steered && result != StepResult::bridged) {
      fmt::print(stderr, "leap_samples: the producer stopped\n");
      return 1;
    }
    sampler.sample_until(sim.counter().now());
  }
  const clockpage_diagnostics& told = sim.region().page(0)->diagnostics;
  write(EndRecord{5, kill < end ? 1U : 0U, told.publications, told.bridges, told.late_publications,
                  told.realtime_steps, told.tai_steps, told.monotonic_steps});
  return std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace
}  // namespace clockpage::producer

int main(int argc, char** argv) {
  using namespace clockpage::producer;
  CLI::App app{"Runs a producer through leap seconds; writes what readers were told."};
  Options o;
  std::vector<std::string> events;
  app.add_option("--start", o.start_s, "REALTIME at the start, POSIX seconds")->required();
  app.add_option("--tai", o.tai_s, "TAI - UTC at the start, s")->required();
  app.add_option("--kernel-tai", o.kernel_tai, "The same as the kernel has it; 0: not set");
  app.add_option("--smear", o.smear, "As clockpaged's");
  app.add_option("--table", o.table, "A leap-seconds.list");
  app.add_option("--run-s", o.run_s, "How long")->required();
  app.add_option("--restart-s", o.restart_s, "When another producer takes over");
  app.add_option("--kill-s", o.kill_s, "When the producer dies");
  app.add_option("--kernel-max-ppb", o.kernel_max_ppb, "How hard the kernel is steered");
  app.add_option("--period-ms", o.period_ms, "Length of a segment");
  app.add_option("--seed", o.seed, "Of the kernel's steering and the producer's lateness");
  app.add_option("--window", o.windows_ns, "TAI, ns: readers are asked every ms around it");
  app.add_option("--reach-ns", o.reach_ns, "So far around it");
  app.add_option("--coarse-s", o.coarse_s, "Elsewhere a segment's boundary this often");
  app.add_option("--event", events, "SECONDS:leap|step|tai:VALUE of the kernel's");
  try {
    app.parse(argc, argv);
    return run(o, sim_options(o, events));
  } catch (const CLI::ParseError& e) {
    return app.exit(e);
  }
}
