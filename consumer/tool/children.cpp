// SPDX-License-Identifier: MIT
#include "children.hpp"

#include <errno.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <thread>

#include "bus_error.hpp"
#include "exit_code.hpp"

namespace clockpage::tool {

Children::~Children() {
  for (const Child& child : children_) {
    if (child.ended) continue;
    kill(child.pid, SIGKILL);
    waitpid(child.pid, nullptr, 0);
  }
}

void Children::start(const std::function<void()>& body) {
  const pid_t parent = getpid();
  std::fflush(nullptr);  // or the child would print it too
  const pid_t pid = fork();
  if (pid < 0) throw Failure("", fmt::format("cannot fork: {}", std::strerror(errno)));
  if (pid > 0) {
    children_.push_back({pid});
    return;
  }
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);  // it died before that
  signal(SIGINT, SIG_IGN);
  signal(SIGTERM, SIG_IGN);
  leave_bus_errors_to_the_parent();
  body();
  _exit(0);
}

bool Children::poll(const Child& child) const {
  if (!child.ended && waitpid(child.pid, &child.wait_status, WNOHANG) == child.pid)
    child.ended = true;
  return child.ended;
}

std::string Children::crashed() const {
  for (const Child& child : children_) {
    if (!poll(child) || child.wait_status == 0) continue;
    if (WIFSIGNALED(child.wait_status))
      return fmt::format("process {} was ended by signal {} ({}){}", child.pid,
                         WTERMSIG(child.wait_status), strsignal(WTERMSIG(child.wait_status)),
                         WTERMSIG(child.wait_status) == SIGBUS
                             ? ": was the file truncated while it was mapped?"
                             : "");
    return fmt::format("process {} ended with exit code {}", child.pid,
                       WEXITSTATUS(child.wait_status));
  }
  return "";
}

std::string Children::join(std::chrono::milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  for (const Child& child : children_) {
    while (!poll(child)) {
      if (std::chrono::steady_clock::now() >= end) {
        kill(child.pid, SIGKILL);
        waitpid(child.pid, &child.wait_status, 0);
        child.ended = true;
        break;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  return crashed();
}

}  // namespace clockpage::tool
