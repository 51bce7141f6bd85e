// SPDX-License-Identifier: MIT
// Leap seconds as the publisher takes them from a simulated kernel.
#include "publisher_fixture.hpp"
#include "test_leaps.hpp"

namespace clockpage::producer {
namespace {

class PublisherLeapTest : public PublisherTest {
 protected:
  static SimOptions before_leap(int seconds, std::int64_t kernel_tai_s) {
    SimOptions options = quiet();
    options.kernel.realtime_ns = (k2016Leap - seconds) * kNsPerSecond;
    options.kernel.tai_offset_s = kernel_tai_s;
    return options;
  }
  // The page's words at every ms until `seconds` have passed: TAI, MONOTONIC and BOOTTIME never
  // move but by what the counter does, and REALTIME goes back by a second where it is to.
  void run_and_look(int seconds, std::int64_t expected_repeats) {
    std::int64_t repeats = 0;
    std::int64_t realtime = read(CLOCKPAGE_REALTIME, now()).ns;
    std::int64_t monotonic = read(CLOCKPAGE_MONOTONIC, now()).ns;
    const std::uint64_t end = now() + static_cast<std::uint64_t>(seconds) * kHz;
    while (now() < end) {
      const std::uint64_t at = now();
      const StepResult result = sim_->publisher().step();
      ASSERT_TRUE(result == StepResult::steered || result == StepResult::bridged);
      for (std::uint64_t c = at; c < now(); c += kMs) {
        const std::int64_t r = read(CLOCKPAGE_REALTIME, c).ns;
        const std::int64_t m = read(CLOCKPAGE_MONOTONIC, c).ns;
        ASSERT_GE(m, monotonic);
        const std::int64_t apart = (r - realtime) - (m - monotonic);
        if (apart != 0) {
          ASSERT_EQ(std::abs(apart), kNsPerSecond);
          repeats += apart < 0 ? 1 : -1;
        }
        realtime = r;
        monotonic = m;
      }
    }
    EXPECT_EQ(repeats, expected_repeats);
  }
  [[nodiscard]] std::uint64_t steps() const {
    return told().realtime_steps + told().tai_steps + told().monotonic_steps;
  }
  // What the kernel reads now, but for the tick.
  void expect_kernels_realtime(std::size_t page) {
    Observation o;
    ASSERT_EQ(sim_->source().observe(o), ObserveResult::ok);
    const auto kernel =
        static_cast<std::int64_t>(whole_ns(add_ns(o.monotonic, o.realtime_minus_monotonic_ns)));
    EXPECT_LE(std::abs(read(CLOCKPAGE_REALTIME, o.counter, page).ns - kernel), 10);
  }
};

TEST_F(PublisherLeapTest, OneThatTheKernelAnnouncesIsNoStep) {
  for (const int by : {1, -1}) {
    start(before_leap(4, 36));
    event(SimEvent::Kind::arm_leap, by);
    run(10);
    const std::uint64_t epoch = newest().terms.epoch;
    run_and_look(1, 0);  // the kernel has taken it up
    EXPECT_EQ(newest().terms.leap_indicator,
              by > 0 ? CLOCKPAGE_LEAP_PENDING_INSERTION : CLOCKPAGE_LEAP_PENDING_DELETION);
    run_and_look(6, by);
    EXPECT_EQ(steps(), 0U);
    EXPECT_EQ(newest().terms.epoch, epoch);
    EXPECT_EQ(newest().terms.utc, constant_offset((36 + by) * kNsPerSecond));
    EXPECT_EQ(newest().terms.leap_indicator, CLOCKPAGE_LEAP_JUST_PAST);
    expect_kernels_realtime(0);
    expect_kernels_realtime(2);
    EXPECT_EQ(newest().terms.status, CLOCKPAGE_STATUS_SYNCHRONISED);
  }
}

TEST_F(PublisherLeapTest, OneThatTheKernelAnnouncesIsNoStepThoughItsTaiWasNeverSet) {
  start(before_leap(4, 0));
  event(SimEvent::Kind::arm_leap, 1);
  run_and_look(7, 1);
  EXPECT_EQ(steps(), 0U);
  EXPECT_EQ(newest().terms.flags & CLOCKPAGE_SEGMENT_TAI_KNOWN, 0U);
  expect_kernels_realtime(0);
}

TEST_F(PublisherLeapTest, OneOfTheTableIsNoStepWhetherTheKernelsTaiIsSetOrNot) {
  for (const std::int64_t kernel_tai_s : {36, 0}) {
    SimOptions options = before_leap(4, kernel_tai_s);
    options.publisher.leaps.table = leap_table();
    start(options);
    EXPECT_EQ(newest().terms.leap_indicator, CLOCKPAGE_LEAP_PENDING_INSERTION);
    event(SimEvent::Kind::arm_leap, 1);
    run_and_look(7, 1);
    EXPECT_EQ(steps(), 0U) << kernel_tai_s;
    EXPECT_EQ(newest().terms.utc, constant_offset(37 * kNsPerSecond));
    EXPECT_EQ(newest().terms.flags & CLOCKPAGE_SEGMENT_TAI_SOURCE,
              kernel_tai_s != 0 ? CLOCKPAGE_SEGMENT_TAI_KERNEL : CLOCKPAGE_SEGMENT_TAI_TABLE);
    expect_kernels_realtime(0);
    EXPECT_EQ(told().leap_table_offset_s, 37);
  }
}

TEST_F(PublisherLeapTest, OneIsPendingFromADayBeforeItWhateverTheTableKnows) {
  constexpr int day = 86'400;
  SimOptions options = before_leap(day + 2, 36);
  options.publisher.leaps.table = leap_table();
  start(options);
  const std::int64_t leap = LeapSecond{k2016Leap, 36, 37}.tai_ns();
  EXPECT_EQ(newest().terms.utc.start_ns, leap);  // announced
  EXPECT_EQ(newest().terms.leap_indicator, CLOCKPAGE_LEAP_NONE);
  int seen[2] = {};
  for (int i = 0; i < 3000; i++) {
    run(1);
    const Segment s = newest();
    const auto tai = static_cast<std::int64_t>(whole_ns(s.tai.base));
    const bool near = leap - tai <= day * kNsPerSecond;
    ASSERT_EQ(s.terms.leap_indicator, near ? CLOCKPAGE_LEAP_PENDING_INSERTION : CLOCKPAGE_LEAP_NONE)
        << leap - tai;
    seen[near ? 1 : 0]++;
  }
  EXPECT_GT(seen[0], 0);
  EXPECT_GT(seen[1], 0);
  EXPECT_EQ(newest(1).terms.leap_indicator, CLOCKPAGE_LEAP_PENDING_INSERTION);
}

TEST_F(PublisherLeapTest, AKernelThatDoesNotTakeItIsFollowedTwoSecondsLater) {
  SimOptions options = before_leap(4, 36);
  options.publisher.leaps.table = leap_table();
  start(options);
  run_and_look(5, 1);
  EXPECT_EQ(steps(), 0U);
  run_for_ns(3'000'000'000);
  EXPECT_EQ(told().realtime_steps, 1U);
  EXPECT_EQ(told().tai_steps, 0U);
  expect_kernels_realtime(0);
}

TEST_F(PublisherLeapTest, ADeadPublishersPagesTakeItInTime) {
  SimOptions options = before_leap(100, 36);
  options.publisher.leaps.table = leap_table();
  start(options);
  run(10);
  const Segment last = newest();
  const std::int64_t leap = LeapSecond{k2016Leap, 36, 37}.tai_ns();
  const std::uint64_t at = now() + 96 * kHz;
  std::uint64_t low = at;
  std::uint64_t high = at + 10 * kHz;
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    if (read(CLOCKPAGE_TAI, middle).ns < leap)
      low = middle + 1;
    else
      high = middle;
  }
  EXPECT_EQ(read(CLOCKPAGE_REALTIME, low - 1).ns, k2016Leap * kNsPerSecond - 1);
  EXPECT_EQ(read(CLOCKPAGE_REALTIME, low).ns, (k2016Leap - 1) * kNsPerSecond);
  EXPECT_EQ(last.number, newest().number);
  // A new one finds the kernel as the pages have it.
  sim_->counter().wait_until(low + kHz / 2);
  sim_->restart();
  event(SimEvent::Kind::realtime_step, -kNsPerSecond);
  event(SimEvent::Kind::tai_offset, 37);
  run_for_ns(3'000'000'000);
  EXPECT_EQ(steps(), 0U);
  EXPECT_EQ(newest().terms.utc, constant_offset(37 * kNsPerSecond));
  EXPECT_EQ(newest().terms.status, CLOCKPAGE_STATUS_SYNCHRONISED);
}

TEST_F(PublisherLeapTest, ARestartAtAnyMomentAroundItIsNoStep) {
  for (int ms = 3900; ms < 5200; ms += 61) {
    SimOptions options = before_leap(4, 0);
    options.publisher.leaps.table = leap_table();
    start(options);
    event(SimEvent::Kind::arm_leap, 1);
    run_for_ns(static_cast<std::uint64_t>(ms) * 1'000'000);
    sim_->restart();
    run_for_ns(3'000'000'000);
    ASSERT_EQ(steps(), 0U) << ms;
    ASSERT_EQ(newest().terms.utc, constant_offset(37 * kNsPerSecond)) << ms;
    ASSERT_EQ(newest(1).terms.utc.after_ns, 37 * kNsPerSecond) << ms;
    ASSERT_GT(newest(1).terms.utc.end_ns, newest(1).terms.utc.start_ns) << ms;
  }
}

// ---- a host whose own clock is smeared

// Its TAI is the counter, at 1 GHz; the kernel's clocks run as the smear has them, to the 2^-64 ns.
class SmearedHost final : public TimeSource {
 public:
  SmearedHost(VirtualCounter& counter, const LeapSecond& leap, const Smear& smear)
      : counter_(counter),
        start_((leap.utc_s + smear.start_s + leap.before_s) * kNsPerSecond),
        length_(smear.length_s * kNsPerSecond),
        true_length_(length_ + (leap.after_s - leap.before_s) * kNsPerSecond),
        before_ns_(leap.before_s * kNsPerSecond) {}

  // REALTIME at a TAI.
  [[nodiscard]] Instant realtime(std::int64_t tai_ns) const {
    std::int64_t whole = tai_ns;
    Instant into = 0;
    if (tai_ns >= start_ + true_length_) {
      whole -= true_length_ - length_;
    } else if (tai_ns > start_) {
      whole = start_;
      const auto left = static_cast<Instant>(tai_ns - start_) * static_cast<Instant>(length_);
      const auto by = static_cast<Instant>(true_length_);
      into = (left / by << 64) + ((left % by) << 32) / by * (Instant{1} << 32);
    }
    return make_instant(static_cast<std::uint64_t>(whole - before_ns_)) + into;
  }
  ObserveResult observe(Observation& o) noexcept override {
    o.counter = counter_.read();
    const auto tai = static_cast<std::int64_t>(o.counter);
    const bool in_smear = tai >= start_ && tai < start_ + true_length_;
    const Instant one = make_instant(1);
    o.period =
        in_smear ? one * static_cast<Instant>(length_) / static_cast<Instant>(true_length_) : one;
    o.realtime_minus_monotonic_ns = kOffset;
    o.monotonic = add_ns(realtime(tai), -kOffset);
    o.raw = make_instant(o.counter);
    o.raw_period = one;
    o.quality = {true, CLOCKPAGE_REASON_NONE, 1'000'000};
    return ObserveResult::ok;
  }
  [[nodiscard]] std::string_view name() const noexcept override { return "smeared"; }
  [[nodiscard]] std::string description() const override { return ""; }

 private:
  static constexpr std::int64_t kOffset = 1'000'000'000 * kNsPerSecond;
  VirtualCounter& counter_;
  std::int64_t start_, length_, true_length_, before_ns_;
};

struct HostSmearCase {
  LeapSecond leap;
  Smear smear;
};

class SmearedHostTest : public testing::TestWithParam<HostSmearCase> {};

TEST_P(SmearedHostTest, ItsUnsmearedPagesHaveUtcAndItsSmearedOnesItsOwnTime) {
  const auto& [leap, smear] = GetParam();
  constexpr std::uint64_t hz = 1'000'000'000;
  const UtcOffset exact = leap_offset(leap, kNoSmear);
  const UtcOffset smeared = leap_offset(leap, smear);
  VirtualCounter counter(static_cast<std::uint64_t>(smeared.start_ns - 15 * kNsPerSecond), {});
  SmearedHost host(counter, leap, smear);
  PublisherConfig config;
  config.leaps.smear = config.leaps.host_smear = smear;
  config.period_ns = config.lead_ns = config.max_lead_ns = 40'000'000;
  config.leaps.table = leap_table_of({{leap.utc_s, static_cast<int>(leap.after_s)}});
  Steering steering(hz, 1, config.limits, config.leaps);
  Observation o;
  host.observe(o);
  steering.observe(o);
  RegionIdentity identity;
  identity.generation = 1;
  identity.first_index = 1000;
  identity.counter = {kThisCounterKind, hz, 1, 0, 0, 48};
  identity.smear = smear;
  const std::uint64_t begin = counter.read();
  const Segment first =
      steering.first(begin, begin + 8'000'000, delta_shift_for(nominal_period(hz)));
  const MemoryRegion region(
      region_image(identity, 4'000'000, first, steering.first_smeared(first)));
  Publisher publisher(region.pages(), counter, host, hz, 1, config, false);
  const auto end = static_cast<std::uint64_t>(smeared.end_ns + 15 * kNsPerSecond);
  int samples_in_smear = 0;
  while (counter.now() < end) {
    ASSERT_EQ(publisher.step(), StepResult::steered);
    const std::uint64_t c = counter.now();
    const auto tai = static_cast<std::int64_t>(c);
    const auto near = [&](std::int64_t when) { return std::llabs(tai - when) < 300'000'000; };
    // Where the host's rate changes the page needs three segments (G18).
    if (near(smeared.start_ns) || near(smeared.end_ns)) continue;
    const std::int64_t marked_from = smeared.start_ns - kHostSmearAheadNs;
    if (near(marked_from)) continue;
    const bool in_smear = tai > marked_from && tai < smeared.end_ns;
    for (std::size_t page = 0; page < 4; page++) {
      const clockpage_reader reader = region.reader(page);
      const std::uint64_t at = PageWriter(*region.page(page)).scale().apply(c);
      clockpage_time time{};
      ASSERT_EQ(clockpage_at_bounds(&reader, CLOCKPAGE_REALTIME, at, &time), 0);
      const std::int64_t expected = page % 2 == 0
                                        ? tai - exact.at(tai)
                                        : static_cast<std::int64_t>(whole_ns(host.realtime(tai)));
      ASSERT_LE(std::llabs(time.ns - expected), 2) << page << ' ' << tai - exact.start_ns;
      ASSERT_EQ((time.flags & CLOCKPAGE_TIME_HOST_IN_SMEAR) != 0, in_smear);
      const int error = clockpage_at_bounds(&reader, CLOCKPAGE_TAI, at, &time);
      ASSERT_EQ(error, in_smear ? CLOCKPAGE_E_TAI_UNKNOWN : CLOCKPAGE_OK);
      if (error == 0) {
        ASSERT_LE(std::llabs(time.ns - tai), 2);
      }
    }
    samples_in_smear += in_smear ? 1 : 0;
  }
  EXPECT_GT(samples_in_smear, 1'000);
  const clockpage_diagnostics& told = publisher.diagnostics();
  EXPECT_EQ(told.realtime_steps, 1U);  // the leap second: the unsmeared pages' alone
  EXPECT_EQ(told.tai_steps, 1U);       // learned again after the smear
  EXPECT_EQ(told.monotonic_steps, 0U);
}

// The leap second itself needs a segment of its own there: without one the bound has to cover it,
// whether the writer dies after its first segment or later.
TEST_P(SmearedHostTest, WhoseWriterDiesBeforeTheLeapSecondHasBoundsThatCoverIt) {
  const auto& [leap, smear] = GetParam();
  constexpr std::uint64_t hz = 1'000'000'000;
  const UtcOffset exact = leap_offset(leap, kNoSmear);
  for (const int steps : {0, 1, 20})
    for (const std::int64_t before_ms : {200, 1'500, 30'000}) {
      SCOPED_TRACE(fmt::format("{} segments, dead {} ms before", steps, before_ms));
      const std::int64_t start = exact.start_ns - before_ms * 1'000'000 - steps * 40'000'000;
      VirtualCounter counter(static_cast<std::uint64_t>(start), {});
      SmearedHost host(counter, leap, smear);
      PublisherConfig config;
      config.leaps.smear = config.leaps.host_smear = smear;
      config.period_ns = config.lead_ns = config.max_lead_ns = 40'000'000;
      config.leaps.table = leap_table_of({{leap.utc_s, static_cast<int>(leap.after_s)}});
      Steering steering(hz, 1, config.limits, config.leaps);
      Observation o;
      host.observe(o);
      steering.observe(o);
      RegionIdentity identity;
      identity.generation = 1;
      identity.first_index = 1000;
      identity.counter = {kThisCounterKind, hz, 1, 0, 0, 48};
      identity.smear = smear;
      const std::uint64_t begin = counter.read();
      const Segment first =
          steering.first(begin, begin + 8'000'000, delta_shift_for(nominal_period(hz)));
      const MemoryRegion region(
          region_image(identity, 4'000'000, first, steering.first_smeared(first)));
      Publisher publisher(region.pages(), counter, host, hz, 1, config, false);
      for (int i = 0; i < steps; i++) ASSERT_EQ(publisher.step(), StepResult::steered);
      const clockpage_reader reader = region.reader(0);
      for (std::int64_t tai = static_cast<std::int64_t>(counter.now());
           tai < exact.start_ns + 5 * kNsPerSecond; tai += 50'000'000) {
        clockpage_time time{};
        ASSERT_EQ(clockpage_at_bounds(&reader, CLOCKPAGE_REALTIME, static_cast<std::uint64_t>(tai),
                                      &time),
                  0);
        const std::int64_t utc = tai - exact.at(tai);
        ASSERT_LE(time.earliest_ns, utc) << tai - exact.start_ns;
        ASSERT_GE(time.latest_ns, utc) << tai - exact.start_ns;
      }
    }
}

INSTANTIATE_TEST_SUITE_P(
    Smears, SmearedHostTest,
    testing::Values(HostSmearCase{{k2016Leap, 10, 11}, kUtcSls},
                    HostSmearCase{{k2016Leap, 10, 9}, kUtcSls},
                    HostSmearCase{{k2016Leap, 10, 11}, {CLOCKPAGE_SMEAR_LINEAR, -100, 300}},
                    HostSmearCase{{k2016Leap, 10, 9}, {CLOCKPAGE_SMEAR_LINEAR, -100, 300}}));

}  // namespace
}  // namespace clockpage::producer
