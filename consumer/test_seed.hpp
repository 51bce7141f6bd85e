// SPDX-License-Identifier: MIT
//
// The seed of a randomised test: CLOCKPAGE_SEED, else a new one; printed with the line that runs
// the same again.
#pragma once

#include <errno.h>  // program_invocation_name
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>

namespace clockpage {

inline std::uint64_t seed_of_this_test() {
  const char* given = std::getenv("CLOCKPAGE_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
  const ::testing::TestInfo* test = ::testing::UnitTest::GetInstance()->current_test_info();
  std::cout << "seed " << seed << "; again: CLOCKPAGE_SEED=" << seed << ' '
            << program_invocation_name << " --gtest_filter=" << test->test_suite_name() << '.'
            << test->name() << std::endl;
  return seed;
}

}  // namespace clockpage
