// SPDX-License-Identifier: MIT
#include "run_control.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

namespace clockpage::tool {
namespace {

volatile sig_atomic_t g_stop = 0;

void on_stop_signal(int) { g_stop = 1; }

}  // namespace

void catch_stop_signals() {
  struct sigaction action = {};
  action.sa_handler = on_stop_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = 0;  // no SA_RESTART: a sleep must end
  for (int signal_number : {SIGINT, SIGTERM}) {
    struct sigaction inherited = {};
    sigaction(signal_number, nullptr, &inherited);
    // A shell's background job ignores SIGINT, and is meant to.
    if (inherited.sa_handler != SIG_IGN) sigaction(signal_number, &action, nullptr);
  }
}

bool stop_requested() { return g_stop != 0; }

Deadline::Deadline(std::optional<double> seconds) : begin_(Clock::now()) {
  if (seconds)
    end_ = begin_ +
           std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(*seconds));
}

bool Deadline::passed() const { return end_ && Clock::now() >= *end_; }

double Deadline::elapsed_seconds() const {
  return std::chrono::duration<double>(Clock::now() - begin_).count();
}

void Deadline::sleep(std::chrono::nanoseconds duration) const {
  if (end_) duration = std::min<std::chrono::nanoseconds>(duration, *end_ - Clock::now());
  if (duration.count() <= 0 || stop_requested()) return;
  const auto seconds = std::chrono::floor<std::chrono::seconds>(duration);
  timespec wait = {};
  wait.tv_sec = seconds.count();
  wait.tv_nsec = (duration - seconds).count();
  nanosleep(&wait, nullptr);  // cut short by a signal: then the run ends anyway
}

Progress::Progress() : active_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (drawn_) fmt::print(stderr, "\r\x1b[K");
}

void Progress::show(const std::string& text) {
  const auto now = std::chrono::steady_clock::now();
  if (!active_ || now - last_ < std::chrono::milliseconds(100)) return;
  last_ = now;
  drawn_ = true;
  fmt::print(stderr, "\r{}\x1b[K", fit_terminal(text, STDERR_FILENO));
  std::fflush(stderr);
}

std::string fit_terminal(std::string line, int descriptor) {
  winsize size = {};
  if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 && line.size() >= size.ws_col)
    line.resize(size.ws_col - 1u);
  return line;
}

}  // namespace clockpage::tool
