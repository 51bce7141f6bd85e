// SPDX-License-Identifier: MIT
// The bytes of a new region: region.hpp's region_image.
#include <algorithm>
#include <cstring>
#include <memory>

#include "page_kinds.hpp"
#include "region.hpp"

namespace clockpage::producer {

namespace {

template <std::size_t N>
void copy_magic(std::uint8_t (&magic)[CLOCKPAGE_MAGIC_SIZE], const char (&text)[N]) {
  static_assert(N == CLOCKPAGE_MAGIC_SIZE + 1);
  std::memcpy(magic, text, CLOCKPAGE_MAGIC_SIZE);
}

void fill_directory(clockpage_directory_page& d, const RegionIdentity& identity) {
  copy_magic(d.magic, CLOCKPAGE_DIRECTORY_MAGIC);
  d.abi_major = CLOCKPAGE_ABI_MAJOR;
  d.abi_minor = CLOCKPAGE_ABI_MINOR;
  d.size = sizeof d;
  d.features = CLOCKPAGE_FEATURE_LEAPS;
  d.region_size = CLOCKPAGE_REGION_SIZE;
  std::copy(identity.host_id.begin(), identity.host_id.end(), d.host_id);
  std::copy(identity.boot_id.begin(), identity.boot_id.end(), d.boot_id);
  d.generation = identity.generation;
  d.counter_kind = identity.counter.kind;
  d.counter_frequency_hz = identity.counter.frequency_hz;
  d.counter_quantum_ticks = identity.counter.quantum_ticks;
  d.art_numerator = identity.counter.art_numerator;
  d.art_denominator = identity.counter.art_denominator;
  d.data_page_count = CLOCKPAGE_DATA_PAGE_COUNT;
  d.data_page_size = CLOCKPAGE_PAGE_SIZE;
  for (std::size_t i = 0; i < kKinds.size(); i++) {
    d.data_page[i].offset_bytes = static_cast<std::uint32_t>((i + 1) * CLOCKPAGE_PAGE_SIZE);
    d.data_page[i].format = kKinds[i].format;
    d.data_page[i].smear = kKinds[i].smear;
  }
}

void fill_page_header(clockpage_data_page& p, const RegionIdentity& identity, PageKind kind) {
  copy_magic(p.magic, CLOCKPAGE_DATA_MAGIC);
  p.abi_major = CLOCKPAGE_ABI_MAJOR;
  p.abi_minor = CLOCKPAGE_ABI_MINOR;
  p.size = sizeof p;
  p.counter_kind = identity.counter.kind;
  p.format = kind.format;
  p.features = CLOCKPAGE_FEATURE_LEAPS;
  const Smear smear = kind.smear != 0 ? identity.smear : kNoSmear;
  p.smear = smear.kind;
  p.smear_start_s = smear.start_s;
  p.smear_length_s = smear.length_s;
  p.segment_count = CLOCKPAGE_SEGMENT_COUNT;
  p.segment_size = CLOCKPAGE_SEGMENT_SIZE;
  p.segment_offset = CLOCKPAGE_SEGMENT_OFFSET;
  const std::uint64_t host_hz = identity.counter.frequency_hz;
  const bool scaled = kind.format == CLOCKPAGE_FORMAT_SCALED;
  p.scale_frac_bits = scaled ? identity.counter.scale_frac_bits : 0;
  p.scale_ratio = scaled ? one_ghz_ratio(host_hz, p.scale_frac_bits) : 1;
  p.counter_frequency_hz = scaled ? 1'000'000'000 : host_hz;
  p.delta_shift = delta_shift_for(nominal_period(p.counter_frequency_hz));
  p.generation = identity.generation;
  p.index = identity.first_index;
  std::memcpy(p.diagnostics.source, identity.source.data(),
              std::min(identity.source.size(), sizeof p.diagnostics.source - 1));
  p.diagnostics.min_margin_ns = INT64_MAX;
  p.diagnostics.source_max_error_ns = CLOCKPAGE_BOUND_UNKNOWN;
}

// The same line in a page's own counter: begins at the scaled image of host_start.
Line rescaled(const Line& line, const Scale& scale, std::uint32_t shift, Period host_period) {
  if (scale.frac_bits == 0) return line;
  const Period period =
      static_cast<Period>((host_period << scale.frac_bits) / scale.ratio) >> shift;
  return {scale.apply(line.start), line.base - scale.remainder(line.start, host_period),
          static_cast<std::uint64_t>(period), shift};
}

// The segment that ends where `segment` begins, by the same line: a reader that is a moment
// behind the first segment still finds its time.
Segment extended_back(const Segment& segment, std::uint64_t ticks) {
  Segment earlier = segment;
  for (Line* line : {&earlier.tai, &earlier.raw}) {
    line->start -= ticks;
    line->base -= Instant{ticks << line->shift} * line->period_frac;
  }
  earlier.lease_end = segment.tai.start;
  return earlier;
}

void fill_first_segments(clockpage_data_page& page, std::uint64_t history_ticks, Segment first) {
  PageWriter writer(page);
  const Scale& scale = writer.scale();
  const Period tai_period = Period{first.tai.period_frac} << first.tai.shift;
  const Period raw_period = Period{first.raw.period_frac} << first.raw.shift;
  first.tai = rescaled(first.tai, scale, writer.shift(), tai_period);
  first.raw = rescaled(first.raw, scale, writer.shift(), raw_period);
  first.lease_end = scale.apply(first.lease_end);
  if (scale.frac_bits != 0) {
    // From the host's ticks to this page's.
    const auto per_tick = [&](std::uint64_t growth) {
      return static_cast<std::uint64_t>((Instant{growth} << scale.frac_bits) / scale.ratio >>
                                        writer.shift()) +
             1;
    };
    first.terms.utc_bound_growth_frac = per_tick(first.terms.utc_bound_growth_frac);
    first.terms.local_bound_growth_frac = per_tick(first.terms.local_bound_growth_frac);
  }
  writer.fill_next(extended_back(first, scale.apply(history_ticks)));
  (void)writer.publish();
  writer.fill_next(first);
  (void)writer.publish();
}

}  // namespace

std::vector<std::byte> region_image(const RegionIdentity& identity, std::uint64_t history_ticks,
                                    const Segment& first, const std::optional<UtcTerms>& smeared) {
  struct Image {
    clockpage_directory_page directory;
    std::array<clockpage_data_page, CLOCKPAGE_DATA_PAGE_COUNT> pages;
  };
  const auto image = std::make_unique<Image>();
  fill_directory(image->directory, identity);
  for (std::size_t i = 0; i < kKinds.size(); i++) {
    fill_page_header(image->pages[i], identity, kKinds[i]);
    Segment segment = first;
    if (kKinds[i].smear != 0 && smeared) {
      segment.terms.utc = smeared->offset;
      segment.terms.leap_indicator = smeared->leap_indicator;
    }
    fill_first_segments(image->pages[i], history_ticks, segment);
  }
  std::vector<std::byte> bytes(CLOCKPAGE_REGION_SIZE);
  std::memcpy(bytes.data(), image.get(), sizeof *image);
  return bytes;
}

}  // namespace clockpage::producer
