// SPDX-License-Identifier: MIT
#include <clockpage/clockpage.h>

#include <CLI/CLI.hpp>

#include "commands.hpp"
#include "format.hpp"
#include "number_option.hpp"

namespace clockpage::tool {

void add_directory_option(CLI::App& command, std::string& directory) {
  directory = CLOCKPAGE_DEFAULT_DIRECTORY;
  command.add_option("--dir", directory, "Directory of the region")
      ->envname(CLOCKPAGE_DIRECTORY_VARIABLE)
      ->type_name("DIR")
      ->capture_default_str();
}

void add_common_options(CLI::App& command, CommonOptions& options) {
  add_directory_option(command, options.directory);
  command.add_flag("--json", options.json, "Print exactly one JSON object, in raw units");
}

void add_for_option(CLI::App& command, std::optional<double>& seconds, const std::string& help) {
  command.add_option("--for", seconds, help)
      ->type_name("SECONDS")
      ->check(number_within(0.001, 1e9).description(""));
}

void add_clock_option(CLI::App& command, std::optional<int>& clock, const std::string& help) {
  command
      .add_option_function<std::string>(
          "--clock",
          [&clock](const std::string& name) {
            clock = clock_by_name(name);
            if (!clock)
              throw CLI::ValidationError(
                  "--clock", "no clock '" + name + "': realtime, monotonic, raw, boottime or tai");
          },
          help)
      ->type_name("NAME");
}

}  // namespace clockpage::tool
