/* SPDX-License-Identifier: MIT */
/*
 * Reading the CPU's counter.
 */
#ifndef CLOCKPAGE_COUNTER_H
#define CLOCKPAGE_COUNTER_H

#include <clockpage/barrier.h>

#if defined(__x86_64__)

#include <cpuid.h>

/* Ordered after all earlier loads (not after earlier stores: those may still sit
 * in the store buffer) and before all later stores. lfence lets rdtsc begin only
 * when everything before it has completed; later loads may run ahead of it. Intel SDM vol. 2B
 * "RDTSC", AMD APM vol. 3. The memory clobber keeps the compiler to the same order. */
CLOCKPAGE_INLINE uint64_t clockpage_counter_ordered(void)
{
	uint64_t low, high;
	__asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high) : : "memory");
	return high << 32 | low;
}

/* Whether rdtscp, which is ordered as lfence;rdtsc is, is the cheaper of the two in a
 * reader. Measured: by 4 % on Intel's Sapphire Rapids; dearer by 14 % on AMD's Zen 5. */
static inline int clockpage_counter_prefers_rdtscp(void)
{
	unsigned int eax, ebx, ecx, edx;
	if (!__get_cpuid(0, &eax, &ebx, &ecx, &edx) || ebx != signature_INTEL_ebx)
		return 0;
	return __get_cpuid(0x80000001u, &eax, &ebx, &ecx, &edx) && (edx >> 27 & 1u);
}

/* As clockpage_counter_ordered, for a reader: by rdtscp if `rdtscp` is not 0. `index` is what
 * it has just loaded with acquire order; this CPU does not need it. */
CLOCKPAGE_INLINE uint64_t clockpage_counter_ordered_by(int rdtscp, uint64_t index)
{
	uint64_t low, high;
	(void)index;
	if (CLOCKPAGE_LIKELY(rdtscp))
		__asm__ volatile("rdtscp" : "=a"(low), "=d"(high) : : "rcx", "memory");
	else
		__asm__ volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high) : : "memory");
	return high << 32 | low;
}

/* As clockpage_counter_ordered, and after all earlier stores are visible to everyone: for a
 * commit wait, and for a writer that asks whether a store was in time. */
CLOCKPAGE_INLINE uint64_t clockpage_counter_after_stores(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return clockpage_counter_ordered();
}

/* Not ordered with anything: for callers that order themselves. */
CLOCKPAGE_INLINE uint64_t clockpage_counter_relaxed(void)
{
	uint64_t low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return high << 32 | low;
}

#elif defined(__aarch64__)

/*
 * CNTVCT_EL0 may be read speculatively and out of order (Arm ARM, DDI 0487C.a, D8.2). An ISB keeps
 * the read behind itself, but does not wait for earlier loads, and a DMB orders memory accesses
 * only: neither `isb; mrs` nor `dmb; isb; mrs` comes after a message that has been received.
 * What an ISB does wait for:
 *  - a branch that depends on a loaded value (`ctrl; [ISB]` in Arm's aarch64.cat). Arm's own
 *    example is such: poll a word, branch on it, ISB, MRS; and Linux' vDSO, whose `isb; mrs`
 *    follows the branch on its sequence count;
 *  - a DSB, since nothing after a DSB is executed before it completes, but for reads of
 *    registers (DDI 0487F.b, B2-139): which is why the ISB is needed after it.
 * The branch is the cheaper one. FEAT_ECV's CNTVCTSS_EL0 saves the ISB, and waits for loads no
 * more than that does; it is not used.
 *
 * Later stores: a store is not seen by others before the branches ahead of it are decided, so
 * each sequence ends with a branch on the counter value. Later loads may run ahead of the
 * counter, up to the ISB; the protocol does not mind (spec section 5.3). Linux
 * (arch_counter_enforce_ordering) does, and lets a load depend on the value.
 */
#define CLOCKPAGE_MRS_CNTVCT_ "isb\n\tmrs %0, cntvct_el0\n\tcbz %0, 2f\n2:"

static inline int clockpage_counter_prefers_rdtscp(void)
{
	return 0;
}

/* Ordered after all earlier loads and before all later stores. */
CLOCKPAGE_INLINE uint64_t clockpage_counter_ordered(void)
{
	uint64_t value;
	__asm__ volatile("dsb ishld\n\t" CLOCKPAGE_MRS_CNTVCT_ : "=r"(value) : : "memory");
	return value;
}

/* For a reader, and cheaper: ordered after the load that gave `index`. If that has acquire
 * order, it comes itself after all that happens before it in the sense of C11: after
 * earlier loads with acquire order and loads with an acquire fence after them, not after
 * relaxed ones without (`[A|Q]; po` and `[R]; po; [dmb.ld]; po` in aarch64.cat). */
CLOCKPAGE_INLINE uint64_t clockpage_counter_ordered_by(int rdtscp, uint64_t index)
{
	uint64_t value;
	(void)rdtscp;
	__asm__ volatile("cbz %1, 1f\n1:\t" CLOCKPAGE_MRS_CNTVCT_
			 : "=r"(value)
			 : "r"(index)
			 : "memory");
	return value;
}

/* As clockpage_counter_ordered, and after all earlier stores are visible to everyone: for a
 * commit wait, and for a writer that asks whether a store was in time. */
CLOCKPAGE_INLINE uint64_t clockpage_counter_after_stores(void)
{
	uint64_t value;
	__asm__ volatile("dsb ish\n\t" CLOCKPAGE_MRS_CNTVCT_ : "=r"(value) : : "memory");
	return value;
}

/* Not ordered with anything: for callers that order themselves. */
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
