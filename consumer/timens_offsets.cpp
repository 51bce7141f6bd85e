// SPDX-License-Identifier: MIT
//
// Without streams: it is called before the static constructors of a program, too.
#include "timens_offsets.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>

namespace clockpage {
namespace {

constexpr std::int64_t kNsPerSec = 1'000'000'000;

// Cuts one word off the beginning of a line; empty: there is none.
std::string_view take_word(std::string_view& line) {
  const std::size_t begin = std::min(line.find_first_not_of(' '), line.size());
  line.remove_prefix(begin);
  const std::string_view word = line.substr(0, line.find(' '));
  line.remove_prefix(word.size());
  return word;
}

std::optional<std::int64_t> number(std::string_view word) {
  std::int64_t value = 0;
  const char* const end = word.data() + word.size();
  const auto [rest, error] = std::from_chars(word.data(), end, value);
  if (error != std::errc() || rest != end) return std::nullopt;
  return value;
}

std::string quoted(std::string_view word) {
  std::string text = "\"";
  for (char c : word.substr(0, 40)) text += c >= ' ' && c <= '~' ? c : '?';
  return text + "\"";
}

// One line's offset in ns, into *ns; empty, or what is wrong.
std::string parse_offset(std::string_view line, std::string_view clock, std::int64_t* ns) {
  const std::string_view seconds = take_word(line), nanoseconds = take_word(line);
  const std::string name(clock);
  if (nanoseconds.empty() || !take_word(line).empty())
    return name + " is not followed by two numbers";
  const auto sec = number(seconds), nsec = number(nanoseconds);
  if (!sec) return name + " has " + quoted(seconds) + " for seconds";
  if (!nsec || *nsec < 0 || *nsec >= kNsPerSec)
    return name + " has " + quoted(nanoseconds) + " for nanoseconds, not 0 to 999999999";
  if (__builtin_mul_overflow(*sec, kNsPerSec, ns) || __builtin_add_overflow(*ns, *nsec, ns))
    return name + " has " + quoted(seconds) + " for seconds: beyond 64 bits of nanoseconds";
  return {};
}

// The inode behind a name in /proc/self/ns; nullopt with errno.
std::optional<std::uint64_t> inode(const char* path) {
  struct stat status {};
  if (stat(path, &status) != 0) return std::nullopt;
  return status.st_ino;
}

}  // namespace

std::variant<TimensOffsets, std::string> parse_timens_offsets(std::string_view text) {
  std::optional<std::int64_t> monotonic, boottime;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (end == text.npos) return "its last line does not end";
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    const std::string_view clock = take_word(line);
    if (clock != "monotonic" && clock != "boottime")
      return quoted(clock) + " is neither monotonic nor boottime";
    std::optional<std::int64_t>& offset = clock == "monotonic" ? monotonic : boottime;
    if (offset) return std::string(clock) + " is there twice";
    std::int64_t ns = 0;
    if (std::string wrong = parse_offset(line, clock, &ns); !wrong.empty()) return wrong;
    offset = ns;
  }
  if (!monotonic) return "monotonic is missing";
  if (!boottime) return "boottime is missing";
  return TimensOffsets{*monotonic, *boottime};
}

std::variant<TimensOffsets, TimensRefusal> read_timens_offsets(const std::string& process) {
  const std::string path = "/proc/" + process + "/timens_offsets";
  const auto refuse = [&](int reason) {
    return TimensRefusal{reason, path + ": " + std::strerror(reason)};
  };
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (file < 0) return refuse(errno);
  std::array<char, 256> text;  // twice what the kernel can have to say
  const ssize_t length = read(file, text.data(), text.size());
  const int reason = errno;
  close(file);
  if (length < 0) return refuse(reason);
  auto parsed =
      parse_timens_offsets(std::string_view(text.data(), static_cast<std::size_t>(length)));
  if (const auto* wrong = std::get_if<std::string>(&parsed))
    return TimensRefusal{EILSEQ, path + ": " + *wrong};
  return std::get<TimensOffsets>(parsed);
}

std::variant<TimensOffsets, TimensRefusal> own_timens_offsets() {
  static constexpr char kOwn[] = "/proc/self/ns/time",
                        kChildren[] = "/proc/self/ns/time_for_children";
  const auto refuse = [](const char* path, int reason) {
    return TimensRefusal{reason, std::string(path) + ": " + std::strerror(reason)};
  };
  const auto own = inode(kOwn);
  if (!own && errno != ENOENT) return refuse(kOwn, errno);
  if (!own) {  // a kernel without time namespaces, or no /proc
    if (inode("/proc/self/ns")) return TimensOffsets{};
    return refuse(kOwn, ENOENT);
  }
  if (*own == kFirstTimeNamespace) return TimensOffsets{};
  const auto children = inode(kChildren);
  if (!children) return refuse(kChildren, errno);
  if (*own != *children)
    return TimensRefusal{EXDEV, std::string(kOwn) +
                                    ": the process is in another time namespace than the one its "
                                    "children will be in: its own offsets cannot be told"};
  return read_timens_offsets("self");
}

}  // namespace clockpage
