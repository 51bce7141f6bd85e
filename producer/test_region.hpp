// SPDX-License-Identifier: MIT
//
// A region as a producer makes it, for the tests of where regions live.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "region.hpp"
#include "steering.hpp"

namespace clockpage::producer {

inline constexpr std::uint64_t kHz = 2'300'000'000;
inline constexpr std::uint64_t kStart = 1'000'000'000'000;
// The counter at inspection: within the first lease.
inline constexpr std::uint64_t kNow = kStart + kHz / 1000;
inline constexpr Id kBoot = {1, 2, 3, 4, 5, 6, 7, 8};
inline constexpr Id kEarlierBoot = {9, 2, 3, 4, 5, 6, 7, 8};

inline CounterIdentity this_counter() {
  CounterIdentity counter;
  counter.kind = kThisCounterKind;
  counter.frequency_hz = kHz;
  return counter;
}

inline std::vector<std::byte> image_of(const Id& boot_id, std::uint64_t generation = 1,
                                       std::string source = {}) {
  Observation o;
  o.counter = kStart;
  o.monotonic = make_instant(10'000'000'000);
  o.raw = make_instant(20'000'000'000);
  o.period = o.raw_period = nominal_period(kHz);
  Steering steering(kHz, 1, {});
  steering.observe(o);
  const RegionIdentity identity{{42},           boot_id,        generation,
                                0x123456789abc, this_counter(), std::move(source)};
  return region_image(identity, kHz / 250,
                      steering.first(kStart, kStart + kHz / 100, delta_shift_for(o.period)));
}

}  // namespace clockpage::producer
