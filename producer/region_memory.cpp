// SPDX-License-Identifier: MIT
#include "region_memory.hpp"

#include <clockpage/abi.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "region.hpp"

namespace clockpage::producer {

namespace {

constexpr unsigned kNoExecSeal = 0x8;  // MFD_NOEXEC_SEAL, Linux 6.3: newer than these headers

[[noreturn]] void give_up(int fd, const char* what) {
  const int reason = errno;
  if (fd >= 0) close(fd);
  throw RegionError(fmt::format("memory for the region: {}: {}", what, std::strerror(reason)));
}

}  // namespace

int make_region_memory() {
  int fd = memfd_create("clockpage", MFD_CLOEXEC | MFD_ALLOW_SEALING | kNoExecSeal);
  if (fd < 0 && errno == EINVAL) fd = memfd_create("clockpage", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) give_up(fd, "memfd_create");
  // Allocated, not only sized: a page that could not be had later would be a SIGBUS.
  if (fallocate(fd, 0, 0, CLOCKPAGE_REGION_SIZE) != 0) give_up(fd, "fallocate");
  // Whoever is handed a read-only descriptor must not be able to open it anew for writing.
  if (fchmod(fd, 0444) != 0) give_up(fd, "fchmod");
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    give_up(fd, "F_ADD_SEALS");
  return fd;
}

void check_region_memory(int fd) {
  const auto fail = [fd](const std::string& reason) {
    throw RegionError(fmt::format("descriptor {}: {}", fd, reason));
  };
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 && errno == EBADF) fail(std::strerror(EBADF));
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0)
    fail("is not memory that is sealed against shrinking (memfd_create, F_SEAL_SHRINK)");
  struct stat status {};
  if (fstat(fd, &status) != 0) fail(std::strerror(errno));
  if (status.st_size != CLOCKPAGE_REGION_SIZE)
    fail(fmt::format("is {} bytes instead of {}", status.st_size, CLOCKPAGE_REGION_SIZE));
}

void check_mode_to_hand_over(int fd) {
  struct stat status {};
  if (fstat(fd, &status) != 0 || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    throw RegionError(fmt::format(
        "descriptor {}: its mode is {:04o}: whoever it is handed to could open it anew for writing "
        "(fchmod it to 0444)",
        fd, status.st_mode & 07777));
}

}  // namespace clockpage::producer
