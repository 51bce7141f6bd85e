// SPDX-License-Identifier: MIT
#pragma once

#include <nlohmann/json.hpp>

#include "page.hpp"

namespace clockpage::tool {

/// What the page's view is at this moment; null where there is none. Throws Failure where it cannot
/// be read through any more.
nlohmann::ordered_json json_of_view(const Page& page);

/// The same in lines of text, for `status`.
void print_view(const Page& page);

}  // namespace clockpage::tool
