/* SPDX-License-Identifier: MIT */
/*
 * The one piece of barrier code: atomic words and fences of the page protocol,
 * for C11 and C++, reader and writer alike.
 *
 * Every word of a page that changes is one naturally aligned integer, accessed
 * by these functions only. The builtins are the C11 operations of the same
 * order, usable on plain (not _Atomic) fields from both languages.
 *
 * Pairs (spec section 5.3 names them; lease.pml, in spec/model, has the step that each
 * half is for under the label given with it):
 *   P1  clockpage_publish_index (release)   with clockpage_load_index (acquire):
 *       who sees an index sees its slot filled.
 *   P2  clockpage_fence_before_fill (release) with clockpage_fence_before_recheck
 *       (acquire): who saw a word of a refilled slot sees an index that has moved
 *       on since, and retries.
 *   P3  clockpage_publish_magic (release) with clockpage_load_magic (acquire): who sees
 *       a region in memory that was there before it sees all of it.
 * weak_memory_test runs the reader and the writer in every execution that C11 allows
 * of short scripts; the mutants named below are its, and show that each order is needed.
 */
#ifndef CLOCKPAGE_BARRIER_H
#define CLOCKPAGE_BARRIER_H

#include <stdint.h>

#define CLOCKPAGE_INLINE      static inline __attribute__((always_inline))
#define CLOCKPAGE_LIKELY(x)   __builtin_expect(!!(x), 1)
#define CLOCKPAGE_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* The operations that all below is made of, their orders included. A test that runs the
 * reader and the writer under the C11 memory model itself puts its own in their place. */
#ifndef CLOCKPAGE_ATOMIC_LOAD_
#define CLOCKPAGE_ATOMIC_LOAD_(pointer, order)         __atomic_load_n(pointer, order)
#define CLOCKPAGE_ATOMIC_STORE_(pointer, value, order) __atomic_store_n(pointer, value, order)
#define CLOCKPAGE_ATOMIC_FENCE_(order)                 __atomic_thread_fence(order)
#define CLOCKPAGE_ATOMIC_CAS_(pointer, expected, next, success, failure)                           \
	__atomic_compare_exchange_n(pointer, &(expected), next, 0, success, failure)
#endif

/* A relaxed load or store of one field of any width. */
#define CLOCKPAGE_LOAD(field)         CLOCKPAGE_ATOMIC_LOAD_(&(field), __ATOMIC_RELAXED)
#define CLOCKPAGE_STORE(field, value) CLOCKPAGE_ATOMIC_STORE_(&(field), (value), __ATOMIC_RELAXED)

/* Reader's half of P1, with clockpage_publish_index: lease.pml [P1 reader]. Mutants
 * P1ReaderLoadsTheIndexRelaxed{InTheFirstPass,InLaterPasses,InAtMany}. */
CLOCKPAGE_INLINE uint64_t clockpage_load_index(const uint64_t *index)
{
	return CLOCKPAGE_ATOMIC_LOAD_(index, __ATOMIC_ACQUIRE);
}

/* Reader's half of P2: between the loads of a slot and of `revoked` and the
 * re-check of the index. Orders those loads before it. With clockpage_fence_before_fill:
 * lease.pml [P2 reader].
 * Mutants P2ReaderHasNoFence{InTheFirstPass,InLaterPasses,InAtMany}. */
CLOCKPAGE_INLINE void clockpage_fence_before_recheck(void)
{
	CLOCKPAGE_ATOMIC_FENCE_(__ATOMIC_ACQUIRE);
}

/* Writer's half of P2: between the last store of the index and the first store
 * into the slot to be filled: a release store of the index would not hold those back.
 * With clockpage_fence_before_recheck: lease.pml [P2 writer]. Mutant
 * P2WriterHasNoFenceBeforeTheFill. */
CLOCKPAGE_INLINE void clockpage_fence_before_fill(void)
{
	CLOCKPAGE_ATOMIC_FENCE_(__ATOMIC_RELEASE);
}

/* Writer's half of P1, with clockpage_load_index: lease.pml [P1 writer]. Returns 0 if *index was
 * not `expected`: a second writer. Then nothing is stored and nothing of the other's is looked at,
 * so that no order is needed. Mutant P1WriterStoresTheIndexRelaxed. */
CLOCKPAGE_INLINE int clockpage_publish_index(uint64_t *index, uint64_t expected, uint64_t next)
{
	return CLOCKPAGE_ATOMIC_CAS_(index, expected, next, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

/* Writer's withdrawal. Relaxed: who sees it gives no time, whatever else there is to see;
 * and who happens after one that saw it sees it too, since that is one word. */
CLOCKPAGE_INLINE void clockpage_store_revoked(uint64_t *revoked, uint64_t reason)
{
	CLOCKPAGE_ATOMIC_STORE_(revoked, reason, __ATOMIC_RELAXED);
}

/* Writer's half of P3: the last store into memory that readers may have mapped already.
 * `first`: the memory's first word. Plain message passing, once in a region's life. */
CLOCKPAGE_INLINE void clockpage_publish_magic(uint64_t *first, uint64_t magic)
{
	CLOCKPAGE_ATOMIC_STORE_(first, magic, __ATOMIC_RELEASE);
}

/* Reader's half of P3: before anything else of the region is looked at. */
CLOCKPAGE_INLINE uint64_t clockpage_load_magic(const uint64_t *first)
{
	return CLOCKPAGE_ATOMIC_LOAD_(first, __ATOMIC_ACQUIRE);
}

#endif /* CLOCKPAGE_BARRIER_H */
