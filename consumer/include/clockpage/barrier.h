/* SPDX-License-Identifier: MIT */
/*
 * The one piece of barrier code: atomic words and fences of the page protocol,
 * for C11 and C++, reader and writer alike.
 *
 * Every word of a page that changes is one naturally aligned integer, accessed
 * by these functions only. The builtins are the C11 operations of the same
 * order, usable on plain (not _Atomic) fields from both languages.
 *
 * Pairs (spec section 5.3 names them):
 *   P1  clockpage_publish_index (release)   with clockpage_load_index (acquire):
 *       who sees an index sees its slot filled.
 *   P2  clockpage_fence_before_fill (release) with clockpage_fence_before_recheck
 *       (acquire): who saw a word of a refilled slot sees an index that has moved
 *       on since, and retries.
 */
#ifndef CLOCKPAGE_BARRIER_H
#define CLOCKPAGE_BARRIER_H

#include <stdint.h>

#define CLOCKPAGE_INLINE      static inline __attribute__((always_inline))
#define CLOCKPAGE_LIKELY(x)   __builtin_expect(!!(x), 1)
#define CLOCKPAGE_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* A relaxed load or store of one field of any width. */
#define CLOCKPAGE_LOAD(field)         __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define CLOCKPAGE_STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)

/* Reader's half of P1. */
CLOCKPAGE_INLINE uint64_t clockpage_load_index(const uint64_t *index)
{
	return __atomic_load_n(index, __ATOMIC_ACQUIRE);
}

/* Reader's half of P2: between the loads of a slot and of `revoked` and the
 * re-check of the index. Orders those loads before it. */
CLOCKPAGE_INLINE void clockpage_fence_before_recheck(void)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
}

/* Writer's half of P2: between the last store of the index and the first store
 * into the slot to be filled. */
CLOCKPAGE_INLINE void clockpage_fence_before_fill(void)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

/* Writer's half of P1. Returns 0 if *index was not `expected`: a second writer. */
CLOCKPAGE_INLINE int clockpage_publish_index(uint64_t *index, uint64_t expected, uint64_t next)
{
	return __atomic_compare_exchange_n(index, &expected, next, 0, __ATOMIC_RELEASE,
					   __ATOMIC_RELAXED);
}

/* Writer's withdrawal (and its end): whoever sees it sees what was stored before. */
CLOCKPAGE_INLINE void clockpage_store_revoked(uint64_t *revoked, uint64_t reason)
{
	__atomic_store_n(revoked, reason, __ATOMIC_RELEASE);
}

#endif /* CLOCKPAGE_BARRIER_H */
