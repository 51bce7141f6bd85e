/* SPDX-License-Identifier: MIT */
/*
 * Inside libclockpage and libclockpage-preload: which views are of the kernel that runs here.
 *
 * A region that has this kernel's boot id is of the counter that the process reads, and of the
 * clocks of this kernel's first time namespace. So a view of it that is right here has the host's
 * counter, and for offsets those of the time namespace that the process is in. Spec section 8.2.
 */
#ifndef CLOCKPAGE_KERNELS_VIEW_H
#define CLOCKPAGE_KERNELS_VIEW_H

#include <clockpage/view.h>
#include <stdbool.h>

/* Whether what `reader` computes is of the host's counter as it is. */
static inline bool clockpage_has_hosts_counter(const struct clockpage_view_reader* reader) {
  return reader->counter_offset == 0 && reader->ratio == (uint64_t)1 << reader->frac_bits;
}

/* Offsets: the time namespace's that the process is in, ns. */
static inline bool clockpage_is_kernels_view(const struct clockpage_view_reader* reader,
                                             int64_t monotonic_offset_ns,
                                             int64_t boottime_offset_ns) {
  return clockpage_has_hosts_counter(reader) &&
         reader->monotonic_offset_ns == (uint64_t)monotonic_offset_ns &&
         reader->boottime_offset_ns == (uint64_t)boottime_offset_ns;
}

#endif /* CLOCKPAGE_KERNELS_VIEW_H */
