// SPDX-License-Identifier: MIT
#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace clockpage::tool {

/// What the command line asked for, to be run once it is known to be right. Returns an ExitCode,
/// throws Failure.
using Run = std::function<int()>;

/// Options of every subcommand.
struct CommonOptions {
  std::string directory;  // never empty after parsing
  bool json = false;
};

/// --dir DIR; never empty after parsing.
void add_directory_option(CLI::App& command, std::string& directory);
void add_common_options(CLI::App& command, CommonOptions& options);
/// --for SECONDS; nullopt: not given.
void add_for_option(CLI::App& command, std::optional<double>& seconds, const std::string& help);
/// --clock NAME; `clock` is a CLOCKPAGE_* clock number.
void add_clock_option(CLI::App& command, std::optional<int>& clock, const std::string& help);

/// Each adds one subcommand to `app`, which sets `run` if it is the one that was chosen.
void add_read_command(CLI::App& app, Run& run);
void add_watch_command(CLI::App& app, Run& run);
void add_status_command(CLI::App& app, Run& run);
void add_compare_command(CLI::App& app, Run& run);
void add_verify_command(CLI::App& app, Run& run);
void add_check_history_command(CLI::App& app, Run& run);
void add_convert_command(CLI::App& app, Run& run);
void add_plot_command(CLI::App& app, Run& run);
void add_view_command(CLI::App& app, Run& run);
/// `view save` and `view restore`.
void add_view_migration_commands(CLI::App& view, Run& run);
/// rest: what follows `--` on the command line, the command to run; not CLI11's to interpret.
void add_run_command(CLI::App& app, Run& run, std::vector<std::string> rest);
/// rest: all that follows `timens`, for clockpage-timens to interpret.
void add_timens_command(CLI::App& app, Run& run, std::vector<std::string> rest);

}  // namespace clockpage::tool
