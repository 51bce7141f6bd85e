// SPDX-License-Identifier: MIT
//
// Fuzz target: a page whose writer means harm and writes while it is read. Every single load of the
// reader may return anything: the input decides, load by load. What is promised nevertheless (spec,
// section 8): no load outside the page, a bounded number of them, a known error code, nothing
// written with an error, earliest <= ns <= latest, a known status.
//
// Input: four bytes of what to read, then one operation for each load (see load_word).
#include "fuzz_reader.hpp"

// In this order.
#include <vector>

#include "../tests/fuzz.hpp"
#include "test_pages.hpp"

namespace clockpage::fuzz {
namespace {

constexpr std::int64_t kUntouched = 0x5a5a'5a5a'5a5a'5a5a;

// One pass: the index twice, revoked; at most 5 loads to find the two newest segments, 13 steps of
// 3 loads each, 1 more; 8 of a clock with a leap, 4 of what the result says of it, 7 of bounds and
// status.
constexpr unsigned kLoadsOfPass = 3 + 5 + 13 * 3 + 1 + 8 + 4 + 7;
// CLOCKPAGE_MAX_PASSES, and all but the first once more for a new counter value.
constexpr unsigned kPasses = 2 * CLOCKPAGE_MAX_PASSES - 1;
constexpr unsigned kLoadsOfInit = CLOCKPAGE_MAGIC_SIZE + 10;

std::byte* page_bytes;
Input input(nullptr, 0);
unsigned loads, counter_reads;
std::uint64_t counter;

void begin() { loads = counter_reads = 0; }

void bounded_by(unsigned passes) {
  CLOCKPAGE_FUZZ_CHECK(loads <= passes * kLoadsOfPass);
  CLOCKPAGE_FUZZ_CHECK(counter_reads <= 2 * passes);
}

bool is_read_error(int error) {
  return error <= CLOCKPAGE_OK && error >= CLOCKPAGE_E_CLOCK;  // and every number between
}

void check_time(int error, int clock, const clockpage_time& time) {
  CLOCKPAGE_FUZZ_CHECK(is_read_error(error) || error == CLOCKPAGE_E_OVERDUE);
  if (error != 0) return;
  CLOCKPAGE_FUZZ_CHECK(time.earliest_ns <= time.ns && time.ns <= time.latest_ns);
  CLOCKPAGE_FUZZ_CHECK(time.status <= CLOCKPAGE_STATUS_UNRELIABLE);
  constexpr std::uint32_t flags = CLOCKPAGE_TIME_OVERDUE | CLOCKPAGE_TIME_TAI_KNOWN |
                                  CLOCKPAGE_TIME_AMBIGUOUS | CLOCKPAGE_TIME_HOST_IN_SMEAR;
  CLOCKPAGE_FUZZ_CHECK((time.flags & ~flags) == 0);
  CLOCKPAGE_FUZZ_CHECK((time.flags & CLOCKPAGE_TIME_AMBIGUOUS) == 0 || clock == CLOCKPAGE_REALTIME);
}

void check_ns(int error, std::int64_t ns) {
  CLOCKPAGE_FUZZ_CHECK(is_read_error(error));
  CLOCKPAGE_FUZZ_CHECK(error == 0 || ns == kUntouched);
  bounded_by(kPasses);
}

void read_many(const clockpage_reader& reader, int clock) {
  std::vector<std::uint64_t> counters(input.take<std::uint8_t>() % 8);
  for (std::uint64_t& c : counters)
    c = counter + static_cast<std::uint64_t>(input.take<std::int32_t>());
  std::vector<std::int64_t> ns(counters.size());
  std::size_t converted = counters.size() + 1;
  begin();
  const int error =
      clockpage_at_many(&reader, clock, counters.data(), counters.size(), ns.data(), &converted);
  CLOCKPAGE_FUZZ_CHECK(is_read_error(error));
  CLOCKPAGE_FUZZ_CHECK(converted <= counters.size());
  CLOCKPAGE_FUZZ_CHECK((error == 0) == (converted == counters.size()));
  // For each value a pass of its own, and the value singly.
  bounded_by(static_cast<unsigned>(counters.size()) * (kPasses + 1));
}

void read_once(const clockpage_reader& reader, unsigned what, int clock) {
  clockpage_time time{};
  std::int64_t ns = kUntouched;
  timespec ts{kUntouched, kUntouched};
  int error = 0;
  begin();
  switch (what) {
    case 0:
      error = clockpage_at(&reader, clock, counter, &ns);
      check_ns(error, ns);
      break;
    case 1:
      error = clockpage_now(&reader, clock, &ns);
      check_ns(error, ns);
      break;
    case 2:
      error = clockpage_now_relaxed(&reader, clock, &ns);
      check_ns(error, ns);
      break;
    case 3:
      error = clockpage_gettime(&reader, clock, &ts);
      check_ns(error, error != 0 ? ts.tv_sec : 0);
      CLOCKPAGE_FUZZ_CHECK(error != 0 || (ts.tv_nsec >= 0 && ts.tv_nsec < 1'000'000'000));
      break;
    case 4:
      check_time(clockpage_at_bounds(&reader, clock, counter, &time), clock, time);
      bounded_by(kPasses);
      break;
    case 5:
      check_time(clockpage_now_bounds(&reader, clock, &time), clock, time);
      bounded_by(kPasses);
      break;
    case 6: {
      const unsigned limit = input.take<std::uint8_t>();
      error = clockpage_now_leased(&reader, clock, limit, &time);
      check_time(error, clock, time);
      CLOCKPAGE_FUZZ_CHECK(error != 0 || (time.flags & CLOCKPAGE_TIME_OVERDUE) == 0);
      bounded_by((limit + 2) * kPasses);  // every reading of the counter is one tick later
      break;
    }
    default:
      read_many(reader, clock);
      break;
  }
}

}  // namespace

// Past the input's end the page stands still.
std::uint64_t load_word(const void* address, std::size_t size, bool) {
  const auto* at = static_cast<const std::byte*>(address);
  CLOCKPAGE_FUZZ_CHECK(at >= page_bytes && at + size <= page_bytes + CLOCKPAGE_PAGE_SIZE);
  CLOCKPAGE_FUZZ_CHECK(reinterpret_cast<std::uintptr_t>(at) % size == 0);
  loads++;
  auto& page = *reinterpret_cast<clockpage_data_page*>(page_bytes);
  std::uint64_t word = 0;
  std::memcpy(&word, address, size);
  const auto operation = input.take<std::uint8_t>();
  switch (operation & 7U) {
    case 1:  // anything
      word = input.take<std::uint64_t>();
      break;
    case 2:  // a little off
      word += static_cast<std::uint64_t>(std::int64_t{operation >> 3} - 16);
      break;
    case 3:
      page.index += operation >> 3;
      break;  // for the loads after this one
    case 4:
      page.index -= operation >> 3;
      break;
    case 5:  // one word of the page, for good
      std::memcpy(page_bytes + input.take<std::uint16_t>() % (CLOCKPAGE_PAGE_SIZE - 7), &word, 8);
      break;
    case 6:
      word = ~word << (operation >> 3 << 1);
      break;
    default:
      break;  // the page as it is
  }
  return word;
}

std::uint64_t read_counter() {
  counter_reads++;
  return counter++;
}

}  // namespace clockpage::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clockpage;
  using namespace clockpage::fuzz;
  static test::region_image original;
  static const GuardedBytes area(CLOCKPAGE_PAGE_SIZE);
  page_bytes = area.last(CLOCKPAGE_PAGE_SIZE).data();
  input = Input(data, size);
  const auto what = input.take<std::uint8_t>();
  const clockpage_data_page& from =
      original.page((what & 0x80) != 0 ? CLOCKPAGE_FORMAT_SCALED : CLOCKPAGE_FORMAT_UNSCALED);
  std::memcpy(page_bytes, &from, sizeof from);
  constexpr int clocks[] = {0, 1, 4, 7, 11, 2, -1, 0};
  const int clock = clocks[input.take<std::uint8_t>() % 8];
  const auto where = static_cast<std::uint64_t>(input.take<std::int16_t>());
  counter = from.segment[from.index % CLOCKPAGE_SEGMENT_COUNT].start + where * 10'000;

  clockpage_reader reader{};
  if ((what & 0x40) != 0) {  // the header, too, may change while it is validated
    begin();
    const int error = clockpage_reader_init(&reader, page_bytes, CLOCKPAGE_PAGE_SIZE);
    CLOCKPAGE_FUZZ_CHECK(loads <= kLoadsOfInit);
    if (error != CLOCKPAGE_OK) return 0;
    CLOCKPAGE_FUZZ_CHECK(reader.delta_shift <= CLOCKPAGE_MAX_DELTA_SHIFT);
  } else {
    reader = {reinterpret_cast<clockpage_data_page*>(page_bytes), from.delta_shift, 0,
              from.delta_shift != 0 ? 0 : CLOCKPAGE_MAX_TICKS};
  }
  for (int i = 0; i < 2; i++) read_once(reader, what & 7U, clock);
  return 0;
}
