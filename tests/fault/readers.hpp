// SPDX-License-Identifier: MIT
// Reader processes, one per CPU: they map the region as strangers do, read all clocks on all four
// pages, exchange what they read, and judge it by spec sections 5.2 and 6. Whoever injects the
// faults tells them only since when the writer has certainly been dead or stopped.
#pragma once

#include <clockpage/clockpage.h>
#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

namespace clockpage::fault {

constexpr unsigned kReaders = 2;
constexpr unsigned kPages = CLOCKPAGE_DATA_PAGE_COUNT;
constexpr std::array<int, 4> kClocks = {CLOCKPAGE_REALTIME, CLOCKPAGE_MONOTONIC,
                                        CLOCKPAGE_MONOTONIC_RAW, CLOCKPAGE_BOOTTIME};

// What may be wrong with what a reader saw.
enum class Wrong : unsigned {
  backward,         // a leased read before an earlier one, own or received, of the same epoch (G2)
  epoch_backward,   // a later leased read of an earlier epoch
  disagreement,     // two leased reads at one counter value differ in any bit, bounds included (G1)
  unsettled,        // the same, one of them made while the page was written and one later (G8)
  formats,          // two pages differ by more than 2 ns at one instant (G13)
  bridged_differs,  // an overdue value that only bridges followed is not what is now read (G5)
  not_flagged,      // P + 2 L after the writer's death, and not overdue (G6)
  overdue_status,   // overdue and not FREE_RUNNING or UNRELIABLE (G4)
  bound_shrank,     // a bound of overdue reads did not grow (G4)
  status,           // of a simulated clock: leased and synchronised; or no interval around ns
  error,            // an error that none of this explains
  kCount
};
const char* name_of(Wrong wrong) noexcept;

struct Reading {
  std::uint64_t host_counter = 0;  // taken before the page's
  std::uint64_t counter = 0;       // the page's
  std::uint64_t index = 0;         // the page's newest before it was read
  std::uint64_t epoch = 0;
  std::int64_t ns = 0, earliest_ns = 0, latest_ns = 0;
  std::uint8_t page = 0, clock = 0, status = 0, reason = 0;
  bool overdue = false, valid = false;
};

struct Tally {
  std::uint64_t reads = 0, leased = 0, overdue = 0;
  std::uint64_t after_deadline = 0;  // reads that had to be flagged
  std::uint64_t exchanged = 0;       // compared in order with the other process's
  std::uint64_t agreements = 0;      // evaluations of the other process's counter value
  std::uint64_t settled = 0;         // own values evaluated again, segments later
  std::uint64_t formats = 0;         // compared with another page at the same instant
  std::uint64_t bridged = 0;         // overdue values found again
  std::uint64_t late_differs = 0;    // overdue values that a steering segment contradicts
  std::uint64_t busy = 0;            // E_BUSY: passes exhausted
  std::uint64_t refused = 0;         // out of range or across a step: lost its CPU
  std::uint64_t longest_ticks = 0;   // of one read, descheduling included
  std::array<std::uint64_t, static_cast<unsigned>(Wrong::kCount)> wrong{};
  Tally& operator+=(const Tally& other) noexcept;
};

// In memory shared by the readers and the one who injects the faults.
struct Shared {
  static constexpr std::uint64_t kRing = 4096;
  struct Lane {
    std::atomic<std::uint64_t> written{0};  // readings so far; reading i is in ring[i % kRing]
    std::array<Reading, kRing> ring;
    Tally tally;
    std::atomic<bool> ready{false};
    // The first of each kind, for the message.
    std::array<std::array<Reading, 2>, static_cast<unsigned>(Wrong::kCount)> first;
  };
  std::array<Lane, kReaders> lane;
  std::atomic<std::uint64_t> stop{0};      // number of the present stop; 0: the writer may run
  std::atomic<std::uint64_t> deadline{0};  // host counter from which on all reads are overdue
  std::atomic<bool> quit{false};
};

class Readers {
 public:
  // Starts them on a region that exists.
  Readers(const std::string& directory, std::uint64_t seed);
  ~Readers();
  Readers(const Readers&) = delete;
  Readers& operator=(const Readers&) = delete;

  // The writer is dead or stopped: reads at or past host counter `deadline` must be overdue.
  void writer_stopped(std::uint64_t deadline) noexcept;
  // Call before it is started or continued.
  void writer_goes_on() noexcept;
  // Sums, readable while they run (then not to the last read).
  [[nodiscard]] Tally tally() const noexcept;
  // Empty if nothing was wrong; else what, how often, and the first of each kind.
  [[nodiscard]] std::string verdict() const;
  // Ends them. Throws if one did not end well.
  void end();

 private:
  Shared* shared_;
  std::array<pid_t, kReaders> pids_{};
  std::uint64_t stops_ = 0;
};

// The most machine instructions one read may take: 7 passes (spec G7) of at most 15 slots.
constexpr std::uint64_t kMostInstructions = 7 * (15 * 16 + 200);

// A reader process that traps (int3) before and after each read, for who counts its steps. Never
// returns. Reads now, a value 13 segments old, and one that is too old, in turn.
[[noreturn]] void read_between_traps(const std::string& directory);

}  // namespace clockpage::fault
