// SPDX-License-Identifier: MIT
#include "utc_plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "test_leaps.hpp"

namespace clockpage::producer {
namespace {

constexpr std::int64_t kDay = 86'400;
constexpr LeapSecond kInsertion{k2016Leap, 36, 37};
constexpr LeapSecond kDeletion{k2016Leap, 36, 35};
constexpr std::int64_t kSegment = 100'000'000;

// The source's offset at a TAI, and what it says is to come.
struct World {
  UtcKnowledge known;
  LeapConfig config;
  std::int64_t tai = 0;
  UtcOffset unsmeared;
  UtcOffset smeared;

  void begin_at(std::int64_t utc_s, std::int64_t offset_s) {
    known.tai_known = true;
    known.tai_offset_ns = offset_s * kNsPerSecond;
    tai = (utc_s + offset_s) * kNsPerSecond;
    unsmeared = unsmeared_offset(UtcOffset{}, tai, known, config.host_smear);
    smeared = regular_offset(tai, unsmeared, known, config);
  }
  // The next segment: nothing jumps but by `change`, and smeared REALTIME never goes back.
  void next(UtcChange change = UtcChange::none) {
    const std::int64_t before = tai - smeared.at(tai - 1) - 1;
    unsmeared = unsmeared_offset(unsmeared, tai, known, config.host_smear);
    smeared = smeared_offset(smeared, tai, 0, unsmeared, change, known, config);
    if (change == UtcChange::set) return;
    const std::int64_t here = tai - smeared.at(tai);
    ASSERT_GE(here, before) << tai;
    ASSERT_LE(here, before + 2) << tai;
  }
  // On to a UTC (in terms of the offset before the leap second), segment by segment.
  void go_to(std::int64_t utc_s) {
    const std::int64_t end = (utc_s + 36) * kNsPerSecond;
    while (tai < end) {
      tai = std::min(tai + kSegment, end);
      next();
    }
  }
  void take(const LeapSecond& leap) {
    known.tai_offset_ns = leap.after_s * kNsPerSecond;
    known.next.reset();
    known.previous = leap;
  }
};

TEST(UtcPlanTest, AnnouncesALeapMonthsAheadInTheFieldsOfBothKindsOfPage) {
  World world;
  world.known.next = kInsertion;
  world.begin_at(k2016Leap - 100 * kDay, 36);
  EXPECT_EQ(world.unsmeared, leap_offset(kInsertion, kNoSmear));
  EXPECT_EQ(world.smeared, leap_offset(kInsertion, kNoonSmear));
  EXPECT_EQ(leap_indicator(world.unsmeared, world.unsmeared, world.tai, world.known, kNoSmear),
            CLOCKPAGE_LEAP_NONE);
  EXPECT_EQ(leap_indicator(world.smeared, world.unsmeared, world.tai, world.known, kNoonSmear),
            CLOCKPAGE_LEAP_NONE);
}

TEST(UtcPlanTest, ALeapIsPendingOnItsLastDayAlone) {
  for (const LeapSecond& leap : {kInsertion, kDeletion})
    for (const Smear& smear : {kNoSmear, kNoonSmear, kUtcSls}) {
      const UtcOffset offset = leap_offset(leap, smear);
      const auto at = [&](std::int64_t tai) { return leap_indicator(offset, {}, tai, {}, smear); };
      const auto pending = leap.after_s > leap.before_s ? CLOCKPAGE_LEAP_PENDING_INSERTION
                                                        : CLOCKPAGE_LEAP_PENDING_DELETION;
      EXPECT_EQ(at(0), CLOCKPAGE_LEAP_NONE);
      EXPECT_EQ(at(offset.start_ns - kDay * kNsPerSecond - 1), CLOCKPAGE_LEAP_NONE);
      EXPECT_EQ(at(offset.start_ns - kDay * kNsPerSecond), pending);
      EXPECT_EQ(at(offset.start_ns - 1), pending);
      EXPECT_EQ(at(offset.end_ns - 1), smear == kNoSmear ? pending : CLOCKPAGE_LEAP_IN_SMEAR);
      EXPECT_EQ(at(offset.end_ns), CLOCKPAGE_LEAP_JUST_PAST);
    }
}

TEST(UtcPlanTest, ALeapThatIsKnownAheadDoesNotHideTheOneJustPast) {
  for (const Smear& smear : {kNoSmear, kNoonSmear}) {
    UtcKnowledge known;
    known.previous = kInsertion;
    known.next = LeapSecond{k2016Leap + 181 * kDay, 37, 38};
    const std::int64_t end = leap_offset(kInsertion, smear).end_ns;
    const auto at = [&](std::int64_t tai) {
      return leap_indicator(leap_offset(*known.next, smear), {}, tai, known, smear);
    };
    EXPECT_EQ(at(end - 1), CLOCKPAGE_LEAP_NONE);
    EXPECT_EQ(at(end), CLOCKPAGE_LEAP_JUST_PAST);
    EXPECT_EQ(at(end + kDay * kNsPerSecond - 1), CLOCKPAGE_LEAP_JUST_PAST);
    EXPECT_EQ(at(end + kDay * kNsPerSecond), CLOCKPAGE_LEAP_NONE);
    // Two days in succession: what is to come on this day goes before what has been.
    known.next = LeapSecond{k2016Leap + kDay, 37, 38};
    EXPECT_EQ(at(leap_offset(*known.next, smear).start_ns - kDay * kNsPerSecond),
              CLOCKPAGE_LEAP_PENDING_INSERTION);
  }
}

TEST(UtcPlanTest, ASmearThatEndsWithTheLeapIsJustPastBeforeTheSourceHasTakenIt) {
  World world;
  world.config.smear = kUtcSls;
  world.known.next = kDeletion;
  world.begin_at(k2016Leap - 10, 36);
  ASSERT_EQ(world.smeared.end_ns, kDeletion.tai_ns());
  world.tai = world.smeared.end_ns;
  world.next();
  EXPECT_EQ(world.smeared, constant_offset(35 * kNsPerSecond));
  EXPECT_EQ(leap_indicator(world.smeared, world.unsmeared, world.tai, world.known, kUtcSls),
            CLOCKPAGE_LEAP_JUST_PAST);
}

TEST(UtcPlanTest, KeepsTheLeapUntilASecondAfterItWhenTheSourceTakesItLate) {
  for (const LeapSecond& leap : {kInsertion, kDeletion}) {
    World world;
    world.known.next = leap;
    world.begin_at(k2016Leap - 10, 36);
    const UtcOffset step = leap_offset(leap, kNoSmear);
    world.tai = leap.tai_ns() + 8'000'000;
    world.known.next.reset();  // by the source's clock it is the day after
    world.next();
    EXPECT_EQ(world.unsmeared, step);
    world.take(leap);
    world.tai = leap.tai_ns() + kNsPerSecond - 1;
    world.next();
    EXPECT_EQ(world.unsmeared, step);
    world.tai++;
    world.next();
    EXPECT_EQ(world.unsmeared, constant_offset(leap.after_s * kNsPerSecond));
    EXPECT_EQ(leap_indicator(world.unsmeared, world.unsmeared, world.tai, world.known, kNoSmear),
              CLOCKPAGE_LEAP_JUST_PAST);
    EXPECT_EQ(leap_indicator(world.unsmeared, world.unsmeared, leap.tai_ns() + kDay * kNsPerSecond,
                             world.known, kNoSmear),
              CLOCKPAGE_LEAP_NONE);
  }
}

TEST(UtcPlanTest, TheSourceIsBelievedWhereItNeverTakesTheLeap) {
  World world;
  world.known.next = kInsertion;
  world.begin_at(k2016Leap - 43'300, 36);
  world.go_to(k2016Leap);
  world.known.next.reset();
  world.go_to(k2016Leap + 2);
  EXPECT_EQ(world.unsmeared.at(world.tai), 37 * kNsPerSecond);
  world.tai += kSegment;
  world.next(UtcChange::leap);  // the unsmeared pages step back to it
  EXPECT_EQ(world.unsmeared, constant_offset(36 * kNsPerSecond));
  // The smeared ones return as they went, half a second by now, and not by a step.
  EXPECT_NEAR(static_cast<double>(world.smeared.before_ns), 36.5e9, 1e5);
  EXPECT_EQ(world.smeared.after_ns, 36 * kNsPerSecond);
  world.go_to(k2016Leap + 600);
  EXPECT_EQ(world.smeared, constant_offset(36 * kNsPerSecond));
}

TEST(UtcPlanTest, SmearsFromNoonToNoonAndIsDoneWhereItIsSaidToBe) {
  for (const LeapSecond& leap : {kInsertion, kDeletion})
    for (const Smear& smear : {kNoonSmear, kUtcSls, Smear{CLOCKPAGE_SMEAR_LINEAR, 0, 5000}}) {
      World world;
      world.config.smear = smear;
      world.known.next = leap;
      world.begin_at(k2016Leap - 43'300, 36);
      const UtcOffset expected = leap_offset(leap, smear);
      while (world.tai < expected.end_ns + 3 * kNsPerSecond) {
        if (world.tai >= leap.tai_ns() && world.known.next) world.take(leap);
        world.tai += kSegment;
        world.next();
        ASSERT_EQ(world.smeared.at(world.tai), expected.at(world.tai)) << smear_name(smear);
      }
      EXPECT_EQ(world.smeared, constant_offset(leap.after_s * kNsPerSecond));
    }
}

TEST(UtcPlanTest, ALateAnnouncementSmearsFromThenToTheRegularEnd) {
  World world;
  world.begin_at(k2016Leap - 3'600, 36);
  world.known.next = kInsertion;
  world.tai += kSegment;
  world.next();
  EXPECT_EQ(world.smeared,
            offset_ramp(36 * kNsPerSecond, world.tai, leap_offset(kInsertion, kNoonSmear).end_ns,
                        37 * kNsPerSecond));
}

TEST(UtcPlanTest, ALateSmearIsNoSteeperThanOnePartInAThousand) {
  World world;
  world.config.smear = kUtcSls;
  world.begin_at(k2016Leap - 10, 36);
  world.known.next = kInsertion;
  world.tai += kSegment;
  world.next();
  EXPECT_EQ(world.smeared.end_ns - world.smeared.start_ns, 1000 * kNsPerSecond);
  world.go_to(k2016Leap + 1);
  world.take(kInsertion);
  world.go_to(k2016Leap + 1100);
  EXPECT_EQ(world.smeared, constant_offset(37 * kNsPerSecond));
}

TEST(UtcPlanTest, AnUnannouncedLeapIsSmearedAfterwards) {
  for (const LeapSecond& leap : {kInsertion, kDeletion}) {
    World world;
    world.begin_at(k2016Leap - 10, 36);
    world.tai = leap.tai_ns() + kSegment;
    world.take(leap);
    world.next(UtcChange::leap);
    EXPECT_EQ(world.unsmeared, constant_offset(leap.after_s * kNsPerSecond));
    EXPECT_EQ(world.smeared.start_ns, world.tai);
    EXPECT_EQ(world.smeared.end_ns - world.smeared.start_ns, 1000 * kNsPerSecond);
    EXPECT_EQ(world.smeared.after_ns, leap.after_s * kNsPerSecond);
  }
}

TEST(UtcPlanTest, ALeapThatIsCalledOffIsTakenBack) {
  World world;
  world.known.next = kInsertion;
  world.begin_at(k2016Leap - 43'300, 36);
  world.go_to(k2016Leap - 21'600);  // a quarter is done
  world.known.next.reset();
  world.tai += kSegment;
  world.next();
  EXPECT_EQ(world.unsmeared, constant_offset(36 * kNsPerSecond));
  EXPECT_NEAR(static_cast<double>(world.smeared.before_ns), 36.25e9, 1e5);
  world.go_to(k2016Leap - 21'300);
  EXPECT_EQ(world.smeared, constant_offset(36 * kNsPerSecond));
}

// The formats' lines may be a nanosecond apart where the old smear ends and the new one begins.
TEST(UtcPlanTest, ASmearThatIsBrokenOffGoesBackwardsOnNeitherFormat) {
  for (const LeapSecond& leap : {kInsertion, kDeletion}) {
    const UtcOffset old = leap_offset(leap, kNoonSmear);
    UtcKnowledge known;
    known.tai_offset_ns = 36 * kNsPerSecond;
    const UtcOffset unsmeared = constant_offset(known.tai_offset_ns);
    const std::int64_t middle = old.start_ns + 20'000 * kNsPerSecond;
    for (std::int64_t tai = middle; tai < middle + 100'000; tai++) {
      const UtcOffset back =
          smeared_offset(old, tai, 0, unsmeared, UtcChange::none, known, LeapConfig{});
      for (const std::int64_t line : {tai - 1, tai, tai + 1}) {
        const std::int64_t step = (line - back.at(line)) - (line - old.at(line));
        ASSERT_GE(step, 0) << line - tai;
        ASSERT_LE(step, 2) << line - tai;  // two roundings
      }
    }
  }
}

TEST(UtcPlanTest, OneThatIsCalledOffIsTakenBackThoughAnotherComesLater) {
  World world;
  world.known.next = kInsertion;
  world.begin_at(k2016Leap - 43'300, 36);
  world.go_to(k2016Leap - 21'600);
  world.known.next = LeapSecond{k2016Leap + 181 * kDay, 36, 37};
  world.tai += kSegment;
  world.next();
  world.go_to(k2016Leap - 21'300);
  EXPECT_EQ(world.smeared, leap_offset(*world.known.next, kNoonSmear));
}

TEST(UtcPlanTest, TwoInSuccessionAreSmearedOneAfterTheOther) {
  World world;
  const LeapSecond second{k2016Leap + kDay, 37, 38};
  world.known.next = kInsertion;
  world.begin_at(k2016Leap - 43'300, 36);
  world.go_to(k2016Leap + 1);
  world.take(kInsertion);
  world.known.next = second;  // noon smears touch
  world.go_to(k2016Leap + 43'202);
  EXPECT_EQ(world.smeared, leap_offset(second, kNoonSmear));
  world.go_to(second.utc_s + 2);
  world.take(second);
  world.go_to(second.utc_s + 43'300);
  EXPECT_EQ(world.smeared, constant_offset(38 * kNsPerSecond));
}

TEST(UtcPlanTest, WhereTwoSmearsWouldOverlapTheSecondBeginsLate) {
  World world;
  world.config.smear = {CLOCKPAGE_SMEAR_LINEAR, -86'400, 172'800};
  const LeapSecond second{k2016Leap + kDay, 37, 38};
  world.known.next = kInsertion;
  world.begin_at(k2016Leap - 86'500, 36);
  world.go_to(k2016Leap + 1);
  world.take(kInsertion);
  world.known.next = second;
  world.go_to(k2016Leap + 86'398);
  EXPECT_EQ(world.smeared, leap_offset(kInsertion, world.config.smear));
  world.go_to(second.utc_s + 2);
  world.take(second);
  world.go_to(second.utc_s + 86'500);
  EXPECT_EQ(world.smeared, constant_offset(38 * kNsPerSecond));
}

TEST(UtcPlanTest, TaiThatIsLearnedMovesTheSmearAlong) {
  World world;
  world.known.next = LeapSecond{k2016Leap, 0, 1};
  world.begin_at(k2016Leap - 20'000, 0);
  const std::int64_t realtime = world.tai - world.smeared.at(world.tai);
  world.known.next = kInsertion;
  world.known.tai_offset_ns = 36 * kNsPerSecond;
  const std::int64_t step = 36 * kNsPerSecond;
  world.tai += step;
  world.unsmeared = unsmeared_offset(world.unsmeared, world.tai, world.known, kNoSmear);
  world.smeared = smeared_offset(world.smeared, world.tai, step, world.unsmeared,
                                 UtcChange::rebased, world.known, world.config);
  EXPECT_EQ(world.tai - world.smeared.at(world.tai), realtime);
  EXPECT_EQ(world.smeared, leap_offset(kInsertion, kNoonSmear));
}

TEST(UtcPlanTest, AClockThatWasSetIsSmearedByItsNewDate) {
  World world;
  world.known.next = kInsertion;
  world.begin_at(k2016Leap - 100'000, 36);
  world.tai = (k2016Leap - 3'600 + 36) * kNsPerSecond;
  world.next(UtcChange::set);
  EXPECT_EQ(world.smeared, leap_offset(kInsertion, kNoonSmear));
  world.take(kInsertion);
  world.tai = (k2016Leap + 3'600 + 37) * kNsPerSecond;
  world.next(UtcChange::set);
  EXPECT_EQ(world.smeared, leap_offset(kInsertion, kNoonSmear));
}

TEST(UtcPlanTest, WithoutASmearThePagesAreTheSame) {
  World world;
  world.config.smear = kNoSmear;
  world.known.next = kInsertion;
  world.begin_at(k2016Leap - 10, 36);
  EXPECT_EQ(world.smeared, world.unsmeared);
}

// ---- a host that is smeared itself

class HostSmearTest : public testing::TestWithParam<LeapSecond> {
 protected:
  // A host's REALTIME in its smear, and the UTC (as POSIX time) that it stands for, in ns; the
  // exact inverse, in integers.
  static std::int64_t true_utc(const LeapSecond& leap, const Smear& smear, std::int64_t host_ns) {
    const std::int64_t start = (leap.utc_s + smear.start_s) * kNsPerSecond;
    const std::int64_t by = leap.after_s - leap.before_s;
    if (host_ns < start) {
      const std::int64_t tai = host_ns + leap.before_s * kNsPerSecond;
      return tai - (tai < leap.tai_ns() ? leap.before_s : leap.after_s) * kNsPerSecond;
    }
    const auto into = static_cast<clockpage_u128>(host_ns - start);
    const auto tai = static_cast<std::int64_t>(
                         into * static_cast<clockpage_u128>(smear.length_s + by) / smear.length_s) +
                     start + leap.before_s * kNsPerSecond;
    return tai - (tai < leap.tai_ns() ? leap.before_s : leap.after_s) * kNsPerSecond;
  }
};

TEST_P(HostSmearTest, IsUndoneOnTheUnsmearedPagesAndKeptOnTheOthers) {
  const LeapSecond leap = GetParam();
  for (const Smear& smear : {kNoonSmear, kUtcSls, Smear{CLOCKPAGE_SMEAR_LINEAR, 0, 5000}}) {
    World world;
    world.config.smear = world.config.host_smear = smear;
    world.known.tai_offset_ns = leap.before_s * kNsPerSecond;
    world.known.host_in_smear_of = leap;
    const std::int64_t start = (leap.utc_s + smear.start_s + leap.before_s) * kNsPerSecond;
    const std::int64_t end = start + smear.length_s * kNsPerSecond;
    for (std::int64_t tai = start - kHostSmearAheadNs; tai < end; tai += (end - start) / 9973) {
      const UtcOffset offset = unsmeared_offset(UtcOffset{}, tai, world.known, smear);
      const std::int64_t host = tai - leap.before_s * kNsPerSecond;
      EXPECT_LE(std::llabs(tai - offset.at(tai) - true_utc(leap, smear, host)), 2) << tai;
      EXPECT_EQ(regular_offset(tai, offset, world.known, world.config),
                constant_offset(leap.before_s * kNsPerSecond));
    }
    const std::int64_t at_leap = host_leap_ns(leap, smear);
    EXPECT_GE(at_leap, start - kNsPerSecond);
    EXPECT_LE(at_leap, end);
  }
}

INSTANTIATE_TEST_SUITE_P(Leaps, HostSmearTest, testing::Values(kInsertion, kDeletion));

}  // namespace
}  // namespace clockpage::producer
