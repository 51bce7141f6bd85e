// SPDX-License-Identifier: MIT
#include "whole_file.hpp"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "exit_code.hpp"

namespace clockpage::tool {
namespace {

std::string why(const char* what) { return fmt::format("{}: {}", what, std::strerror(errno)); }

}  // namespace

WholeFile::WholeFile(const std::string& file)
    : file_(file),
      temporary_(file + ".XXXXXX"),
      descriptor_(mkostemp(temporary_.data(), O_CLOEXEC)) {
  if (descriptor_ < 0) throw Failure(file, why("cannot be created"));
  const mode_t mask = umask(0);
  umask(mask);
  (void)fchmod(descriptor_, 0666 & ~mask);  // mkostemp's 0600 is for secrets
}

WholeFile::~WholeFile() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  unlink(temporary_.c_str());
}

void WholeFile::write(const void* bytes, size_t size) {
  const auto* from = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t written = ::write(descriptor_, from, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) throw Failure(file_, why("cannot be written"));
    from += written;
    size -= static_cast<size_t>(written);
  }
}

void WholeFile::finish() {
  if (fsync(descriptor_) != 0) throw Failure(file_, why("cannot be written"));
  if (rename(temporary_.c_str(), file_.c_str()) != 0)
    throw Failure(file_, why("cannot be given its name"));
  close(descriptor_);
  descriptor_ = -1;
}

}  // namespace clockpage::tool
