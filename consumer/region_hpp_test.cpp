// SPDX-License-Identifier: MIT
//
// The std::chrono side: regions, their options and owners, threads.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <clockpage/clockpage.hpp>
#include <cstdlib>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "test_pages.hpp"

namespace clockpage::test {
namespace {

using namespace std::chrono_literals;

// ---- regions ---------------------------------------------------------------------------

class RegionTest : public testing::Test {
 protected:
  RegionTest() {
    options_.directory = directory_.path().string();
    region_image image(live_plan());
    directory_.write(CLOCKPAGE_REGION_FILE, image.bytes());
  }
  temporary_directory directory_;
  open_options options_;
};

TEST_F(RegionTest, OpensAndReads) {
  const region r(options_);
  EXPECT_TRUE(r);
  EXPECT_TRUE(now<monotonic_clock>(r));
  ASSERT_NE(r.handle(), nullptr);
  EXPECT_EQ(clockpage_page_of(r.handle(), 0, 0), r.reader().page);
}

TEST_F(RegionTest, PassesEveryOption) {
  options_.smeared = true;
  options_.format = CLOCKPAGE_FORMAT_SCALED;
  EXPECT_EQ(region(options_).reader().page->smear, 1);
  EXPECT_TRUE(region(options_).is_smeared());
  EXPECT_TRUE(now<smeared_clock>(region(options_)).code() == CLOCKPAGE_OK);
  EXPECT_EQ(now<realtime_clock>(region(options_)).error(), errc::clock);
  EXPECT_EQ(region(options_).reader().page->format, CLOCKPAGE_FORMAT_SCALED);
  options_.view = "/nonexistent/view";
  clockpage_open_error error;
  EXPECT_FALSE(region::open(options_, error));
  EXPECT_STREQ(error.where, "/nonexistent/view: open: No such file or directory");
  options_.view.clear();
  region_image stale;
  stale.directory().boot_id[0] ^= 1;
  directory_.write(CLOCKPAGE_REGION_FILE, stale.bytes());
  EXPECT_FALSE(region::open(options_, error));
  EXPECT_EQ(error.code, CLOCKPAGE_E_STALE);
  options_.guest = true;
  EXPECT_TRUE(region::open(options_, error)) << error.where;
}

TEST_F(RegionTest, ThrowsWithTheFileAndTheReason) {
  options_.directory = "/nonexistent";
  try {
    const region r(options_);
    FAIL() << "no exception";
  } catch (const std::system_error& exception) {
    EXPECT_EQ(exception.code(), errc::system);
    EXPECT_NE(std::string(exception.what()).find("/nonexistent/region: open: No such file"),
              std::string::npos)
        << exception.what();
  }
}

TEST_F(RegionTest, FillsAnErrorCodeWithoutThrowing) {
  std::error_code error = errc::busy;
  EXPECT_TRUE(region::open(options_, error));
  EXPECT_FALSE(error);
  directory_.write(CLOCKPAGE_REGION_FILE, {});
  const region empty = region::open(options_, error);
  EXPECT_FALSE(empty);
  EXPECT_EQ(error, errc::size);
}

TEST_F(RegionTest, IsMovedNotCopiedAndReadsRevokedWhenEmpty) {
  region first(options_);
  const clockpage_region* handle = first.handle();
  region second(std::move(first));
  EXPECT_EQ(second.handle(), handle);
  EXPECT_TRUE(now<realtime_clock>(second));
  EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): that is the question
  EXPECT_EQ(now<realtime_clock>(first).error(), errc::revoked);
  EXPECT_EQ(now_bounds<realtime_clock>(first).error(), errc::revoked);
  EXPECT_EQ(at<monotonic_raw_clock>(first, 1).error(), errc::revoked);
  first = std::move(second);
  EXPECT_EQ(first.handle(), handle);
  region& alias = first;
  first = std::move(alias);
  EXPECT_TRUE(now<realtime_clock>(first));
}

// The clocks' own now(): one process-wide region, opened on first use; a failure is not kept.
TEST_F(RegionTest, ServesTheClocksStaticNow) {
  ASSERT_EQ(setenv(CLOCKPAGE_DIRECTORY_VARIABLE, "/nonexistent", 1), 0);
  EXPECT_THROW((void)realtime_clock::now(), std::system_error);
  ASSERT_EQ(setenv(CLOCKPAGE_DIRECTORY_VARIABLE, options_.directory.c_str(), 1), 0);
  const auto first = realtime_clock::now();
  const auto second = realtime_clock::now();
  EXPECT_LE(first, second);
  EXPECT_LT(second - first, 10s);
  const auto monotonic = *now<monotonic_clock>(default_region());
  EXPECT_LE(monotonic, monotonic_clock::now());
  EXPECT_NE(tai_clock::now().time_since_epoch(), 0ns);
  const auto smeared = smeared_clock::now();
  EXPECT_LE(smeared, smeared_clock::now());
  EXPECT_TRUE(default_smeared_region().is_smeared());
  EXPECT_FALSE(default_region().is_smeared());
  const auto raw = monotonic_raw_clock::now();
  EXPECT_LE(raw, monotonic_raw_clock::now());
  const auto boottime = boottime_clock::now();
  EXPECT_LE(boottime, boottime_clock::now());
  unsetenv(CLOCKPAGE_DIRECTORY_VARIABLE);
}

// ---- threads ---------------------------------------------------------------------------

// Readers of one region while a writer publishes: what two segments agree on at their
// boundary, everyone sees; nothing is torn.
TEST(ThreadsTest, ShareOneRegionWhileItIsWritten) {
  region_image image;
  const region r(image.reader());
  clockpage_data_page& page = image.page();
  const region_plan plan = image.plan();
  constexpr int reader_count = 4;
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> good{0}, wrong{0}, refused{0};
  std::atomic<int> running{0};
  const auto read = [&] {
    running++;
    for (std::uint64_t i = 0; !stop.load(std::memory_order_relaxed) || i < 1000; i++) {
      // Near the newest segment, whichever that is by the time of reading.
      const std::uint64_t newest = clockpage_load_index(&page.index) - plan.index;
      const std::uint64_t counter =
          plan.newest_start + newest * plan.period_ticks - (i % 5) * plan.period_ticks / 2;
      const auto expected = static_cast<std::int64_t>(plan.newest_tai_ns) +
                            static_cast<std::int64_t>(counter - plan.newest_start) / 2;
      const auto t = at_bounds<tai_clock>(r, counter);
      if (!t) {
        refused++;
      } else if (t.value().time_since_epoch().count() == expected) {
        good++;
      } else {
        wrong++;
      }
    }
  };
  std::vector<std::thread> readers;
  readers.reserve(reader_count);
  for (int i = 0; i < reader_count; i++) readers.emplace_back(read);
  while (running < reader_count) std::this_thread::yield();
  for (int i = 0; i < 50'000; i++) {
    region_image::publish(page, region_image::continuation(page));
    if (i % 512 == 0) std::this_thread::yield();
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0u);
  EXPECT_GT(good, 1000u);
  RecordProperty("refused", std::to_string(refused));
  EXPECT_LT(refused, good);
}

}  // namespace
}  // namespace clockpage::test
