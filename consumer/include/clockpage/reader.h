/* SPDX-License-Identifier: MIT */
/*
 * clockpage reader: the hot path. C11 and C++, header only, depends on nothing.
 *
 * Every function is thread-safe: a reader is constant after clockpage_reader_init
 * and one may be shared by all threads. None allocates, locks, makes a system call
 * or waits for the writer; each takes at most 2 * CLOCKPAGE_MAX_PASSES passes. The page
 * may be hostile: then times may be wrong, but nothing is read out of bounds, no
 * loop is unbounded and no behaviour undefined. Spec section 5.2 is the algorithm.
 *
 * Two axes: the return value is an *error* (0, or CLOCKPAGE_E_*: no time could be
 * read, nothing was written), clockpage_time.status says *how good* the time is.
 */
#ifndef CLOCKPAGE_READER_H
#define CLOCKPAGE_READER_H

#include <clockpage/abi.h>
#include <clockpage/barrier.h>
#include <clockpage/counter.h>
#include <clockpage/fixed_point.h>

#include <stddef.h>
#include <time.h>

/* Clocks: the numbers of Linux' clockid_t. */
#define CLOCKPAGE_REALTIME      0
#define CLOCKPAGE_MONOTONIC     1
#define CLOCKPAGE_MONOTONIC_RAW 4
#define CLOCKPAGE_BOOTTIME      7
#define CLOCKPAGE_TAI           11

/* Errors of reading. */
#define CLOCKPAGE_OK              0
#define CLOCKPAGE_E_BUSY          -1 /* the page changed in every pass: try again */
#define CLOCKPAGE_E_OUT_OF_RANGE  -2 /* the counter value is older than the page's history */
#define CLOCKPAGE_E_DISCONTINUITY -3 /* a step lies between the counter value and now */
#define CLOCKPAGE_E_TAI_UNKNOWN   -4 /* the page does not know TAI - UTC */
#define CLOCKPAGE_E_REVOKED       -5 /* the writer has withdrawn the page */
#define CLOCKPAGE_E_CLOCK         -6 /* not one of the five clocks */
#define CLOCKPAGE_E_OVERDUE       -7 /* no leased value within the limit */
#define CLOCKPAGE_E_ARGUMENT      -8 /* an argument is null or out of range */
#define CLOCKPAGE_E_DISRUPTED     -9 /* the view has changed since, or one it is composed from */
/* Errors of a page's header (clockpage_reader_init, clockpage_open). */
#define CLOCKPAGE_E_SIZE    -16 /* too small, or not the size it should be */
#define CLOCKPAGE_E_MAGIC   -17 /* not a clockpage file */
#define CLOCKPAGE_E_VERSION -18 /* another major version of the layout */
#define CLOCKPAGE_E_LAYOUT  -19 /* a constant field has an impossible value */
#define CLOCKPAGE_E_COUNTER -20 /* made for another counter than this machine's */
#define CLOCKPAGE_E_STALE   -21 /* of an earlier boot of this host, or a view of another region */
#define CLOCKPAGE_E_SYSTEM  -22 /* a system call failed: see errno */
#define CLOCKPAGE_E_VIEW    -23 /* withdrawn, or not to be read through in this way */

/* clockpage_time.flags */
#define CLOCKPAGE_TIME_OVERDUE   0x1u /* at or past the lease's end: provisional */
#define CLOCKPAGE_TIME_TAI_KNOWN 0x2u /* the page knows TAI - UTC */
/* REALTIME of an unsmeared page within a second that is counted twice: a leap second is inserted.
 */
#define CLOCKPAGE_TIME_AMBIGUOUS     0x4u
#define CLOCKPAGE_TIME_HOST_IN_SMEAR 0x8u /* the host's own clock is being smeared */

#define CLOCKPAGE_MAX_PASSES 4

/* A validated data page. Constant once initialised. */
struct clockpage_reader {
	const struct clockpage_data_page *page;
	uint32_t delta_shift; /* copied: the page's own could change under a check */
	int32_t rdtscp;       /* how to read the counter on this CPU: see counter.h */
	/* The longest segment whose deltas need neither shift nor cap; 0 if all do. */
	uint64_t plain_span;
};

/* One reading with its uncertainty. earliest_ns <= ns <= latest_ns, INT64_MIN and
 * INT64_MAX where there is no bound. The middle is not "the time": only the interval
 * is claimed. */
struct clockpage_time {
	int64_t ns; /* ns since the clock's epoch, rounded down */
	int64_t earliest_ns;
	int64_t latest_ns;
	uint64_t counter; /* page's counter value this is the time of */
	uint64_t epoch;   /* values of different epochs are not ordered with each other */
	uint32_t flags;   /* CLOCKPAGE_TIME_* */
	uint8_t status;   /* CLOCKPAGE_STATUS_*; FREE_RUNNING when overdue, unless UNRELIABLE */
	uint8_t reason;   /* CLOCKPAGE_REASON_* */
	uint8_t leap_indicator; /* CLOCKPAGE_LEAP_*, as of this time */
	uint8_t smear;          /* CLOCKPAGE_SMEAR_* that a REALTIME value is on */
};

/* clockpage_reader_init but for `rdtscp`: finding that out executes CPUID, which a hypervisor traps
 * (15 us and more), and it is for those who read pages' headers again and again. */
static inline int clockpage_reader_take_(struct clockpage_reader *reader, const void *page,
					 size_t length)
{
	const struct clockpage_data_page *p = (const struct clockpage_data_page *)page;
	const char magic[] = CLOCKPAGE_DATA_MAGIC;
	uint8_t shift;
	if (!reader || !page || (uintptr_t)page % sizeof(uint64_t))
		return CLOCKPAGE_E_ARGUMENT;
	if (length < sizeof *p)
		return CLOCKPAGE_E_SIZE;
	for (size_t i = 0; i < CLOCKPAGE_MAGIC_SIZE; i++)
		if (CLOCKPAGE_LOAD(p->magic[i]) != (uint8_t)magic[i])
			return CLOCKPAGE_E_MAGIC;
	if (CLOCKPAGE_LOAD(p->abi_major) != CLOCKPAGE_ABI_MAJOR)
		return CLOCKPAGE_E_VERSION;
	shift = CLOCKPAGE_LOAD(p->delta_shift);
	if (CLOCKPAGE_LOAD(p->size) != sizeof *p ||
	    CLOCKPAGE_LOAD(p->segment_count) != CLOCKPAGE_SEGMENT_COUNT ||
	    CLOCKPAGE_LOAD(p->segment_size) != CLOCKPAGE_SEGMENT_SIZE ||
	    CLOCKPAGE_LOAD(p->segment_offset) != CLOCKPAGE_SEGMENT_OFFSET ||
	    shift > CLOCKPAGE_MAX_DELTA_SHIFT || CLOCKPAGE_LOAD(p->scale_ratio) == 0 ||
	    CLOCKPAGE_LOAD(p->scale_frac_bits) > 63 || CLOCKPAGE_LOAD(p->counter_frequency_hz) == 0)
		return CLOCKPAGE_E_LAYOUT;
#if defined(__x86_64__)
	if (CLOCKPAGE_LOAD(p->counter_kind) != CLOCKPAGE_COUNTER_X86_TSC)
		return CLOCKPAGE_E_COUNTER;
#else
	if (CLOCKPAGE_LOAD(p->counter_kind) != CLOCKPAGE_COUNTER_ARM_CNTVCT)
		return CLOCKPAGE_E_COUNTER;
#endif
	reader->page = p;
	reader->delta_shift = shift;
	reader->plain_span = shift ? 0 : CLOCKPAGE_MAX_TICKS;
	return CLOCKPAGE_OK;
}

/* Validates the header of a mapped data page of `length` readable bytes and fills
 * *reader. Returns 0 or CLOCKPAGE_E_{ARGUMENT,SIZE,MAGIC,VERSION,LAYOUT,COUNTER}.
 * The mapping must outlive the reader and must be write-back cached. */
static inline int clockpage_reader_init(struct clockpage_reader *reader, const void *page,
					size_t length)
{
	int error = clockpage_reader_take_(reader, page, length);
	if (!error)
		reader->rdtscp = clockpage_counter_prefers_rdtscp();
	return error;
}

#include <clockpage/evaluate.h>

/* ---- reading ------------------------------------------------------------------------ */

/* The time now, in ns since the clock's epoch. Ordered after earlier loads (on Arm: after those
 * that happen before it in the sense of C11; see counter.h) and before later stores.
 * Returns 0 or CLOCKPAGE_E_{BUSY,REVOKED,TAI_UNKNOWN,CLOCK,OUT_OF_RANGE,DISCONTINUITY};
 * *ns is written only with 0. Says nothing about how good the time is. */
CLOCKPAGE_INLINE int clockpage_now(const struct clockpage_reader *reader, int clock, int64_t *ns)
{
	/* The index is read before the counter: a page swapped between the two shows. */
	struct clockpage_newest_ newest = clockpage_load_newest_(reader->page, reader->plain_span);
	uint64_t counter = clockpage_counter_ordered_by(reader->rdtscp, newest.number);
	return clockpage_evaluate_(reader, clock, newest, counter, 1, ns, 0, NULL);
}

/* As clockpage_now, but the counter may be read before earlier loads have completed, or
 * after later ones: for callers, such as loggers, that order themselves. */
CLOCKPAGE_INLINE int clockpage_now_relaxed(const struct clockpage_reader *reader, int clock,
					   int64_t *ns)
{
	struct clockpage_newest_ newest = clockpage_load_newest_(reader->page, reader->plain_span);
	uint64_t counter = clockpage_counter_relaxed();
	return clockpage_evaluate_(reader, clock, newest, counter, 1, ns, 0, NULL);
}

/* The time at a counter value (the page's counter) captured earlier, or a little ahead.
 * CLOCKPAGE_E_OUT_OF_RANGE below the history, CLOCKPAGE_E_DISCONTINUITY across a step.
 * At or past the lease's end the value is provisional: clockpage_at_bounds says so. */
CLOCKPAGE_INLINE int clockpage_at(const struct clockpage_reader *reader, int clock,
				  uint64_t counter, int64_t *ns)
{
	struct clockpage_newest_ newest = clockpage_load_newest_(reader->page, reader->plain_span);
	return clockpage_evaluate_(reader, clock, newest, counter, 0, ns, 0, NULL);
}

/* As clockpage_at, with bounds and status. *out is undefined unless 0 is returned. */
CLOCKPAGE_INLINE int clockpage_at_bounds(const struct clockpage_reader *reader, int clock,
					 uint64_t counter, struct clockpage_time *out)
{
	struct clockpage_newest_ newest = clockpage_load_newest_(reader->page, reader->plain_span);
	int64_t ns;
	return clockpage_evaluate_(reader, clock, newest, counter, 0, &ns, 1, out);
}

/* As clockpage_now, with bounds and status. *out is undefined unless 0 is returned. */
CLOCKPAGE_INLINE int clockpage_now_bounds(const struct clockpage_reader *reader, int clock,
					  struct clockpage_time *out)
{
	struct clockpage_newest_ newest = clockpage_load_newest_(reader->page, reader->plain_span);
	uint64_t counter = clockpage_counter_ordered_by(reader->rdtscp, newest.number);
	int64_t ns;
	return clockpage_evaluate_(reader, clock, newest, counter, 1, &ns, 1, out);
}

/* A leased value or CLOCKPAGE_E_OVERDUE: reads again, busily, until one is to be had or
 * limit_ticks counter ticks have passed. The one reading function that waits. */
static inline int clockpage_now_leased(const struct clockpage_reader *reader, int clock,
				       uint64_t limit_ticks, struct clockpage_time *out)
{
	uint64_t begin = clockpage_counter_ordered();
	for (;;) {
		int error = clockpage_now_bounds(reader, clock, out);
		if (!error && !(out->flags & CLOCKPAGE_TIME_OVERDUE))
			return CLOCKPAGE_OK;
		if (error && error != CLOCKPAGE_E_BUSY)
			return error;
		if (clockpage_counter_ordered() - begin >= limit_ticks)
			return CLOCKPAGE_E_OVERDUE;
	}
}

/* Converts counters[0..count) while they lie within one lease; returns how many did. */
CLOCKPAGE_INLINE size_t clockpage_convert_run_(const struct clockpage_segment *s,
					       const struct clockpage_line_ *line, uint32_t shift,
					       const uint64_t *counters, size_t count, int64_t *ns)
{
	uint64_t start = CLOCKPAGE_LOAD(s->start);
	uint64_t span = CLOCKPAGE_LOAD(s->lease_end) - start;
	size_t done;
	if (span > CLOCKPAGE_MAX_TICKS >> shift)
		return 0;
	for (done = 0; done < count; done++) {
		uint64_t delta = counters[done] - start, value;
		if (delta >= span)
			break;
		value = clockpage_on_line_(line, delta << shift);
		if (CLOCKPAGE_UNLIKELY(line->leap_start_ns != (uint64_t)CLOCKPAGE_NO_LEAP))
			value = clockpage_with_leap_(s, line, value);
		ns[done] = (int64_t)value;
	}
	return done;
}

/* clockpage_at for many counter values: ns[i] is the time at counters[i], bit for bit what
 * clockpage_at gives. Fastest where neighbours lie in one segment. Returns 0, or the error
 * of the first value that could not be converted; ns[0..*converted) are valid either way. */
static inline int clockpage_at_many(const struct clockpage_reader *reader, int clock,
				    const uint64_t *counters, size_t count, int64_t *ns,
				    size_t *converted)
{
	const struct clockpage_data_page *page = reader->page;
	/* A run is re-checked as a whole, so it must be short against a segment. */
	const size_t longest_run = 1024;
	size_t done = 0;
	*converted = 0;
	while (done < count) {
		const struct clockpage_segment *s;
		struct clockpage_line_ line;
		struct clockpage_newest_ newest =
			clockpage_load_newest_(reader->page, reader->plain_span);
		uint64_t delta, revoked;
		size_t left = count - done, run = 0;
		int overdue, error;
		error = clockpage_find_(page, newest, counters[done], &s, &delta, &overdue);
		if (!error && !overdue && !clockpage_load_line_(s, clock, &line))
			run = clockpage_convert_run_(s, &line, reader->delta_shift, counters + done,
						     left < longest_run ? left : longest_run,
						     ns + done);
		revoked = CLOCKPAGE_LOAD(page->revoked);
		clockpage_fence_before_recheck(); /* P2 */
		if (run == 0 || revoked || CLOCKPAGE_LOAD(page->index) != newest.number) {
			/* Overdue, an error, or the page changed: singly. */
			error = clockpage_at(reader, clock, counters[done], &ns[done]);
			if (error)
				return error;
			run = 1;
		}
		done += run;
		*converted = done;
	}
	return CLOCKPAGE_OK;
}

/* clock_gettime's shape. Returns 0 or CLOCKPAGE_E_* as clockpage_now; *ts is written only
 * with 0. */
CLOCKPAGE_INLINE int clockpage_gettime(const struct clockpage_reader *reader, int clock,
				       struct timespec *ts)
{
	int64_t ns, second = 1000000000;
	int error = clockpage_now(reader, clock, &ns);
	if (CLOCKPAGE_UNLIKELY(error))
		return error;
	ts->tv_sec = ns / second - (ns % second < 0);
	ts->tv_nsec = ns % second + (ns % second < 0 ? second : 0);
	return CLOCKPAGE_OK;
}

#endif /* CLOCKPAGE_READER_H */
