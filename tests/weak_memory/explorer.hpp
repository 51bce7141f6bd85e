// SPDX-License-Identifier: MIT
// Runs the reader on a page's memory in every admissible way, and judges each of its results.
#pragma once

#include <clockpage/reader.h>

#include <cstdint>
#include <string>
#include <vector>

#include "page_memory.hpp"

namespace clockpage::weak_memory {

enum class Entry : std::uint8_t { at, at_bounds, at_many, now, now_bounds, now_leased };

// One call. `counters`, ascending: what at_many is given, what the counter may read for now (each
// of them, in every combination that does not go back); for at only the first.
struct Call {
  std::size_t thread;  // 1 to 3; another one than before: what went before happens before it
  Entry entry;
  int clock;
  std::vector<std::uint64_t> counters;
};

struct Exploration {
  std::uint64_t executions = 0;  // judged to the end
  std::uint64_t merged = 0;      // came to a state that another one had been in
  std::string violation;         // of the first that broke a property; empty: none did

  Exploration& operator+=(const Exploration& other);
};

// One call after the other, in every execution. Stops at the first violation.
Exploration explore(PageMemory& memory, const std::vector<Call>& calls);

}  // namespace clockpage::weak_memory
