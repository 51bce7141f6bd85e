// SPDX-License-Identifier: MIT
// Decides what the next segment is: the slope that brings the page's line to the source's
// predicted value at the segment's end, steps, offsets, bounds and status.
#pragma once

#include <cstdint>
#include <optional>

#include "leap_source.hpp"
#include "page_writer.hpp"
#include "time_source.hpp"
#include "tracker.hpp"
#include "utc_plan.hpp"

namespace clockpage::producer {

struct SteeringLimits {
  // How far a slope may leave the source's own frequency to catch up.
  std::uint64_t max_slew_ppb = 10'000'000;
  // How fast a bound grows. UTC: as the kernel grows its own maxerror (MAXFREQ, 500 ppm).
  // Local: the kernel may be steered from -500 to +500 ppm behind our back.
  std::uint64_t utc_growth_ppb = 500'000;
  std::uint64_t local_growth_ppb = 1'000'000;
};

// What a bridge must say for the worse: its line goes on, but it may be known by now to be off.
struct Bridged {
  bool good = false;                 // the source vouches for REALTIME as the page has it
  bool unreliable = false;           // nobody knows whether the counter still means anything
  std::uint64_t utc_bound_ns = 0;    // at least this, at the bridge's start
  std::uint64_t local_bound_ns = 0;  // likewise
  std::uint64_t growth_frac = 0;     // and both grow by this much, 2^-64 ns per ns
  std::uint8_t reason = CLOCKPAGE_REASON_NONE;  // why not good
};
Segment worsened(Segment bridge, const Bridged& facts) noexcept;

// A decision, in terms of the host's counter; each page makes its own line from it.
struct Plan {
  std::uint64_t end = 0;         // host counter: the lease's end
  Instant tai_target = 0;        // TAI there
  Instant raw_target = 0;        // MONOTONIC_RAW there
  Period period = 0;             // of TAI up to there, 2^-64 ns per host tick
  Period raw_period = 0;         // of RAW
  std::int64_t raw_step_ns = 0;  // of RAW's base, at start
  std::int64_t tai_step_ns = 0;  // of the base, at start
  // As the unsmeared pages have them; but for the growths, which depend on the page's ticks.
  Terms terms;
  UtcTerms smeared;                     // for the smeared pages
  std::uint64_t utc_growth_frac = 0;    // 2^-64 ns per ns
  std::uint64_t local_growth_frac = 0;  // 2^-64 ns per ns
  // What utc_growth_frac is more by on the unsmeared pages.
  std::uint64_t unsmeared_growth_frac = 0;
  std::uint64_t unsmeared_bound_ns = 0;  // and the bound at start
};

class Steering {
 public:
  Steering(std::uint64_t frequency_hz, std::uint64_t quantum_ticks, const SteeringLimits& limits,
           const LeapConfig& leaps = {});

  // Takes in what the source says; nothing is forgotten when it says nothing.
  void observe(const Observation& observation) noexcept;
  void source_lost() noexcept {
    lost_ = true;
    doubtful_ = false;
  }
  // Until it can be read again the page is unreliable.
  void source_doubtful() noexcept { lost_ = doubtful_ = true; }
  [[nodiscard]] bool ready() const noexcept { return monotonic_.has_phase(); }

  // Remembers from an adopted page that the clock was once synchronised.
  void adopt(const Segment& newest) noexcept;

  // The segment after `newest` (of the unscaled, unsmeared page), up to host counter `end`, where
  // the smeared pages have `smeared`. Only when ready.
  [[nodiscard]] Plan plan(const Segment& newest, const UtcOffset& smeared,
                          std::uint64_t end) const noexcept;
  // Where a segment that begins with `newest`'s lease's end and would end at `end` shall end.
  [[nodiscard]] std::uint64_t good_end(const Segment& newest, std::uint64_t end) const noexcept;
  // What is to be said of the line of `newest` (of an unscaled page) going on past host counter
  // `now`.
  [[nodiscard]] Bridged bridge(const Segment& newest, std::uint64_t now) const noexcept;
  // The same for the producer's last: mean frequency, no correction of phase.
  [[nodiscard]] Plan last_plan(const Segment& newest, const UtcOffset& smeared,
                               std::uint64_t end) const noexcept;
  // The very first segment, from host counter `start`.
  [[nodiscard]] Segment first(std::uint64_t start, std::uint64_t end,
                              std::uint32_t shift) const noexcept;
  // REALTIME of the smeared pages beside that one.
  [[nodiscard]] UtcTerms first_smeared(const Segment& first) const noexcept;

  // Page - source at the last observation, by the line of `newest` (signed ns, rounded down).
  [[nodiscard]] std::int64_t source_error_ns(const Segment& newest) const noexcept;
  [[nodiscard]] const Observation& observation() const noexcept { return last_; }
  [[nodiscard]] const LeapSource& leaps() const noexcept { return leaps_; }
  // Mean period of MONOTONIC, 2^-64 ns per host tick.
  [[nodiscard]] Period period() const noexcept { return monotonic_.period(); }

 private:
  struct Correction {
    Instant target;
    std::uint64_t error_ns;  // the largest |page - source| over the segment
    bool limited;
  };
  [[nodiscard]] Correction correct(const Tracker& tracker, Instant base, std::uint64_t start,
                                   std::uint64_t end) const noexcept;
  // What happens to the clocks at a segment's start, besides the lines' own slopes.
  struct Step {
    std::int64_t tai_ns;     // TAI at the start, by the new line
    std::int64_t by_ns = 0;  // how TAI comes to step there
    UtcChange utc = UtcChange::none;
  };
  [[nodiscard]] Step set_offsets(const Terms& before, std::int64_t tai_ns,
                                 std::int64_t monotonic_step_ns, Terms& terms) const noexcept;
  [[nodiscard]] UtcTerms smeared_terms(const UtcOffset& before, const Step& step,
                                       const UtcOffset& unsmeared) const noexcept;
  void set_growth_to_leap(std::int64_t tai_ns, Plan& plan) const noexcept;
  [[nodiscard]] std::int64_t jump_ns(const Tracker& tracker, Instant base,
                                     const Segment& newest) const noexcept;
  void set_bounds(std::uint64_t start, std::uint64_t error_ns, Terms& terms) const noexcept;
  void set_growth(Plan& plan) const noexcept;
  void set_status(bool limited, Terms& terms) const noexcept;
  [[nodiscard]] bool was_set(const Observation& observation) const noexcept;
  [[nodiscard]] std::uint64_t doubt_ns() const noexcept;
  [[nodiscard]] std::uint64_t doubt_growth_frac() const noexcept;
  [[nodiscard]] std::uint64_t local_growth_frac() const noexcept;
  [[nodiscard]] bool hopeless(std::uint64_t error_ns, std::uint64_t ticks) const noexcept;
  [[nodiscard]] std::uint64_t ns_since(std::uint64_t then, std::uint64_t counter) const noexcept;

  SteeringLimits limits_;
  std::uint64_t quantum_ns_;
  Tracker monotonic_;
  Tracker raw_;
  LeapSource leaps_;
  Observation last_;
  bool lost_ = false;
  bool doubtful_ = false;
  bool was_synchronised_ = false;
  // As last seen: where the first changes, and the second not as for a leap second, somebody has
  // set the clock.
  std::optional<std::int64_t> realtime_minus_monotonic_ns_;
  std::optional<std::int64_t> tai_minus_realtime_ns_;
  std::optional<Segment> adopted_;   // until the first observation
  std::uint64_t good_counter_ = 0;   // when the last good bound held, host counter
  std::uint64_t good_bound_ns_ = 0;  // that bound
  std::uint64_t good_growth_frac_;   // how fast it grows since
};

// The page's own segment for a plan: begins where `newest` ends.
Segment steered(const PageWriter& page, const Segment& newest, const Plan& plan) noexcept;

}  // namespace clockpage::producer
