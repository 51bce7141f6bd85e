// SPDX-License-Identifier: MIT
// The real daemon, killed and stopped at the machine instructions of its publish path while real
// readers run: no promise of spec section 6 is broken. Nothing in the daemon helps: it is traced.
#include <unistd.h>

#include <iostream>

#include "campaign.hpp"

namespace clockpage::fault {
namespace {

using PublishPathTest = FaultTest;

// Whatever the last writer left.
void expect_it_goes_on(Lab& lab) {
  lab.start();
  lab.run(20);
  lab.kill();
  lab.readers().end();
  lab.expect_sound("at the end");
  report(lab.readers().tally(), lab.region());
}

TEST_F(PublishPathTest, AWriterKilledAnywhereOnItBreaksNoPromise) try {
  Lab lab;
  for (const Kind kind : {Kind::bridge, Kind::steering}) {
    const Path path = lab.learn(kind);
    const Score score = along(path, lab, [&](const Instruction& target) {
      lab.start();
      const bool reached = lab.go_to(target, kind);
      lab.kill();
      if (lab.random()() % 32 == 0) usleep(150'000);  // past the longest deadline
      lab.expect_sound(named(kind, target));
      return reached;
    });
    report(kind, "killed", path, score);
  }
  expect_it_goes_on(lab);
} catch (const std::exception& e) {
  FAIL() << e.what();
}

// The last look at the counter before the first index is stored: a writer that was stopped before
// it has to notice, and to bridge.
std::uint32_t last_look(const Path& path) {
  std::uint32_t last = 0;
  for (const Instruction& i : path) {
    if (i.reads_counter) last = i.number;
    if (i.commits) return last;
  }
  throw std::runtime_error("the path publishes nothing");
}

// Mostly for 1 to 12 ms: beyond one lease, within or beyond the deadline; now and then for 3 s.
TEST_F(PublishPathTest, AWriterStoppedAnywhereOnItBreaksNoPromise) try {
  Lab lab;
  int long_ones = 0;
  std::uint64_t may_be_late = 0;
  const std::uint64_t late_before = lab.region().diagnostics().late_publications;
  for (const Kind kind : {Kind::bridge, Kind::steering}) {
    const Path path = lab.learn(kind);
    const std::uint64_t one_in = soak() ? path.size() / 10 : 150;
    const std::uint32_t looked = last_look(path);
    lab.start();
    const Score score = along(path, lab, [&](const Instruction& target) {
      if (!lab.go_to(target, kind)) return false;
      if (kind == Kind::steering && target.number > looked) may_be_late++;
      // With the time looked at for the last time and the index not yet stored: late if it steers.
      const bool lasts = target.commits || lab.random()() % one_in == 0;
      lab.stop_for(lasts ? 3'000'000 : 1000 + lab.random()() % 11'000, named(kind, target));
      if (!lasts) return true;
      long_ones++;
      // What came of it is to be seen at the next publication; a new writer has short leads again.
      (void)lab.go_to(path.front(), kind);
      lab.kill();
      lab.start();
      return true;
    });
    report(kind, "stopped", path, score);
    lab.kill();
  }
  std::cout << long_ones << " of the stops lasted 3 s" << std::endl;
  lab.readers().end();
  lab.expect_sound("at the end");
  report(lab.readers().tally(), lab.region());
  EXPECT_GT(long_ones, 0);
  std::cout << may_be_late << " of the stops were between the last look at the counter and the end"
            << std::endl;
  const std::uint64_t late = lab.region().diagnostics().late_publications - late_before;
  EXPECT_GT(late, 0U) << "no steering store was late";
  // A few more: the machine, too, stops a writer between its last look and its store.
  EXPECT_LE(late, may_be_late + 3);
} catch (const std::exception& e) {
  FAIL() << e.what();
}

TEST_F(PublishPathTest, AWriterKilledAtRandomInstantsBreaksNoPromise) try {
  Lab lab;
  const int kills = soak() ? 3000 : 100;
  for (int i = 0; i < kills; i++) {
    lab.start();
    // From its start on: it also dies before it has adopted.
    lab.run_for_and_kill(lab.random()() % 40'000);
    if (i % 10 == 0) usleep(150'000);  // past the longest deadline
    lab.expect_sound("kill " + std::to_string(i) + ", seed " + std::to_string(seed()));
  }
  std::cout << "killed " << kills << " times at random" << std::endl;
  expect_it_goes_on(lab);
} catch (const std::exception& e) {
  FAIL() << e.what();
}

}  // namespace
}  // namespace clockpage::fault
