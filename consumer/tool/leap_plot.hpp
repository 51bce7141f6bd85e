// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "smear.hpp"

namespace clockpage::tool {

/// A script for gnuplot that draws, as SVG on stdout, what REALTIME does at `leap`: unsmeared and
/// with `smear` (kNoSmear: only the step).
std::string leap_plot_script(const LeapSecond& leap, const Smear& smear);

}  // namespace clockpage::tool
