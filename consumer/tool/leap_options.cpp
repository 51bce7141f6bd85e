// SPDX-License-Identifier: MIT
#include "leap_options.hpp"

#include <CLI/CLI.hpp>

#include "exit_code.hpp"

namespace clockpage::tool {

void add_smear_option(CLI::App& command, Smear& smear, const std::string& help) {
  command
      .add_option_function<std::string>(
          "--smear",
          [&smear](const std::string& text) {
            std::string reason;
            const auto parsed = parse_smear(text, &reason);
            if (!parsed) throw CLI::ValidationError("--smear", reason);
            smear = *parsed;
          },
          help)
      ->type_name("SMEAR");
}

void add_leap_table_option(CLI::App& command, std::string& file) {
  command.add_option("--leap-table", file, "Leap seconds, as IERS and tzdata publish them")
      ->type_name("FILE")
      ->capture_default_str();
}

LeapTable load_leap_table(const std::string& file) {
  auto table = read_leap_table(file);
  if (const auto* error = std::get_if<std::string>(&table)) throw Failure("", *error);
  return std::get<LeapTable>(std::move(table));
}

}  // namespace clockpage::tool
