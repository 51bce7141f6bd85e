// SPDX-License-Identifier: MIT
#pragma once

#include "commands.hpp"

namespace clockpage::tool {

/// Reads the command line of `clockpage`: sets `run` and returns kOk, or leaves it empty and
/// returns the exit code to end with: kOk after --help and --version, kUsage after one line on
/// stderr.
int parse_command_line(int argc, char** argv, Run& run);

/// Prints `clockpage: what` as one line on stderr. Returns code.
int report(const std::string& what, int code);

}  // namespace clockpage::tool
