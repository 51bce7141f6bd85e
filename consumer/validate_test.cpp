// SPDX-License-Identifier: MIT
//
// One negative test for each header field of the directory, a data page and a view.
#include <clockpage/clockpage.h>
#include <gtest/gtest.h>

#include <cstring>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "test_pages.hpp"
#include "test_seed.hpp"

namespace clockpage::test {
namespace {

template <typename Image>
struct damage {
  const char* name;       // of the test
  void (*apply)(Image&);  // makes exactly one field wrong
  int code;               // what it is refused with
  const char* reason;     // what the line must say
};

template <typename Image>
void PrintTo(const damage<Image>& d, std::ostream* out) {
  *out << d.name;
}

constexpr auto damage_name = [](const auto& info) { return std::string(info.param.name); };

using region_damage = damage<region_image>;
using view_damage = damage<view_image>;

// ---- the region ------------------------------------------------------------------------

int validate(const region_image& image, clockpage_open_error* error) {
  return clockpage_validate_region(image.bytes().data(), image.bytes().size(), error);
}

void set_smear(clockpage_data_page& page, const clockpage_smear& smear) {
  page.smear = smear.kind;
  page.smear_start_s = smear.start_s;
  page.smear_length_s = smear.length_s;
}

TEST(ValidateRegionTest, AcceptsTheSyntheticRegion) {
  const region_image image;
  clockpage_open_error error;
  std::memset(&error, 0xff, sizeof(error));
  EXPECT_EQ(validate(image, &error), CLOCKPAGE_OK) << error.where;
  EXPECT_EQ(error.code, CLOCKPAGE_OK);
  EXPECT_EQ(error.saved_errno, 0);
  EXPECT_STREQ(error.where, "");
}

TEST(ValidateRegionTest, NeedsNoErrorToFill) {
  region_image image;
  EXPECT_EQ(validate(image, nullptr), CLOCKPAGE_OK);
  image.directory().magic[0] ^= 1;
  EXPECT_EQ(validate(image, nullptr), CLOCKPAGE_E_MAGIC);
}

class DamagedRegionTest : public testing::TestWithParam<region_damage> {};

TEST_P(DamagedRegionTest, IsRefusedWithItsReason) {
  region_image image;
  ASSERT_EQ(validate(image, nullptr), CLOCKPAGE_OK);
  GetParam().apply(image);
  clockpage_open_error error;
  EXPECT_EQ(validate(image, &error), GetParam().code) << error.where;
  EXPECT_EQ(error.code, GetParam().code);
  EXPECT_NE(std::string(error.where).find(GetParam().reason), std::string::npos) << error.where;
  EXPECT_EQ(std::string(error.where).find('\n'), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    Directory, DamagedRegionTest,
    testing::Values(
        region_damage{"magic", [](region_image& r) { r.directory().magic[7] = 'X'; },
                      CLOCKPAGE_E_MAGIC, "magic is not CLKPGDIR"},
        region_damage{
            "data_page_magic",
            [](region_image& r) { std::memcpy(r.directory().magic, CLOCKPAGE_DATA_MAGIC, 8); },
            CLOCKPAGE_E_MAGIC, "magic is not CLKPGDIR"},
        region_damage{"abi_major_later", [](region_image& r) { r.directory().abi_major = 2; },
                      CLOCKPAGE_E_VERSION, "abi_major is 2, this reader knows 1"},
        region_damage{"abi_major_zero", [](region_image& r) { r.directory().abi_major = 0; },
                      CLOCKPAGE_E_VERSION, "abi_major is 0"},
        region_damage{"size_small", [](region_image& r) { r.directory().size = 143; },
                      CLOCKPAGE_E_LAYOUT, "size is 143"},
        region_damage{"size_large", [](region_image& r) { r.directory().size = 4097; },
                      CLOCKPAGE_E_LAYOUT, "size is 4097"},
        region_damage{"region_size", [](region_image& r) { r.directory().region_size = 65536; },
                      CLOCKPAGE_E_LAYOUT, "region_size is 65536"},
        region_damage{"counter_kind",
                      [](region_image& r) { r.directory().counter_kind = this_counter_kind ^ 1; },
                      CLOCKPAGE_E_COUNTER, "counter_kind is"},
        region_damage{"counter_frequency_hz",
                      [](region_image& r) { r.directory().counter_frequency_hz = 0; },
                      CLOCKPAGE_E_LAYOUT, "counter_frequency_hz is 0"},
        region_damage{"counter_quantum_ticks",
                      [](region_image& r) { r.directory().counter_quantum_ticks = 0; },
                      CLOCKPAGE_E_LAYOUT, "counter_quantum_ticks is 0"},
        region_damage{"data_page_count", [](region_image& r) { r.directory().data_page_count = 5; },
                      CLOCKPAGE_E_LAYOUT, "data_page_count is 5"},
        region_damage{"data_page_size",
                      [](region_image& r) { r.directory().data_page_size = 8192; },
                      CLOCKPAGE_E_LAYOUT, "data_page_size is 8192"},
        region_damage{"generation", [](region_image& r) { r.directory().generation++; },
                      CLOCKPAGE_E_LAYOUT, "generation is not the directory's"}),
    damage_name);

INSTANTIATE_TEST_SUITE_P(
    Entry, DamagedRegionTest,
    testing::Values(
        region_damage{"offset_unaligned",
                      [](region_image& r) { r.directory().data_page[1].offset_bytes += 8; },
                      CLOCKPAGE_E_LAYOUT, "data_page[1].offset_bytes is 8200"},
        region_damage{"offset_on_the_directory",
                      [](region_image& r) { r.directory().data_page[0].offset_bytes = 0; },
                      CLOCKPAGE_E_LAYOUT, "data_page[0].offset_bytes is 0"},
        region_damage{"offset_at_the_end",
                      [](region_image& r) { r.directory().data_page[3].offset_bytes = 32768; },
                      CLOCKPAGE_E_LAYOUT, "data_page[3].offset_bytes is 32768"},
        region_damage{"offset_that_wraps",
                      [](region_image& r) { r.directory().data_page[3].offset_bytes = 0xfffff000; },
                      CLOCKPAGE_E_LAYOUT, "data_page[3].offset_bytes is 4294963200"},
        region_damage{"offset_shared",
                      [](region_image& r) {
                        r.directory().data_page[2].offset_bytes =
                            r.directory().data_page[0].offset_bytes;
                      },
                      CLOCKPAGE_E_LAYOUT, "data_page[2].offset_bytes is data_page[0]'s"},
        region_damage{"format_unknown",
                      [](region_image& r) { r.directory().data_page[2].format = 2; },
                      CLOCKPAGE_E_LAYOUT, "data_page[2].format is 2"},
        region_damage{"format_twice",
                      [](region_image& r) { r.directory().data_page[2].format = 0; },
                      CLOCKPAGE_E_LAYOUT, "data_page[2].format and smear are data_page[0]'s"},
        region_damage{"smear_twice",
                      [](region_image& r) { r.directory().data_page[0].smear = 255; },
                      CLOCKPAGE_E_LAYOUT, "data_page[1].format and smear are data_page[0]'s"},
        region_damage{"swapped",
                      [](region_image& r) {
                        std::swap(r.directory().data_page[0].offset_bytes,
                                  r.directory().data_page[2].offset_bytes);
                      },
                      CLOCKPAGE_E_LAYOUT, "data page 0: format is 1, the directory's 0"}),
    damage_name);

INSTANTIATE_TEST_SUITE_P(
    DataPage, DamagedRegionTest,
    testing::Values(
        region_damage{"magic", [](region_image& r) { r.page(1, 1).magic[0] = 0; },
                      CLOCKPAGE_E_MAGIC, "data page 3: magic is not CLKPGDAT"},
        region_damage{"abi_major", [](region_image& r) { r.page(1).abi_major = 7; },
                      CLOCKPAGE_E_VERSION, "data page 2: abi_major is 7"},
        region_damage{"size", [](region_image& r) { r.page().size = 4095; }, CLOCKPAGE_E_LAYOUT,
                      "data page 0: size"},
        region_damage{"segment_count", [](region_image& r) { r.page().segment_count = 17; },
                      CLOCKPAGE_E_LAYOUT, "data page 0: segment_count"},
        region_damage{"segment_size", [](region_image& r) { r.page().segment_size = 200; },
                      CLOCKPAGE_E_LAYOUT, "data page 0: segment_size"},
        region_damage{"segment_offset", [](region_image& r) { r.page().segment_offset = 0; },
                      CLOCKPAGE_E_LAYOUT, "data page 0: segment_offset"},
        region_damage{"delta_shift", [](region_image& r) { r.page().delta_shift = 33; },
                      CLOCKPAGE_E_LAYOUT, "data page 0: delta_shift"},
        region_damage{"scale_ratio", [](region_image& r) { r.page(1).scale_ratio = 0; },
                      CLOCKPAGE_E_LAYOUT, "data page 2: scale_ratio"},
        region_damage{"scale_frac_bits", [](region_image& r) { r.page(1).scale_frac_bits = 64; },
                      CLOCKPAGE_E_LAYOUT, "data page 2: scale_frac_bits"},
        region_damage{"ratio_of_an_unscaled_page",
                      [](region_image& r) { r.page(0, 1).scale_ratio = 2; }, CLOCKPAGE_E_LAYOUT,
                      "data page 1: an unscaled page has a scale_ratio"},
        region_damage{"frac_bits_of_an_unscaled_page",
                      [](region_image& r) { r.page(0, 1).scale_frac_bits = 32; },
                      CLOCKPAGE_E_LAYOUT, "data page 1: an unscaled page has a scale_ratio"},
        region_damage{"counter_frequency_hz",
                      [](region_image& r) { r.page().counter_frequency_hz = 0; },
                      CLOCKPAGE_E_LAYOUT, "data page 0: counter_frequency_hz"},
        region_damage{"counter_kind",
                      [](region_image& r) { r.page().counter_kind = this_counter_kind ^ 1; },
                      CLOCKPAGE_E_COUNTER, "data page 0: counter_kind is"},
        region_damage{"format", [](region_image& r) { r.page(1).format = 0; }, CLOCKPAGE_E_LAYOUT,
                      "data page 2: format is 0, the directory's 1"},
        region_damage{"smear_on_an_unsmeared_page", [](region_image& r) { r.page().smear = 1; },
                      CLOCKPAGE_E_LAYOUT, "data page 0: smear is 1, the directory's 0"},
        region_damage{"start_of_no_smear", [](region_image& r) { r.page().smear_start_s = -1; },
                      CLOCKPAGE_E_LAYOUT, "data page 0: smear 0 does not begin at -1 s"},
        region_damage{"length_of_no_smear", [](region_image& r) { r.page(1).smear_length_s = 1; },
                      CLOCKPAGE_E_LAYOUT, "data page 2: smear 0 does not begin at 0 s and last 1"},
        region_damage{"start_of_the_noon_smear",
                      [](region_image& r) { r.page(0, 1).smear_start_s++; }, CLOCKPAGE_E_LAYOUT,
                      "data page 1: smear 1 does not begin at -43199 s"},
        region_damage{"length_of_the_noon_smear",
                      [](region_image& r) { r.page(1, 1).smear_length_s = 0; }, CLOCKPAGE_E_LAYOUT,
                      "data page 3: smear 1 does not begin at -43200 s and last 0 s"},
        region_damage{"kind_of_the_smear", [](region_image& r) { r.page(0, 1).smear = 2; },
                      CLOCKPAGE_E_LAYOUT, "data page 1: smear 2 does not begin at -43200 s"},
        region_damage{
            "smear_parameters_in_abi_1_0", [](region_image& r) { r.page(0, 1).abi_minor = 0; },
            CLOCKPAGE_E_LAYOUT,
            "data page 1: smear 1 does not begin at -43200 s and last 86400 s in ABI 1.0"},
        region_damage{"smear_unknown", [](region_image& r) { r.page(0, 1).smear = 4; },
                      CLOCKPAGE_E_LAYOUT, "data page 1: smear is 4"},
        region_damage{"generation", [](region_image& r) { r.page(0, 1).generation--; },
                      CLOCKPAGE_E_LAYOUT, "data page 1: generation is not the directory's"},
        region_damage{"index", [](region_image& r) { r.page(0, 1).index++; }, CLOCKPAGE_E_LAYOUT,
                      "data page 1: index names no segment"}),
    damage_name);

TEST(ValidateRegionTest, AcceptsASmearedPageThatDoesNotSmearYet) {
  region_image image;
  set_smear(image.page(CLOCKPAGE_FORMAT_UNSCALED, 1), {CLOCKPAGE_SMEAR_NONE, {}, 0, 0});
  EXPECT_EQ(validate(image, nullptr), CLOCKPAGE_OK);
}

// Whole seconds on either side of each limit of a linear smear.
TEST(ValidateRegionTest, AcceptsALinearSmearThatTouchesItsLeapSecondAndNoOther) {
  const struct {
    std::int32_t start_s;
    std::uint32_t length_s;
    bool good;
  } cases[] = {{-100, 100, true},       {0, 100, true},          {-50, 100, true},
               {-101, 100, false},      {1, 100, false},         {0, 99, false},
               {-99, 99, false},        {0, 0, false},           {-1209600, 1209600, true},
               {0, 1209600, true},      {0, 1209601, false},     {0, 0xffffffff, false},
               {INT32_MIN, 100, false}, {INT32_MAX, 100, false}, {INT32_MIN, 0x80000000, false}};
  for (const auto& c : cases) {
    region_image image;
    clockpage_data_page& page = image.page(CLOCKPAGE_FORMAT_SCALED, 1);
    set_smear(page, {CLOCKPAGE_SMEAR_LINEAR, {}, c.start_s, c.length_s});
    const int expected = c.good ? CLOCKPAGE_OK : CLOCKPAGE_E_LAYOUT;
    clockpage_open_error error;
    EXPECT_EQ(validate(image, &error), expected) << c.start_s << " " << c.length_s;
    EXPECT_EQ(std::string(error.where).find("data page 3") == std::string::npos, c.good);
    clockpage_smear smear{};
    ASSERT_EQ(clockpage_smear_of(&page, &smear), expected);
    EXPECT_EQ(smear.start_s, c.good ? c.start_s : 0);
    EXPECT_EQ(smear.length_s, c.good ? c.length_s : 0u);
  }
}

TEST(SmearOfTest, SaysWhichSmearAPageIsOn) {
  region_image image;
  clockpage_smear smear;
  std::memset(&smear, 0xff, sizeof smear);
  ASSERT_EQ(clockpage_smear_of(&image.page(), &smear), CLOCKPAGE_OK);
  EXPECT_EQ(smear.kind, CLOCKPAGE_SMEAR_NONE);
  EXPECT_EQ(smear.start_s, 0);
  EXPECT_EQ(smear.length_s, 0u);
  ASSERT_EQ(clockpage_smear_of(&image.page(0, 1), &smear), CLOCKPAGE_OK);
  EXPECT_EQ(smear.kind, CLOCKPAGE_SMEAR_NOON);
  EXPECT_EQ(smear.start_s, -43200);
  EXPECT_EQ(smear.length_s, 86400u);
  set_smear(image.page(0, 1), {CLOCKPAGE_SMEAR_UTC_SLS, {}, -1000, 1000});
  ASSERT_EQ(clockpage_smear_of(&image.page(0, 1), &smear), CLOCKPAGE_OK);
  EXPECT_EQ(smear.kind, CLOCKPAGE_SMEAR_UTC_SLS);
}

TEST(SmearOfTest, KnowsTheNamedSmearsOfAbi10WhereTheirParametersAreNotInThePage) {
  region_image image;
  clockpage_data_page& page = image.page(0, 1);
  page.abi_minor = 0;
  set_smear(page, {CLOCKPAGE_SMEAR_NOON, {}, 0, 0});
  EXPECT_EQ(validate(image, nullptr), CLOCKPAGE_OK);
  clockpage_smear smear{};
  ASSERT_EQ(clockpage_smear_of(&page, &smear), CLOCKPAGE_OK);
  EXPECT_EQ(smear.start_s, -43200);
  EXPECT_EQ(smear.length_s, 86400u);
  page.smear = CLOCKPAGE_SMEAR_LINEAR;  // whichever
  EXPECT_EQ(validate(image, nullptr), CLOCKPAGE_E_LAYOUT);
  EXPECT_EQ(clockpage_smear_of(&page, &smear), CLOCKPAGE_E_LAYOUT);
}

TEST(SmearOfTest, RefusesNullAndUnknownKindsAndLeavesTheResultAlone) {
  region_image image;
  clockpage_smear smear{7, {}, 8, 9};
  EXPECT_EQ(clockpage_smear_of(nullptr, &smear), CLOCKPAGE_E_ARGUMENT);
  EXPECT_EQ(clockpage_smear_of(&image.page(), nullptr), CLOCKPAGE_E_ARGUMENT);
  image.page().smear = 200;
  EXPECT_EQ(clockpage_smear_of(&image.page(), &smear), CLOCKPAGE_E_LAYOUT);
  EXPECT_EQ(smear.kind, 7);
  EXPECT_EQ(smear.start_s, 8);
}

TEST(ValidateRegionTest, AcceptsWhatALaterMinorVersionMayAdd) {
  region_image image;
  image.directory().abi_minor = 9;
  image.directory().features = ~std::uint64_t{0};
  image.directory().reserved1[0] = 1;
  image.page().abi_minor = 9;
  image.page().reserved1[3] = 1;
  EXPECT_EQ(validate(image, nullptr), CLOCKPAGE_OK);
}

TEST(ValidateRegionTest, RefusesEveryOtherLength) {
  const region_image image;
  clockpage_open_error error;
  for (std::size_t length :
       {std::size_t{0}, std::size_t{4096}, std::size_t{32767}, std::size_t{32769}}) {
    EXPECT_EQ(clockpage_validate_region(image.bytes().data(), length, &error), CLOCKPAGE_E_SIZE);
    EXPECT_EQ(std::string(error.where), "size is " + std::to_string(length) + " bytes, not 32768");
  }
}

TEST(ValidateRegionTest, RefusesNullAndUnalignedBytes) {
  const region_image image;
  EXPECT_EQ(clockpage_validate_region(nullptr, CLOCKPAGE_REGION_SIZE, nullptr),
            CLOCKPAGE_E_ARGUMENT);
  EXPECT_EQ(clockpage_validate_region(image.bytes().data() + 4, CLOCKPAGE_REGION_SIZE, nullptr),
            CLOCKPAGE_E_ARGUMENT);
}

// Random bytes never pass; nor do random bytes in a header that is valid otherwise crash
// anything, validated or read.
TEST(ValidateRegionTest, SurvivesGarbage) {
  std::mt19937_64 random(seed_of_this_test());
  const region_image valid;
  for (int round = 0; round < 200; round++) {
    region_image image = valid;
    for (std::byte& byte : image.bytes()) byte = static_cast<std::byte>(random());
    EXPECT_EQ(validate(image, nullptr), CLOCKPAGE_E_MAGIC);
  }
  unsigned accepted = 0;
  for (int round = 0; round < 5000; round++) {
    region_image image = valid;
    for (int i = 0; i < 3; i++) {
      const std::size_t page = random() % 5;
      const std::size_t header = page == 0 ? 0x90 : 0x110;
      image.bytes()[page * 4096 + random() % header] ^= static_cast<std::byte>(1u << random() % 8);
    }
    if (validate(image, nullptr) != CLOCKPAGE_OK) continue;
    accepted++;  // reserved bytes, identities
    clockpage_time time;
    const clockpage_reader reader = image.reader();
    const int code = clockpage_now_bounds(&reader, CLOCKPAGE_REALTIME, &time);
    EXPECT_TRUE(code == CLOCKPAGE_OK || code == CLOCKPAGE_E_REVOKED ||
                code == CLOCKPAGE_E_OUT_OF_RANGE);
  }
  EXPECT_GT(accepted, 0u);
  EXPECT_LT(accepted, 5000u);
}

// ---- the view --------------------------------------------------------------------------

TEST(ValidateViewTest, AcceptsTheSyntheticView) {
  region_image region;
  view_image view;
  clockpage_open_error error;
  EXPECT_EQ(clockpage_validate_view(view.bytes().data(), 4096, &region.directory(), &error), 0)
      << error.where;
  EXPECT_EQ(clockpage_validate_view(view.bytes().data(), 4096, nullptr, &error), 0) << error.where;
}

class DamagedViewTest : public testing::TestWithParam<view_damage> {};

TEST_P(DamagedViewTest, IsRefusedWithItsReason) {
  region_image region;
  view_image view;
  GetParam().apply(view);
  clockpage_open_error error;
  EXPECT_EQ(clockpage_validate_view(view.bytes().data(), 4096, &region.directory(), &error),
            GetParam().code)
      << error.where;
  EXPECT_EQ(error.code, GetParam().code);
  EXPECT_NE(std::string(error.where).find(GetParam().reason), std::string::npos) << error.where;
}

INSTANTIATE_TEST_SUITE_P(
    View, DamagedViewTest,
    testing::Values(view_damage{"magic", [](view_image& v) { v.page().magic[5] = 'D'; },
                                CLOCKPAGE_E_MAGIC, "magic is not CLKPGVEW"},
                    view_damage{"abi_major", [](view_image& v) { v.page().abi_major = 0; },
                                CLOCKPAGE_E_VERSION, "abi_major is 0"},
                    view_damage{"size_small", [](view_image& v) { v.page().size = 1023; },
                                CLOCKPAGE_E_LAYOUT, "size is 1023"},
                    view_damage{"size_large", [](view_image& v) { v.page().size = 4097; },
                                CLOCKPAGE_E_LAYOUT, "size is 4097"},
                    view_damage{"generation", [](view_image& v) { v.page().generation ^= 1; },
                                CLOCKPAGE_E_STALE, "generation is not the region's"},
                    view_damage{"slot_count", [](view_image& v) { v.page().slot_count = 8; },
                                CLOCKPAGE_E_LAYOUT, "slot_count is 8"},
                    view_damage{"slot_size", [](view_image& v) { v.page().slot_size = 64; },
                                CLOCKPAGE_E_LAYOUT, "slot_size is 64"},
                    view_damage{"index", [](view_image& v) { v.page().index++; },
                                CLOCKPAGE_E_LAYOUT, "index names no slot"},
                    view_damage{"counter_ratio",
                                [](view_image& v) {
                                  v.newest().counter_ratio = 0;
                                  v.newest().counter_frac_bits = 48;
                                },
                                CLOCKPAGE_E_LAYOUT, "counter_ratio is 0 with fraction bits"},
                    view_damage{"counter_ratio_without_bits",
                                [](view_image& v) { v.newest().counter_ratio = 2; },
                                CLOCKPAGE_E_LAYOUT, "counter_ratio is 2 without fraction bits"},
                    view_damage{"counter_frac_bits",
                                [](view_image& v) { v.newest().counter_frac_bits = 33; },
                                CLOCKPAGE_E_LAYOUT, "counter_frac_bits is 33"},
                    view_damage{"format", [](view_image& v) { v.newest().format = 2; },
                                CLOCKPAGE_E_LAYOUT, "no page of format 2"}),
    damage_name);

TEST(ValidateViewTest, RefusesEveryOtherLength) {
  view_image view;
  clockpage_open_error error;
  EXPECT_EQ(clockpage_validate_view(view.bytes().data(), 4095, nullptr, &error), CLOCKPAGE_E_SIZE);
  EXPECT_STREQ(error.where, "size is 4095 bytes, not 4096");
  EXPECT_EQ(clockpage_validate_view(view.bytes().data(), 0, nullptr, nullptr), CLOCKPAGE_E_SIZE);
  EXPECT_EQ(clockpage_validate_view(nullptr, 4096, nullptr, nullptr), CLOCKPAGE_E_ARGUMENT);
}

}  // namespace
}  // namespace clockpage::test
