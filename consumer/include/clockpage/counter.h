/* SPDX-License-Identifier: MIT */
/*
 * Reading the CPU's counter.
 */
#ifndef CLOCKPAGE_COUNTER_H
#define CLOCKPAGE_COUNTER_H

#include <clockpage/barrier.h>

#if defined(__x86_64__)

/* Ordered after all earlier loads (not after earlier stores: those may still sit
 * in the store buffer; a commit wait needs a full fence before it). lfence lets
 * rdtsc begin only when everything before it has completed; later loads may run
 * ahead of it. Intel SDM vol. 2B "RDTSC", AMD APM vol. 3. About 2 ns cheaper
 * than rdtscp. The memory clobber keeps the compiler to the same order. */
CLOCKPAGE_INLINE uint64_t clockpage_counter_ordered(void)
{
	uint64_t low, high;
	__asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high) : : "memory");
	return high << 32 | low;
}

/* Not ordered with anything: for callers that order themselves. */
CLOCKPAGE_INLINE uint64_t clockpage_counter_relaxed(void)
{
	uint64_t low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return high << 32 | low;
}

#elif defined(__aarch64__)

/* ISB keeps the counter read behind earlier instructions (Arm ARM D12.2.1). */
CLOCKPAGE_INLINE uint64_t clockpage_counter_ordered(void)
{
	uint64_t value;
	__asm__ volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(value) : : "memory");
	return value;
}

CLOCKPAGE_INLINE uint64_t clockpage_counter_relaxed(void)
{
	uint64_t value;
	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
	return value;
}

#else
#error "clockpage: no counter is known for this architecture"
#endif

#endif /* CLOCKPAGE_COUNTER_H */
