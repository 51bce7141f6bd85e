// SPDX-License-Identifier: MIT
//
// Opening and mapping. The handle copies what it validated: a file that changes afterwards
// can spoil the time, not the bounds of a read.
#include <clockpage/clockpage.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <boost/interprocess/mapped_region.hpp>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <string>

#include "handover.hpp"
#include "mapping.hpp"
#include "open_error.hpp"
#include "open_options.hpp"
#include "opened_view.hpp"

namespace interprocess = boost::interprocess;
using clockpage::detail::accept;
using clockpage::detail::descriptor;
using clockpage::detail::find_entry;
using clockpage::detail::map_descriptor;
using clockpage::detail::open_request;
using clockpage::detail::refuse;
using clockpage::detail::refuse_system;

struct clockpage_region {
  interprocess::mapped_region region;
  clockpage_directory_page directory;                  // as validated
  clockpage_reader reader;                             // of the selected page
  std::optional<clockpage::detail::opened_view> view;  // where one was asked for
  bool sealed = false;                                 // against shrinking
};

namespace {

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

const clockpage_data_page* page_at(const clockpage_region& region, unsigned format,
                                   unsigned smear) {
  const clockpage_data_page_entry* entry = find_entry(region.directory, format, smear);
  if (entry == nullptr) return nullptr;
  const auto* base = static_cast<const std::byte*>(region.region.get_address());
  return reinterpret_cast<const clockpage_data_page*>(base + entry->offset_bytes);
}

// Opens the view that is asked for, which says what page it is.
int open_view(clockpage_region& region, open_request& request, std::string& name,
              clockpage_open_error& error) {
  region.view.emplace();
  int code = region.view->map(request, region.directory, name, error);
  if (code != CLOCKPAGE_OK) return code;
  request.format = region.view->slot.format;
  request.smear = region.view->slot.smear;
  if (!request.has(CLOCKPAGE_OPEN_VIEW)) {
    code = clockpage::detail::check_page_reader(
        region.view->slot, *page_at(region, request.format, request.smear), error);
  }
  if (code == CLOCKPAGE_OK) code = region.view->make_reader(request, region.region, error);
  // What the environment says may be meant for a process of another time namespace; a caller knows.
  if (code == CLOCKPAGE_OK && request.view_is_environments && !request.has(CLOCKPAGE_OPEN_GUEST))
    code = region.view->check_kernels_view(error);
  return code;
}

int map_region(int file, bool must_be_sealed, clockpage_region& region, const open_request& request,
               clockpage_open_error& error) {
  int code = map_descriptor(file, CLOCKPAGE_REGION_SIZE, must_be_sealed, region.region, error);
  if (code != CLOCKPAGE_OK) return code;
  region.sealed = clockpage::detail::is_sealed(file);
  code = clockpage::detail::read_directory(region.region.get_address(), region.region.get_size(),
                                           region.directory, &error);
  if (code != CLOCKPAGE_OK) return code;
  return request.has(CLOCKPAGE_OPEN_GUEST) ? CLOCKPAGE_OK : check_boot(region.directory, error);
}

// given: the region's descriptor, or -1 to open the file that is asked for. `name`: set to what an
// error is about.
int open_region(int given, clockpage_region& region, const open_request& request, std::string& name,
                clockpage_open_error& error) {
  bool must_be_sealed = request.has(CLOCKPAGE_OPEN_SEALED);
  if (given >= 0) {
    name = "descriptor " + std::to_string(given);
    return map_region(given, must_be_sealed, region, request, error);
  }
  name = request.directory + "/" CLOCKPAGE_REGION_FILE;
  descriptor file;
  const int code = open_file(name.c_str(), must_be_sealed, file, error);
  return code != CLOCKPAGE_OK ? code
                              : map_region(file.get(), must_be_sealed, region, request, error);
}

int open_all(int given, const clockpage_open_options* given_options,
             std::unique_ptr<clockpage_region>& region, clockpage_open_error& error) {
  open_request request;
  int code = clockpage::detail::read_options(given_options, request, error);
  if (code != CLOCKPAGE_OK) return code;
  region = std::make_unique<clockpage_region>();
  std::string name;
  code = open_region(given, *region, request, name, error);
  if (code == CLOCKPAGE_OK) {
    // A guest's view tells its clocks from the host's, or it means them.
    if (!request.view.empty())
      code = open_view(*region, request, name, error);
    else if (!request.has(CLOCKPAGE_OPEN_GUEST) && !request.has(CLOCKPAGE_OPEN_HOST_CLOCKS))
      code = clockpage::detail::refuse_time_namespace(error);
  }
  if (code != CLOCKPAGE_OK) {
    clockpage::detail::name_file(error, name.c_str());
    return code;
  }
  code = clockpage_reader_init(&region->reader, page_at(*region, request.format, request.smear),
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
  if (clockpage::detail::names_directory(options)) {
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
  return region->view ? &region->view->reader : nullptr;
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
  return region->view ? clockpage_view_now(&region->view->reader, clock, ns)
                      : clockpage_now(&region->reader, clock, ns);
}

int clockpage_read_time(const clockpage_region* region, int clock, clockpage_time* time) {
  if (region == nullptr || time == nullptr) return CLOCKPAGE_E_ARGUMENT;
  if (!region->view) return clockpage_now_bounds(&region->reader, clock, time);
  clockpage_view_time through;
  const int code = clockpage_view_now_bounds(&region->view->reader, clock, &through);
  if (code == CLOCKPAGE_OK) *time = through.time;
  return code;
}
