// SPDX-License-Identifier: MIT
#include "gnuplot.hpp"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <utility>

#include "exit_code.hpp"

namespace clockpage::tool {
namespace {

Failure failed(const char* what, int error) {
  return {"", fmt::format("{}: {}", what, std::strerror(error))};
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {
    if (number < 0) throw failed("gnuplot cannot be run", errno);
  }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() { close(); }
  int number() const { return number_; }
  void close() {
    if (number_ >= 0) ::close(number_);
    number_ = -1;
  }

 private:
  int number_;
};

// gnuplot's output goes into memory, so that neither side waits for the other.
std::string contents(const Descriptor& file) {
  std::string text;
  std::array<char, 65536> block;
  off_t at = 0;
  for (ssize_t got; (got = pread(file.number(), block.data(), block.size(), at)) > 0; at += got)
    text.append(block.data(), static_cast<size_t>(got));
  return text;
}

pid_t start_gnuplot(int in, int out, int err) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, err, STDERR_FILENO);
  std::array<std::string, 2> words = {"gnuplot", "--default-settings"};
  std::array<char*, 3> arguments = {words[0].data(), words[1].data(), nullptr};
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, "gnuplot", &files, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  if (error == ENOENT) throw Failure("", "gnuplot is not installed (Debian package gnuplot-nox)");
  if (error != 0) throw failed("gnuplot cannot be run", error);
  return pid;
}

// It may end before it has read everything: that is then in its exit code.
void write_all(Descriptor to, const std::string& text) {
  struct sigaction ignore = {}, before = {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, &before);
  for (size_t at = 0; at < text.size();) {
    const ssize_t written = write(to.number(), text.data() + at, text.size() - at);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) break;
    at += static_cast<size_t>(written);
  }
  to.close();
  sigaction(SIGPIPE, &before, nullptr);
}

// The first line that is not about where on the line.
std::string first_words(const std::string& text) {
  std::string line;
  for (const char c : text) {
    if (c != '\n') {
      line += c >= ' ' && c <= '~' ? c : '?';
    } else if (line.find_first_not_of(" ^") != line.npos) {
      return line.substr(line.find_first_not_of(' '));
    } else {
      line.clear();
    }
  }
  return line.empty() ? "no reason given" : line;
}

}  // namespace

std::string run_gnuplot(const std::string& script) {
  Descriptor out(memfd_create("gnuplot-output", MFD_CLOEXEC));
  Descriptor err(memfd_create("gnuplot-errors", MFD_CLOEXEC));
  std::array<int, 2> ends = {-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw failed("gnuplot cannot be run", errno);
  Descriptor reads(ends[0]), writes(ends[1]);
  const pid_t pid = start_gnuplot(reads.number(), out.number(), err.number());
  reads.close();
  write_all(std::move(writes), script);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) throw failed("gnuplot cannot be waited for", errno);
  // It does not fail for a terminal that it does not have.
  std::string drawn = contents(out);
  if (status != 0 || drawn.empty())
    throw Failure("", fmt::format("gnuplot failed: {}", first_words(contents(err))));
  return drawn;
}

}  // namespace clockpage::tool
