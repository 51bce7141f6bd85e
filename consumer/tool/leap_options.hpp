// SPDX-License-Identifier: MIT
//
// Options of the subcommands that work on leap seconds and not on a page.
#pragma once

#include <CLI/App.hpp>
#include <string>

#include "leap_table.hpp"
#include "smear.hpp"

namespace clockpage::tool {

/// --smear SMEAR.
void add_smear_option(CLI::App& command, Smear& smear, const std::string& help);
/// --leap-table FILE; `file` keeps its value where it is not given.
void add_leap_table_option(CLI::App& command, std::string& file);

/// Throws Failure with the table's file, line and reason.
LeapTable load_leap_table(const std::string& file);

}  // namespace clockpage::tool
