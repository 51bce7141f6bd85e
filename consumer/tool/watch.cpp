// SPDX-License-Identifier: MIT
//
// clockpage watch: the page's clock beside the kernel's, live.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <vector>

#include "commands.hpp"
#include "exit_code.hpp"
#include "format.hpp"
#include "kernel_side.hpp"
#include "page.hpp"
#include "page_table.hpp"
#include "run_control.hpp"

namespace clockpage::tool {
namespace {

using Json = nlohmann::ordered_json;

// What page and kernel may differ by beyond the page's own bound.
constexpr int64_t kToleranceNs = 1000;
// A step or a change of frequency reaches the page a little later than the kernel's own readers:
// a difference counts only if it is still there after this.
constexpr std::chrono::milliseconds kSettle{50};

struct WatchOptions {
  CommonOptions common;
  std::optional<double> for_seconds;
  std::optional<int> clock = CLOCKPAGE_REALTIME;
};

// Page and kernel at one counter value.
struct Sample {
  int error = 0;  // of reading the page
  clockpage_time page = {};
  bool kernel_read = false;
  int64_t kernel_ns = 0;
  int64_t allowed_ns = kToleranceNs;
  std::optional<uint64_t> bound_ns;  // of page against its source, not against UTC
  int64_t lease_margin_ns = 0;
  std::optional<PageTable> pages;  // all four, at the same counter value; only of REALTIME

  int64_t difference_ns() const { return page.ns - kernel_ns; }
  bool comparable() const { return !error && kernel_read; }
  bool agrees() const { return std::abs(difference_ns()) <= allowed_ns; }
};

struct Tally {
  uint64_t samples = 0;
  uint64_t agreed = 0;
  uint64_t disagreed = 0;
  uint64_t overdue = 0;
  uint64_t errors = 0;
  uint64_t kernel_unread = 0;
  int64_t max_ns = 0;  // largest |page - kernel| of the samples that counted
  Sample last;
  double seconds = 0;
};

class Watch {
 public:
  Watch(const WatchOptions& options, const Page& page, const KernelSide& kernel)
      : options_(options),
        page_(page),
        kernel_(kernel),
        simulated_(page.source() == "sim"),
        terminal_(!options.common.json && isatty(STDOUT_FILENO) == 1) {}

  Tally run() {
    const Deadline deadline(options_.for_seconds);
    const std::chrono::milliseconds interval(terminal_ ? 200 : 1000);
    Tally tally;
    do {
      Sample sample = take();
      if (!simulated_ && sample.comparable() && !sample.agrees()) {
        deadline.sleep(kSettle);
        sample = take();
      }
      count(sample, tally);
      show(sample);
      deadline.sleep(interval);
    } while (!deadline.passed() && !stop_requested());
    if (terminal_ && !shows_pages()) fmt::print("\n");
    tally.seconds = deadline.elapsed_seconds();
    return tally;
  }

 private:
  Sample take() const;
  void count(const Sample& sample, Tally& tally) const;
  void show(const Sample& sample);
  bool shows_pages() const { return *options_.clock == CLOCKPAGE_REALTIME; }
  std::string line_of(const Sample& sample) const;

  const WatchOptions& options_;
  const Page& page_;
  const KernelSide& kernel_;
  bool simulated_;
  bool terminal_;
  size_t lines_shown_ = 0;  // on the terminal, to be overwritten
};

Sample Watch::take() const {
  Sample sample;
  for (int attempt = 0; attempt < 100; attempt++) {
    const auto kernel = kernel_.sample(*options_.clock);
    sample.kernel_read = kernel.has_value();
    const uint64_t counter = kernel ? kernel->counter : clockpage_counter_ordered();
    sample.kernel_ns = kernel ? kernel->ns : 0;
    sample.error = clockpage_at_bounds(&page_.unscaled(), *options_.clock, counter, &sample.page);
    clockpage_time local = {};
    // MONOTONIC's bound is that of page against source; REALTIME's is against UTC and may be
    // seconds wide.
    if (!sample.error &&
        clockpage_at_bounds(&page_.unscaled(), CLOCKPAGE_MONOTONIC, counter, &local) == 0)
      sample.bound_ns = bound_of(local);
    const auto window = kernel ? page_.ticks_to_ns(static_cast<int64_t>(kernel->window_ticks)) : 0;
    const auto bound =
        static_cast<int64_t>(std::min<uint64_t>(sample.bound_ns.value_or(0), uint64_t{1} << 60));
    sample.allowed_ns = kToleranceNs + bound + window / 2;
    const bool again =
        sample.error == CLOCKPAGE_E_BUSY || sample.error == CLOCKPAGE_E_DISCONTINUITY;
    if (!again && kernel) break;
  }
  if (!sample.error) sample.lease_margin_ns = page_.newest().lease_margin_ns;
  if (shows_pages())
    sample.pages =
        PageTable::of(page_, sample.error ? clockpage_counter_ordered() : sample.page.counter);
  return sample;
}

void Watch::count(const Sample& sample, Tally& tally) const {
  tally.samples++;
  tally.last = sample;
  if (sample.error) {
    tally.errors++;
    return;
  }
  if (sample.page.flags & CLOCKPAGE_TIME_OVERDUE) tally.overdue++;
  if (!sample.kernel_read) {
    tally.kernel_unread++;
    return;
  }
  tally.max_ns = std::max(tally.max_ns, std::abs(sample.difference_ns()));
  (sample.agrees() ? tally.agreed : tally.disagreed)++;
}

std::string Watch::line_of(const Sample& sample) const {
  if (sample.error) return fmt::format("no time: {}", clockpage_strerror(sample.error));
  const std::string page = clock_text(*options_.clock, sample.page.ns);
  std::string line = page;
  if (sample.kernel_read) {
    std::string kernel = clock_text(*options_.clock, sample.kernel_ns);
    // The date is on the line already.
    if (const size_t time = kernel.find('T'); kernel.size() > 20 && time == 10)
      kernel.erase(0, time + 1);
    line += fmt::format("  kernel {}  {:>+3} ns", kernel, sample.difference_ns());
  }
  line += fmt::format("  {}", status_name(sample.page.status));
  if (sample.page.flags & CLOCKPAGE_TIME_OVERDUE)
    line += fmt::format("  overdue {}", duration_text(-sample.lease_margin_ns));
  else
    line += fmt::format("  lease {}", duration_text(sample.lease_margin_ns));
  return line;
}

void Watch::show(const Sample& sample) {
  if (options_.common.json) return;
  std::vector<std::string> lines = {line_of(sample)};
  if (sample.pages)
    for (std::string& line : sample.pages->lines()) lines.push_back(std::move(line));
  if (!terminal_) {
    for (const std::string& line : lines) fmt::print("{}\n", line);
  } else if (lines.size() == 1) {
    fmt::print("\r{}\x1b[K", fit_terminal(lines[0], STDOUT_FILENO));
  } else {
    if (lines_shown_) fmt::print("\x1b[{}A", lines_shown_);
    for (const std::string& line : lines)
      fmt::print("\r{}\x1b[K\n", fit_terminal(line, STDOUT_FILENO));
    lines_shown_ = lines.size();
  }
  std::fflush(stdout);
}

Json json_of(const WatchOptions& options, const Page& page, const KernelSide& kernel,
             const Tally& tally) {
  Json json;
  json["clock"] = clock_name(*options.clock);
  json["samples"] = tally.samples;
  json["agreed"] = tally.agreed;
  json["disagreed"] = tally.disagreed;
  json["max_ns"] = tally.max_ns;
  json["overdue"] = tally.overdue;
  json["errors"] = tally.errors;
  json["kernel_unread"] = tally.kernel_unread;
  json["source"] = kernel.name();
  json["page_source"] = page.source();
  const Sample& last = tally.last;
  json["ns"] = last.error ? Json() : Json(last.page.ns);
  json["kernel_ns"] = last.kernel_read ? Json(last.kernel_ns) : Json();
  json["bound_ns"] = last.bound_ns ? Json(*last.bound_ns) : Json();
  json["status"] = last.error ? Json() : Json(status_name(last.page.status));
  json["lease_margin_ns"] = last.lease_margin_ns;
  if (last.pages) json["pages"] = last.pages->json();
  json["seconds"] = tally.seconds;
  json["file"] = page.file();
  return json;
}

void print_head(const Page& page, const KernelSide& kernel) {
  const NewestSegment newest = page.newest();
  fmt::print("page {} (source {}), kernel's clock through {} ({})\n", page.file(), page.source(),
             kernel.name(), kernel.detail());
  if (newest.segment.status != CLOCKPAGE_STATUS_SYNCHRONISED)
    fmt::print("{}: {}\n", status_name(newest.segment.status), reason_words(newest.segment.reason));
}

// Throws unless the page agreed with the kernel.
void judge(const Page& page, const Tally& tally) {
  if (tally.last.error)
    throw Failure(page.file(), fmt::format("no time: {}", clockpage_strerror(tally.last.error)));
  if (tally.disagreed)
    throw Failure(page.file(),
                  fmt::format("page and kernel differed by up to {} ns: {} of {} samples were more "
                              "than the page's bound and {} ns apart",
                              tally.max_ns, tally.disagreed, tally.samples, kToleranceNs));
  if (!tally.agreed) throw Failure(page.file(), "the kernel's clock could not be read");
  // It may well agree still, but nobody keeps it.
  if (tally.overdue == tally.samples)
    throw Failure(page.file(), "every sample was overdue: nobody publishes");
}

int run_watch(const WatchOptions& options) {
  say_host_clocks();
  const Page page = Page::open(options.common.directory);
  const KernelSide kernel = KernelSide::choose(false);
  const bool simulated = page.source() == "sim";
  catch_stop_signals();
  if (!options.common.json) print_head(page, kernel);
  const Tally tally = Watch(options, page, kernel).run();
  if (options.common.json)
    fmt::print("{}\n", json_of(options, page, kernel, tally).dump(2));
  else
    fmt::print("{:.1f} s, {} samples: largest |page - kernel| {} ns, {} disagreed, {} overdue{}\n",
               tally.seconds, tally.samples, tally.max_ns, tally.disagreed, tally.overdue,
               simulated ? " (not judged: the source is sim, not the kernel's clock)" : "");
  std::fflush(stdout);
  if (!simulated) judge(page, tally);
  return kOk;
}

}  // namespace

void add_watch_command(CLI::App& app, Run& run) {
  auto options = std::make_shared<WatchOptions>();
  CLI::App* command = app.add_subcommand(
      "watch",
      "Show the page's clock beside the kernel's, live, and REALTIME of all four pages; exits 0 if "
      "page and kernel agreed to within the page's bound and 1 us");
  add_common_options(*command, options->common);
  add_for_option(*command, options->for_seconds, "Length of the run [until Ctrl-C]");
  add_clock_option(*command, options->clock, "realtime [default], monotonic, raw, boottime or tai");
  command->callback([&run, options] { run = [options] { return run_watch(*options); }; });
}

}  // namespace clockpage::tool
