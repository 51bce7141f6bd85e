// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>

#include "history.hpp"

namespace clockpage::tool {

/// A reading, small enough to be carried along in numbers.
struct PastReading {
  bool known = false;
  uint16_t process = 0;
  uint32_t sequence = 0;
  int64_t ns = 0;
  uint64_t counter = 0;
  uint64_t epoch = 0;
  uint8_t flags = 0;

  static PastReading of(const HistoryReading& reading) {
    return {true,          reading.process, reading.sequence, reading.ns, reading.counter,
            reading.epoch, reading.flags};
  }
};

/// What has happened before a moment of one process: of everything that it, or a message that
/// reached it, comes after. Only the maxima matter: nothing later may be below them.
class CausalPast {
 public:
  static constexpr unsigned kClocks = 5;
  static constexpr unsigned kFormats = 2;

  void merge(const CausalPast& other);
  void add_index(uint8_t format, uint64_t index);
  /// A reading of the clock now. `scaled` is its counter as the scaled page has it; the largest
  /// leased value is kept of each clock, `ordered` tells whether this is one.
  void add(const HistoryReading& reading, unsigned clock, uint64_t scaled, bool ordered);

  /// The largest index seen of a page; false: none yet.
  bool index(uint8_t format, uint64_t& out) const;
  /// The reading with the largest counter value of the unscaled page; of both, scaled.
  const PastReading& host() const { return host_; }
  const PastReading& scaled() const { return scaled_; }
  const PastReading& value(unsigned clock, unsigned format) const { return value_[clock][format]; }

 private:
  static void keep_later(PastReading& kept, const PastReading& other);
  static void keep_larger(PastReading& kept, const PastReading& other);

  std::array<bool, kFormats> has_index_ = {};
  std::array<uint64_t, kFormats> index_ = {};
  PastReading host_, scaled_;
  std::array<std::array<PastReading, kFormats>, kClocks> value_ = {};
};

}  // namespace clockpage::tool
