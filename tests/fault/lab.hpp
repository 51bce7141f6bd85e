// SPDX-License-Identifier: MIT
// One private region, the real daemon on it, readers on every CPU, and the faults.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "path.hpp"
#include "readers.hpp"
#include "region_map.hpp"
#include "traced.hpp"

namespace clockpage::fault {

// CLOCKPAGE_SEED, else the time; printed once with the line that runs the same again.
std::uint64_t seed();
bool soak();
std::string program_directory();
// Why no process can be traced here, or nothing.
std::string no_ptrace();

struct TemporaryDirectory {
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::filesystem::path path;
};

enum class Pace {
  normal,
  slow,  // leads so long that the daemon can be single-stepped and still steers
  fast,  // the shortest periods that there are
};

// Throws std::runtime_error at the first promise that is not kept.
class Lab {
 public:
  Lab();
  ~Lab();
  Lab(const Lab&) = delete;
  Lab& operator=(const Lab&) = delete;

  [[nodiscard]] const Program& program() const noexcept { return program_; }
  [[nodiscard]] RegionMap& region() noexcept { return *region_; }
  [[nodiscard]] Readers& readers() noexcept { return *readers_; }
  [[nodiscard]] Traced& daemon() noexcept { return *daemon_; }
  [[nodiscard]] std::filesystem::path directory() const { return directory_.path; }
  std::mt19937_64& random() noexcept { return random_; }

  // Starts the daemon: stopped before it has found the region.
  void start(Pace pace = Pace::normal);
  // Steps through a path, once; no daemon runs afterwards.
  Path learn(Kind kind);
  // Runs to an instruction. False: it is not on the way here.
  bool go_to(const Instruction& target, Kind kind);
  void kill();
  // SIGSTOP for so long. The region is examined meanwhile; `where` is for the message.
  void stop_for(std::uint64_t us, const std::string& where);
  // Lets it run freely until it has published `publications` more.
  void run(std::uint64_t publications);
  // Lets it run freely for so long, and kills it wherever it is then.
  void run_for_and_kill(std::uint64_t us);
  // What the region and the readers say. Only while nobody writes.
  void expect_sound(const std::string& where);

 private:
  [[nodiscard]] std::vector<std::string> arguments(Pace pace);
  [[nodiscard]] std::string look_at_entry();
  void announce_stop();

  TemporaryDirectory directory_;
  Program program_;
  std::mt19937_64 random_;
  std::optional<Traced> daemon_;
  std::unique_ptr<RegionMap> region_;
  std::unique_ptr<Readers> readers_;
  Pace pace_ = Pace::normal;
  int entries_ = 0;          // of the publish path, since the daemon's start
  bool lead_known_ = false;  // the diagnostics' lead is the newest segment's
  std::uint64_t index_at_entry_ = 0;
  std::uint64_t adoptions_ = 0;
};

}  // namespace clockpage::fault
