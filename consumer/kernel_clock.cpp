// SPDX-License-Identifier: MIT
#include "kernel_clock.hpp"

#include <clockpage/counter.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

namespace clockpage {
namespace {

constexpr std::int64_t kNsPerSec = 1'000'000'000;
constexpr std::size_t kPageSize = 4096;
constexpr int kRaw = 4;  // CLOCK_MONOTONIC_RAW

// struct vdso_clock (6.15 and later), struct vdso_data (before): include/vdso/datapage.h.
constexpr std::size_t kSeq = 0;
constexpr std::size_t kClockMode = 4;
constexpr std::size_t kCycleLast = 8;
constexpr std::size_t kMaxCycles = 16;  // with max_cycles only; all that follows is 8 later then
constexpr std::size_t kMask = 16;
constexpr std::size_t kMult = 24;
constexpr std::size_t kShift = 28;
constexpr std::size_t kBase = 32;
constexpr std::size_t kClockSize = kBase + 12 * sizeof(KernelTimeBase);

constexpr std::array<KernelClockLayout, 3> kLayouts = {{
    {"6.15 and later", 0, 232, true},
    {"6.10 to 6.12", 128, 248, true},
    {"5.10 to 6.9", 128, 240, false},
}};

// One word of the kernel's: it may change at any time, so it is read once and whole.
template <typename T>
T load(const unsigned char* at) noexcept {
  return __atomic_load_n(reinterpret_cast<const T*>(at), __ATOMIC_RELAXED);
}

KernelTimeBase load_base(const unsigned char* clock_data, std::size_t grown, int clock) noexcept {
  const unsigned char* at =
      clock_data + kBase + grown + static_cast<std::size_t>(clock) * sizeof(KernelTimeBase);
  return {load<std::uint64_t>(at), load<std::uint64_t>(at + 8)};
}

// Copies everything but seq from the two clocks at `first`; relaxed loads only.
void copy_clocks(const KernelClockLayout& layout, const unsigned char* first,
                 KernelClockSnapshot& out) noexcept {
  const unsigned char* raw = first + layout.stride;
  const std::size_t grown = layout.has_max_cycles ? 8 : 0;
  out.has_max_cycles = layout.has_max_cycles;
  out.clock_mode = load<std::int32_t>(first + kClockMode);
  out.cycle_last = load<std::uint64_t>(first + kCycleLast);
  out.max_cycles = layout.has_max_cycles ? load<std::uint64_t>(first + kMaxCycles) : 0;
  out.mask = load<std::uint64_t>(first + kMask + grown);
  out.mult = load<std::uint32_t>(first + kMult + grown);
  out.shift = load<std::uint32_t>(first + kShift + grown);
  out.raw_cycle_last = load<std::uint64_t>(raw + kCycleLast);
  out.raw_max_cycles = layout.has_max_cycles ? load<std::uint64_t>(raw + kMaxCycles) : 0;
  out.raw_mult = load<std::uint32_t>(raw + kMult + grown);
  out.raw_shift = load<std::uint32_t>(raw + kShift + grown);
  for (int clock : kKernelClocks)
    out.base[static_cast<std::size_t>(clock)] =
        load_base(clock == kRaw ? raw : first, grown, clock);
}

bool is_kernel_clock(int clock) noexcept {
  return std::find(kKernelClocks.begin(), kKernelClocks.end(), clock) != kKernelClocks.end();
}

// What one clock's evaluation needs beside its base.
struct Slope {
  std::uint64_t cycle_last, max_cycles;
  std::uint32_t mult, shift;
};

// arch/x86/include/asm/vdso/gettimeofday.h: vdso_calc_ns (6.10 and later), the product in 64
// bits while it fits, else in 128. Bit 63 of the counter (see __arch_get_hw_counter there) and of
// the delta is not looked at, bit 62 of the delta is its sign: a counter a little behind
// cycle_last (TSCs that are not quite in step) reads as cycle_last.
std::uint64_t elapsed_ns(const Slope& slope, std::uint64_t counter, std::uint64_t base) noexcept {
  constexpr std::uint64_t kLow63 = ~(std::uint64_t{1} << 63);
  const std::uint64_t delta = (counter & kLow63) - slope.cycle_last;
  if (delta <= slope.max_cycles) return (delta * slope.mult + base) >> slope.shift;
  if (delta & std::uint64_t{1} << 62) return base >> slope.shift;
  const unsigned __int128 product = static_cast<unsigned __int128>(delta & kLow63) * slope.mult;
  return static_cast<std::uint64_t>((product + base) >> slope.shift);
}

// The same file's vdso_calc_delta (before 6.10): the product wraps at 64 bits. 2^62 ticks away
// from cycle_last, and with bit 63 of the counter set, the older and the newer of them differ.
std::optional<std::uint64_t> elapsed_ns_wrapping(const Slope& slope, std::uint64_t counter,
                                                 std::uint64_t base) noexcept {
  constexpr std::int64_t kLimit = std::int64_t{1} << 62;
  const auto delta = static_cast<std::int64_t>(counter - slope.cycle_last);
  if (counter >> 63 || delta >= kLimit || delta <= -kLimit) return std::nullopt;
  const std::uint64_t ahead = delta > 0 ? static_cast<std::uint64_t>(delta) : 0;
  return (ahead * slope.mult + base) >> slope.shift;
}

// What a page's decoded data cannot be if the layout is the right one; empty if plausible.
std::string implausible(const KernelClockSnapshot& s, std::int32_t raw_mode) {
  const auto number = [](auto value) { return std::to_string(value); };
  if (s.seq & 1) return "its sequence number is odd (" + number(s.seq) + ")";
  if (s.clock_mode != kKernelClockModeTsc)
    return "its clock mode is " + number(s.clock_mode) + ", not 1 (TSC)";
  if (raw_mode != s.clock_mode) return "the raw clock's mode is " + number(raw_mode) + ", not 1";
  if (s.mask != ~std::uint64_t{0}) return "its counter mask is not 64 bits wide";
  if (s.mult == 0 || s.raw_mult == 0) return "its multiplier is 0";
  if (s.shift > 32 || s.raw_shift > 32)
    return "its shift is " + number(std::max(s.shift, s.raw_shift)) + ", more than 32";
  if (s.has_max_cycles && (s.max_cycles == 0 || s.raw_max_cycles == 0))
    return "its max_cycles is 0";
  return {};
}

bool fits(const KernelClockLayout& layout, std::size_t size) {
  return size >= layout.offset + layout.stride + kClockSize + (layout.has_max_cycles ? 8 : 0);
}

// An aligned copy of a page's image.
struct alignas(8) Image {
  explicit Image(std::span<const std::byte> page) {
    std::memcpy(bytes.data(), page.data(), std::min(page.size(), bytes.size()));
  }
  std::array<unsigned char, kPageSize> bytes = {};
};

}  // namespace

std::optional<std::int64_t> evaluate(const KernelClockSnapshot& snapshot, int clock,
                                     std::uint64_t counter) noexcept {
  if (snapshot.clock_mode != kKernelClockModeTsc || !is_kernel_clock(clock)) return std::nullopt;
  const Slope slope = clock == kRaw ? Slope{snapshot.raw_cycle_last, snapshot.raw_max_cycles,
                                            snapshot.raw_mult, snapshot.raw_shift}
                                    : Slope{snapshot.cycle_last, snapshot.max_cycles, snapshot.mult,
                                            snapshot.shift};
  if (slope.shift > 63) return std::nullopt;
  const KernelTimeBase& base = snapshot.base[static_cast<std::size_t>(clock)];
  const std::optional<std::uint64_t> ns =
      snapshot.has_max_cycles ? elapsed_ns(slope, counter, base.nsec_shifted)
                              : elapsed_ns_wrapping(slope, counter, base.nsec_shifted);
  std::int64_t result;
  if (!ns || __builtin_mul_overflow(static_cast<std::int64_t>(base.sec), kNsPerSec, &result) ||
      __builtin_add_overflow(result, *ns, &result))
    return std::nullopt;
  return result;
}

std::span<const KernelClockLayout> kernel_clock_layouts() noexcept { return kLayouts; }

std::variant<KernelClockSnapshot, std::string> decode_kernel_clock(
    const KernelClockLayout& layout, std::span<const std::byte> page) {
  if (!fits(layout, page.size())) return "it is too short";
  const Image image(page);
  const unsigned char* first = image.bytes.data() + layout.offset;
  KernelClockSnapshot snapshot;
  snapshot.seq = load<std::uint32_t>(first + kSeq);
  copy_clocks(layout, first, snapshot);
  std::string refusal =
      implausible(snapshot, load<std::int32_t>(first + layout.stride + kClockMode));
  if (!refusal.empty()) return refusal;
  return snapshot;
}

std::optional<KernelClockOffsets> decode_time_namespace(const KernelClockLayout& layout,
                                                        std::span<const std::byte> page) {
  if (!fits(layout, page.size())) return std::nullopt;
  const Image image(page);
  const unsigned char* first = image.bytes.data() + layout.offset;
  // The kernel keeps the sequence odd for ever, which sends readers down their slow path.
  if (load<std::uint32_t>(first + kSeq) != 1 ||
      load<std::int32_t>(first + kClockMode) != kKernelClockModeTimeNamespace)
    return std::nullopt;
  // struct timens_offset in the bases' places: s64 seconds, u64 ns, 0 <= ns < 10^9.
  const auto offset = [&](int clock) {
    const KernelTimeBase pair = load_base(first, layout.has_max_cycles ? 8 : 0, clock);
    return static_cast<std::int64_t>(pair.sec * std::uint64_t{kNsPerSec} + pair.nsec_shifted);
  };
  return KernelClockOffsets{offset(CLOCK_MONOTONIC), offset(CLOCK_BOOTTIME)};
}

std::optional<AddressRange> parse_vvar_line(const std::string& line) {
  // begin-end rwxp offset device:device inode, blanks, name: a file's inode is not 0.
  unsigned long begin = 0, end = 0, inode = 1;
  int name = 0;
  if (std::sscanf(line.c_str(), "%lx-%lx %*4c %*x %*x:%*x %lu %n", &begin, &end, &inode, &name) !=
      3)
    return std::nullopt;
  const bool is_vvar = inode == 0 && name > 0 &&
                       line.compare(static_cast<std::size_t>(name), line.npos, "[vvar]") == 0;
  if (!is_vvar || begin >= end) return std::nullopt;
  return AddressRange{begin, end};
}

std::int64_t KernelClock::offset_ns(int clock) const noexcept {
  if (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_RAW) return offsets_.monotonic_ns;
  return clock == CLOCK_BOOTTIME ? offsets_.boottime_ns : 0;
}

bool KernelClock::unchanged(std::uint32_t seq) const noexcept {
  // Pairs with the smp_wmb() of the kernel's vdso_write_begin() (include/vdso/helpers.h), which
  // comes after it made the sequence odd: who saw a word of an update sees the sequence moved.
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  return load<std::uint32_t>(page_ + layout_->offset + kSeq) == seq;
}

bool KernelClock::read_with_counter(KernelClockSnapshot& snapshot,
                                    std::uint64_t& counter) const noexcept {
  for (int pass = 0; pass < 16; ++pass) {
    if (!read(snapshot)) return false;
    counter = clockpage_counter_ordered();
    // The counter's asm is a compiler barrier; rdtsc may be overtaken by this load, by far less
    // than a tick of the kernel takes.
    if (unchanged(snapshot.seq)) return true;
  }
  return false;
}

bool KernelClock::read(KernelClockSnapshot& snapshot) const noexcept {
  constexpr int kPasses = 1 << 16;  // a few ms: far longer than an update takes
  const unsigned char* first = page_ + layout_->offset;
  for (int pass = 0; pass < kPasses; ++pass) {
    // Pairs with the smp_wmb() of vdso_write_end(), which comes before it makes the sequence
    // even: who sees that sees the whole update. The writer makes the raw clock's sequence odd
    // after this one and even after it, and writes both clocks in between: this one covers both.
    const std::uint32_t seq =
        __atomic_load_n(reinterpret_cast<const std::uint32_t*>(first + kSeq), __ATOMIC_ACQUIRE);
    if ((seq & 1) == 0) {
      copy_clocks(*layout_, first, snapshot);
      if (unchanged(seq)) {
        snapshot.seq = seq;
        return true;
      }
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  return false;
}

#if defined(__x86_64__)
namespace {

constexpr int kProofRounds = 2000;                   // samples of each clock
constexpr int kProofTicks = 4;                       // different states of the kernel's data
constexpr std::int64_t kProofLimitNs = 250'000'000;  // without a new state

std::int64_t clock_ns(int clock) noexcept {
  timespec ts = {};
  clock_gettime(clock, &ts);
  return ts.tv_sec * kNsPerSec + ts.tv_nsec;
}

std::optional<AddressRange> find_vvar() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);)
    if (const auto range = parse_vvar_line(line)) return range;
  return std::nullopt;
}

// Copies pages of [vvar] that may have nothing behind them. A load from such a page is SIGBUS,
// and process_vm_readv refuses the whole mapping (VM_IO); a write() from it copies, or is EFAULT.
class PageCopier {
 public:
  PageCopier() {
    if (pipe2(fds_, O_CLOEXEC | O_NONBLOCK) != 0) fds_[0] = fds_[1] = -1;
  }
  ~PageCopier() {
    if (fds_[0] < 0) return;
    close(fds_[0]);
    close(fds_[1]);
  }
  PageCopier(const PageCopier&) = delete;
  PageCopier& operator=(const PageCopier&) = delete;

  bool ok() const { return fds_[0] >= 0; }

  // False if the page is not populated.
  bool copy(const unsigned char* page, std::span<std::byte, kPageSize> out) {
    ssize_t sent = write(fds_[1], page, kPageSize);
    return sent > 0 && read(fds_[0], out.data(), static_cast<std::size_t>(sent)) == sent &&
           sent == static_cast<ssize_t>(kPageSize);
  }

 private:
  int fds_[2] = {-1, -1};
};

// Empty, or how clock_gettime and the evaluation disagreed.
std::string check_sample(const KernelClockSnapshot& snapshot, int clock, std::int64_t offset,
                         std::uint64_t before, std::int64_t kernel, std::uint64_t after) {
  const std::optional<std::int64_t> low = evaluate(snapshot, clock, before);
  const std::optional<std::int64_t> high = evaluate(snapshot, clock, after);
  const std::string name = "clock " + std::to_string(clock);
  if (!low || !high) return name + " cannot be evaluated";
  if (kernel < *low + offset)
    return name + " came out " + std::to_string(*low + offset - kernel) + " ns ahead";
  if (kernel > *high + offset)
    return name + " came out " + std::to_string(kernel - *high - offset) + " ns behind";
  return {};
}

}  // namespace

std::string KernelClock::refute() const {
  std::int64_t deadline = clock_ns(CLOCK_MONOTONIC) + kProofLimitNs;
  KernelClockSnapshot snapshot;
  std::uint32_t last_seq = 1;  // odd: no snapshot's
  int ticks = 0;
  for (int rounds = 0; rounds < kProofRounds || ticks < kProofTicks; ++rounds) {
    if (!read(snapshot)) return "its sequence number was never seen at rest";
    for (int clock : kKernelClocks) {
      const std::uint64_t before = clockpage_counter_ordered();
      const std::int64_t kernel = clock_ns(clock);
      const std::uint64_t after = clockpage_counter_ordered();
      // Only while the snapshot was current throughout does it say anything about the kernel.
      if (!unchanged(snapshot.seq)) {
        --rounds;
        break;
      }
      std::string why = check_sample(snapshot, clock, offset_ns(clock), before, kernel, after);
      if (!why.empty()) return why;
    }
    const std::int64_t now = clock_ns(CLOCK_MONOTONIC);
    if (snapshot.seq != last_seq) {  // a process that was itself not running has time again
      ++ticks;
      last_seq = snapshot.seq;
      deadline = now + kProofLimitNs;
    }
    if (now >= deadline)
      return "only " + std::to_string(ticks) +
             " states of the kernel's data were seen, and none in 250 ms";
  }
  return {};
}

std::variant<KernelClock, std::string> KernelClock::prove() {
  const std::optional<AddressRange> vvar = find_vvar();
  if (!vvar) return "/proc/self/maps shows no [vvar] mapping";
  PageCopier copier;
  if (!copier.ok()) return std::string("cannot make a pipe: ") + std::strerror(errno);
  std::string refusals;
  const std::size_t pages = (vvar->end - vvar->begin) / kPageSize;
  std::array<std::byte, kPageSize> image;
  for (const KernelClockLayout& layout : kLayouts) {
    KernelClockOffsets offsets;
    for (std::size_t index = 0; index < pages; ++index) {
      // In a time namespace its own page is first, and the host's page 1 (6.15 on) or 3.
      const auto* page = reinterpret_cast<const unsigned char*>(vvar->begin + index * kPageSize);
      std::string why;
      if (!copier.copy(page, image)) {
        why = "not populated";
      } else if (auto found = decode_time_namespace(layout, image); found && index == 0) {
        offsets = *found;
        why = "the time namespace's own page";
      } else {
        auto decoded = decode_kernel_clock(layout, image);
        // An odd sequence may be an update under way: the proof's read() waits for its end.
        for (int again = 0; again < 100 && decoded.index() == 1 && copier.copy(page, image);
             ++again)
          decoded = decode_kernel_clock(layout, image);
        KernelClock clock(&layout, page, offsets);
        why = decoded.index() == 1 ? std::get<1>(decoded) : clock.refute();
        if (why.empty()) return clock;
      }
      refusals += (refusals.empty() ? "" : "; ") + std::string("layout ") +
                  std::string(layout.name) + ", page " + std::to_string(index) + ": " + why;
    }
  }
  return "no known layout of [vvar] could be proven: " + refusals;
}
#else
std::variant<KernelClock, std::string> KernelClock::prove() {
  return "the layout of [vvar] is known on x86-64 only";
}
#endif

}  // namespace clockpage
