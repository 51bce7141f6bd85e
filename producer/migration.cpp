// SPDX-License-Identifier: MIT
#include "migration.hpp"

#include <clockpage/clockpage.h>
#include <clockpage/kvm.h>
#include <fmt/format.h>

#include <algorithm>

namespace clockpage::producer {

namespace {

constexpr std::uint64_t kMicro = 1'000'000;

std::uint64_t khz_of(const clockpage_directory_page& region) {
  return region.counter_frequency_hz / 1000;
}

// The inverse of (1 << frac_bits) * guest_khz / host_khz, rounded down: exact, since host_khz is
// below 1 << frac_bits.
std::uint32_t guest_khz_of(const ViewState& state, std::uint64_t host_khz) {
  const clockpage_u128 scaled = clockpage_u128{state.counter_ratio} * host_khz;
  const clockpage_u128 one = clockpage_u128{1} << state.counter_frac_bits;
  const clockpage_u128 khz = (scaled + one - 1) / one;
  return static_cast<std::uint32_t>(std::min<clockpage_u128>(khz, UINT32_MAX));
}

std::uint64_t guest_frequency_uhz(const ViewState& state, std::uint64_t host_hz) {
  return static_cast<std::uint64_t>(clockpage_u128{host_hz} * kMicro * state.counter_ratio >>
                                    state.counter_frac_bits);
}

// What the counter gains in elapsed_ns >= 0, modulo 2^64.
std::uint64_t ticks_in(std::int64_t elapsed_ns, std::uint64_t frequency_uhz) {
  return static_cast<std::uint64_t>(clockpage_u128{static_cast<std::uint64_t>(elapsed_ns)} *
                                    frequency_uhz / (kMicro * 1'000'000'000));
}

std::int64_t sum(const char* what, std::int64_t a, std::int64_t b) {
  std::int64_t total = 0;
  if (__builtin_add_overflow(a, b, &total))
    throw RegionError(fmt::format("{} cannot go on from {} ns by {} ns", what, a, b));
  return total;
}
std::int64_t difference(const char* what, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  if (__builtin_sub_overflow(a, b, &result))
    throw RegionError(fmt::format("{} cannot be {} ns from {} ns", what, a, b));
  return result;
}

CounterRelation ratio_for(const SavedView& saved, const RestoreWish& wish,
                          const clockpage_directory_page& region) {
  if (wish.counter_ratio.has_value() != wish.counter_frac_bits.has_value())
    throw RegionError("a ratio and its fraction bits are given together");
  if (wish.counter_ratio) {
    const std::uint64_t one = std::uint64_t{1} << (*wish.counter_frac_bits & 63U);
    if (*wish.counter_ratio == one) return {};
    return {0, *wish.counter_ratio, *wish.counter_frac_bits};
  }
  const clockpage_kvm_host host{
      static_cast<std::uint32_t>(std::min<std::uint64_t>(khz_of(region), UINT32_MAX)),
      wish.tolerance_ppm,
      data_page_of(region, CLOCKPAGE_FORMAT_SCALED, 0).scale_frac_bits,
      {}};
  const std::uint32_t khz = wish.guest_khz.value_or(saved.guest_khz);
  clockpage_counter_relation relation{};
  if (clockpage_kvm_scale(&host, khz, &relation) != CLOCKPAGE_OK)
    throw RegionError(
        fmt::format("no ratio makes the guest's {} kHz of this host's {} kHz: give "
                    "counter_ratio and counter_frac_bits",
                    khz, host.tsc_khz));
  return {0, relation.ratio, relation.frac_bits};
}

std::uint8_t automatic_format(const CounterRelation& relation,
                              const clockpage_directory_page& region) {
  const clockpage_data_page& scaled = data_page_of(region, CLOCKPAGE_FORMAT_SCALED, 0);
  return relation.ratio == scaled.scale_ratio && relation.frac_bits == scaled.scale_frac_bits
             ? CLOCKPAGE_FORMAT_SCALED
             : CLOCKPAGE_FORMAT_UNSCALED;
}

struct Elapsed {
  std::int64_t ns;
  bool by_tai;
  std::optional<std::uint64_t> bound_ns;
};
Elapsed elapsed_between(const HostMoment& saved, const HostMoment& now) {
  const bool by_tai = saved.tai && now.tai;
  const ClockReading& then = by_tai ? *saved.tai : saved.utc;
  const ClockReading& here = by_tai ? *now.tai : now.utc;
  Elapsed elapsed{difference("the time that has passed", here.ns, then.ns), by_tai, std::nullopt};
  // Two clocks may be apart by both their errors; time has not gone back.
  elapsed.ns = std::max<std::int64_t>(elapsed.ns, 0);
  const auto a = then.bound_ns();
  const auto b = here.bound_ns();
  if (a && b) elapsed.bound_ns = *a + *b;
  return elapsed;
}

void check_host(const SavedView& saved, const RestoreWish& wish,
                const clockpage_directory_page& region) {
  if (saved.counter_kind != region.counter_kind)
    throw RegionError(fmt::format("the guest's counter is of kind {}, this host's is {}",
                                  saved.counter_kind, region.counter_kind));
  const Smear here = smear_of_region(region);
  if (saved.state.smear != 0 && saved.smear != here && !wish.accept_smear)
    throw RegionError(
        fmt::format("the view's REALTIME has smear {} and this host offers {}: accept_smear takes "
                    "that instead",
                    smear_name(saved.smear), smear_name(here)));
}

std::int64_t counter_error_ns(std::uint64_t is, std::uint64_t should_be, std::uint64_t uhz) {
  const auto ticks = static_cast<std::int64_t>(is - should_be);
  const double ns = static_cast<double>(ticks) * 1e15 / static_cast<double>(uhz);
  constexpr double kMost = 9.2e18;
  return static_cast<std::int64_t>(std::clamp(ns, -kMost, kMost));
}

}  // namespace

SavedView save_view(std::string name, const clockpage_view_page& view,
                    const clockpage_directory_page& region, std::uint64_t host_counter) {
  // One writer, and it is who calls this: the newest slot stays what it is.
  const clockpage_view_slot& slot = view.slot[view.index % CLOCKPAGE_VIEW_SLOT_COUNT];
  SavedView saved;
  saved.name = std::move(name);
  if (slot.counter_ratio == 0)
    throw RegionError("is withdrawn: there is nothing that could be saved");
  if (slot.parent_generation != 0)
    throw RegionError(
        "is composed from another view: save that one; this one follows when it is made anew "
        "there");
  std::copy(std::begin(view.view_id), std::end(view.view_id), saved.view_id.begin());
  saved.disruption_marker = slot.disruption_marker;
  saved.state = {
      slot.counter_offset, slot.counter_ratio,       slot.counter_frac_bits,  slot.format,
      slot.smear,          slot.monotonic_offset_ns, slot.boottime_offset_ns, 0};
  if (slot.smear != 0) saved.smear = smear_of_region(region);
  std::copy(std::begin(region.host_id), std::end(region.host_id), saved.host_id.begin());
  std::copy(std::begin(region.boot_id), std::end(region.boot_id), saved.boot_id.begin());
  saved.generation = region.generation;
  saved.counter_kind = region.counter_kind;
  saved.host_frequency_hz = region.counter_frequency_hz;
  saved.host = host_moment(region, host_counter);
  saved.view = view_moment(region, saved.state, host_counter);
  saved.guest_frequency_uhz = guest_frequency_uhz(saved.state, measured_frequency_hz(region));
  saved.guest_khz = guest_khz_of(saved.state, khz_of(region));
  return saved;
}

RestoredView restore_view(const SavedView& saved, const RestoreWish& wish,
                          const clockpage_directory_page& region, std::uint64_t host_counter) {
  check_host(saved, wish, region);
  const HostMoment here = host_moment(region, host_counter);
  const Elapsed elapsed = elapsed_between(saved.host, here);
  const CounterRelation relation = ratio_for(saved, wish, region);
  RestoredView restored;
  ViewState& state = restored.state;
  state.counter_ratio = relation.ratio;
  state.counter_frac_bits = relation.frac_bits;
  state.format = automatic_format(relation, region);
  state.smear = saved.state.smear != 0 ? 1 : 0;
  const std::uint64_t due =
      saved.view.guest_counter + ticks_in(elapsed.ns, saved.guest_frequency_uhz);
  // guest_counter_at() with an offset of 0 is what hardware adds the offset to.
  state.counter_offset = wish.counter_offset.value_or(
      static_cast<std::int64_t>(due - guest_counter_at(state, host_counter)));
  const clockpage_data_page& scaled = data_page_of(region, CLOCKPAGE_FORMAT_SCALED, 0);
  ViewLimits limits{0, 0, scaled.scale_ratio, scaled.scale_frac_bits};
  check_view(state, limits);  // the relation, before anything is read by it
  // As the guest will read it: formats, and a ratio undone, differ by some ns.
  const ViewMoment page = view_moment(region, state, host_counter);
  const std::int64_t passed = wish.count_downtime ? elapsed.ns : 0;
  const auto offset = [&](const char* clock, std::int64_t before, std::int64_t now) {
    return difference(clock, sum(clock, before, passed), now);
  };
  state.monotonic_offset_ns = offset("MONOTONIC", saved.view.monotonic.ns, page.monotonic.ns);
  state.boottime_offset_ns = offset("BOOTTIME", saved.view.boottime.ns, page.boottime.ns);
  limits.monotonic_ns = page.monotonic.ns;
  limits.boottime_ns = page.boottime.ns;
  check_view(state, limits);
  restored.host_counter = host_counter;
  restored.guest_counter = page.guest_counter;
  restored.guest_khz = guest_khz_of(state, khz_of(region));
  if (!wish.counter_ratio) restored.guest_khz = wish.guest_khz.value_or(saved.guest_khz);
  restored.elapsed_ns = elapsed.ns;
  restored.elapsed_by_tai = elapsed.by_tai;
  restored.elapsed_bound_ns = elapsed.bound_ns;
  restored.counter_error_ns = counter_error_ns(page.guest_counter, due, saved.guest_frequency_uhz);
  return restored;
}

std::uint64_t restored_marker(const SavedView& saved, std::optional<std::uint64_t> existing) {
  for (;;) {
    const std::uint64_t marker = random_u64() >> 16;
    if (marker != saved.disruption_marker && marker != existing) return marker;
  }
}

}  // namespace clockpage::producer
