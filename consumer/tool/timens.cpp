// SPDX-License-Identifier: MIT
//
// clockpage timens: another program, clockpage-timens, which stands beside this one.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "commands.hpp"
#include "exit_code.hpp"

namespace clockpage::tool {
namespace {

constexpr char kProgram[] = "clockpage-timens";

int run_timens(const std::vector<std::string>& rest) {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) throw Failure("/proc/self/exe", error.message());
  const std::string program = self.parent_path() / kProgram;
  std::vector<char*> arguments = {const_cast<char*>(kProgram)};
  for (const std::string& argument : rest) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  execv(program.c_str(), arguments.data());
  throw Failure(program, std::strerror(errno));
}

}  // namespace

void add_timens_command(CLI::App& app, Run& run, std::vector<std::string> rest) {
  CLI::App* command = app.add_subcommand(
      "timens", "Make time namespaces with views of their own: clockpage timens --help");
  command->callback([&run, rest = std::move(rest)] { run = [rest] { return run_timens(rest); }; });
}

}  // namespace clockpage::tool
