// SPDX-License-Identifier: MIT
#include "reader_process.hpp"

#include <unistd.h>

#include <algorithm>

namespace clockpage::fault {
namespace {

constexpr unsigned kRoundsPerNap = 64;
constexpr useconds_t kNapUs = 100;
constexpr std::size_t kMostPending = 32;
// The order of libclockpage's pages here: unscaled, unscaled smeared, scaled, scaled smeared.
constexpr std::uint8_t format_of(unsigned page) {
  return page < 2 ? CLOCKPAGE_FORMAT_UNSCALED : CLOCKPAGE_FORMAT_SCALED;
}

bool unsigned_width(const Reading& r, std::uint64_t& width) {
  width = static_cast<std::uint64_t>(r.latest_ns) - static_cast<std::uint64_t>(r.earliest_ns);
  return r.earliest_ns != INT64_MIN && r.latest_ns != INT64_MAX;
}

}  // namespace

ReaderProcess::ReaderProcess(Shared& shared, unsigned self, std::uint64_t seed)
    : shared_(shared), self_(self), lane_(shared.lane[self]), random_(seed * kReaders + self) {}

int ReaderProcess::run(const std::string& directory) {
  clockpage_open_options options{};
  options.size = sizeof options;
  options.directory = directory.c_str();
  clockpage_region* region = nullptr;
  if (clockpage_open(&options, &region, nullptr) != 0) return 1;
  for (unsigned i = 0; i < kPages; i++) {
    const clockpage_data_page* page = clockpage_page_of(region, format_of(i), i & 1);
    if (page == nullptr || clockpage_reader_init(&reader_[i], page, sizeof *page) != 0) return 1;
  }
  lane_.ready.store(true);
  while (!shared_.quit.load(std::memory_order_relaxed)) {
    for (unsigned i = 0; i < kRoundsPerNap; i++) round();
    judge_pending();
    usleep(kNapUs);  // the writer and its tracer need the CPUs too
  }
  clockpage_close(region);
  return 0;
}

ReaderProcess::Stop ReaderProcess::present_stop() const noexcept {
  const std::uint64_t number = shared_.stop.load();
  return {number, shared_.deadline.load()};
}

std::uint64_t ReaderProcess::page_counter(std::uint8_t page, std::uint64_t host) const noexcept {
  const clockpage_data_page& p = *reader_[page].page;
  return clockpage_scale_counter(host, p.scale_ratio, p.scale_frac_bits);
}

void ReaderProcess::round() {
  const std::uint64_t draw = random_();
  std::uint8_t page = draw % kPages;
  std::uint8_t clock = draw / kPages % kClocks.size();
  // What the other one has told us happened before what we read now.
  const Reading* partner = (draw >> 8 & 1) != 0 ? received() : nullptr;
  if (partner != nullptr) {
    page = partner->page;
    clock = partner->clock;
  }
  const Stop stop = present_stop();
  const Reading own = read(page, clock);
  if (!own.valid) return;
  judge(own);
  judge_stopped(stop, own);
  if (partner != nullptr) {
    lane_.tally.exchanged += judge_order(*partner, own);
    const Reading again = evaluate(page, clock, partner->counter);
    lane_.tally.agreements += judge_same(*partner, again, Wrong::disagreement);
  }
  Reading& last = last_leased_[page][clock];
  (void)judge_order(last, own);
  if (!own.overdue) last = own;
  if ((draw >> 9 & 7) == 0) judge_formats(own);
  // Told to the other one; and kept, to be evaluated once more when the writer is well past it.
  const std::uint64_t number = lane_.written.load(std::memory_order_relaxed);
  lane_.ring[number % Shared::kRing] = own;
  lane_.written.store(number + 1, std::memory_order_release);
  if (number < 2) return;
  const std::uint64_t age = 1 + random_() % std::min<std::uint64_t>(number, Shared::kRing / 2);
  const Reading& old = lane_.ring[(number - age) % Shared::kRing];
  if (old.overdue || CLOCKPAGE_LOAD(reader_[old.page].page->index) == old.index) return;
  const Reading again = evaluate(old.page, old.clock, old.counter);
  lane_.tally.settled += judge_same(old, again, Wrong::unsettled);
}

Reading* ReaderProcess::received() {
  const Shared::Lane& other = shared_.lane[(self_ + 1) % kReaders];
  const std::uint64_t written = other.written.load(std::memory_order_acquire);
  if (written == 0) return nullptr;
  received_ = other.ring[(written - 1) % Shared::kRing];
  // Not while it is overwritten: that is kRing readings later.
  std::atomic_thread_fence(std::memory_order_acquire);
  if (other.written.load(std::memory_order_relaxed) - written > Shared::kRing / 2) return nullptr;
  return &received_;
}

void ReaderProcess::fill(Reading& r, const clockpage_time& time) {
  r.counter = time.counter;
  r.epoch = time.epoch;
  r.ns = time.ns;
  r.earliest_ns = time.earliest_ns;
  r.latest_ns = time.latest_ns;
  r.status = time.status;
  r.reason = time.reason;
  r.overdue = (time.flags & CLOCKPAGE_TIME_OVERDUE) != 0;
  r.valid = true;
}

Reading ReaderProcess::read(std::uint8_t page, std::uint8_t clock) {
  Reading r;
  r.page = page;
  r.clock = clock;
  // A step, or a stall of the whole history, between counter and page: the next try succeeds.
  for (int tries = 0; tries < 10; tries++) {
    clockpage_time time{};
    r.index = clockpage_load_index(&reader_[page].page->index);
    r.host_counter = clockpage_counter_ordered();
    const int error = format_of(page) == CLOCKPAGE_FORMAT_UNSCALED
                          ? clockpage_now_bounds(&reader_[page], kClocks[clock], &time)
                          : clockpage_at_bounds(&reader_[page], kClocks[clock],
                                                page_counter(page, r.host_counter), &time);
    const std::uint64_t took = clockpage_counter_ordered() - r.host_counter;
    lane_.tally.longest_ticks = std::max(lane_.tally.longest_ticks, took);
    if (error == CLOCKPAGE_OK) {
      fill(r, time);
      return r;
    }
    if (error == CLOCKPAGE_E_BUSY)
      lane_.tally.busy++;
    else if (error == CLOCKPAGE_E_OUT_OF_RANGE || error == CLOCKPAGE_E_DISCONTINUITY)
      lane_.tally.refused++;
    else
      break;
  }
  count(Wrong::error, r, r);
  return r;
}

Reading ReaderProcess::evaluate(std::uint8_t page, std::uint8_t clock, std::uint64_t counter) {
  Reading r;
  r.page = page;
  r.clock = clock;
  clockpage_time time{};
  r.index = clockpage_load_index(&reader_[page].page->index);
  const int error = clockpage_at_bounds(&reader_[page], kClocks[clock], counter, &time);
  if (error == CLOCKPAGE_E_BUSY) lane_.tally.busy++;
  if (error != CLOCKPAGE_OK) return r;
  fill(r, time);
  return r;
}

void ReaderProcess::judge(const Reading& own) {
  lane_.tally.reads++;
  (own.overdue ? lane_.tally.overdue : lane_.tally.leased)++;
  if (own.earliest_ns > own.ns || own.latest_ns < own.ns) count(Wrong::status, own, own);
  if (own.overdue) {
    if (own.status != CLOCKPAGE_STATUS_FREE_RUNNING && own.status != CLOCKPAGE_STATUS_UNRELIABLE)
      count(Wrong::overdue_status, own, own);
    if (pending_.size() < kMostPending && random_() % 16 == 0) pending_.push_back(own);
  } else if (own.status != CLOCKPAGE_STATUS_UNKNOWN) {
    count(Wrong::status, own, own);
  }
}

bool ReaderProcess::judge_order(const Reading& earlier, const Reading& later) {
  if (!earlier.valid || !later.valid || earlier.overdue || later.overdue) return false;
  if (later.epoch < earlier.epoch) count(Wrong::epoch_backward, earlier, later);
  if (later.epoch == earlier.epoch && later.ns < earlier.ns) count(Wrong::backward, earlier, later);
  return true;
}

bool ReaderProcess::judge_same(const Reading& one, const Reading& again, Wrong kind) {
  if (!one.valid || !again.valid || one.overdue || again.overdue) return false;
  if (one.ns != again.ns || one.earliest_ns != again.earliest_ns ||
      one.latest_ns != again.latest_ns || one.epoch != again.epoch || one.status != again.status ||
      one.reason != again.reason)
    count(kind, one, again);
  return true;
}

// The same instant on another page. A scaled counter value is cut off: up to one of its ticks.
void ReaderProcess::judge_formats(const Reading& own) {
  if (own.overdue) return;
  const std::uint64_t host =
      format_of(own.page) == CLOCKPAGE_FORMAT_UNSCALED ? own.counter : own.host_counter;
  for (std::uint8_t page = 0; page < kPages; page++) {
    if (page == own.page) continue;
    const Reading other = evaluate(page, own.clock, page_counter(page, host));
    if (!other.valid || other.overdue || other.epoch != own.epoch) continue;
    lane_.tally.formats++;
    const std::int64_t apart = other.ns - own.ns;
    if (apart > 2 || apart < -2) count(Wrong::formats, own, other);
  }
}

void ReaderProcess::judge_stopped(const Stop& before, const Reading& own) {
  // Only what was read while one and the same stop lasted.
  if (before.number == 0 || shared_.stop.load() != before.number) return;
  if (before.number != last_stop_) last_overdue_ = {};
  last_stop_ = before.number;
  if (static_cast<std::int64_t>(own.host_counter - before.deadline) >= 0) {
    lane_.tally.after_deadline++;
    if (!own.overdue) count(Wrong::not_flagged, own, own);
  }
  if (!own.overdue) return;
  Reading& last = last_overdue_[own.page][own.clock];
  std::uint64_t was = 0;
  std::uint64_t is = 0;
  if (last.valid && unsigned_width(last, was) && unsigned_width(own, is)) {
    // At least 500 ppm of 1 ms: a whole nanosecond on each side, and more.
    const auto ms = reader_[own.page].page->counter_frequency_hz / 1000;
    const std::uint64_t ticks = own.counter - last.counter;
    if (is < was || (ticks >= 4 * ms && is <= was)) count(Wrong::bound_shrank, last, own);
    if (ticks < 4 * ms && is >= was) return;  // let the distance grow
  }
  last = own;
}

// Whether nothing but bridges have been published since, up to the segment it now lies in.
bool ReaderProcess::only_bridges_since(const Reading& overdue) const {
  const clockpage_data_page& page = *reader_[overdue.page].page;
  const std::uint64_t newest = clockpage_load_index(&page.index);
  bool only = true;
  for (std::uint64_t n = overdue.index + 1; n <= newest && n <= overdue.index + 14; n++) {
    const clockpage_segment& s = page.segment[n % CLOCKPAGE_SEGMENT_COUNT];
    only = only && (CLOCKPAGE_LOAD(s.flags) & CLOCKPAGE_SEGMENT_BRIDGE) != 0 &&
           CLOCKPAGE_LOAD(s.number) == n;
    if (static_cast<std::int64_t>(overdue.counter - CLOCKPAGE_LOAD(s.lease_end)) < 0) break;
  }
  // All of it must still have been there.
  clockpage_fence_before_recheck();
  return only && CLOCKPAGE_LOAD(page.index) <= overdue.index + CLOCKPAGE_HISTORY;
}

void ReaderProcess::judge_pending() {
  std::vector<Reading> still;
  for (const Reading& told : pending_) {
    const Reading now = evaluate(told.page, told.clock, told.counter);
    if (now.valid && now.overdue) still.push_back(told);
    if (!now.valid || now.overdue) continue;
    lane_.tally.bridged++;
    if (now.ns == told.ns) continue;
    if (only_bridges_since(told))
      count(Wrong::bridged_differs, told, now);
    else
      lane_.tally.late_differs++;
  }
  pending_ = std::move(still);
}

void ReaderProcess::count(Wrong kind, const Reading& a, const Reading& b) {
  const auto k = static_cast<unsigned>(kind);
  if (lane_.tally.wrong[k]++ == 0) lane_.first[k] = {a, b};
}

namespace {
inline __attribute__((always_inline)) void trap() { __asm__ volatile("int3" : : : "memory"); }
}  // namespace

void read_between_traps(const std::string& directory) {
  clockpage_open_options options{};
  options.size = sizeof options;
  options.directory = directory.c_str();
  clockpage_region* region = nullptr;
  if (clockpage_open(&options, &region, nullptr) != 0) _exit(1);
  const clockpage_reader* reader = clockpage_reader_of(region);
  for (;;) {
    clockpage_time time{};
    const std::uint64_t newest = CLOCKPAGE_LOAD(reader->page->index);
    const auto start_of = [&](std::uint64_t n) {
      return CLOCKPAGE_LOAD(reader->page->segment[n % CLOCKPAGE_SEGMENT_COUNT].start);
    };
    trap();
    (void)clockpage_now_bounds(reader, CLOCKPAGE_REALTIME, &time);
    trap();
    trap();
    (void)clockpage_at_bounds(reader, CLOCKPAGE_MONOTONIC, start_of(newest - 13), &time);
    trap();
    trap();
    (void)clockpage_at_bounds(reader, CLOCKPAGE_TAI, 1, &time);
    trap();
  }
}

}  // namespace clockpage::fault
