// SPDX-License-Identifier: MIT
#include "time_scales.hpp"

#include <gtest/gtest.h>

namespace clockpage {
namespace {

constexpr LeapSecond k2015{1'435'708'800, 35, 36};            // 2015-07-01
constexpr LeapSecond k2016{1'483'228'800, 36, 37};            // 2017-01-01
constexpr LeapSecond kDeletion{1'498'867'200, 37, 36};        // 2017-07-01: imaginary
constexpr std::int64_t kLeap = 1'483'228'836 * kNsPerSecond;  // 2016's 23:59:60 begins, TAI

// Offsets before the first leap are 10 s in a table; here the first says.
TimeScales scales(const Smear& smear = kNoSmear) {
  return TimeScales({k2015, k2016, kDeletion}, smear);
}

std::int64_t tai(const TimeScales& scale, std::string_view text) {
  std::string reason;
  const auto utc = parse_utc(text, &reason);
  EXPECT_TRUE(utc) << reason;
  const auto found = scale.tai_from_utc(*utc, &reason);
  EXPECT_TRUE(found) << text << ": " << reason;
  return found.value_or(0);
}

std::string refused(const TimeScales& scale, std::string_view text) {
  std::string reason;
  EXPECT_FALSE(scale.tai_from_utc(*parse_utc(text, &reason), &reason)) << text;
  return reason;
}

TEST(TimeScalesTest, GiveTheInsertedSecondItsOwnName) {
  const TimeScales s = scales();
  EXPECT_EQ(utc_text(s.utc(kLeap - 1)), "2016-12-31T23:59:59.999999999Z");
  EXPECT_EQ(utc_text(s.utc(kLeap)), "2016-12-31T23:59:60.000000000Z");
  EXPECT_EQ(utc_text(s.utc(kLeap + kNsPerSecond - 1)), "2016-12-31T23:59:60.999999999Z");
  EXPECT_EQ(utc_text(s.utc(kLeap + kNsPerSecond)), "2017-01-01T00:00:00.000000000Z");
  EXPECT_EQ(tai(s, "2016-12-31T23:59:60Z"), kLeap);
  EXPECT_EQ(tai(s, "2016-12-31T23:59:59.5Z"), kLeap - kNsPerSecond / 2);
  EXPECT_EQ(tai(s, "2017-01-01T00:00:00Z"), kLeap + kNsPerSecond);
}

TEST(TimeScalesTest, LeaveTheDeletedSecondOut) {
  const TimeScales s = scales();
  const std::int64_t leap = tai(s, "2017-06-30T23:59:58Z") + kNsPerSecond;
  EXPECT_EQ(leap, kDeletion.tai_ns());
  EXPECT_EQ(utc_text(s.utc(leap - 1)), "2017-06-30T23:59:58.999999999Z");
  EXPECT_EQ(utc_text(s.utc(leap)), "2017-07-01T00:00:00.000000000Z");
  EXPECT_NE(refused(s, "2017-06-30T23:59:59Z").find("deleted"), std::string::npos);
  EXPECT_NE(refused(s, "2017-06-30T23:59:59.999999999Z").find("deleted"), std::string::npos);
  EXPECT_NE(refused(s, "2017-06-30T23:59:60Z").find("no 23:59:60"), std::string::npos);
}

TEST(TimeScalesTest, KnowNo2359_60WithoutALeapSecond) {
  EXPECT_NE(refused(scales(), "2016-12-30T23:59:60Z").find("no 23:59:60"), std::string::npos);
  EXPECT_NE(refused(scales(), "2030-12-31T23:59:60Z").find("no 23:59:60"), std::string::npos);
}

TEST(TimeScalesTest, BeginIn1972AndEndIn2116) {
  const TimeScales s(std::vector<LeapSecond>{});
  EXPECT_EQ(tai(s, "1972-01-01T00:00:00Z"), TimeScales::kFirstTai);
  EXPECT_NE(refused(s, "1971-12-31T23:59:59.999999999Z").find("1972"), std::string::npos);
  EXPECT_EQ(tai(s, "2116-02-20T23:53:28.427387903Z"), TimeScales::kLastTai);
  EXPECT_NE(refused(s, "2116-02-20T23:53:28.427387904Z").find("2116"), std::string::npos);
  std::string reason;
  for (const std::int64_t ns : {std::int64_t{0}, INT64_MAX, INT64_MIN, TimeScales::kLastTai}) {
    reason.clear();
    EXPECT_FALSE(s.tai_from_realtime(ns, &reason)) << ns;
    EXPECT_NE(reason, "");
    EXPECT_FALSE(s.tai_from_smeared(ns, &reason)) << ns;
  }
}

TEST(TimeScalesTest, FindBothInstantsOfThePosixSecondThatIsCountedTwice) {
  const TimeScales s = scales();
  std::string reason;
  const std::int64_t twice = 1'483'228'799 * kNsPerSecond;
  using List = std::vector<std::int64_t>;
  EXPECT_EQ(s.tai_from_realtime(twice - 1, &reason)->tai_ns, List{kLeap - kNsPerSecond - 1});
  EXPECT_EQ(s.tai_from_realtime(twice, &reason)->tai_ns, (List{kLeap - kNsPerSecond, kLeap}));
  EXPECT_EQ(s.tai_from_realtime(twice + kNsPerSecond - 1, &reason)->tai_ns,
            (List{kLeap - 1, kLeap + kNsPerSecond - 1}));
  EXPECT_EQ(s.tai_from_realtime(twice + kNsPerSecond, &reason)->tai_ns, List{kLeap + kNsPerSecond});
  const std::int64_t never = (kDeletion.utc_s - 1) * kNsPerSecond;
  EXPECT_EQ(s.tai_from_realtime(never - 1, &reason)->tai_ns.size(), 1U);
  EXPECT_EQ(s.tai_from_realtime(never, &reason)->tai_ns.size(), 0U);
  EXPECT_EQ(s.tai_from_realtime(never + kNsPerSecond - 1, &reason)->tai_ns.size(), 0U);
  EXPECT_EQ(s.tai_from_realtime(never + kNsPerSecond, &reason)->tai_ns.size(), 1U);
}

TEST(TimeScalesTest, SmearAsTheSegmentsDo) {
  for (const LeapSecond& leap : {k2015, k2016, kDeletion})
    for (const Smear& smear : {kNoonSmear, kUtcSls, Smear{CLOCKPAGE_SMEAR_LINEAR, -50, 100}}) {
      const TimeScales s = scales(smear);
      const UtcOffset offset = leap_offset(leap, smear);
      const std::int64_t length = offset.end_ns - offset.start_ns;
      for (int i = -10; i <= 110; i++) {
        const std::int64_t at = offset.start_ns + length / 100 * i + i % 7;
        ASSERT_EQ(s.smeared(at), at - offset.at(at));
        ASSERT_EQ(s.in_smear(at), at >= offset.start_ns && at < offset.end_ns);
      }
    }
}

// Searched exhaustively around every kind of place: which instants read so?
TEST(TimeScalesTest, InvertTheSmearsIntegerFormulaExactly) {
  std::string reason;
  for (const LeapSecond& leap : {k2016, kDeletion})
    for (const Smear& smear : {kNoonSmear, kUtcSls, Smear{CLOCKPAGE_SMEAR_LINEAR, -50, 100}}) {
      const TimeScales s = scales(smear);
      const UtcOffset offset = leap_offset(leap, smear);
      unsigned twice = 0, never = 0;
      for (const std::int64_t around : {offset.start_ns, leap.tai_ns(), offset.end_ns}) {
        const std::int64_t from = around - 1000, to = around + 1000;
        for (std::int64_t ns = s.smeared(from) + 1; ns < s.smeared(to); ns++) {
          std::vector<std::int64_t> all;
          for (std::int64_t t = from; t <= to; t++)
            if (s.smeared(t) == ns) all.push_back(t);
          const auto found = s.tai_from_smeared(ns, &reason);
          ASSERT_TRUE(found) << reason;
          ASSERT_EQ(found->tai_ns.empty(), all.empty());
          if (all.empty()) never++;
          if (all.size() > 1) twice++;
          if (!all.empty()) {
            ASSERT_EQ(found->tai_ns, std::vector{all[0]});
            ASSERT_EQ(found->next_too, all.size() == 2);
          }
          ASSERT_LE(all.size(), 2U);
        }
      }
      // Else this would have shown nothing.
      if (smear.length_s <= 1000) {
        EXPECT_GT(leap.after_s > leap.before_s ? twice : never, 0U);
      }
    }
}

}  // namespace
}  // namespace clockpage
