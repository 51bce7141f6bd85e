// SPDX-License-Identifier: MIT
#include "counter.hpp"

#include <clockpage/counter.h>
#include <clockpage/fixed_point.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <numeric>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace clockpage::producer {

std::uint64_t HostCounter::read() noexcept {
  // The late check needs the index's store to be visible first.
  return clockpage_counter_after_stores();
}

void HostCounter::wait_until(std::uint64_t counter) noexcept {
  const auto left = static_cast<std::int64_t>(counter - clockpage_counter_ordered());
  if (left <= 0) return;
  const auto wanted_ns = static_cast<std::uint64_t>(static_cast<double>(left) * 1e9 /
                                                    static_cast<double>(frequency_hz_)) +
                         1;
  // Not for ever: whoever asked must be able to stop.
  const std::uint64_t ns = std::min<std::uint64_t>(wanted_ns, 100'000'000);
  const timespec duration{static_cast<time_t>(ns / 1'000'000'000),
                          static_cast<long>(ns % 1'000'000'000)};
  clock_nanosleep(CLOCK_MONOTONIC, 0, &duration, nullptr);
}

namespace {

// Greatest common divisor of many differences: 1 on most CPUs, 26 ticks on some.
std::uint64_t measure_quantum() {
  std::uint64_t quantum = 0;
  std::uint64_t last = clockpage_counter_ordered();
  for (int i = 0; i < 20'000; i++) {
    const std::uint64_t now = clockpage_counter_ordered();
    if (now > last) quantum = std::gcd(quantum, now - last);
    last = now;
  }
  return quantum == 0 ? 1 : quantum;
}

}  // namespace

std::optional<std::string> distrusted_clocksource() {
  std::ifstream file("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  std::string name;
  if (!(file >> name)) return std::nullopt;
  for (const char* good : {"tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"})
    if (name == good) return std::nullopt;
  return name;
}

#if defined(__x86_64__)

std::optional<std::string> counter_defect() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (d & (1U << 4)) == 0)
    return "this CPU has no time-stamp counter";
  if (__get_cpuid(0x80000007, &a, &b, &c, &d) == 0 || (d & (1U << 8)) == 0)
    return "the time-stamp counter of this CPU is not invariant (CPUID 80000007H:EDX bit 8)";
  return std::nullopt;
}

CounterIdentity identify_counter() {
  CounterIdentity identity;
  identity.kind = kThisCounterKind;
  identity.quantum_ticks = measure_quantum();
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  if (__get_cpuid(0x15, &a, &b, &c, &d) != 0 && a != 0 && b != 0) {
    identity.art_numerator = b;
    identity.art_denominator = a;
  }
  // SVM's ratio has 32 fraction bits, VMX's multiplier 48.
  if (__get_cpuid(0, &a, &b, &c, &d) != 0 &&
      ((b == signature_AMD_ebx && c == signature_AMD_ecx) || b == 0x6f677948 /* "Hygo" */))
    identity.scale_frac_bits = 32;
  return identity;
}

#else

std::optional<std::string> counter_defect() { return std::nullopt; }

CounterIdentity identify_counter() {
  CounterIdentity identity;
  identity.kind = kThisCounterKind;
  identity.quantum_ticks = measure_quantum();
  return identity;
}

#endif

std::uint64_t one_ghz_ratio(std::uint64_t frequency_hz, std::uint8_t frac_bits) noexcept {
  const auto khz = frequency_hz / 1000;
  return static_cast<std::uint64_t>((clockpage_u128{1} << frac_bits) * 1'000'000 / khz);
}

}  // namespace clockpage::producer
