// SPDX-License-Identifier: MIT
#include "view_registry.hpp"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "parent_view.hpp"
#include "view_files.hpp"

namespace clockpage::producer {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

bool is_view_name(const std::string& name) {
  try {
    check_view_name(name);
    return true;
  } catch (const RegionError&) {
    return false;
  }
}

// Nothing where there is no such directory: it is made when it is needed.
std::vector<std::string> entries_of(const fs::path& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(path.c_str()), closedir);
  if (!directory && errno == ENOENT) return {};
  if (!directory)
    throw RegionError(fmt::format("{}: cannot be listed: {}", path.string(), std::strerror(errno)));
  std::vector<std::string> found;
  while (const dirent* entry = readdir(directory.get())) found.emplace_back(entry->d_name);
  std::sort(found.begin(), found.end());
  return found;
}

// What ViewFile::create and write_json_file leave where they are killed: ".NAME.PID" and
// ".NAME.json.new".
bool is_temporary_view(const std::string& file) {
  const std::size_t dot = file.rfind('.');
  return file.starts_with('.') && dot != 0 && dot + 1 < file.size() &&
         file.find_first_not_of("0123456789", dot + 1) == std::string::npos &&
         is_view_name(file.substr(1, dot - 1));
}
bool is_temporary_record(const std::string& file) {
  constexpr std::string_view ending = ".json.new";
  return file.starts_with('.') && file.ends_with(ending) &&
         is_view_name(file.substr(1, file.size() - ending.size() - 1));
}

Id random_id() {
  Id id;
  for (const std::size_t half : {0, 8}) {
    const std::uint64_t word = random_u64();
    std::memcpy(id.data() + half, &word, sizeof word);
  }
  return id;
}

template <typename T>
void overlay(std::optional<T>& to, const std::optional<T>& change) {
  if (change) to = change;
}

// Of the numbers in parts of which the rest would be taken from a relation that nobody knows.
void refuse_parts_of_nothing(const ViewFields& change, const ViewState& now) {
  const bool any = change.counter_offset || change.counter_ratio || change.counter_frac_bits;
  const bool all = change.counter_offset && change.counter_ratio && change.counter_frac_bits;
  if (any && !all && now.counter_ratio == 0)
    throw RegionError(
        "the view is withdrawn, so there is no relation to change in part: counter_offset, "
        "counter_ratio and counter_frac_bits are needed together");
}

ViewFields merged(ViewFields base, const ViewFields& change, const ViewState& now) {
  refuse_parts_of_nothing(change, now);
  // The format that was chosen for another ratio is nobody's wish.
  if (change.counter_ratio || change.counter_frac_bits || change.vm_pid || change.parent)
    base.format.reset();
  // Numbers by hand take the place of a VM's, and the other way round. What is not given of them
  // stays as the view has it now.
  if (change.counter_offset || change.counter_ratio || change.counter_frac_bits) {
    if (base.vm_pid && now.counter_ratio != 0) {
      base.counter_offset = now.counter_offset;
      base.counter_ratio = now.counter_ratio;
      base.counter_frac_bits = now.counter_frac_bits;
    }
    base.vm_pid.reset();
    base.vm_fd.reset();
  }
  if (change.vm_pid) {
    base.counter_offset.reset();
    base.counter_ratio.reset();
    base.counter_frac_bits.reset();
    base.vm_fd.reset();
  }
  overlay(base.counter_offset, change.counter_offset);
  overlay(base.counter_ratio, change.counter_ratio);
  overlay(base.counter_frac_bits, change.counter_frac_bits);
  overlay(base.format, change.format);
  overlay(base.smeared, change.smeared);
  overlay(base.monotonic_offset_ns, change.monotonic_offset_ns);
  overlay(base.boottime_offset_ns, change.boottime_offset_ns);
  overlay(base.vm_pid, change.vm_pid);
  overlay(base.vm_fd, change.vm_fd);
  overlay(base.parent, change.parent);
  return base;
}

}  // namespace

// What is as by default is not said: it does not contradict a source.
ViewFields fields_of_state(const ViewState& state) {
  const ViewState none;
  ViewFields fields;
  const auto put = [](auto& field, const auto& value, const auto& by_default) {
    if (value != by_default) field = value;
  };
  put(fields.counter_offset, state.counter_offset, none.counter_offset);
  put(fields.counter_ratio, state.counter_ratio, none.counter_ratio);
  put(fields.counter_frac_bits, state.counter_frac_bits, none.counter_frac_bits);
  put(fields.monotonic_offset_ns, state.monotonic_offset_ns, none.monotonic_offset_ns);
  put(fields.boottime_offset_ns, state.boottime_offset_ns, none.boottime_offset_ns);
  fields.smeared = state.smear != 0;
  fields.format =
      state.format == CLOCKPAGE_FORMAT_SCALED ? FormatChoice::scaled : FormatChoice::unscaled;
  return fields;
}

namespace {

std::uint8_t chosen_format(FormatChoice choice, const ViewState& state, const ViewLimits& limits) {
  if (choice == FormatChoice::unscaled) return CLOCKPAGE_FORMAT_UNSCALED;
  if (choice == FormatChoice::scaled) return CLOCKPAGE_FORMAT_SCALED;
  const bool is_scaled_pages = state.counter_ratio == limits.scaled_ratio &&
                               state.counter_frac_bits == limits.scaled_frac_bits;
  return is_scaled_pages ? CLOCKPAGE_FORMAT_SCALED : CLOCKPAGE_FORMAT_UNSCALED;
}

// No reader reads through that. Clock offsets and all else stay.
ViewState withdrawn_of(ViewState state) {
  state.counter_offset = 0;
  state.counter_ratio = 0;
  state.counter_frac_bits = 0;
  state.format = CLOCKPAGE_FORMAT_UNSCALED;
  return state;
}

bool has_no_relation(const ViewState& own) {
  const ViewState none;
  return own.counter_offset == none.counter_offset && own.counter_ratio == none.counter_ratio &&
         own.counter_frac_bits == none.counter_frac_bits;
}

bool is_there(const fs::path& path) {
  struct stat status {};
  return lstat(path.c_str(), &status) == 0;
}

constexpr int kRecordVersion = 1;

// What sources are made anew with.
Json memory_of(const Json& remembered, const ViewState& now) {
  Json memory = remembered.is_object() ? remembered : Json::object();
  if (now.counter_ratio != 0)
    memory["relation"] = {{"offset", now.counter_offset},
                          {"ratio", now.counter_ratio},
                          {"frac_bits", now.counter_frac_bits}};
  return memory;
}
Json remembered_by(const ViewSources& sources) {
  Json all = Json::object();
  for (const auto& source : sources) all.update(source->memory());
  return all;
}

}  // namespace

ViewRegistry::ViewRegistry(fs::path directory, const clockpage_directory_page& region, Say say,
                           MakeViewSources make_sources)
    : directory_(std::move(directory)),
      region_(region),
      say_(std::move(say)),
      make_sources_(std::move(make_sources)) {
  clean_up();
  count_ = names().size();
  load_records();
  poll();
}

// ---- what is there

std::vector<std::string> ViewRegistry::names() const {
  std::vector<std::string> found = entries_of(directory_ / "views");
  std::erase_if(found, [](const std::string& name) { return !is_view_name(name); });
  return found;
}

ViewSnapshot ViewRegistry::current(const std::string& name) const {
  check_view_name(name);
  const fs::path path = directory_ / "views" / name;
  ViewSnapshot view = read_view_file(path);
  if (view.generation != region_.generation)
    throw RegionError(fmt::format(
        "{}: is stale: it belongs to an earlier region; remove it and add it anew", path.string()));
  return view;
}

Json ViewRegistry::describe(const std::string& name) const {
  const fs::path path = directory_ / "views" / name;
  Json json{{"name", name}, {"path", path.string()}};
  ViewSnapshot view;
  try {
    view = read_view_file(path);
  } catch (const RegionError& e) {
    // Somebody else's doing. It is not hidden: its name is taken.
    json["state"] = "broken";
    json["error"] = e.what();
    return json;
  }
  const ViewState& s = view.state;
  json["view_id"] = hex(view.view_id);
  json["number"] = view.number;
  json["disruption_marker"] = view.disruption_marker;
  json["counter_offset"] = s.counter_offset;
  json["counter_ratio"] = s.counter_ratio;
  json["counter_frac_bits"] = s.counter_frac_bits;
  json["format"] = s.format == CLOCKPAGE_FORMAT_SCALED ? "scaled" : "unscaled";
  json["smeared"] = s.smear != 0;
  json["monotonic_offset_ns"] = s.monotonic_offset_ns;
  json["boottime_offset_ns"] = s.boottime_offset_ns;
  json["parent_generation"] = s.parent_generation;
  json["mode"] = fmt::format("{:04o}", view.mode);
  json["uid"] = view.uid;
  json["gid"] = view.gid;
  json["state"] = view.withdrawn() ? "withdrawn" : "ok";
  if (view.generation != region_.generation) json["state"] = "stale";
  json["source"] = Json{{"kind", "given"}};
  const auto sourced = sourced_.find(name);
  if (sourced == sourced_.end() || sourced->second.view_id != view.view_id) return json;
  for (const auto& source : sourced->second.sources) json["source"].update(source->json());
  if (!sourced->second.trouble.empty()) json["error"] = sourced->second.trouble;
  return json;
}

Json ViewRegistry::show(const std::string& name) const {
  check_view_name(name);
  Json json = describe(name);
  // There is nothing, or nothing that could be said of it.
  if (json["state"] == "broken") throw RegionError(json["error"].get<std::string>());
  return json;
}

Json ViewRegistry::list() const {
  Json views = Json::array();
  for (const std::string& name : names()) views.push_back(describe(name));
  return views;
}

// ---- changes

// Relative to the view's parent, if it has one.
ViewState ViewRegistry::own_state(const ViewFields& fields, const ViewSources& sources) const {
  ViewState state;
  state.counter_offset = fields.counter_offset.value_or(state.counter_offset);
  state.counter_ratio = fields.counter_ratio.value_or(state.counter_ratio);
  state.counter_frac_bits = fields.counter_frac_bits.value_or(state.counter_frac_bits);
  state.smear = fields.smeared.value_or(false) ? 1 : 0;
  state.monotonic_offset_ns = fields.monotonic_offset_ns.value_or(0);
  state.boottime_offset_ns = fields.boottime_offset_ns.value_or(0);
  const ViewSource* parent = parent_source_of(sources);
  for (const auto& source : sources)
    if (source.get() != parent) source->apply(state, *this);
  return state;
}

std::vector<ViewState> ViewRegistry::levels(const std::string& name, std::size_t depth) const {
  if (depth > CLOCKPAGE_VIEW_MAX_ANCESTORS)
    throw RegionError(
        fmt::format("parent: it would have more than {} ancestors", CLOCKPAGE_VIEW_MAX_ANCESTORS));
  const auto found = sourced_.find(name);
  if (found == sourced_.end()) {
    const ViewSnapshot now = current(name);
    if (now.withdrawn()) throw RegionError(fmt::format("its ancestor {} is withdrawn", name));
    return {now.state};
  }
  const Sourced& view = found->second;
  std::vector<ViewState> all;
  if (const ParentSource* parent = parent_source_of(view.sources))
    all = parent->levels(*this, depth + 1);
  all.push_back(own_state(view.fields, view.sources));
  return all;
}

// Before anything is composed: a view that is not there is refused by its name.
void ViewRegistry::refuse_ring(const std::string& name, const ViewFields& fields) const {
  std::optional<std::string> above = fields.parent;
  for (unsigned depth = 0; above && depth <= CLOCKPAGE_VIEW_MAX_ANCESTORS; depth++) {
    if (*above == name)
      throw RegionError(fmt::format("parent: {} would be its own ancestor", name));
    check_view_name(*above);
    struct stat status {};
    if (lstat((directory_ / "views" / *above).c_str(), &status) != 0)
      throw RegionError(fmt::format("parent: there is no view {}", *above));
    const auto found = sourced_.find(*above);
    above = found == sourced_.end() ? std::nullopt : found->second.fields.parent;
  }
}

void ViewRegistry::refuse_to_move_guests_guests() const {
  if (parent_source_of(make_sources_(ViewFields{}, nullptr)) != nullptr)
    throw RegionError(
        "views of a region that is handed through are neither saved nor restored here: its counter "
        "is not this machine's; add them on the other one");
}

ViewState ViewRegistry::compose(const ViewFields& fields, const ViewSources& sources) const {
  const ViewLimits limits = view_limits(region_);
  ViewState state = own_state(fields, sources);
  if (parent_source_of(sources) != nullptr) sources.back()->apply(state, *this);
  state.format = chosen_format(fields.format.value_or(FormatChoice::automatic), state, limits);
  check_view(state, limits);
  return state;
}

Json ViewRegistry::add(const std::string& name, const ViewFields& fields, const FileFields& file) {
  check_view_name(name);
  // Counted anew only then: files may have gone behind our back.
  if (count_ >= kMostViews && (count_ = names().size()) >= kMostViews)
    throw RegionError(
        fmt::format("there are {} views already, as many as there can be", kMostViews));
  refuse_ring(name, fields);
  Sourced view{random_id(), fields, make_sources_(fields, nullptr), {}};
  const ViewState state = compose(fields, view.sources);
  make_file(name, std::move(view), state, random_u64() >> 16, file);
  return describe(name);
}

void ViewRegistry::make_file(const std::string& name, Sourced view, const ViewState& state,
                             std::uint64_t marker, const FileFields& file) {
  const bool sourced = !view.sources.empty();
  const mode_t mode = settled_mode(file, nullptr, sourced);
  remember_parent(view, state);
  const fs::path path = directory_ / "views" / name;
  struct stat status {};
  if (lstat(path.c_str(), &status) == 0)
    throw RegionError(fmt::format("{}: there is such a view already", path.string()));
  // The record comes first: a view without one would stay as it is for ever.
  if (sourced) write_record(name, view);
  try {
    ViewFile::create(
        directory_, name,
        view_image(view.view_id, region_.generation, random_u64() >> 16, marker, state), mode,
        {file.uid, file.gid});
  } catch (const RegionError&) {
    if (sourced) unlink(record_path(name).c_str());
    throw;
  }
  count_++;
  if (sourced)
    sourced_.insert_or_assign(name, std::move(view));
  else
    forget_sources(name);  // of an earlier view of that name, removed behind our back
}

void ViewRegistry::forget_sources(const std::string& name) {
  // What stays says what the page says, or is of another view: it does no harm.
  if (unlink(record_path(name).c_str()) != 0 && errno != ENOENT && errno != ENOTDIR)
    say_(
        fmt::format("{}: cannot be removed: {}", record_path(name).string(), std::strerror(errno)));
  sourced_.erase(name);
  unreadable_.erase(name);
}

// Before the page changes: a record of what the view was made from before would bring that back
// after a crash. So one that becomes numbers alone has a record of these until its page says them.
bool ViewRegistry::record_change(const std::string& name, Sourced view) {
  if (view.sources.empty() && !sourced_.contains(name) && !is_there(record_path(name)))
    return false;
  write_record(name, view);
  sourced_.insert_or_assign(name, std::move(view));
  unreadable_.erase(name);
  return true;
}

Json ViewRegistry::set(const std::string& name, const ViewFields& fields, const FileFields& file) {
  const ViewSnapshot now = current(name);
  const auto before = sourced_.find(name);
  // What its fields are about: the page of a nested view says what has come of them.
  const bool nested =
      before != sourced_.end() && parent_source_of(before->second.sources) != nullptr;
  const ViewState own =
      nested ? own_state(before->second.fields, before->second.sources) : now.state;
  Sourced view{now.view_id,
               merged(before != sourced_.end() ? before->second.fields : fields_of_state(now.state),
                      fields, own),
               {},
               {}};
  refuse_ring(name, view.fields);
  // The same machine, not the one that has its number by now.
  const bool same_machine = before != sourced_.end() && !fields.vm_pid && !fields.vm_fd;
  view.sources = make_sources_(
      view.fields,
      same_machine ? memory_of(remembered_by(before->second.sources), now.state) : Json(nullptr));
  if (same_machine && parent_source_of(view.sources) != nullptr)
    view.sources = make_sources_(view.fields, remembered_by(before->second.sources));
  const ViewState state = compose(view.fields, view.sources);
  const mode_t mode = settled_mode(file, &now, !view.sources.empty());
  const ViewFile page = ViewFile::open(directory_, name, region_);
  FileChange changed_file(directory_ / "views" / name, file, mode, now);
  const bool sourced = !view.sources.empty();
  if (record_change(name, std::move(view)))
    change(name, sourced_.at(name), page, state);
  else
    page.writer().set(state);
  changed_file.keep();
  if (!sourced) forget_sources(name);
  refresh_children_of(name);
  return describe(name);
}

// As of what the view's newest slot was composed from.
void ViewRegistry::remember_parent(Sourced& view, const ViewState& composed) const {
  const ParentSource* source = parent_source_of(view.sources);
  if (source == nullptr) return;
  const ParentSource::Parent parent = source->parent(*this);
  if (parent.number == composed.parent_generation) view.parent_marker = parent.disruption_marker;
}

// Its parent's guest may have come to another host with the same numbers: then what the marker says
// of the parent holds for the child.
void ViewRegistry::change(const std::string& name, Sourced& view, const ViewFile& page,
                          const ViewState& state) const {
  bool moved = false;
  if (const ParentSource* source = parent_source_of(view.sources)) {
    const ParentSource::Parent parent = source->parent(*this);
    if (parent.number != state.parent_generation)
      throw RegionError(fmt::format("the parent of {} changes at this moment", name));
    const std::uint64_t before = page.writer().state().parent_generation;
    moved =
        before != 0 && before != parent.number && view.parent_marker != parent.disruption_marker;
    view.parent_marker = parent.disruption_marker;
  }
  if (moved)
    page.writer().disrupt(state);
  else
    page.writer().set(state);
}

// Who has it mapped would read on, and nobody follow what the relation of the counters becomes.
// An ancestor's change stops the readers of a nested view by itself.
void ViewRegistry::refuse_to_keep(const std::string& name) const {
  ViewSnapshot now;
  try {
    now = current(name);
  } catch (const RegionError&) {
    return;  // nobody reads through that
  }
  const auto found = sourced_.find(name);
  if (now.withdrawn()) return;
  const bool follows = found != sourced_.end() && found->second.fields.vm_pid.has_value();
  if (!follows && has_no_relation(found == sourced_.end()
                                      ? now.state
                                      : own_state(found->second.fields, found->second.sources)))
    return;
  throw RegionError(
      fmt::format("keep: view {} says more than offsets of clocks: who has it mapped would go on "
                  "with a relation of the counters that nobody follows",
                  name));
}

// As the last state of a view that is to go. Nothing: what has its name is no view.
std::optional<ViewFile> ViewRegistry::open_to_remove(const std::string& name) const {
  const fs::path path = directory_ / "views" / name;
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  try {
    return ViewFile::open_any(directory_, name);
  } catch (const RegionError&) {
    if (!can_be_written(path)) throw;
    return std::nullopt;
  }
}

void ViewRegistry::remove(const std::string& name, bool keep) {
  check_view_name(name);
  for (const auto& [child, view] : sourced_)
    if (view.fields.parent == name)
      throw RegionError(fmt::format("{}: view {} was composed from it: remove that first",
                                    (directory_ / "views" / name).string(), child));
  if (keep) refuse_to_keep(name);
  const std::optional<ViewFile> page = keep ? std::nullopt : open_to_remove(name);
  const ViewState before = page ? page->writer().state() : ViewState{};
  // First: what has lost its name nobody could withdraw any more.
  if (page) page->writer().set(withdrawn_of(before));
  try {
    ViewFile::remove(directory_, name);
  } catch (const RegionError&) {
    if (page) page->writer().set(before);
    throw;
  }
  count_ -= count_ != 0 ? 1 : 0;
  forget_sources(name);
  refresh_children_of(name);
}

// ---- views that are not numbers alone

fs::path ViewRegistry::record_path(const std::string& name) const {
  return directory_ / "view-sources" / (name + ".json");
}

void ViewRegistry::write_record(const std::string& name, const Sourced& view) const {
  write_json_file(record_path(name), {{"version", kRecordVersion},
                                      {"view_id", hex(view.view_id)},
                                      {"made_from", json_of(view.fields)},
                                      {"memory", remembered_by(view.sources)}});
}

void ViewRegistry::clean_up() {
  // We may be root: what others could put there is neither followed nor deleted.
  for (const char* part : {"views", "view-sources"}) check_own_directory(directory_ / part);
  for (const std::string& name : entries_of(directory_ / "views"))
    if (is_temporary_view(name)) unlink((directory_ / "views" / name).c_str());
  for (const std::string& name : entries_of(directory_ / "view-sources"))
    if (is_temporary_record(name)) unlink((directory_ / "view-sources" / name).c_str());
}

void ViewRegistry::load_records() {
  constexpr std::string_view ending = ".json";
  for (const std::string& file : entries_of(directory_ / "view-sources")) {
    if (!file.ends_with(ending)) continue;
    const std::string name = file.substr(0, file.size() - ending.size());
    if (!is_view_name(name)) continue;
    try {
      load_record(name);
    } catch (const std::exception& e) {
      // Nobody knows any more what it is made from, so nobody would notice when it gets wrong.
      if (!withdraw(name, e.what(), true)) unreadable_[name] = e.what();
    }
  }
}

void ViewRegistry::load_record(const std::string& name) {
  const fs::path path = record_path(name);
  struct stat status {};
  ViewSnapshot now;
  if (lstat((directory_ / "views" / name).c_str(), &status) != 0) {
    unlink(path.c_str());  // the view was never completed, or is removed
    return;
  }
  now = read_view_file(directory_ / "views" / name);
  const Json record = read_json_file(path);
  if (record.value("version", 0) != kRecordVersion)
    throw RegionError(fmt::format("{}: its version is not {}", path.string(), kRecordVersion));
  if (record.value("view_id", "") != hex(now.view_id)) {
    unlink(path.c_str());  // of an earlier view of that name
    return;
  }
  ViewFields fields = fields_from(record.value("made_from", Json()));
  const Json remembered = record.value("memory", Json());
  ViewSources sources = make_sources_(fields, memory_of(remembered, now.state));
  // What a nested view's page says is not what its own source has said.
  if (parent_source_of(sources) != nullptr) sources = make_sources_(fields, remembered);
  sourced_.insert_or_assign(name, Sourced{now.view_id, std::move(fields), std::move(sources), {}});
}

bool ViewRegistry::withdraw(const std::string& name, const std::string& reason, bool complain) {
  const std::string line = fmt::format("view {} is withdrawn: {}", name, reason);
  try {
    const ViewFile page = ViewFile::open(directory_, name, region_);
    if (page.writer().set(withdrawn_of(page.writer().state()))) say_(line);
    return true;
  } catch (const RegionError& e) {
    if (complain) say_(fmt::format("{}, but cannot be: {}", line, e.what()));
    return false;
  }
}

void ViewRegistry::refresh(const std::string& name, Sourced& view) {
  try {
    (void)view_limits(region_);
  } catch (const RegionError&) {
    return;  // a region that cannot be read says nothing against the relation
  }
  try {
    const bool nested = parent_source_of(view.sources) != nullptr;
    // A nested view goes with its parent, to another host's region too, where that has come to the
    // place of ours; any other one is of its region for good.
    const ViewSnapshot now = nested ? read_view_file(directory_ / "views" / name) : current(name);
    if (now.view_id != view.view_id) return;  // somebody put another file there
    const ViewState state = compose(view.fields, view.sources);
    if (now.generation != region_.generation) {
      ViewFile::open_any(directory_, name).writer().move_to(region_.generation, state);
      remember_parent(view, state);
    } else if (state == now.state) {
      remember_parent(view, state);
    } else {
      change(name, view, ViewFile::open(directory_, name, region_), state);
    }
    if (!view.trouble.empty()) say_(fmt::format("view {} can be read through again", name));
    view.trouble.clear();
    say_doubt(name, view);
  } catch (const RegionError& e) {
    // Also where the trouble is known: it may be that the view could not be withdrawn before. Said
    // once.
    const bool is_new = view.trouble != e.what();
    view.trouble = e.what();
    withdraw(name, view.trouble, is_new);
  }
}

// Once: a nested guest may come and go with every poll.
void ViewRegistry::say_doubt(const std::string& name, Sourced& view) const {
  for (const auto& source : view.sources) {
    const ViewSource::Doubt doubt = source->doubt();
    if (!doubt.lasts || std::exchange(view.said_doubt, true)) continue;
    say_(fmt::format("view {} stays as it is, which may be wrong by now: {}", name, doubt.reason));
  }
}

void ViewRegistry::refresh_after_parents(const std::string& name, std::set<std::string>& done) {
  const auto found = sourced_.find(name);
  if (found == sourced_.end() || !done.insert(name).second) return;
  if (found->second.fields.parent) refresh_after_parents(*found->second.fields.parent, done);
  refresh(name, found->second);
}

void ViewRegistry::refresh_children_of(const std::string& name) {
  std::vector<std::string> changed{name};
  std::set<std::string> done{name};
  while (!changed.empty()) {
    const std::string parent = std::move(changed.back());
    changed.pop_back();
    for (auto& [child, view] : sourced_)
      if (view.fields.parent == parent && done.insert(child).second) {
        refresh(child, view);
        changed.push_back(child);
      }
  }
}

void ViewRegistry::withdraw_followed(const std::string& reason) {
  for (const auto& [name, view] : sourced_) withdraw(name, reason, true);
}

void ViewRegistry::poll() {
  std::set<std::string> done;
  for (const auto& [name, view] : sourced_) refresh_after_parents(name, done);
  std::erase_if(unreadable_,
                [this](const auto& view) { return withdraw(view.first, view.second, false); });
}

}  // namespace clockpage::producer
