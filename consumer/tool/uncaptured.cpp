// SPDX-License-Identifier: MIT
#include "uncaptured.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "line_fit.hpp"

namespace clockpage::tool {
namespace {

constexpr uint64_t kNoLimit = ~uint64_t{0};

// How many segments are missing before captured segment `before`.
uint64_t missing_before(const ClockFunction& f, size_t before, uint64_t newest_index) {
  if (before == 0) return kNoLimit;
  const uint64_t last = f.at(before - 1).number;
  return before < f.size() ? f.at(before).number - last - 1 : newest_index - last;
}

}  // namespace

void Uncaptured::add(uint8_t page, size_t before, const HistoryReading& reading) {
  loose_.push_back({page, reading.clock, before, reading.epoch, reading});
}

void Uncaptured::check(uint8_t page, const ClockFunction& f, HistoryReport& report) {
  if (!sorted_)
    std::stable_sort(loose_.begin(), loose_.end(), [](const Loose& a, const Loose& b) {
      if (a.group() != b.group()) return a.group() < b.group();
      return static_cast<int64_t>(a.reading.counter - b.reading.counter) < 0;
    });
  sorted_ = true;
  for (size_t begin = 0; begin < loose_.size();) {
    size_t end = begin;
    uint64_t newest = loose_[begin].reading.index;
    for (; end < loose_.size() && loose_[end].group() == loose_[begin].group(); end++)
      newest = std::max(newest, loose_[end].reading.index);
    if (loose_[begin].page == page)
      check_group(loose_, begin, end, missing_before(f, loose_[begin].before, newest),
                  f.page().smear != CLOCKPAGE_SMEAR_NONE, report);
    begin = end;
  }
}

void Uncaptured::check_group(const std::vector<Loose>& readings, size_t begin, size_t end,
                             uint64_t missing, bool smeared, HistoryReport& report) {
  const HistoryReading& first = readings[begin].reading;
  LineFit fit;
  uint64_t lines = 1;
  for (size_t i = begin; i < end; i++) {
    const HistoryReading& r = readings[i].reading;
    const HistoryReading& earlier = readings[i > begin ? i - 1 : i].reading;
    // From the first on, without the step of a leap second.
    const auto ns_apart =
        uint64_t{0} - static_cast<uint64_t>(backward_by(first.ns, first.flags, r.ns, r.flags));
    if (r.counter - first.counter >= uint64_t{1} << 62 ||
        ns_apart + (uint64_t{1} << 61) >= uint64_t{1} << 62) {
      report.offend("line", "no time in the same segments as this one", {first, r});
      return;
    }
    if (r.counter == earlier.counter && i > begin) {
      if (r.ns != earlier.ns)
        report.offend("agreement", "two values at one counter value", {earlier, r});
      continue;
    }
    const int64_t back = backward_by(earlier.ns, earlier.flags, r.ns, r.flags);
    if (back > 0)
      report.offend("order", fmt::format("backward by {} ns, in segments that were missed", back),
                    {earlier, r});
    // In a smear REALTIME is rounded twice, and bends where that begins and ends: no line's.
    if (smeared && r.clock == CLOCKPAGE_REALTIME) continue;
    const auto on_line = static_cast<int64_t>(static_cast<uint64_t>(first.ns) + ns_apart);
    if (!fit.add(r.counter, on_line) && ++lines == missing + 1)
      report.offend(
          "line", fmt::format("{} missed segments cannot explain the readings up to here", missing),
          {first, r});
  }
}

}  // namespace clockpage::tool
