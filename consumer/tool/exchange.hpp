// SPDX-License-Identifier: MIT
//
// Processes that pass timestamps round through shared memory, and compare.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "page.hpp"

namespace clockpage::tool {

inline constexpr unsigned kMaxProcesses = 64;

/// One timestamp, with what is needed to judge and to explain it.
struct Reading {
  int64_t ns = 0;
  uint64_t counter = 0;  ///< of the page that was read: scaled for the scaled one
  uint64_t epoch = 0;
  uint64_t index = 0;  ///< the page's, right after the reading
  uint32_t flags = 0;  ///< CLOCKPAGE_TIME_*
  int16_t cpu = -1;    ///< -1: not pinned
  uint8_t clock = 0;   ///< CLOCKPAGE_REALTIME or CLOCKPAGE_MONOTONIC
  uint8_t format = 0;  ///< CLOCKPAGE_FORMAT_*
  bool valid = false;  ///< false: the page refused, there is no time in this
};

/// How `own`, taken after `received` arrived, stands to it.
enum class Order { kInOrder, kBackward, kOverdueBackward, kOtherEpoch };

/// Reads of one format must not go backwards; across formats (rounded separately) the order holds
/// for reads more than 2 ns apart. Both valid and of one clock.
Order order_of(const Reading& received, const Reading& own);

/// A pair in the wrong order.
struct Offence {
  uint64_t message = 0;
  Reading received;
  Reading own;
};

/// What one process saw.
struct ExchangeTally {
  uint64_t exchanges = 0;  ///< messages received and compared, or of another epoch
  uint64_t leased = 0;     ///< of exchanges: compared, and both readings leased
  /// Smallest own - received of those: a disagreement smaller than this cannot show.
  int64_t least_step_ns = INT64_MAX;
  uint64_t reads = 0;
  uint64_t overdue = 0;           ///< of reads
  uint64_t backward = 0;          ///< both leased
  uint64_t overdue_backward = 0;  ///< at least one overdue
  uint64_t other_epoch = 0;       ///< not compared
  uint64_t busy = 0;              ///< refused readings: CLOCKPAGE_E_BUSY
  uint64_t errors = 0;            ///< refused readings: any other error
  int32_t last_error = 0;
  int64_t largest_backward_ns = 0;          ///< between leased reads
  int64_t largest_overdue_backward_ns = 0;  ///< with an overdue read
  uint32_t offences = 0;                    ///< how many of `offence` are filled
  std::array<Offence, 4> offence = {};      ///< the first ones
};

/// Judges one exchange and counts it.
void count_exchange(ExchangeTally& tally, uint64_t message, const Reading& received,
                    const Reading& own);

/// The memory the processes share. One message is under way at a time: number m is for process
/// m % processes, which answers with m + 1 to the next.
struct Exchange {
  struct alignas(128) Slot {
    std::atomic<uint64_t> message;  // the number of the message in `reading`; 0: none yet
    Reading reading;
  };
  std::atomic<uint32_t> stop;  // not zero: everybody ends
  uint64_t target = 0;         // messages to pass; 0: no end
  unsigned processes = 0;
  unsigned spins = 2000;  // how often a process looks for its message before it yields its CPU
  std::array<Slot, kMaxProcesses> slot;  // of the receiver
  struct alignas(128) Result {
    ExchangeTally tally;
    std::array<char, 512> failure;  // empty: none
  };
  std::array<Result, kMaxProcesses> result;

  /// Messages passed so far; any process may ask at any time.
  uint64_t passed() const;
};

/// Runs process number `self`, on CPU `cpu` (-1: wherever), until the target is reached or `stop`
/// is set; leaves its tally in result[self].
void run_exchange(Exchange& exchange, unsigned self, int cpu, const Page& page);

}  // namespace clockpage::tool
