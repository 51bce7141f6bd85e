// SPDX-License-Identifier: MIT
//
// clockpage compare: the page against the kernel's clock at the same counter value.
#include <fmt/format.h>
#include <sys/prctl.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>

#include "commands.hpp"
#include "exit_code.hpp"
#include "format.hpp"
#include "kernel_side.hpp"
#include "leap_lag.hpp"
#include "number_option.hpp"
#include "page.hpp"
#include "run_control.hpp"
#include "statistics.hpp"
#include "view_options.hpp"
#include "view_state.hpp"

namespace clockpage::tool {
namespace {

using Json = nlohmann::ordered_json;

struct CompareOptions {
  CommonOptions common;
  std::optional<double> for_seconds = 10.0;
  std::optional<int> clock = CLOCKPAGE_REALTIME;
  bool bracket = false;
  ViewOptions view;
  double interval_us = 100;
  std::optional<uint64_t> max_median_ns;
  std::optional<uint64_t> max_p999_ns;
};

struct Comparison {
  Histogram difference;     // page - kernel, ns, of all samples
  Histogram window;         // ns; bracket only
  uint64_t overdue = 0;     // samples past the page's lease: counted, and compared all the same
  uint64_t busy = 0;        // readings that the page refused as busy
  uint64_t errors = 0;      // readings that the page refused otherwise
  int last_error = 0;       // of those
  uint64_t no_kernel = 0;   // the kernel's side could not be read
  uint64_t epochs = 0;      // changes of the page's epoch between samples
  uint64_t leap_lag = 0;    // samples that differ by a leap second which the kernel had yet to take
  int64_t leap_lag_ns = 0;  // of those: the longest after it
  uint64_t bounded = 0;     // samples that the page had a bound for
  uint64_t outside = 0;     // of those: the kernel's time was not within it, nor its own window
  int64_t widest_ns = 0;    // of those: the widest bound, half-width
  double seconds = 0;
};

class Comparer {
 public:
  Comparer(const Page& page, const KernelSide& kernel, int clock, Comparison& result)
      : page_(page), kernel_(kernel), clock_(clock), result_(result) {}

  void sample() {
    const auto kernel = kernel_.sample(clock_);
    if (!kernel) {
      result_.no_kernel++;
      return;
    }
    clockpage_time time = {};
    const int error = page_.at_bounds(clock_, kernel->counter, time);
    if (error) {
      (error == CLOCKPAGE_E_BUSY ? result_.busy : result_.errors)++;
      if (error != CLOCKPAGE_E_BUSY) result_.last_error = error;
      return;
    }
    if (time.flags & CLOCKPAGE_TIME_OVERDUE) result_.overdue++;
    if (result_.difference.count() && time.epoch != epoch_) result_.epochs++;
    epoch_ = time.epoch;
    if (lags(time, *kernel)) return;
    result_.difference.add(time.ns - kernel->ns);
    if (time.latest_ns != INT64_MAX) count_bound(time, *kernel);
    if (!kernel_.exact())
      result_.window.add(page_.ticks_to_ns(static_cast<int64_t>(kernel->window_ticks)));
  }

 private:
  // Apart from all others: they would be the largest difference, and are none of the page's.
  bool lags(const clockpage_time& time, const KernelSample& kernel) {
    constexpr int64_t kHalfASecond = 500'000'000;
    const int64_t difference = time.ns - kernel.ns;
    if (clock_ != CLOCKPAGE_REALTIME || std::abs(difference) < kHalfASecond) return false;
    const auto since = leap_lag(page_.newest().segment, time.ns, difference);
    if (!since) return false;
    result_.leap_lag++;
    result_.leap_lag_ns = std::max(result_.leap_lag_ns, *since);
    return true;
  }

  void count_bound(const clockpage_time& time, const KernelSample& kernel) {
    const int64_t unsure = page_.ticks_to_ns(static_cast<int64_t>(kernel.window_ticks)) / 2;
    result_.bounded++;
    result_.widest_ns = std::max(result_.widest_ns, time.latest_ns - time.ns);
    if (kernel.ns < time.earliest_ns - unsure || kernel.ns > time.latest_ns + unsure)
      result_.outside++;
  }

  const Page& page_;
  const KernelSide& kernel_;
  int clock_;
  Comparison& result_;
  uint64_t epoch_ = 0;  // of the sample before
};

std::unique_ptr<Comparison> compare(const CompareOptions& options, const Page& page,
                                    const KernelSide& kernel) {
  auto result = std::make_unique<Comparison>();
  Comparer comparer(page, kernel, *options.clock, *result);
  // Not in step with the kernel's tick, nor with the page's period.
  std::minstd_rand random(std::random_device{}());
  std::uniform_real_distribution<double> jitter(0.5, 1.5);
  prctl(PR_SET_TIMERSLACK, 1UL);
  const Deadline deadline(options.for_seconds);
  Progress progress;
  while (!deadline.passed() && !stop_requested()) {
    comparer.sample();
    if (options.interval_us > 0)
      deadline.sleep(std::chrono::nanoseconds(
          static_cast<int64_t>(options.interval_us * 1000 * jitter(random))));
    if (progress.active())
      progress.show(fmt::format("{:.0f} of {:.0f} s, {} samples", deadline.elapsed_seconds(),
                                *options.for_seconds, result->difference.count()));
  }
  result->seconds = deadline.elapsed_seconds();
  return result;
}

void print_text(const CompareOptions& options, const Page& page, const KernelSide& kernel,
                const Comparison& result) {
  const Histogram& difference = result.difference;
  const clockpage_diagnostics words = page.diagnostics();
  fmt::print("page - kernel, {}, {} samples in {:.1f} s\n", clock_name(*options.clock),
             difference.count(), result.seconds);
  fmt::print("kernel side   {} ({}){}\n", kernel.name(), kernel.detail(),
             page.has_view() ? ", of this time namespace" : "");
  if (page.has_view()) fmt::print("view          {}\n", page.view_file());
  fmt::print("page's side   source {}, period {}, lead {}\n", page.source(),
             duration_text(static_cast<int64_t>(words.period_ns)),
             duration_text(static_cast<int64_t>(words.lead_ns)));
  fmt::print("|difference|  median {} ns, p99.9 {} ns, max {} ns\n",
             difference.magnitude_quantile(500'000), difference.magnitude_quantile(999'000),
             difference.max_magnitude());
  fmt::print("signed        median {} ns, from {} to {} ns\n", difference.quantile(500'000),
             difference.min(), difference.max());
  if (result.bounded)
    fmt::print("bounds        {} of {} outside of the page's own (a step lags), the widest {}\n",
               result.outside, result.bounded, duration_text(result.widest_ns));
  else
    fmt::print("bounds        the page gave none\n");
  if (!kernel.exact())
    fmt::print("window        median {} ns, p99.9 {} ns: differences are known to half of this\n",
               result.window.quantile(500'000), result.window.quantile(999'000));
  fmt::print(
      "not leased    {} overdue; refused: {} busy, {} errors{}; kernel side unread: {}\n",
      result.overdue, result.busy, result.errors,
      result.last_error ? fmt::format(" (last: {})", clockpage_strerror(result.last_error)) : "",
      result.no_kernel);
  if (result.epochs) fmt::print("steps         the epoch changed {} times\n", result.epochs);
  if (result.leap_lag)
    fmt::print(
        "leap second   {} samples, up to {} after it, before the kernel took it: not counted\n",
        result.leap_lag, duration_text(result.leap_lag_ns));
  fmt::print("{}", histogram_text(difference));
}

Json json_of(const CompareOptions& options, const Page& page, const KernelSide& kernel,
             const Comparison& result) {
  const Histogram& difference = result.difference;
  Json json;
  json["clock"] = clock_name(*options.clock);
  json["samples"] = difference.count();
  json["median_ns"] = difference.magnitude_quantile(500'000);
  json["p999_ns"] = difference.magnitude_quantile(999'000);
  json["max_ns"] = difference.max_magnitude();
  json["median_signed_ns"] = difference.quantile(500'000);
  json["min_signed_ns"] = difference.min();
  json["max_signed_ns"] = difference.max();
  json["source"] = kernel.name();
  json["source_detail"] = kernel.detail();
  if (!kernel.exact()) {
    json["window_median_ns"] = result.window.quantile(500'000);
    json["window_p999_ns"] = result.window.quantile(999'000);
  }
  json["bounded"] = result.bounded;
  json["outside_bounds"] = result.outside;
  json["widest_bound_ns"] = result.widest_ns;
  json["page_source"] = page.source();
  json["overdue"] = result.overdue;
  json["busy"] = result.busy;
  json["errors"] = result.errors;
  json["kernel_unread"] = result.no_kernel;
  json["epoch_changes"] = result.epochs;
  json["leap_lag"] = result.leap_lag;
  json["leap_lag_ns"] = result.leap_lag_ns;
  json["seconds"] = result.seconds;
  json["file"] = page.file();
  if (page.has_view()) json["view"] = json_of_view(page);
  return json;
}

void require_within(const Page& page, const char* what, uint64_t value,
                    std::optional<uint64_t> limit) {
  if (limit && value > *limit)
    throw Failure(page.file(), fmt::format("{} of |page - kernel| is {} ns, more than {} ns", what,
                                           value, *limit));
}

int run_compare(const CompareOptions& options) {
  // A view has the clocks of where it is used, a page the host's.
  const Page page = Page::open(options.common.directory, options.view, false, true);
  page.require_kernel_source("there is nothing to compare it with");
  const KernelSide kernel = KernelSide::choose(
      options.bracket, page.has_view() ? KernelSide::Whose::kOwn : KernelSide::Whose::kHosts);
  catch_stop_signals();
  const auto result = compare(options, page, kernel);
  if (!result->difference.count())
    throw Failure(page.file(),
                  fmt::format("no sample could be taken: {}",
                              result->last_error ? clockpage_strerror(result->last_error)
                                                 : "the kernel's clock could not be read"));
  if (options.common.json)
    fmt::print("{}\n", json_of(options, page, kernel, *result).dump(2));
  else
    print_text(options, page, kernel, *result);
  require_within(page, "the median", result->difference.magnitude_quantile(500'000),
                 options.max_median_ns);
  require_within(page, "p99.9", result->difference.magnitude_quantile(999'000),
                 options.max_p999_ns);
  return kOk;
}

}  // namespace

void add_compare_command(CLI::App& app, Run& run) {
  auto options = std::make_shared<CompareOptions>();
  CLI::App* command = app.add_subcommand(
      "compare", "Compare the page with the kernel's clock at the same counter value");
  add_common_options(*command, options->common);
  add_view_options(*command, options->view);
  add_for_option(*command, options->for_seconds, "Length of the run [10]");
  add_clock_option(*command, options->clock, "realtime [default], monotonic, raw, boottime or tai");
  command
      ->add_option_function<std::string>(
          "--source", [options](const std::string& name) { options->bracket = name == "bracket"; },
          "How to read the kernel's side: vvar [default; bracket if it cannot be proven] or "
          "bracket")
      ->type_name("NAME")
      ->check(CLI::IsMember({"vvar", "bracket"}).description(""));
  command
      ->add_option("--interval-us", options->interval_us,
                   "Mean time between samples, jittered by half of it; 0: no pause [100]")
      ->type_name("US")
      ->check(number_within(0, 1e9).description(""));
  command
      ->add_option("--max-median-ns", options->max_median_ns,
                   "Exit 1 if the median of |page - kernel| is larger")
      ->type_name("NS")
      ->check(number_within(0, 1e18).description(""));
  command->add_option("--max-p999-ns", options->max_p999_ns, "Exit 1 if p99.9 is larger")
      ->type_name("NS")
      ->check(number_within(0, 1e18).description(""));
  command->callback([&run, options] { run = [options] { return run_compare(*options); }; });
}

}  // namespace clockpage::tool
