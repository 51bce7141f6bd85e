// SPDX-License-Identifier: MIT
#include "verify_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "exit_code.hpp"
#include "format.hpp"

namespace clockpage::tool {
namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const Reading& reading) {
  return fmt::format("{} {} ns, {} counter {}, index {}, epoch {}, CPU {}",
                     clock_name(reading.clock), reading.ns,
                     reading.format == CLOCKPAGE_FORMAT_SCALED ? "scaled" : "unscaled",
                     reading.counter, reading.index, reading.epoch, reading.cpu);
}

void print_offences(const Outcome& outcome) {
  for (const Offence& offence : outcome.disagreements)
    fmt::print(stderr,
               "two values at one counter value, exchange {}:\n  received  {}\n  evaluated {}\n",
               offence.message, text_of(offence.received), text_of(offence.own));
  const std::vector<Offence>& offences = outcome.offences;
  for (const Offence& offence : offences)
    fmt::print(
        stderr, "backward by {} ns at exchange {}:\n  received {}\n  own      {}\n",
        backward_by(offence.received.ns, offence.received.flags, offence.own.ns, offence.own.flags),
        offence.message, text_of(offence.received), text_of(offence.own));
}

double lost_share(const StallReport& stalls) {
  return stalls.elapsed_ns
             ? static_cast<double>(stalls.lost_ns) / static_cast<double>(stalls.elapsed_ns)
             : 0.0;
}

}  // namespace

void print_verify_text(unsigned processes, const Page& page, const Outcome& outcome,
                       const StallReport& stalls) {
  const ExchangeTally& total = outcome.total;
  const clockpage_diagnostics words = page.diagnostics();
  const Histogram& latency = stalls.latency_ns;
  const auto reads = static_cast<double>(std::max<uint64_t>(total.reads, 1));
  fmt::print(
      "exchanges     {} in {:.1f} s ({:.2f} million/s), {} processes, unscaled and scaled, smear "
      "{}\n",
      total.exchanges, outcome.seconds,
      static_cast<double>(total.exchanges) / outcome.seconds / 1e6, processes,
      smear_text(page.smear()));
  fmt::print("backward      {} of {} between leased reads, the largest {} ns\n", total.backward,
             total.leased, total.largest_backward_ns);
  fmt::print(
      "agreement     {} received counter values evaluated again gave the same bits, {} others\n",
      total.agreements, total.disagreements);
  if (total.repeated)
    fmt::print("leap second   {} exchanges from a second's first time into its second time\n",
               total.repeated);
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
  if (outcome.record_file.empty()) return;
  const Recorder::Summary& recorded = outcome.recorded;
  fmt::print("recorded      {}: {} readings ({} dropped), {} segments ({} dropped, {} gaps)\n",
             outcome.record_file, recorded.readings, recorded.readings_dropped, recorded.segments,
             recorded.segments_dropped, recorded.gaps);
}

void print_verify_json(unsigned processes, const Page& page, const Outcome& outcome,
                       const StallReport& stalls) {
  const ExchangeTally& total = outcome.total;
  Json json;
  json["exchanges"] = total.exchanges;
  json["backward"] = total.backward;
  json["overdue"] = total.overdue;
  json["overdue_backward"] = total.overdue_backward;
  json["agreements"] = total.agreements;
  json["disagreements"] = total.disagreements;
  json["overdue_revised"] = total.overdue_revised;
  json["again_refused"] = total.again_refused;
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
  json["repeated"] = total.repeated;
  json["smear"] = smear_text(page.smear());
  json["late_max_ns"] = outcome.late_max_ns;
  json["processes"] = processes;
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
  if (!outcome.record_file.empty()) {
    Json& recorded = json["recorded"];
    recorded["file"] = outcome.record_file;
    recorded["readings"] = outcome.recorded.readings;
    recorded["readings_dropped"] = outcome.recorded.readings_dropped;
    recorded["segments"] = outcome.recorded.segments;
    recorded["segments_dropped"] = outcome.recorded.segments_dropped;
    recorded["gaps"] = outcome.recorded.gaps;
  }
  fmt::print("{}\n", json.dump(2));
}

void judge_verify(const Page& page, const Outcome& outcome) {
  const ExchangeTally& total = outcome.total;
  if (total.backward || total.disagreements) print_offences(outcome);
  std::string wrong;
  if (total.backward)
    wrong = fmt::format("{} backward steps between leased reads, the largest {} ns", total.backward,
                        total.largest_backward_ns);
  if (total.disagreements)
    wrong += fmt::format("{}{} leased readings were another value elsewhere",
                         wrong.empty() ? "" : "; ", total.disagreements);
  if (!wrong.empty()) throw Failure(page.file(), wrong);
  if (total.leased) return;
  std::string reason = "nothing was exchanged";
  if (total.exchanges) reason = "no two leased readings were exchanged: nothing is shown";
  if (total.last_error) reason += fmt::format(": {}", clockpage_strerror(total.last_error));
  throw Failure(page.file(), reason);
}

}  // namespace clockpage::tool
