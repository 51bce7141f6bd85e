// SPDX-License-Identifier: MIT
#include "page_writer.hpp"

#include <gtest/gtest.h>

#include <random>

#include "sim_harness.hpp"

namespace clockpage::producer {
namespace {

constexpr std::uint64_t kHz = 2'300'000'000;
constexpr std::uint64_t kStart = 1'000'000'000'000;

// (a * b) >> shift in 32-bit limbs: no 128-bit type, on purpose. shift 32 or 48.
std::uint64_t multiply_shift(std::uint64_t a, std::uint64_t b, unsigned shift) {
  const std::uint64_t mask = 0xffffffff;
  const std::uint64_t low = (a & mask) * (b & mask);
  const std::uint64_t one = (a >> 32) * (b & mask) + (low >> 32);
  const std::uint64_t two = (a & mask) * (b >> 32) + (one & mask);
  const std::uint64_t product_low = two << 32 | (low & mask);
  const std::uint64_t product_high = (a >> 32) * (b >> 32) + (one >> 32) + (two >> 32);
  return product_low >> shift | product_high << (64 - shift);
}

TEST(ScaleTest, AgreesWithLongMultiplication) {
  std::mt19937_64 random(1);
  for (const std::uint8_t bits : {std::uint8_t{32}, std::uint8_t{48}})
    for (const std::uint64_t hz : {800'000'000ULL, 1'000'000'000ULL, 2'300'123'000ULL}) {
      const Scale scale{one_ghz_ratio(hz, bits), bits};
      for (int i = 0; i < 1000; i++) {
        const std::uint64_t counter = random();
        ASSERT_EQ(scale.apply(counter), multiply_shift(counter, scale.ratio, bits));
      }
    }
  EXPECT_EQ(Scale{}.apply(123), 123U);
}

TEST(ScaleTest, RemainderIsTheTimeThatScalingCutsOff) {
  std::mt19937_64 random(2);
  for (const std::uint8_t bits : {std::uint8_t{32}, std::uint8_t{48}})
    for (const std::uint64_t hz : {1'000'000'000ULL, 2'300'123'000ULL, 5'000'000'000ULL}) {
      const Scale scale{one_ghz_ratio(hz, bits), bits};
      const Period period = nominal_period(hz) - 1;  // below 2^64 at 1 GHz, too
      for (int i = 0; i < 1000; i++) {
        const std::uint64_t counter = random();
        // What is left over, in host ticks times 2^bits: below 2^48, so that all fits 128 bits.
        const clockpage_u128 left =
            clockpage_u128{counter} * scale.ratio & ((clockpage_u128{1} << bits) - 1);
        const Instant exact = left * period / scale.ratio;
        const auto off = difference(scale.remainder(counter, period), exact);
        ASSERT_LT(std::abs(to_double_ns(off)), 1e-12) << hz << ' ' << counter;
      }
    }
  EXPECT_TRUE(Scale{}.remainder(12345, nominal_period(kHz)) == 0);
}

TEST(DeltaShiftTest, IsTheSmallestThatLeavesHeadroomForSlewing) {
  EXPECT_EQ(delta_shift_for(nominal_period(1'000'000'000)), 1);
  EXPECT_EQ(delta_shift_for(nominal_period(1'070'000'000)), 0);
  EXPECT_EQ(delta_shift_for(nominal_period(2'300'000'000)), 0);
  for (std::uint64_t hz = 1'000'000; hz < 6'000'000'000; hz += hz / 7) {
    const std::uint8_t shift = delta_shift_for(nominal_period(hz));
    const Period nominal = nominal_period(hz);
    const Period fastest = nominal + nominal / 90;  // 500 ppm and the greatest slew
    const Period ample = nominal + nominal / 16;
    EXPECT_TRUE(fastest >> shift >> 64 == 0) << hz;
    EXPECT_TRUE(shift == 0 || ample >> (shift - 1) >> 64 != 0) << hz;
  }
}

Segment some_segment(std::uint64_t number) {
  Segment s;
  s.number = number;
  s.tai = {kStart, make_instant(1'700'000'000'000'000'000, 77),
           static_cast<std::uint64_t>(nominal_period(kHz)), 0};
  s.raw = {kStart, make_instant(1'000'000'000, 99),
           static_cast<std::uint64_t>(nominal_period(kHz)) + 12345, 0};
  s.lease_end = kStart + kHz / 250;
  s.terms.utc.before_ns = s.terms.utc.after_ns = 37'000'000'000;
  s.terms.monotonic_offset_ns = 1'699'999'990'000'000'000;
  s.terms.boottime_offset_ns = 1'699'999'000'000'000'000;
  s.terms.utc_bound_ns = 1'000'000;
  s.terms.utc_bound_growth_frac = ~std::uint64_t{0} / 2000;
  s.terms.local_bound_ns = 50;
  s.terms.local_bound_growth_frac = ~std::uint64_t{0} / 1000;
  s.terms.epoch = 3;
  s.terms.flags = CLOCKPAGE_SEGMENT_TAI_KNOWN;
  s.terms.status = CLOCKPAGE_STATUS_SYNCHRONISED;
  return s;
}

class PageWriterTest : public testing::Test {
 protected:
  static std::vector<std::byte> image() {
    RegionIdentity identity;
    identity.first_index = 1000;
    identity.counter = {kThisCounterKind, kHz, 1, 0, 0, 48};
    return region_image(identity, kHz / 250, some_segment(0));
  }

  MemoryRegion region_{image()};
  PageWriter page_{*region_.page(0)};
  clockpage_reader reader_ = region_.reader(0);
};

TEST_F(PageWriterTest, LoadsEveryWordThatItFilled) {
  Segment s = some_segment(page_.index() + 1);
  s.terms.reason = CLOCKPAGE_REASON_CATCHING_UP;
  s.terms.leap_indicator = CLOCKPAGE_LEAP_IN_SMEAR;
  s.terms.utc.start_ns = 11;
  s.terms.utc.end_ns = 22;
  s.terms.utc.after_ns = 33;
  s.terms.utc.slope_frac = 44;
  page_.fill_next(s);
  ASSERT_TRUE(page_.publish());
  const Segment got = page_.newest();
  EXPECT_EQ(got.number, s.number);
  EXPECT_EQ(got.tai.start, s.tai.start);
  EXPECT_TRUE(got.tai.base == s.tai.base);
  EXPECT_EQ(got.tai.period_frac, s.tai.period_frac);
  EXPECT_TRUE(got.raw.base == s.raw.base);
  EXPECT_EQ(got.raw.period_frac, s.raw.period_frac);
  EXPECT_EQ(got.lease_end, s.lease_end);
  const Terms& a = got.terms;
  const Terms& b = s.terms;
  EXPECT_EQ(a.utc.before_ns, b.utc.before_ns);
  EXPECT_EQ(a.monotonic_offset_ns, b.monotonic_offset_ns);
  EXPECT_EQ(a.boottime_offset_ns, b.boottime_offset_ns);
  EXPECT_EQ(a.utc_bound_ns, b.utc_bound_ns);
  EXPECT_EQ(a.utc_bound_growth_frac, b.utc_bound_growth_frac);
  EXPECT_EQ(a.local_bound_ns, b.local_bound_ns);
  EXPECT_EQ(a.local_bound_growth_frac, b.local_bound_growth_frac);
  EXPECT_EQ(a.epoch, b.epoch);
  EXPECT_EQ(a.flags, b.flags);
  EXPECT_EQ(a.status, b.status);
  EXPECT_EQ(a.reason, b.reason);
  EXPECT_EQ(a.leap_indicator, b.leap_indicator);
  EXPECT_EQ(a.utc.start_ns, b.utc.start_ns);
  EXPECT_EQ(a.utc.end_ns, b.utc.end_ns);
  EXPECT_EQ(a.utc.after_ns, b.utc.after_ns);
  EXPECT_EQ(a.utc.slope_frac, b.utc.slope_frac);
}

TEST_F(PageWriterTest, ShowsReadersNothingBeforeItPublishes) {
  clockpage_time before{};
  ASSERT_EQ(clockpage_at_bounds(&reader_, CLOCKPAGE_REALTIME, kStart + 5, &before), 0);
  Segment s = page_.newest();
  s.tai.base = add_ns(s.tai.base, 1'000'000);
  page_.fill_next(s);
  clockpage_time after{};
  ASSERT_EQ(clockpage_at_bounds(&reader_, CLOCKPAGE_REALTIME, kStart + 5, &after), 0);
  EXPECT_EQ(after.ns, before.ns);
}

TEST_F(PageWriterTest, DoesNotPublishOverASecondWriter) {
  page_.fill_next(continued(page_.newest(), kStart + kHz));
  PageWriter other(*region_.page(0));
  other.fill_next(continued(other.newest(), kStart + 2 * kHz));
  ASSERT_TRUE(other.publish());
  const std::uint64_t index = other.index();
  EXPECT_FALSE(page_.publish());
  EXPECT_EQ(other.index(), index);
}

TEST_F(PageWriterTest, RevocationIsForGood) {
  page_.revoke(CLOCKPAGE_REVOKED_COUNTER);
  std::int64_t ns = 0;
  EXPECT_EQ(clockpage_at(&reader_, CLOCKPAGE_MONOTONIC, kStart, &ns), CLOCKPAGE_E_REVOKED);
  page_.fill_next(continued(page_.newest(), kStart + kHz));
  ASSERT_TRUE(page_.publish());
  EXPECT_EQ(clockpage_at(&reader_, CLOCKPAGE_MONOTONIC, kStart + kHz / 2, &ns),
            CLOCKPAGE_E_REVOKED);
}

TEST_F(PageWriterTest, ContinuedIsTheSameFunctionWithNoNarrowerBounds) {
  for (int i = 0; i < 4; i++) {
    const clockpage_reader reader = region_.reader(static_cast<std::size_t>(i));
    const std::uint64_t end =
        PageWriter(*region_.page(static_cast<std::size_t>(i))).newest().lease_end;
    std::vector<std::uint64_t> counters;
    for (std::uint64_t c = end; c < end + kHz / 10; c += kHz / 997) counters.push_back(c);
    for (const int clock : {0, 1, 4, 7, 11}) {
      std::vector<clockpage_time> overdue(counters.size());
      for (std::size_t k = 0; k < counters.size(); k++)
        ASSERT_EQ(clockpage_at_bounds(&reader, clock, counters[k], &overdue[k]), 0);
      const std::uint64_t index = region_.page(static_cast<std::size_t>(i))->index;
      PageWriter page(*region_.page(static_cast<std::size_t>(i)));  // takes the index as it is
      page.fill_next(continued(page.newest(), end + kHz));
      ASSERT_TRUE(page.publish());
      for (std::size_t k = 0; k < counters.size(); k++) {
        clockpage_time leased{};
        ASSERT_EQ(clockpage_at_bounds(&reader, clock, counters[k], &leased), 0);
        ASSERT_NE(overdue[k].flags & CLOCKPAGE_TIME_OVERDUE, 0U);
        ASSERT_EQ(leased.flags & CLOCKPAGE_TIME_OVERDUE, 0U);
        ASSERT_EQ(leased.ns, overdue[k].ns);
        ASSERT_EQ(leased.epoch, overdue[k].epoch);
        ASSERT_LE(leased.earliest_ns, overdue[k].earliest_ns);
        ASSERT_GE(leased.latest_ns, overdue[k].latest_ns);
        ASSERT_LT(leased.latest_ns - overdue[k].latest_ns, 6);  // rounding up, twice
      }
      region_.page(static_cast<std::size_t>(i))->index = index;
    }
  }
}

TEST(ContinuedTest, BeginsWhereTheLeaseEndsToTheLastBit) {
  const Segment s = some_segment(7);
  const Segment next = continued(s, s.lease_end + 1000);
  EXPECT_EQ(next.tai.start, s.lease_end);
  EXPECT_EQ(next.raw.start, s.lease_end);
  EXPECT_EQ(next.lease_end, s.lease_end + 1000);
  for (const std::uint64_t c : {s.lease_end, s.lease_end + 1, s.lease_end + kHz}) {
    EXPECT_TRUE(next.tai.at(c) == s.tai.at(c));
    EXPECT_TRUE(next.raw.at(c) == s.raw.at(c));
  }
}

TEST(ContinuedTest, IsABridgeAndNoDiscontinuity) {
  Segment s = some_segment(7);
  s.terms.flags |= CLOCKPAGE_SEGMENT_REALTIME_STEP | CLOCKPAGE_SEGMENT_TAI_STEP;
  const Segment next = continued(s, s.lease_end + 1000);
  EXPECT_EQ(next.terms.flags, CLOCKPAGE_SEGMENT_TAI_KNOWN | CLOCKPAGE_SEGMENT_BRIDGE);
  EXPECT_EQ(next.terms.epoch, s.terms.epoch);
  EXPECT_EQ(next.terms.status, s.terms.status);
}

TEST(ContinuedTest, KeepsABoundUnknownAndLetsNoneOverflow) {
  Segment s = some_segment(7);
  s.terms.utc_bound_ns = CLOCKPAGE_BOUND_UNKNOWN;
  s.terms.local_bound_ns = CLOCKPAGE_BOUND_UNKNOWN - 3;
  const Segment next = continued(s, s.lease_end + kHz);
  EXPECT_EQ(next.terms.utc_bound_ns, CLOCKPAGE_BOUND_UNKNOWN);
  EXPECT_EQ(next.terms.local_bound_ns, CLOCKPAGE_BOUND_UNKNOWN);
}

}  // namespace
}  // namespace clockpage::producer
