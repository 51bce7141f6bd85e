// SPDX-License-Identifier: MIT
//
// The std::chrono side of views.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <clockpage/view.hpp>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>

#include "test_pages.hpp"

namespace clockpage::test {
namespace {

using namespace std::chrono_literals;

static_assert(!std::is_copy_constructible_v<view> && std::is_nothrow_move_constructible_v<view> &&
              std::is_nothrow_move_assignable_v<view>);
static_assert(std::is_trivially_copyable_v<view_reader>);
// What is read through a view has no page's reader behind it, and the other way round.
static_assert(!std::is_convertible_v<view, const region&> &&
              !std::is_convertible_v<region, const view_reader&>);

template <class Clock>
constexpr bool reads_without_throwing(const view_reader& r) {
  static_assert(noexcept(now<Clock>(r))&& noexcept(now_bounds<Clock>(r))&& noexcept(
      at<Clock>(r, 1, 2))&& noexcept(at_bounds<Clock>(r, 1, 2))&& noexcept(marker(r)));
  return true;
}
template bool reads_without_throwing<realtime_clock>(const view_reader&);
template bool reads_without_throwing<tai_clock>(const view_reader&);

// A region that can be read now, and views of it, in memory.
class ViewReaderTest : public testing::Test {
 protected:
  view_reader reader() {
    clockpage_view_reader c{};
    EXPECT_EQ(clockpage_view_reader_init(&c, &view_->page(), 4096, region_->bytes().data(), 32768),
              CLOCKPAGE_OK);
    return view_reader(c);
  }
  // Publishes a copy of the newest slot, changed, as a writer does.
  template <class Change>
  void publish(Change change) {
    clockpage_view_page& page = view_->page();
    const std::uint64_t n = page.index;
    clockpage_view_slot slot = view_->newest();
    slot.number = n + 1;
    change(slot);
    clockpage_fence_before_fill();
    page.slot[(n + 1) % CLOCKPAGE_VIEW_SLOT_COUNT] = slot;
    clockpage_publish_index(&page.index, n, n + 1);
  }

  std::unique_ptr<region_image> region_ = std::make_unique<region_image>(live_plan());
  std::unique_ptr<view_image> view_ = std::make_unique<view_image>();
};

template <class Clock>
class ViewClockTest : public ViewReaderTest {
 protected:
  static constexpr std::int64_t offset() {
    if (Clock::id == CLOCKPAGE_BOOTTIME) return 7'000'000'000;
    return Clock::id == CLOCKPAGE_MONOTONIC || Clock::id == CLOCKPAGE_MONOTONIC_RAW ? -5'000'000'000
                                                                                    : 0;
  }
};
using clocks = testing::Types<realtime_clock, smeared_clock, tai_clock, monotonic_clock,
                              monotonic_raw_clock, boottime_clock>;
TYPED_TEST_SUITE(ViewClockTest, clocks);

TYPED_TEST(ViewClockTest, IsReadThroughTheView) {
  clockpage_view_slot& slot = this->view_->newest();
  slot.counter_offset = 1'000'000'007;
  slot.monotonic_offset_ns = -5'000'000'000;
  slot.boottime_offset_ns = 7'000'000'000;
  slot.disruption_marker = 42;
  const view_reader reader = this->reader();
  const region page(this->region_->reader());
  const std::uint64_t host = this->region_->plan().newest_start + 4000;
  const std::uint64_t guest = host + 1'000'000'007;
  const auto expected = at_bounds<TypeParam>(page, host);
  ASSERT_TRUE(expected) << expected.error().message();
  const std::chrono::nanoseconds by{this->offset()};

  ASSERT_TRUE(marker(reader));
  EXPECT_EQ(*marker(reader), 42u);
  const auto time = at_bounds<TypeParam>(reader, guest, 42);
  ASSERT_TRUE(time) << time.error().message();
  EXPECT_EQ(time.value(), expected.value() + by);
  EXPECT_EQ(time.earliest(), expected.earliest() + by);
  EXPECT_EQ(time.latest(), expected.latest() + by);
  EXPECT_EQ(time.status(), expected.status());
  EXPECT_EQ(time.guest_counter(), guest);
  EXPECT_EQ(time.counter(), host);
  EXPECT_EQ(time.disruption_marker(), 42u);
  EXPECT_EQ(at<TypeParam>(reader, guest, 42).value(), time.value());

  // And now: the guest's counter is this machine's.
  const auto first = now<TypeParam>(reader);
  const auto second = now_bounds<TypeParam>(reader);
  const auto third = now<TypeParam>(reader);
  ASSERT_TRUE(first && second && third);
  EXPECT_LE(*first, second.value());
  EXPECT_LE(second.value(), *third);
  EXPECT_EQ(second.disruption_marker(), 42u);
}

TEST_F(ViewReaderTest, ACapturedValueIsDisruptedUnderAnotherMarker) {
  view_reader reader = this->reader();
  const std::uint64_t counter = region_->plan().newest_start + 4000;
  const auto before = marker(reader);
  ASSERT_TRUE(at<tai_clock>(reader, counter, before.value()));
  publish([](clockpage_view_slot& s) {
    s.counter_offset = 5;
    s.disruption_marker = 1;
  });
  const auto time = at_bounds<tai_clock>(reader, counter, *before);
  EXPECT_FALSE(time);
  EXPECT_EQ(time.error(), errc::disrupted);
  EXPECT_EQ(time.guest_counter(), 0u);
  EXPECT_EQ(at<tai_clock>(reader, counter, *before).error(), errc::disrupted);
  EXPECT_THROW((void)at<tai_clock>(reader, counter, *before).value(), std::system_error);
}

TEST_F(ViewReaderTest, IsRefreshedWhereTheViewHasChanged) {
  view_reader reader = this->reader();
  EXPECT_TRUE(reader.is_current());
  EXPECT_FALSE(reader.refresh());
  publish([](clockpage_view_slot& s) { s.disruption_marker = 3; });
  EXPECT_FALSE(reader.is_current());
  EXPECT_EQ(now_bounds<tai_clock>(reader).disruption_marker(), 3u);  // right, but slowly
  EXPECT_FALSE(reader.refresh());
  EXPECT_TRUE(reader.is_current());
  EXPECT_EQ(now_bounds<tai_clock>(reader).disruption_marker(), 3u);
  // Withdrawn, and back.
  publish([](clockpage_view_slot& s) { s.counter_ratio = 0; });
  EXPECT_EQ(reader.refresh(), errc::view);
  EXPECT_EQ(now<tai_clock>(reader).error(), errc::view);
  publish([](clockpage_view_slot& s) { s.counter_ratio = 1; });
  EXPECT_FALSE(reader.refresh());
  EXPECT_TRUE(now<tai_clock>(reader));
}

// UTC is another type than smeared time, also where the view becomes smeared while it is read.
TEST_F(ViewReaderTest, DoesNotReadUtcThroughASmearedView) {
  const view_reader reader = this->reader();
  const std::uint64_t counter = region_->plan().newest_start + 4000;
  EXPECT_TRUE(now<realtime_clock>(reader));
  publish([](clockpage_view_slot& s) { s.smear = 1; });
  for (const view_reader& each : {reader, this->reader()}) {
    EXPECT_EQ(now<realtime_clock>(each).error(), errc::clock);
    EXPECT_EQ(now_bounds<realtime_clock>(each).error(), errc::clock);
    EXPECT_EQ(at<realtime_clock>(each, counter, 0).error(), errc::clock);
    EXPECT_EQ(at_bounds<realtime_clock>(each, counter, 0).error(), errc::clock);
    EXPECT_TRUE(now<smeared_clock>(each));
    EXPECT_TRUE(now<tai_clock>(each));
  }
}

TEST_F(ViewReaderTest, EachThreadRefreshesItsOwn) {
  const view_reader shared = this->reader();
  std::atomic<bool> stop = false;
  std::atomic<unsigned> wrong = 0, seen = 0, began = 0;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 2; i++) {
    threads.emplace_back([&] {
      view_reader own = shared;
      std::uint64_t last = 0;
      began++;
      while (!stop) {
        if (own.refresh()) continue;
        const auto time = now_bounds<monotonic_clock>(own);
        if (!time) continue;
        const std::uint64_t marker = time.disruption_marker();
        if (marker < last) wrong++;
        seen += marker != last;
        last = marker;
      }
    });
  }
  for (std::uint64_t n = 1; seen < 200 || began < 2; n++) {
    publish([&](clockpage_view_slot& s) { s.disruption_marker = n; });
    std::this_thread::sleep_for(100us);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0u);
}

// ---- opening

class ViewTest : public testing::Test {
 protected:
  ViewTest() {
    options_.directory = directory_.path().string();
    options_.view = options_.directory + "/view";
    directory_.write(CLOCKPAGE_REGION_FILE, region_.bytes());
    view_.newest().boottime_offset_ns = 1'000'000'000;
    write();
  }
  void write() {
    directory_.write("view", view_.bytes());
    directory_.write("parent", parent_.bytes());
  }
  temporary_directory directory_;
  region_image region_{live_plan()};
  view_image view_, parent_;
  open_options options_;
};

TEST_F(ViewTest, OpensAndReads) {
  const view v(options_);
  ASSERT_TRUE(v);
  const region page([&] {
    open_options host = options_;
    host.view.clear();
    return host;
  }());
  const auto host = now<boottime_clock>(page);
  const auto through = now<boottime_clock>(v.reader());
  ASSERT_TRUE(host && through);
  EXPECT_GE(*through, *host + 1s);
  EXPECT_NE(v.handle(), nullptr);
  // A region has no reader of views: it is refused, not the host's.
  EXPECT_THROW(region{options_}, std::system_error);
}

TEST_F(ViewTest, OpensItsParents) {
  view_.newest().parent_generation = parent_.page().index;
  write();
  clockpage_open_error error;
  EXPECT_FALSE(view::open(options_, error));
  EXPECT_EQ(error.code, CLOCKPAGE_E_VIEW);
  options_.parents[0] = options_.directory + "/parent";
  const view v = view::open(options_, error);
  ASSERT_TRUE(v) << error.where;
  EXPECT_TRUE(now<tai_clock>(v.reader()));
  parent_.page().index++;
  parent_.page().slot[parent_.page().index % 4] =
      parent_.page().slot[(parent_.page().index - 1) % 4];
  parent_.newest().number++;
  std::fstream file(options_.parents[0], std::ios::binary | std::ios::in | std::ios::out);
  file.write(reinterpret_cast<const char*>(parent_.bytes().data()), 4096).flush();
  EXPECT_EQ(now<tai_clock>(v.reader()).error(), errc::disrupted);
}

TEST_F(ViewTest, NeedsAViewAndSaysSo) {
  options_.view.clear();
  clockpage_open_error error;
  EXPECT_FALSE(view::open(options_, error));
  EXPECT_EQ(error.code, CLOCKPAGE_E_VIEW);
  EXPECT_STREQ(error.where, "no view was named, by the options or by $CLOCKPAGE_VIEW");
  EXPECT_THROW(view{options_}, std::system_error);
  setenv(CLOCKPAGE_VIEW_VARIABLE, (options_.directory + "/view").c_str(), 1);
  // On this kernel only its own view is believed in; in a guest any.
  EXPECT_FALSE(view::open(options_, error));
  EXPECT_EQ(error.code, CLOCKPAGE_E_VIEW);
  options_.guest = true;
  EXPECT_TRUE(view::open(options_, error)) << error.where;
  // Whoever opens a region alone is refused, unless the host's clocks are meant.
  EXPECT_FALSE(region::open(options_, error));
  EXPECT_EQ(error.code, CLOCKPAGE_E_VIEW);
  options_.host_clocks = true;
  EXPECT_TRUE(region::open(options_, error)) << error.where;
  unsetenv(CLOCKPAGE_VIEW_VARIABLE);
}

TEST_F(ViewTest, OpensBesideADescriptor) {
  const int fd = ::open((options_.directory + "/" CLOCKPAGE_REGION_FILE).c_str(), O_RDONLY);
  ASSERT_GE(fd, 0);
  options_.directory.clear();
  clockpage_open_error error;
  EXPECT_TRUE(view::open_fd(fd, options_, error)) << error.where;
  close(fd);
}

TEST_F(ViewTest, IsMovedNotCopiedAndIsWithdrawnWhenEmpty) {
  view v(options_);
  view moved(std::move(v));
  EXPECT_TRUE(moved);
  EXPECT_FALSE(v);
  for (view_reader reader : {v.reader(), view_reader{}}) {
    EXPECT_EQ(now<tai_clock>(reader).error(), errc::view);
    EXPECT_EQ(now_bounds<realtime_clock>(reader).error(), errc::view);
    EXPECT_EQ(at<tai_clock>(reader, 1, 0).error(), errc::view);
    (void)reader.refresh();
    EXPECT_EQ(now<tai_clock>(reader).error(), errc::view);
  }
  v = std::move(moved);
  EXPECT_TRUE(now<tai_clock>(v.reader()));
}

}  // namespace
}  // namespace clockpage::test
