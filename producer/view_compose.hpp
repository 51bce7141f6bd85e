// SPDX-License-Identifier: MIT
// Views of nested guests: what a guest's guest sees of the host, from what each level says of the
// one below it. Pure arithmetic. Spec section 5.4.2.
#pragma once

#include <cstdint>
#include <span>

#include "view_page.hpp"

namespace clockpage::producer {

// The view of L2, in terms of the host, where `parent` is L1's, in terms of the host too, and
// `child` what L1 says of L2: its counter and clocks relative to L1's. With f fraction bits, as KVM
// composes them for the hardware (arch/x86/kvm/x86.c: kvm_calc_nested_tsc_offset and
// kvm_calc_nested_tsc_multiplier),
//   ratio = parent's * child's >> f
//   offset = (parent's * child's ratio >> f, of the magnitude, with its sign) + child's
// Clock offsets add. Format, smear and parent_generation are the child's own. Throws RegionError:
// a ratio of 0 on either side or in the result, fraction bits that differ, what is beyond 64 bits
// and KVM would cut off without a word, clock offsets beyond 64 bits. (Counters are modulo 2^64,
// and so is the sum of counter offsets.)
ViewState compose(const ViewState& parent, const ViewState& child);

// The same over levels, outermost first: each is relative to the one before it, the first to the
// host. KVM runs an innermost guest by composing from the inside outwards, every level on the
// machine of the one below it; as ratios are rounded the order shows. `parent_number` is the
// number of the newest slot of the view that the last is relative to (becomes its
// parent_generation). The first may itself have been composed, by another process
// (parent_generation is not 0): then what is below it must have ratios of one. Throws RegionError
// as compose does, where there is a parent whose number is 0, and where there are more than
// CLOCKPAGE_VIEW_MAX_ANCESTORS + 1 levels. levels.size() >= 1.
ViewState compose_levels(std::span<const ViewState> levels, std::uint64_t parent_number);

// By how many ticks of the child's counter, at most, the arithmetic of two steps
//   ((host's * parent's ratio >> f) + parent's offset) * child's ratio >> f, + child's offset
// differs from the composed one, for host's counters up to `host_counter`, where the counter in the
// middle does not wrap around. The hardware knows the composed values only: they are the truth.
std::uint64_t two_steps_apart(const ViewState& parent, const ViewState& child,
                              std::uint64_t host_counter);

}  // namespace clockpage::producer
