// SPDX-License-Identifier: MIT
#include "region_map.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace clockpage::fault {

using producer::PageWriter;
using producer::Segment;

namespace {

std::int64_t apart(std::uint64_t a, std::uint64_t b) { return static_cast<std::int64_t>(a - b); }

std::string step_defect(const Segment& before, const Segment& s) {
  const std::uint32_t flags = s.terms.flags;
  const bool step = (flags & CLOCKPAGE_SEGMENT_DISCONTINUITY) != 0;
  if (s.terms.epoch != before.terms.epoch + (step ? 1 : 0)) return "has a wrong epoch";
  if ((flags & CLOCKPAGE_SEGMENT_TAI_STEP) == 0 && s.tai.base != before.tai.at(before.lease_end))
    return "does not begin at the last one's exact TAI";
  if ((flags & CLOCKPAGE_SEGMENT_MONOTONIC_STEP) == 0 &&
      s.raw.base != before.raw.at(before.lease_end))
    return "does not begin at the last one's exact RAW";
  if ((flags & CLOCKPAGE_SEGMENT_BRIDGE) == 0) return {};
  if (s.tai.period_frac != before.tai.period_frac || s.raw.period_frac != before.raw.period_frac ||
      s.terms.utc.before_ns != before.terms.utc.before_ns ||
      s.terms.monotonic_offset_ns != before.terms.monotonic_offset_ns ||
      s.terms.boottime_offset_ns != before.terms.boottime_offset_ns)
    return "is a bridge to another line";
  return {};
}

}  // namespace

RegionMap::RegionMap(const std::filesystem::path& directory) : path_(directory / "region") {
  const int fd = open(path_.c_str(), O_RDWR | O_CLOEXEC);
  struct stat status {};
  if (fd < 0 || fstat(fd, &status) != 0) throw std::runtime_error("no region to map");
  inode_ = status.st_ino;
  void* memory = mmap(nullptr, CLOCKPAGE_REGION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (memory == MAP_FAILED) throw std::runtime_error("the region cannot be mapped");
  bytes_ = static_cast<std::byte*>(memory);
  const auto& directory_page = *reinterpret_cast<const clockpage_directory_page*>(bytes_);
  generation_ = directory_page.generation;
  for (const clockpage_data_page_entry& e : directory_page.data_page)
    pages_[(e.format == CLOCKPAGE_FORMAT_SCALED ? 2U : 0U) + (e.smear != 0 ? 1U : 0U)] =
        reinterpret_cast<clockpage_data_page*>(bytes_ + e.offset_bytes);
  oldest_ = index();
  // A young region: the first segments' numbers are in it.
  while (index() - oldest_ < CLOCKPAGE_HISTORY &&
         CLOCKPAGE_LOAD(page(0).segment[(oldest_ - 1) % CLOCKPAGE_SEGMENT_COUNT].number) ==
             oldest_ - 1)
    oldest_--;
}

RegionMap::~RegionMap() { munmap(bytes_, CLOCKPAGE_REGION_SIZE); }

std::uint64_t RegionMap::index(unsigned i) const noexcept {
  return clockpage_load_index(&page(i).index);
}

Segment RegionMap::newest() const noexcept {
  const PageWriter writer(page(0));
  return writer.newest();
}

bool RegionMap::changed_since(std::vector<std::byte>& copy) const {
  copy.resize(CLOCKPAGE_REGION_SIZE);
  if (std::memcmp(copy.data(), bytes_, CLOCKPAGE_REGION_SIZE) == 0) return false;
  std::memcpy(copy.data(), bytes_, CLOCKPAGE_REGION_SIZE);
  return true;
}

bool RegionMap::together() const noexcept {
  for (unsigned i = 1; i < pages_.size(); i++)
    if (index(i) != index(0)) return false;
  return true;
}

std::string RegionMap::history_defect(unsigned i) const {
  const PageWriter writer(page(i));
  const std::uint64_t newest = writer.index();
  Segment later = writer.newest();
  if (later.number != newest) return "the newest slot is another segment's";
  for (unsigned back = 1; back <= CLOCKPAGE_HISTORY && newest - back >= oldest_; back++) {
    const Segment s = writer.load(newest - back);
    const auto named = [&](const std::string& what) {
      return "segment " + std::to_string(newest) + " - " + std::to_string(back) + " " + what;
    };
    if (s.number != newest - back) return named("is not in its slot");
    if (apart(s.lease_end, s.tai.start) <= 0) return named("has no length");
    if (later.tai.start != s.lease_end) return named("does not end where the next one begins");
    const std::string defect = step_defect(s, later);
    if (!defect.empty()) return "segment " + std::to_string(newest - back + 1) + " " + defect;
    later = s;
  }
  return {};
}

std::string RegionMap::formats_defect() const {
  const Segment s = newest();
  for (const int clock :
       {CLOCKPAGE_REALTIME, CLOCKPAGE_MONOTONIC, CLOCKPAGE_MONOTONIC_RAW, CLOCKPAGE_BOOTTIME})
    for (const std::uint64_t counter : {s.tai.start + 1000, s.lease_end - 1000}) {
      std::array<std::int64_t, CLOCKPAGE_DATA_PAGE_COUNT> ns{};
      for (unsigned i = 0; i < pages_.size(); i++) {
        clockpage_reader reader{};
        const clockpage_data_page& p = page(i);
        const std::uint64_t own =
            clockpage_scale_counter(counter, p.scale_ratio, p.scale_frac_bits);
        if (clockpage_reader_init(&reader, &p, sizeof p) != 0 ||
            clockpage_at(&reader, clock, own, &ns[i]) != 0)
          return "page " + std::to_string(i) + " cannot be read";
      }
      const auto [low, high] = std::minmax_element(ns.begin(), ns.end());
      if (*high - *low > 2)
        return "the pages are " + std::to_string(*high - *low) + " ns apart on clock " +
               std::to_string(clock);
    }
  return {};
}

std::string RegionMap::defect() const {
  struct stat status {};
  if (stat(path_.c_str(), &status) != 0 || status.st_ino != inode_)
    return "another file has taken the region's name";
  if (reinterpret_cast<const clockpage_directory_page*>(bytes_)->generation != generation_)
    return "the generation has changed";
  std::uint64_t low = ~std::uint64_t{0};
  std::uint64_t high = 0;
  for (unsigned i = 0; i < pages_.size(); i++) {
    low = std::min(low, index(i));
    high = std::max(high, index(i));
    const std::string defect = history_defect(i);
    if (!defect.empty()) return "page " + std::to_string(i) + ": " + defect;
    if (CLOCKPAGE_LOAD(page(i).revoked) != 0) return "page " + std::to_string(i) + " is revoked";
  }
  if (high - low > 1) return "the pages are more than one segment apart";
  return high == low ? formats_defect() : std::string();
}

}  // namespace clockpage::fault
