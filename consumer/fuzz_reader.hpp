// SPDX-License-Identifier: MIT
//
// reader.h for fuzz targets: every load of a page's word and every reading of the counter asks
// the target. Nothing else of the reader is changed. Include this before any other header of
// clockpage's, in one translation unit: it redefines names.
//
// A target defines load_word and read_counter.
#ifndef CLOCKPAGE_FUZZ_READER_HPP
#define CLOCKPAGE_FUZZ_READER_HPP

#include <clockpage/barrier.h>
#include <clockpage/counter.h>

#include <cstdint>
#include <cstring>

namespace clockpage::fuzz {

// What the reader gets for the word at `address`, of `size` bytes, zero-extended.
std::uint64_t load_word(const void* address, std::size_t size, bool is_index);
// The counter, each time it is read.
std::uint64_t read_counter();

template <class T>
T load(const T& field, bool is_index = false) {
  const std::uint64_t word = load_word(&field, sizeof field, is_index);
  T value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

}  // namespace clockpage::fuzz

#undef CLOCKPAGE_LOAD
#define CLOCKPAGE_LOAD(field) ::clockpage::fuzz::load(field)
#define clockpage_load_index(index) ::clockpage::fuzz::load(*(index), true)
#define clockpage_counter_ordered() ::clockpage::fuzz::read_counter()
#define clockpage_counter_ordered_by(how, index) \
  (static_cast<void>(how), static_cast<void>(index), ::clockpage::fuzz::read_counter())
#define clockpage_counter_relaxed() ::clockpage::fuzz::read_counter()

#include <clockpage/reader.h>

#endif  // CLOCKPAGE_FUZZ_READER_HPP
