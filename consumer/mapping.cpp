// SPDX-License-Identifier: MIT
#include "mapping.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <cinttypes>
#include <cstdint>

#include "handover.hpp"
#include "open_error.hpp"

namespace clockpage::detail {
namespace interprocess = boost::interprocess;

namespace {

// An open file in the shape that mapped_region takes. boost's own file_mapping can neither be
// asked for O_CLOEXEC and O_NONBLOCK nor map the very file that was checked.
struct mappable {
  int file;
  interprocess::mapping_handle_t get_mapping_handle() const {
    return interprocess::ipcdetail::mapping_handle_from_file_handle(file);
  }
};

}  // namespace

int map_descriptor(int file, std::size_t size, bool must_be_sealed,
                   interprocess::mapped_region& mapping, clockpage_open_error& error) {
  struct stat status {};
  // Before all else: a size that is seen under the seal stays, and what can be sealed is memory,
  // where fstat has nobody to wait for (a hostile file system could keep it waiting).
  if (must_be_sealed && !is_sealed(file)) {
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

}  // namespace clockpage::detail
