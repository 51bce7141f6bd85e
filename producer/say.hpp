// SPDX-License-Identifier: MIT
// What clockpaged tells people: one line on stderr each.
#pragma once

#include <fmt/format.h>

#include <utility>

#include "options.hpp"

namespace clockpage::producer {

template <typename... Args>
void say(const Options& options, fmt::format_string<Args...> format, Args&&... args) {
  if (options.quiet) return;
  fmt::print(stderr, "clockpaged: {}\n", fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace clockpage::producer
