// SPDX-License-Identifier: MIT
#include "leap_source.hpp"

#include <gtest/gtest.h>

#include "test_leaps.hpp"

namespace clockpage::producer {
namespace {

constexpr std::int64_t kMonotonic = 100'000'000 * kNsPerSecond;
constexpr std::int64_t k2016 = 1483228800;

class LeapSourceTest : public testing::Test {
 protected:
  // The source's clocks at POSIX time `utc_s` and a fraction; TAI - UTC as it counts it, and as it
  // has come to be by the leap seconds that it took.
  static Observation at(std::int64_t utc_s, std::int64_t ns, std::int64_t tai_offset_s,
                        std::int64_t taken_s = 36) {
    Observation o;
    const std::int64_t monotonic =
        kMonotonic + (utc_s + taken_s - k2016) * kNsPerSecond + ns / 1'000'000 * 1'000'000;
    o.monotonic = make_instant(static_cast<std::uint64_t>(monotonic));
    o.realtime_minus_monotonic_ns = utc_s * kNsPerSecond + ns - monotonic;
    o.tai_minus_realtime_ns = tai_offset_s * kNsPerSecond;
    o.tai_known = tai_offset_s >= 10;
    return o;
  }
  static LeapConfig with_table() {
    LeapConfig config;
    config.table = leap_table();
    return config;
  }
};

TEST_F(LeapSourceTest, BelievesTheKernelFirstThenTheTableThenTheConfiguration) {
  LeapConfig config = with_table();
  config.tai_offset_s = 99;
  LeapSource all(config);
  all.observe(at(k2016 - 100'000, 0, 35));  // contradicts the table, which says 36
  EXPECT_EQ(all.known().tai_offset_ns, 35 * kNsPerSecond);
  EXPECT_EQ(all.known().tai_source, CLOCKPAGE_SEGMENT_TAI_KERNEL);
  EXPECT_EQ(all.known().table_offset_s, 36);
  all.observe(at(k2016 - 100'000, 0, 0));
  EXPECT_EQ(all.known().tai_offset_ns, 36 * kNsPerSecond);
  EXPECT_EQ(all.known().tai_source, CLOCKPAGE_SEGMENT_TAI_TABLE);
  config.table.reset();
  LeapSource told(config);
  told.observe(at(k2016 - 100'000, 0, 0));
  EXPECT_EQ(told.known().tai_offset_ns, 99 * kNsPerSecond);
  EXPECT_EQ(told.known().tai_source, CLOCKPAGE_SEGMENT_TAI_CONFIGURATION);
  config.tai_offset_s.reset();
  LeapSource none(config);
  none.observe(at(k2016 - 100'000, 0, 1));
  EXPECT_FALSE(none.known().tai_known);
  EXPECT_EQ(none.known().tai_offset_ns, kNsPerSecond);  // counts on
}

TEST_F(LeapSourceTest, AConfiguredOffsetFollowsTheLeapSecondsThatTheSourceTakes) {
  LeapConfig config;
  config.tai_offset_s = 36;
  LeapSource source(config);
  source.observe(at(k2016 - 1, 999'000'000, 0));
  source.observe(at(k2016 - 1, 3'000'000, 1));
  EXPECT_EQ(source.known().tai_offset_ns, 37 * kNsPerSecond);
}

TEST_F(LeapSourceTest, FromTheTableTaiIsContinuousOverALeapHoweverLateItIsTaken) {
  LeapSource source(with_table());
  source.observe(at(k2016 - 1, 999'000'000, 0));
  EXPECT_EQ(source.known().tai_offset_ns, 36 * kNsPerSecond);
  source.observe(at(k2016, 3'000'000, 0));  // the tick is not yet here
  EXPECT_EQ(source.known().tai_offset_ns, 36 * kNsPerSecond);
  source.observe(at(k2016 - 1, 3'500'000, 1, 37));
  EXPECT_EQ(source.known().tai_offset_ns, 37 * kNsPerSecond);
  source.observe(at(k2016, 500'000'000, 1, 37));
  EXPECT_EQ(source.known().tai_offset_ns, 37 * kNsPerSecond);
}

TEST_F(LeapSourceTest, AStepByADaemonAtTheLeapIsTheLeap) {
  LeapSource source(with_table());
  source.observe(at(k2016 - 1, 999'000'000, 0));
  source.observe(at(k2016 - 1, 200'000'100, 0, 37));  // it stepped the clock, a little roughly
  EXPECT_EQ(source.known().tai_offset_ns, 37 * kNsPerSecond);
}

TEST_F(LeapSourceTest, ALeapThatIsNotTakenInTimeIsNoLongerWaitedFor) {
  LeapSource source(with_table());
  source.observe(at(k2016 - 1, 999'000'000, 0));
  source.observe(at(k2016 + 2, 1, 0));
  EXPECT_EQ(source.known().tai_offset_ns, 37 * kNsPerSecond);  // by its date
}

TEST_F(LeapSourceTest, AnAdoptedPageDecidesWhatIsSoNearALeap) {
  LeapSource source(with_table());
  const Observation o = at(k2016 - 1, 500'000'000, 0);  // once or twice?
  source.adopt(o.realtime_minus_monotonic_ns + 37 * kNsPerSecond);
  source.observe(o);
  EXPECT_EQ(source.known().tai_offset_ns, 37 * kNsPerSecond);
  LeapSource other(with_table());
  other.adopt(o.realtime_minus_monotonic_ns + 36 * kNsPerSecond);
  other.observe(o);
  EXPECT_EQ(other.known().tai_offset_ns, 36 * kNsPerSecond);
}

TEST_F(LeapSourceTest, TheNextLeapIsTheTablesInTermsOfWhatIsUsed) {
  LeapSource source(with_table());
  source.observe(at(k2016 - 10'000'000, 0, 35));
  EXPECT_EQ(source.known().next, (LeapSecond{k2016, 35, 36}));
  source.observe(at(k2016 + 5, 0, 37));
  EXPECT_EQ(source.known().next, std::nullopt);
  EXPECT_EQ(source.known().previous, (LeapSecond{k2016, 36, 37}));
}

TEST_F(LeapSourceTest, AnInsertionThatIsTakenIsNotToComeAgainInItsOwnSecond) {
  LeapSource source(with_table());
  source.observe(at(k2016, 3'000'000, 36));
  source.observe(at(k2016 - 1, 4'000'000, 37));
  EXPECT_EQ(source.known().next, std::nullopt);
}

TEST_F(LeapSourceTest, WhatTheKernelHasArmedEndsTheCurrentDay) {
  LeapSource source(with_table());
  constexpr std::int64_t some_day = k2016 - 100 * 86'400;
  Observation o = at(some_day + 3'600, 0, 36);
  o.pending_leap = -1;
  source.observe(o);
  EXPECT_EQ(source.known().next, (LeapSecond{some_day + 86'400, 36, 35}));
  o.pending_leap = 0;
  source.observe(o);
  EXPECT_EQ(source.known().next, (LeapSecond{k2016, 36, 37}));
}

// An unsynchronised kernel does not say that it has taken it, and the flag stays.
TEST_F(LeapSourceTest, WhoBeginsInTheRepeatedSecondExpectsNoThirdOne) {
  LeapSource source(with_table());
  source.observe(at(k2016 - 1, 500'000'000, 37, 37));
  EXPECT_EQ(source.known().next, std::nullopt);
}

TEST_F(LeapSourceTest, AClockThatIsSetToNearALeapIsTakenByItsDate) {
  LeapSource source(with_table());
  source.observe(at(k2016 + 5'000'000, 0, 0, 37));
  Observation o = at(k2016 - 1, 500'000'000, 0, 36);
  o.realtime_minus_monotonic_ns -= 77 * kNsPerSecond;
  o.monotonic = add_ns(o.monotonic, 77 * kNsPerSecond);
  source.observe(o);
  EXPECT_EQ(source.known().tai_offset_ns, 36 * kNsPerSecond);
}

TEST_F(LeapSourceTest, AFlagThatStaysAnnouncesNoSecondLeap) {
  LeapSource source(LeapConfig{});
  Observation o = at(k2016 - 60, 0, 36);
  o.pending_leap = 1;
  source.observe(o);
  EXPECT_EQ(source.known().next, (LeapSecond{k2016, 36, 37}));
  for (const std::int64_t later : {-1, 0, 10, 3'600}) {
    o = at(k2016 + later, 4'000'000, 37, 37);
    o.pending_leap = 1;
    source.observe(o);
    EXPECT_EQ(source.known().next, std::nullopt) << later;
  }
  o.pending_leap = 0;
  source.observe(o);
  o.pending_leap = 1;  // armed anew
  source.observe(o);
  EXPECT_EQ(source.known().next, (LeapSecond{k2016 + 86'400, 37, 38}));
}

TEST_F(LeapSourceTest, ALeapThatIsDueIsNotTakenForTheNextDays) {
  LeapSource source(LeapConfig{});
  Observation o = at(k2016, 3'000'000, 36);
  o.pending_leap = 1;
  source.observe(o);
  EXPECT_EQ(source.known().next, std::nullopt);
}

TEST_F(LeapSourceTest, RemembersALeapThatOnlyTheKernelKnewOf) {
  LeapSource source(LeapConfig{});
  source.observe(at(k2016, 3'000'000, 36));
  source.observe(at(k2016 - 1, 4'000'000, 37));
  EXPECT_EQ(source.known().previous, (LeapSecond{k2016, 36, 37}));
  LeapSource set(LeapConfig{});
  set.observe(at(k2016 + 40'000, 0, 36));
  set.observe(at(k2016 + 40'000, 0, 37));  // somebody corrected the offset
  EXPECT_EQ(set.known().previous, std::nullopt);
}

TEST_F(LeapSourceTest, OfASmearedHostOnlyTheTableIsBelievedAndInTheSmearTaiIsUnknown) {
  LeapConfig config = with_table();
  config.host_smear = kNoonSmear;
  LeapSource source(config);
  source.observe(at(k2016 - 43'202, 0, 36));
  EXPECT_TRUE(source.known().tai_known);
  EXPECT_EQ(source.known().tai_source, CLOCKPAGE_SEGMENT_TAI_TABLE);
  for (const std::int64_t into : {-43'201, -43'200, -1, 0, 43'199}) {
    source.observe(at(k2016 + into, 0, 36));
    EXPECT_FALSE(source.known().tai_known) << into;
    EXPECT_EQ(source.known().host_in_smear_of, (LeapSecond{k2016, 36, 37})) << into;
    EXPECT_EQ(source.known().tai_offset_ns, 36 * kNsPerSecond) << into;
  }
  source.observe(at(k2016 + 43'200, 0, 36));
  EXPECT_TRUE(source.known().tai_known);
  EXPECT_EQ(source.known().tai_offset_ns, 37 * kNsPerSecond);
}

}  // namespace
}  // namespace clockpage::producer
