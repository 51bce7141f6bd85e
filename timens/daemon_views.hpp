// SPDX-License-Identifier: MIT
//
// The daemon's views, as far as time namespaces need them: asked over its control socket.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "compose.hpp"

namespace clockpage::timens {

/// The view that this process reads through ($CLOCKPAGE_VIEW), which must be one of the daemon's
/// of this region's directory, and what it was composed from. Nothing where the variable is not
/// set. Throws std::runtime_error, one line.
struct OuterView {
  std::optional<ViewFacts> view, parent;
};
OuterView outer_view(const std::string& directory);

/// Asks the daemon for the view. name: empty: timens-PID of this process, or the first of
/// timens-PID.2, .3 ... that is free: who died without taking its view away had the number before.
/// Throws std::runtime_error with the daemon's reason.
ViewFacts add_view(const std::string& directory, const std::string& name, const ViewPlan& plan,
                   bool smeared);

/// The paths of the views that it was composed from, nearest first.
std::vector<std::string> ancestors_of(const std::string& directory, const ViewFacts& view);

/// Throws std::runtime_error with the daemon's reason.
void remove_view(const std::string& directory, const std::string& name);

}  // namespace clockpage::timens
