// SPDX-License-Identifier: MIT
// The reader over synthetic pages: which segment, which value, which error, which bounds.
#include <clockpage/reader.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <utility>
#include <vector>

#include "reader_test_page.h"

namespace {

using clockpage::testing::kSecond;
using clockpage::testing::MakeSegment;
using clockpage::testing::NextSegment;
using clockpage::testing::PeriodFrac;
using clockpage::testing::TestPage;

constexpr std::uint64_t kHz = 2'000'000'000;  // 2 ticks per ns
constexpr std::uint64_t kLength = 8'000'000;  // ticks of a segment: 4 ms
constexpr std::uint64_t kFirst = 1'000'000'000'000;
constexpr std::uint64_t kIndex = 0x123456789abc;
constexpr std::array kClocks = {CLOCKPAGE_REALTIME, CLOCKPAGE_MONOTONIC, CLOCKPAGE_MONOTONIC_RAW,
                                CLOCKPAGE_BOOTTIME, CLOCKPAGE_TAI};

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

TEST_F(SegmentReaderTest, ReadsTheNewestSegmentWithinItsLease) {
  for (std::uint64_t c : {Start(0), Start(0) + 1, Start(0) + kLength / 2, Start(-1) - 1})
    EXPECT_EQ(Tai(c), OnLine(0, c));
}

TEST_F(SegmentReaderTest, ReadsTheSegmentBeforeWhileTheNewestHasNotBegun) {
  for (std::uint64_t c : {Start(1), Start(1) + 12345, Start(0) - 1})
    EXPECT_EQ(Tai(c), OnLine(1, c));
}

TEST_F(SegmentReaderTest, WalksBackFourteenSegmentsAndNoFurther) {
  for (int back = 2; back <= CLOCKPAGE_HISTORY; back++)
    for (std::uint64_t c : {Start(back), Start(back - 1) - 1})
      EXPECT_EQ(Tai(c), OnLine(static_cast<unsigned>(back), c)) << back;
  EXPECT_EQ(AtError(Start(14) - 1), CLOCKPAGE_E_OUT_OF_RANGE);
  EXPECT_EQ(AtError(Start(15)), CLOCKPAGE_E_OUT_OF_RANGE);
}

TEST_F(SegmentReaderTest, DoesNotReadASlotThatHoldsAnotherNumber) {
  Newest(3).number -= CLOCKPAGE_SEGMENT_COUNT;
  EXPECT_EQ(AtError(Start(2)), CLOCKPAGE_OK);
  EXPECT_EQ(AtError(Start(3)), CLOCKPAGE_E_OUT_OF_RANGE);
}

TEST_F(SegmentReaderTest, FindsNothingInASlotOfLengthZeroBeforeTheFirstSegment) {
  Newest(1).start = Newest(1).lease_end = Start(0);
  Newest(2).number = 0;
  EXPECT_EQ(AtError(Start(0)), CLOCKPAGE_OK);
  EXPECT_EQ(AtError(Start(0) - 1), CLOCKPAGE_E_OUT_OF_RANGE);
}

TEST_F(SegmentReaderTest, StepsOverTheStartOfADiscontinuousNewestSegment) {
  Newest(0).flags |= CLOCKPAGE_SEGMENT_REALTIME_STEP;
  EXPECT_EQ(Tai(Start(0) - 1), OnLine(1, Start(0) - 1));
  EXPECT_EQ(AtError(Start(2)), CLOCKPAGE_OK);  // that start may lie in the future still
}

TEST_F(SegmentReaderTest, NeverCrossesADiscontinuityFurtherBack) {
  for (std::uint32_t flag : {CLOCKPAGE_SEGMENT_REALTIME_STEP, CLOCKPAGE_SEGMENT_TAI_STEP,
                             CLOCKPAGE_SEGMENT_MONOTONIC_STEP}) {
    Newest(4).flags = flag | CLOCKPAGE_SEGMENT_TAI_KNOWN;
    EXPECT_EQ(AtError(Start(4)), CLOCKPAGE_OK);
    EXPECT_EQ(AtError(Start(4) - 1), CLOCKPAGE_E_DISCONTINUITY);
    EXPECT_EQ(AtError(Start(9)), CLOCKPAGE_E_DISCONTINUITY);
  }
}

TEST_F(SegmentReaderTest, IsContinuousToTheNanosecondAtEveryBoundary) {
  for (int back = 0; back < CLOCKPAGE_HISTORY; back++) {
    const std::int64_t step = Tai(Start(back)) - Tai(Start(back) - 1);
    EXPECT_GE(step, 0);
    EXPECT_LE(step, 1);
  }
}

TEST_F(SegmentReaderTest, ReportsOverdueOnceTheLeaseHasEnded) {
  const clockpage_time leased = Bounds(CLOCKPAGE_REALTIME, Start(-1) - 1);
  const clockpage_time overdue = Bounds(CLOCKPAGE_REALTIME, Start(-1));
  const clockpage_time later = Bounds(CLOCKPAGE_REALTIME, Start(-1) + 3600 * kHz);
  EXPECT_EQ(leased.flags, CLOCKPAGE_TIME_TAI_KNOWN);
  EXPECT_EQ(leased.status, CLOCKPAGE_STATUS_SYNCHRONISED);
  EXPECT_EQ(overdue.flags, CLOCKPAGE_TIME_TAI_KNOWN | CLOCKPAGE_TIME_OVERDUE);
  EXPECT_EQ(overdue.status, CLOCKPAGE_STATUS_FREE_RUNNING);
  EXPECT_EQ(later.ns, OnLine(0, later.counter) - 37 * kSecond);
  // 2 ppm of an hour
  EXPECT_GE(later.latest_ns - later.ns, leased.latest_ns - leased.ns + 7'199'000);
}

TEST_F(SegmentReaderTest, IsFreeRunningWhenOverdueUnlessUnreliable) {
  for (const std::uint8_t status : std::array<std::uint8_t, 3>{0, 1, 3}) {
    Newest().status = status;
    EXPECT_EQ(Bounds(CLOCKPAGE_TAI, Start(0)).status, status);
    EXPECT_EQ(Bounds(CLOCKPAGE_TAI, Start(-1)).status, CLOCKPAGE_STATUS_FREE_RUNNING);
  }
  for (const std::uint8_t status : std::array<std::uint8_t, 2>{4, 200}) {
    Newest().status = status;
    EXPECT_EQ(Bounds(CLOCKPAGE_TAI, Start(-1)).status, CLOCKPAGE_STATUS_UNRELIABLE);
  }
}

TEST_F(SegmentReaderTest, TakesAnUnknownStatusForUnreliable) {
  Newest().status = 5;
  EXPECT_EQ(Bounds(CLOCKPAGE_TAI, Start(0)).status, CLOCKPAGE_STATUS_UNRELIABLE);
}

TEST_F(SegmentReaderTest, GivesNoTimeFromARevokedPage) {
  test_page_.page.revoked = CLOCKPAGE_REVOKED_COUNTER;
  std::int64_t ns = 42, scratch = 0;
  clockpage_time time;
  std::size_t converted = 7;
  const std::uint64_t c = Start(1);
  EXPECT_EQ(At(CLOCKPAGE_TAI, c, &ns), CLOCKPAGE_E_REVOKED);
  EXPECT_EQ(clockpage_now(&reader_, CLOCKPAGE_TAI, &ns), CLOCKPAGE_E_REVOKED);
  EXPECT_EQ(clockpage_at_bounds(&reader_, CLOCKPAGE_TAI, c, &time), CLOCKPAGE_E_REVOKED);
  EXPECT_EQ(clockpage_at_many(&reader_, CLOCKPAGE_TAI, &c, 1, &scratch, &converted),
            CLOCKPAGE_E_REVOKED);
  EXPECT_EQ(converted, 0u);
  EXPECT_EQ(AtError(Start(15)), CLOCKPAGE_E_REVOKED);  // before any other error
  EXPECT_EQ(ns, 42);
}

TEST_F(SegmentReaderTest, RefusesTaiThatThePageDoesNotKnow) {
  Newest().flags = 0;
  std::int64_t ns = 42;
  EXPECT_EQ(At(CLOCKPAGE_TAI, Start(0), &ns), CLOCKPAGE_E_TAI_UNKNOWN);
  EXPECT_EQ(ns, 42);
  EXPECT_EQ(At(CLOCKPAGE_REALTIME, Start(0), &ns), CLOCKPAGE_OK);
  EXPECT_EQ(Bounds(CLOCKPAGE_REALTIME, Start(0)).flags, 0u);
}

TEST_F(SegmentReaderTest, RefusesAClockThatIsNotOneOfTheFive) {
  for (int clock : {-1, 2, 3, 5, 6, 8, 9, 10, 12, 1000})
    EXPECT_EQ(AtError(Start(0), clock), CLOCKPAGE_E_CLOCK);
}

TEST_F(SegmentReaderTest, DerivesTheFiveClocksByTheirEquations) {
  const std::uint64_t c = Start(0) + 777;
  const clockpage_segment& s = Newest();
  std::array<std::int64_t, 5> ns = {};
  for (std::size_t i = 0; i < kClocks.size(); i++)
    ASSERT_EQ(At(kClocks[i], c, &ns[i]), CLOCKPAGE_OK);
  const std::int64_t tai = OnLine(0, c);
  EXPECT_EQ(ns[0], tai - s.utc_offset_ns);
  EXPECT_EQ(ns[1], tai - s.monotonic_offset_ns);
  EXPECT_EQ(ns[3], tai - s.boottime_offset_ns);
  EXPECT_EQ(ns[4], tai);
  const auto raw = (static_cast<clockpage_u128>(s.raw_ns) << 64 | s.raw_frac) +
                   static_cast<clockpage_u128>(777) * s.raw_period_frac;
  EXPECT_EQ(ns[2], static_cast<std::int64_t>(raw >> 64));
}

TEST_F(SegmentReaderTest, GivesEveryEntryPointTheSameValue) {
  const std::uint64_t far = std::uint64_t{1} << 60;
  Newest(1).lease_end = far;  // now is on the line before the newest
  Newest(1).start = 0;
  Newest(0).start = far;
  for (int clock : kClocks) {
    std::int64_t before = 0, now = 0, relaxed = 0, after = 0;
    clockpage_time time = {};
    timespec ts = {};
    ASSERT_EQ(clockpage_at(&reader_, clock, clockpage_counter_ordered(), &before), 0);
    ASSERT_EQ(clockpage_now(&reader_, clock, &now), 0);
    ASSERT_EQ(clockpage_now_bounds(&reader_, clock, &time), 0);
    ASSERT_EQ(clockpage_gettime(&reader_, clock, &ts), 0);
    ASSERT_EQ(clockpage_at(&reader_, clock, clockpage_counter_ordered(), &after), 0);
    ASSERT_EQ(clockpage_now_relaxed(&reader_, clock, &relaxed), 0);
    EXPECT_LE(before, now);
    EXPECT_LE(now, time.ns);
    EXPECT_LE(time.ns, ts.tv_sec * kSecond + ts.tv_nsec);
    EXPECT_LE(ts.tv_sec * kSecond + ts.tv_nsec, after);
    EXPECT_LT(relaxed - before, kSecond);
  }
}

TEST_F(SegmentReaderTest, SplitsATimeBeforeTheEpochIntoNonNegativeNanoseconds) {
  Newest(1).lease_end = Newest(0).start = std::uint64_t{1} << 60;
  Newest(1).start = 0;
  Newest(1).tai_period_frac = 0;
  Newest(1).monotonic_offset_ns = static_cast<std::int64_t>(Newest(1).tai_ns) + 1;
  timespec ts = {};
  ASSERT_EQ(clockpage_gettime(&reader_, CLOCKPAGE_MONOTONIC, &ts), CLOCKPAGE_OK);
  EXPECT_EQ(ts.tv_sec, -1);
  EXPECT_EQ(ts.tv_nsec, 999'999'999);
}

TEST_F(SegmentReaderTest, GivesUpOnALeasedValueAtItsTimeLimit) {
  clockpage_time time;
  EXPECT_EQ(clockpage_now_leased(&reader_, CLOCKPAGE_TAI, 1000, &time), CLOCKPAGE_E_OVERDUE);
}

// ---- leap seconds and smears

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
  static constexpr std::uint64_t kLeap = kFirst + 15 * kLength + 2 * kHz;
  void SetLeapAtTwoSeconds(std::int64_t by_ns, std::int64_t length_ns) {
    SetLeap(by_ns, length_ns);
    const std::int64_t length = Newest().leap_end_ns - Newest().leap_start_ns;
    Newest().leap_start_ns = OnLine(0, kLeap);
    Newest().leap_end_ns = Newest().leap_start_ns + length;
  }
  // At `ns` from the leap's beginning, to the ns.
  clockpage_time From(std::int64_t ns, int clock = CLOCKPAGE_REALTIME) {
    std::uint64_t counter = kLeap + static_cast<std::uint64_t>(2 * ns);
    while (OnLine(0, counter) < Newest().leap_start_ns + ns) counter++;
    while (OnLine(0, counter - 1) >= Newest().leap_start_ns + ns) counter--;
    EXPECT_EQ(OnLine(0, counter), Newest().leap_start_ns + ns);
    return Bounds(clock, counter);
  }
  int Indicator(std::int64_t ns, int clock = CLOCKPAGE_REALTIME) {
    return From(ns, clock).leap_indicator;
  }
  bool IsAmbiguous(std::int64_t ns, int clock = CLOCKPAGE_REALTIME) {
    return (From(ns, clock).flags & CLOCKPAGE_TIME_AMBIGUOUS) != 0;
  }
};

TEST_F(LeapIndicationTest, TurnsOverAtTheLeapOnAllClocks) {
  Newest().leap_indicator = 77;  // not read where a leap is in sight
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

// ---- bounds

TEST_F(SegmentReaderTest, RoundsBoundsOutwardsAndNeverToZero) {
  Newest().utc_bound_ns = Newest().utc_bound_growth_frac = 0;
  Newest().local_bound_ns = Newest().local_bound_growth_frac = 0;
  for (int clock : kClocks) {
    const clockpage_time time = Bounds(clock, Start(0));
    EXPECT_LT(time.earliest_ns, time.ns);
    EXPECT_GT(time.latest_ns, time.ns);
  }
}

TEST_F(SegmentReaderTest, GrowsBoundsByNoLessThanTheirRate) {
  for (std::uint64_t delta = 0; delta < kLength; delta += 99'991) {
    const clockpage_time time = Bounds(CLOCKPAGE_REALTIME, Start(0) + delta);
    const double exact = 1000 + static_cast<double>(delta) / 2 * 2e-6;    // 2 GHz
    EXPECT_GE(static_cast<double>(time.latest_ns - time.ns), exact + 1);  // ns is rounded down
    EXPECT_LE(static_cast<double>(time.latest_ns - time.ns), exact + 3);
    EXPECT_EQ(time.latest_ns - time.ns, time.ns - time.earliest_ns);
  }
}

TEST_F(SegmentReaderTest, UsesTheUtcBoundForUtcAndTaiAndTheLocalOneForTheRest) {
  for (int clock : kClocks) {
    const bool utc = clock == CLOCKPAGE_REALTIME || clock == CLOCKPAGE_TAI;
    const clockpage_time time = Bounds(clock, Start(0));
    EXPECT_NEAR(static_cast<double>(time.latest_ns - time.ns), utc ? 1002 : 102, 1);
  }
}

TEST_F(SegmentReaderTest, GivesNoBoundWhereNoneIsKnown) {
  Newest().utc_bound_ns = CLOCKPAGE_BOUND_UNKNOWN;
  for (std::uint64_t growth : {std::uint64_t{0}, std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
    Newest().utc_bound_growth_frac = growth;
    for (std::uint64_t c : {Start(0), Start(-1) - 1, Start(-1) + 100 * kHz}) {
      EXPECT_EQ(Bounds(CLOCKPAGE_REALTIME, c).earliest_ns, INT64_MIN);
      EXPECT_EQ(Bounds(CLOCKPAGE_REALTIME, c).latest_ns, INT64_MAX);
      EXPECT_NE(Bounds(CLOCKPAGE_MONOTONIC, c).latest_ns, INT64_MAX);
    }
  }
}

TEST_F(SegmentReaderTest, SaturatesWhereABoundLeavesTheRange) {
  Newest().utc_bound_ns = INT64_MAX - 1'000'000'000;
  const clockpage_time time = Bounds(CLOCKPAGE_REALTIME, Start(0));
  EXPECT_EQ(time.latest_ns, INT64_MAX);
  EXPECT_LT(time.earliest_ns, time.ns);
  EXPECT_GT(time.earliest_ns, INT64_MIN);
}

TEST_F(SegmentReaderTest, CapsTheTimeOfADeadWriterBelowOverflow) {
  Newest().tai_ns = CLOCKPAGE_MAX_BASE_NS - 1;
  Newest().tai_period_frac = ~std::uint64_t{0};
  const std::uint64_t most = CLOCKPAGE_MAX_TICKS;
  EXPECT_EQ(Tai(Start(0) + most + 5), Tai(Start(0) + most));
  EXPECT_GT(Tai(Start(0) + most), Tai(Start(0) + most - 1));
  EXPECT_GT(Tai(Start(0) + most), 0);
}

// ---- the header

struct HeaderCase {
  const char* name;
  int error;
  void (*damage)(clockpage_data_page&);
};

TEST(ReaderInitTest, RefusesEveryImpossibleHeader) {
  const HeaderCase cases[] = {
      {"magic", CLOCKPAGE_E_MAGIC, [](clockpage_data_page& p) { p.magic[7] ^= 1; }},
      {"abi_major", CLOCKPAGE_E_VERSION, [](clockpage_data_page& p) { p.abi_major++; }},
      {"size", CLOCKPAGE_E_LAYOUT, [](clockpage_data_page& p) { p.size--; }},
      {"segment_count", CLOCKPAGE_E_LAYOUT, [](clockpage_data_page& p) { p.segment_count = 32; }},
      {"segment_size", CLOCKPAGE_E_LAYOUT, [](clockpage_data_page& p) { p.segment_size = 256; }},
      {"segment_offset", CLOCKPAGE_E_LAYOUT, [](clockpage_data_page& p) { p.segment_offset = 0; }},
      {"delta_shift", CLOCKPAGE_E_LAYOUT, [](clockpage_data_page& p) { p.delta_shift = 33; }},
      {"scale_ratio", CLOCKPAGE_E_LAYOUT, [](clockpage_data_page& p) { p.scale_ratio = 0; }},
      {"frac_bits", CLOCKPAGE_E_LAYOUT, [](clockpage_data_page& p) { p.scale_frac_bits = 64; }},
      {"frequency", CLOCKPAGE_E_LAYOUT, [](clockpage_data_page& p) { p.counter_frequency_hz = 0; }},
      {"counter_kind", CLOCKPAGE_E_COUNTER, [](clockpage_data_page& p) { p.counter_kind ^= 1; }},
  };
  for (const HeaderCase& c : cases) {
    TestPage page;
    clockpage_reader reader;
    ASSERT_EQ(clockpage_reader_init(&reader, &page.page, sizeof page.page), CLOCKPAGE_OK);
    c.damage(page.page);
    EXPECT_EQ(clockpage_reader_init(&reader, &page.page, sizeof page.page), c.error) << c.name;
  }
}

TEST(ReaderInitTest, AcceptsALaterMinorVersionAndUnknownFeatures) {
  TestPage page;
  page.page.abi_minor = 99;
  page.page.features = 1;
  clockpage_reader reader;
  EXPECT_EQ(clockpage_reader_init(&reader, &page.page, sizeof page.page), CLOCKPAGE_OK);
}

TEST(ReaderInitTest, RefusesBadArguments) {
  TestPage page;
  clockpage_reader reader;
  const auto* bytes = reinterpret_cast<const unsigned char*>(&page.page);
  EXPECT_EQ(clockpage_reader_init(nullptr, &page, sizeof page), CLOCKPAGE_E_ARGUMENT);
  EXPECT_EQ(clockpage_reader_init(&reader, nullptr, sizeof page), CLOCKPAGE_E_ARGUMENT);
  EXPECT_EQ(clockpage_reader_init(&reader, bytes + 4, sizeof page), CLOCKPAGE_E_ARGUMENT);
  EXPECT_EQ(clockpage_reader_init(&reader, &page, sizeof page.page - 1), CLOCKPAGE_E_SIZE);
  EXPECT_EQ(clockpage_reader_init(&reader, &page, 0), CLOCKPAGE_E_SIZE);
}

}  // namespace
