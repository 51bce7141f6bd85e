// SPDX-License-Identifier: MIT
#include "exchange.hpp"

#include <gtest/gtest.h>

namespace clockpage::tool {
namespace {

Reading reading_at(int64_t ns, uint8_t format = CLOCKPAGE_FORMAT_UNSCALED, uint8_t flags = 0) {
  Reading reading;
  reading.ns = ns;
  reading.epoch = 1;
  reading.format = format;
  reading.flags = flags;
  reading.valid = true;
  return reading;
}

constexpr uint8_t kUnscaled = CLOCKPAGE_FORMAT_UNSCALED;
constexpr uint8_t kScaled = CLOCKPAGE_FORMAT_SCALED;

TEST(OrderTest, AllowsEqualAndForbidsOneNanosecondBackWithinAFormat) {
  for (uint8_t format : {kUnscaled, kScaled}) {
    EXPECT_EQ(order_of(reading_at(100, format), reading_at(100, format)), Order::kInOrder);
    EXPECT_EQ(order_of(reading_at(100, format), reading_at(99, format)), Order::kBackward);
  }
}

TEST(OrderTest, AllowsTwoNanosecondsAcrossFormatsAndForbidsThree) {
  EXPECT_EQ(order_of(reading_at(100, kUnscaled), reading_at(98, kScaled)), Order::kInOrder);
  EXPECT_EQ(order_of(reading_at(100, kUnscaled), reading_at(97, kScaled)), Order::kBackward);
  EXPECT_EQ(order_of(reading_at(100, kScaled), reading_at(98, kUnscaled)), Order::kInOrder);
  EXPECT_EQ(order_of(reading_at(100, kScaled), reading_at(97, kUnscaled)), Order::kBackward);
}

TEST(OrderTest, TellsBackwardStepsWithAnOverdueReadApart) {
  const Reading leased = reading_at(100);
  const Reading overdue = reading_at(50, kUnscaled, CLOCKPAGE_TIME_OVERDUE);
  const Reading later_overdue = reading_at(200, kUnscaled, CLOCKPAGE_TIME_OVERDUE);
  EXPECT_EQ(order_of(leased, overdue), Order::kOverdueBackward);
  EXPECT_EQ(order_of(later_overdue, leased), Order::kOverdueBackward);
  EXPECT_EQ(order_of(leased, later_overdue), Order::kInOrder);
}

TEST(OrderTest, DoesNotCompareAcrossEpochs) {
  Reading stepped = reading_at(1);
  stepped.epoch = 2;
  EXPECT_EQ(order_of(reading_at(100), stepped), Order::kOtherEpoch);
}

// Around an inserted leap second: 9 to 10 s is counted twice.
Reading ambiguous(int64_t ns, bool second, uint8_t format = kUnscaled) {
  return reading_at(
      ns, format,
      static_cast<uint8_t>(CLOCKPAGE_TIME_AMBIGUOUS | (second ? kHistorySecondTime : 0)));
}

TEST(OrderTest, LetsTheSecondTimeOfASecondFollowItsFirst) {
  const Reading first = ambiguous(9'700'000'000, false);
  const Reading second = ambiguous(9'200'000'000, true);
  EXPECT_EQ(order_of(first, second), Order::kInOrder);
  EXPECT_EQ(order_of(first, ambiguous(9'000'000'000, true)), Order::kInOrder);
  EXPECT_EQ(order_of(reading_at(8'999'999'999), first), Order::kInOrder);
  EXPECT_EQ(order_of(second, reading_at(10'000'000'000)), Order::kInOrder);
}

TEST(OrderTest, ForbidsWhatALeapSecondDoesNotExplain) {
  const Reading first = ambiguous(9'700'000'000, false);
  const Reading second = ambiguous(9'200'000'000, true);
  EXPECT_EQ(order_of(second, first), Order::kBackward);  // though its ns are greater
  EXPECT_EQ(order_of(second, ambiguous(9'199'999'999, true)), Order::kBackward);
  EXPECT_EQ(order_of(first, ambiguous(9'699'999'999, false)), Order::kBackward);
  EXPECT_EQ(order_of(first, reading_at(9'200'000'000)), Order::kBackward);  // a smeared page's
  EXPECT_EQ(order_of(reading_at(10'000'000'000), second), Order::kBackward);
  EXPECT_EQ(order_of(ambiguous(30'000'000'000, false), second), Order::kBackward);
}

// The two formats' TAI are up to 2 ns apart, so one may have leapt before the other.
TEST(OrderTest, AllowsTwoNanosecondsBetweenFormatsAtTheLeapItself) {
  const Reading leapt = ambiguous(9'000'000'000, true, kUnscaled);
  EXPECT_EQ(order_of(leapt, ambiguous(9'999'999'998, false, kScaled)), Order::kInOrder);
  EXPECT_EQ(order_of(leapt, ambiguous(9'999'999'997, false, kScaled)), Order::kBackward);
  EXPECT_EQ(order_of(leapt, ambiguous(9'999'999'999, false, kUnscaled)), Order::kBackward);
}

TEST(CountExchangeTest, CountsTheSecondThatIsRepeated) {
  ExchangeTally tally;
  count_exchange(tally, 1, ambiguous(9'700'000'000, false), ambiguous(9'200'000'000, true));
  count_exchange(tally, 2, ambiguous(9'200'000'000, true), ambiguous(9'300'000'000, true));
  EXPECT_EQ(tally.repeated, 1u);
  EXPECT_EQ(tally.backward, 0u);
  EXPECT_EQ(tally.least_step_ns, 100'000'000);
}

TEST(CountExchangeTest, CountsEachKindAndKeepsTheFirstOffences) {
  ExchangeTally tally;
  count_exchange(tally, 1, reading_at(100), reading_at(101));
  for (uint64_t i = 0; i < 10; i++)
    count_exchange(tally, 2 + i, reading_at(100), reading_at(90 - static_cast<int64_t>(i)));
  count_exchange(tally, 12, reading_at(500, kUnscaled, CLOCKPAGE_TIME_OVERDUE), reading_at(1));
  Reading stepped = reading_at(1);
  stepped.epoch = 2;
  count_exchange(tally, 13, reading_at(100), stepped);
  EXPECT_EQ(tally.exchanges, 13u);
  EXPECT_EQ(tally.backward, 10u);
  EXPECT_EQ(tally.largest_backward_ns, 19);
  EXPECT_EQ(tally.overdue_backward, 1u);
  EXPECT_EQ(tally.largest_overdue_backward_ns, 499);
  EXPECT_EQ(tally.other_epoch, 1u);
  EXPECT_EQ(tally.leased, 11u);
  EXPECT_EQ(tally.least_step_ns, -19);
  ASSERT_EQ(tally.offences, tally.offence.size());
  EXPECT_EQ(tally.offence[0].message, 2u);
  EXPECT_EQ(tally.offence[0].own.ns, 90);
}

TEST(CountExchangeTest, DoesNotCountWhatCouldNotBeRead) {
  ExchangeTally tally;
  count_exchange(tally, 1, Reading(), reading_at(1));
  count_exchange(tally, 2, reading_at(1), Reading());
  EXPECT_EQ(tally.exchanges, 0u);
}

TEST(AgreementTest, MeansEveryBitOfALeasedReading) {
  const Reading received = reading_at(100);
  EXPECT_EQ(agreement_of(received, received), Agreement::kSame);
  const auto changed = [&](auto change) {
    Reading again = received;
    change(again);
    return agreement_of(received, again);
  };
  EXPECT_EQ(changed([](Reading& r) { r.ns++; }), Agreement::kDifferent);
  EXPECT_EQ(changed([](Reading& r) { r.earliest_ns--; }), Agreement::kDifferent);
  EXPECT_EQ(changed([](Reading& r) { r.latest_ns++; }), Agreement::kDifferent);
  EXPECT_EQ(changed([](Reading& r) { r.epoch++; }), Agreement::kDifferent);
  EXPECT_EQ(changed([](Reading& r) { r.status++; }), Agreement::kDifferent);
  EXPECT_EQ(changed([](Reading& r) { r.flags |= CLOCKPAGE_TIME_OVERDUE; }), Agreement::kDifferent);
  EXPECT_EQ(changed([](Reading& r) { r.index++; }), Agreement::kSame);
  EXPECT_EQ(changed([](Reading& r) { r.cpu++; }), Agreement::kSame);
}

TEST(AgreementTest, IsNotOwedToAnOverdueReading) {
  ExchangeTally tally;
  const Reading overdue = reading_at(100, kUnscaled, CLOCKPAGE_TIME_OVERDUE);
  count_again(tally, 1, overdue, reading_at(101));
  count_again(tally, 2, overdue, overdue);
  Reading leased_by_now = reading_at(100);
  leased_by_now.status = CLOCKPAGE_STATUS_SYNCHRONISED;
  EXPECT_EQ(agreement_of(overdue, leased_by_now), Agreement::kOverdueKept);
  EXPECT_EQ(tally.overdue_revised, 1u);
  EXPECT_EQ(tally.agreements, 0u);
  EXPECT_EQ(tally.disagreements, 0u);
  count_again(tally, 3, reading_at(100), reading_at(100));
  for (int i = 0; i < 9; i++) count_again(tally, 4, reading_at(100), reading_at(101));
  EXPECT_EQ(tally.agreements, 1u);
  EXPECT_EQ(tally.disagreements, 9u);
  ASSERT_EQ(tally.disagreement_offences, tally.disagreement.size());
  EXPECT_EQ(tally.disagreement[0].message, 4u);
}

}  // namespace
}  // namespace clockpage::tool
