// SPDX-License-Identifier: MIT
//
// What /proc/PID/timens_offsets says: a time namespace's offsets.
#ifndef CLOCKPAGE_CONSUMER_TIMENS_OFFSETS_HPP
#define CLOCKPAGE_CONSUMER_TIMENS_OFFSETS_HPP

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

namespace clockpage {

// Added to the host's clock gives the namespace's, in ns. Absolute: whatever namespaces are around
// that one, for the kernel gives a new namespace the sum. Both 0 in the first namespace.
struct TimensOffsets {
  std::int64_t monotonic_ns = 0;  // MONOTONIC and MONOTONIC_RAW
  std::int64_t boottime_ns = 0;   // BOOTTIME
  bool operator==(const TimensOffsets&) const = default;
};

// Why they are not known. `text`: one line, file and reason.
struct TimensRefusal {
  int saved_errno = 0;  // EILSEQ: the file says something else
  std::string text;
};

// The inode of /proc/PID/ns/time in the first time namespace: PROC_TIME_INIT_INO of the kernel's
// include/linux/proc_ns.h.
inline constexpr std::uint64_t kFirstTimeNamespace = 0xEFFFFFFA;

// The file's text (proc_timens_show_offsets in the kernel's kernel/time/namespace.c): one line
// "CLOCK SECONDS NANOSECONDS" each for monotonic and boottime, nothing else, 0 <= NANOSECONDS
// < 10^9. A text says what is wrong. A clock of another name is refused as well: a kernel that
// shifts it shifts a clock that a view cannot. Pure, thread-safe.
std::variant<TimensOffsets, std::string> parse_timens_offsets(std::string_view text);

// Reads /proc/PROCESS/timens_offsets (PROCESS a number, or "self"). Beware: that is the namespace
// that the process's *children* will be in. It is another one than its own between unshare(2) and
// fork(2); before Linux 6.3 an execve(2) in between does not change that. A kernel without time
// namespaces, and a process that there is none of, are ENOENT. Allocates; thread-safe.
std::variant<TimensOffsets, TimensRefusal> read_timens_offsets(const std::string& process);

// Of the namespace that the calling process itself is in; zeros where the kernel has no time
// namespaces. Refused where they cannot be told: no /proc, or a namespace of its own that is not
// its children's.
std::variant<TimensOffsets, TimensRefusal> own_timens_offsets();

}  // namespace clockpage

#endif  // CLOCKPAGE_CONSUMER_TIMENS_OFFSETS_HPP
