// SPDX-License-Identifier: MIT
//
// clockpage-timens: time namespaces whose clocks can be read from pages. `clockpage timens` is
// this program.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "commands.hpp"

namespace clockpage::timens {
namespace {

int report(std::string what, int code) {
  std::replace(what.begin(), what.end(), '\n', ' ');
  fmt::print(stderr, "{}: {}\n", kProgram, what);
  return code;
}

// Takes `-- COMMAND ARGUMENTS` off: CLI11 would make two arguments of "[a,b]".
std::vector<std::string> cut_command(int& argc, char** argv) {
  if (argc < 2 || std::string_view(argv[1]) != "run") return {};
  char** const end = argv + argc;
  char** const mark = std::find(argv + 2, end, std::string_view("--"));
  argc = static_cast<int>(mark - argv);
  return mark == end ? std::vector<std::string>() : std::vector<std::string>(mark + 1, end);
}

int parse_and_run(int argc, char** argv) {
  Run run;
  CLI::App app{"Makes time namespaces whose clocks can be read from clockpage's pages.", kProgram};
  app.set_version_flag("--version", std::string(kProgram) + " " CLOCKPAGE_VERSION);
  app.require_subcommand(1);
  app.footer("Exit codes: run: the command's; 1 a runtime error; 2 usage.");
  add_run_command(app, run, cut_command(argc, argv));
  add_show_command(app, run);
  const auto is_named = [&](const CLI::App* command) { return command->check_name(argv[1]); };
  if (argc > 1 && argv[1][0] != '-' && app.get_subcommands(is_named).empty())
    return report(fmt::format("no such subcommand: {} (see {} --help)", argv[1], kProgram), kUsage);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) return app.exit(error);
    return report(fmt::format("{} (see {} --help)", error.what(), kProgram), kUsage);
  }
  return run();
}

}  // namespace
}  // namespace clockpage::timens

int main(int argc, char** argv) {
  using namespace clockpage::timens;
  try {
    const int code = parse_and_run(argc, argv);
    if (std::fflush(stdout) != 0 && code == kOk) return report("cannot write the output", kFailed);
    return code;
  } catch (const std::exception& error) {
    std::fflush(stdout);
    return report(error.what(), kFailed);
  }
}
