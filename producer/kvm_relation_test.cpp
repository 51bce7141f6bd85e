// SPDX-License-Identifier: MIT
// On a directory tree that looks like KVM's debugfs.
#include "kvm_relation.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace clockpage::producer {
namespace {

namespace fs = std::filesystem;
using State = KvmReading::State;

std::string refusal(const std::function<void()>& act) {
  try {
    act();
  } catch (const RegionError& e) {
    return e.what();
  }
  return "accepted";
}

class KvmRelationTest : public ::testing::Test {
 protected:
  KvmRelationTest() {
    std::string pattern = (fs::temp_directory_path() / "clockpage-kvm-XXXXXX").string();
    root_ = mkdtemp(pattern.data());
    debugfs_ = KvmDebugfs(root_);
  }
  ~KvmRelationTest() override { fs::remove_all(root_); }

  static void write(const fs::path& path, const std::string& text) {
    std::ofstream file(path);
    file << text << "\n";
    ASSERT_TRUE(file.good()) << path;
  }
  fs::path vm(int fd = 11, pid_t pid = getpid()) {
    const fs::path path = root_ / (std::to_string(pid) + "-" + std::to_string(fd));
    fs::create_directories(path);
    return path;
  }
  static void vcpu(const fs::path& vm, int number, const std::string& offset,
                   const std::string& ratio = "", const std::string& bits = "48") {
    const fs::path path = vm / ("vcpu" + std::to_string(number));
    fs::create_directories(path);
    write(path / "guest_mode", "0");
    write(path / "tsc-offset", offset);
    write(path / "lapic_timer_advance_ns", "0");
    if (ratio.empty()) return;
    write(path / "tsc-scaling-ratio", ratio);
    write(path / "tsc-scaling-ratio-frac-bits", bits);
  }
  KvmReading read() { return debugfs_.read(debugfs_.find(getpid(), std::nullopt)); }
  std::string ours(const std::string& rest) {
    return (root_ / (std::to_string(getpid()) + "-11: ")).string() + rest;
  }

  fs::path root_;
  KvmDebugfs debugfs_;
};

TEST_F(KvmRelationTest, IsWhatAllVcpusSay) {
  for (const int number : {0, 1, 10}) vcpu(vm(), number, "-9223372036854775808", "122380424656806");
  const KvmReading reading = read();
  EXPECT_EQ(reading.state, State::known);
  EXPECT_EQ(reading.relation, (CounterRelation{INT64_MIN, 122380424656806, 48}));
  EXPECT_EQ(reading.reason, "");
}

TEST_F(KvmRelationTest, HasRatioOneWhereKvmDoesNotScale) {
  vcpu(vm(), 0, "-5");
  EXPECT_EQ(read().relation, (CounterRelation{-5, 1, 0}));
  vcpu(vm(), 0, "-5", "281474976710656");
  vcpu(vm(), 1, "-5", "4294967296", "32");  // no machine has both, but one is one
  EXPECT_EQ(read().relation, (CounterRelation{-5, 1, 0}));
}

TEST_F(KvmRelationTest, NamesTheTwoVcpusThatDisagree) {
  vcpu(vm(), 0, "-5", "4294967290", "32");
  vcpu(vm(), 1, "-5", "4294967290", "32");
  vcpu(vm(), 2, "-6", "4294967290", "32");
  EXPECT_EQ(read().state, State::disagree);
  EXPECT_EQ(read().reason, ours("vcpu0 has tsc-offset -5 and vcpu2 has -6: all vCPUs of a view's "
                                "guest must have one"));
  vcpu(vm(), 2, "-5", "4294967291", "32");
  EXPECT_EQ(read().state, State::disagree);
  EXPECT_EQ(read().reason,
            ours("vcpu0 has TSC ratio 4294967290 / 2^32 and vcpu2 has 4294967291 / 2^32: all vCPUs "
                 "of a view's guest must have one"));
}

TEST_F(KvmRelationTest, IsNotTakenWhileAVcpuRunsANestedGuest) {
  vcpu(vm(), 0, "-5");
  vcpu(vm(), 1, "-7000");
  write(vm() / "vcpu1/guest_mode", "1");
  EXPECT_EQ(read().state, State::nested);
  EXPECT_EQ(read().reason.find(ours("vcpu1 runs a nested guest (guest_mode): ")), 0U)
      << read().reason;
  EXPECT_NE(read().reason.find("--tsc-offset"), std::string::npos);
  EXPECT_EQ(refusal([&] { (void)debugfs_.relation_of(debugfs_.find(getpid(), std::nullopt)); }),
            read().reason);
}

// guest_mode has been there since Linux 5.14, nested_run longer: without the one the other tells
// that a nested guest may be running right now.
TEST_F(KvmRelationTest, DoesWithoutGuestModeOnOldKernelsUnlessNestedGuestsHaveRun) {
  vcpu(vm(), 0, "-5");
  fs::remove(vm() / "vcpu0/guest_mode");
  EXPECT_EQ(read().relation, (CounterRelation{-5, 1, 0}));
  write(vm() / "nested_run", "0");
  EXPECT_EQ(read().relation, (CounterRelation{-5, 1, 0}));
  write(vm() / "nested_run", "3");
  EXPECT_EQ(read().state, State::nested);
  write(vm() / "vcpu0/guest_mode", "0");
  EXPECT_EQ(read().state, State::known);
}

// A nested guest that runs between two samples of guest_mode shows in nested_run.
TEST_F(KvmRelationTest, NeverTakesANestedGuestsOffsetForItsHosts) {
  vcpu(vm(), 0, "-5");
  write(vm() / "nested_run", "1000000000");
  const KvmMachine machine = debugfs_.find(getpid(), std::nullopt);
  // In KVM's order, one byte each, so that every read sees one or the other; as fast as can be.
  const auto change = [](int file, const char* text) {
    if (pwrite(file, text, std::strlen(text), 0) < 0) std::abort();
  };
  const auto opened = [&](const char* name) { return open((vm() / name).c_str(), O_WRONLY); };
  const int mode = opened("vcpu0/guest_mode");
  const int offset = opened("vcpu0/tsc-offset");
  const int runs = opened("nested_run");
  std::atomic<bool> stop{false};
  // On two CPUs, where there are two.
  cpu_set_t all;
  ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  const auto pin_to = [](std::size_t cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
  };
  std::vector<std::size_t> cpus;
  for (std::size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
    if (CPU_ISSET(cpu, &all)) cpus.push_back(cpu);
  pin_to(cpus.front());
  std::thread l2([&] {
    pin_to(cpus.back());
    for (std::uint64_t run = 1; !stop; run++) {
      change(mode, "1");
      change(offset, "-7");
      change(runs, std::to_string(1'000'000'000 + run).c_str());
      change(offset, "-5");
      change(mode, "0");
      for (volatile std::uint64_t wait = run * 37 % 4'096; wait > 0;) wait = wait - 1;
    }
  });
  int known = 0;
  int nested = 0;
  int wrong = 0;
  for (int i = 0; i < 20'000 || ((known == 0 || nested == 0) && i < 200'000); i++) {
    const KvmReading reading = debugfs_.read(machine);
    known += reading.state == State::known ? 1 : 0;
    nested += reading.state == State::nested ? 1 : 0;
    if (reading.state == State::known && reading.relation.offset != -5) wrong++;
    if (reading.state != State::known && reading.state != State::nested)
      ADD_FAILURE() << reading.reason;
  }
  stop = true;
  l2.join();
  sched_setaffinity(0, sizeof all, &all);
  for (const int file : {mode, offset, runs}) close(file);
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(nested, 0);
}

TEST_F(KvmRelationTest, WantsToKnowWhichOfSeveralMachinesIsMeant) {
  vcpu(vm(11), 0, "-5");
  vcpu(vm(30), 0, "-6");
  EXPECT_EQ(refusal([&] { (void)debugfs_.find(getpid(), std::nullopt); }),
            root_.string() + ": process " + std::to_string(getpid()) +
                " has 2 virtual machines, with descriptors 11, 30: say which one by --vm-fd");
  EXPECT_EQ(debugfs_.relation_of(debugfs_.find(getpid(), 30)).offset, -6);
  EXPECT_NE(refusal([&] { (void)debugfs_.find(getpid(), 12); }).find("with descriptor 12"),
            std::string::npos);
}

// task_pid_nr(current) in virt/kvm/kvm_main.c: many a VMM makes its machine in a thread.
TEST_F(KvmRelationTest, FindsAMachineThatAThreadHasMade) {
  pid_t thread_id = 0;
  std::atomic<bool> stop{false};
  std::atomic<bool> begun{false};
  std::thread thread([&] {
    thread_id = gettid();
    begun = true;
    while (!stop) usleep(1000);
  });
  while (!begun) usleep(1000);
  vcpu(vm(11, thread_id), 0, "-5");
  const KvmMachine machine = debugfs_.find(getpid(), std::nullopt);
  EXPECT_EQ(machine.creator, thread_id);
  EXPECT_EQ(machine.pid, getpid());
  EXPECT_EQ(debugfs_.relation_of(machine).offset, -5);
  stop = true;
  thread.join();
  EXPECT_EQ(debugfs_.read(machine).state, State::known);  // threads end, the machine goes on
}

TEST_F(KvmRelationTest, SaysWhatIsMissingAndWhatToDo) {
  const std::string us = std::to_string(getpid());
  EXPECT_NE(refusal([&] {
              (void)debugfs_.find(getpid(), std::nullopt);
            }).find(": process " + us + " has no virtual machine"),
            std::string::npos);
  EXPECT_EQ(refusal([&] { (void)debugfs_.find(0x7ffffff0, std::nullopt); }),
            "there is no process 2147483632");
  const KvmDebugfs absent(root_ / "none");
  const std::string why = refusal([&] { (void)absent.find(getpid(), std::nullopt); });
  EXPECT_EQ(why.find((root_ / "none").string() + ": No such file or directory: debugfs is not mo"),
            0U)
      << why;
  (void)vm();
  EXPECT_EQ(read().state, State::unreadable);
  EXPECT_EQ(read().reason, ours("has no vCPU (yet): make the view once there is one"));
}

TEST_F(KvmRelationTest, UnderstandsNumbersAlone) {
  const auto reason_of = [&](const std::string& file, const std::string& text) {
    vcpu(vm(), 0, "-5", "4294967290", "32");
    write(vm() / "vcpu0" / file, text);
    const KvmReading reading = read();
    EXPECT_EQ(reading.state, State::unreadable) << file << " " << text;
    return reading.reason;
  };
  for (const char* text : {"", " 1", "1 ", "0x10", "-", "5x", "9223372036854775808",
                           "1111111111111111111111111111111111111111"})
    EXPECT_EQ(reason_of("tsc-offset", text), ours("vcpu0/tsc-offset: is not a number"));
  EXPECT_EQ(reason_of("tsc-scaling-ratio", "-1"), ours("vcpu0/tsc-scaling-ratio: is not a number"));
  EXPECT_EQ(reason_of("tsc-scaling-ratio", "0"), ours("vcpu0/tsc-scaling-ratio: is 0"));
  EXPECT_EQ(reason_of("tsc-scaling-ratio-frac-bits", "40"),
            ours("vcpu0/tsc-scaling-ratio-frac-bits: is 40, not 32 (SVM) or 48 (VMX)"));
  EXPECT_EQ(reason_of("guest_mode", "no"), ours("vcpu0/guest_mode: is not a number"));
  vcpu(vm(), 0, "-5", "4294967290", "32");
  fs::remove(vm() / "vcpu0/tsc-scaling-ratio-frac-bits");
  EXPECT_EQ(read().reason, ours("vcpu0/tsc-scaling-ratio-frac-bits: No such file or directory"));
}

TEST_F(KvmRelationTest, NeverHangsOnWhatIsNoFile) {
  vcpu(vm(), 0, "-5");
  fs::remove(vm() / "vcpu0/tsc-offset");
  ASSERT_EQ(mkfifo((vm() / "vcpu0/tsc-offset").c_str(), 0600), 0);
  EXPECT_EQ(read().state, State::unreadable);
  fs::remove(vm() / "vcpu0/tsc-offset");
  fs::create_directory(vm() / "vcpu0/tsc-offset");
  EXPECT_EQ(read().state, State::unreadable);
  fs::remove(vm() / "vcpu0/tsc-offset");
  fs::create_symlink("/dev/zero", vm() / "vcpu0/tsc-offset");
  EXPECT_EQ(read().state, State::unreadable);
}

TEST_F(KvmRelationTest, KnowsWhenTheMachineHasEnded) {
  vcpu(vm(), 0, "-5");
  const KvmMachine machine = debugfs_.find(getpid(), std::nullopt);
  fs::rename(vm(), root_ / "old");  // keeps its inode number from being used again
  EXPECT_EQ(debugfs_.read(machine).reason, ours("the virtual machine has ended"));
  EXPECT_EQ(debugfs_.read(machine).state, State::gone);
  vcpu(vm(), 0, "-6");
  EXPECT_EQ(debugfs_.read(machine).state, State::gone);
  EXPECT_EQ(debugfs_.read(machine).reason,
            ours("the virtual machine has ended, and another one has its name"));
}

// An unmounted debugfs says of no machine that it has ended.
TEST_F(KvmRelationTest, TellsAMissingDebugfsFromAMachineThatHasEnded) {
  vcpu(vm(), 0, "-5");
  const KvmMachine machine = debugfs_.find(getpid(), std::nullopt);
  const fs::path away = root_.string() + ".away";
  fs::rename(root_, away);
  EXPECT_EQ(debugfs_.read(machine).state, State::unreadable);
  EXPECT_EQ(debugfs_.read(machine).reason.find(root_.string() + ": No such file or directory: "),
            0U)
      << debugfs_.read(machine).reason;
  fs::rename(away, root_);
  EXPECT_EQ(debugfs_.read(machine).state, State::known);
}

TEST_F(KvmRelationTest, DoesNotFollowAnotherProcessThatHasItsNumber) {
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  vcpu(vm(11, child), 0, "-5");
  KvmMachine machine = debugfs_.find(child, std::nullopt);
  EXPECT_EQ(debugfs_.read(machine).state, State::known);
  KvmMachine earlier = machine;
  earlier.start_time--;
  EXPECT_EQ(debugfs_.read(earlier).state, State::gone);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(debugfs_.read(machine).state, State::gone);
}

}  // namespace
}  // namespace clockpage::producer
