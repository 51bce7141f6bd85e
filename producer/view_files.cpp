// SPDX-License-Identifier: MIT
#include "view_files.hpp"

#include <clockpage/clockpage.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace clockpage::producer {

namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& path, std::string_view reason) {
  throw RegionError(fmt::format("{}: {}", path.string(), reason));
}

[[noreturn]] void fail_errno(const fs::path& path, std::string_view what, int error) {
  fail(path, fmt::format("{}: {}", what, std::strerror(error)));
}

class File {
 public:
  File(const fs::path& path, int flags, mode_t mode = 0)
      : fd_(open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, mode)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;
};

}  // namespace

ViewSnapshot read_view_file(const fs::path& path) {
  const File file(path, O_RDONLY);
  if (file.get() < 0)
    errno == ENOENT ? fail(path, "there is no such view")
                    : fail_errno(path, "cannot be opened", errno);
  struct stat status {};
  if (fstat(file.get(), &status) != 0) fail_errno(path, "cannot be examined", errno);
  if (!S_ISREG(status.st_mode)) fail(path, "not a regular file");
  clockpage_view_page page{};
  if (status.st_size != sizeof page ||
      pread(file.get(), &page, sizeof page, 0) != static_cast<ssize_t>(sizeof page))
    fail(path, fmt::format("size is {} bytes, not {}", status.st_size, sizeof page));
  clockpage_open_error error{};
  if (clockpage_validate_view(&page, sizeof page, nullptr, &error) != CLOCKPAGE_OK)
    fail(path, error.where);
  ViewSnapshot view;
  std::copy(std::begin(page.view_id), std::end(page.view_id), view.view_id.begin());
  view.generation = page.generation;
  view.number = page.index;
  ViewWriter writer(page);  // only read from
  view.disruption_marker = writer.disruption_marker();
  view.state = writer.state();
  view.mode = status.st_mode & 07777;
  view.uid = status.st_uid;
  view.gid = status.st_gid;
  return view;
}

mode_t settled_mode(const FileFields& file, const ViewSnapshot* now, bool followed) {
  const uid_t owner = file.uid.value_or(now != nullptr ? now->uid : geteuid());
  const bool ours = owner == geteuid();
  if (followed && !ours)
    throw RegionError(fmt::format(
        "uid is {}: a view that follows a virtual machine or a parent stays clockpaged's "
        "own (uid {}), or its owner could end that by truncating it: give access by its "
        "group, with mode 0640",
        owner, geteuid()));
  const mode_t at_most = ours ? 0644 : 0444;
  const mode_t mode = file.mode.value_or(now != nullptr ? now->mode & at_most : at_most);
  if ((mode & ~at_most) != 0)
    throw RegionError(
        fmt::format("mode is {:04o}: uid {} could write its own view: 0444 at most", mode, owner));
  constexpr mode_t needed = S_IRUSR | S_IWUSR;
  if (ours && owner != 0 && (mode & needed) != needed)
    throw RegionError(fmt::format(
        "mode is {:04o}: clockpaged, as uid {}, could not change the view any more: 0{:o}", mode,
        owner, mode | needed));
  return mode;
}

void change_file(const fs::path& path, const FileFields& file, mode_t mode) {
  const File opened(path, O_RDONLY);
  if (opened.get() < 0) fail_errno(path, "cannot be opened", errno);
  // A change of owner takes mode bits away, so it comes first.
  if ((file.uid || file.gid) &&
      fchown(opened.get(), file.uid.value_or(-1), file.gid.value_or(-1)) != 0)
    fail_errno(path, "cannot be given its owner", errno);
  if (fchmod(opened.get(), mode) != 0) fail_errno(path, "cannot be given its mode", errno);
}

FileChange::FileChange(fs::path path, const FileFields& file, mode_t mode, const ViewSnapshot& now)
    : path_(std::move(path)),
      before_{now.mode, now.uid, now.gid},
      undo_(file.mode || file.uid || file.gid) {
  if (!undo_) return;
  try {
    change_file(path_, file, mode);
  } catch (const RegionError&) {
    undo();
    throw;
  }
}

FileChange::~FileChange() {
  if (undo_) undo();
}

void FileChange::undo() const noexcept {
  try {
    change_file(path_, before_, *before_.mode);
  } catch (const RegionError&) {
    // What went wrong before this is what is said.
  }
}

bool can_be_written(const fs::path& path) { return File(path, O_RDWR).get() >= 0; }

void check_own_directory(const fs::path& path) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return;
    fail_errno(path, "cannot be examined", errno);
  }
  if (S_ISLNK(status.st_mode)) fail(path, "is a symbolic link: it is not followed");
  if (!S_ISDIR(status.st_mode)) fail(path, "not a directory");
  if (status.st_uid != 0 && status.st_uid != geteuid())
    fail(path, fmt::format("belongs to uid {}, not to uid {} or root", status.st_uid, geteuid()));
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    fail(path,
         fmt::format("mode is {:04o}: others could make views there", status.st_mode & 07777));
}

void write_json_file(const fs::path& path, const nlohmann::json& json) {
  const fs::path parent = path.parent_path();
  if (mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST)
    fail_errno(parent, "cannot be made", errno);
  const fs::path temporary = parent / ("." + path.filename().string() + ".new");
  const std::string text = json.dump() + "\n";
  unlink(temporary.c_str());
  struct Remover {
    const fs::path& path;
    ~Remover() { unlink(path.c_str()); }
  } const remover{temporary};
  const File file(temporary, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (file.get() < 0) fail_errno(temporary, "cannot be made", errno);
  const ssize_t written = write(file.get(), text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size()))
    fail_errno(temporary, "cannot be written", written < 0 ? errno : ENOSPC);
  if (rename(temporary.c_str(), path.c_str()) != 0)
    fail_errno(path, "cannot be given its name", errno);
}

nlohmann::json read_json_file(const fs::path& path) {
  const File file(path, O_RDONLY);
  if (file.get() < 0) fail_errno(path, "cannot be opened", errno);
  std::array<char, kMostRequestBytes> text{};
  const ssize_t length = read(file.get(), text.data(), text.size());
  if (length < 0) fail_errno(path, "cannot be read", errno);
  try {
    return parse_strictly({text.data(), static_cast<std::size_t>(length)});
  } catch (const RequestError& e) {
    fail(path, e.what());
  }
}

std::string hex(const Id& id) { return fmt::format("{:02x}", fmt::join(id, "")); }

}  // namespace clockpage::producer
