// SPDX-License-Identifier: MIT
// Reading through a view that was composed from others.
#include <clockpage/counter.h>

#include <cstdint>
#include <functional>
#include <utility>

namespace {
std::uint64_t fake_counter = 0;
unsigned counter_reads = 0;
std::function<void()> on_counter;  // runs as the counter is read: the writers' moment
std::uint64_t ReadCounter() {
  counter_reads++;
  const std::uint64_t value = fake_counter;
  if (on_counter) std::exchange(on_counter, nullptr)();
  return value;
}
}  // namespace

#define clockpage_counter_ordered() ReadCounter()
#define clockpage_counter_ordered_by(how, index) \
  (static_cast<void>(how), static_cast<void>(index), ReadCounter())
#define clockpage_counter_relaxed() ReadCounter()

#include <clockpage/view.h>
#include <gtest/gtest.h>

#include <memory>

#include "view_test_pages.h"

namespace {

using clockpage::testing::kSecond;
using clockpage::testing::MakeSegment;
using clockpage::testing::NextSegment;
using clockpage::testing::TestChain;
using clockpage::testing::TestPage;
using clockpage::testing::TestRegion;
using clockpage::testing::TestView;

constexpr std::uint64_t kHz = 2'000'000'000;
constexpr std::uint64_t kStart = 1'000'000'000'000;
constexpr std::uint64_t kLength = 1'000'000'000;
constexpr std::uint64_t kHost = kStart + kLength + 77;
constexpr std::int64_t kUntouched = 42;

class NestedViewTest : public testing::TestWithParam<unsigned> {
 protected:
  NestedViewTest() : chain_(std::make_unique<TestChain>(GetParam())) {
    on_counter = nullptr;
    counter_reads = 0;
    for (TestPage& page : region_->data) {
      auto s = MakeSegment(99, kStart, kStart + kLength, kHz);
      page.Slot(99) = s;
      page.Slot(100) = NextSegment(s, kLength, s.tai_period_frac);
      page.page.index = 100;
    }
  }
  [[nodiscard]] unsigned Depth() const { return GetParam(); }
  [[nodiscard]] clockpage_view_reader Reader() const { return chain_->Reader(*region_); }
  // The guest's counter while the host's is kHost, as all the views in force make it.
  [[nodiscard]] std::uint64_t Guest() const {
    std::int64_t sum = 0;
    for (unsigned i = 0; i <= Depth(); i++) sum += chain_->own[i];
    return kHost + static_cast<std::uint64_t>(sum);
  }
  // Ancestor i of the view becomes another one, and with it what the counter is.
  void Change(unsigned i) {
    chain_->own[i] += 1'000'003;
    chain_->Publish(i);
    fake_counter = Guest();
  }
  // All that were composed from it follow.
  void ComposeBelow(unsigned i) {
    while (i-- > 0) chain_->Publish(i);
  }
  std::int64_t PagesTai() {
    std::int64_t ns = 0;
    const clockpage_reader reader = region_->Page(0, 0).Reader();
    EXPECT_EQ(clockpage_at(&reader, CLOCKPAGE_TAI, kHost, &ns), CLOCKPAGE_OK);
    return ns;
  }
  // Every entry point gives `error`, or with 0 TAI at kHost.
  void ExpectEverywhere(const clockpage_view_reader& reader, int error) {
    const std::int64_t ns = error == CLOCKPAGE_OK ? PagesTai() : kUntouched;
    const std::uint64_t guest = fake_counter = Guest();
    std::uint64_t marker = kUntouched;
    std::int64_t got = kUntouched;
    EXPECT_EQ(clockpage_view_marker(&reader, &marker), error);
    if (error != CLOCKPAGE_OK) {
      EXPECT_EQ(marker, std::uint64_t{kUntouched});
      marker = chain_->views[0].Newest().disruption_marker;  // one from before
    }
    EXPECT_EQ(clockpage_view_now(&reader, CLOCKPAGE_TAI, &got), error);
    EXPECT_EQ(got, ns);
    EXPECT_EQ(clockpage_view_now_relaxed(&reader, CLOCKPAGE_TAI, &got), error);
    EXPECT_EQ(got, ns);
    EXPECT_EQ(clockpage_view_at(&reader, CLOCKPAGE_TAI, guest, marker, &got), error);
    EXPECT_EQ(got, ns);
    clockpage_view_time time{}, at{};
    timespec ts{};
    EXPECT_EQ(clockpage_view_now_bounds(&reader, CLOCKPAGE_TAI, &time), error);
    EXPECT_EQ(clockpage_view_at_bounds(&reader, CLOCKPAGE_TAI, guest, marker, &at), error);
    EXPECT_EQ(clockpage_view_gettime(&reader, CLOCKPAGE_TAI, &ts), error);
    if (error != CLOCKPAGE_OK) return;
    EXPECT_EQ(time.time.ns, ns);
    EXPECT_EQ(time.time.counter, kHost);
    EXPECT_EQ(time.guest_counter, guest);
    EXPECT_EQ(time.disruption_marker, marker);
    EXPECT_EQ(at.time.earliest_ns, time.time.earliest_ns);
    EXPECT_EQ(at.time.latest_ns, time.time.latest_ns);
    EXPECT_EQ(ts.tv_sec * kSecond + ts.tv_nsec, ns);
  }

  std::unique_ptr<TestRegion> region_ = std::make_unique<TestRegion>(kHz);
  std::unique_ptr<TestChain> chain_;
};
INSTANTIATE_TEST_SUITE_P(WithAncestors, NestedViewTest, testing::Values(1u, 2u, 3u));

TEST_P(NestedViewTest, ReadsLikeAnyViewWhileNoAncestorChanges) {
  for (unsigned i = Depth() + 1; i-- > 0;) Change(i);
  ExpectEverywhere(Reader(), CLOCKPAGE_OK);
  const clockpage_view_reader reader = Reader();
  counter_reads = 0;
  std::int64_t ns = 0;
  EXPECT_EQ(clockpage_view_now(&reader, CLOCKPAGE_TAI, &ns), CLOCKPAGE_OK);
  EXPECT_EQ(counter_reads, 1u);
  EXPECT_TRUE(clockpage_view_reader_is_current(&reader));
}

TEST_P(NestedViewTest, UndoesARatioAndAddsOffsets) {
  clockpage_view_slot& slot = chain_->views[0].Newest();
  slot.counter_ratio = std::uint64_t{3} << 46;
  slot.counter_frac_bits = 48;
  slot.monotonic_offset_ns = 5 * kSecond;
  const clockpage_view_reader nested = Reader();
  slot.parent_generation = 0;
  const clockpage_view_reader plain = chain_->views[0].Reader(*region_);
  slot.parent_generation = chain_->views[1].page.index;
  fake_counter = clockpage_scale_counter(kHost, slot.counter_ratio, 48);
  clockpage_view_time a{}, b{};
  ASSERT_EQ(clockpage_view_now_bounds(&nested, CLOCKPAGE_MONOTONIC, &a), CLOCKPAGE_OK);
  slot.parent_generation = 0;
  ASSERT_EQ(clockpage_view_now_bounds(&plain, CLOCKPAGE_MONOTONIC, &b), CLOCKPAGE_OK);
  EXPECT_EQ(a.time.ns, b.time.ns);
  EXPECT_EQ(a.time.earliest_ns, b.time.earliest_ns);
  EXPECT_EQ(a.time.latest_ns, b.time.latest_ns);
}

TEST_P(NestedViewTest, IsDisruptedByAnyAncestorUntilAllBelowItAreComposedAnew) {
  for (unsigned i = 1; i <= Depth(); i++) {
    const clockpage_view_reader reader = Reader();
    clockpage_view_reader anew;
    Change(i);
    EXPECT_FALSE(clockpage_view_reader_is_current(&reader));
    for (unsigned below = i; below-- > 0;) {
      ExpectEverywhere(reader, CLOCKPAGE_E_DISRUPTED);
      EXPECT_EQ(chain_->Init(anew, *region_, Depth()), CLOCKPAGE_E_DISRUPTED);
      chain_->Publish(below);
    }
    ExpectEverywhere(reader, CLOCKPAGE_OK);  // an old reader, slowly
    ExpectEverywhere(Reader(), CLOCKPAGE_OK);
  }
}

// A change of the parent's offsets alone is one too: the child's are those that it had.
TEST_P(NestedViewTest, IsDisruptedByAnAncestorThatSaysTheSameUnderAnotherNumber) {
  const clockpage_view_reader reader = Reader();
  chain_->Publish(Depth());
  ExpectEverywhere(reader, CLOCKPAGE_E_DISRUPTED);
}

TEST_P(NestedViewTest, ACapturedValueOfBeforeIsDisruptedAfterwardsToo) {
  const clockpage_view_reader reader = Reader();
  std::uint64_t marker = 0;
  std::int64_t ns = kUntouched;
  ASSERT_EQ(clockpage_view_marker(&reader, &marker), CLOCKPAGE_OK);
  const std::uint64_t captured = Guest();
  Change(Depth());
  ComposeBelow(Depth());
  EXPECT_EQ(clockpage_view_at(&reader, CLOCKPAGE_TAI, captured, marker, &ns),
            CLOCKPAGE_E_DISRUPTED);
  EXPECT_EQ(ns, kUntouched);
}

TEST_P(NestedViewTest, IsRefreshedOnceAllIsComposedAnewAndNotBefore) {
  clockpage_view_reader reader = Reader();
  const std::uint64_t number = reader.number;
  Change(Depth());
  EXPECT_EQ(clockpage_view_reader_refresh(&reader), CLOCKPAGE_E_DISRUPTED);
  EXPECT_EQ(reader.number, number);
  ExpectEverywhere(reader, CLOCKPAGE_E_DISRUPTED);
  ComposeBelow(Depth());
  ASSERT_EQ(clockpage_view_reader_refresh(&reader), CLOCKPAGE_OK);
  EXPECT_TRUE(clockpage_view_reader_is_current(&reader));
  ExpectEverywhere(reader, CLOCKPAGE_OK);
}

// ---- changes at the moment of the counter's read

TEST_P(NestedViewTest, SeesAnAncestorThatChangesAsTheCounterIsRead) {
  for (unsigned i = 1; i <= Depth(); i++) {
    const clockpage_view_reader reader = Reader();
    fake_counter = Guest();
    std::int64_t ns = kUntouched;
    on_counter = [&] { Change(i); };
    EXPECT_EQ(clockpage_view_now(&reader, CLOCKPAGE_TAI, &ns), CLOCKPAGE_E_DISRUPTED);
    EXPECT_EQ(ns, kUntouched);
    ComposeBelow(i);
    // Composed anew in the same moment: a time, by a new counter value.
    const clockpage_view_reader next = Reader();
    counter_reads = 0;
    on_counter = [&] {
      Change(i);
      ComposeBelow(i);
    };
    ASSERT_EQ(clockpage_view_now(&next, CLOCKPAGE_TAI, &ns), CLOCKPAGE_OK);
    EXPECT_EQ(ns, PagesTai());
    EXPECT_EQ(counter_reads, 2u);
  }
}

// ---- what is given

TEST_P(NestedViewTest, NeedsEveryAncestorAndIgnoresMore) {
  clockpage_view_reader reader;
  for (unsigned given = 0; given < Depth(); given++)
    EXPECT_EQ(chain_->Init(reader, *region_, given), CLOCKPAGE_E_VIEW);
  for (unsigned given = Depth(); given <= CLOCKPAGE_VIEW_MAX_ANCESTORS; given++) {
    ASSERT_EQ(chain_->Init(reader, *region_, given), CLOCKPAGE_OK);
    EXPECT_EQ(reader.depth, Depth());
    ExpectEverywhere(reader, CLOCKPAGE_OK);
  }
  EXPECT_EQ(clockpage_view_reader_init(&reader, &chain_->views[0], 4096, region_.get(), 32768),
            CLOCKPAGE_E_VIEW);
}

TEST_P(NestedViewTest, AViewThatIsComposedFromNoneAnyMoreIsReadLikeOne) {
  const clockpage_view_reader reader = Reader();
  clockpage_view_page& page = chain_->views[0].page;
  clockpage_view_slot slot = chain_->views[0].Newest();
  slot.number++;
  slot.parent_generation = 0;
  page.slot[slot.number % 4] = slot;
  page.index = slot.number;
  ExpectEverywhere(reader, CLOCKPAGE_OK);
  const clockpage_view_reader anew = Reader();
  EXPECT_EQ(anew.kind, 0u);  // what costs least
  Change(Depth());
  EXPECT_TRUE(clockpage_view_reader_is_current(&anew));
  chain_->own[Depth()] = 0;
  ExpectEverywhere(anew, CLOCKPAGE_OK);
}

TEST_P(NestedViewTest, TheWrongParentIsNotTheOneItWasComposedFrom) {
  const TestView stranger(0x9999);
  const void* ancestors[3] = {&chain_->views[1], &chain_->views[2], &chain_->views[3]};
  clockpage_view_reader reader;
  for (unsigned i = 0; i < Depth(); i++) {
    const void* const right = ancestors[i];
    ancestors[i] = &stranger;
    EXPECT_EQ(clockpage_view_reader_init_nested(&reader, &chain_->views[0], 4096, region_.get(),
                                                32768, ancestors, Depth()),
              CLOCKPAGE_E_DISRUPTED);
    ancestors[i] = right;
  }
}

TEST_P(NestedViewTest, RefusesAncestorsThatAreNone) {
  const auto refused = [&](int error, auto change) {
    const clockpage_view_reader before = Reader();
    const TestView kept = chain_->views[Depth()];
    change(chain_->views[Depth()]);
    clockpage_view_reader reader;
    EXPECT_EQ(chain_->Init(reader, *region_, Depth()), error);
    // And a reader from before, that has to look again.
    clockpage_view_reader old = before;
    old.number--;
    std::int64_t ns = kUntouched;
    EXPECT_EQ(clockpage_view_now(&old, CLOCKPAGE_TAI, &ns), error);
    EXPECT_EQ(ns, kUntouched);
    chain_->views[Depth()] = kept;
  };
  refused(CLOCKPAGE_E_MAGIC, [](TestView& v) { v.page.magic[2]++; });
  refused(CLOCKPAGE_E_VERSION, [](TestView& v) { v.page.abi_major++; });
  refused(CLOCKPAGE_E_LAYOUT, [](TestView& v) { v.page.size = 8192; });
  refused(CLOCKPAGE_E_LAYOUT, [](TestView& v) { v.page.slot_count = 8; });
  refused(CLOCKPAGE_E_LAYOUT, [](TestView& v) { v.Newest().number--; });
  refused(CLOCKPAGE_E_STALE, [](TestView& v) { v.page.generation++; });
  refused(CLOCKPAGE_E_VIEW, [](TestView& v) { v.Newest().counter_ratio = 0; });
}

// A view that names itself as its parent, and two that name each other.
TEST_P(NestedViewTest, IsNotCaughtInACircle) {
  TestView circle(0x7777);
  circle.Newest().parent_generation = circle.page.index;
  const void* ancestors[3] = {&circle, &circle, &circle};
  clockpage_view_reader reader;
  EXPECT_EQ(clockpage_view_reader_init_nested(&reader, &circle, 4096, region_.get(), 32768,
                                              ancestors, Depth()),
            CLOCKPAGE_E_VIEW);
}

TEST_P(NestedViewTest, RefusesImpossibleArguments) {
  const void* ancestors[4] = {&chain_->views[1], &chain_->views[2], &chain_->views[3], nullptr};
  clockpage_view_reader reader;
  const auto init = [&](const void* const* from, std::size_t count) {
    return clockpage_view_reader_init_nested(&reader, &chain_->views[0], 4096, region_.get(), 32768,
                                             from, count);
  };
  EXPECT_EQ(init(ancestors, CLOCKPAGE_VIEW_MAX_ANCESTORS + 1), CLOCKPAGE_E_ARGUMENT);
  EXPECT_EQ(init(nullptr, 1), CLOCKPAGE_E_ARGUMENT);
  EXPECT_EQ(init(ancestors + 1, 3), CLOCKPAGE_E_ARGUMENT);
  ancestors[0] = reinterpret_cast<const std::byte*>(&chain_->views[1]) + 4;
  EXPECT_EQ(init(ancestors, Depth()), CLOCKPAGE_E_ARGUMENT);
}

}  // namespace
