// SPDX-License-Identifier: MIT
#include "view_compose.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <boost/multiprecision/cpp_int.hpp>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "test_seed.hpp"

namespace clockpage::producer {
namespace {

using boost::multiprecision::cpp_int;

ViewState relation(std::uint64_t ratio, std::uint8_t bits, std::int64_t offset) {
  ViewState state;
  state.counter_ratio = ratio;
  state.counter_frac_bits = bits;
  state.counter_offset = offset;
  return state;
}
ViewState unscaled(std::int64_t offset) { return relation(1, 0, offset); }

std::string refusal(const std::function<void()>& act) {
  try {
    act();
  } catch (const RegionError& e) {
    return e.what();
  }
  return "accepted";
}

// ---- the same in exact integers of any size, by the text of kernel and manual

const cpp_int kWord = cpp_int(1) << 64;

cpp_int modulo_word(const cpp_int& value) {
  const cpp_int rest = value % kWord;
  return rest < 0 ? rest + kWord : rest;
}
cpp_int own_ratio(const ViewState& s, unsigned bits) {
  return s.counter_frac_bits == 0 ? cpp_int(1) << bits : cpp_int(s.counter_ratio);
}
// What hardware makes of the host's counter.
cpp_int guest_counter(const ViewState& s, const cpp_int& host) {
  return modulo_word((host * s.counter_ratio >> s.counter_frac_bits) + s.counter_offset);
}

struct Exact {
  cpp_int ratio;
  cpp_int offset;  // modulo 2^64
  bool fits;       // in what KVM keeps of it
};
Exact composed_exactly(const ViewState& parent, const ViewState& child, unsigned bits) {
  const cpp_int r = own_ratio(child, bits);
  const cpp_int parent_offset = parent.counter_offset;
  const cpp_int size = (parent_offset < 0 ? cpp_int(-parent_offset) : parent_offset) * r >> bits;
  const cpp_int ratio = own_ratio(parent, bits) * r >> bits;
  return {ratio, modulo_word((parent_offset < 0 ? cpp_int(-size) : size) + child.counter_offset),
          size < kWord && ratio < kWord && ratio != 0};
}

// Plausible ones (near one, small), and everything else that 64 bits can hold.
class Numbers {
 public:
  explicit Numbers(std::uint64_t seed) : random_(seed) {}
  std::uint64_t up_to(std::uint64_t n) { return random_() % (n + 1); }
  std::int64_t offset() {
    constexpr std::array<std::int64_t, 6> edges = {0, 1, -1, INT64_MAX, INT64_MIN, INT64_MIN + 1};
    if (up_to(5) == 0) return edges[up_to(edges.size() - 1)];
    return static_cast<std::int64_t>(random_()) >> up_to(63);
  }
  ViewState state(std::uint8_t bits) {
    const std::uint64_t one = std::uint64_t{1} << bits;
    std::uint64_t ratio = 0;
    switch (up_to(4)) {
      case 0:
        return unscaled(offset());
      case 1:
        ratio = one;
        break;
      case 2:  // 1/8 to 8 times
        ratio = (one >> 3) + up_to(one * 8 - (one >> 3));
        break;
      case 3:
        ratio = random_() >> up_to(63);
        break;
      default:
        ratio = std::array{std::uint64_t{1}, one - 1, one + 1, ~std::uint64_t{0}}[up_to(3)];
    }
    return relation(std::max<std::uint64_t>(ratio, 1), bits, offset());
  }

 private:
  std::mt19937_64 random_;
};

TEST(ViewComposeTest, IsKvmsArithmeticAndRefusesWhatKvmWouldCutOff) {
  Numbers numbers(seed_of_this_test());
  int refused = 0;
  constexpr int rounds = 200'000;
  for (int i = 0; i < rounds; i++) {
    const std::uint8_t bits = i % 2 == 0 ? 48 : 32;
    const ViewState parent = numbers.state(bits);
    const ViewState child = numbers.state(bits);
    const Exact exact = composed_exactly(parent, child, bits);
    SCOPED_TRACE(testing::Message()
                 << parent.counter_ratio << "/2^" << int{parent.counter_frac_bits} << " + "
                 << parent.counter_offset << ", " << child.counter_ratio << "/2^"
                 << int{child.counter_frac_bits} << " + " << child.counter_offset);
    if (!exact.fits) {
      refused++;
      EXPECT_THROW(compose(parent, child), RegionError);
      continue;
    }
    const ViewState composed = compose(parent, child);
    EXPECT_EQ(own_ratio(composed, bits), exact.ratio);
    EXPECT_EQ(cpp_int(static_cast<std::uint64_t>(composed.counter_offset)), exact.offset);
    EXPECT_EQ(composed.counter_frac_bits,
              std::max(parent.counter_frac_bits, child.counter_frac_bits));
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(refused, rounds / 100);
  EXPECT_LT(refused, rounds / 2);
}

// From Python: ratio = r1 * r2 >> f, offset = (abs(o1) * r2 >> f) * sign(o1) + o2.
TEST(ViewComposeTest, GivesWhatPythonGives) {
  // 2.3 GHz host, L1 at 2.0 GHz, L2 at 1.7 GHz of it.
  const ViewState vmx = compose(relation(244762615096542, 48, -123456789012345),
                                relation(239253730204057, 48, 987654321));
  EXPECT_EQ(vmx.counter_ratio, 208048222832060U);
  EXPECT_EQ(vmx.counter_offset, -104937283006171);
  const ViewState svm =
      compose(relation(3734754246, 32, -9000000000000000001), relation(6442450944, 32, -1));
  EXPECT_EQ(svm.counter_ratio, 5602131369U);
  EXPECT_EQ(svm.counter_offset, 4946744073709551614);  // -13500000000000000002, modulo 2^64
}

TEST(ViewComposeTest, RoundsAnOffsetTowardsZeroWhateverItsSign) {
  const std::uint64_t half = std::uint64_t{1} << 31;
  EXPECT_EQ(compose(unscaled(3), relation(half, 32, 0)).counter_offset, 1);
  EXPECT_EQ(compose(unscaled(-3), relation(half, 32, 0)).counter_offset, -1);
}

TEST(ViewComposeTest, OfUnscaledLevelsIsTheSumOfAllOffsets) {
  ViewState parent = unscaled(INT64_MAX);
  parent.monotonic_offset_ns = 5;
  parent.boottime_offset_ns = -7;
  parent.smear = 1;
  ViewState child = unscaled(2);
  child.monotonic_offset_ns = 100;
  child.boottime_offset_ns = 200;
  const ViewState composed = compose(parent, child);
  EXPECT_EQ(composed.counter_offset, INT64_MIN + 1);  // as counters: modulo 2^64
  EXPECT_EQ(composed.counter_ratio, 1U);
  EXPECT_EQ(composed.counter_frac_bits, 0);
  EXPECT_EQ(composed.monotonic_offset_ns, 105);
  EXPECT_EQ(composed.boottime_offset_ns, 193);
  EXPECT_EQ(composed.smear, 0);  // the child's own choice
}

TEST(ViewComposeTest, TakesARatioOfOneInAnyBits) {
  const std::uint64_t one = std::uint64_t{1} << 48;
  const ViewState scaled = relation(12345, 48, 7);
  EXPECT_EQ(compose(unscaled(0), scaled), scaled);
  EXPECT_EQ(compose(scaled, unscaled(0)), scaled);
  EXPECT_EQ(compose(unscaled(0), relation(one, 48, 7)), relation(one, 48, 7));
  EXPECT_EQ(compose(relation(one, 48, 7), unscaled(0)), relation(one, 48, 7));
}

TEST(ViewComposeTest, RefusesInOneLineThatNamesFieldAndReason) {
  const auto of = [](const ViewState& parent, const ViewState& child) {
    return refusal([&] { compose(parent, child); });
  };
  EXPECT_EQ(of(relation(1, 48, 0), relation(1, 32, 0)),
            "counter_frac_bits is 32, the parent's 48: all levels run on one CPU and have one kind "
            "of scaling");
  EXPECT_EQ(of(relation(0, 48, 0), relation(1, 48, 0)), "the parent's counter_ratio is 0");
  EXPECT_EQ(of(unscaled(0), relation(0, 48, 0)), "the view's own counter_ratio is 0");
  EXPECT_EQ(of(unscaled(0), relation(5, 0, 0)),
            "the view's own counter_ratio is 5 without fraction bits");
  EXPECT_EQ(of(relation(1 << 20, 48, 0), relation(1 << 20, 48, 0)),
            "counter_ratio is 1048576: times the parent's 1048576 it is 0");
  EXPECT_EQ(of(relation(~std::uint64_t{0}, 32, 0), relation(std::uint64_t{1} << 33, 32, 0)),
            "the parent's counter_ratio times the ratio 8589934592 / 2^32 is beyond 64 bits");
  EXPECT_EQ(of(unscaled(INT64_MIN), relation(std::uint64_t{1} << 33, 32, 0)),
            "the parent's counter_offset times the ratio 8589934592 / 2^32 is beyond 64 bits");
  ViewState late = unscaled(0);
  late.boottime_offset_ns = INT64_MAX;
  EXPECT_EQ(of(late, late),
            "boottime_offset_ns is 9223372036854775807: with the parent's 9223372036854775807 it "
            "is beyond 64 bits");
}

// ---- more levels

TEST(ViewComposeTest, ComposesLevelsFromTheInsideOutwards) {
  Numbers numbers(seed_of_this_test());
  int order_shows = 0;
  for (int i = 0; i < 20'000; i++) {
    std::vector<ViewState> levels;
    for (int level = 0; level < 4; level++)
      levels.push_back(relation((std::uint64_t{1} << 47) + numbers.up_to(std::uint64_t{1} << 48),
                                48, numbers.offset() >> 3));
    // L1's hypervisor composes what L2's and L3's have, before L0's composes what comes of it.
    const ViewState inner = compose(levels[2], levels[3]);
    const ViewState middle = compose(levels[1], inner);
    ViewState all = compose(levels[0], middle);
    all.parent_generation = 77;
    ASSERT_EQ(compose_levels(levels, 77), all);
    const ViewState outwards_in =
        compose(compose(compose(levels[0], levels[1]), levels[2]), levels[3]);
    order_shows += outwards_in.counter_offset != all.counter_offset ? 1 : 0;
  }
  EXPECT_GT(order_shows, 1000);  // so the order is not a matter of taste
}

TEST(ViewComposeTest, NamesItsParentsSlotAndIsAloneWithoutOne) {
  ViewState old = unscaled(9);
  old.parent_generation = 123;  // of whatever it was composed from before
  EXPECT_EQ(compose_levels(std::array{old}, 55).parent_generation, 0U);
  EXPECT_EQ(compose_levels(std::array{unscaled(1), old}, 55).parent_generation, 55U);
  EXPECT_EQ(refusal([&] {
              compose_levels(std::array{unscaled(1), old}, 0);
            }),
            "the parent's newest slot has number 0, which stands for no parent");
}

TEST(ViewComposeTest, RefusesMoreAncestorsThanReadersFollow) {
  const std::vector<ViewState> five(5, unscaled(1));
  EXPECT_EQ(compose_levels(std::span(five).first(4), 1).counter_offset, 4);
  EXPECT_EQ(refusal([&] { compose_levels(five, 1); }),
            "it would have 4 ancestors; at most 3 can be read through");
}

// The order in which that one's levels were rounded cannot be had from it.
TEST(ViewComposeTest, ScalesNothingThatWasComposedElsewhere) {
  ViewState outermost = unscaled(1000);
  outermost.parent_generation = 12;
  EXPECT_EQ(compose_levels(std::array{outermost, unscaled(1)}, 5).counter_offset, 1001);
  EXPECT_THROW(compose_levels(std::array{outermost, relation(12345, 32, 1)}, 5), RegionError);
  outermost.parent_generation = 0;
  EXPECT_NO_THROW(compose_levels(std::array{outermost, relation(12345, 32, 1)}, 5));
}

// ---- against two steps

TEST(ViewComposeTest, IsNoFurtherFromTwoStepsThanItSays) {
  Numbers numbers(seed_of_this_test());
  cpp_int furthest = 0;
  cpp_int nearest_to_bound = 1'000'000;
  for (int i = 0; i < 200'000; i++) {
    const std::uint8_t bits = i % 2 == 0 ? 48 : 32;
    const std::uint64_t one = std::uint64_t{1} << bits;
    const auto near_one = [&] { return relation(one / 2 + numbers.up_to(one), bits, 0); };
    ViewState parent = numbers.up_to(9) == 0 ? unscaled(0) : near_one();
    ViewState child = numbers.up_to(9) == 0 ? unscaled(0) : near_one();
    const std::uint64_t host = numbers.up_to((std::uint64_t{1} << 62) - 1) >> numbers.up_to(40);
    // The counter in the middle begins near 0 at some time before: no wrap.
    const cpp_int scaled = cpp_int(host) * parent.counter_ratio >> parent.counter_frac_bits;
    parent.counter_offset = -static_cast<std::int64_t>(
        numbers.up_to(static_cast<std::uint64_t>(std::min<cpp_int>(scaled, INT64_MAX))));
    child.counter_offset = numbers.offset() / 4;
    const cpp_int truth = guest_counter(compose(parent, child), host);
    const cpp_int steps = guest_counter(child, guest_counter(parent, host));
    cpp_int apart = modulo_word(steps - truth);
    if (apart > kWord / 2) apart = kWord - apart;
    const cpp_int bound = two_steps_apart(parent, child, host);
    ASSERT_LE(apart, bound) << parent.counter_ratio << " + " << parent.counter_offset << ", "
                            << child.counter_ratio << ", host " << host;
    furthest = std::max(furthest, apart);
    if (apart > 1000) nearest_to_bound = std::min(nearest_to_bound, cpp_int(bound - apart));
  }
  // The difference is real, and the bound not idle.
  EXPECT_GT(furthest, cpp_int(1) << 28);
  EXPECT_LT(nearest_to_bound, 100);
}

TEST(ViewComposeTest, IsTwoStepsExactlyWhereTheInnerLevelIsUnscaled) {
  const ViewState parent = relation(12345678901234, 48, -5);
  EXPECT_EQ(two_steps_apart(parent, unscaled(7), ~std::uint64_t{0}), 0U);
  const ViewState composed = compose(parent, unscaled(7));
  for (const std::uint64_t host : {std::uint64_t{1} << 60, std::uint64_t{12345}})
    EXPECT_EQ(guest_counter(composed, host),
              guest_counter(unscaled(7), guest_counter(parent, host)));
}

}  // namespace
}  // namespace clockpage::producer
