// SPDX-License-Identifier: MIT
//
// clockpage: reads a page, says what state it is in, and checks it.
#include <cstdio>
#include <exception>

#include "command_line.hpp"
#include "exit_code.hpp"

int main(int argc, char** argv) {
  using namespace clockpage::tool;
  try {
    Run run;
    int code = parse_command_line(argc, argv, run);
    if (run) code = run();
    // A result that nobody could receive is no success.
    if (std::fflush(stdout) != 0 && code == kOk) return report("cannot write the output", kFailed);
    return code;
  } catch (const std::exception& error) {
    std::fflush(stdout);
    return report(error.what(), kFailed);
  }
}
