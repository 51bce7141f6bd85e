// SPDX-License-Identifier: MIT
#include "opened_view.hpp"

#include <fcntl.h>

#include <cerrno>
#include <cinttypes>

#include "handover.hpp"
#include "kernels_view.h"
#include "mapping.hpp"
#include "open_error.hpp"
#include "timens_offsets.hpp"

namespace clockpage::detail {
namespace interprocess = boost::interprocess;

namespace {

int map_view(const std::string& path, bool must_be_sealed, interprocess::mapped_region& mapping,
             const clockpage_directory_page& directory, clockpage_view_slot& slot,
             clockpage_open_error& error) {
  const descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.get() < 0) return refuse_system(&error, "open", errno);
  const int code =
      map_descriptor(file.get(), sizeof(clockpage_view_page), must_be_sealed, mapping, error);
  if (code != CLOCKPAGE_OK) return code;
  return read_view(mapping.get_address(), mapping.get_size(), &directory, slot, &error);
}

// What the reader's error means of files that have just been validated.
const char* why(int code, bool too_few_parents) {
  if (code == CLOCKPAGE_E_DISRUPTED) {
    return "a view that it is composed from has changed, or is not its parent: it has to be "
           "composed anew";
  }
  if (code == CLOCKPAGE_E_VIEW && too_few_parents) {
    return "it is composed from another view: name that too (options.parents, "
           "$" CLOCKPAGE_VIEW_PARENTS_VARIABLE ")";
  }
  return clockpage_strerror(code);
}

}  // namespace

int opened_view::make_reader(const open_request& request, const interprocess::mapped_region& region,
                             clockpage_open_error& error) {
  std::array<const void*, CLOCKPAGE_VIEW_MAX_ANCESTORS> given{};
  for (std::size_t i = 0; i < given.size(); i++) given[i] = ancestors[i].get_address();
  const int code = clockpage_view_reader_init_nested(&reader, view.get_address(), view.get_size(),
                                                     region.get_address(), region.get_size(),
                                                     given.data(), request.parents.size());
  if (code == CLOCKPAGE_OK) return code;
  const bool too_few_parents =
      slot.parent_generation != 0 && reader.depth == request.parents.size();
  return refuse(&error, code, "%s", why(code, too_few_parents));
}

int opened_view::map(const open_request& request, const clockpage_directory_page& directory,
                     std::string& name, clockpage_open_error& error) {
  const bool sealed = request.has(CLOCKPAGE_OPEN_SEALED);
  for (std::size_t i = 0; i < request.parents.size(); i++) {
    clockpage_view_slot parent;
    name = request.parents[i];
    const int code = map_view(name, sealed, ancestors[i], directory, parent, error);
    if (code != CLOCKPAGE_OK) return code;
  }
  name = request.view;
  const int code = map_view(name, sealed, view, directory, slot, error);
  if (code != CLOCKPAGE_OK) return code;
  if (slot.counter_ratio == 0 && slot.counter_frac_bits == 0) {
    return refuse(&error, CLOCKPAGE_E_VIEW,
                  "withdrawn by the host: how this counter comes of the host's is not known at "
                  "present");
  }
  return CLOCKPAGE_OK;
}

// By number, as a page's own reader is of what the slot said.
int opened_view::check_kernels_view(clockpage_open_error& error) const {
  if (reader.number != slot.number) {
    return refuse(&error, CLOCKPAGE_E_BUSY, "it was changed while it was being opened");
  }
  const auto own = own_timens_offsets();
  if (const auto* unknown = std::get_if<TimensRefusal>(&own)) {
    return refuse(&error, CLOCKPAGE_E_VIEW,
                  "whether it is the view of this process's time namespace cannot be told: %s",
                  unknown->text.c_str());
  }
  const auto& offsets = std::get<TimensOffsets>(own);
  if (clockpage_is_kernels_view(&reader, offsets.monotonic_ns, offsets.boottime_ns)) {
    return CLOCKPAGE_OK;
  }
  static constexpr char kWhat[] =
      "$" CLOCKPAGE_VIEW_VARIABLE " is not the view of this process's time namespace";
  if (!clockpage_has_hosts_counter(&reader)) {
    return refuse(&error, CLOCKPAGE_E_VIEW,
                  "%s: its counter is not this kernel's (offset %" PRId64 ", ratio %" PRIu64
                  " / 2^%u)",
                  kWhat, slot.counter_offset, slot.counter_ratio, unsigned{slot.counter_frac_bits});
  }
  return refuse(&error, CLOCKPAGE_E_VIEW,
                "%s: MONOTONIC %+" PRId64 " ns, BOOTTIME %+" PRId64
                " ns; the namespace's are %+" PRId64 " ns, %+" PRId64 " ns",
                kWhat, slot.monotonic_offset_ns, slot.boottime_offset_ns, offsets.monotonic_ns,
                offsets.boottime_ns);
}

int check_page_reader(const clockpage_view_slot& slot, const clockpage_data_page& page,
                      clockpage_open_error& error) {
  const bool unscaled = slot.counter_ratio == std::uint64_t{1} << slot.counter_frac_bits &&
                        page.format == CLOCKPAGE_FORMAT_UNSCALED;
  const bool as_page =
      slot.counter_ratio == page.scale_ratio && slot.counter_frac_bits == page.scale_frac_bits;
  const char* obstacle = nullptr;
  if (!unscaled && !as_page) obstacle = "counter_ratio is not that of its page";
  if (slot.counter_offset != 0) obstacle = "counter_offset is not 0";
  if (slot.monotonic_offset_ns != 0) obstacle = "monotonic_offset_ns is not 0";
  if (slot.boottime_offset_ns != 0) obstacle = "boottime_offset_ns is not 0";
  if (slot.parent_generation != 0) obstacle = "it is composed from another view";
  if (obstacle == nullptr) return CLOCKPAGE_OK;
  return refuse(&error, CLOCKPAGE_E_VIEW, "only a reader of views can read through it: %s",
                obstacle);
}

}  // namespace clockpage::detail
