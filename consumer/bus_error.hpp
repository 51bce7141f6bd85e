// SPDX-License-Identifier: MIT
//
// For programs, not for libclockpage: what happens when a mapped file is truncated under them.
#ifndef CLOCKPAGE_BUS_ERROR_HPP
#define CLOCKPAGE_BUS_ERROR_HPP

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>

namespace clockpage {

struct BusErrorLine {
  std::array<char, 1024> text{};
  std::size_t length = 0;
};
inline BusErrorLine bus_error_line;
inline int bus_error_code = 1;
inline bool bus_errors_are_anothers = false;

inline void on_bus_error(int, siginfo_t* info, void*) {
  // BUS_ADRERR: nothing is behind the address any more. No other function is safe here.
  if (info->si_code == BUS_ADRERR) {
    if (write(STDERR_FILENO, bus_error_line.text.data(), bus_error_line.length) < 0)
      _exit(bus_error_code);
    _exit(bus_error_code);
  }
  signal(SIGBUS, SIG_DFL);
  raise(SIGBUS);
}

// From here on a read or write of mapped memory that is there no longer ends the process with exit
// code `code` and the one line "WHO: FILE: was truncated while it was mapped".
inline void explain_bus_errors(const std::string& who, const std::string& file, int code = 1) {
  if (bus_errors_are_anothers) return;
  bus_error_code = code;
  std::string line = who + ": " + file;
  std::replace(line.begin(), line.end(), '\n', '?');
  line.resize(std::min<std::size_t>(line.size(), 900));
  line += ": was truncated while it was mapped\n";
  std::copy(line.begin(), line.end(), bus_error_line.text.begin());
  bus_error_line.length = line.size();
  struct sigaction action = {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, nullptr);
}

// In a child process whose parent says what has become of it.
inline void leave_bus_errors_to_the_parent() {
  bus_errors_are_anothers = true;
  signal(SIGBUS, SIG_DFL);
}

}  // namespace clockpage

#endif  // CLOCKPAGE_BUS_ERROR_HPP
