// SPDX-License-Identifier: MIT
//
// What `verify --record` keeps while processes exchange timestamps, in memory that they share, and
// how it becomes the file of history.hpp.
#pragma once

#include <array>
#include <atomic>
#include <boost/interprocess/mapped_region.hpp>
#include <chrono>
#include <cstdint>
#include <string>

#include "history.hpp"
#include "page.hpp"

namespace clockpage::tool {

/// Records in an array of fixed size; what does not fit is counted. One process adds, others look
/// after it has ended. In shared memory.
template <class T>
struct alignas(128) RecordLog {
  T* record = nullptr;
  uint64_t capacity = 0;
  uint64_t count = 0;
  uint64_t dropped = 0;

  /// The place for one more; nullptr: counted as dropped.
  T* add() {
    if (count < capacity) return &record[count++];
    dropped++;
    return nullptr;
  }
};

/// Follows one page's ring and records every segment once. Not the reader's code: it copies slots
/// by number, whatever their counters say. Its state is in the log: another process may go on.
class RingFollower {
 public:
  struct State {
    RecordLog<HistorySegment> log;
    bool begun = false;
    uint64_t last = 0;  // number of the last one recorded
    uint64_t gaps = 0;
  };
  RingFollower(const clockpage_data_page& page, State& state) : page_(page), state_(state) {}

  /// Records what has been published since. Segments that had left the history by now are a gap.
  void poll();
  uint64_t index() const;

 private:
  bool copy(uint64_t number, HistorySegment& out) const;

  const clockpage_data_page& page_;
  State& state_;
};

class Recorder {
 public:
  /// Room for `max_readings` of each process. Throws Failure if there is no such memory.
  Recorder(unsigned processes, uint64_t max_readings);

  /// In the process that is to add to it: the log, its memory made present, so that no page fault
  /// disturbs the readings.
  RecordLog<HistoryReading>& log_for_adding(unsigned process);
  void set_cpu(unsigned process, int cpu) { shared_->cpu[process] = cpu; }
  /// Follows both pages until `stop` is not zero: the body of a process of its own.
  void follow(const Page& page, const std::atomic<uint32_t>& stop);

  /// Once the readers have ended, while the follower may still run: waits until one more segment
  /// has been published, for `limit` at most. By then the producer has counted all that was late
  /// before. False: none came, or a page is withdrawn.
  static bool settle(const Page& page, std::chrono::milliseconds limit);

  struct Summary {
    uint64_t readings = 0;
    uint64_t readings_dropped = 0;
    uint64_t segments = 0;
    uint64_t segments_dropped = 0;
    uint64_t gaps = 0;
  };
  Summary summary() const;
  /// Everybody else has ended. Throws Failure; then there is no file.
  void write(const std::string& file, const Page& page, const clockpage_diagnostics& before,
             bool settled) const;

 private:
  static constexpr unsigned kMaxLogs = 64;
  struct Shared {
    std::array<RecordLog<HistoryReading>, kMaxLogs> readings;
    std::array<int32_t, kMaxLogs> cpu;
    std::array<RingFollower::State, kHistoryPages> segments;
  };

  unsigned processes_;
  boost::interprocess::mapped_region shared_memory_;
  boost::interprocess::mapped_region reading_memory_;
  boost::interprocess::mapped_region segment_memory_;
  Shared* shared_;
};

}  // namespace clockpage::tool
