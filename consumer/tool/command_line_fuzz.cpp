// SPDX-License-Identifier: MIT
//
// Fuzz target: arbitrary arguments of clockpage. They are refused with one line and exit code 2, or
// there is something to run; it is not run here.
//
// Input: the arguments, each ended by a newline.
#include "command_line.hpp"
#include "exit_code.hpp"
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clockpage::tool;
  clockpage::fuzz::Arguments arguments = clockpage::fuzz::arguments_from("clockpage", data, size);
  Run run;
  int code = 0;
  {
    const clockpage::fuzz::Silence silence;
    code = parse_command_line(arguments.count(), arguments.pointers(), run);
  }
  CLOCKPAGE_FUZZ_CHECK(code == kOk || code == kUsage);
  CLOCKPAGE_FUZZ_CHECK(!run || code == kOk);
  return 0;
}
