// SPDX-License-Identifier: MIT
//
// For timens_test.py: what a program in a time namespace reads through its view, and what its own
// clock_gettime makes of the same counter value. One JSON object on stdout.
//
//   timens_probe compare N          N counter values, as they come, and the kernel's own mapping
//   timens_probe vdso N             N counter values, fed to the real vDSO
//   timens_probe exchange FILE M    passes M timestamps to and fro with another such process
//
// The view is $CLOCKPAGE_VIEW, where it is set; else these are the host's clocks.
#include <clockpage/clockpage.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "kernel_clock.hpp"

namespace {

using nlohmann::json;
using namespace std::chrono_literals;

constexpr std::int64_t kNsPerSec = 1'000'000'000;
constexpr int kUnfit = 77;  // this machine cannot do it: not the product's fault
constexpr const char* kNames[] = {"realtime", "monotonic", "raw", "boottime", "tai"};

[[noreturn]] void fail(const std::string& what, int code = 1) {
  std::fprintf(stderr, "timens_probe: %s\n", what.c_str());
  std::exit(code);
}

clockpage_region* open_region(std::uint32_t flags) {
  clockpage_open_options options{};
  options.size = sizeof options;
  options.flags = flags;
  clockpage_region* region = nullptr;
  clockpage_open_error error;
  if (clockpage_open(&options, &region, &error) != CLOCKPAGE_OK) fail(error.where);
  return region;
}

// The process's view, and beside it the page that it is a view of.
struct Pages {
  clockpage_region* through = open_region(CLOCKPAGE_OPEN_VIEW);
  const clockpage_view_reader* view = clockpage_view_reader_of(through);
  Pages() {
    if (view == nullptr) fail("there is no view");
  }
  const clockpage_reader* host = clockpage_reader_of(open_region(CLOCKPAGE_OPEN_HOST_CLOCKS));
};

// Page's clock by the kernel's number (KernelClock has REALTIME, MONOTONIC, RAW, BOOTTIME, TAI).
int page_clock(std::size_t index) {
  static constexpr int kClocks[] = {CLOCKPAGE_REALTIME, CLOCKPAGE_MONOTONIC,
                                    CLOCKPAGE_MONOTONIC_RAW, CLOCKPAGE_BOOTTIME, CLOCKPAGE_TAI};
  return kClocks[index];
}

// What was found of one clock.
struct Found {
  std::map<std::int64_t, std::uint64_t> difference;  // view - kernel, ns; leased readings
  std::uint64_t overdue = 0, refused = 0, outside = 0;
  std::uint64_t unlike_page = 0;  // view - page is not the namespace's offset
};

class Probe {
 public:
  Probe(const Pages& pages, const clockpage::KernelClock& kernel) : pages_(pages), kernel_(kernel) {
    clockpage_view_marker(pages.view, &marker_);
  }

  // What the namespace's clock says at this counter value is `kernel_ns`.
  void judge(std::size_t index, std::uint64_t counter, std::int64_t kernel_ns) {
    Found& found = found_[index];
    const int clock = page_clock(index);
    clockpage_view_time time;
    std::int64_t page_ns = 0;
    if (clockpage_view_at_bounds(pages_.view, clock, counter, marker_, &time) != 0 ||
        clockpage_at(pages_.host, clock, counter, &page_ns) != 0) {
      found.refused++;
      return;
    }
    if ((time.time.flags & CLOCKPAGE_TIME_OVERDUE) != 0) {
      found.overdue++;  // the page's reading may have been revised since the view's
      return;
    }
    found.difference[time.time.ns - kernel_ns]++;
    if (time.time.ns - page_ns != kernel_.offset_ns(clockpage::kKernelClocks[index]))
      found.unlike_page++;
    if (kernel_ns < time.time.earliest_ns || kernel_ns > time.time.latest_ns) found.outside++;
  }

  json said() const {
    json all;
    all["monotonic_offset_ns"] = kernel_.monotonic_offset_ns();
    all["boottime_offset_ns"] = kernel_.boottime_offset_ns();
    for (std::size_t i = 0; i < found_.size(); i++) all[kNames[i]] = said(found_[i]);
    return all;
  }

 private:
  static json said(const Found& found) {
    std::vector<std::pair<std::int64_t, std::uint64_t>> sizes;
    std::uint64_t samples = 0, seen = 0;
    for (const auto& [difference, count] : found.difference) {
      sizes.emplace_back(std::abs(difference), count);
      samples += count;
    }
    std::sort(sizes.begin(), sizes.end());
    std::int64_t median = -1, p999 = -1;
    for (const auto& [size, count] : sizes) {
      seen += count;
      if (median < 0 && seen * 2 >= samples) median = size;
      if (p999 < 0 && seen * 1000 >= samples * 999) p999 = size;
    }
    return {{"samples", samples},
            {"median_ns", median},
            {"p999_ns", p999},
            {"max_ns", sizes.empty() ? -1 : sizes.back().first},
            {"overdue", found.overdue},
            {"refused", found.refused},
            {"outside_bounds", found.outside},
            {"unlike_page", found.unlike_page}};
  }

  const Pages& pages_;
  const clockpage::KernelClock& kernel_;
  std::uint64_t marker_ = 0;
  std::array<Found, clockpage::kKernelClocks.size()> found_;
};

clockpage::KernelClock proven() {
  std::string why;
  for (int attempt = 0; attempt < 20; attempt++) {  // a busy machine may look like a wrong layout
    auto proof = clockpage::KernelClock::prove();
    if (const auto* clock = std::get_if<clockpage::KernelClock>(&proof)) return *clock;
    why = std::get<std::string>(proof);
    std::this_thread::sleep_for(100ms);
  }
  fail(why, kUnfit);
}

void compare(std::uint64_t samples) {
  const Pages pages;
  const clockpage::KernelClock kernel = proven();
  Probe probe(pages, kernel);
  for (std::uint64_t i = 0; i < samples; i++) {
    clockpage::KernelClockSnapshot snapshot;
    std::uint64_t counter = 0;
    if (!kernel.read_with_counter(snapshot, counter)) continue;
    for (std::size_t index = 0; index < clockpage::kKernelClocks.size(); index++) {
      const int clock = clockpage::kKernelClocks[index];
      if (const auto ns = evaluate(snapshot, clock, counter))
        probe.judge(index, counter, *ns + kernel.offset_ns(clock));
    }
    std::this_thread::sleep_for(50us);  // over many segments and ticks
  }
  std::printf("%s\n", probe.said().dump().c_str());
}

// ---- the real vDSO, at counter values of our choice: see vdso_trap_test.cpp

#if defined(__x86_64__)
struct Trap {
  const clockpage::KernelClock* clock = nullptr;
  std::uint64_t counter = 0;
  bool have_snapshot = false;
  clockpage::KernelClockSnapshot snapshot;
} trap;

void answer_counter_read(int, siginfo_t*, void* context) {
  auto& regs = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const auto* code = reinterpret_cast<const unsigned char*>(regs[REG_RIP]);
  if (code[0] == 0x0f && code[1] == 0x31) {  // rdtsc
    regs[REG_RIP] += 2;
  } else if (code[0] == 0x0f && code[1] == 0x01 && code[2] == 0xf9) {  // rdtscp
    regs[REG_RIP] += 3;
    regs[REG_RCX] = 0;
  } else {
    signal(SIGSEGV, SIG_DFL);
    return;
  }
  regs[REG_RAX] = static_cast<greg_t>(trap.counter & 0xffffffff);
  regs[REG_RDX] = static_cast<greg_t>(trap.counter >> 32);
  trap.have_snapshot = trap.clock->read(trap.snapshot);
}

// Whether what the vDSO said is its line at the counter value: a kernel that has moved on since
// clamps values before its own.
bool is_of_the_counter(int clock) {
  const std::uint64_t last =
      clock == CLOCK_MONOTONIC_RAW ? trap.snapshot.raw_cycle_last : trap.snapshot.cycle_last;
  return trap.have_snapshot && static_cast<std::int64_t>(trap.counter - last) >= 0;
}

void vdso(std::uint64_t samples) {
  const Pages pages;
  const clockpage::KernelClock kernel = proven();
  Probe probe(pages, kernel);
  trap.clock = &kernel;
  struct sigaction action = {};
  action.sa_sigaction = answer_counter_read;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, nullptr);
  for (std::uint64_t i = 0; i < samples; i++) {
    std::array<std::int64_t, clockpage::kKernelClocks.size()> said{};
    trap.counter = clockpage_counter_ordered();
    if (prctl(PR_SET_TSC, PR_TSC_SIGSEGV) != 0) fail("prctl(PR_SET_TSC) is refused", kUnfit);
    for (std::size_t index = 0; index < said.size(); index++) {
      timespec ts = {};
      trap.have_snapshot = false;
      clock_gettime(clockpage::kKernelClocks[index], &ts);
      said[index] = is_of_the_counter(clockpage::kKernelClocks[index])
                        ? ts.tv_sec * kNsPerSec + ts.tv_nsec
                        : INT64_MIN;
    }
    prctl(PR_SET_TSC, PR_TSC_ENABLE);
    for (std::size_t index = 0; index < said.size(); index++)
      if (said[index] != INT64_MIN) probe.judge(index, trap.counter, said[index]);
    if (i % 16 == 0) std::this_thread::sleep_for(50us);
  }
  std::printf("%s\n", probe.said().dump().c_str());
}
#else
void vdso(std::uint64_t) { fail("the counter can be trapped on x86-64 only", kUnfit); }
#endif

// ---- exchanging REALTIME

struct alignas(128) Message {
  std::atomic<std::uint64_t> number;  // 0: none yet
  std::int64_t ns;
  std::uint64_t epoch;
  std::uint32_t flags;
};
// In a file of zeros that both map. Message m is for who has m % 2.
struct Exchange {
  alignas(128) std::atomic<std::uint32_t> joined;
  Message message[2];
};

struct Tally {
  std::uint64_t exchanges = 0, backward = 0, overdue_backward = 0, overdue = 0, other_epoch = 0;
  std::int64_t least_step_ns = INT64_MAX, largest_backward_ns = 0;
};

class Participant {
 public:
  Participant(Exchange& exchange, std::uint64_t target)
      : exchange_(exchange), target_(target), self_(exchange.joined.fetch_add(1)) {
    if (self_ > 1) fail("there are two others already");
    pin();
    if (std::getenv("CLOCKPAGE_VIEW") != nullptr) {
      view_ = clockpage_view_reader_of(open_region(CLOCKPAGE_OPEN_VIEW));
    } else {
      page_ = clockpage_reader_of(open_region(0));
    }
  }

  void run() {
    if (self_ == 0) {
      while (exchange_.joined.load() < 2) std::this_thread::sleep_for(1ms);
      send(1, read());
    }
    for (std::uint64_t number = self_ == 0 ? 2 : 1; number <= target_; number += 2) {
      await(number);
      const Message& received = exchange_.message[self_];
      const clockpage_time own = read();
      judge(received, own);
      send(number + 1, own);
    }
    std::printf("%s\n", said().dump().c_str());
  }

 private:
  void pin() {
    cpu_set_t all, one;
    sched_getaffinity(0, sizeof all, &all);
    if (CPU_COUNT(&all) < 2) {
      spins_ = 20;
      return;
    }
    unsigned place = 0;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
      if (!CPU_ISSET(cpu, &all) || place++ != self_) continue;
      CPU_ZERO(&one);
      CPU_SET(cpu, &one);
      sched_setaffinity(0, sizeof one, &one);
    }
  }

  clockpage_time read() {
    int error = 0;
    for (int attempt = 0; attempt < 10; attempt++) {
      clockpage_view_time time;
      error = view_ != nullptr ? clockpage_view_now_bounds(view_, CLOCKPAGE_REALTIME, &time)
                               : clockpage_now_bounds(page_, CLOCKPAGE_REALTIME, &time.time);
      if (error != 0) continue;
      if ((time.time.flags & CLOCKPAGE_TIME_OVERDUE) != 0) tally_.overdue++;
      return time.time;
    }
    fail(std::string("cannot read: ") + clockpage_strerror(error));
  }

  void judge(const Message& received, const clockpage_time& own) {
    tally_.exchanges++;
    if (received.epoch != own.epoch) {
      tally_.other_epoch++;
      return;
    }
    const std::int64_t step = own.ns - received.ns;
    tally_.least_step_ns = std::min(tally_.least_step_ns, step);
    if (step >= 0) return;
    const bool overdue = ((received.flags | own.flags) & CLOCKPAGE_TIME_OVERDUE) != 0;
    (overdue ? tally_.overdue_backward : tally_.backward)++;
    tally_.largest_backward_ns = std::max(tally_.largest_backward_ns, -step);
  }

  void send(std::uint64_t number, const clockpage_time& time) {
    Message& message = exchange_.message[number % 2];
    message.ns = time.ns;
    message.epoch = time.epoch;
    message.flags = time.flags;
    message.number.store(number, std::memory_order_release);
  }

  void await(std::uint64_t number) {
    const Message& message = exchange_.message[self_];
    for (std::uint64_t spin = 1; message.number.load(std::memory_order_acquire) != number; spin++)
      if (spin % spins_ == 0) sched_yield();
  }

  json said() const {
    return {{"through_view", view_ != nullptr},
            {"exchanges", tally_.exchanges},
            {"backward", tally_.backward},
            {"overdue", tally_.overdue},
            {"overdue_backward", tally_.overdue_backward},
            {"other_epoch", tally_.other_epoch},
            {"least_step_ns", tally_.least_step_ns},
            {"largest_backward_ns", tally_.largest_backward_ns}};
  }

  Exchange& exchange_;
  const std::uint64_t target_;
  const std::uint32_t self_;
  std::uint64_t spins_ = 2000;
  const clockpage_view_reader* view_ = nullptr;
  const clockpage_reader* page_ = nullptr;
  Tally tally_;
};

void exchange(const char* path, std::uint64_t target) {
  const int file = open(path, O_RDWR | O_CLOEXEC);
  if (file < 0 || ftruncate(file, sizeof(Exchange)) != 0) fail("cannot open the file");
  void* memory = mmap(nullptr, sizeof(Exchange), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) fail("cannot map the file");
  Participant(*static_cast<Exchange*>(memory), target).run();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "compare" && argc == 3)
    compare(std::strtoull(argv[2], nullptr, 10));
  else if (what == "vdso" && argc == 3)
    vdso(std::strtoull(argv[2], nullptr, 10));
  else if (what == "exchange" && argc == 4)
    exchange(argv[2], std::strtoull(argv[3], nullptr, 10));
  else
    return 2;
  return 0;
}
