// SPDX-License-Identifier: MIT
// The daemon killed while it takes over a dead one's half-made publication, and while it creates a
// region.
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iostream>

#include "campaign.hpp"

namespace clockpage::fault {
namespace {

using AdoptionTest = FaultTest;
using CreationTest = FaultTest;

// Leaves a steering segment behind that only the first page has.
void die_between_pages(Lab& lab, const Path& steering) {
  const auto apart =
      std::find_if(steering.begin(), steering.end(), [](const Instruction& i) { return i.apart; });
  if (apart == steering.end()) throw std::runtime_error("the path has no place between two pages");
  for (int tries = 0; tries < 5; tries++) {
    lab.start();
    const bool reached = lab.go_to(*apart, Kind::steering);
    lab.kill();
    if (reached && !lab.region().together()) return;
  }
  throw std::runtime_error("the writer could not be killed between two pages");
}

TEST_F(AdoptionTest, AWriterKilledWhileItFinishesADeadOnesPublicationBreaksNoPromise) try {
  Lab lab;
  const Path steering = lab.learn(Kind::steering);
  die_between_pages(lab, steering);
  const Path adoption = lab.learn(Kind::adoption);
  const Score score = along(adoption, lab, [&](const Instruction& target) {
    die_between_pages(lab, steering);
    const std::uint64_t furthest = lab.region().index();
    lab.start();
    const bool reached = lab.go_to(target, Kind::adoption);
    lab.kill();
    if (lab.random()() % 16 == 0) usleep(150'000);  // past the longest deadline
    lab.expect_sound(named(Kind::adoption, target));
    if (lab.region().index() != furthest) throw std::runtime_error("an adoption moved the newest");
    return reached;
  });
  report(Kind::adoption, "killed", adoption, score);
  lab.start();
  lab.run(20);
  lab.kill();
  EXPECT_TRUE(lab.region().together());
  lab.readers().end();
  lab.expect_sound("at the end");
  report(lab.readers().tally(), lab.region());
} catch (const std::exception& e) {
  FAIL() << e.what();
}

std::vector<std::string> arguments(const std::filesystem::path& directory) {
  return {"--dir", directory.string(), "--source", "sim", "--quiet", "--period-us", "1000"};
}

// Runs to the n-th entry or exit of a system call, sleeps not counted; false: the daemon publishes.
bool to_system_call(Traced& daemon, const std::filesystem::path& directory, int n) {
  for (int passed = 0; passed < n;) {
    if (!daemon.resume_to_system_call()) throw std::runtime_error("the daemon ended");
    if (daemon.registers().orig_rax != SYS_clock_nanosleep) {
      passed++;
      continue;
    }
    if (!std::filesystem::exists(directory / "region")) continue;
    if (RegionMap(directory).diagnostics().publications > 2) return false;
  }
  return true;
}

// Without a region, or with a whole one that strangers can read.
void expect_none_or_whole(const std::filesystem::path& directory) {
  if (!std::filesystem::exists(directory / "region")) return;
  clockpage_open_options options{};
  options.size = sizeof options;
  const std::string name = directory.string();
  options.directory = name.c_str();
  clockpage_region* region = nullptr;
  clockpage_open_error error{};
  ASSERT_EQ(clockpage_open(&options, &region, &error), 0) << error.where;
  clockpage_time time{};
  EXPECT_EQ(clockpage_now_bounds(clockpage_reader_of(region), CLOCKPAGE_REALTIME, &time), 0);
  clockpage_close(region);
  struct stat status {};
  ASSERT_EQ(stat((directory / "region").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0644U);
  EXPECT_EQ(RegionMap(directory).defect(), "");
}

// All that it does to files, it does by system calls: between two of them nothing changes.
TEST_F(CreationTest, AWriterKilledAtAnySystemCallLeavesNoRegionOrAWholeOne) try {
  const Program program(program_directory() + "/clockpaged");
  int kills = 0;
  int with_region = 0;
  for (int n = 1;; n++) {
    const TemporaryDirectory directory;
    const std::string log = (directory.path / "log").string();
    {
      Traced daemon = start_daemon(program, arguments(directory.path), log);
      if (!to_system_call(daemon, directory.path, n)) break;
    }
    kills++;
    with_region += std::filesystem::exists(directory.path / "region");
    expect_none_or_whole(directory.path);
    // The next one makes or adopts it.
    Traced next = start_daemon(program, arguments(directory.path), log);
    const std::uint64_t entry = program.entry(next, Kind::steering);
    next.insert(entry);
    for (int i = 0; i < 3; i++) ASSERT_EQ(next.resume(), entry) << "system call " << n;
    expect_none_or_whole(directory.path);
    ASSERT_TRUE(std::filesystem::exists(directory.path / "region"));
    ASSERT_FALSE(std::filesystem::exists(directory.path / ".region.new"));
  }
  std::cout << "killed at " << kills << " entries and exits of system calls, " << with_region
            << " of them with the region in place" << std::endl;
  EXPECT_GT(with_region, 2);
  EXPECT_GT(kills - with_region, 10);
} catch (const std::exception& e) {
  FAIL() << e.what();
}

}  // namespace
}  // namespace clockpage::fault
