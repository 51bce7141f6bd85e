// SPDX-License-Identifier: MIT
//
// Fuzz target: an arbitrary data page, which does not change, through every entry point of reader.h
// and clockpage.hpp, at arbitrary counter values; each answer is compared with reader_oracle.hpp.
//
// Input: the page (4096 bytes, zero-filled if shorter), then counter values to read at.
#include "fuzz_reader.hpp"

// In this order.
#include <clockpage/clockpage.hpp>
#include <vector>

#include "../tests/fuzz.hpp"
#include "reader_oracle.hpp"

namespace clockpage::fuzz {
namespace {

using test::answer;
using test::oracle_at;

constexpr int kClocks[] = {0, 1, 4, 7, 11, 2, -1};  // the last two are none
constexpr std::int64_t kUntouched = 0x5a5a'5a5a'5a5a'5a5a;

std::span<const std::byte> mapping;  // what may be loaded from
std::uint64_t counter_now, counter_step;
unsigned counter_reads;

// ---- the header

bool is_header_error(int code) {
  return code == CLOCKPAGE_E_ARGUMENT || code == CLOCKPAGE_E_SIZE || code == CLOCKPAGE_E_MAGIC ||
         code == CLOCKPAGE_E_VERSION || code == CLOCKPAGE_E_LAYOUT || code == CLOCKPAGE_E_COUNTER;
}

void repair(clockpage_data_page& page) {
  std::memcpy(page.magic, CLOCKPAGE_DATA_MAGIC, CLOCKPAGE_MAGIC_SIZE);
  page.abi_major = CLOCKPAGE_ABI_MAJOR;
  page.size = sizeof page;
#if defined(__x86_64__)
  page.counter_kind = CLOCKPAGE_COUNTER_X86_TSC;
#else
  page.counter_kind = CLOCKPAGE_COUNTER_ARM_CNTVCT;
#endif
  page.delta_shift %= CLOCKPAGE_MAX_DELTA_SHIFT + 1;
  page.segment_count = CLOCKPAGE_SEGMENT_COUNT;
  page.segment_size = CLOCKPAGE_SEGMENT_SIZE;
  page.segment_offset = CLOCKPAGE_SEGMENT_OFFSET;
  page.counter_frequency_hz |= 1;
  page.scale_ratio |= 1;
  page.scale_frac_bits %= 64;
}

// What a valid reader may rely on: whatever reader_init accepts, this accepts.
bool is_valid(const clockpage_data_page& page) {
  clockpage_data_page repaired = page;
  repair(repaired);
  repaired.counter_frequency_hz = page.counter_frequency_hz;
  repaired.scale_ratio = page.scale_ratio;
  return page.counter_frequency_hz != 0 && page.scale_ratio != 0 &&
         std::memcmp(&repaired, &page, offsetof(clockpage_data_page, generation)) == 0;
}

// A mapping that is too short, or not aligned, is refused without a look past its end.
void init_short(const GuardedBytes& area, std::size_t length) {
  const std::span<std::byte> bytes = area.last(length);
  clockpage_reader reader{};
  const auto kept = mapping;
  mapping = bytes;
  const int code = clockpage_reader_init(&reader, bytes.data(), bytes.size());
  mapping = kept;
  CLOCKPAGE_FUZZ_CHECK(code == (length % 8 != 0 ? CLOCKPAGE_E_ARGUMENT : CLOCKPAGE_E_SIZE));
  CLOCKPAGE_FUZZ_CHECK(reader.page == nullptr);
}

// ---- one reading

class StaticPage {
 public:
  StaticPage(const clockpage_data_page& page, const clockpage_reader& reader)
      : page_(page), reader_(reader), region_(reader) {}

  void read_at(int clock, std::uint64_t counter) const {
    const answer expected = oracle_at(page_, reader_.delta_shift, clock, counter);
    std::int64_t ns = kUntouched;
    int error = clockpage_at(&reader_, clock, counter, &ns);
    CLOCKPAGE_FUZZ_CHECK(error == expected.error);
    CLOCKPAGE_FUZZ_CHECK(ns == (error != 0 ? kUntouched : expected.time.ns));
    clockpage_time time{};
    error = clockpage_at_bounds(&reader_, clock, counter, &time);
    CLOCKPAGE_FUZZ_CHECK(error == expected.error);
    if (error != 0) return;
    CLOCKPAGE_FUZZ_CHECK(test::same_time(time, expected.time));
    CLOCKPAGE_FUZZ_CHECK(time.earliest_ns <= time.ns && time.ns <= time.latest_ns);
    CLOCKPAGE_FUZZ_CHECK(time.status <= CLOCKPAGE_STATUS_UNRELIABLE);
  }

  // What "now" gives at counter_now: a counter value older than the history is read anew, once.
  [[nodiscard]] answer expected_now(int clock) const {
    const answer first = oracle_at(page_, reader_.delta_shift, clock, counter_now + counter_step);
    if (first.error != CLOCKPAGE_E_OUT_OF_RANGE && first.error != CLOCKPAGE_E_DISCONTINUITY)
      return first;
    return oracle_at(page_, reader_.delta_shift, clock, counter_now + 2 * counter_step);
  }

  void read_now(int clock) const {
    std::int64_t ns = kUntouched;
    answer expected = expected_now(clock);
    counter_reads = 0;
    CLOCKPAGE_FUZZ_CHECK(clockpage_now(&reader_, clock, &ns) == expected.error);
    CLOCKPAGE_FUZZ_CHECK(ns == (expected.error != 0 ? kUntouched : expected.time.ns));
    CLOCKPAGE_FUZZ_CHECK(counter_reads <= 2);
    expected = expected_now(clock);
    ns = kUntouched;
    CLOCKPAGE_FUZZ_CHECK(clockpage_now_relaxed(&reader_, clock, &ns) == expected.error);
    CLOCKPAGE_FUZZ_CHECK(ns == (expected.error != 0 ? kUntouched : expected.time.ns));
    expected = expected_now(clock);
    clockpage_time time{};
    CLOCKPAGE_FUZZ_CHECK(clockpage_now_bounds(&reader_, clock, &time) == expected.error);
    CLOCKPAGE_FUZZ_CHECK(expected.error != 0 || test::same_time(time, expected.time));
    expected = expected_now(clock);
    timespec ts{kUntouched, kUntouched};
    const int error = clockpage_gettime(&reader_, clock, &ts);
    CLOCKPAGE_FUZZ_CHECK(error == expected.error);
    if (error != 0) {
      CLOCKPAGE_FUZZ_CHECK(ts.tv_sec == kUntouched && ts.tv_nsec == kUntouched);
      return;
    }
    CLOCKPAGE_FUZZ_CHECK(ts.tv_nsec >= 0 && ts.tv_nsec < 1'000'000'000);
    CLOCKPAGE_FUZZ_CHECK(test::wide{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec == expected.time.ns);
  }

  // Waits no longer than it was told, whatever the page says.
  void read_leased(int clock, std::uint64_t limit) const {
    const std::uint64_t kept = counter_step;
    counter_step = 1000;
    clockpage_time time{};
    counter_reads = 0;
    int error = clockpage_now_leased(&reader_, clock, limit, &time);
    CLOCKPAGE_FUZZ_CHECK(counter_reads <= 3 * (limit / counter_step + 2));
    CLOCKPAGE_FUZZ_CHECK(error != CLOCKPAGE_OK || (time.flags & CLOCKPAGE_TIME_OVERDUE) == 0);
    CLOCKPAGE_FUZZ_CHECK(error != CLOCKPAGE_E_BUSY && error <= 0);
    counter_reads = 0;
    // 1 us: of a counter that no page makes faster than 16 GHz or so.
    error = clockpage::now_leased<smeared_clock>(region_, std::chrono::microseconds(1)).code();
    CLOCKPAGE_FUZZ_CHECK(counter_reads <= 3 * (20 + 2));
    CLOCKPAGE_FUZZ_CHECK(error != CLOCKPAGE_E_BUSY && error <= 0);
    counter_step = kept;
  }

  // On a page whose segments overlap a bulk conversion may find another one of them.
  void read_many(int clock, std::span<const std::uint64_t> from) const {
    const std::vector<std::uint64_t> counters(from.begin(), from.end());  // with ends to trip over
    std::vector<std::int64_t> ns(counters.size(), kUntouched);
    std::size_t converted = counters.size() + 1;
    const int error =
        clockpage_at_many(&reader_, clock, counters.data(), counters.size(), ns.data(), &converted);
    CLOCKPAGE_FUZZ_CHECK(converted <= counters.size());
    CLOCKPAGE_FUZZ_CHECK((error == 0) == (converted == counters.size()));
    if (!test::is_partition(page_)) return;
    for (std::size_t i = 0; i < converted; i++) {
      const answer one = oracle_at(page_, reader_.delta_shift, clock, counters[i]);
      CLOCKPAGE_FUZZ_CHECK(one.error == 0 && ns[i] == one.time.ns);
    }
    if (error == 0) return;
    const answer failed = oracle_at(page_, reader_.delta_shift, clock, counters[converted]);
    CLOCKPAGE_FUZZ_CHECK(failed.error == error);
  }

  // clockpage.hpp says what reader.h says.
  template <page_clock Clock>
  void read_cpp(std::span<const std::uint64_t> counters) const {
    for (const std::uint64_t counter : counters) {
      const answer expected = oracle_at(page_, reader_.delta_shift, Clock::id, counter);
      const auto value = clockpage::at<Clock>(region_, counter);
      const auto bounds = clockpage::at_bounds<Clock>(region_, counter);
      CLOCKPAGE_FUZZ_CHECK(value.code() == expected.error && bounds.code() == expected.error);
      CLOCKPAGE_FUZZ_CHECK(test::same_time(bounds.raw(), expected.time));
      CLOCKPAGE_FUZZ_CHECK(expected.error != 0 || *value == bounds.value());
      CLOCKPAGE_FUZZ_CHECK(static_cast<int>(bounds.status()) <= CLOCKPAGE_STATUS_UNRELIABLE);
      if (const auto middle = midpoint(bounds))
        CLOCKPAGE_FUZZ_CHECK(bounds.earliest() <= *middle && *middle <= bounds.latest());
    }
    std::vector<typename Clock::time_point> times(counters.size());
    const conversion all = clockpage::at<Clock>(region_, counters, times);
    CLOCKPAGE_FUZZ_CHECK(all.converted <= counters.size());
    times.resize(counters.size() / 2);
    if (counters.size() > times.size())
      CLOCKPAGE_FUZZ_CHECK(clockpage::at<Clock>(region_, counters, times).code ==
                           CLOCKPAGE_E_ARGUMENT);
    answer expected = expected_now(Clock::id);
    CLOCKPAGE_FUZZ_CHECK(clockpage::now<Clock>(region_).code() == expected.error);
    expected = expected_now(Clock::id);
    CLOCKPAGE_FUZZ_CHECK(clockpage::now_relaxed<Clock>(region_).code() == expected.error);
    expected = expected_now(Clock::id);
    CLOCKPAGE_FUZZ_CHECK(
        test::same_time(clockpage::now_bounds<Clock>(region_).raw(), expected.time));
  }

 private:
  const clockpage_data_page& page_;
  const clockpage_reader& reader_;
  const region region_;
};

// The edges of the segments that a reader looks at, and what the input names.
std::vector<std::uint64_t> counters_of(const clockpage_data_page& page, Input& script) {
  std::vector<std::uint64_t> counters = {0, ~std::uint64_t{0}};
  for (const unsigned back : {0U, 1U, 2U, 14U}) {
    const clockpage_segment& s = page.segment[(page.index - back) % CLOCKPAGE_SEGMENT_COUNT];
    counters.insert(counters.end(), {s.start - 1, s.start, s.lease_end - 1});
  }
  counters.push_back(page.segment[page.index % CLOCKPAGE_SEGMENT_COUNT].lease_end);
  while (!script.empty() && counters.size() < 48) {
    const auto kind = script.take<std::uint8_t>();
    const clockpage_segment& s = page.segment[kind % CLOCKPAGE_SEGMENT_COUNT];
    if ((kind & 0x80) != 0)
      counters.push_back(script.take<std::uint64_t>());
    else  // by whole leases and some ticks past a start
      counters.push_back(s.start + (kind >> 4 & 7U) * (s.lease_end - s.start) / 4 +
                         static_cast<std::uint64_t>(script.take<std::int16_t>()));
  }
  return counters;
}

}  // namespace

std::uint64_t load_word(const void* address, std::size_t size, bool) {
  const auto* at = static_cast<const std::byte*>(address);
  CLOCKPAGE_FUZZ_CHECK(at >= mapping.data() && size <= mapping.size() &&
                       at <= mapping.data() + (mapping.size() - size));
  CLOCKPAGE_FUZZ_CHECK(reinterpret_cast<std::uintptr_t>(address) % size == 0);
  std::uint64_t word = 0;
  std::memcpy(&word, address, size);
  return word;
}

std::uint64_t read_counter() {
  counter_reads++;
  return counter_now += counter_step;
}

}  // namespace clockpage::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clockpage;
  using namespace clockpage::fuzz;
  static const GuardedBytes area(CLOCKPAGE_PAGE_SIZE);
  const std::span<std::byte> bytes = area.last(CLOCKPAGE_PAGE_SIZE);
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  Input input(data, size);
  input.take_bytes(bytes.data(), bytes.size());
  mapping = bytes;
  auto& page = *reinterpret_cast<clockpage_data_page*>(bytes.data());

  init_short(area, size % CLOCKPAGE_PAGE_SIZE);
  clockpage_reader reader{};
  int error = clockpage_reader_init(&reader, &page, sizeof page);
  CLOCKPAGE_FUZZ_CHECK(error == CLOCKPAGE_OK || is_header_error(error));
  CLOCKPAGE_FUZZ_CHECK((error == CLOCKPAGE_OK) == is_valid(page));
  if (error != CLOCKPAGE_OK) {
    repair(page);
    error = clockpage_reader_init(&reader, &page, sizeof page);
    CLOCKPAGE_FUZZ_CHECK(error == CLOCKPAGE_OK);
  }
  page.delta_shift = input.take<std::uint8_t>();  // once validated, the copy must be used

  const std::vector<std::uint64_t> counters = counters_of(page, input);
  const StaticPage read(page, reader);
  for (const int clock : kClocks) {
    for (const std::uint64_t counter : counters) read.read_at(clock, counter);
    read.read_many(clock, counters);
    for (std::size_t i = 2; i < counters.size(); i += 5) {
      counter_step = counters[i] - counters[i - 1];
      counter_now = counters[i] - counter_step;
      read.read_now(clock);
    }
    counter_now = counters.back() - 5000;
    read.read_leased(clock, 10'000);
  }
  read.read_cpp<smeared_clock>(counters);
  if (page.smear == CLOCKPAGE_SMEAR_NONE) read.read_cpp<realtime_clock>(counters);
  read.read_cpp<monotonic_clock>(counters);
  read.read_cpp<monotonic_raw_clock>(counters);
  read.read_cpp<boottime_clock>(counters);
  read.read_cpp<tai_clock>(counters);
  return 0;
}
