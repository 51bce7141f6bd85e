// SPDX-License-Identifier: MIT
// Moving a view from one host to another: spec section 9.4. Arithmetic on pages and counter values
// that are given; what it reads changes nothing.
#pragma once

#include <clockpage/abi.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "kvm_relation.hpp"
#include "view_moment.hpp"
#include "view_page.hpp"

namespace clockpage::producer {

// Of the document that `clockpage view save` writes.
inline constexpr int kSavedViewVersion = 1;

// A view at one moment, while no virtual CPU of the guest runs.
struct SavedView {
  std::string name;
  Id view_id{};
  std::uint64_t disruption_marker = 0;
  ViewState state;
  Smear smear;  // of REALTIME in the view; kNoSmear: it is UTC
  // The host that it was on.
  Id host_id{};
  Id boot_id{};
  std::uint64_t generation = 0;
  std::uint8_t counter_kind = 0;
  std::uint64_t host_frequency_hz = 0;  // nominal
  // All at this one counter value.
  HostMoment host;
  ViewMoment view;
  // True frequency of the guest's counter there, 10^-6 Hz, as well as the host knew it; and the
  // nominal one, kHz: what KVM_SET_TSC_KHZ was told, if it scales.
  std::uint64_t guest_frequency_uhz = 0;
  std::uint32_t guest_khz = 0;
};

// Of a view of this region; `host_counter` is what the counter reads now. Throws RegionError: also
// where there is no relation to save (withdrawn), or only one to another view (nested).
SavedView save_view(std::string name, const clockpage_view_page& view,
                    const clockpage_directory_page& region, std::uint64_t host_counter);

nlohmann::json json_of(const SavedView& saved);
// Of whatever it is. Throws RegionError: which key, and what is wrong with it.
SavedView saved_view_of(const nlohmann::json& document);

struct RestoreWish {
  bool count_downtime = true;  // MONOTONIC and BOOTTIME go on by the time that has passed
  bool accept_smear = false;   // REALTIME may be of another smear than it was
  // What the VMM has set already; nothing: what it is to set is computed.
  std::optional<std::int64_t> counter_offset;
  std::optional<std::uint64_t> counter_ratio;  // together with:
  std::optional<std::uint8_t> counter_frac_bits;
  std::optional<std::uint32_t> guest_khz;  // else the saved one
  std::uint32_t tolerance_ppm = 250;       // the module parameter kvm.tsc_tolerance_ppm
};

struct RestoredView {
  ViewState state;  // fit for check_view
  std::uint64_t host_counter = 0;
  std::uint64_t guest_counter = 0;  // at host_counter
  std::uint32_t guest_khz = 0;
  std::int64_t elapsed_ns = 0;  // since the view was saved; never negative
  bool elapsed_by_tai = false;  // else by REALTIME (UTC): a leap second between them is missing
  // By how much elapsed_ns may be off: both hosts' bounds. Nothing: one has none.
  std::optional<std::uint64_t> elapsed_bound_ns;
  // The guest's counter is this much ahead of where it would be had the guest never been moved, ns;
  // not 0 only where counter_offset was given.
  std::int64_t counter_error_ns = 0;
};

// What the view has to be on this region's host, whose counter reads `host_counter` now. Throws
// RegionError where it cannot be that.
RestoredView restore_view(const SavedView& saved, const RestoreWish& wish,
                          const clockpage_directory_page& region, std::uint64_t host_counter);

// {"counter_offset":..., ...}: what the VMM has to know.
nlohmann::json json_of(const RestoredView& restored);

// A marker that no reader of this guest has seen: neither the saved one nor that of the view that
// is there. `existing`: of that, if there is one.
std::uint64_t restored_marker(const SavedView& saved, std::optional<std::uint64_t> existing);

}  // namespace clockpage::producer
