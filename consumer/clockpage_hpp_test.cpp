// SPDX-License-Identifier: MIT
//
// The std::chrono side: types, readings against synthetic pages, ownership, threads.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <clockpage/clockpage.hpp>
#include <cstdlib>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "test_pages.hpp"

namespace clockpage::test {
namespace {

using namespace std::chrono_literals;

// ---- types -----------------------------------------------------------------------------

template <class Clock, int Id, bool Steady>
constexpr bool is_a_clock =
    std::chrono::is_clock_v<Clock>&& page_clock<Clock>&& Clock::id == Id&& Clock::is_steady ==
    Steady&& std::is_same_v<typename Clock::duration, std::chrono::nanoseconds>&&
        std::is_same_v<typename Clock::time_point::clock, Clock>&&
            std::is_same_v<decltype(Clock::now()), typename Clock::time_point>;

static_assert(is_a_clock<realtime_clock, CLOCKPAGE_REALTIME, false>);
static_assert(is_a_clock<smeared_clock, CLOCKPAGE_REALTIME, false>);
static_assert(is_a_clock<tai_clock, CLOCKPAGE_TAI, false>);
static_assert(is_a_clock<monotonic_clock, CLOCKPAGE_MONOTONIC, true>);
static_assert(is_a_clock<monotonic_raw_clock, CLOCKPAGE_MONOTONIC_RAW, true>);
static_assert(is_a_clock<boottime_clock, CLOCKPAGE_BOOTTIME, true>);
static_assert(!page_clock<std::chrono::system_clock>);

// Times of different clocks do not mix.
static_assert(
    !std::is_convertible_v<realtime_clock::time_point, tai_clock::time_point> &&
    !std::is_constructible_v<monotonic_clock::time_point, monotonic_raw_clock::time_point>);

static_assert(!std::is_constructible_v<realtime_clock::time_point, smeared_clock::time_point> &&
              !std::is_constructible_v<smeared_clock::time_point, realtime_clock::time_point>);
// A smeared time is not UTC: nothing makes a sys_time of it unasked.
template <class Clock>
concept has_to_sys = requires(typename Clock::time_point t) {
  Clock::to_sys(t);
};
static_assert(has_to_sys<realtime_clock> && !has_to_sys<smeared_clock>);

// A region has one owner.
static_assert(!std::is_copy_constructible_v<region> && !std::is_copy_assignable_v<region> &&
              std::is_nothrow_move_constructible_v<region> &&
              std::is_nothrow_move_assignable_v<region>);

// The hot path cannot throw, and its results are as cheap to pass as what they hold.
template <class Clock>
constexpr bool reads_without_throwing(const region& r, std::uint64_t counter,
                                      std::span<const std::uint64_t> counters,
                                      std::span<typename Clock::time_point> times,
                                      std::chrono::nanoseconds limit) {
  static_assert(noexcept(now<Clock>(r)));
  static_assert(noexcept(now_relaxed<Clock>(r)));
  static_assert(noexcept(now_bounds<Clock>(r)));
  static_assert(noexcept(at<Clock>(r, counter)));
  static_assert(noexcept(at_bounds<Clock>(r, counter)));
  static_assert(noexcept(at<Clock>(r, counters, times)));
  static_assert(noexcept(now_leased<Clock>(r, limit)));
  return true;
}
template bool reads_without_throwing<realtime_clock>(const region&, std::uint64_t,
                                                     std::span<const std::uint64_t>,
                                                     std::span<realtime_clock::time_point>,
                                                     std::chrono::nanoseconds);
static_assert(std::is_trivially_copyable_v<result<tai_clock::time_point>> &&
              sizeof(result<tai_clock::time_point>) == 16 &&
              std::is_trivially_copyable_v<reading<tai_clock>>);

// ---- conversions -----------------------------------------------------------------------

TEST(RealtimeClockTest, ConvertsToAndFromSysTime) {
  constexpr realtime_clock::time_point t{1'483'228'800s};
  static_assert(realtime_clock::to_sys(t) ==
                std::chrono::sys_days{std::chrono::year{2017} / 1 / 1});
  static_assert(realtime_clock::from_sys(realtime_clock::to_sys(t)) == t);
  EXPECT_EQ(realtime_clock::to_sys(realtime_clock::time_point{-1ns}).time_since_epoch(), -1ns);
}

TEST(TaiClockTest, CountsFrom1970WhereTheStandardsClockCountsFrom1958) {
  using std::chrono::sys_days;
  using std::chrono::year;
  EXPECT_EQ(sys_days{year{1970} / 1 / 1} - sys_days{year{1958} / 1 / 1},
            tai_clock::std_epoch_offset);
  // 2017-01-01 00:00:00 UTC: TAI - UTC is 37 s; std::chrono::tai_clock's count is from
  // [time.clock.tai]: UTC time since 1970, leap seconds counted, + 378,691,210 s.
  const tai_clock::time_point t{1'483'228'800s + 37s};
  const auto leap_seconds_since_1972 = 27s;
  EXPECT_EQ(tai_clock::since_1958(t), 1'483'228'800s + leap_seconds_since_1972 + 378'691'210s);
  EXPECT_EQ(tai_clock::since_1958(t), 1'861'920'037s);
  EXPECT_EQ(tai_clock::from_1958(1'861'920'037s), t);
#if defined(__cpp_lib_chrono) && __cpp_lib_chrono >= 201907L
  EXPECT_EQ(tai_clock::to_utc(t), std::chrono::utc_clock::from_sys(sys_days{year{2017} / 1 / 1}));
  EXPECT_EQ(tai_clock::from_utc(tai_clock::to_utc(t)), t);
#endif
}

TEST(ErrorTest, IsAnErrorCodeWithTheLibrarysText) {
  const std::error_code code = errc::revoked;
  EXPECT_EQ(code.value(), CLOCKPAGE_E_REVOKED);
  EXPECT_STREQ(code.category().name(), "clockpage");
  EXPECT_EQ(code.message(), clockpage_strerror(CLOCKPAGE_E_REVOKED));
  EXPECT_EQ(code, errc::revoked);
  EXPECT_NE(code, errc::busy);
}

TEST(ResultTest, HoldsAValueOrAnError) {
  const result<int> good(7, CLOCKPAGE_OK);
  EXPECT_TRUE(good);
  EXPECT_FALSE(good.error());
  EXPECT_EQ(*good, 7);
  EXPECT_EQ(good.value(), 7);
  EXPECT_EQ(good.value_or(8), 7);
  const result<int> bad(0, CLOCKPAGE_E_BUSY);
  EXPECT_FALSE(bad);
  EXPECT_EQ(bad.code(), CLOCKPAGE_E_BUSY);
  EXPECT_EQ(bad.error(), errc::busy);
  EXPECT_EQ(bad.value_or(8), 8);
  try {
    (void)bad.value();
    FAIL() << "no exception";
  } catch (const std::system_error& exception) {
    EXPECT_EQ(exception.code(), errc::busy);
  }
}

// ---- readings --------------------------------------------------------------------------

template <class Clock>
class ReadingTest : public testing::Test {
 protected:
  using time_point = typename Clock::time_point;

  // What the plan says a clock is at newest_start.
  static time_point expected(const region_plan& p) {
    const auto tai = static_cast<std::int64_t>(p.newest_tai_ns);
    switch (Clock::id) {
      case CLOCKPAGE_REALTIME:
        return time_point{std::chrono::nanoseconds{tai - p.utc_offset_ns}};
      case CLOCKPAGE_MONOTONIC:
        return time_point{std::chrono::nanoseconds{tai - p.monotonic_offset_ns}};
      case CLOCKPAGE_BOOTTIME:
        return time_point{std::chrono::nanoseconds{tai - p.boottime_offset_ns}};
      case CLOCKPAGE_MONOTONIC_RAW:
        return time_point{std::chrono::nanoseconds{static_cast<std::int64_t>(p.newest_raw_ns)}};
      default:
        return time_point{std::chrono::nanoseconds{tai}};
    }
  }
  static std::uint64_t half_width(const region_plan& p) {
    const bool utc = Clock::id == CLOCKPAGE_REALTIME || Clock::id == CLOCKPAGE_TAI;
    return utc ? p.utc_bound_ns : p.local_bound_ns;
  }
};

using clocks = testing::Types<realtime_clock, tai_clock, monotonic_clock, monotonic_raw_clock,
                              boottime_clock, smeared_clock>;
struct clock_name {
  template <class Clock>
  static std::string GetName(int) {
    return (std::is_same_v<Clock, smeared_clock> ? "smeared_clock_" : "clock_") +
           std::to_string(Clock::id);
  }
};
TYPED_TEST_SUITE(ReadingTest, clocks, clock_name);

TYPED_TEST(ReadingTest, EvaluatesACapturedCounterValue) {
  region_image image;
  const region r(image.reader());
  const std::uint64_t start = image.plan().newest_start;
  const auto base = this->expected(image.plan());
  EXPECT_EQ(at<TypeParam>(r, start).value(), base);
  EXPECT_EQ(at<TypeParam>(r, start + 2001).value(), base + 1000ns);  // rounded down
  EXPECT_EQ(at<TypeParam>(r, start - 2000).value(), base - 1000ns);
  EXPECT_EQ(at<TypeParam>(r, start - 13 * image.plan().period_ticks).value(), base - 13 * 4ms);
  EXPECT_EQ(at<TypeParam>(r, start - 15 * image.plan().period_ticks).error(), errc::out_of_range);
}

TYPED_TEST(ReadingTest, GivesBoundsStatusAndWhatTheyRestOn) {
  region_image image;
  const region r(image.reader());
  const std::uint64_t counter = image.plan().newest_start + 2000;
  const reading<TypeParam> t = at_bounds<TypeParam>(r, counter);
  ASSERT_TRUE(t) << t.error().message();
  EXPECT_FALSE(t.error());
  EXPECT_EQ(t.value(), this->expected(image.plan()) + 1us);
  const std::chrono::nanoseconds least(this->half_width(image.plan()));
  EXPECT_LE(t.earliest(), t.value() - least);
  EXPECT_GE(t.earliest(), t.value() - least - 3ns);
  EXPECT_GE(t.latest(), t.value() + least);
  EXPECT_LE(t.latest(), t.value() + least + 3ns);
  EXPECT_TRUE(t.is_bounded());
  EXPECT_EQ(t.status(), clock_status::synchronised);
  EXPECT_EQ(t.flags(), CLOCKPAGE_TIME_TAI_KNOWN);
  EXPECT_FALSE(t.is_overdue());
  EXPECT_EQ(t.epoch(), image.plan().epoch);
  EXPECT_EQ(t.counter(), counter);
  EXPECT_EQ(t.reason(), CLOCKPAGE_REASON_NONE);
  EXPECT_EQ(t.leap_indicator(), leap_state::none);
  EXPECT_EQ(t.smear(), smear_kind::none);
  EXPECT_FALSE(t.is_ambiguous());
  EXPECT_FALSE(t.is_host_in_smear());
  ASSERT_TRUE(midpoint(t));
  EXPECT_EQ(*midpoint(t), t.value());
}

TYPED_TEST(ReadingTest, SaysWhereTheLeapSecondIs) {
  region_image image;
  clockpage_segment& s = region_image::segment(image.page());
  s.leap_start_ns = s.leap_end_ns = static_cast<std::int64_t>(s.tai_ns) + 1000;
  s.utc_offset_after_ns = s.utc_offset_ns + 1'000'000'000;
  s.flags |= CLOCKPAGE_SEGMENT_HOST_IN_SMEAR;
  const region r(image.reader());
  const std::uint64_t leap = image.plan().newest_start + 2000;  // two ticks are a ns
  const auto before = at_bounds<TypeParam>(r, leap - 1);
  const auto after = at_bounds<TypeParam>(r, leap);
  EXPECT_EQ(before.leap_indicator(), leap_state::pending_insertion);
  EXPECT_EQ(after.leap_indicator(), leap_state::just_past);
  EXPECT_EQ(before.is_ambiguous(), TypeParam::id == CLOCKPAGE_REALTIME);
  EXPECT_EQ(after.is_ambiguous(), TypeParam::id == CLOCKPAGE_REALTIME);
  EXPECT_TRUE(after.is_host_in_smear());
}

// On a smeared page REALTIME is another time scale; all other clocks are the same.
TYPED_TEST(ReadingTest, DoesNotTakeASmearedPageForUtc) {
  region_image image;
  const region r(image.reader(CLOCKPAGE_FORMAT_UNSCALED, 1));
  EXPECT_TRUE(r.is_smeared());
  EXPECT_EQ(r.smear(), (smear_info{smear_kind::noon, -12h, 24h}));
  const int code = std::is_same_v<TypeParam, realtime_clock> ? CLOCKPAGE_E_CLOCK : CLOCKPAGE_OK;
  const std::uint64_t counter = image.plan().newest_start;
  const std::array<std::uint64_t, 2> counters = {counter, counter + 1};
  std::array<typename TypeParam::time_point, 2> times{};
  EXPECT_EQ(now<TypeParam>(r).code(), code);
  EXPECT_EQ(now_relaxed<TypeParam>(r).code(), code);
  EXPECT_EQ(now_bounds<TypeParam>(r).code(), code);
  EXPECT_EQ(at<TypeParam>(r, counter).code(), code);
  EXPECT_EQ(at_bounds<TypeParam>(r, counter).code(), code);
  EXPECT_EQ(at_bounds<TypeParam>(r, counter).smear(),
            code == CLOCKPAGE_OK ? smear_kind::noon : smear_kind::none);
  const conversion done = at<TypeParam>(r, counters, times);
  EXPECT_EQ(done.code, code);
  EXPECT_EQ(done.converted, code == CLOCKPAGE_OK ? 2u : 0u);
  EXPECT_EQ(now_leased<TypeParam>(r, 0ns).code(),
            code == CLOCKPAGE_OK ? CLOCKPAGE_E_OVERDUE : CLOCKPAGE_E_CLOCK);
}

TYPED_TEST(ReadingTest, ReadsTheSmearedPageOfAHostThatSmearsNothing) {
  region_image image;
  clockpage_data_page& page = image.page(CLOCKPAGE_FORMAT_UNSCALED, 1);
  page.smear = CLOCKPAGE_SMEAR_NONE;
  page.smear_start_s = 0;
  page.smear_length_s = 0;
  const region r(image.reader(CLOCKPAGE_FORMAT_UNSCALED, 1));
  EXPECT_FALSE(r.is_smeared());
  EXPECT_EQ(r.smear(), smear_info{});
  EXPECT_TRUE(at<TypeParam>(r, image.plan().newest_start));
}

TYPED_TEST(ReadingTest, SaysSoAtTheLeasesEnd) {
  region_image image;
  const region r(image.reader());
  const std::uint64_t end = image.plan().newest_start + image.plan().period_ticks;
  EXPECT_FALSE(at_bounds<TypeParam>(r, end - 1).is_overdue());
  const auto t = at_bounds<TypeParam>(r, end);
  EXPECT_TRUE(t.is_overdue());
  EXPECT_EQ(t.status(), clock_status::free_running);
}

TYPED_TEST(ReadingTest, HasNoBoundWhereThePageHasNone) {
  region_plan plan;
  plan.utc_bound_ns = plan.local_bound_ns = CLOCKPAGE_BOUND_UNKNOWN;
  region_image image(plan);
  const region r(image.reader());
  const auto t = at_bounds<TypeParam>(r, plan.newest_start);
  ASSERT_TRUE(t);
  EXPECT_FALSE(t.is_bounded());
  EXPECT_EQ(t.earliest(), TypeParam::time_point::min());
  EXPECT_EQ(t.latest(), TypeParam::time_point::max());
  EXPECT_FALSE(midpoint(t));
}

TYPED_TEST(ReadingTest, ReadsNowInEveryWayFromOneLine) {
  region_image image(live_plan());
  const region r(image.reader());
  const std::uint64_t before = clockpage_counter_ordered();
  const auto first = now<TypeParam>(r);
  const auto second = now_bounds<TypeParam>(r);
  const auto third = now_leased<TypeParam>(r, 1s);
  const std::uint64_t after = clockpage_counter_ordered();
  ASSERT_TRUE(first && second && third);
  EXPECT_LE(*at<TypeParam>(r, before), *first);
  EXPECT_LE(*first, second.value());
  EXPECT_LE(second.value(), third.value());
  EXPECT_LE(third.value(), *at<TypeParam>(r, after));
  EXPECT_EQ(second.value(), *at<TypeParam>(r, second.counter()));
  const auto relaxed = now_relaxed<TypeParam>(r);
  ASSERT_TRUE(relaxed);
  EXPECT_LT(std::chrono::abs(*relaxed - *first), 1s);
}

TYPED_TEST(ReadingTest, ConvertsManyAsItConvertsOne) {
  region_image image;
  const region r(image.reader());
  const region_plan& plan = image.plan();
  std::vector<std::uint64_t> counters;
  for (std::uint64_t i = 0; i < 3000; i++) {  // across three segments and past the lease
    counters.push_back(plan.newest_start - 2 * plan.period_ticks + i * 9'973);
  }
  std::vector<typename TypeParam::time_point> times(counters.size());
  const conversion done = at<TypeParam>(r, counters, times);
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(done.converted, counters.size());
  for (std::size_t i = 0; i < counters.size(); i++) {
    ASSERT_EQ(times[i], at<TypeParam>(r, counters[i]).value()) << i;
  }
}

TYPED_TEST(ReadingTest, ConvertsUpToTheFirstThatCannotBe) {
  region_image image;
  const region r(image.reader());
  const std::uint64_t start = image.plan().newest_start;
  const std::array<std::uint64_t, 4> counters{start, start + 2, start - (1ull << 40), start + 4};
  std::array<typename TypeParam::time_point, 4> times{};
  const conversion done = at<TypeParam>(r, counters, times);
  EXPECT_FALSE(done);
  EXPECT_EQ(done.error(), errc::out_of_range);
  EXPECT_EQ(done.converted, 2u);
  EXPECT_EQ(times[1], this->expected(image.plan()) + 1ns);
  const conversion none =
      at<TypeParam>(r, counters, std::span<typename TypeParam::time_point>(times).first(3));
  EXPECT_EQ(none.error(), errc::argument);
  EXPECT_EQ(none.converted, 0u);
}

TYPED_TEST(ReadingTest, GivesAnErrorAndNoTimeFromARevokedPage) {
  region_image image(live_plan());
  image.page().revoked = CLOCKPAGE_REVOKED_COUNTER;
  const region r(image.reader());
  EXPECT_EQ(now<TypeParam>(r).error(), errc::revoked);
  EXPECT_EQ(now_relaxed<TypeParam>(r).error(), errc::revoked);
  EXPECT_EQ(at<TypeParam>(r, image.plan().newest_start).error(), errc::revoked);
  EXPECT_EQ(now_leased<TypeParam>(r, 1s).error(), errc::revoked);
  const auto t = now_bounds<TypeParam>(r);
  EXPECT_EQ(t.error(), errc::revoked);
  EXPECT_FALSE(t);
  EXPECT_EQ(t.value(), typename TypeParam::time_point{});
  EXPECT_EQ(t.latest(), typename TypeParam::time_point{});
  EXPECT_EQ(t.status(), clock_status::unknown);
  EXPECT_FALSE(midpoint(t));
}

TEST(ReadingErrorTest, DoesNotKnowTaiWhereThePageDoesNot) {
  region_plan plan = live_plan();
  plan.flags = 0;
  region_image image(plan);
  const region r(image.reader());
  EXPECT_EQ(now<tai_clock>(r).error(), errc::tai_unknown);
  EXPECT_EQ(now_bounds<tai_clock>(r).error(), errc::tai_unknown);
  EXPECT_TRUE(now<realtime_clock>(r));
  EXPECT_EQ(now_bounds<realtime_clock>(r).flags(), 0u);
}

TEST(NowLeasedTest, WaitsNoLongerThanItsLimit) {
  region_plan plan = live_plan();
  plan.period_ticks = 2;  // long past
  region_image image(plan);
  const region r(image.reader());
  const auto begin = std::chrono::steady_clock::now();
  const auto t = now_leased<realtime_clock>(r, 20ms);
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(t.error(), errc::overdue);
  EXPECT_GE(took, 1ms);  // the page's nominal frequency is not this machine's
  EXPECT_LT(took, 5s);
  EXPECT_EQ(now_leased<realtime_clock>(r, -1s).error(), errc::overdue);
}

}  // namespace
}  // namespace clockpage::test
