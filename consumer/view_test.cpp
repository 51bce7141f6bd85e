// SPDX-License-Identifier: MIT
// Reading through a view, with a guest's counter that is computed here as hardware computes it.
#include <clockpage/counter.h>

#include <cstdint>

namespace {
// The counter that the reader reads: the guest's.
std::uint64_t fake_counter = 0;
unsigned counter_reads = 0;
void (*on_counter)() = nullptr;  // runs as the counter is read: the writer's moment
std::uint64_t ReadCounter() {
  counter_reads++;
  const std::uint64_t value = fake_counter;
  if (on_counter != nullptr) on_counter();
  return value;
}
}  // namespace

#define clockpage_counter_ordered() ReadCounter()
#define clockpage_counter_ordered_by(how, index) \
  (static_cast<void>(how), static_cast<void>(index), ReadCounter())
#define clockpage_counter_relaxed() ReadCounter()

#include <clockpage/view.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include "test_seed.hpp"
#include "view_test_pages.h"

namespace {

using clockpage::seed_of_this_test;
using clockpage::testing::kSecond;
using clockpage::testing::MakeSegment;
using clockpage::testing::NextSegment;
using clockpage::testing::TestPage;
using clockpage::testing::TestRegion;
using clockpage::testing::TestView;

constexpr std::uint64_t kHz = 2'000'000'000;
constexpr std::uint64_t kStart = 1'000'000'000'000;
constexpr std::uint64_t kLength = 1'000'000'000;
constexpr std::uint64_t kIndex = 1000;
constexpr int kClocks[] = {CLOCKPAGE_REALTIME, CLOCKPAGE_MONOTONIC, CLOCKPAGE_MONOTONIC_RAW,
                           CLOCKPAGE_BOOTTIME, CLOCKPAGE_TAI};

// Hardware's arithmetic (kvm_scale_tsc and the offset), apart from the code under test.
std::uint64_t GuestCounter(std::uint64_t host, const clockpage_view_slot& slot) {
  const unsigned __int128 product = static_cast<unsigned __int128>(host) * slot.counter_ratio;
  return static_cast<std::uint64_t>(product >> slot.counter_frac_bits) +
         static_cast<std::uint64_t>(slot.counter_offset);
}

// A full history of segments from `first` on.
void FillPage(TestPage& page, std::uint64_t first, std::uint64_t length, std::uint64_t hz) {
  auto s = MakeSegment(kIndex - 15, first, first + length, hz);
  for (unsigned i = 0; i < CLOCKPAGE_SEGMENT_COUNT; i++) {
    page.Slot(s.number) = s;
    s = NextSegment(s, length, s.tai_period_frac + i * 1000);
  }
  page.page.index = kIndex;
}

class ViewTest : public testing::Test {
 protected:
  ViewTest() {
    Fill(kStart);
    on_counter = nullptr;
    counter_reads = 0;
  }
  // Unscaled pages from `first` on, the scaled ones at its image.
  void Fill(std::uint64_t first) {
    for (unsigned smear = 0; smear < 2; smear++) {
      TestPage& unscaled = region_->Page(0, smear);
      TestPage& scaled = region_->Page(1, smear);
      FillPage(unscaled, first, kLength, kHz);
      const auto& page = scaled.page;
      const auto image = [&](std::uint64_t host) {
        return clockpage_scale_counter(host, page.scale_ratio, page.scale_frac_bits);
      };
      scaled.page.index = kIndex;
      for (std::uint64_t n = kIndex - 15; n != kIndex + 1; n++) {
        clockpage_segment s = unscaled.Slot(n);
        s.start = image(s.start);
        s.lease_end = image(s.lease_end);
        s.epoch = 100;  // tells the pages apart
        scaled.Slot(n) = s;
      }
      if (smear != 0)
        for (auto& s : unscaled.page.segment) s.epoch = 50;
    }
  }
  [[nodiscard]] clockpage_view_reader Reader() const { return view_->Reader(*region_); }
  [[nodiscard]] std::uint64_t Marker() const {
    return view_->page.slot[view_->page.index % 4].disruption_marker;
  }
  // What the page says at its own counter value, plus the view's offsets.
  clockpage_time Expected(int clock, const TestPage& page, std::uint64_t counter) {
    clockpage_time time{};
    const clockpage_reader reader = page.Reader();
    EXPECT_EQ(clockpage_at_bounds(&reader, clock, counter, &time), CLOCKPAGE_OK);
    std::int64_t by = 0;
    if (clock == CLOCKPAGE_MONOTONIC || clock == CLOCKPAGE_MONOTONIC_RAW)
      by = view_->Newest().monotonic_offset_ns;
    if (clock == CLOCKPAGE_BOOTTIME) by = view_->Newest().boottime_offset_ns;
    time.ns += by;
    time.earliest_ns += by;
    time.latest_ns += by;
    return time;
  }

  std::unique_ptr<TestRegion> region_ = std::make_unique<TestRegion>(kHz);
  std::unique_ptr<TestView> view_ = std::make_unique<TestView>();
};

void ExpectSame(const clockpage_time& a, const clockpage_time& b) {
  EXPECT_EQ(a.ns, b.ns);
  EXPECT_EQ(a.earliest_ns, b.earliest_ns);
  EXPECT_EQ(a.latest_ns, b.latest_ns);
  EXPECT_EQ(a.counter, b.counter);
  EXPECT_EQ(a.epoch, b.epoch);
  EXPECT_EQ(a.flags, b.flags);
}

// Every entry point, with the guest's counter at `guest`.
void ExpectEverywhere(const clockpage_view_reader& reader, int clock, std::uint64_t guest,
                      std::uint64_t marker, const clockpage_time& expected) {
  clockpage_view_time time{};
  std::int64_t ns = 0;
  timespec ts{};
  fake_counter = guest;
  ASSERT_EQ(clockpage_view_at_bounds(&reader, clock, guest, marker, &time), CLOCKPAGE_OK);
  ExpectSame(time.time, expected);
  EXPECT_EQ(time.guest_counter, guest);
  EXPECT_EQ(time.disruption_marker, marker);
  ASSERT_EQ(clockpage_view_now_bounds(&reader, clock, &time), CLOCKPAGE_OK);
  ExpectSame(time.time, expected);
  ASSERT_EQ(clockpage_view_at(&reader, clock, guest, marker, &ns), CLOCKPAGE_OK);
  EXPECT_EQ(ns, expected.ns);
  ASSERT_EQ(clockpage_view_now(&reader, clock, &ns), CLOCKPAGE_OK);
  EXPECT_EQ(ns, expected.ns);
  ASSERT_EQ(clockpage_view_now_relaxed(&reader, clock, &ns), CLOCKPAGE_OK);
  EXPECT_EQ(ns, expected.ns);
  ASSERT_EQ(clockpage_view_gettime(&reader, clock, &ts), CLOCKPAGE_OK);
  EXPECT_EQ(ts.tv_sec * kSecond + ts.tv_nsec, expected.ns);
}

TEST_F(ViewTest, AddsOffsetsToMonotonicRawAndBoottimeAlone) {
  view_->Newest().monotonic_offset_ns = -5 * kSecond;
  view_->Newest().boottime_offset_ns = 7 * kSecond + 3;
  view_->Newest().disruption_marker = 42;
  const clockpage_view_reader reader = Reader();
  for (const int clock : kClocks)
    for (const std::uint64_t ahead :
         {std::uint64_t{0}, kLength - 1, 14 * kLength + 5, 17 * kLength})
      ExpectEverywhere(reader, clock, kStart + kLength + ahead, 42,
                       Expected(clock, region_->Page(0, 0), kStart + kLength + ahead));
}

TEST_F(ViewTest, ReadsThePageThatTheViewChose) {
  view_->Newest().smear = 1;
  ExpectEverywhere(Reader(), CLOCKPAGE_TAI, kStart + 14 * kLength, 0,
                   Expected(CLOCKPAGE_TAI, region_->Page(0, 1), kStart + 14 * kLength));
  EXPECT_EQ(Expected(CLOCKPAGE_TAI, region_->Page(0, 1), kStart + 14 * kLength).epoch, 50u);
}

// An offset alone, the scaled page's own ratio, and 1 written with fraction bits: exact, wherever
// the guest's counter wraps around.
TEST_F(ViewTest, IsExactWhereAPageIsMadeForTheGuestsRatio) {
  std::mt19937_64 random(seed_of_this_test());
  for (unsigned i = 0; i < 3000; i++) {
    const unsigned mode = i % 3;
    clockpage_view_slot& slot = view_->Newest();
    slot.format = mode == 1;
    slot.counter_ratio = mode == 1 ? region_->Page(1, 0).page.scale_ratio : 1;
    slot.counter_frac_bits = mode == 1 ? 48 : 0;
    if (mode == 2) {
      slot.counter_frac_bits = i % 2 ? 32 : 48;
      slot.counter_ratio = std::uint64_t{1} << slot.counter_frac_bits;
    }
    const std::uint64_t host = kStart + kLength + random() % (15 * kLength);
    slot.counter_offset = static_cast<std::int64_t>(random());
    if (i % 5 == 0)  // within the history the guest's counter wraps around
      slot.counter_offset = -static_cast<std::int64_t>(
          clockpage_scale_counter(host, slot.counter_ratio, slot.counter_frac_bits) -
          random() % 16 + 8);
    const std::uint64_t counter =
        mode == 1 ? clockpage_scale_counter(host, slot.counter_ratio, 48) : host;
    const int clock = kClocks[i % 5];
    ExpectEverywhere(Reader(), clock, GuestCounter(host, slot), 0,
                     Expected(clock, region_->Page(mode == 1, 0), counter));
  }
}

// How late the host's counter may be, by the spec.
std::uint64_t LateTicks(std::uint64_t ratio, unsigned frac_bits) {
  const std::uint64_t one = std::uint64_t{1} << frac_bits;
  if ((ratio & (ratio - 1)) == 0) return one > ratio ? one / ratio - 1 : 0;
  return one / ratio + 1;
}

TEST_F(ViewTest, UndoesAnyRatioWithinTheBoundThatTheSpecGives) {
  std::mt19937_64 random(seed_of_this_test());
  std::vector<std::uint64_t> seen(4);
  for (unsigned i = 0; i < 7'000; i++) {
    clockpage_view_slot& slot = view_->Newest();
    slot.counter_frac_bits = i % 2 ? 32 : 48;
    // From a sixteenth to sixteen times the host's frequency, most near it.
    const unsigned bits = slot.counter_frac_bits - 4u + static_cast<unsigned>(random() % 8);
    slot.counter_ratio = std::uint64_t{1} << bits;
    if (i % 7 != 0) slot.counter_ratio |= random() & ((std::uint64_t{1} << bits) - 1);
    slot.counter_offset = static_cast<std::int64_t>(random());
    // Now and then the host's counter is so large that the scaled one has wrapped around.
    if (i % 1000 == 0) Fill(i % 2000 ? kStart : random() >> 2);
    const std::uint64_t first = region_->Page(0, 0).Slot(kIndex - 15).start;
    const std::uint64_t host = first + 2 * kLength + random() % (13 * kLength);
    const std::uint64_t guest = GuestCounter(host, slot);
    const clockpage_view_reader reader = Reader();
    clockpage_view_time time{};
    fake_counter = guest;
    ASSERT_EQ(clockpage_view_now_bounds(&reader, CLOCKPAGE_TAI, &time), CLOCKPAGE_OK);
    const auto wraps = static_cast<std::uint64_t>(
        (static_cast<unsigned __int128>(host) * slot.counter_ratio >> slot.counter_frac_bits) >>
        64);
    const std::uint64_t late = host - time.time.counter;
    ASSERT_LE(late, LateTicks(slot.counter_ratio, slot.counter_frac_bits) +
                        (reader.origin != 0 ? wraps : 0))
        << "ratio " << slot.counter_ratio << " / 2^" << unsigned{slot.counter_frac_bits} << " host "
        << host;
    seen[std::min<std::uint64_t>(late, 3)]++;
    // Inside the bounds is the page's own interval at the true counter value.
    const clockpage_time truth = Expected(CLOCKPAGE_TAI, region_->Page(0, 0), host);
    EXPECT_LE(time.time.earliest_ns, truth.earliest_ns);
    EXPECT_GE(time.time.latest_ns, truth.latest_ns);
    EXPECT_LE(time.time.ns, truth.ns);
    // The same bits from the other entry points.
    ExpectEverywhere(reader, CLOCKPAGE_TAI, guest, 0, time.time);
  }
  for (const std::uint64_t count : seen) EXPECT_GT(count, 0u);
}

// Its order too: a guest's counter that goes on never gives an earlier host's.
TEST_F(ViewTest, AnyRatioKeepsTheOrderOfTheGuestsCounter) {
  std::mt19937_64 random(seed_of_this_test());
  for (unsigned i = 0; i < 300; i++) {
    clockpage_view_slot& slot = view_->Newest();
    slot.counter_frac_bits = 48;
    slot.counter_ratio = (std::uint64_t{1} << 47) + (random() >> 15);
    const clockpage_view_reader reader = Reader();
    std::uint64_t guest = GuestCounter(kStart + 3 * kLength, slot), before = 0;
    for (unsigned step = 0; step < 100; step++, guest += random() % 3) {
      clockpage_view_time time{};
      ASSERT_EQ(clockpage_view_at_bounds(&reader, CLOCKPAGE_TAI, guest, 0, &time), CLOCKPAGE_OK);
      ASSERT_GE(time.time.counter, before);
      before = time.time.counter;
    }
  }
}

// ---- changes

// Publishes a copy of the newest slot, changed.
template <typename Change>
void Publish(TestView& view, Change change) {
  const std::uint64_t n = view.page.index;
  clockpage_view_slot slot = view.Newest();
  slot.number = n + 1;
  change(slot);
  view.page.slot[(n + 1) % 4] = slot;
  view.page.index = n + 1;
}

TEST_F(ViewTest, FollowsAViewThatHasChangedSinceTheReaderWasMade) {
  const clockpage_view_reader reader = Reader();
  const std::uint64_t host = kStart + 14 * kLength;
  EXPECT_TRUE(clockpage_view_reader_is_current(&reader));
  Publish(*view_, [](clockpage_view_slot& s) { s.monotonic_offset_ns = 9; });
  EXPECT_FALSE(clockpage_view_reader_is_current(&reader));
  ExpectEverywhere(reader, CLOCKPAGE_MONOTONIC, host, 0,
                   Expected(CLOCKPAGE_MONOTONIC, region_->Page(0, 0), host));
  Publish(*view_, [](clockpage_view_slot& s) {
    s.counter_ratio = std::uint64_t{3} << 47;
    s.counter_frac_bits = 48;
    s.disruption_marker = 1;
  });
  clockpage_view_time old_reader{}, new_reader{};
  const clockpage_view_reader anew = Reader();
  fake_counter = GuestCounter(host, view_->Newest());
  ASSERT_EQ(clockpage_view_now_bounds(&reader, CLOCKPAGE_MONOTONIC, &old_reader), CLOCKPAGE_OK);
  ASSERT_EQ(clockpage_view_now_bounds(&anew, CLOCKPAGE_MONOTONIC, &new_reader), CLOCKPAGE_OK);
  ExpectSame(old_reader.time, new_reader.time);
  EXPECT_EQ(old_reader.disruption_marker, 1u);
}

// What a migration does: the view changes after the counter was read under the old one.
TEST_F(ViewTest, NowReadsTheCounterAnewWhereTheViewChangedMeanwhile) {
  static TestView* changing;
  changing = view_.get();
  const clockpage_view_reader reader = Reader();
  fake_counter = kStart + 14 * kLength;
  on_counter = [] {
    on_counter = nullptr;
    Publish(*changing, [](clockpage_view_slot& s) {
      s.counter_offset = 1'000'000'000'000'000;
      s.disruption_marker++;
    });
    fake_counter += 1'000'000'000'000'000 + 100;
  };
  clockpage_view_time time{};
  ASSERT_EQ(clockpage_view_now_bounds(&reader, CLOCKPAGE_TAI, &time), CLOCKPAGE_OK);
  EXPECT_EQ(counter_reads, 2u);
  EXPECT_EQ(time.disruption_marker, 1u);
  ExpectSame(time.time, Expected(CLOCKPAGE_TAI, region_->Page(0, 0), kStart + 14 * kLength + 100));
}

TEST_F(ViewTest, ACapturedCounterValueIsDisruptedUnderAnotherMarker) {
  const clockpage_view_reader reader = Reader();
  const std::uint64_t captured = kStart + 14 * kLength;
  std::uint64_t marker = 77;
  ASSERT_EQ(clockpage_view_marker(&reader, &marker), CLOCKPAGE_OK);
  EXPECT_EQ(marker, 0u);
  Publish(*view_, [](clockpage_view_slot& s) { s.boottime_offset_ns = 5; });
  std::int64_t ns = 42;
  EXPECT_EQ(clockpage_view_at(&reader, CLOCKPAGE_TAI, captured, marker, &ns), CLOCKPAGE_OK);
  Publish(*view_, [](clockpage_view_slot& s) {
    s.counter_offset = 5;
    s.disruption_marker = 1;
  });
  ns = 42;
  EXPECT_EQ(clockpage_view_at(&reader, CLOCKPAGE_TAI, captured, marker, &ns),
            CLOCKPAGE_E_DISRUPTED);
  const clockpage_view_reader anew = Reader();
  EXPECT_EQ(clockpage_view_at(&anew, CLOCKPAGE_TAI, captured, marker, &ns), CLOCKPAGE_E_DISRUPTED);
  EXPECT_EQ(ns, 42);
  ASSERT_EQ(clockpage_view_marker(&reader, &marker), CLOCKPAGE_OK);
  EXPECT_EQ(clockpage_view_at(&reader, CLOCKPAGE_TAI, captured, marker, &ns), CLOCKPAGE_OK);
}

TEST_F(ViewTest, GivesUpAfterABoundedNumberOfPasses) {
  static TestView* changing;
  changing = view_.get();
  const clockpage_view_reader reader = Reader();
  fake_counter = kStart + 14 * kLength;
  on_counter = [] { Publish(*changing, [](clockpage_view_slot& s) { s.disruption_marker++; }); };
  std::int64_t ns = 42;
  EXPECT_EQ(clockpage_view_now(&reader, CLOCKPAGE_TAI, &ns), CLOCKPAGE_E_BUSY);
  EXPECT_EQ(ns, 42);
  EXPECT_EQ(counter_reads, 1u + CLOCKPAGE_MAX_PASSES);
}

// A guest that wakes up on another host: other files behind the same mappings.
TEST_F(ViewTest, ReadsTheNewHostsPagesAfterAMigration) {
  const clockpage_view_reader reader = Reader();
  auto other = std::make_unique<TestRegion>(400'000'000);  // needs a delta_shift
  for (TestPage& page : other->data) {
    page.page.delta_shift = 2;
    page.page.generation = 99;
    auto s = MakeSegment(4711, 5'000'000, 900'000'000'000, 400'000'000, 2);
    page.Slot(4710) = s;
    page.Slot(4711) = NextSegment(s, kLength, s.tai_period_frac, 2);
    page.page.index = 4711;
  }
  other->directory.generation = 99;
  *region_ = *other;
  TestView target(0xabcdef);
  target.page.generation = 99;
  target.Newest().counter_offset = -17;
  target.Newest().disruption_marker = 5;
  view_->page = target.page;
  const std::uint64_t host = 6'000'000'000;
  for (const int clock : kClocks)
    ExpectEverywhere(reader, clock, host - 17, 5, Expected(clock, region_->Page(0, 0), host));
}

// ---- refusals

TEST_F(ViewTest, RefusesWhatItCannotReadThrough) {
  const auto refused = [&](auto change) {
    auto kept = std::make_unique<TestView>(*view_);
    const clockpage_view_reader reader = Reader();
    change(view_->Newest());
    clockpage_view_reader anew;
    EXPECT_EQ(clockpage_view_reader_init(&anew, &view_->page, 4096, region_.get(), 32768),
              CLOCKPAGE_E_VIEW);
    // And a reader that was made before it changed to that.
    view_->page.index++;
    view_->Newest() = view_->page.slot[(view_->page.index - 1) % 4];
    view_->Newest().number++;
    std::int64_t ns = 42;
    EXPECT_EQ(clockpage_view_now(&reader, CLOCKPAGE_TAI, &ns), CLOCKPAGE_E_VIEW);
    EXPECT_EQ(ns, 42);
    *view_ = *kept;
  };
  refused([](clockpage_view_slot& s) { s.counter_ratio = 0; });
  refused([](clockpage_view_slot& s) { s.counter_ratio = 2; });
  refused([](clockpage_view_slot& s) { s.counter_frac_bits = 33; });
  refused([](clockpage_view_slot& s) { s.format = 2; });
  refused([](clockpage_view_slot& s) { s.format = 1; });  // the ratio is not that page's
  refused([](clockpage_view_slot& s) { s.parent_generation = 1; });
}

TEST_F(ViewTest, RefusesAViewOfAnotherRegion) {
  clockpage_view_reader reader;
  view_->page.generation++;
  EXPECT_EQ(clockpage_view_reader_init(&reader, &view_->page, 4096, region_.get(), 32768),
            CLOCKPAGE_E_STALE);
  view_->page.generation--;
  EXPECT_EQ(clockpage_view_reader_init(&reader, &view_->page, 4095, region_.get(), 32768),
            CLOCKPAGE_E_SIZE);
  EXPECT_EQ(clockpage_view_reader_init(&reader, &view_->page, 4096, region_.get(), 32767),
            CLOCKPAGE_E_SIZE);
  view_->page.magic[3]++;
  EXPECT_EQ(clockpage_view_reader_init(&reader, &view_->page, 4096, region_.get(), 32768),
            CLOCKPAGE_E_MAGIC);
}

TEST_F(ViewTest, PassesOnThePagesErrors) {
  const clockpage_view_reader reader = Reader();
  std::int64_t ns = 42;
  fake_counter = kStart + 14 * kLength;
  EXPECT_EQ(clockpage_view_now(&reader, 2, &ns), CLOCKPAGE_E_CLOCK);
  EXPECT_EQ(clockpage_view_at(&reader, CLOCKPAGE_TAI, kStart - kLength, 0, &ns),
            CLOCKPAGE_E_OUT_OF_RANGE);
  region_->Page(0, 0).page.revoked = CLOCKPAGE_REVOKED_COUNTER;
  EXPECT_EQ(clockpage_view_now(&reader, CLOCKPAGE_TAI, &ns), CLOCKPAGE_E_REVOKED);
  EXPECT_EQ(ns, 42);
}

}  // namespace
