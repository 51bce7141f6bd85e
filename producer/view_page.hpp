// SPDX-License-Identifier: MIT
// View pages: made once, complete before they get their name; changed in place. Spec section 5.4.
//
// Who knows what a view is composed from (a VMM, debugfs, a time namespace, a parent view) fills a
// ViewState; nothing here asks. One writer for each view: the caller sees to that.
#pragma once

#include <clockpage/abi.h>
#include <sys/types.h>

#include <boost/interprocess/mapped_region.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>

#include "identity.hpp"
#include "region.hpp"

namespace clockpage::producer {

// What a view asks for: a slot without what the writer itself keeps (number, marker).
struct ViewState {
  // guest counter = ((host counter * counter_ratio) >> counter_frac_bits) + counter_offset
  std::int64_t counter_offset = 0;
  std::uint64_t counter_ratio = 1;
  std::uint8_t counter_frac_bits = 0;
  std::uint8_t format = CLOCKPAGE_FORMAT_UNSCALED;
  std::uint8_t smear = 0;                // 0: the unsmeared page, not 0: the smeared one
  std::int64_t monotonic_offset_ns = 0;  // view's = page's + this: MONOTONIC and RAW
  std::int64_t boottime_offset_ns = 0;   // view's = page's + this
  std::uint64_t parent_generation = 0;   // of the view it was composed from; 0: none
  bool operator==(const ViewState&) const = default;
};

// What a ViewState is judged by: the region's clocks at this moment, ns, and the scaled pages'
// scaling.
struct ViewLimits {
  std::int64_t monotonic_ns = 0;
  std::int64_t boottime_ns = 0;
  std::uint64_t scaled_ratio = 0;
  std::uint8_t scaled_frac_bits = 0;
};

// Of a mapped region, now: by its unscaled, unsmeared page. Throws RegionError if it cannot be
// read.
ViewLimits view_limits(const clockpage_directory_page& region);

// Throws RegionError, one line that names the field and the reason, if no view may ask for that.
// KTIME_SEC_MAX / 2 s is the kernel's own limit for a time namespace (kernel/time/namespace.c).
void check_view(const ViewState& state, const ViewLimits& limits);

// [A-Za-z0-9._-], 1 to 64 characters, none of them a leading dot. Throws RegionError.
void check_view_name(std::string_view name);

// A view page of the region with this generation, ready to be written.
clockpage_view_page view_image(const Id& view_id, std::uint64_t generation,
                               std::uint64_t first_index, std::uint64_t first_marker,
                               const ViewState& state);

// Changes one view page, which readers may have mapped. The page must outlive it.
class ViewWriter {
 public:
  explicit ViewWriter(clockpage_view_page& page) : page_(page) {}
  // Publishes `state` (checked by the caller) as the newest slot, in one step; the marker changes
  // if the relation of the counters does. Nothing is published if nothing changes. The caller sees
  // to it that no virtual CPU of the guest runs where the counters' relation changes. Returns
  // whether something was published. Throws RegionError if another writer was at work.
  bool set(const ViewState& state);
  // As set, and the marker changes in any case: the guest was moved, or restored.
  void disrupt(const ViewState& state);
  // As disrupt, and it belongs to the region with this generation from now on: that one has come to
  // the place of the other for all who read through it. For a nested view, which nobody reads
  // through before its parent has changed as well.
  void move_to(std::uint64_t generation, const ViewState& state);
  // Likewise, with this marker: one that no reader of this guest has seen, on any host.
  void disrupt(const ViewState& state, std::uint64_t marker) { publish(state, marker); }
  [[nodiscard]] ViewState state() const noexcept;
  [[nodiscard]] std::uint64_t disruption_marker() const noexcept;

 private:
  [[nodiscard]] const clockpage_view_slot& newest() const noexcept;
  void publish(const ViewState& state, std::uint64_t marker);
  clockpage_view_page& page_;
};

// Whose a view file is; nothing: as it is, or the writer's.
struct ViewOwner {
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
};

// DIR/views/NAME, mapped for writing.
class ViewFile {
 public:
  // Makes the directory if need be; writes under a temporary name, gives it owner and mode
  // (whatever the umask), and only then its own name. Throws RegionError; also if the name is
  // taken.
  static ViewFile create(const std::filesystem::path& directory, std::string_view name,
                         const clockpage_view_page& image, mode_t mode,
                         const ViewOwner& owner = {});
  // Maps an existing one of the region with this directory page. Throws RegionError if it is none.
  static ViewFile open(const std::filesystem::path& directory, std::string_view name,
                       const clockpage_directory_page& region);
  // Of whichever region.
  static ViewFile open_any(const std::filesystem::path& directory, std::string_view name);
  // Takes its name away alone: who has it mapped keeps the last slot, so withdraw it first. Throws
  // RegionError.
  static void remove(const std::filesystem::path& directory, std::string_view name);

  [[nodiscard]] clockpage_view_page& page() const noexcept {
    return *static_cast<clockpage_view_page*>(map_.get_address());
  }
  [[nodiscard]] ViewWriter writer() const noexcept { return ViewWriter(page()); }

 private:
  explicit ViewFile(boost::interprocess::mapped_region map) : map_(std::move(map)) {}
  static ViewFile open_checked(const std::filesystem::path& directory, std::string_view name,
                               const clockpage_directory_page* region);
  boost::interprocess::mapped_region map_;
};

}  // namespace clockpage::producer
