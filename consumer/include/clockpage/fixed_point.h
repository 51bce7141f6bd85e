/* SPDX-License-Identifier: MIT */
/*
 * The one fixed-point routine: evaluating a line in 2^-64 ns.
 */
#ifndef CLOCKPAGE_FIXED_POINT_H
#define CLOCKPAGE_FIXED_POINT_H

#include <clockpage/barrier.h>

__extension__ typedef unsigned __int128 clockpage_u128;

/* A time or a duration: whole ns and 2^-64 ns. */
struct clockpage_instant {
	uint64_t ns;
	uint64_t frac;
};

/* base + ticks * period_frac / 2^64, exact; wraps at 2^64 ns. The high half of the
 * product and the carry out of the fractions: one mul, one add, one adc. */
CLOCKPAGE_INLINE struct clockpage_instant clockpage_line_at(uint64_t base_ns, uint64_t base_frac,
							    uint64_t period_frac, uint64_t ticks)
{
	clockpage_u128 base = (clockpage_u128)base_ns << 64 | base_frac;
	clockpage_u128 sum = (clockpage_u128)ticks * period_frac + base;
	struct clockpage_instant result;
	result.ns = (uint64_t)(sum >> 64);
	result.frac = (uint64_t)sum;
	return result;
}

/* value * fraction / 2^64, rounded down. */
CLOCKPAGE_INLINE uint64_t clockpage_mul_frac(uint64_t value, uint64_t fraction)
{
	return clockpage_line_at(0, 0, fraction, value).ns;
}

/* The same, rounded up. */
CLOCKPAGE_INLINE uint64_t clockpage_mul_frac_up(uint64_t value, uint64_t fraction)
{
	return clockpage_line_at(0, ~(uint64_t)0, fraction, value).ns;
}

/* (counter * ratio) >> frac_bits, as the hardware scales a guest's counter (kernel
 * arch/x86/kvm/x86.c, kvm_scale_tsc), modulo 2^64. frac_bits <= 63. */
CLOCKPAGE_INLINE uint64_t clockpage_scale_counter(uint64_t counter, uint64_t ratio,
						  unsigned frac_bits)
{
	return (uint64_t)(((clockpage_u128)counter * ratio) >> (frac_bits & 63));
}

#endif /* CLOCKPAGE_FIXED_POINT_H */
