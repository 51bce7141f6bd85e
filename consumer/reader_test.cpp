// SPDX-License-Identifier: MIT
// The reader over synthetic pages: which segment, which value, which error, which bounds.
#include <clockpage/reader.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>

#include "segment_reader_fixture.h"

namespace {

using clockpage::testing::kClocks;
using clockpage::testing::kHz;
using clockpage::testing::kLength;
using clockpage::testing::kSecond;
using clockpage::testing::SegmentReaderTest;
using clockpage::testing::TestPage;

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
