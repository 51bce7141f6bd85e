// SPDX-License-Identifier: MIT
// A reader for the fault tests: maps DIR's region once and keeps it, as a program would that was
// started before the fault.
//
// fault_reader DIR: answers each line on stdin by one line on stdout, JSON.
//   read             all clocks at one counter value taken now
//   at COUNTER       all clocks at that counter value
//   run SECONDS      reads without rest: order and continuity
//   overdue SECONDS  what overdue reads were told, and whether it was so when it had come to pass
//   judge SECONDS    MONOTONIC against the kernel's, which must lie within the page's bounds
// Ends at the end of stdin.
#include <clockpage/clockpage.h>
#include <clockpage/reader.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>

namespace {

using Json = nlohmann::ordered_json;

constexpr std::array kClocks = {CLOCKPAGE_REALTIME, CLOCKPAGE_MONOTONIC, CLOCKPAGE_MONOTONIC_RAW,
                                CLOCKPAGE_BOOTTIME, CLOCKPAGE_TAI};
constexpr std::array kNames = {"realtime", "monotonic", "raw", "boottime", "tai"};

Json json_of(int error, const clockpage_time& t) {
  Json json;
  json["error"] = error;
  if (error != 0) return json;
  json["ns"] = t.ns;
  json["earliest_ns"] = t.earliest_ns;
  json["latest_ns"] = t.latest_ns;
  json["epoch"] = t.epoch;
  json["status"] = t.status;
  json["reason"] = t.reason;
  json["overdue"] = (t.flags & CLOCKPAGE_TIME_OVERDUE) != 0;
  return json;
}

// The counter is read once for all clocks; a step that falls into the loop is tried again.
Json read_all(const clockpage_reader& reader, std::uint64_t counter) {
  Json json;
  json["counter"] = counter;
  json["index"] = CLOCKPAGE_LOAD(reader.page->index);
  for (std::size_t i = 0; i < kClocks.size(); i++) {
    clockpage_time t{};
    const int error = clockpage_at_bounds(&reader, kClocks[i], counter, &t);
    json[kNames[i]] = json_of(error, t);
  }
  return json;
}

std::int64_t kernel_ns(int clock) {
  timespec ts{};
  clock_gettime(clock, &ts);
  return std::int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
}

// One clock's readings, in order.
struct Watched {
  int clock = 0;
  bool any = false;
  bool leased = false;
  std::int64_t ns = 0;
  std::uint64_t counter = 0;
  std::uint64_t epoch = 0;
  std::uint64_t backward = 0;        // between leased readings of one epoch
  std::int64_t largest_jump_ns = 0;  // against the counter, from one reading to the next
};

class Run {
 public:
  explicit Run(const clockpage_reader& reader) : reader_(reader) {
    for (std::size_t i = 0; i < watched_.size(); i++) watched_[i].clock = kClocks[i];
  }

  Json run(double seconds) {
    const auto end = kernel_ns(CLOCK_MONOTONIC) + static_cast<std::int64_t>(seconds * 1e9);
    while (kernel_ns(CLOCK_MONOTONIC) < end)
      for (Watched& w : watched_)
        for (int i = 0; i < 50; i++) read(w);
    return report();
  }

 private:
  void read(Watched& w) {
    clockpage_time t{};
    const int error = clockpage_now_bounds(&reader_, w.clock, &t);
    reads_++;
    errors_[error]++;
    if (error != 0) return;
    const bool leased = (t.flags & CLOCKPAGE_TIME_OVERDUE) == 0;
    if (!leased) overdue_++;
    if (!leased && t.status == CLOCKPAGE_STATUS_SYNCHRONISED) overdue_called_good_++;
    statuses_.insert(t.status);
    epochs_.insert(t.epoch);
    if (w.any) compare(w, t, leased);
    w.any = true;
    w.leased = leased;
    w.ns = t.ns;
    w.counter = t.counter;
    w.epoch = t.epoch;
  }

  void compare(Watched& w, const clockpage_time& t, bool leased) {
    if (w.epoch == t.epoch && w.leased && leased && t.ns < w.ns) w.backward++;
    const double ticks = static_cast<double>(static_cast<std::int64_t>(t.counter - w.counter));
    const auto passed = static_cast<std::int64_t>(
        ticks * 1e9 / static_cast<double>(reader_.page->counter_frequency_hz));
    // Slewing is at most 1 %: what is beyond it is a jump.
    const std::int64_t jump = std::abs(t.ns - w.ns - passed) - passed / 50;
    w.largest_jump_ns = std::max(w.largest_jump_ns, jump);
  }

  Json report() const {
    Json json;
    json["reads"] = reads_;
    json["overdue"] = overdue_;
    json["overdue_called_good"] = overdue_called_good_;
    json["statuses"] = statuses_;
    json["epochs"] = epochs_;
    json["errors"] = Json::object();
    for (const auto& [error, count] : errors_) json["errors"][std::to_string(error)] = count;
    for (std::size_t i = 0; i < watched_.size(); i++) {
      json["backward"][kNames[i]] = watched_[i].backward;
      json["jump_ns"][kNames[i]] = watched_[i].largest_jump_ns;
    }
    return json;
  }

  const clockpage_reader& reader_;
  std::array<Watched, 4> watched_{};  // TAI may be unknown
  std::uint64_t reads_ = 0;
  std::uint64_t overdue_ = 0;
  std::uint64_t overdue_called_good_ = 0;
  std::map<int, std::uint64_t> errors_;
  std::set<int> statuses_;
  std::set<std::uint64_t> epochs_;
};

// Remembers overdue readings until a newer segment covers their counter values, and asks again.
Json contradict(const clockpage_reader& reader, double seconds) {
  std::uint64_t overdue = 0, asked_again = 0, contradicted = 0;
  std::int64_t largest_ns = 0;
  clockpage_time first{};  // of one lease's lateness
  clockpage_time last{};
  bool waiting = false;
  const auto end = kernel_ns(CLOCK_MONOTONIC) + static_cast<std::int64_t>(seconds * 1e9);
  while (kernel_ns(CLOCK_MONOTONIC) < end) {
    clockpage_time now{};
    if (clockpage_now_bounds(&reader, CLOCKPAGE_MONOTONIC, &now) != 0) continue;
    if ((now.flags & CLOCKPAGE_TIME_OVERDUE) != 0) {
      overdue++;
      if (!waiting) first = now;
      last = now;
      waiting = true;
      continue;
    }
    if (!waiting) continue;
    waiting = false;
    for (const clockpage_time& told : {first, last}) {
      clockpage_time again{};
      if (clockpage_at_bounds(&reader, CLOCKPAGE_MONOTONIC, told.counter, &again) != 0) continue;
      asked_again++;
      contradicted += again.ns != told.ns ? 1 : 0;
      largest_ns = std::max(largest_ns, std::abs(again.ns - told.ns));
    }
  }
  Json json;
  json["overdue"] = overdue;
  json["asked_again"] = asked_again;
  json["contradicted"] = contradicted;
  json["largest_ns"] = largest_ns;
  return json;
}

// True time is the kernel's, which does not depend on the counter that pages are read with.
Json judge(const clockpage_reader& reader, double seconds) {
  std::uint64_t leased = 0, overdue = 0, wrong = 0, overdue_wrong = 0;
  std::int64_t first_wrong = 0, last_wrong = 0;
  std::map<int, std::uint64_t> errors;
  const auto end = kernel_ns(CLOCK_MONOTONIC) + static_cast<std::int64_t>(seconds * 1e9);
  for (std::int64_t after = 0; after < end;) {
    clockpage_time t{};
    const std::int64_t before = kernel_ns(CLOCK_MONOTONIC);
    const int error = clockpage_now_bounds(&reader, CLOCKPAGE_MONOTONIC, &t);
    after = kernel_ns(CLOCK_MONOTONIC);
    errors[error]++;
    if (error != 0) continue;
    const bool is_wrong = t.latest_ns < before || t.earliest_ns > after;
    if ((t.flags & CLOCKPAGE_TIME_OVERDUE) != 0) {
      overdue++;
      overdue_wrong += is_wrong ? 1 : 0;
      continue;
    }
    leased++;
    if (!is_wrong) continue;
    if (wrong++ == 0) first_wrong = before;
    last_wrong = after;
  }
  Json json;
  json["leased"] = leased;
  json["overdue"] = overdue;
  json["wrong"] = wrong;
  json["wrong_span_ns"] = last_wrong - first_wrong;
  json["overdue_wrong"] = overdue_wrong;
  for (const auto& [error, count] : errors) json["errors"][std::to_string(error)] = count;
  return json;
}

Json answer(const clockpage_reader& reader, const std::string& line) {
  std::istringstream words(line);
  std::string command;
  words >> command;
  if (command == "at") {
    std::uint64_t counter = 0;
    words >> counter;
    return read_all(reader, counter);
  }
  if (command == "overdue") {
    double seconds = 0;
    words >> seconds;
    return contradict(reader, seconds);
  }
  if (command == "judge") {
    double seconds = 0;
    words >> seconds;
    return judge(reader, seconds);
  }
  if (command == "run") {
    double seconds = 0;
    words >> seconds;
    return Run(reader).run(seconds);
  }
  return read_all(reader, clockpage_counter_ordered());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  clockpage_open_options options{};
  options.size = sizeof options;
  options.directory = argv[1];
  clockpage_open_error error{};
  clockpage_region* region = nullptr;
  if (clockpage_open(&options, &region, &error) != 0) {
    std::cerr << "fault_reader: " << error.where << '\n';
    return 1;
  }
  std::cout << "{}" << std::endl;  // ready
  for (std::string line; std::getline(std::cin, line);)
    std::cout << answer(*clockpage_reader_of(region), line) << std::endl;
  clockpage_close(region);
  return 0;
}
