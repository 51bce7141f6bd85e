// SPDX-License-Identifier: MIT
// A data page with a full ring of segments, read by the reader's tests.
#ifndef CLOCKPAGE_CONSUMER_SEGMENT_READER_FIXTURE_H_
#define CLOCKPAGE_CONSUMER_SEGMENT_READER_FIXTURE_H_

#include <clockpage/reader.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>

#include "reader_test_page.h"

namespace clockpage::testing {

inline constexpr std::uint64_t kHz = 2'000'000'000;  // 2 ticks per ns
inline constexpr std::uint64_t kLength = 8'000'000;  // ticks of a segment: 4 ms
inline constexpr std::uint64_t kFirst = 1'000'000'000'000;
inline constexpr std::uint64_t kIndex = 0x123456789abc;
inline constexpr std::array kClocks = {CLOCKPAGE_REALTIME, CLOCKPAGE_MONOTONIC,
                                       CLOCKPAGE_MONOTONIC_RAW, CLOCKPAGE_BOOTTIME, CLOCKPAGE_TAI};

// A full ring: segment kIndex - b starts at Start(b), slopes differ from segment to segment.
class SegmentReaderTest : public ::testing::Test {
 protected:
  SegmentReaderTest() {
    clockpage_segment s = MakeSegment(kIndex - 15, kFirst, kFirst + kLength, kHz);
    for (unsigned i = 0; i < CLOCKPAGE_SEGMENT_COUNT; i++) {
      test_page_.Slot(s.number) = s;
      s = NextSegment(s, kLength, PeriodFrac(kHz + 1000 * (i + 1), 0));
    }
    test_page_.page.index = kIndex;
    reader_ = test_page_.Reader();
  }
  // Where the segment `back` before the newest starts; -1: where the newest lease ends.
  static std::uint64_t Start(int back) {
    return kFirst + static_cast<std::uint64_t>(15 - back) * kLength;
  }
  clockpage_segment& Newest(unsigned back = 0) { return test_page_.Slot(kIndex - back); }
  int At(int clock, std::uint64_t counter, std::int64_t* ns) const {
    return clockpage_at(&reader_, clock, counter, ns);
  }
  int AtError(std::uint64_t counter, int clock = CLOCKPAGE_TAI) const {
    std::int64_t ns = 0;
    return At(clock, counter, &ns);
  }
  std::int64_t Tai(std::uint64_t counter) const {
    std::int64_t ns = 0;
    EXPECT_EQ(At(CLOCKPAGE_TAI, counter, &ns), CLOCKPAGE_OK);
    return ns;
  }
  clockpage_time Bounds(int clock, std::uint64_t counter) const {
    clockpage_time time = {};
    EXPECT_EQ(clockpage_at_bounds(&reader_, clock, counter, &time), CLOCKPAGE_OK);
    EXPECT_EQ(time.counter, counter);
    return time;
  }
  // The line of one segment, by arithmetic of its own.
  std::int64_t OnLine(unsigned back, std::uint64_t counter) {
    const clockpage_segment& s = Newest(back);
    const auto whole = static_cast<clockpage_u128>(s.tai_ns) << 64 | s.tai_frac;
    const auto moved = static_cast<clockpage_u128>(counter - s.start) * s.tai_period_frac;
    return static_cast<std::int64_t>((whole + moved) >> 64);
  }
  TestPage test_page_;
  clockpage_reader reader_ = {};
};

}  // namespace clockpage::testing

#endif
