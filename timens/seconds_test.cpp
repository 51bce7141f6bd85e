// SPDX-License-Identifier: MIT
#include "seconds.hpp"

#include <gtest/gtest.h>

#include <utility>

#include "namespace.hpp"

namespace clockpage::timens {
namespace {

TEST(SecondsTest, AreExactToTheNanosecond) {
  const std::pair<const char*, Seconds> cases[] = {
      {"0", {0, 0}},
      {"-0", {0, 0}},
      {"5", {5, 0}},
      {"+5", {5, 0}},
      {"-5", {-5, 0}},
      {"1.5", {1, 500'000'000}},
      {"-1.5", {-2, 500'000'000}},
      {"-0.000000001", {-1, 999'999'999}},
      {".000000001", {0, 1}},
      {"3.", {3, 0}},
      {"000000000000000000000000007.100", {7, 100'000'000}},
      {"0.123456789", {0, 123'456'789}},
      // What the kernel refuses is the kernel's to refuse.
      {"9223372036854775807.999999999", {INT64_MAX, 999'999'999}},
      {"-9223372036854775807.999999999", {INT64_MIN, 1}},
  };
  for (const auto& [text, seconds] : cases) {
    const auto parsed = parse_seconds(text);
    ASSERT_EQ(parsed.index(), 0u) << text;
    EXPECT_EQ(std::get<Seconds>(parsed), seconds) << text;
  }
}

TEST(SecondsTest, EverythingElseIsRefusedAndNamed) {
  for (const char* text :
       {"", "-", "+", ".", "-.", "1e3", "0x10", "1,5", "--1", "1.0000000000", " 1", "1 ", "nan",
        "1.-5", "1.2.3", "9223372036854775808", "99999999999999999999"}) {
    const auto parsed = parse_seconds(text);
    ASSERT_EQ(parsed.index(), 1u) << text;
    EXPECT_NE(std::get<std::string>(parsed).find('"' + std::string(text) + '"'), std::string::npos);
  }
}

TEST(SecondsTest, AreWrittenWithTheirSign) {
  EXPECT_EQ(seconds_text(0), "0.000000000");
  EXPECT_EQ(seconds_text(1), "0.000000001");
  EXPECT_EQ(seconds_text(-1), "-0.000000001");
  EXPECT_EQ(seconds_text(-1'500'000'000), "-1.500000000");
  EXPECT_EQ(seconds_text(INT64_MIN), "-9223372036.854775808");
}

TEST(OffsetsFileTest, HoldsWhatIsAskedForAndNoMore) {
  EXPECT_EQ(offsets_file_text({}), "");
  EXPECT_EQ(offsets_file_text({Seconds{-2, 500'000'000}, {}}), "monotonic -2 500000000\n");
  EXPECT_EQ(offsets_file_text({Seconds{1, 0}, Seconds{0, 2}}), "monotonic 1 0\nboottime 0 2\n");
}

}  // namespace
}  // namespace clockpage::timens
