// SPDX-License-Identifier: MIT
// The views of one region: DIR/views/NAME, and in DIR/view-sources what those are made from that
// are not numbers alone. Spec section 9.2.
//
// The files are the truth: nothing of a view is remembered here but how to make it anew.
#pragma once

#include <clockpage/abi.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "view_page.hpp"
#include "view_request.hpp"
#include "view_sources.hpp"

namespace clockpage::producer {

struct SavedView;

// What one view file says at this moment.
struct ViewSnapshot {
  Id view_id{};
  std::uint64_t generation = 0;  // of the region that it belongs to
  std::uint64_t number = 0;      // of its newest slot
  std::uint64_t disruption_marker = 0;
  ViewState state;
  mode_t mode = 0;
  uid_t uid = 0;
  gid_t gid = 0;

  // Its relation is not known at this moment: no reader reads through it.
  [[nodiscard]] bool withdrawn() const noexcept { return state.counter_ratio == 0; }
};

// As many views as one registry makes: what is listed has an end.
inline constexpr std::size_t kMostViews = 65536;

// The only writer of the directory's views: hold a lock meanwhile.
class ViewRegistry {
 public:
  using Say = std::function<void(const std::string&)>;

  // Takes away what an earlier writer left half done, and makes anew all that is not numbers alone.
  // region: the mapped directory page, which must outlive this. Throws RegionError if there can be
  // no views in this directory.
  ViewRegistry(std::filesystem::path directory, const clockpage_directory_page& region, Say say,
               MakeViewSources make_sources);

  // Each throws RegionError, one line, and has then changed nothing. A view is as an answer has it.
  nlohmann::json add(const std::string& name, const ViewFields& fields, const FileFields& file);
  // Changes only what is given.
  nlohmann::json set(const std::string& name, const ViewFields& fields, const FileFields& file);
  // Withdraws it first, so that who has it mapped reads no more through what nobody follows.
  // `keep`: takes its name away alone; refused where the view says more than offsets of clocks.
  void remove(const std::string& name, bool keep = false);
  // The view for its guest on another host: the guest is paused. Spec section 9.4.
  [[nodiscard]] nlohmann::json save(const std::string& name) const;
  // Makes it, or changes the one of that name, in one step: {"view":..., "restored":...}.
  nlohmann::json restore(const std::string& name, const RestoreFields& wish,
                         const FileFields& file);
  [[nodiscard]] nlohmann::json show(const std::string& name) const;
  // All, by name.
  [[nodiscard]] nlohmann::json list() const;

  // Makes anew every view that is not numbers alone, parents before their children. Once a second.
  void poll();

  // Withdraws them: nobody will make them anew.
  void withdraw_followed(const std::string& reason);

  // Of a view of this region. Throws RegionError.
  [[nodiscard]] ViewSnapshot current(const std::string& name) const;
  [[nodiscard]] const clockpage_directory_page& region() const noexcept { return region_; }
  // What a view and all above it say of themselves, each relative to the one above it; outermost
  // first, `name` last. `depth`: how many below it have been asked. Throws RegionError: one of them
  // is not there, or withdrawn; there are more than readers follow, or they go in a ring.
  [[nodiscard]] std::vector<ViewState> levels(const std::string& name, std::size_t depth) const;

 private:
  struct Sourced {
    Id view_id{};
    ViewFields fields;
    ViewSources sources;
    std::string trouble;  // why it is withdrawn; empty: it is not
    // Of its parent, when it was composed last; nothing: not known, or it has none.
    std::optional<std::uint64_t> parent_marker = std::nullopt;
    bool said_doubt = false;  // that it may not be so any more
  };

  [[nodiscard]] std::filesystem::path record_path(const std::string& name) const;
  [[nodiscard]] ViewState compose(const ViewFields& fields, const ViewSources& sources) const;
  [[nodiscard]] ViewState own_state(const ViewFields& fields, const ViewSources& sources) const;
  void refuse_to_move_guests_guests() const;
  void refuse_to_save_what_is_not_known(const std::string& name) const;
  void refuse_ring(const std::string& name, const ViewFields& fields) const;
  void remember_parent(Sourced& view, const ViewState& composed) const;
  void change(const std::string& name, Sourced& view, const ViewFile& page,
              const ViewState& state) const;
  [[nodiscard]] nlohmann::json describe(const std::string& name) const;
  [[nodiscard]] std::vector<std::string> names() const;
  void clean_up();
  void load_records();
  void load_record(const std::string& name);
  void write_record(const std::string& name, const Sourced& view) const;
  void forget_sources(const std::string& name);
  bool record_change(const std::string& name, Sourced view);
  void refuse_to_keep(const std::string& name) const;
  [[nodiscard]] std::optional<ViewFile> open_to_remove(const std::string& name) const;
  void restore_into(const std::string& name, Sourced view, const ViewState& state,
                    const SavedView& saved, const FileFields& file);
  void make_file(const std::string& name, Sourced view, const ViewState& state,
                 std::uint64_t marker, const FileFields& file);
  void refresh(const std::string& name, Sourced& view);
  void say_doubt(const std::string& name, Sourced& view) const;
  void refresh_after_parents(const std::string& name, std::set<std::string>& done);
  void refresh_children_of(const std::string& name);
  // Whether it is withdrawn now. `complain`: says it where it cannot be.
  bool withdraw(const std::string& name, const std::string& reason, bool complain);

  std::filesystem::path directory_;
  const clockpage_directory_page& region_;
  Say say_;
  MakeViewSources make_sources_;
  std::size_t count_ = 0;                          // of views, at most
  std::map<std::string, Sourced> sourced_;         // those that are not numbers alone
  std::map<std::string, std::string> unreadable_;  // records, why; the view is still to withdraw
};

}  // namespace clockpage::producer
