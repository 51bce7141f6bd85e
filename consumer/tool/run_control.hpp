// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace clockpage::tool {

/// From here on SIGINT and SIGTERM end the run instead of the process: it prints its result.
/// They interrupt sleeps.
void catch_stop_signals();
bool stop_requested();

/// When a run ends: after --for SECONDS, or never by itself. On the process's steady clock, which
/// is not under test.
class Deadline {
 public:
  explicit Deadline(std::optional<double> seconds);
  bool passed() const;
  double elapsed_seconds() const;
  /// Sleeps until `duration` is over, the deadline has passed or a stop signal comes.
  void sleep(std::chrono::nanoseconds duration) const;

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point begin_;
  std::optional<Clock::time_point> end_;
};

/// One line on stderr, redrawn: only where stderr is a terminal. Clears itself at the end.
class Progress {
 public:
  Progress();
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// Draws at most ten times a second; cheap otherwise.
  void show(const std::string& text);
  bool active() const { return active_; }

 private:
  bool active_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point last_ = {};
};

/// Cuts a line to what fits the terminal on `descriptor`.
std::string fit_terminal(std::string line, int descriptor);

}  // namespace clockpage::tool
