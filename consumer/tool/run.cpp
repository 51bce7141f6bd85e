// SPDX-License-Identifier: MIT
//
// clockpage run: a program that knows nothing of clockpage, on its clocks.
#include <clockpage/clockpage.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "command_line.hpp"
#include "commands.hpp"
#include "exit_code.hpp"
#include "preload_environment.hpp"
#include "view_options.hpp"

namespace clockpage::tool {
namespace {

struct RunOptions {
  std::string directory;
  std::string view;                  // empty: $CLOCKPAGE_VIEW
  std::vector<std::string> parents;  // of it, nearest first
  bool smeared = false;
  bool guest = false;
  bool sealed = false;
  bool quiet = false;
  std::vector<std::string> command;  // not empty
};

// As env(1) has them.
constexpr int kCannotRun = 126, kNotFound = 127;

void use_view(const RunOptions& options) {
  std::vector<std::string> parents;
  for (const std::string& parent : options.parents)
    parents.push_back(view_path(options.directory, parent));
  set_view_environment(view_path(options.directory, options.view), parents);
}

int run_run(const RunOptions& options) {
  const std::string library = preload_library();
  set_region_environment(options.directory);
  if (!options.view.empty()) use_view(options);
  set_preload_environment(library, {options.smeared, options.sealed, options.quiet, options.guest});
  std::vector<char*> arguments;
  for (const std::string& argument : options.command)
    arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  execvp(arguments.front(), arguments.data());
  const int reason = errno;
  return report(options.command.front() + ": " + std::strerror(reason),
                reason == ENOENT ? kNotFound : kCannotRun);
}

}  // namespace

void add_run_command(CLI::App& app, Run& run, std::vector<std::string> rest) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command =
      app.add_subcommand("run", "Run a command whose clocks are the page's, not the kernel's");
  add_directory_option(*command, options->directory);
  command
      ->add_option("--view", options->view,
                   "Read through this view: a path with a '/', else a name in DIR/views "
                   "[$CLOCKPAGE_VIEW]")
      ->type_name("VIEW");
  command
      ->add_option("--view-parent", options->parents,
                   "The view that --view was composed from, then that one's parent and so on")
      ->type_name("VIEW")
      ->expected(1)
      ->take_all();
  command->add_flag("--smeared", options->smeared,
                    "REALTIME of the smeared page; with a view it is the view that says so");
  command->add_flag("--guest", options->guest,
                    "The page is another machine's, the host of this guest: any view is right");
  command->add_flag("--sealed", options->sealed,
                    "Only a page in memory that nobody can truncate (clockpaged --sealed)");
  command->add_flag("--quiet", options->quiet, "No warning where the kernel's clocks are used");
  command->footer(
      "Usage: clockpage run [OPTIONS] -- COMMAND ARGUMENTS...\n"
      "Example: clockpage run --smeared -- date --iso-8601=ns\n\n"
      "The command and its children find libclockpage-preload.so by LD_PRELOAD (put before what "
      "is\n"
      "there). clock_gettime, clock_getres, gettimeofday, time, timespec_get and ftime are then "
      "the\n"
      "page's for CLOCK_REALTIME, MONOTONIC, MONOTONIC_RAW, BOOTTIME, TAI and the two _COARSE "
      "clocks;\n"
      "other clocks are the kernel's. The page is looked for once, when a program starts. Where\n"
      "there is none, or it is revoked later, that program's clocks are the kernel's from then "
      "on,\n"
      "and its first reading of them says so in one line on stderr.\n\n"
      "In a time namespace with offsets the page is read through that namespace's view only (see\n"
      "clockpage timens); through a view of other offsets, anywhere, nothing is read.\n\n"
      "Not affected: programs that are set-user-id, set-group-id or have file capabilities (they "
      "ignore\n"
      "LD_PRELOAD), statically linked ones, and those that make system calls themselves. Sleeps,\n"
      "timers, timeouts, file times and what other processes say stay the kernel's: beside the\n"
      "smeared page their REALTIME differs by up to a second around a leap second.\n\n"
      "A region file that its owner truncates ends every program that reads it (SIGBUS): for "
      "programs\n"
      "that matter use clockpaged --sealed, and --sealed here.\n\n"
      "Exit code: the command's; 127 it was not found, 126 it could not be run; 1, 2 as always.");
  command->callback([&run, options, rest = std::move(rest)] {
    if (rest.empty())
      throw CLI::ValidationError("run", "no command is given: -- COMMAND ARGUMENTS");
    // The view would have its way, without a word.
    if (options->smeared && names_view({options->view, {}}))
      throw CLI::ValidationError("--smeared", "which page is read is the view's to say");
    options->command = rest;
    run = [options] { return run_run(*options); };
  });
}

}  // namespace clockpage::tool
