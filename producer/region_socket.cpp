// SPDX-License-Identifier: MIT
#include "region_socket.hpp"

#include <clockpage/clockpage.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "region.hpp"

namespace clockpage::producer {

namespace {

namespace fs = std::filesystem;

constexpr int kBacklog = 1024;

[[noreturn]] void fail_errno(const fs::path& path, const char* what, int reason) {
  throw RegionError(fmt::format("{}: {}: {}", path.string(), what, std::strerror(reason)));
}

sockaddr_un address_of(const fs::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.native().size() >= sizeof address.sun_path)
    fail_errno(path, "no name for a socket", ENAMETOOLONG);
  std::memcpy(address.sun_path, path.c_str(), path.native().size());
  return address;
}

// One packet: the words, and with them the descriptor.
bool send_region(int peer, int region) noexcept {
  clockpage_handover words{};
  std::memcpy(words.magic, CLOCKPAGE_HANDOVER_MAGIC, sizeof words.magic);
  words.version = CLOCKPAGE_HANDOVER_VERSION;
  words.region_size = CLOCKPAGE_REGION_SIZE;
  iovec part{&words, sizeof words};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof region);
  std::memcpy(CMSG_DATA(header), &region, sizeof region);
  return sendmsg(peer, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

// Descriptors that were sent and not taken count against this limit of ours.
void allow_many_descriptors_in_flight() noexcept {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

void RegionSocket::require_free_name(const fs::path& directory) {
  const fs::path path = directory / CLOCKPAGE_REGION_FILE;
  (void)address_of(directory / ".region.new");  // the longer of the two
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno != ENOENT) fail_errno(path, "cannot be examined", errno);
  } else if (!S_ISSOCK(status.st_mode)) {
    throw RegionError(fmt::format(
        "{}: is not a socket: remove it to hand over sealed memory in its place", path.string()));
  }
}

RegionSocket::RegionSocket(const fs::path& directory) : path_(directory / CLOCKPAGE_REGION_FILE) {
  const fs::path temporary = directory / ".region.new";
  const sockaddr_un address = address_of(temporary);
  require_free_name(directory);
  unlink(temporary.c_str());
  fd_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  struct stat status {};
  const bool ready =
      fd_ >= 0 && bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      chmod(temporary.c_str(), 0666) == 0 &&  // readers of every user, whatever the umask
      listen(fd_, kBacklog) == 0 && lstat(temporary.c_str(), &status) == 0 &&
      rename(temporary.c_str(), path_.c_str()) == 0;
  if (!ready) {
    const int reason = errno;
    if (fd_ >= 0) close(fd_);
    unlink(temporary.c_str());
    fail_errno(path_, "cannot be made a socket", reason);
  }
  device_ = status.st_dev;
  inode_ = status.st_ino;
  allow_many_descriptors_in_flight();
}

RegionSocket::~RegionSocket() {
  struct stat status {};
  if (lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_)
    unlink(path_.c_str());
  close(fd_);
}

void RegionSocket::serve_one(int memory) noexcept {
  const int peer = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (peer < 0) {
    // Short of descriptors, for instance: who waits goes on waiting, and we must not spin.
    const timespec pause{0, 10'000'000};
    if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) nanosleep(&pause, nullptr);
    return;
  }
  // Opened anew for each: what a reader does to its own (seek, flags) is nobody else's business.
  const std::string self = fmt::format("/proc/self/fd/{}", memory);
  const int region = open(self.c_str(), O_RDONLY | O_CLOEXEC);
  if (region >= 0) {
    (void)send_region(peer, region);  // a peer that cannot take it sees the end of the connection
    close(region);
  }
  close(peer);
}

}  // namespace clockpage::producer
