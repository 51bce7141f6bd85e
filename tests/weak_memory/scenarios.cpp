// SPDX-License-Identifier: MIT
#include "scenarios.hpp"

#include <stdexcept>

namespace clockpage::weak_memory {

namespace {

constexpr std::size_t kLast = CLOCKPAGE_DATA_PAGE_COUNT - 1;

// Each counter value by each of the entries.
Exploration each(Script& script, const std::vector<Entry>& entries, const std::vector<int>& clocks,
                 const std::vector<std::uint64_t>& counters) {
  Exploration sum;
  for (const Entry entry : entries)
    for (const int clock : clocks)
      for (const std::uint64_t counter : counters) {
        sum += script.explore({{1, entry, clock, {counter}}});
        if (!sum.violation.empty()) return sum;
      }
  return sum;
}

// The newest few segments while three more are published. (The last page: the fences before its
// fill are the last of an update, so only here nothing but the index's release publishes.)
Exploration newest_segments(Mutation mutation, std::size_t page) {
  Script script(page, mutation);
  script.record();
  const std::uint64_t n = script.newest();
  script.publish(3, true);
  return each(script, {Entry::at, Entry::at_bounds, Entry::now, Entry::now_bounds},
              {CLOCKPAGE_REALTIME, CLOCKPAGE_TAI, CLOCKPAGE_MONOTONIC, CLOCKPAGE_MONOTONIC_RAW},
              script.corners(n - 2, n + 3));
}

// The writer goes once round the ring and more during one pass. All segments are steps, so that
// readers, who do not cross steps, need not be followed through the whole of a ring in which every
// word may be new.
Exploration once_round(Mutation mutation, Entry entry, int clock, int published) {
  Script script(0, mutation, true);
  script.record();
  const std::uint64_t n = script.newest();
  script.publish(published, true);
  if (published <= static_cast<int>(CLOCKPAGE_SEGMENT_COUNT))
    return each(script, {entry}, {clock}, {script.segment(n).start});
  return each(script, {entry}, {clock}, script.corners(n - 1, n + 1));
}

// The far end of the history is written over while it is read.
Exploration far_end(Mutation mutation, bool steps) {
  Script script(0, mutation);
  if (steps) script.publish(1, true);
  if (steps) script.publish(13);
  script.record();
  const std::uint64_t n = script.newest();
  script.publish(3);
  return each(script, {Entry::at, Entry::at_bounds}, {CLOCKPAGE_BOOTTIME, CLOCKPAGE_TAI},
              script.corners(n - 15, n - 11));
}

Exploration many(Mutation mutation, std::uint64_t first_back, int published, bool steps) {
  Script script(0, mutation, steps);
  script.record();
  const std::uint64_t n = script.newest();
  script.publish(published, steps);
  Exploration sum;
  const std::vector<std::uint64_t> corners = script.corners(n - first_back, n - first_back + 1);
  for (std::size_t i = 0; i + 3 <= corners.size(); i++)
    sum += script.explore(
        {{1, Entry::at_many, CLOCKPAGE_MONOTONIC, {corners[i], corners[i + 1], corners[i + 2]}}});
  return sum;
}

// A reader that lost its CPU after reading the counter for longer than the history. Three
// publications are what it takes to make it busy after its second look at the counter.
Exploration stalled_now(Mutation mutation) {
  Script script(0, mutation);
  script.record();
  const std::uint64_t n = script.newest();
  script.publish(3);
  Exploration sum;
  for (const std::uint64_t counter : script.corners(n - 15, n - 14))
    for (const Entry entry : {Entry::now, Entry::now_bounds})
      sum += script.explore(
          {{1,
            entry,
            CLOCKPAGE_MONOTONIC,
            {counter, script.segment(n).start, script.segment(n + 3).lease_end - 1}}});
  return sum;
}

Exploration revoked(Mutation mutation) {
  Script script(kLast, mutation);
  script.record();
  const std::uint64_t n = script.newest();
  script.publish(1);
  script.revoke();
  Exploration sum = each(script, {Entry::at, Entry::at_bounds, Entry::at_many}, {CLOCKPAGE_TAI},
                         script.corners(n - 1, n + 1));
  for (const std::uint64_t counter : script.corners(n - 1, n + 1))
    sum += script.explore({{1, Entry::at_bounds, CLOCKPAGE_TAI, {counter}},
                           {1, Entry::at_bounds, CLOCKPAGE_TAI, {counter}},
                           {2, Entry::at_bounds, CLOCKPAGE_TAI, {counter}}});
  return sum;
}

Exploration refilled(Mutation mutation) {
  Script script(kLast, mutation);
  script.record();
  const std::uint64_t n = script.newest();
  script.publish_after_refill();
  Exploration sum =
      each(script, {Entry::at_bounds, Entry::now}, {CLOCKPAGE_TAI}, script.corners(n - 1, n + 1));
  sum += each(script, {Entry::at_bounds}, {CLOCKPAGE_TAI}, script.corners(n - 15, n - 13));
  return sum;
}

// The writer dies at every single store of an update of all pages; another adopts the region.
Exploration dead_writer(Mutation mutation, std::size_t page) {
  Exploration sum;
  bool alive = false;
  for (std::size_t stores = 0; !alive && sum.violation.empty(); stores++) {
    Script script(page, mutation);
    script.record();
    const std::uint64_t n = script.newest();
    alive = !script.die_and_restart(stores);
    for (const std::uint64_t number : {n - 14, n - 13, n, n + 1})
      sum += each(script, {Entry::at_bounds}, {CLOCKPAGE_REALTIME},
                  {script.segment(number).start, script.segment(number).lease_end - 1});
    sum += each(script, {Entry::at_bounds}, {CLOCKPAGE_REALTIME},
                {script.segment(script.newest()).lease_end});
  }
  return sum;
}

// One reader reads, and another, or itself, after it.
Exploration two_reads(Mutation mutation, std::size_t second) {
  Script script(kLast, mutation);
  script.record();
  const std::uint64_t n = script.newest();
  script.publish(3);
  Exploration sum;
  const std::vector<std::uint64_t> corners = script.corners(n, n + 3);
  for (const std::uint64_t first : corners)
    for (const std::uint64_t later : corners)
      sum += script.explore({{1, Entry::at_bounds, CLOCKPAGE_TAI, {first}},
                             {second, Entry::at_bounds, CLOCKPAGE_TAI, {later}}});
  return sum;
}

Exploration young_region(Mutation mutation) {
  Script script(kLast, mutation);
  script.make_region_anew();
  script.record();
  const std::uint64_t n = script.newest();
  script.publish(2);
  return each(script, {Entry::at_bounds, Entry::now_bounds}, {CLOCKPAGE_MONOTONIC},
              script.corners(n - 1, n + 2));
}

Exploration leased(Mutation mutation) {
  Script script(kLast, mutation);
  script.record();
  const std::uint64_t n = script.newest();
  script.publish(2);
  const std::uint64_t end = script.segment(n).lease_end;
  return script.explore({{1,
                          Entry::now_leased,
                          CLOCKPAGE_TAI,
                          {end - 1, end, end + 1, end + 2, end + 3, end + 4, end + 5}}});
}

}  // namespace

const std::vector<Scenario>& scenarios() {
  static const std::vector<Scenario> all = {
      {"NewestSegmentsOfTheFirstPage", [](Mutation m) { return newest_segments(m, 0); }},
      {"NewestSegmentsOfTheLastPage", [](Mutation m) { return newest_segments(m, kLast); }},
      {"OnceRoundTheRingAt",
       [](Mutation m) { return once_round(m, Entry::at, CLOCKPAGE_REALTIME, 18); }},
      {"OnceRoundTheRingNow",
       [](Mutation m) { return once_round(m, Entry::now, CLOCKPAGE_MONOTONIC, 18); }},
      {"OnceRoundTheRingWithBounds",
       [](Mutation m) { return once_round(m, Entry::at_bounds, CLOCKPAGE_MONOTONIC_RAW, 16); }},
      {"FarEndOfTheHistory", [](Mutation m) { return far_end(m, false); }},
      {"FarEndBehindAStep", [](Mutation m) { return far_end(m, true); }},
      {"ManyAtTheNewestSegments", [](Mutation m) { return many(m, 0, 18, true); }},
      {"ManyAtTheFarEnd", [](Mutation m) { return many(m, 14, 3, false); }},
      {"StalledForLongerThanTheHistory", stalled_now},
      {"Revoked", revoked},
      {"FilledTwice", refilled},
      {"DeadWriterOfTheFirstPage", [](Mutation m) { return dead_writer(m, 0); }},
      {"DeadWriterOfTheLastPage", [](Mutation m) { return dead_writer(m, kLast); }},
      {"TwoReadsOfOneThread", [](Mutation m) { return two_reads(m, 1); }},
      {"TwoReadersOneAfterTheOther", [](Mutation m) { return two_reads(m, 2); }},
      {"YoungRegion", young_region},
      {"LeasedOrNothing", leased},
  };
  return all;
}

const Scenario& scenario(const std::string& name) {
  for (const Scenario& s : scenarios())
    if (s.name == name) return s;
  throw std::out_of_range(name);
}

}  // namespace clockpage::weak_memory
