// SPDX-License-Identifier: MIT
// How many machine instructions a read takes, counted one by one: bounded, whatever the writer
// does.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <stdexcept>

#include "campaign.hpp"

namespace clockpage::fault {
namespace {

using ReaderStepsTest = FaultTest;

// A reader process under ptrace.
class SteppedReader {
 public:
  explicit SteppedReader(const std::string& directory) : pid_(fork()) {
    if (pid_ < 0) throw std::runtime_error("fork");
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(1);
      raise(SIGSTOP);
      read_between_traps(directory);
    }
    wait();
  }
  ~SteppedReader() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  SteppedReader(const SteppedReader&) = delete;
  SteppedReader& operator=(const SteppedReader&) = delete;

  // Instructions of the next read, the traps around it not counted.
  std::uint64_t count() {
    go(PTRACE_CONT);
    for (std::uint64_t instructions = 0;; instructions++) {
      go(PTRACE_SINGLESTEP);
      siginfo_t info{};
      if (ptrace(PTRACE_GETSIGINFO, pid_, nullptr, &info) != 0) throw std::runtime_error("siginfo");
      if (info.si_code == SI_KERNEL) return instructions;  // an int3, not a step
      if (instructions > 100 * kMostInstructions) throw std::runtime_error("a read does not end");
    }
  }

 private:
  void go(__ptrace_request how) {
    if (ptrace(how, pid_, nullptr, nullptr) != 0) throw std::runtime_error("ptrace");
    wait();
  }
  void wait() {
    int status = 0;
    if (waitpid(pid_, &status, 0) != pid_ || !WIFSTOPPED(status))
      throw std::runtime_error("the stepped reader ended");
  }
  pid_t pid_;
};

TEST_F(ReaderStepsTest, AreBoundedWithAWriterDeadAnywhereInItsPublication) try {
  Lab lab;
  SteppedReader reader(lab.directory().string());
  const Path path = lab.learn(Kind::steering);
  std::uint64_t most = 0;
  int reads = 0;
  int deaths = 0;
  for (const Instruction& target : chosen(path, lab.random())) {
    // A reader does not see a death where nothing of the page has changed.
    if (!target.new_state || (!soak() && deaths++ % 3 != 0)) continue;
    lab.start();
    (void)lab.go_to(target, Kind::steering);
    lab.kill();
    for (int i = 0; i < 6; i++, reads++) most = std::max(most, reader.count());
    lab.expect_sound(named(Kind::steering, target));
  }
  std::cout << reads << " reads, writer dead: at most " << most << " instructions of "
            << kMostInstructions << std::endl;
  EXPECT_GT(reads, 100);
  EXPECT_LE(most, kMostInstructions);
} catch (const std::exception& e) {
  FAIL() << e.what();
}

// Stepped, a read takes about as long as a segment of 250 us: the index moves under most of them.
TEST_F(ReaderStepsTest, AreBoundedWithAWriterThatPublishesDuringTheRead) try {
  Lab lab;
  SteppedReader reader(lab.directory().string());
  lab.start(Pace::fast);
  lab.run(20);
  const std::uint64_t first = lab.region().index();
  std::vector<std::uint64_t> counts(soak() ? 6000 : 300);
  for (std::uint64_t& count : counts) count = reader.count();
  const std::uint64_t published = lab.region().index() - first;
  std::sort(counts.begin(), counts.end());
  std::cout << counts.size() << " reads, during which " << published
            << " segments were published: median " << counts[counts.size() / 2] << ", at most "
            << counts.back() << " instructions of " << kMostInstructions << std::endl;
  EXPECT_GT(published, counts.size() / 10);
  EXPECT_LE(counts.back(), kMostInstructions);
} catch (const std::exception& e) {
  FAIL() << e.what();
}

}  // namespace
}  // namespace clockpage::fault
