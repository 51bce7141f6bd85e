// SPDX-License-Identifier: MIT
#include "compose.hpp"

#include <gtest/gtest.h>

#include <random>
#include <stdexcept>

namespace clockpage::timens {
namespace {

constexpr TimensOffsets kNone{};

ViewFacts View(const std::string& name, TimensOffsets offsets,
               std::optional<std::string> parent = {}) {
  ViewFacts facts;
  facts.name = name;
  facts.offsets = offsets;
  facts.parent = std::move(parent);
  return facts;
}

ViewFacts GuestsView(const std::string& name, TimensOffsets offsets,
                     std::optional<std::string> parent = {}) {
  ViewFacts facts = View(name, offsets, std::move(parent));
  facts.counter_offset = -123'456;
  facts.counter_ratio = std::uint64_t{3} << 47;
  facts.counter_frac_bits = 48;
  return facts;
}

TEST(PlanViewTest, OnTheHostItIsWhatTheKernelSays) {
  EXPECT_EQ(plan_view({5, -6}, kNone, {}, {}), (ViewPlan{{}, {5, -6}}));
  // The namespace this process is in does not matter where it reads through no view.
  EXPECT_EQ(plan_view({5, -6}, {1, 2}, {}, {}), (ViewPlan{{}, {5, -6}}));
}

// The kernel's offsets are absolute: adding would count the outer namespace twice.
TEST(PlanViewTest, InANamespaceItReplacesThatNamespacesView) {
  EXPECT_EQ(plan_view({5, 7}, {1, 2}, View("outer", {1, 2}), {}), (ViewPlan{{}, {5, 7}}));
  EXPECT_EQ(plan_view({5, 7}, kNone, View("smeared", kNone), {}), (ViewPlan{{}, {5, 7}}));
}

TEST(PlanViewTest, InAGuestItStandsOnTheGuestsView) {
  EXPECT_EQ(plan_view({5, 7}, kNone, GuestsView("guest", {100, 200}), {}),
            (ViewPlan{"guest", {5, 7}}));
}

TEST(PlanViewTest, InANamespaceOfAGuestItStandsOnTheGuestsViewToo) {
  const ViewFacts guest = GuestsView("guest", {100, 200});
  const ViewFacts outer = GuestsView("outer", {101, 202}, "guest");
  EXPECT_EQ(plan_view({5, 7}, {1, 2}, outer, guest), (ViewPlan{"guest", {5, 7}}));
}

// A guest whose counter is the host's: only its offsets say that it is another machine.
TEST(PlanViewTest, AViewIsNoNamespacesForHavingTheHostsCounter) {
  EXPECT_EQ(plan_view({5, 7}, kNone, View("guest", {100, 200}), {}), (ViewPlan{"guest", {5, 7}}));
  EXPECT_EQ(plan_view({5, 7}, {1, 2}, View("guest", {101, 202}), {}), (ViewPlan{"guest", {4, 5}}));
}

TEST(PlanViewTest, AGuestOfAGuestIsNotTakenForANamespace) {
  const ViewFacts parent = GuestsView("l1", {100, 200});
  ViewFacts outer = GuestsView("l2", {100, 200}, "l1");
  outer.counter_offset += 1;
  EXPECT_EQ(plan_view({5, 7}, kNone, outer, parent), (ViewPlan{"l2", {5, 7}}));
}

// Whatever stands on what: the new view's clocks are the outer ones with the namespaces exchanged.
TEST(PlanViewTest, TheSumIsAlwaysTheKernelsClockWithTheNewOffsets) {
  std::mt19937_64 random(20261120);
  const auto any = [&] { return static_cast<std::int64_t>(random() % 3) - 1; };
  for (int i = 0; i < 100'000; i++) {
    const TimensOffsets made{any(), any()}, own{any(), any()};
    const ViewFacts parent =
        random() % 2 ? GuestsView("parent", {any(), any()}) : View("parent", {any(), any()});
    ViewFacts outer = random() % 2 ? GuestsView("outer", {any(), any()}, "parent")
                                   : View("outer", {any(), any()}, "parent");
    std::optional<ViewFacts> its_parent = parent;
    if (random() % 2) {
      outer.parent.reset();
      its_parent.reset();
    }
    const ViewPlan plan = plan_view(made, own, outer, its_parent);
    TimensOffsets base;
    const ViewFacts* on = nullptr;
    if (plan.parent) on = *plan.parent == "outer" ? &outer : &parent;
    if (on != nullptr) base = on->offsets;
    EXPECT_EQ(base.monotonic_ns + plan.offsets.monotonic_ns,
              outer.offsets.monotonic_ns - own.monotonic_ns + made.monotonic_ns);
    EXPECT_EQ(base.boottime_ns + plan.offsets.boottime_ns,
              outer.offsets.boottime_ns - own.boottime_ns + made.boottime_ns);
    EXPECT_EQ(on != nullptr ? on->counter_offset : 0, outer.counter_offset);
  }
}

TEST(PlanViewTest, WhatIsBeyond64BitsIsRefused) {
  EXPECT_THROW(plan_view({INT64_MAX, 0}, {-1, 0}, View("outer", kNone), {}), std::runtime_error);
}

}  // namespace
}  // namespace clockpage::timens
