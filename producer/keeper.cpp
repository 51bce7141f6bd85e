// SPDX-License-Identifier: MIT
#include "keeper.hpp"

#include <clockpage/barrier.h>
#include <clockpage/clockpage.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

#include "region.hpp"
#include "region_memory.hpp"
#include "region_socket.hpp"
#include "say.hpp"

namespace clockpage::producer {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kFirstDelay = 50ms;  // before a new writer
constexpr auto kLongestDelay = 5s;  // after several that published nothing
constexpr auto kPatience = 5s;      // for a writer to end after SIGTERM
constexpr auto kFirstRegionPoll = 5ms;

[[noreturn]] void fail_errno(const char* what) {
  throw RegionError(fmt::format("keeper: {}: {}", what, std::strerror(errno)));
}

struct RegionState {
  std::uint64_t index;
  bool revoked;
};

// nullopt: there is no region in the memory (yet).
std::optional<RegionState> look_at(int memory) {
  clockpage_open_options options{};
  options.size = sizeof options;
  // Of which boot is the writer's business, and $CLOCKPAGE_VIEW is none of ours.
  options.flags = CLOCKPAGE_OPEN_GUEST | CLOCKPAGE_OPEN_SEALED | CLOCKPAGE_OPEN_HOST_CLOCKS;
  clockpage_region* region = nullptr;
  if (clockpage_open_fd(memory, &options, &region, nullptr) != 0) return std::nullopt;
  const clockpage_data_page& page = *clockpage_reader_of(region)->page;
  const RegionState state{CLOCKPAGE_LOAD(page.index),
                          CLOCKPAGE_LOAD(page.revoked) != CLOCKPAGE_REVOKED_NO};
  clockpage_close(region);
  return state;
}

class Keeper {
 public:
  Keeper(const Options& options, const std::function<int(int)>& writer);
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  int run();

 private:
  void catch_signals();
  void start_writer();
  [[noreturn]] void become_writer(pid_t keeper);
  void wait_for_something();
  void take_signals();
  void stop_writer();
  void bury_writer(int wait_status);

  const Options& options_;
  const std::function<int(int)>& writer_;
  ProducerLock lock_;
  int memory_ = -1;
  std::optional<RegionSocket> socket_;  // once there is a region to hand over
  std::optional<RegionState> found_;    // in the memory, when this writer began
  bool any_published_ = false;          // in this keeper's life
  int signals_ = -1;
  sigset_t mask_before_{};
  pid_t pid_ = 0;                              // of the writer; 0: none
  std::optional<Clock::time_point> start_at_;  // when the next one is due
  std::optional<Clock::time_point> kill_at_;   // SIGTERM was not enough
  std::chrono::milliseconds delay_ = kFirstDelay;
  bool stopping_ = false;
  std::optional<int> exit_code_;
};

Keeper::Keeper(const Options& options, const std::function<int(int)>& writer)
    : options_(options), writer_(writer), lock_(options.directory, "keeper.lock") {
  RegionSocket::require_free_name(options.directory);
  memory_ = options.region_fd.value_or(-1);
  if (memory_ >= 0)
    check_region_memory(memory_);
  else
    memory_ = make_region_memory();
  check_mode_to_hand_over(memory_);
  catch_signals();
}

Keeper::~Keeper() { close(signals_); }

void Keeper::catch_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGCHLD}) sigaddset(&set, number);
  sigprocmask(SIG_BLOCK, &set, &mask_before_);
  signals_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals_ < 0) fail_errno("signalfd");
}

void Keeper::start_writer() {
  start_at_.reset();
  found_ = look_at(memory_);
  const pid_t keeper = getpid();
  std::fflush(nullptr);  // or the child would print it too
  const pid_t child = fork();
  const int reason = errno;
  if (child == 0) become_writer(keeper);
  pid_ = std::max(child, 0);
  if (child > 0) return;
  if (!any_published_) fail_errno("fork");
  // Short of processes or memory for a while: readers must not lose the region for that.
  start_at_ = Clock::now() + kLongestDelay;
  say(options_, "no new writer (fork: {}); the next try is in {} ms", std::strerror(reason),
      std::chrono::milliseconds(kLongestDelay).count());
}

// Leaves by _exit: what the keeper holds is not the child's to clean up.
void Keeper::become_writer(pid_t keeper) {
  // With the keeper the memory loses its name: whoever goes on publishing there would be a second
  // clock beside that of the next keeper.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != keeper) _exit(kExitRuntime);
  if (socket_) close(socket_->descriptor());
  close(signals_);
  lock_.leave_to_parent();
  sigprocmask(SIG_SETMASK, &mask_before_, nullptr);
  const int code = writer_(memory_);
  std::fflush(nullptr);
  _exit(code);
}

void Keeper::stop_writer() {
  if (stopping_) return;
  stopping_ = true;
  if (pid_ == 0) {
    exit_code_ = kExitOk;
    return;
  }
  kill(pid_, SIGTERM);
  kill_at_ = Clock::now() + kPatience;
}

void Keeper::bury_writer(int wait_status) {
  const pid_t pid = std::exchange(pid_, 0);
  const bool exited = WIFEXITED(wait_status);
  const int code = exited ? WEXITSTATUS(wait_status) : kExitRuntime;
  if (stopping_) {
    exit_code_ = !exited && WTERMSIG(wait_status) == SIGTERM ? kExitOk : code;
    return;
  }
  const std::optional<RegionState> state = look_at(memory_);
  const bool published = state && (!found_ || found_->index != state->index);
  any_published_ |= published;
  // Writers that cannot even begin are a matter for whoever started us; one that ended as it was
  // told to (--for) and one that withdrew the region have no successor.
  if ((exited && code == kExitOk) || !any_published_ || !state || state->revoked) {
    exit_code_ = code;
    return;
  }
  if (published) delay_ = kFirstDelay;
  start_at_ = Clock::now() + delay_;
  say(options_, "the writer (pid {}) {} {}; another follows in {} ms", pid,
      exited ? "ended with exit code" : "was ended by signal",
      exited ? code : WTERMSIG(wait_status), delay_.count());
  delay_ = std::min<std::chrono::milliseconds>(2 * delay_, kLongestDelay);
}

void Keeper::take_signals() {
  signalfd_siginfo info{};
  while (read(signals_, &info, sizeof info) == sizeof info) {
    if (info.ssi_signo != SIGCHLD) {
      stop_writer();
      continue;
    }
    int wait_status = 0;
    if (pid_ != 0 && waitpid(pid_, &wait_status, WNOHANG) == pid_) bury_writer(wait_status);
  }
}

void Keeper::wait_for_something() {
  std::optional<Clock::duration> limit;
  const auto not_later = [&](Clock::duration d) { limit = std::min(limit.value_or(d), d); };
  if (start_at_) not_later(*start_at_ - Clock::now());
  if (kill_at_) not_later(*kill_at_ - Clock::now());
  if (!socket_) not_later(kFirstRegionPoll);
  int timeout_ms = -1;
  if (limit) {
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(*limit).count();
    timeout_ms = static_cast<int>(std::max<std::int64_t>(ms, 0));
  }
  std::array<pollfd, 2> events{pollfd{signals_, POLLIN, 0},
                               pollfd{socket_ ? socket_->descriptor() : -1, POLLIN, 0}};
  if (poll(events.data(), events.size(), timeout_ms) < 0 && errno != EINTR) fail_errno("poll");
  if (events[0].revents != 0) take_signals();
  if (events[1].revents != 0) socket_->serve_one(memory_);
}

int Keeper::run() {
  start_writer();
  while (!exit_code_) {
    wait_for_something();
    if (!socket_ && look_at(memory_)) {
      socket_.emplace(options_.directory);
      say(options_, "hands {}/region over to readers; sealed memory", options_.directory);
    }
    if (start_at_ && Clock::now() >= *start_at_ && !exit_code_) start_writer();
    if (kill_at_ && Clock::now() >= *kill_at_ && pid_ != 0) {
      say(options_, "the writer (pid {}) does not end and is killed", pid_);
      kill(pid_, SIGKILL);
      kill_at_.reset();
    }
  }
  return *exit_code_;
}

}  // namespace

int keep_region(const Options& options, const std::function<int(int)>& writer) {
  return Keeper(options, writer).run();
}

}  // namespace clockpage::producer
