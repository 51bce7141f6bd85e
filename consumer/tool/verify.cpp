// SPDX-License-Identifier: MIT
//
// clockpage verify: processes on different CPUs exchange timestamps; none may go backwards.
#include <fmt/format.h>
#include <sched.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/interprocess/anonymous_shared_memory.hpp>
#include <boost/interprocess/mapped_region.hpp>
#include <new>
#include <nlohmann/json.hpp>
#include <vector>

#include "children.hpp"
#include "commands.hpp"
#include "exchange.hpp"
#include "exit_code.hpp"
#include "format.hpp"
#include "page.hpp"
#include "run_control.hpp"
#include "stall_meter.hpp"

namespace clockpage::tool {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kDefaultExchanges = 1'000'000;

struct VerifyOptions {
  CommonOptions common;
  std::optional<double> for_seconds;
  std::optional<uint64_t> exchanges;
  unsigned processes = 2;
};

struct Shared {
  Exchange exchange;
  StallReport stalls;
};

struct Outcome {
  ExchangeTally total;
  std::vector<Offence> offences;
  uint64_t late = 0;         // late publications during the run
  uint64_t late_max_ns = 0;  // of the producer's life
  int64_t min_margin_ns = 0;
  double seconds = 0;
};

std::vector<int> allowed_cpus() {
  cpu_set_t set;
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  return cpus;
}

// -1 where pinning is not permitted.
int pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  return sched_setaffinity(0, sizeof set, &set) == 0 ? cpu : -1;
}

class Verification {
 public:
  Verification(const VerifyOptions& options, const Page& page)
      : options_(options),
        page_(page),
        memory_(boost::interprocess::anonymous_shared_memory(sizeof(Shared))),
        shared_(*new (memory_.get_address()) Shared()),
        cpus_(allowed_cpus()) {
    shared_.exchange.processes = options.processes;
    // With more processes than CPUs the next one often waits for this one's CPU.
    if (options.processes > cpus_.size()) shared_.exchange.spins = 20;
    if (options.exchanges || !options.for_seconds)
      shared_.exchange.target = options.exchanges.value_or(kDefaultExchanges);
  }

  Outcome run();
  const StallReport& stalls() const { return shared_.stalls; }

 private:
  void start(Children& children);
  void take_part(unsigned self);
  void wait(const Children& children, const Deadline& deadline);
  Outcome collect(const clockpage_diagnostics& before, double seconds) const;

  const VerifyOptions& options_;
  const Page& page_;
  boost::interprocess::mapped_region memory_;
  Shared& shared_;
  std::vector<int> cpus_;
};

void Verification::take_part(unsigned self) {
  Exchange::Result& result = shared_.exchange.result[self];
  try {
    const int cpu = cpus_.empty() ? -1 : pin_to(cpus_[self % cpus_.size()]);
    // Each process maps the region itself, as strangers would.
    const Page page = Page::open(options_.common.directory);
    run_exchange(shared_.exchange, self, cpu, page);
  } catch (const std::exception& error) {
    const std::string text = error.what();
    std::copy_n(text.data(), std::min(text.size(), result.failure.size() - 1),
                result.failure.data());
    shared_.exchange.stop.store(1);
  }
}

void Verification::start(Children& children) {
  children.start([this] { measure_stalls(shared_.stalls, shared_.exchange.stop); });
  for (unsigned self = 0; self < options_.processes; self++)
    children.start([this, self] { take_part(self); });
}

void Verification::wait(const Children& children, const Deadline& deadline) {
  Exchange& exchange = shared_.exchange;
  Progress progress;
  while (!exchange.stop.load() && !stop_requested() && !deadline.passed()) {
    deadline.sleep(std::chrono::milliseconds(20));
    if (const std::string crash = children.crashed(); !crash.empty()) {
      exchange.stop.store(1);
      throw Failure(page_.file(), crash);
    }
    if (exchange.target)
      progress.show(fmt::format(
          "{:.0f} %: {} of {} exchanges, {:.0f} s",
          100.0 * static_cast<double>(exchange.passed()) / static_cast<double>(exchange.target),
          exchange.passed(), exchange.target, deadline.elapsed_seconds()));
    else
      progress.show(fmt::format("{:.0f} of {:.0f} s, {} exchanges", deadline.elapsed_seconds(),
                                *options_.for_seconds, exchange.passed()));
  }
  exchange.stop.store(1);
}

Outcome Verification::run() {
  const clockpage_diagnostics before = page_.diagnostics();
  const Deadline deadline(options_.for_seconds);
  Children children;
  start(children);
  wait(children, deadline);
  const double seconds = deadline.elapsed_seconds();
  if (const std::string crash = children.join(std::chrono::seconds(5)); !crash.empty())
    throw Failure(page_.file(), crash);
  return collect(before, seconds);
}

Outcome Verification::collect(const clockpage_diagnostics& before, double seconds) const {
  Outcome outcome;
  ExchangeTally& total = outcome.total;
  for (unsigned i = 0; i < options_.processes; i++) {
    const Exchange::Result& result = shared_.exchange.result[i];
    if (result.failure[0]) throw Failure("", result.failure.data());
    const ExchangeTally& tally = result.tally;
    total.exchanges += tally.exchanges;
    total.leased += tally.leased;
    total.least_step_ns = std::min(total.least_step_ns, tally.least_step_ns);
    total.reads += tally.reads;
    total.overdue += tally.overdue;
    total.backward += tally.backward;
    total.overdue_backward += tally.overdue_backward;
    total.other_epoch += tally.other_epoch;
    total.busy += tally.busy;
    total.errors += tally.errors;
    if (tally.last_error) total.last_error = tally.last_error;
    total.largest_backward_ns = std::max(total.largest_backward_ns, tally.largest_backward_ns);
    total.largest_overdue_backward_ns =
        std::max(total.largest_overdue_backward_ns, tally.largest_overdue_backward_ns);
    outcome.offences.insert(outcome.offences.end(), tally.offence.begin(),
                            tally.offence.begin() + tally.offences);
  }
  const clockpage_diagnostics after = page_.diagnostics();
  // Another producer may have begun to count anew.
  outcome.late = after.late_publications >= before.late_publications
                     ? after.late_publications - before.late_publications
                     : after.late_publications;
  outcome.late_max_ns = after.late_max_ns;
  outcome.min_margin_ns = after.min_margin_ns;
  outcome.seconds = seconds;
  return outcome;
}

std::string text_of(const Reading& reading) {
  return fmt::format("{} {} ns, {} counter {}, index {}, epoch {}, CPU {}",
                     clock_name(reading.clock), reading.ns,
                     reading.format == CLOCKPAGE_FORMAT_SCALED ? "scaled" : "unscaled",
                     reading.counter, reading.index, reading.epoch, reading.cpu);
}

void print_offences(const std::vector<Offence>& offences) {
  for (const Offence& offence : offences)
    fmt::print(stderr, "backward by {} ns at exchange {}:\n  received {}\n  own      {}\n",
               offence.received.ns - offence.own.ns, offence.message, text_of(offence.received),
               text_of(offence.own));
}

double lost_share(const StallReport& stalls) {
  return stalls.elapsed_ns
             ? static_cast<double>(stalls.lost_ns) / static_cast<double>(stalls.elapsed_ns)
             : 0.0;
}

void print_text(const VerifyOptions& options, const Page& page, const Outcome& outcome,
                const StallReport& stalls) {
  const ExchangeTally& total = outcome.total;
  const clockpage_diagnostics words = page.diagnostics();
  const Histogram& latency = stalls.latency_ns;
  const auto reads = static_cast<double>(std::max<uint64_t>(total.reads, 1));
  fmt::print("exchanges     {} in {:.1f} s ({:.2f} million/s), {} processes, unscaled and scaled\n",
             total.exchanges, outcome.seconds,
             static_cast<double>(total.exchanges) / outcome.seconds / 1e6, options.processes);
  fmt::print("backward      {} of {} between leased reads, the largest {} ns\n", total.backward,
             total.leased, total.largest_backward_ns);
  if (total.leased)
    fmt::print(
        "resolution    the closest two leased readings were {} ns apart: smaller disagreements "
        "do not show\n",
        total.least_step_ns);
  fmt::print(
      "overdue       {} of {} reads ({:.1f} in a million); backward with one of them {}, "
      "the largest {} ns\n",
      total.overdue, total.reads, 1e6 * static_cast<double>(total.overdue) / reads,
      total.overdue_backward, total.largest_overdue_backward_ns);
  fmt::print(
      "refused       {} busy, {} errors{}; other epoch, not compared: {}\n", total.busy,
      total.errors,
      total.last_error ? fmt::format(" (last: {})", clockpage_strerror(total.last_error)) : "",
      total.other_epoch);
  fmt::print("producer      source {}, period {}; late {} times, smallest margin {}\n",
             page.source(), duration_text(static_cast<int64_t>(words.period_ns)), outcome.late,
             outcome.min_margin_ns == INT64_MAX ? "unknown" : duration_text(outcome.min_margin_ns));
  fmt::print(
      "machine       {} thread every 1 ms woke late by p50 {}, p99.9 {}, max {}; {:.3f} % of "
      "the time lost\n",
      stalls.real_time ? "a real-time" : "an ordinary (no real-time permitted)",
      duration_text(latency.quantile(500'000)), duration_text(latency.quantile(999'000)),
      duration_text(latency.max()), 100.0 * lost_share(stalls));
}

Json json_of(const VerifyOptions& options, const Page& page, const Outcome& outcome,
             const StallReport& stalls) {
  const ExchangeTally& total = outcome.total;
  Json json;
  json["exchanges"] = total.exchanges;
  json["backward"] = total.backward;
  json["overdue"] = total.overdue;
  json["overdue_backward"] = total.overdue_backward;
  json["late"] = outcome.late;
  json["min_margin_ns"] = outcome.min_margin_ns;
  json["largest_backward_ns"] = total.largest_backward_ns;
  json["largest_overdue_backward_ns"] = total.largest_overdue_backward_ns;
  json["leased"] = total.leased;
  json["least_step_ns"] = total.leased ? Json(total.least_step_ns) : Json();
  json["reads"] = total.reads;
  json["busy"] = total.busy;
  json["errors"] = total.errors;
  json["other_epoch"] = total.other_epoch;
  json["late_max_ns"] = outcome.late_max_ns;
  json["processes"] = options.processes;
  json["seconds"] = outcome.seconds;
  json["exchanges_per_second"] = static_cast<double>(total.exchanges) / outcome.seconds;
  json["page_source"] = page.source();
  json["file"] = page.file();
  Json& machine = json["stalls"];
  machine["policy"] = stalls.real_time ? "fifo" : "other";
  machine["wakeups"] = stalls.latency_ns.count();
  machine["p50_us"] = static_cast<double>(stalls.latency_ns.quantile(500'000)) / 1e3;
  machine["p999_us"] = static_cast<double>(stalls.latency_ns.quantile(999'000)) / 1e3;
  machine["max_us"] = static_cast<double>(stalls.latency_ns.max()) / 1e3;
  machine["lost_share"] = lost_share(stalls);
  return json;
}

// Throws unless the run showed that leased reads are in order.
void judge(const Page& page, const Outcome& outcome) {
  const ExchangeTally& total = outcome.total;
  if (total.backward) {
    print_offences(outcome.offences);
    throw Failure(page.file(),
                  fmt::format("{} backward steps between leased reads, the largest {} ns",
                              total.backward, total.largest_backward_ns));
  }
  if (total.leased) return;
  std::string reason = "nothing was exchanged";
  if (total.exchanges) reason = "no two leased readings were exchanged: nothing is shown";
  if (total.last_error) reason += fmt::format(": {}", clockpage_strerror(total.last_error));
  throw Failure(page.file(), reason);
}

int run_verify(const VerifyOptions& options) {
  const Page page = Page::open(options.common.directory);
  catch_stop_signals();
  Verification verification(options, page);
  const Outcome outcome = verification.run();
  if (options.common.json)
    fmt::print("{}\n", json_of(options, page, outcome, verification.stalls()).dump(2));
  else
    print_text(options, page, outcome, verification.stalls());
  std::fflush(stdout);
  judge(page, outcome);
  return kOk;
}

}  // namespace

void add_verify_command(CLI::App& app, Run& run) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = app.add_subcommand(
      "verify",
      "Let processes exchange timestamps through shared memory; exits 1 if one goes backwards "
      "between leased reads");
  add_common_options(*command, options->common);
  add_for_option(*command, options->for_seconds, "Longest time to run");
  command
      ->add_option("--exchanges", options->exchanges,
                   "End after so many [1000000; without end if --for is given]")
      ->type_name("N")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 60).description(""));
  command->add_option("--processes", options->processes, "How many processes, 2 to 64 [2]")
      ->type_name("N")
      ->check(CLI::Range(2u, kMaxProcesses).description(""));
  command->callback([&run, options] { run = [options] { return run_verify(*options); }; });
}

}  // namespace clockpage::tool
