// SPDX-License-Identifier: MIT
#include "path.hpp"

#include <clockpage/counter.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <stdexcept>
#include <utility>

namespace clockpage::fault {
namespace {

constexpr char kMeasure[] = "_ZN9clockpage8producer20measure_frequency_hz";
constexpr char kStep[] = "_ZN9clockpage8producer9Publisher4stepEv";
constexpr char kConstructor[] = "_ZN9clockpage8producer9PublisherC";
constexpr char kContinued[] = "_ZN9clockpage8producer9continuedE";
constexpr char kObserve[] = "_ZN9clockpage8producer9SimSource7observeE";
constexpr std::uint64_t kPauseNs = 10'000'000;
constexpr int kMostPublications = 12;
constexpr int kPatience = 4;

// Lets a lease end, so that the publication that has just begun can only be a bridge.
void outwait_lease(const RegionMap& region) {
  const std::uint64_t end = region.newest().lease_end;
  while (static_cast<std::int64_t>(end - clockpage_counter_ordered()) > 0) usleep(500);
}

}  // namespace

const char* name_of(Kind kind) noexcept {
  constexpr const char* names[] = {"steering", "bridge", "adoption"};
  return names[static_cast<int>(kind)];
}

Program::Program(std::string path) : path_(std::move(path)), symbols_(path_) {}

std::uint64_t Program::address(Traced& process, const std::string& mangled) const {
  Location location = process.locate(process.module_begin(path_));
  location.offset = symbols_.begin_of(mangled);
  return process.address(location);
}

std::string Program::describe(Traced& process, std::uint64_t address) const {
  const Location location = process.locate(address);
  if (location.module != process.locate(process.module_begin(path_)).module) return "a library";
  return symbols_.describe(location.offset);
}

std::uint64_t Program::entry(Traced& process, Kind kind) const {
  return address(process, kind == Kind::adoption ? kConstructor : kStep);
}
std::uint64_t Program::bridge_marker(Traced& process) const { return address(process, kContinued); }
std::uint64_t Program::observe(Traced& process) const { return address(process, kObserve); }

Traced start_daemon(const Program& program, const std::vector<std::string>& arguments,
                    const std::string& log) {
  std::vector<std::string> command = {program.path()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  Traced process(command, log);
  const std::uint64_t measure = program.address(process, kMeasure);
  process.insert(measure);
  if (process.resume() != measure) throw std::runtime_error("the daemon ended at once: see " + log);
  process.remove(measure);
  for (;;) {
    if (!process.resume_to_system_call()) throw std::runtime_error("the daemon ended: see " + log);
    const user_regs_struct now = process.registers();
    if (now.orig_rax != SYS_clock_nanosleep) continue;
    process.set_word(now.rdx + sizeof(std::uint64_t), kPauseNs);  // its timespec's tv_nsec
    return process;
  }
}

namespace {

// From the simulated clock's entry to its return. It is not the product, and its length varies.
void pass_over_simulation(Traced& process) {
  const std::uint64_t returns_to = process.word(process.registers().rsp);
  process.insert(returns_to);
  if (process.resume() != returns_to)
    throw std::runtime_error("the simulated clock did not return");
  process.remove(returns_to);
}

// One path, from its entry to its return.
Path step_through(Traced& process, const Program& program, const RegionMap& region) {
  const std::uint64_t observe = program.observe(process);
  Path path;
  std::map<Location, std::uint32_t> seen;
  std::vector<std::byte> bytes;
  (void)region.changed_since(bytes);
  const user_regs_struct begin = process.registers();
  const std::uint64_t returns_to = process.word(begin.rsp);
  for (bool changed = false;;) {
    const user_regs_struct now = process.registers();
    if (now.rip == returns_to && now.rsp > begin.rsp) return path;
    if (now.rip == observe) {
      pass_over_simulation(process);
      continue;
    }
    Instruction instruction;
    instruction.where = process.locate(now.rip);
    instruction.occurrence = ++seen[instruction.where];
    instruction.number = static_cast<std::uint32_t>(path.size());
    instruction.function = program.describe(process, now.rip);
    instruction.reads_counter = (process.word(now.rip) & 0xffff) == 0x310f;
    instruction.new_state = changed;
    instruction.apart = !region.together();
    if (instruction.apart && !path.empty() && !path.back().apart) path.back().commits = true;
    path.push_back(instruction);
    process.step();
    changed = region.changed_since(bytes);
  }
}

}  // namespace

Path record(Traced& process, const Program& program, const RegionMap& region, Kind kind) {
  const std::uint64_t entry = program.entry(process, kind);
  for (int tries = 0; tries < kMostPublications; tries++) {
    process.insert(entry);
    if (process.resume() != entry) throw std::runtime_error("the daemon ended");
    process.remove(entry);
    const std::uint64_t late_before = region.diagnostics().late_publications;
    Path path = step_through(process, program, region);
    // Being late, for all the stepping, is a long detour that few publications take.
    if (region.diagnostics().late_publications != late_before && kind == Kind::steering) continue;
    const bool bridged = (region.newest().terms.flags & CLOCKPAGE_SEGMENT_BRIDGE) != 0;
    if (kind == Kind::adoption || bridged == (kind == Kind::bridge)) return path;
  }
  throw std::runtime_error(std::string("no publication was of the kind ") + name_of(kind));
}

bool run_to(Traced& process, const Program& program, const RegionMap& region,
            const Instruction& target, Kind kind, const AtEntry& at_entry) {
  const std::uint64_t entry = program.entry(process, kind);
  const std::uint64_t marker = program.bridge_marker(process);
  const std::uint64_t observe = program.observe(process);
  const std::uint64_t wanted = process.address(target.where);
  process.insert(entry);
  process.insert(observe);
  process.insert(wanted);
  if (kind == Kind::steering) process.insert(marker);
  // Where an adoption is over.
  const std::uint64_t publishes = program.entry(process, Kind::steering);
  if (kind == Kind::adoption) process.insert(publishes);
  bool on_path = false;
  std::uint32_t occurrence = 0;
  std::uint32_t most = 0;
  std::uint32_t last = target.occurrence;
  for (int publications = 0;;) {
    const std::uint64_t at = process.resume();
    if (at == 0) throw std::runtime_error("the daemon ended");
    if (at == observe) {
      process.remove(wanted);
      pass_over_simulation(process);
      if (process.pc() == wanted && on_path && ++occurrence == last) {
        process.remove_all();
        return true;
      }
      process.insert(wanted);
      if (process.pc() == wanted) process.step();
      continue;
    }
    if (at == entry) {
      const std::string defect = at_entry();
      if (!defect.empty()) throw std::runtime_error("at an entry of the path: " + defect);
      if (++publications > kMostPublications) break;
      // A loop that runs fewer rounds here: its last one, then.
      if (publications > kPatience && most > 0) last = std::min(last, most);
      if (kind == Kind::bridge) outwait_lease(region);
      on_path = true;
      most = std::max(most, occurrence);
      occurrence = 0;
    }
    if (at == wanted && on_path && ++occurrence == last) {
      process.remove_all();
      return true;
    }
    if (at == marker && kind == Kind::steering) on_path = false;
    if (at == publishes && kind == Kind::adoption) break;
  }
  process.remove_all();
  return false;
}

}  // namespace clockpage::fault
