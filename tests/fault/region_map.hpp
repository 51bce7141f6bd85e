// SPDX-License-Identifier: MIT
// The region file as its examiner sees it: whether what lies there is one function, on all pages.
#pragma once

#include <clockpage/clockpage.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "page_writer.hpp"

namespace clockpage::fault {

class RegionMap {
 public:
  // Maps it writable: the tests that sabotage a page do it through this.
  explicit RegionMap(const std::filesystem::path& directory);
  ~RegionMap();
  RegionMap(const RegionMap&) = delete;
  RegionMap& operator=(const RegionMap&) = delete;

  [[nodiscard]] clockpage_data_page& page(unsigned i) const noexcept { return *pages_[i]; }
  [[nodiscard]] std::uint64_t index(unsigned page = 0) const noexcept;
  [[nodiscard]] producer::Segment newest() const noexcept;
  [[nodiscard]] const clockpage_diagnostics& diagnostics() const noexcept {
    return pages_[0]->diagnostics;
  }
  [[nodiscard]] std::uint64_t frequency_hz() const noexcept {
    return pages_[0]->counter_frequency_hz;
  }
  // The whole region, to see what an instruction has changed.
  [[nodiscard]] bool changed_since(std::vector<std::byte>& copy) const;
  // Whether the pages are at one segment.
  [[nodiscard]] bool together() const noexcept;

  // What is wrong with a region that nobody writes to now, or nothing: pages at most one segment
  // apart; in each a history of segments that partition the counter, each at its own number,
  // beginning at the last one's exact value or flagged as a step with an epoch of its own, bridges
  // going on unchanged; and with the pages together, the same time on all four, to 2 ns.
  // Under this name still lies the file that was mapped, of the same generation.
  [[nodiscard]] std::string defect() const;

 private:
  [[nodiscard]] std::string history_defect(unsigned page) const;
  [[nodiscard]] std::string formats_defect() const;

  std::filesystem::path path_;
  std::byte* bytes_ = nullptr;
  ino_t inode_ = 0;
  std::uint64_t generation_ = 0;
  std::uint64_t oldest_ = 0;  // no segment before this has ever been published
  std::array<clockpage_data_page*, CLOCKPAGE_DATA_PAGE_COUNT> pages_{};
};

}  // namespace clockpage::fault
