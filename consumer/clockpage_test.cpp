// SPDX-License-Identifier: MIT
//
// Opening files, good and bad.
#include <clockpage/clockpage.h>
#include <clockpage/wait.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "test_pages.hpp"
#include "test_seed.hpp"

extern "C" int clockpage_c_test_read(const char* directory, int64_t* ns,
                                     clockpage_open_error* error);

namespace clockpage::test {
namespace {

namespace fs = std::filesystem;

struct closer {
  void operator()(clockpage_region* region) const { clockpage_close(region); }
};
using region_handle = std::unique_ptr<clockpage_region, closer>;

std::string read_all(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The permissions with which this process maps a file, as in /proc/self/maps.
std::string protection_of(const fs::path& file) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.ends_with(file.string())) return line.substr(line.find(' ') + 1, 4);
  }
  return "not mapped";
}

// A directory with (by default) a valid region, and the options to open it.
class OpenTest : public testing::Test {
 protected:
  OpenTest() : path_(directory_.path().string()) { options_.size = sizeof(options_); }

  std::string region_file() const { return path_ + "/" CLOCKPAGE_REGION_FILE; }
  void write_region(const region_image& image) {
    directory_.write(CLOCKPAGE_REGION_FILE, image.bytes());
  }

  region_handle open() {
    options_.directory = path_.c_str();
    clockpage_region* region = nullptr;
    code_ = clockpage_open(&options_, &region, &error_);
    EXPECT_EQ(error_.code, code_);
    EXPECT_EQ(region != nullptr, code_ == CLOCKPAGE_OK);
    return region_handle(region);
  }

  // Opens, and expects the refusal `code` with exactly this line.
  void expect_refusal(int code, const std::string& line) {
    const region_handle region = open();
    EXPECT_EQ(code_, code);
    EXPECT_EQ(std::string(error_.where), line);
    EXPECT_EQ(error_.saved_errno != 0, code == CLOCKPAGE_E_SYSTEM);
  }

  temporary_directory directory_;
  std::string path_;
  clockpage_open_options options_{};
  clockpage_open_error error_{};
  int code_ = 0;
};

TEST_F(OpenTest, ReadsEveryClockOfAValidRegion) {
  region_image image;
  write_region(image);
  const region_handle region = open();
  ASSERT_TRUE(region) << error_.where;
  const clockpage_reader* reader = clockpage_reader_of(region.get());
  const std::uint64_t counter = image.plan().newest_start + 4000;  // 2 us
  std::int64_t ns = 0;
  EXPECT_EQ(clockpage_at(reader, CLOCKPAGE_TAI, counter, &ns), CLOCKPAGE_OK);
  EXPECT_EQ(ns, 1'800'000'037'000'002'000);
  EXPECT_EQ(clockpage_at(reader, CLOCKPAGE_REALTIME, counter, &ns), CLOCKPAGE_OK);
  EXPECT_EQ(ns, 1'800'000'000'000'002'000);
  EXPECT_EQ(clockpage_at(reader, CLOCKPAGE_MONOTONIC, counter, &ns), CLOCKPAGE_OK);
  EXPECT_EQ(ns, 1'000'000'002'000);
  EXPECT_EQ(clockpage_at(reader, CLOCKPAGE_BOOTTIME, counter, &ns), CLOCKPAGE_OK);
  EXPECT_EQ(ns, 1'030'000'002'000);
  EXPECT_EQ(clockpage_at(reader, CLOCKPAGE_MONOTONIC_RAW, counter, &ns), CLOCKPAGE_OK);
  EXPECT_EQ(ns, 500'000'002'000);
}

TEST_F(OpenTest, SelectsThePageAskedFor) {
  write_region(region_image());
  for (const std::uint8_t format : std::array<std::uint8_t, 2>{0, 1}) {
    for (const std::uint8_t smear : std::array<std::uint8_t, 3>{0, 1, 200}) {
      options_.format = format;
      options_.smear = smear;
      const region_handle region = open();
      ASSERT_TRUE(region) << error_.where;
      const clockpage_data_page* page = clockpage_reader_of(region.get())->page;
      EXPECT_EQ(page, clockpage_page_of(region.get(), format, smear));
      EXPECT_EQ(page->format, format);
      EXPECT_EQ(page->smear, smear != 0 ? 1 : 0);
      EXPECT_EQ(clockpage_page_of(region.get(), 2, smear), nullptr);
    }
  }
}

TEST_F(OpenTest, GivesTheMappedDirectoryPage) {
  write_region(region_image());
  const region_handle region = open();
  ASSERT_TRUE(region);
  EXPECT_EQ(clockpage_directory_of(region.get())->generation, region_plan{}.generation);
}

TEST_F(OpenTest, SeesWhatTheWriterPublishesAfterwards) {
  write_region(region_image());
  const region_handle region = open();
  ASSERT_TRUE(region);
  std::fstream file(region_file(), std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(4096 + offsetof(clockpage_data_page, revoked));
  file.put(1).flush();
  std::int64_t ns = 0;
  EXPECT_EQ(clockpage_read_ns(region.get(), CLOCKPAGE_REALTIME, &ns), CLOCKPAGE_E_REVOKED);
}

TEST_F(OpenTest, ReadsNowThroughTheExportedFunctionsAndFromC) {
  write_region(region_image(live_plan()));
  const region_handle region = open();
  ASSERT_TRUE(region);
  std::int64_t first = 0, last = 0;
  clockpage_time time{};
  ASSERT_EQ(clockpage_read_ns(region.get(), CLOCKPAGE_REALTIME, &first), CLOCKPAGE_OK);
  ASSERT_EQ(clockpage_read_time(region.get(), CLOCKPAGE_REALTIME, &time), CLOCKPAGE_OK);
  ASSERT_EQ(clockpage_c_test_read(path_.c_str(), &last, &error_), CLOCKPAGE_OK) << error_.where;
  EXPECT_LE(first, time.ns);
  EXPECT_LE(time.ns, last);
  EXPECT_EQ(time.status, CLOCKPAGE_STATUS_SYNCHRONISED);
  EXPECT_EQ(clockpage_read_ns(region.get(), 99, &first), CLOCKPAGE_E_CLOCK);
  EXPECT_EQ(clockpage_read_ns(region.get(), CLOCKPAGE_TAI, nullptr), CLOCKPAGE_E_ARGUMENT);
  EXPECT_EQ(clockpage_read_ns(nullptr, CLOCKPAGE_TAI, &first), CLOCKPAGE_E_ARGUMENT);
  EXPECT_EQ(clockpage_read_time(region.get(), CLOCKPAGE_TAI, nullptr), CLOCKPAGE_E_ARGUMENT);
}

TEST_F(OpenTest, TakesTheDirectoryFromTheEnvironment) {
  write_region(region_image());
  ASSERT_EQ(setenv(CLOCKPAGE_DIRECTORY_VARIABLE, path_.c_str(), 1), 0);
  clockpage_region* region = nullptr;
  EXPECT_EQ(clockpage_open(nullptr, &region, &error_), CLOCKPAGE_OK) << error_.where;
  clockpage_close(region);
  ASSERT_EQ(setenv(CLOCKPAGE_DIRECTORY_VARIABLE, "/nonexistent", 1), 0);
  EXPECT_EQ(clockpage_open(nullptr, &region, &error_), CLOCKPAGE_E_SYSTEM);
  EXPECT_STREQ(error_.where, "/nonexistent/region: open: No such file or directory");
  const region_handle named = open();  // an option goes before the environment
  EXPECT_TRUE(named) << error_.where;
  unsetenv(CLOCKPAGE_DIRECTORY_VARIABLE);
}

// ---- what is no region -----------------------------------------------------------------

TEST_F(OpenTest, RefusesAMissingFile) {
  expect_refusal(CLOCKPAGE_E_SYSTEM, region_file() + ": open: No such file or directory");
  EXPECT_EQ(error_.saved_errno, ENOENT);
}

TEST_F(OpenTest, RefusesAnEmptyFile) {
  directory_.write(CLOCKPAGE_REGION_FILE, {});
  expect_refusal(CLOCKPAGE_E_SIZE, region_file() + ": size is 0 bytes, not 32768");
}

TEST_F(OpenTest, RefusesATruncatedAndAPaddedFile) {
  region_image image;
  directory_.write(CLOCKPAGE_REGION_FILE, image.bytes().first(20480));
  expect_refusal(CLOCKPAGE_E_SIZE, region_file() + ": size is 20480 bytes, not 32768");
  std::vector<std::byte> padded(image.bytes().begin(), image.bytes().end());
  padded.push_back(std::byte{0});
  directory_.write(CLOCKPAGE_REGION_FILE, padded);
  expect_refusal(CLOCKPAGE_E_SIZE, region_file() + ": size is 32769 bytes, not 32768");
}

TEST_F(OpenTest, RefusesAZeroedFile) {
  directory_.write(CLOCKPAGE_REGION_FILE, std::vector<std::byte>(CLOCKPAGE_REGION_SIZE));
  expect_refusal(CLOCKPAGE_E_MAGIC, region_file() + ": magic is not CLKPGDIR");
}

TEST_F(OpenTest, RefusesGarbage) {
  std::mt19937_64 random(seed_of_this_test());
  std::vector<std::byte> bytes(CLOCKPAGE_REGION_SIZE);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  directory_.write(CLOCKPAGE_REGION_FILE, bytes);
  expect_refusal(CLOCKPAGE_E_MAGIC, region_file() + ": magic is not CLKPGDIR");
}

TEST_F(OpenTest, RefusesAnotherVersion) {
  region_image image;
  image.directory().abi_major = 2;
  write_region(image);
  expect_refusal(CLOCKPAGE_E_VERSION, region_file() + ": abi_major is 2, this reader knows 1");
}

TEST_F(OpenTest, RefusesWhatIsNoRegularFile) {
  fs::create_directory(region_file());
  expect_refusal(CLOCKPAGE_E_MAGIC, region_file() + ": not a regular file");
  fs::remove(region_file());
  ASSERT_EQ(mkfifo(region_file().c_str(), 0600), 0);  // must not block either
  expect_refusal(CLOCKPAGE_E_MAGIC, region_file() + ": not a regular file");
}

TEST_F(OpenTest, RefusesAFileItMayNotRead) {
  write_region(region_image());
  ASSERT_EQ(chmod(region_file().c_str(), 0), 0);
  ASSERT_EQ(chmod(path_.c_str(), 0755), 0);
  const bool is_root = geteuid() == 0;
  if (is_root) {
    ASSERT_EQ(seteuid(65534), 0);
  }
  expect_refusal(CLOCKPAGE_E_SYSTEM, region_file() + ": open: Permission denied");
  EXPECT_EQ(error_.saved_errno, EACCES);
  if (is_root) {
    ASSERT_EQ(seteuid(0), 0);
  }
}

TEST_F(OpenTest, RefusesTheRegionOfAnEarlierBootUnlessItIsTheHosts) {
  region_image image;
  image.directory().boot_id[15] ^= 1;
  write_region(image);
  expect_refusal(CLOCKPAGE_E_STALE,
                 region_file() + ": boot_id is not that of this boot of this machine");
  options_.flags = CLOCKPAGE_OPEN_GUEST;
  EXPECT_TRUE(open()) << error_.where;
}

TEST_F(OpenTest, KeepsTheEndOfALongPathAndTheReason) {
  for (int i = 0; i < 9; i++) path_ += "/" + std::string(99, static_cast<char>('a' + i));
  EXPECT_FALSE(open());
  EXPECT_EQ(code_, CLOCKPAGE_E_SYSTEM);
  const std::string line = error_.where;
  EXPECT_EQ(line.substr(0, 3), "...");
  EXPECT_TRUE(line.ends_with("iii/region: open: No such file or directory")) << line;
}

TEST_F(OpenTest, KeepsItsLineOneLineWhateverThePathHolds) {
  path_ = "/nonexistent\n\x1b[31m";
  expect_refusal(CLOCKPAGE_E_SYSTEM, "/nonexistent??[31m/region: open: No such file or directory");
}

TEST_F(OpenTest, RefusesImpossibleArguments) {
  write_region(region_image());
  EXPECT_EQ(clockpage_open(&options_, nullptr, &error_), CLOCKPAGE_E_ARGUMENT);
  options_.flags = 16;
  expect_refusal(CLOCKPAGE_E_ARGUMENT, "options.flags is 0x10");
  options_.flags = 0;
  options_.format = 2;
  expect_refusal(CLOCKPAGE_E_ARGUMENT, "options.format is 2");
  options_.format = 0;
  path_.clear();
  expect_refusal(CLOCKPAGE_E_ARGUMENT, "options.directory is empty");
  clockpage_close(nullptr);
}

// ---- views -----------------------------------------------------------------------------

class OpenViewTest : public OpenTest {
 protected:
  OpenViewTest() : view_file_(path_ + "/view") {
    options_.view = view_file_.c_str();
    write_region(image_);
  }
  void write_view() { directory_.write("view", view_.bytes()); }

  // Writes the view and expects CLOCKPAGE_E_VIEW for this reason.
  void expect_unreadable(const std::string& reason) {
    write_view();
    expect_refusal(CLOCKPAGE_E_VIEW,
                   view_file_ + ": only a reader of views can read through it: " + reason);
    view_ = view_image();
  }

  std::string view_file_;
  region_image image_;
  view_image view_;
};

TEST_F(OpenViewTest, ReadsThroughAnIdentityView) {
  view_.newest().smear = 1;
  write_view();
  region_handle region = open();
  ASSERT_TRUE(region) << error_.where;
  EXPECT_EQ(clockpage_reader_of(region.get())->page, clockpage_page_of(region.get(), 0, 1));
  view_.newest().counter_ratio = std::uint64_t{1} << 48;
  view_.newest().counter_frac_bits = 48;
  write_view();
  EXPECT_TRUE(open()) << error_.where;
}

TEST_F(OpenViewTest, ReadsThroughAViewWhoseGuestHasTheScaledPagesCounter) {
  view_.newest().format = CLOCKPAGE_FORMAT_SCALED;
  view_.newest().counter_ratio = half_ratio;
  view_.newest().counter_frac_bits = half_ratio_frac_bits;
  write_view();
  const region_handle region = open();
  ASSERT_TRUE(region) << error_.where;
  EXPECT_EQ(clockpage_reader_of(region.get())->page, clockpage_page_of(region.get(), 1, 0));
}

TEST_F(OpenViewTest, RefusesEveryOtherViewRatherThanIgnoringIt) {
  view_.newest().counter_offset = -1;
  expect_unreadable("counter_offset is not 0");
  view_.newest().counter_ratio = half_ratio;
  view_.newest().counter_frac_bits = half_ratio_frac_bits;
  expect_unreadable("counter_ratio is not that of its page");
  view_.newest().format = CLOCKPAGE_FORMAT_SCALED;  // with the ratio 1
  expect_unreadable("counter_ratio is not that of its page");
  view_.newest().monotonic_offset_ns = 1;
  expect_unreadable("monotonic_offset_ns is not 0");
  view_.newest().boottime_offset_ns = -1;
  expect_unreadable("boottime_offset_ns is not 0");
  view_.newest().parent_generation = 1;
  expect_unreadable("it is composed from another view");
}

TEST_F(OpenViewTest, ReadsThroughAnyViewWhereTheCallerDoes) {
  view_.newest().counter_ratio = std::uint64_t{3} << 47;
  view_.newest().counter_frac_bits = 48;
  view_.newest().counter_offset = -12345;
  view_.newest().monotonic_offset_ns = 1'000'000;
  view_.newest().smear = 1;
  view_.newest().disruption_marker = 6;
  write_view();
  options_.flags |= CLOCKPAGE_OPEN_VIEW;
  const region_handle region = open();
  ASSERT_TRUE(region) << error_.where;
  const clockpage_view_reader* reader = clockpage_view_reader_of(region.get());
  ASSERT_NE(reader, nullptr);
  EXPECT_EQ(reader->data.page, clockpage_page_of(region.get(), 0, 1));
  const std::uint64_t host = reader->data.page->segment[reader->data.page->index % 16].start + 1000;
  const std::uint64_t guest = host + host / 2 - 12345;
  clockpage_view_time time{};
  ASSERT_EQ(clockpage_view_at_bounds(reader, CLOCKPAGE_MONOTONIC, guest, 6, &time), CLOCKPAGE_OK);
  std::int64_t page_ns = 0;
  ASSERT_EQ(clockpage_at(clockpage_reader_of(region.get()), CLOCKPAGE_MONOTONIC, time.time.counter,
                         &page_ns),
            CLOCKPAGE_OK);
  EXPECT_EQ(time.time.ns, page_ns + 1'000'000);
  EXPECT_LE(host - time.time.counter, 1u);
  EXPECT_EQ(time.disruption_marker, 6u);
  options_.view = nullptr;
  const region_handle plain = open();
  ASSERT_TRUE(plain) << error_.where;
  EXPECT_EQ(clockpage_view_reader_of(plain.get()), nullptr);
}

// The symbols read through it as well.
TEST_F(OpenViewTest, ReadsNowThroughTheView) {
  write_region(region_image(live_plan()));
  view_.newest().boottime_offset_ns = -5'000'000'000;
  write_view();
  options_.flags |= CLOCKPAGE_OPEN_VIEW;
  const region_handle region = open();
  ASSERT_TRUE(region) << error_.where;
  clockpage_time before{}, after{};
  std::int64_t ns = 0;
  const clockpage_reader* page = clockpage_reader_of(region.get());
  ASSERT_EQ(clockpage_now_bounds(page, CLOCKPAGE_BOOTTIME, &before), CLOCKPAGE_OK);
  ASSERT_EQ(clockpage_read_ns(region.get(), CLOCKPAGE_BOOTTIME, &ns), CLOCKPAGE_OK);
  ASSERT_EQ(clockpage_read_time(region.get(), CLOCKPAGE_BOOTTIME, &after), CLOCKPAGE_OK);
  EXPECT_GE(ns, before.ns - 5'000'000'000);
  EXPECT_GE(after.ns, ns);
  EXPECT_LT(after.ns, before.ns - 4'000'000'000);
}

TEST_F(OpenViewTest, RefusesFilesThatAreNoView) {
  expect_refusal(CLOCKPAGE_E_SYSTEM, view_file_ + ": open: No such file or directory");
  directory_.write("view", {});
  expect_refusal(CLOCKPAGE_E_SIZE, view_file_ + ": size is 0 bytes, not 4096");
  directory_.write("view", view_.bytes().first(4095));
  expect_refusal(CLOCKPAGE_E_SIZE, view_file_ + ": size is 4095 bytes, not 4096");
  directory_.write("view", image_.bytes());
  expect_refusal(CLOCKPAGE_E_SIZE, view_file_ + ": size is 32768 bytes, not 4096");
  directory_.write("view", image_.bytes().first(4096));
  expect_refusal(CLOCKPAGE_E_MAGIC, view_file_ + ": magic is not CLKPGVEW");
  directory_.write("view", std::vector<std::byte>(4096));
  expect_refusal(CLOCKPAGE_E_MAGIC, view_file_ + ": magic is not CLKPGVEW");
  view_.page().abi_major = 3;
  write_view();
  expect_refusal(CLOCKPAGE_E_VERSION, view_file_ + ": abi_major is 3, this reader knows 1");
  view_ = view_image(region_plan{}.generation + 1);
  write_view();
  expect_refusal(CLOCKPAGE_E_STALE, view_file_ + ": generation is not the region's");
}

// ---- what must not happen --------------------------------------------------------------

TEST_F(OpenViewTest, WritesNothingAndMapsReadOnly) {
  write_view();
  const std::string region_before = read_all(region_file());
  const std::string view_before = read_all(view_file_);
  const auto region_time = fs::last_write_time(region_file());
  const auto view_time = fs::last_write_time(view_file_);
  ASSERT_EQ(chmod(region_file().c_str(), 0444), 0);
  {
    const region_handle region = open();
    ASSERT_TRUE(region) << error_.where;
    std::int64_t ns = 0;
    (void)clockpage_read_ns(region.get(), CLOCKPAGE_MONOTONIC, &ns);
    EXPECT_EQ(protection_of(region_file()), "r--s");
    EXPECT_EQ(protection_of(view_file_), "r--s");
  }
  EXPECT_EQ(read_all(region_file()), region_before);
  EXPECT_EQ(read_all(view_file_), view_before);
  EXPECT_EQ(fs::last_write_time(region_file()), region_time);
  EXPECT_EQ(fs::last_write_time(view_file_), view_time);
}

TEST_F(OpenViewTest, LeavesNoDescriptorAndNoMappingBehind) {
  write_view();
  const auto count = [](const char* directory) {
    return std::distance(fs::directory_iterator(directory), fs::directory_iterator());
  };
  const auto before = count("/proc/self/fd");
  {
    const region_handle region = open();
    ASSERT_TRUE(region);
    EXPECT_EQ(count("/proc/self/fd"), before);
    EXPECT_NE(read_all("/proc/self/maps").find(region_file()), std::string::npos);
  }
  view_.newest().counter_offset = 5;
  write_view();
  EXPECT_FALSE(open());
  EXPECT_EQ(count("/proc/self/fd"), before);
  EXPECT_EQ(read_all("/proc/self/maps").find(path_), std::string::npos);
}

// ---- texts, identity -------------------------------------------------------------------

TEST(StrerrorTest, HasATextOfItsOwnForEveryCode) {
  std::set<std::string> texts;
  for (int code = 0; code >= CLOCKPAGE_E_TIMEOUT; code--) texts.insert(clockpage_strerror(code));
  for (int code = CLOCKPAGE_E_SIZE; code >= CLOCKPAGE_E_UNSEALED; code--) {
    texts.insert(clockpage_strerror(code));
  }
  EXPECT_EQ(texts.size(), 13u + 9u);
  EXPECT_EQ(texts.count("unknown error"), 0u);
  EXPECT_STREQ(clockpage_strerror(1), "unknown error");
  EXPECT_STREQ(clockpage_strerror(-13), "unknown error");
}

TEST(BootIdTest, IsTheKernels) {
  std::array<std::uint8_t, 16> id{};
  ASSERT_EQ(clockpage_boot_id(id.data()), CLOCKPAGE_OK);
  EXPECT_EQ(id, this_boot_id());
  EXPECT_EQ(clockpage_boot_id(nullptr), CLOCKPAGE_E_ARGUMENT);
}

}  // namespace
}  // namespace clockpage::test
