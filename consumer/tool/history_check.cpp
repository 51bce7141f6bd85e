// SPDX-License-Identifier: MIT
#include "history_check.hpp"

#include <clockpage/reader.h>  // numbers of clocks and flags only
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <unordered_map>

#include "causal_past.hpp"
#include "clock_function.hpp"
#include "exit_code.hpp"
#include "uncaptured.hpp"

namespace clockpage::tool {
namespace {

constexpr size_t kFirstOffences = 3;        // kept, of each rule
constexpr size_t kBlock = 4096;             // readings read at a time, of one process
constexpr size_t kMaxUnderWay = 1'000'000;  // messages that wait for their receiver's readings
constexpr size_t kMaxCandidates = 4096;     // segments that an overdue reading may have extended

int64_t difference(uint64_t a, uint64_t b) { return static_cast<int64_t>(a - b); }

// 0 to 4, or -1: no such clock.
int clock_slot(uint8_t clock) {
  switch (clock) {
    case CLOCKPAGE_REALTIME:
      return 0;
    case CLOCKPAGE_MONOTONIC:
      return 1;
    case CLOCKPAGE_MONOTONIC_RAW:
      return 2;
    case CLOCKPAGE_BOOTTIME:
      return 3;
    case CLOCKPAGE_TAI:
      return 4;
    default:
      return -1;
  }
}

bool leased(const HistoryReading& r) { return !(r.flags & CLOCKPAGE_TIME_OVERDUE); }

FunctionValue value_read(const HistoryReading& r) {
  return {r.ns, r.earliest_ns, r.latest_ns, r.epoch, r.flags, r.status, r.reason};
}

// One process' readings, block by block.
struct Process {
  std::vector<HistoryReading> block;
  size_t next = 0;     // in block
  uint64_t first = 0;  // number of block[0]
  CausalPast past;
  HistoryReading received = {};  // with the last message
  bool has_received = false;
  bool ended = false;
  std::array<size_t, 2> hint = {};  // where its readings are, by format
};

struct Message {
  CausalPast past;
  HistoryReading reading;
};

class Check {
 public:
  explicit Check(const HistoryReader& history);
  HistoryReport run();

 private:
  const HistoryReading* head(size_t p);
  bool receive(Process& process, const HistoryReading& r);
  void take(size_t p, const HistoryReading& r);
  bool step(size_t p, bool force);

  void check_links(size_t p, const HistoryReading& r);
  void check_again(const Process& process, const HistoryReading& r);
  void check_index(const Process& process, const HistoryReading& r);
  void check_leased(Process& process, const ClockFunction& f, const HistoryReading& r);
  void check_overdue(Process& process, const ClockFunction& f, const HistoryReading& r);
  void check_contradiction(const ClockFunction& f, size_t used, size_t cover,
                           const HistoryReading& r);
  void check_order(Process& process, const HistoryReading& r);
  void check_lateness();
  // Why `r` is not what segment `s` gives.
  void offend_value(const clockpage_segment& s, const FunctionValue& must_be,
                    const HistoryReading& r);
  HistoryReading load(const PastReading& past) const;
  const ClockFunction& function_of(const HistoryReading& r) const;

  const HistoryReader& history_;
  HistoryReport report_;
  std::vector<ClockFunction> functions_;
  std::array<const ClockFunction*, 2> by_format_ = {};
  std::vector<Process> processes_;
  size_t reading_processes_ = 0;  // with readings left
  std::unordered_map<uint64_t, Message> under_way_;
  std::set<uint64_t> late_;
  std::set<uint64_t> epochs_;
  Uncaptured uncaptured_;
};

Check::Check(const HistoryReader& history) : history_(history) {
  functions_.reserve(history.pages().size());
  for (size_t i = 0; i < history.pages().size(); i++) {
    functions_.emplace_back(history.pages()[i], history.segments(i));
    by_format_[history.pages()[i].format] = &functions_.back();
    report_.segments += functions_.back().size();
    report_.gaps += functions_.back().gaps();
    report_.dropped += history.pages()[i].segments_dropped;
  }
  processes_.resize(history.processes().size());
  reading_processes_ = processes_.size();
  for (size_t p = 0; p < processes_.size(); p++) {
    processes_[p].block.reserve(kBlock);
    report_.dropped += history.processes()[p].readings_dropped;
  }
}

// The process' next reading; nullptr: there are no more.
const HistoryReading* Check::head(size_t p) {
  Process& process = processes_[p];
  if (process.next == process.block.size()) {
    process.first += process.block.size();
    process.next = 0;
    if (process.first >= history_.processes()[p].reading_count) {
      process.block.clear();
      if (!process.ended) reading_processes_--;
      process.ended = true;
      return nullptr;
    }
    history_.readings(p, process.first, process.block);
  }
  return &process.block[process.next];
}

const ClockFunction& Check::function_of(const HistoryReading& r) const {
  const ClockFunction* f = r.format < by_format_.size() ? by_format_[r.format] : nullptr;
  if (!f || clock_slot(r.clock) < 0 || r.kind > kHistoryRefused)
    throw Failure(
        history_.file(),
        fmt::format("is damaged: reading {} of process {} has format {}, clock {}, kind {}",
                    r.sequence, r.process, r.format, r.clock, r.kind));
  return *f;
}

HistoryReading Check::load(const PastReading& past) const {
  std::vector<HistoryReading> one;
  one.reserve(1);
  history_.readings(past.process, past.sequence, one);
  return one.at(0);
}

// What the message that `r` came after brought along. False: it has not been sent yet.
bool Check::receive(Process& process, const HistoryReading& r) {
  if (r.received == 0 || r.kind == kHistoryAgain) return true;
  const auto message = under_way_.find(r.received);
  if (message == under_way_.end()) return false;
  process.past.merge(message->second.past);
  process.received = message->second.reading;
  process.has_received = true;
  under_way_.erase(message);
  report_.messages++;
  return true;
}

// Takes readings of process p while each one's past is known. False: none could be taken.
bool Check::step(size_t p, bool force) {
  Process& process = processes_[p];
  bool any = false;
  while (const HistoryReading* r = head(p)) {
    if (!receive(process, *r)) {
      if (!force) return any;
      force = false;
      process.has_received = false;
      report_.unlinked++;
      if (report_.dropped == 0)
        report_.offend("message",
                       fmt::format("message {} was received and never sent", r->received), {*r});
    }
    take(p, *r);
    process.next++;
    any = true;
  }
  return any;
}

void Check::check_links(size_t p, const HistoryReading& r) {
  const uint64_t position = processes_[p].first + processes_[p].next;
  if (r.sequence != position || r.process != p)
    report_.offend("sequence",
                   fmt::format("reading {} of process {} calls itself {} of {}", position, p,
                               r.sequence, r.process),
                   {r});
  if (r.sent == 0 || reading_processes_ < 2) return;  // nobody is left to receive it
  if (under_way_.size() >= kMaxUnderWay)
    throw Failure(history_.file(), "has too many messages that nobody receives");
  const auto [message, is_new] = under_way_.try_emplace(r.sent);
  if (!is_new)
    report_.offend("message", fmt::format("message {} was sent twice", r.sent),
                   {message->second.reading, r});
  message->second = {processes_[p].past, r};
}

void Check::take(size_t p, const HistoryReading& r) {
  Process& process = processes_[p];
  const ClockFunction& f = function_of(r);
  if (r.kind == kHistoryRefused) {
    report_.refused++;
    check_links(p, r);
    return;
  }
  (r.kind == kHistoryAgain ? report_.again : report_.readings)++;
  if (r.kind == kHistoryAgain) check_again(process, r);
  if (r.kind == kHistoryNow) (leased(r) ? report_.leased : report_.overdue)++;
  check_index(process, r);
  if (leased(r))
    check_leased(process, f, r);
  else
    check_overdue(process, f, r);
  process.past.add_index(r.format, r.index);
  if (r.kind == kHistoryNow) check_order(process, r);
  check_links(p, r);
}

void Check::check_again(const Process& process, const HistoryReading& r) {
  if (!process.has_received || process.received.kind == kHistoryRefused) return;
  const HistoryReading& other = process.received;
  if (r.counter != other.counter || r.clock != other.clock || r.format != other.format)
    report_.offend("message",
                   fmt::format("not the counter value that message {} brought", r.received),
                   {other, r});
  else if (!leased(other))
    return;
  else if (value_read(r) == value_read(other))
    report_.agreements++;
  else
    report_.offend("agreement", "two values at one counter value", {other, r});
}

void Check::check_index(const Process& process, const HistoryReading& r) {
  uint64_t before;
  if (process.past.index(r.format, before) && difference(r.index, before) < 0)
    report_.offend("index",
                   fmt::format("the page's index is {}, and was {} earlier", r.index, before), {r});
}

void Check::offend_value(const clockpage_segment& s, const FunctionValue& must_be,
                         const HistoryReading& r) {
  const FunctionValue is = value_read(r);
  if (is.ns != must_be.ns)
    report_.offend("value",
                   fmt::format("{} ns; segment {} gives {} ns", is.ns, s.number, must_be.ns), {r});
  else if (is.epoch != must_be.epoch)
    report_.offend("epoch",
                   fmt::format("epoch {}; segment {} is of {}", is.epoch, s.number, must_be.epoch),
                   {r});
  else if (is.earliest_ns != must_be.earliest_ns || is.latest_ns != must_be.latest_ns)
    report_.offend("bounds",
                   fmt::format("bounds {} to {} ns; segment {} gives {} to {}", is.earliest_ns,
                               is.latest_ns, s.number, must_be.earliest_ns, must_be.latest_ns),
                   {r});
  else
    report_.offend(
        "status",
        fmt::format("status {}, reason {}, flags {:#x}; segment {} gives {}, {}, {:#x}", is.status,
                    is.reason, is.flags, s.number, must_be.status, must_be.reason, must_be.flags),
        {r});
}

void Check::check_leased(Process& process, const ClockFunction& f, const HistoryReading& r) {
  epochs_.insert(r.epoch);
  const size_t i = f.last_begun(r.counter, process.hint[r.format]);
  const bool covered = i != ClockFunction::kNone && f.covers(i, r.counter);
  const size_t next = i == ClockFunction::kNone ? 0 : i + 1;
  if (!covered) {
    if (i != ClockFunction::kNone && difference(r.index, f.at(i).number) <= 0) {
      report_.offend(
          "lease",
          fmt::format("leased, but the newest segment's lease ended at {}", f.at(i).lease_end),
          {r});
      return;
    }
    // Between two captured segments there can only be those of a gap.
    if (i != ClockFunction::kNone && next < f.size() && !f.after_gap(next)) {
      report_.offend("uncovered", fmt::format("no segment covers counter value {}", r.counter),
                     {r});
      return;
    }
    report_.uncaptured++;
    uncaptured_.add(static_cast<uint8_t>(&f - functions_.data()), next, r);
    return;
  }
  const clockpage_segment& s = f.at(i);
  if (difference(r.index, s.number) < 0) {
    report_.offend("lease",
                   fmt::format("leased, but segment {} had not been published: the page's "
                               "index was {} afterwards",
                               s.number, r.index),
                   {r});
    return;
  }
  const auto must_be = value_of(f.page(), s, r.clock, r.counter, false);
  if (!must_be)
    report_.offend("status", fmt::format("segment {} does not know TAI", s.number), {r});
  else if (value_read(r) != *must_be)
    offend_value(s, *must_be, r);
}

// An overdue reading extends the segment that was the newest: not older than what the reader, or
// who sent to it, had seen before, and not newer than what it saw afterwards.
void Check::check_overdue(Process& process, const ClockFunction& f, const HistoryReading& r) {
  uint64_t oldest;
  if (!process.past.index(r.format, oldest)) oldest = f.size() ? f.at(0).number : r.index;
  size_t cover = f.last_begun(r.counter, process.hint[r.format]);
  size_t first = f.by_number(r.index);
  const bool complete = first != ClockFunction::kNone && f.at(first).number == r.index &&
                        f.next_gap(f.by_number(oldest) + 1) > first;
  std::optional<FunctionValue> must_be;
  size_t tried = 0, last = ClockFunction::kNone;
  for (size_t i = first; i != ClockFunction::kNone && difference(f.at(i).number, oldest) >= 0 &&
                                 tried<kMaxCandidates; i = i> 0
                             ? i - 1
                             : ClockFunction::kNone,
              tried++) {
    if (f.covers(i, r.counter)) continue;  // not overdue in this one
    must_be = value_of(f.page(), f.at(i), r.clock, r.counter, true);
    if (must_be && value_read(r) == *must_be) {
      if (cover != ClockFunction::kNone) check_contradiction(f, i, cover, r);
      return;
    }
    if (last == ClockFunction::kNone) last = i;
  }
  if (!complete) {
    report_.overdue_unchecked++;
  } else if (last == ClockFunction::kNone) {
    report_.offend("overdue", "overdue, and no segment's lease had ended that was the newest", {r});
  } else {
    must_be = value_of(f.page(), f.at(last), r.clock, r.counter, true);
    if (must_be) offend_value(f.at(last), *must_be, r);
  }
}

// Segment `used` was the newest, and past its lease; by now `cover` holds there.
void Check::check_contradiction(const ClockFunction& f, size_t used, size_t cover,
                                const HistoryReading& r) {
  if (cover <= used || !f.covers(cover, r.counter) || f.next_gap(used + 1) <= cover) return;
  const auto now = value_of(f.page(), f.at(cover), r.clock, r.counter, true);
  const bool differs = !now || now->ns != r.ns || now->epoch != r.epoch;
  const size_t steering = f.next_steering(used + 1);
  if (differs) report_.overdue_contradicted++;
  if (steering <= cover)
    late_.insert(f.at(steering).number);
  else if (differs)
    report_.offend(
        "contradicted",
        fmt::format("overdue in segment {}, and the bridges up to segment {} give another "
                    "value: {} ns",
                    f.at(used).number, f.at(cover).number, now ? now->ns : 0),
        {r});
}

void Check::check_order(Process& process, const HistoryReading& r) {
  const ClockFunction* scaled_page = by_format_[CLOCKPAGE_FORMAT_SCALED];
  const bool host = r.format == CLOCKPAGE_FORMAT_UNSCALED;
  const uint64_t scaled = host && scaled_page ? scaled_page->image(r.counter) : r.counter;
  const CausalPast& past = process.past;
  if (host && past.host().known && difference(r.counter, past.host().counter) < 0)
    report_.offend(
        "counter",
        fmt::format("the counter went back by {}", difference(past.host().counter, r.counter)),
        {load(past.host()), r});
  else if (past.scaled().known && difference(scaled, past.scaled().counter) < 0)
    report_.offend("counter",
                   fmt::format("the scaled counter went back by {}",
                               difference(past.scaled().counter, scaled)),
                   {load(past.scaled()), r});
  const auto clock = static_cast<unsigned>(clock_slot(r.clock));
  const bool ordered = leased(r);
  for (unsigned format = 0; ordered && format < CausalPast::kFormats; format++) {
    const PastReading& earlier = past.value(clock, format);
    const int64_t allowed = format == r.format ? 0 : 2;
    if (!earlier.known || earlier.epoch != r.epoch) continue;
    const int64_t back = backward_by(earlier.ns, earlier.flags, r.ns, r.flags);
    if (back <= allowed) continue;
    report_.offend("order", fmt::format("backward by {} ns", back), {load(earlier), r});
  }
  // Where it lies, not where it says that it does: load() trusts it.
  HistoryReading placed = r;
  placed.process = static_cast<uint16_t>(&process - processes_.data());
  placed.sequence = static_cast<uint32_t>(process.first + process.next);
  process.past.add(placed, clock, scaled, ordered);
}

// Whatever an overdue reading proves late must have been counted, but for one store of each
// producer that was killed before it could.
void Check::check_lateness() {
  const clockpage_diagnostics& before = history_.header().before;
  const clockpage_diagnostics& after = history_.header().after;
  const uint64_t counted = after.late_publications - before.late_publications;
  const uint64_t deaths = after.adoptions - before.adoptions + (history_.header().settled ? 0 : 1);
  report_.late_seen = late_.size();
  report_.late_counted = counted + deaths;
  if (report_.late_seen > report_.late_counted)
    report_.offend("late",
                   fmt::format("{} steering segments came late, the producer counted {} and "
                               "ended {} times",
                               report_.late_seen, counted, deaths));
}

HistoryReport Check::run() {
  std::vector<Finding> findings;
  for (const ClockFunction& f : functions_)
    for (const Finding& finding : f.check())
      report_.offend(
          finding.rule,
          fmt::format("{} page: {}", f.page().format ? "scaled" : "unscaled", finding.text));
  if (by_format_[0] && by_format_[1])
    for (const Finding& finding : check_formats(*by_format_[0], *by_format_[1]))
      report_.offend(finding.rule, finding.text);

  for (bool more = true; more;) {
    more = false;
    for (size_t p = 0; p < processes_.size(); p++) more |= step(p, false);
    if (more) continue;
    // Everybody waits for a message whose sending is not in the file: the oldest one first.
    size_t waiting = processes_.size();
    for (size_t p = 0; p < processes_.size(); p++)
      if (head(p) && (waiting == processes_.size() || head(p)->received < head(waiting)->received))
        waiting = p;
    if (waiting < processes_.size()) more = step(waiting, true);
  }
  for (const ClockFunction& f : functions_)
    uncaptured_.check(static_cast<uint8_t>(&f - functions_.data()), f, report_);
  check_lateness();
  report_.epochs = epochs_.size();
  return report_;
}

}  // namespace

void HistoryReport::offend(const std::string& rule, const std::string& text,
                           std::vector<HistoryReading> offending) {
  offences++;
  if (++offences_by_rule[rule] <= kFirstOffences)
    first.push_back({rule, text, std::move(offending)});
}

HistoryReport check_history(const HistoryReader& history) { return Check(history).run(); }

}  // namespace clockpage::tool
