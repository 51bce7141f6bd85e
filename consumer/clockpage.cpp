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

#include "handover.hpp"
#include "open_error.hpp"

namespace interprocess = boost::interprocess;
using clockpage::detail::accept;
using clockpage::detail::descriptor;
using clockpage::detail::find_entry;
using clockpage::detail::refuse;
using clockpage::detail::refuse_system;

struct clockpage_region {
  interprocess::mapped_region region;
  interprocess::mapped_region view;    // empty where no view was asked for
  clockpage_directory_page directory;  // as validated
  clockpage_reader reader;             // of the selected page
  clockpage_view_reader view_reader;   // where has_view
  bool has_view = false;               // CLOCKPAGE_OPEN_VIEW, and there is one
  bool sealed = false;                 // against shrinking
};

namespace {

// An open file in the shape that mapped_region takes. boost's own file_mapping can neither be
// asked for O_CLOEXEC and O_NONBLOCK nor map the very file that was checked.
struct mappable {
  int file;
  interprocess::mapping_handle_t get_mapping_handle() const {
    return interprocess::ipcdetail::mapping_handle_from_file_handle(file);
  }
};

// Checks an open file and maps it. must_be_sealed: only if nobody can shrink it.
int map_descriptor(int file, std::size_t size, bool must_be_sealed,
                   interprocess::mapped_region& mapping, clockpage_open_error& error) {
  struct stat status {};
  // Before all else: a size that is seen under the seal stays, and what can be sealed is memory,
  // where fstat has nobody to wait for (a hostile file system could keep it waiting).
  if (must_be_sealed && !clockpage::detail::is_sealed(file)) {
    return refuse(&error, CLOCKPAGE_E_UNSEALED, "not sealed against being truncated");
  }
  if (fstat(file, &status) != 0) return refuse_system(&error, "fstat", errno);
  if (!S_ISREG(status.st_mode)) {
    return refuse(&error, CLOCKPAGE_E_MAGIC, "not a regular file");
  }
  if (static_cast<std::uint64_t>(status.st_size) != size) {
    return refuse(&error, CLOCKPAGE_E_SIZE, "size is %" PRIu64 " bytes, not %zu",
                  static_cast<std::uint64_t>(status.st_size), size);
  }
  try {
    interprocess::mapped_region(mappable{file}, interprocess::read_only, 0, size).swap(mapping);
  } catch (const interprocess::interprocess_exception& exception) {
    return refuse_system(&error, "mmap", exception.get_native_error());
  }
  return CLOCKPAGE_OK;
}

bool is_socket(const char* path) {
  struct stat status {};
  return stat(path, &status) == 0 && S_ISSOCK(status.st_mode);
}

// Opens a region's file, or takes it from the socket that bears its name: then it must be sealed,
// or its owner, who need not be the socket's, could truncate it.
int open_file(const char* path, bool& must_be_sealed, descriptor& file,
              clockpage_open_error& error) {
  file = descriptor(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.get() >= 0) return CLOCKPAGE_OK;
  const int reason = errno;
  if (reason != ENXIO || !is_socket(path)) return refuse_system(&error, "open", reason);
  must_be_sealed = true;
  return clockpage::detail::receive_descriptor(path, file, error);
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
  if ((options.flags & ~(CLOCKPAGE_OPEN_GUEST | CLOCKPAGE_OPEN_SEALED | CLOCKPAGE_OPEN_VIEW)) !=
      0) {
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

// A page's own reader can stand for a view only if a guest's counter *is* the counter of the page
// it names, and if it shifts no clock.
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
  return refuse(&error, CLOCKPAGE_E_VIEW, "only a reader of views can read through it: %s",
                obstacle);
}

const clockpage_data_page* page_at(const clockpage_region& region, unsigned format,
                                   unsigned smear) {
  const clockpage_data_page_entry* entry = find_entry(region.directory, format, smear);
  if (entry == nullptr) return nullptr;
  const auto* base = static_cast<const std::byte*>(region.region.get_address());
  return reinterpret_cast<const clockpage_data_page*>(base + entry->offset_bytes);
}

// For who reads through the view itself.
int make_view_reader(clockpage_region& region, clockpage_open_error& error) {
  const int code = clockpage_view_reader_init(&region.view_reader, region.view.get_address(),
                                              region.view.get_size(), region.region.get_address(),
                                              region.region.get_size());
  region.has_view = code == CLOCKPAGE_OK;
  return region.has_view ? code : refuse(&error, code, "%s", clockpage_strerror(code));
}

int open_view(clockpage_region& region, clockpage_open_options& options,
              clockpage_open_error& error) {
  const descriptor file(open(options.view, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.get() < 0) return refuse_system(&error, "open", errno);
  int code = map_descriptor(file.get(), sizeof(clockpage_view_page),
                            (options.flags & CLOCKPAGE_OPEN_SEALED) != 0, region.view, error);
  if (code != CLOCKPAGE_OK) return code;
  clockpage_view_slot slot;
  code = clockpage::detail::read_view(region.view.get_address(), region.view.get_size(),
                                      &region.directory, slot, &error);
  if (code != CLOCKPAGE_OK) return code;
  options.format = slot.format;
  options.smear = slot.smear;
  if ((options.flags & CLOCKPAGE_OPEN_VIEW) != 0) return make_view_reader(region, error);
  return check_readable(slot, *page_at(region, slot.format, slot.smear), error);
}

int map_region(int file, bool must_be_sealed, clockpage_region& region,
               const clockpage_open_options& options, clockpage_open_error& error) {
  int code = map_descriptor(file, CLOCKPAGE_REGION_SIZE, must_be_sealed, region.region, error);
  if (code != CLOCKPAGE_OK) return code;
  region.sealed = clockpage::detail::is_sealed(file);
  code = clockpage::detail::read_directory(region.region.get_address(), region.region.get_size(),
                                           region.directory, &error);
  if (code != CLOCKPAGE_OK) return code;
  return (options.flags & CLOCKPAGE_OPEN_GUEST) != 0 ? CLOCKPAGE_OK
                                                     : check_boot(region.directory, error);
}

// given: the region's descriptor, or -1 to open the file that the options name. `name`: set to
// what an error is about.
int open_region(int given, clockpage_region& region, const clockpage_open_options& options,
                std::string& name, clockpage_open_error& error) {
  bool must_be_sealed = (options.flags & CLOCKPAGE_OPEN_SEALED) != 0;
  if (given >= 0) {
    name = "descriptor " + std::to_string(given);
    return map_region(given, must_be_sealed, region, options, error);
  }
  name = region_path(options);
  descriptor file;
  const int code = open_file(name.c_str(), must_be_sealed, file, error);
  return code != CLOCKPAGE_OK ? code
                              : map_region(file.get(), must_be_sealed, region, options, error);
}

int open_all(int given, const clockpage_open_options* given_options,
             std::unique_ptr<clockpage_region>& region, clockpage_open_error& error) {
  clockpage_open_options options;
  int code = take_options(given_options, options, error);
  if (code != CLOCKPAGE_OK) return code;
  region = std::make_unique<clockpage_region>();
  std::string name;
  code = open_region(given, *region, options, name, error);
  if (code == CLOCKPAGE_OK && options.view != nullptr) {
    code = open_view(*region, options, error);
    if (code != CLOCKPAGE_OK) name = options.view;
  }
  if (code != CLOCKPAGE_OK) {
    clockpage::detail::name_file(error, name.c_str());
    return code;
  }
  code = clockpage_reader_init(&region->reader, page_at(*region, options.format, options.smear),
                               sizeof(clockpage_data_page));
  if (code != CLOCKPAGE_OK) {  // valid a moment ago: it is being overwritten
    refuse(&error, code, "%s", clockpage_strerror(code));
    clockpage::detail::name_file(error, name.c_str());
    return code;
  }
  return accept(&error);
}

// Opening for C: nothing is thrown, *region is written only on success.
int open_for_c(int given, const clockpage_open_options* options, clockpage_region** region,
               clockpage_open_error& error) {
  if (region == nullptr) return refuse(&error, CLOCKPAGE_E_ARGUMENT, "region is null");
  try {
    std::unique_ptr<clockpage_region> opened;
    const int code = open_all(given, options, opened, error);
    if (code == CLOCKPAGE_OK) *region = opened.release();
    return code;
  } catch (const std::bad_alloc&) {
    return refuse_system(&error, "opening the region", ENOMEM);
  } catch (...) {
    return refuse_system(&error, "opening the region", EINVAL);
  }
}

}  // namespace

int clockpage_open(const clockpage_open_options* options, clockpage_region** region,
                   clockpage_open_error* error) {
  clockpage_open_error local{};
  clockpage_open_error& detail = error != nullptr ? *error : local;
  accept(&detail);
  return open_for_c(-1, options, region, detail);
}

int clockpage_open_fd(int fd, const clockpage_open_options* options, clockpage_region** region,
                      clockpage_open_error* error) {
  clockpage_open_error local{};
  clockpage_open_error& detail = error != nullptr ? *error : local;
  accept(&detail);
  if (fd < 0) return refuse(&detail, CLOCKPAGE_E_ARGUMENT, "fd is %d", fd);
  if (options != nullptr && options->size == sizeof(*options) && options->directory != nullptr) {
    return refuse(&detail, CLOCKPAGE_E_ARGUMENT, "options.directory is set beside a descriptor");
  }
  return open_for_c(fd, options, region, detail);
}

int clockpage_is_sealed(const clockpage_region* region) { return region->sealed ? 1 : 0; }

void clockpage_close(clockpage_region* region) { delete region; }

const clockpage_reader* clockpage_reader_of(const clockpage_region* region) {
  return &region->reader;
}

const clockpage_view_reader* clockpage_view_reader_of(const clockpage_region* region) {
  return region->has_view ? &region->view_reader : nullptr;
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
  return region->has_view ? clockpage_view_now(&region->view_reader, clock, ns)
                          : clockpage_now(&region->reader, clock, ns);
}

int clockpage_read_time(const clockpage_region* region, int clock, clockpage_time* time) {
  if (region == nullptr || time == nullptr) return CLOCKPAGE_E_ARGUMENT;
  if (!region->has_view) return clockpage_now_bounds(&region->reader, clock, time);
  clockpage_view_time through;
  const int code = clockpage_view_now_bounds(&region->view_reader, clock, &through);
  if (code == CLOCKPAGE_OK) *time = through.time;
  return code;
}
