// SPDX-License-Identifier: MIT
//
// Synthetic regions and views for tests: valid unless a test breaks them.
//
// The default region has lines that can be checked by hand. The unscaled pages have a
// counter of 2 GHz (two ticks are one ns), the scaled pages one of 1 GHz with a delta_shift
// of 1, so that everywhere the period is exactly 2^63 / 2^64 ns and no fraction is lost.
// Segment n starts exactly where segment n-1's lease ends, on one straight line.
#ifndef CLOCKPAGE_TEST_PAGES_HPP
#define CLOCKPAGE_TEST_PAGES_HPP

#include <clockpage/reader.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <stdexcept>
#include <string>

namespace clockpage::test {

// What a synthetic region looks like. Counter values are those of the unscaled pages.
struct region_plan {
  std::uint64_t index = 0x1234'5678'9a07;                        // the newest segment's number
  std::uint64_t newest_start = 1'000'000'000'000;                // even, so that scaling is exact
  std::uint64_t period_ticks = 8'000'000;                        // of every segment; even: 4 ms
  std::uint64_t newest_tai_ns = 1'800'000'037'000'000'000;       // TAI at newest_start
  std::uint64_t newest_raw_ns = 500'000'000'000;                 // MONOTONIC_RAW at newest_start
  std::int64_t utc_offset_ns = 37'000'000'000;                   // realtime = tai - this
  std::int64_t monotonic_offset_ns = 1'799'999'037'000'000'000;  // 1,000 s up
  std::int64_t boottime_offset_ns = 1'799'999'007'000'000'000;   // of which 30 s suspended
  std::uint64_t utc_bound_ns = 1000;
  std::uint64_t utc_bound_growth_frac = 0;
  std::uint64_t local_bound_ns = 10;
  std::uint64_t local_bound_growth_frac = 0;
  std::uint64_t epoch = 5;
  std::uint32_t flags = CLOCKPAGE_SEGMENT_TAI_KNOWN;
  std::uint8_t status = CLOCKPAGE_STATUS_SYNCHRONISED;
  std::uint64_t generation = 0xfeed'face'cafe'beef;
};

// 2^63: one tick of the unscaled pages, half a tick of the scaled ones, is half a ns.
inline constexpr std::uint64_t half_ns_frac = std::uint64_t{1} << 63;
// The scaled pages' counter is half the unscaled one, in SVM's 32 fraction bits.
inline constexpr std::uint64_t half_ratio = std::uint64_t{1} << 31;
inline constexpr std::uint8_t half_ratio_frac_bits = 32;

// The counter kind of the machine the test runs on.
#if defined(__x86_64__)
inline constexpr std::uint8_t this_counter_kind = CLOCKPAGE_COUNTER_X86_TSC;
#else
inline constexpr std::uint8_t this_counter_kind = CLOCKPAGE_COUNTER_ARM_CNTVCT;
#endif

// This machine's boot id, in the order of its text. Not the library's reading of it: a test's.
inline std::array<std::uint8_t, 16> this_boot_id() {
  std::string text;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), text);
  std::erase(text, '-');
  std::array<std::uint8_t, 16> id{};
  if (text.size() != 2 * id.size()) throw std::runtime_error("no boot id");
  for (std::size_t i = 0; i < id.size(); i++) {
    id[i] = static_cast<std::uint8_t>(std::stoul(text.substr(2 * i, 2), nullptr, 16));
  }
  return id;
}

// A region in memory, page-aligned and writable.
class region_image {
 public:
  explicit region_image(const region_plan& plan = {}) : plan_(plan) {
    fill_directory();
    for (unsigned i = 0; i < CLOCKPAGE_DATA_PAGE_COUNT; i++) fill_page(i);
  }

  std::span<std::byte> bytes() { return bytes_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  const region_plan& plan() const { return plan_; }

  clockpage_directory_page& directory() {
    return *reinterpret_cast<clockpage_directory_page*>(bytes_.data());
  }

  // In the region in this order: unscaled, unscaled smeared, scaled, scaled smeared.
  clockpage_data_page& page(std::uint8_t format = CLOCKPAGE_FORMAT_UNSCALED,
                            std::uint8_t smear = CLOCKPAGE_SMEAR_NONE) {
    return *reinterpret_cast<clockpage_data_page*>(bytes_.data() +
                                                   page_offset(page_number(format, smear)));
  }

  // The segment `back` before the newest of a page.
  static clockpage_segment& segment(clockpage_data_page& page, unsigned back = 0) {
    return page.segment[(page.index - back) % CLOCKPAGE_SEGMENT_COUNT];
  }

  clockpage_reader reader(std::uint8_t format = CLOCKPAGE_FORMAT_UNSCALED,
                          std::uint8_t smear = CLOCKPAGE_SMEAR_NONE) {
    clockpage_reader result{};
    const int error =
        clockpage_reader_init(&result, &page(format, smear), sizeof(clockpage_data_page));
    if (error != 0) throw std::logic_error("region_image: invalid page");
    return result;
  }

  // The segment that continues the newest one of a page on its own line: change what is to
  // differ, then publish() it.
  static clockpage_segment continuation(const clockpage_data_page& page) {
    clockpage_segment next = page.segment[page.index % CLOCKPAGE_SEGMENT_COUNT];
    const std::uint64_t length = next.lease_end - next.start;
    advance(next, length, page.delta_shift);
    next.number++;
    next.start = next.lease_end;
    next.lease_end += length;
    return next;
  }

  // Publishes on one page as the writer does: fence, fill, index. The caller is the one writer.
  static void publish(clockpage_data_page& page, const clockpage_segment& next) {
    const std::uint64_t expected = page.index;
    clockpage_segment& slot = page.segment[next.number % CLOCKPAGE_SEGMENT_COUNT];
    clockpage_fence_before_fill();
    store(slot, next);
    if (clockpage_publish_index(&page.index, expected, next.number) == 0) {
      throw std::logic_error("region_image: a second writer");
    }
  }

 private:
  static std::size_t page_offset(unsigned number) {
    return std::size_t{CLOCKPAGE_PAGE_SIZE} * (number + 1);
  }

  static unsigned page_number(std::uint8_t format, std::uint8_t smear) {
    return (format == CLOCKPAGE_FORMAT_SCALED ? 2u : 0u) + (smear != 0 ? 1u : 0u);
  }

  // Moves a segment's bases `ticks` along its lines (back when negative, modulo 2^64).
  static void advance(clockpage_segment& s, std::uint64_t ticks, unsigned delta_shift) {
    const clockpage_instant tai =
        clockpage_line_at(s.tai_ns, s.tai_frac, s.tai_period_frac, ticks << delta_shift);
    const clockpage_instant raw =
        clockpage_line_at(s.raw_ns, s.raw_frac, s.raw_period_frac, ticks << delta_shift);
    s.tai_ns = tai.ns;
    s.tai_frac = tai.frac;
    s.raw_ns = raw.ns;
    s.raw_frac = raw.frac;
  }

  // Every word by one relaxed atomic store, as the ABI asks of a writer.
  static void store(clockpage_segment& to, const clockpage_segment& from) {
    constexpr std::size_t words = sizeof(clockpage_segment) / sizeof(std::uint64_t);
    std::array<std::uint64_t, words> image{};
    std::memcpy(image.data(), &from, sizeof(from));
    auto* target = reinterpret_cast<std::uint64_t*>(&to);
    for (std::size_t i = 0; i < words; i++)
      __atomic_store_n(target + i, image[i], __ATOMIC_RELAXED);
  }

  void fill_directory();
  void fill_page(unsigned number);
  clockpage_segment newest_segment(bool scaled) const;

  region_plan plan_;
  alignas(CLOCKPAGE_PAGE_SIZE) std::array<std::byte, CLOCKPAGE_REGION_SIZE> bytes_{};
};

inline void region_image::fill_directory() {
  clockpage_directory_page& d = directory();
  std::memcpy(d.magic, CLOCKPAGE_DIRECTORY_MAGIC, CLOCKPAGE_MAGIC_SIZE);
  d.abi_major = CLOCKPAGE_ABI_MAJOR;
  d.abi_minor = CLOCKPAGE_ABI_MINOR;
  d.size = sizeof(d);
  d.region_size = CLOCKPAGE_REGION_SIZE;
  std::fill(std::begin(d.host_id), std::end(d.host_id), std::uint8_t{0x11});
  const std::array<std::uint8_t, 16> boot_id = this_boot_id();
  std::copy(boot_id.begin(), boot_id.end(), d.boot_id);
  d.generation = plan_.generation;
  d.counter_kind = this_counter_kind;
  d.counter_frequency_hz = 2'000'000'000;
  d.counter_quantum_ticks = 1;
  d.data_page_count = CLOCKPAGE_DATA_PAGE_COUNT;
  d.data_page_size = CLOCKPAGE_PAGE_SIZE;
  for (unsigned i = 0; i < CLOCKPAGE_DATA_PAGE_COUNT; i++) {
    d.data_page[i].offset_bytes = static_cast<std::uint32_t>(page_offset(i));
    d.data_page[i].format = i / 2 == 0 ? CLOCKPAGE_FORMAT_UNSCALED : CLOCKPAGE_FORMAT_SCALED;
    d.data_page[i].smear = i % 2;
  }
}

inline void region_image::fill_page(unsigned number) {
  auto& p = *reinterpret_cast<clockpage_data_page*>(bytes_.data() + page_offset(number));
  const bool scaled = number / 2 != 0;
  std::memcpy(p.magic, CLOCKPAGE_DATA_MAGIC, CLOCKPAGE_MAGIC_SIZE);
  p.abi_major = CLOCKPAGE_ABI_MAJOR;
  p.abi_minor = CLOCKPAGE_ABI_MINOR;
  p.size = sizeof(p);
  p.counter_kind = this_counter_kind;
  p.format = scaled ? CLOCKPAGE_FORMAT_SCALED : CLOCKPAGE_FORMAT_UNSCALED;
  p.smear = number % 2;
  p.smear_start_s = number % 2 != 0 ? -43200 : 0;
  p.smear_length_s = number % 2 != 0 ? 86400 : 0;
  p.delta_shift = scaled ? 1 : 0;
  p.segment_count = CLOCKPAGE_SEGMENT_COUNT;
  p.segment_size = CLOCKPAGE_SEGMENT_SIZE;
  p.segment_offset = CLOCKPAGE_SEGMENT_OFFSET;
  p.counter_frequency_hz = scaled ? 1'000'000'000 : 2'000'000'000;
  p.scale_ratio = scaled ? half_ratio : 1;
  p.scale_frac_bits = scaled ? half_ratio_frac_bits : 0;
  p.generation = plan_.generation;
  p.index = plan_.index;
  const std::uint64_t period = scaled ? plan_.period_ticks / 2 : plan_.period_ticks;
  for (std::uint64_t back = 0; back < CLOCKPAGE_SEGMENT_COUNT; back++) {
    clockpage_segment s = newest_segment(scaled);
    s.number -= back;
    s.start -= back * period;
    s.lease_end -= back * period;
    s.tai_ns -= back * plan_.period_ticks / 2;
    s.raw_ns -= back * plan_.period_ticks / 2;
    p.segment[s.number % CLOCKPAGE_SEGMENT_COUNT] = s;
  }
}

inline clockpage_segment region_image::newest_segment(bool scaled) const {
  const std::uint64_t divisor = scaled ? 2 : 1;
  clockpage_segment s{};
  s.number = plan_.index;
  s.start = plan_.newest_start / divisor;
  s.lease_end = s.start + plan_.period_ticks / divisor;
  s.tai_ns = plan_.newest_tai_ns;
  s.tai_period_frac = half_ns_frac;
  s.utc_offset_ns = plan_.utc_offset_ns;
  s.leap_start_ns = CLOCKPAGE_NO_LEAP;
  s.monotonic_offset_ns = plan_.monotonic_offset_ns;
  s.boottime_offset_ns = plan_.boottime_offset_ns;
  s.raw_ns = plan_.newest_raw_ns;
  s.raw_period_frac = half_ns_frac;
  s.utc_bound_ns = plan_.utc_bound_ns;
  s.utc_bound_growth_frac = plan_.utc_bound_growth_frac;
  s.local_bound_ns = plan_.local_bound_ns;
  s.local_bound_growth_frac = plan_.local_bound_growth_frac;
  s.epoch = plan_.epoch;
  s.flags = plan_.flags;
  s.status = plan_.status;
  s.leap_end_ns = CLOCKPAGE_NO_LEAP;
  s.utc_offset_after_ns = plan_.utc_offset_ns;
  return s;
}

// A plan whose newest lease covers this machine's counter now and for `ticks` to come, for
// tests that read "now". The times are as ever: only the counter is real.
inline region_plan live_plan(std::uint64_t ticks = std::uint64_t{1} << 45) {
  region_plan plan;
  plan.newest_start = (clockpage_counter_ordered() - 1'000'000) & ~std::uint64_t{1};
  // 15 periods back must not reach below TAI 0.
  plan.period_ticks = std::min(ticks, std::uint64_t{1} << 56) & ~std::uint64_t{1};
  plan.newest_raw_ns = plan.newest_tai_ns;
  return plan;
}

// An identity view of a region's {unscaled, unsmeared} page.
class view_image {
 public:
  explicit view_image(std::uint64_t generation = region_plan{}.generation) {
    clockpage_view_page& v = page();
    std::memcpy(v.magic, CLOCKPAGE_VIEW_MAGIC, CLOCKPAGE_MAGIC_SIZE);
    v.abi_major = CLOCKPAGE_ABI_MAJOR;
    v.abi_minor = CLOCKPAGE_ABI_MINOR;
    v.size = sizeof(v);
    std::fill(std::begin(v.view_id), std::end(v.view_id), std::uint8_t{0x22});
    v.generation = generation;
    v.slot_count = CLOCKPAGE_VIEW_SLOT_COUNT;
    v.slot_size = sizeof(clockpage_view_slot);
    v.index = 0x4321;
    newest().number = v.index;
    newest().counter_ratio = 1;
  }

  std::span<std::byte> bytes() { return bytes_; }
  clockpage_view_page& page() { return *reinterpret_cast<clockpage_view_page*>(bytes_.data()); }
  clockpage_view_slot& newest() { return page().slot[page().index % CLOCKPAGE_VIEW_SLOT_COUNT]; }

 private:
  alignas(CLOCKPAGE_PAGE_SIZE) std::array<std::byte, CLOCKPAGE_PAGE_SIZE> bytes_{};
};

// A directory of its own, removed with everything in it at the end.
class temporary_directory {
 public:
  temporary_directory() {
    std::string name = (std::filesystem::temp_directory_path() / "clockpage-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  temporary_directory(const temporary_directory&) = delete;
  temporary_directory& operator=(const temporary_directory&) = delete;
  ~temporary_directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const { return path_; }

  // Writes a file into it and returns its path.
  std::filesystem::path write(const std::string& name, std::span<const std::byte> bytes) const {
    std::filesystem::path file = path_ / name;
    std::ofstream out(file, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
    if (!out.flush()) throw std::runtime_error("cannot write " + file.string());
    return file;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace clockpage::test

#endif  // CLOCKPAGE_TEST_PAGES_HPP
