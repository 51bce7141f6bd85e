// SPDX-License-Identifier: MIT
//
// Which view a time namespace asks for. Spec section 8.3.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "timens_offsets.hpp"

namespace clockpage::timens {

/// How a view stands to the region, as the daemon tells it: offsets and counter in full, whatever
/// it was composed from.
struct ViewFacts {
  std::string name;
  std::string path;
  std::int64_t counter_offset = 0;
  std::uint64_t counter_ratio = 1;
  std::uint8_t counter_frac_bits = 0;
  TimensOffsets offsets;
  bool smeared = false;
  std::optional<std::string> parent;  ///< the view's that it was composed from
};

/// What is asked of the daemon; offsets are relative to the parent's where there is one.
struct ViewPlan {
  std::optional<std::string> parent;
  TimensOffsets offsets;
  bool operator==(const ViewPlan&) const = default;
};

/// made: the new namespace's offsets; own: those of the namespace that this process is in. Both are
/// relative to the clocks of the kernel that runs here. outer: the view that this process reads
/// through, outer_parent: that one's parent. So the kernel's own clocks are outer's less `own`, and
/// the new view's are these, with `made` added:
///   - outer is nothing but the namespace this process is in: `made` in place of outer, on what
///     outer itself stands on, which outlives it;
///   - else (a machine's view): `made` less `own` on top of outer.
/// Throws std::runtime_error where a difference is beyond 64 bits of ns. Pure.
ViewPlan plan_view(const TimensOffsets& made, const TimensOffsets& own,
                   const std::optional<ViewFacts>& outer,
                   const std::optional<ViewFacts>& outer_parent);

}  // namespace clockpage::timens
