// SPDX-License-Identifier: MIT
// One data page's ring, from the writer's side.
#pragma once

#include <clockpage/abi.h>

#include <cstdint>

#include "instant.hpp"
#include "smear.hpp"

namespace clockpage::producer {

// What is published beside the lines. The growths are per unit of the page's ticks; `utc` and
// `leap_indicator` are the unsmeared or the smeared pages'; all else is the same on all four.
struct Terms {
  UtcOffset utc;
  std::int64_t monotonic_offset_ns = 0;
  std::int64_t boottime_offset_ns = 0;
  std::uint64_t utc_bound_ns = CLOCKPAGE_BOUND_UNKNOWN;
  std::uint64_t utc_bound_growth_frac = 0;
  std::uint64_t local_bound_ns = CLOCKPAGE_BOUND_UNKNOWN;
  std::uint64_t local_bound_growth_frac = 0;
  std::uint64_t epoch = 0;
  std::uint32_t flags = 0;
  std::uint8_t status = CLOCKPAGE_STATUS_UNKNOWN;
  std::uint8_t reason = CLOCKPAGE_REASON_NONE;
  std::uint8_t leap_indicator = CLOCKPAGE_LEAP_NONE;
};

struct Segment {
  std::uint64_t number = 0;
  Line tai;
  Line raw;
  std::uint64_t lease_end = 0;
  Terms terms;
};

// The segment that goes on from `segment` unchanged: its lines and bounds from its lease's end
// on, leased until `lease_end` (page's counter).
Segment continued(const Segment& segment, std::uint64_t lease_end) noexcept;

// A growth in 2^-64 ns per ns as one in 2^-64 ns per unit of the line's ticks, rounded up.
std::uint64_t growth_per_tick(std::uint64_t growth_per_ns, const Line& line) noexcept;

// How one page's counter comes from the host's, exactly as hardware scales it.
struct Scale {
  std::uint64_t ratio = 1;
  std::uint8_t frac_bits = 0;

  [[nodiscard]] std::uint64_t apply(std::uint64_t host_counter) const noexcept {
    return clockpage_scale_counter(host_counter, ratio, frac_bits);
  }
  // What `apply` cuts off at host_counter, as a time: 2^-64 ns, for a host tick of `period`.
  [[nodiscard]] Instant remainder(std::uint64_t host_counter, Period period) const noexcept;
};

// The smallest delta_shift for which a period, with headroom for slewing, fits in 64 bits.
std::uint8_t delta_shift_for(Period nominal_period) noexcept;

// What a slot of the ring holds at this moment, of a page with this delta_shift. Whether it is
// `number`, and one segment, the caller finds out: its own number, and the index before and after.
Segment load_segment(const clockpage_data_page& page, std::uint32_t shift,
                     std::uint64_t number) noexcept;

// Not thread-safe; there is one writer.
class PageWriter {
 public:
  explicit PageWriter(clockpage_data_page& page) noexcept;

  // The newest segment's number, as this writer knows it.
  [[nodiscard]] std::uint64_t index() const noexcept { return index_; }
  // Whether the page still says so. If not there is a second writer.
  [[nodiscard]] bool is_ours() const noexcept;
  [[nodiscard]] Segment newest() const noexcept { return load(index()); }
  [[nodiscard]] Segment load(std::uint64_t number) const noexcept;
  [[nodiscard]] const Scale& scale() const noexcept { return scale_; }
  [[nodiscard]] std::uint32_t shift() const noexcept { return shift_; }
  // Which smear REALTIME is on.
  [[nodiscard]] const Smear& smear() const noexcept { return smear_; }

  // Fills the slot after the newest; may be called again before publish(). Sets the number. Only
  // while is_ours().
  void fill_next(const Segment& segment) noexcept;
  // Makes it the newest. False: the index was not ours any more, there is a second writer.
  [[nodiscard]] bool publish() noexcept;

  // Whether a dead writer left the next segment complete but unpublished: publish() does it then.
  [[nodiscard]] bool next_is_complete() const noexcept;

  // Withdraws the page: at once, and for good.
  void revoke(std::uint64_t reason) noexcept;
  clockpage_diagnostics& diagnostics() noexcept { return page_->diagnostics; }

 private:
  clockpage_data_page* page_;
  std::uint64_t index_;
  Scale scale_;
  std::uint32_t shift_;
  Smear smear_;
};

}  // namespace clockpage::producer
