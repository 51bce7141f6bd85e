// SPDX-License-Identifier: MIT
#include "readers.hpp"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <new>
#include <stdexcept>

#include "reader_process.hpp"

namespace clockpage::fault {

const char* name_of(Wrong wrong) noexcept {
  constexpr std::array names = {
      "a leased read went backwards",
      "a leased read of an earlier epoch",
      "two leased reads at one counter value differ between processes",
      "a leased read differs from the same counter value evaluated later (torn)",
      "two pages differ by more than 2 ns",
      "a bridge contradicts what an overdue reader was told",
      "not overdue P + 2 L after the writer's end",
      "an overdue read with a good status",
      "bounds of overdue reads do not grow",
      "a status or an interval that cannot be",
      "an unexpected error"};
  static_assert(names.size() == static_cast<unsigned>(Wrong::kCount));
  return names[static_cast<unsigned>(wrong)];
}

Tally& Tally::operator+=(const Tally& o) noexcept {
  reads += o.reads;
  leased += o.leased;
  overdue += o.overdue;
  after_deadline += o.after_deadline;
  exchanged += o.exchanged;
  agreements += o.agreements;
  settled += o.settled;
  formats += o.formats;
  bridged += o.bridged;
  late_differs += o.late_differs;
  busy += o.busy;
  refused += o.refused;
  longest_ticks = longest_ticks > o.longest_ticks ? longest_ticks : o.longest_ticks;
  for (unsigned i = 0; i < wrong.size(); i++) wrong[i] += o.wrong[i];
  return *this;
}

namespace {

// The i-th of the CPUs that this process may use.
void pin(unsigned i) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  const auto count = static_cast<unsigned>(CPU_COUNT(&allowed));
  for (unsigned cpu = 0, seen = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &allowed) || seen++ != i % count) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
    return;
  }
}

std::string text(const Reading& r) {
  return "{page " + std::to_string(r.page) + " clock " + std::to_string(r.clock) + " counter " +
         std::to_string(r.counter) + " index " + std::to_string(r.index) + " ns " +
         std::to_string(r.ns) + " [" + std::to_string(r.earliest_ns) + ", " +
         std::to_string(r.latest_ns) + "] epoch " + std::to_string(r.epoch) + " status " +
         std::to_string(r.status) + (r.overdue ? " overdue}" : " leased}");
}

}  // namespace

Readers::Readers(const std::string& directory, std::uint64_t seed) {
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("mmap");
  shared_ = new (memory) Shared;
  for (unsigned i = 0; i < kReaders; i++) {
    pids_[i] = fork();
    if (pids_[i] < 0) throw std::runtime_error("fork");
    if (pids_[i] != 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sched_param ordinary{};
    sched_setscheduler(0, SCHED_OTHER, &ordinary);
    pin(i);
    _exit(ReaderProcess(*shared_, i, seed).run(directory));
  }
  for (unsigned i = 0; i < kReaders; i++)
    for (int tries = 0; !shared_->lane[i].ready.load(); tries++) {
      if (tries > 10'000) throw std::runtime_error("a reader could not open the region");
      usleep(1000);
    }
}

Readers::~Readers() {
  for (const pid_t pid : pids_)
    if (pid > 0) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
  munmap(shared_, sizeof(Shared));
}

void Readers::writer_stopped(std::uint64_t deadline) noexcept {
  shared_->deadline.store(deadline);
  shared_->stop.store(++stops_);
}

void Readers::writer_goes_on() noexcept { shared_->stop.store(0); }

Tally Readers::tally() const noexcept {
  Tally sum;
  for (const Shared::Lane& lane : shared_->lane) sum += lane.tally;
  return sum;
}

std::string Readers::verdict() const {
  std::string out;
  for (unsigned i = 0; i < kReaders; i++)
    for (unsigned kind = 0; kind < static_cast<unsigned>(Wrong::kCount); kind++) {
      const Shared::Lane& lane = shared_->lane[i];
      if (lane.tally.wrong[kind] == 0) continue;
      out += "reader " + std::to_string(i) + ": " + name_of(static_cast<Wrong>(kind)) + ", " +
             std::to_string(lane.tally.wrong[kind]) + " times, first " + text(lane.first[kind][0]) +
             " and " + text(lane.first[kind][1]) + "\n";
    }
  return out;
}

void Readers::end() {
  shared_->quit.store(true);
  bool well = true;
  for (pid_t& pid : pids_) {
    int status = 0;
    if (pid > 0 && waitpid(pid, &status, 0) == pid) well = well && status == 0;
    pid = 0;
  }
  if (!well) throw std::runtime_error("a reader did not end well");
}

}  // namespace clockpage::fault
