// SPDX-License-Identifier: MIT
// The socket that bears a region's name and hands out its memory. Spec section 9.
#pragma once

#include <sys/types.h>

#include <filesystem>

namespace clockpage::producer {

// Nobody who connects is trusted, waited for or remembered: a peer gets its packet, and its
// connection is closed at once. Hold the keeper's lock meanwhile.
class RegionSocket {
 public:
  // Throws RegionError if directory/region is anything but a socket (a dead keeper's) or nothing.
  static void require_free_name(const std::filesystem::path& directory);

  // Listens under a temporary name, then takes that of the region. Throws RegionError.
  explicit RegionSocket(const std::filesystem::path& directory);
  // Removes the name if it is still this socket's.
  ~RegionSocket();
  RegionSocket(const RegionSocket&) = delete;
  RegionSocket& operator=(const RegionSocket&) = delete;

  [[nodiscard]] int descriptor() const noexcept { return fd_; }  // readable: somebody is waiting
  // Gives one who is waiting a read-only descriptor of `memory`, an open file description of its
  // own. Does not block.
  void serve_one(int memory) noexcept;

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace clockpage::producer
