// SPDX-License-Identifier: MIT
//
// Reading the file of history.hpp.
#pragma once

#include <string>
#include <vector>

#include "history.hpp"

namespace clockpage::tool {

/// A history that is read piece by piece, never mapped: the file may be truncated meanwhile, and
/// that is to be an error, not a SIGBUS.
class HistoryReader {
 public:
  /// Checks everything that the sizes depend on. Throws Failure: not readable, not a history, or
  /// not all of one.
  explicit HistoryReader(const std::string& file);
  ~HistoryReader();
  HistoryReader(const HistoryReader&) = delete;
  HistoryReader& operator=(const HistoryReader&) = delete;

  const std::string& file() const { return file_; }
  const HistoryHeader& header() const { return header_; }
  const std::vector<HistoryPage>& pages() const { return pages_; }
  const std::vector<HistoryProcess>& processes() const { return processes_; }
  /// All segments of pages()[page].
  std::vector<HistorySegment> segments(size_t page) const;
  /// Reading number `first` of processes()[process] and those after it; as many as out has room
  /// for and there are.
  void readings(size_t process, uint64_t first, std::vector<HistoryReading>& out) const;

 private:
  void check_header(uint64_t size) const;
  void check_sizes();
  void read_at(uint64_t offset, void* bytes, size_t size) const;
  [[noreturn]] void damaged(const std::string& what) const;

  std::string file_;
  int descriptor_ = -1;
  HistoryHeader header_ = {};
  std::vector<HistoryPage> pages_;
  std::vector<HistoryProcess> processes_;
  std::vector<uint64_t> segments_at_;
  std::vector<uint64_t> readings_at_;
};

}  // namespace clockpage::tool
