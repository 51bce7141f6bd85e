// SPDX-License-Identifier: MIT
#include "view_options.hpp"

#include <clockpage/clockpage.h>
#include <fmt/format.h>

#include <cstdlib>

#include "timens_offsets.hpp"

namespace clockpage::tool {
namespace {

// As libclockpage looks at it.
bool environment_names_view() {
  const char* view = secure_getenv(CLOCKPAGE_VIEW_VARIABLE);
  return view != nullptr && *view != '\0';
}

}  // namespace

void add_view_options(CLI::App& command, ViewOptions& options) {
  command
      .add_option("--view", options.view,
                  "Read through this view: a path with a '/', else a name in DIR/views; what its "
                  "guest's counter is now is computed from the host's [$CLOCKPAGE_VIEW]")
      ->type_name("VIEW");
  command
      .add_option("--view-parent", options.parents,
                  "The view that --view was composed from, then that one's parent and so on")
      ->type_name("VIEW")
      ->expected(1)
      ->take_all();
}

std::string view_path(const std::string& directory, const std::string& name) {
  return name.find('/') == name.npos ? directory + "/views/" + name : name;
}

bool names_view(const ViewOptions& options) {
  return !options.view.empty() || environment_names_view();
}

void say_host_clocks() {
  if (environment_names_view()) {
    fmt::print(stderr,
               "clockpage: these are the host's clocks: this command does not read through "
               "$" CLOCKPAGE_VIEW_VARIABLE "\n");
    return;
  }
  const auto own = own_timens_offsets();
  const auto* offsets = std::get_if<TimensOffsets>(&own);
  if (!offsets || *offsets != TimensOffsets{})
    fmt::print(stderr,
               "clockpage: these are the host's clocks: MONOTONIC, RAW and BOOTTIME are "
               "others in this time namespace\n");
}

}  // namespace clockpage::tool
