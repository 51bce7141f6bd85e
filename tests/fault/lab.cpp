// SPDX-License-Identifier: MIT
#include "lab.hpp"

#include <sched.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iostream>
#include <stdexcept>

namespace clockpage::fault {
namespace {

constexpr std::uint64_t kPeriodNs = 1'000'000;
constexpr std::uint64_t kMaxLeadNs = 50'000'000;  // PublisherConfig's
constexpr std::uint64_t kSlowNs = 700'000'000;    // of Pace::slow

// Whoever steps the writer should not wait behind the readers.
void hurry() {
  sched_param param{};
  param.sched_priority = 11;
  (void)sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param);
}

}  // namespace

std::uint64_t seed() {
  static const std::uint64_t value = [] {
    const char* given = std::getenv("CLOCKPAGE_SEED");
    const std::uint64_t s = given != nullptr ? std::strtoull(given, nullptr, 10)
                                             : static_cast<std::uint64_t>(time(nullptr));
    std::cout << "seed " << s << "; again: CLOCKPAGE_SEED=" << s
              << (soak() ? " ./dev soak" : " ./dev test -R") << " publish_path\n";
    return s;
  }();
  return value;
}

bool soak() {
  const char* given = std::getenv("CLOCKPAGE_SOAK");
  return given != nullptr && std::strcmp(given, "1") == 0;
}

std::string program_directory() {
  const char* given = std::getenv("CLOCKPAGE_BIN");
  return std::filesystem::canonical(given != nullptr ? given : CLOCKPAGE_BIN_DIRECTORY).string();
}

std::string no_ptrace() {
  const pid_t child = fork();
  if (child == 0) {
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(errno);
    raise(SIGSTOP);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, WUNTRACED);
  if (WIFEXITED(status))
    return std::string("ptrace is not permitted here: ") + std::strerror(WEXITSTATUS(status));
  kill(child, SIGKILL);
  waitpid(child, &status, 0);
  return {};
}

TemporaryDirectory::TemporaryDirectory() {
  std::string name = (std::filesystem::temp_directory_path() / "clockpage-fault-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary directory");
  path = std::filesystem::canonical(name);
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}

Lab::Lab() : program_(program_directory() + "/clockpaged"), random_(seed()) {
  hurry();
  start();
  daemon_->release();
  // Past its first history.
  for (int tries = 0; !std::filesystem::exists(directory_.path / "region"); tries++) {
    if (tries > 20'000) throw std::runtime_error("the daemon made no region");
    usleep(1000);
  }
  usleep(100'000);
  daemon_->kill();
  region_ = std::make_unique<RegionMap>(directory_.path);
  adoptions_ = region_->diagnostics().adoptions;
  readers_ = std::make_unique<Readers>(directory_.path.string(), seed());
}

Lab::~Lab() = default;

std::vector<std::string> Lab::arguments(Pace pace) {
  const char* period = pace == Pace::slow ? "700000" : pace == Pace::fast ? "250" : "1000";
  const char* lead = pace == Pace::slow ? "700000" : pace == Pace::fast ? "250" : "4000";
  return {
      "--dir", directory_.path.string(), "--source", "sim", "--quiet", "--period-us", period,
      "--lead-us", lead, "--sim-change-interval-s", "0.002", "--sim-max-frequency-ppb", "500000",
      "--sim-steps-per-hour",
      // Rare in a segment of normal length; in each slow one they would make the path a rare one.
      pace == Pace::slow ? "0" : "7200", "--sim-seed", std::to_string(random_() % 1'000'000)};
}

void Lab::start(Pace pace) {
  daemon_.reset();
  pace_ = pace;
  entries_ = 0;
  daemon_.emplace(start_daemon(program_, arguments(pace), (directory_.path / "log").string()));
  // Until here it cannot have touched the region.
  if (readers_) readers_->writer_goes_on();
}

Path Lab::learn(Kind kind) {
  start(Pace::slow);
  lead_known_ = false;
  Path path = record(*daemon_, program_, *region_, kind);
  kill();
  // The leases that come now are shorter than this one.
  const std::uint64_t end = region_->newest().lease_end;
  while (static_cast<std::int64_t>(end - clockpage_counter_ordered()) > 0) usleep(1000);
  return path;
}

std::string Lab::look_at_entry() {
  if (++entries_ >= 2) lead_known_ = true;
  index_at_entry_ = region_->index();
  // A restarted writer has the pages together again before it publishes anything.
  if (!region_->together()) return "the pages are not together again after an adoption";
  if (region_->diagnostics().adoptions <= adoptions_ && entries_ == 1)
    return "the adoption was not counted";
  adoptions_ = region_->diagnostics().adoptions;
  return region_->defect();
}

bool Lab::go_to(const Instruction& target, Kind kind) {
  if (kind == Kind::adoption)
    return run_to(*daemon_, program_, *region_, target, kind, [] { return std::string(); });
  return run_to(*daemon_, program_, *region_, target, kind, [this] { return look_at_entry(); });
}

// Spec G6: from now on, all leases end within P + 2 L.
void Lab::announce_stop() {
  const std::uint64_t now = clockpage_counter_ordered();
  if (region_->index() != index_at_entry_) lead_known_ = false;
  std::uint64_t lead = lead_known_ ? region_->diagnostics().lead_ns : kMaxLeadNs;
  std::uint64_t period = kPeriodNs;
  if (pace_ == Pace::slow) lead = period = kSlowNs;
  const std::uint64_t ticks = (period + 2 * lead) / 1000 * (region_->frequency_hz() / 1'000'000);
  readers_->writer_stopped(now + ticks);
  for (unsigned i = 0; i < kPages; i += 2) {
    const producer::PageWriter writer(region_->page(i));
    const std::uint64_t end = writer.newest().lease_end;
    if (static_cast<std::int64_t>(writer.scale().apply(now + ticks) - end) < 0)
      throw std::runtime_error("the newest lease ends later than P + 2 L after the writer's end");
  }
}

void Lab::kill() {
  daemon_->kill();
  announce_stop();
}

void Lab::stop_for(std::uint64_t us, const std::string& where) {
  daemon_->stop();
  announce_stop();
  usleep(static_cast<useconds_t>(us));
  expect_sound(where);
  readers_->writer_goes_on();
  daemon_->go_on();
}

void Lab::run(std::uint64_t publications) {
  const std::uint64_t goal = region_->index() + publications;
  daemon_->release();
  for (int tries = 0; static_cast<std::int64_t>(goal - region_->index()) > 0; tries++) {
    if (tries > 20'000) throw std::runtime_error("the daemon does not publish");
    usleep(1000);
  }
}

void Lab::run_for_and_kill(std::uint64_t us) {
  daemon_->release();
  usleep(static_cast<useconds_t>(us));
  index_at_entry_ = 0;  // nobody has looked
  kill();
}

void Lab::expect_sound(const std::string& where) {
  const std::string defect = region_->defect();
  if (!defect.empty()) throw std::runtime_error(where + ": " + defect);
  const std::string verdict = readers_->verdict();
  if (!verdict.empty()) throw std::runtime_error(where + ":\n" + verdict);
}

}  // namespace clockpage::fault
