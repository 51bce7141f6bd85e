// SPDX-License-Identifier: MIT
// TAI, UTC, POSIX time and a smeared clock, each from the other, by a list of leap seconds: for
// people and for tests, not for the clock.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "leap_table.hpp"
#include "smear.hpp"
#include "utc_time.hpp"

namespace clockpage {

// Which TAI reads as some value of another clock.
struct TaiInstants {
  // Ascending, in ns. None: no instant does (it was skipped). Two: an inserted leap second is
  // between them.
  std::vector<std::int64_t> tai_ns;
  // Smeared clocks only. Slower than TAI, one ns in thousands is read twice: at the next ns too.
  bool next_too = false;
};

// All in ns. TAI and UTC count from 1970 in their own scale, as everywhere else here.
class TimeScales {
 public:
  // 1972-01-01 00:00:00 UTC, where UTC begins to be what it is; and where pages end, in 2116.
  static constexpr std::int64_t kFirstTai =
      (LeapTable::kBegin + LeapTable::kFirstOffset) * kNsPerSecond;
  static constexpr std::int64_t kLastTai = (std::int64_t{1} << 62) - 1;

  // `leaps` ascending, a month or more apart, as LeapTable has them.
  explicit TimeScales(std::vector<LeapSecond> leaps, const Smear& smear = kNoSmear);

  // TAI for which there is an answer.
  [[nodiscard]] static bool covers(std::int64_t tai_ns) noexcept {
    return tai_ns >= kFirstTai && tai_ns <= kLastTai;
  }
  // Whatever is given below must be covered, and so is what comes out.

  // With 23:59:60.
  [[nodiscard]] UtcTime utc(std::int64_t tai_ns) const;
  // What Linux's CLOCK_REALTIME, and an unsmeared page, read.
  [[nodiscard]] std::int64_t realtime(std::int64_t tai_ns) const { return utc(tai_ns).posix_ns(); }
  // What a page with this smear reads as REALTIME, to the bit.
  [[nodiscard]] std::int64_t smeared(std::int64_t tai_ns) const;
  // Between the smear's two ends.
  [[nodiscard]] bool in_smear(std::int64_t tai_ns) const;

  // Nothing, and *reason says why: no such second, or not covered.
  [[nodiscard]] std::optional<std::int64_t> tai_from_utc(const UtcTime& utc,
                                                         std::string* reason) const;
  // Nothing: not covered. No instants in it: a deleted second (realtime), or a ns that a smeared
  // clock, faster than TAI, passes over.
  [[nodiscard]] std::optional<TaiInstants> tai_from_realtime(std::int64_t ns,
                                                             std::string* reason) const;
  [[nodiscard]] std::optional<TaiInstants> tai_from_smeared(std::int64_t ns,
                                                            std::string* reason) const;

 private:
  [[nodiscard]] const UtcOffset& offset_at(std::int64_t tai_ns) const;

  std::vector<LeapSecond> leaps_;
  // By the time at which each begins; the first has no beginning.
  std::vector<UtcOffset> unsmeared_, smeared_;
};

}  // namespace clockpage
