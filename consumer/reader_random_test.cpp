// SPDX-License-Identifier: MIT
// The reader on random input: bulk conversion against single, and hostile pages. The seed is
// printed, and CLOCKPAGE_SEED sets it.
#include <clockpage/reader.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <random>
#include <vector>

#include "reader_test_page.h"
#include "test_seed.hpp"

namespace {

using clockpage::testing::MakeSegment;
using clockpage::testing::NextSegment;
using clockpage::testing::PeriodFrac;
using clockpage::testing::TestPage;

constexpr std::array kClocks = {CLOCKPAGE_REALTIME, CLOCKPAGE_MONOTONIC, CLOCKPAGE_MONOTONIC_RAW,
                                CLOCKPAGE_BOOTTIME, CLOCKPAGE_TAI,       3};

// A valid ring with random lengths, slopes, leaps, discontinuities; returns its first start.
std::uint64_t FillRing(TestPage& page, std::mt19937_64& random) {
  const unsigned shift = page.page.delta_shift;
  const std::uint64_t hz = page.page.counter_frequency_hz;
  const std::uint64_t begin = random() % 2 ? random() >> 2 : 0 - random() % 100'000'000;
  const auto length = [&] { return 1 + random() % (random() % 4 ? 10'000'000 : 50); };
  auto s = MakeSegment(random() >> 16, begin, begin + length(), hz, shift);
  for (unsigned i = 0; i < CLOCKPAGE_SEGMENT_COUNT; i++) {
    page.Slot(s.number) = s;
    page.page.index = s.number;
    s = NextSegment(s, length(), PeriodFrac(hz + random() % 1'000'000, shift), shift);
    s.flags = random() % 8 ? CLOCKPAGE_SEGMENT_TAI_KNOWN : 0;
    if (random() % 32 == 0) s.flags |= CLOCKPAGE_SEGMENT_MONOTONIC_STEP;
    s.leap_start_ns = s.leap_end_ns = CLOCKPAGE_NO_LEAP;
    if (random() % 4 == 0) {
      s.leap_start_ns = static_cast<std::int64_t>(s.tai_ns + random() % 8'000'000);
      s.leap_end_ns = s.leap_start_ns + static_cast<std::int64_t>(random() % 2 * 1'000'000);
    }
    s.utc_offset_after_ns = s.utc_offset_ns + 1'000'000;
    s.leap_slope_frac = random();
  }
  return begin;
}

TEST(AtManyTest, EqualsAtBitForBit) {
  std::mt19937_64 random(clockpage::seed_of_this_test());
  for (unsigned round = 0; round < 3000; round++) {
    TestPage page(static_cast<std::uint8_t>(round % 3 ? 0 : round % 11), 2'000'000'000);
    const std::uint64_t begin = FillRing(page, random);
    const clockpage_reader reader = page.Reader();
    std::vector<std::uint64_t> counters(1 + random() % 3000);
    const std::uint64_t stride = random() % 3 ? random() % 20'000 : 0;
    const std::uint64_t origin = begin + random() % 100'000'000;
    for (std::size_t i = 0; i < counters.size(); i++)
      counters[i] = stride ? origin + i * stride : begin + random() % 160'000'000;
    const int clock = kClocks[random() % kClocks.size()];
    std::vector<std::int64_t> many(counters.size(), 0);
    std::size_t converted = 0;
    const int error = clockpage_at_many(&reader, clock, counters.data(), counters.size(),
                                        many.data(), &converted);
    for (std::size_t i = 0; i < converted; i++) {
      std::int64_t single = 0;
      ASSERT_EQ(clockpage_at(&reader, clock, counters[i], &single), CLOCKPAGE_OK);
      ASSERT_EQ(single, many[i]) << "round " << round << " value " << i;
    }
    std::int64_t next = 0;
    if (error) {
      ASSERT_EQ(clockpage_at(&reader, clock, counters[converted], &next), error);
    } else {
      ASSERT_EQ(converted, counters.size());
    }
  }
}

TEST(AtManyTest, ConvertsNothingFromNothing) {
  TestPage page;
  const clockpage_reader reader = page.Reader();
  std::size_t converted = 1;
  EXPECT_EQ(clockpage_at_many(&reader, CLOCKPAGE_TAI, nullptr, 0, nullptr, &converted), 0);
  EXPECT_EQ(converted, 0u);
}

// Words that break arithmetic more often than uniform ones do.
std::uint64_t NastyWord(std::mt19937_64& random) {
  static constexpr std::uint64_t kSpecial[] = {0,
                                               1,
                                               2,
                                               ~std::uint64_t{0},
                                               std::uint64_t{1} << 63,
                                               (std::uint64_t{1} << 63) - 1,
                                               std::uint64_t{1} << 62,
                                               std::uint64_t{1} << 32};
  const std::uint64_t r = random();
  switch (r % 4) {
    case 0:
      return kSpecial[random() % std::size(kSpecial)];
    case 1:
      return kSpecial[random() % std::size(kSpecial)] + random() % 64 - 32;
    case 2:
      return random() >> (r >> 8) % 64;
    default:
      return random();
  }
}

struct Outcome {
  unsigned values = 0, errors = 0;
  void Count(int error) { error ? errors++ : values++; }
};

void ReadEveryWay(const clockpage_reader& reader, std::uint64_t counter, Outcome& outcome) {
  for (int clock : kClocks) {
    std::int64_t ns = 0;
    clockpage_time time;
    timespec ts = {};
    std::array<std::uint64_t, 3> counters = {counter, counter + 1, counter + (counter >> 5)};
    std::array<std::int64_t, 3> many = {};
    std::size_t converted = 0;
    outcome.Count(clockpage_now(&reader, clock, &ns));
    outcome.Count(clockpage_now_relaxed(&reader, clock, &ns));
    outcome.Count(clockpage_at(&reader, clock, counter, &ns));
    outcome.Count(clockpage_at_many(&reader, clock, counters.data(), 3, many.data(), &converted));
    if (const int error = clockpage_gettime(&reader, clock, &ts); !error) {
      ASSERT_GE(ts.tv_nsec, 0);
      ASSERT_LT(ts.tv_nsec, 1'000'000'000);
    }
    (void)clockpage_now_leased(&reader, clock, 0, &time);
    for (const bool now : {false, true}) {
      const int error = now ? clockpage_now_bounds(&reader, clock, &time)
                            : clockpage_at_bounds(&reader, clock, counter, &time);
      outcome.Count(error);
      if (error) continue;
      ASSERT_LE(time.earliest_ns, time.ns);
      ASSERT_GE(time.latest_ns, time.ns);
      ASSERT_LE(time.status, CLOCKPAGE_STATUS_UNRELIABLE);
    }
  }
}

// One million pages; sanitizers see to it that none does harm.
TEST(HostilePageTest, YieldsAnErrorOrSomeTimeButNeverHarm) {
  std::mt19937_64 random(clockpage::seed_of_this_test());
  TestPage page;
  Outcome outcome;
  std::vector<clockpage_reader> readers;  // one per shift
  for (unsigned shift = 0; shift <= CLOCKPAGE_MAX_DELTA_SHIFT; shift++) {
    page.page.delta_shift = static_cast<std::uint8_t>(shift);
    readers.push_back(page.Reader());
  }
  for (unsigned round = 0; round < 1'000'000; round++) {
    const clockpage_reader& reader = readers[random() % readers.size()];
    page.page.delta_shift = static_cast<std::uint8_t>(random());  // changed after the check
    page.page.index = NastyWord(random);
    page.page.revoked = random() % 16 ? 0 : NastyWord(random);
    // Some two segments a round, often numbered as a reader expects.
    for (unsigned i = 0; i < 2; i++) {
      std::array<std::uint64_t, sizeof(clockpage_segment) / 8> words;
      for (std::uint64_t& word : words) word = NastyWord(random);
      clockpage_segment& slot = page.page.segment[random() % CLOCKPAGE_SEGMENT_COUNT];
      std::memcpy(&slot, words.data(), sizeof slot);
    }
    if (random() % 2)
      for (std::uint64_t b = 0; b < CLOCKPAGE_SEGMENT_COUNT; b++)
        page.Slot(page.page.index - b).number = page.page.index - b;
    ReadEveryWay(reader, NastyWord(random), outcome);
    if (HasFatalFailure()) FAIL() << "round " << round;
  }
  EXPECT_GT(outcome.values, 1'000'000u);
  EXPECT_GT(outcome.errors, 1'000'000u);
}

}  // namespace
