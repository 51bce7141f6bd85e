// SPDX-License-Identifier: MIT
// The region file: made once, complete before it gets its name; adopted in place afterwards.
// Spec section 9.
#pragma once

#include <clockpage/abi.h>
#include <sys/types.h>

#include <array>
#include <boost/interprocess/mapped_region.hpp>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "counter.hpp"
#include "identity.hpp"
#include "page_writer.hpp"
#include "utc_plan.hpp"

namespace clockpage::producer {

// One line for people: "FILE: reason".
struct RegionError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What distinguishes one region from another.
struct RegionIdentity {
  Id host_id{};
  Id boot_id{};
  std::uint64_t generation = 0;
  std::uint64_t first_index = 0;  // 48 bits
  CounterIdentity counter;
  std::string source{};  // its name, at most 15 characters: whose clock the first segment is
  Smear smear{};         // of the smeared pages
};

// The whole region's bytes, ready to be written: `first` is the first segment in terms of the
// host's counter, `history_ticks` how far its line is extended backwards as the one before it.
// `smeared`: what the smeared pages have instead; nothing: the same.
std::vector<std::byte> region_image(const RegionIdentity& identity, std::uint64_t history_ticks,
                                    const Segment& first,
                                    const std::optional<UtcTerms>& smeared = std::nullopt);

// A file that says that a producer is at work: locked while it lives, close-on-exec.
class ProducerLock {
 public:
  // directory/name; makes the directory if need be. Throws RegionError; also if another producer
  // holds it.
  explicit ProducerLock(const std::filesystem::path& directory, const char* name = "lock");
  ~ProducerLock();
  ProducerLock(const ProducerLock&) = delete;
  ProducerLock& operator=(const ProducerLock&) = delete;

  // For a child process, which has inherited it: without this the lock lives as long as both.
  void leave_to_parent() noexcept;

 private:
  int fd_ = -1;
};

// Which file a mapping is of, whatever it is called by now.
struct FileId {
  dev_t device = 0;
  ino_t inode = 0;
};

enum class ExistingRegion { none, adoptable, earlier_boot, revoked };

// A mapped region, for writing. Hold the ProducerLock meanwhile.
class Region {
 public:
  // What lies at directory/region. Throws RegionError if it is something else than a region that
  // may be adopted or replaced: such a file is never touched.
  // `now`: the host's counter. A simulated clock is never continued by a real one, nor the other
  // way round: `source`.
  static ExistingRegion inspect(const std::filesystem::path& directory, const Id& boot_id,
                                const CounterIdentity& counter, std::string_view source,
                                std::uint64_t now);
  // Writes `image` under a temporary name and renames it; a region of an earlier boot is revoked
  // first. Throws RegionError.
  static Region create(const std::filesystem::path& directory, std::span<const std::byte> image);
  // Maps the one that is there.
  static Region adopt(const std::filesystem::path& directory);

  // Whether the mapped file is still the one that readers find: false once it was removed or
  // another took its name. One system call. True where that cannot be told, and for memory.
  [[nodiscard]] bool has_its_name() const noexcept;

  // The same for memory that somebody else owns: `fd` is sealed (region_memory.hpp), and neither
  // closed nor kept. none: not begun, or never completed. Memory cannot be replaced by its name:
  // a region of an earlier boot, and a revoked one, are the end of it.
  static ExistingRegion inspect_memory(int fd, const Id& boot_id, const CounterIdentity& counter,
                                       std::string_view source, std::uint64_t now);
  // Writes `image` into it; what makes it a region comes last, so that a reader that has the
  // memory already sees a region or none, and a writer that dies meanwhile leaves none.
  static Region create_in_memory(int fd, std::span<const std::byte> image);
  static Region adopt_memory(int fd);

  // Withdraws every page: readers are to map anew.
  void revoke() noexcept;

  [[nodiscard]] clockpage_directory_page& directory() const noexcept;
  [[nodiscard]] std::array<clockpage_data_page*, CLOCKPAGE_DATA_PAGE_COUNT> pages() const noexcept;

 private:
  Region(std::filesystem::path path, boost::interprocess::mapped_region map, FileId id)
      : path_(std::move(path)), map_(std::move(map)), id_(id) {}
  std::filesystem::path path_;
  boost::interprocess::mapped_region map_;
  FileId id_;
};

}  // namespace clockpage::producer
