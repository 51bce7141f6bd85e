// SPDX-License-Identifier: MIT
// Making timestamps: what of the page, the region and the view is in them. Comparing and the wire
// form: spec/timestamps.
#include <clockpage/counter.h>

#include <cstdint>

namespace {
// The counter that the reader reads, and what happens right after it: the writer's moment.
std::uint64_t fake_counter = 0;
void (*on_counter)() = nullptr;
std::uint64_t ReadCounter() {
  const std::uint64_t value = fake_counter;
  if (on_counter != nullptr) on_counter();
  return value;
}
}  // namespace

#define clockpage_counter_ordered() ReadCounter()
#define clockpage_counter_ordered_by(how, index) \
  (static_cast<void>(how), static_cast<void>(index), ReadCounter())

#include <clockpage/timestamp.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>

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
constexpr std::uint64_t kStart = 1'000'000'000'000, kLength = 1'000'000'000;
constexpr std::uint64_t kIndex = 1000;
constexpr std::uint64_t kRatio = std::uint64_t{1} << 47;  // of the scaled pages: a half

TestRegion* region = nullptr;
TestView* view = nullptr;

std::uint64_t Image(std::uint64_t host) { return clockpage_scale_counter(host, kRatio, 48); }

class TimestampTest : public testing::Test {
 protected:
  TimestampTest() {
    region = region_.get();
    view = view_.get();
    on_counter = nullptr;
    for (unsigned i = 0; i < 16; i++)
      region->directory.boot_id[i] = static_cast<std::uint8_t>(0x10 + i);
    for (unsigned i = 0; i < CLOCKPAGE_DATA_PAGE_COUNT; i++) Fill(region->data[i], i / 2 != 0);
    Smear(region->Page(0, 1));
    Smear(region->Page(1, 1));
    fake_counter = kStart + 15 * kLength + kLength / 2;
  }
  static void Fill(TestPage& page, bool scaled) {
    page.page.index = kIndex;
    auto s = MakeSegment(kIndex - 15, kStart, kStart + kLength, kHz);
    for (std::uint64_t n = kIndex - 15; n <= kIndex; n++) {
      page.Slot(n) = s;
      if (scaled) {
        page.Slot(n).start = Image(s.start);
        page.Slot(n).lease_end = Image(s.lease_end);
        page.Slot(n).tai_period_frac = s.tai_period_frac * 2 - 1;  // rounded down: a tick is 1 ns
      }
      s = NextSegment(s, kLength, s.tai_period_frac);
    }
  }
  static void Smear(TestPage& page) {
    page.page.smear = CLOCKPAGE_SMEAR_NOON;
    page.page.smear_start_s = -43200;
    page.page.smear_length_s = 86400;
  }
  static clockpage_segment& Newest() { return region->Page(0, 0).Slot(kIndex); }
  static clockpage_timestamp_source Source(int clock, unsigned smear = 0) {
    clockpage_timestamp_source source;
    const clockpage_reader reader = region->Page(0, smear).Reader();
    EXPECT_EQ(clockpage_timestamp_source_init(&source, &reader, &region->directory, clock), 0);
    return source;
  }
  static clockpage_view_timestamp_source ViewSource(int clock) {
    clockpage_view_timestamp_source source;
    const clockpage_view_reader reader = view->Reader(*region);
    EXPECT_EQ(clockpage_view_timestamp_source_init(&source, &reader, clock), 0);
    return source;
  }
  static clockpage_timestamp Now(const clockpage_timestamp_source& source) {
    clockpage_timestamp t;
    EXPECT_EQ(clockpage_timestamp_now(&source, &t), CLOCKPAGE_OK);
    return t;
  }
  static clockpage_timestamp Now(const clockpage_view_timestamp_source& source) {
    clockpage_timestamp t;
    EXPECT_EQ(clockpage_view_timestamp_now(&source, &t), CLOCKPAGE_OK);
    return t;
  }

 private:
  std::unique_ptr<TestRegion> region_ = std::make_unique<TestRegion>(kHz, kRatio, 48);
  std::unique_ptr<TestView> view_ = std::make_unique<TestView>();
};

bool Before(const clockpage_timestamp& a, const clockpage_timestamp& b) {
  int answer = 7;
  EXPECT_EQ(clockpage_definitely_before(&a, &b, &answer), CLOCKPAGE_OK);
  return answer != 0;
}

bool OneClock(const clockpage_timestamp& a, const clockpage_timestamp& b) {
  return clockpage_timestamps_of_one_clock(&a, &b) != 0;
}

TEST_F(TimestampTest, IsTheReadingOfThePage) {
  for (const int clock : {CLOCKPAGE_TAI, CLOCKPAGE_REALTIME}) {
    const clockpage_timestamp_source source = Source(clock);
    clockpage_time time{};
    ASSERT_EQ(clockpage_now_bounds(&source.reader, clock, &time), CLOCKPAGE_OK);
    clockpage_timestamp at;
    ASSERT_EQ(clockpage_timestamp_at(&source, fake_counter, &at), CLOCKPAGE_OK);
    for (const clockpage_timestamp& t : {Now(source), at}) {
      EXPECT_EQ(t.ns, time.ns);
      EXPECT_EQ(t.earliest_ns, time.earliest_ns);
      EXPECT_EQ(t.latest_ns, time.latest_ns);
      EXPECT_EQ(t.epoch, time.epoch);
      EXPECT_EQ(t.status, CLOCKPAGE_STATUS_SYNCHRONISED);
      EXPECT_EQ(t.flags, 0);
      EXPECT_EQ(t.resolution_ns, 0);
      EXPECT_EQ(t.disruption_marker, 0u);
      EXPECT_EQ(t.time_scale, clock == CLOCKPAGE_TAI ? CLOCKPAGE_SCALE_TAI : CLOCKPAGE_SCALE_UTC);
    }
  }
}

TEST_F(TimestampTest, TellsBootsAndRegionsApart) {
  const clockpage_timestamp first = Now(Source(CLOCKPAGE_TAI));
  EXPECT_EQ(first.clock_id[0], 0x1716151413121110u ^ clockpage::testing::kTestGeneration);
  EXPECT_EQ(first.clock_id[1], 0x1f1e1d1c1b1a1918u);
  fake_counter += 100;
  EXPECT_TRUE(OneClock(first, Now(Source(CLOCKPAGE_TAI))));
  EXPECT_TRUE(OneClock(first, Now(Source(CLOCKPAGE_TAI, 1)))) << "TAI of the smeared page";
  EXPECT_FALSE(OneClock(first, Now(Source(CLOCKPAGE_REALTIME))));
  for (const unsigned byte : {0u, 15u}) {
    region->directory.boot_id[byte] ^= 1;
    EXPECT_FALSE(OneClock(first, Now(Source(CLOCKPAGE_TAI))));
    region->directory.boot_id[byte] ^= 1;
  }
  region->directory.generation++;
  for (auto& page : region->data) page.page.generation++;
  EXPECT_FALSE(OneClock(first, Now(Source(CLOCKPAGE_TAI))));
}

TEST_F(TimestampTest, RefusesWhatHasNoTimestamps) {
  clockpage_timestamp_source source;
  const clockpage_reader reader = region->Page(0, 0).Reader();
  const auto init = [&](int clock) {
    return clockpage_timestamp_source_init(&source, &reader, &region->directory, clock);
  };
  for (const int clock : {CLOCKPAGE_MONOTONIC, CLOCKPAGE_MONOTONIC_RAW, CLOCKPAGE_BOOTTIME, 12, -1})
    EXPECT_EQ(init(clock), CLOCKPAGE_E_CLOCK);
  EXPECT_EQ(clockpage_timestamp_source_init(nullptr, &reader, &region->directory, CLOCKPAGE_TAI),
            CLOCKPAGE_E_ARGUMENT);
  EXPECT_EQ(clockpage_timestamp_source_init(&source, &reader, nullptr, CLOCKPAGE_TAI),
            CLOCKPAGE_E_ARGUMENT);
  region->directory.generation++;
  EXPECT_EQ(init(CLOCKPAGE_TAI), CLOCKPAGE_E_STALE);
  region->directory.generation--;
  region->Page(0, 0).page.smear = CLOCKPAGE_SMEAR_LINEAR;  // of no length
  EXPECT_EQ(init(CLOCKPAGE_REALTIME), CLOCKPAGE_E_LAYOUT);
  region->Page(0, 0).page.smear = 200;
  EXPECT_EQ(init(CLOCKPAGE_REALTIME), CLOCKPAGE_E_LAYOUT);
}

TEST_F(TimestampTest, ReportsWhatReadingReports) {
  const clockpage_timestamp_source source = Source(CLOCKPAGE_TAI);
  clockpage_timestamp t;
  EXPECT_EQ(clockpage_timestamp_at(&source, kStart - 1, &t), CLOCKPAGE_E_OUT_OF_RANGE);
  Newest().flags = 0;
  EXPECT_EQ(clockpage_timestamp_now(&source, &t), CLOCKPAGE_E_TAI_UNKNOWN);
  region->Page(0, 0).page.revoked = 1;
  EXPECT_EQ(clockpage_timestamp_now(&source, &t), CLOCKPAGE_E_REVOKED);
}

TEST_F(TimestampTest, CarriesSmear) {
  const clockpage_timestamp smeared = Now(Source(CLOCKPAGE_REALTIME, 1));
  EXPECT_EQ(smeared.time_scale, CLOCKPAGE_SCALE_SMEAR_NOON);
  EXPECT_EQ(smeared.smear_start_s, -43200);
  EXPECT_EQ(smeared.smear_length_s, 86400u);
  const clockpage_timestamp utc = Now(Source(CLOCKPAGE_REALTIME));
  int answer = 7;
  EXPECT_EQ(clockpage_definitely_before(&utc, &smeared, &answer), CLOCKPAGE_E_SCALE);
  EXPECT_EQ(answer, 0);
  EXPECT_EQ(clockpage_overlaps(&utc, &smeared, &answer), CLOCKPAGE_E_SCALE);
  EXPECT_EQ(answer, 1) << "nothing is known, so nothing is ruled out";
  region->Page(0, 1).page.abi_minor = 0;  // which had no words for them
  region->Page(0, 1).page.smear_start_s = 0;
  region->Page(0, 1).page.smear_length_s = 0;
  EXPECT_EQ(Now(Source(CLOCKPAGE_REALTIME, 1)).smear_length_s, 86400u);
}

TEST_F(TimestampTest, CarriesStatusBoundsAndOverdue) {
  const clockpage_timestamp leased = Now(Source(CLOCKPAGE_TAI));
  Newest().utc_bound_ns = CLOCKPAGE_BOUND_UNKNOWN;
  Newest().status = CLOCKPAGE_STATUS_UNKNOWN;
  const clockpage_timestamp unbounded = Now(Source(CLOCKPAGE_TAI));
  EXPECT_EQ(unbounded.earliest_ns, INT64_MIN);
  EXPECT_EQ(unbounded.latest_ns, INT64_MAX);
  EXPECT_EQ(unbounded.status, CLOCKPAGE_STATUS_UNKNOWN);
  fake_counter = kStart + 16 * kLength;
  const clockpage_timestamp overdue = Now(Source(CLOCKPAGE_TAI));
  EXPECT_EQ(overdue.flags, CLOCKPAGE_TIMESTAMP_OVERDUE);
  EXPECT_EQ(overdue.status, CLOCKPAGE_STATUS_FREE_RUNNING);
  EXPECT_TRUE(OneClock(leased, unbounded));
  EXPECT_FALSE(OneClock(leased, overdue));
}

// One second after the other round an inserted leap second: no earlier one is called later.
TEST_F(TimestampTest, PutsNothingInTheWrongOrderRoundALeapSecond) {
  std::mt19937_64 random(seed_of_this_test());
  for (const std::int64_t change : {kSecond, -kSecond}) {
    for (auto& s : region->Page(0, 0).page.segment) {
      s.leap_start_ns = s.leap_end_ns = static_cast<std::int64_t>(Newest().tai_ns) + kSecond / 4;
      s.utc_offset_after_ns = s.utc_offset_ns + change;
    }
    region->Page(0, 0).Slot(kIndex).lease_end = kStart + 1000 * kLength;
    const clockpage_timestamp_source utc = Source(CLOCKPAGE_REALTIME), tai = Source(CLOCKPAGE_TAI);
    unsigned flagged = 0, definite = 0;
    for (unsigned i = 0; i < 20000; i++) {
      clockpage_timestamp a, b, true_a, true_b;
      // Two clocks that both are right, one of them rather vaguely.
      const auto vague = [&](clockpage_timestamp& t, clockpage_timestamp& truth) {
        fake_counter = kStart + 12 * kLength + random() % (8 * kLength);
        const auto width = static_cast<std::int64_t>(random() % (i % 2 ? 1'500'000'000 : 1000));
        const auto off =
            static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(2 * width + 1)) - width;
        truth = Now(tai);
        fake_counter += static_cast<std::uint64_t>(2 * off);  // what the clock says is off by this
        t = Now(utc);
        t.earliest_ns = t.ns - width - 1;
        t.latest_ns = t.ns + width + 1;
        t.clock_id[0] = random();
        flagged += (t.flags & (CLOCKPAGE_TIMESTAMP_AMBIGUOUS | CLOCKPAGE_TIMESTAMP_DELETION)) != 0;
      };
      vague(a, true_a);
      vague(b, true_b);
      if (!Before(a, b)) continue;
      definite++;
      ASSERT_LT(true_a.ns, true_b.ns) << "change " << change << ", " << a.ns << " and " << b.ns;
    }
    EXPECT_GT(flagged, 1000u);
    EXPECT_GT(definite, 3000u);
  }
}

// ---- through a view ------------------------------------------------------------------

TEST_F(TimestampTest, ThroughAViewIsTheSameClocks) {
  const clockpage_timestamp host = Now(Source(CLOCKPAGE_TAI));
  view->Newest().counter_offset = 12345;
  view->Newest().disruption_marker = 77;
  const clockpage_view_timestamp_source source = ViewSource(CLOCKPAGE_TAI);
  const std::uint64_t counter = fake_counter;
  fake_counter = counter + 12345 + 2;
  clockpage_timestamp at;
  ASSERT_EQ(clockpage_view_timestamp_at(&source, fake_counter, 77, &at), CLOCKPAGE_OK);
  for (const clockpage_timestamp& guest : {Now(source), at}) {
    EXPECT_EQ(guest.disruption_marker, 77u);
    EXPECT_TRUE(OneClock(host, guest));
    EXPECT_EQ(guest.ns, host.ns + 1);
    EXPECT_TRUE(Before(host, guest));
  }
  EXPECT_EQ(clockpage_view_timestamp_at(&source, fake_counter, 78, &at), CLOCKPAGE_E_DISRUPTED);
}

TEST_F(TimestampTest, SaysHowFineAViewsReadingsAre) {
  EXPECT_EQ(Now(ViewSource(CLOCKPAGE_TAI)).resolution_ns, 0);
  view->Newest().format = CLOCKPAGE_FORMAT_SCALED;
  view->Newest().counter_ratio = kRatio;
  view->Newest().counter_frac_bits = 48;
  const std::uint64_t counter = fake_counter;
  fake_counter = Image(counter);
  const clockpage_timestamp scaled = Now(ViewSource(CLOCKPAGE_TAI));
  EXPECT_EQ(scaled.resolution_ns, 2);
  EXPECT_EQ(scaled.flags, CLOCKPAGE_TIMESTAMP_SCALED);
  view->Newest().format = CLOCKPAGE_FORMAT_UNSCALED;
  for (const std::uint64_t ratio : {kRatio / 10 * 9, kRatio / 3, kRatio / 10 * 17}) {
    view->Newest().counter_ratio = ratio;
    const clockpage_view_timestamp_source source = ViewSource(CLOCKPAGE_TAI);
    const clockpage_timestamp_source host = Source(CLOCKPAGE_TAI);
    for (std::uint64_t c = counter; c < counter + 1000; c++) {
      clockpage_timestamp exact;
      ASSERT_EQ(clockpage_timestamp_at(&host, c, &exact), CLOCKPAGE_OK);
      fake_counter = clockpage_scale_counter(c, ratio, 48);
      const clockpage_timestamp t = Now(source);
      EXPECT_LT(t.resolution_ns, 16);
      ASSERT_LE(std::abs(t.ns - exact.ns), t.resolution_ns) << ratio << " at " << c;
      EXPECT_FALSE(Before(t, exact)) << ratio << " at " << c;
      EXPECT_FALSE(Before(exact, t)) << ratio << " at " << c;
    }
  }
  view->Newest().counter_ratio = std::uint64_t{1} << 30;  // a guest of some kHz
  fake_counter = clockpage_scale_counter(counter, view->Newest().counter_ratio, 48);
  EXPECT_EQ(Now(ViewSource(CLOCKPAGE_TAI)).resolution_ns, CLOCKPAGE_RESOLUTION_NONE);
}

// The view goes over to another slot: `change` is made to that one.
void Publish(void (*change)(clockpage_view_slot&)) {
  clockpage_view_slot slot = view->Newest();
  slot.number++;
  change(slot);
  view->page.slot[slot.number % CLOCKPAGE_VIEW_SLOT_COUNT] = slot;
  view->page.index++;
}

TEST_F(TimestampTest, FollowsItsView) {
  const clockpage_view_timestamp_source source = ViewSource(CLOCKPAGE_REALTIME);
  EXPECT_EQ(Now(source).time_scale, CLOCKPAGE_SCALE_UTC);
  Publish([](clockpage_view_slot& slot) { slot.smear = 1; });
  EXPECT_EQ(Now(source).time_scale, CLOCKPAGE_SCALE_SMEAR_NOON);
  EXPECT_EQ(Now(source).smear_length_s, 86400u);
}

// Whatever happens between the counter and the end: never times of one page or host under the name
// of another.
TEST_F(TimestampTest, IsOfOneViewAndOneHostIfTheyChangeMeanwhile) {
  const clockpage_view_timestamp_source source = ViewSource(CLOCKPAGE_REALTIME);
  const clockpage_timestamp before = Now(source);
  for (auto& s : region->Page(0, 1).page.segment) s.epoch = 99;
  on_counter = [] {
    on_counter = nullptr;
    Publish([](clockpage_view_slot& slot) {
      slot.smear = 1;
      slot.disruption_marker = 5;
    });
  };
  const clockpage_timestamp smeared = Now(source);
  EXPECT_EQ(smeared.time_scale, CLOCKPAGE_SCALE_SMEAR_NOON);
  EXPECT_EQ(smeared.epoch, 99u);
  EXPECT_EQ(smeared.disruption_marker, 5u);

  on_counter = [] {  // migrated: other files behind the mappings
    on_counter = nullptr;
    region->directory.boot_id[3] ^= 0xff;
    region->directory.generation++;
    for (auto& page : region->data) page.page.generation++;
    view->page.generation++;
    clockpage_view_slot slot = view->Newest();
    slot.smear = 0;
    slot.number = 0x777777;
    view->page.slot[3] = slot;
    view->page.index = 0x777777;
  };
  const clockpage_timestamp migrated = Now(source);
  EXPECT_EQ(migrated.time_scale, CLOCKPAGE_SCALE_UTC);
  EXPECT_NE(migrated.clock_id[0], before.clock_id[0]);
  EXPECT_FALSE(OneClock(before, migrated));
}

TEST_F(TimestampTest, IsOfOneViewIfThatHasChangedAndChangesAgain) {
  const clockpage_view_timestamp_source source = ViewSource(CLOCKPAGE_REALTIME);
  for (auto& s : region->Page(0, 0).page.segment) s.epoch = 98;
  for (auto& s : region->Page(0, 1).page.segment) s.epoch = 99;
  for (unsigned changes = 1; changes < 12; changes++) {
    static unsigned left;
    left = changes;
    Publish([](clockpage_view_slot& slot) { slot.smear ^= 1; });
    on_counter = [] {
      if (left == 0) return;
      left--;
      Publish([](clockpage_view_slot& slot) { slot.smear ^= 1; });
    };
    clockpage_timestamp t;
    const int error = clockpage_view_timestamp_now(&source, &t);
    ASSERT_TRUE(!error || (changes > 5 && error == CLOCKPAGE_E_BUSY)) << error;
    if (error) continue;
    EXPECT_EQ(t.epoch, t.time_scale == CLOCKPAGE_SCALE_UTC ? 98u : 99u) << changes;
  }
}

TEST_F(TimestampTest, WithoutAViewSaysThatTheRegionIsAnother) {
  const clockpage_timestamp_source source = Source(CLOCKPAGE_TAI);
  on_counter = [] { region->Page(0, 0).page.generation++; };
  clockpage_timestamp t;
  EXPECT_EQ(clockpage_timestamp_now(&source, &t), CLOCKPAGE_E_STALE);
}

TEST_F(TimestampTest, GivesUpOnAViewThatNeverRests) {
  const clockpage_view_timestamp_source source = ViewSource(CLOCKPAGE_TAI);
  on_counter = [] { Publish([](clockpage_view_slot&) {}); };
  clockpage_timestamp t;
  EXPECT_EQ(clockpage_view_timestamp_now(&source, &t), CLOCKPAGE_E_BUSY);
}

TEST_F(TimestampTest, RefusesViewsThatNameNoPage) {
  clockpage_view_timestamp_source source;
  const clockpage_view_reader reader = view->Reader(*region);
  EXPECT_EQ(clockpage_view_timestamp_source_init(&source, &reader, CLOCKPAGE_BOOTTIME),
            CLOCKPAGE_E_CLOCK);
  EXPECT_EQ(clockpage_view_timestamp_source_init(&source, nullptr, CLOCKPAGE_TAI),
            CLOCKPAGE_E_ARGUMENT);
  region->directory.data_page[0].offset_bytes = 0xfffff000;
  EXPECT_EQ(clockpage_view_timestamp_source_init(&source, &reader, CLOCKPAGE_TAI),
            CLOCKPAGE_E_LAYOUT);
  region->directory.data_page[0].offset_bytes = CLOCKPAGE_PAGE_SIZE;
  view->Newest().counter_ratio = 0;  // withdrawn
  EXPECT_EQ(clockpage_view_timestamp_source_init(&source, &reader, CLOCKPAGE_TAI),
            CLOCKPAGE_E_VIEW);
}

TEST(TimestampEncodeTest, WritesNothingThatCouldNotBeDecoded) {
  clockpage_timestamp t = {};
  std::uint8_t wire[CLOCKPAGE_TIMESTAMP_SIZE] = {42};
  EXPECT_EQ(clockpage_timestamp_encode(&t, wire), CLOCKPAGE_OK);
  wire[0] = 42;
  t.status = 5;
  EXPECT_EQ(clockpage_timestamp_encode(&t, wire), CLOCKPAGE_E_LAYOUT);
  t.status = 0;
  t.earliest_ns = 1;
  EXPECT_EQ(clockpage_timestamp_encode(&t, wire), CLOCKPAGE_E_LAYOUT);
  EXPECT_EQ(clockpage_timestamp_encode(nullptr, wire), CLOCKPAGE_E_ARGUMENT);
  EXPECT_EQ(wire[0], 42);
  EXPECT_EQ(clockpage_timestamp_decode(nullptr, sizeof wire, &t), CLOCKPAGE_E_ARGUMENT);
  EXPECT_EQ(clockpage_timestamp_decode(wire, sizeof wire, nullptr), CLOCKPAGE_E_ARGUMENT);
}

// Random bytes are refused, or are exactly what encoding gives again.
TEST(TimestampDecodeTest, OfAnyBytesIsRefusedOrOneOfAKind) {
  std::mt19937_64 random(seed_of_this_test());
  unsigned good = 0;
  for (unsigned i = 0; i < 200000; i++) {
    std::uint8_t wire[CLOCKPAGE_TIMESTAMP_SIZE], again[sizeof wire];
    for (auto& byte : wire) byte = static_cast<std::uint8_t>(random() >> 56);
    if (i % 8 != 0) wire[0] = CLOCKPAGE_TIMESTAMP_VERSION;
    if (i % 2 != 0) {  // plausible
      wire[1] &= 1;
      wire[2] &= wire[1] ? 0xf3 : 0x93;
      for (unsigned b = 0x08; b < 0x10; b++) wire[b] = 0;
      wire[0x2f] = 0x80;
      wire[0x37] = 0x7f;
    }
    clockpage_timestamp t;
    if (clockpage_timestamp_decode(wire, sizeof wire, &t)) continue;
    good++;
    ASSERT_EQ(clockpage_timestamp_encode(&t, again), CLOCKPAGE_OK);
    ASSERT_EQ(std::memcmp(wire, again, sizeof wire), 0);
  }
  EXPECT_GT(good, 10000u);
}

}  // namespace
