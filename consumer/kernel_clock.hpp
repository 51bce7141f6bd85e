// SPDX-License-Identifier: MIT
//
// The host kernel's own clock, evaluated as its vDSO does: from the data that the kernel keeps
// in every process's [vvar] mapping. The layout of that data is internal to the kernel, so a
// mapping is used only once it has been *proven* against clock_gettime.
#ifndef CLOCKPAGE_CONSUMER_KERNEL_CLOCK_HPP
#define CLOCKPAGE_CONSUMER_KERNEL_CLOCK_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace clockpage {

// The clocks that can be evaluated, by clockid_t: REALTIME, MONOTONIC, MONOTONIC_RAW, BOOTTIME,
// TAI.
inline constexpr std::array<int, 5> kKernelClocks = {0, 1, 4, 7, 11};

// A clock's value at the snapshot's cycle_last: sec seconds and nsec_shifted / 2^shift ns since
// the clock's epoch. nsec_shifted may exceed one second (MONOTONIC, BOOTTIME).
struct KernelTimeBase {
  std::uint64_t sec = 0;
  std::uint64_t nsec_shifted = 0;
};

// A private, consistent copy of the kernel's data. The clocks are the host's (those of the
// initial time namespace), whichever namespace the process is in.
//
//   ns = (base.nsec_shifted + (counter - cycle_last) * mult) >> shift, plus base.sec seconds
struct KernelClockSnapshot {
  std::uint32_t seq = 0;         // even; changes whenever the kernel rewrites its data (every tick)
  std::int32_t clock_mode = 0;   // kKernelClockModeTsc, or no evaluation is possible
  std::uint64_t cycle_last = 0;  // counter (TSC) value of the bases, in ticks
  std::uint64_t max_cycles = 0;  // largest delta whose product fits 64 bits; has_max_cycles only
  std::uint64_t mask = 0;        // of the counter; all ones for the TSC
  std::uint32_t mult = 0;        // ns per tick, in 2^-shift ns; dithered by 1 under NTP
  std::uint32_t shift = 0;       // 0 to 32
  // The same for MONOTONIC_RAW, which NTP does not steer.
  std::uint64_t raw_cycle_last = 0;
  std::uint64_t raw_max_cycles = 0;
  std::uint32_t raw_mult = 0;
  std::uint32_t raw_shift = 0;
  std::array<KernelTimeBase, 12> base = {};  // by clockid_t; only those of kKernelClocks are filled
  bool has_max_cycles = false;               // kernel 6.10 and later: see evaluate()
};

inline constexpr std::int32_t kKernelClockModeTsc = 1;
// clock_mode of the page that carries a time namespace's offsets in place of the clocks.
inline constexpr std::int32_t kKernelClockModeTimeNamespace = 0x7fffffff;

// The ns since the clock's epoch that the kernel's vDSO returns for `clock` (a clockid_t) when
// it reads `counter`: to the nanosecond, for counters before cycle_last and for deltas beyond
// max_cycles too. With max_cycles the counter's most significant bit is ignored, as the kernel
// does since 6.10 at the latest. nullopt where the vDSO would make the system call instead: clock
// mode not TSC, clock not one of kKernelClocks, and, without max_cycles, most significant bit set.
// nullopt also where no one answer exists: without max_cycles and 2^62 ticks or more away from
// cycle_last (kernels before 6.10 differ there), or beyond the range of int64_t. Pure,
// thread-safe.
std::optional<std::int64_t> evaluate(const KernelClockSnapshot& snapshot, int clock,
                                     std::uint64_t counter) noexcept;

// One layout of the kernel's data within its page: two clocks (high resolution, then raw).
struct KernelClockLayout {
  std::string_view name;  // the kernels that have it
  std::size_t offset;     // bytes, of the first clock in the page
  std::size_t stride;     // bytes, from the first clock to the raw one
  bool has_max_cycles;
};

// Every layout that is known, newest first.
std::span<const KernelClockLayout> kernel_clock_layouts() noexcept;

// Decodes the image of one [vvar] page: a snapshot, or why the page cannot hold a clock in
// this layout. The image is not sequence-checked (a torn one is decoded all the same), but an
// odd sequence number is refused. Pure, thread-safe.
std::variant<KernelClockSnapshot, std::string> decode_kernel_clock(const KernelClockLayout& layout,
                                                                   std::span<const std::byte> page);

struct AddressRange {
  std::uintptr_t begin = 0, end = 0;
};

// The kernel's [vvar] mapping, if that is what this line of /proc/self/maps is about: not a file
// that bears such a name.
std::optional<AddressRange> parse_vvar_line(const std::string& line);

// Added to the host's clock gives this process's clock, in ns. Both 0 in the initial namespace.
struct KernelClockOffsets {
  std::int64_t monotonic_ns = 0;  // MONOTONIC and MONOTONIC_RAW
  std::int64_t boottime_ns = 0;   // BOOTTIME
};

// Decodes the image of the page that a time namespace's processes find first; nullopt if it is not
// one. Pure, thread-safe.
std::optional<KernelClockOffsets> decode_time_namespace(const KernelClockLayout& layout,
                                                        std::span<const std::byte> page);

// A proven mapping of this process's own [vvar]. A value, cheap to copy; valid as long as the
// process lives, in a forked child too. A process that enters another time namespace must prove
// it anew: the kernel exchanges the pages then. Thread-safe.
class KernelClock {
 public:
  // Tries every known layout on every page of [vvar] and proves the one it picks: over several
  // kernel ticks, in thousands of samples of all five clocks, clock_gettime lies between the
  // evaluations at the counter before and after it. Takes about four ticks (16 ms at 250 Hz),
  // busily; gives up after 250 ms without one. Otherwise the text says what was tried and why each
  // was refused. Touches no page that is not populated. Never prints.
  static std::variant<KernelClock, std::string> prove();

  // Copies the kernel's data, consistently. False, with `snapshot` undefined, if the kernel's
  // writer was not seen to finish in a few ms (its CPU was taken away): try again later.
  bool read(KernelClockSnapshot& snapshot) const noexcept;

  // The same, and a counter value read while the kernel did not rewrite its data: what evaluate()
  // gives for it is what clock_gettime gave at that moment. False likewise.
  bool read_with_counter(KernelClockSnapshot& snapshot, std::uint64_t& counter) const noexcept;

  std::string_view layout_name() const noexcept { return layout_->name; }

  // This process's clock = the host's clock + this, ns. MONOTONIC and MONOTONIC_RAW; BOOTTIME.
  std::int64_t monotonic_offset_ns() const noexcept { return offsets_.monotonic_ns; }
  std::int64_t boottime_offset_ns() const noexcept { return offsets_.boottime_ns; }
  // The offset of any clock; 0 for REALTIME and TAI.
  std::int64_t offset_ns(int clock) const noexcept;

 private:
  KernelClock(const KernelClockLayout* layout, const unsigned char* page,
              const KernelClockOffsets& offsets) noexcept
      : layout_(layout), page_(page), offsets_(offsets) {}

  // Whether the kernel has not begun to rewrite its data since `seq` (even) was read.
  bool unchanged(std::uint32_t seq) const noexcept;
  // The proof: empty, or what speaks against this mapping.
  std::string refute() const;

  const KernelClockLayout* layout_;
  const unsigned char* page_;  // the [vvar] page that holds the clocks; mapped and populated
  KernelClockOffsets offsets_;
};

}  // namespace clockpage

#endif  // CLOCKPAGE_CONSUMER_KERNEL_CLOCK_HPP
