// SPDX-License-Identifier: MIT
//
// Fuzz target: arbitrary arguments of clockpaged. They are refused with one line and exit code 2,
// or what comes out of them is within the limits that the rest of the producer relies on.
//
// Input: the arguments, each ended by a newline.
#include <cmath>
#include <cstdlib>
#include <string>

#include "fuzz.hpp"
#include "options.hpp"
#include "page_source.hpp"

namespace clockpage::producer {
namespace {

bool follows_page(const std::string& source) {
  std::string reason;
  return source.starts_with("page:") && parse_page_place(source.substr(5), &reason).has_value();
}

void check(const Options& o) {
  const PublisherConfig& p = o.publisher;
  CLOCKPAGE_FUZZ_CHECK(!o.directory.empty());
  CLOCKPAGE_FUZZ_CHECK(o.source == "auto" || o.source == "vvar" || o.source == "bracket" ||
                       o.source == "sim" || follows_page(o.source));
  CLOCKPAGE_FUZZ_CHECK(p.period_ns >= 250'000 && p.period_ns <= 1'000'000'000);
  CLOCKPAGE_FUZZ_CHECK(p.lead_ns >= 250'000 && p.lead_ns <= 1'000'000'000);
  CLOCKPAGE_FUZZ_CHECK(p.margin_ns >= 50'000 && p.margin_ns <= p.lead_ns / 2);
  // It becomes a number of ticks of a counter of some GHz.
  CLOCKPAGE_FUZZ_CHECK(o.for_seconds >= 0 && o.for_seconds <= 1e9);
  CLOCKPAGE_FUZZ_CHECK(o.sim_max_frequency_ppb <= 5'000'000);
  CLOCKPAGE_FUZZ_CHECK(o.sim_change_interval_s >= 0.001 && o.sim_change_interval_s <= 1e6);
  CLOCKPAGE_FUZZ_CHECK(o.sim_steps_per_hour >= 0 && o.sim_steps_per_hour <= 1e6);
  CLOCKPAGE_FUZZ_CHECK(std::abs(o.sim_step_s) <= 1e6);
  CLOCKPAGE_FUZZ_CHECK(o.sim_suspend_s >= 0 && o.sim_suspend_s <= 1e6);
  for (const double when : {o.sim_step_at_s, o.sim_suspend_at_s})
    CLOCKPAGE_FUZZ_CHECK(when >= 0 && when <= 1e6);
  CLOCKPAGE_FUZZ_CHECK(o.control_group.value_or(0) != static_cast<gid_t>(-1));
  CLOCKPAGE_FUZZ_CHECK(!o.region_fd || *o.region_fd >= 0);
  if (o.realtime_priority != "auto" && o.realtime_priority != "none") {
    const int priority = std::stoi(o.realtime_priority);
    CLOCKPAGE_FUZZ_CHECK(priority >= 1 && priority <= 99);
  }
}

}  // namespace
}  // namespace clockpage::producer

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clockpage::producer;
  static const bool no_directory = unsetenv("CLOCKPAGE_DIR") == 0;
  CLOCKPAGE_FUZZ_CHECK(no_directory);
  clockpage::fuzz::Arguments arguments = clockpage::fuzz::arguments_from("clockpaged", data, size);
  const ParsedOptions parsed = [&] {
    const clockpage::fuzz::Silence silence;
    return parse_options(arguments.count(), arguments.pointers());
  }();
  CLOCKPAGE_FUZZ_CHECK(parsed.exit_code == kExitOk || parsed.exit_code == kExitUsage);
  CLOCKPAGE_FUZZ_CHECK(!parsed.options || parsed.exit_code == kExitOk);
  if (parsed.options) check(*parsed.options);
  return 0;
}
