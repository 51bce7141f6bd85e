// SPDX-License-Identifier: MIT
#include "history_file.hpp"

#include <errno.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "exit_code.hpp"

namespace clockpage::tool {
namespace {

// More processes than verify can have, more segments than fit in memory comfortably (an hour at 1
// ms).
constexpr uint32_t kMaxHistoryProcesses = 4096;
constexpr uint64_t kMaxHistorySegments = uint64_t{1} << 22;
constexpr uint64_t kMaxHistoryReadings = uint64_t{1} << 32;

std::string why(const char* what) { return fmt::format("{}: {}", what, std::strerror(errno)); }

}  // namespace

HistoryReader::HistoryReader(const std::string& file) : file_(file) {
  // O_NONBLOCK: opening a FIFO must not wait for its writer.
  descriptor_ = open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) throw Failure(file, why("cannot be opened"));
  try {
    struct stat status = {};
    if (fstat(descriptor_, &status) != 0) throw Failure(file, why("cannot be examined"));
    if (!S_ISREG(status.st_mode)) throw Failure(file, "is not a regular file");
    const auto size = static_cast<uint64_t>(status.st_size);
    if (size < sizeof header_) damaged(fmt::format("{} bytes are no history", size));
    read_at(0, &header_, sizeof header_);
    check_header(size);
    check_sizes();
  } catch (...) {
    close(descriptor_);
    throw;
  }
}

HistoryReader::~HistoryReader() { close(descriptor_); }

void HistoryReader::damaged(const std::string& what) const { throw Failure(file_, what); }

void HistoryReader::read_at(uint64_t offset, void* bytes, size_t size) const {
  auto* to = static_cast<char*>(bytes);
  while (size > 0) {
    const ssize_t got = pread(descriptor_, to, size, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Failure(file_, why("cannot be read"));
    if (got == 0) damaged("has been truncated");
    to += got;
    offset += static_cast<uint64_t>(got);
    size -= static_cast<size_t>(got);
  }
}

void HistoryReader::check_header(uint64_t size) const {
  const HistoryHeader& h = header_;
  if (!std::equal(h.magic.begin(), h.magic.end(), kHistoryMagic)) damaged("is not a history");
  if (h.major != kHistoryMajor)
    damaged(fmt::format("is a history of version {}; this program reads version {}", h.major,
                        kHistoryMajor));
  if (h.header_size != sizeof(HistoryHeader) || h.page_size != sizeof(HistoryPage) ||
      h.process_size != sizeof(HistoryProcess) || h.segment_size != sizeof(HistorySegment) ||
      h.reading_size != sizeof(HistoryReading))
    damaged("is damaged: its records have impossible sizes");
  if (h.file_size != size)
    damaged(fmt::format("is not complete: {} bytes instead of {}", size, h.file_size));
  if (h.page_count == 0 || h.page_count > kHistoryPages)
    damaged(fmt::format("is damaged: {} pages", h.page_count));
  if (h.process_count == 0 || h.process_count > kMaxHistoryProcesses)
    damaged(fmt::format("is damaged: {} processes", h.process_count));
}

void HistoryReader::check_sizes() {
  uint64_t offset = sizeof header_;
  pages_.resize(header_.page_count);
  processes_.resize(header_.process_count);
  const size_t page_bytes = pages_.size() * sizeof(HistoryPage);
  const size_t process_bytes = processes_.size() * sizeof(HistoryProcess);
  if (header_.file_size < offset + page_bytes + process_bytes) damaged("is damaged: its lists end");
  read_at(offset, pages_.data(), page_bytes);
  read_at(offset + page_bytes, processes_.data(), process_bytes);
  offset += page_bytes + process_bytes;
  // The limits keep the sums below from wrapping.
  for (const HistoryPage& page : pages_) {
    if (page.format > CLOCKPAGE_FORMAT_SCALED || page.delta_shift > CLOCKPAGE_MAX_DELTA_SHIFT ||
        page.scale_frac_bits > 63 || page.scale_ratio == 0 ||
        page.segment_count > kMaxHistorySegments)
      damaged("is damaged: a page has impossible constants");
    segments_at_.push_back(offset);
    offset += page.segment_count * sizeof(HistorySegment);
  }
  if (pages_.size() == 2 && pages_[0].format == pages_[1].format)
    damaged("is damaged: two pages of one format");
  for (const HistoryProcess& process : processes_) {
    if (process.reading_count > kMaxHistoryReadings)
      damaged("is damaged: a process has an impossible number of readings");
    readings_at_.push_back(offset);
    offset += process.reading_count * sizeof(HistoryReading);
  }
  if (offset != header_.file_size)
    damaged(fmt::format("is damaged: its lists take {} bytes, the file has {}", offset,
                        header_.file_size));
}

std::vector<HistorySegment> HistoryReader::segments(size_t page) const {
  // At most as large as the file is, by check_sizes.
  std::vector<HistorySegment> segments(pages_[page].segment_count);
  read_at(segments_at_[page], segments.data(), segments.size() * sizeof(HistorySegment));
  return segments;
}

void HistoryReader::readings(size_t process, uint64_t first,
                             std::vector<HistoryReading>& out) const {
  const uint64_t left = processes_[process].reading_count - first;
  out.resize(std::min<uint64_t>(left, out.capacity()));
  read_at(readings_at_[process] + first * sizeof(HistoryReading), out.data(),
          out.size() * sizeof(HistoryReading));
}

}  // namespace clockpage::tool
