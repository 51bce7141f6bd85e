// SPDX-License-Identifier: MIT
// The registry's part in migration: views saved for another host, and restored from one. What they
// are made of is migration.hpp's. Spec section 9.4.
#include <clockpage/counter.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "migration.hpp"
#include "view_files.hpp"
#include "view_registry.hpp"

namespace clockpage::producer {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// A step between the counter's reading and the page's is met once, if ever.
constexpr int kAttempts = 3;
template <typename Act>
auto at_this_moment(const Act& act) {
  for (int attempt = 1;; attempt++) {
    try {
      return act(clockpage_counter_ordered());
    } catch (const RegionError&) {
      if (attempt == kAttempts) throw;
    }
  }
}

// Of the module kvm, by which a guest's frequency may differ unscaled; the kernel's default where
// it is not there to be asked.
std::uint32_t kvm_tolerance_ppm() {
  std::uint32_t ppm = RestoreWish{}.tolerance_ppm;
  const int fd = open("/sys/module/kvm/parameters/tsc_tolerance_ppm", O_RDONLY | O_CLOEXEC);
  std::array<char, 16> text{};
  if (fd >= 0 && read(fd, text.data(), text.size() - 1) > 0) {
    const unsigned long said = std::strtoul(text.data(), nullptr, 10);
    if (said <= 1'000'000) ppm = static_cast<std::uint32_t>(said);
  }
  if (fd >= 0) close(fd);
  return ppm;
}

RestoreWish wish_of(const RestoreFields& fields) {
  RestoreWish wish;
  wish.count_downtime = fields.count_downtime;
  wish.accept_smear = fields.accept_smear;
  wish.counter_offset = fields.relation.counter_offset;
  wish.counter_ratio = fields.relation.counter_ratio;
  wish.counter_frac_bits = fields.relation.counter_frac_bits;
  wish.guest_khz = fields.guest_khz;
  wish.tolerance_ppm = kvm_tolerance_ppm();
  return wish;
}

ViewFields fields_of(const ViewState& state) {
  ViewFields fields;
  fields.smeared = state.smear != 0;
  fields.monotonic_offset_ns = state.monotonic_offset_ns;
  fields.boottime_offset_ns = state.boottime_offset_ns;
  return fields;
}

}  // namespace

// A relation that held some time ago would go on as the guest's own at the other host.
void ViewRegistry::refuse_to_save_what_is_not_known(const std::string& name) const {
  const auto found = sourced_.find(name);
  if (found == sourced_.end() || found->second.fields.parent) return;  // save_view says of that
  const ViewState now = compose(found->second.fields, found->second.sources);
  for (const auto& source : found->second.sources)
    if (const auto doubt = source->doubt(); !doubt.reason.empty())
      throw RegionError(
          fmt::format("view {}: its relation is not known at present: {}", name, doubt.reason));
  if (now != current(name).state)
    throw RegionError(fmt::format(
        "view {}: its relation changes at this moment: save it once its guest is paused", name));
}

Json ViewRegistry::save(const std::string& name) const {
  refuse_to_move_guests_guests();
  (void)current(name);  // says best what is wrong with it
  refuse_to_save_what_is_not_known(name);
  const ViewFile view = ViewFile::open(directory_, name, region_);
  try {
    return json_of(at_this_moment(
        [&](std::uint64_t counter) { return save_view(name, view.page(), region_, counter); }));
  } catch (const RegionError& e) {
    throw RegionError(fmt::format("view {} {}", name, e.what()));
  }
}

Json ViewRegistry::restore(const std::string& name, const RestoreFields& fields,
                           const FileFields& file) {
  check_view_name(name);
  refuse_to_move_guests_guests();
  const SavedView saved = saved_view_of(fields.saved);
  RestoreWish wish = wish_of(fields);
  Sourced view{saved.view_id, {}, {}, {}};
  if (fields.relation.vm_pid || fields.relation.vm_fd) {
    // The VMM has set its vCPUs' counters already: what they are now is what the view says.
    view.sources = make_sources_(fields.relation, nullptr);
    ViewState set;
    for (const auto& source : view.sources) source->apply(set, *this);
    wish.counter_offset = set.counter_offset;
    wish.counter_ratio = set.counter_ratio;
    wish.counter_frac_bits = set.counter_frac_bits;
  }
  struct stat status {};
  const bool exists = lstat((directory_ / "views" / name).c_str(), &status) == 0;
  if (exists) {
    const ViewSnapshot now = current(name);
    if (now.state.parent_generation != 0)
      throw RegionError(
          fmt::format("view {} is composed from another one: it cannot be restored into", name));
    view.view_id = now.view_id;
  }
  const RestoredView restored = at_this_moment(
      [&](std::uint64_t counter) { return restore_view(saved, wish, region_, counter); });
  view.fields = fields_of(restored.state);
  view.fields.vm_pid = fields.relation.vm_pid;
  view.fields.vm_fd = fields.relation.vm_fd;
  if (exists)
    restore_into(name, std::move(view), restored.state, saved, file);
  else
    make_file(name, std::move(view), restored.state, restored_marker(saved, std::nullopt), file);
  refresh_children_of(name);
  return {{"view", describe(name)}, {"restored", json_of(restored)}};
}

void ViewRegistry::restore_into(const std::string& name, Sourced view, const ViewState& state,
                                const SavedView& saved, const FileFields& file) {
  const ViewSnapshot now = current(name);
  const mode_t mode = settled_mode(file, &now, !view.sources.empty());
  const ViewFile page = ViewFile::open(directory_, name, region_);
  FileChange changed_file(directory_ / "views" / name, file, mode, now);
  const bool sourced = !view.sources.empty();
  if (!sourced) view.fields = fields_of_state(state);  // its record, if any, is all that it is
  record_change(name, std::move(view));
  page.writer().disrupt(state, restored_marker(saved, now.disruption_marker));
  changed_file.keep();
  if (!sourced) forget_sources(name);
}

}  // namespace clockpage::producer
