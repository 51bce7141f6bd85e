// SPDX-License-Identifier: MIT
// The data pages of a region, in the order of the directory that a producer writes.
#pragma once

#include <clockpage/abi.h>

#include <array>
#include <cstdint>

namespace clockpage::producer {

struct PageKind {
  std::uint8_t format;
  std::uint8_t smear;
};
// Page 0 is the one that decisions are made for.
inline constexpr std::array<PageKind, CLOCKPAGE_DATA_PAGE_COUNT> kKinds = {
    PageKind{CLOCKPAGE_FORMAT_UNSCALED, 0}, PageKind{CLOCKPAGE_FORMAT_UNSCALED, 1},
    PageKind{CLOCKPAGE_FORMAT_SCALED, 0}, PageKind{CLOCKPAGE_FORMAT_SCALED, 1}};

}  // namespace clockpage::producer
