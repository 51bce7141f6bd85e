// SPDX-License-Identifier: MIT
#include "steering.hpp"

#include <algorithm>

namespace clockpage::producer {

namespace {

constexpr std::uint64_t kPpb = 1'000'000'000;

// ppb as 2^-64 per unit, rounded up.
constexpr std::uint64_t growth_frac(std::uint64_t ppb) noexcept {
  return static_cast<std::uint64_t>(make_instant(ppb) / kPpb) + 1;
}

// |period / other - 1| in 2^-64, rounded up.
std::uint64_t deviation_frac(Period period, Period other) noexcept {
  const Period apart = period > other ? period - other : other - period;
  const double share = static_cast<double>(apart) / static_cast<double>(other);
  return share < 0.5 ? static_cast<std::uint64_t>(share * 0x1p64) + 1 : std::uint64_t{1} << 63;
}

Instant limit(Instant value, Instant low, Instant high) noexcept {
  if (difference(value, low) < 0) return low;
  return difference(value, high) > 0 ? high : value;
}

// The slope from base to target, rounded down; never zero, so that the clock never stands still.
Line line_through(std::uint64_t start, Instant base, std::uint64_t end, Instant target,
                  std::uint32_t shift) noexcept {
  const std::uint64_t ticks = (end - start) << shift;
  const auto rise = difference(target, base);
  const clockpage_u128 period = rise > 0 && ticks != 0 ? static_cast<Instant>(rise) / ticks : 0;
  const clockpage_u128 largest = ~std::uint64_t{0};
  return {start, base, static_cast<std::uint64_t>(std::clamp(period, clockpage_u128{1}, largest)),
          shift};
}

std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) noexcept {
  return a > CLOCKPAGE_BOUND_UNKNOWN - b ? CLOCKPAGE_BOUND_UNKNOWN : a + b;
}

// A segment's bounds as they grow, with the plan's growths, and what REALTIME's own rate adds.
// REALTIME is as uncertain as TAI, times its rate: it runs fast where a second is deleted, and
// where a host's smear is undone.
void set_bound_growths(const Plan& plan, bool unsmeared, Segment& s) noexcept {
  std::uint64_t utc_growth = plan.utc_growth_frac;
  if (unsmeared) {
    utc_growth = saturating_add(utc_growth, plan.unsmeared_growth_frac);
    s.terms.utc_bound_ns = saturating_add(s.terms.utc_bound_ns, plan.unsmeared_bound_ns);
  }
  const UtcOffset& utc = s.terms.utc;
  const std::uint64_t faster = utc.after_ns < utc.before_ns ? utc.slope_frac : 0;
  const auto wider = [faster](std::uint64_t value) {
    return faster == 0 ? value : saturating_add(value, clockpage_mul_frac(value, faster) + 1);
  };
  s.terms.utc_bound_ns = wider(s.terms.utc_bound_ns);
  s.terms.utc_bound_growth_frac = growth_per_tick(wider(utc_growth), s.tai);
  s.terms.local_bound_growth_frac = growth_per_tick(plan.local_growth_frac, s.tai);
}

}  // namespace

Steering::Steering(std::uint64_t frequency_hz, std::uint64_t quantum_ticks,
                   const SteeringLimits& limits, const LeapConfig& leaps)
    : limits_(limits),
      quantum_ns_(whole_ns(nominal_period(frequency_hz) * quantum_ticks) + 1),
      monotonic_(nominal_period(frequency_hz)),
      raw_(nominal_period(frequency_hz)),
      leaps_(leaps),
      good_growth_frac_(growth_frac(limits.utc_growth_ppb)) {}

void Steering::observe(const Observation& o) noexcept {
  monotonic_.add({o.counter, o.monotonic, o.period, o.dither, o.noise_ns});
  raw_.add({o.counter, o.raw, o.raw_period, 0, o.noise_ns});
  last_ = o;
  leaps_.observe(o);
  lost_ = doubtful_ = false;
  if (adopted_) {
    // As the page has it by now: a leap second may have passed since it was published.
    const Terms& terms = adopted_->terms;
    const std::uint64_t tai =
        whole_ns(add_ns(monotonic_.predict(o.counter), terms.monotonic_offset_ns));
    realtime_minus_monotonic_ns_ =
        terms.monotonic_offset_ns - terms.utc.at(static_cast<std::int64_t>(tai));
    adopted_.reset();
  }
  // Whoever set the clock knows how good it is; the bound from before says nothing of it.
  if (was_set(o)) was_synchronised_ = false;
  realtime_minus_monotonic_ns_ = o.realtime_minus_monotonic_ns;
  tai_minus_realtime_ns_ = o.tai_minus_realtime_ns;
  if (o.quality.max_error_is_all) was_synchronised_ = o.quality.max_error_ns.has_value();
  if ((o.quality.synchronised || o.quality.max_error_is_all) && o.quality.max_error_ns) {
    was_synchronised_ = true;
    good_counter_ = o.counter;
    good_bound_ns_ = *o.quality.max_error_ns;
    good_growth_frac_ = std::max(growth_frac(limits_.utc_growth_ppb), o.utc_growth_frac);
  }
}

// How fast local clocks may leave what was last seen of them.
std::uint64_t Steering::local_growth_frac() const noexcept {
  return std::max(growth_frac(limits_.local_growth_ppb), last_.local_growth_frac);
}

// A leap second moves REALTIME, not TAI, and setting the kernel's TAI offset moves TAI alone: no
// reason to distrust anything.
bool Steering::was_set(const Observation& o) const noexcept {
  if (!realtime_minus_monotonic_ns_) return false;
  const std::int64_t moved = o.realtime_minus_monotonic_ns - *realtime_minus_monotonic_ns_;
  const std::int64_t leapt =
      o.tai_minus_realtime_ns - tai_minus_realtime_ns_.value_or(o.tai_minus_realtime_ns);
  return moved != 0 && moved + leapt != 0;
}

void Steering::adopt(const Segment& newest) noexcept {
  const Terms& terms = newest.terms;
  adopted_ = newest;
  if ((terms.flags & CLOCKPAGE_SEGMENT_TAI_KNOWN) != 0) leaps_.adopt(terms.monotonic_offset_ns);
  const std::uint8_t status = newest.terms.status;
  if (newest.terms.utc_bound_ns == CLOCKPAGE_BOUND_UNKNOWN) return;
  if (status != CLOCKPAGE_STATUS_SYNCHRONISED && status != CLOCKPAGE_STATUS_FREE_RUNNING) return;
  was_synchronised_ = true;
  good_counter_ = newest.tai.start;
  good_bound_ns_ = newest.terms.utc_bound_ns;
}

std::uint64_t Steering::doubt_ns() const noexcept {
  return std::max(monotonic_.doubt_ns(), raw_.doubt_ns());
}

std::uint64_t Steering::doubt_growth_frac() const noexcept {
  return std::max(monotonic_.doubt_growth_frac(), raw_.doubt_growth_frac());
}

// More than slewing can make good in a segment of so many ticks.
bool Steering::hopeless(std::uint64_t error_ns, std::uint64_t ticks) const noexcept {
  const Period slack = monotonic_.period() / kPpb * limits_.max_slew_ppb;
  return error_ns > whole_ns(slack * ticks);
}

std::uint64_t Steering::ns_since(std::uint64_t then, std::uint64_t counter) const noexcept {
  const auto ticks = static_cast<std::int64_t>(counter - then);
  return ticks <= 0 ? 0 : whole_ns(monotonic_.period() * static_cast<std::uint64_t>(ticks)) + 1;
}

Steering::Correction Steering::correct(const Tracker& tracker, Instant base, std::uint64_t start,
                                       std::uint64_t end) const noexcept {
  const auto ticks = static_cast<std::int64_t>(end - start);
  const Instant wanted = tracker.predict(end);
  const Period period = tracker.period();
  const Period slack = period / kPpb * limits_.max_slew_ppb;
  const Instant low = base + static_cast<Instant>(span(period - slack, ticks));
  const Instant high = base + static_cast<Instant>(span(period + slack, ticks));
  const Instant target = limit(wanted, low, high);
  const std::uint64_t error = std::max(magnitude_ns(difference(base, tracker.predict(start))),
                                       magnitude_ns(difference(target, wanted)));
  return {target, error, target != wanted};
}

Steering::Step Steering::set_offsets(const Terms& before, std::int64_t tai_ns,
                                     std::int64_t monotonic_step_ns, Terms& t) const noexcept {
  const UtcKnowledge& known = leaps_.known();
  t.monotonic_offset_ns = last_.realtime_minus_monotonic_ns + known.tai_offset_ns;
  t.boottime_offset_ns = t.monotonic_offset_ns - last_.boottime_minus_monotonic_ns;
  t.flags = (known.tai_known ? CLOCKPAGE_SEGMENT_TAI_KNOWN : 0) | known.tai_source |
            (known.host_in_smear_of ? CLOCKPAGE_SEGMENT_HOST_IN_SMEAR : 0);
  // MONOTONIC is what is followed; what the others do against it is a step.
  Step step{};
  step.by_ns = t.monotonic_offset_ns - before.monotonic_offset_ns + monotonic_step_ns;
  step.tai_ns = tai_ns + step.by_ns;
  const Smear& host_smear = leaps_.config().host_smear;
  t.utc = unsmeared_offset(before.utc, step.tai_ns, known, host_smear);
  t.leap_indicator = leap_indicator(t.utc, t.utc, step.tai_ns, known, kNoSmear);
  const std::int64_t utc_step = t.utc.at(step.tai_ns) - before.utc.at(tai_ns);
  const std::int64_t boottime_step = t.boottime_offset_ns - before.boottime_offset_ns;
  if (step.by_ns != 0) t.flags |= CLOCKPAGE_SEGMENT_TAI_STEP;
  if (step.by_ns != utc_step) t.flags |= CLOCKPAGE_SEGMENT_REALTIME_STEP;
  if (step.by_ns != boottime_step || monotonic_step_ns != 0)
    t.flags |= CLOCKPAGE_SEGMENT_MONOTONIC_STEP;
  t.epoch = before.epoch + ((t.flags & CLOCKPAGE_SEGMENT_DISCONTINUITY) != 0 ? 1 : 0);
  if (step.by_ns == utc_step)
    step.utc = step.by_ns == 0 ? UtcChange::none : UtcChange::rebased;
  else
    step.utc =
        step.by_ns == 0 && std::abs(utc_step) == kNsPerSecond ? UtcChange::leap : UtcChange::set;
  return step;
}

void Steering::set_bounds(std::uint64_t start, std::uint64_t error_ns, Terms& t) const noexcept {
  const std::uint64_t reading =
      saturating_add(saturating_add(error_ns, doubt_ns()), last_.noise_ns + quantum_ns_);
  // Both clocks are read together, but a disturbed reading may be left out of one only.
  const std::uint64_t age =
      std::max(ns_since(monotonic_.phase_counter(), start), ns_since(raw_.phase_counter(), start));
  t.local_bound_ns = saturating_add(saturating_add(reading, last_.local_error_ns),
                                    clockpage_mul_frac(age, local_growth_frac()) + 1);
  if (!was_synchronised_) {
    t.utc_bound_ns = CLOCKPAGE_BOUND_UNKNOWN;
    return;
  }
  const std::uint64_t good_age = ns_since(good_counter_, start);
  t.utc_bound_ns = saturating_add(saturating_add(good_bound_ns_, reading),
                                  clockpage_mul_frac(good_age, good_growth_frac_) + 1);
}

void Steering::set_status(bool limited, Terms& t) const noexcept {
  const bool good = last_.quality.synchronised && !lost_ && !limited;
  t.reason = last_.quality.reason;
  if (limited) t.reason = CLOCKPAGE_REASON_CATCHING_UP;
  if (lost_) t.reason = CLOCKPAGE_REASON_SOURCE_LOST;
  if (good)
    t.status = CLOCKPAGE_STATUS_SYNCHRONISED;
  else
    t.status = was_synchronised_ ? CLOCKPAGE_STATUS_FREE_RUNNING : CLOCKPAGE_STATUS_UNKNOWN;
  if (doubtful_) t.status = CLOCKPAGE_STATUS_UNRELIABLE;
}

// The source's MONOTONIC or RAW is somewhere else altogether: the counter went on while the clocks
// stood still (a suspend, which shows in BOOTTIME - MONOTONIC), or nobody was here for so long that
// slewing would take many minutes. Whole ns to the source's value; 0: slewing will do.
std::int64_t Steering::jump_ns(const Tracker& tracker, Instant base,
                               const Segment& newest) const noexcept {
  constexpr std::uint64_t suspended_ns = 100'000'000;
  constexpr std::uint64_t hopeless_ns = 5'000'000'000;
  const InstantDelta error = difference(tracker.predict(newest.lease_end), base);
  const std::int64_t boottime = newest.terms.monotonic_offset_ns - newest.terms.boottime_offset_ns;
  const bool suspended = last_.boottime_minus_monotonic_ns != boottime;
  if (magnitude_ns(error) < (suspended ? suspended_ns : hopeless_ns)) return 0;
  return static_cast<std::int64_t>(error >> 64);
}

Bridged Steering::bridge(const Segment& newest, std::uint64_t now) const noexcept {
  Bridged facts;
  facts.reason = lost_ || !ready() ? CLOCKPAGE_REASON_SOURCE_LOST : last_.quality.reason;
  facts.unreliable = doubtful_;
  if (!ready()) return facts;
  const Terms& told = newest.terms;
  const std::uint64_t at =
      static_cast<std::int64_t>(now - newest.tai.start) > 0 ? now : newest.tai.start;
  const Instant page = add_ns(newest.tai.at(at), -told.monotonic_offset_ns);
  const std::uint64_t error = magnitude_ns(difference(page, monotonic_.predict(at)));
  // A step that is seen but cannot be published yet: until it is, nothing is known of that clock.
  Terms due;
  const auto tai = static_cast<std::int64_t>(whole_ns(newest.tai.at(at)));
  (void)set_offsets(told, tai, 0, due);
  const bool utc_due =
      due.utc.at(tai) != told.utc.at(tai) || due.monotonic_offset_ns != told.monotonic_offset_ns;
  const bool boottime_due = due.monotonic_offset_ns - due.boottime_offset_ns !=
                            told.monotonic_offset_ns - told.boottime_offset_ns;
  set_bounds(at, error, due);
  const bool too_far =
      hopeless(saturating_add(error, doubt_ns()), newest.lease_end - newest.tai.start);
  facts.good = last_.quality.synchronised && !lost_ && !utc_due && !too_far;
  facts.utc_bound_ns = utc_due ? CLOCKPAGE_BOUND_UNKNOWN : due.utc_bound_ns;
  facts.local_bound_ns = boottime_due ? CLOCKPAGE_BOUND_UNKNOWN : due.local_bound_ns;
  facts.growth_frac = std::max(last_.local_growth_frac, last_.utc_growth_frac);
  if (doubt_ns() != 0)
    facts.growth_frac =
        std::max(facts.growth_frac, saturating_add(local_growth_frac(), doubt_growth_frac()));
  if (utc_due || too_far) facts.reason = CLOCKPAGE_REASON_CATCHING_UP;
  return facts;
}

Segment worsened(Segment bridge, const Bridged& facts) noexcept {
  Terms& t = bridge.terms;
  t.utc_bound_ns = std::max(t.utc_bound_ns, facts.utc_bound_ns);
  t.local_bound_ns = std::max(t.local_bound_ns, facts.local_bound_ns);
  const std::uint64_t growth = growth_per_tick(facts.growth_frac, bridge.tai);
  t.utc_bound_growth_frac = std::max(t.utc_bound_growth_frac, growth);
  t.local_bound_growth_frac = std::max(t.local_bound_growth_frac, growth);
  if (!facts.good && t.status == CLOCKPAGE_STATUS_SYNCHRONISED) {
    t.status = CLOCKPAGE_STATUS_FREE_RUNNING;
    t.reason = facts.reason;
  }
  if (facts.unreliable) {
    t.status = CLOCKPAGE_STATUS_UNRELIABLE;
    t.reason = facts.reason;
  }
  return bridge;
}

Plan Steering::plan(const Segment& newest, const UtcOffset& smeared,
                    std::uint64_t end) const noexcept {
  const std::uint64_t start = newest.lease_end;
  Plan plan;
  plan.end = end;
  const Instant ran_on = add_ns(newest.tai.at(start), -newest.terms.monotonic_offset_ns);
  const std::int64_t step = jump_ns(monotonic_, ran_on, newest);
  plan.raw_step_ns = jump_ns(raw_, newest.raw.at(start), newest);
  const auto tai_ns = static_cast<std::int64_t>(whole_ns(newest.tai.at(start)));
  const Step utc = set_offsets(newest.terms, tai_ns, step, plan.terms);
  plan.smeared = smeared_terms(smeared, utc, plan.terms.utc);
  set_growth_to_leap(utc.tai_ns, plan);
  if (plan.raw_step_ns != 0 && (plan.terms.flags & CLOCKPAGE_SEGMENT_DISCONTINUITY) == 0)
    plan.terms.epoch++;
  if (plan.raw_step_ns != 0) plan.terms.flags |= CLOCKPAGE_SEGMENT_MONOTONIC_STEP;
  plan.tai_step_ns = plan.terms.monotonic_offset_ns - newest.terms.monotonic_offset_ns + step;
  const Instant monotonic = add_ns(ran_on, step);
  const Correction tai = correct(monotonic_, monotonic, start, end);
  const Correction raw = correct(raw_, add_ns(newest.raw.at(start), plan.raw_step_ns), start, end);
  plan.tai_target = add_ns(tai.target, plan.terms.monotonic_offset_ns);
  plan.raw_target = raw.target;
  plan.period = (tai.target - monotonic) / (end - start);
  plan.raw_period = (raw.target - add_ns(newest.raw.at(start), plan.raw_step_ns)) / (end - start);
  set_bounds(start, std::max(tai.error_ns, raw.error_ns), plan.terms);
  set_status(tai.limited || hopeless(doubt_ns(), end - start), plan.terms);
  set_growth(plan);
  return plan;
}

// A correcting slope is meant for one segment only. Should nobody be there to end it, it leads
// away from the source: bounds must then grow as fast.
void Steering::set_growth(Plan& plan) const noexcept {
  const std::uint64_t leading_away = std::max(deviation_frac(plan.period, monotonic_.period()),
                                              deviation_frac(plan.raw_period, raw_.period()));
  // A source that is slewed hard (adjtimex allows a tick 10 % off) may stop that at any moment.
  const std::uint64_t slewed = deviation_frac(monotonic_.period(), raw_.period());
  const std::uint64_t usual = growth_frac(limits_.local_growth_ppb / 2);
  const std::uint64_t hard = slewed > usual ? slewed - usual : 0;
  const std::uint64_t more = saturating_add(leading_away + hard, doubt_growth_frac());
  plan.utc_growth_frac =
      saturating_add(std::max(growth_frac(limits_.utc_growth_ppb), last_.utc_growth_frac), more);
  plan.local_growth_frac = saturating_add(local_growth_frac(), more);
}

UtcTerms Steering::smeared_terms(const UtcOffset& before, const Step& step,
                                 const UtcOffset& unsmeared) const noexcept {
  const LeapConfig& config = leaps_.config();
  const UtcKnowledge& known = leaps_.known();
  UtcTerms terms;
  terms.offset =
      smeared_offset(before, step.tai_ns, step.by_ns, unsmeared, step.utc, known, config);
  terms.leap_indicator = leap_indicator(terms.offset, unsmeared, step.tai_ns, known, config.smear);
  return terms;
}

// While the host's own clock is in its smear, the pages that undo it can say where the leap second
// is, but not take it: that needs another segment (spec section 4, item 8). Should there be none,
// the bound is to cover it by then.
void Steering::set_growth_to_leap(std::int64_t tai_ns, Plan& plan) const noexcept {
  const auto& leap = leaps_.known().host_in_smear_of;
  if (!leap) return;
  const std::int64_t left = host_leap_ns(*leap, leaps_.config().host_smear) - tai_ns;
  if (left <= 0) return;
  if (left <= kNsPerSecond) {
    plan.unsmeared_growth_frac = ~std::uint64_t{0};
    plan.unsmeared_bound_ns = static_cast<std::uint64_t>(kNsPerSecond - left);
    return;
  }
  plan.unsmeared_growth_frac =
      static_cast<std::uint64_t>(make_instant(kNsPerSecond) / static_cast<Instant>(left));
}

// A segment's end at which that leap second can be taken exactly.
std::uint64_t Steering::good_end(const Segment& newest, std::uint64_t end) const noexcept {
  const auto& leap = leaps_.known().host_in_smear_of;
  if (!leap) return end;
  const std::uint64_t start = newest.lease_end;
  const std::int64_t at = host_leap_ns(*leap, leaps_.config().host_smear);
  // By what the plan will aim at, and a tick more: the leap second must not be left just ahead.
  const Instant aimed = add_ns(monotonic_.predict(start), newest.terms.monotonic_offset_ns);
  const InstantDelta left = difference(make_instant(static_cast<std::uint64_t>(at)), aimed);
  if (left <= 0) return end;
  const Instant ticks =
      (static_cast<Instant>(left) + monotonic_.period() - 1) / monotonic_.period() + 1;
  const std::uint64_t length = end - start;
  return ticks >= length && ticks < 2 * Instant{length} ? start + static_cast<std::uint64_t>(ticks)
                                                        : end;
}

Plan Steering::last_plan(const Segment& newest, const UtcOffset& smeared,
                         std::uint64_t end) const noexcept {
  Plan last = plan(newest, smeared, end);
  const auto ticks = static_cast<std::int64_t>(end - newest.lease_end);
  last.period = monotonic_.period();
  last.raw_period = raw_.period();
  last.tai_target = add_ns(newest.tai.at(newest.lease_end), last.tai_step_ns) +
                    static_cast<Instant>(span(last.period, ticks));
  last.raw_target = add_ns(newest.raw.at(newest.lease_end), last.raw_step_ns) +
                    static_cast<Instant>(span(raw_.period(), ticks));
  set_growth(last);
  if (!doubtful_)
    last.terms.status = CLOCKPAGE_STATUS_FREE_RUNNING;  // whatever it was; the bound says how good
  last.terms.reason = CLOCKPAGE_REASON_PRODUCER_STOPPED;
  return last;
}

Segment Steering::first(std::uint64_t start, std::uint64_t end,
                        std::uint32_t shift) const noexcept {
  Segment segment;
  // Nothing is published yet: all offsets are steps from zero, TAI's line from MONOTONIC's.
  const auto monotonic = static_cast<std::int64_t>(whole_ns(monotonic_.predict(start)));
  (void)set_offsets(Terms{}, monotonic, 0, segment.terms);
  // There is no before to step from.
  segment.terms.flags &= ~std::uint32_t{CLOCKPAGE_SEGMENT_DISCONTINUITY};
  segment.terms.epoch = 1;
  segment.lease_end = end;
  segment.tai = {start, add_ns(monotonic_.predict(start), segment.terms.monotonic_offset_ns),
                 static_cast<std::uint64_t>(monotonic_.period() >> shift), shift};
  segment.raw = {start, raw_.predict(start), static_cast<std::uint64_t>(raw_.period() >> shift),
                 shift};
  set_bounds(start, 1, segment.terms);
  Plan as_it_runs;
  as_it_runs.period = monotonic_.period();
  as_it_runs.raw_period = raw_.period();
  set_growth(as_it_runs);
  set_growth_to_leap(static_cast<std::int64_t>(whole_ns(segment.tai.base)), as_it_runs);
  set_bound_growths(as_it_runs, true, segment);  // more than the smeared pages need
  set_status(false, segment.terms);
  return segment;
}

UtcTerms Steering::first_smeared(const Segment& first) const noexcept {
  const LeapConfig& config = leaps_.config();
  const auto tai = static_cast<std::int64_t>(whole_ns(first.tai.base));
  UtcTerms terms;
  terms.offset = regular_offset(tai, first.terms.utc, leaps_.known(), config);
  terms.leap_indicator =
      leap_indicator(terms.offset, first.terms.utc, tai, leaps_.known(), config.smear);
  return terms;
}

std::int64_t Steering::source_error_ns(const Segment& newest) const noexcept {
  // Against the newest line, extended backwards where it begins after the observation.
  const auto ticks = static_cast<std::int64_t>(last_.counter - newest.tai.start);
  const Period period = Period{newest.tai.period_frac} << newest.tai.shift;
  const Instant page = add_ns(newest.tai.base + static_cast<Instant>(span(period, ticks)),
                              -newest.terms.monotonic_offset_ns);
  return static_cast<std::int64_t>(difference(page, last_.monotonic) >> 64);
}

namespace {

// A page's line from `start` to `end`, its own counter's values, where the host counter's line
// rises to `target` at `host_end` by `period` a tick. An unscaled page has just that line. A scaled
// one has its image: the same slope, and a distance from it that is left over where a line's kink
// falls between two scaled ticks (below 1 ns * 500 ppm each time). Taking the whole distance back
// within this segment would bend the slope; a writer's death now would extend that without limit,
// the next one's first segment would take back what came of it, and so on: with a writer that dies
// again and again, the distance explodes. So a small one is left alone, a larger one taken back
// slowly. Beyond 1 ns it is none of ours, and goes at once.
Line image(const PageWriter& page, std::uint64_t start, Instant base, std::uint64_t end,
           std::uint64_t host_end, Instant target, Period period) noexcept {
  constexpr Instant tolerated = make_instant(1) / 4;
  constexpr std::uint64_t slowly = 10'000'000'000;  // one part in so many: 0.1 ns per second
  const Scale& scale = page.scale();
  if (scale.frac_bits == 0) return line_through(start, base, end, target, page.shift());
  // The last scaled tick lies a little before host_end: by what scaling cuts off.
  target -= scale.remainder(host_end, period);
  const auto rise =
      span((period << scale.frac_bits) / scale.ratio, static_cast<std::int64_t>(end - start));
  const Instant straight = base + static_cast<Instant>(rise);
  const InstantDelta off = difference(target, straight);
  if (magnitude_ns(off) > 1) return line_through(start, base, end, target, page.shift());
  const auto most = static_cast<Instant>(rise) / slowly;
  const bool small =
      off < 0 ? static_cast<Instant>(-off) < tolerated : static_cast<Instant>(off) < tolerated;
  target = small ? straight : limit(target, straight - most, straight + most);
  return line_through(start, base, end, target, page.shift());
}

}  // namespace

Segment steered(const PageWriter& page, const Segment& newest, const Plan& plan) noexcept {
  const std::uint64_t start = newest.lease_end;
  const std::uint64_t end = page.scale().apply(plan.end);
  Segment next;
  next.lease_end = end;
  next.terms = plan.terms;
  next.tai = image(page, start, add_ns(newest.tai.at(start), plan.tai_step_ns), end, plan.end,
                   plan.tai_target, plan.period);
  next.raw = image(page, start, add_ns(newest.raw.at(start), plan.raw_step_ns), end, plan.end,
                   plan.raw_target, plan.raw_period);
  if (page.smear() != kNoSmear) {
    next.terms.utc = plan.smeared.offset;
    next.terms.leap_indicator = plan.smeared.leap_indicator;
  }
  set_bound_growths(plan, page.smear() == kNoSmear, next);
  return next;
}

}  // namespace clockpage::producer
