// SPDX-License-Identifier: MIT
// What the tests of this folder have in common: a fault at each of the chosen instructions of a
// path, the score of that, and the readers' figures.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "lab.hpp"

namespace clockpage::fault {

// Skips where ptrace is not permitted.
class FaultTest : public testing::Test {
 protected:
  void SetUp() override;
};

struct Score {
  std::size_t aimed = 0, reached = 0, states = 0, apart = 0;
};

// The instructions to be tried. Short form: those behind a change of the region (to readers and to
// the next writer, a death anywhere between two changes is the same) and a sample of the others,
// another one in every run; CLOCKPAGE_SOAK=1: all.
std::vector<Instruction> chosen(const Path& path, std::mt19937_64& random);

// For a message: the path, the instruction, the seed.
std::string named(Kind kind, const Instruction& instruction);

// `fault` is given each chosen instruction, and says whether the daemon came by there.
Score along(const Path& path, Lab& lab, const std::function<bool(const Instruction&)>& fault);

// Prints the score, and demands that nearly all was reached and that some pages were apart.
void report(Kind kind, const char* fault, const Path& path, const Score& score);

// Prints the readers' figures, and demands that none of their checks was idle.
void report(const Tally& tally, const RegionMap& region);

}  // namespace clockpage::fault
