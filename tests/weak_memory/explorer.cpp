// SPDX-License-Identifier: MIT
#include "explorer.hpp"

#include <fmt/format.h>

#include <optional>
#include <stdexcept>

#include "expectation.hpp"

namespace clockpage::weak_memory {

namespace {

struct Result {
  int error = CLOCKPAGE_E_BUSY;
  bool whole = false;  // all of `time`, not only ns
  clockpage_time time{};
  std::vector<std::int64_t> many;
  std::size_t converted = 0;
  Trace trace;
};

bool is_now(Entry entry) { return entry >= Entry::now; }

class Judge {
 public:
  explicit Judge(const PageMemory& memory) : memory_(memory) {}

  // Nothing, or the property that is broken.
  [[nodiscard]] std::string of(const Call& call, const Result& result) const {
    if (call.entry == Entry::at_many) return of_many(call, result);
    if (call.entry == Entry::now_leased) return of_leased(call, result);
    const std::size_t most = is_now(call.entry) ? 2 * CLOCKPAGE_MAX_PASSES - 1 : 4;
    if (result.trace.changed.size() > most)
      return fmt::format("bounded: {} passes", result.trace.changed.size());
    const std::uint64_t counter =
        is_now(call.entry) ? result.trace.counters.back() : call.counters.front();
    if (result.error == CLOCKPAGE_E_BUSY) return of_busy(result.trace);
    if (result.error == CLOCKPAGE_E_REVOKED || result.trace.revoked != 0)
      return result.error == CLOCKPAGE_E_REVOKED && result.trace.revoked != 0
                 ? ""
                 : fmt::format("revoked: {} was read, the error is {}", result.trace.revoked,
                               result.error);
    return of_value(call.clock, counter, result);
  }

  // Of two calls, the first of which happens before the second.
  [[nodiscard]] static std::string of_pair(const Result& first, const Result& second) {
    if (static_cast<std::int64_t>(second.trace.index - first.trace.index) < 0)
      return "order: the index went back";
    if (first.error == CLOCKPAGE_E_REVOKED && second.error != CLOCKPAGE_E_REVOKED &&
        second.error != CLOCKPAGE_E_BUSY)
      return "revoked: a later read does not see it";
    if (first.error != 0 || second.error != 0 || !first.whole || !second.whole) return "";
    const bool later = second.time.counter >= first.time.counter;
    const bool leased = (first.time.flags & CLOCKPAGE_TIME_OVERDUE) == 0;
    if (!later && leased && (second.time.flags & CLOCKPAGE_TIME_OVERDUE) != 0)
      return "order: a later read does not know a lease that an earlier one knew";
    if (!later || !leased) return "";
    if (second.time.epoch < first.time.epoch) return "order: the epoch went back";
    if (second.time.epoch == first.time.epoch && second.time.ns < first.time.ns)
      return "order: time went back";
    return "";
  }

 private:
  // The first pass may give up before its re-check; the last three cannot.
  [[nodiscard]] static std::string of_busy(const Trace& trace) {
    const std::size_t passes = trace.changed.size();
    if (passes < CLOCKPAGE_MAX_PASSES) return "bounded: busy before the last pass";
    for (std::size_t i = passes - CLOCKPAGE_MAX_PASSES + 1; i < passes; i++)
      if (!trace.changed[i]) return "bounded: busy though the index did not change";
    return "";
  }

  [[nodiscard]] std::string of_value(int clock, std::uint64_t counter, const Result& result) const {
    const Expectation expected =
        expectation(memory_.page(), memory_.published(), result.trace.index, counter, clock);
    const auto same = [&](const clockpage_time& time) {
      return result.whole ? same_time(result.time, time) : result.time.ns == time.ns;
    };
    if (result.error == expected.error && (result.error != 0 || same(expected.time))) return "";
    if (result.error != 0)
      return fmt::format(
          "history: error {} at counter {} where index {} gives {}", result.error, counter,
          result.trace.index,
          expected.error != 0 ? fmt::format("error {}", expected.error) : text_of(expected.time));
    const std::string told = fmt::format(
        "{}, where index {} gives {}",
        result.whole ? text_of(result.time)
                     : fmt::format("{} ns at counter {}", result.time.ns, counter),
        result.trace.index,
        expected.error != 0 ? fmt::format("error {}", expected.error) : text_of(expected.time));
    for (const auto& [number, segment] : memory_.published())
      for (const bool overdue : {false, true})
        if (same(evaluated(memory_.page(), segment, counter, clock, overdue)))
          return fmt::format("agreement: by segment {}{}: {}", number, overdue ? ", overdue" : "",
                             told);
    return "no tearing: by no segment at all: " + told;
  }

  // Each value converted must be what some index that the call may have gone by gives; a leased one
  // is the same by all.
  [[nodiscard]] std::string of_many(const Call& call, const Result& result) const {
    if (result.trace.changed.size() > 5 * call.counters.size())
      return fmt::format("bounded: {} passes", result.trace.changed.size());
    for (std::size_t i = 0; i < result.converted; i++) {
      bool found = false;
      for (const auto& [number, segment] : memory_.published()) {
        const Expectation expected =
            expectation(memory_.page(), memory_.published(), number, call.counters[i], call.clock);
        found = found || (expected.error == 0 && expected.time.ns == result.many[i]);
      }
      if (!found)
        return fmt::format("no tearing: {} ns at counter {} by no segment", result.many[i],
                           call.counters[i]);
    }
    if ((result.converted == call.counters.size()) != (result.error == 0))
      return "at_many: the count does not fit the error";
    if (result.error == 0) return "";
    if (result.error == CLOCKPAGE_E_BUSY) return of_busy(result.trace);
    if (result.error == CLOCKPAGE_E_REVOKED)
      return result.trace.revoked != 0 ? "" : "revoked: not read, but reported";
    return of_value(call.clock, call.counters[result.converted], result);
  }

  [[nodiscard]] std::string of_leased(const Call& call, const Result& result) const {
    if (result.error == CLOCKPAGE_E_OVERDUE || result.error == CLOCKPAGE_E_REVOKED) return "";
    if (result.error == 0 && (result.time.flags & CLOCKPAGE_TIME_OVERDUE) != 0)
      return "leased: an overdue value";
    if (result.error == CLOCKPAGE_E_BUSY) return "leased: busy";
    return of_value(call.clock, result.time.counter, result);
  }

  const PageMemory& memory_;
};

class Explorer {
 public:
  Explorer(PageMemory& memory, const std::vector<Call>& calls)
      : memory_(memory), calls_(calls), judge_(memory) {
    if (clockpage_reader_init(&reader_, &memory.page(), sizeof memory.page()) != 0)
      throw std::logic_error("no page");
  }

  Exploration run() {
    Exploration exploration;
    memory_.begin_exploration();
    do {
      memory_.begin_execution();
      try {
        execute(exploration.violation);
        exploration.executions++;
      } catch (const Pruned&) {
        exploration.merged++;
      }
    } while (exploration.violation.empty() && memory_.next_execution());
    return exploration;
  }

 private:
  void execute(std::string& violation) {
    std::optional<Result> before;
    for (std::size_t i = 0; i < calls_.size() && violation.empty(); i++) {
      const Call& call = calls_[i];
      if (i > 0 && calls_[i - 1].thread != call.thread)
        memory_.hand_over(calls_[i - 1].thread, call.thread);
      Result result;
      result.many.resize(call.entry == Entry::at_many ? call.counters.size() : 0);
      memory_.begin_call(call.thread, call.counters, call.entry == Entry::now_leased,
                         context_of(i, before), result.many);
      make(call, result);
      result.trace = memory_.trace();
      violation = judge_.of(call, result);
      if (violation.empty() && before) violation = Judge::of_pair(*before, result);
      if (!violation.empty() && calls_.size() > 1) violation += fmt::format(" (call {})", i + 1);
      before = std::move(result);
    }
  }

  // The judgement of a pair depends on the first's result.
  static std::string context_of(std::size_t i, const std::optional<Result>& before) {
    std::string context = std::to_string(i);
    if (before)
      context += fmt::format("/{}/{}/{}/{}/{}/{}", before->error, before->trace.index,
                             before->time.counter, before->time.flags, before->time.epoch,
                             before->time.ns);
    return context;
  }

  void make(const Call& call, Result& result) const {
    const std::uint64_t counter = call.counters.front();
    result.whole = true;
    switch (call.entry) {
      case Entry::at:
        result.whole = false;
        result.error = clockpage_at(&reader_, call.clock, counter, &result.time.ns);
        break;
      case Entry::at_bounds:
        result.error = clockpage_at_bounds(&reader_, call.clock, counter, &result.time);
        break;
      case Entry::at_many:
        result.error =
            clockpage_at_many(&reader_, call.clock, call.counters.data(), call.counters.size(),
                              result.many.data(), &result.converted);
        break;
      case Entry::now:
        result.whole = false;
        result.error = clockpage_now(&reader_, call.clock, &result.time.ns);
        break;
      case Entry::now_bounds:
        result.error = clockpage_now_bounds(&reader_, call.clock, &result.time);
        break;
      case Entry::now_leased:
        result.error = clockpage_now_leased(
            &reader_, call.clock, call.counters.back() - call.counters.front(), &result.time);
        break;
    }
  }

  PageMemory& memory_;
  const std::vector<Call>& calls_;
  Judge judge_;
  clockpage_reader reader_{};
};

}  // namespace

Exploration& Exploration::operator+=(const Exploration& other) {
  executions += other.executions;
  merged += other.merged;
  if (violation.empty()) violation = other.violation;
  return *this;
}

Exploration explore(PageMemory& memory, const std::vector<Call>& calls) {
  return Explorer(memory, calls).run();
}

}  // namespace clockpage::weak_memory
