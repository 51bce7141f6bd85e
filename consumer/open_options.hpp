// SPDX-License-Identifier: MIT
//
// Inside libclockpage: what the caller and the environment ask for.
#ifndef CLOCKPAGE_OPEN_OPTIONS_HPP
#define CLOCKPAGE_OPEN_OPTIONS_HPP

#include <clockpage/clockpage.h>

#include <string>
#include <vector>

namespace clockpage::detail {

// The caller's options, checked, with what the environment adds.
struct open_request {
  std::uint32_t flags = 0;
  std::uint8_t format = 0;
  std::uint8_t smear = 0;
  std::string directory;
  std::string view;                   // empty: none
  bool view_is_environments = false;  // not named by the caller
  std::vector<std::string> parents;   // the view's ancestors, nearest first

  [[nodiscard]] bool has(std::uint32_t flag) const { return (flags & flag) != 0; }
};

// Fills `request` from options of whatever version (null: the defaults). Returns 0 or
// CLOCKPAGE_E_ARGUMENT, with a line in `error` that names the option or variable.
int read_options(const clockpage_open_options* options, open_request& request,
                 clockpage_open_error& error);

// Whether the options (of any version; null: no) name a directory.
bool names_directory(const clockpage_open_options* options);

// Refuses, with CLOCKPAGE_E_VIEW, a process whose time namespace shifts its clocks away from the
// host's: what it would read without a view is not what clock_gettime says there.
int refuse_time_namespace(clockpage_open_error& error);

}  // namespace clockpage::detail

#endif  // CLOCKPAGE_OPEN_OPTIONS_HPP
