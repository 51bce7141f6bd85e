// SPDX-License-Identifier: MIT
#include "region_adoption.hpp"

#include <clockpage/barrier.h>
#include <clockpage/clockpage.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace clockpage::producer {

namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& path, const std::string& reason) {
  throw RegionError(fmt::format("{}: {}", path.string(), reason));
}

void check_counter(const fs::path& path, const clockpage_directory_page& d,
                   const CounterIdentity& counter) {
  // Two measurements of one counter differ by less than this; two counters by more.
  const std::uint64_t tolerance = counter.frequency_hz / 5000;
  const std::uint64_t apart = d.counter_frequency_hz > counter.frequency_hz
                                  ? d.counter_frequency_hz - counter.frequency_hz
                                  : counter.frequency_hz - d.counter_frequency_hz;
  if (d.counter_kind != counter.kind || apart > tolerance)
    fail(path,
         fmt::format("was made for another counter ({} Hz; this one has {} Hz); left as it is",
                     d.counter_frequency_hz, counter.frequency_hz));
}

void check_source(const fs::path& path, const clockpage_diagnostics& diagnostics,
                  std::string_view source) {
  const char* name = reinterpret_cast<const char*>(diagnostics.source);
  std::string published(name, strnlen(name, sizeof diagnostics.source));
  // It goes into a message: whatever is no printable ASCII becomes '?'.
  std::replace_if(
      published.begin(), published.end(), [](char c) { return c < 0x21 || c > 0x7e; }, '?');
  if (!published.empty() && (published == "sim") != (source == "sim"))
    fail(path,
         fmt::format("was published from source {}, which source {} cannot continue; left as it is",
                     published, source));
}

// What cannot be a page's that a producer made for this counter; null if all is well.
const char* impossible_header(const clockpage_data_page& page, std::uint64_t host_hz) {
  const bool scaled = page.format == CLOCKPAGE_FORMAT_SCALED;
  if (page.counter_frequency_hz != (scaled ? 1'000'000'000 : host_hz))
    return "a page's frequency is not its counter's";
  if (page.delta_shift != delta_shift_for(nominal_period(page.counter_frequency_hz)))
    return "a page's delta_shift is not its counter's";
  if (!scaled) return nullptr;
  if (page.scale_frac_bits != 32 && page.scale_frac_bits != 48)
    return "a page's scale_frac_bits is no hardware's";
  if (page.scale_ratio != one_ghz_ratio(host_hz, page.scale_frac_bits))
    return "a page's scale_ratio is not its counter's";
  return nullptr;
}

bool is_possible(const UtcOffset& utc) {
  if (!utc.leaps()) return utc == constant_offset(utc.before_ns);
  // Far enough from the end of time for sums with it.
  constexpr std::int64_t latest = INT64_MAX - (std::int64_t{1} << 61);
  if (utc.end_ns < utc.start_ns || utc.start_ns < 0 || utc.end_ns > latest) return false;
  if (utc.end_ns == utc.start_ns) return utc.slope_frac == 0;
  // No smear is steeper than one part in 99: REALTIME never goes back.
  return std::abs(utc.after_ns - utc.before_ns) <= (utc.end_ns - utc.start_ns) / 99 &&
         utc == offset_ramp(utc.before_ns, utc.start_ns, utc.end_ns, utc.after_ns);
}

// What no producer of this counter has published; null if all is well. Longest lease ahead: a
// period and twice the lead.
const char* impossible_segment(const PageWriter& page, std::uint64_t hz, std::uint64_t number,
                               std::uint64_t now) {
  const Segment s = page.load(number);
  const auto limit = static_cast<std::int64_t>(4 * hz);
  const auto apart = [](std::uint64_t a, std::uint64_t b) {
    return static_cast<std::int64_t>(a - b);
  };
  const std::uint64_t counter = page.scale().apply(now);
  const auto nominal = static_cast<std::uint64_t>(nominal_period(hz) >> page.shift());
  if (s.number != number) return "its newest segment is another's";
  if (apart(s.tai.start, counter) > limit || apart(s.lease_end, counter) > limit)
    return "its newest segment lies in the future of this counter";
  // No upper limit: a bridge over a long death is as long as the death was.
  if (apart(s.lease_end, s.tai.start) <= 0) return "its newest segment has an impossible lease";
  for (const Line* line : {&s.tai, &s.raw})
    if (line->period_frac < nominal - nominal / 8 || line->period_frac > nominal + nominal / 8)
      return "its newest segment has an impossible period";
  for (const std::uint64_t counter_value : {s.tai.start, s.lease_end})
    if (whole_ns(s.tai.at(counter_value)) >= CLOCKPAGE_MAX_BASE_NS ||
        whole_ns(s.raw.at(counter_value)) >= CLOCKPAGE_MAX_BASE_NS)
      return "its newest segment is past the year 2116";
  constexpr auto largest = static_cast<std::int64_t>(CLOCKPAGE_MAX_BASE_NS);
  for (const std::int64_t offset : {s.terms.utc.before_ns, s.terms.utc.after_ns,
                                    s.terms.monotonic_offset_ns, s.terms.boottime_offset_ns})
    if (offset <= -largest || offset >= largest)
      return "its newest segment has an impossible offset";
  if (!is_possible(s.terms.utc)) return "its newest segment has an impossible leap second";
  return nullptr;
}

// All that is the same on all pages. UTC is the same on pages of one smear; across smears it
// differs by what leap seconds a smear can be behind or ahead.
bool is_same_clock(const Segment& a, const Segment& b, bool same_smear) {
  constexpr std::int64_t most = 3 * kNsPerSecond;
  const auto utc_at_start = [](const Segment& s) {
    return s.terms.utc.at(static_cast<std::int64_t>(whole_ns(s.tai.base)));
  };
  const bool same_utc =
      same_smear ? a.terms.utc == b.terms.utc : std::abs(utc_at_start(a) - utc_at_start(b)) <= most;
  return a.terms.epoch == b.terms.epoch && a.terms.flags == b.terms.flags && same_utc &&
         a.terms.monotonic_offset_ns == b.terms.monotonic_offset_ns &&
         a.terms.boottime_offset_ns == b.terms.boottime_offset_ns;
}

// All pages are published together: a writer's death leaves some one segment behind, not more, and
// those with the next one complete. They carry one clock.
const char* impossible_pages(const clockpage_directory_page& directory, std::uint64_t now) {
  const auto* base = reinterpret_cast<const std::byte*>(&directory);
  std::vector<PageWriter> pages;  // only read from
  std::uint64_t furthest = 0;
  for (const clockpage_data_page_entry& entry : directory.data_page) {
    const auto& page = *reinterpret_cast<const clockpage_data_page*>(base + entry.offset_bytes);
    if (const char* wrong = impossible_header(page, directory.counter_frequency_hz)) return wrong;
    pages.emplace_back(const_cast<clockpage_data_page&>(page));
    if (pages.size() == 1 || static_cast<std::int64_t>(pages.back().index() - furthest) > 0)
      furthest = pages.back().index();
    const char* wrong =
        impossible_segment(pages.back(), page.counter_frequency_hz, pages.back().index(), now);
    if (wrong != nullptr) return wrong;
  }
  for (std::size_t i = 0; i < pages.size(); i++) {
    const bool behind = pages[i].index() + 1 == furthest && pages[i].next_is_complete();
    if (pages[i].index() != furthest && !behind) return "its pages are at different segments";
    const bool scaled = pages[i].scale().frac_bits != 0;
    const std::uint64_t hz = scaled ? 1'000'000'000 : directory.counter_frequency_hz;
    if (const char* wrong = impossible_segment(pages[i], hz, furthest, now)) return wrong;
    for (std::size_t j = 0; j < i; j++)
      if (!is_same_clock(pages[i].load(furthest), pages[j].load(furthest),
                         pages[i].smear() == pages[j].smear()))
        return "its pages contradict each other";
  }
  return nullptr;
}

void check_pages(const fs::path& path, const clockpage_directory_page& directory,
                 std::uint64_t now) {
  if (const char* wrong = impossible_pages(directory, now))
    fail(path, fmt::format("is not a region that can be adopted: {}; left as it is", wrong));
}

}  // namespace

ExistingRegion judge_region(const fs::path& path, const boost::interprocess::mapped_region& mapped,
                            const Id& boot_id, const CounterIdentity& counter,
                            std::string_view source, std::uint64_t now) {
  clockpage_open_error error{};
  if (clockpage_validate_region(mapped.get_address(), mapped.get_size(), &error) != 0)
    fail(path, fmt::format("is not a region that can be adopted: {}; left as it is", error.where));
  const auto& d = *static_cast<const clockpage_directory_page*>(mapped.get_address());
  if (!std::equal(boot_id.begin(), boot_id.end(), d.boot_id)) return ExistingRegion::earlier_boot;
  check_counter(path, d, counter);
  const auto* base = static_cast<const std::byte*>(mapped.get_address());
  const auto& first =
      *reinterpret_cast<const clockpage_data_page*>(base + d.data_page[0].offset_bytes);
  check_source(path, first.diagnostics, source);
  if (CLOCKPAGE_LOAD(first.revoked) != CLOCKPAGE_REVOKED_NO) return ExistingRegion::revoked;
  check_pages(path, d, now);
  return ExistingRegion::adoptable;
}

}  // namespace clockpage::producer
