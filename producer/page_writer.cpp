// SPDX-License-Identifier: MIT
#include "page_writer.hpp"

#include <clockpage/barrier.h>

#include <algorithm>

namespace clockpage::producer {

namespace {

std::uint64_t grown(std::uint64_t bound_ns, std::uint64_t growth_frac,
                    std::uint64_t ticks) noexcept {
  const std::uint64_t sum = bound_ns + clockpage_mul_frac(ticks, growth_frac) + 1;
  return sum > bound_ns ? sum : CLOCKPAGE_BOUND_UNKNOWN;
}

}  // namespace

Segment continued(const Segment& segment, std::uint64_t lease_end) noexcept {
  Segment next = segment;
  next.tai.start = next.raw.start = segment.lease_end;
  next.tai.base = segment.tai.at(segment.lease_end);
  next.raw.base = segment.raw.at(segment.lease_end);
  next.lease_end = lease_end;
  const std::uint64_t ticks = (segment.lease_end - segment.tai.start) << segment.tai.shift;
  Terms& terms = next.terms;
  terms.utc_bound_ns = grown(terms.utc_bound_ns, terms.utc_bound_growth_frac, ticks);
  terms.local_bound_ns = grown(terms.local_bound_ns, terms.local_bound_growth_frac, ticks);
  // What is known of TAI stays as it was; what happened at `segment`'s start does not happen again.
  terms.flags &= ~std::uint32_t{CLOCKPAGE_SEGMENT_DISCONTINUITY};
  terms.flags |= CLOCKPAGE_SEGMENT_BRIDGE;
  return next;
}

std::uint64_t growth_per_tick(std::uint64_t growth_per_ns, const Line& line) noexcept {
  // A tick is less than a nanosecond: the product cannot exceed growth_per_ns.
  return clockpage_mul_frac(growth_per_ns, line.period_frac) + 1;
}

Instant Scale::remainder(std::uint64_t host_counter, Period period) const noexcept {
  if (frac_bits == 0) return 0;
  // Cut off: `low` 2^-frac_bits scaled ticks, of period * 2^frac_bits / ratio each.
  const std::uint64_t low = static_cast<std::uint64_t>(clockpage_u128{host_counter} * ratio) &
                            ((std::uint64_t{1} << frac_bits) - 1);
  const auto tick = static_cast<double>(period) * 0x1p-64 / static_cast<double>(ratio);
  return static_cast<Instant>(static_cast<double>(low) * tick * 0x1p64);
}

std::uint8_t delta_shift_for(Period nominal_period) noexcept {
  std::uint8_t shift = 0;
  while (((nominal_period + nominal_period / 64) >> shift) >> 64 != 0) shift++;
  return shift;
}

PageWriter::PageWriter(clockpage_data_page& page) noexcept
    : page_(&page),
      index_(CLOCKPAGE_LOAD(page.index)),
      scale_{page.scale_ratio, page.scale_frac_bits},
      shift_(page.delta_shift),
      smear_{page.smear, page.smear_start_s, page.smear_length_s} {}

bool PageWriter::is_ours() const noexcept { return CLOCKPAGE_LOAD(page_->index) == index_; }

Segment PageWriter::load(std::uint64_t number) const noexcept {
  return load_segment(*page_, shift_, number);
}

Segment load_segment(const clockpage_data_page& page, std::uint32_t shift,
                     std::uint64_t number) noexcept {
  const clockpage_segment& s = page.segment[number % CLOCKPAGE_SEGMENT_COUNT];
  Segment out;
  out.number = CLOCKPAGE_LOAD(s.number);
  out.tai = {CLOCKPAGE_LOAD(s.start),
             make_instant(CLOCKPAGE_LOAD(s.tai_ns), CLOCKPAGE_LOAD(s.tai_frac)),
             CLOCKPAGE_LOAD(s.tai_period_frac), shift};
  out.raw = {out.tai.start, make_instant(CLOCKPAGE_LOAD(s.raw_ns), CLOCKPAGE_LOAD(s.raw_frac)),
             CLOCKPAGE_LOAD(s.raw_period_frac), shift};
  out.lease_end = CLOCKPAGE_LOAD(s.lease_end);
  out.terms = {{CLOCKPAGE_LOAD(s.utc_offset_ns), CLOCKPAGE_LOAD(s.leap_start_ns),
                CLOCKPAGE_LOAD(s.leap_end_ns), CLOCKPAGE_LOAD(s.utc_offset_after_ns),
                CLOCKPAGE_LOAD(s.leap_slope_frac)},
               CLOCKPAGE_LOAD(s.monotonic_offset_ns),
               CLOCKPAGE_LOAD(s.boottime_offset_ns),
               CLOCKPAGE_LOAD(s.utc_bound_ns),
               CLOCKPAGE_LOAD(s.utc_bound_growth_frac),
               CLOCKPAGE_LOAD(s.local_bound_ns),
               CLOCKPAGE_LOAD(s.local_bound_growth_frac),
               CLOCKPAGE_LOAD(s.epoch),
               CLOCKPAGE_LOAD(s.flags),
               CLOCKPAGE_LOAD(s.status),
               CLOCKPAGE_LOAD(s.reason),
               CLOCKPAGE_LOAD(s.leap_indicator)};
  return out;
}

void PageWriter::fill_next(const Segment& segment) noexcept {
  const std::uint64_t number = index_ + 1;
  clockpage_segment& s = page_->segment[number % CLOCKPAGE_SEGMENT_COUNT];
  const Terms& t = segment.terms;
  // P2, with the reader's fence before its re-check: lease.pml [P2 writer]
  clockpage_fence_before_fill();
  CLOCKPAGE_STORE(s.number, number);
  CLOCKPAGE_STORE(s.start, segment.tai.start);
  CLOCKPAGE_STORE(s.lease_end, segment.lease_end);
  CLOCKPAGE_STORE(s.tai_ns, whole_ns(segment.tai.base));
  CLOCKPAGE_STORE(s.tai_frac, frac_of(segment.tai.base));
  CLOCKPAGE_STORE(s.tai_period_frac, segment.tai.period_frac);
  CLOCKPAGE_STORE(s.utc_offset_ns, t.utc.before_ns);
  CLOCKPAGE_STORE(s.leap_start_ns, t.utc.start_ns);
  CLOCKPAGE_STORE(s.monotonic_offset_ns, t.monotonic_offset_ns);
  CLOCKPAGE_STORE(s.boottime_offset_ns, t.boottime_offset_ns);
  CLOCKPAGE_STORE(s.raw_ns, whole_ns(segment.raw.base));
  CLOCKPAGE_STORE(s.raw_frac, frac_of(segment.raw.base));
  CLOCKPAGE_STORE(s.raw_period_frac, segment.raw.period_frac);
  CLOCKPAGE_STORE(s.utc_bound_ns, t.utc_bound_ns);
  CLOCKPAGE_STORE(s.utc_bound_growth_frac, t.utc_bound_growth_frac);
  CLOCKPAGE_STORE(s.local_bound_ns, t.local_bound_ns);
  CLOCKPAGE_STORE(s.local_bound_growth_frac, t.local_bound_growth_frac);
  CLOCKPAGE_STORE(s.epoch, t.epoch);
  CLOCKPAGE_STORE(s.flags, t.flags);
  CLOCKPAGE_STORE(s.status, t.status);
  CLOCKPAGE_STORE(s.reason, t.reason);
  CLOCKPAGE_STORE(s.leap_indicator, t.leap_indicator);
  CLOCKPAGE_STORE(s.leap_end_ns, t.utc.end_ns);
  CLOCKPAGE_STORE(s.utc_offset_after_ns, t.utc.after_ns);
  CLOCKPAGE_STORE(s.leap_slope_frac, t.utc.slope_frac);
}

bool PageWriter::publish() noexcept {
  // P1: lease.pml [P1 writer]
  if (clockpage_publish_index(&page_->index, index_, index_ + 1) == 0) return false;
  index_++;
  return true;
}

bool PageWriter::next_is_complete() const noexcept {
  const Segment next = load(index() + 1);
  return next.number == index() + 1 && next.tai.start == newest().lease_end;
}

void PageWriter::revoke(std::uint64_t reason) noexcept {
  clockpage_store_revoked(&page_->revoked, reason);
}

}  // namespace clockpage::producer
