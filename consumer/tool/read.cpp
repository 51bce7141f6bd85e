// SPDX-License-Identifier: MIT
//
// clockpage read: the clocks, once, all at one counter value.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <vector>

#include "commands.hpp"
#include "exit_code.hpp"
#include "format.hpp"
#include "page.hpp"
#include "view_options.hpp"
#include "view_state.hpp"

namespace clockpage::tool {
namespace {

struct ReadOptions {
  CommonOptions common;
  std::optional<int> clock;
  bool require_sync = false;
  bool smeared = false;
  ViewOptions view;
};

struct Reading {
  int clock = 0;
  int error = 0;
  clockpage_time time = {};
};

std::vector<Reading> read_clocks(const Page& page, std::optional<int> only) {
  std::vector<Reading> readings;
  // A writer that publishes in every pass is not to be expected twice running.
  for (int attempt = 0; attempt < 100; attempt++) {
    const uint64_t counter = clockpage_counter_ordered();
    bool again = false;
    readings.clear();
    for (int clock : kClocks) {
      if (only && clock != *only) continue;
      Reading reading;
      reading.clock = clock;
      reading.error = page.at_bounds(clock, counter, reading.time);
      again |= reading.error == CLOCKPAGE_E_BUSY || reading.error == CLOCKPAGE_E_DISCONTINUITY ||
               reading.error == CLOCKPAGE_E_DISRUPTED;
      readings.push_back(reading);
    }
    if (!again) break;
  }
  return readings;
}

// What REALTIME is: whose time scale, and where on it.
std::string realtime_words(const Page& page, const clockpage_time& time) {
  std::string text;
  if (time.smear != CLOCKPAGE_SMEAR_NONE) text += ", smear " + smear_text(page.smear());
  if (time.leap_indicator != CLOCKPAGE_LEAP_NONE) text += "; " + leap_words(time.leap_indicator);
  if (time.flags & CLOCKPAGE_TIME_AMBIGUOUS)
    text += time.leap_indicator == CLOCKPAGE_LEAP_JUST_PAST
                ? "; this second is counted twice: the second time, 23:59:60"
                : "; this second is counted twice: the first time";
  if (time.flags & CLOCKPAGE_TIME_HOST_IN_SMEAR) text += "; the host's own clock is being smeared";
  return text;
}

void print_text(const Page& page, const std::vector<Reading>& readings) {
  for (const Reading& reading : readings) {
    const clockpage_time& time = reading.time;
    if (reading.error == CLOCKPAGE_E_TAI_UNKNOWN) {
      fmt::print("{:<9}  unknown: the page does not know TAI - UTC\n", clock_name(reading.clock));
    } else if (reading.error) {
      fmt::print("{:<9}  error: {}\n", clock_name(reading.clock),
                 clockpage_strerror(reading.error));
    } else {
      fmt::print("{:<9}  {:>33}  {:>19} ns  +- {:<10}  {}{}{}\n", clock_name(reading.clock),
                 clock_text(reading.clock, time.ns), time.ns, bound_text(bound_of(time)),
                 status_name(time.status),
                 time.flags & CLOCKPAGE_TIME_OVERDUE ? ", overdue: provisional" : "",
                 reading.clock == CLOCKPAGE_REALTIME ? realtime_words(page, time) : "");
    }
  }
}

nlohmann::ordered_json json_of(const Reading& reading) {
  nlohmann::ordered_json json;
  json["error"] = reading.error;
  if (reading.error) {
    json["error_text"] = clockpage_strerror(reading.error);
    return json;
  }
  const clockpage_time& time = reading.time;
  const auto bound = bound_of(time);
  json["ns"] = time.ns;
  json["bound_ns"] = bound ? nlohmann::ordered_json(*bound) : nlohmann::ordered_json();
  json["earliest_ns"] = bound ? nlohmann::ordered_json(time.earliest_ns) : nlohmann::ordered_json();
  json["latest_ns"] = bound ? nlohmann::ordered_json(time.latest_ns) : nlohmann::ordered_json();
  json["counter"] = time.counter;
  json["epoch"] = time.epoch;
  json["status"] = status_name(time.status);
  json["reason"] = reason_name(time.reason);
  json["overdue"] = (time.flags & CLOCKPAGE_TIME_OVERDUE) != 0;
  json["leap_indicator"] = leap_name(time.leap_indicator);
  json["ambiguous"] = (time.flags & CLOCKPAGE_TIME_AMBIGUOUS) != 0;
  json["host_in_smear"] = (time.flags & CLOCKPAGE_TIME_HOST_IN_SMEAR) != 0;
  return json;
}

int run_read(const ReadOptions& options) {
  const Page page = Page::open(options.common.directory, options.view, options.smeared, false);
  const std::vector<Reading> readings = read_clocks(page, options.clock);
  if (options.common.json) {
    nlohmann::ordered_json json;
    json["file"] = page.file();
    if (page.has_view()) json["view"] = json_of_view(page);
    json["smear"] = smear_text(page.smear());
    for (const Reading& reading : readings)
      json["clocks"][std::string(clock_name(reading.clock))] = json_of(reading);
    fmt::print("{}\n", json.dump(2));
  } else {
    print_text(page, readings);
  }
  for (const Reading& reading : readings)
    if (reading.error && reading.error != CLOCKPAGE_E_TAI_UNKNOWN)
      throw Failure(page.file(), clockpage_strerror(reading.error));
  if (!options.require_sync) return kOk;
  clockpage_time time = {};
  if (int error = page.at_bounds(CLOCKPAGE_REALTIME, clockpage_counter_ordered(), time); error)
    throw Failure(page.file(), clockpage_strerror(error));
  return require_synchronised(page, time.status, time.reason, time.flags & CLOCKPAGE_TIME_OVERDUE);
}

}  // namespace

void add_read_command(CLI::App& app, Run& run) {
  auto options = std::make_shared<ReadOptions>();
  CLI::App* command = app.add_subcommand("read", "Read the clocks once");
  add_common_options(*command, options->common);
  add_clock_option(*command, options->clock,
                   "Only this clock: realtime, tai, monotonic, raw or boottime");
  command->add_flag("--smeared", options->smeared, "Read the smeared page");
  command->add_flag("--require-sync", options->require_sync, "Exit 3 unless synchronised");
  add_view_options(*command, options->view);
  command->callback([&run, options] {
    if (options->smeared && names_view(options->view))
      throw CLI::ValidationError("--smeared",
                                 "the view (--view, $CLOCKPAGE_VIEW) says which page is read");
    run = [options] { return run_read(*options); };
  });
}

}  // namespace clockpage::tool
