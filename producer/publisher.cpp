// SPDX-License-Identifier: MIT
#include "publisher.hpp"

#include <clockpage/barrier.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace clockpage::producer {

namespace {

// Lateness once seen is believed to come again for about this long.
constexpr std::uint64_t kForgetSeconds = 15;

// A store this close to the segment's start is counted as late already.
constexpr std::uint64_t kLateGuardNs = 1000;

LeapConfig with_smear(LeapConfig config, const PageWriter& smeared) {
  config.smear = smeared.smear();
  return config;
}

}  // namespace

Publisher::Publisher(const std::array<clockpage_data_page*, kPages>& pages, Counter& counter,
                     TimeSource& source, std::uint64_t frequency_hz, std::uint64_t quantum_ticks,
                     const PublisherConfig& config, bool adopted)
    : counter_(counter),
      source_(source),
      frequency_hz_(frequency_hz),
      pages_{PageWriter(*pages[0]), PageWriter(*pages[1]), PageWriter(*pages[2]),
             PageWriter(*pages[3])},
      steering_(frequency_hz, quantum_ticks, config.limits, with_smear(config.leaps, pages_[1])),
      period_(ticks(config.period_ns)),
      margin_(ticks(config.margin_ns)),
      min_lead_(ticks(config.lead_ns)),
      max_lead_(std::max(ticks(config.max_lead_ns), min_lead_)),
      lead_(min_lead_),
      must_bridge_(adopted) {
  told_ = pages_[0].diagnostics();
  if (adopted) {
    finish_dead_writers_publication();
    steering_.adopt(pages_[0].newest());
  }
  told_.producer_pid = static_cast<std::uint64_t>(getpid());
  told_.period_ns = config.period_ns;
  if (adopted) told_.adoptions++;
  write_diagnostics();
}

std::uint64_t Publisher::ticks(std::uint64_t ns) const noexcept {
  return static_cast<std::uint64_t>(clockpage_u128{ns} * frequency_hz_ / 1'000'000'000);
}

std::uint64_t Publisher::ns(std::uint64_t ticks) const noexcept {
  return static_cast<std::uint64_t>(clockpage_u128{ticks} * 1'000'000'000 / frequency_hz_);
}

bool Publisher::in_time(std::uint64_t start) noexcept {
  return static_cast<std::int64_t>(start - margin_ - counter_.read()) > 0;
}

StepResult Publisher::step() noexcept { return advance(false); }

StepResult Publisher::finish() noexcept {
  // A lease that is too near its end can only be extended; the next one is steered.
  StepResult result = advance(true);
  for (int bridges = 0;
       bridges < 3 && (result == StepResult::bridged || result == StepResult::interrupted);) {
    if (result == StepResult::bridged) bridges++;
    result = advance(true);
  }
  told_.producer_pid = 0;
  write_diagnostics();
  return result;
}

// The steps of spec section 5.1: lease.pml [5.1.1] to [5.1.5 count].
StepResult Publisher::advance(bool last) noexcept {
  if (jumped_back(counter_.read())) return distrust_counter();
  // lease.pml [5.1.1]
  const Segment before = pages_[0].newest();
  const std::uint64_t wanted = before.lease_end - lead_;
  // One segment at most begins in the future: readers then step back once at most.
  const bool lease_allows = static_cast<std::int64_t>(wanted - before.tai.start) > 0;
  const std::uint64_t due = lease_allows ? wanted : before.tai.start;
  counter_.wait_until(due);
  const std::uint64_t now = counter_.read();
  if (jumped_back(now)) return distrust_counter();
  last_read_ = now;
  if (static_cast<std::int64_t>(now - due) < 0) return StepResult::interrupted;
  if (!must_bridge_) adapt_lead(now - due);

  if (!observe()) return distrust_counter();

  // A second writer's slots must not be written to; the indices' stores check once more.
  // lease.pml [5.1.4 second writer]
  for (const PageWriter& page : pages_)
    if (!page.is_ours()) return StepResult::second_writer;

  const std::uint64_t start = before.lease_end;
  // lease.pml [5.1.3]
  bool bridge = must_bridge_ || !steering_.ready() || !in_time(start);
  if (!bridge) {
    const std::uint64_t end = steering_.good_end(before, start + std::max(period_, lead_));
    const UtcOffset smeared = pages_[1].newest().terms.utc;
    fill_steered(last ? steering_.last_plan(before, smeared, end)
                      : steering_.plan(before, smeared, end));
    bridge = !in_time(start);  // lease.pml [5.1.4 check]
  }
  if (bridge) {
    // Late since the source was read: by a stall, or because the counter jumped. A bridge may say
    // worse of the line, so it must know.
    if (counter_.read() - steering_.observation().counter > margin_ && !observe())
      return distrust_counter();
    fill_bridge();
  }
  if (!publish_all()) return StepResult::second_writer;
  must_bridge_ = false;
  account(bridge, before);
  return bridge ? StepResult::bridged : StepResult::steered;
}

// False: the source no longer trusts the counter.
bool Publisher::observe() noexcept {
  Observation observation;
  const ObserveResult observed = source_.observe(observation);
  if (observed == ObserveResult::ok)
    steering_.observe(observation);
  else if (observed == ObserveResult::doubtful)
    steering_.source_doubtful();
  else
    steering_.source_lost();
  return observed != ObserveResult::counter_untrusted;
}

void Publisher::revoke(std::uint64_t reason) noexcept {
  for (PageWriter& page : pages_) page.revoke(reason);
}

StepResult Publisher::distrust_counter() noexcept {
  revoke(CLOCKPAGE_REVOKED_COUNTER);
  return StepResult::counter_untrusted;
}

// By what this writer has read before (two CPUs' counters may differ by a little less than the
// time that a read takes), or, after a restart, by what is published: at most one segment begins in
// the future, so a counter before the last but one went back.
bool Publisher::jumped_back(std::uint64_t now) const noexcept {
  if (last_read_ != 0 &&
      static_cast<std::int64_t>(now - last_read_) < -static_cast<std::int64_t>(ticks(kLateGuardNs)))
    return true;
  const Segment earlier = pages_[0].load(pages_[0].index() - 1);
  return earlier.number == pages_[0].index() - 1 &&
         static_cast<std::int64_t>(now - earlier.tai.start) < 0;
}

void Publisher::adapt_lead(std::uint64_t lateness) noexcept {
  const std::uint64_t now = counter_.read();
  const std::uint64_t since = std::min(now - last_wake_, kForgetSeconds * frequency_hz_);
  last_wake_ = now;
  const auto forgotten = static_cast<std::uint64_t>(clockpage_u128{worst_lateness_} * since /
                                                    (kForgetSeconds * frequency_hz_));
  worst_lateness_ = std::max(worst_lateness_ - forgotten, std::min(lateness, max_lead_));
  lead_ = std::clamp(margin_ + worst_lateness_ + worst_lateness_ / 2, min_lead_, max_lead_);
}

void Publisher::fill_steered(const Plan& plan) noexcept {
  for (PageWriter& page : pages_) page.fill_next(steered(page, page.newest(), plan));
}

// Each page goes on from its own newest segment. The new lease's end is common to all.
// lease.pml [5.1.3 bridge]
void Publisher::fill_bridge() noexcept {
  const std::uint64_t now = counter_.read();
  std::uint64_t from = now;
  for (const PageWriter& page : pages_) {
    if (page.scale().frac_bits != 0) continue;
    const std::uint64_t end = page.newest().lease_end;
    if (static_cast<std::int64_t>(end - from) > 0) from = end;
  }
  const std::uint64_t end = from + period_ + lead_;
  const Bridged bridged = steering_.bridge(pages_[0].newest(), now);
  for (PageWriter& page : pages_)
    page.fill_next(worsened(continued(page.newest(), page.scale().apply(end)), bridged));
}

// lease.pml [5.1.5 publish]
bool Publisher::publish_all() noexcept {
  for (PageWriter& page : pages_)
    if (!page.publish()) return false;
  return true;
}

// Only now, with the indices stored, can it be told whether a steering store came too late:
// readers may have used the old line past its lease's end, where the new one holds.
// lease.pml [5.1.5 count]
void Publisher::account(bool bridged, const Segment& before) noexcept {
  const std::uint64_t after = last_read_ = counter_.read();
  const Segment now = pages_[0].newest();
  told_.publications++;
  if (bridged) {
    told_.bridges++;
  } else {
    const auto margin = static_cast<std::int64_t>(before.lease_end - after);
    const std::int64_t margin_ns = margin < 0
                                       ? -static_cast<std::int64_t>(ns(after - before.lease_end))
                                       : static_cast<std::int64_t>(ns(before.lease_end - after));
    told_.min_margin_ns = std::min(told_.min_margin_ns, margin_ns);
    count_if_late(pages_[0], before, after);
    const std::uint32_t flags = now.terms.flags;
    if ((flags & CLOCKPAGE_SEGMENT_REALTIME_STEP) != 0) told_.realtime_steps++;
    if ((flags & CLOCKPAGE_SEGMENT_TAI_STEP) != 0) told_.tai_steps++;
    if ((flags & CLOCKPAGE_SEGMENT_MONOTONIC_STEP) != 0) told_.monotonic_steps++;
  }
  told_.lead_ns = ns(lead_);
  told_.source_error_ns = steering_.ready() ? steering_.source_error_ns(before) : 0;
  const Observation& seen = steering_.observation();
  told_.source_max_error_ns = seen.quality.max_error_ns.value_or(CLOCKPAGE_BOUND_UNKNOWN);
  told_.source_frequency_hz = static_cast<std::uint64_t>(make_instant(1'000'000'000) /
                                                         std::max<Period>(steering_.period(), 1));
  tell_leap_table();
  write_diagnostics();
}

void Publisher::tell_leap_table() noexcept {
  const std::optional<LeapTable>& table = steering_.leaps().config().table;
  if (!table) return;
  told_.leap_table_updated_s = static_cast<std::uint64_t>(table->updated_s());
  told_.leap_table_expires_s = static_cast<std::uint64_t>(table->expires_s());
  told_.leap_table_offset_s = steering_.leaps().known().table_offset_s.value_or(0);
}

// Lateness is counted a little early: a CPU may run a reader's re-check ahead of its counter read,
// so that it misses a store made this shortly before the start.
void Publisher::count_if_late(const PageWriter& page, const Segment& before,
                              std::uint64_t after) noexcept {
  const std::uint64_t start = before.lease_end;
  if (static_cast<std::int64_t>(start - after) > static_cast<std::int64_t>(ticks(kLateGuardNs)))
    return;
  told_.late_publications++;
  count_disagreement(page, before, after);
}

// How far readers of the old line and of the new one can be apart at host counter `at`.
void Publisher::count_disagreement(const PageWriter& page, const Segment& before,
                                   std::uint64_t at) noexcept {
  const std::uint64_t counter = page.scale().apply(at);
  if (static_cast<std::int64_t>(counter - before.lease_end) <= 0) return;
  const Segment now = page.newest();
  const Terms& t = now.terms;
  const Terms& was = before.terms;
  // A step may move any one of the five clocks and leave the others.
  const InstantDelta tai = difference(now.tai.at(counter), before.tai.at(counter));
  const InstantDelta raw = difference(now.raw.at(counter), before.raw.at(counter));
  std::uint64_t apart = std::max(magnitude_ns(tai), magnitude_ns(raw));
  const auto tai_ns = [&](const Segment& segment) {
    return static_cast<std::int64_t>(whole_ns(segment.tai.at(counter)));
  };
  for (const std::int64_t offset : {t.utc.at(tai_ns(now)) - was.utc.at(tai_ns(before)),
                                    t.monotonic_offset_ns - was.monotonic_offset_ns,
                                    t.boottime_offset_ns - was.boottime_offset_ns})
    apart = std::max(apart, magnitude_ns(tai - InstantDelta{offset} * (InstantDelta{1} << 64)));
  told_.late_max_ns = std::max(told_.late_max_ns, apart);
}

// A writer that died between two index stores has left some pages one segment behind the others.
// Their next segments are complete (all slots are filled before the first index moves): they are
// published now, late, so that all pages carry one function again. lease.pml [5.1.6 finish]
void Publisher::finish_dead_writers_publication() noexcept {
  std::uint64_t furthest = pages_[0].index();  // the spec leaves the order of the pages open
  for (const PageWriter& page : pages_)
    if (static_cast<std::int64_t>(page.index() - furthest) > 0) furthest = page.index();
  for (PageWriter& page : pages_) {
    if (page.index() + 1 != furthest || !page.next_is_complete()) continue;
    const Segment before = page.newest();
    if (!page.publish()) continue;
    if ((page.newest().terms.flags & CLOCKPAGE_SEGMENT_BRIDGE) != 0) continue;
    told_.late_publications++;
    count_disagreement(page, before, counter_.read());
  }
}

void Publisher::write_diagnostics() noexcept {
  const std::string_view name = source_.name();
  std::memset(told_.source, 0, sizeof told_.source);
  std::memcpy(told_.source, name.data(), std::min(name.size(), sizeof told_.source - 1));
  for (PageWriter& page : pages_) {
    clockpage_diagnostics& d = page.diagnostics();
    for (std::size_t i = 0; i < sizeof d.source; i++) CLOCKPAGE_STORE(d.source[i], told_.source[i]);
    CLOCKPAGE_STORE(d.producer_pid, told_.producer_pid);
    CLOCKPAGE_STORE(d.adoptions, told_.adoptions);
    CLOCKPAGE_STORE(d.publications, told_.publications);
    CLOCKPAGE_STORE(d.bridges, told_.bridges);
    CLOCKPAGE_STORE(d.late_publications, told_.late_publications);
    CLOCKPAGE_STORE(d.late_max_ns, told_.late_max_ns);
    CLOCKPAGE_STORE(d.min_margin_ns, told_.min_margin_ns);
    CLOCKPAGE_STORE(d.realtime_steps, told_.realtime_steps);
    CLOCKPAGE_STORE(d.tai_steps, told_.tai_steps);
    CLOCKPAGE_STORE(d.monotonic_steps, told_.monotonic_steps);
    CLOCKPAGE_STORE(d.period_ns, told_.period_ns);
    CLOCKPAGE_STORE(d.lead_ns, told_.lead_ns);
    CLOCKPAGE_STORE(d.source_error_ns, told_.source_error_ns);
    CLOCKPAGE_STORE(d.source_max_error_ns, told_.source_max_error_ns);
    CLOCKPAGE_STORE(d.source_frequency_hz, told_.source_frequency_hz);
    CLOCKPAGE_STORE(d.leap_table_updated_s, told_.leap_table_updated_s);
    CLOCKPAGE_STORE(d.leap_table_expires_s, told_.leap_table_expires_s);
    CLOCKPAGE_STORE(d.leap_table_offset_s, told_.leap_table_offset_s);
  }
}

}  // namespace clockpage::producer
