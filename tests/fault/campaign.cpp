// SPDX-License-Identifier: MIT
#include "campaign.hpp"

#include <iostream>

namespace clockpage::fault {
namespace {

// Of the instructions that change nothing, one in so many, from a random one on.
constexpr std::uint64_t kStride = 37;

}  // namespace

void FaultTest::SetUp() {
  const std::string reason = no_ptrace();
  if (!reason.empty()) GTEST_SKIP() << reason;
}

std::vector<Instruction> chosen(const Path& path, std::mt19937_64& random) {
  std::vector<Instruction> out;
  const std::uint64_t offset = random() % kStride;
  for (const Instruction& i : path)
    if (soak() || i.new_state || i.commits || i.number % kStride == offset) out.push_back(i);
  return out;
}

std::string named(Kind kind, const Instruction& i) {
  return std::string(name_of(kind)) + " path, instruction " + std::to_string(i.number) + " (" +
         i.function + "), seed " + std::to_string(seed());
}

Score along(const Path& path, Lab& lab, const std::function<bool(const Instruction&)>& fault) {
  Score score;
  for (const Instruction& target : chosen(path, lab.random())) {
    score.aimed++;
    if (!fault(target)) continue;
    score.reached++;
    score.states += target.new_state;
    score.apart += target.apart;
  }
  return score;
}

void report(Kind kind, const char* fault, const Path& path, const Score& score) {
  std::size_t states = 0;
  for (const Instruction& i : path) states += i.new_state;
  std::cout << name_of(kind) << " path: " << path.size() << " instructions, " << states
            << " of them change the region; " << fault << " at " << score.reached << " of "
            << score.aimed << " aimed at, " << score.states << " of these behind a change, "
            << score.apart << " with the pages apart" << std::endl;
  // Some depend on data: a carry, a step, a limit.
  EXPECT_GE(score.reached, score.aimed - score.aimed / 20);
  EXPECT_GE(score.states, states - states / 50);
  EXPECT_GE(score.apart, 3U) << "none between two pages' indices";
}

void report(const Tally& t, const RegionMap& region) {
  const clockpage_diagnostics& d = region.diagnostics();
  std::cout << "readers: " << t.reads << " reads (" << t.leased << " leased, " << t.overdue
            << " overdue, " << t.after_deadline << " after P + 2 L), " << t.exchanged
            << " exchanges in order, " << t.agreements
            << " of the other process's counter values evaluated, " << t.settled
            << " own ones again later, " << t.formats << " on another page; overdue values found "
            << "again " << t.bridged << ", contradicted by a late steering " << t.late_differs
            << "; busy " << t.busy << ", refused " << t.refused << "\nwriter: " << d.publications
            << " publications, " << d.bridges << " bridges, " << d.late_publications
            << " late ones, " << d.adoptions << " adoptions" << std::endl;
  EXPECT_GT(t.leased, 1000U);
  EXPECT_GT(t.overdue, 1000U);
  EXPECT_GT(t.after_deadline, 100U);
  EXPECT_GT(t.agreements, 1000U);
  EXPECT_GT(t.settled, 1000U);
  EXPECT_GT(t.formats, 1000U);
  EXPECT_GT(t.bridged, 10U);
  EXPECT_LE(t.busy, t.reads / 100'000);
  // G5: contradicted only by what has been counted as late.
  EXPECT_TRUE(t.late_differs == 0 || d.late_publications > 0);
}

}  // namespace clockpage::fault
