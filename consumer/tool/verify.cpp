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
#include <vector>

#include "children.hpp"
#include "commands.hpp"
#include "exchange.hpp"
#include "exit_code.hpp"
#include "page.hpp"
#include "recorder.hpp"
#include "run_control.hpp"
#include "stall_meter.hpp"
#include "verify_report.hpp"
#include "whole_file.hpp"

namespace clockpage::tool {
namespace {

constexpr uint64_t kDefaultExchanges = 1'000'000;
constexpr uint64_t kDefaultRecordMax = 1'000'000;  // 80 MB for each process

struct VerifyOptions {
  CommonOptions common;
  std::optional<double> for_seconds;
  std::optional<uint64_t> exchanges;
  unsigned processes = 2;
  bool smeared = false;
  std::string record;  // file; empty: none
  uint64_t record_max = kDefaultRecordMax;
};

struct Shared {
  Exchange exchange;
  std::atomic<uint32_t> readers_ended;
  StallReport stalls;
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
    if (options.record.empty()) return;
    const WholeFile can_be_written(options.record);  // or the run would be for nothing
    recorder_.emplace(options.processes, options.record_max);
  }

  Outcome run();
  const StallReport& stalls() const { return shared_.stalls; }

 private:
  void start(Children& children);
  void take_part(unsigned self);
  void wait(const Children& children, const Deadline& deadline);
  static void join(Children& children, const std::string& file);
  void finish_recording(Children& follower, const clockpage_diagnostics& before);
  Outcome collect(const clockpage_diagnostics& before, double seconds) const;

  const VerifyOptions& options_;
  const Page& page_;
  boost::interprocess::mapped_region memory_;
  Shared& shared_;
  std::vector<int> cpus_;
  std::optional<Recorder> recorder_;
};

void Verification::take_part(unsigned self) {
  Exchange::Result& result = shared_.exchange.result[self];
  try {
    const int cpu = cpus_.empty() ? -1 : pin_to(cpus_[self % cpus_.size()]);
    // Each process maps the region itself, as strangers would.
    const Page page = Page::open(options_.common.directory, options_.smeared);
    RecordLog<HistoryReading>* log = nullptr;
    if (recorder_) {
      recorder_->set_cpu(self, cpu);
      log = &recorder_->log_for_adding(self);
    }
    run_exchange(shared_.exchange, self, cpu, page, log);
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

void Verification::join(Children& children, const std::string& file) {
  if (const std::string crash = children.join(std::chrono::seconds(5)); !crash.empty())
    throw Failure(file, crash);
}

// The follower goes on until the producer has counted whatever was late while there were readings.
void Verification::finish_recording(Children& follower, const clockpage_diagnostics& before) {
  const bool settled = Recorder::settle(page_, std::chrono::milliseconds(500));
  shared_.readers_ended.store(1, std::memory_order_release);
  join(follower, page_.file());
  recorder_->write(options_.record, page_, before, settled);
}

Outcome Verification::run() {
  const clockpage_diagnostics before = page_.diagnostics();
  const Deadline deadline(options_.for_seconds);
  Children follower;
  if (recorder_) follower.start([this] { recorder_->follow(page_, shared_.readers_ended); });
  Children children;
  start(children);
  wait(children, deadline);
  const double seconds = deadline.elapsed_seconds();
  join(children, page_.file());
  Outcome outcome = collect(before, seconds);
  if (recorder_) {
    finish_recording(follower, before);
    outcome.recorded = recorder_->summary();
    outcome.record_file = options_.record;
  }
  return outcome;
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
    total.repeated += tally.repeated;
    total.busy += tally.busy;
    total.errors += tally.errors;
    if (tally.last_error) total.last_error = tally.last_error;
    total.agreements += tally.agreements;
    total.disagreements += tally.disagreements;
    total.overdue_revised += tally.overdue_revised;
    total.again_refused += tally.again_refused;
    total.largest_backward_ns = std::max(total.largest_backward_ns, tally.largest_backward_ns);
    total.largest_overdue_backward_ns =
        std::max(total.largest_overdue_backward_ns, tally.largest_overdue_backward_ns);
    outcome.offences.insert(outcome.offences.end(), tally.offence.begin(),
                            tally.offence.begin() + tally.offences);
    outcome.disagreements.insert(outcome.disagreements.end(), tally.disagreement.begin(),
                                 tally.disagreement.begin() + tally.disagreement_offences);
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

int run_verify(const VerifyOptions& options) {
  say_host_clocks();
  const Page page = Page::open(options.common.directory, options.smeared);
  catch_stop_signals();
  Verification verification(options, page);
  const Outcome outcome = verification.run();
  if (options.common.json)
    print_verify_json(options.processes, page, outcome, verification.stalls());
  else
    print_verify_text(options.processes, page, outcome, verification.stalls());
  std::fflush(stdout);
  judge_verify(page, outcome);
  return kOk;
}

}  // namespace

void add_verify_command(CLI::App& app, Run& run) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = app.add_subcommand(
      "verify",
      "Let processes exchange timestamps through shared memory; exits 1 if one goes backwards "
      "between leased reads, or if two of them evaluate one counter value differently");
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
  command->add_flag("--smeared", options->smeared, "Read the smeared pages");
  auto* record = command
                     ->add_option("--record", options->record,
                                  "Write every reading and every segment to FILE, for `clockpage "
                                  "check-history`")
                     ->type_name("FILE");
  command
      ->add_option("--record-max", options->record_max,
                   "Readings to keep of each process [1000000, of 80 bytes]; the rest is counted")
      ->type_name("N")
      ->needs(record)
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 28).description(""));
  command->callback([&run, options] { run = [options] { return run_verify(*options); }; });
}

}  // namespace clockpage::tool
