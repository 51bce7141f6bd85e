// SPDX-License-Identifier: MIT
// The reader over leap seconds and smears: REALTIME through them, and what a result says of them.
#include <clockpage/reader.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

#include "segment_reader_fixture.h"

namespace {

using clockpage::testing::kClocks;
using clockpage::testing::kFirst;
using clockpage::testing::kHz;
using clockpage::testing::kLength;
using clockpage::testing::kSecond;
using clockpage::testing::SegmentReaderTest;

class LeapTest : public SegmentReaderTest {
 protected:
  // A change of the offset by `by_ns` over `length_ns`, from the middle of the newest lease.
  void SetLeap(std::int64_t by_ns, std::int64_t length_ns) {
    clockpage_segment& s = Newest();
    s.leap_start_ns = OnLine(0, kMiddle);
    s.leap_end_ns = s.leap_start_ns + length_ns;
    s.utc_offset_after_ns = s.utc_offset_ns + by_ns;
    const auto by = static_cast<clockpage_u128>(by_ns < 0 ? -by_ns : by_ns) << 64;
    if (length_ns)
      s.leap_slope_frac = static_cast<std::uint64_t>(by / static_cast<std::uint64_t>(length_ns));
  }
  std::int64_t Offset(std::uint64_t counter) const {
    std::int64_t realtime = 0;
    EXPECT_EQ(At(CLOCKPAGE_REALTIME, counter, &realtime), CLOCKPAGE_OK);
    return Tai(counter) - realtime;
  }
  static constexpr std::uint64_t kMiddle = kFirst + 15 * kLength + kLength / 2;
};

TEST_F(LeapTest, StepsTheOffsetAtALeapSecond) {
  SetLeap(kSecond, 0);
  EXPECT_EQ(Offset(kMiddle - 2), 37 * kSecond);
  EXPECT_EQ(Offset(kMiddle), 38 * kSecond);
  EXPECT_EQ(Offset(Start(-1) + kHz), 38 * kSecond);  // overdue: it happens all the same
}

TEST_F(LeapTest, MovesTheOffsetLinearlyThroughASmear) {
  for (std::int64_t sign : {1, -1}) {
    SetLeap(sign * 100'000, 1'000'000);  // 100 us over 1 ms
    EXPECT_EQ(Offset(kMiddle - 2), 37 * kSecond);
    EXPECT_NEAR(static_cast<double>(Offset(kMiddle + 1'000'000) - 37 * kSecond),
                static_cast<double>(sign * 50'000), 1.5);
    EXPECT_EQ(Offset(kMiddle + 2'000'000 + 100), 37 * kSecond + sign * 100'000);
    EXPECT_EQ(Offset(Start(-1) - 1), 37 * kSecond + sign * 100'000);
  }
}

// What a result says of a leap second, to the ns. The newest segment has a lease of 4 s; its leap
// is in the middle of it.
class LeapIndicationTest : public LeapTest {
 protected:
  LeapIndicationTest() { Newest().lease_end = Start(0) + 4 * kHz; }
  static constexpr std::int64_t kDay = 86'400 * kSecond;
  static constexpr std::uint64_t kLeap = kFirst + 15 * kLength + 2 * kHz;
  void SetLeapAtTwoSeconds(std::int64_t by_ns, std::int64_t length_ns) {
    SetLeap(by_ns, length_ns);
    const std::int64_t length = Newest().leap_end_ns - Newest().leap_start_ns;
    Newest().leap_start_ns = OnLine(0, kLeap);
    Newest().leap_end_ns = Newest().leap_start_ns + length;
  }
  // The same a day later: its last day begins where it was.
  void SetLeapADayAhead(std::int64_t by_ns, std::int64_t length_ns) {
    SetLeapAtTwoSeconds(by_ns, length_ns);
    Newest().leap_start_ns += kDay;
    Newest().leap_end_ns += kDay;
  }
  // At a TAI in the newest lease, to the ns.
  clockpage_time AtTai(std::int64_t tai, int clock) {
    std::uint64_t counter = kLeap + static_cast<std::uint64_t>(2 * (tai - OnLine(0, kLeap)));
    while (OnLine(0, counter) < tai) counter++;
    while (OnLine(0, counter - 1) >= tai) counter--;
    EXPECT_EQ(OnLine(0, counter), tai);
    return Bounds(clock, counter);
  }
  // At `ns` from the leap's beginning.
  clockpage_time From(std::int64_t ns, int clock = CLOCKPAGE_REALTIME) {
    return AtTai(Newest().leap_start_ns + ns, clock);
  }
  int Indicator(std::int64_t ns, int clock = CLOCKPAGE_REALTIME) {
    return From(ns, clock).leap_indicator;
  }
  bool IsAmbiguous(std::int64_t ns, int clock = CLOCKPAGE_REALTIME) {
    return (From(ns, clock).flags & CLOCKPAGE_TIME_AMBIGUOUS) != 0;
  }
};

TEST_F(LeapIndicationTest, TurnsOverAtTheLeapOnAllClocks) {
  Newest().leap_indicator = 77;  // not read where a leap is near
  for (int clock : kClocks) {
    SetLeapAtTwoSeconds(kSecond, 0);
    EXPECT_EQ(Indicator(-kSecond, clock), CLOCKPAGE_LEAP_PENDING_INSERTION);
    EXPECT_EQ(Indicator(-1, clock), CLOCKPAGE_LEAP_PENDING_INSERTION);
    EXPECT_EQ(Indicator(0, clock), CLOCKPAGE_LEAP_JUST_PAST);
    SetLeapAtTwoSeconds(-kSecond, 0);
    EXPECT_EQ(Indicator(-1, clock), CLOCKPAGE_LEAP_PENDING_DELETION);
    EXPECT_EQ(Indicator(0, clock), CLOCKPAGE_LEAP_JUST_PAST);
  }
}

TEST_F(LeapIndicationTest, SaysThatItIsInASmearFromItsFirstToItsLastNanosecond) {
  const std::int64_t length = 1'000'001;
  for (int clock : kClocks)
    for (std::int64_t sign : {1, -1}) {
      SetLeapAtTwoSeconds(sign * 1000, length);
      EXPECT_EQ(Indicator(-1, clock),
                sign > 0 ? CLOCKPAGE_LEAP_PENDING_INSERTION : CLOCKPAGE_LEAP_PENDING_DELETION);
      EXPECT_EQ(Indicator(0, clock), CLOCKPAGE_LEAP_IN_SMEAR);
      EXPECT_EQ(Indicator(length - 1, clock), CLOCKPAGE_LEAP_IN_SMEAR);
      EXPECT_EQ(Indicator(length, clock), CLOCKPAGE_LEAP_JUST_PAST);
    }
}

TEST_F(LeapIndicationTest, SaysThatALeapIsPendingOnItsLastDayAlone) {
  for (const int word : {CLOCKPAGE_LEAP_NONE, CLOCKPAGE_LEAP_JUST_PAST})
    for (int clock : kClocks)
      for (std::int64_t length : {std::int64_t{0}, 100 * kSecond}) {
        Newest().leap_indicator = static_cast<std::uint8_t>(word);
        SetLeapADayAhead(kSecond, length);
        EXPECT_EQ(Indicator(-kDay - kSecond, clock), word);
        EXPECT_EQ(Indicator(-kDay - 1, clock), word);
        EXPECT_EQ(Indicator(-kDay, clock), CLOCKPAGE_LEAP_PENDING_INSERTION);
        EXPECT_EQ(Indicator(-kDay + 1, clock), CLOCKPAGE_LEAP_PENDING_INSERTION);
        SetLeapADayAhead(-kSecond, length);
        EXPECT_EQ(Indicator(-kDay - 1, clock), word);
        EXPECT_EQ(Indicator(-kDay, clock), CLOCKPAGE_LEAP_PENDING_DELETION);
      }
}

TEST_F(LeapIndicationTest, TakesNoLeapThatIsFartherThanSignedNumbersReachForPending) {
  Newest().leap_indicator = 77;
  SetLeapAtTwoSeconds(kSecond, 0);
  Newest().leap_start_ns = Newest().leap_end_ns = INT64_MAX - 1;
  EXPECT_EQ(Bounds(CLOCKPAGE_REALTIME, kLeap).leap_indicator, 77);
  Newest().tai_ns = std::uint64_t{1} << 63;  // INT64_MIN: no writer's
  EXPECT_EQ(Bounds(CLOCKPAGE_REALTIME, Start(0)).leap_indicator, 77);
  Newest().leap_start_ns = Newest().leap_end_ns = INT64_MIN + kDay;
  EXPECT_EQ(Bounds(CLOCKPAGE_REALTIME, Start(0)).leap_indicator, CLOCKPAGE_LEAP_PENDING_INSERTION);
}

TEST_F(LeapIndicationTest, SaysWhatTheSegmentSaysWithoutALeap) {
  for (const int word : {CLOCKPAGE_LEAP_NONE, CLOCKPAGE_LEAP_JUST_PAST}) {
    Newest().leap_indicator = static_cast<std::uint8_t>(word);
    for (int clock : kClocks) {
      EXPECT_EQ(Bounds(clock, kLeap).leap_indicator, word);
      EXPECT_EQ(Bounds(clock, kLeap).flags, CLOCKPAGE_TIME_TAI_KNOWN);
    }
  }
}

TEST_F(LeapIndicationTest, IsRightLongAfterTheWriterHasDied) {
  SetLeapAtTwoSeconds(kSecond, 0);
  Newest().lease_end = Start(0) + kLength;
  const clockpage_time time = From(-1);
  EXPECT_EQ(time.leap_indicator, CLOCKPAGE_LEAP_PENDING_INSERTION);
  EXPECT_EQ(time.flags,
            CLOCKPAGE_TIME_TAI_KNOWN | CLOCKPAGE_TIME_OVERDUE | CLOCKPAGE_TIME_AMBIGUOUS);
  EXPECT_EQ(Indicator(0), CLOCKPAGE_LEAP_JUST_PAST);
  SetLeapADayAhead(kSecond, 0);
  EXPECT_EQ(Indicator(-kDay - 1), CLOCKPAGE_LEAP_NONE);
  EXPECT_EQ(Indicator(-kDay), CLOCKPAGE_LEAP_PENDING_INSERTION);
}

TEST_F(LeapIndicationTest, IsAmbiguousInTheTwoSecondsThatReadTheSame) {
  SetLeapAtTwoSeconds(kSecond, 0);
  EXPECT_FALSE(IsAmbiguous(-kSecond - 1));
  for (std::int64_t ns : {-kSecond, -kSecond + 1, std::int64_t{-1}, std::int64_t{0}, kSecond - 1})
    EXPECT_TRUE(IsAmbiguous(ns)) << ns;
  EXPECT_FALSE(IsAmbiguous(kSecond));
  for (std::int64_t ns : {std::int64_t{0}, kSecond / 3, kSecond - 1})
    EXPECT_EQ(From(ns).ns, From(ns - kSecond).ns) << ns;
  EXPECT_LT(From(-kSecond - 1).ns, From(0).ns);
  EXPECT_GT(From(kSecond).ns, From(-1).ns);
}

TEST_F(LeapIndicationTest, IsAmbiguousOnRealtimeAlone) {
  SetLeapAtTwoSeconds(kSecond, 0);
  for (int clock : kClocks)
    for (std::int64_t ns : {-kSecond, std::int64_t{-1}, std::int64_t{0}, kSecond - 1})
      EXPECT_EQ(IsAmbiguous(ns, clock), clock == CLOCKPAGE_REALTIME) << clock;
}

TEST_F(LeapIndicationTest, IsNeverAmbiguousAtADeletionOrInASmear) {
  for (const auto& [by, length] : std::initializer_list<std::pair<std::int64_t, std::int64_t>>{
           {-kSecond, 0}, {kSecond / 100, kSecond}, {-kSecond / 100, kSecond}, {0, 0}}) {
    SetLeapAtTwoSeconds(by, length);
    for (std::int64_t ns = -kSecond - 1; ns <= kSecond + 1; ns += kSecond / 64)
      EXPECT_FALSE(IsAmbiguous(ns)) << by << " over " << length << " at " << ns;
    for (std::int64_t ns : {std::int64_t{-1}, std::int64_t{0}, length - 1, length})
      EXPECT_FALSE(IsAmbiguous(ns)) << by << " over " << length << " at " << ns;
  }
}

TEST_F(LeapIndicationTest, SaysThatTheHostIsInASmear) {
  Newest().flags |= CLOCKPAGE_SEGMENT_HOST_IN_SMEAR;
  for (int clock : kClocks)
    EXPECT_EQ(Bounds(clock, Start(0)).flags,
              CLOCKPAGE_TIME_TAI_KNOWN | CLOCKPAGE_TIME_HOST_IN_SMEAR);
}

TEST_F(LeapTest, ConvertsManyThroughALeapBitForBitAsSingly) {
  for (const auto& [by, length] : std::initializer_list<std::pair<std::int64_t, std::int64_t>>{
           {kSecond, 0}, {-kSecond, 0}, {100'000, 1'000'000}, {-100'000, 1'000'000}}) {
    SetLeap(by, length);
    std::vector<std::uint64_t> counters;
    for (std::uint64_t c = Start(0); c < Start(-1); c += 997) counters.push_back(c);
    std::vector<std::int64_t> many(counters.size());
    std::size_t converted = 0;
    ASSERT_EQ(clockpage_at_many(&reader_, CLOCKPAGE_REALTIME, counters.data(), counters.size(),
                                many.data(), &converted),
              CLOCKPAGE_OK);
    ASSERT_EQ(converted, counters.size());
    for (std::size_t i = 0; i < counters.size(); i++) {
      std::int64_t singly = 0;
      ASSERT_EQ(At(CLOCKPAGE_REALTIME, counters[i], &singly), CLOCKPAGE_OK);
      ASSERT_EQ(many[i], singly) << counters[i];
    }
  }
}

TEST_F(LeapTest, LeavesOtherClocksAlone) {
  std::int64_t plain = 0, leaping = 0;
  ASSERT_EQ(At(CLOCKPAGE_MONOTONIC, Start(-1) - 1, &plain), 0);
  SetLeap(kSecond, 0);
  ASSERT_EQ(At(CLOCKPAGE_MONOTONIC, Start(-1) - 1, &leaping), 0);
  EXPECT_EQ(plain, leaping);
}

}  // namespace
