// SPDX-License-Identifier: MIT
// clockpaged's command line.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "publisher.hpp"

namespace clockpage::producer {

struct Options {
  std::string directory;
  bool sealed = false;           // keep the region in sealed memory, hand it over a socket
  std::optional<int> region_fd;  // publish in this memory instead of a file
  std::string source = "auto";   // auto, vvar, bracket, sim, or page: and a PagePlace
  PublisherConfig publisher;
  bool pass_through = false;   // publish nothing: the region is the host's
  std::string parent_view;     // path of this machine's own view of it
  std::optional<Smear> smear;  // of the smeared pages; nothing: the region's, or a default
  std::string leap_table;      // its file; "": the system's, "none": none
  std::string realtime_priority = "auto";  // auto, none, or 1 to 99
  bool control = true;                     // serve views, over the socket DIR/control
  std::string kvm_debugfs = "/sys/kernel/debug/kvm";
  std::optional<gid_t> control_group;  // whose members may control them
  double for_seconds = 0;              // 0: until a signal
  bool quiet = false;
  std::uint64_t sim_seed = 1;
  std::uint64_t sim_max_frequency_ppb = 500'000;
  double sim_change_interval_s = 0.5;
  double sim_steps_per_hour = 0;
  double sim_step_s = 0;  // 0: none
  double sim_step_at_s = 1;
  double sim_suspend_s = 0;  // 0: none
  double sim_suspend_at_s = 1;
  std::optional<std::int64_t> sim_start_s;  // REALTIME to begin at, POSIX seconds
  std::int64_t sim_tai_offset_s = 0;        // the simulated kernel's; 0: not set
  int sim_leap = 0;                         // +1 insertion, -1 deletion, 0 none
  double sim_leap_at_s = 0;                 // when it is armed
};

// Exit codes of every program.
inline constexpr int kExitOk = 0;
inline constexpr int kExitRuntime = 1;
inline constexpr int kExitUsage = 2;

// Options, or the exit code to end with at once: 0 after --help and --version, kExitUsage after
// one line on stderr.
struct ParsedOptions {
  std::optional<Options> options;
  int exit_code = kExitOk;
};
ParsedOptions parse_options(int argc, char** argv);

}  // namespace clockpage::producer
