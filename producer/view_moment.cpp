// SPDX-License-Identifier: MIT
#include "view_moment.hpp"

#include <clockpage/clockpage.h>
#include <fmt/format.h>

#include <algorithm>

namespace clockpage::producer {

namespace {

constexpr int kAttempts = 8;  // while segments are published between two readings

ClockReading reading_of(const clockpage_time& time) {
  return {time.ns, time.earliest_ns, time.latest_ns, time.status};
}

[[noreturn]] void fail(int error) {
  throw RegionError(fmt::format("the region cannot be read: {}", clockpage_strerror(error)));
}

// Past the lease, what is read may change with the next segment: all of it is of one.
template <typename Read>
void read_of_one_segment(const clockpage_data_page& page, const Read& read) {
  for (int attempt = 0; attempt < kAttempts; attempt++) {
    const std::uint64_t index = clockpage_load_index(&page.index);
    read();
    if (clockpage_load_index(&page.index) == index) return;
  }
}

}  // namespace

std::optional<std::uint64_t> ClockReading::bound_ns() const noexcept {
  if (earliest_ns == std::numeric_limits<std::int64_t>::min() ||
      latest_ns == std::numeric_limits<std::int64_t>::max())
    return std::nullopt;
  const auto unsigned_of = [](std::int64_t ns_signed) {
    return static_cast<std::uint64_t>(ns_signed);
  };
  return std::max(unsigned_of(ns) - unsigned_of(earliest_ns),
                  unsigned_of(latest_ns) - unsigned_of(ns));
}

const clockpage_data_page& data_page_of(const clockpage_directory_page& region, unsigned format,
                                        unsigned smear) {
  for (const clockpage_data_page_entry& entry : region.data_page)
    if (entry.format == format && (entry.smear != 0) == (smear != 0))
      return *reinterpret_cast<const clockpage_data_page*>(
          reinterpret_cast<const std::byte*>(&region) + entry.offset_bytes);
  throw RegionError("the region lacks a data page");
}

HostMoment host_moment(const clockpage_directory_page& region, std::uint64_t counter) {
  const clockpage_data_page& page = data_page_of(region, CLOCKPAGE_FORMAT_UNSCALED, 0);
  clockpage_reader reader{};
  if (const int error = clockpage_reader_init(&reader, &page, sizeof page)) fail(error);
  HostMoment moment;
  moment.counter = counter;
  read_of_one_segment(page, [&] {
    clockpage_time time{};
    if (const int error = clockpage_at_bounds(&reader, CLOCKPAGE_REALTIME, counter, &time))
      fail(error);
    moment.utc = reading_of(time);
    const int error = clockpage_at_bounds(&reader, CLOCKPAGE_TAI, counter, &time);
    if (error != CLOCKPAGE_OK && error != CLOCKPAGE_E_TAI_UNKNOWN) fail(error);
    moment.tai.reset();
    if (error == CLOCKPAGE_OK) moment.tai = reading_of(time);
  });
  return moment;
}

std::uint64_t guest_counter_at(const ViewState& state, std::uint64_t host_counter) noexcept {
  return clockpage_scale_counter(host_counter, state.counter_ratio, state.counter_frac_bits) +
         static_cast<std::uint64_t>(state.counter_offset);
}

ViewMoment view_moment(const clockpage_directory_page& region, const ViewState& state,
                       std::uint64_t host_counter) {
  ViewState alone = state;
  alone.parent_generation = 0;  // the relation and offsets are relative to the host in any case
  constexpr std::uint64_t marker = 1;
  const clockpage_view_page view = view_image(Id{}, region.generation, 0, marker, alone);
  clockpage_view_reader reader{};
  if (const int error =
          clockpage_view_reader_init(&reader, &view, sizeof view, &region, CLOCKPAGE_REGION_SIZE))
    fail(error);
  ViewMoment moment;
  moment.guest_counter = guest_counter_at(state, host_counter);
  const auto read = [&](int clock) {
    clockpage_view_time time{};
    if (const int error =
            clockpage_view_at_bounds(&reader, clock, moment.guest_counter, marker, &time))
      fail(error);
    return reading_of(time.time);
  };
  read_of_one_segment(data_page_of(region, state.format, state.smear), [&] {
    moment.realtime = read(CLOCKPAGE_REALTIME);
    moment.monotonic = read(CLOCKPAGE_MONOTONIC);
    moment.boottime = read(CLOCKPAGE_BOOTTIME);
  });
  return moment;
}

Smear smear_of_region(const clockpage_directory_page& region) {
  const clockpage_data_page& page = data_page_of(region, CLOCKPAGE_FORMAT_UNSCALED, 1);
  clockpage_smear smear{};
  if (const int error = clockpage_smear_of(&page, &smear)) fail(error);
  return {smear.kind, smear.start_s, smear.length_s};
}

std::uint64_t measured_frequency_hz(const clockpage_directory_page& region) {
  const std::uint64_t nominal = region.counter_frequency_hz;
  const std::uint64_t measured = CLOCKPAGE_LOAD(
      data_page_of(region, CLOCKPAGE_FORMAT_UNSCALED, 0).diagnostics.source_frequency_hz);
  const std::uint64_t difference = measured > nominal ? measured - nominal : nominal - measured;
  return difference <= nominal / 100 ? measured : nominal;
}

}  // namespace clockpage::producer
