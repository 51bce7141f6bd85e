// SPDX-License-Identifier: MIT
// Views, nesting included: their reader and their writer as they are compiled into everything else,
// in every execution that the C11 memory model allows of each scenario; and each of their orderings
// weakened alone, which must break a property by name.
//
// What the C11 model cannot know is that a guest is stopped while its counter's relation changes:
// spec/model/view.pml has that. Here the counter is a number, and a reading is judged by the one
// slot that it went by.
#include <clockpage/view.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <iostream>
#include <memory>
#include <optional>

#include "view_memory.hpp"
#include "view_page.hpp"
#include "view_test_pages.h"

namespace clockpage::weak_memory {
namespace {

using producer::ViewState;
using producer::ViewWriter;
using testing::TestPage;
using testing::TestRegion;
using testing::TestView;

constexpr std::uint64_t kBegin = 1000;                    // the segment's start
constexpr std::uint64_t kGuest = std::uint64_t{1} << 40;  // every counter value
constexpr std::uint64_t kFirst = 0x1000;                  // number, + 0x1000 for each ancestor

struct Exploration {
  std::uint64_t executions = 0, merged = 0;
  std::string violation;
  Exploration& operator+=(const Exploration& other) {
    executions += other.executions;
    merged += other.merged;
    if (violation.empty()) violation = other.violation;
    return *this;
  }
};

enum class Entry : std::uint8_t { at, at_bounds, now, now_bounds, marker };
constexpr Entry kAll[] = {Entry::at, Entry::at_bounds, Entry::now, Entry::now_bounds,
                          Entry::marker};

// Whether an error without a cause counts: the number in a slot finds most of what is torn, so that
// it would be noticed by that alone.
bool errors_are_judged = true;

// What a slot makes of kGuest.
std::int64_t monotonic_of(const clockpage_view_slot& slot) {
  return static_cast<std::int64_t>(kGuest - static_cast<std::uint64_t>(slot.counter_offset) -
                                   kBegin) +
         slot.monotonic_offset_ns;
}

// A view and its ancestors, whose rings are full; nothing is recorded before begin().
class Script {
 public:
  Script(std::size_t ancestors, ViewMutation mutation)
      : views_(ancestors + 1), mutation_(mutation) {
    for (TestPage& page : region_->data) fill(page);
    for (std::size_t i = 0; i < views_.size(); i++) {
      views_[i] = std::make_unique<TestView>(kFirst + 0x1000 * i);
      views_[i]->page.slot[0].disruption_marker = 100;
    }
    for (int round = 0; round < 4; round++)
      for (std::size_t i = views_.size(); i-- > 0;) publish(i);
    init(&outdated_);
    publish(0);
    init(&current_);
  }
  void begin() {
    std::vector<clockpage_view_page*> pages;
    for (const auto& view : views_) pages.push_back(&view->page);
    memory_ = std::make_unique<ViewMemory>(std::move(pages), mutation_);
  }
  // The next slot: everything in it is another's than before. Composed from the parent's newest.
  void publish(std::size_t page, bool new_relation = true, bool withdrawn = false) {
    if (memory_) memory_->writes(page, page + 1 < views_.size());
    const auto change = static_cast<std::int64_t>(++changes_);
    ViewWriter writer(views_[page]->page);
    ViewState state = writer.state();
    state.counter_ratio = withdrawn ? 0 : 1;
    state.smear = static_cast<std::uint8_t>(change % 2);
    state.monotonic_offset_ns = change * 1'000'003;
    state.boottime_offset_ns = change;
    if (new_relation) state.counter_offset = change * 1'000'000'007;
    if (page + 1 < views_.size()) state.parent_generation = views_[page + 1]->page.index;
    if (new_relation || withdrawn)
      writer.disrupt(state);
    else
      writer.set(state);
  }
  [[nodiscard]] clockpage_view_slot newest(std::size_t page) const {
    return views_[page]->Newest();
  }
  ViewMemory& memory() { return *memory_; }
  // All that this page's writer did happens before the reading.
  void reader_resumes_after(std::size_t page) { after_ = page; }

  // By all entries, by what the reader remembers (the newest before begin()) and what it does not,
  // with captured values of these markers.
  Exploration explore(const std::vector<std::uint64_t>& markers) {
    if (after_) memory_->hand_over_to_reader(*after_);
    memory_->end_of_recording();
    Exploration sum;
    for (const clockpage_view_reader* reader : {&current_, &outdated_})
      for (const Entry entry : kAll) {
        const bool captured = entry <= Entry::at_bounds;
        for (const std::uint64_t marker : captured ? markers : std::vector<std::uint64_t>{0}) {
          sum += explore_one(*reader, entry, marker);
          if (!sum.violation.empty()) return sum;
        }
      }
    return sum;
  }

 private:
  static void fill(TestPage& page) {
    clockpage_segment s = testing::MakeSegment(99, kBegin, kBegin, 2'000'000'000);
    page.Slot(99) = s;
    s.number = 100;
    s.lease_end = kGuest * 2;
    s.tai_ns = s.tai_frac = 0;
    s.tai_period_frac = std::uint64_t{1} << 63;  // 1 ns per tick
    s.monotonic_offset_ns = 0;
    page.page.delta_shift = 1;
    page.Slot(100) = s;
    page.page.index = 100;
  }
  void init(clockpage_view_reader* reader) {
    const void* ancestors[CLOCKPAGE_VIEW_MAX_ANCESTORS] = {};
    for (std::size_t i = 1; i < views_.size(); i++) ancestors[i - 1] = &views_[i]->page;
    if (clockpage_view_reader_init_nested(reader, &views_[0]->page, sizeof(TestView), region_.get(),
                                          sizeof *region_, ancestors, views_.size() - 1) != 0)
      throw std::logic_error("no reader");
  }
  static std::vector<std::uint64_t> remembered(const clockpage_view_reader& reader) {
    std::vector<std::uint64_t> numbers = {reader.number};
    for (std::uint32_t i = 0; i < reader.depth; i++) numbers.push_back(reader.ancestor_number[i]);
    return numbers;
  }

  Exploration explore_one(const clockpage_view_reader& reader, Entry entry, std::uint64_t marker) {
    Exploration found;
    memory_->begin_exploration();
    do {
      memory_->begin_call(kGuest, remembered(reader));
      try {
        found.violation = read(reader, entry, marker);
        found.executions++;
      } catch (const ViewPruned&) {
        found.merged++;
      }
    } while (found.violation.empty() && memory_->next_execution());
    return found;
  }

  std::string read(const clockpage_view_reader& reader, Entry entry, std::uint64_t marker) {
    clockpage_view_time time{};
    int error = 0;
    if (entry == Entry::marker) {
      error = clockpage_view_marker(&reader, &time.disruption_marker);
    } else if (entry == Entry::at) {
      error = clockpage_view_at(&reader, CLOCKPAGE_MONOTONIC, kGuest, marker, &time.time.ns);
    } else if (entry == Entry::at_bounds) {
      error = clockpage_view_at_bounds(&reader, CLOCKPAGE_MONOTONIC, kGuest, marker, &time);
    } else if (entry == Entry::now) {
      error = clockpage_view_now(&reader, CLOCKPAGE_MONOTONIC, &time.time.ns);
    } else {
      error = clockpage_view_now_bounds(&reader, CLOCKPAGE_MONOTONIC, &time);
    }
    const ViewTrace& trace = memory_->trace();
    const std::uint64_t number = trace.anew ? trace.number : reader.number;
    const auto slot = memory_->published(0).find(number);
    if (slot == memory_->published(0).end()) return "no tearing: a number that was not published";
    const std::string broken =
        error == 0 ? of_time(slot->second, entry, marker, time)
        : errors_are_judged
            ? of_error(slot->second, entry <= Entry::at_bounds, marker, error, trace.steps)
            : std::string();
    return broken.empty() ? "" : fmt::format("{} (number {:#x}, {})", broken, number, trace.steps);
  }

  [[nodiscard]] std::string of_time(const clockpage_view_slot& slot, Entry entry,
                                    std::uint64_t marker, const clockpage_view_time& time) const {
    const bool whole = entry == Entry::at_bounds || entry == Entry::now_bounds;
    if ((whole || entry == Entry::marker) && time.disruption_marker != slot.disruption_marker)
      return fmt::format("no tearing: marker {}", time.disruption_marker);
    if (entry != Entry::marker && time.time.ns != monotonic_of(slot))
      return fmt::format("no tearing: {} ns, not {}", time.time.ns, monotonic_of(slot));
    if (whole && (time.guest_counter != kGuest ||
                  time.time.counter != kGuest - static_cast<std::uint64_t>(slot.counter_offset)))
      return "no tearing: another counter";
    if (entry <= Entry::at_bounds && slot.disruption_marker != marker) return "marker: another one";
    if (slot.counter_ratio == 0 && entry != Entry::marker) return "withdrawn: a time";
    // What happens before the reading: the view's own writer, or that of an ancestor.
    if (after_ && *after_ == 0 && slot.number != views_[0]->page.index)
      return "next: of a view that was replaced before";
    if (!after_) return "";
    clockpage_view_slot below = slot;
    for (std::size_t i = 1; i <= *after_; i++) {
      if (i == *after_ && below.parent_generation != views_[i]->page.index)
        return "next: composed from a view that was replaced before";
      below = memory_->published(i).at(below.parent_generation);
    }
    return "";
  }

  // Every error has its cause.
  [[nodiscard]] std::string of_error(const clockpage_view_slot& slot, bool captured,
                                     std::uint64_t marker, int error,
                                     const std::string& steps) const {
    bool due = false;
    if (error == CLOCKPAGE_E_BUSY) due = std::count(steps.begin(), steps.end(), '!') >= 4;
    if (error == CLOCKPAGE_E_VIEW) due = slot.counter_ratio == 0;
    if (error == CLOCKPAGE_E_DISRUPTED) due = captured && slot.disruption_marker != marker;
    clockpage_view_slot below = slot;
    for (std::size_t i = 1; i < views_.size(); i++) {
      const clockpage_view_slot& parent = memory_->published(i).at(below.parent_generation);
      if (error == CLOCKPAGE_E_DISRUPTED && views_[i]->page.index != parent.number) due = true;
      if (error == CLOCKPAGE_E_VIEW && parent.counter_ratio == 0) due = true;
      below = parent;
    }
    return due ? "" : fmt::format("due: error {}", error);
  }

  std::unique_ptr<TestRegion> region_ = std::make_unique<TestRegion>();
  std::vector<std::unique_ptr<TestView>> views_;
  ViewMutation mutation_;
  std::unique_ptr<ViewMemory> memory_;
  std::optional<std::size_t> after_;
  std::uint64_t changes_ = 0;
  clockpage_view_reader current_{}, outdated_{};
};

// ---- scenarios

Exploration changes(ViewMutation mutation, int count, bool new_relation) {
  Script script(0, mutation);
  script.begin();
  const std::uint64_t marker = script.newest(0).disruption_marker;
  for (int i = 0; i < count; i++) script.publish(0, new_relation);
  return script.explore({marker, script.newest(0).disruption_marker});
}

Exploration withdrawn(ViewMutation mutation) {
  Script script(0, mutation);
  script.begin();
  const std::uint64_t marker = script.newest(0).disruption_marker;
  script.publish(0, true, true);
  script.publish(0);
  return script.explore({marker, script.newest(0).disruption_marker});
}

// At every store of a change; another goes on.
Exploration dead_writer(ViewMutation mutation) {
  Exploration sum;
  bool alive = false;
  for (std::size_t stores = 0; !alive && sum.violation.empty(); stores++) {
    Script script(0, mutation);
    script.begin();
    const std::uint64_t marker = script.newest(0).disruption_marker;
    script.memory().writer_dies_after(stores);
    script.publish(0);
    alive = !script.memory().writer_died();
    script.memory().writer_restarted();
    script.publish(0);
    sum += script.explore({marker, script.newest(0).disruption_marker});
  }
  return sum;
}

Exploration resumed(ViewMutation mutation) {
  Script script(0, mutation);
  script.begin();
  const std::uint64_t marker = script.newest(0).disruption_marker;
  script.publish(0);
  script.publish(0);
  script.reader_resumes_after(0);
  return script.explore({marker, script.newest(0).disruption_marker});
}

// `ancestors` of them; that at `changing` changes, and all below it are composed anew.
Exploration nested(ViewMutation mutation, std::size_t ancestors, std::size_t changing, int times,
                   std::optional<std::size_t> after = {}) {
  Script script(ancestors, mutation);
  script.begin();
  const std::uint64_t marker = script.newest(0).disruption_marker;
  for (int i = 0; i < times; i++)
    for (std::size_t page = changing + 1; page-- > 0;) script.publish(page);
  if (after) script.reader_resumes_after(*after);
  return script.explore({marker, script.newest(0).disruption_marker});
}

// The outermost guest has been moved, and runs again before anything was composed anew.
Exploration moved(ViewMutation mutation, std::size_t ancestors, int changes_meanwhile) {
  Script script(ancestors, mutation);
  script.begin();
  const std::uint64_t marker = script.newest(0).disruption_marker;
  for (int i = 0; i < changes_meanwhile; i++) script.publish(ancestors);
  script.reader_resumes_after(ancestors);
  return script.explore({marker});
}

// The parent is withdrawn, and its child not yet.
Exploration parent_withdrawn(ViewMutation mutation) {
  Script script(1, mutation);
  script.begin();
  const std::uint64_t marker = script.newest(0).disruption_marker;
  script.publish(1, true, true);
  script.publish(0);
  return script.explore({marker, script.newest(0).disruption_marker});
}

struct Scenario {
  const char* name;
  std::function<Exploration(ViewMutation)> explore;
};

const std::vector<Scenario>& scenarios() {
  static const std::vector<Scenario> all = {
      {"ChangesOfTheRelation", [](ViewMutation m) { return changes(m, 2, true); }},
      {"ChangesOfOffsetsAlone", [](ViewMutation m) { return changes(m, 2, false); }},
      {"OnceRoundTheRing", [](ViewMutation m) { return changes(m, 5, true); }},
      {"OnceRoundTheRingUnderOneMarker", [](ViewMutation m) { return changes(m, 5, false); }},
      {"Withdrawn", withdrawn},
      {"DeadWriter", dead_writer},
      {"TheGuestRunsAgain", resumed},
      {"ComposedAnew", [](ViewMutation m) { return nested(m, 1, 1, 1); }},
      {"ComposedAnewTwice", [](ViewMutation m) { return nested(m, 1, 1, 2); }},
      {"ComposedAnewBelowAndRunsAgain", [](ViewMutation m) { return nested(m, 1, 1, 1, 0); }},
      {"TheParentsRingOnceRound", [](ViewMutation m) { return moved(m, 1, 5); }},
      {"TheParentWasMoved", [](ViewMutation m) { return moved(m, 1, 1); }},
      {"TheParentsParentWasMoved", [](ViewMutation m) { return moved(m, 2, 1); }},
      {"ComposedAnewOfOneComposedAnew", [](ViewMutation m) { return nested(m, 2, 2, 1); }},
      {"ComposedAnewInTheMiddle", [](ViewMutation m) { return nested(m, 2, 1, 1, 1); }},
      {"TheParentIsWithdrawn", parent_withdrawn},
  };
  return all;
}

const Scenario& scenario(const std::string& name) {
  for (const Scenario& s : scenarios())
    if (s.name == name) return s;
  throw std::out_of_range(name);
}

class ViewWeakMemoryTest : public ::testing::TestWithParam<std::string> {};

TEST_P(ViewWeakMemoryTest, KeepsEveryPropertyInEveryExecution) {
  const Exploration found = scenario(GetParam()).explore(ViewMutation::none);
  EXPECT_EQ(found.violation, "");
  EXPECT_GE(found.executions, 10U);
  std::cout << GetParam() << ": " << found.executions << " executions judged, " << found.merged
            << " more merged with one of them\n";
}

std::vector<std::string> names() {
  std::vector<std::string> result;
  for (const Scenario& s : scenarios()) result.emplace_back(s.name);
  return result;
}

INSTANTIATE_TEST_SUITE_P(Scenario, ViewWeakMemoryTest, ::testing::ValuesIn(names()),
                         [](const auto& test) { return test.param; });

struct Mutant {
  const char* name;
  ViewMutation mutation;
  const char* scenario;
  const char* broken;
};

// gtest prints a parameter by this.
void PrintTo(const Mutant& mutant, std::ostream* out) { *out << mutant.name; }

class ViewWeakMemoryMutantTest : public ::testing::TestWithParam<Mutant> {};

TEST_P(ViewWeakMemoryMutantTest, IsRejected) {
  errors_are_judged = GetParam().broken == std::string("due");
  const Exploration found = scenario(GetParam().scenario).explore(GetParam().mutation);
  errors_are_judged = true;
  EXPECT_EQ(found.violation.substr(0, found.violation.find(':')), GetParam().broken);
  std::cout << GetParam().name << ": execution " << found.executions + found.merged << " of "
            << GetParam().scenario << " breaks \"" << found.violation << "\"\n";
}

constexpr Mutant kMutants[] = {
    {"P1WriterStoresTheIndexRelaxed", ViewMutation::publish_relaxed, "ChangesOfTheRelation", "due"},
    {"P1WriterStoresTheIndexRelaxedAndATimeIsTorn", ViewMutation::publish_relaxed,
     "ChangesOfTheRelation", "no tearing"},
    {"P1ReaderLoadsTheIndexRelaxed", ViewMutation::index_relaxed, "ChangesOfTheRelation",
     "no tearing"},
    {"P1WhoComposesHasNotAcquiredTheParentsIndex", ViewMutation::composer_unordered, "ComposedAnew",
     "due"},
    {"P2WriterHasNoFenceBeforeTheFill", ViewMutation::fill_unfenced, "OnceRoundTheRing",
     "no tearing"},
    {"P2ReaderHasNoFenceBeforeTheRecheck", ViewMutation::recheck_unfenced, "OnceRoundTheRing",
     "no tearing"},
    {"WhatIsRememberedIsNotLookedAtAgain", ViewMutation::no_recheck_remembered, "TheGuestRunsAgain",
     "next"},
    {"WhatIsTakenAnewIsNotLookedAtAgain", ViewMutation::no_recheck_anew, "OnceRoundTheRing",
     "no tearing"},
    {"TheAncestorsAreNotLookedAtAgain", ViewMutation::no_ancestor_recheck, "TheParentWasMoved",
     "next"},
    {"TheAncestorsAncestorsAreNotLookedAtAgain", ViewMutation::no_ancestor_recheck,
     "TheParentsParentWasMoved", "next"},
    {"TheIndexIsStoredBeforeTheSlotIsFilled", ViewMutation::index_before_fill,
     "ChangesOfTheRelation", "due"},
};

// An order that is there for its plainness alone: who has acquired the child's index has acquired,
// by who composed it, the parent's slot that it names.
TEST(ViewWeakMemoryOrderTest, AnAncestorsIndexNeedNotBeAcquired) {
  for (const Scenario& s : scenarios())
    EXPECT_EQ(s.explore(ViewMutation::ancestor_relaxed).violation, "") << s.name;
}

INSTANTIATE_TEST_SUITE_P(Mutant, ViewWeakMemoryMutantTest, ::testing::ValuesIn(kMutants),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace clockpage::weak_memory
