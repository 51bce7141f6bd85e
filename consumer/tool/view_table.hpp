// SPDX-License-Identifier: MIT
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace clockpage::tool {

/// What clockpaged says of one view, line by line, for people. Throws if it is not said as in
/// section 9.2 of the specification.
std::string view_text(const nlohmann::json& view);
/// What it says of many, as a table.
std::string views_table(const nlohmann::json& views);

}  // namespace clockpage::tool
