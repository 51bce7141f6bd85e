// SPDX-License-Identifier: MIT
// The inside of one reader process: see readers.hpp.
#pragma once

#include <array>
#include <random>
#include <vector>

#include "readers.hpp"

namespace clockpage::fault {

class ReaderProcess {
 public:
  ReaderProcess(Shared& shared, unsigned self, std::uint64_t seed);
  // Until told to quit. Returns the exit code.
  int run(const std::string& directory);

 private:
  struct Stop {
    std::uint64_t number, deadline;
  };

  void round();
  [[nodiscard]] Stop present_stop() const noexcept;
  Reading read(std::uint8_t page, std::uint8_t clock);
  // The value at a counter value taken earlier; not valid where the page no longer has it.
  Reading evaluate(std::uint8_t page, std::uint8_t clock, std::uint64_t counter);
  static void fill(Reading& r, const clockpage_time& time);
  [[nodiscard]] std::uint64_t page_counter(std::uint8_t page, std::uint64_t host) const noexcept;
  Reading* received();

  void judge(const Reading& own);
  // Both: whether the two could be compared, being leased.
  bool judge_order(const Reading& earlier, const Reading& later);
  bool judge_same(const Reading& one, const Reading& again, Wrong kind);
  void judge_formats(const Reading& own);
  void judge_stopped(const Stop& before, const Reading& own);
  void judge_pending();
  [[nodiscard]] bool only_bridges_since(const Reading& overdue) const;
  void count(Wrong kind, const Reading& a, const Reading& b);

  Shared& shared_;
  unsigned self_;
  Shared::Lane& lane_;
  std::mt19937_64 random_;
  std::array<clockpage_reader, kPages> reader_{};
  std::array<std::array<Reading, kClocks.size()>, kPages> last_leased_{};
  std::array<std::array<Reading, kClocks.size()>, kPages> last_overdue_{};
  std::uint64_t last_stop_ = 0;
  Reading received_;
  std::vector<Reading> pending_;  // overdue values that wait for a segment to cover them
};

}  // namespace clockpage::fault
