// SPDX-License-Identifier: MIT
#include "leap_lag.hpp"

#include <gtest/gtest.h>

namespace clockpage::tool {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kMs = 1'000'000;
constexpr int64_t kLeap = 1'483'228'836 * kSecond;  // TAI

clockpage_segment segment_with(int64_t change_s, int64_t smear_ns = 0) {
  clockpage_segment s = {};
  s.utc_offset_ns = 36 * kSecond;
  s.utc_offset_after_ns = (36 + change_s) * kSecond;
  s.leap_start_ns = kLeap;
  s.leap_end_ns = kLeap + smear_ns;
  return s;
}

// The page, having leapt, so long after the leap.
int64_t page_at(const clockpage_segment& s, int64_t since) {
  return kLeap + since - s.utc_offset_after_ns;
}

TEST(LeapLagTest, ForgivesTheTickThatTheKernelWaitsFor) {
  for (const int64_t change : {1, -1}) {
    const clockpage_segment s = segment_with(change);
    const int64_t step = -change * kSecond;  // page - kernel
    EXPECT_EQ(leap_lag(s, page_at(s, 0), step), 0);
    EXPECT_EQ(leap_lag(s, page_at(s, 19 * kMs), step + 300), 19 * kMs);
    EXPECT_EQ(leap_lag(s, page_at(s, 19 * kMs), step - 300), 19 * kMs);
  }
}

TEST(LeapLagTest, DoesNotForgiveASecondForLonger) {
  for (const int64_t change : {1, -1}) {
    const clockpage_segment s = segment_with(change);
    EXPECT_TRUE(leap_lag(s, page_at(s, kMaxLeapLag - 1), -change * kSecond));
    EXPECT_FALSE(leap_lag(s, page_at(s, kMaxLeapLag), -change * kSecond));
    EXPECT_FALSE(leap_lag(s, page_at(s, 500 * kMs), -change * kSecond));
    // A page that has leapt too early, by any amount.
    EXPECT_FALSE(leap_lag(s, page_at(s, -1), -change * kSecond));
  }
}

TEST(LeapLagTest, DoesNotForgiveAnotherDifference) {
  const clockpage_segment s = segment_with(1);
  for (const int64_t difference : {int64_t{0}, kSecond, -kSecond + 2 * kMs, -kSecond - 2 * kMs,
                                   -2 * kSecond, INT64_MIN, INT64_MAX})
    EXPECT_FALSE(leap_lag(s, page_at(s, kMs), difference)) << difference;
}

TEST(LeapLagTest, IsNotForSmearedPagesNorWithoutALeap) {
  const clockpage_segment smeared = segment_with(1, 86'401 * kSecond);
  EXPECT_FALSE(leap_lag(smeared, page_at(smeared, kMs), -kSecond));
  clockpage_segment none = segment_with(0);
  none.leap_start_ns = none.leap_end_ns = CLOCKPAGE_NO_LEAP;
  EXPECT_FALSE(leap_lag(none, page_at(none, kMs), -kSecond));
}

}  // namespace
}  // namespace clockpage::tool
