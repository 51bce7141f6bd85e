// SPDX-License-Identifier: MIT
#include "view_page.hpp"

#include <clockpage/view.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <functional>
#include <string>
#include <vector>

#include "test_pages.hpp"

namespace clockpage::producer {
namespace {

constexpr std::int64_t kS = 1'000'000'000;
constexpr std::uint64_t kGeneration = test::region_plan{}.generation;

ViewLimits limits() {
  ViewLimits l;
  l.monotonic_ns = 100 * kS;
  l.boottime_ns = 200 * kS;
  l.scaled_ratio = test::half_ratio;
  l.scaled_frac_bits = test::half_ratio_frac_bits;
  return l;
}

std::string refusal(const std::function<void()>& act) {
  try {
    act();
  } catch (const RegionError& e) {
    return e.what();
  }
  return "accepted";
}
template <typename Change>
std::string refusal_of(Change change) {
  ViewState state;
  change(state);
  return refusal([&] { check_view(state, limits()); });
}

TEST(CheckViewTest, AcceptsWhatAReaderCanReadThrough) {
  EXPECT_EQ(refusal_of([](ViewState&) {}), "accepted");
  EXPECT_EQ(refusal_of([](ViewState& s) {
              s.counter_ratio = 12345;
              s.counter_frac_bits = 32;
              s.counter_offset = INT64_MIN;
            }),
            "accepted");
  EXPECT_EQ(refusal_of([](ViewState& s) {
              s.format = CLOCKPAGE_FORMAT_SCALED;
              s.counter_ratio = test::half_ratio;
              s.counter_frac_bits = test::half_ratio_frac_bits;
              s.smear = 1;
            }),
            "accepted");
}

TEST(CheckViewTest, NamesTheFieldAndTheReasonOfEveryRefusal) {
  EXPECT_EQ(refusal_of([](ViewState& s) { s.counter_ratio = 0; }), "counter_ratio is 0");
  EXPECT_EQ(refusal_of([](ViewState& s) { s.counter_frac_bits = 33; }),
            "counter_frac_bits is 33, not 0, 32 (SVM) or 48 (VMX)");
  EXPECT_EQ(refusal_of([](ViewState& s) { s.counter_ratio = 2; }),
            "counter_ratio is 2 without fraction bits: only 1 is, unscaled");
  EXPECT_EQ(refusal_of([](ViewState& s) { s.format = 2; }),
            "format is 2, not 0 (unscaled) or 1 (scaled)");
  EXPECT_EQ(refusal_of([](ViewState& s) { s.smear = 9; }),
            "smear is 9, not 0 (unsmeared) or 1 (smeared)");
  EXPECT_NE(refusal_of([](ViewState& s) { s.format = 1; }).find("the scaled page is made for"),
            std::string::npos);
}

// The kernel's limits for a time namespace: 0 to KTIME_SEC_MAX / 2 at the moment of setting.
TEST(CheckViewTest, KeepsOffsetsWithinWhatTheKernelAllowsForATimeNamespace) {
  constexpr std::int64_t kMost = 4'611'686'018 * kS;
  const auto monotonic = [](std::int64_t ns) {
    return refusal_of([&](ViewState& s) { s.monotonic_offset_ns = ns; });
  };
  const auto boottime = [](std::int64_t ns) {
    return refusal_of([&](ViewState& s) { s.boottime_offset_ns = ns; });
  };
  EXPECT_EQ(monotonic(-100 * kS), "accepted");
  EXPECT_EQ(monotonic(-100 * kS - 1),
            "monotonic_offset_ns is -100000000001: the clock, now 100000000000 ns, would be "
            "negative or above 4611686018000000000 ns");
  EXPECT_EQ(monotonic(kMost - 100 * kS), "accepted");
  EXPECT_NE(monotonic(kMost - 100 * kS + 1), "accepted");
  EXPECT_NE(monotonic(INT64_MAX), "accepted");
  EXPECT_NE(monotonic(INT64_MIN), "accepted");
  EXPECT_EQ(boottime(-200 * kS), "accepted");
  EXPECT_NE(boottime(-200 * kS - 1), "accepted");
}

TEST(ViewNameTest, IsAPlainFileName) {
  for (const char* good : {"a", "vm-1", "A_b.9", "-", "x."})
    EXPECT_NO_THROW(check_view_name(good)) << good;
  EXPECT_NO_THROW(check_view_name(std::string(64, 'x')));
  for (const char* bad : {"", ".", "..", ".a", "a/b", "a b", "../a", "\xc3\xa4", "a\n"})
    EXPECT_THROW(check_view_name(bad), RegionError) << bad;
  EXPECT_THROW(check_view_name(std::string(65, 'x')), RegionError);
  EXPECT_THROW(check_view_name(std::string_view("a\0b", 3)), RegionError);
}

TEST(ViewWriterTest, FillsANewSlotAndLeavesTheOthersAlone) {
  clockpage_view_page page = view_image({7}, 1, 0xabc, 5, {});
  ViewWriter writer(page);
  const clockpage_view_slot first = page.slot[0xabc % 4];
  ViewState state;
  state.boottime_offset_ns = 3;
  EXPECT_TRUE(writer.set(state));
  EXPECT_EQ(page.index, 0xabdu);
  EXPECT_EQ(page.slot[0xabd % 4].number, 0xabdu);
  EXPECT_EQ(page.slot[0xabd % 4].boottime_offset_ns, 3);
  EXPECT_EQ(std::memcmp(&first, &page.slot[0xabc % 4], sizeof first), 0);
  EXPECT_EQ(writer.state(), state);
  EXPECT_FALSE(writer.set(state));
  EXPECT_EQ(page.index, 0xabdu);
}

TEST(ViewWriterTest, ChangesTheMarkerExactlyWhereTheCountersRelationChanges) {
  clockpage_view_page page = view_image({7}, 1, 0xabc, 5, {});
  ViewWriter writer(page);
  struct Case {
    void (*change)(ViewState&);
    bool disrupts;
  };
  const std::vector<Case> cases = {{[](ViewState& s) { s.counter_offset++; }, true},
                                   {[](ViewState& s) { s.monotonic_offset_ns++; }, false},
                                   {[](ViewState& s) {
                                      s.counter_ratio = std::uint64_t{1} << 48;
                                      s.counter_frac_bits = 48;
                                    },
                                    true},
                                   {[](ViewState& s) { s.boottime_offset_ns++; }, false},
                                   {[](ViewState& s) { s.counter_ratio++; }, true},
                                   {[](ViewState& s) { s.counter_frac_bits = 32; }, true},
                                   {[](ViewState& s) { s.smear = 1; }, false},
                                   {[](ViewState& s) { s.format = 1; }, false},
                                   {[](ViewState& s) { s.parent_generation = 1; }, false}};
  ViewState state;
  std::uint64_t marker = 5;
  for (const Case& c : cases) {
    c.change(state);
    EXPECT_TRUE(writer.set(state));
    marker += c.disrupts ? 1 : 0;
    EXPECT_EQ(writer.disruption_marker(), marker);
    EXPECT_EQ(writer.state(), state);
  }
  writer.disrupt(state);
  EXPECT_EQ(writer.disruption_marker(), marker + 1);
}

class ViewFileTest : public testing::Test {
 protected:
  [[nodiscard]] std::filesystem::path file(const char* name) const {
    return directory_.path() / "views" / name;
  }
  test::temporary_directory directory_;
  test::region_image region_{test::live_plan()};
  clockpage_view_page image_ = view_image({7}, kGeneration, 0x123456789abc, 1, {});
};

TEST_F(ViewFileTest, IsReadWhileItIsChanged) {
  ViewFile view = ViewFile::create(directory_.path(), "vm1", image_, 0440);
  struct stat status {};
  ASSERT_EQ(stat(file("vm1").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0440u);
  EXPECT_EQ(status.st_size, 4096);
  clockpage_view_reader reader;
  ASSERT_EQ(clockpage_view_reader_init(&reader, &view.page(), 4096, region_.bytes().data(), 32768),
            CLOCKPAGE_OK);
  std::int64_t before = 0, after = 0;
  ASSERT_EQ(clockpage_view_now(&reader, CLOCKPAGE_MONOTONIC, &before), CLOCKPAGE_OK);
  ViewState state;
  state.monotonic_offset_ns = 1000 * kS;
  EXPECT_TRUE(view.writer().set(state));
  ASSERT_EQ(clockpage_view_now(&reader, CLOCKPAGE_MONOTONIC, &after), CLOCKPAGE_OK);
  EXPECT_GE(after, before + 1000 * kS);
  EXPECT_LT(after, before + 1100 * kS);
}

TEST_F(ViewFileTest, GoesOnWhereAnEarlierWriterOfItLeft) {
  ViewState state;
  state.counter_offset = 77;
  ViewFile::create(directory_.path(), "vm1", image_, 0600).writer().set(state);
  ViewFile again = ViewFile::open(directory_.path(), "vm1", region_.directory());
  EXPECT_EQ(again.writer().state(), state);
  EXPECT_EQ(again.writer().disruption_marker(), 2u);
  EXPECT_EQ(again.page().index, 0x123456789abdu);
}

TEST_F(ViewFileTest, NeverTakesAnothersName) {
  ViewFile first = ViewFile::create(directory_.path(), "vm1", image_, 0644);
  EXPECT_EQ(refusal([&] { ViewFile::create(directory_.path(), "vm1", image_, 0644); }),
            file("vm1").string() + ": there is such a view already");
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator(directory_.path() / "views"))
    files++;
  EXPECT_EQ(files, 1u);  // nothing temporary is left
  ViewFile::remove(directory_.path(), "vm1");
  EXPECT_EQ(refusal([&] { ViewFile::remove(directory_.path(), "vm1"); }),
            file("vm1").string() + ": cannot be removed: No such file or directory");
}

TEST_F(ViewFileTest, RefusesWhatIsNoViewOfThisRegion) {
  const auto opened = [&](const char* name) {
    return refusal([&] { ViewFile::open(directory_.path(), name, region_.directory()); });
  };
  EXPECT_EQ(opened("none"),
            file("none").string() + ": cannot be opened: No such file or directory");
  ViewFile::create(directory_.path(), "other", view_image({7}, kGeneration + 1, 1000, 1, {}), 0600);
  EXPECT_EQ(opened("other"), file("other").string() + ": generation is not the region's");
  ViewFile::create(directory_.path(), "short", image_, 0600);
  std::filesystem::resize_file(file("short"), 100);
  EXPECT_EQ(opened("short"), file("short").string() + ": size is 100 bytes, not 4096");
  std::filesystem::create_symlink(file("other"), file("link"));
  EXPECT_NE(opened("link").find("cannot be opened"), std::string::npos);
  EXPECT_NE(opened("../region"), "accepted");
}

TEST_F(ViewFileTest, IsJudgedByTheRegionsClocksOfTheMoment) {
  const ViewLimits now = view_limits(region_.directory());
  const clockpage_data_page& page =
      *reinterpret_cast<const clockpage_data_page*>(region_.bytes().data() + 4096);
  clockpage_reader reader{};
  std::int64_t monotonic = 0;
  ASSERT_EQ(clockpage_reader_init(&reader, &page, sizeof page), CLOCKPAGE_OK);
  ASSERT_EQ(clockpage_now(&reader, CLOCKPAGE_MONOTONIC, &monotonic), CLOCKPAGE_OK);
  EXPECT_LE(now.monotonic_ns, monotonic);
  EXPECT_GT(now.monotonic_ns, monotonic - 100 * kS);
  EXPECT_EQ(now.scaled_ratio, test::half_ratio);
}

}  // namespace
}  // namespace clockpage::producer
