// SPDX-License-Identifier: MIT
#pragma once

#include <signal.h>

#include <string>
#include <vector>

namespace clockpage::timens {

/// As env(1) has them.
inline constexpr int kCannotRun = 126, kNotFound = 127;

/// Runs one command as a child that gets this process's signals, so that there is something to do
/// after its end whatever ends it. From its construction on this process itself dies of SIGKILL and
/// its own faults only; they stay so.
class Launcher {
 public:
  Launcher();
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  /// Returns when the command has ended: its exit code, 128 + n if signal n ended it, kNotFound or
  /// kCannotRun, with one line on stderr that begins with `who`. Signals that arrived since the
  /// construction are the command's as well; but not those that a terminal sent to all of its
  /// foreground processes: the command has them already. Throws std::runtime_error if there can be
  /// no child.
  int run(const std::string& who, const std::vector<std::string>& command);

 private:
  void put_back() const;
  sigset_t waited_for_, before_;
  struct sigaction child_before_;
};

}  // namespace clockpage::timens
