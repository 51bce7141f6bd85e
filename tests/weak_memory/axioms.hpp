// SPDX-License-Identifier: MIT
// The C11 memory model from its axioms, naively, for tiny programs without sequentially consistent
// operations: every choice of reads-from is made and then judged as a whole. It shares nothing with
// the machine of machine.hpp, which it is there to check.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include "machine.hpp"

namespace clockpage::weak_memory {

struct Event {
  enum class Kind : std::uint8_t { store, update, load, fence };
  Kind kind;
  std::size_t thread;
  std::size_t location = 0;
  std::uint64_t value = 0;  // what a store or update writes
  Order order = Order::relaxed;
};

// The order within a thread is program order; that of stores to one location, by whichever thread,
// is its modification order. Locations are 0 at first.
using Program = std::vector<Event>;

// What the loads returned, in the order in which they stand in the program.
using Outcome = std::vector<std::uint64_t>;

// By the axioms. At most 31 events.
std::set<Outcome> outcomes_by_axioms(const Program& program);

// By the machine, which runs the events as they stand: every store before each load that could read
// it. `executions`, unless null, is increased by the number of them.
std::set<Outcome> outcomes_by_machine(const Program& program, std::uint64_t* executions = nullptr);

}  // namespace clockpage::weak_memory
