// SPDX-License-Identifier: MIT
// L0, L1 and L2, whose counters are software's by KVM's arithmetic: L1 is moved from one host to
// another under a running L2, at any point of L2's reading. L2's very next reading is refused, by
// what L2 has mapped alone; once L1's side has composed L2's view anew, L2 reads again, and its
// MONOTONIC has not gone back.
//
// The hosts' producers are real, on virtual counters with clocks that are steered all the time.
// Where L1 comes from one host to another, the files that were handed through are the other host's,
// as memory behind the same mappings; L2's view is L1's own, and moves with L1 as it is.
#include <clockpage/view.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <random>

#include "sim_harness.hpp"
#include "test_seed.hpp"
#include "view_compose.hpp"
#include "view_page.hpp"

namespace clockpage::producer {
namespace {

constexpr std::int64_t kS = 1'000'000'000;
constexpr std::uint8_t kBits = 48;

using Random = std::mt19937_64;
std::uint64_t up_to(Random& random, std::uint64_t n) { return random() % (n + 1); }

// KVM's kvm_scale_tsc, of one level or of composed ones.
std::uint64_t guest_counter(const ViewState& v, std::uint64_t host) {
  const auto scaled = clockpage_u128{host} * v.counter_ratio >> v.counter_frac_bits;
  return static_cast<std::uint64_t>(scaled) + static_cast<std::uint64_t>(v.counter_offset);
}

// Its MONOTONIC is its own; each guest's is made to go on by its views' offsets.
class Host {
 public:
  explicit Host(Random& random) : sim_(options(random)) {
    sim_.source().set_quality({true, CLOCKPAGE_REASON_NONE, 1'000'000});
    run(random, 60'000'000);
  }
  // For up to so long.
  void run(Random& random, std::uint64_t most_ns) {
    const std::uint64_t until = counter() + hz_ / 1000 * up_to(random, most_ns / 1000) / 1000;
    while (counter() < until) sim_.publisher().step();
  }
  [[nodiscard]] std::uint64_t counter() { return sim_.counter().now(); }
  [[nodiscard]] std::uint64_t hz() const { return hz_; }
  [[nodiscard]] const std::byte* region() { return sim_.region().bytes(); }
  [[nodiscard]] const clockpage_directory_page& directory() {
    return *reinterpret_cast<const clockpage_directory_page*>(region());
  }
  [[nodiscard]] std::int64_t monotonic() {
    const clockpage_reader reader = sim_.region().reader(0);
    std::int64_t ns = 0;
    EXPECT_EQ(clockpage_at(&reader, CLOCKPAGE_MONOTONIC, counter(), &ns), CLOCKPAGE_OK);
    return ns;
  }

 private:
  SimOptions options(Random& random) {
    SimOptions o;
    o.seed = 2 * (1 + up_to(random, 0xfffffff)) + 1;  // odd: the scaled page is VMX's
    hz_ = (1'500'000 + up_to(random, 2'500'000)) * 1000;
    o.start = random() >> (2 + up_to(random, 20));
    o.kernel.frequency_hz = hz_;
    o.kernel.monotonic_ns = static_cast<std::int64_t>(kS + up_to(random, 1'000'000) * kS);
    o.kernel.boottime_ns = o.kernel.monotonic_ns + 5 * kS;
    o.kernel.raw_ns = o.kernel.monotonic_ns;
    o.script.max_frequency_ppb = 100'000;
    o.script.mean_interval_s = 0.02;
    return o;
  }

  std::uint64_t hz_ = 0;
  SimHarness sim_;
};

// What L2 has mapped: the host's region, L1's view of it, L2's own.
class Mapped {
 public:
  Mapped() : bytes_(static_cast<std::byte*>(std::aligned_alloc(4096, kSize)), &std::free) {
    std::memset(bytes_.get(), 0, kSize);
  }
  [[nodiscard]] std::byte* region() const { return bytes_.get(); }
  [[nodiscard]] clockpage_view_page& l1() const { return page(0); }
  [[nodiscard]] clockpage_view_page& l2() const { return page(1); }

 private:
  static constexpr std::size_t kSize = CLOCKPAGE_REGION_SIZE + 2 * sizeof(clockpage_view_page);
  [[nodiscard]] clockpage_view_page& page(std::size_t i) const {
    return reinterpret_cast<clockpage_view_page*>(bytes_.get() + CLOCKPAGE_REGION_SIZE)[i];
  }
  std::unique_ptr<std::byte, decltype(&std::free)> bytes_;
};

class NestedMigration {
 public:
  explicit NestedMigration(Random& random)
      : random_(random), host_(std::make_unique<Host>(random)) {
    l2_own_.counter_frac_bits = kBits;
    // L2's counter is some part of L1's, and began when L2 did.
    l2_own_.counter_ratio =
        (std::uint64_t{1} << (kBits - 2)) + up_to(random_, std::uint64_t{1} << kBits);
    if (up_to(random_, 3) == 0) l2_own_.counter_ratio = std::uint64_t{1} << kBits;
    l1_hz_ = (1'000'000 + up_to(random_, 2'000'000)) * 1000;
    l1_counter_ = up_to(random_, std::uint64_t{1} << 50);
    l1_monotonic_ = static_cast<std::int64_t>(up_to(random_, 1'000'000) * kS) + kS;
    settle_l1();
    hand_through();
    l2_own_.counter_offset =
        -static_cast<std::int64_t>(clockpage_u128{l1_counter_} * l2_own_.counter_ratio >> kBits);
    l2_own_.monotonic_offset_ns = -l1_monotonic_ / 2;
    mapped_.l2() = view_image(Id{2}, host_->directory().generation, random_() >> 16,
                              random_() >> 16, composed());
    make_reader();
  }

  void make_reader() {
    const void* parent = &mapped_.l1();
    ASSERT_EQ(
        clockpage_view_reader_init_nested(&reader_, &mapped_.l2(), sizeof mapped_.l2(),
                                          mapped_.region(), CLOCKPAGE_REGION_SIZE, &parent, 1),
        CLOCKPAGE_OK);
  }

  // L0's work and L2's life go on. `moment`: L1 is moved before that part of the reading that has
  // this number; none of them has 3. Whether the reading was refused.
  int read(int moment) {
    host_->run(random_, 9'000'000);
    std::memcpy(mapped_.region(), host_->region(), CLOCKPAGE_REGION_SIZE);
    std::uint64_t marker = 0;
    if (moment == 0) move();
    const int error = clockpage_view_marker(&reader_, &marker);
    if (error != CLOCKPAGE_OK) return error;
    if (moment == 1) move();
    const std::uint64_t counter = guest_counter(running_, host_->counter());
    if (moment == 2) move();
    clockpage_view_time time{};
    const int result =
        clockpage_view_at_bounds(&reader_, CLOCKPAGE_MONOTONIC, counter, marker, &time);
    if (result != CLOCKPAGE_OK) return result;
    EXPECT_GE(time.time.ns, last_ns_);
    last_ns_ = time.time.ns;
    last_at_ = l2_true_ns();
    // What L1 made of its view is MONOTONIC to the tick and its rounding; the bound says the rest.
    EXPECT_LE(time.time.earliest_ns, last_at_ + slack_);
    EXPECT_GE(time.time.latest_ns, last_at_ - slack_);
    return CLOCKPAGE_OK;
  }

  // L1's side, told that its own view is another one: what L2's comes to, and of which region.
  void recompose() {
    const ViewState now = composed();
    mapped_.l2().generation = host_->directory().generation;
    ViewWriter(mapped_.l2()).disrupt(now);
    running_ = now;
    if (up_to(random_, 1) == 0) make_reader();  // or it goes on with the one of before
  }
  [[nodiscard]] bool other_host() const { return other_host_; }

 private:
  // To another host, or back to life on this one with another offset of its counter. Nobody runs.
  void move() {
    const std::uint64_t l1_ran = guest_counter(l1_view_, host_->counter());
    const std::int64_t l1_monotonic = host_->monotonic() + l1_view_.monotonic_offset_ns;
    other_host_ = up_to(random_, 2) != 0;
    if (other_host_) host_ = std::make_unique<Host>(random_);
    const std::int64_t away_ns = static_cast<std::int64_t>(up_to(random_, 50'000'000));
    l1_counter_ = l1_ran + static_cast<std::uint64_t>(away_ns) * (l1_hz_ / 1'000'000) / 1000;
    l1_monotonic_ = l1_monotonic + away_ns;
    settle_l1();
    hand_through();
    // The hardware has it at once; L2's view has not.
    running_ = compose_levels(std::array{l1_view_, l2_own_}, mapped_.l1().index);
  }

  // L1's view on its host, by which its counter and its MONOTONIC go on.
  void settle_l1() {
    l1_view_ = ViewState{};
    l1_view_.counter_frac_bits = kBits;
    l1_view_.counter_ratio = static_cast<std::uint64_t>((clockpage_u128{1} << kBits) *
                                                        (l1_hz_ / 1000) / (host_->hz() / 1000));
    l1_view_.counter_offset =
        static_cast<std::int64_t>(l1_counter_ - guest_counter(l1_view_, host_->counter()));
    l1_view_.monotonic_offset_ns = l1_monotonic_ - host_->monotonic();
  }
  void hand_through() {
    std::memcpy(mapped_.region(), host_->region(), CLOCKPAGE_REGION_SIZE);
    const std::uint64_t marker =
        mapped_.l1().index != 0 ? ViewWriter(mapped_.l1()).disruption_marker() : 0;
    mapped_.l1() =
        view_image(Id{1}, host_->directory().generation, random_() >> 16, marker + 1, l1_view_);
  }
  ViewState composed() {
    running_ = compose_levels(std::array{l1_view_, l2_own_}, mapped_.l1().index);
    return running_;
  }
  [[nodiscard]] std::int64_t l2_true_ns() {
    return host_->monotonic() + l1_view_.monotonic_offset_ns + l2_own_.monotonic_offset_ns;
  }

  Random& random_;
  std::unique_ptr<Host> host_;
  Mapped mapped_;
  clockpage_view_reader reader_{};
  ViewState l1_view_;
  ViewState l2_own_;
  ViewState running_;  // what the hardware runs L2 with
  std::uint64_t l1_hz_ = 0;
  std::uint64_t l1_counter_ = 0;
  std::int64_t l1_monotonic_ = 0;
  std::int64_t last_ns_ = INT64_MIN;
  std::int64_t last_at_ = 0;
  std::int64_t slack_ = 10;
  bool other_host_ = false;
};

TEST(NestedMigrationTest, L2sVeryNextReadingAfterL1WasMovedIsRefusedAndTimeNeverGoesBack) {
  Random random(seed_of_this_test());
  int moves = 0;
  int to_other_hosts = 0;
  int readings = 0;
  for (int life = 0; life < 60; life++) {
    NestedMigration nested(random);
    for (int stay = 0; stay < 8; stay++) {
      for (int i = static_cast<int>(up_to(random, 4)); i >= 0; i--, readings++)
        ASSERT_EQ(nested.read(3), CLOCKPAGE_OK);
      const int moment = static_cast<int>(up_to(random, 2));
      const int error = nested.read(moment);
      moves++;
      to_other_hosts += nested.other_host() ? 1 : 0;
      // Another host's files do not go with L2's view at all.
      ASSERT_EQ(error, nested.other_host() ? CLOCKPAGE_E_STALE : CLOCKPAGE_E_DISRUPTED) << moment;
      for (int i = 0; i < 3; i++) ASSERT_NE(nested.read(3), CLOCKPAGE_OK);
      nested.recompose();
      ASSERT_EQ(nested.read(3), CLOCKPAGE_OK);
    }
    if (HasFailure()) return;
  }
  std::cout << moves << " migrations of L1, " << to_other_hosts << " of them to another host, "
            << readings << " readings in between" << std::endl;
  EXPECT_GT(to_other_hosts, moves / 2);
}

}  // namespace
}  // namespace clockpage::producer
