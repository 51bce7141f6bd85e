// SPDX-License-Identifier: MIT
//
// Opening and mapping. The handle copies what it validated: a file that changes afterwards
// can spoil the time, not the bounds of a read.
#include <clockpage/clockpage.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/interprocess/mapped_region.hpp>
#include <cerrno>
#include <cinttypes>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "open_error.hpp"

namespace interprocess = boost::interprocess;
using clockpage::detail::accept;
using clockpage::detail::find_entry;
using clockpage::detail::refuse;
using clockpage::detail::refuse_system;

struct clockpage_region {
  interprocess::mapped_region region;
  interprocess::mapped_region view;    // empty where no view was asked for
  clockpage_directory_page directory;  // as validated
  clockpage_reader reader;             // of the selected page
};

namespace {

// An open file, in the shape that mapped_region takes. boost's own file_mapping can neither
// be asked for O_CLOEXEC and O_NONBLOCK nor map the very file that was checked.
class opened_file {
 public:
  explicit opened_file(const char* path)
      : descriptor_(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) {}
  opened_file(const opened_file&) = delete;
  opened_file& operator=(const opened_file&) = delete;
  ~opened_file() {
    if (descriptor_ >= 0) close(descriptor_);
  }

  int descriptor() const { return descriptor_; }
  interprocess::mapping_handle_t get_mapping_handle() const {
    return interprocess::ipcdetail::mapping_handle_from_file_handle(descriptor_);
  }

 private:
  int descriptor_;
};

int map_file(const char* path, std::size_t size, interprocess::mapped_region& mapping,
             clockpage_open_error& error) {
  const opened_file file(path);
  if (file.descriptor() < 0) return refuse_system(&error, "open", errno);
  struct stat status {};
  if (fstat(file.descriptor(), &status) != 0) return refuse_system(&error, "fstat", errno);
  if (!S_ISREG(status.st_mode)) {
    return refuse(&error, CLOCKPAGE_E_MAGIC, "not a regular file");
  }
  if (static_cast<std::uint64_t>(status.st_size) != size) {
    return refuse(&error, CLOCKPAGE_E_SIZE, "size is %" PRIu64 " bytes, not %zu",
                  static_cast<std::uint64_t>(status.st_size), size);
  }
  try {
    interprocess::mapped_region(file, interprocess::read_only, 0, size).swap(mapping);
  } catch (const interprocess::interprocess_exception& exception) {
    return refuse_system(&error, "mmap", exception.get_native_error());
  }
  return CLOCKPAGE_OK;
}

// Copies the caller's options, of whatever version, into ours.
int take_options(const clockpage_open_options* from, clockpage_open_options& options,
                 clockpage_open_error& error) {
  options = {};
  options.size = sizeof(options);
  if (from == nullptr) return CLOCKPAGE_OK;
  // There has been one version so far; a later library accepts this size as well.
  if (from->size != sizeof(options)) {
    return refuse(&error, CLOCKPAGE_E_ARGUMENT, "options.size is %zu, not %zu", from->size,
                  sizeof(options));
  }
  options = *from;
  if ((options.flags & ~CLOCKPAGE_OPEN_GUEST) != 0) {
    return refuse(&error, CLOCKPAGE_E_ARGUMENT, "options.flags is 0x%" PRIx32, options.flags);
  }
  if (options.format > CLOCKPAGE_FORMAT_SCALED) {
    return refuse(&error, CLOCKPAGE_E_ARGUMENT, "options.format is %u", unsigned{options.format});
  }
  if (options.directory != nullptr && *options.directory == '\0') {
    return refuse(&error, CLOCKPAGE_E_ARGUMENT, "options.directory is empty");
  }
  return CLOCKPAGE_OK;
}

std::string region_path(const clockpage_open_options& options) {
  const char* directory = options.directory;
  if (directory == nullptr) directory = secure_getenv(CLOCKPAGE_DIRECTORY_VARIABLE);
  if (directory == nullptr || *directory == '\0') directory = CLOCKPAGE_DEFAULT_DIRECTORY;
  return std::string(directory) + "/" CLOCKPAGE_REGION_FILE;
}

int check_boot(const clockpage_directory_page& directory, clockpage_open_error& error) {
  std::uint8_t boot_id[16];
  if (clockpage_boot_id(boot_id) != CLOCKPAGE_OK) {
    return refuse_system(&error, "cannot tell this machine's boot id", errno);
  }
  if (std::memcmp(directory.boot_id, boot_id, sizeof(boot_id)) != 0) {
    return refuse(&error, CLOCKPAGE_E_STALE, "boot_id is not that of this boot of this machine");
  }
  return CLOCKPAGE_OK;
}

// A view can be read through as yet only if a guest's counter *is* the counter of the page it
// names, and if it shifts no clock.
int check_readable(const clockpage_view_slot& slot, const clockpage_data_page& page,
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
  return refuse(&error, CLOCKPAGE_E_VIEW, "this version cannot read through the view: %s",
                obstacle);
}

const clockpage_data_page* page_at(const clockpage_region& region, unsigned format,
                                   unsigned smear) {
  const clockpage_data_page_entry* entry = find_entry(region.directory, format, smear);
  if (entry == nullptr) return nullptr;
  const auto* base = static_cast<const std::byte*>(region.region.get_address());
  return reinterpret_cast<const clockpage_data_page*>(base + entry->offset_bytes);
}

int open_view(const char* path, clockpage_region& region, clockpage_open_options& options,
              clockpage_open_error& error) {
  int code = map_file(path, sizeof(clockpage_view_page), region.view, error);
  if (code != CLOCKPAGE_OK) return code;
  clockpage_view_slot slot;
  code = clockpage::detail::read_view(region.view.get_address(), region.view.get_size(),
                                      &region.directory, slot, &error);
  if (code != CLOCKPAGE_OK) return code;
  options.format = slot.format;
  options.smear = slot.smear;
  return check_readable(slot, *page_at(region, slot.format, slot.smear), error);
}

int open_region(const char* path, clockpage_region& region, const clockpage_open_options& options,
                clockpage_open_error& error) {
  int code = map_file(path, CLOCKPAGE_REGION_SIZE, region.region, error);
  if (code != CLOCKPAGE_OK) return code;
  code = clockpage::detail::read_directory(region.region.get_address(), region.region.get_size(),
                                           region.directory, &error);
  if (code != CLOCKPAGE_OK) return code;
  return (options.flags & CLOCKPAGE_OPEN_GUEST) != 0 ? CLOCKPAGE_OK
                                                     : check_boot(region.directory, error);
}

int open_all(const clockpage_open_options* given, std::unique_ptr<clockpage_region>& region,
             clockpage_open_error& error) {
  clockpage_open_options options;
  int code = take_options(given, options, error);
  if (code != CLOCKPAGE_OK) return code;
  region = std::make_unique<clockpage_region>();
  const std::string path = region_path(options);
  code = open_region(path.c_str(), *region, options, error);
  if (code != CLOCKPAGE_OK) {
    clockpage::detail::name_file(error, path.c_str());
    return code;
  }
  if (options.view != nullptr) {
    code = open_view(options.view, *region, options, error);
    if (code != CLOCKPAGE_OK) {
      clockpage::detail::name_file(error, options.view);
      return code;
    }
  }
  code = clockpage_reader_init(&region->reader, page_at(*region, options.format, options.smear),
                               sizeof(clockpage_data_page));
  if (code != CLOCKPAGE_OK) {  // valid a moment ago: it is being overwritten
    refuse(&error, code, "%s", clockpage_strerror(code));
    clockpage::detail::name_file(error, path.c_str());
    return code;
  }
  return accept(&error);
}

}  // namespace

int clockpage_open(const clockpage_open_options* options, clockpage_region** region,
                   clockpage_open_error* error) {
  clockpage_open_error local{};
  clockpage_open_error& detail = error != nullptr ? *error : local;
  accept(&detail);
  if (region == nullptr) return refuse(&detail, CLOCKPAGE_E_ARGUMENT, "region is null");
  try {
    std::unique_ptr<clockpage_region> opened;
    const int code = open_all(options, opened, detail);
    if (code == CLOCKPAGE_OK) *region = opened.release();
    return code;
  } catch (const std::bad_alloc&) {
    return refuse_system(&detail, "opening the region", ENOMEM);
  } catch (...) {
    return refuse_system(&detail, "opening the region", EINVAL);
  }
}

void clockpage_close(clockpage_region* region) { delete region; }

const clockpage_reader* clockpage_reader_of(const clockpage_region* region) {
  return &region->reader;
}

const clockpage_directory_page* clockpage_directory_of(const clockpage_region* region) {
  return static_cast<const clockpage_directory_page*>(region->region.get_address());
}

const clockpage_data_page* clockpage_page_of(const clockpage_region* region, uint8_t format,
                                             uint8_t smear) {
  return page_at(*region, format, smear);
}

int clockpage_read_ns(const clockpage_region* region, int clock, int64_t* ns) {
  if (region == nullptr || ns == nullptr) return CLOCKPAGE_E_ARGUMENT;
  return clockpage_now(&region->reader, clock, ns);
}

int clockpage_read_time(const clockpage_region* region, int clock, clockpage_time* time) {
  if (region == nullptr || time == nullptr) return CLOCKPAGE_E_ARGUMENT;
  return clockpage_now_bounds(&region->reader, clock, time);
}
