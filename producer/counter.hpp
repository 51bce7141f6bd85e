// SPDX-License-Identifier: MIT
// The counter that pages are functions of, and what is known of it.
#pragma once

#include <clockpage/abi.h>

#include <cstdint>
#include <optional>
#include <string>

namespace clockpage::producer {

// Where all time in the producer comes from: the host's counter or a virtual one.
class Counter {
 public:
  virtual ~Counter() = default;
  // The counter now, ordered after all earlier loads and stores.
  virtual std::uint64_t read() noexcept = 0;
  // Sleeps until the counter is at or past `counter`. May return early (a signal).
  virtual void wait_until(std::uint64_t counter) noexcept = 0;
};

// The CPU's own counter; sleeps with clock_nanosleep.
class HostCounter final : public Counter {
 public:
  explicit HostCounter(std::uint64_t frequency_hz) noexcept : frequency_hz_(frequency_hz) {}
  std::uint64_t read() noexcept override;
  void wait_until(std::uint64_t counter) noexcept override;

 private:
  std::uint64_t frequency_hz_;
};

// CLOCKPAGE_COUNTER_* of the machine that this is compiled for.
#if defined(__x86_64__)
inline constexpr std::uint8_t kThisCounterKind = CLOCKPAGE_COUNTER_X86_TSC;
#else
inline constexpr std::uint8_t kThisCounterKind = CLOCKPAGE_COUNTER_ARM_CNTVCT;
#endif

struct CounterIdentity {
  std::uint8_t kind = 0;            // CLOCKPAGE_COUNTER_*
  std::uint64_t frequency_hz = 0;   // nominal; a whole number of kHz
  std::uint64_t quantum_ticks = 1;  // it advances in multiples of this
  std::uint32_t art_numerator = 0;  // CPUID leaf 15H; denominator 0: no ART
  std::uint32_t art_denominator = 0;
  std::uint8_t scale_frac_bits = 48;  // of hardware scaling on this CPU: 48 (VMX), 32 (SVM)
};

// The reason why this CPU's counter cannot carry a clock, or nothing. (CPUID
// 80000007H:EDX bit 8, invariant TSC.)
std::optional<std::string> counter_defect();

// The name of the kernel's clocksource if it is one that says that the counter is not trusted (the
// kernel's watchdog moves away from a TSC that it has found out). Reads a file: about 10 us.
std::optional<std::string> distrusted_clocksource();

// Everything but the frequency. Takes about a millisecond: the quantum is measured.
CounterIdentity identify_counter();

// KVM's ratio for a guest whose counter shall tick at 1 GHz:
// (1 << frac_bits) * 1000000 / counter_khz, rounded down (arch/x86/kvm/x86.c, set_tsc_khz).
std::uint64_t one_ghz_ratio(std::uint64_t frequency_hz, std::uint8_t frac_bits) noexcept;

}  // namespace clockpage::producer
