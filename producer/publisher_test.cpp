// SPDX-License-Identifier: MIT
// The lease protocol from the writer's side, on a virtual counter.
#include "publisher.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <map>

#include "sim_harness.hpp"

namespace clockpage::producer {
namespace {

constexpr std::uint64_t kHz = 2'300'000'000;
constexpr std::uint64_t kMs = kHz / 1000;
constexpr std::array kClocks = {CLOCKPAGE_REALTIME, CLOCKPAGE_MONOTONIC, CLOCKPAGE_MONOTONIC_RAW,
                                CLOCKPAGE_BOOTTIME, CLOCKPAGE_TAI};
constexpr std::int64_t kSecondNs = 1'000'000'000;

// A kernel that is left alone, woken on time: whatever happens, the test does.
SimOptions quiet() {
  SimOptions options;
  options.script.mean_interval_s = 1e6;
  return options;
}

// The source, with a word to say by the test.
class TamperedSource final : public TimeSource {
 public:
  explicit TamperedSource(TimeSource& source) : source_(source) {}
  ObserveResult observe(Observation& observation) noexcept override {
    if (during) during();
    const ObserveResult result = source_.observe(observation);
    return answer == ObserveResult::ok ? result : answer;
  }
  [[nodiscard]] std::string_view name() const noexcept override { return "tampered"; }
  [[nodiscard]] std::string description() const override { return ""; }

  std::function<void()> during;
  ObserveResult answer = ObserveResult::ok;

 private:
  TimeSource& source_;
};

// The counter, which the test makes jump at the n-th read from now: a stall at that place.
class StallingCounter final : public Counter {
 public:
  explicit StallingCounter(VirtualCounter& counter) : counter_(counter) {}
  std::uint64_t read() noexcept override {
    reads++;
    if (on_read) on_read();
    if (stall_at_read != 0 && reads == stall_at_read) counter_.wait_until(stall_until);
    return counter_.read();
  }
  void wait_until(std::uint64_t counter) noexcept override {
    if (!wakes_early) counter_.wait_until(counter);
  }

  std::function<void()> on_read;
  int reads = 0;
  int stall_at_read = 0;  // 0: never
  std::uint64_t stall_until = 0;
  bool wakes_early = false;

 private:
  VirtualCounter& counter_;
};

class PublisherTest : public testing::Test {
 protected:
  void start(const SimOptions& options) { sim_ = std::make_unique<SimHarness>(options); }

  void run(int steps) {
    for (int i = 0; i < steps; i++) ASSERT_EQ(sim_->publisher().step(), StepResult::steered);
  }
  // Until `ns` have passed, whatever the steps are.
  void run_for_ns(std::uint64_t ns) {
    const std::uint64_t end = now() + ns * (kHz / 1'000'000) / 1000;
    while (now() < end) {
      const StepResult result = sim_->publisher().step();
      ASSERT_TRUE(result == StepResult::steered || result == StepResult::bridged);
    }
  }
  [[nodiscard]] std::uint64_t now() const { return sim_->counter().now(); }
  [[nodiscard]] Segment newest(std::size_t page = 0) const {
    return PageWriter(*sim_->region().page(page)).newest();
  }
  [[nodiscard]] clockpage_diagnostics told() const { return sim_->region().page(0)->diagnostics; }
  [[nodiscard]] std::uint64_t index(std::size_t page) const {
    return sim_->region().page(page)->index;
  }
  // At a host counter, on any page.
  int read(std::size_t page, int clock, std::uint64_t host, clockpage_time& time) const {
    const clockpage_reader reader = sim_->region().reader(page);
    const Scale scale = PageWriter(*sim_->region().page(page)).scale();
    return clockpage_at_bounds(&reader, clock, scale.apply(host), &time);
  }
  [[nodiscard]] clockpage_time read(int clock, std::uint64_t host, std::size_t page = 0) const {
    clockpage_time time{};
    EXPECT_EQ(read(page, clock, host, time), CLOCKPAGE_OK) << "clock " << clock;
    return time;
  }
  // Makes the sim's kernel do something at once.
  void event(SimEvent::Kind kind, std::int64_t value) {
    sim_->source().kernel().schedule({now(), kind, value});
    sim_->oracle().schedule({now(), kind, value});
  }

  std::unique_ptr<SimHarness> sim_;
};

// What readers were told, to be compared with what they are told later.
struct Told {
  std::size_t page;
  int clock;
  std::uint64_t host;
  clockpage_time time;
};

class PublisherBridgeTest : public PublisherTest {
 protected:
  // Everything that overdue readers read between the lease's end and `until`.
  void listen(std::uint64_t until) {
    heard_.clear();
    const std::uint64_t from = newest().lease_end;
    for (std::size_t page = 0; page < 4; page++)
      for (const int clock : kClocks)
        for (std::uint64_t c = from; c < until; c += (until - from) / 37 + 1) {
          Told told{page, clock, c, {}};
          if (read(page, clock, c, told.time) == 0) heard_.push_back(told);
        }
    ASSERT_GT(heard_.size(), 100U);
  }
  void expect_told_again() {
    for (const Told& before : heard_) {
      clockpage_time again{};
      ASSERT_EQ(read(before.page, before.clock, before.host, again), 0);
      ASSERT_EQ(again.ns, before.time.ns) << before.page << ' ' << before.clock;
      ASSERT_EQ(again.epoch, before.time.epoch);
      ASSERT_EQ(again.flags & CLOCKPAGE_TIME_OVERDUE, 0U);
      // The bounds go on, too: no narrower, and wider only by what is rounded up.
      if (before.time.latest_ns == INT64_MAX) {
        ASSERT_EQ(again.latest_ns, INT64_MAX);
        continue;
      }
      ASSERT_GE(again.latest_ns, before.time.latest_ns);
      ASSERT_LE(again.latest_ns, before.time.latest_ns + 6);
    }
  }

  std::vector<Told> heard_;
};

TEST_F(PublisherBridgeTest, ALateWakeUpOnlyExtendsTheLeaseOfTheSameLine) {
  start(quiet());
  for (const std::uint64_t late_ms : {0, 1, 20}) {
    run(10);
    const std::uint64_t end = newest().lease_end;
    event(SimEvent::Kind::frequency, 100'000 * static_cast<std::int64_t>(late_ms + 1));
    sim_->counter().wait_until(end - kMs / 2 + late_ms * kMs);
    const std::uint64_t lead = sim_->publisher().lead_ticks();
    const std::uint64_t from = std::max(now(), end);
    listen(from + 4 * kMs);
    const std::uint64_t bridges = told().bridges;
    ASSERT_EQ(sim_->publisher().step(), StepResult::bridged) << late_ms;
    EXPECT_EQ(told().bridges, bridges + 1);
    EXPECT_NE(newest().terms.flags & CLOCKPAGE_SEGMENT_BRIDGE, 0U);
    EXPECT_EQ(newest().tai.start, end);
    // A fresh lease, and a dead writer shows in time: spec, G6.
    EXPECT_GE(newest().lease_end, from + 4 * kMs + lead);
    EXPECT_LE(newest().lease_end, now() + 4 * kMs + 2 * sim_->publisher().lead_ticks());
    expect_told_again();
  }
  EXPECT_EQ(told().late_publications, 0U);
}

TEST_F(PublisherBridgeTest, ARestartedPublisherGivesWhatOverdueReadersHadRead) {
  SimOptions options = quiet();
  options.script.mean_interval_s = 0.01;  // it never had the source's slope for long
  start(options);
  event(SimEvent::Kind::tai_offset, 37);
  run_for_ns(kSecondNs);
  const clockpage_diagnostics before = told();
  const std::uint64_t died = now();
  sim_->counter().wait_until(died + 5 * kHz);
  listen(now());
  sim_->restart();
  EXPECT_EQ(told().adoptions, before.adoptions + 1);
  EXPECT_EQ(told().producer_pid, static_cast<std::uint64_t>(getpid()));
  ASSERT_EQ(sim_->publisher().step(), StepResult::bridged);
  expect_told_again();
  for (int i = 0; i < 10; i++) ASSERT_NE(sim_->publisher().step(), StepResult::second_writer);
  expect_told_again();
  EXPECT_EQ(told().late_publications, before.late_publications);
  EXPECT_EQ(told().realtime_steps + told().tai_steps - 1 + told().monotonic_steps, 0U);
}

TEST_F(PublisherBridgeTest, ARestartedPublisherCatchesUpWithTheSource) {
  start(quiet());
  run(10);
  event(SimEvent::Kind::frequency, 300'000);
  sim_->counter().wait_until(now() + 2 * kHz);  // 600 us off by now
  sim_->restart();
  ASSERT_EQ(sim_->publisher().step(), StepResult::bridged);
  ASSERT_EQ(sim_->publisher().step(), StepResult::steered);
  EXPECT_EQ(newest().terms.reason, CLOCKPAGE_REASON_CATCHING_UP);
  run_for_ns(kSecondNs);
  EXPECT_EQ(newest().terms.reason, CLOCKPAGE_REASON_NONE);
  EXPECT_EQ(newest().terms.status, CLOCKPAGE_STATUS_SYNCHRONISED);
  const auto kernel = sim_->oracle_at(now());
  EXPECT_NEAR(static_cast<double>(read(CLOCKPAGE_MONOTONIC, now()).ns -
                                  *evaluate(kernel, CLOCKPAGE_MONOTONIC, now())),
              0, 3);
}

TEST_F(PublisherTest, ARestartedPublisherBridgesEvenWhenItIsInTime) {
  start(quiet());
  run(10);
  sim_->restart();
  EXPECT_EQ(sim_->publisher().step(), StepResult::bridged);
  EXPECT_EQ(sim_->publisher().step(), StepResult::steered);
}

TEST_F(PublisherTest, AdaptsItsLeadToLatenessAndForgetsIt) {
  SimOptions options = quiet();
  start(options);
  run(10);
  EXPECT_EQ(sim_->publisher().lead_ticks(), 4 * kMs);
  const auto late_step = [&] {
    const std::uint64_t due = newest().lease_end - sim_->publisher().lead_ticks();
    sim_->counter().wait_until(std::max(due, newest().tai.start) + 6 * kMs);
    return sim_->publisher().step();
  };
  EXPECT_EQ(late_step(), StepResult::bridged);
  EXPECT_GT(sim_->publisher().lead_ticks(), 7 * kMs);  // what it takes to be in time
  EXPECT_EQ(told().lead_ns, sim_->publisher().lead_ticks() * 1'000'000 / kMs);
  int bridged = 0;
  for (int i = 0; i < 50; i++) bridged += late_step() == StepResult::bridged ? 1 : 0;
  EXPECT_LE(bridged, 2);  // the same lateness is no trouble any more
  EXPECT_EQ(told().late_publications, 0U);
  run_for_ns(60 * kSecondNs);
  EXPECT_EQ(sim_->publisher().lead_ticks(), 4 * kMs);
}

TEST_F(PublisherTest, TheLeadHasALimit) {
  start(quiet());
  run(3);
  sim_->counter().wait_until(now() + 3600 * kHz);
  ASSERT_EQ(sim_->publisher().step(), StepResult::bridged);
  EXPECT_EQ(sim_->publisher().lead_ticks(), 50 * kMs);
  EXPECT_LE(newest().lease_end, now() + (4 + 2 * 50) * kMs);
}

TEST_F(PublisherTest, AtMostOneSegmentBeginsInTheFuture) {
  SimOptions options;
  options.publisher.lead_ns = 20'000'000;
  options.counter = {0, 50, kHz / 10'000, 30 * kMs, 0.05};
  start(options);
  for (int i = 0; i < 3000; i++) {
    const std::uint64_t before = index(0);
    ASSERT_NE(sim_->publisher().step(), StepResult::second_writer);
    ASSERT_EQ(index(0), before + 1);
    const Segment previous = PageWriter(*sim_->region().page(0)).load(before);
    ASSERT_LE(previous.tai.start, now());
  }
}

TEST_F(PublisherTest, AtMostOneSegmentBeginsInTheFutureEvenIfTheLeadIsLongerThanTheSegment) {
  start(quiet());
  run(10);
  PublisherConfig config;
  config.lead_ns = 40'000'000;
  Publisher patient(sim_->region().pages(), sim_->counter(), sim_->source(), kHz, 1, config, true);
  for (int i = 0; i < 20; i++) {
    const Segment previous = newest();
    ASSERT_NE(patient.step(), StepResult::second_writer);
    ASSERT_LE(previous.tai.start, now());
  }
}

TEST_F(PublisherTest, PublishesNothingWhenItIsWokenEarly) {
  start(quiet());
  run(5);
  StallingCounter counter(sim_->counter());
  counter.wakes_early = true;
  sim_->restart_with(counter, sim_->source(), false);
  const std::uint64_t before = index(0);
  EXPECT_EQ(sim_->publisher().step(), StepResult::interrupted);
  EXPECT_EQ(index(0), before);
}

TEST_F(PublisherTest, ChangesNothingButTheFourPagesChangingParts) {
  start(quiet());
  std::vector<std::byte> before(CLOCKPAGE_REGION_SIZE);
  const std::byte* region = sim_->region().bytes();
  std::memcpy(before.data(), region, before.size());
  run(100);
  for (std::size_t i = 0; i < before.size(); i++) {
    const std::size_t page = i / CLOCKPAGE_PAGE_SIZE;
    const std::size_t offset = i % CLOCKPAGE_PAGE_SIZE;
    const bool data = page >= 1 && page <= 4 && offset >= 0x100;
    if (!data) {
      ASSERT_EQ(before[i], region[i]) << "byte " << i;
    }
  }
}

TEST_F(PublisherTest, ARealtimeStepIsCountedAndNotSeenByTheOtherClocks) {
  for (const std::int64_t step : {kSecondNs * 3 / 2, -kSecondNs * 3 / 2, std::int64_t{1}}) {
    start(quiet());
    event(SimEvent::Kind::tai_offset, 37);
    run(10);
    const clockpage_diagnostics before = told();
    const std::uint64_t epoch = newest().terms.epoch;
    event(SimEvent::Kind::realtime_step, step);
    std::array<Segment, 4> old{newest(0), newest(1), newest(2), newest(3)};
    run(1);
    EXPECT_EQ(told().realtime_steps, before.realtime_steps + 1);
    EXPECT_EQ(told().monotonic_steps, before.monotonic_steps);
    EXPECT_EQ(newest().terms.epoch, epoch + 1);
    EXPECT_NE(newest().terms.flags & CLOCKPAGE_SEGMENT_REALTIME_STEP, 0U);
    for (std::size_t i = 0; i < 4; i++) {
      const Segment& was = old[i];
      const Segment is = newest(i);
      const Instant at_end = was.tai.at(was.lease_end);
      ASSERT_EQ(is.tai.start, was.lease_end);
      EXPECT_TRUE(add_ns(is.tai.base, -is.terms.monotonic_offset_ns) ==
                  add_ns(at_end, -was.terms.monotonic_offset_ns));
      EXPECT_TRUE(add_ns(is.tai.base, -is.terms.boottime_offset_ns) ==
                  add_ns(at_end, -was.terms.boottime_offset_ns));
      EXPECT_TRUE(is.raw.base == was.raw.at(was.lease_end));
      EXPECT_TRUE(add_ns(is.tai.base, -is.terms.utc_offset_ns) ==
                  add_ns(add_ns(at_end, -was.terms.utc_offset_ns), step));
    }
    run(1);  // once only
    EXPECT_EQ(told().realtime_steps, before.realtime_steps + 1);
    EXPECT_EQ(newest().terms.epoch, epoch + 1);
  }
}

TEST_F(PublisherTest, ATaiOffsetLearnedLaterStepsTaiOnly) {
  start(quiet());
  run(10);
  clockpage_time time{};
  EXPECT_EQ(read(0, CLOCKPAGE_TAI, now(), time), CLOCKPAGE_E_TAI_UNKNOWN);
  event(SimEvent::Kind::tai_offset, 37);
  const Segment was = newest();
  run(1);
  const Segment is = newest();
  EXPECT_EQ(told().tai_steps, 1U);
  EXPECT_EQ(told().realtime_steps, 0U);
  EXPECT_EQ(told().monotonic_steps, 0U);
  EXPECT_EQ(is.terms.flags, CLOCKPAGE_SEGMENT_TAI_KNOWN | CLOCKPAGE_SEGMENT_TAI_STEP);
  const Instant at_end = was.tai.at(was.lease_end);
  EXPECT_TRUE(add_ns(is.tai.base, -is.terms.monotonic_offset_ns) ==
              add_ns(at_end, -was.terms.monotonic_offset_ns));
  EXPECT_TRUE(add_ns(is.tai.base, -is.terms.utc_offset_ns) ==
              add_ns(at_end, -was.terms.utc_offset_ns));
  EXPECT_EQ(is.terms.status, CLOCKPAGE_STATUS_SYNCHRONISED);
  run(5);
  for (std::size_t page = 0; page < 4; page++)
    EXPECT_EQ(read(CLOCKPAGE_TAI, now(), page).ns - read(CLOCKPAGE_REALTIME, now(), page).ns,
              37 * kSecondNs);
  EXPECT_EQ(told().tai_steps, 1U);
}

// ---- adoption after a death between two index stores

class HalfPublishedTest : public PublisherTest, public testing::WithParamInterface<std::size_t> {
 protected:
  // As if the writer had died after it stored the index of the first GetParam() pages.
  void unpublish() {
    for (std::size_t i = GetParam(); i < 4; i++) sim_->region().page(i)->index--;
  }
  void expect_one_function() {
    const KernelClockSnapshot kernel = sim_->oracle_at(now());
    for (std::size_t i = 0; i < 4; i++) {
      EXPECT_EQ(index(i), index(0));
      EXPECT_EQ(newest(i).terms.epoch, newest(0).terms.epoch);
      for (const int clock : kClocks) {
        const clockpage_time time = read(clock, now(), i);
        EXPECT_NEAR(static_cast<double>(time.ns - *evaluate(kernel, clock, now())), 0, 3)
            << "page " << i << " clock " << clock;
      }
    }
  }
};

TEST_P(HalfPublishedTest, GoesOnCorrectlyOnAllPages) {
  start(quiet());
  event(SimEvent::Kind::tai_offset, 37);
  run(20);
  event(SimEvent::Kind::frequency, 200'000);
  run(1);
  unpublish();
  sim_->counter().wait_until(now() + 20 * kMs);
  sim_->restart();
  run_for_ns(100'000'000);
  expect_one_function();
}

TEST_P(HalfPublishedTest, GoesOnCorrectlyAcrossAStep) {
  start(quiet());
  event(SimEvent::Kind::tai_offset, 37);
  run(20);
  event(SimEvent::Kind::realtime_step, 3 * kSecondNs);
  run(1);
  ASSERT_NE(newest().terms.flags & CLOCKPAGE_SEGMENT_REALTIME_STEP, 0U);
  unpublish();
  std::array<std::int64_t, 4> monotonic{};
  for (std::size_t i = 0; i < 4; i++) monotonic[i] = read(CLOCKPAGE_MONOTONIC, now(), i).ns;
  sim_->restart();
  run_for_ns(100'000'000);
  for (std::size_t i = 0; i < 4; i++)
    EXPECT_LT(read(CLOCKPAGE_MONOTONIC, now(), i).ns - monotonic[i], kSecondNs);
  expect_one_function();
}

INSTANTIATE_TEST_SUITE_P(PagesPublished, HalfPublishedTest, testing::Values(1, 2, 3));

// ---- a second writer, a counter or a source that fails

class SecondWriterTest : public PublisherTest, public testing::WithParamInterface<std::size_t> {};

TEST_P(SecondWriterTest, IsNoticedAndNothingIsPublishedOrOverwritten) {
  start(quiet());
  run(20);
  TamperedSource source(sim_->source());
  sim_->restart_with(sim_->counter(), source, false);
  run(2);
  std::array<clockpage_data_page, 4> after_it{};
  source.during = [&] {
    PageWriter other(*sim_->region().page(GetParam()));
    other.fill_next(continued(other.newest(), other.newest().lease_end + kMs));
    ASSERT_TRUE(other.publish());
    for (std::size_t i = 0; i < 4; i++) after_it[i] = *sim_->region().page(i);
  };
  EXPECT_EQ(sim_->publisher().step(), StepResult::second_writer);
  for (std::size_t i = 0; i < 4; i++) {
    EXPECT_EQ(index(i), after_it[i].index) << "page " << i;
    // What readers of the other's page may be using: the newest and its 14 predecessors.
    const clockpage_data_page& page = *sim_->region().page(i);
    for (std::uint64_t back = 0; back <= CLOCKPAGE_HISTORY; back++) {
      const std::size_t slot = (after_it[i].index - back) % CLOCKPAGE_SEGMENT_COUNT;
      EXPECT_EQ(
          std::memcmp(&page.segment[slot], &after_it[i].segment[slot], sizeof page.segment[slot]),
          0)
          << "page " << i << ", " << back << " back";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(OnPage, SecondWriterTest, testing::Values(0, 1, 2, 3));

TEST_F(PublisherTest, AnUntrustedCounterRevokesAllPages) {
  start(quiet());
  run(5);
  TamperedSource source(sim_->source());
  source.answer = ObserveResult::counter_untrusted;
  sim_->restart_with(sim_->counter(), source, false);
  EXPECT_EQ(sim_->publisher().step(), StepResult::counter_untrusted);
  for (std::size_t page = 0; page < 4; page++)
    for (const int clock : {CLOCKPAGE_REALTIME, CLOCKPAGE_MONOTONIC, CLOCKPAGE_MONOTONIC_RAW}) {
      clockpage_time time{};
      EXPECT_EQ(read(page, clock, now(), time), CLOCKPAGE_E_REVOKED);
      EXPECT_EQ(read(page, clock, now() - kMs, time), CLOCKPAGE_E_REVOKED);
    }
}

// Growth of a half-width over some ms, in ppm of the time between.
double growth_ppm(const clockpage_time& from, const clockpage_time& to) {
  const auto width = [](const clockpage_time& t) { return t.latest_ns - t.ns; };
  return static_cast<double>(width(to) - width(from)) / static_cast<double>(to.ns - from.ns) * 1e6;
}

TEST_F(PublisherTest, ALostSourceIsSaidAndTheBoundsGrowUntilItIsBack) {
  start(quiet());
  TamperedSource source(sim_->source());
  sim_->restart_with(sim_->counter(), source, false);
  run(10);
  EXPECT_EQ(read(CLOCKPAGE_REALTIME, now()).status, CLOCKPAGE_STATUS_SYNCHRONISED);
  source.answer = ObserveResult::lost;
  run(5);
  const clockpage_time utc = read(CLOCKPAGE_REALTIME, now());
  const clockpage_time local = read(CLOCKPAGE_MONOTONIC, now());
  EXPECT_EQ(utc.status, CLOCKPAGE_STATUS_FREE_RUNNING);
  EXPECT_EQ(utc.reason, CLOCKPAGE_REASON_SOURCE_LOST);
  run_for_ns(kSecondNs);
  EXPECT_NEAR(growth_ppm(utc, read(CLOCKPAGE_REALTIME, now())), 500, 5);
  EXPECT_NEAR(growth_ppm(local, read(CLOCKPAGE_MONOTONIC, now())), 1000, 10);
  source.answer = ObserveResult::ok;
  run(5);
  const clockpage_time back = read(CLOCKPAGE_REALTIME, now());
  EXPECT_EQ(back.status, CLOCKPAGE_STATUS_SYNCHRONISED);
  EXPECT_LT(back.latest_ns - back.ns, utc.latest_ns - utc.ns);
}

TEST_F(PublisherTest, ASourceThatWasNeverSynchronisedHasNoUtcBoundButALocalOne) {
  start(quiet());
  sim_->source().set_quality({false, CLOCKPAGE_REASON_KERNEL_UNSYNCHRONISED, std::nullopt});
  sim_->make_region_anew();
  run(10);
  const clockpage_time utc = read(CLOCKPAGE_REALTIME, now());
  EXPECT_EQ(utc.status, CLOCKPAGE_STATUS_UNKNOWN);
  EXPECT_EQ(utc.reason, CLOCKPAGE_REASON_KERNEL_UNSYNCHRONISED);
  EXPECT_EQ(utc.earliest_ns, INT64_MIN);
  EXPECT_EQ(utc.latest_ns, INT64_MAX);
  const clockpage_time local = read(CLOCKPAGE_MONOTONIC, now());
  EXPECT_LT(local.latest_ns - local.earliest_ns, 100'000);
  EXPECT_GT(local.latest_ns, local.ns);
}

TEST_F(PublisherTest, ASourceNoLongerSynchronisedFreeRunsOnItsLastGoodBound) {
  start(quiet());
  run(10);
  const clockpage_time good = read(CLOCKPAGE_REALTIME, now());
  sim_->source().set_quality({false, CLOCKPAGE_REASON_KERNEL_UNSYNCHRONISED, 1'000'000});
  run(5);
  const clockpage_time first = read(CLOCKPAGE_REALTIME, now());
  EXPECT_EQ(first.status, CLOCKPAGE_STATUS_FREE_RUNNING);
  EXPECT_EQ(first.reason, CLOCKPAGE_REASON_KERNEL_UNSYNCHRONISED);
  EXPECT_GT(first.latest_ns - first.ns, good.latest_ns - good.ns);
  EXPECT_LT(first.latest_ns - first.ns, 1'100'000);
  run_for_ns(10 * kSecondNs);
  EXPECT_NEAR(growth_ppm(first, read(CLOCKPAGE_REALTIME, now())), 500, 5);
}

// ---- lateness within one step

class StallTest : public PublisherTest {
 protected:
  StallTest() {
    start(quiet());
    counter_ = std::make_unique<StallingCounter>(sim_->counter());
    sim_->restart_with(*counter_, sim_->source(), false);
    run(10);
    counter_->reads = 0;
    run(1);
    reads_per_step_ = counter_->reads;
  }
  // Steers the segment to be published off the one before, and stalls within the step.
  StepResult step_stalled(int at_read, std::uint64_t until) {
    event(SimEvent::Kind::frequency, 400'000);
    run_oracle_tick();
    counter_->reads = 0;
    counter_->stall_at_read = at_read;
    counter_->stall_until = until;
    return sim_->publisher().step();
  }
  // So that the kernel has taken the frequency over when the step observes it.
  void run_oracle_tick() {
    run(2);
    before_ = newest();
  }

  std::unique_ptr<StallingCounter> counter_;
  int reads_per_step_ = 0;
  Segment before_;
};

TEST_F(StallTest, KeepsTheMarginWhereverItIsStalledBeforeTheStore) {
  ASSERT_GE(reads_per_step_, 3);
  for (int n = 1; n < reads_per_step_; n++) {
    run(3);
    const std::uint64_t end = newest().lease_end;
    counter_->reads = 0;
    counter_->stall_at_read = n;
    counter_->stall_until = end - kMs / 2;  // before the start, but within the margin
    EXPECT_EQ(sim_->publisher().step(), StepResult::bridged) << "stalled at read " << n;
    counter_->stall_at_read = 0;
    run_for_ns(100'000'000);
  }
  EXPECT_EQ(told().late_publications, 0U);
  EXPECT_GT(told().min_margin_ns, 900'000);
}

TEST_F(StallTest, LooksAtTheCounterOnceMoreBetweenFillingAndPublishing) {
  const std::uint64_t before = index(0);
  int looks = 0;
  counter_->on_read = [&] {
    const auto& slot = sim_->region().page(3)->segment[(before + 1) % CLOCKPAGE_SEGMENT_COUNT];
    if (slot.number == before + 1 && index(0) == before) looks++;
  };
  ASSERT_EQ(sim_->publisher().step(), StepResult::steered);
  EXPECT_GE(looks, 1);
}

TEST_F(StallTest, AStoreDelayedWithinTheMarginIsInTimeAndItsMarginIsTold) {
  const std::uint64_t end = newest().lease_end;
  counter_->reads = 0;
  counter_->stall_at_read = reads_per_step_;  // the read after the index has been stored
  counter_->stall_until = end - kMs / 4;
  EXPECT_EQ(sim_->publisher().step(), StepResult::steered);
  EXPECT_EQ(told().late_publications, 0U);
  EXPECT_NEAR(static_cast<double>(told().min_margin_ns), 250'000, 200);
}

TEST_F(StallTest, ALatePublicationIsCountedWithTheDisagreementItMadePossible) {
  run(5);
  event(SimEvent::Kind::realtime_step, 1'000'000);  // 1 ms between the lines
  const Segment before = newest();
  counter_->reads = 0;
  counter_->stall_at_read = reads_per_step_;
  counter_->stall_until = before.lease_end + 2 * kMs;
  EXPECT_EQ(sim_->publisher().step(), StepResult::steered);
  EXPECT_EQ(told().late_publications, 1U);
  EXPECT_NEAR(static_cast<double>(told().min_margin_ns), -2e6, 200);
  const auto apart = difference(newest().tai.at(now()), before.tai.at(now()));
  EXPECT_NEAR(static_cast<double>(told().late_max_ns), to_double_ns(apart), 2);
  EXPECT_NEAR(static_cast<double>(told().late_max_ns), 1e6, 100);
  // A later, smaller one leaves the largest.
  counter_->stall_at_read = 0;
  run_for_ns(kSecondNs);
  event(SimEvent::Kind::realtime_step, 1000);
  counter_->reads = 0;
  counter_->stall_at_read = reads_per_step_;
  counter_->stall_until = newest().lease_end + kMs;
  ASSERT_EQ(sim_->publisher().step(), StepResult::steered);
  EXPECT_EQ(told().late_publications, 2U);
  EXPECT_GT(told().late_max_ns, 900'000U);
}

// ---- the end

TEST_F(PublisherTest, FinishLeavesAClockThatRunsOnAndSaysWhy) {
  start(quiet());
  run(10);
  event(SimEvent::Kind::frequency, 123'000);
  run(20);
  EXPECT_EQ(sim_->publisher().finish(), StepResult::steered);
  EXPECT_EQ(told().producer_pid, 0U);
  const Segment last = newest();
  EXPECT_EQ(last.terms.status, CLOCKPAGE_STATUS_FREE_RUNNING);
  EXPECT_EQ(last.terms.reason, CLOCKPAGE_REASON_PRODUCER_STOPPED);
  const Period mean = sim_->publisher().steering().period();
  const auto off = static_cast<InstantDelta>(Period{last.tai.period_frac} - mean);
  EXPECT_LT(std::abs(static_cast<double>(off)), 10.0);  // 2^-64 ns per tick: rounding
  for (std::size_t page = 0; page < 4; page++)
    for (const int clock : {CLOCKPAGE_REALTIME, CLOCKPAGE_MONOTONIC, CLOCKPAGE_MONOTONIC_RAW}) {
      clockpage_time before = read(clock, last.lease_end - 1, page);
      for (int s = 1; s < 100; s++) {
        const std::uint64_t c = last.lease_end + static_cast<std::uint64_t>(s) * kHz;
        const clockpage_time time = read(clock, c, page);
        ASSERT_GT(time.ns, before.ns + kSecondNs * 99 / 100);
        ASSERT_LT(time.ns, before.ns + kSecondNs * 101 / 100);
        ASSERT_NE(time.flags & CLOCKPAGE_TIME_OVERDUE, 0U);
        ASSERT_EQ(time.status, CLOCKPAGE_STATUS_FREE_RUNNING);
        ASSERT_GT(time.latest_ns - time.ns, before.latest_ns - before.ns);
        before = time;
      }
    }
}

TEST_F(PublisherTest, FinishBridgesFirstWhereItIsLate) {
  start(quiet());
  run(10);
  sim_->counter().wait_until(newest().lease_end + 10 * kMs);
  EXPECT_EQ(sim_->publisher().finish(), StepResult::steered);
  EXPECT_EQ(newest().terms.reason, CLOCKPAGE_REASON_PRODUCER_STOPPED);
  EXPECT_EQ(told().late_publications, 0U);
}

// ---- bounds

class ContainmentTest : public PublisherTest, public testing::WithParamInterface<std::uint64_t> {
 protected:
  // Everything that a reader could be told now: leased, and overdue if the writer dies.
  void ask_everything() {
    const std::uint64_t from = now();
    const std::uint64_t end = newest().lease_end;
    for (const std::size_t page : {std::size_t{0}, std::size_t{2}})
      for (const int clock : kClocks) {
        if (clock == CLOCKPAGE_TAI) continue;
        for (const std::uint64_t c : {from, from + (end - from) / 2, end - 1, end + kMs / 3,
                                      end + 3 * kMs, end + 17 * kMs, end + 90 * kMs}) {
          Told told{page, clock, c, {}};
          if (read(page, clock, c, told.time) == 0) asked_.emplace(c, told);
        }
      }
  }
  // Checks what was said of counter values that have come to pass.
  void judge() {
    while (!asked_.empty() && asked_.begin()->first <= now()) {
      const Told& told = asked_.begin()->second;
      const auto truth = *evaluate(sim_->oracle_at(told.host), told.clock, told.host);
      checked++;
      if ((told.time.flags & CLOCKPAGE_TIME_OVERDUE) != 0) overdue++;
      ASSERT_LE(told.time.earliest_ns, truth)
          << "clock " << told.clock << " page " << told.page << " ns " << told.time.ns;
      ASSERT_GE(told.time.latest_ns, truth)
          << "clock " << told.clock << " page " << told.page << " ns " << told.time.ns;
      asked_.erase(asked_.begin());
    }
  }

  std::multimap<std::uint64_t, Told> asked_;
  std::uint64_t checked = 0;
  std::uint64_t overdue = 0;
};

TEST_P(ContainmentTest, TheKernelsClockLiesWithinTheBoundsOfEveryRead) {
  SimOptions options;
  options.seed = GetParam();
  options.script.mean_interval_s = 0.03;
  options.script.max_frequency_ppb = 500'000;
  options.counter = {0, 50, kHz / 1'000'000 * 60, 60 * kMs, 0.02};
  start(options);
  const std::uint64_t end = now() + 60 * kHz;
  while (now() < end && !HasFatalFailure()) {
    ask_everything();
    ASSERT_NE(sim_->publisher().step(), StepResult::second_writer);
    judge();
  }
  EXPECT_GT(checked, 50'000U);
  EXPECT_GT(overdue, checked / 10);
  EXPECT_GT(told().bridges, 3U);
  EXPECT_EQ(told().realtime_steps, 0U);
}

INSTANTIATE_TEST_SUITE_P(Seed, ContainmentTest, testing::Values(1, 2, 3, 4));

}  // namespace
}  // namespace clockpage::producer
