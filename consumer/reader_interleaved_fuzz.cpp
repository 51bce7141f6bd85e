// SPDX-License-Identifier: MIT
//
// Fuzz target: an honest writer, interrupted by its reader between any two stores, and a reader
// that is interrupted by its writer between any two loads. The input is the interleaving. Whatever
// it is, one function must explain every answer: a leased value is that of the one segment that its
// counter value lies in, bit for bit; an overdue one is on the line of a segment that was the
// newest at some moment of the reading; and each error is one that the history gives cause for.
//
// This is the reader itself, not a model of it, but in sequential consistency: what the fences are
// for is shown elsewhere.
//
// Input: what to read and how the writer orders its stores, then how many stores it makes before
// each load.
#include "fuzz_reader.hpp"

// In this order.
#include <array>
#include <vector>

#include "../tests/fuzz.hpp"
#include "reader_oracle.hpp"
#include "test_pages.hpp"

namespace clockpage::fuzz {
namespace {

using test::answer;

constexpr std::size_t kWords = CLOCKPAGE_SEGMENT_SIZE / sizeof(std::uint64_t);
constexpr std::uint64_t kLease = 1000;  // ticks

// The writer: one store at a time.
class Writer {
 public:
  Writer(clockpage_data_page& page, unsigned stride, unsigned steps_at)
      : page_(page), stride_(stride), steps_at_(steps_at), first_(page.index - 15) {
    for (std::uint64_t number = first_; number != page.index + 1; number++) {
      history_.push_back(segment(number));
      page.segment[number % CLOCKPAGE_SEGMENT_COUNT] = history_.back();
    }
    next_ = segment(page.index + 1);
  }

  void store() {
    if (stored_ < kWords) {
      const std::size_t word = (stored_ * stride_ + stride_) % kWords;
      const std::size_t at = (page_.index + 1) % CLOCKPAGE_SEGMENT_COUNT * CLOCKPAGE_SEGMENT_SIZE +
                             word * sizeof(std::uint64_t);
      std::memcpy(reinterpret_cast<std::byte*>(page_.segment) + at,
                  reinterpret_cast<const std::byte*>(&next_) + word * sizeof(std::uint64_t),
                  sizeof(std::uint64_t));
      stored_++;
      return;
    }
    page_.index++;
    history_.push_back(next_);
    next_ = segment(page_.index + 1);
    stored_ = 0;
  }

  [[nodiscard]] std::uint64_t newest() const { return page_.index; }
  [[nodiscard]] const clockpage_segment& at(std::uint64_t number) const {
    return history_.at(number - first_);
  }
  [[nodiscard]] bool has(std::uint64_t number) const { return number - first_ < history_.size(); }
  // The one segment that `counter` lies in.
  [[nodiscard]] const clockpage_segment* holding(std::uint64_t counter) const {
    for (const clockpage_segment& s : history_)
      if (counter - s.start < s.lease_end - s.start) return &s;
    return nullptr;
  }

 private:
  // No word of one is that of another: a mixture of two shows.
  [[nodiscard]] clockpage_segment segment(std::uint64_t number) const {
    const std::uint64_t k = number - first_;
    clockpage_segment s{};
    s.number = number;
    s.start = 1'000'000 + k * kLease;
    s.lease_end = s.start + kLease;
    s.tai_ns = (k + 1) << 40;
    s.tai_frac = k << 48;
    s.tai_period_frac = (k + 1) << 54;
    s.raw_ns = (k + 1) << 41;
    s.raw_frac = k << 49;
    s.raw_period_frac = (k + 1) << 53;
    s.utc_offset_ns = static_cast<std::int64_t>((k + 1) << 20);
    s.monotonic_offset_ns = static_cast<std::int64_t>((k + 1) << 21);
    s.boottime_offset_ns = static_cast<std::int64_t>((k + 1) << 22);
    s.leap_start_ns = k % 3 == 0 ? CLOCKPAGE_NO_LEAP : static_cast<std::int64_t>(s.tai_ns + 2);
    s.leap_end_ns = k % 3 == 0 ? CLOCKPAGE_NO_LEAP : s.leap_start_ns + static_cast<std::int64_t>(k);
    s.utc_offset_after_ns = s.utc_offset_ns + static_cast<std::int64_t>(k << 10);
    s.leap_slope_frac = (k + 1) << 50;
    s.utc_bound_ns = (k + 1) << 10;
    s.utc_bound_growth_frac = (k + 1) << 51;
    s.local_bound_ns = (k + 1) << 11;
    s.local_bound_growth_frac = (k + 1) << 52;
    s.epoch = number;
    s.flags = k % 2 == 0 ? CLOCKPAGE_SEGMENT_TAI_KNOWN : 0;
    if (steps_at_ != 0 && k % steps_at_ == 0) s.flags |= CLOCKPAGE_SEGMENT_REALTIME_STEP;
    s.status = static_cast<std::uint8_t>(k % 5);
    s.reason = static_cast<std::uint8_t>(k);
    s.leap_indicator = static_cast<std::uint8_t>(k * 3);
    return s;
  }

  clockpage_data_page& page_;
  unsigned stride_;
  unsigned steps_at_;  // every so many segments a discontinuity; 0: none
  std::uint64_t first_;
  std::vector<clockpage_segment> history_;
  clockpage_segment next_{};
  std::size_t stored_ = 0;
};

Writer* writer;
Input* input;
std::uint64_t counter;
unsigned counter_reads;

// Every answer, given that `from` was the newest segment when the reading began.
class Verdict {
 public:
  Verdict(int clock, std::uint64_t from) : clock_(clock), from_(from), to_(writer->newest()) {}

  void value(int error, std::int64_t ns, std::uint64_t at) const {
    if (error != 0) return refusal(error, at);
    bool explained = false;
    each_candidate(at, [&](const answer& a) { explained |= a.error == 0 && a.time.ns == ns; });
    CLOCKPAGE_FUZZ_CHECK(explained);
  }

  void reading(int error, const clockpage_time& time, std::uint64_t at) const {
    if (error != 0) return refusal(error, at);
    bool explained = false;
    each_candidate(time.counter, [&](const answer& a) {
      explained |= a.error == 0 && test::same_time(a.time, time);
    });
    CLOCKPAGE_FUZZ_CHECK(explained);
  }

 private:
  // What an answer at `at` may be: the segment it lies in, and every line that was the newest one.
  template <class Function>
  void each_candidate(std::uint64_t at, Function function) const {
    if (const clockpage_segment* s = writer->holding(at))
      function(test::oracle_segment(*s, 0, 0, clock_, at, false));
    for (std::uint64_t n = from_; n != to_ + 1; n++)
      if (!test::is_before(at, writer->at(n).lease_end))
        function(test::oracle_segment(writer->at(n), 0, 0, clock_, at, true));
  }

  void refusal(int error, std::uint64_t at) const {
    bool cause = false;
    switch (error) {
      case CLOCKPAGE_E_BUSY:
        cause = to_ - from_ >= CLOCKPAGE_MAX_PASSES - 1;
        break;
      case CLOCKPAGE_E_OUT_OF_RANGE:  // below the history of the newest seen
        cause = !writer->has(to_ - 14) || test::is_before(at, writer->at(to_ - 14).start);
        break;
      case CLOCKPAGE_E_DISCONTINUITY:
        for (std::uint64_t n = from_ - 13; n != to_; n++)
          cause |= writer->has(n) && (writer->at(n).flags & CLOCKPAGE_SEGMENT_DISCONTINUITY) != 0 &&
                   test::is_before(at, writer->at(n).start);
        break;
      case CLOCKPAGE_E_TAI_UNKNOWN:
        each_candidate(at, [&](const answer& a) { cause |= a.error == error; });
        break;
      case CLOCKPAGE_E_CLOCK:
        cause = clock_ == 2;
        break;
      default:
        break;
    }
    if (!cause)
      std::fprintf(stderr, "error %d of clock %d at %llu, newest segments %llu to %llu\n", error,
                   clock_, static_cast<unsigned long long>(at),
                   static_cast<unsigned long long>(from_), static_cast<unsigned long long>(to_));
    CLOCKPAGE_FUZZ_CHECK(cause);
  }

  int clock_;
  std::uint64_t from_, to_;
};

void read_many(const clockpage_reader& reader, int clock) {
  std::vector<std::uint64_t> counters(input->take<std::uint8_t>() % 12);
  for (std::size_t i = 0; i < counters.size(); i++) counters[i] = counter + i * kLease / 3;
  std::vector<std::int64_t> ns(counters.size());
  std::size_t converted = 0;
  const std::uint64_t from = writer->newest();
  const int error =
      clockpage_at_many(&reader, clock, counters.data(), counters.size(), ns.data(), &converted);
  const Verdict verdict(clock, from);
  for (std::size_t i = 0; i < converted; i++) verdict.value(0, ns[i], counters[i]);
  if (error != 0) verdict.value(error, 0, counters.at(converted));
}

void read_once(const clockpage_reader& reader, unsigned what, int clock) {
  std::int64_t ns = 0;
  clockpage_time time{};
  const std::uint64_t from = writer->newest();
  const std::uint64_t at = counter;
  int error = 0;
  counter_reads = 0;
  switch (what) {
    case 0:
      error = clockpage_at(&reader, clock, at, &ns);
      return Verdict(clock, from).value(error, ns, at);
    case 1:
      error = clockpage_at_bounds(&reader, clock, at, &time);
      return Verdict(clock, from).reading(error, time, at);
    case 2:
      error = clockpage_now_bounds(&reader, clock, &time);
      return Verdict(clock, from).reading(error, time, counter);
    default:
      return read_many(reader, clock);
  }
}

}  // namespace

std::uint64_t load_word(const void* address, std::size_t size, bool) {
  // Single stores, the edges of a segment's and of the whole ring's.
  constexpr std::array<std::uint16_t, 16> kStores = {1,  2,   5,   24,  25,  26,  50,  75,
                                                     99, 100, 325, 350, 374, 375, 376, 400};
  const auto operation = input->take<std::uint8_t>();
  if (operation >= 128)
    for (unsigned i = 0; i < kStores[operation % kStores.size()]; i++) writer->store();
  std::uint64_t word = 0;
  std::memcpy(&word, address, size);
  return word;
}

// Where the input says; asked again, where the writer is.
std::uint64_t read_counter() {
  if (counter_reads++ != 0) counter = writer->at(writer->newest()).start + kLease / 2;
  return counter;
}

}  // namespace clockpage::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clockpage;
  using namespace clockpage::fuzz;
  static test::region_image original;
  clockpage_data_page page = original.page();
  Input bytes(data, std::min<std::size_t>(size, 200));
  input = &bytes;
  const auto what = bytes.take<std::uint8_t>();
  const auto order = bytes.take<std::uint8_t>();
  constexpr std::array<unsigned, 8> strides = {1, 5, 7, 11, 13, 17, 19, 23};  // prime to 24
  Writer honest(page, strides[order % 8], order >> 3 & 15U);
  writer = &honest;
  constexpr int clocks[] = {0, 1, 4, 7, 11, 2, 0, 1};
  const int clock = clocks[bytes.take<std::uint8_t>() % 8];
  counter = honest.at(honest.newest()).start +
            static_cast<std::uint64_t>(std::int64_t{bytes.take<std::int16_t>()});
  const clockpage_reader reader = {&page, 0, 0, CLOCKPAGE_MAX_TICKS};
  for (int i = 0; i < 4; i++) read_once(reader, what % 4U, clock);
  return 0;
}
