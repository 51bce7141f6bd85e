// SPDX-License-Identifier: MIT
//
// Making time namespaces. The rules are the kernel's (kernel/time/namespace.c,
// fs/proc/base.c: timens_offsets_write), and so are the refusals; here they are explained.
#pragma once

#include <optional>
#include <string>

#include "seconds.hpp"

namespace clockpage::timens {

/// What a new namespace is to have; what is not given is that of the namespace around it. Absolute:
/// relative to the host's clocks, not to the namespace around it.
struct AskedOffsets {
  std::optional<Seconds> monotonic;  ///< MONOTONIC and MONOTONIC_RAW
  std::optional<Seconds> boottime;
};

/// What is written to /proc/self/timens_offsets for it, in one write: the kernel takes all of it or
/// nothing. Empty where nothing is asked for.
std::string offsets_file_text(const AskedOffsets& asked);

/// Makes the namespace that this process's children will be in. Throws std::runtime_error, one
/// line that says what the kernel refused, with its errno's text, and why that is. What was made
/// until then stays: the caller ends.
void make_time_namespace(const AskedOffsets& asked);

/// Why the kernel refuses to make a namespace, or to take its offsets: the rule behind an errno.
/// Empty: there is none that is known.
std::string why_not_made(int reason);
std::string why_not_taken(int reason);

}  // namespace clockpage::timens
