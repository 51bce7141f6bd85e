// SPDX-License-Identifier: MIT
// The publish path of the daemon, instruction by instruction, and how to get to each of them.
//
// The path is learned by single-stepping the real daemon through it once. To be at the n-th
// instruction in another run, at full speed, one waits at that instruction's address until it comes
// up for the k-th time since the path's entry, which is what makes it the n-th: single-stepping
// there would make the writer so slow that it could only bridge.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "region_map.hpp"
#include "traced.hpp"

namespace clockpage::fault {

enum class Kind { steering, bridge, adoption };
const char* name_of(Kind kind) noexcept;

struct Instruction {
  Location where;
  std::uint32_t occurrence = 1;  // since the path's entry
  std::uint32_t number = 0;      // in the path
  bool new_state = false;        // the instruction before this one has changed the region
  bool apart = false;            // the pages are at different segments
  bool commits = false;          // it is about to store the first index
  bool reads_counter = false;    // rdtsc
  std::string function;          // and the distance from its beginning
};
using Path = std::vector<Instruction>;

// What a faulty run needs to know of the daemon's program.
class Program {
 public:
  explicit Program(std::string path);
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  // Where in `process` the function is whose mangled name begins so.
  [[nodiscard]] std::uint64_t address(Traced& process, const std::string& mangled) const;
  [[nodiscard]] std::string describe(Traced& process, std::uint64_t address) const;
  // The entry of a kind of path.
  [[nodiscard]] std::uint64_t entry(Traced& process, Kind kind) const;
  // The function that only the other kind of publication calls.
  [[nodiscard]] std::uint64_t bridge_marker(Traced& process) const;
  [[nodiscard]] std::uint64_t observe(Traced& process) const;

 private:
  std::string path_;
  Symbols symbols_;
};

// Starts the daemon and leaves it stopped before it has looked for a region. Its 0.2 s pause
// while it measures the counter's frequency is shortened to 10 ms, by changing the system call.
Traced start_daemon(const Program& program, const std::vector<std::string>& arguments,
                    const std::string& log);

// Steps through the path of `kind` whose entry comes next; for `steering`, through the first
// publication that is one. The process stands behind it afterwards.
Path record(Traced& process, const Program& program, const RegionMap& region, Kind kind);

// Called at each entry of the path; what it returns, if not empty, is thrown.
using AtEntry = std::function<std::string()>;

// Runs to an instruction of the path, none of which has been executed then. False: in this
// many publications the path did not come by there (it depends on data).
bool run_to(Traced& process, const Program& program, const RegionMap& region,
            const Instruction& target, Kind kind, const AtEntry& at_entry);

}  // namespace clockpage::fault
