// SPDX-License-Identifier: MIT
//
// clockpage-timens run: a time namespace, the view of it, and a command in both.
#include <clockpage/clockpage.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "commands.hpp"
#include "daemon_views.hpp"
#include "launch.hpp"
#include "namespace.hpp"
#include "preload_environment.hpp"
#include "seconds.hpp"
#include "timens_offsets.hpp"

namespace clockpage::timens {
namespace {

struct RunOptions {
  std::string directory;
  std::string name;  // empty: timens-PID
  AskedOffsets offsets;
  bool smeared = false, unsmeared = false;  // neither: as the view outside
  bool preload = false, quiet = false;
  std::vector<std::string> command;  // not empty
};

// A view, for as long as this lives.
class NamespaceView {
 public:
  NamespaceView(std::string directory, ViewFacts facts)
      : directory_(std::move(directory)), facts_(std::move(facts)) {}
  NamespaceView(const NamespaceView&) = delete;
  NamespaceView& operator=(const NamespaceView&) = delete;
  ~NamespaceView() {
    try {
      remove_view(directory_, facts_.name);
    } catch (const std::exception& error) {  // how the command ended is said all the same
      fmt::print(stderr, "{}: the view {} stays: {}\n", kProgram, facts_.name, error.what());
    }
  }
  const ViewFacts& facts() const { return facts_; }

 private:
  std::string directory_;
  ViewFacts facts_;
};

TimensOffsets offsets_or_throw(const std::variant<TimensOffsets, TimensRefusal>& read) {
  if (const auto* refusal = std::get_if<TimensRefusal>(&read))
    throw std::runtime_error(refusal->text);
  return std::get<TimensOffsets>(read);
}

int run_command(const RunOptions& options) {
  Launcher launcher;  // before there is anything that must be taken away again
  const std::string library = options.preload ? preload_library() : "";
  const OuterView outer = outer_view(options.directory);
  // Only there does it matter, so only there must it be known.
  const TimensOffsets own = outer.view ? offsets_or_throw(own_timens_offsets()) : TimensOffsets{};
  make_time_namespace(options.offsets);
  const TimensOffsets made = offsets_or_throw(read_timens_offsets("self"));  // the children's
  const bool smeared =
      !options.unsmeared && (options.smeared || (outer.view && outer.view->smeared));
  const NamespaceView view(options.directory,
                           add_view(options.directory, options.name,
                                    plan_view(made, own, outer.view, outer.parent), smeared));
  set_region_environment(options.directory);
  set_view_environment(view.facts().path, ancestors_of(options.directory, view.facts()));
  if (options.preload) set_preload_environment(library, {.quiet = options.quiet});
  return launcher.run(kProgram, options.command);
}

void add_offset_option(CLI::App& command, const std::string& name, std::optional<Seconds>& offset,
                       const std::string& help) {
  command
      .add_option_function<std::string>(
          name,
          [&offset, name](const std::string& text) {
            auto parsed = parse_seconds(text);
            if (const auto* wrong = std::get_if<std::string>(&parsed))
              throw CLI::ValidationError(name, *wrong);
            offset = std::get<Seconds>(parsed);
          },
          help)
      ->type_name("SEC");
}

}  // namespace

void add_run_command(CLI::App& app, Run& run, std::vector<std::string> rest) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand(
      "run",
      "Run a command in a new time namespace, and make the view that it reads pages through");
  add_offset_option(
      *command, "--monotonic", options->offsets.monotonic,
      "MONOTONIC and RAW there = the host's + SEC, which is decimal, may be negative, "
      "to the ns");
  add_offset_option(*command, "--boottime", options->offsets.boottime,
                    "BOOTTIME there = the host's + SEC");
  auto* smeared = command->add_flag("--smeared", options->smeared, "REALTIME of the smeared page");
  command->add_flag("--unsmeared", options->unsmeared, "REALTIME of the unsmeared page")
      ->excludes(smeared);
  command
      ->add_option("--name", options->name,
                   "Name of the view; default: timens- and this process's number")
      ->type_name("NAME");
  options->directory = CLOCKPAGE_DEFAULT_DIRECTORY;
  command->add_option("--dir", options->directory, "Directory of the region")
      ->envname(CLOCKPAGE_DIRECTORY_VARIABLE)
      ->type_name("DIR")
      ->capture_default_str();
  auto* preload = command->add_flag("--preload", options->preload,
                                    "The command's own clock functions read the page, too: as "
                                    "clockpage run");
  command
      ->add_flag("--quiet", options->quiet,
                 "With --preload: no warning where the kernel's clocks are used")
      ->needs(preload);
  command->footer(
      "Usage: clockpage timens run [OPTIONS] -- COMMAND ARGUMENTS...\n"
      "Example: clockpage timens run --boottime 86400.5 --preload -- cat /proc/uptime\n\n"
      "The namespace is the kernel's, with its rules: it needs CAP_SYS_ADMIN, and CAP_SYS_TIME "
      "for\n"
      "offsets; no clock may become negative or pass 4611686018 s. Offsets are relative to the "
      "host's\n"
      "clocks, also inside another namespace; one that is not given is the same as there. The "
      "view\n"
      "is made by the daemon of DIR from what the kernel then says the offsets are; the command\n"
      "finds it by CLOCKPAGE_DIR and CLOCKPAGE_VIEW. Where $CLOCKPAGE_VIEW is set already, the "
      "new\n"
      "view stands on what that one stands on; it is smeared if that one is, unless it is told\n"
      "otherwise.\n\n"
      "Signals are passed on. The view is taken away when the command has ended; what it left\n"
      "running keeps the view if it has opened it. Who kills this program by SIGKILL leaves the "
      "view\n"
      "behind: clockpage view remove NAME.\n\n"
      "Exit code: the command's, or 128 + n if signal n ended it; 127 it was not found, 126 it "
      "could\n"
      "not be run; 1 no namespace or no view, 2 usage.");
  command->callback([&run, options, rest = std::move(rest)] {
    if (rest.empty())
      throw CLI::ValidationError("run", "no command is given: -- COMMAND ARGUMENTS");
    options->command = rest;
    run = [options] { return run_command(*options); };
  });
}

}  // namespace clockpage::timens
