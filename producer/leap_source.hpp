// SPDX-License-Identifier: MIT
// What is known of TAI and of leap seconds, by the kernel, a table of leap seconds and the
// configuration, in this order.
#pragma once

#include <cstdint>
#include <optional>

#include "leap_table.hpp"
#include "smear.hpp"
#include "time_source.hpp"

namespace clockpage::producer {

struct LeapConfig {
  std::optional<LeapTable> table;
  std::optional<std::int64_t> tai_offset_s;  // TAI - UTC as it is now, by configuration
  Smear smear = kNoonSmear;                  // of the smeared pages
  // How the source's own REALTIME is smeared. Then the table alone says what TAI is.
  Smear host_smear = kNoSmear;
};

// All of it at one observation. Offsets are TAI - REALTIME, REALTIME as the source has it.
struct UtcKnowledge {
  // Where TAI is not known: a constant, and the leap seconds that the source has taken.
  std::int64_t tai_offset_ns = 0;
  bool tai_known = false;
  std::uint32_t tai_source = 0;        // CLOCKPAGE_SEGMENT_TAI_*; 0: not known
  std::optional<LeapSecond> next;      // the next one to come, in terms of tai_offset_ns
  std::optional<LeapSecond> previous;  // the last one that is past, likewise
  // The one whose smear the source is in, or will be in a second, so that segments planned before
  // its beginning have it. Until its end tai_offset_ns is the one before it.
  std::optional<LeapSecond> host_in_smear_of;
  std::optional<std::int64_t> table_offset_s;  // TAI - UTC by the table
};

// A leap second is waited for, and its traces are believed, for so long before and after it: the
// kernel takes it at the tick after, a daemon that steps the clock itself a little later.
inline constexpr std::int64_t kLeapGraceNs = 2 * kNsPerSecond;
inline constexpr std::int64_t kHostSmearAheadNs = kNsPerSecond;

class LeapSource {
 public:
  explicit LeapSource(const LeapConfig& config) : config_(config) {}

  // What a page to go on with says of TAI - MONOTONIC, ns: near a leap second it decides.
  void adopt(std::int64_t tai_minus_monotonic_ns) noexcept {
    tai_minus_monotonic_ns_ = tai_minus_monotonic_ns;
  }
  void observe(const Observation& observation) noexcept;

  [[nodiscard]] const UtcKnowledge& known() const noexcept { return known_; }
  [[nodiscard]] const LeapConfig& config() const noexcept { return config_; }

 private:
  void choose_offset(const Observation& observation, std::int64_t realtime_ns) noexcept;
  [[nodiscard]] std::int64_t table_offset_ns(const Observation& observation,
                                             std::int64_t realtime_ns) const noexcept;
  void remember_taken(const Observation& observation, std::int64_t utc_s) noexcept;
  [[nodiscard]] std::optional<LeapSecond> next(const Observation& observation,
                                               std::int64_t utc_s) const noexcept;
  [[nodiscard]] std::optional<LeapSecond> previous(std::int64_t utc_s) const noexcept;
  [[nodiscard]] std::optional<LeapSecond> host_smear_at(std::int64_t realtime_ns) const noexcept;

  LeapConfig config_;
  UtcKnowledge known_;
  std::optional<std::int64_t> tai_minus_monotonic_ns_;    // as last found
  std::optional<std::int64_t> source_offset_ns_;          // the source's own, as last seen
  std::optional<std::int64_t> configured_correction_ns_;  // told - the source's own
  std::optional<LeapSecond> taken_;                       // by the source, before our eyes
  bool spent_ = false;  // what the source has announced ever since, it has taken
};

}  // namespace clockpage::producer
