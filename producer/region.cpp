// SPDX-License-Identifier: MIT
#include "region.hpp"

#include <clockpage/barrier.h>
#include <clockpage/clockpage.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/interprocess/file_mapping.hpp>
#include <cerrno>
#include <cstring>

#include "page_kinds.hpp"
#include "region_adoption.hpp"
#include "region_memory.hpp"

namespace clockpage::producer {

namespace {

namespace fs = std::filesystem;
namespace bip = boost::interprocess;

[[noreturn]] void fail(const fs::path& path, const std::string& reason) {
  throw RegionError(fmt::format("{}: {}", path.string(), reason));
}

[[noreturn]] void fail_errno(const fs::path& path, std::string_view what, int error) {
  fail(path, fmt::format("{}: {}", what, std::strerror(error)));
}

class File {
 public:
  File(const fs::path& path, int flags, mode_t mode = 0)
      : fd_(open(path.c_str(), flags | O_CLOEXEC, mode)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;
};

fs::path region_path(const fs::path& directory) { return directory / "region"; }

struct MappedFile {
  bip::mapped_region map;
  FileId id;
};

MappedFile map(const fs::path& path, bip::mode_t mode) {
  try {
    const bip::file_mapping file(path.c_str(), mode);
    struct stat status {};
    if (fstat(file.get_mapping_handle().handle, &status) != 0)
      fail_errno(path, "cannot be examined", errno);
    return {bip::mapped_region(file, mode, 0, CLOCKPAGE_REGION_SIZE),
            {status.st_dev, status.st_ino}};
  } catch (const bip::interprocess_exception& e) {
    fail(path, fmt::format("cannot be mapped: {}", e.what()));
  }
}

// A full disk shows as a short write first, and as an error only then.
bool write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno != EINTR) return false;
    if (written > 0) bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

// A file under a name that it shall not keep.
class TemporaryName {
 public:
  explicit TemporaryName(fs::path path) : path_(std::move(path)) { unlink(path_.c_str()); }
  ~TemporaryName() { unlink(path_.c_str()); }
  TemporaryName(const TemporaryName&) = delete;
  TemporaryName& operator=(const TemporaryName&) = delete;
  [[nodiscard]] const fs::path& path() const noexcept { return path_; }

 private:
  fs::path path_;
};

// An open file in the shape that mapped_region takes.
struct Mappable {
  int fd;
  [[nodiscard]] bip::mapping_handle_t get_mapping_handle() const noexcept {
    return bip::ipcdetail::mapping_handle_from_file_handle(fd);
  }
};

fs::path memory_name(int fd) { return fmt::format("descriptor {}", fd); }

bip::mapped_region map_memory(int fd, bip::mode_t mode) {
  try {
    return {Mappable{fd}, mode, 0, CLOCKPAGE_REGION_SIZE};
  } catch (const bip::interprocess_exception& e) {
    fail(memory_name(fd), fmt::format("cannot be mapped: {}", e.what()));
  }
}

}  // namespace

ProducerLock::ProducerLock(const fs::path& directory, const char* name) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) fail(directory, fmt::format("cannot be created: {}", error.message()));
  const fs::path path = directory / name;
  // Nobody else's to open: who can read a file can lock it, and keep a producer from starting.
  fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd_ < 0) fail_errno(path, "cannot be opened", errno);
  (void)fchmod(fd_, 0600);
  if (flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    const int reason = errno;
    std::array<char, 32> holder{};
    const ssize_t n = pread(fd_, holder.data(), holder.size() - 1, 0);
    close(fd_);
    if (reason != EWOULDBLOCK) fail_errno(path, "cannot be locked", reason);
    const long pid = n > 0 ? std::strtol(holder.data(), nullptr, 10) : 0;
    // The holder may not have come to write its own yet.
    const bool alive = pid > 0 && (kill(static_cast<pid_t>(pid), 0) == 0 || errno == EPERM);
    fail(path, fmt::format("another producer is at work here{}",
                           alive ? fmt::format(" (pid {})", pid) : ""));
  }
  const std::string pid = fmt::format("{}\n", getpid());
  if (ftruncate(fd_, 0) != 0 ||
      pwrite(fd_, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    const int reason = errno;
    close(fd_);
    fail_errno(path, "cannot be written", reason);
  }
}

ProducerLock::~ProducerLock() { leave_to_parent(); }

void ProducerLock::leave_to_parent() noexcept {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

ExistingRegion Region::inspect(const fs::path& directory, const Id& boot_id,
                               const CounterIdentity& counter, std::string_view source,
                               std::uint64_t now) {
  const fs::path path = region_path(directory);
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return ExistingRegion::none;
    fail_errno(path, "cannot be examined", errno);
  }
  if (!S_ISREG(status.st_mode)) fail(path, "is not a regular file");
  if (status.st_size != CLOCKPAGE_REGION_SIZE)
    fail(path, fmt::format("is not a region: {} bytes instead of {}; left as it is", status.st_size,
                           CLOCKPAGE_REGION_SIZE));
  return judge_region(path, map(path, bip::read_only).map, boot_id, counter, source, now);
}

Region Region::create(const fs::path& directory, std::span<const std::byte> image) {
  const fs::path path = region_path(directory);
  // We hold the lock: what lies under this name is a dead producer's.
  const TemporaryName temporary(directory / ".region.new");
  {
    const File file(temporary.path(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0644);
    if (file.get() < 0) fail_errno(temporary.path(), "cannot be created", errno);
    // Written, not only sized: a full file system shows here and not as a SIGBUS later.
    if (!write_all(file.get(), image)) fail_errno(temporary.path(), "cannot be written", errno);
    (void)fchmod(file.get(), 0644);  // readers of every user, whatever the umask
  }
  if (access(path.c_str(), F_OK) == 0) adopt(directory).revoke();
  if (rename(temporary.path().c_str(), path.c_str()) != 0)
    fail_errno(path, "cannot be given its name", errno);
  return adopt(directory);
}

Region Region::adopt(const fs::path& directory) {
  fs::path path = region_path(directory);
  MappedFile file = map(path, bip::read_write);
  return Region(std::move(path), std::move(file.map), file.id);
}

bool Region::has_its_name() const noexcept {
  if (path_.empty()) return true;  // memory: it never had one
  struct stat status {};
  if (lstat(path_.c_str(), &status) != 0)
    return errno != ENOENT && errno != ENOTDIR;  // otherwise it cannot be told
  return status.st_dev == id_.device && status.st_ino == id_.inode;
}

ExistingRegion Region::inspect_memory(int fd, const Id& boot_id, const CounterIdentity& counter,
                                      std::string_view source, std::uint64_t now) {
  check_region_memory(fd);
  const auto mapped = map_memory(fd, bip::read_only);
  const auto* magic = static_cast<const std::uint64_t*>(mapped.get_address());
  if (CLOCKPAGE_LOAD(*magic) == 0) return ExistingRegion::none;
  return judge_region(memory_name(fd), mapped, boot_id, counter, source, now);
}

Region Region::create_in_memory(int fd, std::span<const std::byte> image) {
  static_assert(CLOCKPAGE_MAGIC_SIZE == sizeof(std::uint64_t));
  auto mapped = map_memory(fd, bip::read_write);
  auto* to = static_cast<std::byte*>(mapped.get_address());
  std::memcpy(to + CLOCKPAGE_MAGIC_SIZE, image.data() + CLOCKPAGE_MAGIC_SIZE,
              image.size() - CLOCKPAGE_MAGIC_SIZE);
  std::uint64_t magic = 0;
  std::memcpy(&magic, image.data(), sizeof magic);
  clockpage_publish_magic(reinterpret_cast<std::uint64_t*>(to), magic);  // P3
  return Region({}, std::move(mapped), {});
}

Region Region::adopt_memory(int fd) { return Region({}, map_memory(fd, bip::read_write), {}); }

void Region::revoke() noexcept {
  for (clockpage_data_page* page : pages()) PageWriter(*page).revoke(CLOCKPAGE_REVOKED_REPLACED);
}

clockpage_directory_page& Region::directory() const noexcept {
  return *static_cast<clockpage_directory_page*>(map_.get_address());
}

std::array<clockpage_data_page*, CLOCKPAGE_DATA_PAGE_COUNT> Region::pages() const noexcept {
  // By what they are: the order in the file is the directory's business.
  std::array<clockpage_data_page*, CLOCKPAGE_DATA_PAGE_COUNT> found{};
  auto* base = static_cast<std::byte*>(map_.get_address());
  for (const clockpage_data_page_entry& entry : directory().data_page)
    for (std::size_t i = 0; i < kKinds.size(); i++)
      if (entry.format == kKinds[i].format && (entry.smear != 0) == (kKinds[i].smear != 0))
        found[i] = reinterpret_cast<clockpage_data_page*>(base + entry.offset_bytes);
  return found;
}

}  // namespace clockpage::producer
