// SPDX-License-Identifier: MIT
#include "region.hpp"

#include <clockpage/clockpage.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <random>

#include "test_region.hpp"

namespace clockpage::producer {
namespace {

namespace fs = std::filesystem;

class RegionTest : public testing::Test {
 protected:
  RegionTest() {
    std::string name = fs::temp_directory_path() / "clockpage-region-test.XXXXXX";
    if (mkdtemp(name.data()) == nullptr) std::abort();
    directory_ = name;
  }
  ~RegionTest() override {
    std::error_code ignored;
    fs::permissions(directory_, fs::perms::owner_all, ignored);
    fs::remove_all(directory_, ignored);
  }

  [[nodiscard]] fs::path file() const { return directory_ / "region"; }
  void write(const std::vector<std::byte>& bytes) const {
    std::ofstream out(file(), std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
  }
  [[nodiscard]] std::string content() const {
    std::ifstream in(file(), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  [[nodiscard]] std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(directory_), fs::directory_iterator()));
  }
  [[nodiscard]] ExistingRegion inspect(std::string_view source = "vvar") const {
    return Region::inspect(directory_, kBoot, this_counter(), source, kNow);
  }
  // Refused with one line that names the file and the reason, and left exactly as it was.
  void expect_refused(const std::string& reason, std::string_view source = "vvar") const {
    const std::string before = content();
    try {
      (void)inspect(source);
      ADD_FAILURE() << "not refused: " << reason;
    } catch (const RegionError& e) {
      const std::string text = e.what();
      EXPECT_EQ(text.rfind(file().string() + ": ", 0), 0U) << text;
      EXPECT_NE(text.find(reason), std::string::npos) << text;
      EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    }
    EXPECT_TRUE(content() == before);
  }

  fs::path directory_;
};

TEST_F(RegionTest, AnImageIsAValidRegion) {
  const std::vector<std::byte> image = image_of(kBoot, 77);
  ASSERT_EQ(image.size(), static_cast<std::size_t>(CLOCKPAGE_REGION_SIZE));
  clockpage_open_error error{};
  EXPECT_EQ(clockpage_validate_region(image.data(), image.size(), &error), 0) << error.where;
}

TEST_F(RegionTest, AllPagesOfANewRegionCarryOneFunction) {
  const Region region = [&] {
    const ProducerLock lock(directory_);
    return Region::create(directory_, image_of(kBoot));
  }();
  const auto pages = region.pages();
  for (std::size_t i = 0; i < pages.size(); i++) {
    clockpage_reader reader{};
    ASSERT_EQ(clockpage_reader_init(&reader, pages[i], sizeof *pages[i]), 0);
    EXPECT_EQ(pages[i]->format, i < 2 ? CLOCKPAGE_FORMAT_UNSCALED : CLOCKPAGE_FORMAT_SCALED);
    EXPECT_EQ(pages[i]->index, pages[0]->index);
    const PageWriter page(*pages[i]);
    // A moment before the first segment, in it, and past it.
    for (const std::int64_t ms : {-3, 0, 3, 9, 20}) {
      const std::uint64_t c = kStart + static_cast<std::uint64_t>(ms) * (kHz / 1000);
      std::int64_t ns = 0;
      ASSERT_EQ(clockpage_at(&reader, CLOCKPAGE_MONOTONIC, page.scale().apply(c), &ns), 0) << ms;
      EXPECT_NEAR(static_cast<double>(ns - 10'000'000'000), static_cast<double>(ms) * 1e6, 2);
      ASSERT_EQ(clockpage_at(&reader, CLOCKPAGE_MONOTONIC_RAW, page.scale().apply(c), &ns), 0);
      EXPECT_NEAR(static_cast<double>(ns - 20'000'000'000), static_cast<double>(ms) * 1e6, 2);
    }
  }
}

TEST_F(RegionTest, FindsNoneInAnEmptyOrMissingDirectory) {
  EXPECT_EQ(inspect(), ExistingRegion::none);
  EXPECT_EQ(Region::inspect(directory_ / "missing", kBoot, this_counter(), "vvar", kNow),
            ExistingRegion::none);
}

TEST_F(RegionTest, CreatesACompleteFileAndLeavesNoTemporaryOne) {
  (void)Region::create(directory_, image_of(kBoot));
  EXPECT_EQ(files(), 1U);
  EXPECT_EQ(fs::file_size(file()), static_cast<std::uintmax_t>(CLOCKPAGE_REGION_SIZE));
  struct stat status {};
  ASSERT_EQ(stat(file().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0644U);
  EXPECT_EQ(inspect(), ExistingRegion::adoptable);
}

TEST_F(RegionTest, ReadersOfEveryUserMayOpenItWhateverTheUmask) {
  const mode_t before = umask(0077);
  (void)Region::create(directory_, image_of(kBoot));
  umask(before);
  struct stat status {};
  ASSERT_EQ(stat(file().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0644U);
}

TEST_F(RegionTest, AdoptionIsInPlace) {
  const Region first = Region::create(directory_, image_of(kBoot));
  first.pages()[0]->diagnostics.bridges = 4711;
  const Region second = Region::adopt(directory_);
  EXPECT_EQ(second.pages()[0]->diagnostics.bridges, 4711U);
  second.pages()[2]->diagnostics.bridges = 12;
  EXPECT_EQ(first.pages()[2]->diagnostics.bridges, 12U);
}

TEST_F(RegionTest, ARegionOfAnEarlierBootIsRevokedUnderItsReadersAndReplaced) {
  const Region old = Region::create(directory_, image_of(kEarlierBoot, 1));
  EXPECT_EQ(inspect(), ExistingRegion::earlier_boot);
  const Region now = Region::create(directory_, image_of(kBoot, 2));
  for (const clockpage_data_page* page : old.pages()) {
    EXPECT_EQ(page->revoked, CLOCKPAGE_REVOKED_REPLACED);
    clockpage_reader reader{};
    ASSERT_EQ(clockpage_reader_init(&reader, page, sizeof *page), 0);
    std::int64_t ns = 0;
    EXPECT_EQ(clockpage_at(&reader, CLOCKPAGE_MONOTONIC, kStart, &ns), CLOCKPAGE_E_REVOKED);
  }
  for (const clockpage_data_page* page : now.pages()) EXPECT_EQ(page->revoked, 0U);
  EXPECT_EQ(now.directory().generation, 2U);
  EXPECT_EQ(inspect(), ExistingRegion::adoptable);
  EXPECT_EQ(files(), 1U);
}

TEST_F(RegionTest, WhatADeadProducerLeftUnderATemporaryNameIsNoObstacle) {
  (void)Region::create(directory_, image_of(kBoot));
  for (const char* name : {".region.new", ".region.1"}) std::ofstream(directory_ / name) << "half";
  EXPECT_NO_THROW((void)Region::create(directory_, image_of(kBoot)));
}

TEST_F(RegionTest, RefusesFilesThatAreNoRegion) {
  write({});
  expect_refused("0 bytes");
  auto image = image_of(kBoot);
  auto truncated = image;
  truncated.resize(4096);
  write(truncated);
  expect_refused("4096 bytes");
  auto longer = image;
  longer.resize(2 * image.size());
  write(longer);
  expect_refused("65536 bytes");
  write(std::vector<std::byte>(CLOCKPAGE_REGION_SIZE));
  expect_refused("magic");
  std::mt19937 random(1);
  for (auto& byte : image) byte = static_cast<std::byte>(random());
  write(image);
  expect_refused("magic");
}

TEST_F(RegionTest, RefusesAnotherMajorVersion) {
  auto image = image_of(kBoot);
  reinterpret_cast<clockpage_directory_page*>(image.data())->abi_major = CLOCKPAGE_ABI_MAJOR + 1;
  write(image);
  expect_refused("abi_major");
}

TEST_F(RegionTest, RefusesWhatIsNotARegularFile) {
  fs::create_directory(file());
  EXPECT_THROW((void)inspect(), RegionError);
  fs::remove(file());
  fs::create_symlink("/etc/passwd", file());
  EXPECT_THROW((void)inspect(), RegionError);
  EXPECT_TRUE(fs::is_symlink(file()));
}

TEST_F(RegionTest, RefusesARegionForAnotherCounter) {
  (void)Region::create(directory_, image_of(kBoot));
  CounterIdentity counter = this_counter();
  counter.frequency_hz = kHz + kHz / 10'000;  // 100 ppm: two measurements of one counter
  EXPECT_EQ(Region::inspect(directory_, kBoot, counter, "vvar", kNow), ExistingRegion::adoptable);
  const std::string before = content();
  counter.frequency_hz = kHz + kHz / 1000;
  EXPECT_THROW((void)Region::inspect(directory_, kBoot, counter, "vvar", kNow), RegionError);
  counter = this_counter();
  counter.kind = kThisCounterKind == CLOCKPAGE_COUNTER_X86_TSC ? CLOCKPAGE_COUNTER_ARM_CNTVCT
                                                               : CLOCKPAGE_COUNTER_X86_TSC;
  EXPECT_THROW((void)Region::inspect(directory_, kBoot, counter, "vvar", kNow), RegionError);
  EXPECT_TRUE(content() == before);
}

// Its producer may be killed before it has published anything else.
TEST_F(RegionTest, ANewRegionSaysFromTheFirstWhoseClockItIs) {
  const Region region = Region::create(directory_, image_of(kBoot, 1, "sim"));
  for (const clockpage_data_page* page : region.pages())
    EXPECT_STREQ(reinterpret_cast<const char*>(page->diagnostics.source), "sim");
  EXPECT_EQ(inspect("sim"), ExistingRegion::adoptable);
  expect_refused("source sim", "vvar");
}

TEST_F(RegionTest, NeverContinuesASimulatedClockByARealOneNorTheOtherWayRound) {
  {
    const Region region = Region::create(directory_, image_of(kBoot));
    for (clockpage_data_page* page : region.pages())
      std::memcpy(page->diagnostics.source, "sim", 4);
    EXPECT_EQ(inspect("sim"), ExistingRegion::adoptable);
    expect_refused("source sim", "vvar");
    for (clockpage_data_page* page : region.pages())
      std::memcpy(page->diagnostics.source, "vvar", 5);
  }
  EXPECT_EQ(inspect("vvar"), ExistingRegion::adoptable);
  EXPECT_EQ(inspect("bracket"), ExistingRegion::adoptable);
  expect_refused("source vvar", "sim");
}

TEST_F(RegionTest, ARevokedRegionIsNotGoneOnWith) {
  const Region region = Region::create(directory_, image_of(kBoot));
  for (clockpage_data_page* page : region.pages())
    PageWriter(*page).revoke(CLOCKPAGE_REVOKED_COUNTER);
  EXPECT_EQ(inspect(), ExistingRegion::revoked);
}

TEST_F(RegionTest, ARegionWhoseProducerHasBeenDeadForDaysIsAdopted) {
  (void)Region::create(directory_, image_of(kBoot));
  EXPECT_EQ(Region::inspect(directory_, kBoot, this_counter(), "vvar", kNow + 30ULL * 86'400 * kHz),
            ExistingRegion::adoptable);
}

TEST_F(RegionTest, ARegionWhoseLastSegmentBridgesALongDeathIsAdopted) {
  const Region region = Region::create(directory_, image_of(kBoot));
  const std::uint64_t now = kStart + 3600 * kHz;
  for (clockpage_data_page* p : region.pages()) {
    PageWriter page(*p);
    page.fill_next(continued(page.newest(), page.scale().apply(now)));
    ASSERT_TRUE(page.publish());
  }
  EXPECT_EQ(Region::inspect(directory_, kBoot, this_counter(), "vvar", now),
            ExistingRegion::adoptable);
}

TEST_F(RegionTest, AcceptsPagesOneSegmentApartAndNoMore) {
  const Region region = Region::create(directory_, image_of(kBoot));
  const auto extend = [&](std::size_t i) {
    PageWriter page(*region.pages()[i]);
    page.fill_next(
        continued(page.newest(), page.newest().lease_end + page.scale().apply(kHz / 100)));
    ASSERT_TRUE(page.publish());
  };
  for (const std::size_t i : {0, 1, 2}) extend(i);
  expect_refused("different segments");  // the last page's next is not complete
  PageWriter last(*region.pages()[3]);
  last.fill_next(continued(last.newest(), last.newest().lease_end + last.scale().apply(kHz / 100)));
  EXPECT_EQ(inspect(), ExistingRegion::adoptable);
  for (const std::size_t i : {0, 1, 2}) extend(i);
  expect_refused("different segments");
}

// What a producer would compute with for days: sums with it must not overflow, REALTIME not go
// back.
TEST_F(RegionTest, RefusesLeapSecondsThatNoProducerHasPublished) {
  constexpr std::int64_t at = 1'800'000'000 * kNsPerSecond;
  constexpr std::int64_t latest = INT64_MAX - (std::int64_t{1} << 61);
  const auto step = [](std::int64_t when) {
    return UtcOffset{37 * kNsPerSecond, when, when, 38 * kNsPerSecond, 0};
  };
  const auto ramp = [](std::int64_t length) {
    return offset_ramp(37 * kNsPerSecond, at, at + length, 38 * kNsPerSecond);
  };
  UtcOffset bent = ramp(86'400 * kNsPerSecond);
  bent.slope_frac++;
  UtcOffset reversed = ramp(86'400 * kNsPerSecond);
  std::swap(reversed.start_ns, reversed.end_ns);
  struct {
    const char* what;
    UtcOffset utc;
    bool possible;
  } const cases[] = {
      {"a step", step(at), true},
      {"a noon smear", ramp(86'400 * kNsPerSecond), true},
      {"the latest step", step(latest), true},
      {"a step at the end of time", step(latest + 1), false},
      {"a step before 1970", step(-1), false},
      {"a smear that ends before it begins", reversed, false},
      {"a slope that is not the ramp's", bent, false},
      {"the steepest smear", ramp(99 * kNsPerSecond), true},
      {"a steeper one", ramp(99 * kNsPerSecond - 99), false},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    fs::remove(file());
    const Region region = Region::create(directory_, image_of(kBoot));
    for (clockpage_data_page* p : region.pages()) {
      PageWriter page(*p);
      Segment next =
          continued(page.newest(), page.newest().lease_end + page.scale().apply(kHz / 100));
      next.terms.utc = c.utc;
      page.fill_next(next);
      ASSERT_TRUE(page.publish());
    }
    if (c.possible)
      EXPECT_EQ(inspect(), ExistingRegion::adoptable);
    else
      expect_refused("impossible leap second");
  }
}

TEST_F(RegionTest, KnowsWhetherReadersStillFindItUnderItsName) {
  const Region region = Region::create(directory_, image_of(kBoot));
  EXPECT_TRUE(region.has_its_name());
  fs::permissions(file(), fs::perms::none);
  EXPECT_TRUE(region.has_its_name());
  fs::rename(file(), directory_ / "away");
  EXPECT_FALSE(region.has_its_name());
  write(image_of(kBoot));  // another file with the same bytes
  EXPECT_FALSE(region.has_its_name());
  fs::rename(directory_ / "away", file());
  EXPECT_TRUE(region.has_its_name());
  fs::create_hard_link(file(), directory_ / "second");
  EXPECT_TRUE(region.has_its_name());
  fs::remove_all(directory_);
  EXPECT_FALSE(region.has_its_name());
}

TEST_F(RegionTest, AFailedCreationLeavesNoFileBehind) {
  fs::create_directory(file());  // cannot be mapped, revoked or renamed over
  EXPECT_THROW((void)Region::create(directory_, image_of(kBoot)), RegionError);
  EXPECT_EQ(files(), 1U);
}

class ProducerLockTest : public RegionTest {};

TEST_F(ProducerLockTest, CanBeOpenedByItsProducersUserOnly) {
  std::ofstream(directory_ / "lock") << "12345\n";  // of an earlier version
  fs::permissions(directory_ / "lock", static_cast<fs::perms>(0644));
  const ProducerLock lock(directory_);
  EXPECT_EQ(fs::status(directory_ / "lock").permissions(), static_cast<fs::perms>(0600));
}

TEST_F(ProducerLockTest, MakesTheDirectoryAndNamesItsHolder) {
  const fs::path deep = directory_ / "a" / "b";
  {
    const ProducerLock lock(deep);
    EXPECT_TRUE(fs::is_directory(deep));
    try {
      const ProducerLock second(deep);
      ADD_FAILURE() << "a second producer was let in";
    } catch (const RegionError& e) {
      const std::string text = e.what();
      EXPECT_NE(text.find("another producer"), std::string::npos) << text;
      EXPECT_NE(text.find("pid " + std::to_string(getpid())), std::string::npos) << text;
      EXPECT_EQ(text.rfind((deep / "lock").string(), 0), 0U) << text;
    }
    // The refused one has not taken the lock with it.
    EXPECT_THROW(ProducerLock{deep}, RegionError);
  }
  EXPECT_NO_THROW(ProducerLock{deep});
}

TEST_F(ProducerLockTest, SaysThatADirectoryCannotBeMadeOrWritten) {
  std::ofstream(directory_ / "file") << "x";
  EXPECT_THROW(ProducerLock{directory_ / "file"}, RegionError);
  EXPECT_THROW(ProducerLock{directory_ / "file" / "below"}, RegionError);
  // As nobody, where the test runs as root: root may write everywhere.
  const bool root = geteuid() == 0;
  fs::permissions(directory_, fs::perms::owner_read | fs::perms::owner_exec |
                                  fs::perms::others_read | fs::perms::others_exec);
  if (root) {
    ASSERT_EQ(seteuid(65534), 0);
  }
  EXPECT_THROW(ProducerLock{directory_}, RegionError);
  EXPECT_THROW((void)Region::create(directory_, image_of(kBoot)), RegionError);
  if (root) {
    ASSERT_EQ(seteuid(0), 0);
  }
  EXPECT_EQ(files(), 1U);
}

}  // namespace
}  // namespace clockpage::producer
