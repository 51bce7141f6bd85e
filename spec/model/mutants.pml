/* SPDX-License-Identifier: MIT */
/*
 * The ways in which lease.pml can be broken: one macro each, which run.py defines alone and of which it
 * says what property it must break. Without any of them each hook here is what the protocol is.
 */

/* ---- the writer's */

/* 5.1.1: a segment that does not begin where the lease ends. */
#ifdef BAD_GAP
#define NEXT_START(p) (now > NEWEST_END(p) -> now : NEWEST_END(p))
#else
#define NEXT_START(p) NEWEST_END(p)
#endif

/* 5.1.3, 5.1.4: steers however little time is left. */
#ifdef BAD_NO_MARGIN
#define IN_TIME true
#else
#define IN_TIME (now < NEWEST_END(0) - MARGIN)
#endif

/* 5.1.3: a bridge with another line. */
#ifdef BAD_BRIDGE_STEERS
#define KEEPS_LINE false
#else
#define KEEPS_LINE bridge
#endif

/* 5.1.3: a lease longer than is allowed. */
#ifdef BAD_LONG_BRIDGE
#define BRIDGE_LENGTH (2 * PERIOD + 2 * LEAD)
#else
#define BRIDGE_LENGTH (PERIOD + LEAD)
#endif

/* P1 writer: the index moves while the last word of the slot is still to be stored. */
#ifdef BAD_INDEX_BEFORE_FILL
#define EARLY_INDEX_STORE \
	:: atomic { left == 8 && index[p] == n[p] -> index[p] = n[p] + 1 }
#define INDEX_IS_OURS (index[p] == n[p] + 1)
#else
#define EARLY_INDEX_STORE
#define INDEX_IS_OURS (index[p] == n[p])
#endif

/* P2 writer: a word of the next slot is seen before the store of this index. */
#ifdef BAD_NO_P2_WRITER
#define EARLY_FILL line[SLOT(p, n[p] + 2)] = 0;
#else
#define EARLY_FILL
#endif

/* 5.1.5: late stores are not counted; or only those after the start, not those shortly before. */
#if defined(BAD_LATE_UNCOUNTED)
#define COUNTS_AS_LATE(start) false
#elif defined(BAD_NO_GUARD)
#define COUNTS_AS_LATE(start) (now >= (start))
#else
#define COUNTS_AS_LATE(start) (now + GUARD >= (start))
#endif

/* 5.1.6: a restarted writer that may steer at once. */
#ifdef BAD_ADOPTER_STEERS
#define ADOPTER_BRIDGES false
#else
#define ADOPTER_BRIDGES true
#endif

/* 5.1.6: one that publishes what it finds in the unpublished slot, if its first words look right. */
#ifdef BAD_ADOPTER_TRUSTS_SLOT
#define TRUSTS_SLOT (adopts && number[SLOT(0, n[0] + 1)] == n[0] + 1 && first[SLOT(0, n[0] + 1)] == NEWEST_END(0))
#else
#define TRUSTS_SLOT false
#endif

/* 5.1.6: a publication that stopped between two pages is left so; or is finished, but not counted. */
#ifdef BAD_PARTIAL_UNFINISHED
#define FINISHES false
#else
#define FINISHES true
#endif
#ifdef BAD_FINISH_UNCOUNTED
#define FINISHED_IS_LATE false
#else
#define FINISHED_IS_LATE true
#endif

/* ---- the reader's */

/* A counter value at the lease's end is taken for leased. */
#ifdef BAD_LEASE_INCLUSIVE
#define IN_LEASE(start, end) (c >= (start) && c <= (end))
#else
#define IN_LEASE(start, end) (c >= (start) && c < (end))
#endif

/* 5.2.3: there is no lease: the newest line is good for ever, as if it had only a start. */
#ifdef BAD_NO_LEASE
#define IS_OVERDUE(end) false
#else
#define IS_OVERDUE(end) (c >= (end))
#endif

/* 5.2.3: it looks back one step less far than it could; or (BAD_RING_TOO_SHORT, for which HISTORY is RING - 1) one further. */
#ifdef BAD_HISTORY_TOO_SHORT
#define WALKS (HISTORY - 1)
#else
#define WALKS HISTORY
#endif

/* 5.2.3: the numbers are not looked at. */
#ifdef BAD_NO_NUMBER
#define WRONG_NUMBER false
#else
#define WRONG_NUMBER (number[SLOT(page, n - back)] != n - back)
#endif

/* P1 reader: a word of the slot that the index is about to name is loaded before the index. */
#ifdef BAD_NO_P1_READER
#define EARLY_SLOT_LOAD \
	byte guessed; \
	atomic { guessed = index[0] + 1; l = line[SLOT(0, guessed)] };
#define HAS_LINE (n == guessed && back == 0 && passes == 1)
/* 5.2.5: a retry that keeps a word of the pass before. */
#elif defined(BAD_STALE_RETRY)
#define EARLY_SLOT_LOAD
#define HAS_LINE (l != 0)
#else
#define EARLY_SLOT_LOAD
#define HAS_LINE false
#endif
#ifdef BAD_STALE_RETRY
#define FORGET_LINE skip
#else
#define FORGET_LINE l = 0
#endif

/* P2 reader: the re-check is done before the last load of the slot; or not at all. */
#if defined(BAD_NO_P2_READER)
#define EARLY_RECHECK seen = index[page];
#define INDEX_SEEN seen
#elif defined(BAD_NO_RECHECK)
#define EARLY_RECHECK
#define INDEX_SEEN n
#else
#define EARLY_RECHECK
#define INDEX_SEEN index[page]
#endif

/* 5.2.5: it tries for ever. */
#ifdef BAD_RETRY_FOREVER
#define GIVES_UP false
#else
#define GIVES_UP (passes == most)
#endif

/* It waits while a slot is being filled, as behind a sequence lock. */
#ifdef BAD_READER_WAITS
#define WAIT_FOR_WRITER number[SLOT(page, index[page] + 1)] != index[page] + 1;
#else
#define WAIT_FOR_WRITER
#endif

/* The counter may be read before earlier loads have completed. */
#ifdef BAD_UNORDERED_COUNTER
#define READ_COUNTER_EARLY \
	if \
	:: c > 0 -> c-- \
	:: skip \
	fi
#else
#define READ_COUNTER_EARLY skip
#endif

/* ---- the assumption: a second writer, which no lock has kept out */
#ifdef BAD_TWO_WRITERS
#define SECOND_WRITER run Writer(false)
#else
#define SECOND_WRITER skip
#endif
