// SPDX-License-Identifier: MIT
#include "parent_view.hpp"

#include <clockpage/barrier.h>
#include <clockpage/clockpage.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "view_compose.hpp"
#include "view_registry.hpp"

namespace clockpage::producer {

// ---- the view that this process is in

namespace {

// A file, or a PCI BAR's: it can be mapped, and not always be read.
const clockpage_view_page* map_view(const std::filesystem::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  const auto refuse = [&](const std::string& reason) {
    if (fd >= 0) close(fd);
    throw RegionError(fmt::format("{}: {}", path.string(), reason));
  };
  struct stat status {};
  if (fd < 0 || fstat(fd, &status) != 0) refuse(std::strerror(errno));
  if (!S_ISREG(status.st_mode)) refuse("not a regular file");
  if (status.st_size != sizeof(clockpage_view_page))
    refuse(fmt::format("size is {} bytes, not {}", status.st_size, sizeof(clockpage_view_page)));
  void* page = mmap(nullptr, sizeof(clockpage_view_page), PROT_READ, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) refuse(fmt::format("cannot be mapped: {}", std::strerror(errno)));
  close(fd);
  return static_cast<const clockpage_view_page*>(page);
}

ViewState state_of(const clockpage_view_slot& s) {
  return {CLOCKPAGE_LOAD(s.counter_offset),
          CLOCKPAGE_LOAD(s.counter_ratio),
          CLOCKPAGE_LOAD(s.counter_frac_bits),
          CLOCKPAGE_LOAD(s.format),
          CLOCKPAGE_LOAD(s.smear),
          CLOCKPAGE_LOAD(s.monotonic_offset_ns),
          CLOCKPAGE_LOAD(s.boottime_offset_ns),
          CLOCKPAGE_LOAD(s.parent_generation)};
}

}  // namespace

OutermostView::OutermostView(std::filesystem::path path, const clockpage_directory_page& region)
    : path_(std::move(path)), region_(region), page_(map_view(path_)) {
  // Whoever looks at it first has not seen it yet.
  seen_ = clockpage_load_index(&page_->index) - 1;
  clockpage_open_error error{};
  if (clockpage_validate_view(page_, sizeof *page_, &region_, &error) == CLOCKPAGE_OK) return;
  munmap(const_cast<clockpage_view_page*>(page_), sizeof *page_);
  throw RegionError(fmt::format("{}: {}", path_.string(), error.where));
}

OutermostView::~OutermostView() { munmap(const_cast<clockpage_view_page*>(page_), sizeof *page_); }

bool OutermostView::has_changed() noexcept {
  const std::uint64_t index = clockpage_load_index(&page_->index);
  return std::exchange(seen_, index) != index;
}

OutermostView::Slot OutermostView::newest() const {
  const auto refuse = [&](const char* reason) {
    throw RegionError(fmt::format("{}: {}", path_.string(), reason));
  };
  for (int pass = 0; pass < CLOCKPAGE_MAX_PASSES; pass++) {
    const std::uint64_t number = clockpage_load_index(&page_->index);  // P1
    const clockpage_view_slot& s = page_->slot[number % CLOCKPAGE_VIEW_SLOT_COUNT];
    const Slot slot{state_of(s), CLOCKPAGE_LOAD(s.number), CLOCKPAGE_LOAD(s.disruption_marker)};
    // After a migration there may be another host's files behind both mappings.
    const bool of_region = CLOCKPAGE_LOAD(page_->generation) == CLOCKPAGE_LOAD(region_.generation);
    clockpage_fence_before_recheck();  // P2
    if (CLOCKPAGE_LOAD(page_->index) != number) continue;
    if (!of_region) refuse("is a view of another region");
    if (slot.number != number) refuse("its newest slot has another number than its index");
    if (slot.state.counter_ratio == 0) refuse("the host has withdrawn it");
    return slot;
  }
  refuse("changed all the time");
  return {};
}

// ---- sources

void ParentSource::apply(ViewState& state, const ViewRegistry& views) {
  const Parent above = parent(views);
  std::vector<ViewState> all = levels(views, 1);
  all.push_back(state);
  state = compose_levels(all, above.number);
}

namespace {

class NamedParent final : public ParentSource {
 public:
  explicit NamedParent(std::string name) : name_(std::move(name)) {}

  [[nodiscard]] std::vector<ViewState> levels(const ViewRegistry& views,
                                              std::size_t depth) const override {
    return views.levels(name_, depth);
  }
  [[nodiscard]] Parent parent(const ViewRegistry& views) const override {
    const ViewSnapshot now = views.current(name_);
    if (now.withdrawn()) throw RegionError(fmt::format("its parent {} is withdrawn", name_));
    return {now.number, now.disruption_marker};
  }
  [[nodiscard]] nlohmann::json json() const override {
    return {{"kind", "parent"}, {"parent", name_}};
  }

 private:
  std::string name_;
};

class OutermostParent final : public ParentSource {
 public:
  explicit OutermostParent(std::shared_ptr<const OutermostView> view) : view_(std::move(view)) {}

  [[nodiscard]] std::vector<ViewState> levels(const ViewRegistry&, std::size_t) const override {
    return {view_->newest().state};
  }
  [[nodiscard]] Parent parent(const ViewRegistry&) const override {
    const OutermostView::Slot now = view_->newest();
    return {now.number, now.disruption_marker};
  }
  [[nodiscard]] nlohmann::json json() const override {
    return {{"kind", "parent"}, {"parent_view", view_->path().string()}};
  }

 private:
  std::shared_ptr<const OutermostView> view_;
};

}  // namespace

std::unique_ptr<ViewSource> make_parent_source(std::string name) {
  return std::make_unique<NamedParent>(std::move(name));
}

std::unique_ptr<ViewSource> make_parent_source(std::shared_ptr<const OutermostView> view) {
  return std::make_unique<OutermostParent>(std::move(view));
}

const ParentSource* parent_source_of(const ViewSources& sources) noexcept {
  return sources.empty() ? nullptr : dynamic_cast<const ParentSource*>(sources.back().get());
}

}  // namespace clockpage::producer
