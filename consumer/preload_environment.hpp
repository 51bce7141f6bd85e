// SPDX-License-Identifier: MIT
//
// For programs, not for libclockpage: what a command is given in its environment so that it, and
// all that it starts, read a page.
#ifndef CLOCKPAGE_CONSUMER_PRELOAD_ENVIRONMENT_HPP
#define CLOCKPAGE_CONSUMER_PRELOAD_ENVIRONMENT_HPP

#include <string>
#include <vector>

namespace clockpage {

// Each changes this process's own environment, for those that it executes. All throw
// std::runtime_error, one line, what it is about first. Not thread-safe.

// CLOCKPAGE_DIR: absolute, as the command may change its directory before it runs others.
void set_region_environment(const std::string& directory);

// CLOCKPAGE_VIEW and CLOCKPAGE_VIEW_PARENTS: the view's path, and those of the views that it was
// composed from, nearest first. Made absolute likewise.
void set_view_environment(const std::string& view, const std::vector<std::string>& parents);

struct PreloadOptions {
  bool smeared = false;  // CLOCKPAGE_PRELOAD_SMEARED
  bool sealed = false;   // CLOCKPAGE_PRELOAD_SEALED
  bool quiet = false;    // CLOCKPAGE_PRELOAD_QUIET
  bool guest = false;    // CLOCKPAGE_PRELOAD_GUEST
};

// libclockpage-preload.so: beside the libclockpage that this program runs with.
std::string preload_library();

// The variables of preload/preload.h, also where an option is not set: another `clockpage run`
// outside this one may have set it; and LD_PRELOAD, with `library` before what is there.
void set_preload_environment(const std::string& library, const PreloadOptions& options);

}  // namespace clockpage

#endif  // CLOCKPAGE_CONSUMER_PRELOAD_ENVIRONMENT_HPP
