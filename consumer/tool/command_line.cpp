// SPDX-License-Identifier: MIT
#include "command_line.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "exit_code.hpp"

namespace clockpage::tool {

int report(const std::string& what, int code) {
  std::string line = what;
  std::replace(line.begin(), line.end(), '\n', ' ');
  fmt::print(stderr, "clockpage: {}\n", line);
  return code;
}

// Takes `-- COMMAND ARGUMENTS` off a command line of `clockpage run`. CLI11 would make two
// arguments of "[a,b]" and lose the next "--".
static std::vector<std::string> cut_command(int& argc, char** argv) {
  if (argc < 2 || std::string_view(argv[1]) != "run") return {};
  char** const end = argv + argc;
  char** const mark = std::find(argv + 2, end, std::string_view("--"));
  argc = static_cast<int>(mark - argv);
  return mark == end ? std::vector<std::string>() : std::vector<std::string>(mark + 1, end);
}

// The words up to one where a subcommand should be and is not. CLI11 would only say that one is
// missing.
static std::optional<std::string> unknown_subcommand(const CLI::App& app, int argc, char** argv) {
  const CLI::App* parent = &app;
  std::string words;
  for (int i = 1; i < argc && argv[i][0] != '-'; i++) {
    if (parent->get_require_subcommand_min() == 0) return std::nullopt;
    words += (i > 1 ? " " : "") + std::string(argv[i]);
    const auto is_named = [&](const CLI::App* command) { return command->check_name(argv[i]); };
    const auto found = parent->get_subcommands(is_named);
    if (found.empty()) return words;
    parent = found.front();
  }
  return std::nullopt;
}

// Takes all that follows `clockpage timens` off: it is another program's.
static std::vector<std::string> cut_timens(int& argc, char** argv) {
  if (argc < 2 || std::string_view(argv[1]) != "timens") return {};
  char** const end = argv + argc;
  argc = 2;
  return {argv + 2, end};
}

int parse_command_line(int argc, char** argv, Run& run) {
  CLI::App app{"Reads clockpage's shared clock, says what state it is in, and checks it.",
               "clockpage"};
  app.set_version_flag("--version", "clockpage " CLOCKPAGE_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 ok; 1 a runtime error, or a check that did not hold; 2 usage;\n"
      "3 not synchronised (only with --require-sync).");
  add_read_command(app, run);
  add_watch_command(app, run);
  add_status_command(app, run);
  add_compare_command(app, run);
  add_verify_command(app, run);
  add_check_history_command(app, run);
  add_convert_command(app, run);
  add_plot_command(app, run);
  add_view_command(app, run);
  add_run_command(app, run, cut_command(argc, argv));
  add_timens_command(app, run, cut_timens(argc, argv));
  if (const auto wrong = unknown_subcommand(app, argc, argv))
    return report(fmt::format("no such subcommand: {} (see clockpage --help)", *wrong), kUsage);
  if (argc > 1 && argv[1][0] == '-' && app.get_option_no_throw(argv[1]) == nullptr)
    return report(fmt::format("no such option: {} (see clockpage --help)", argv[1]), kUsage);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) return app.exit(error);
    return report(std::string(error.what()) + " (see clockpage --help)", kUsage);
  }
  return kOk;
}

}  // namespace clockpage::tool
