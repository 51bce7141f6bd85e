// SPDX-License-Identifier: MIT
//
// For fuzz targets: a valid region that the input changes here and there. A few bytes of input are
// then enough to get far behind the checks.
#ifndef CLOCKPAGE_TESTS_FUZZ_REGION_HPP
#define CLOCKPAGE_TESTS_FUZZ_REGION_HPP

#include <clockpage/abi.h>

#include "fuzz.hpp"

namespace clockpage::fuzz {

// Where the bytes that decide something are. Pages lie as in a region that clockpaged makes.
inline std::span<std::byte> area_of(std::span<std::byte> region, unsigned where) {
  const unsigned number = where % 4;
  const std::span<std::byte> bytes =
      region.subspan((number + 1) * CLOCKPAGE_PAGE_SIZE, CLOCKPAGE_PAGE_SIZE);
  const auto& page = *reinterpret_cast<const clockpage_data_page*>(bytes.data());
  const auto segment = [&](std::uint64_t n) {
    return bytes.subspan(
        CLOCKPAGE_SEGMENT_OFFSET + n % CLOCKPAGE_SEGMENT_COUNT * CLOCKPAGE_SEGMENT_SIZE,
        CLOCKPAGE_SEGMENT_SIZE);
  };
  switch (where / 4 % 8) {
    case 0:
      return region.first(144);  // the directory
    case 1:
      return bytes.first(offsetof(clockpage_data_page, reserved1));
    case 2:
      return bytes.subspan(offsetof(clockpage_data_page, index), 16);
    case 3:
      return segment(page.index);
    case 4:
      return segment(page.index - 1);
    case 5:
      return segment(page.index + 1);
    case 6:
      return bytes.subspan(offsetof(clockpage_data_page, diagnostics),
                           sizeof(clockpage_diagnostics));
    default:
      return region.subspan(where / 32 * CLOCKPAGE_PAGE_SIZE, CLOCKPAGE_PAGE_SIZE);
  }
}

// One change: where (1 byte), at which byte (2), how (1), and what.
inline void patch_region(Input& input, std::span<std::byte> region) {
  const unsigned where = input.take<std::uint8_t>();
  const std::size_t at = input.take<std::uint16_t>();
  const unsigned how = input.take<std::uint8_t>();
  const std::size_t length = 1 + how % 8;
  std::byte what[8] = {};
  if ((how & 0x10) != 0) {  // add a small number to a whole word
    const auto small = input.take<std::int8_t>();
    const std::span<std::byte> area = area_of(region, where);
    std::byte* word = &area[at % (area.size() / 8) * 8];
    std::uint64_t value = 0;
    std::memcpy(&value, word, sizeof value);
    value += static_cast<std::uint64_t>(std::int64_t{small}) << (how >> 5 << 3);
    std::memcpy(word, &value, sizeof value);
    return;
  }
  input.take_bytes(what, length);
  // On one page, or on all four alike.
  for (unsigned page = 0; page < ((how & 8) != 0 ? 4 : 1); page++) {
    const std::span<std::byte> area = area_of(region, (where & ~3U) + (where + page) % 4);
    const std::size_t begin = at % area.size();
    std::memcpy(&area[begin], what, std::min(length, area.size() - begin));
  }
}

// `count` changes at most.
inline void patch_region(Input& input, std::span<std::byte> region, unsigned count) {
  for (unsigned i = 0; i < count && !input.empty(); i++) patch_region(input, region);
}

}  // namespace clockpage::fuzz

#endif  // CLOCKPAGE_TESTS_FUZZ_REGION_HPP
