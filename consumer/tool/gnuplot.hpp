// SPDX-License-Identifier: MIT
#pragma once

#include <string>

namespace clockpage::tool {

/// What gnuplot prints for `script`, without a shell and without the user's settings. Throws
/// Failure: it is not installed, or it failed (with its first words).
std::string run_gnuplot(const std::string& script);

}  // namespace clockpage::tool
