// SPDX-License-Identifier: MIT
#include "host_sources.hpp"

#include <clockpage/counter.h>
#include <fmt/format.h>
#include <sys/timex.h>

#include <algorithm>
#include <cmath>
#include <ctime>

namespace clockpage::producer {

std::variant<std::unique_ptr<VvarSource>, std::string> VvarSource::create() {
  auto proven = KernelClock::prove();
  if (auto* refusal = std::get_if<std::string>(&proven)) return std::move(*refusal);
  return std::make_unique<VvarSource>(std::get<KernelClock>(proven));
}

ObserveResult VvarSource::observe(Observation& observation) noexcept {
  KernelClockSnapshot snapshot;
  std::uint64_t counter = 0;
  if (!clock_.read_with_counter(snapshot, counter)) return ObserveResult::lost;
  const ObserveResult result = observe_trusted(snapshot, counter, observation);
  if (result == ObserveResult::ok) observe_timex(observation);
  return result;
}

std::string VvarSource::description() const {
  return fmt::format("the kernel's own mapping, layout {}, proven against clock_gettime",
                     clock_.layout_name());
}

std::uint64_t VvarSource::frequency_hz() const noexcept {
  KernelClockSnapshot snapshot;
  if (!clock_.read(snapshot) || snapshot.raw_mult == 0) return 0;
  // clocksource_khz2mult rounds to the nearest multiplier; one unit of it is less than a kHz.
  const double khz = std::ldexp(1e6, static_cast<int>(snapshot.raw_shift)) / snapshot.raw_mult;
  return static_cast<std::uint64_t>(std::llround(khz)) * 1000;
}

void OffsetInterval::add(std::int64_t low, std::int64_t high) noexcept {
  if (low > high_ || high < low_) {
    low_ = INT64_MIN;
    high_ = INT64_MAX;
  }
  low_ = std::max(low_, low);
  high_ = std::min(high_, high);
  if (empty_ || held_ < low_ || held_ > high_) held_ = low_ + (high_ - low_) / 2;
  empty_ = false;
}

namespace {

std::int64_t read_clock_ns(clockid_t clock) noexcept {
  timespec ts{};
  clock_gettime(clock, &ts);
  return static_cast<std::int64_t>(ts.tv_sec) * 1'000'000'000 + ts.tv_nsec;
}

struct Bracket {
  std::uint64_t counter = 0;  // middle
  std::int64_t ns = 0;
  std::uint64_t width = ~std::uint64_t{0};  // ticks
};

Bracket narrowest_bracket(clockid_t clock, int tries) noexcept {
  Bracket best;
  for (int i = 0; i < tries; i++) {
    const std::uint64_t before = clockpage_counter_ordered();
    const std::int64_t ns = read_clock_ns(clock);
    const std::uint64_t after = clockpage_counter_ordered();
    if (after - before < best.width) best = {before + (after - before) / 2, ns, after - before};
  }
  return best;
}

constexpr int kTries = 10;
// How often the kernel's choice of clocksource is looked at: about once a second.
constexpr std::uint64_t kObservationsPerLook = 256;
// By when REALTIME has taken a leap second, ticks at 100 Hz and a busy machine included.
constexpr std::int64_t kLongestTickNs = 100'000'000;
// At the start the differences are read so often, but not for longer than this: where clock_gettime
// is slow (user-mode Linux takes tens of microseconds) fewer must do.
constexpr int kStartupReadings = 50'000;
constexpr std::int64_t kStartupNs = 300'000'000;

}  // namespace

BracketSource::BracketSource(std::uint64_t frequency_hz)
    : ns_per_tick_(1e9 / static_cast<double>(frequency_hz)) {
  const std::int64_t end = read_clock_ns(CLOCK_MONOTONIC) + kStartupNs;
  for (int i = 0; i < kStartupReadings && read_clock_ns(CLOCK_MONOTONIC) < end; i++)
    read_differences();
  realtime_.settle();
  boottime_.settle();
}

void BracketSource::read_differences() noexcept {
  for (const auto& [clock, interval] :
       {std::pair{CLOCK_REALTIME, &realtime_}, std::pair{CLOCK_BOOTTIME, &boottime_}}) {
    const std::int64_t before = read_clock_ns(CLOCK_MONOTONIC);
    const std::int64_t other = read_clock_ns(clock);
    const std::int64_t after = read_clock_ns(CLOCK_MONOTONIC);
    interval->add(other - after - 1, other - before + 1);
  }
}

ObserveResult BracketSource::observe(Observation& observation) noexcept {
  if (observations_++ % kObservationsPerLook == 0 && distrusted_clocksource())
    return ObserveResult::counter_untrusted;
  const std::int64_t realtime_before = realtime_.value();
  // Several, so that a step is seen in the first observation after it.
  for (int i = 0; i < kTries; i++) read_differences();
  const Bracket monotonic = narrowest_bracket(CLOCK_MONOTONIC, kTries);
  const Bracket raw = narrowest_bracket(CLOCK_MONOTONIC_RAW, kTries);
  observation.counter = monotonic.counter;
  observation.monotonic = make_instant(static_cast<std::uint64_t>(monotonic.ns), 1ULL << 63);
  observation.period = 0;
  observation.dither = 0;
  // To the same counter value; the two are microseconds apart, so the rate hardly matters.
  const auto apart = static_cast<std::int64_t>(monotonic.counter - raw.counter);
  const auto apart_ns = std::llround(static_cast<double>(apart) * ns_per_tick_);
  observation.raw = add_ns(make_instant(static_cast<std::uint64_t>(raw.ns), 1ULL << 63), apart_ns);
  observation.raw_period = 0;
  timex fields{};
  const int state = adjtimex(&fields);
  observation.quality = quality_from_timex(state, fields);
  observation.pending_leap = pending_leap_from_timex(state, fields);
  set_tai_offset(consistent_tai_offset(fields.tai, realtime_before, monotonic.ns), observation);
  const std::uint64_t width = std::max(monotonic.width, raw.width);
  observation.noise_ns =
      static_cast<std::uint64_t>(std::ceil(static_cast<double>(width) * ns_per_tick_ / 2)) + 1 +
      std::max(realtime_.half_width(), boottime_.half_width());
  observation.realtime_minus_monotonic_ns = realtime_.value();
  observation.boottime_minus_monotonic_ns = boottime_.value();
  return ObserveResult::ok;
}

// The kernel's TAI offset and REALTIME are read one after the other. At a leap second both change,
// and their sum, which is TAI, does not: neither may be used without the other, and REALTIME moves
// by exactly a second, however coarsely it is read.
int BracketSource::consistent_tai_offset(int tai, std::int64_t realtime_before,
                                         std::int64_t monotonic_ns) noexcept {
  const int moved = tai_ ? tai - *tai_ : 0;
  const bool realtime_moved = realtime_.value() != realtime_before;
  if ((moved == 1 || moved == -1) && !realtime_moved) {
    // adjtimex has it from the leap second's instant on, REALTIME from the tick on that counts it.
    // It was set where REALTIME does not follow.
    if (!tai_moved_alone_) tai_moved_alone_ = monotonic_ns;
    if (monotonic_ns - *tai_moved_alone_ < kLongestTickNs) return *tai_;
  }
  tai_moved_alone_.reset();
  if (moved != 0 && realtime_moved)
    realtime_.prefer(realtime_before - moved * std::int64_t{1'000'000'000});
  tai_ = tai;
  return tai;
}

std::string BracketSource::description() const {
  return "clock_gettime bracketed by counter reads";
}

std::uint64_t measure_frequency_hz() {
  const Bracket first = narrowest_bracket(CLOCK_MONOTONIC_RAW, 1000);
  const timespec pause{0, 200'000'000};
  clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
  const Bracket last = narrowest_bracket(CLOCK_MONOTONIC_RAW, 1000);
  const double khz = static_cast<double>(last.counter - first.counter) * 1e6 /
                     static_cast<double>(last.ns - first.ns);
  return static_cast<std::uint64_t>(std::llround(khz)) * 1000;
}

}  // namespace clockpage::producer
