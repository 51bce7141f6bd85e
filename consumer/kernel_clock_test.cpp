// SPDX-License-Identifier: MIT
#include "kernel_clock.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstring>
#include <functional>

namespace clockpage {
namespace {

constexpr std::uint64_t kBit62 = std::uint64_t{1} << 62;
constexpr std::uint64_t kBit63 = std::uint64_t{1} << 63;

// 2.5 GHz: 0.4 ns a tick, rounded down in units of 2^-24 ns. max_cycles as the kernel would
// have it is near 2^41.
KernelClockSnapshot snapshot_of_a_2500_mhz_counter() {
  KernelClockSnapshot s;
  s.seq = 8;
  s.clock_mode = kKernelClockModeTsc;
  s.cycle_last = 1'000'000;
  s.max_cycles = std::uint64_t{1} << 41;
  s.mask = ~std::uint64_t{0};
  s.mult = 6'710'886;
  s.shift = 24;
  s.raw_cycle_last = 1'000'010;
  s.raw_max_cycles = s.max_cycles;
  s.raw_mult = 6'710'880;
  s.raw_shift = 24;
  s.base[0] = {1'795'000'000, std::uint64_t{999'999'999} << 24};
  s.base[1] = {100, std::uint64_t{1'500'000'000} << 24};  // more than a second: the kernel's own
  s.base[4] = {90, std::uint64_t{5} << 24};
  s.base[7] = {200, (std::uint64_t{7} << 24) + 0xffffff};
  s.base[11] = {1'795'000'037, std::uint64_t{999'999'999} << 24};
  s.has_max_cycles = true;
  return s;
}

TEST(KernelClockEvaluateTest, GivesTheBaseAtCycleLast) {
  const auto s = snapshot_of_a_2500_mhz_counter();
  EXPECT_EQ(evaluate(s, CLOCK_REALTIME, s.cycle_last), 1'795'000'000'999'999'999);
  EXPECT_EQ(evaluate(s, CLOCK_MONOTONIC, s.cycle_last), 101'500'000'000);
  EXPECT_EQ(evaluate(s, CLOCK_MONOTONIC_RAW, s.raw_cycle_last), 90'000'000'005);
  EXPECT_EQ(evaluate(s, CLOCK_BOOTTIME, s.cycle_last), 200'000'000'007);
  EXPECT_EQ(evaluate(s, CLOCK_TAI, s.cycle_last), 1'795'000'037'999'999'999);
}

TEST(KernelClockEvaluateTest, CarriesIntoSecondsAndFromTheFraction) {
  const auto s = snapshot_of_a_2500_mhz_counter();
  EXPECT_EQ(evaluate(s, CLOCK_REALTIME, s.cycle_last + 3), 1'795'000'001'000'000'000);
  // 2 ticks are 0.8 ns: nothing on a whole base, a carry on one that is a hair below the next.
  EXPECT_EQ(evaluate(s, CLOCK_REALTIME, s.cycle_last + 2), 1'795'000'000'999'999'999);
  EXPECT_EQ(evaluate(s, CLOCK_BOOTTIME, s.cycle_last + 2), 200'000'000'008);
  // 2.5e9 * 6710886 / 2^24 = 999,999,940.39
  EXPECT_EQ(evaluate(s, CLOCK_MONOTONIC, s.cycle_last + 2'500'000'000), 102'499'999'940);
}

TEST(KernelClockEvaluateTest, UsesTheRawClocksOwnLine) {
  const auto s = snapshot_of_a_2500_mhz_counter();
  // 2.5e9 * 6710880 / 2^24 = 999,999,046.33
  EXPECT_EQ(evaluate(s, CLOCK_MONOTONIC_RAW, s.raw_cycle_last + 2'500'000'000), 90'999'999'051);
}

TEST(KernelClockEvaluateTest, StandsStillBeforeCycleLast) {
  auto s = snapshot_of_a_2500_mhz_counter();
  s.cycle_last = std::uint64_t{1} << 50;
  for (bool has_max_cycles : {true, false}) {
    s.has_max_cycles = has_max_cycles;
    for (std::uint64_t back : {std::uint64_t{1}, std::uint64_t{1000}, std::uint64_t{1} << 50})
      EXPECT_EQ(evaluate(s, CLOCK_MONOTONIC, s.cycle_last - back), 101'500'000'000) << back;
  }
}

TEST(KernelClockEvaluateTest, KeepsAllBitsOfTheProductBeyondMaxCycles) {
  const auto s = snapshot_of_a_2500_mhz_counter();
  for (std::uint64_t delta : {s.max_cycles, s.max_cycles + 1, std::uint64_t{1} << 45, kBit62 - 1}) {
    const auto expected = static_cast<std::int64_t>(
        (static_cast<unsigned __int128>(delta) * s.mult + s.base[1].nsec_shifted) >> s.shift);
    EXPECT_EQ(evaluate(s, CLOCK_MONOTONIC, s.cycle_last + delta), 100'000'000'000 + expected)
        << delta;
  }
}

TEST(KernelClockEvaluateTest, WrapsTheProductWhereTheKernelDoes) {
  auto s = snapshot_of_a_2500_mhz_counter();
  s.max_cycles = kBit62 - 1;  // a kernel that got it wrong: 64 bits must be used all the same
  const std::uint64_t delta = std::uint64_t{1} << 45;
  const auto wrapped =
      static_cast<std::int64_t>((delta * s.mult + s.base[1].nsec_shifted) >> s.shift);
  EXPECT_EQ(evaluate(s, CLOCK_MONOTONIC, s.cycle_last + delta), 100'000'000'000 + wrapped);
  s.has_max_cycles = false;
  EXPECT_EQ(evaluate(s, CLOCK_MONOTONIC, s.cycle_last + delta), 100'000'000'000 + wrapped);
}

TEST(KernelClockEvaluateTest, TakesBit62OfTheDeltaAsItsSign) {
  auto s = snapshot_of_a_2500_mhz_counter();
  EXPECT_EQ(evaluate(s, CLOCK_MONOTONIC, s.cycle_last + kBit62), 101'500'000'000);
  EXPECT_EQ(evaluate(s, CLOCK_MONOTONIC, kBit63 - 1), 101'500'000'000);
  // More than 2^62 behind: bit 62 is clear, and bit 63 is not looked at.
  s.cycle_last = kBit62 + 5'000'000;
  const std::uint64_t delta = (std::uint64_t{7} - s.cycle_last) & (kBit63 - 1);
  const auto expected = static_cast<std::int64_t>(
      (static_cast<unsigned __int128>(delta) * s.mult + s.base[1].nsec_shifted) >> s.shift);
  EXPECT_EQ(evaluate(s, CLOCK_MONOTONIC, 7), 100'000'000'000 + expected);
}

TEST(KernelClockEvaluateTest, IgnoresBit63OfTheCounterSinceMaxCyclesOnly) {
  auto s = snapshot_of_a_2500_mhz_counter();
  for (std::uint64_t counter : {std::uint64_t{0}, s.cycle_last, s.cycle_last + 12'345, kBit63 - 1})
    EXPECT_EQ(evaluate(s, CLOCK_BOOTTIME, counter | kBit63), evaluate(s, CLOCK_BOOTTIME, counter))
        << counter;
  EXPECT_EQ(evaluate(s, CLOCK_MONOTONIC, s.cycle_last | kBit63), 101'500'000'000);
  s.has_max_cycles = false;
  EXPECT_EQ(evaluate(s, CLOCK_REALTIME, s.cycle_last | kBit63), std::nullopt);
  EXPECT_EQ(evaluate(s, CLOCK_REALTIME, ~std::uint64_t{0}), std::nullopt);
}

TEST(KernelClockEvaluateTest, HasNoAnswerWhereTheVdsoMakesTheSystemCall) {
  auto s = snapshot_of_a_2500_mhz_counter();
  for (int clock : {-1, 2, 3, 5, 6, 8, 9, 10, 12, 16, 1 << 30})
    EXPECT_EQ(evaluate(s, clock, s.cycle_last), std::nullopt) << clock;
  for (int mode : {0, 2, 3, kKernelClockModeTimeNamespace}) {
    s.clock_mode = mode;
    EXPECT_EQ(evaluate(s, CLOCK_REALTIME, s.cycle_last), std::nullopt) << mode;
  }
}

TEST(KernelClockEvaluateTest, HasNoAnswerWhereOlderKernelsDisagreeOrTheResultDoesNotFit) {
  auto s = snapshot_of_a_2500_mhz_counter();
  s.base[0].sec = 9'300'000'000;
  EXPECT_EQ(evaluate(s, CLOCK_REALTIME, s.cycle_last), std::nullopt);
  s.has_max_cycles = false;
  EXPECT_EQ(evaluate(s, CLOCK_MONOTONIC, s.cycle_last + kBit62), std::nullopt);
  EXPECT_NE(evaluate(s, CLOCK_MONOTONIC, s.cycle_last + kBit62 - 1), std::nullopt);
  s.shift = 64;
  EXPECT_EQ(evaluate(s, CLOCK_MONOTONIC, s.cycle_last), std::nullopt);
}

// The kernel's structures, written down a second time (include/vdso/datapage.h).
struct TimestampImage {
  std::uint64_t sec, nsec;
};
struct Clock5_10 {
  std::uint32_t seq;
  std::int32_t clock_mode;
  std::uint64_t cycle_last, mask;
  std::uint32_t mult, shift;
  TimestampImage basetime[12];
  std::int32_t tz_minuteswest, tz_dsttime;
  std::uint32_t hrtimer_res, unused;
};
struct Clock6_12 {
  std::uint32_t seq;
  std::int32_t clock_mode;
  std::uint64_t cycle_last, max_cycles, mask;
  std::uint32_t mult, shift;
  TimestampImage basetime[12];
  std::int32_t tz_minuteswest, tz_dsttime;
  std::uint32_t hrtimer_res, unused;
};
struct Clock6_15 {
  std::uint32_t seq;
  std::int32_t clock_mode;
  std::uint64_t cycle_last, max_cycles, mask;
  std::uint32_t mult, shift;
  TimestampImage basetime[12];
};

using Page = std::array<std::byte, 4096>;

template <typename Clock>
Page page_of(std::size_t offset, const std::function<void(Clock&, Clock&)>& change = {}) {
  std::array<Clock, 2> clocks = {};
  for (Clock& clock : clocks) {
    const std::uint64_t raw = &clock == &clocks[1] ? 1000 : 0;
    clock.seq = 42;
    clock.clock_mode = 1;
    clock.cycle_last = 11 + raw;
    if constexpr (requires { clock.max_cycles; }) clock.max_cycles = 12 + raw;
    clock.mask = ~std::uint64_t{0};
    clock.mult = static_cast<std::uint32_t>(13 + raw);
    clock.shift = raw ? 25 : 24;
    for (std::uint64_t i = 0; i < 12; ++i) clock.basetime[i] = {100 + i + raw, 200 + i + raw};
  }
  if (change) change(clocks[0], clocks[1]);
  Page page;
  page.fill(std::byte{0});
  std::memcpy(page.data() + offset, clocks.data(), sizeof clocks);
  return page;
}

void expect_decoded(const KernelClockLayout& layout, const Page& page) {
  const auto result = decode_kernel_clock(layout, page);
  ASSERT_EQ(result.index(), 0u) << layout.name << ": " << std::get<1>(result);
  const auto& s = std::get<0>(result);
  EXPECT_EQ(s.seq, 42u);
  EXPECT_EQ(s.clock_mode, 1);
  EXPECT_EQ(s.cycle_last, 11u);
  EXPECT_EQ(s.max_cycles, layout.has_max_cycles ? 12u : 0u);
  EXPECT_EQ(s.mask, ~std::uint64_t{0});
  EXPECT_EQ(s.mult, 13u);
  EXPECT_EQ(s.shift, 24u);
  EXPECT_EQ(s.raw_cycle_last, 1011u);
  EXPECT_EQ(s.raw_max_cycles, layout.has_max_cycles ? 1012u : 0u);
  EXPECT_EQ(s.raw_mult, 1013u);
  EXPECT_EQ(s.raw_shift, 25u);
  for (int clock : kKernelClocks) {
    const auto i = static_cast<std::size_t>(clock);
    const std::uint64_t raw = clock == CLOCK_MONOTONIC_RAW ? 1000 : 0;
    EXPECT_EQ(s.base[i].sec, 100 + i + raw) << clock;
    EXPECT_EQ(s.base[i].nsec_shifted, 200 + i + raw) << clock;
  }
  EXPECT_EQ(s.has_max_cycles, layout.has_max_cycles);
}

TEST(KernelClockLayoutTest, DecodesEachLayoutAndRefusesTheOthers) {
  const auto layouts = kernel_clock_layouts();
  ASSERT_EQ(layouts.size(), 3u);
  const std::array<Page, 3> pages = {page_of<Clock6_15>(0), page_of<Clock6_12>(128),
                                     page_of<Clock5_10>(128)};
  for (std::size_t i = 0; i < pages.size(); ++i) {
    expect_decoded(layouts[i], pages[i]);
    for (std::size_t j = 0; j < pages.size(); ++j) {
      if (j != i) {
        EXPECT_EQ(decode_kernel_clock(layouts[j], pages[i]).index(), 1u)
            << layouts[j].name << " accepted a page of " << layouts[i].name;
      }
    }
  }
}

std::string refusal(const std::function<void(Clock6_15&, Clock6_15&)>& change) {
  const auto result = decode_kernel_clock(kernel_clock_layouts()[0], page_of<Clock6_15>(0, change));
  return result.index() == 1 ? std::get<1>(result) : "accepted";
}

TEST(KernelClockLayoutTest, SaysWhyAPageIsRefused) {
  using C = Clock6_15;
  EXPECT_EQ(refusal([](C&, C&) {}), "accepted");
  EXPECT_EQ(refusal([](C& c, C&) { c.seq = 7; }), "its sequence number is odd (7)");
  EXPECT_EQ(refusal([](C& c, C&) { c.clock_mode = 2; }), "its clock mode is 2, not 1 (TSC)");
  EXPECT_EQ(refusal([](C&, C& r) { r.clock_mode = 3; }), "the raw clock's mode is 3, not 1");
  EXPECT_EQ(refusal([](C& c, C&) { c.mask >>= 1; }), "its counter mask is not 64 bits wide");
  EXPECT_EQ(refusal([](C& c, C&) { c.mult = 0; }), "its multiplier is 0");
  EXPECT_EQ(refusal([](C&, C& r) { r.mult = 0; }), "its multiplier is 0");
  EXPECT_EQ(refusal([](C&, C& r) { r.shift = 33; }), "its shift is 33, more than 32");
  EXPECT_EQ(refusal([](C& c, C&) { c.max_cycles = 0; }), "its max_cycles is 0");
}

TEST(KernelClockLayoutTest, RefusesGarbageAndShortImages) {
  Page garbage;
  garbage.fill(std::byte{0xa5});
  Page zero;
  zero.fill(std::byte{0});
  const Page good = page_of<Clock6_15>(0);
  for (const auto& layout : kernel_clock_layouts()) {
    EXPECT_EQ(std::get<1>(decode_kernel_clock(layout, garbage)),
              "its sequence number is odd (2779096485)");
    EXPECT_EQ(std::get<1>(decode_kernel_clock(layout, zero)), "its clock mode is 0, not 1 (TSC)");
    EXPECT_EQ(std::get<1>(decode_kernel_clock(layout, std::span(good).first(463))),
              "it is too short");
    EXPECT_EQ(std::get<1>(decode_kernel_clock(layout, {})), "it is too short");
    EXPECT_EQ(decode_time_namespace(layout, garbage), std::nullopt);
    EXPECT_EQ(decode_time_namespace(layout, good), std::nullopt);
    EXPECT_EQ(decode_time_namespace(layout, {}), std::nullopt);
  }
  EXPECT_EQ(decode_kernel_clock(kernel_clock_layouts()[0], std::span(good).first(464)).index(), 0u);
}

template <typename Clock>
Page time_namespace_page(std::size_t offset) {
  return page_of<Clock>(offset, [](Clock& clock, Clock&) {
    clock.seq = 1;
    clock.clock_mode = kKernelClockModeTimeNamespace;
    clock.basetime[CLOCK_MONOTONIC] = {static_cast<std::uint64_t>(-3), 250'000'000};
    clock.basetime[CLOCK_BOOTTIME] = {86'400, 1};
  });
}

TEST(KernelClockLayoutTest, DecodesTheOffsetsOfATimeNamespace) {
  const auto layouts = kernel_clock_layouts();
  const std::array<Page, 3> pages = {time_namespace_page<Clock6_15>(0),
                                     time_namespace_page<Clock6_12>(128),
                                     time_namespace_page<Clock5_10>(128)};
  for (std::size_t i = 0; i < pages.size(); ++i) {
    const auto offsets = decode_time_namespace(layouts[i], pages[i]);
    ASSERT_TRUE(offsets.has_value()) << layouts[i].name;
    EXPECT_EQ(offsets->monotonic_ns, -2'750'000'000);
    EXPECT_EQ(offsets->boottime_ns, 86'400'000'000'001);
    EXPECT_EQ(decode_kernel_clock(layouts[i], pages[i]).index(), 1u);
  }
}

#if defined(__x86_64__)

// Whether this machine's kernel lets the TSC's clock be read in user space at all.
bool kernel_uses_the_tsc() {
  char name[16] = {};
  const int fd = open("/sys/devices/system/clocksource/clocksource0/current_clocksource", O_RDONLY);
  if (fd < 0) return false;
  const bool tsc = read(fd, name, sizeof name - 1) > 0 && std::strcmp(name, "tsc\n") == 0;
  close(fd);
  return tsc;
}

TEST(KernelClockTest, ProvesThisKernelsMapping) {
  if (!kernel_uses_the_tsc()) GTEST_SKIP() << "the kernel's clocksource is not tsc";
  timespec begin, end;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  const auto result = KernelClock::prove();
  clock_gettime(CLOCK_MONOTONIC, &end);
  ASSERT_EQ(result.index(), 0u) << std::get<1>(result);
  const auto& clock = std::get<0>(result);
  const double ms = static_cast<double>(end.tv_sec - begin.tv_sec) * 1e3 +
                    static_cast<double>(end.tv_nsec - begin.tv_nsec) * 1e-6;
  std::printf("layout %s, proven in %.1f ms\n", std::string(clock.layout_name()).c_str(), ms);
  EXPECT_EQ(clock.offset_ns(CLOCK_REALTIME), 0);
  EXPECT_EQ(clock.offset_ns(CLOCK_TAI), 0);
  EXPECT_EQ(clock.offset_ns(CLOCK_MONOTONIC_RAW), clock.monotonic_offset_ns());
}

TEST(KernelClockTest, SnapshotsFollowTheKernelsUpdates) {
  if (!kernel_uses_the_tsc()) GTEST_SKIP() << "the kernel's clocksource is not tsc";
  const auto result = KernelClock::prove();
  ASSERT_EQ(result.index(), 0u) << std::get<1>(result);
  const auto& clock = std::get<0>(result);
  KernelClockSnapshot before, after;
  ASSERT_TRUE(clock.read(before));
  usleep(100'000);
  ASSERT_TRUE(clock.read(after));
  EXPECT_EQ(before.seq % 2, 0u);
  EXPECT_NE(before.seq, after.seq);
  EXPECT_GT(after.cycle_last, before.cycle_last);
}

// What a process in a time namespace reports back.
struct Report {
  enum Step { kUnshare, kOffsets, kProve, kDone } step = kUnshare;
  int error = 0;
  std::int64_t monotonic_ns = 0, boottime_ns = 0;
  char text[1500] = {};
};

void send_and_exit(int fd, const Report& report) {
  const ssize_t sent = write(fd, &report, sizeof report);
  _exit(sent == static_cast<ssize_t>(sizeof report) ? 0 : 1);
}

void prove_and_report(int fd) {
  Report report;
  report.step = Report::kProve;
  const auto result = KernelClock::prove();
  if (const auto* clock = std::get_if<KernelClock>(&result)) {
    report.step = Report::kDone;
    report.monotonic_ns = clock->monotonic_offset_ns();
    report.boottime_ns = clock->boottime_offset_ns();
  } else {
    std::get<1>(result).copy(report.text, sizeof report.text - 1);
  }
  send_and_exit(fd, report);
}

// Only the children of the process that unshares are in the new namespace.
void enter_time_namespace_and_prove(int fd, const char* offsets) {
  Report report;
  if (unshare(CLONE_NEWTIME) != 0) {
    report.error = errno;
    send_and_exit(fd, report);
  }
  report.step = Report::kOffsets;
  const int file = open("/proc/self/timens_offsets", O_WRONLY);
  if (file < 0 || write(file, offsets, std::strlen(offsets)) < 0) {
    report.error = errno;
    send_and_exit(fd, report);
  }
  const pid_t child = fork();
  if (child == 0) prove_and_report(fd);
  waitpid(child, nullptr, 0);
  _exit(0);
}

TEST(KernelClockTest, ProvesTheMappingAndReportsTheOffsetsInATimeNamespace) {
  if (!kernel_uses_the_tsc()) GTEST_SKIP() << "the kernel's clocksource is not tsc";
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0)
    enter_time_namespace_and_prove(fds[1], "monotonic 86400 5\nboottime 172800 999999999\n");
  close(fds[1]);
  Report report;
  const ssize_t got = read(fds[0], &report, sizeof report);
  close(fds[0]);
  waitpid(child, nullptr, 0);
  ASSERT_EQ(got, static_cast<ssize_t>(sizeof report)) << "the child died";
  if (report.step == Report::kUnshare && (report.error == EPERM || report.error == EINVAL))
    GTEST_SKIP() << "cannot make a time namespace: " << std::strerror(report.error);
  ASSERT_EQ(report.step, Report::kDone) << std::strerror(report.error) << report.text;
  EXPECT_EQ(report.monotonic_ns, 86'400'000'000'005);
  EXPECT_EQ(report.boottime_ns, 172'800'999'999'999);
}

#else

TEST(KernelClockTest, SaysThatItKnowsTheMappingOnX86Only) {
  const auto result = KernelClock::prove();
  ASSERT_EQ(result.index(), 1u);
  EXPECT_NE(std::get<1>(result).find("x86-64 only"), std::string::npos) << std::get<1>(result);
}

#endif

}  // namespace
}  // namespace clockpage
