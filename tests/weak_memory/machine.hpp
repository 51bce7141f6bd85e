// SPDX-License-Identifier: MIT
// An operational form of the C11 memory model for the programs of this test: a machine of views.
//
// What it enumerates. An execution of C11 is a choice, for every load, of the store that it reads
// from, which the axioms allow or not: modification order, happens-before, and synchronisation by
// release and acquire operations with release sequences (C11 5.1.2.4, 7.17.3) and by fences
// (7.17.4); the four rules of coherence that tie modification order to happens-before are written
// out in C++'s [intro.races]. The machine runs the events in one order. Each thread carries what
// happens before its next event; a load may take any store that is not older, in its location's
// modification order, than the newest store or read of that location which happens before the load.
//
// Why that is the same here as the axioms, no more and no fewer executions:
// - Modification order is the order in which the machine is given the stores. Every location has
//   one writing thread, or is changed by read-modify-writes in a chain, so no other is possible.
// - Stores come before the loads that could read them. The one writer takes nothing from readers
//   and readers write nothing, so its stores can all be run first, and there is no cycle of
//   program order and reads-from (RC11's rule against values out of thin air, Lahav, Vafeiadis,
//   Kang, Hur and Dreyer, "Repairing sequential consistency in C/C++11", PLDI 2017, takes nothing
//   away). For the same reason no load ever happens before a store that it could read.
// - A fence synchronises what comes after it, so an earlier load's choice is never made wrong by
//   what happens later, and each choice may be made when the load is reached.
// - No operation is sequentially consistent, so there is no order S (7.17.3).
// Release sequences are those of C++20: a store of the same thread that is no
// read-modify-write ends one, though C11 lets it go on. That allows more executions, not fewer.
//
// axioms.hpp is the same model once more, written from the axioms; machine_test.cpp compares them.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "choices.hpp"

namespace clockpage::weak_memory {

enum class Order : std::uint8_t { relaxed, acquire, release, acquire_release };

constexpr bool acquires(Order order) noexcept {
  return order == Order::acquire || order == Order::acquire_release;
}
constexpr bool releases(Order order) noexcept {
  return order == Order::release || order == Order::acquire_release;
}

class Machine {
 public:
  static constexpr std::size_t kThreads = 4;

  // Locations are numbered from 0; their first values happen before everything.
  explicit Machine(std::vector<std::uint64_t> initial_values);

  void store(std::size_t thread, std::size_t location, std::uint64_t value, Order order);
  // Reads what is last in modification order and stores `value`: an update that succeeds.
  void update(std::size_t thread, std::size_t location, std::uint64_t value, Order order);
  void fence(std::size_t thread, Order order);
  std::uint64_t load(std::size_t thread, std::size_t location, Order order, Choices& choices);

  // All that `from` has seen happens before what `to` does next: as by a release store of the one
  // which an acquire load of the other has read.
  void hand_over(std::size_t from, std::size_t to);

  // How many stores a load by `thread` could take now.
  [[nodiscard]] std::size_t choices_of(std::size_t thread, std::size_t location) const noexcept {
    return locations_[location].size() - oldest_allowed(threads_[thread], location);
  }

  // rewind() goes back to where mark() was called last; no store may have been made since.
  void mark();
  void rewind();

  // All that decides what loads of `thread` may return from now on: equal keys, equal futures.
  void append_key(std::size_t thread, std::string& key);

 private:
  // For each thread, how many of its stores (they are in program order).
  using Clock = std::array<std::uint32_t, kThreads>;
  // For each location, an index into its modification order; empty: zeros.
  using Seen = std::vector<std::uint32_t>;
  struct View {
    Clock stores{};
    Seen seen;  // what was read, beyond what `stores` says
    void join(const View& other);
  };
  struct Store {
    std::uint64_t value;
    std::size_t thread;
    std::uint32_t number;  // counting from 1; 0: an initial value
    View released;         // what happens before who acquires it
  };
  struct Thread {
    View now;       // what happens before the next event
    View pending;   // what will, after an acquire fence
    View released;  // what did, at the last release fence
    std::uint32_t stores = 0;
    bool changed = false;  // since mark()
  };

  void append(std::size_t thread, std::size_t location, std::uint64_t value, Order order,
              const View& inherited);
  [[nodiscard]] std::size_t oldest_allowed(const Thread& thread,
                                           std::size_t location) const noexcept;
  [[nodiscard]] std::size_t oldest_unhidden(const Clock& clock,
                                            std::size_t location) const noexcept;

  std::vector<std::vector<Store>> locations_;  // stores in modification order
  std::array<Thread, kThreads> threads_;
  std::array<Thread, kThreads> marked_;
};

}  // namespace clockpage::weak_memory
