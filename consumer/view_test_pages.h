// SPDX-License-Identifier: MIT
// A synthetic region and view in memory, for the tests and benchmarks of views.
#ifndef CLOCKPAGE_CONSUMER_VIEW_TEST_PAGES_H_
#define CLOCKPAGE_CONSUMER_VIEW_TEST_PAGES_H_

#include <clockpage/view.h>

#include <cstdint>
#include <cstring>

#include "reader_test_page.h"

namespace clockpage::testing {

inline constexpr std::uint64_t kTestGeneration = 0x5678;

// A directory and four data pages as the writer would have left them; the scaled ones say that they
// are made for `ratio` and `frac_bits`. Segments are the test's to fill.
struct alignas(CLOCKPAGE_PAGE_SIZE) TestRegion {
  clockpage_directory_page directory = {};
  TestPage data[CLOCKPAGE_DATA_PAGE_COUNT];  // 2 * format + smear
  std::uint8_t padding[CLOCKPAGE_REGION_SIZE - 5 * CLOCKPAGE_PAGE_SIZE] = {};

  explicit TestRegion(std::uint64_t frequency_hz = 2'000'000'000,
                      std::uint64_t ratio = std::uint64_t{1} << 47, std::uint8_t frac_bits = 48) {
    std::memcpy(directory.magic, CLOCKPAGE_DIRECTORY_MAGIC, CLOCKPAGE_MAGIC_SIZE);
    directory.abi_major = CLOCKPAGE_ABI_MAJOR;
    directory.abi_minor = CLOCKPAGE_ABI_MINOR;
    directory.size = sizeof directory;
    directory.region_size = CLOCKPAGE_REGION_SIZE;
    directory.generation = kTestGeneration;
    directory.counter_kind = data[0].page.counter_kind;
    directory.counter_frequency_hz = frequency_hz;
    directory.counter_quantum_ticks = 1;
    directory.data_page_count = CLOCKPAGE_DATA_PAGE_COUNT;
    directory.data_page_size = CLOCKPAGE_PAGE_SIZE;
    for (std::uint32_t i = 0; i < CLOCKPAGE_DATA_PAGE_COUNT; i++) {
      const auto format = static_cast<std::uint8_t>(i / 2),
                 smear = static_cast<std::uint8_t>(i % 2);
      directory.data_page[i] = {(i + 1) * CLOCKPAGE_PAGE_SIZE, format, smear, {}};
      clockpage_data_page& page = data[i].page;
      page.format = format;
      page.generation = kTestGeneration;
      page.counter_frequency_hz = frequency_hz;
      if (format == CLOCKPAGE_FORMAT_SCALED) {
        page.scale_ratio = ratio;
        page.scale_frac_bits = frac_bits;
        page.counter_frequency_hz = clockpage_scale_counter(frequency_hz, ratio, frac_bits);
      }
    }
  }
  TestPage& Page(unsigned format, unsigned smear) { return data[2 * format + smear]; }
};
static_assert(sizeof(TestRegion) == CLOCKPAGE_REGION_SIZE);

// A view of it that asks for nothing, with every slot filled.
struct alignas(CLOCKPAGE_PAGE_SIZE) TestView {
  clockpage_view_page page = {};

  explicit TestView(std::uint64_t index = 0x123456789abc) {
    std::memcpy(page.magic, CLOCKPAGE_VIEW_MAGIC, CLOCKPAGE_MAGIC_SIZE);
    page.abi_major = CLOCKPAGE_ABI_MAJOR;
    page.abi_minor = CLOCKPAGE_ABI_MINOR;
    page.size = sizeof page;
    page.generation = kTestGeneration;
    page.slot_count = CLOCKPAGE_VIEW_SLOT_COUNT;
    page.slot_size = sizeof(clockpage_view_slot);
    page.index = index;
    Newest().number = index;
    Newest().counter_ratio = 1;
  }
  clockpage_view_slot& Newest() { return page.slot[page.index % CLOCKPAGE_VIEW_SLOT_COUNT]; }

  clockpage_view_reader Reader(const TestRegion& region) const {
    clockpage_view_reader reader;
    if (clockpage_view_reader_init(&reader, &page, sizeof page, &region, sizeof region) !=
        CLOCKPAGE_OK)
      __builtin_trap();
    return reader;
  }
};

// A view and its ancestors, nearest first: each slot names the newest one of the next, and its
// counter_offset is the next one's plus `own` of this one.
struct TestChain {
  TestView views[CLOCKPAGE_VIEW_MAX_ANCESTORS + 1] = {TestView(0x1000), TestView(0x2001),
                                                      TestView(0x3002), TestView(0x4003)};
  std::int64_t own[CLOCKPAGE_VIEW_MAX_ANCESTORS + 1] = {};
  unsigned depth;

  explicit TestChain(unsigned ancestors) : depth(ancestors) {
    for (unsigned i = ancestors + 1; i-- > 0;) views[i].Newest() = Composed(i);
  }
  // What view i would say in its newest slot's place if it were composed now.
  clockpage_view_slot Composed(unsigned i) {
    clockpage_view_slot slot = views[i].Newest();
    slot.counter_offset = own[i];
    if (i < depth) {
      slot.counter_offset += views[i + 1].Newest().counter_offset;
      slot.parent_generation = views[i + 1].page.index;
    }
    return slot;
  }
  // Publishes view i as it is composed now, with another disruption marker.
  void Publish(unsigned i) {
    clockpage_view_page& page = views[i].page;
    clockpage_view_slot slot = Composed(i);
    slot.number++;
    slot.disruption_marker++;
    page.slot[slot.number % CLOCKPAGE_VIEW_SLOT_COUNT] = slot;
    page.index = slot.number;
  }
  int Init(clockpage_view_reader& reader, const TestRegion& region, unsigned given) const {
    const void* ancestors[CLOCKPAGE_VIEW_MAX_ANCESTORS] = {&views[1], &views[2], &views[3]};
    return clockpage_view_reader_init_nested(&reader, &views[0], sizeof views[0], &region,
                                             sizeof region, ancestors, given);
  }
  clockpage_view_reader Reader(const TestRegion& region) const {
    clockpage_view_reader reader;
    if (Init(reader, region, depth) != CLOCKPAGE_OK) __builtin_trap();
    return reader;
  }
};

}  // namespace clockpage::testing

#endif  // CLOCKPAGE_CONSUMER_VIEW_TEST_PAGES_H_
