// SPDX-License-Identifier: MIT
#include "options.hpp"

#include <fmt/format.h>
#include <grp.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdlib>

#include "number_option.hpp"
#include "page_source.hpp"
#include "utc_time.hpp"

namespace clockpage::producer {

namespace {

struct Durations {
  std::uint64_t period_us = 4000;
  std::optional<std::uint64_t> lead_us;
  std::optional<std::uint64_t> margin_us;
};

void add_options(CLI::App& app, Options& o, Durations& d) {
  app.add_option("--dir", o.directory,
                 "Directory of the region (default: $CLOCKPAGE_DIR, else /run/clockpage)");
  app.add_flag(
      "--sealed", o.sealed,
      "Publish in sealed memory, which nobody can truncate under its readers, instead of in "
      "a file; a parent process keeps it when the writer dies, starts another one and hands "
      "it over the socket DIR/region");
  app.add_option(
         "--region-fd", o.region_fd,
         "Publish in this inherited memory instead of in a file: 32768 bytes, sealed against "
         "shrinking, zeroed or with a region to go on with. Whoever passes it keeps it and "
         "hands it to readers; with --sealed clockpaged does")
      ->type_name("N")
      ->check(CLI::Range(0, 1 << 20).description(""));
  app.add_option("--source", o.source,
                 "Clock to follow: auto (vvar, else bracket), vvar, bracket, sim, or another "
                 "clockpaged's: page:DIR[,view=FILE[,parent=FILE]...][,guest], where DIR has its "
                 "region, FILE is the view of it to read through, its parents' follow, nearest "
                 "first, and guest says that DIR is another machine's")
      ->check([](const std::string& text) -> std::string {
        for (const char* name : {"auto", "vvar", "bracket", "sim"})
          if (text == name) return {};
        std::string reason = "must be auto, vvar, bracket, sim or page:DIR";
        if (!text.starts_with("page:")) return reason;
        reason.clear();
        (void)parse_page_place(text.substr(5), &reason);
        return reason;
      })
      ->capture_default_str();
  CLI::Option* pass = app.add_flag(
      "--pass-through", o.pass_through,
      "Publish nothing: this machine is a guest, and DIR/region is its host's, handed through. "
      "Serve views of it to guests of this one");
  CLI::Option* parent =
      app.add_option("--parent-view", o.parent_view,
                     "with --pass-through: the view that the host has given this machine; views "
                     "that are added are relative to it")
          ->type_name("FILE");
  pass->needs(parent);
  parent->needs(pass);
  for (const char* publishing : {"--sealed", "--region-fd", "--source"})
    pass->excludes(app.get_option(publishing));
  app.add_option("--period-us", d.period_us, "Length of a segment")
      ->check(CLI::Range(250, 1'000'000))
      ->capture_default_str();
  app.add_option("--lead-us", d.lead_us,
                 "Wake at least this long before a lease ends; lateness seen adds to it (default: "
                 "the period)")
      ->check(CLI::Range(250, 1'000'000));
  app.add_option("--margin-us", d.margin_us,
                 "No steering closer to a segment's start than this (default: a quarter of the "
                 "lead, at most 1000)")
      ->check(CLI::Range(50, 100'000));
  app.add_option("--realtime-priority", o.realtime_priority,
                 "SCHED_FIFO priority: auto (10 where permitted), none, or 1 to 99")
      ->check([](const std::string& text) -> std::string {
        if (text == "auto" || text == "none") return {};
        const int priority = std::atoi(text.c_str());
        return priority >= 1 && priority <= 99 && text == std::to_string(priority)
                   ? std::string()
                   : "must be auto, none, or 1 to 99";
      })
      ->capture_default_str();
  app.add_option("--for", o.for_seconds, "End after this many seconds (default: run until SIGTERM)")
      ->check(number_within(0.001, 1e9).description(""));
  app.add_flag("--quiet", o.quiet, "Report errors only");
}

// A group's number, by its name or by itself; nothing: there is none.
std::optional<gid_t> group_number(const std::string& text) {
  if (const group* found = getgrnam(text.c_str())) return found->gr_gid;
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number == ~std::uint32_t{0})
    return std::nullopt;
  return number;
}

void add_control_options(CLI::App& app, Options& o) {
  CLI::Option* none =
      app.add_flag("!--no-control", o.control,
                   "Serve no socket DIR/control: views are followed, but neither made nor changed");
  app.add_option_function<std::string>(
         "--kvm-debugfs",
         [&o](const std::string& text) {
           if (text.empty()) throw CLI::ValidationError("--kvm-debugfs", "must not be empty");
           o.kvm_debugfs = text;
         },
         "Where KVM's debugfs files are, which the views of virtual machines are made from "
         "(default: /sys/kernel/debug/kvm)")
      ->type_name("DIR");
  app.add_option_function<std::string>(
         "--control-group",
         [&o](const std::string& text) {
           o.control_group = group_number(text);
           if (!o.control_group)
             throw CLI::ValidationError("--control-group", text + ": there is no such group");
         },
         "Group, by name or number, whose members may control views over the socket DIR/control, "
         "as root and clockpaged's own user may")
      ->type_name("GROUP")
      ->excludes(none);
}

void add_leap_options(CLI::App& app, Options& o) {
  const auto add_smear = [&app](const char* name, const char* help, auto take) {
    app.add_option_function<std::string>(
           name,
           [name, take](const std::string& text) {
             std::string reason;
             const auto smear = parse_smear(text, &reason);
             if (!smear) throw CLI::ValidationError(name, text + ": " + reason);
             take(*smear);
           },
           help)
        ->type_name("SMEAR");
  };
  add_smear("--smear",
            "How the smeared pages spread a leap second: noon (24 h, noon to noon UTC; the default "
            "for a new region), utc-sls (the last 1000 s), linear:START:LENGTH (s, from midnight "
            "UTC), or none",
            [&o](const Smear& smear) { o.smear = smear; });
  add_smear("--host-smear",
            "How the host's own clock is smeared (its NTP servers smear): the unsmeared pages undo "
            "it (default: none)",
            [&o](const Smear& smear) { o.publisher.leaps.host_smear = smear; });
  app.add_option(
         "--leap-table", o.leap_table,
         "Table of leap seconds, leap-seconds.list; or none (default: the system's, if there "
         "is one)")
      ->type_name("FILE");
  app.add_option(
         "--tai-offset-s", o.publisher.leaps.tai_offset_s,
         "TAI - UTC as it is when clockpaged starts, for where neither the kernel nor the table "
         "knows; to be changed after a leap second")
      ->type_name("S")
      ->check(CLI::Range(10, 255).description(""));
}

void add_sim_options(CLI::App& app, Options& o) {
  app.add_option("--sim-seed", o.sim_seed, "sim: seed of the script")->capture_default_str();
  app.add_option("--sim-max-frequency-ppb", o.sim_max_frequency_ppb,
                 "sim: largest change of frequency")
      ->check(CLI::Range(0, 5'000'000))
      ->capture_default_str();
  app.add_option("--sim-change-interval-s", o.sim_change_interval_s,
                 "sim: mean time between changes")
      ->check(number_within(0.001, 1e6))
      ->capture_default_str();
  app.add_option("--sim-steps-per-hour", o.sim_steps_per_hour, "sim: steps of REALTIME")
      ->check(number_within(0.0, 1e6))
      ->capture_default_str();
  CLI::Option* step = app.add_option("--sim-step-s", o.sim_step_s,
                                     "sim: one step of REALTIME, forwards or backwards")
                          ->check(number_within(-1e6, 1e6));
  app.add_option("--sim-step-at-s", o.sim_step_at_s, "sim: when, after the start")
      ->check(number_within(0.0, 1e6))
      ->needs(step)
      ->capture_default_str();
  CLI::Option* suspend =
      app.add_option("--sim-suspend-s", o.sim_suspend_s,
                     "sim: one suspend of this length; MONOTONIC and RAW stand still for it")
          ->check(number_within(0.0, 1e6));
  app.add_option("--sim-suspend-at-s", o.sim_suspend_at_s, "sim: when it ends, after the start")
      ->check(number_within(0.0, 1e6))
      ->needs(suspend)
      ->capture_default_str();
}

void add_sim_date_options(CLI::App& app, Options& o) {
  app.add_option_function<std::string>(
         "--sim-start",
         [&o](const std::string& text) {
           std::string reason;
           const auto start = parse_utc(text, &reason);
           constexpr std::int64_t end = 4'607'280'000;  // 2116: the pages' own end is near
           if (start && start->posix_s >= end)
             throw CLI::ValidationError("--sim-start", "must be before 2116");
           if (!start || start->leap_second || start->ns != 0)
             throw CLI::ValidationError(
                 "--sim-start", start ? "must be a whole second, not a leap second" : reason);
           o.sim_start_s = start->posix_s;
         },
         "sim: UTC to begin at, like 2016-12-31T23:59:50Z; a region that is adopted goes on from "
         "its own")
      ->type_name("DATE");
  app.add_option("--sim-tai-offset-s", o.sim_tai_offset_s,
                 "sim: the kernel's TAI offset at the start; 0: never set")
      ->check(CLI::Range(0, 255))
      ->capture_default_str();
  CLI::Option* leap =
      app.add_option("--sim-leap", o.sim_leap,
                     "sim: one leap second at the end of the UTC day, inserted (1) or deleted (-1)")
          ->check([](const std::string& text) -> std::string {
            const bool valid = text == "1" || text == "+1" || text == "-1";
            return valid ? std::string() : "must be 1 or -1";
          });
  app.add_option("--sim-leap-at-s", o.sim_leap_at_s,
                 "sim: when the kernel is told of it, after the start")
      ->check(number_within(0.0, 1e6))
      ->needs(leap)
      ->capture_default_str();
}

// Whatever needs two options to be judged.
void settle(const CLI::App& app, Options& o, const Durations& d) {
  if (o.source != "sim")
    for (const CLI::Option* option : app.get_options())
      if (option->count() != 0 && option->get_name().starts_with("--sim-"))
        throw CLI::ValidationError(option->get_name(), "needs --source sim");
  if (o.directory.empty()) {
    const char* variable = std::getenv("CLOCKPAGE_DIR");
    o.directory = variable != nullptr && *variable != '\0' ? variable : "/run/clockpage";
  }
  LeapConfig& leaps = o.publisher.leaps;
  const bool host_smears = leaps.host_smear != kNoSmear;
  if (host_smears && o.smear && *o.smear != kNoSmear && *o.smear != leaps.host_smear)
    throw CLI::ValidationError("--smear", "must be none or the host's where --host-smear is given");
  leaps.smear = o.smear.value_or(host_smears ? leaps.host_smear : kNoonSmear);
  const std::uint64_t lead_us = d.lead_us.value_or(d.period_us);
  const std::uint64_t margin_us = d.margin_us.value_or(std::min<std::uint64_t>(lead_us / 4, 1000));
  if (margin_us * 2 > lead_us)
    throw CLI::ValidationError("--margin-us", "must be at most half of the lead");
  o.publisher.period_ns = d.period_us * 1000;
  o.publisher.lead_ns = lead_us * 1000;
  o.publisher.margin_ns = margin_us * 1000;
}

}  // namespace

ParsedOptions parse_options(int argc, char** argv) {
  CLI::App app{"Publishes the host's clock as shared-memory pages that anyone may map and read."};
  app.name("clockpaged");
  app.set_version_flag("--version", "clockpaged " CLOCKPAGE_VERSION);
  app.footer("SIGTERM or SIGINT ends it cleanly. Exit codes: 0 ok; 1 a runtime error; 2 usage.");
  Options options;
  Durations durations;
  add_options(app, options, durations);
  add_control_options(app, options);
  add_leap_options(app, options);
  add_sim_options(app, options);
  add_sim_date_options(app, options);
  try {
    app.parse(argc, argv);
    settle(app, options, durations);
  } catch (const CLI::Success& e) {
    return {std::nullopt, app.exit(e)};
  } catch (const CLI::Error& e) {
    fmt::print(stderr, "clockpaged: {}\n", e.what());
    return {std::nullopt, kExitUsage};
  }
  return {options, kExitOk};
}

}  // namespace clockpage::producer
