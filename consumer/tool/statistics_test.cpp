// SPDX-License-Identifier: MIT
#include "statistics.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <vector>

namespace clockpage::tool {
namespace {

std::unique_ptr<Histogram> histogram_of(const std::vector<int64_t>& values) {
  auto histogram = std::make_unique<Histogram>();
  for (int64_t value : values) histogram->add(value);
  return histogram;
}

// Nearest rank, from the definition.
int64_t quantile_by_sorting(std::vector<int64_t> values, double share) {
  std::sort(values.begin(), values.end());
  auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(values.size()) - 1e-9));
  return values[std::max<size_t>(rank, 1) - 1];
}

TEST(HistogramTest, IsAllZeroWithoutValues) {
  auto histogram = histogram_of({});
  EXPECT_EQ(histogram->count(), 0u);
  EXPECT_EQ(histogram->quantile(500'000), 0);
  EXPECT_EQ(histogram->magnitude_quantile(999'000), 0u);
  EXPECT_EQ(histogram->max_magnitude(), 0u);
}

TEST(HistogramTest, GivesTheNearestRank) {
  auto histogram = histogram_of({-3, -1, 0, 2, 10});
  EXPECT_EQ(histogram->quantile(1), -3);
  EXPECT_EQ(histogram->quantile(200'000), -3);
  EXPECT_EQ(histogram->quantile(200'001), -1);
  EXPECT_EQ(histogram->quantile(500'000), 0);
  EXPECT_EQ(histogram->quantile(1'000'000), 10);
  EXPECT_EQ(histogram->magnitude_quantile(500'000), 2u);
  EXPECT_EQ(histogram->magnitude_quantile(600'000), 2u);
  EXPECT_EQ(histogram->magnitude_quantile(999'000), 10u);
}

TEST(HistogramTest, P999SeesTheOneInAThousandAndNotLess) {
  std::vector<int64_t> values(1000, 1);
  values.back() = 500;
  EXPECT_EQ(histogram_of(values)->magnitude_quantile(999'000), 1u);
  values[0] = 500;
  EXPECT_EQ(histogram_of(values)->magnitude_quantile(999'000), 500u);
}

TEST(HistogramTest, IsExactInTheSmallAndWithinATenthOfAPercentInTheLarge) {
  std::mt19937_64 random(7);
  for (int64_t span : {int64_t{40}, int64_t{2047}, int64_t{5'000'000}, int64_t{1} << 60}) {
    std::uniform_int_distribution<int64_t> draw(-span, span);
    std::vector<int64_t> values(5000);
    for (int64_t& value : values) value = draw(random);
    auto histogram = histogram_of(values);
    for (uint64_t ppm : {1'000u, 250'000u, 500'000u, 999'000u, 1'000'000u}) {
      const int64_t right = quantile_by_sorting(values, static_cast<double>(ppm) / 1e6);
      const int64_t error = std::abs(histogram->quantile(ppm) - right);
      EXPECT_LE(error, span < 2048 ? 0 : std::abs(right) / 1024 + 1) << span << " " << ppm;
    }
    EXPECT_EQ(histogram->min(), *std::min_element(values.begin(), values.end()));
    EXPECT_EQ(histogram->max(), *std::max_element(values.begin(), values.end()));
  }
}

TEST(HistogramTest, TakesTheExtremes) {
  constexpr int64_t kLowest = std::numeric_limits<int64_t>::min();
  constexpr int64_t kHighest = std::numeric_limits<int64_t>::max();
  auto histogram = histogram_of({kLowest, kHighest, 0});
  EXPECT_EQ(histogram->quantile(1), kLowest);
  EXPECT_EQ(histogram->quantile(500'000), 0);
  EXPECT_EQ(histogram->quantile(1'000'000), kHighest);
  EXPECT_EQ(histogram->max_magnitude(), uint64_t{1} << 63);
  EXPECT_EQ(histogram->magnitude_quantile(1'000'000), uint64_t{1} << 63);
}

TEST(HistogramTest, CountsBetweenTwoValuesInclusive) {
  auto histogram = histogram_of({-5, -5, -1, 0, 0, 0, 1, 7});
  EXPECT_EQ(histogram->count_between(-5, 7), 8u);
  EXPECT_EQ(histogram->count_between(-5, -1), 3u);
  EXPECT_EQ(histogram->count_between(-4, 0), 4u);
  EXPECT_EQ(histogram->count_between(0, 0), 3u);
  EXPECT_EQ(histogram->count_between(1, 6), 1u);
  EXPECT_EQ(histogram->count_between(2, 1), 0u);
}

TEST(HistogramTextTest, ShowsEveryValueOnceTailsIncluded) {
  std::vector<int64_t> values;
  for (int64_t i = 0; i < 10'000; i++) values.push_back(i % 7 - 3);
  values.push_back(100'000);
  values.push_back(-100'000);
  const std::string text = histogram_text(*histogram_of(values));
  EXPECT_NE(text.find("below -3 ns"), std::string::npos) << text;
  EXPECT_NE(text.find("above 3 ns"), std::string::npos) << text;
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 9) << text;
}

TEST(HistogramTextTest, KeepsToItsRowsWhateverTheSpan) {
  std::vector<int64_t> values;
  for (int64_t i = 0; i < 10'000; i++) values.push_back(i * 1'000'003);
  const std::string text = histogram_text(*histogram_of(values), 10);
  EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 12) << text;
}

TEST(HistogramTextTest, SaysThatThereIsNothing) {
  EXPECT_EQ(histogram_text(*histogram_of({})), "  (no samples)\n");
}

}  // namespace
}  // namespace clockpage::tool
