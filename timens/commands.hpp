// SPDX-License-Identifier: MIT
#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <string>
#include <vector>

namespace clockpage::timens {

/// What messages and the processes that it starts know this program by.
inline constexpr char kProgram[] = "clockpage-timens";

/// As clockpage's: see consumer/tool/exit_code.hpp.
enum ExitCode : int { kOk = 0, kFailed = 1, kUsage = 2 };

/// What the command line asked for. Returns an exit code, throws std::exception.
using Run = std::function<int()>;

/// rest: what follows `--` on the command line, the command to run; not CLI11's to interpret.
void add_run_command(CLI::App& app, Run& run, std::vector<std::string> rest);
void add_show_command(CLI::App& app, Run& run);

}  // namespace clockpage::timens
