// SPDX-License-Identifier: MIT
//
// clockpage run: a program that knows nothing of clockpage, on its clocks.
#include <clockpage/clockpage.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "command_line.hpp"
#include "commands.hpp"
#include "exit_code.hpp"
#include "preload/preload.h"

namespace clockpage::tool {
namespace {

struct RunOptions {
  std::string directory;
  bool smeared = false;
  bool sealed = false;
  bool quiet = false;
  std::vector<std::string> command;  // not empty
};

// As env(1) has them.
constexpr int kCannotRun = 126, kNotFound = 127;

// Beside the libclockpage that this program runs with.
std::string preload_library() {
  Dl_info info{};
  void* symbol = dlsym(RTLD_DEFAULT, "clockpage_open");
  if (symbol == nullptr || dladdr(symbol, &info) == 0)
    throw Failure("", "cannot tell where libclockpage is");
  std::error_code error;
  auto path = std::filesystem::canonical(info.dli_fname, error).parent_path();
  path /= "libclockpage-preload.so";
  if (access(path.c_str(), R_OK) != 0) throw Failure(path, std::strerror(errno));
  if (path.native().find_first_of(" :") != std::string::npos)
    throw Failure(path, "LD_PRELOAD cannot name a library with a space or a colon in its path");
  return path;
}

void set_variable(const char* name, const std::string& value) {
  if (setenv(name, value.c_str(), 1) != 0) throw Failure(name, std::strerror(errno));
}

// Also where it is not given: another `clockpage run` outside this one may have set it.
void set_flag(const char* name, bool value) {
  if (value)
    set_variable(name, "1");
  else
    unsetenv(name);
}

void prepend_to_preload(const std::string& library) {
  const char* others = std::getenv("LD_PRELOAD");
  const std::string there = others != nullptr ? others : "";
  if (there == library || there.starts_with(library + ":")) return;
  set_variable("LD_PRELOAD", there.empty() ? library : library + ":" + there);
}

int run_run(const RunOptions& options) {
  const std::string library = preload_library();
  // Absolute: the command may change its directory before it runs others.
  set_variable(CLOCKPAGE_DIRECTORY_VARIABLE, std::filesystem::absolute(options.directory));
  set_flag(CLOCKPAGE_PRELOAD_SMEARED, options.smeared);
  set_flag(CLOCKPAGE_PRELOAD_SEALED, options.sealed);
  set_flag(CLOCKPAGE_PRELOAD_QUIET, options.quiet);
  prepend_to_preload(library);
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
  command->add_flag("--smeared", options->smeared, "REALTIME of the smeared page");
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
    options->command = rest;
    run = [options] { return run_run(*options); };
  });
}

}  // namespace clockpage::tool
