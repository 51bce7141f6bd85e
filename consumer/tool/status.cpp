// SPDX-License-Identifier: MIT
//
// clockpage status: the state of the page, and why it is in it.
#include <errno.h>
#include <fmt/format.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "commands.hpp"
#include "exit_code.hpp"
#include "format.hpp"
#include "leap_state.hpp"
#include "page.hpp"
#include "view_options.hpp"
#include "view_state.hpp"

namespace clockpage::tool {
namespace {

using Json = nlohmann::ordered_json;

struct StatusOptions {
  CommonOptions common;
  bool require_sync = false;
  ViewOptions view;
};

enum class Producer { kEnded, kAlive, kGone };

// By its pid, so it is asked of this pid namespace: in a container "gone" may mean elsewhere.
Producer producer_of(uint64_t pid) {
  if (pid == 0) return Producer::kEnded;
  if (pid > INT32_MAX) return Producer::kGone;
  const bool exists = kill(static_cast<pid_t>(pid), 0) == 0 || errno == EPERM;
  return exists ? Producer::kAlive : Producer::kGone;
}

struct State {
  NewestSegment newest;
  clockpage_diagnostics diagnostics = {};
  LeapState leap;
  Producer producer = Producer::kEnded;
  int error = 0;  // of reading REALTIME
  clockpage_time realtime = {};
  clockpage_time monotonic = {};

  bool overdue() const { return newest.lease_margin_ns <= 0; }
  bool tai_known() const { return leap.tai_known(); }
  uint8_t status() const {
    return error ? static_cast<uint8_t>(CLOCKPAGE_STATUS_UNRELIABLE) : realtime.status;
  }
};

State state_of(const Page& page) {
  State state;
  state.newest = page.newest();
  state.leap = LeapState::of(page, state.newest.counter);
  state.diagnostics = state.leap.diagnostics;
  state.producer = producer_of(state.diagnostics.producer_pid);
  // At the very counter value the lease was judged by, so that the two agree.
  state.error = page.at_bounds(CLOCKPAGE_REALTIME, state.newest.counter, state.realtime);
  if (!state.error)
    state.error = page.at_bounds(CLOCKPAGE_MONOTONIC, state.newest.counter, state.monotonic);
  return state;
}

std::string producer_words(const State& state) {
  switch (state.producer) {
    case Producer::kEnded:
      return "ended cleanly";
    case Producer::kAlive:
      return fmt::format("pid {}, alive", state.diagnostics.producer_pid);
    case Producer::kGone:
      return fmt::format("pid {}, gone (or in another pid namespace)",
                         state.diagnostics.producer_pid);
  }
  return "";
}

// One sentence: why the page is in the state it is in.
std::string why(const State& state) {
  if (state.newest.revoked) return "no time can be read: " + revoked_words(state.newest.revoked);
  if (state.error) return fmt::format("no time can be read: {}", clockpage_strerror(state.error));
  if (state.overdue()) {
    const std::string since = duration_text(-state.newest.lease_margin_ns);
    if (state.producer == Producer::kEnded)
      return fmt::format("the lease ended {} ago: the producer ended cleanly", since);
    if (state.producer == Producer::kAlive)
      return fmt::format("the lease ended {} ago: the producer is alive, but late or stopped",
                         since);
    return fmt::format("the lease ended {} ago: the producer is gone without a word", since);
  }
  if (state.newest.segment.reason == CLOCKPAGE_REASON_NONE &&
      state.realtime.status == CLOCKPAGE_STATUS_SYNCHRONISED)
    return "the source says that it is synchronised";
  return reason_words(state.newest.segment.reason);
}

void print_region(const Page& page) {
  const clockpage_directory_page& directory = page.directory();
  fmt::print("region        {} ({})\n", page.file(),
             page.sealed() ? "sealed memory" : "a file: its owner could truncate it");
  fmt::print("              ABI {}.{}, generation {:016x}\n", directory.abi_major,
             directory.abi_minor, directory.generation);
  fmt::print("host          {}\n", uuid_text(directory.host_id));
  fmt::print("boot          {}\n", uuid_text(directory.boot_id));
  fmt::print("counter       {} Hz, in steps of {} tick{}\n", directory.counter_frequency_hz,
             directory.counter_quantum_ticks, directory.counter_quantum_ticks == 1 ? "" : "s");
}

void print_state(const Page& page, const State& state) {
  const clockpage_diagnostics& words = state.diagnostics;
  fmt::print("status        {}: {}\n", status_name(state.status()), why(state));
  fmt::print("lease         {} {}\n", duration_text(std::abs(state.newest.lease_margin_ns)),
             state.overdue() ? "overdue" : "left");
  fmt::print("revoked       {}\n",
             state.newest.revoked ? revoked_words(state.newest.revoked) : "no");
  fmt::print("bounds        REALTIME +- {}, MONOTONIC +- {}\n",
             state.error ? "unknown" : bound_text(bound_of(state.realtime)),
             state.error ? "unknown" : bound_text(bound_of(state.monotonic)));
  print_leap_state(state.leap);
  fmt::print("epoch         {} (steps: REALTIME {}, TAI {}, MONOTONIC {})\n",
             state.newest.segment.epoch, words.realtime_steps, words.tai_steps,
             words.monotonic_steps);
  fmt::print("producer      {}; took this region over {} time{}\n", producer_words(state),
             words.adoptions, words.adoptions == 1 ? "" : "s");
  fmt::print("source        {}; page - source {} when last looked at\n",
             page.source().empty() ? "(none named)" : page.source(),
             duration_text(words.source_error_ns));
  fmt::print("period, lead  {}, {}\n", duration_text(static_cast<int64_t>(words.period_ns)),
             duration_text(static_cast<int64_t>(words.lead_ns)));
  fmt::print("published     {} segments, {} of them bridges\n", words.publications, words.bridges);
  fmt::print("late          {} (largest possible disagreement {}), smallest margin {}\n",
             words.late_publications, duration_text(static_cast<int64_t>(words.late_max_ns)),
             words.min_margin_ns == INT64_MAX ? "unknown" : duration_text(words.min_margin_ns));
}

Json bound_json(const State& state, const clockpage_time& time) {
  const auto bound = bound_of(time);
  return state.error || !bound ? Json() : Json(*bound);
}

Json json_of_diagnostics(const State& state) {
  const clockpage_diagnostics& words = state.diagnostics;
  Json json;
  json["producer_pid"] = words.producer_pid;
  json["producer_alive"] = state.producer == Producer::kAlive;
  json["adoptions"] = words.adoptions;
  json["period_ns"] = words.period_ns;
  json["lead_ns"] = words.lead_ns;
  json["publications"] = words.publications;
  json["bridges"] = words.bridges;
  json["late"] = words.late_publications;
  json["late_max_ns"] = words.late_max_ns;
  json["min_margin_ns"] = words.min_margin_ns;
  json["realtime_steps"] = words.realtime_steps;
  json["tai_steps"] = words.tai_steps;
  json["monotonic_steps"] = words.monotonic_steps;
  json["source_error_ns"] = words.source_error_ns;
  json["source_max_error_ns"] = words.source_max_error_ns == CLOCKPAGE_BOUND_UNKNOWN
                                    ? Json()
                                    : Json(words.source_max_error_ns);
  json["source_frequency_hz"] = words.source_frequency_hz;
  return json;
}

Json json_of(const Page& page, const State& state) {
  const clockpage_directory_page& directory = page.directory();
  const clockpage_segment& segment = state.newest.segment;
  Json json;
  json["file"] = page.file();
  json["sealed"] = page.sealed();
  if (page.has_view()) json["view"] = json_of_view(page);
  json["status"] = status_name(state.status());
  json["reason"] = reason_name(segment.reason);
  json["why"] = why(state);
  json["synchronised"] = !state.error && state.status() == CLOCKPAGE_STATUS_SYNCHRONISED;
  json["error"] = state.error;
  json["revoked"] = state.newest.revoked;
  json["overdue"] = state.overdue();
  json["lease_margin_ns"] = state.newest.lease_margin_ns;
  json["source"] = page.source();
  json.update(json_of_diagnostics(state));
  json["epoch"] = segment.epoch;
  json["index"] = state.newest.index;
  json["realtime_bound_ns"] = bound_json(state, state.realtime);
  json["monotonic_bound_ns"] = bound_json(state, state.monotonic);
  json["tai_known"] = state.tai_known();
  json["utc_offset_ns"] = state.tai_known() ? Json(state.leap.offset_ns()) : Json();
  json.update(json_of_leap_state(state.leap));
  json["abi_major"] = directory.abi_major;
  json["abi_minor"] = directory.abi_minor;
  json["generation"] = directory.generation;
  json["host_id"] = uuid_text(directory.host_id);
  json["boot_id"] = uuid_text(directory.boot_id);
  json["counter_frequency_hz"] = directory.counter_frequency_hz;
  json["counter_quantum_ticks"] = directory.counter_quantum_ticks;
  return json;
}

int run_status(const StatusOptions& options) {
  const Page page = Page::open(options.common.directory, options.view, false, true);
  const State state = state_of(page);
  if (options.common.json) {
    fmt::print("{}\n", json_of(page, state).dump(2));
  } else {
    print_state(page, state);
    print_view(page);
    print_region(page);
  }
  if (!options.require_sync) return kOk;
  if (state.status() == CLOCKPAGE_STATUS_SYNCHRONISED) return kOk;
  fmt::print(stderr, "clockpage: {}: not synchronised: {}: {}\n", page.file(),
             status_name(state.status()), why(state));
  return kNotSynchronised;
}

}  // namespace

void add_status_command(CLI::App& app, Run& run) {
  auto options = std::make_shared<StatusOptions>();
  CLI::App* command =
      app.add_subcommand("status",
                         "Say what state the page is in, and why; always exits 0 if it "
                         "could, but for --require-sync");
  add_common_options(*command, options->common);
  command->add_flag("--require-sync", options->require_sync, "Exit 3 unless synchronised");
  add_view_options(*command, options->view);
  command->callback([&run, options] { run = [options] { return run_status(*options); }; });
}

}  // namespace clockpage::tool
