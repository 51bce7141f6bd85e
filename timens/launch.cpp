// SPDX-License-Identifier: MIT
#include "launch.hpp"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>

namespace clockpage::timens {
namespace {

// What this process cannot go on after, and what stops and continues it together with the command.
constexpr int kNotWaitedFor[] = {SIGSEGV, SIGBUS, SIGFPE,  SIGILL,  SIGTRAP,
                                 SIGABRT, SIGSYS, SIGTSTP, SIGTTIN, SIGTTOU};

[[noreturn]] void execute(const std::string& who, const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& argument : command)
    arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  execvp(arguments.front(), arguments.data());
  const int reason = errno;
  fmt::print(stderr, "{}: {}: {}\n", who, command.front(), std::strerror(reason));
  std::fflush(stderr);
  _exit(reason == ENOENT ? kNotFound : kCannotRun);
}

// Whether it has ended.
bool reap(pid_t child, int& status) {
  pid_t ended = 0;
  do {
    ended = waitpid(child, &status, WNOHANG);
  } while (ended < 0 && errno == EINTR);
  if (ended < 0)
    throw std::runtime_error(fmt::format("cannot wait for the command: {}", std::strerror(errno)));
  return ended == child;
}

}  // namespace

Launcher::Launcher() {
  sigfillset(&waited_for_);
  for (int signal : kNotWaitedFor) sigdelset(&waited_for_, signal);
  sigprocmask(SIG_BLOCK, &waited_for_, &before_);
  // Ignored, as the caller may have left it, there would be nothing to wait for.
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  sigaction(SIGCHLD, &action, &child_before_);
}

void Launcher::put_back() const {
  sigaction(SIGCHLD, &child_before_, nullptr);
  sigprocmask(SIG_SETMASK, &before_, nullptr);
}

int Launcher::run(const std::string& who, const std::vector<std::string>& command) {
  std::fflush(nullptr);  // or the child would print it too
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error(fmt::format("cannot fork: {}", std::strerror(errno)));
  if (child == 0) {
    put_back();
    execute(who, command);
  }
  int status = 0;
  while (!reap(child, status)) {
    siginfo_t info{};
    const int signal = sigwaitinfo(&waited_for_, &info);
    // SI_KERNEL: a terminal's, for a whole process group.
    if (signal > 0 && signal != SIGCHLD && info.si_code != SI_KERNEL) kill(child, signal);
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace clockpage::timens
