// SPDX-License-Identifier: MIT
#include "view_compose.hpp"

#include <clockpage/fixed_point.h>
#include <fmt/format.h>

#include <algorithm>

namespace clockpage::producer {

namespace {

// counter_frac_bits 0 stands for a ratio of exactly one, in whichever bits the other side has.
bool is_one(const ViewState& state) {
  return state.counter_ratio == std::uint64_t{1} << state.counter_frac_bits;
}

void check(const char* which, const ViewState& state) {
  if (state.counter_ratio == 0) throw RegionError(fmt::format("{} counter_ratio is 0", which));
  if (state.counter_frac_bits > 63)
    throw RegionError(
        fmt::format("{} counter_frac_bits is {}, above 63", which, state.counter_frac_bits));
  if (state.counter_frac_bits == 0 && state.counter_ratio != 1)
    throw RegionError(
        fmt::format("{} counter_ratio is {} without fraction bits", which, state.counter_ratio));
}

std::uint8_t common_bits(const ViewState& parent, const ViewState& child) {
  const std::uint8_t p = parent.counter_frac_bits;
  const std::uint8_t c = child.counter_frac_bits;
  if (p == c || c == 0) return p;
  if (p == 0) return c;
  throw RegionError(fmt::format(
      "counter_frac_bits is {}, the parent's {}: all levels run on one CPU and have one kind of "
      "scaling",
      c, p));
}

// KVM's mul_u64_u64_shr, which cuts off what is above 64 bits.
std::uint64_t scaled(std::uint64_t value, const ViewState& by, const char* what) {
  const clockpage_u128 product = clockpage_u128{value} * by.counter_ratio >> by.counter_frac_bits;
  if (product >> 64 != 0)
    throw RegionError(fmt::format("{} times the ratio {} / 2^{} is beyond 64 bits", what,
                                  by.counter_ratio, by.counter_frac_bits));
  return static_cast<std::uint64_t>(product);
}

std::uint64_t magnitude(std::int64_t value) {
  const auto bits = static_cast<std::uint64_t>(value);
  return value < 0 ? -bits : bits;
}

// KVM's mul_s64_u64_shr: rounds towards zero.
std::uint64_t scaled_offset(std::int64_t offset, const ViewState& by) {
  const std::uint64_t size = scaled(magnitude(offset), by, "the parent's counter_offset");
  return offset < 0 ? -size : size;
}

std::int64_t sum(const char* field, std::int64_t parent, std::int64_t child) {
  std::int64_t result = 0;
  if (__builtin_add_overflow(parent, child, &result))
    throw RegionError(
        fmt::format("{} is {}: with the parent's {} it is beyond 64 bits", field, child, parent));
  return result;
}

}  // namespace

ViewState compose(const ViewState& parent, const ViewState& child) {
  check("the parent's", parent);
  check("the view's own", child);
  ViewState composed = child;
  composed.counter_frac_bits = common_bits(parent, child);
  // One is one in any bits: the other's ratio, or one in the bits that the result has.
  if (is_one(child) && is_one(parent))
    composed.counter_ratio = std::uint64_t{1} << composed.counter_frac_bits;
  else if (is_one(child))
    composed.counter_ratio = parent.counter_ratio;
  else if (is_one(parent))
    composed.counter_ratio = child.counter_ratio;
  else
    composed.counter_ratio = scaled(parent.counter_ratio, child, "the parent's counter_ratio");
  if (composed.counter_ratio == 0)
    throw RegionError(fmt::format("counter_ratio is {}: times the parent's {} it is 0",
                                  child.counter_ratio, parent.counter_ratio));
  composed.counter_offset =
      static_cast<std::int64_t>(scaled_offset(parent.counter_offset, child) +
                                static_cast<std::uint64_t>(child.counter_offset));
  composed.monotonic_offset_ns =
      sum("monotonic_offset_ns", parent.monotonic_offset_ns, child.monotonic_offset_ns);
  composed.boottime_offset_ns =
      sum("boottime_offset_ns", parent.boottime_offset_ns, child.boottime_offset_ns);
  return composed;
}

ViewState compose_levels(std::span<const ViewState> levels, std::uint64_t parent_number) {
  if (levels.size() > CLOCKPAGE_VIEW_MAX_ANCESTORS + 1)
    throw RegionError(fmt::format("it would have {} ancestors; at most {} can be read through",
                                  levels.size() - 1, CLOCKPAGE_VIEW_MAX_ANCESTORS));
  // Its levels are not known here, and so neither is what they come to in KVM's order.
  if (levels.front().parent_generation != 0 &&
      !std::all_of(levels.begin() + 1, levels.end(), is_one))
    throw RegionError(
        "its outermost ancestor was composed elsewhere, from levels that are not known here: only "
        "a view with a ratio of one can be composed from that to the tick");
  ViewState composed = levels.back();
  for (std::size_t i = levels.size() - 1; i-- > 0;) {
    // compose() takes everything but relation and offsets from its second: the innermost's.
    composed = compose(levels[i], composed);
  }
  composed.parent_generation = 0;
  if (levels.size() == 1) return composed;
  if (parent_number == 0)
    throw RegionError("the parent's newest slot has number 0, which stands for no parent");
  composed.parent_generation = parent_number;
  return composed;
}

std::uint64_t two_steps_apart(const ViewState& parent, const ViewState& child,
                              std::uint64_t host_counter) {
  check("the parent's", parent);
  check("the view's own", child);
  if (is_one(child)) return 0;  // the offsets add, and nothing is rounded twice
  // What rounding the ratio down takes away, in 2^-f of a tick for each of the host's. It makes the
  // composed counter slower; rounding the counter in the middle makes the two steps slower, by less
  // than a tick of that one; and each side rounds its own result, the composed one its offset too.
  const std::uint8_t bits = common_bits(parent, child);
  const std::uint64_t below = bits == 0 ? 0 : (std::uint64_t{1} << bits) - 1;
  const bool rounded = !is_one(parent) &&
                       ((clockpage_u128{parent.counter_ratio} * child.counter_ratio) & below) != 0;
  const std::uint64_t by_ratio = rounded ? (host_counter >> bits) + 1 : 0;
  const std::uint64_t by_middle = is_one(parent) ? 0 : (child.counter_ratio >> bits) + 1;
  return (by_ratio > by_middle ? by_ratio : by_middle) + 2;
}

}  // namespace clockpage::producer
