// SPDX-License-Identifier: MIT
//
// The daemon's views, as far as time namespaces need them: asked over its control socket. Spec
// section 8.3.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "timens_offsets.hpp"

namespace clockpage::timens {

/// A view, as the daemon tells it.
struct ViewFacts {
  std::string name;
  std::string path;
  bool smeared = false;
  /// What it was composed from: one of the daemon's views by its name, or, in a guest whose daemon
  /// hands its host's region through, the guest's own view by its path. At most one of them.
  std::optional<std::string> parent, parent_path;
};

/// Whether the view that this process reads through ($CLOCKPAGE_VIEW), which must be one of the
/// daemon's of this region's directory, is of smeared time. No where the variable is not set.
/// Throws std::runtime_error, one line.
bool outer_view_is_smeared(const std::string& directory);

/// Asks the daemon for the view of a namespace. offsets: as the kernel says them, so they are
/// relative to the clocks of the kernel that runs here: the region's, or those that the daemon of a
/// guest composes all of its views from. name: empty: timens-PID of this process, or the first of
/// timens-PID.2, .3 ... that is free: who died without taking its view away had the number before.
/// Throws std::runtime_error with the daemon's reason.
ViewFacts add_view(const std::string& directory, const std::string& name,
                   const TimensOffsets& offsets, bool smeared);

/// The paths of the views that it was composed from, nearest first.
std::vector<std::string> ancestors_of(const std::string& directory, const ViewFacts& view);

/// Takes its name away; who has it mapped reads on. Throws std::runtime_error with the daemon's
/// reason.
void remove_view(const std::string& directory, const std::string& name);

}  // namespace clockpage::timens
