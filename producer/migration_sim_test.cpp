// SPDX-License-Identifier: MIT
// A thousand migrations between simulated hosts, each with a producer of its own: random frequency,
// counter, error of its clock, knowledge of TAI, smear, bits of the ratio. Guests have a counter in
// software, by KVM's arithmetic, and a reader that outlives all its hosts.
//
// True time is UTC in ns, without leap seconds, as REALTIME counts it, plus the true TAI offset:
// the test's own, which no host knows but to its error.
#include <clockpage/view.h>
#include <gtest/gtest.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "migration.hpp"
#include "sim_harness.hpp"
#include "test_leaps.hpp"
#include "test_seed.hpp"

namespace clockpage::producer {
namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kS = 1'000'000'000;
constexpr std::int64_t kWarmUp = 120 * kMs;  // of a host, before a guest comes

using Random = std::mt19937_64;
std::int64_t between(Random& random, std::int64_t low, std::int64_t high) {
  return std::uniform_int_distribution<std::int64_t>(low, high)(random);
}
bool chance(Random& random, double probability) {
  return std::bernoulli_distribution(probability)(random);
}

// What all hosts of one guest's life share.
struct World {
  bool near_leap = false;       // of 2016-12-31: all hosts know the table then
  Smear smear = kNoSmear;       // of most hosts
  std::uint32_t guest_khz = 0;  // some hosts are so fast themselves, to KVM's tolerance
};

// TAI in ns at true time, which is TAI itself here.
struct Host {
  Host(Random& random, const World& world, std::int64_t tai_ns)
      : true_hz(0), start_tai(tai_ns - kWarmUp), sim(options(random, world)) {
    sim.source().set_quality({true, CLOCKPAGE_REASON_NONE, 1'000'000});
    while (sim.counter().now() < counter_at(tai_ns)) sim.publisher().step();
  }

  [[nodiscard]] clockpage_directory_page& directory() {
    return *reinterpret_cast<clockpage_directory_page*>(
        const_cast<std::byte*>(sim.region().bytes()));
  }
  [[nodiscard]] std::uint64_t counter_at(std::int64_t tai_ns) const {
    return start_counter + static_cast<std::uint64_t>(static_cast<long double>(tai_ns - start_tai) *
                                                      true_hz / 1e9L);
  }
  [[nodiscard]] std::int64_t tai_at(std::uint64_t counter) const {
    return start_tai + static_cast<std::int64_t>(static_cast<long double>(counter - start_counter) *
                                                 1e9L / true_hz);
  }
  // A little later, with whatever has been published by then.
  std::uint64_t later(Random& random) {
    const std::uint64_t until =
        sim.counter().now() +
        hz / 1'000'000 * static_cast<std::uint64_t>(between(random, 1, 9'000));
    while (sim.counter().now() < until) sim.publisher().step();
    return sim.counter().now();
  }

  std::uint64_t hz = 0;  // nominal
  long double true_hz;   // up to 50 ppm off
  std::int64_t start_tai;
  std::uint64_t start_counter = 0;
  Smear smear{};
  SimHarness sim;  // last: made from the others

 private:
  SimOptions options(Random& random, const World& world) {
    SimOptions o;
    o.seed = 1 + random() % 0xffffffff;
    hz = static_cast<std::uint64_t>(between(random, 1'000'000, 5'000'000)) * 1000;
    if (world.guest_khz != 0 && chance(random, 0.2))
      hz = (world.guest_khz + static_cast<std::uint64_t>(between(random, 0, 240))) * 1000;
    true_hz = static_cast<long double>(hz) *
              (1 + static_cast<long double>(between(random, -50'000, 50'000)) * 1e-9L);
    start_counter = random() >> between(random, 1, 24);
    o.start = start_counter;
    o.kernel.frequency_hz = hz;
    const std::int64_t tai_offset_s = start_tai < (k2016Leap + 36) * kS + kS ? 36 : 37;
    o.kernel.realtime_ns = start_tai - tai_offset_s * kS + between(random, -400'000, 400'000);
    o.kernel.tai_offset_s = world.near_leap || chance(random, 0.5) ? tai_offset_s : 0;
    o.kernel.monotonic_ns = between(random, kS, 1'000'000 * kS);
    o.kernel.boottime_ns = o.kernel.monotonic_ns + between(random, 0, 1000 * kS);
    o.kernel.raw_ns = o.kernel.monotonic_ns + between(random, -kMs, kMs);
    o.script.max_frequency_ppb = 200'000;
    o.script.mean_interval_s = 0.05;
    if (world.near_leap) o.publisher.leaps.table = leap_table();
    smear = chance(random, 0.8) ? world.smear : chance(random, 0.5) ? kUtcSls : kNoonSmear;
    o.publisher.leaps.smear = smear;
    return o;
  }
};

// KVM's, in the test's own words: arch/x86/kvm/x86.c, kvm_read_l1_tsc.
std::uint64_t kvm_guest_counter(const ViewState& v, std::uint64_t host_counter) {
  const auto scaled = clockpage_u128{host_counter} * v.counter_ratio >> v.counter_frac_bits;
  return static_cast<std::uint64_t>(scaled + static_cast<std::uint64_t>(v.counter_offset));
}

struct Captured {
  std::uint64_t guest_counter;
  std::uint64_t marker;
};

// A guest: two mappings, behind which the host changes, and what it has seen.
class Guest {
 public:
  Guest() : memory_(static_cast<std::byte*>(std::aligned_alloc(4096, kMemory)), &std::free) {
    std::memset(memory_.get(), 0, kMemory);
  }
  void map(Host& host, const clockpage_view_page& view) {
    std::memcpy(memory_.get(), host.sim.region().bytes(), CLOCKPAGE_REGION_SIZE);
    std::memcpy(memory_.get() + CLOCKPAGE_REGION_SIZE, &view, sizeof view);
  }
  void make_reader() {
    ASSERT_EQ(clockpage_view_reader_init(&reader_, memory_.get() + CLOCKPAGE_REGION_SIZE,
                                         sizeof(clockpage_view_page), memory_.get(),
                                         CLOCKPAGE_REGION_SIZE),
              CLOCKPAGE_OK);
  }
  [[nodiscard]] std::uint64_t marker() const {
    std::uint64_t marker = 0;
    EXPECT_EQ(clockpage_view_marker(&reader_, &marker), CLOCKPAGE_OK);
    return marker;
  }
  // "Now" is what its counter reads now: the hosts' counters are simulated.
  [[nodiscard]] std::optional<clockpage_time> read(int clock, std::uint64_t guest_counter) {
    clockpage_view_time time{};
    const int error = clockpage_view_at_bounds(&reader_, clock, guest_counter, marker(), &time);
    if (clock == CLOCKPAGE_TAI && error == CLOCKPAGE_E_TAI_UNKNOWN) return std::nullopt;
    EXPECT_EQ(error, CLOCKPAGE_OK) << "clock " << clock;
    return time.time;
  }
  [[nodiscard]] int error_at(const Captured& captured) const {
    std::int64_t ns = 0;
    return clockpage_view_at(&reader_, CLOCKPAGE_MONOTONIC, captured.guest_counter, captured.marker,
                             &ns);
  }

  std::int64_t monotonic_ns = 0;  // the last one read
  std::int64_t boottime_ns = 0;

 private:
  static constexpr std::size_t kMemory = CLOCKPAGE_REGION_SIZE + sizeof(clockpage_view_page);
  std::unique_ptr<std::byte, decltype(&std::free)> memory_;
  clockpage_view_reader reader_{};
};

struct Figures {
  unsigned migrations = 0, made = 0, changed = 0, scaled = 0, inverted = 0, one = 0, smeared = 0,
           by_tai = 0, gone_back = 0, hidden = 0, by_hand = 0, refused_smears = 0, other_smears = 0;
  std::uint64_t reads = 0;
  double worst_realtime = 0, worst_counter = 0;  // as a share of the bounds
};

class Life {
 public:
  Life(Random& random, Figures& figures) : random_(random), figures_(figures) {
    world_.near_leap = chance(random_, 0.4);
    const Smear smears[] = {kNoSmear, kNoonSmear, kUtcSls};
    world_.smear = smears[between(random_, 0, 2)];
    const std::int64_t leap = (k2016Leap + 36) * kS;
    // A day around the leap second but for its own second, or any time in 2026.
    const std::int64_t begin =
        world_.near_leap
            ? leap + (chance(random_, 0.5) ? -1 : 1) * between(random_, 10 * kS, 50'000 * kS)
            : 1'770'000'000 * kS + between(random_, 0, 10'000'000 * kS);
    host_ = std::make_unique<Host>(random_, world_, begin);
    world_.guest_khz = first_khz();
    ViewState state = first_state();
    view_ =
        view_image(Id{1}, host_->directory().generation, random_() >> 16, random_() >> 16, state);
    guest_.map(*host_, view_);
    guest_.make_reader();
  }

  void migrate() {
    std::vector<Captured> captured = run(*host_, view_);
    const std::uint64_t saved_at = host_->later(random_);
    const ViewState before = ViewWriter(view_).state();
    const SavedView saved = saved_view_of(nlohmann::json::parse(
        json_of(save_view("guest", view_, host_->directory(), saved_at)).dump()));
    ASSERT_EQ(saved.view.guest_counter, kvm_guest_counter(before, saved_at));
    captured.push_back({saved.view.guest_counter, saved.disruption_marker});

    const std::int64_t arrival = host_->tai_at(saved_at) + downtime();
    auto next = std::make_unique<Host>(random_, world_, arrival);
    RestoreWish wish = choose_wish();
    // Its producer is a few ms ahead: half of the time at that very moment.
    const std::uint64_t restored_at =
        chance(random_, 0.5) ? next->counter_at(arrival) : next->later(random_);
    if (!acceptable(saved, wish, *next, restored_at)) wish.accept_smear = true;
    const RestoredView restored = restore_view(saved, wish, next->directory(), restored_at);
    clockpage_view_page there = publish(saved, restored, *next);
    // The guest resumes.
    guest_.map(*next, there);
    if (chance(random_, 0.5)) guest_.make_reader();
    for (const Captured& c : captured) EXPECT_EQ(guest_.error_at(c), CLOCKPAGE_E_DISRUPTED);
    check_clocks(saved, wish, restored, *next);
    check_realtime(before, *next, restored);
    check_counter(before, saved, wish, restored, *next);
    count(saved, wish, restored);
    // The old page goes with the old host.
    host_ = std::move(next);
    view_ = there;
    run(*host_, view_);
  }

 private:
  std::uint32_t first_khz() {
    const auto khz = static_cast<std::uint32_t>(host_->hz / 1000);
    switch (between(random_, 0, 2)) {
      case 0:
        return khz;
      case 1:
        return 1'000'000;
      default:
        return static_cast<std::uint32_t>(between(random_, 1'000'000, 5'000'000));
    }
  }
  ViewState first_state() {
    RestoreWish wish;
    wish.guest_khz = world_.guest_khz;
    wish.counter_offset = static_cast<std::int64_t>(random_());  // wraps somewhere
    SavedView nothing;
    nothing.counter_kind = host_->directory().counter_kind;
    nothing.state.smear = world_.smear != kNoSmear && chance(random_, 0.6) ? 1 : 0;
    nothing.smear = host_->smear;
    nothing.guest_frequency_uhz = 1'000'000'000'000'000;
    nothing.view.monotonic.ns = nothing.view.boottime.ns = between(random_, 0, 1'000'000 * kS);
    return restore_view(nothing, wish, host_->directory(), host_->sim.counter().now()).state;
  }
  std::int64_t downtime() {
    switch (between(random_, 0, 9)) {
      case 0:
        return 0;
      case 1:
        return between(random_, 0, kMs);
      case 2:
        return between(random_, 0, 3600 * kS);
      case 3:
        return between(random_, 0, 30 * 86400 * kS);
      default:
        return between(random_, kMs, 2 * kS);
    }
  }
  RestoreWish choose_wish() {
    RestoreWish wish;
    wish.count_downtime = chance(random_, 0.5);
    wish.guest_khz = world_.guest_khz;
    if (chance(random_, 0.2)) wish.counter_offset = static_cast<std::int64_t>(random_());
    return wish;
  }
  // Refused exactly where the smear is another one.
  bool acceptable(const SavedView& saved, const RestoreWish& wish, Host& host, std::uint64_t at) {
    const bool same = saved.state.smear == 0 || saved.smear == host.smear;
    bool refused = false;
    try {
      (void)restore_view(saved, wish, host.directory(), at);
    } catch (const RegionError&) {
      refused = true;
    }
    EXPECT_EQ(refused, !same);
    figures_.refused_smears += refused ? 1 : 0;
    return !refused;
  }

  // As the registry does it: a file anew, or one that is there already.
  clockpage_view_page publish(const SavedView& saved, const RestoredView& restored, Host& host) {
    const std::uint64_t generation = host.directory().generation;
    if (chance(random_, 0.5)) {
      figures_.made++;
      return view_image(saved.view_id, generation, random_() >> 16,
                        restored_marker(saved, std::nullopt), restored.state);
    }
    figures_.changed++;
    // Worst of all: the marker there is the saved one, or about to be.
    const std::uint64_t marker =
        chance(random_, 0.3) ? saved.disruption_marker - (random_() % 2) : random_() >> 16;
    clockpage_view_page page = view_image(Id{2}, generation, random_() >> 16, marker, {});
    const std::uint64_t index = page.index;
    ViewWriter writer(page);
    writer.disrupt(restored.state, restored_marker(saved, marker));
    EXPECT_EQ(page.index, index + 1);  // once
    EXPECT_NE(writer.disruption_marker(), marker);
    return page;
  }

  // Reads on a host, in order; what was captured.
  std::vector<Captured> run(Host& host, const clockpage_view_page& view) {
    std::vector<Captured> captured;
    for (int i = 0; i < 3; i++) {
      const std::uint64_t counter = host.later(random_);
      guest_.map(host, view);
      const std::uint64_t guest = kvm_guest_counter(ViewWriter(view_).state(), counter);
      for (const int clock : {CLOCKPAGE_REALTIME, CLOCKPAGE_TAI, CLOCKPAGE_MONOTONIC_RAW})
        (void)guest_.read(clock, guest);
      read_local(guest);
      captured.push_back({guest, guest_.marker()});
      EXPECT_EQ(guest_.error_at(captured.back()), CLOCKPAGE_OK);
    }
    return captured;
  }
  void read_local(std::uint64_t guest_counter) {
    const auto monotonic = guest_.read(CLOCKPAGE_MONOTONIC, guest_counter);
    const auto boottime = guest_.read(CLOCKPAGE_BOOTTIME, guest_counter);
    EXPECT_GE(monotonic->ns, guest_.monotonic_ns) << "MONOTONIC went back";
    EXPECT_GE(boottime->ns, guest_.boottime_ns) << "BOOTTIME went back";
    guest_.monotonic_ns = monotonic->ns;
    guest_.boottime_ns = boottime->ns;
    figures_.reads += 5;
  }

  void check_clocks(const SavedView& saved, const RestoreWish& wish, const RestoredView& restored,
                    Host& host) {
    const std::uint64_t guest = kvm_guest_counter(restored.state, restored.host_counter);
    ASSERT_EQ(guest, restored.guest_counter);
    read_local(guest);
    const std::int64_t passed = wish.count_downtime ? restored.elapsed_ns : 0;
    EXPECT_EQ(guest_.monotonic_ns, saved.view.monotonic.ns + passed);
    EXPECT_EQ(guest_.boottime_ns, saved.view.boottime.ns + passed);
    EXPECT_EQ(guest_.read(CLOCKPAGE_TAI, guest).has_value(),
              host_moment(host.directory(), restored.host_counter).tai.has_value());
  }

  // What the old view would have said at that moment of true time: its page, read overdue.
  [[nodiscard]] clockpage_time old_realtime(const ViewState& before, Host& next,
                                            std::uint64_t counter) {
    const std::uint64_t there = host_->counter_at(next.tai_at(counter));
    const ViewMoment old = view_moment(host_->directory(), before, there);
    return {old.realtime.ns, old.realtime.earliest_ns, old.realtime.latest_ns, 0, 0, 0, 0, 0, 0, 0};
  }
  void check_realtime(const ViewState& before, Host& next, const RestoredView& restored) {
    if (before.smear != 0 && host_->smear != next.smear) {
      figures_.other_smears++;
      return;  // asked for by accept_smear
    }
    const clockpage_time old = old_realtime(before, next, restored.host_counter);
    const auto now = guest_.read(CLOCKPAGE_REALTIME, restored.guest_counter);
    const double apart = std::abs(static_cast<double>(now->ns - old.ns));
    const double bounds =
        static_cast<double>(old.latest_ns - old.ns) + static_cast<double>(now->latest_ns - now->ns);
    EXPECT_LE(apart, bounds) << "REALTIME";
    figures_.worst_realtime = std::max(figures_.worst_realtime, apart / bounds);
  }
  // Continuous in elapsed true time, at the frequency that it truly had.
  void check_counter(const ViewState& before, const SavedView& saved, const RestoreWish& wish,
                     const RestoredView& restored, Host& next) {
    if (wish.counter_offset) return;
    EXPECT_EQ(restored.counter_error_ns, 0);
    const std::int64_t moment = next.tai_at(restored.host_counter);
    const std::uint64_t there = host_->counter_at(moment);
    const auto off =
        static_cast<std::int64_t>(restored.guest_counter - kvm_guest_counter(before, there));
    const double off_ns =
        std::abs(static_cast<double>(off)) * 1e15 / static_cast<double>(saved.guest_frequency_uhz);
    const HostMoment old = host_moment(host_->directory(), there);
    const HostMoment now = host_moment(next.directory(), restored.host_counter);
    const bool by_tai = restored.elapsed_by_tai;
    const double bounds = static_cast<double>(*(by_tai ? old.tai : old.utc)->bound_ns()) +
                          static_cast<double>(*(by_tai ? now.tai : now.utc)->bound_ns());
    EXPECT_LE(off_ns, bounds) << "the guest's counter";
    figures_.worst_counter = std::max(figures_.worst_counter, off_ns / bounds);
  }

  void count(const SavedView& saved, const RestoreWish& wish, const RestoredView& restored) {
    figures_.migrations++;
    const ViewState& s = restored.state;
    figures_.scaled += s.format == CLOCKPAGE_FORMAT_SCALED ? 1 : 0;
    figures_.one += s.counter_frac_bits == 0 ? 1 : 0;
    figures_.inverted += s.format == CLOCKPAGE_FORMAT_UNSCALED && s.counter_frac_bits != 0 ? 1 : 0;
    figures_.smeared += s.smear;
    figures_.by_tai += restored.elapsed_by_tai ? 1 : 0;
    figures_.gone_back += restored.elapsed_ns == 0 ? 1 : 0;
    figures_.hidden += wish.count_downtime ? 0 : 1;
    figures_.by_hand += wish.counter_offset ? 1 : 0;
    EXPECT_EQ(s.smear, saved.state.smear);
    EXPECT_EQ(restored.guest_khz, world_.guest_khz);
  }

  Random& random_;
  Figures& figures_;
  World world_;
  std::unique_ptr<Host> host_;
  clockpage_view_page view_{};
  Guest guest_;
};

TEST(MigrationTest, KeepsEveryPromiseOverAThousandMigrations) {
  const std::uint64_t seed = seed_of_this_test();
  Random random(seed);
  Figures f;
  for (int guest = 0; guest < 100 && !HasFailure(); guest++) {
    Life life(random, f);
    for (int hop = 0; hop < 10 && !HasFailure(); hop++) {
      SCOPED_TRACE(::testing::Message() << "guest " << guest << ", migration " << hop);
      life.migrate();
    }
  }
  std::printf(
      "%u migrations (%u views made, %u changed; ratio one %u, scaled page %u, undone %u; smeared "
      "%u; by TAI %u; no time passed %u; downtime hidden %u; offset by hand %u; other smears "
      "refused %u, accepted %u), %" PRIu64 " reads\n",
      f.migrations, f.made, f.changed, f.one, f.scaled, f.inverted, f.smeared, f.by_tai,
      f.gone_back, f.hidden, f.by_hand, f.refused_smears, f.other_smears, f.reads);
  std::printf("of the sum of both bounds, at most: REALTIME %.3f, the guest's counter %.3f\n",
              f.worst_realtime, f.worst_counter);
  if (HasFailure()) return;
  EXPECT_EQ(f.migrations, 1000U);
  for (const unsigned figure : {f.made, f.changed, f.one, f.scaled, f.inverted, f.smeared, f.by_tai,
                                f.gone_back, f.hidden, f.by_hand, f.refused_smears, f.other_smears})
    EXPECT_GT(figure, 10U);
}

}  // namespace
}  // namespace clockpage::producer
