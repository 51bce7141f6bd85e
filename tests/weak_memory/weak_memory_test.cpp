// SPDX-License-Identifier: MIT
// The reader and the writer as they are compiled into everything else, in every execution that the
// C11 memory model allows of each scenario; and each of their orderings weakened alone, which must
// break a property by name: else the ordering is not needed, or not looked at.
#include <gtest/gtest.h>

#include <iostream>

#include "scenarios.hpp"

namespace clockpage::weak_memory {
namespace {

class WeakMemoryTest : public testing::TestWithParam<std::string> {};

TEST_P(WeakMemoryTest, KeepsEveryPropertyInEveryExecution) {
  const Exploration found = scenario(GetParam()).explore(Mutation::none);
  EXPECT_EQ(found.violation, "");
  EXPECT_GT(found.executions, 1U);
  std::cout << GetParam() << ": " << found.executions << " executions judged, " << found.merged
            << " more merged with one of them\n";
}

std::vector<std::string> names() {
  std::vector<std::string> result;
  for (const Scenario& s : scenarios()) result.emplace_back(s.name);
  return result;
}

INSTANTIATE_TEST_SUITE_P(Scenario, WeakMemoryTest, testing::ValuesIn(names()),
                         [](const auto& test) { return test.param; });

struct Mutant {
  const char* name;
  Mutation mutation;
  const char* scenario;
  const char* broken;  // the property, as a violation begins
};

// gtest prints a parameter by this.
void PrintTo(const Mutant& mutant, std::ostream* out) { *out << mutant.name; }

class WeakMemoryMutantTest : public testing::TestWithParam<Mutant> {};

TEST_P(WeakMemoryMutantTest, IsRejected) {
  const Exploration found = scenario(GetParam().scenario).explore(GetParam().mutation);
  EXPECT_EQ(found.violation.substr(0, found.violation.find(':')), GetParam().broken);
  std::cout << GetParam().name << ": execution " << found.executions + found.merged << " of "
            << GetParam().scenario << " breaks \"" << found.violation << "\"\n";
}

// The release of the index must be looked at on the last page: on the others the fences before the
// fills of the pages after it, which come between fill and index, release it too.
constexpr Mutant kMutants[] = {
    {"P1WriterStoresTheIndexRelaxed", Mutation::publish_relaxed, "NewestSegmentsOfTheLastPage",
     "no tearing"},
    {"P1ReaderLoadsTheIndexRelaxedInTheFirstPass", Mutation::index_relaxed_first,
     "NewestSegmentsOfTheFirstPage", "no tearing"},
    {"P1ReaderLoadsTheIndexRelaxedInLaterPasses", Mutation::index_relaxed_again,
     "OnceRoundTheRingAt", "no tearing"},
    {"P1ReaderLoadsTheIndexRelaxedInAtMany", Mutation::index_relaxed_first, "ManyAtTheFarEnd",
     "no tearing"},
    {"P2WriterHasNoFenceBeforeTheFill", Mutation::fill_unfenced, "OnceRoundTheRingAt",
     "no tearing"},
    {"P2WriterHasNoFenceBeforeTheFillAtTheFarEnd", Mutation::fill_unfenced, "FarEndOfTheHistory",
     "history"},
    {"P2ReaderHasNoFenceInTheFirstPass", Mutation::recheck_unfenced_first, "OnceRoundTheRingAt",
     "no tearing"},
    {"P2ReaderHasNoFenceInLaterPasses", Mutation::recheck_unfenced_again, "OnceRoundTheRingAt",
     "no tearing"},
    {"P2ReaderHasNoFenceInLaterPassesAtTheFarEnd", Mutation::recheck_unfenced_again,
     "FarEndOfTheHistory", "history"},
    {"P2ReaderHasNoFenceInAtMany", Mutation::recheck_unfenced_first, "ManyAtTheFarEnd",
     "no tearing"},
    {"TheFirstPassDoesNotLookAgain", Mutation::no_recheck_first, "OnceRoundTheRingAt",
     "no tearing"},
    {"LaterPassesDoNotLookAgain", Mutation::no_recheck_again, "OnceRoundTheRingAt", "no tearing"},
    {"AtManyDoesNotLookAgain", Mutation::no_recheck_first, "ManyAtTheFarEnd", "no tearing"},
    {"TheIndexIsStoredBeforeTheSlotIsFilled", Mutation::index_before_fill,
     "NewestSegmentsOfTheFirstPage", "no tearing"},
    {"AHistoryOf15", Mutation::history_of_15, "FarEndOfTheHistory", "no tearing"},
    {"ReadersThatDoNotSynchroniseMayGoBack", Mutation::not_handed_over,
     "TwoReadersOneAfterTheOther", "order"},
    {"ReadersThatDoNotSynchroniseMayMissAWithdrawal", Mutation::not_handed_over, "Revoked",
     "revoked"},
};

INSTANTIATE_TEST_SUITE_P(Mutant, WeakMemoryMutantTest, testing::ValuesIn(kMutants),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace clockpage::weak_memory
