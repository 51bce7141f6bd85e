// SPDX-License-Identifier: MIT
// Waiting for the clock, by the real counter, on synthetic pages that change meanwhile.
#include <clockpage/wait.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>

#include "view_test_pages.h"

namespace {

using clockpage::testing::kSecond;
using clockpage::testing::MakeSegment;
using clockpage::testing::NextSegment;
using clockpage::testing::TestPage;
using clockpage::testing::TestRegion;
using clockpage::testing::TestView;
using namespace std::chrono_literals;

constexpr std::int64_t kMillisecond = 1'000'000;

std::uint64_t TicksPerSecond() {
  static const std::uint64_t hz = [] {
    const auto begin = std::chrono::steady_clock::now();
    const std::uint64_t first = clockpage_counter_ordered();
    std::this_thread::sleep_for(50ms);
    const std::uint64_t ticks = clockpage_counter_ordered() - first;
    const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - begin;
    return static_cast<std::uint64_t>(static_cast<double>(ticks) * 1e9 /
                                      static_cast<double>(took.count()));
  }();
  return hz;
}

// Runs `work` on another thread `after` a while; joined at the end of the scope.
class Later {
 public:
  Later(std::chrono::milliseconds after, std::function<void()> work)
      : thread_([=] {
          std::this_thread::sleep_for(after);
          work();
        }) {}
  ~Later() { thread_.join(); }
  Later(const Later&) = delete;
  Later& operator=(const Later&) = delete;

 private:
  std::thread thread_;
};

class WaitTest : public testing::Test {
 protected:
  WaitTest() {
    const std::uint64_t now = clockpage_counter_ordered(), hz = TicksPerSecond();
    for (auto& data : region_->data) {
      auto s = MakeSegment(kIndex - 1, now - hz, now + 3600 * hz, hz);
      s.utc_bound_ns = kBound;
      s.utc_bound_growth_frac = 0;
      data.Slot(kIndex - 1) = s;
      data.Slot(kIndex) = NextSegment(s, hz, s.tai_period_frac);
      data.page.index = kIndex;
    }
    reader_ = Page().Reader();
    view_reader_ = view_->Reader(*region_);
  }
  static constexpr std::uint64_t kIndex = 1000;
  static constexpr std::int64_t kBound = 100'000;

  TestPage& Page() { return region_->Page(0, 0); }
  // What is read from now on; published as a writer would.
  void Publish(const std::function<void(clockpage_segment&)>& change) {
    clockpage_data_page& page = Page().page;
    const std::uint64_t index = page.index;
    clockpage_segment s = Page().Slot(index - 1);
    s.number = index + 1;
    change(s);
    Page().Slot(index + 1) = s;
    Page().Slot(index + 2) = s;
    Page().Slot(index + 2).number = index + 2;
    Page().Slot(index + 2).start = s.lease_end;
    Page().Slot(index + 2).lease_end = s.lease_end + 1000;
    ASSERT_TRUE(clockpage_publish_index(&page.index, index, index + 2));
  }
  clockpage_time Now(int clock = CLOCKPAGE_TAI) {
    clockpage_time time{};
    EXPECT_EQ(clockpage_now_bounds(&reader_, clock, &time), CLOCKPAGE_OK);
    return time;
  }
  // Of a clock elsewhere whose latest is `ahead` from what is now.
  clockpage_timestamp Stamp(std::int64_t ahead_ns, int clock = CLOCKPAGE_TAI) {
    clockpage_timestamp t{};
    t.time_scale = clock == CLOCKPAGE_TAI ? CLOCKPAGE_SCALE_TAI : CLOCKPAGE_SCALE_UTC;
    t.status = CLOCKPAGE_STATUS_SYNCHRONISED;
    t.ns = Now(clock).ns + ahead_ns;
    t.earliest_ns = t.latest_ns = t.ns;
    return t;
  }

  std::unique_ptr<TestRegion> region_ = std::make_unique<TestRegion>(TicksPerSecond());
  std::unique_ptr<TestView> view_ = std::make_unique<TestView>();
  clockpage_reader reader_ = {};
  clockpage_view_reader view_reader_ = {};
};

TEST_F(WaitTest, EndsOnlyOnceTheEarliestIsPast) {
  for (const std::int64_t ahead :
       {-10 * kMillisecond, std::int64_t{0}, std::int64_t{30'000}, 3 * kMillisecond}) {
    for (const int clock : {CLOCKPAGE_TAI, CLOCKPAGE_REALTIME}) {
      const clockpage_timestamp t = Stamp(ahead, clock);
      ASSERT_EQ(clockpage_wait_until_past(&reader_, &t, CLOCKPAGE_NO_LIMIT), CLOCKPAGE_OK);
      EXPECT_GT(Now(clock).earliest_ns, t.latest_ns);
      const clockpage_timestamp u = Stamp(ahead, clock);
      ASSERT_EQ(clockpage_view_wait_until_past(&view_reader_, &u, CLOCKPAGE_NO_LIMIT),
                CLOCKPAGE_OK);
      EXPECT_GT(Now(clock).earliest_ns, u.latest_ns);
    }
  }
}

TEST_F(WaitTest, IsNotLongerThanItMustBe) {
  std::int64_t least = INT64_MAX;
  for (int i = 0; i < 20; i++) {
    const clockpage_timestamp t = Stamp(2 * kMillisecond);
    ASSERT_EQ(clockpage_wait_until_past(&reader_, &t, CLOCKPAGE_NO_LIMIT), CLOCKPAGE_OK);
    least = std::min(least, Now().earliest_ns - t.latest_ns);
  }
  EXPECT_LT(least, 5000);  // once in twenty the CPU was there
}

TEST_F(WaitTest, SleepsWhileItIsFar) {
  const clockpage_timestamp t = Stamp(200 * kMillisecond);
  timespec before{}, after{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
  ASSERT_EQ(clockpage_wait_until_past(&reader_, &t, CLOCKPAGE_NO_LIMIT), CLOCKPAGE_OK);
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
  const std::int64_t used =
      (after.tv_sec - before.tv_sec) * kSecond + after.tv_nsec - before.tv_nsec;
  EXPECT_LT(used, 20 * kMillisecond);
}

TEST_F(WaitTest, EndsAtItsTimeLimit) {
  const clockpage_timestamp t = Stamp(3600 * kSecond);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(clockpage_wait_until_past(&reader_, &t, 30 * kMillisecond), CLOCKPAGE_E_TIMEOUT);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 30ms);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 20s);
  EXPECT_EQ(clockpage_wait_until_past(&reader_, &t, 0), CLOCKPAGE_E_TIMEOUT);
  EXPECT_EQ(clockpage_wait_until_past(&reader_, &t, -1), CLOCKPAGE_E_ARGUMENT);
  EXPECT_EQ(clockpage_wait_until_past(&reader_, nullptr, 0), CLOCKPAGE_E_ARGUMENT);
  EXPECT_EQ(clockpage_wait_until_past(nullptr, &t, 0), CLOCKPAGE_E_ARGUMENT);
  EXPECT_EQ(clockpage_view_wait_until_past(nullptr, &t, 0), CLOCKPAGE_E_ARGUMENT);
  const clockpage_timestamp past = Stamp(-kSecond);
  EXPECT_EQ(clockpage_wait_until_past(&reader_, &past, 0), CLOCKPAGE_OK);
}

TEST_F(WaitTest, IsOfOneTimeScaleOnly) {
  clockpage_timestamp t = Stamp(-kSecond, CLOCKPAGE_REALTIME);
  t.time_scale = CLOCKPAGE_SCALE_SMEAR_NOON;
  t.smear_start_s = -43200;
  t.smear_length_s = 86400;
  EXPECT_EQ(clockpage_wait_until_past(&reader_, &t, 0), CLOCKPAGE_E_SCALE);
  EXPECT_EQ(clockpage_view_wait_until_past(&view_reader_, &t, 0), CLOCKPAGE_E_SCALE);
  Page().page.smear = CLOCKPAGE_SMEAR_NOON;
  Page().page.smear_start_s = -43200;
  Page().page.smear_length_s = 86400;
  EXPECT_EQ(clockpage_wait_until_past(&reader_, &t, 0), CLOCKPAGE_OK);
  EXPECT_EQ(clockpage_view_wait_until_past(&view_reader_, &t, 0), CLOCKPAGE_OK);
  Page().page.smear_length_s = 86401;
  EXPECT_EQ(clockpage_wait_until_past(&reader_, &t, 0), CLOCKPAGE_E_SCALE);
}

TEST_F(WaitTest, NeverEndsForWhatHasNoBound) {
  clockpage_timestamp t = Stamp(-3600 * kSecond);
  t.latest_ns = INT64_MAX;
  EXPECT_EQ(clockpage_wait_until_past(&reader_, &t, 5 * kMillisecond), CLOCKPAGE_E_TIMEOUT);
  t = Stamp(-3600 * kSecond);
  t.status = CLOCKPAGE_STATUS_UNRELIABLE;
  EXPECT_EQ(clockpage_wait_until_past(&reader_, &t, 5 * kMillisecond), CLOCKPAGE_E_TIMEOUT);
  t = Stamp(-kSecond / 2, CLOCKPAGE_REALTIME);
  t.flags = CLOCKPAGE_TIMESTAMP_AMBIGUOUS;
  EXPECT_EQ(clockpage_wait_until_past(&reader_, &t, 5 * kMillisecond), CLOCKPAGE_E_TIMEOUT);
}

TEST_F(WaitTest, OutlastsALossOfTheBoundAndOfReliability) {
  const clockpage_timestamp t = Stamp(-kSecond);
  for (const bool unreliable : {false, true}) {
    Publish([&](clockpage_segment& s) {
      s.utc_bound_ns = unreliable ? 1 : CLOCKPAGE_BOUND_UNKNOWN;
      s.status = unreliable ? CLOCKPAGE_STATUS_UNRELIABLE : CLOCKPAGE_STATUS_UNKNOWN;
    });
    EXPECT_EQ(clockpage_wait_until_past(&reader_, &t, 5 * kMillisecond), CLOCKPAGE_E_TIMEOUT);
    const Later back(20ms, [&] {
      Publish([](clockpage_segment& s) {
        s.utc_bound_ns = kBound;
        s.status = CLOCKPAGE_STATUS_SYNCHRONISED;
      });
    });
    EXPECT_EQ(clockpage_wait_until_past(&reader_, &t, CLOCKPAGE_NO_LIMIT), CLOCKPAGE_OK);
    EXPECT_EQ(Now().status, CLOCKPAGE_STATUS_SYNCHRONISED);
  }
}

TEST_F(WaitTest, OutlastsASteppedClock) {
  const clockpage_timestamp t = Stamp(3600 * kSecond);
  const Later step(20ms, [&] {
    Publish([](clockpage_segment& s) {
      s.tai_ns += 3601u * kSecond;
      s.epoch++;
    });
  });
  EXPECT_EQ(clockpage_wait_until_past(&reader_, &t, CLOCKPAGE_NO_LIMIT), CLOCKPAGE_OK);
  EXPECT_GT(Now().earliest_ns, t.latest_ns);

  const clockpage_timestamp u = Stamp(40 * kMillisecond);
  const Later back(10ms, [&] { Publish([](clockpage_segment& s) { s.tai_ns -= kSecond; }); });
  EXPECT_EQ(clockpage_wait_until_past(&reader_, &u, 200 * kMillisecond), CLOCKPAGE_E_TIMEOUT);
}

TEST_F(WaitTest, EndsWithThePage) {
  const clockpage_timestamp t = Stamp(3600 * kSecond);
  const Later revoke(20ms, [&] { clockpage_store_revoked(&Page().page.revoked, 1); });
  EXPECT_EQ(clockpage_wait_until_past(&reader_, &t, CLOCKPAGE_NO_LIMIT), CLOCKPAGE_E_REVOKED);
  EXPECT_EQ(clockpage_view_wait_until_past(&view_reader_, &t, CLOCKPAGE_NO_LIMIT),
            CLOCKPAGE_E_REVOKED);
}

TEST_F(WaitTest, OutlastsAViewThatIsWithdrawnForAWhile) {
  const auto publish = [&](std::uint64_t ratio, std::uint64_t marker) {
    clockpage_view_slot slot = view_->Newest();
    slot.number++;
    slot.counter_ratio = ratio;
    slot.disruption_marker = marker;
    view_->page.slot[slot.number % CLOCKPAGE_VIEW_SLOT_COUNT] = slot;
    clockpage_publish_index(&view_->page.index, slot.number - 1, slot.number);
  };
  for (const int clock : {CLOCKPAGE_TAI, CLOCKPAGE_REALTIME}) {
    const clockpage_timestamp t = Stamp(-kSecond, clock);
    publish(0, 1);
    EXPECT_EQ(clockpage_view_wait_until_past(&view_reader_, &t, 5 * kMillisecond),
              CLOCKPAGE_E_VIEW);
    const Later back(20ms, [&] { publish(1, 2); });
    EXPECT_EQ(clockpage_view_wait_until_past(&view_reader_, &t, CLOCKPAGE_NO_LIMIT), CLOCKPAGE_OK);
  }
}

TEST_F(WaitTest, IsNotEndedBySignals) {
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  ASSERT_EQ(sigaction(SIGUSR1, &action, nullptr), 0);
  const clockpage_timestamp t = Stamp(30 * kMillisecond);
  const pthread_t self = pthread_self();
  const Later signals(1ms, [&] {
    for (int i = 0; i < 10; i++) {
      pthread_kill(self, SIGUSR1);
      std::this_thread::sleep_for(1ms);
    }
  });
  ASSERT_EQ(clockpage_wait_until_past(&reader_, &t, CLOCKPAGE_NO_LIMIT), CLOCKPAGE_OK);
  EXPECT_GT(Now().earliest_ns, t.latest_ns);
}

TEST_F(WaitTest, WaitsUntilItIsSynchronisedAndNarrow) {
  Publish([](clockpage_segment& s) { s.status = CLOCKPAGE_STATUS_FREE_RUNNING; });
  clockpage_time time{};
  EXPECT_EQ(clockpage_wait_synchronised(&reader_, CLOCKPAGE_REALTIME, UINT64_MAX, 5 * kMillisecond,
                                        &time),
            CLOCKPAGE_E_TIMEOUT);
  EXPECT_EQ(time.status, CLOCKPAGE_STATUS_FREE_RUNNING);
  {
    const Later sync(10ms, [&] {
      Publish([](clockpage_segment& s) { s.status = CLOCKPAGE_STATUS_SYNCHRONISED; });
    });
    EXPECT_EQ(clockpage_wait_synchronised(&reader_, CLOCKPAGE_REALTIME, UINT64_MAX,
                                          CLOCKPAGE_NO_LIMIT, &time),
              CLOCKPAGE_OK);
    EXPECT_EQ(time.status, CLOCKPAGE_STATUS_SYNCHRONISED);
  }
  EXPECT_EQ(clockpage_wait_synchronised(&reader_, CLOCKPAGE_REALTIME, 2 * kBound, 5 * kMillisecond,
                                        &time),
            CLOCKPAGE_E_TIMEOUT);
  const Later narrow(10ms, [&] { Publish([](clockpage_segment& s) { s.utc_bound_ns = 500; }); });
  EXPECT_EQ(clockpage_view_wait_synchronised(&view_reader_, CLOCKPAGE_TAI, 2000, CLOCKPAGE_NO_LIMIT,
                                             &time),
            CLOCKPAGE_OK);
  EXPECT_LE(time.latest_ns - time.earliest_ns, 2000);
}

TEST_F(WaitTest, WaitsForTaiToBeKnown) {
  Publish([](clockpage_segment& s) { s.flags = 0; });
  clockpage_time time{};
  EXPECT_EQ(clockpage_wait_synchronised(&reader_, CLOCKPAGE_TAI, UINT64_MAX, 0, &time),
            CLOCKPAGE_E_TAI_UNKNOWN);
  const Later known(
      10ms, [&] { Publish([](clockpage_segment& s) { s.flags = CLOCKPAGE_SEGMENT_TAI_KNOWN; }); });
  EXPECT_EQ(
      clockpage_wait_synchronised(&reader_, CLOCKPAGE_TAI, UINT64_MAX, CLOCKPAGE_NO_LIMIT, &time),
      CLOCKPAGE_OK);
}

TEST_F(WaitTest, RefusesWaitsThatMakeNoSense) {
  clockpage_time time{};
  EXPECT_EQ(clockpage_wait_synchronised(&reader_, 12, 0, CLOCKPAGE_NO_LIMIT, &time),
            CLOCKPAGE_E_CLOCK);
  EXPECT_EQ(clockpage_wait_synchronised(&reader_, CLOCKPAGE_TAI, 0, -1, &time),
            CLOCKPAGE_E_ARGUMENT);
  EXPECT_EQ(clockpage_wait_synchronised(&reader_, CLOCKPAGE_TAI, 0, 0, nullptr),
            CLOCKPAGE_E_ARGUMENT);
  EXPECT_EQ(clockpage_wait_synchronised(nullptr, CLOCKPAGE_TAI, 0, 0, &time), CLOCKPAGE_E_ARGUMENT);
}

TEST_F(WaitTest, ReadsWithinAWidth) {
  clockpage_time time{};
  clockpage_view_time view_time{};
  const auto width = static_cast<std::uint64_t>(Now().latest_ns - Now().earliest_ns) + 10;
  EXPECT_EQ(clockpage_now_within(&reader_, CLOCKPAGE_TAI, width + 1000, &time), CLOCKPAGE_OK);
  EXPECT_EQ(clockpage_now_within(&reader_, CLOCKPAGE_TAI, 2 * kBound - 1, &time), CLOCKPAGE_E_WIDE);
  EXPECT_EQ(clockpage_view_now_within(&view_reader_, CLOCKPAGE_TAI, width + 1000, &view_time),
            CLOCKPAGE_OK);
  EXPECT_EQ(clockpage_view_now_within(&view_reader_, CLOCKPAGE_TAI, 2 * kBound - 1, &view_time),
            CLOCKPAGE_E_WIDE);
  Publish([](clockpage_segment& s) { s.utc_bound_ns = CLOCKPAGE_BOUND_UNKNOWN; });
  EXPECT_EQ(clockpage_now_within(&reader_, CLOCKPAGE_TAI, UINT64_MAX, &time), CLOCKPAGE_E_WIDE);
  EXPECT_EQ(clockpage_now_within(&reader_, 12, UINT64_MAX, &time), CLOCKPAGE_E_CLOCK);
}

}  // namespace
