// SPDX-License-Identifier: MIT
// A producer that follows another one's page, both on one virtual counter; the first follows a
// simulated kernel, which is the oracle for both.
#include "page_source.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>

#include "publisher_fixture.hpp"
#include "test_leaps.hpp"
#include "test_seed.hpp"
#include "view_page.hpp"

namespace clockpage::producer {
namespace {

// What the follower has mapped: the upstream region's memory, which a test may replace.
FollowedPage in_memory(const MemoryRegion& region) {
  FollowedPage page;
  std::memcpy(&page.directory, region.bytes(), sizeof page.directory);
  page.reader = region.reader(0);
  return page;
}

class PageSourceTest : public testing::Test {
 protected:
  void start(const SimOptions& options) {
    config_ = options.publisher;
    up_ = std::make_unique<SimHarness>(options);
    // The upstream has worked for a while.
    up_publisher_ = &up_->publisher();
    for (int i = 0; i < 20; i++) ASSERT_TRUE(fine(up_publisher_->step()));
    follow([this] { return in_memory(up_->region()); });
  }

  void follow(PageSource::Open open) {
    open_ = std::move(open);
    source_ = std::make_unique<PageSource>([this] { return open_(); }, counter());
    up_until(now() + kMs);
    down_region_ = make_region(*source_, 0xd000'0000 + up_->region().page(0)->generation);
    restart_follower(false);
    source_->set_own_generation(down_region_->page(0)->generation);
  }
  // As the daemon makes a new one from what its source says.
  std::unique_ptr<MemoryRegion> make_region(TimeSource& source, std::uint64_t generation) {
    const std::uint64_t hz = kHz;
    Steering steering(hz, 1, config_.limits, config_.leaps);
    for (int i = 0; i < 4; i++) {
      Observation o;
      EXPECT_EQ(source.observe(o), ObserveResult::ok);
      steering.observe(o);
      up_until(now() + kMs);
    }
    RegionIdentity identity;
    identity.generation = generation;
    identity.first_index = 0x7777'0000'1234;
    identity.counter = {kThisCounterKind, hz, 1, 0, 0, 48};
    identity.smear = config_.leaps.smear;
    const std::uint64_t begin = now();
    const Segment first =
        steering.first(begin, begin + 8 * kMs, delta_shift_for(nominal_period(hz)));
    return std::make_unique<MemoryRegion>(
        region_image(identity, 4 * kMs, first, steering.first_smeared(first)));
  }
  void restart_follower(bool adopted) {
    down_ = std::make_unique<Publisher>(down_region_->pages(), counter(), *source_,
                                        source_->frequency_hz(), 1, config_, adopted);
  }

  void tell_kernel(SimEvent::Kind kind, std::int64_t value) {
    up_->source().kernel().schedule({now(), kind, value});
  }
  VirtualCounter& counter() { return up_->counter(); }
  [[nodiscard]] std::uint64_t now() const { return up_->counter().now(); }

  static std::uint64_t due(Publisher& p) {
    const Segment s = p.newest();
    return std::max(s.tai.start, s.lease_end - p.lead_ticks());
  }
  // The upstream alone, where it is due by then.
  void up_until(std::uint64_t end) {
    while (up_alive_ && due(*up_publisher_) < end) ASSERT_TRUE(fine(up_publisher_->step()));
    if (now() < end) counter().wait_until(end);
  }
  static bool fine(StepResult r) { return r == StepResult::steered || r == StepResult::bridged; }
  // Both, in the order in which they are due. Calls `look` after every publication.
  template <typename Look>
  void run_for_ms(std::uint64_t ms, Look look) {
    const std::uint64_t end = now() + ms * kMs;
    while (now() < end) {
      if (up_alive_ && due(*up_publisher_) < due(*down_))
        ASSERT_TRUE(fine(up_publisher_->step()));
      else
        ASSERT_TRUE(fine(down_->step()));
      look();
      if (HasFatalFailure()) return;
    }
  }
  void run_for_ms(std::uint64_t ms) {
    run_for_ms(ms, [] {});
  }

  [[nodiscard]] static clockpage_time read(const MemoryRegion& region, int clock, std::uint64_t c) {
    const clockpage_reader reader = region.reader(0);
    clockpage_time time{};
    EXPECT_EQ(clockpage_at_bounds(&reader, clock, c, &time), CLOCKPAGE_OK) << clock;
    return time;
  }
  [[nodiscard]] clockpage_time down(int clock) const { return read(*down_region_, clock, now()); }
  [[nodiscard]] clockpage_time up(int clock) const { return read(up_->region(), clock, now()); }
  [[nodiscard]] Segment newest() const { return PageWriter(*down_region_->page(0)).newest(); }
  [[nodiscard]] clockpage_diagnostics told() const { return down_region_->page(0)->diagnostics; }

  PublisherConfig config_;
  std::unique_ptr<SimHarness> up_;
  Publisher* up_publisher_ = nullptr;
  bool up_alive_ = true;
  PageSource::Open open_;
  std::unique_ptr<PageSource> source_;
  std::unique_ptr<MemoryRegion> down_region_;
  std::unique_ptr<Publisher> down_;
};

TEST_F(PageSourceTest, IsWithinAFewNanosecondsOfThePageInSteadyState) {
  SimOptions options = quiet();
  options.script.max_frequency_ppb = 0;
  start(options);
  run_for_ms(100);
  std::int64_t furthest = 0;
  run_for_ms(2000, [&] {
    for (const int clock : kClocks)
      if (clock != CLOCKPAGE_TAI)
        furthest = std::max(furthest, std::abs(down(clock).ns - up(clock).ns));
  });
  EXPECT_LE(furthest, 3);
  EXPECT_EQ(down(CLOCKPAGE_REALTIME).status, CLOCKPAGE_STATUS_SYNCHRONISED);
  EXPECT_EQ(told().realtime_steps + told().tai_steps + told().monotonic_steps, 0U);
}

// The kernel is the truth: both pages' bounds hold it, whatever is done to it.
TEST_F(PageSourceTest, BoundsHoldTheUltimateSourceWhateverItIsSteeredBy) {
  SimOptions options;
  options.seed = seed_of_this_test();
  options.script.max_frequency_ppb = 400'000;
  options.script.mean_interval_s = 0.02;
  options.counter.typical_late_ticks = kMs / 20;
  options.counter.stall_ticks = 20 * kMs;
  options.counter.stalls_per_wakeup = 0.01;
  start(options);
  std::int64_t furthest = 0;
  std::uint64_t widest = 0;
  int looks = 0;
  run_for_ms(20'000, [&] {
    const KernelClockSnapshot kernel = up_->oracle_at(now());
    for (const int clock :
         {CLOCKPAGE_REALTIME, CLOCKPAGE_MONOTONIC, CLOCKPAGE_MONOTONIC_RAW, CLOCKPAGE_BOOTTIME}) {
      const clockpage_time t = down(clock);
      const std::int64_t truth = evaluate(kernel, clock, now()).value_or(0);
      ASSERT_LE(t.earliest_ns, truth) << clock << " of look " << looks;
      ASSERT_GE(t.latest_ns, truth) << clock << " of look " << looks;
      if (clock == CLOCKPAGE_REALTIME) continue;
      furthest = std::max(furthest, std::abs(t.ns - truth));
      widest = std::max(widest, static_cast<std::uint64_t>(t.latest_ns - t.ns));
    }
    looks++;
  });
  EXPECT_GT(looks, 1000);
  EXPECT_GT(furthest, 100);       // so there was something to hold
  EXPECT_LT(widest, 2'000'000U);  // and a bound of hours is not how
}

TEST_F(PageSourceTest, AStepOfRealtimePassesThroughAsAStepAndOnlyThat) {
  start(quiet());
  run_for_ms(100);
  const std::uint64_t epoch = newest().terms.epoch;
  const std::int64_t apart_before = down(CLOCKPAGE_REALTIME).ns - down(CLOCKPAGE_MONOTONIC).ns;
  tell_kernel(SimEvent::Kind::realtime_step, -3 * kSecondNs);
  run_for_ms(100);
  EXPECT_EQ(newest().terms.epoch, epoch + 1);
  EXPECT_EQ(told().realtime_steps, 1U);
  EXPECT_EQ(told().monotonic_steps, 0U);
  EXPECT_EQ(down(CLOCKPAGE_REALTIME).ns - down(CLOCKPAGE_MONOTONIC).ns,
            apart_before - 3 * kSecondNs);
  EXPECT_LE(std::abs(down(CLOCKPAGE_REALTIME).ns - up(CLOCKPAGE_REALTIME).ns), 3);
}

TEST_F(PageSourceTest, FollowsASuspendAsADisruptionOfMonotonic) {
  start(quiet());
  run_for_ms(100);
  tell_kernel(SimEvent::Kind::suspend, 7 * kSecondNs);
  run_for_ms(200);
  EXPECT_EQ(told().monotonic_steps, 1U);
  for (const int clock : {CLOCKPAGE_MONOTONIC, CLOCKPAGE_BOOTTIME, CLOCKPAGE_REALTIME})
    EXPECT_LE(std::abs(down(clock).ns - up(clock).ns), 5) << clock;
}

// ---- status

TEST_F(PageSourceTest, IsFreeRunningWhileTheUpstreamIsDeadAndSynchronisedWhenItIsBack) {
  start(quiet());
  run_for_ms(100);
  ASSERT_EQ(down(CLOCKPAGE_REALTIME).status, CLOCKPAGE_STATUS_SYNCHRONISED);
  up_alive_ = false;
  run_for_ms(30);
  EXPECT_EQ(newest().terms.status, CLOCKPAGE_STATUS_FREE_RUNNING);
  EXPECT_EQ(newest().terms.reason, CLOCKPAGE_REASON_SOURCE_LOST);
  const std::uint64_t bound = newest().terms.utc_bound_ns;
  run_for_ms(3000);
  EXPECT_EQ(newest().terms.status, CLOCKPAGE_STATUS_FREE_RUNNING);
  EXPECT_GT(newest().terms.utc_bound_ns, bound + 1'000'000);  // 500 ppm of 3 s
  // Not a better one than the upstream's own readers are told.
  EXPECT_GE(down(CLOCKPAGE_REALTIME).latest_ns - down(CLOCKPAGE_REALTIME).ns,
            up(CLOCKPAGE_REALTIME).latest_ns - up(CLOCKPAGE_REALTIME).ns);
  up_->restart();
  up_publisher_ = &up_->publisher();
  up_alive_ = true;
  run_for_ms(100);
  EXPECT_EQ(down(CLOCKPAGE_REALTIME).status, CLOCKPAGE_STATUS_SYNCHRONISED);
  EXPECT_LE(std::abs(down(CLOCKPAGE_REALTIME).ns - up(CLOCKPAGE_REALTIME).ns), 3);
}

TEST_F(PageSourceTest, TellsWhyTheUpstreamIsNotSynchronised) {
  start(quiet());
  up_->source().set_quality({false, CLOCKPAGE_REASON_KERNEL_UNSYNCHRONISED, 5'000'000});
  run_for_ms(100);
  EXPECT_EQ(newest().terms.status, CLOCKPAGE_STATUS_FREE_RUNNING);
  EXPECT_EQ(newest().terms.reason, CLOCKPAGE_REASON_KERNEL_UNSYNCHRONISED);
  up_->source().set_quality({true, CLOCKPAGE_REASON_NONE, 1'000'000});
  run_for_ms(100);
  EXPECT_EQ(newest().terms.status, CLOCKPAGE_STATUS_SYNCHRONISED);
  // Clean end of the upstream: its last segment says so.
  up_publisher_->finish();
  up_alive_ = false;
  run_for_ms(50);
  EXPECT_EQ(newest().terms.status, CLOCKPAGE_STATUS_FREE_RUNNING);
  EXPECT_EQ(newest().terms.reason, CLOCKPAGE_REASON_PRODUCER_STOPPED);
}

TEST_F(PageSourceTest, NeverKnowsMoreThanAnUpstreamThatNobodyVouchesFor) {
  SimOptions options = quiet();
  start(options);
  up_->source().set_quality({false, CLOCKPAGE_REASON_SIMULATED, std::nullopt});
  tell_kernel(SimEvent::Kind::realtime_step, kSecondNs);  // what was good before then is void
  run_for_ms(100);
  EXPECT_EQ(up(CLOCKPAGE_REALTIME).status, CLOCKPAGE_STATUS_UNKNOWN);
  EXPECT_EQ(newest().terms.status, CLOCKPAGE_STATUS_UNKNOWN);
  EXPECT_EQ(newest().terms.reason, CLOCKPAGE_REASON_SIMULATED);
  EXPECT_EQ(newest().terms.utc_bound_ns, CLOCKPAGE_BOUND_UNKNOWN);
  EXPECT_NE(newest().terms.local_bound_ns, CLOCKPAGE_BOUND_UNKNOWN);
}

TEST_F(PageSourceTest, IsUnreliableWhileTheUpstreamIs) {
  start(quiet());
  run_for_ms(100);
  // As another producer may publish it: this one does not. All that is left of the ring.
  up_alive_ = false;
  for (clockpage_segment& s : up_->region().page(0)->segment)
    s.status = CLOCKPAGE_STATUS_UNRELIABLE;
  run_for_ms(30);
  EXPECT_EQ(newest().terms.status, CLOCKPAGE_STATUS_UNRELIABLE);
  EXPECT_EQ(newest().terms.reason, CLOCKPAGE_REASON_SOURCE_LOST);
  up_alive_ = true;
  run_for_ms(300);
  EXPECT_EQ(newest().terms.status, CLOCKPAGE_STATUS_SYNCHRONISED);
}

// ---- another region, and none

TEST_F(PageSourceTest, GoesOnWithTheRegionThatReplacesARevokedOne) {
  start(quiet());
  run_for_ms(100);
  open_ = [this]() -> FollowedPage { throw RegionError("no such file"); };
  up_publisher_->revoke(CLOCKPAGE_REVOKED_REPLACED);
  up_alive_ = false;
  run_for_ms(1000);
  EXPECT_EQ(newest().terms.status, CLOCKPAGE_STATUS_FREE_RUNNING);
  EXPECT_EQ(newest().terms.reason, CLOCKPAGE_REASON_SOURCE_LOST);
  const std::unique_ptr<MemoryRegion> other = make_region(up_->source(), 0xabcdef);
  Publisher publisher(other->pages(), counter(), up_->source(), kHz, 1, config_, false);
  up_publisher_ = &publisher;
  up_alive_ = true;
  open_ = [&] { return in_memory(*other); };
  run_for_ms(1000);
  EXPECT_EQ(newest().terms.status, CLOCKPAGE_STATUS_SYNCHRONISED);
  EXPECT_LE(std::abs(down(CLOCKPAGE_REALTIME).ns - read(*other, CLOCKPAGE_REALTIME, now()).ns), 3);
  EXPECT_EQ(std::string(source_->name()), "page:1:00abcdef");
  up_publisher_ = nullptr;
}

TEST_F(PageSourceTest, DoesNotTakeAnotherHostsRegionForTheOneItLost) {
  start(quiet());
  run_for_ms(100);
  up_publisher_->revoke(CLOCKPAGE_REVOKED_REPLACED);
  up_alive_ = false;
  const std::unique_ptr<MemoryRegion> other = make_region(up_->source(), 0xabcdef);
  open_ = [&] {
    FollowedPage page = in_memory(*other);
    page.directory.boot_id[3]++;
    return page;
  };
  StepResult result = StepResult::steered;
  for (int i = 0; i < 1000 && fine(result); i++) result = down_->step();
  EXPECT_EQ(result, StepResult::counter_untrusted);
  EXPECT_EQ(source_->trouble(),
            "source page: the region in its place is of another host, or another boot of it");
}

TEST_F(PageSourceTest, DoesNotFollowAnotherRegionThatComesToTheSamePlaceInMemory) {
  start(quiet());
  run_for_ms(100);
  for (std::size_t i = 0; i < 4; i++) up_->region().page(i)->generation++;
  EXPECT_EQ(down_->step(), StepResult::counter_untrusted);
  EXPECT_EQ(down_region_->page(0)->revoked, std::uint64_t{CLOCKPAGE_REVOKED_COUNTER});
}

// ---- a ring

TEST_F(PageSourceTest, SaysHowManyPagesTheClockHasComeThroughAndFromWhere) {
  start(quiet());
  run_for_ms(20);
  const std::uint64_t generation = up_->region().page(0)->generation;
  EXPECT_EQ(descent_of(*up_->region().page(0)),
            (PageDescent{0, static_cast<std::uint32_t>(generation)}));
  EXPECT_EQ(descent_of(*down_region_->page(0)),
            (PageDescent{1, static_cast<std::uint32_t>(generation)}));
}

TEST_F(PageSourceTest, RefusesToFollowItself) {
  start(quiet());
  source_->set_own_generation(up_->region().page(0)->generation);
  EXPECT_EQ(source_->trouble(), "the page that is followed comes of this very region");
  Observation o;
  EXPECT_EQ(source_->observe(o), ObserveResult::doubtful);
}

TEST_F(PageSourceTest, FindsOutThatItsUpstreamHasComeToFollowIt) {
  start(quiet());
  run_for_ms(100);
  EXPECT_EQ(source_->trouble(), "");
  clockpage_diagnostics& said = up_->region().page(0)->diagnostics;
  up_alive_ = false;
  std::snprintf(reinterpret_cast<char*>(said.source), sizeof said.source, "page:3:%08x",
                static_cast<std::uint32_t>(down_region_->page(0)->generation));
  run_for_ms(30);
  EXPECT_EQ(newest().terms.status, CLOCKPAGE_STATUS_UNRELIABLE);
  EXPECT_EQ(source_->trouble(), "the page that is followed comes of this very region");
}

TEST_F(PageSourceTest, FollowsNoPageThatHasComeThroughTooMany) {
  start(quiet());
  up_alive_ = false;
  clockpage_diagnostics& said = up_->region().page(0)->diagnostics;
  std::snprintf(reinterpret_cast<char*>(said.source), sizeof said.source, "page:8:12345678");
  Observation o;
  EXPECT_EQ(source_->observe(o), ObserveResult::doubtful);
  EXPECT_EQ(source_->trouble(),
            "the page that is followed has come through too many pages: they may go in a ring");
}

TEST_F(PageSourceTest, RevokesWhatItPublishesWithAnUpstreamWhoseCounterIsNotTrusted) {
  start(quiet());
  run_for_ms(100);
  up_publisher_->revoke(CLOCKPAGE_REVOKED_COUNTER);
  up_alive_ = false;
  EXPECT_EQ(down_->step(), StepResult::counter_untrusted);
  EXPECT_EQ(down_region_->page(0)->revoked, std::uint64_t{CLOCKPAGE_REVOKED_COUNTER});
  EXPECT_EQ(source_->trouble(), "source page: its producer can no longer trust the counter");
}

// ---- leap seconds and TAI

TEST_F(PageSourceTest, TaiItsSourceAndALeapSecondComeThrough) {
  SimOptions options = quiet();
  constexpr std::int64_t midnight = k2016Leap;
  options.kernel.realtime_ns = (midnight - 4) * kSecondNs + 100'000'000;
  options.kernel.tai_offset_s = 36;
  start(options);
  run_for_ms(100);
  EXPECT_EQ(newest().terms.flags & CLOCKPAGE_SEGMENT_TAI_SOURCE, CLOCKPAGE_SEGMENT_TAI_KERNEL);
  EXPECT_EQ(down(CLOCKPAGE_TAI).ns - down(CLOCKPAGE_REALTIME).ns, 36 * kSecondNs);
  tell_kernel(SimEvent::Kind::arm_leap, 1);
  run_for_ms(1200);  // from the next full second on
  EXPECT_EQ(newest().terms.utc, up_publisher_->newest().terms.utc);
  EXPECT_EQ(down(CLOCKPAGE_REALTIME).leap_indicator, CLOCKPAGE_LEAP_PENDING_INSERTION);
  std::int64_t furthest = 0;
  bool leapt = false;
  run_for_ms(6000, [&] {
    furthest =
        std::max(furthest, std::abs(down(CLOCKPAGE_REALTIME).ns - up(CLOCKPAGE_REALTIME).ns));
    leapt |= down(CLOCKPAGE_TAI).ns - down(CLOCKPAGE_REALTIME).ns == 37 * kSecondNs;
  });
  EXPECT_LE(furthest, 3);
  EXPECT_TRUE(leapt);
  EXPECT_EQ(told().realtime_steps + told().tai_steps, 0U);  // it was announced
}

TEST_F(PageSourceTest, ALeapSecondWeeksAwayIsAnnouncedAsTheUpstreamHasIt) {
  SimOptions options = quiet();
  constexpr std::int64_t midnight = k2016Leap;
  options.kernel.realtime_ns = (midnight - 20 * 86'400) * kSecondNs;
  options.kernel.tai_offset_s = 36;
  options.publisher.leaps.table = leap_table();
  start(options);
  config_.leaps.table.reset();  // the follower has none
  follow(open_);
  run_for_ms(100);
  ASSERT_TRUE(up_publisher_->newest().terms.utc.leaps());
  EXPECT_EQ(newest().terms.utc, up_publisher_->newest().terms.utc);
}

TEST_F(PageSourceTest, SaysThatTaiIsUnknownWhereTheUpstreamDoes) {
  start(quiet());  // a kernel whose offset was never set, no table
  run_for_ms(100);
  EXPECT_EQ(newest().terms.flags & CLOCKPAGE_SEGMENT_TAI_KNOWN, 0U);
}

}  // namespace
}  // namespace clockpage::producer
