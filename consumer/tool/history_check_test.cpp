// SPDX-License-Identifier: MIT
//
// Small histories made by hand, the file they are in, and the follower that records segments.
#include "history_check.hpp"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>

#include "../reader_test_page.h"
#include "clock_function.hpp"
#include "exit_code.hpp"
#include "recorder.hpp"
#include "whole_file.hpp"

namespace clockpage::tool {
namespace {

using clockpage::testing::MakeSegment;
using clockpage::testing::NextSegment;
using clockpage::testing::PeriodFrac;
using clockpage::testing::TestPage;

constexpr uint64_t kHz = 2'000'000'000;
constexpr uint64_t kStart = 10'000'000;
constexpr uint64_t kLength = 2'000'000;  // 1 ms

struct TemporaryDirectory {
  std::string path = "/tmp/clockpage-history.XXXXXX";
  TemporaryDirectory() {
    if (!mkdtemp(path.data())) abort();
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path); }
  std::string file() const { return path + "/history"; }
};

// A history of one page, or of two that are the same but for their format.
struct History {
  HistoryHeader header = {};
  std::vector<HistorySegment> segments;
  std::vector<std::vector<HistoryReading>> readings;
  uint64_t dropped = 0;
  bool two_formats = false;
  uint8_t clock = CLOCKPAGE_MONOTONIC;  // that is read

  History() {
    clockpage_segment s = MakeSegment(100, kStart, kStart + kLength, kHz);
    for (unsigned i = 0; i < 8; i++) {
      if (i > 0) s = NextSegment(s, kLength, PeriodFrac(kHz + i * 100'000, 0));
      segments.push_back({0, s.number, s});
    }
    header.settled = 1;
  }

  HistoryPage page(uint8_t format) const {
    HistoryPage page = {};
    page.format = format;
    page.scale_ratio = 1;
    page.counter_frequency_hz = kHz;
    page.segment_count = segments.size();
    return page;
  }

  // As a process would have read it while segment number `index` was the newest.
  HistoryReading& read(unsigned process, uint64_t counter, uint64_t index, bool overdue = false) {
    if (readings.size() <= process) readings.resize(process + 1);
    const uint64_t covering = 100 + (counter - kStart) / kLength;
    const clockpage_segment& s = segments.at((overdue ? index : covering) - 100).segment;
    const auto value = value_of(page(0), s, clock, counter, overdue);
    HistoryReading r = {};
    r.counter = counter;
    r.ns = value->ns;
    r.earliest_ns = value->earliest_ns;
    r.latest_ns = value->latest_ns;
    r.epoch = value->epoch;
    r.flags = value->flags;
    r.status = value->status;
    r.reason = value->reason;
    r.index = index;
    r.clock = clock;
    r.process = static_cast<uint16_t>(process);
    r.sequence = static_cast<uint32_t>(readings[process].size());
    return readings[process].emplace_back(r);
  }

  void write(const std::string& file) {
    const unsigned pages = two_formats ? 2 : 1;
    uint64_t count = 0;
    for (const auto& list : readings) count += list.size();
    std::copy_n(kHistoryMagic, 8, header.magic.begin());
    header.major = kHistoryMajor;
    header.header_size = sizeof header;
    header.page_count = pages;
    header.page_size = sizeof(HistoryPage);
    header.process_count = static_cast<uint32_t>(readings.size());
    header.process_size = sizeof(HistoryProcess);
    header.segment_size = sizeof(HistorySegment);
    header.reading_size = sizeof(HistoryReading);
    header.file_size =
        sizeof header + pages * sizeof(HistoryPage) + readings.size() * sizeof(HistoryProcess) +
        pages * segments.size() * sizeof(HistorySegment) + count * sizeof(HistoryReading);
    WholeFile out(file);
    out.write(&header, sizeof header);
    for (uint8_t f = 0; f < pages; f++) {
      const HistoryPage entry = page(f);
      out.write(&entry, sizeof entry);
    }
    for (const auto& list : readings) {
      const HistoryProcess entry = {list.size(), dropped, -1, 0};
      out.write(&entry, sizeof entry);
    }
    for (unsigned f = 0; f < pages; f++)
      out.write(segments.data(), segments.size() * sizeof(HistorySegment));
    for (const auto& list : readings) out.write(list.data(), list.size() * sizeof(HistoryReading));
    out.finish();
  }

  HistoryReport check() {
    const TemporaryDirectory directory;
    write(directory.file());
    return check_history(HistoryReader(directory.file()));
  }

  // The rules that are broken, in alphabetical order.
  std::string rules() {
    std::string out;
    for (const auto& [rule, count] : check().offences_by_rule)
      out += (out.empty() ? "" : " ") + rule;
    return out;
  }
};

uint64_t at(uint64_t segment, uint64_t ticks) { return kStart + (segment - 100) * kLength + ticks; }

// Three processes pass one message on; the first one evaluates what the second sent.
History good() {
  History h;
  h.read(0, at(101, 10), 102).sent = 1;
  h.read(1, at(101, 500), 102).received = 1;
  h.readings[1][0].sent = 2;
  h.read(2, at(102, 100), 103).received = 2;
  h.readings[2][0].sent = 3;
  h.read(0, at(103, 7), 104).received = 3;
  HistoryReading& again = h.read(0, at(102, 100), 104);
  again.kind = kHistoryAgain;
  again.received = 3;
  again.index = 104;
  return h;
}

// A leap second in the middle of segment 102, announced from the first on and taken out of 105; the
// second goes on for longer than this history. `smear_ns`: it takes that long.
History with_leap(int64_t change_s, int64_t smear_ns = 0) {
  History h;
  h.clock = CLOCKPAGE_REALTIME;
  const clockpage_segment& s = h.segments[2].segment;
  const int64_t leap = static_cast<int64_t>(s.tai_ns) + 500'000;
  const int64_t change = change_s * 1'000'000'000;
  const auto size = static_cast<uint64_t>(change < 0 ? -change : change);
  for (HistorySegment& each : h.segments) {
    each.segment.leap_start_ns = leap;
    each.segment.leap_end_ns = leap + smear_ns;
    each.segment.utc_offset_after_ns = each.segment.utc_offset_ns + change;
    if (smear_ns) {
      each.segment.leap_slope_frac = static_cast<uint64_t>(
          (static_cast<unsigned __int128>(size) << 64) / static_cast<uint64_t>(smear_ns));
    }
  }
  return h;
}

constexpr uint64_t kBefore = 999'000, kAfter = 1'001'000;  // ticks: 500 ns before and after it

// One process hands on what it read before the leap, the other reads after it.
History across_leap(History h) {
  h.read(0, at(102, kBefore), 104).sent = 1;
  h.read(1, at(102, kAfter), 104).received = 1;
  h.readings[1][0].sent = 2;
  h.read(0, at(103, 100), 104).received = 2;
  return h;
}

TEST(HistoryCheckLeapTest, LetsRealtimeRepeatASecond) {
  History h = across_leap(with_leap(+1));
  ASSERT_LT(h.readings[1][0].ns, h.readings[0][0].ns - 900'000'000);
  ASSERT_EQ(h.readings[1][0].flags & kHistorySecondTime, kHistorySecondTime);
  EXPECT_EQ(h.rules(), "");
}

TEST(HistoryCheckLeapTest, LetsRealtimePassOverASecond) {
  History h = across_leap(with_leap(-1));
  ASSERT_GT(h.readings[1][0].ns, h.readings[0][0].ns + 900'000'000);
  EXPECT_EQ(h.rules(), "");
}

TEST(HistoryCheckLeapTest, FindsOneNanosecondBackwardInTheSecondTime) {
  History h = across_leap(with_leap(+1));
  h.readings[0][1].ns = h.readings[1][0].ns - 1;
  EXPECT_EQ(h.rules(), "order value");
}

TEST(HistoryCheckLeapTest, FindsARepetitionThatIsNotSaidToBeOne) {
  History h = across_leap(with_leap(+1));
  for (auto& list : h.readings)
    for (HistoryReading& r : list)
      r.flags = static_cast<uint8_t>(r.flags & ~(CLOCKPAGE_TIME_AMBIGUOUS | kHistorySecondTime));
  EXPECT_EQ(h.rules(), "order status");
}

TEST(HistoryCheckLeapTest, FindsTheLeapThatIsTakenBack) {
  History h = across_leap(with_leap(+1));
  // Who has read the leap second then reads what was before it.
  HistoryReading r = h.readings[0][0];
  r.process = 1;
  r.sequence = 1;
  r.sent = 0;
  h.readings[1].push_back(r);
  EXPECT_EQ(h.rules(), "counter order");
}

TEST(HistoryCheckLeapTest, DoesNotLetASmearedClockGoBack) {
  History h = across_leap(with_leap(+1, 1'100'000'000));
  ASSERT_GE(h.readings[1][0].ns, h.readings[0][0].ns);
  ASSERT_EQ(h.readings[1][0].flags & CLOCKPAGE_TIME_AMBIGUOUS, 0);
  EXPECT_EQ(h.rules(), "");
  h.readings[1][0].ns = h.readings[0][0].ns - 1;
  EXPECT_EQ(h.rules(), "order value");
}

TEST(HistoryCheckLeapTest, WantsTheSameLeapInBothFormats) {
  const History h = with_leap(+1);
  std::vector<HistorySegment> other = h.segments;
  HistoryPage scaled = h.page(CLOCKPAGE_FORMAT_SCALED);
  const ClockFunction unscaled(h.page(0), h.segments);
  EXPECT_TRUE(check_formats(unscaled, ClockFunction(scaled, other)).empty());
  other[3].segment.leap_end_ns++;
  ASSERT_FALSE(check_formats(unscaled, ClockFunction(scaled, other)).empty());
}

TEST(HistoryCheckTest, AcceptsWhatOneFunctionExplains) {
  const HistoryReport report = good().check();
  EXPECT_EQ(report.offences, 0u);
  EXPECT_EQ(report.readings, 4u);
  EXPECT_EQ(report.leased, 4u);
  EXPECT_EQ(report.again, 1u);
  EXPECT_EQ(report.agreements, 1u);
  EXPECT_EQ(report.messages, 3u);
  EXPECT_EQ(report.unlinked, 0u);
  EXPECT_EQ(report.epochs, 1u);
  EXPECT_EQ(report.uncaptured, 0u);
}

TEST(HistoryCheckTest, NamesTheRuleThatOneDamageBreaks) {
  const auto broken = [](const std::function<void(History&)>& damage) {
    History h = good();
    damage(h);
    return h.rules();
  };
  EXPECT_EQ(broken([](History& h) { h.readings[1][0].ns++; }), "value");
  EXPECT_EQ(broken([](History& h) { h.readings[1][0].epoch++; }), "epoch");
  EXPECT_EQ(broken([](History& h) { h.readings[1][0].latest_ns++; }), "bounds");
  EXPECT_EQ(broken([](History& h) { h.readings[1][0].status = 0; }), "status");
  EXPECT_EQ(broken([](History& h) { h.readings[1][0].sequence++; }), "sequence");
  EXPECT_EQ(broken([](History& h) { h.readings[1][0].index = 101; }), "index");
  EXPECT_EQ(broken([](History& h) { h.readings[1][0].index = 100; }), "index lease");
  EXPECT_EQ(broken([](History& h) { h.readings[1][0].received = 9; }), "message");
  EXPECT_EQ(broken([](History& h) { h.readings[1][0].sent = 1; }), "message");
  EXPECT_EQ(broken([](History& h) { h.readings[0][2].ns--; }), "agreement value");
  EXPECT_EQ(broken([](History& h) { h.segments[5].segment.tai_frac++; }), "base");
}

TEST(HistoryCheckTest, FollowsOrderOverSeveralProcesses) {
  History h;
  h.read(0, at(103, 50), 104).sent = 1;
  // In between a process that reads nothing before it passes the message on.
  HistoryReading& refused = h.read(1, at(100, 0), 104);
  refused.kind = kHistoryRefused;
  refused.received = 1;
  refused.sent = 2;
  h.read(2, at(103, 49), 104).received = 2;
  EXPECT_EQ(h.rules(), "counter order");
  h.readings[2][0].received = 0;  // not causally after it any more
  EXPECT_EQ(h.rules(), "");
}

TEST(HistoryCheckTest, AReadingThatLiesAboutItsPlaceLeadsNowhere) {
  for (const uint32_t sequence : {0u, 1u, 4'000'000'000u}) {
    History h;
    h.read(0, at(103, 50), 104);
    h.readings[0][0].process = 60'000;
    h.readings[0][0].sequence = sequence;
    h.read(0, at(103, 49), 104);
    const HistoryReport report = h.check();
    EXPECT_EQ(report.offences_by_rule,
              (std::map<std::string, uint64_t>{{"counter", 1}, {"order", 1}, {"sequence", 1}}));
    for (const HistoryOffence& offence : report.first)
      EXPECT_EQ(offence.readings[0].counter, at(103, 50)) << offence.rule;
  }
}

TEST(HistoryCheckTest, AllowsTwoNanosecondsAcrossFormats) {
  for (int64_t back : {2, 3}) {
    History h;
    h.two_formats = true;
    h.read(0, at(101, 50), 102).ns += back;
    h.read(0, at(101, 50), 102).format = CLOCKPAGE_FORMAT_SCALED;
    EXPECT_EQ(h.check().offences_by_rule.count("order"), back > 2 ? 1u : 0u);
  }
}

// Every segment knows of the leap second that is inserted in the middle of number 103.
TEST(HistoryCheckTest, RealtimeMayGoBackAtALeapSecondThatItsReadingsSpeakOf) {
  History h;
  const clockpage_segment& leaping = h.segments[3].segment;
  const auto leap_ns = static_cast<int64_t>(
      leaping.tai_ns + clockpage_mul_frac(kLength / 2, leaping.tai_period_frac));
  for (HistorySegment& s : h.segments) {
    s.segment.leap_start_ns = s.segment.leap_end_ns = leap_ns;
    s.segment.utc_offset_after_ns = s.segment.utc_offset_ns + 1'000'000'000;
  }
  h.clock = CLOCKPAGE_REALTIME;
  const HistoryReading before = h.read(0, at(103, kLength / 2 - 100), 103);
  const HistoryReading after = h.read(0, at(103, kLength / 2 + 100), 103);
  EXPECT_EQ(before.ns - after.ns, 999'999'900);
  HistoryReport report = h.check();
  EXPECT_EQ(report.offences, 0u) << report.first[0].text;
  for (HistoryReading& r : h.readings[0])
    r.flags &= ~(CLOCKPAGE_TIME_AMBIGUOUS | kHistorySecondTime) & 0xff;
  EXPECT_EQ(h.rules(), "order status");
}

TEST(HistoryCheckTest, AnOverdueReadingExtendsTheSegmentThatWasTheNewest) {
  History h;
  h.read(0, at(101, 10), 101);
  h.read(0, at(102, 10), 101, true);
  h.header.after.late_publications = 1;
  HistoryReport report = h.check();
  EXPECT_EQ(report.offences, 0u) << report.first[0].text;
  EXPECT_EQ(report.overdue, 1u);
  EXPECT_EQ(report.overdue_contradicted, 0u);  // so shortly after, it is the same value
  EXPECT_EQ(report.late_seen, 1u);
  h.readings[0][1].ns++;
  EXPECT_EQ(h.rules(), "value");
  h.readings[0][1].ns--;
  h.readings[0][1].flags &= CLOCKPAGE_TIME_TAI_KNOWN;
  EXPECT_EQ(h.rules(), "lease");
  h.read(0, at(101, 20), 101, true);
  h.readings[0].erase(h.readings[0].begin() + 1);
  h.readings[0][1].sequence = 1;
  EXPECT_EQ(h.rules(), "overdue");
}

TEST(HistoryCheckTest, AContradictedOverdueReadingMustHaveBeenCountedAsALateStore) {
  History h;
  h.read(0, at(101, 10), 101);
  h.read(0, at(103, kLength - 1), 101, true);  // 102 and 103 came late
  EXPECT_EQ(h.rules(), "late");
  h.header.after.late_publications = 1;
  const HistoryReport report = h.check();
  EXPECT_EQ(report.offences, 0u);
  EXPECT_EQ(report.overdue_contradicted, 1u);
  EXPECT_EQ(report.late_seen, 1u);
  // A producer that was killed may not have come to count it.
  h.header.after.late_publications = 0;
  h.header.after.adoptions = 1;
  EXPECT_EQ(h.rules(), "");
  // Bridges repeat what overdue readers were told: they excuse nothing.
  h.segments[2].segment.flags |= CLOCKPAGE_SEGMENT_BRIDGE;
  h.segments[3].segment.flags |= CLOCKPAGE_SEGMENT_BRIDGE;
  EXPECT_EQ(h.rules(), "bridge contradicted");
}

TEST(HistoryCheckTest, ReadingsInAGapAreHeldAgainstEachOther) {
  History h;
  for (uint64_t ticks = 0; ticks < 2 * kLength; ticks += 1000) {
    h.read(0, at(103, ticks), 103 + ticks / kLength);
  }
  h.segments.erase(h.segments.begin() + 3, h.segments.begin() + 5);
  h.segments[3].after_gap = 1;
  HistoryReport report = h.check();
  EXPECT_EQ(report.offences, 0u);
  EXPECT_EQ(report.uncaptured, 4000u);
  h.readings[0][1000].ns += 2;  // no line, or one too many
  EXPECT_EQ(h.check().offences_by_rule.count("line"), 1u);
  h.readings[0][1000].ns -= 2;
  h.readings[0][1000].counter = h.readings[0][999].counter;
  EXPECT_EQ(h.check().offences_by_rule.count("agreement"), 1u);
}

TEST(HistoryCheckTest, AMissingSenderIsExcusedOnlyWhereRecordsWereDropped) {
  History h = good();
  h.readings[1].clear();
  EXPECT_EQ(h.rules(), "message");
  h.dropped = 1;
  const HistoryReport report = h.check();
  EXPECT_EQ(report.offences, 0u);
  EXPECT_EQ(report.unlinked, 1u);
  EXPECT_EQ(report.dropped, 3u);
}

// ---- the file --------------------------------------------------------------------------------

std::string refusal(const std::string& file) {
  try {
    check_history(HistoryReader(file));
    return "";
  } catch (const Failure& failure) {
    return failure.what();
  }
}

TEST(HistoryFileTest, IsRefusedAtEveryOtherLength) {
  const TemporaryDirectory directory;
  good().write(directory.file());
  EXPECT_EQ(refusal(directory.file()), "");
  const auto size = std::filesystem::file_size(directory.file());
  for (uintmax_t length = size; length-- > 0;) {
    std::filesystem::resize_file(directory.file(), length);
    ASSERT_NE(refusal(directory.file()), "") << length;
  }
  std::filesystem::resize_file(directory.file(), size + 1);
  EXPECT_NE(refusal(directory.file()), "");
}

TEST(HistoryFileTest, HostileSizesAndNumbersAreRefused) {
  const TemporaryDirectory directory;
  good().write(directory.file());
  std::string good_bytes(std::filesystem::file_size(directory.file()), 0);
  std::ifstream(directory.file(), std::ios::binary)
      .read(good_bytes.data(), static_cast<std::streamsize>(good_bytes.size()));
  // Whatever a field of the header or of the lists may be made to say: an answer, and no harm.
  const size_t end = sizeof(HistoryHeader) + sizeof(HistoryPage) + 3 * sizeof(HistoryProcess);
  unsigned refused = 0;
  for (size_t offset = 0; offset < end; offset += 4)
    for (uint32_t value : {0u, 1u, 0x7fffffffu, 0xffffffffu}) {
      std::string bytes = good_bytes;
      std::memcpy(&bytes[offset], &value, sizeof value);
      std::ofstream(directory.file(), std::ios::binary) << bytes;
      refused += !refusal(directory.file()).empty();
    }
  EXPECT_GT(refused, 60u);
}

TEST(HistoryFileTest, AnUnfinishedOneLeavesNothing) {
  const TemporaryDirectory directory;
  {
    WholeFile out(directory.file());
    out.write("x", 1);
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory.path));
  EXPECT_THROW(WholeFile(directory.path + "/missing/history"), Failure);
}

// ---- following a ring ------------------------------------------------------------------------

TEST(RingFollowerTest, RecordsEachSegmentOnceAndSaysWhatItMissed) {
  TestPage page;
  std::array<HistorySegment, 64> memory = {};
  RingFollower::State state;
  state.log.record = memory.data();
  state.log.capacity = memory.size();
  RingFollower follower(page.page, state);
  const auto publish = [&](uint64_t number) {
    page.Slot(number) = MakeSegment(number, number * kLength, (number + 1) * kLength, kHz);
    page.page.index = number;
  };
  publish(1000);
  publish(1001);
  follower.poll();
  follower.poll();
  ASSERT_EQ(state.log.count, 2u);  // slots that were never filled are no segments
  EXPECT_EQ(memory[0].segment.number, 1000u);
  for (uint64_t number = 1002; number <= 1015; number++) publish(number);
  follower.poll();
  EXPECT_EQ(state.log.count, 16u);
  EXPECT_EQ(state.gaps, 0u);
  for (uint64_t number = 1016; number <= 1035; number++) publish(number);
  RingFollower(page.page, state).poll();  // another process goes on
  ASSERT_EQ(state.log.count, 31u);
  EXPECT_EQ(state.gaps, 1u);
  EXPECT_EQ(memory[16].segment.number, 1021u);
  EXPECT_EQ(memory[16].after_gap, 1u);
  EXPECT_EQ(memory[17].after_gap, 0u);
  for (uint64_t number = 1036; number <= 1080; number++) {
    publish(number);
    follower.poll();
  }
  EXPECT_EQ(state.log.count, 64u);
  EXPECT_EQ(state.log.dropped, 12u);
  EXPECT_EQ(state.gaps, 1u);
}

}  // namespace
}  // namespace clockpage::tool
