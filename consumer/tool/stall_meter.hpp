// SPDX-License-Identifier: MIT
//
// How long this machine keeps a thread that is due from running: what a late producer is to be
// judged against.
#pragma once

#include <atomic>
#include <cstdint>

#include "statistics.hpp"

namespace clockpage::tool {

/// Filled by the process that measures; read by its parent once that has ended. In shared memory.
struct StallReport {
  Histogram latency_ns;     // wake-up of a 1 ms period, how late
  uint64_t elapsed_ns = 0;  // of the measurement
  uint64_t lost_ns = 0;     // sum of the latencies above kStallNs
  bool real_time = false;   // SCHED_FIFO was permitted
};

/// A wake-up later than this is time lost, not the usual cost of waking.
inline constexpr int64_t kStallNs = 100'000;

/// Measures until `stop` is not zero.
void measure_stalls(StallReport& report, const std::atomic<uint32_t>& stop);

}  // namespace clockpage::tool
