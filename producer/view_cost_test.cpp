// SPDX-License-Identifier: MIT
//
// What an update writes, with one view and with ten thousand: the same bytes, none of them a
// view's.
#include <gtest/gtest.h>

#include <set>

#include "view_cost_fixture.hpp"

namespace clockpage::producer {
namespace {

namespace fs = std::filesystem;

std::string contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Every update: how many bytes of the region changed; and the region as it was left.
struct Written {
  std::vector<std::size_t> bytes;
  std::string region;
  bool operator==(const Written&) const = default;
};

Written publish(PublisherWithViews& host, int updates) {
  Written written;
  std::string before = host.region_bytes();
  for (int i = 0; i < updates; i++) {
    EXPECT_EQ(host.publisher().step(), StepResult::steered);
    const std::string after = host.region_bytes();
    written.bytes.push_back(bytes_changed(before, after));
    before = after;
  }
  written.region = before;
  return written;
}

TEST(ViewCostTest, AnUpdateWritesTheSameBytesHoweverManyViewsThereAre) {
  std::vector<Written> all;
  for (const std::size_t views : {0, 1, 100, 10'000}) {
    PublisherWithViews host(views);
    const std::vector<fs::path> files = host.view_files();
    ASSERT_EQ(files.size(), views);
    std::vector<const volatile std::uint64_t*> mapped;
    std::vector<std::pair<std::string, fs::file_time_type>> before;
    for (const fs::path& file : files) {
      mapped.push_back(mapped_words(file, sizeof(clockpage_view_page)));
      before.emplace_back(contents(file), fs::last_write_time(file));
    }
    all.push_back(publish(host, 200));
    EXPECT_EQ(host.view_files(), files);
    for (std::size_t i = 0; i < files.size(); i++) {
      ASSERT_EQ(contents(files[i]), before[i].first);
      ASSERT_EQ(fs::last_write_time(files[i]), before[i].second);
      ASSERT_EQ(mapped[i][offsetof(clockpage_view_page, index) / 8], 1000 + i);
      munmap(const_cast<std::uint64_t*>(mapped[i]), sizeof(clockpage_view_page));
    }
  }
  EXPECT_GT(all[0].bytes[0], 0u);
  for (const Written& other : all) {
    EXPECT_EQ(other.bytes, all[0].bytes);
    EXPECT_EQ(other.region, all[0].region);
  }
}

}  // namespace
}  // namespace clockpage::producer
