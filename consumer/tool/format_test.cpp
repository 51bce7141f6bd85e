// SPDX-License-Identifier: MIT
#include "format.hpp"

#include <gtest/gtest.h>

namespace clockpage::tool {
namespace {

TEST(ClockTextTest, WritesRealtimeAsAnIsoDate) {
  EXPECT_EQ(clock_text(CLOCKPAGE_REALTIME, 1483228800'000000001), "2017-01-01T00:00:00.000000001Z");
  EXPECT_EQ(clock_text(CLOCKPAGE_REALTIME, 951827696'789000000), "2000-02-29T12:34:56.789000000Z");
}

TEST(ClockTextTest, MarksTaiAsTai) {
  EXPECT_EQ(clock_text(CLOCKPAGE_TAI, 1483228837'000000000), "2017-01-01T00:00:37.000000000 TAI");
}

TEST(ClockTextTest, TakesTimesBeforeTheEpoch) {
  EXPECT_EQ(clock_text(CLOCKPAGE_REALTIME, -1), "1969-12-31T23:59:59.999999999Z");
  EXPECT_EQ(clock_text(CLOCKPAGE_MONOTONIC, -1'500'000'000), "-1.500000000 s");
  EXPECT_EQ(clock_text(CLOCKPAGE_MONOTONIC, INT64_MIN), "-9223372036.854775808 s");
}

TEST(ClockTextTest, KeepsLeadingZerosOfNanoseconds) {
  EXPECT_EQ(clock_text(CLOCKPAGE_BOOTTIME, 12'000'000'034), "12.000000034 s");
}

TEST(ClockNameTest, IsFoundInAnyCaseWithAndWithoutPrefix) {
  EXPECT_EQ(clock_by_name("realtime"), CLOCKPAGE_REALTIME);
  EXPECT_EQ(clock_by_name("CLOCK_MONOTONIC_RAW"), CLOCKPAGE_MONOTONIC_RAW);
  EXPECT_EQ(clock_by_name("Tai"), CLOCKPAGE_TAI);
  EXPECT_EQ(clock_by_name("real"), std::nullopt);
  EXPECT_EQ(clock_by_name(""), std::nullopt);
  for (int clock : kClocks) EXPECT_EQ(clock_by_name(clock_name(clock)), clock);
}

TEST(BoundTest, IsTheLargerSideAndUnknownWithoutOne) {
  clockpage_time time = {};
  time.ns = 100;
  time.earliest_ns = 90;
  time.latest_ns = 111;
  EXPECT_EQ(bound_of(time), 11u);
  time.latest_ns = INT64_MAX;
  EXPECT_EQ(bound_of(time), std::nullopt);
  EXPECT_EQ(bound_text(std::nullopt), "unknown");
}

TEST(DurationTextTest, ChoosesTheUnitBySize) {
  EXPECT_EQ(duration_text(0), "0 ns");
  EXPECT_EQ(duration_text(-999), "-999 ns");
  EXPECT_EQ(duration_text(1'500), "1.500 us");
  EXPECT_EQ(duration_text(-3'214'000), "-3.214 ms");
  EXPECT_EQ(duration_text(16'000'000'000), "16.000 s");
}

TEST(StatusNameTest, NamesNumbersThatItDoesNotKnow) {
  EXPECT_EQ(status_name(CLOCKPAGE_STATUS_FREE_RUNNING), "free-running");
  EXPECT_EQ(status_name(200), "status 200");
  EXPECT_EQ(reason_name(200), "reason_200");
}

}  // namespace
}  // namespace clockpage::tool
