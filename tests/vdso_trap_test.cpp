// SPDX-License-Identifier: MIT
//
// The evaluation of the kernel's mapping against the real vDSO, to the nanosecond.
//
// prctl(PR_SET_TSC, PR_TSC_SIGSEGV) makes rdtsc and rdtscp trap; the handler answers with a
// counter value of our choice. It also takes the snapshot: the vDSO has read its sequence number
// before the trap and checks it after using the data, so when clock_gettime returns, the kernel
// rewrote nothing in between, and the snapshot of the *last* trap is the very data it used.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <new>
#include <random>
#include <string>

#include "kernel_clock.hpp"

#if defined(__x86_64__)

namespace clockpage {
namespace {

constexpr std::uint64_t kBit62 = std::uint64_t{1} << 62;
constexpr std::uint64_t kBit63 = std::uint64_t{1} << 63;
constexpr int kPerClock = 200'000;
constexpr std::uint64_t kSeed = 20261120;

// How a counter value is chosen relative to a clock's cycle_last.
enum Region {
  kSmall,      // up to 20 ms ahead: daily life
  kNegative,   // up to 2^40 behind, mostly a little
  kNearLimit,  // within 1,000 of max_cycles, both sides
  kBeyond,     // beyond max_cycles, up to 2^46 ticks
  kSignBit,    // delta from 2^62 on: bit 62 is its sign
  kTop,        // the largest values below 2^63
  kBit63Set,   // any of these with the most significant bit set
  kRegions,
};
constexpr const char* kRegionNames[kRegions] = {"small", "negative",   "near max_cycles", "beyond",
                                                "2^62",  "below 2^63", "2^63 and up"};

// Filled by the child, which alone runs with the counter trapped; in shared memory.
struct Result {
  std::uint64_t compared[kKernelClocks.size()][kRegions] = {};
  std::uint64_t mismatches = 0;
  std::uint64_t system_calls = 0;  // made where evaluate() says so (kernels before 6.10)
  std::uint64_t far = 0;           // comparisons with deltas up to 2^60
  std::uint64_t no_trap = 0;       // clock_gettime did not read the counter
  std::uint64_t busy = 0;          // no snapshot in the handler
  std::uint64_t finished = 0;
  int clock = 0;  // the first mismatch
  std::uint64_t counter = 0;
  std::int64_t kernel_ns = 0, evaluated_ns = 0;
};

// The handler's input and output.
struct Trap {
  const KernelClock* clock = nullptr;
  std::uint64_t counter = 0;
  std::uint64_t traps = 0;
  bool have_snapshot = false;
  KernelClockSnapshot snapshot;
};
Trap trap;

void answer_counter_read(int, siginfo_t*, void* context) {
  auto& regs = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const auto* code = reinterpret_cast<const unsigned char*>(regs[REG_RIP]);
  if (code[0] == 0x0f && code[1] == 0x31) {  // rdtsc
    regs[REG_RIP] += 2;
  } else if (code[0] == 0x0f && code[1] == 0x01 && code[2] == 0xf9) {  // rdtscp
    regs[REG_RIP] += 3;
    regs[REG_RCX] = 0;
  } else {  // a real fault
    signal(SIGSEGV, SIG_DFL);
    return;
  }
  regs[REG_RAX] = static_cast<greg_t>(trap.counter & 0xffffffff);
  regs[REG_RDX] = static_cast<greg_t>(trap.counter >> 32);
  ++trap.traps;
  trap.have_snapshot = trap.clock->read(trap.snapshot);
}

void trap_the_counter(const KernelClock& clock) {
  trap.clock = &clock;
  struct sigaction action = {};
  action.sa_sigaction = answer_counter_read;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, nullptr);
  prctl(PR_SET_TSC, PR_TSC_SIGSEGV);
}

std::int64_t to_ns(const timespec& ts) { return ts.tv_sec * 1'000'000'000 + ts.tv_nsec; }

std::int64_t clock_ns_by_system_call(int clock) {
  timespec ts = {};
  syscall(SYS_clock_gettime, clock, &ts);
  return to_ns(ts);
}

// What the vDSO says when it reads `counter`.
std::int64_t vdso_ns(int clock, std::uint64_t counter) {
  timespec ts = {};
  trap.counter = counter;
  trap.have_snapshot = false;
  clock_gettime(clock, &ts);
  return to_ns(ts);
}

class Comparison {
 public:
  Comparison(const KernelClock& clock, Result& result) : clock_(clock), result_(result) {}

  // True if compared.
  bool compare(int clock, std::uint64_t counter) {
    const std::uint64_t traps = trap.traps;
    const std::int64_t before = counter >> 63 ? clock_ns_by_system_call(clock) : 0;
    const std::int64_t kernel = vdso_ns(clock, counter);
    if (trap.traps == traps) {
      ++result_.no_trap;
      return false;
    }
    if (!trap.have_snapshot) {
      ++result_.busy;
      return false;
    }
    const auto evaluated = evaluate(trap.snapshot, clock, counter);
    const std::int64_t ours = evaluated.value_or(-1) + clock_.offset_ns(clock);
    if (!evaluated && !trap.snapshot.has_max_cycles && counter >> 63) {
      // The vDSO gives up and makes the system call: the result is the time.
      ++result_.system_calls;
      if (kernel < before || kernel > clock_ns_by_system_call(clock))
        note_mismatch(clock, counter, kernel, ours);
    } else if (!evaluated || ours != kernel) {
      note_mismatch(clock, counter, kernel, ours);
    }
    return true;
  }

 private:
  void note_mismatch(int clock, std::uint64_t counter, std::int64_t kernel, std::int64_t ours) {
    if (result_.mismatches++ != 0) return;
    result_.clock = clock;
    result_.counter = counter;
    result_.kernel_ns = kernel;
    result_.evaluated_ns = ours;
  }

  const KernelClock& clock_;
  Result& result_;
};

// Between 0 and 2^bits - 1, every number of bits equally likely.
std::uint64_t any_size(std::mt19937_64& random, unsigned bits) {
  return (random() >> 1) >> (63 - random() % (bits + 1));
}

std::uint64_t choose(Region region, std::mt19937_64& random, std::uint64_t last,
                     std::uint64_t max_cycles) {
  switch (region) {
    case kSmall:
      return last + random() % 50'000'000;
    case kNegative:
      return last - any_size(random, 40) % last;
    case kNearLimit:
      return last + max_cycles - 1'000 + random() % 2'001;
    case kBeyond:  // the vDSO carries seconds one by one: larger deltas take it milliseconds
      return last + max_cycles + any_size(random, 46);
    case kSignBit:  // some seconds more: a tick may come between, and 2^62 less a bit is slow
      return last + kBit62 + (std::uint64_t{1} << 34) + any_size(random, 61);
    case kTop:
      return kBit63 - 1 - any_size(random, 40);
    default:
      return kBit63 | choose(static_cast<Region>(random() % kBit63Set), random, last, max_cycles);
  }
}

void compare_clock(std::size_t index, const KernelClock& kernel, Comparison& comparison,
                   std::mt19937_64& random, Result& result) {
  const int clock = kKernelClocks[index];
  const bool raw = clock == CLOCK_MONOTONIC_RAW;
  KernelClockSnapshot s;
  std::uint64_t last = 0;
  for (int done = 0; done < kPerClock && result.busy < 1'000 && result.no_trap < 1'000;) {
    if (!kernel.read(s)) ++result.busy;
    last = raw ? s.raw_cycle_last : s.cycle_last;
    // Without max_cycles in the kernel's data the product wraps near here all the same.
    const std::uint64_t limit = !s.has_max_cycles ? std::uint64_t{1} << 41
                                : raw             ? s.raw_max_cycles
                                                  : s.max_cycles;
    const auto region = static_cast<Region>(random() % kRegions);
    if (!comparison.compare(clock, choose(region, random, last, limit))) continue;
    ++result.compared[index][region];
    ++done;
  }
  // Deltas of up to a year and one of 14, which the vDSO carries second by second: a few only.
  for (unsigned bits = 50; bits < 57; ++bits)
    result.far += comparison.compare(clock, last + (std::uint64_t{1} << bits) + 12'345);
  if (clock == CLOCK_REALTIME && s.has_max_cycles)
    result.far += comparison.compare(clock, last + kBit62 / 4);
}

// Runs in the child, counter trapped from here on.
void compare_all(const KernelClock& kernel, Result& result) {
  std::mt19937_64 random(kSeed);
  Comparison comparison(kernel, result);
  trap_the_counter(kernel);
  for (std::size_t index = 0; index < kKernelClocks.size(); ++index)
    compare_clock(index, kernel, comparison, random, result);
  result.finished = 1;
}

// Otherwise the vDSO does not read the counter, and there is nothing to compare.
bool kernel_uses_the_tsc() {
  std::ifstream file("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  std::string name;
  return file >> name && name == "tsc";
}

void print(const Result& result) {
  for (std::size_t index = 0; index < kKernelClocks.size(); ++index) {
    std::printf("clock %2d:", kKernelClocks[index]);
    for (int region = 0; region < kRegions; ++region)
      std::printf(" %llu %s%s", static_cast<unsigned long long>(result.compared[index][region]),
                  kRegionNames[region], region + 1 < kRegions ? "," : "\n");
  }
  std::printf("%llu far deltas, %llu system calls, %llu mismatches (seed %llu)\n",
              static_cast<unsigned long long>(result.far),
              static_cast<unsigned long long>(result.system_calls),
              static_cast<unsigned long long>(result.mismatches),
              static_cast<unsigned long long>(kSeed));
}

TEST(VdsoTrapTest, EvaluationEqualsTheVdsoAtChosenCounterValues) {
  const auto proof = KernelClock::prove();
  if (proof.index() == 1 && !kernel_uses_the_tsc()) GTEST_SKIP() << std::get<1>(proof);
  ASSERT_EQ(proof.index(), 0u) << std::get<1>(proof);
  void* memory =
      mmap(nullptr, sizeof(Result), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* result = new (memory) Result;
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    compare_all(std::get<0>(proof), *result);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  print(*result);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "wait status " << status;
  EXPECT_EQ(result->finished, 1u);
  EXPECT_EQ(result->mismatches, 0u)
      << "first: clock " << result->clock << " at counter " << result->counter << ": kernel "
      << result->kernel_ns << ", evaluated " << result->evaluated_ns;
  for (const auto& clock : result->compared) {
    std::uint64_t sum = 0;
    for (std::uint64_t count : clock) {
      EXPECT_GT(count, 10'000u);
      sum += count;
    }
    EXPECT_EQ(sum, static_cast<std::uint64_t>(kPerClock));
  }
  EXPECT_GE(result->far, kKernelClocks.size() * 7);
  EXPECT_EQ(result->no_trap, 0u) << "clock_gettime did not read the counter in user space";
  munmap(memory, sizeof(Result));
}

}  // namespace
}  // namespace clockpage

#endif  // __x86_64__
