// SPDX-License-Identifier: MIT
//
// Fuzz target: arbitrary bytes as the kernel's [vvar] page, in every layout; the evaluation of
// whatever was decoded, and of an arbitrary snapshot; arbitrary lines of /proc/self/maps.
//
// Input: one byte of flags, a counter, a snapshot's words; then the page, or the line.
#include <algorithm>
#include <optional>
#include <string>

#include "fuzz.hpp"
#include "kernel_clock.hpp"

namespace clockpage::fuzz {
namespace {

__extension__ using Wide = unsigned __int128;

// What the vDSO computes where its 64-bit product does not wrap and nothing is out of range;
// nothing is known of all other cases.
std::optional<std::int64_t> plain_evaluation(const KernelClockSnapshot& s, int clock,
                                             std::uint64_t counter) {
  const bool raw = clock == 4;
  const std::uint64_t last = raw ? s.raw_cycle_last : s.cycle_last;
  const std::uint64_t limit = raw ? s.raw_max_cycles : s.max_cycles;
  const std::uint64_t delta = counter - last;
  const KernelTimeBase& base = s.base[static_cast<std::size_t>(clock)];
  const Wide sum = Wide{delta} * (raw ? s.raw_mult : s.mult) + base.nsec_shifted;
  if (s.clock_mode != kKernelClockModeTsc || counter >> 63 != 0 || last >> 63 != 0 ||
      delta >> 62 != 0)
    return std::nullopt;
  if (sum >> 64 != 0 || (s.has_max_cycles && delta > limit)) return std::nullopt;
  if ((raw ? s.raw_shift : s.shift) > 63 || base.sec > 4'000'000'000) return std::nullopt;
  const auto ns = static_cast<std::uint64_t>(sum) >> (raw ? s.raw_shift : s.shift);
  const Wide result = Wide{base.sec} * 1'000'000'000 + ns;
  return result > INT64_MAX ? std::nullopt : std::optional(static_cast<std::int64_t>(result));
}

void evaluate_all(const KernelClockSnapshot& s, std::uint64_t counter) {
  for (int clock = -2; clock < 14; clock++) {
    const bool known =
        std::find(kKernelClocks.begin(), kKernelClocks.end(), clock) != kKernelClocks.end();
    for (const std::uint64_t c : {counter, s.cycle_last, s.cycle_last + 1, s.cycle_last - 1,
                                  s.raw_cycle_last, s.cycle_last + counter % 1000}) {
      const std::optional<std::int64_t> ns = evaluate(s, clock, c);
      CLOCKPAGE_FUZZ_CHECK(known || !ns);
      CLOCKPAGE_FUZZ_CHECK(s.clock_mode == kKernelClockModeTsc || !ns);
      if (!known) continue;
      const std::optional<std::int64_t> expected = plain_evaluation(s, clock, c);
      CLOCKPAGE_FUZZ_CHECK(!expected || ns == expected);
    }
  }
}

void decode(std::span<const std::byte> page, std::uint64_t counter) {
  for (const KernelClockLayout& layout : kernel_clock_layouts()) {
    const auto decoded = decode_kernel_clock(layout, page);
    if (const auto* refusal = std::get_if<std::string>(&decoded)) {
      CLOCKPAGE_FUZZ_CHECK(!refusal->empty());
    } else {
      const auto& s = std::get<KernelClockSnapshot>(decoded);
      CLOCKPAGE_FUZZ_CHECK(s.seq % 2 == 0 && s.clock_mode == kKernelClockModeTsc);
      CLOCKPAGE_FUZZ_CHECK(s.mult != 0 && s.raw_mult != 0 && s.shift <= 32 && s.raw_shift <= 32);
      CLOCKPAGE_FUZZ_CHECK(s.has_max_cycles == layout.has_max_cycles);
      evaluate_all(s, counter);
    }
    const bool is_namespace = decode_time_namespace(layout, page).has_value();
    CLOCKPAGE_FUZZ_CHECK(!is_namespace || decoded.index() == 1);  // never both
  }
}

void parse_maps_line(const std::string& line) {
  const std::optional<AddressRange> range = parse_vvar_line(line);
  if (!range) return;
  // The kernel's own mapping, as it writes it, and not a file with such a name.
  CLOCKPAGE_FUZZ_CHECK(line.ends_with("[vvar]"));
  CLOCKPAGE_FUZZ_CHECK(range->begin < range->end);
}

}  // namespace
}  // namespace clockpage::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clockpage;
  using namespace clockpage::fuzz;
  static const GuardedBytes area(8192);
  Input input(data, size);
  const auto flags = input.take<std::uint8_t>();
  const auto counter = input.take<std::uint64_t>();
  if ((flags & 1) != 0) {
    KernelClockSnapshot s;
    s.clock_mode = (flags & 2) != 0 ? input.take<std::int32_t>() : kKernelClockModeTsc;
    s.has_max_cycles = (flags & 4) != 0;
    s.cycle_last = input.take<std::uint64_t>();
    s.raw_cycle_last = input.take<std::uint64_t>();
    s.max_cycles = input.take<std::uint64_t>();
    s.raw_max_cycles = input.take<std::uint64_t>();
    s.mult = input.take<std::uint32_t>();
    s.raw_mult = input.take<std::uint32_t>();
    s.shift = input.take<std::uint8_t>();
    s.raw_shift = input.take<std::uint8_t>();
    for (const int clock : kKernelClocks)
      s.base[static_cast<std::size_t>(clock)] = {input.take<std::uint64_t>(),
                                                 input.take<std::uint64_t>()};
    evaluate_all(s, counter);
  } else if ((flags & 2) != 0) {
    const auto rest = input.rest();
    parse_maps_line({rest.begin(), rest.end()});
  } else {
    // Of any length, at any alignment: an image is copied before it is decoded.
    const std::size_t length = (flags & 4) != 0 ? input.take<std::uint16_t>() % 8192 : 4096;
    const std::span<std::byte> page = area.last(length);
    std::fill(page.begin(), page.end(), std::byte{0});
    // Where the kernels' layouts begin: the zeros between need no bytes of input.
    const std::size_t at = (flags & 8) != 0 ? std::min<std::size_t>(128, length) : 0;
    input.take_bytes(page.data() + at, length - at);
    decode(page, counter);
  }
  return 0;
}
