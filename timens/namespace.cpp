// SPDX-License-Identifier: MIT
#include "namespace.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

namespace clockpage::timens {
namespace {

constexpr char kOffsetsFile[] = "/proc/self/timens_offsets";

[[noreturn]] void refuse(const std::string& what, int reason, const std::string& why) {
  throw std::runtime_error(
      fmt::format("{}: {}{}{}", what, std::strerror(reason), why.empty() ? "" : ": ", why));
}

// errno, or 0.
int write_offsets(const std::string& text) {
  const int file = open(kOffsetsFile, O_WRONLY | O_CLOEXEC | O_NOCTTY);
  if (file < 0) return errno;
  const ssize_t written = write(file, text.data(), text.size());
  const int reason = errno;
  close(file);
  if (written < 0) return reason;
  return written == static_cast<ssize_t>(text.size()) ? 0 : EIO;
}

std::string asked_text(const AskedOffsets& asked) {
  std::string text = offsets_file_text(asked);
  text.pop_back();
  if (const std::size_t at = text.find('\n'); at != text.npos) text.replace(at, 1, ", ");
  return text;
}

}  // namespace

std::string offsets_file_text(const AskedOffsets& asked) {
  std::string text;
  if (asked.monotonic)
    text += fmt::format("monotonic {} {}\n", asked.monotonic->sec, asked.monotonic->nsec);
  if (asked.boottime)
    text += fmt::format("boottime {} {}\n", asked.boottime->sec, asked.boottime->nsec);
  return text;
}

std::string why_not_made(int reason) {
  switch (reason) {
    case EPERM:
      return "a time namespace needs CAP_SYS_ADMIN in the user namespace one is in";
    case EINVAL:
      return "this kernel has no time namespaces (Linux 5.6 and later with CONFIG_TIME_NS have)";
    case ENOSPC:
      return "there are as many as /proc/sys/user/max_time_namespaces allows";
    default:
      return {};
  }
}

std::string why_not_taken(int reason) {
  switch (reason) {
    case EPERM:
      return "offsets need CAP_SYS_TIME in the user namespace that owns the time namespace";
    case ERANGE:
      return "the namespace's clock must now be from 0 to 4611686018 s (146 years)";
    case EACCES:
      return "a process has entered the namespace: its offsets stay as they are";
    case EINVAL:
      return "not what this kernel takes for an offset";
    case ENOENT:
      return "/proc is not mounted, or the kernel has no time namespaces";
    default:
      return {};
  }
}

void make_time_namespace(const AskedOffsets& asked) {
  if (unshare(CLONE_NEWTIME) != 0) {
    const int reason = errno;
    refuse("unshare(CLONE_NEWTIME)", reason, why_not_made(reason));
  }
  const std::string text = offsets_file_text(asked);
  if (text.empty()) return;
  if (const int reason = write_offsets(text); reason != 0)
    refuse(fmt::format("{}: {}", kOffsetsFile, asked_text(asked)), reason, why_not_taken(reason));
}

}  // namespace clockpage::timens
