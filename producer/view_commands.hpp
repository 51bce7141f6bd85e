// SPDX-License-Identifier: MIT
// What the control socket is asked, and what it answers. Spec section 9.2.
#pragma once

#include <string>
#include <string_view>

#include "view_registry.hpp"

namespace clockpage::producer {

// One line of JSON (without its newline) for one line of whatever: {"ok":true,...}, or
// {"ok":false,"error":"one line"} and nothing has changed.
std::string answer_request(ViewRegistry& views, std::string_view line);

// {"ok":false,...} for a request that was not even read.
std::string refusal(const std::string& reason);

}  // namespace clockpage::producer
