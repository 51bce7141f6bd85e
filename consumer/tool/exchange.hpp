// SPDX-License-Identifier: MIT
//
// Processes that pass timestamps round through shared memory, and compare.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "page.hpp"
#include "recorder.hpp"

namespace clockpage::tool {

inline constexpr unsigned kMaxProcesses = 64;

/// One timestamp, with what is needed to judge and to explain it.
struct Reading {
  int64_t ns = 0;
  int64_t earliest_ns = 0;
  int64_t latest_ns = 0;
  uint64_t counter = 0;  ///< of the page that was read: scaled for the scaled one
  uint64_t epoch = 0;
  uint64_t index = 0;  ///< the page's, right after the reading
  int16_t cpu = -1;    ///< -1: not pinned
  uint8_t flags = 0;   ///< CLOCKPAGE_TIME_*, kHistorySecondTime
  uint8_t clock = 0;   ///< CLOCKPAGE_REALTIME or CLOCKPAGE_MONOTONIC
  uint8_t format = 0;  ///< CLOCKPAGE_FORMAT_*
  uint8_t status = 0;  ///< CLOCKPAGE_STATUS_*
  uint8_t reason = 0;  ///< CLOCKPAGE_REASON_*
  bool valid = false;  ///< false: the page refused, there is no time in this
};
static_assert(sizeof(Reading) == 56, "a message is one cache line");

/// How `own`, taken after `received` arrived, stands to it.
enum class Order { kInOrder, kBackward, kOverdueBackward, kOtherEpoch };

/// Reads of one format must not go backwards; across formats (rounded separately) the order holds
/// for reads more than 2 ns apart. The second that REALTIME counts twice at an inserted leap second
/// (AMBIGUOUS on an unsmeared page, never on a smeared one) goes on after its first time. Both
/// valid and of one clock.
Order order_of(const Reading& received, const Reading& own);

/// How `again`, evaluated at the counter value of `received` by another process, stands to it.
enum class Agreement { kSame, kDifferent, kOverdueKept, kOverdueRevised };

/// A leased reading is the same for everybody, to the last bit of its bounds. One that was overdue
/// promised nothing: its time may have been revised since.
Agreement agreement_of(const Reading& received, const Reading& again);

/// A pair in the wrong order, or two readings of one counter value.
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
  uint64_t repeated = 0;          ///< in order: from a second's first time into its second time
  uint64_t busy = 0;              ///< refused readings: CLOCKPAGE_E_BUSY
  uint64_t errors = 0;            ///< refused readings: any other error
  int32_t last_error = 0;
  uint64_t agreements = 0;       ///< evaluated again where a leased reading had been: the same bits
  uint64_t disagreements = 0;    ///< other bits
  uint64_t overdue_revised = 0;  ///< evaluated again where an overdue one had been: another time
  uint64_t again_refused = 0;    ///< too old by then, a step in between, or busy
  int64_t largest_backward_ns = 0;          ///< between leased reads
  int64_t largest_overdue_backward_ns = 0;  ///< with an overdue read
  uint32_t offences = 0;                    ///< how many of `offence` are filled
  std::array<Offence, 4> offence = {};      ///< the first ones
  uint32_t disagreement_offences = 0;       ///< how many of `disagreement` are filled
  std::array<Offence, 4> disagreement = {};
};

/// Judges one exchange and counts it.
void count_exchange(ExchangeTally& tally, uint64_t message, const Reading& received,
                    const Reading& own);
/// Judges the evaluation of a received counter value and counts it. Both valid.
void count_again(ExchangeTally& tally, uint64_t message, const Reading& received,
                 const Reading& again);

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
/// is set; leaves its tally in result[self]. `log`, unless null, gets every reading.
void run_exchange(Exchange& exchange, unsigned self, int cpu, const Page& page,
                  RecordLog<HistoryReading>* log);

}  // namespace clockpage::tool
