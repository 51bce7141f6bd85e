// SPDX-License-Identifier: MIT
// What clockpaged tells people: one line on stderr each.
#pragma once

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <utility>

#include "options.hpp"

namespace clockpage::producer {

// Nobody need be there to read it: a log that has gone is no reason to end (SIGPIPE is ignored),
// one that is full none to wait, for waiting here would let the lease end. Such a line is lost.
inline void print_line(const std::string& text) noexcept {
  pollfd log{STDERR_FILENO, POLLOUT, 0};
  if (poll(&log, 1, 0) == 1) std::fputs(("clockpaged: " + text + "\n").c_str(), stderr);
}

template <typename... Args>
void say(const Options& options, fmt::format_string<Args...> format, Args&&... args) {
  if (options.quiet) return;
  print_line(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace clockpage::producer
