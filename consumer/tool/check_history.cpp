// SPDX-License-Identifier: MIT
//
// clockpage check-history: does one function explain every reading of a recorded run?
#include <clockpage/reader.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "commands.hpp"
#include "exit_code.hpp"
#include "format.hpp"
#include "history_check.hpp"

namespace clockpage::tool {
namespace {

using Json = nlohmann::ordered_json;

struct CheckHistoryOptions {
  std::string file;
  bool json = false;
};

const char* format_name(uint8_t format) {
  return format == CLOCKPAGE_FORMAT_SCALED ? "scaled" : "unscaled";
}

std::string text_of(const HistoryReading& r) {
  return fmt::format(
      "process {} reading {}{}: {} {} ns, {} counter {}, index {}, epoch {}, {}, CPU {}", r.process,
      r.sequence,
      r.kind == kHistoryAgain ? fmt::format(" (again, of message {})", r.received)
      : r.received            ? fmt::format(" (after message {})", r.received)
                              : "",
      clock_name(r.clock), r.ns, format_name(r.format), r.counter, r.index, r.epoch,
      r.flags & CLOCKPAGE_TIME_OVERDUE ? "overdue" : "leased", r.cpu);
}

Json json_of(const HistoryReading& r) {
  Json json;
  json["process"] = r.process;
  json["sequence"] = r.sequence;
  json["kind"] = r.kind;
  json["clock"] = clock_name(r.clock);
  json["format"] = format_name(r.format);
  json["counter"] = r.counter;
  json["ns"] = r.ns;
  json["earliest_ns"] = r.earliest_ns;
  json["latest_ns"] = r.latest_ns;
  json["epoch"] = r.epoch;
  json["index"] = r.index;
  json["overdue"] = (r.flags & CLOCKPAGE_TIME_OVERDUE) != 0;
  json["status"] = r.status;
  json["received"] = r.received;
  json["sent"] = r.sent;
  json["cpu"] = r.cpu;
  return json;
}

void print_json(const HistoryReader& history, const HistoryReport& report) {
  Json json;
  json["file"] = history.file();
  json["readings"] = report.readings;
  json["leased"] = report.leased;
  json["overdue"] = report.overdue;
  json["again"] = report.again;
  json["refused"] = report.refused;
  json["dropped"] = report.dropped;
  json["messages"] = report.messages;
  json["unlinked"] = report.unlinked;
  json["segments"] = report.segments;
  json["gaps"] = report.gaps;
  json["epochs"] = report.epochs;
  json["uncaptured"] = report.uncaptured;
  json["agreements"] = report.agreements;
  json["overdue_unchecked"] = report.overdue_unchecked;
  json["overdue_contradicted"] = report.overdue_contradicted;
  json["late_seen"] = report.late_seen;
  json["late_counted"] = report.late_counted;
  json["offences"] = report.offences;
  json["offences_by_rule"] = Json(report.offences_by_rule);
  Json first = Json::array();
  for (const HistoryOffence& offence : report.first) {
    Json readings = Json::array();
    for (const HistoryReading& reading : offence.readings) readings.push_back(json_of(reading));
    first.push_back({{"rule", offence.rule}, {"text", offence.text}, {"readings", readings}});
  }
  json["first_offences"] = first;
  fmt::print("{}\n", json.dump(2));
}

void print_text(const HistoryReader& history, const HistoryReport& report) {
  fmt::print("history       {}: {} processes, {} readings and {} evaluated again, {} segments\n",
             history.file(), history.processes().size(), report.readings, report.again,
             report.segments);
  fmt::print("leased        {}, in {} epochs; agreed on by another process: {}\n", report.leased,
             report.epochs, report.agreements);
  fmt::print(
      "overdue       {}; contradicted by a late segment: {}; late segments: {} seen, at most {} "
      "accounted for\n",
      report.overdue, report.overdue_contradicted, report.late_seen, report.late_counted);
  fmt::print("order         {} messages followed from process to process\n", report.messages);
  fmt::print(
      "not recorded  {} gaps in the segments; {} leased readings in them, {} overdue ones not "
      "checked; dropped {}; refused {}; messages without a sender {}\n",
      report.gaps, report.uncaptured, report.overdue_unchecked, report.dropped, report.refused,
      report.unlinked);
  fmt::print("offences      {}\n", report.offences);
}

void print_offences(const HistoryReport& report) {
  for (const HistoryOffence& offence : report.first) {
    fmt::print(stderr, "{}: {}\n", offence.rule, offence.text);
    for (const HistoryReading& reading : offence.readings)
      fmt::print(stderr, "  {}\n", text_of(reading));
  }
}

int run_check_history(const CheckHistoryOptions& options) {
  const HistoryReader history(options.file);
  const HistoryReport report = check_history(history);
  if (options.json)
    print_json(history, report);
  else
    print_text(history, report);
  std::fflush(stdout);
  if (report.offences) {
    print_offences(report);
    std::string rules;
    for (const auto& [rule, count] : report.offences_by_rule)
      rules += fmt::format("{}{} {}", rules.empty() ? "" : ", ", count, rule);
    throw Failure(options.file, fmt::format("no one function explains this history: {}", rules));
  }
  if (report.leased == 0) throw Failure(options.file, "no leased readings: nothing is shown");
  return kOk;
}

}  // namespace

void add_check_history_command(CLI::App& app, Run& run) {
  auto options = std::make_shared<CheckHistoryOptions>();
  CLI::App* command = app.add_subcommand(
      "check-history",
      "Check a run that verify recorded: does one function explain every reading? Exits 1 if not");
  command->add_option("FILE", options->file, "What `clockpage verify --record` wrote")
      ->required()
      ->type_name("");
  command->add_flag("--json", options->json, "Print exactly one JSON object, in raw units");
  command->callback([&run, options] { run = [options] { return run_check_history(*options); }; });
}

}  // namespace clockpage::tool
