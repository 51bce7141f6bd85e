// SPDX-License-Identifier: MIT
#include "smear.hpp"

#include <gtest/gtest.h>

namespace clockpage {
namespace {

constexpr LeapSecond k2016{1483228800, 36, 37};
constexpr LeapSecond kDeletion{1483228800, 36, 35};

std::string reason_for(std::string_view text) {
  std::string reason;
  EXPECT_FALSE(parse_smear(text, &reason)) << text;
  return reason;
}

TEST(LeapSecondTest, ChangesTheOffsetWhereTheExtraSecondBeginsOrTheMissingOneWouldHave) {
  EXPECT_EQ(k2016.tai_ns(), 1483228836 * kNsPerSecond);      // 23:59:60 begins
  EXPECT_EQ(kDeletion.tai_ns(), 1483228835 * kNsPerSecond);  // 23:59:58 ends
}

TEST(UtcOffsetTest, OfAnUnsmearedLeapSecondIsAStep) {
  const UtcOffset offset = leap_offset(k2016, kNoSmear);
  const std::int64_t leap = k2016.tai_ns();
  EXPECT_EQ(offset.at(leap - 1), 36 * kNsPerSecond);
  EXPECT_EQ(offset.at(leap), 37 * kNsPerSecond);
}

TEST(UtcOffsetTest, OfANoonSmearIsExactlyHalfInTheMiddleOfTheLeapSecond) {
  for (const LeapSecond& leap : {k2016, kDeletion}) {
    const UtcOffset offset = leap_offset(leap, kNoonSmear);
    const std::int64_t by = leap.after_s - leap.before_s;
    EXPECT_EQ(offset.end_ns - offset.start_ns, (86400 + by) * kNsPerSecond);
    const std::int64_t middle = offset.start_ns + (offset.end_ns - offset.start_ns) / 2;
    EXPECT_NEAR(static_cast<double>(offset.at(middle) - offset.before_ns),
                static_cast<double>(by * kNsPerSecond / 2), 1);
    // Noon by either clock, before and after.
    EXPECT_EQ(offset.start_ns - offset.before_ns, (leap.utc_s - 43200) * kNsPerSecond);
    EXPECT_EQ(offset.end_ns - offset.after_ns, (leap.utc_s + 43200) * kNsPerSecond);
  }
}

TEST(UtcOffsetTest, OfUtcSlsEndsAtMidnight) {
  for (const LeapSecond& leap : {k2016, kDeletion}) {
    const UtcOffset offset = leap_offset(leap, kUtcSls);
    EXPECT_EQ(offset.start_ns - offset.before_ns, (leap.utc_s - 1000) * kNsPerSecond);
    EXPECT_EQ(offset.end_ns - offset.after_ns, leap.utc_s * kNsPerSecond);
  }
}

TEST(UtcOffsetTest, ReachesItsEndWithoutAStep) {
  for (const LeapSecond& leap : {k2016, kDeletion})
    for (const Smear& smear : {kNoonSmear, kUtcSls, Smear{CLOCKPAGE_SMEAR_LINEAR, 0, 62500},
                               Smear{CLOCKPAGE_SMEAR_LINEAR, -100, 100}}) {
      const UtcOffset offset = leap_offset(leap, smear);
      const std::int64_t last = offset.at(offset.end_ns - 1);
      EXPECT_LE(std::abs(last - offset.after_ns), 1) << smear_name(smear);
      EXPECT_EQ(offset.at(offset.start_ns), offset.before_ns);
    }
}

TEST(ParseSmearTest, ReadsWhatItNames) {
  std::string reason;
  for (const char* text : {"none", "noon", "utc-sls", "linear:0:62500", "linear:-600:1200"}) {
    const auto smear = parse_smear(text, &reason);
    ASSERT_TRUE(smear) << text << ": " << reason;
    EXPECT_EQ(smear_name(*smear), text);
  }
  EXPECT_EQ(parse_smear("linear:-43200:86400", &reason), kNoonSmear);
  EXPECT_EQ(parse_smear("linear:-1000:1000", &reason), kUtcSls);
}

TEST(ParseSmearTest, SaysWhatIsWrong) {
  EXPECT_NE(reason_for("cosine").find("none, noon"), std::string::npos);
  EXPECT_NE(reason_for("linear:5").find("START:LENGTH"), std::string::npos);
  EXPECT_NE(reason_for("linear:-5:1e3").find("whole seconds"), std::string::npos);
  EXPECT_NE(reason_for("linear:-5:99").find("LENGTH"), std::string::npos);
  EXPECT_NE(reason_for("linear:1:1000").find("START"), std::string::npos);
  EXPECT_NE(reason_for("linear:-1001:1000").find("START"), std::string::npos);
}

}  // namespace
}  // namespace clockpage
