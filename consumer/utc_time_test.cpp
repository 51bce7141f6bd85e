// SPDX-License-Identifier: MIT
#include "utc_time.hpp"

#include <gtest/gtest.h>

namespace clockpage {
namespace {

std::string reason_of(const auto& parse, std::string_view text) {
  std::string reason;
  EXPECT_FALSE(parse(text, &reason)) << text;
  return reason;
}

UtcTime utc(std::string_view text) {
  std::string reason;
  const auto parsed = parse_utc(text, &reason);
  EXPECT_TRUE(parsed) << text << ": " << reason;
  return parsed.value_or(UtcTime());
}

TEST(ParseUtcTest, CountsAsPosixDoes) {
  EXPECT_EQ(utc("1970-01-01T00:00:00Z"), (UtcTime{0, 0, false}));
  EXPECT_EQ(utc("2017-01-01T00:00:00Z").posix_s, 1'483'228'800);
  EXPECT_EQ(utc("2000-02-29T12:00:00Z").posix_s, 951'825'600);  // a leap year, though a century
  EXPECT_EQ(utc("2116-02-20T23:53:38.427387903Z").posix_s, 4'611'686'018);
  EXPECT_EQ(utc("2199-12-31T23:59:59Z").posix_s, 7'258'118'399);
}

TEST(ParseUtcTest, TakesTheLeapSecondAsTheSecondThatIsCountedTwice) {
  EXPECT_EQ(utc("2016-12-31T23:59:60.25Z"), (UtcTime{1'483'228'799, 250'000'000, true}));
  EXPECT_EQ(utc("2016-12-31T23:59:59.25Z"), (UtcTime{1'483'228'799, 250'000'000, false}));
}

TEST(ParseUtcTest, TakesNineDigitsOfAFractionAndNoTenth) {
  EXPECT_EQ(utc("2016-12-31T23:59:59.000000001Z").ns, 1);
  EXPECT_EQ(utc("2016-12-31T23:59:59.1Z").ns, 100'000'000);
  EXPECT_NE(reason_of(parse_utc, "2016-12-31T23:59:59.0000000001Z"), "");
}

TEST(ParseUtcTest, IsStrict) {
  for (const char* text :
       {"", "Z", "2016-12-31", "2016-12-31T23:59:59", "2016-12-31 23:59:59Z",
        "2016-12-31T23:59:59z", " 2016-12-31T23:59:59Z", "2016-12-31T23:59:59Z ",
        "2016-12-31T23:59:59.Z", "2016-12-31T23:59Z", "2016-1-31T23:59:59Z", "+016-12-31T23:59:59Z",
        "2016-12-31T23:59:59+00:00", "02016-12-31T23:59:59Z", "2016-12-31T-1:59:59Z"})
    EXPECT_NE(reason_of(parse_utc, text).find("must be UTC as in"), std::string::npos) << text;
  for (const char* text : {"2015-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2016-13-01T00:00:00Z",
                           "2016-00-01T00:00:00Z", "2016-04-31T00:00:00Z", "2016-01-00T00:00:00Z"})
    EXPECT_NE(reason_of(parse_utc, text).find("no day of the calendar"), std::string::npos) << text;
  for (const char* text : {"2016-12-31T24:00:00Z", "2016-12-31T23:60:00Z", "2016-12-31T23:59:61Z",
                           "2016-12-31T23:58:60Z", "2016-12-31T22:59:60Z"})
    EXPECT_NE(reason_of(parse_utc, text).find("no time of day"), std::string::npos) << text;
  for (const char* text : {"1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z", "0000-01-01T00:00:00Z"})
    EXPECT_NE(reason_of(parse_utc, text).find("years 1970 to 2199"), std::string::npos) << text;
}

TEST(ParseTaiTest, HasNoLeapSecondAndNoZ) {
  std::string reason;
  EXPECT_EQ(parse_tai("2017-01-01T00:00:36.5", &reason), 1'483'228'836'500'000'000);
  EXPECT_EQ(parse_tai("2017-01-01T00:00:36.5 TAI", &reason), 1'483'228'836'500'000'000);
  EXPECT_NE(reason_of(parse_tai, "2017-01-01T00:00:36Z").find("without Z"), std::string::npos);
  EXPECT_EQ(reason_of(parse_tai, "2016-12-31T23:59:60"), "TAI has no 23:59:60");
}

TEST(ParseDateTest, GivesItsMidnight) {
  std::string reason;
  EXPECT_EQ(parse_date("2017-01-01", &reason), 1'483'228'800);
  EXPECT_NE(reason_of(parse_date, "2017-02-29"), "");
  EXPECT_NE(reason_of(parse_date, "2017-01-01T"), "");
}

TEST(ParseSecondsTest, TakesSecondsAndNanoseconds) {
  std::string reason;
  EXPECT_EQ(parse_seconds("0", &reason), 0);
  EXPECT_EQ(parse_seconds("1483228799.25", &reason), 1'483'228'799'250'000'000);
  EXPECT_EQ(parse_seconds("1483228799250000000ns", &reason), 1'483'228'799'250'000'000);
  for (const char* text : {"", "-1", "-0.5", "+1", "1e9", "1.", ".5", "1.0000000001", "1.5ns", "1 ",
                           " 1", "0x10", "9223372036854775808ns", "99999999999", "1ns2"})
    EXPECT_NE(reason_of(parse_seconds, text).find("must be seconds"), std::string::npos) << text;
}

TEST(UtcTextTest, IsReadBackOverAllYears) {
  std::string reason;
  for (std::int64_t day = 0; day < 230 * 365; day++) {
    const UtcTime time{day * 86400 + day % 86400, static_cast<std::int32_t>(day * 11'903), false};
    const std::string text = utc_text(time);
    ASSERT_EQ(parse_utc(text, &reason), time) << text << reason;
    ASSERT_EQ(parse_tai(tai_text(time.posix_ns()), &reason), time.posix_ns());
    ASSERT_EQ(parse_seconds(seconds_text(time.posix_ns()), &reason), time.posix_ns());
    ASSERT_EQ(parse_date(date_text(time.posix_s), &reason), day * 86400);
  }
}

TEST(UtcTextTest, WritesTheLeapSecondAsSuch) {
  EXPECT_EQ(utc_text({1'483'228'799, 5, true}), "2016-12-31T23:59:60.000000005Z");
  EXPECT_EQ(utc_text({1'483'228'799, 5, false}), "2016-12-31T23:59:59.000000005Z");
}

TEST(UtcTextTest, CanBeOfAnyNumber) {
  EXPECT_EQ(tai_text(-1), "1969-12-31T23:59:59.999999999 TAI");
  EXPECT_EQ(tai_text(INT64_MIN), "1677-09-21T00:12:43.145224192 TAI");
  EXPECT_EQ(tai_text(INT64_MAX), "2262-04-11T23:47:16.854775807 TAI");
  EXPECT_EQ(seconds_text(INT64_MIN), "-9223372036.854775808");
}

}  // namespace
}  // namespace clockpage
