// SPDX-License-Identifier: MIT
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

namespace clockpage::tool {

/// --view and --view-parent. Empty: what the environment says ($CLOCKPAGE_VIEW), else no view.
struct ViewOptions {
  std::string view;
  std::vector<std::string> parents;  // nearest first
};

void add_view_options(CLI::App& command, ViewOptions& options);

/// The file that `name` means: a path where it has a '/', else a view of that name in the
/// directory.
std::string view_path(const std::string& directory, const std::string& name);

/// Whether these options or the environment name a view.
bool names_view(const ViewOptions& options);

/// For the commands that read the host's clocks whatever the environment says: one line on stderr
/// where that is not what the caller's other programs read.
void say_host_clocks();

}  // namespace clockpage::tool
