// SPDX-License-Identifier: MIT
#include "timens_offsets.hpp"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>
#include <utility>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

namespace clockpage {
namespace {

TimensOffsets Parsed(const std::string& text) {
  const auto parsed = parse_timens_offsets(text);
  if (const auto* wrong = std::get_if<std::string>(&parsed)) {
    ADD_FAILURE() << *wrong;
    return {};
  }
  return std::get<TimensOffsets>(parsed);
}

TEST(TimensOffsetsTest, ReadsWhatTheKernelWrites) {
  EXPECT_EQ(Parsed("monotonic           0         0\nboottime            0         0\n"),
            (TimensOffsets{0, 0}));
  EXPECT_EQ(Parsed("monotonic         100         0\nboottime           -1 500000000\n"),
            (TimensOffsets{100'000'000'000, -500'000'000}));
  EXPECT_EQ(Parsed("monotonic -4611686018 999999999\nboottime    4611686018 999999999\n"),
            (TimensOffsets{-4'611'686'017'000'000'001, 4'611'686'018'999'999'999}));
  EXPECT_EQ(Parsed("boottime 1 2\nmonotonic 3 4\n"), (TimensOffsets{3'000'000'004, 1'000'000'002}));
  EXPECT_EQ(Parsed("monotonic -9223372036 0\nboottime 9223372036 854775807\n"),
            (TimensOffsets{-9'223'372'036'000'000'000, INT64_MAX}));
}

TEST(TimensOffsetsTest, RefusesEverythingElseAndSaysWhy) {
  const std::string good = "boottime 0 0\n";
  const std::pair<std::string, std::string> cases[] = {
      {"", "monotonic is missing"},
      {good, "monotonic is missing"},
      {"monotonic 0 0\n", "boottime is missing"},
      {"\n" + good, "\"\" is neither"},
      {good + good, "boottime is there twice"},
      {"tai 1 0\n" + good, "\"tai\" is neither"},
      {"Monotonic 1 0\n" + good, "\"Monotonic\" is neither"},
      {"monotonic\t1\t0\n" + good, "\"monotonic?1?0\" is neither"},
      {good + "monotonic 0 0", "does not end"},
      {good + "monotonic 0\n", "not followed by two numbers"},
      {good + "monotonic 0 0 0\n", "not followed by two numbers"},
      {good + "monotonic +1 0\n", "\"+1\" for seconds"},
      {good + "monotonic 1.5 0\n", "\"1.5\" for seconds"},
      {good + "monotonic 0x1 0\n", "\"0x1\" for seconds"},
      {good + "monotonic -9223372037 0\n", "beyond 64 bits"},
      {good + "monotonic 9223372036 854775808\n", "beyond 64 bits"},
      {good + "monotonic 99999999999999999999 0\n", "for seconds"},
      {good + "monotonic 0 -1\n", "\"-1\" for nanoseconds"},
      {good + "monotonic 0 1000000000\n", "for nanoseconds"},
      {good + std::string("monotonic 0 \0\n", 14), "for nanoseconds"},
  };
  for (const auto& [text, why] : cases) {
    const auto parsed = parse_timens_offsets(text);
    ASSERT_EQ(parsed.index(), 1u) << text;
    EXPECT_NE(std::get<std::string>(parsed).find(why), std::string::npos)
        << text << ": " << std::get<std::string>(parsed);
  }
}

TEST(TimensOffsetsTest, AProcessThatThereIsNotIsRefusedByItsFile) {
  const auto read = read_timens_offsets("2147483647");
  ASSERT_EQ(read.index(), 1u);
  EXPECT_EQ(std::get<TimensRefusal>(read).saved_errno, ENOENT);
  EXPECT_EQ(std::get<TimensRefusal>(read).text,
            "/proc/2147483647/timens_offsets: No such file or directory");
}

// In a child: exit code 0, 77 where this machine makes no namespace.
int InNewNamespace(int (*body)()) {
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWTIME) != 0) _exit(77);
    std::ofstream offsets("/proc/self/timens_offsets");
    if (!(offsets << "monotonic 1000 5\nboottime -1 999999999\n" << std::flush)) _exit(77);
    _exit(body());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

constexpr TimensOffsets kMade{1'000'000'000'005, -1};

TEST(TimensOffsetsTest, ReadsANamespaceAndTellsItFromThatOfFutureChildren) {
  const int result = InNewNamespace([] {
    // Before the fork: what is written in /proc is not this process's, whose offsets are what they
    // were before.
    const auto before = own_timens_offsets();
    const auto written = read_timens_offsets("self");
    if (written.index() != 0 || std::get<TimensOffsets>(written) != kMade) return 2;
    if (before.index() == 0 && std::get<TimensOffsets>(before) == kMade) return 3;
    const pid_t child = fork();
    if (child == 0) {
      const auto own = own_timens_offsets();
      _exit(own.index() == 0 && std::get<TimensOffsets>(own) == kMade ? 0 : 4);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 5;
  });
  if (result == 77) GTEST_SKIP() << "no time namespace can be made here";
  EXPECT_EQ(result, 0);
}

// Two levels deep and not forked: neither the first namespace nor its children's.
TEST(TimensOffsetsTest, SaysWhereTheOwnOffsetsCannotBeTold) {
  const int result = InNewNamespace([] {
    const pid_t child = fork();
    if (child == 0) {
      if (unshare(CLONE_NEWTIME) != 0) _exit(77);
      const auto own = own_timens_offsets();
      _exit(own.index() == 1 && std::get<TimensRefusal>(own).saved_errno == EXDEV ? 0 : 4);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 5;
  });
  if (result == 77) GTEST_SKIP() << "no time namespace can be made here";
  EXPECT_EQ(result, 0);
}

TEST(TimensOffsetsTest, TheFirstNamespaceHasNone) {
  const auto own = own_timens_offsets();
  const auto read = read_timens_offsets("self");
  if (own.index() == 0 && read.index() == 0)
    EXPECT_EQ(std::get<TimensOffsets>(own), std::get<TimensOffsets>(read));
  else
    GTEST_SKIP() << "this process's offsets cannot be told";
}

}  // namespace
}  // namespace clockpage
