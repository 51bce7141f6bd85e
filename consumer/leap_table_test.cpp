// SPDX-License-Identifier: MIT
#include "leap_table.hpp"

#include <gtest/gtest.h>

#include <fstream>

namespace clockpage {
namespace {

// The table of tzdata 2025b, without its comments.
const char* const kPublished = R"(#	a comment
#$	3960835200
#@	3991593600
2272060800	10	# 1 Jan 1972
2287785600	11	# 1 Jul 1972
2303683200	12	# 1 Jan 1973
2335219200	13	# 1 Jan 1974
2366755200	14	# 1 Jan 1975
2398291200	15	# 1 Jan 1976
2429913600	16	# 1 Jan 1977
2461449600	17	# 1 Jan 1978
2492985600	18	# 1 Jan 1979
2524521600	19	# 1 Jan 1980
2571782400	20	# 1 Jul 1981
2603318400	21	# 1 Jul 1982
2634854400	22	# 1 Jul 1983
2698012800	23	# 1 Jul 1985
2776982400	24	# 1 Jan 1988
2840140800	25	# 1 Jan 1990
2871676800	26	# 1 Jan 1991
2918937600	27	# 1 Jul 1992
2950473600	28	# 1 Jul 1993
2982009600	29	# 1 Jul 1994
3029443200	30	# 1 Jan 1996
3076704000	31	# 1 Jul 1997
3124137600	32	# 1 Jan 1999
3345062400	33	# 1 Jan 2006
3439756800	34	# 1 Jan 2009
3550089600	35	# 1 Jul 2012
3644697600	36	# 1 Jul 2015
3692217600	37	# 1 Jan 2017
#h	49db2447 571e5e1b 2f002a53 9c8da8e4 39b8e49e
)";

constexpr std::int64_t k2017 = 1'483'228'800;  // 2017-01-01 00:00:00 UTC

std::string with(std::string text, const std::string& old, const std::string& now) {
  const std::size_t at = text.find(old);
  EXPECT_NE(at, text.npos) << old;
  return text.replace(at, old.size(), now);
}

LeapTable good(const std::string& text) {
  auto parsed = LeapTable::parse(text);
  const auto* error = std::get_if<LeapTableError>(&parsed);
  EXPECT_EQ(error, nullptr) << error->line << ": " << error->reason;
  return error != nullptr ? LeapTable() : std::get<LeapTable>(parsed);
}

LeapTableError refused(const std::string& text) {
  auto parsed = LeapTable::parse(text);
  const auto* error = std::get_if<LeapTableError>(&parsed);
  EXPECT_NE(error, nullptr) << "was accepted";
  return error != nullptr ? *error : LeapTableError();
}

TEST(LeapTableTest, ReadsThePublishedTableWithItsHash) {
  const LeapTable table = good(kPublished);
  ASSERT_EQ(table.leaps().size(), 27U);
  EXPECT_EQ(table.leaps().front(), (LeapSecond{78'796'800, 10, 11}));  // 1972-07-01
  EXPECT_EQ(table.leaps().back(), (LeapSecond{k2017, 36, 37}));
  EXPECT_EQ(table.updated_s(), 1'751'846'400);  // 2025-07-07
  EXPECT_EQ(table.expires_s(), 1'782'604'800);  // 2026-06-28
}

TEST(LeapTableTest, GivesTheOffsetInForceAndTheNextChange) {
  const LeapTable table = good(kPublished);
  EXPECT_FALSE(table.tai_minus_utc_s(63'072'000 - 1));
  EXPECT_EQ(table.tai_minus_utc_s(63'072'000), 10);
  EXPECT_EQ(table.tai_minus_utc_s(k2017 - 1), 36);
  EXPECT_EQ(table.tai_minus_utc_s(k2017), 37);
  EXPECT_EQ(table.tai_minus_utc_s(4'000'000'000), 37);  // expired long ago: still the last word
  ASSERT_TRUE(table.next_after(k2017 - 1));
  EXPECT_EQ(*table.next_after(k2017 - 1), (LeapSecond{k2017, 36, 37}));
  EXPECT_FALSE(table.next_after(k2017));
}

TEST(LeapTableTest, PadsTheWordsOfTheHashWithZeros) {
  const std::string padded =
      "#$ 3960837204\n#@ 3991593600\n2272060800 10\n2287785600 11\n"
      "#h 00d8688e de10a270 3ddc96fc 0aeb858d 016fdb22\n";
  const std::string bare = with(padded, "00d8688e de10a270 3ddc96fc 0aeb858d 016fdb22",
                                "d8688e de10a270 3ddc96fc aeb858d 16fdb22");
  EXPECT_EQ(good(padded).leaps().size(), 1U);
  EXPECT_EQ(good(bare).leaps().size(), 1U);
}

TEST(LeapTableTest, DoesNotDependOnTheOrderOfTheLinesNorOnLineEnds) {
  std::string text = with(kPublished, "#$	3960835200\n", "") + "#$\t3960835200\n";
  EXPECT_EQ(good(text).leaps().size(), 27U);
  for (std::size_t at = 0; (at = text.find('\n', at)) != text.npos; at += 2)
    text.replace(at, 1, "\r\n");
  EXPECT_EQ(good(text).leaps().size(), 27U);
  text.resize(text.size() - 2);  // no end of the last line
  EXPECT_EQ(good(text).leaps().size(), 27U);
}

// A synthetic one: no leap second has been deleted so far.
TEST(LeapTableTest, KnowsADeletionAndWhatIsBeyond32Bits) {
  const LeapTable table = good(
      "#$ 3960835200\n#@ 4449600000\n2272060800 10\n2287785600 11\n4323369600 10\n"
      "#h d1a8e1ed b234788c 837dfb66 499e65ea 91c6dea7\n");
  ASSERT_EQ(table.leaps().size(), 2U);
  EXPECT_EQ(table.leaps().back(), (LeapSecond{2'114'380'800, 11, 10}));  // 2037-01-01
}

struct Damage {
  const char* name;
  const char* old;
  const char* now;
  unsigned line;
  const char* reason;
};
void PrintTo(const Damage& damage, std::ostream* out) { *out << damage.name; }

class DamagedTableTest : public testing::TestWithParam<Damage> {};

TEST_P(DamagedTableTest, IsRefusedWithLineAndReason) {
  const LeapTableError error = refused(with(kPublished, GetParam().old, GetParam().now));
  EXPECT_EQ(error.line, GetParam().line) << error.reason;
  EXPECT_NE(error.reason.find(GetParam().reason), error.reason.npos) << error.reason;
}

INSTANTIATE_TEST_SUITE_P(
    Each, DamagedTableTest,
    testing::Values(
        Damage{"digit", "3692217600\t37", "3692217600\t36", 31, "does not change by one second"},
        Damage{"another_month", "3692217600", "3694896000", 32, "hash does not fit"},
        Damage{"hash", "39b8e49e", "39b8e49f", 32, "hash does not fit"},
        Damage{"midnight", "3692217600", "3692217601", 31, "does not begin a month"},
        Damage{"mid_month", "3692217600", "3692304000", 31, "does not begin a month"},
        Damage{"order", "2287785600\t11", "2240524800\t11", 5, "not later"},
        Damage{"twice", "2287785600\t11", "2272060800\t11", 5, "not later"},
        Damage{"first", "2272060800\t10", "2272060800\t9", 4, "10 s from 1972"},
        Damage{"first_later", "2272060800\t10", "2274739200\t10", 4, "10 s from 1972"},
        Damage{"two_seconds", "2287785600\t11", "2287785600\t12", 5, "change by one second"},
        Damage{"text", "2287785600\t11", "2287785600\televen", 5, "neither a comment nor"},
        Damage{"one_number", "2287785600\t11", "2287785600", 5, "neither a comment nor"},
        Damage{"three_numbers", "2287785600\t11", "2287785600\t11 1", 5, "neither a comment nor"},
        Damage{"huge", "2287785600\t11", "22877856000\t11", 5, "neither a comment nor"},
        Damage{"sign", "2287785600\t11", "+2287785600\t11", 5, "neither a comment nor"},
        Damage{"after_2199", "3692217600", "9467107200", 31, "neither a comment nor"},
        Damage{"zeros", "2287785600\t11", "000000000002287785600\t11", 5, "neither a comment nor"},
        Damage{"garbage", "#\ta comment", "a comment", 1, "neither a comment nor"},
        Damage{"no_update", "#$", "#", 0, "no line #$"},
        Damage{"no_expiry", "#@", "#", 0, "no line #@"},
        Damage{"no_hash", "#h", "#", 0, "no line #h"},
        Damage{"two_updates", "#@", "#$", 3, "second line #$"},
        Damage{"two_hashes", "#\ta comment", "#h\t1 2 3 4 5", 32, "second line #h"},
        Damage{"short_hash", " 39b8e49e", "", 32, "not five words"},
        Damage{"long_hash", "39b8e49e", "39b8e49e 1", 32, "longer than five words"},
        Damage{"long_word", "39b8e49e", "139b8e49e", 32, "not five words"},
        Damage{"update_text", "3960835200", "today", 2, "not one number"},
        Damage{"expired_before_made", "3991593600", "3960835200", 0, "expires before"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(LeapTableTest, RefusesNothingAndTooMuch) {
  EXPECT_NE(refused("").reason.find("no entries"), std::string::npos);
  EXPECT_NE(refused(std::string(2 << 20, '#')).reason.find("too long"), std::string::npos);
  EXPECT_EQ(refused(std::string("\0\0\0\0", 4)).line, 1U);
}

TEST(ReadLeapTableTest, NamesTheFileAndTheLine) {
  const auto missing = read_leap_table("/nonexistent/leap-seconds.list");
  EXPECT_EQ(std::get<std::string>(missing),
            "/nonexistent/leap-seconds.list: cannot be opened: No such file or directory");
  EXPECT_EQ(std::get<std::string>(read_leap_table("/tmp")), "/tmp: is not a regular file");
  EXPECT_EQ(std::get<std::string>(read_leap_table("/dev/zero")),
            "/dev/zero: is not a regular file");
  const std::string path = testing::TempDir() + "clockpage_damaged.list";
  std::ofstream(path) << with(kPublished, "3692217600", "3692217601");
  const auto damaged = read_leap_table(path);
  EXPECT_EQ(std::get<std::string>(damaged), path + ":31: 3692217601 does not begin a month");
  std::ofstream(path) << kPublished;
  EXPECT_EQ(std::get<LeapTable>(read_leap_table(path)).leaps().size(), 27U);
  std::remove(path.c_str());
}

}  // namespace
}  // namespace clockpage
