// SPDX-License-Identifier: MIT
#include "compose.hpp"

#include <stdexcept>

namespace clockpage::timens {
namespace {

std::int64_t less(std::int64_t a, std::int64_t b) {
  std::int64_t difference = 0;
  if (__builtin_sub_overflow(a, b, &difference))
    throw std::runtime_error("the difference of two offsets is beyond 64 bits of ns");
  return difference;
}

TimensOffsets less(const TimensOffsets& a, const TimensOffsets& b) {
  return {less(a.monotonic_ns, b.monotonic_ns), less(a.boottime_ns, b.boottime_ns)};
}

bool one_counter(const ViewFacts& a, const ViewFacts& b) {
  return a.counter_offset == b.counter_offset && a.counter_ratio == b.counter_ratio &&
         a.counter_frac_bits == b.counter_frac_bits;
}

bool hosts_counter(const ViewFacts& view) {
  return view.counter_offset == 0 && view.counter_ratio == std::uint64_t{1}
                                                               << view.counter_frac_bits;
}

}  // namespace

ViewPlan plan_view(const TimensOffsets& made, const TimensOffsets& own,
                   const std::optional<ViewFacts>& outer,
                   const std::optional<ViewFacts>& outer_parent) {
  if (!outer) return {std::nullopt, made};
  if (!outer->parent && hosts_counter(*outer) && outer->offsets == own) return {std::nullopt, made};
  if (outer_parent && one_counter(*outer, *outer_parent) &&
      less(outer->offsets, outer_parent->offsets) == own)
    return {outer->parent, made};
  return {outer->name, less(made, own)};
}

}  // namespace clockpage::timens
