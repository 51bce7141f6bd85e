// SPDX-License-Identifier: MIT
// Views of guests' guests: composed from their parent's, and anew whenever that has changed. Spec
// section 5.4.2.
#pragma once

#include <clockpage/abi.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "view_sources.hpp"

namespace clockpage::producer {

// A view that this process is itself in: this machine is a guest, and the host has given it this.
// Read-only, and it may change at any time: the guest was moved, say.
class OutermostView {
 public:
  // Maps it. Throws RegionError: file and reason.
  OutermostView(std::filesystem::path path, const clockpage_directory_page& region);
  ~OutermostView();
  OutermostView(const OutermostView&) = delete;
  OutermostView& operator=(const OutermostView&) = delete;

  struct Slot {
    ViewState state;
    std::uint64_t number = 0;
    std::uint64_t disruption_marker = 0;
  };
  // The newest, in one piece. Throws RegionError where nobody can read through it at this moment.
  [[nodiscard]] Slot newest() const;
  // Whether it has changed since this was asked last. One load.
  [[nodiscard]] bool has_changed() noexcept;
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
  const clockpage_directory_page& region_;
  const clockpage_view_page* page_ = nullptr;
  std::uint64_t seen_ = 0;  // its index
};

// What a view is relative to. Comes last of a view's sources: those before it say what is the
// view's own.
class ParentSource : public ViewSource {
 public:
  struct Parent {
    std::uint64_t number = 0;  // of its newest slot
    std::uint64_t disruption_marker = 0;
  };
  // Composes.
  void apply(ViewState& state, const ViewRegistry& views) final;
  // What every level above says of itself, outermost first, the parent last; `depth` levels below
  // it have been asked already. Throws RegionError: a level that is not there, or withdrawn; too
  // many of them.
  [[nodiscard]] virtual std::vector<ViewState> levels(const ViewRegistry& views,
                                                      std::size_t depth) const = 0;
  // Throws RegionError.
  [[nodiscard]] virtual Parent parent(const ViewRegistry& views) const = 0;
};

// Of another view of the same registry.
std::unique_ptr<ViewSource> make_parent_source(std::string name);
// Of the one that this process is in.
std::unique_ptr<ViewSource> make_parent_source(std::shared_ptr<const OutermostView> view);

// The one that composes, or null.
const ParentSource* parent_source_of(const ViewSources& sources) noexcept;

}  // namespace clockpage::producer
