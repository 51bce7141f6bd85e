// SPDX-License-Identifier: MIT
#include "view_page.hpp"

#include <clockpage/barrier.h>
#include <clockpage/clockpage.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

namespace clockpage::producer {

namespace {

namespace fs = std::filesystem;
namespace bip = boost::interprocess;

// KTIME_SEC_MAX / 2, in ns: KTIME_MAX is 2^63 - 1 ns.
constexpr std::int64_t kLatestNs = INT64_MAX / 1'000'000'000 / 2 * 1'000'000'000;

[[noreturn]] void fail(const fs::path& path, std::string_view reason) {
  throw RegionError(fmt::format("{}: {}", path.string(), reason));
}
[[noreturn]] void fail_errno(const fs::path& path, std::string_view what, int error) {
  fail(path, fmt::format("{}: {}", what, std::strerror(error)));
}

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;
};

// An open file in the shape that mapped_region takes.
struct Mappable {
  int fd;
  [[nodiscard]] bip::mapping_handle_t get_mapping_handle() const noexcept {
    return bip::ipcdetail::mapping_handle_from_file_handle(fd);
  }
};

bip::mapped_region map(const fs::path& path, int fd) {
  try {
    return {Mappable{fd}, bip::read_write, 0, sizeof(clockpage_view_page)};
  } catch (const bip::interprocess_exception& e) {
    fail(path, fmt::format("cannot be mapped: {}", e.what()));
  }
}

fs::path view_path(const fs::path& directory, std::string_view name) {
  check_view_name(name);
  return directory / "views" / name;
}

void check_offset(const char* field, std::int64_t clock_ns, std::int64_t offset_ns) {
  std::int64_t sum = 0;
  if (!__builtin_add_overflow(clock_ns, offset_ns, &sum) && sum >= 0 && sum <= kLatestNs) return;
  throw RegionError(fmt::format("{} is {}: the clock, now {} ns, would be negative or above {} ns",
                                field, offset_ns, clock_ns, kLatestNs));
}

clockpage_view_slot slot_of(const ViewState& state, std::uint64_t number, std::uint64_t marker) {
  clockpage_view_slot slot{};
  slot.number = number;
  slot.counter_offset = state.counter_offset;
  slot.counter_ratio = state.counter_ratio;
  slot.counter_frac_bits = state.counter_frac_bits;
  slot.format = state.format;
  slot.smear = state.smear;
  slot.monotonic_offset_ns = state.monotonic_offset_ns;
  slot.boottime_offset_ns = state.boottime_offset_ns;
  slot.disruption_marker = marker;
  slot.parent_generation = state.parent_generation;
  return slot;
}

void store_slot(clockpage_view_slot& to, const clockpage_view_slot& from) {
  CLOCKPAGE_STORE(to.number, from.number);
  CLOCKPAGE_STORE(to.counter_offset, from.counter_offset);
  CLOCKPAGE_STORE(to.counter_ratio, from.counter_ratio);
  CLOCKPAGE_STORE(to.counter_frac_bits, from.counter_frac_bits);
  CLOCKPAGE_STORE(to.format, from.format);
  CLOCKPAGE_STORE(to.smear, from.smear);
  CLOCKPAGE_STORE(to.monotonic_offset_ns, from.monotonic_offset_ns);
  CLOCKPAGE_STORE(to.boottime_offset_ns, from.boottime_offset_ns);
  CLOCKPAGE_STORE(to.disruption_marker, from.disruption_marker);
  CLOCKPAGE_STORE(to.parent_generation, from.parent_generation);
}

bool same_relation(const ViewState& a, const ViewState& b) {
  return a.counter_offset == b.counter_offset && a.counter_ratio == b.counter_ratio &&
         a.counter_frac_bits == b.counter_frac_bits;
}

void write_whole(const fs::path& path, int fd, const clockpage_view_page& image) {
  const ssize_t written = write(fd, &image, sizeof image);
  if (written < 0) fail_errno(path, "cannot be written", errno);
  if (static_cast<std::size_t>(written) != sizeof image)
    fail_errno(path, "cannot be written", ENOSPC);
}

const clockpage_data_page* page_of(const clockpage_directory_page& region, unsigned format) {
  for (const clockpage_data_page_entry& entry : region.data_page)
    if (entry.format == format && entry.smear == 0)
      return reinterpret_cast<const clockpage_data_page*>(
          reinterpret_cast<const std::byte*>(&region) + entry.offset_bytes);
  return nullptr;
}

}  // namespace

ViewLimits view_limits(const clockpage_directory_page& region) {
  ViewLimits limits;
  clockpage_reader reader{};
  const clockpage_data_page* unscaled = page_of(region, CLOCKPAGE_FORMAT_UNSCALED);
  const clockpage_data_page* scaled = page_of(region, CLOCKPAGE_FORMAT_SCALED);
  if (unscaled == nullptr || scaled == nullptr) throw RegionError("the region lacks a data page");
  int error = clockpage_reader_init(&reader, unscaled, sizeof *unscaled);
  if (error == CLOCKPAGE_OK)
    error = clockpage_now(&reader, CLOCKPAGE_MONOTONIC, &limits.monotonic_ns);
  if (error == CLOCKPAGE_OK)
    error = clockpage_now(&reader, CLOCKPAGE_BOOTTIME, &limits.boottime_ns);
  if (error != CLOCKPAGE_OK)
    throw RegionError(fmt::format("the region cannot be read: {}", clockpage_strerror(error)));
  limits.scaled_ratio = scaled->scale_ratio;
  limits.scaled_frac_bits = scaled->scale_frac_bits;
  return limits;
}

void check_view(const ViewState& state, const ViewLimits& limits) {
  const unsigned bits = state.counter_frac_bits;
  if (state.counter_ratio == 0) throw RegionError("counter_ratio is 0");
  if (bits != 0 && bits != 32 && bits != 48)
    throw RegionError(fmt::format("counter_frac_bits is {}, not 0, 32 (SVM) or 48 (VMX)", bits));
  if (bits == 0 && state.counter_ratio != 1)
    throw RegionError(fmt::format("counter_ratio is {} without fraction bits: only 1 is, unscaled",
                                  state.counter_ratio));
  if (state.format > CLOCKPAGE_FORMAT_SCALED)
    throw RegionError(fmt::format("format is {}, not 0 (unscaled) or 1 (scaled)", state.format));
  if (state.format == CLOCKPAGE_FORMAT_SCALED &&
      (state.counter_ratio != limits.scaled_ratio || bits != limits.scaled_frac_bits))
    throw RegionError(fmt::format(
        "counter_ratio is {} / 2^{}, the scaled page is made for {} / 2^{}: use the unscaled one",
        state.counter_ratio, bits, limits.scaled_ratio, limits.scaled_frac_bits));
  if (state.smear > CLOCKPAGE_SMEAR_LINEAR)
    throw RegionError(fmt::format("smear is {}, not 0 (unsmeared) or 1 (smeared)", state.smear));
  check_offset("monotonic_offset_ns", limits.monotonic_ns, state.monotonic_offset_ns);
  check_offset("boottime_offset_ns", limits.boottime_ns, state.boottime_offset_ns);
}

void check_view_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  if (name.empty() || name.size() > 64)
    throw RegionError(fmt::format("a view's name has 1 to 64 characters, not {}", name.size()));
  if (name.front() == '.') throw RegionError("a view's name does not begin with a dot");
  if (!std::all_of(name.begin(), name.end(), allowed))
    throw RegionError("a view's name consists of letters, digits, '.', '_' and '-'");
}

clockpage_view_page view_image(const Id& view_id, std::uint64_t generation,
                               std::uint64_t first_index, std::uint64_t first_marker,
                               const ViewState& state) {
  clockpage_view_page page{};
  std::memcpy(page.magic, CLOCKPAGE_VIEW_MAGIC, CLOCKPAGE_MAGIC_SIZE);
  page.abi_major = CLOCKPAGE_ABI_MAJOR;
  page.abi_minor = CLOCKPAGE_ABI_MINOR;
  page.size = sizeof page;
  std::copy(view_id.begin(), view_id.end(), page.view_id);
  page.generation = generation;
  page.slot_count = CLOCKPAGE_VIEW_SLOT_COUNT;
  page.slot_size = sizeof(clockpage_view_slot);
  page.index = first_index;
  page.slot[first_index % CLOCKPAGE_VIEW_SLOT_COUNT] = slot_of(state, first_index, first_marker);
  return page;
}

// ---- the writer

const clockpage_view_slot& ViewWriter::newest() const noexcept {
  return page_.slot[CLOCKPAGE_LOAD(page_.index) % CLOCKPAGE_VIEW_SLOT_COUNT];
}

ViewState ViewWriter::state() const noexcept {
  const clockpage_view_slot& s = newest();
  return {s.counter_offset, s.counter_ratio,       s.counter_frac_bits,  s.format,
          s.smear,          s.monotonic_offset_ns, s.boottime_offset_ns, s.parent_generation};
}

std::uint64_t ViewWriter::disruption_marker() const noexcept { return newest().disruption_marker; }

bool ViewWriter::set(const ViewState& state) {
  const ViewState before = this->state();
  if (before == state) return false;
  publish(state, disruption_marker() + (same_relation(before, state) ? 0 : 1));
  return true;
}

void ViewWriter::disrupt(const ViewState& state) { publish(state, disruption_marker() + 1); }

// spec/model/view.pml [5.4 fill], [P2 view writer], [5.4 publish], [P1 view writer].
void ViewWriter::move_to(std::uint64_t generation, const ViewState& state) {
  // Whoever sees it with the old slot finds that slot's parent changed.
  CLOCKPAGE_STORE(page_.generation, generation);
  disrupt(state);
}

void ViewWriter::publish(const ViewState& state, std::uint64_t marker) {
  const std::uint64_t n = CLOCKPAGE_LOAD(page_.index);
  clockpage_fence_before_fill();  // P2
  store_slot(page_.slot[(n + 1) % CLOCKPAGE_VIEW_SLOT_COUNT], slot_of(state, n + 1, marker));
  if (clockpage_publish_index(&page_.index, n, n + 1) == 0)  // P1
    throw RegionError("the view has another writer");
}

// ---- the file

ViewFile ViewFile::create(const fs::path& directory, std::string_view name,
                          const clockpage_view_page& image, mode_t mode, const ViewOwner& owner) {
  const fs::path path = view_path(directory, name);
  const fs::path parent = path.parent_path();
  if (mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST)
    fail_errno(parent, "cannot be made", errno);
  // A name that no view can have; another process' leftover of the same pid is taken away.
  const fs::path temporary = parent / fmt::format(".{}.{}", name, getpid());
  unlink(temporary.c_str());
  const File file(
      ::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (file.get() < 0) fail_errno(temporary, "cannot be made", errno);
  struct Remover {
    const fs::path& path;
    ~Remover() { unlink(path.c_str()); }
  } const remover{temporary};
  write_whole(temporary, file.get(), image);
  // Before the mode: a change of owner takes mode bits away.
  if ((owner.uid || owner.gid) &&
      fchown(file.get(), owner.uid.value_or(-1), owner.gid.value_or(-1)) != 0)
    fail_errno(temporary, "cannot be given its owner", errno);
  if (fchmod(file.get(), mode) != 0) fail_errno(temporary, "cannot be given its mode", errno);
  ViewFile view(map(temporary, file.get()));
  // Not rename(2): it would take a view away from under its guest.
  if (link(temporary.c_str(), path.c_str()) != 0)
    errno == EEXIST ? fail(path, "there is such a view already")
                    : fail_errno(path, "cannot be given its name", errno);
  return view;
}

ViewFile ViewFile::open(const fs::path& directory, std::string_view name,
                        const clockpage_directory_page& region) {
  return open_checked(directory, name, &region);
}

ViewFile ViewFile::open_any(const fs::path& directory, std::string_view name) {
  return open_checked(directory, name, nullptr);
}

ViewFile ViewFile::open_checked(const fs::path& directory, std::string_view name,
                                const clockpage_directory_page* region) {
  const fs::path path = view_path(directory, name);
  const File file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (file.get() < 0) fail_errno(path, "cannot be opened", errno);
  struct stat status {};
  if (fstat(file.get(), &status) != 0) fail_errno(path, "cannot be examined", errno);
  if (!S_ISREG(status.st_mode)) fail(path, "not a regular file");
  if (status.st_size != sizeof(clockpage_view_page))
    fail(path,
         fmt::format("size is {} bytes, not {}", status.st_size, sizeof(clockpage_view_page)));
  ViewFile view(map(path, file.get()));
  clockpage_open_error error{};
  if (clockpage_validate_view(&view.page(), sizeof(clockpage_view_page), region, &error) !=
      CLOCKPAGE_OK)
    fail(path, error.where);
  return view;
}

void ViewFile::remove(const fs::path& directory, std::string_view name) {
  const fs::path path = view_path(directory, name);
  if (unlink(path.c_str()) != 0) fail_errno(path, "cannot be removed", errno);
}

}  // namespace clockpage::producer
