// SPDX-License-Identifier: MIT
// The C++ reader (clockpage/clockpage.hpp) over the golden vectors of spec/vectors.
#include <gtest/gtest.h>

#include <array>
#include <clockpage/clockpage.hpp>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace clockpage {
namespace {

struct Vector {
  int clock = 0;
  std::uint64_t counter = 0;
  int error = 0;
  std::int64_t ns = 0, earliest_ns = 0, latest_ns = 0;
  unsigned status = 0, reason = 0, flags = 0, leap_indicator = 0, smear = 0;
  std::uint64_t epoch = 0;
};

std::string path(const std::string& file) { return std::string(CLOCKPAGE_VECTORS_DIR "/") + file; }

std::vector<std::string> page_names() {
  std::ifstream list(path("pages.list"));
  std::vector<std::string> names;
  for (std::string name; list >> name;) names.push_back(name);
  return names;
}

std::vector<Vector> read_cases(const std::string& name) {
  std::ifstream file(path(name + ".cases"));
  std::vector<Vector> cases;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#')) continue;
    std::istringstream words(line);
    Vector v;
    words >> v.clock >> v.counter >> v.error;
    if (v.error == 0) {
      words >> v.ns >> v.earliest_ns >> v.latest_ns >> v.status >> v.reason >> v.flags >>
          v.leap_indicator >> v.smear >> v.epoch;
    }
    EXPECT_TRUE(words) << name << ": not a case: " << line;
    cases.push_back(v);
  }
  EXPECT_FALSE(cases.empty()) << name;
  return cases;
}

// One golden page in memory.
class GoldenPage {
 public:
  explicit GoldenPage(const std::string& name) : page_(std::make_unique<clockpage_data_page>()) {
    std::array<char, sizeof(clockpage_data_page)> bytes{};
    std::ifstream file(path(name + ".page"), std::ios::binary);
    EXPECT_TRUE(file.read(bytes.data(), bytes.size())) << name;
    std::memcpy(page_.get(), bytes.data(), bytes.size());
#if !defined(__x86_64__)
    // Made for the TSC, and refused; but for this byte nothing knows of it.
    EXPECT_EQ(clockpage_reader_init(&reader_, page_.get(), sizeof *page_), CLOCKPAGE_E_COUNTER)
        << name;
    page_->counter_kind = CLOCKPAGE_COUNTER_ARM_CNTVCT;
#endif
    EXPECT_EQ(clockpage_reader_init(&reader_, page_.get(), sizeof *page_), CLOCKPAGE_OK) << name;
  }
  [[nodiscard]] region open() const { return region(reader_); }

 private:
  std::unique_ptr<clockpage_data_page> page_;
  clockpage_reader reader_{};
};

class VectorsCppTest : public testing::TestWithParam<std::string> {
 protected:
  GoldenPage page_{GetParam()};
  region region_{page_.open()};
  std::vector<Vector> cases_{read_cases(GetParam())};

  // Calls check.template operator()<Clock>() for each clock that the page has.
  template <typename Check>
  void for_each_clock(Check check) const {
    if (!region_.is_smeared()) check.template operator()<realtime_clock>();
    check.template operator()<smeared_clock>();
    check.template operator()<monotonic_clock>();
    check.template operator()<monotonic_raw_clock>();
    check.template operator()<boottime_clock>();
    check.template operator()<tai_clock>();
  }

  template <typename Clock>
  [[nodiscard]] std::vector<Vector> cases_of() const {
    std::vector<Vector> of;
    for (const Vector& v : cases_) {
      if (v.clock == Clock::id) of.push_back(v);
    }
    return of;
  }
};

template <typename TimePoint>
std::int64_t ns_of(TimePoint time) {
  return time.time_since_epoch().count();
}

TEST_P(VectorsCppTest, AtGivesTheExpectedTimeOrError) {
  for_each_clock([&]<typename Clock>() {
    for (const Vector& v : cases_of<Clock>()) {
      const auto got = at<Clock>(region_, v.counter);
      ASSERT_EQ(got.code(), v.error) << "clock " << v.clock << " at " << v.counter;
      if (got) {
        EXPECT_EQ(ns_of(*got), v.ns) << "clock " << v.clock << " at " << v.counter;
      }
    }
  });
}

TEST_P(VectorsCppTest, AtBoundsGivesTheExpectedIntervalAndStatus) {
  for_each_clock([&]<typename Clock>() {
    for (const Vector& v : cases_of<Clock>()) {
      SCOPED_TRACE("clock " + std::to_string(v.clock) + " at " + std::to_string(v.counter));
      const auto got = at_bounds<Clock>(region_, v.counter);
      ASSERT_EQ(got.code(), v.error);
      if (!got) continue;
      EXPECT_EQ(ns_of(got.value()), v.ns);
      EXPECT_EQ(ns_of(got.earliest()), v.earliest_ns);
      EXPECT_EQ(ns_of(got.latest()), v.latest_ns);
      EXPECT_EQ(static_cast<unsigned>(got.status()), v.status);
      EXPECT_EQ(got.reason(), v.reason);
      EXPECT_EQ(got.flags(), v.flags);
      EXPECT_EQ(got.is_overdue(), (v.flags & CLOCKPAGE_TIME_OVERDUE) != 0);
      EXPECT_EQ(got.is_ambiguous(), (v.flags & CLOCKPAGE_TIME_AMBIGUOUS) != 0);
      EXPECT_EQ(got.is_host_in_smear(), (v.flags & CLOCKPAGE_TIME_HOST_IN_SMEAR) != 0);
      EXPECT_EQ(static_cast<unsigned>(got.leap_indicator()), v.leap_indicator);
      EXPECT_EQ(static_cast<unsigned>(got.smear()), v.smear);
      EXPECT_EQ(got.epoch(), v.epoch);
      EXPECT_EQ(got.counter(), v.counter);
    }
  });
}

TEST_P(VectorsCppTest, BulkConversionGivesTheSameUpToTheFirstError) {
  for_each_clock([&]<typename Clock>() {
    std::vector<std::uint64_t> counters;
    std::vector<std::int64_t> expected;
    int first_error = CLOCKPAGE_OK;
    for (const Vector& v : cases_of<Clock>()) {
      if (v.error == CLOCKPAGE_OK) {
        counters.push_back(v.counter);
        expected.push_back(v.ns);
      } else if (first_error == CLOCKPAGE_OK) {
        first_error = v.error;
      }
    }
    for (const Vector& v : cases_of<Clock>()) {
      if (v.error == first_error && first_error != CLOCKPAGE_OK) {
        counters.push_back(v.counter);
        break;
      }
    }
    std::vector<typename Clock::time_point> times(counters.size());
    const conversion done = at<Clock>(region_, counters, times);
    EXPECT_EQ(done.code, first_error);
    ASSERT_EQ(done.converted, expected.size());
    for (std::size_t i = 0; i < expected.size(); i++) {
      EXPECT_EQ(ns_of(times[i]), expected[i]) << "at " << counters[i];
    }
  });
}

TEST(VectorsCppTestList, NamesPages) { EXPECT_GE(page_names().size(), 20u); }

INSTANTIATE_TEST_SUITE_P(Golden, VectorsCppTest, testing::ValuesIn(page_names()),
                         [](const auto& page) { return page.param; });

}  // namespace
}  // namespace clockpage
