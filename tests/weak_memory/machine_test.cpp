// SPDX-License-Identifier: MIT
// The machine by the litmus tests of the literature, and against the axioms.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <random>

#include "axioms.hpp"

namespace clockpage::weak_memory {
namespace {

constexpr std::size_t x = 0, y = 1, z = 2, w = 3;
constexpr Order relaxed = Order::relaxed, acquire = Order::acquire, release = Order::release;

Event store(std::size_t thread, std::size_t location, std::uint64_t value, Order order = relaxed) {
  return {Event::Kind::store, thread, location, value, order};
}
Event update(std::size_t thread, std::size_t location, std::uint64_t value, Order order = relaxed) {
  return {Event::Kind::update, thread, location, value, order};
}
Event load(std::size_t thread, std::size_t location, Order order = relaxed) {
  return {Event::Kind::load, thread, location, 0, order};
}
Event fence(std::size_t thread, Order order) { return {Event::Kind::fence, thread, 0, 0, order}; }

// Whether both forms of the model allow the outcome. They must agree about all others, too.
bool allows(const Program& program, const Outcome& outcome) {
  const std::set<Outcome> by_machine = outcomes_by_machine(program);
  EXPECT_EQ(by_machine, outcomes_by_axioms(program));
  return by_machine.contains(outcome);
}

const Outcome stale{1, 0};  // the flag, but not what was stored before it

TEST(MessagePassingTest, MayBeStaleIfRelaxed) {
  const Program program{store(0, x, 1), store(0, y, 1), load(1, y), load(1, x)};
  EXPECT_TRUE(allows(program, stale));
  EXPECT_EQ(outcomes_by_machine(program).size(), 4U);
}

TEST(MessagePassingTest, IsNeverStaleWithReleaseAndAcquire) {
  EXPECT_FALSE(
      allows({store(0, x, 1), store(0, y, 1, release), load(1, y, acquire), load(1, x)}, stale));
}

TEST(MessagePassingTest, NeedsBothSides) {
  EXPECT_TRUE(allows({store(0, x, 1), store(0, y, 1, release), load(1, y), load(1, x)}, stale));
  EXPECT_TRUE(allows({store(0, x, 1), store(0, y, 1), load(1, y, acquire), load(1, x)}, stale));
}

TEST(MessagePassingTest, IsNeverStaleWithTwoFences) {
  EXPECT_FALSE(allows({store(0, x, 1), fence(0, release), store(0, y, 1), load(1, y),
                       fence(1, acquire), load(1, x)},
                      stale));
}

TEST(MessagePassingTest, NeedsBothFencesInTheirPlaces) {
  EXPECT_TRUE(
      allows({store(0, x, 1), fence(0, release), store(0, y, 1), load(1, y), load(1, x)}, stale));
  EXPECT_TRUE(
      allows({store(0, x, 1), store(0, y, 1), load(1, y), fence(1, acquire), load(1, x)}, stale));
  EXPECT_TRUE(allows({fence(0, release), store(0, x, 1), store(0, y, 1), load(1, y),
                      fence(1, acquire), load(1, x)},
                     stale));
  EXPECT_TRUE(allows({store(0, x, 1), fence(0, release), store(0, y, 1), fence(1, acquire),
                      load(1, y), load(1, x)},
                     stale));
}

TEST(MessagePassingTest, MayMixAFenceWithAnOperation) {
  EXPECT_FALSE(allows(
      {store(0, x, 1), fence(0, release), store(0, y, 1), load(1, y, acquire), load(1, x)}, stale));
  EXPECT_FALSE(allows(
      {store(0, x, 1), store(0, y, 1, release), load(1, y), fence(1, acquire), load(1, x)}, stale));
}

// A release store orders what comes before it, not what comes after: why P2 is a fence.
TEST(MessagePassingTest, AReleaseStoreDoesNotHoldBackLaterStores) {
  EXPECT_TRUE(allows(
      {store(0, x, 1, release), store(0, y, 1), load(1, y), fence(1, acquire), load(1, x)}, stale));
}

TEST(CoherenceTest, ForbidsReadingBackwards) {
  EXPECT_FALSE(allows({store(0, x, 1), store(0, x, 2), load(1, x), load(1, x)}, {2, 1}));
  EXPECT_TRUE(allows({store(0, x, 1), store(0, x, 2), load(1, x), load(1, x)}, {1, 2}));
}

TEST(CoherenceTest, HoldsAcrossThreadsThatSynchronise) {
  EXPECT_FALSE(
      allows({store(0, x, 1), load(1, x), store(1, y, 1, release), load(2, y, acquire), load(2, x)},
             {1, 1, 0}));
  EXPECT_TRUE(allows({store(0, x, 1), load(1, x), store(1, y, 1), load(2, y, acquire), load(2, x)},
                     {1, 1, 0}));
}

TEST(CoherenceTest, LetsAThreadReadItsOwnStore) {
  EXPECT_FALSE(allows({store(0, x, 1), store(0, x, 2), load(0, x)}, {1}));
}

TEST(StoreBufferingTest, MayReadStaleOnBothSidesEvenWithReleaseAndAcquire) {
  EXPECT_TRUE(allows(
      {store(0, x, 1, release), store(1, y, 1, release), load(0, y, acquire), load(1, x, acquire)},
      {0, 0}));
}

TEST(IndependentReadersTest, MayDisagreeAboutTheOrderOfTwoWriters) {
  EXPECT_TRUE(allows({store(0, x, 1, release), store(1, y, 1, release), load(2, x, acquire),
                      load(2, y, acquire), load(3, y, acquire), load(3, x, acquire)},
                     {1, 0, 1, 0}));
}

TEST(CausalityTest, IsTransitiveThroughAThirdThread) {
  EXPECT_FALSE(allows({store(0, x, 1), store(0, y, 1, release), load(1, y, acquire),
                       store(1, z, 1, release), load(2, z, acquire), load(2, x)},
                      {1, 1, 0}));
}

TEST(ReleaseSequenceTest, GoesOnThroughAnUpdateOfAnotherThread) {
  const auto program = [](Order order) {
    return Program{store(0, x, 1), store(0, y, 1, order), update(1, y, 2), load(2, y, acquire),
                   load(2, x)};
  };
  EXPECT_FALSE(allows(program(release), {2, 0}));
  EXPECT_TRUE(allows(program(relaxed), {2, 0}));
}

TEST(ReleaseSequenceTest, EndsAtAPlainStore) {
  EXPECT_TRUE(allows(
      {store(0, x, 1), store(0, y, 1, release), store(0, y, 2), load(2, y, acquire), load(2, x)},
      {2, 0}));
}

TEST(ReleaseSequenceTest, BeginsAtAFenceToo) {
  EXPECT_FALSE(allows({store(0, x, 1), fence(0, release), store(0, y, 1), update(1, y, 2),
                       load(2, y, acquire), load(2, x)},
                      {2, 0}));
}

// The protocol's two pairs with one slot of two words: nothing torn, and each weakening shows.
TEST(SequenceTest, NeedsEachOfItsFourOrderings) {
  const Outcome torn{1, 2, 1, 1};  // index, a word of the refill, one of before, index
  for (int weak = 0; weak < 5; weak++) {
    Program program{store(0, x, 1), store(0, y, 1), update(0, z, 1, weak == 1 ? relaxed : release),
                    update(0, z, 2, release)};
    if (weak != 2) program.push_back(fence(0, release));
    program.insert(program.end(),
                   {store(0, x, 2), store(0, y, 2), load(1, z, weak == 3 ? relaxed : acquire),
                    load(1, x), load(1, y)});
    if (weak != 4) program.push_back(fence(1, acquire));
    program.push_back(load(1, z));
    EXPECT_EQ(allows(program, torn), weak == 2 || weak == 4) << weak;
    EXPECT_EQ(allows(program, {1, 0, 1, 1}), weak == 1 || weak == 3) << weak;
  }
}

// ---- random programs ------------------------------------------------------------------------

class RandomProgram {
 public:
  explicit RandomProgram(std::uint64_t seed) : random_(seed) {}

  // Thread 0 owns x and y, thread 1 owns z and updates x, thread 2 owns w. Each loads only what
  // threads before it, or itself, store.
  Program make() {
    program_.clear();
    value_ = 0;
    for (std::uint64_t i = 2 + below(4); i > 0; i--) writes(0, below(2));
    for (std::uint64_t i = below(4); i > 0; i--) {
      if (below(2) == 0)
        loads(1, below(2));
      else if (below(3) == 0)
        program_.push_back(update(1, x, ++value_, any()));
      else
        writes(1, z);
    }
    for (std::uint64_t i = 1 + below(4); i > 0; i--) {
      if (below(4) == 0)
        writes(2, w);
      else
        loads(2, below(3));
    }
    for (std::uint64_t i = below(3); i > 0; i--) loads(3, below(4));
    return program_;
  }

 private:
  std::uint64_t below(std::uint64_t n) { return random_() % n; }
  Order any() { return std::array{relaxed, acquire, release, Order::acquire_release}[below(4)]; }
  void writes(std::size_t thread, std::size_t location) {
    const Order order = below(2) == 0 ? relaxed : release;
    if (below(3) == 0) program_.push_back(fence(thread, any()));
    program_.push_back(below(3) == 0 ? update(thread, location, ++value_, order)
                                     : store(thread, location, ++value_, order));
  }
  void loads(std::size_t thread, std::size_t location) {
    program_.push_back(load(thread, location, below(2) == 0 ? relaxed : acquire));
    if (below(3) == 0) program_.push_back(fence(thread, any()));
  }

  std::mt19937_64 random_;
  Program program_;
  std::uint64_t value_ = 0;
};

TEST(RandomProgramTest, HasTheSameOutcomesByTheMachineAndByTheAxioms) {
  const char* given = std::getenv("CLOCKPAGE_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : 20261120;
  RandomProgram programs(seed);
  std::uint64_t executions = 0;
  std::size_t outcomes = 0;
  constexpr int kPrograms = 1000;
  for (int i = 0; i < kPrograms; i++) {
    const Program program = programs.make();
    const std::set<Outcome> by_machine = outcomes_by_machine(program, &executions);
    outcomes += by_machine.size();
    ASSERT_EQ(by_machine, outcomes_by_axioms(program))
        << "program " << i << ", CLOCKPAGE_SEED=" << seed << " weak_memory_machine_test";
  }
  std::cout << kPrograms << " random programs, " << executions << " executions, " << outcomes
            << " outcomes (CLOCKPAGE_SEED=" << seed << " weak_memory_machine_test)\n";
}

}  // namespace
}  // namespace clockpage::weak_memory
