// SPDX-License-Identifier: MIT
// Included by the compiler before everything else in files that run on the machine: the operations
// under clockpage/barrier.h, and the counter, become calls. The orders are barrier.h's own.
#pragma once

#include <clockpage/abi.h>

#include <cstdint>
#include <type_traits>

namespace clockpage::weak_memory {

std::uint64_t hooked_load(const void* address, unsigned size, int order);
void hooked_store(void* address, unsigned size, std::uint64_t value, int order);
void hooked_fence(int order);
bool hooked_compare_exchange(std::uint64_t* address, std::uint64_t expected, std::uint64_t next,
                             int success);
std::uint64_t hooked_counter();
unsigned hooked_history();

template <typename T>
T load_word(const T* address, int order) {
  return static_cast<T>(hooked_load(address, sizeof(T), order));
}
template <typename T>
void store_word(T* address, std::type_identity_t<T> value, int order) {
  hooked_store(address, sizeof(T), static_cast<std::uint64_t>(value), order);
}

inline constexpr unsigned kHistory = CLOCKPAGE_HISTORY;

}  // namespace clockpage::weak_memory

// The number of steps back is a mutant's to change.
#undef CLOCKPAGE_HISTORY
#define CLOCKPAGE_HISTORY ::clockpage::weak_memory::hooked_history()

#define CLOCKPAGE_ATOMIC_LOAD_(pointer, order) ::clockpage::weak_memory::load_word(pointer, order)
#define CLOCKPAGE_ATOMIC_STORE_(pointer, value, order) \
  ::clockpage::weak_memory::store_word(pointer, value, order)
#define CLOCKPAGE_ATOMIC_FENCE_(order) ::clockpage::weak_memory::hooked_fence(order)
#define CLOCKPAGE_ATOMIC_CAS_(pointer, expected, next, success, failure) \
  ::clockpage::weak_memory::hooked_compare_exchange(pointer, expected, next, success)

// Instead of clockpage/counter.h.
#define CLOCKPAGE_COUNTER_H
static inline int clockpage_counter_prefers_rdtscp(void) { return 0; }
static inline std::uint64_t clockpage_counter_ordered(void) {
  return ::clockpage::weak_memory::hooked_counter();
}
static inline std::uint64_t clockpage_counter_ordered_by(int, std::uint64_t) {
  return ::clockpage::weak_memory::hooked_counter();
}
static inline std::uint64_t clockpage_counter_relaxed(void) {
  return ::clockpage::weak_memory::hooked_counter();
}
