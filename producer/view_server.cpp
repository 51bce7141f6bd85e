// SPDX-License-Identifier: MIT
#include "view_server.hpp"

#include <clockpage/clockpage.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "bus_error.hpp"
#include "control_server.hpp"
#include "parent_view.hpp"
#include "region.hpp"
#include "say.hpp"
#include "view_commands.hpp"
#include "view_registry.hpp"

namespace clockpage::producer {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kPoll = 1s;            // how often views are made anew
constexpr auto kWatch = 10ms;         // how often our own view's index is looked at
constexpr auto kShortestDelay = 1s;   // between the starts of two servers
constexpr auto kLongestDelay = 60s;   // where none comes up
constexpr auto kLongLife = 10s;       // of a server that did
constexpr auto kPatience = 5s;        // with an earlier server, to end
constexpr int kExitBusError = 70;     // of a server that a truncated view has ended
constexpr int kRegionDescriptor = 3;  // in the children, where they have one

struct RegionCloser {
  void operator()(clockpage_region* region) const { clockpage_close(region); }
};
using OpenRegion = std::unique_ptr<clockpage_region, RegionCloser>;

// As any other reader has it.
OpenRegion open_region(const Options& options) {
  clockpage_open_options how{};
  how.size = sizeof how;
  // Of which boot it is was the writer's business, and $CLOCKPAGE_VIEW is none of ours.
  how.flags = CLOCKPAGE_OPEN_GUEST | CLOCKPAGE_OPEN_HOST_CLOCKS;
  clockpage_open_error error{};
  clockpage_region* region = nullptr;
  if (options.region_fd) {
    if (clockpage_open_fd(kRegionDescriptor, &how, &region, &error) != CLOCKPAGE_OK)
      throw RegionError(error.where);
  } else {
    how.directory = options.directory.c_str();
    if (clockpage_open(&how, &region, &error) != CLOCKPAGE_OK) throw RegionError(error.where);
  }
  return OpenRegion(region);
}

// An earlier publisher's server, whose end is told to it only when that one has ended, may live for
// a moment still.
std::unique_ptr<ProducerLock> take_lock(const Options& options) {
  for (const auto end = Clock::now() + kPatience;; std::this_thread::sleep_for(10ms)) {
    try {
      return std::make_unique<ProducerLock>(options.directory, "control.lock");
    } catch (const RegionError&) {
      if (Clock::now() >= end) throw;
    }
  }
}

void poll_views(boost::asio::steady_timer& timer, ViewRegistry& views) {
  timer.expires_after(kPoll);
  timer.async_wait([&](const boost::system::error_code& error) {
    if (error) return;
    views.poll();
    poll_views(timer, views);
  });
}

// Our own machine may have been moved. Its guests' readers know that by themselves, and are told
// what it comes to as soon as we are.
void watch_outermost(boost::asio::steady_timer& timer, OutermostView& view, ViewRegistry& views) {
  timer.expires_after(kWatch);
  timer.async_wait([&](const boost::system::error_code& error) {
    if (error) return;
    if (view.has_changed()) views.poll();
    watch_outermost(timer, view, views);
  });
}

// Every view is relative to another one by name, or else to the one that we are in ourselves.
MakeViewSources sources_below(const std::shared_ptr<OutermostView>& outermost,
                              const Options& options) {
  return [outermost, &options](const ViewFields& fields, const nlohmann::json& memory) {
    ViewSources sources = make_view_sources(fields, memory, options.kvm_debugfs);
    if (outermost && !fields.parent) sources.push_back(make_parent_source(outermost));
    return sources;
  };
}

void unblock_signals() {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

int serve(const Options& options) {
  explain_bus_errors("clockpaged", options.directory + ": a view, or the region,", kExitBusError);
  const pid_t parent = getppid();
  boost::asio::io_context context(1);
  boost::asio::signal_set signals(context, SIGTERM, SIGINT);
  signals.async_wait([&](const boost::system::error_code&, int) { context.stop(); });
  unblock_signals();
  const auto lock = take_lock(options);
  const OpenRegion region = open_region(options);
  const auto tell = [&](const std::string& line) { say(options, "{}", line); };
  const clockpage_directory_page& directory = *clockpage_directory_of(region.get());
  std::shared_ptr<OutermostView> outermost;
  if (!options.parent_view.empty())
    outermost = std::make_shared<OutermostView>(options.parent_view, directory);
  ViewRegistry views(options.directory, directory, tell, sources_below(outermost, options));
  std::optional<ControlServer> server;
  if (options.control)
    server.emplace(context, std::filesystem::path(options.directory) / CLOCKPAGE_CONTROL_SOCKET,
                   ControlAccess{geteuid(), options.control_group},
                   [&](std::string_view line) { return answer_request(views, line); });
  boost::asio::steady_timer timer(context);
  poll_views(timer, views);
  boost::asio::steady_timer watch(context);
  if (outermost) watch_outermost(watch, *outermost, views);
  context.run();
  // Whoever ends us in good order is there until we have ended. Else nobody follows views after us,
  // and the writer publishes on.
  if (getppid() != parent)
    views.withdraw_followed("what kept the view server is gone: nobody follows it any more");
  return kExitOk;
}

// Ends with `parent`, even one that has ended already.
void end_with(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(kExitOk);
}

// Leaves by _exit: what the parent holds is not the child's to clean up.
template <typename Body>
[[noreturn]] void run_as_child(const Body& body) {
  int code = kExitRuntime;
  try {
    code = body();
  } catch (const std::exception& e) {
    print_line(fmt::format("no views can be made: {}", e.what()));
  }
  std::fflush(nullptr);
  _exit(code);
}

// Waits for one of the blocked signals, at most until `end`; 0: none came.
int wait_for_signal(const sigset_t& set, std::optional<Clock::time_point> end) {
  if (!end) {
    int number = 0;
    return sigwait(&set, &number) == 0 ? number : 0;
  }
  const auto left = std::max<Clock::duration>(*end - Clock::now(), 0s);
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
  const timespec limit{seconds.count(), std::chrono::nanoseconds(left - seconds).count()};
  return std::max(sigtimedwait(&set, nullptr, &limit), 0);
}

// Keeps a server at work. Does nothing else, so that nothing but a signal can end it.
class Supervisor {
 public:
  explicit Supervisor(const Options& options) : options_(options) {
    sigemptyset(&set_);
    for (const int number : {SIGTERM, SIGINT, SIGCHLD}) sigaddset(&set_, number);
    sigprocmask(SIG_BLOCK, &set_, nullptr);
  }

  int run() {
    for (;;) {
      start();
      for (;;) {
        const int number = wait_for_signal(set_, pid_ != 0 ? std::nullopt : start_at_);
        if (number == SIGTERM || number == SIGINT) return end();
        if (number == SIGCHLD) bury();
        if (pid_ == 0 && Clock::now() >= *start_at_) break;
      }
    }
  }

 private:
  void start() {
    const pid_t self = getpid();
    started_at_ = Clock::now();
    std::fflush(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      end_with(self);
      run_as_child([&] { return serve(options_); });
    }
    if (pid_ > 0) return;
    say(options_, "no view server (fork: {})", std::strerror(errno));
    pid_ = 0;
    plan_next();
  }

  void plan_next() {
    if (Clock::now() - started_at_ >= kLongLife) delay_ = kShortestDelay;
    start_at_ = std::max(Clock::now(), started_at_ + delay_);
    delay_ = std::min<std::chrono::seconds>(2 * delay_, kLongestDelay);
  }

  void bury() {
    int status = 0;
    if (pid_ == 0 || waitpid(pid_, &status, WNOHANG) != pid_) return;
    const pid_t pid = std::exchange(pid_, 0);
    // One that was killed did come up. And whoever can truncate a view is not to keep all others
    // waiting, however often.
    if (WIFSIGNALED(status) || WEXITSTATUS(status) == kExitBusError) delay_ = kShortestDelay;
    plan_next();
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*start_at_ - Clock::now());
    say(options_, "the view server (pid {}) {} {}; another follows in {} ms", pid,
        WIFEXITED(status) ? "ended with exit code" : "was ended by signal",
        WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
        std::max<long>(left.count(), 0));
  }

  int end() {
    if (pid_ == 0) return kExitOk;
    kill(pid_, SIGTERM);
    const auto patience = Clock::now() + kPatience / 4;
    while (waitpid(pid_, nullptr, WNOHANG) == 0) {
      if (Clock::now() >= patience) kill(pid_, SIGKILL);
      wait_for_signal(set_, std::min(patience, Clock::now() + 100ms));
    }
    return kExitOk;
  }

  const Options& options_;
  sigset_t set_{};
  pid_t pid_ = 0;  // of the server; 0: none
  Clock::time_point started_at_;
  std::optional<Clock::time_point> start_at_;  // when the next one is due
  std::chrono::seconds delay_ = kShortestDelay;
};

// Whether there are views that are not numbers alone. What cannot be looked at may be one.
bool follows_views(const std::string& directory) {
  std::error_code error;
  const std::filesystem::directory_iterator records(
      std::filesystem::path(directory) / "view-sources", error);
  if (error) return error != std::errc::no_such_file_or_directory;
  return records != std::filesystem::directory_iterator();
}

// The region's memory for reading alone, and nothing else of the publisher's: not its lock.
void keep_few_descriptors(const Options& options) {
  int first = kRegionDescriptor;
  if (options.region_fd) {
    const std::string self = fmt::format("/proc/self/fd/{}", *options.region_fd);
    const int region = open(self.c_str(), O_RDONLY);
    if (region < 0) throw RegionError(fmt::format("{}: {}", self, std::strerror(errno)));
    if (region != kRegionDescriptor && dup2(region, kRegionDescriptor) < 0)
      throw RegionError(fmt::format("{}: dup2: {}", self, std::strerror(errno)));
    first++;
  }
  if (close_range(static_cast<unsigned>(first), ~0U, 0) == 0) return;
  // Before Linux 5.9.
  for (int fd = first; fd < static_cast<int>(sysconf(_SC_OPEN_MAX)); fd++) close(fd);
}

// Until the child has let go of what it inherited: the producer's lock above all, which would keep
// our successor out for as long as the child has not run yet, should we be killed now.
void wait_for_end_of(int pipe) {
  pollfd end{pipe, POLLIN, 0};
  const int milliseconds = 1000;  // whatever becomes of it, publishing goes on
  while (poll(&end, 1, milliseconds) < 0 && errno == EINTR) {
  }
  close(pipe);
}

}  // namespace

ViewServer::ViewServer(const Options& options) : options_(options) {
  if (!options.control && !follows_views(options.directory)) return;
  const pid_t self = getpid();
  std::fflush(nullptr);  // or the child would print it too
  std::array<int, 2> inherited{-1, -1};
  const bool waits = pipe2(inherited.data(), O_CLOEXEC) == 0;
  pid_ = fork();
  if (pid_ == 0) {
    Supervisor supervisor(options);  // from here on no signal is lost
    end_with(self);
    run_as_child([&] {
      prctl(PR_SET_NAME, "clockpaged-view");
      keep_few_descriptors(options);
      return supervisor.run();
    });
  }
  const int reason = errno;
  if (waits) {
    close(inherited[1]);
    wait_for_end_of(inherited[0]);
  }
  if (pid_ > 0) return;
  print_line(fmt::format("no views can be made: fork: {}", std::strerror(reason)));
  pid_ = 0;
}

ViewServer::~ViewServer() {
  if (pid_ == 0) return;
  kill(pid_, SIGTERM);
  const auto patience = Clock::now() + kPatience / 2;
  while (waitpid(pid_, nullptr, WNOHANG) == 0) {
    // Stopped, perhaps. What is below it ends with it.
    if (Clock::now() >= patience) kill(pid_, SIGKILL);
    std::this_thread::sleep_for(2ms);
  }
}

void ViewServer::look() noexcept {
  if (pid_ == 0 || waitpid(pid_, nullptr, WNOHANG) != pid_) return;
  pid_ = 0;
  print_line(
      "what kept the view server is gone: views are neither made nor followed until clockpaged "
      "restarts");
}

}  // namespace clockpage::producer
