// SPDX-License-Identifier: MIT
// Memory for a region that nobody can truncate under its readers. Spec section 9.
#pragma once

namespace clockpage::producer {

// A descriptor (close-on-exec, read and write) of new memory: CLOCKPAGE_REGION_SIZE zeros, all of
// them allocated, the size sealed, mode 0444. Throws RegionError.
int make_region_memory();

// Throws RegionError unless this is memory of that size which is sealed against shrinking.
void check_region_memory(int fd);

// Throws RegionError unless it can be handed to anybody as read-only: who has a read-only
// descriptor can open it anew for whatever its mode allows (memfd_create's is 0777).
void check_mode_to_hand_over(int fd);

}  // namespace clockpage::producer
