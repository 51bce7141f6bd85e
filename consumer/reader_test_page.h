// SPDX-License-Identifier: MIT
// Synthetic data pages in memory, for the reader's tests and benchmarks.
#ifndef CLOCKPAGE_CONSUMER_READER_TEST_PAGE_H_
#define CLOCKPAGE_CONSUMER_READER_TEST_PAGE_H_

#include <clockpage/reader.h>

#include <cstdint>
#include <cstring>

namespace clockpage::testing {

inline constexpr std::int64_t kSecond = 1'000'000'000;

// A page as the writer would have left it. Plain stores: for pages nobody reads yet.
struct alignas(CLOCKPAGE_PAGE_SIZE) TestPage {
  clockpage_data_page page = {};

  explicit TestPage(std::uint8_t delta_shift = 0, std::uint64_t frequency_hz = 2'000'000'000) {
    std::memcpy(page.magic, CLOCKPAGE_DATA_MAGIC, CLOCKPAGE_MAGIC_SIZE);
    page.abi_major = CLOCKPAGE_ABI_MAJOR;
    page.abi_minor = CLOCKPAGE_ABI_MINOR;
    page.size = sizeof page;
#if defined(__x86_64__)
    page.counter_kind = CLOCKPAGE_COUNTER_X86_TSC;
#else
    page.counter_kind = CLOCKPAGE_COUNTER_ARM_CNTVCT;
#endif
    page.delta_shift = delta_shift;
    page.segment_count = CLOCKPAGE_SEGMENT_COUNT;
    page.segment_size = CLOCKPAGE_SEGMENT_SIZE;
    page.segment_offset = CLOCKPAGE_SEGMENT_OFFSET;
    page.counter_frequency_hz = frequency_hz;
    page.scale_ratio = 1;
  }

  clockpage_segment& Slot(std::uint64_t number) {
    return page.segment[number % CLOCKPAGE_SEGMENT_COUNT];
  }

  clockpage_reader Reader() const {
    clockpage_reader reader = {};
    if (clockpage_reader_init(&reader, &page, sizeof page) != CLOCKPAGE_OK) __builtin_trap();
    return reader;
  }
};

// ns per 2^-delta_shift tick as a 64-bit fraction, rounded down. frequency << shift > 1 GHz.
inline std::uint64_t PeriodFrac(std::uint64_t frequency_hz, unsigned delta_shift) {
  const clockpage_u128 ns = static_cast<clockpage_u128>(kSecond) << 64;
  return static_cast<std::uint64_t>(ns /
                                    (static_cast<clockpage_u128>(frequency_hz) << delta_shift));
}

// A segment with plausible values in every field: TAI 2026, 37 s from UTC, no leap in sight.
inline clockpage_segment MakeSegment(std::uint64_t number, std::uint64_t start,
                                     std::uint64_t lease_end, std::uint64_t frequency_hz,
                                     unsigned delta_shift = 0) {
  clockpage_segment s = {};
  s.number = number;
  s.start = start;
  s.lease_end = lease_end;
  s.tai_ns = 1'800'000'000ull * kSecond;
  s.tai_frac = 0x123456789abcdef0;
  s.tai_period_frac = PeriodFrac(frequency_hz, delta_shift);
  s.utc_offset_ns = 37 * kSecond;
  s.leap_start_ns = CLOCKPAGE_NO_LEAP;
  s.leap_end_ns = CLOCKPAGE_NO_LEAP;
  s.utc_offset_after_ns = s.utc_offset_ns;
  s.monotonic_offset_ns = 1'799'000'000 * kSecond + 5;
  s.boottime_offset_ns = 1'798'000'000 * kSecond + 7;
  s.raw_ns = 1'000'000ull * kSecond;
  s.raw_frac = 0xfedcba9876543210;
  s.raw_period_frac = s.tai_period_frac - 12345;
  s.utc_bound_ns = 1000;
  // 2 and 1 ppm, of a tick
  s.utc_bound_growth_frac = clockpage_mul_frac(0x0000218def416bdb, s.tai_period_frac) + 1;
  s.local_bound_ns = 100;
  s.local_bound_growth_frac = clockpage_mul_frac(0x000010c6f7a0b5ed, s.tai_period_frac) + 1;
  s.epoch = 3;
  s.flags = CLOCKPAGE_SEGMENT_TAI_KNOWN;
  s.status = CLOCKPAGE_STATUS_SYNCHRONISED;
  return s;
}

// The segment after `before`: its line goes on to the last bit, with `period_frac`.
inline clockpage_segment NextSegment(const clockpage_segment& before, std::uint64_t length_ticks,
                                     std::uint64_t period_frac, unsigned delta_shift = 0) {
  clockpage_segment s = before;
  const std::uint64_t ticks = (before.lease_end - before.start) << delta_shift;
  const clockpage_instant tai =
      clockpage_line_at(before.tai_ns, before.tai_frac, before.tai_period_frac, ticks);
  const clockpage_instant raw =
      clockpage_line_at(before.raw_ns, before.raw_frac, before.raw_period_frac, ticks);
  s.number = before.number + 1;
  s.start = before.lease_end;
  s.lease_end = s.start + length_ticks;
  s.tai_ns = tai.ns;
  s.tai_frac = tai.frac;
  s.tai_period_frac = period_frac;
  s.raw_ns = raw.ns;
  s.raw_frac = raw.frac;
  return s;
}

}  // namespace clockpage::testing

#endif  // CLOCKPAGE_CONSUMER_READER_TEST_PAGE_H_
