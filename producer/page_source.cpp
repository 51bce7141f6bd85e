// SPDX-License-Identifier: MIT
#include "page_source.hpp"

#include <clockpage/barrier.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "region.hpp"

namespace clockpage::producer {

namespace {

constexpr std::string_view kNamePrefix = "page:";

std::uint32_t origin_of(std::uint64_t generation) noexcept {
  return static_cast<std::uint32_t>(generation);
}

std::uint64_t generation_of(const void* region) noexcept {
  return CLOCKPAGE_LOAD(static_cast<const clockpage_directory_page*>(region)->generation);
}

bool same_relation(const clockpage_view_reader& a, const clockpage_view_reader& b) noexcept {
  return a.counter_offset == b.counter_offset && a.ratio == b.ratio && a.frac_bits == b.frac_bits;
}

// Half a bound's width, ns; nothing: there is no bound.
std::optional<std::uint64_t> half_width(const clockpage_time& time) noexcept {
  if (time.earliest_ns == INT64_MIN || time.latest_ns == INT64_MAX) return std::nullopt;
  return static_cast<std::uint64_t>(time.latest_ns) - static_cast<std::uint64_t>(time.ns);
}

// |a / b - 1| in 2^-64, rounded up.
std::uint64_t apart_frac(Period a, Period b) noexcept {
  const double share = static_cast<double>(a > b ? a - b : b - a) / static_cast<double>(b);
  return share < 0.5 ? static_cast<std::uint64_t>(share * 0x1p64) + 1 : std::uint64_t{1} << 63;
}

// A growth per unit of a line's ticks as one per ns, rounded up.
std::uint64_t growth_per_ns(std::uint64_t growth_frac, const Line& line) noexcept {
  const clockpage_u128 growth =
      (clockpage_u128{growth_frac} << 64) / std::max<std::uint64_t>(line.period_frac, 1) + 1;
  return growth >> 64 != 0 ? ~std::uint64_t{0} : static_cast<std::uint64_t>(growth);
}

std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) noexcept {
  return a > ~std::uint64_t{0} - b ? ~std::uint64_t{0} : a + b;
}

Period slope(const Line& line) noexcept { return Period{line.period_frac} << line.shift; }

}  // namespace

std::optional<PagePlace> parse_page_place(std::string_view text, std::string* reason) {
  PagePlace place;
  const auto next = [&text] {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string part(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
    return part;
  };
  place.directory = next();
  while (reason->empty() && !text.empty()) {
    const std::string part = next();
    if (part == "guest")
      place.guest = true;
    else if (part.starts_with("view=") && part.size() > 5 && place.view.empty())
      place.view = part.substr(5);
    else if (part.starts_with("parent=") && part.size() > 7 && !place.view.empty() &&
             place.parents.size() < CLOCKPAGE_VIEW_MAX_ANCESTORS)
      place.parents.push_back(part.substr(7));
    else
      *reason = fmt::format(
          "'{}': after the directory may come one view=FILE, then up to {} parent=FILE, and guest",
          part, CLOCKPAGE_VIEW_MAX_ANCESTORS);
  }
  if (place.directory.empty()) *reason = "needs a directory: page:DIR";
  if (!reason->empty()) return std::nullopt;
  return place;
}

std::uint64_t FollowedPage::frequency_hz() const noexcept {
  const std::uint64_t hz = directory.counter_frequency_hz;
  if (!view) return hz;
  const auto own = clockpage_u128{hz} * view->ratio >> view->frac_bits;
  // Whole kHz, as all producers have it.
  return static_cast<std::uint64_t>((own + 500) / 1000) * 1000;
}

PageDescent descent_of(const clockpage_data_page& page) noexcept {
  std::array<char, sizeof page.diagnostics.source + 1> text{};
  for (std::size_t i = 0; i < sizeof page.diagnostics.source; i++)
    text[i] = static_cast<char>(CLOCKPAGE_LOAD(page.diagnostics.source[i]));
  PageDescent descent;
  unsigned origin = 0;
  if (std::sscanf(text.data(), "page:%1u:%8x", &descent.pages, &origin) != 2)
    return {0, origin_of(CLOCKPAGE_LOAD(page.generation))};
  descent.origin = origin;
  return descent;
}

FollowedPage open_page(const PagePlace& place) {
  clockpage_open_options options{};
  options.size = sizeof options;
  options.directory = place.directory.c_str();
  options.view = place.view.empty() ? nullptr : place.view.c_str();
  for (std::size_t i = 0; i < place.parents.size(); i++)
    options.parents[i] = place.parents[i].c_str();
  // Whichever view it is, one by the environment too.
  options.flags = CLOCKPAGE_OPEN_VIEW | (place.guest ? CLOCKPAGE_OPEN_GUEST : 0);
  clockpage_region* region = nullptr;
  clockpage_open_error error{};
  if (clockpage_open(&options, &region, &error) != CLOCKPAGE_OK) throw RegionError(error.where);
  FollowedPage page;
  page.mapping =
      std::shared_ptr<const void>(region, [region](const void*) { clockpage_close(region); });
  page.directory = *clockpage_directory_of(region);
  page.reader = *clockpage_reader_of(region);
  if (const clockpage_view_reader* view = clockpage_view_reader_of(region)) page.view = *view;
  if (page.reader.page->smear != CLOCKPAGE_SMEAR_NONE)
    throw RegionError(place.view + ": is smeared; a page is followed by its unsmeared time");
  return page;
}

// What one pass has read, at one counter value.
struct PageSource::Reading {
  std::uint64_t counter = 0;  // ours
  clockpage_time realtime{};
  clockpage_time monotonic{};
  clockpage_time raw{};
  clockpage_time boottime{};
  Segment at;      // the one that holds there
  Segment newest;  // leased already: what comes next
};

PageSource::PageSource(Open open, Counter& counter)
    : open_(std::move(open)), counter_(counter), page_(open_()) {
  look_for_descent();
}

void PageSource::look_in_background() {
  opener_ = std::thread([this] { open_when_asked(); });
}

PageSource::~PageSource() {
  if (!opener_.joinable()) return;
  ending_ = true;
  asked_.release();
  opener_.join();
}

std::string PageSource::description() const {
  return fmt::format("the page of region {:016x}{}, {} before it{}", page_.directory.generation,
                     page_.view ? ", through a view" : "",
                     descent_.pages == 1   ? "no page"
                     : descent_.pages == 2 ? "1 page"
                                           : fmt::format("{} pages", descent_.pages - 1),
                     trouble_.empty() ? "" : ": " + trouble_);
}

void PageSource::set_own_generation(std::uint64_t generation) noexcept {
  own_origin_ = origin_of(generation);
  own_known_ = true;
  look_for_descent();
}

const clockpage_data_page& PageSource::data() const noexcept {
  return page_.view ? *page_.view->data.page : *page_.reader.page;
}

void PageSource::look_for_descent() noexcept {
  PageDescent now = descent_of(data());
  now.pages++;
  const bool itself = own_known_ && (now.origin == own_origin_ ||
                                     origin_of(page_.directory.generation) == own_origin_);
  if (itself)
    trouble_ = "the page that is followed comes of this very region";
  else if (now.pages > PageDescent::kMostPages)
    trouble_ = "the page that is followed has come through too many pages: they may go in a ring";
  if (now == descent_) return;
  descent_ = now;
  fmt::format_to_n(name_.data(), name_.size() - 1, "{}{}:{:08x}", kNamePrefix,
                   std::min(now.pages, 9U), now.origin);
}

ObserveResult PageSource::distrust(const char* why) {
  trouble_ = fmt::format("source page: {}", why);
  return ObserveResult::counter_untrusted;
}

ObserveResult PageSource::judge(int error) {
  switch (error) {
    case CLOCKPAGE_E_BUSY:
      return ObserveResult::lost;
    case CLOCKPAGE_E_REVOKED:
      if (CLOCKPAGE_LOAD(data().revoked) == CLOCKPAGE_REVOKED_COUNTER)
        return distrust("its producer can no longer trust the counter");
      want_anew_ = true;  // another may have its name
      return ObserveResult::lost;
    case CLOCKPAGE_E_VIEW:       // withdrawn
    case CLOCKPAGE_E_DISRUPTED:  // an ancestor changed: what it comes to is not known yet
      return ObserveResult::doubtful;
    default:
      want_anew_ = true;
      return ObserveResult::doubtful;
  }
}

// The view, and the region that it is of, as they are now.
ObserveResult PageSource::renew_view() {
  const void* region = page_.view ? page_.view->region : nullptr;
  if (generation_of(region) != page_.directory.generation)
    return distrust("another region has come to its place: the counter is of another host");
  if (clockpage_view_reader_is_current(&*page_.view)) return ObserveResult::ok;
  clockpage_view_reader now{};
  const void* ancestors[CLOCKPAGE_VIEW_MAX_ANCESTORS];
  for (std::uint32_t i = 0; i < page_.view->ancestor_count; i++)
    ancestors[i] = page_.view->ancestor[i];
  const int error = clockpage_view_reader_init_nested(&now, page_.view->view, sizeof *now.view,
                                                      region, CLOCKPAGE_REGION_SIZE, ancestors,
                                                      page_.view->ancestor_count);
  if (error != CLOCKPAGE_OK) return judge(error);
  if (!same_relation(now, *page_.view))
    return distrust("its view says that the counter now comes of the host's in another way");
  page_.view = now;
  return ObserveResult::ok;
}

int PageSource::read(int clock, std::uint64_t counter, clockpage_time& time) const noexcept {
  if (!page_.view) return clockpage_at_bounds(&page_.reader, clock, counter, &time);
  clockpage_view_time through{};
  const int error = clockpage_view_at_bounds(&*page_.view, clock, counter,
                                             page_.view->disruption_marker, &through);
  if (error == CLOCKPAGE_OK) time = through.time;
  return error;
}

// The segments as they are, with the fractions that a reading lacks. False: they changed meanwhile.
bool PageSource::find_segments(std::uint64_t page_counter, Reading& r) const noexcept {
  const clockpage_data_page& page = data();
  const std::uint32_t shift = page_.view ? page_.view->data.delta_shift : page_.reader.delta_shift;
  const std::uint64_t n = clockpage_load_index(&page.index);
  r.newest = r.at = load_segment(page, shift, n);
  for (std::uint64_t back = 1; back <= CLOCKPAGE_HISTORY; back++) {
    if (static_cast<std::int64_t>(page_counter - r.at.tai.start) >= 0) break;
    r.at = load_segment(page, shift, n - back);
    if (r.at.number != n - back) return false;
  }
  clockpage_fence_before_recheck();  // P2
  return CLOCKPAGE_LOAD(page.index) == n && r.newest.number == n;
}

// Whether the segment is what the five readings are of.
bool PageSource::fits(const Reading& r) const noexcept {
  const std::uint64_t c = r.realtime.counter;
  const auto mono = page_.view ? static_cast<std::int64_t>(page_.view->monotonic_offset_ns) : 0;
  const auto boot = page_.view ? static_cast<std::int64_t>(page_.view->boottime_offset_ns) : 0;
  if (static_cast<std::int64_t>(c - r.at.tai.start) < 0) return false;
  const Terms& t = r.at.terms;
  const auto tai = static_cast<std::int64_t>(whole_ns(r.at.tai.at(c)));
  const auto same = [&](const clockpage_time& time, std::int64_t ns) {
    return time.counter == c && time.epoch == t.epoch && time.ns == ns;
  };
  return same(r.realtime, tai - t.utc.at(tai)) &&
         same(r.monotonic, tai - t.monotonic_offset_ns + mono) &&
         same(r.boottime, tai - t.boottime_offset_ns + boot) &&
         same(r.raw, static_cast<std::int64_t>(whole_ns(r.at.raw.at(c))) + mono);
}

// A page's period in ticks of the counter that is read here.
Period PageSource::own_period(Period page_period) const noexcept {
  if (!page_.view || page_.view->ratio == std::uint64_t{1} << page_.view->frac_bits)
    return page_period;
  const clockpage_data_page& page = data();
  if (page_.view->ratio == page.scale_ratio && page_.view->frac_bits == page.scale_frac_bits)
    return page_period;
  return (page_period << page_.view->frac_bits) / page_.view->ratio;
}

// What is leased already is known, and it is what comes next: the mean slope up to its end predicts
// better than the slope at this moment, which may be correcting an error that is over by then.
void PageSource::fill_lines(const Reading& r, Observation& o) const noexcept {
  const std::uint64_t c = r.realtime.counter;
  const auto offset = page_.view ? static_cast<std::int64_t>(page_.view->monotonic_offset_ns) : 0;
  const bool more = r.newest.number != r.at.number && r.newest.terms.epoch == r.at.terms.epoch;
  std::uint64_t off_slope = 0;
  const auto mean = [&](const Line& at, const Line& newest) {
    Period period = slope(at);
    if (more) {
      const std::uint64_t end = r.newest.lease_end;
      period = static_cast<Instant>(difference(newest.at(end), at.at(c))) / (end - c);
      off_slope = std::max({off_slope, apart_frac(period, std::max<Period>(slope(at), 1)),
                            apart_frac(period, std::max<Period>(slope(newest), 1))});
    }
    return own_period(period);
  };
  o.monotonic = add_ns(r.at.tai.at(c), offset - r.at.terms.monotonic_offset_ns);
  o.period = mean(r.at.tai, r.newest.tai);
  // A page's slopes are steered a little in every segment: that is no change of frequency.
  o.dither = o.period >> 22;
  o.raw = add_ns(r.at.raw.at(c), offset);
  o.raw_period = mean(r.at.raw, r.newest.raw);
  o.noise_ns = 0;
  // The page bounds its source by its own slopes; the mean one is a little off those.
  const auto grows = [&](std::uint64_t at, std::uint64_t newest) {
    const std::uint64_t later = more ? growth_per_ns(newest, r.newest.tai) : 0;
    return saturating_add(std::max(growth_per_ns(at, r.at.tai), later), off_slope);
  };
  o.utc_growth_frac = grows(r.at.terms.utc_bound_growth_frac, r.newest.terms.utc_bound_growth_frac);
  o.local_growth_frac =
      grows(r.at.terms.local_bound_growth_frac, r.newest.terms.local_bound_growth_frac);
}

void PageSource::fill(const Reading& r, Observation& o) const noexcept {
  o = Observation{};
  o.counter = r.counter;
  fill_lines(r, o);
  const Terms& t = r.at.terms;
  const auto tai = static_cast<std::int64_t>(whole_ns(r.at.tai.at(r.realtime.counter)));
  o.realtime_minus_monotonic_ns = r.realtime.ns - r.monotonic.ns;
  o.boottime_minus_monotonic_ns = r.boottime.ns - r.monotonic.ns;
  o.tai_minus_realtime_ns = t.utc.at(tai);
  o.tai_known = (t.flags & CLOCKPAGE_SEGMENT_TAI_KNOWN) != 0;
  o.tai_source = t.flags & CLOCKPAGE_SEGMENT_TAI_SOURCE;
  const UtcOffset& utc = r.newest.terms.epoch == t.epoch ? r.newest.terms.utc : t.utc;
  if (utc.leaps() && utc.start_ns == utc.end_ns && tai < utc.start_ns) {
    o.pending_leap = utc.after_ns > utc.before_ns ? 1 : -1;
    o.pending_leap_utc_s = (utc.start_ns - std::min(utc.before_ns, utc.after_ns)) / kNsPerSecond;
  }
  // The worse of what holds now and what is leased for next.
  const std::optional<std::uint64_t> local = half_width(r.monotonic);
  o.local_error_ns =
      std::max(local.value_or(CLOCKPAGE_BOUND_UNKNOWN), r.newest.terms.local_bound_ns);
  Quality& q = o.quality;
  q.max_error_is_all = true;
  q.max_error_ns = half_width(r.realtime);
  if (r.newest.terms.utc_bound_ns == CLOCKPAGE_BOUND_UNKNOWN) q.max_error_ns.reset();
  if (q.max_error_ns) q.max_error_ns = std::max(*q.max_error_ns, r.newest.terms.utc_bound_ns);
  const bool next_good = r.newest.terms.status == CLOCKPAGE_STATUS_SYNCHRONISED;
  q.synchronised =
      r.realtime.status == CLOCKPAGE_STATUS_SYNCHRONISED && next_good && q.max_error_ns;
  q.reason = next_good ? r.realtime.reason : r.newest.terms.reason;
  const bool overdue = (r.realtime.flags & CLOCKPAGE_TIME_OVERDUE) != 0;
  if (q.reason != CLOCKPAGE_REASON_PRODUCER_STOPPED &&
      (overdue || (!q.synchronised && q.reason == 0)))
    q.reason = CLOCKPAGE_REASON_SOURCE_LOST;
}

ObserveResult PageSource::try_to_observe(Observation& observation, bool& again) {
  again = false;
  if (page_.view) {
    const ObserveResult renewed = renew_view();
    if (renewed != ObserveResult::ok) return renewed;
  } else if (CLOCKPAGE_LOAD(page_.reader.page->generation) != page_.directory.generation) {
    return distrust("another region has come to its place: the counter is of another host");
  }
  Reading r;
  r.counter = counter_.read();
  for (const auto& [clock, time] :
       {std::pair{CLOCKPAGE_REALTIME, &r.realtime}, std::pair{CLOCKPAGE_MONOTONIC, &r.monotonic},
        std::pair{CLOCKPAGE_MONOTONIC_RAW, &r.raw}, std::pair{CLOCKPAGE_BOOTTIME, &r.boottime}}) {
    const int error = read(clock, r.counter, *time);
    if (error == CLOCKPAGE_OK) continue;
    again = true;  // by now the view, or the page, may be another one
    return judge(error);
  }
  if (!find_segments(r.realtime.counter, r) || !fits(r)) {
    again = true;
    return ObserveResult::lost;
  }
  // While it is computed back from a smear REALTIME moves against MONOTONIC, and what is TAI then
  // is not said.
  const std::uint32_t flags = r.at.terms.flags | r.newest.terms.flags;
  if ((flags & CLOCKPAGE_SEGMENT_HOST_IN_SMEAR) != 0 || r.realtime.smear != CLOCKPAGE_SMEAR_NONE)
    return ObserveResult::lost;
  if (r.realtime.status >= CLOCKPAGE_STATUS_UNRELIABLE ||
      r.newest.terms.status >= CLOCKPAGE_STATUS_UNRELIABLE)
    return ObserveResult::doubtful;
  const auto since = static_cast<std::int64_t>(r.realtime.counter - r.newest.lease_end);
  if (since > static_cast<std::int64_t>(page_.directory.counter_frequency_hz)) want_anew_ = true;
  fill(r, observation);
  return ObserveResult::ok;
}

ObserveResult PageSource::observe(Observation& observation) noexcept {
  if (!trouble_.empty()) return ObserveResult::doubtful;
  if (take_anew() != ObserveResult::ok) return ObserveResult::counter_untrusted;
  want_anew_ = false;
  ObserveResult result = ObserveResult::lost;
  bool again = true;
  for (int pass = 0; pass < CLOCKPAGE_MAX_PASSES && again; pass++)
    result = try_to_observe(observation, again);
  look_for_descent();
  if (want_anew_) look_anew();
  return trouble_.empty() || result == ObserveResult::counter_untrusted ? result
                                                                        : ObserveResult::doubtful;
}

// ---- another region under the same name

void PageSource::look_anew() noexcept {
  const std::uint64_t now = counter_.read();
  if (opening_ != Opening::none || now - tried_at_ < frequency_hz() / 2) return;
  tried_at_ = now;
  opening_ = Opening::asked;
  if (opener_.joinable())
    asked_.release();
  else
    open_anew();
}

void PageSource::open_when_asked() noexcept {
  for (;;) {
    asked_.acquire();
    if (ending_) return;
    open_anew();
  }
}

void PageSource::open_anew() noexcept {
  try {
    anew_ = open_();
  } catch (const std::exception&) {
    anew_.reset();  // there is none as yet
  }
  opening_.store(Opening::done, std::memory_order_release);
}

ObserveResult PageSource::take_anew() {
  if (opening_.load(std::memory_order_acquire) != Opening::done) return ObserveResult::ok;
  std::optional<FollowedPage> found = std::exchange(anew_, std::nullopt);
  opening_ = Opening::none;
  if (!found || found->directory.generation == page_.directory.generation) return ObserveResult::ok;
  const clockpage_directory_page& was = page_.directory;
  const clockpage_directory_page& is = found->directory;
  if (!std::equal(std::begin(was.host_id), std::end(was.host_id), is.host_id) ||
      !std::equal(std::begin(was.boot_id), std::end(was.boot_id), is.boot_id))
    return distrust("the region in its place is of another host, or another boot of it");
  if (page_.view.has_value() != found->view.has_value() ||
      (found->view && !same_relation(*found->view, *page_.view)))
    return distrust("its view says that the counter now comes of the host's in another way");
  page_ = std::move(*found);
  look_for_descent();
  return ObserveResult::ok;
}

}  // namespace clockpage::producer
