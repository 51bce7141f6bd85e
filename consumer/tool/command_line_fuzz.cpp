// SPDX-License-Identifier: MIT
//
// Fuzz target: arbitrary arguments of clockpage. They are refused with one line and exit code 2, or
// there is something to run; it is not run here.
//
// Input: the arguments, each ended by a newline.
#include <iostream>
#include <string>
#include <vector>

#include "command_line.hpp"
#include "exit_code.hpp"
#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clockpage::tool;
  static const bool quiet = [] {
    std::cout.rdbuf(nullptr);
    std::cerr.rdbuf(nullptr);
    return true;
  }();
  CLOCKPAGE_FUZZ_CHECK(quiet);
  std::vector<std::string> words = {"clockpage"};
  std::string word;
  for (std::size_t i = 0; i < size; i++) {
    if (data[i] == '\n') {
      words.push_back(word);
      word.clear();
    } else if (data[i] != 0) {
      word += static_cast<char>(data[i]);
    }
  }
  words.push_back(word);
  if (word.empty()) words.pop_back();
  std::vector<char*> arguments;
  for (std::string& each : words) arguments.push_back(each.data());
  arguments.push_back(nullptr);

  static std::FILE* const nowhere = std::fopen("/dev/null", "w");
  std::FILE* const kept = stderr;
  stderr = nowhere;
  Run run;
  const int code = parse_command_line(static_cast<int>(words.size()), arguments.data(), run);
  stderr = kept;
  CLOCKPAGE_FUZZ_CHECK(code == kOk || code == kUsage);
  CLOCKPAGE_FUZZ_CHECK(!run || code == kOk);
  return 0;
}
