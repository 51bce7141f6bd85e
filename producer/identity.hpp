// SPDX-License-Identifier: MIT
// Which host, and which boot of it.
#pragma once

#include <array>
#include <cstdint>

namespace clockpage::producer {

using Id = std::array<std::uint8_t, 16>;

// The same over reboots: an RFC 9562 version 5 UUID of /etc/machine-id, which itself must not
// be handed to guests (machine-id(5)). All zero where there is none.
Id read_host_id();

// /proc/sys/kernel/random/boot_id. All zero where there is none.
Id read_boot_id();

// From the kernel's random number generator.
std::uint64_t random_u64();

}  // namespace clockpage::producer
