// SPDX-License-Identifier: MIT
// Each in a child process of its own: what is tried are a process's signals.
#include "launch.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

namespace clockpage::timens {
namespace {

// How a child ends in which `body` runs.
int StatusOf(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

int ExitCodeOf(const std::function<int()>& body) {
  const int status = StatusOf(body);
  EXPECT_TRUE(WIFEXITED(status)) << status;
  return WEXITSTATUS(status);
}

int Launch(const std::vector<std::string>& command) {
  return Launcher().run("launch_test", command);
}

std::vector<std::string> Shell(const std::string& script) { return {"sh", "-c", script}; }

TEST(LauncherTest, EndsAsTheCommandDoes) {
  for (int code : {0, 1, 77, 255})
    EXPECT_EQ(ExitCodeOf([&] { return Launch(Shell("exit " + std::to_string(code))); }), code);
  EXPECT_EQ(ExitCodeOf([] { return Launch(Shell("kill -TERM $$")); }), 128 + SIGTERM);
  EXPECT_EQ(ExitCodeOf([] { return Launch(Shell("kill -KILL $$")); }), 128 + SIGKILL);
}

TEST(LauncherTest, ACommandThatCannotBeRunIsWhatItIsToEnv) {
  EXPECT_EQ(ExitCodeOf([] { return Launch({"/no/such/command"}); }), kNotFound);
  EXPECT_EQ(ExitCodeOf([] { return Launch({"/"}); }), kCannotRun);
}

TEST(LauncherTest, PassesOnWhatItIsSentAndSurvivesIt) {
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGRTMIN + 3})
    EXPECT_EQ(ExitCodeOf([&] {
                // Its parent, this process, tells itself.
                const auto script = "trap 'exit 42' " + std::to_string(signal) + "; kill -" +
                                    std::to_string(signal) + " $PPID; while :; do sleep 0.02; done";
                return Launch(Shell(script));
              }),
              42)
        << signal;
}

TEST(LauncherTest, WhatCameBeforeTheCommandIsTheCommandsToo) {
  EXPECT_EQ(ExitCodeOf([] {
              Launcher launcher;
              kill(getpid(), SIGTERM);
              return launcher.run("launch_test", {"sleep", "20"});
            }),
            128 + SIGTERM);
}

TEST(LauncherTest, TheCommandsSignalsAreAsTheyWere) {
  EXPECT_EQ(ExitCodeOf([] {
              sigset_t mask;
              sigemptyset(&mask);
              sigaddset(&mask, SIGUSR2);
              sigprocmask(SIG_SETMASK, &mask, nullptr);
              signal(SIGCHLD, SIG_IGN);
              signal(SIGUSR1, SIG_IGN);
              // Not by way of a shell, which has a handler of its own.
              return Launch(
                  {"awk",
                   "/^SigBlk:.*8..$/ { a = 1 } /^SigIgn:.*1.2..$/ { b = 1 } END { exit !(a && b) }",
                   "/proc/self/status"});
            }),
            0);
}

TEST(LauncherTest, ItIsItselfEndedByNothingButSigkill) {
  const int status = StatusOf([] { return Launch(Shell("kill -KILL $PPID; exit 0")); });
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

}  // namespace
}  // namespace clockpage::timens
