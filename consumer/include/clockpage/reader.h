/* SPDX-License-Identifier: MIT */
/*
 * clockpage reader: the hot path. C11 and C++, header only, depends on nothing.
 *
 * Every function is thread-safe: a reader is constant after clockpage_reader_init
 * and one may be shared by all threads. None allocates, locks, makes a system call
 * or waits for the writer; each takes at most CLOCKPAGE_MAX_PASSES passes. The page
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
#define CLOCKPAGE_REALTIME 0
#define CLOCKPAGE_MONOTONIC 1
#define CLOCKPAGE_MONOTONIC_RAW 4
#define CLOCKPAGE_BOOTTIME 7
#define CLOCKPAGE_TAI 11

/* Errors of reading. */
#define CLOCKPAGE_OK 0
#define CLOCKPAGE_E_BUSY -1	     /* the page changed in every pass: try again */
#define CLOCKPAGE_E_OUT_OF_RANGE -2  /* the counter value is older than the page's history */
#define CLOCKPAGE_E_DISCONTINUITY -3 /* a step lies between the counter value and now */
#define CLOCKPAGE_E_TAI_UNKNOWN -4   /* the page does not know TAI - UTC */
#define CLOCKPAGE_E_REVOKED -5	     /* the writer has withdrawn the page */
#define CLOCKPAGE_E_CLOCK -6	     /* not one of the five clocks */
#define CLOCKPAGE_E_OVERDUE -7	     /* no leased value within the limit */
#define CLOCKPAGE_E_ARGUMENT -8	     /* an argument is null or out of range */
/* Errors of a page's header (clockpage_reader_init, clockpage_open). */
#define CLOCKPAGE_E_SIZE -16	/* too small, or not the size it should be */
#define CLOCKPAGE_E_MAGIC -17	/* not a clockpage file */
#define CLOCKPAGE_E_VERSION -18 /* another major version of the layout */
#define CLOCKPAGE_E_LAYOUT -19	/* a constant field has an impossible value */
#define CLOCKPAGE_E_COUNTER -20 /* made for another counter than this machine's */
#define CLOCKPAGE_E_STALE -21	/* of an earlier boot of this host */
#define CLOCKPAGE_E_SYSTEM -22	/* a system call failed: see errno */

/* clockpage_time.flags */
#define CLOCKPAGE_TIME_OVERDUE 0x1u   /* at or past the lease's end: provisional */
#define CLOCKPAGE_TIME_TAI_KNOWN 0x2u /* the page knows TAI - UTC */

#define CLOCKPAGE_MAX_PASSES 4

/* A validated data page. Constant once initialised. */
struct clockpage_reader {
	const struct clockpage_data_page *page;
	uint32_t delta_shift; /* copied: the page's own could change under a check */
};

/* One reading with its uncertainty. earliest_ns <= ns <= latest_ns, INT64_MIN and
 * INT64_MAX where there is no bound. The middle is not "the time": only the interval
 * is claimed. */
struct clockpage_time {
	int64_t ns; /* ns since the clock's epoch, rounded down */
	int64_t earliest_ns;
	int64_t latest_ns;
	uint64_t counter; /* page's counter value this is the time of */
	uint64_t epoch;	  /* values of different epochs are not ordered with each other */
	uint32_t flags;	  /* CLOCKPAGE_TIME_* */
	uint8_t status;	  /* CLOCKPAGE_STATUS_*; FREE_RUNNING at best when overdue */
	uint8_t reason;	  /* CLOCKPAGE_REASON_* */
	uint8_t leap_indicator; /* CLOCKPAGE_LEAP_* */
	uint8_t smear;	  /* CLOCKPAGE_SMEAR_* that a REALTIME value is on */
};

/* Validates the header of a mapped data page of `length` readable bytes and fills
 * *reader. Returns 0 or CLOCKPAGE_E_{ARGUMENT,SIZE,MAGIC,VERSION,LAYOUT,COUNTER}.
 * The mapping must outlive the reader and must be write-back cached. */
static inline int clockpage_reader_init(struct clockpage_reader *reader, const void *page,
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
	return CLOCKPAGE_OK;
}

/* ---- inside: names ending in _ are not for callers --------------------------------- */

CLOCKPAGE_INLINE const struct clockpage_segment *
clockpage_slot_(const struct clockpage_data_page *page, uint64_t number)
{
	return &page->segment[number % CLOCKPAGE_SEGMENT_COUNT];
}

/* TAI - UTC in force at `tai` (both ns). Unsigned throughout: a hostile page must not
 * reach undefined behaviour. */
static inline uint64_t clockpage_utc_offset_in_leap_(const struct clockpage_segment *s,
						     uint64_t tai, uint64_t before)
{
	uint64_t start = (uint64_t)CLOCKPAGE_LOAD(s->leap_start_ns);
	uint64_t after = (uint64_t)CLOCKPAGE_LOAD(s->utc_offset_after_ns);
	uint64_t moved;
	if ((int64_t)tai >= CLOCKPAGE_LOAD(s->leap_end_ns))
		return after;
	moved = clockpage_mul_frac(tai - start, CLOCKPAGE_LOAD(s->leap_slope_frac));
	return (int64_t)(after - before) >= 0 ? before + moved : before - moved;
}

/* One clock at `ticks` (already shifted) past the segment's start. */
CLOCKPAGE_INLINE int clockpage_segment_clock_(const struct clockpage_segment *s, int clock,
					      uint64_t ticks, int64_t *ns)
{
	uint64_t tai, offset;
	if (clock == CLOCKPAGE_MONOTONIC_RAW) {
		*ns = (int64_t)clockpage_line_at(CLOCKPAGE_LOAD(s->raw_ns),
						 CLOCKPAGE_LOAD(s->raw_frac),
						 CLOCKPAGE_LOAD(s->raw_period_frac), ticks)
			      .ns;
		return CLOCKPAGE_OK;
	}
	tai = clockpage_line_at(CLOCKPAGE_LOAD(s->tai_ns), CLOCKPAGE_LOAD(s->tai_frac),
				CLOCKPAGE_LOAD(s->tai_period_frac), ticks)
		      .ns;
	switch (clock) { /* a constant at nearly every call: no branch is left */
	case CLOCKPAGE_REALTIME:
		offset = (uint64_t)CLOCKPAGE_LOAD(s->utc_offset_ns);
		if (CLOCKPAGE_UNLIKELY((int64_t)tai >= CLOCKPAGE_LOAD(s->leap_start_ns)))
			offset = clockpage_utc_offset_in_leap_(s, tai, offset);
		break;
	case CLOCKPAGE_MONOTONIC:
		offset = (uint64_t)CLOCKPAGE_LOAD(s->monotonic_offset_ns);
		break;
	case CLOCKPAGE_BOOTTIME:
		offset = (uint64_t)CLOCKPAGE_LOAD(s->boottime_offset_ns);
		break;
	case CLOCKPAGE_TAI:
		if (CLOCKPAGE_UNLIKELY(!(CLOCKPAGE_LOAD(s->flags) & CLOCKPAGE_SEGMENT_TAI_KNOWN)))
			return CLOCKPAGE_E_TAI_UNKNOWN;
		offset = 0;
		break;
	default:
		return CLOCKPAGE_E_CLOCK;
	}
	*ns = (int64_t)(tai - offset);
	return CLOCKPAGE_OK;
}

/* Half-width at `elapsed_ns` past the segment's start, rounded up; with the quantum of
 * rounding ns down. CLOCKPAGE_BOUND_UNKNOWN stays what it is, and so does overflow. */
CLOCKPAGE_INLINE uint64_t clockpage_bound_(const struct clockpage_segment *s, int clock,
					   uint64_t elapsed_ns)
{
	int utc = clock == CLOCKPAGE_REALTIME || clock == CLOCKPAGE_TAI;
	uint64_t bound = CLOCKPAGE_LOAD(*(utc ? &s->utc_bound_ns : &s->local_bound_ns));
	uint64_t growth =
		CLOCKPAGE_LOAD(*(utc ? &s->utc_bound_growth_frac : &s->local_bound_growth_frac));
	uint64_t sum = bound + clockpage_mul_frac(elapsed_ns, growth) + 2;
	return CLOCKPAGE_LIKELY(sum > bound) ? sum : CLOCKPAGE_BOUND_UNKNOWN;
}

/* Fills everything of *out but ns. */
CLOCKPAGE_INLINE void clockpage_describe_(const struct clockpage_data_page *page,
					  const struct clockpage_segment *s, int clock,
					  uint64_t counter, uint64_t ticks, int overdue,
					  struct clockpage_time *out)
{
	uint64_t elapsed_ns = clockpage_mul_frac(ticks, CLOCKPAGE_LOAD(s->tai_period_frac)) + 1;
	uint64_t bound = clockpage_bound_(s, clock, elapsed_ns);
	uint32_t flags = CLOCKPAGE_LOAD(s->flags);
	uint8_t status = CLOCKPAGE_LOAD(s->status);
	out->counter = counter;
	out->epoch = CLOCKPAGE_LOAD(s->epoch);
	out->flags = flags & CLOCKPAGE_SEGMENT_TAI_KNOWN ? CLOCKPAGE_TIME_TAI_KNOWN : 0;
	if (CLOCKPAGE_UNLIKELY(overdue)) {
		out->flags |= CLOCKPAGE_TIME_OVERDUE;
		if (status == CLOCKPAGE_STATUS_SYNCHRONISED)
			status = CLOCKPAGE_STATUS_FREE_RUNNING;
	}
	/* An unknown number from the page is not a good status. */
	out->status = status <= CLOCKPAGE_STATUS_UNRELIABLE ? status : CLOCKPAGE_STATUS_UNRELIABLE;
	out->reason = CLOCKPAGE_LOAD(s->reason);
	out->leap_indicator = CLOCKPAGE_LOAD(s->leap_indicator);
	out->smear = CLOCKPAGE_LOAD(page->smear);
	if (CLOCKPAGE_UNLIKELY(bound > INT64_MAX ||
			       __builtin_sub_overflow(out->ns, (int64_t)bound, &out->earliest_ns)))
		out->earliest_ns = INT64_MIN;
	if (CLOCKPAGE_UNLIKELY(bound > INT64_MAX ||
			       __builtin_add_overflow(out->ns, (int64_t)bound, &out->latest_ns)))
		out->latest_ns = INT64_MAX;
}

/* Walks back from segment `newest` to the one that `counter` lies in, at most
 * CLOCKPAGE_HISTORY steps. One step across the newest's own start is always right: that
 * start may lie in the future still. A discontinuity further back is not crossed. Off the
 * hot path: only captured counter values, and readers stalled for a whole period, come
 * here. Every slot's number is checked: a page may have been swapped under its reader. */
static __attribute__((noinline, unused)) int
clockpage_walk_back_(const struct clockpage_data_page *page, uint64_t newest, uint64_t counter,
		     const struct clockpage_segment **found)
{
	const struct clockpage_segment *later = clockpage_slot_(page, newest - 1);
	for (unsigned back = 2; back <= CLOCKPAGE_HISTORY; back++) {
		const struct clockpage_segment *s = clockpage_slot_(page, newest - back);
		if (CLOCKPAGE_LOAD(later->flags) & CLOCKPAGE_SEGMENT_DISCONTINUITY)
			return CLOCKPAGE_E_DISCONTINUITY;
		if (CLOCKPAGE_LOAD(s->number) != newest - back)
			return CLOCKPAGE_E_OUT_OF_RANGE;
		if ((int64_t)(counter - CLOCKPAGE_LOAD(s->start)) >= 0) {
			*found = s;
			return CLOCKPAGE_OK;
		}
		later = s;
	}
	return CLOCKPAGE_E_OUT_OF_RANGE;
}

/* The segment that `counter` lies in, as of index `newest`. *overdue: at or past the
 * newest lease's end. */
CLOCKPAGE_INLINE int clockpage_find_(const struct clockpage_data_page *page, uint64_t newest,
				     uint64_t counter, const struct clockpage_segment **found,
				     uint64_t *delta, int *overdue)
{
	const struct clockpage_segment *s = clockpage_slot_(page, newest);
	int error;
	*overdue = 0;
	*delta = counter - CLOCKPAGE_LOAD(s->start);
	/* Taken or not about evenly, but in runs: the writer publishes a lead early. */
	if ((int64_t)*delta < 0) {
		s = clockpage_slot_(page, newest - 1);
		*delta = counter - CLOCKPAGE_LOAD(s->start);
		if (CLOCKPAGE_UNLIKELY((int64_t)*delta < 0)) {
			error = clockpage_walk_back_(page, newest, counter, &s);
			if (error)
				return error;
			*delta = counter - CLOCKPAGE_LOAD(s->start);
			if ((int64_t)*delta < 0) /* changed since; the re-check will tell */
				*delta = 0;
		}
	} else if (CLOCKPAGE_UNLIKELY((int64_t)(counter - CLOCKPAGE_LOAD(s->lease_end)) >= 0)) {
		*overdue = 1;
	}
	*found = s;
	return CLOCKPAGE_OK;
}

/* delta << delta_shift, capped so that base + ticks stays below 2^63 ns. The cap is out
 * of reach but for a writer dead for decades, or a hostile page: never taken. */
CLOCKPAGE_INLINE uint64_t clockpage_ticks_(const struct clockpage_reader *reader, uint64_t delta)
{
	if (CLOCKPAGE_UNLIKELY(delta > CLOCKPAGE_MAX_TICKS >> reader->delta_shift))
		return CLOCKPAGE_MAX_TICKS;
	return delta << reader->delta_shift;
}

/* Spec section 5.2, steps 3 to 5, for the counter value `counter` and the index `newest`
 * read before it. Fills *ns, and *out unless it is null (a constant at every call). */
CLOCKPAGE_INLINE int clockpage_evaluate_(const struct clockpage_reader *reader, int clock,
					 uint64_t newest, uint64_t counter, int64_t *ns,
					 struct clockpage_time *out)
{
	const struct clockpage_data_page *page = reader->page;
	for (unsigned pass = 0; pass < CLOCKPAGE_MAX_PASSES; pass++) {
		const struct clockpage_segment *s;
		uint64_t delta, ticks, revoked;
		int64_t value = 0;
		int overdue;
		int error = clockpage_find_(page, newest, counter, &s, &delta, &overdue);
		if (CLOCKPAGE_LIKELY(!error)) {
			ticks = clockpage_ticks_(reader, delta);
			error = clockpage_segment_clock_(s, clock, ticks, &value);
			if (out) {
				out->ns = value;
				clockpage_describe_(page, s, clock, counter, ticks, overdue, out);
			}
		}
		revoked = CLOCKPAGE_LOAD(page->revoked);
		clockpage_fence_before_recheck(); /* P2 */
		if (CLOCKPAGE_LIKELY(CLOCKPAGE_LOAD(page->index) == newest)) {
			if (CLOCKPAGE_UNLIKELY(revoked != CLOCKPAGE_REVOKED_NO))
				return CLOCKPAGE_E_REVOKED;
			if (CLOCKPAGE_LIKELY(!error))
				*ns = value;
			return error;
		}
		/* The writer published meanwhile: the same counter value again. */
		newest = clockpage_load_index(&page->index);
	}
	return CLOCKPAGE_E_BUSY;
}

/* ---- reading ------------------------------------------------------------------------ */

/* The time now, in ns since the clock's epoch. Ordered after earlier loads.
 * Returns 0 or CLOCKPAGE_E_{BUSY,REVOKED,TAI_UNKNOWN,CLOCK,OUT_OF_RANGE,DISCONTINUITY};
 * *ns is written only with 0. Says nothing about how good the time is. */
CLOCKPAGE_INLINE int clockpage_now(const struct clockpage_reader *reader, int clock, int64_t *ns)
{
	/* The index is read before the counter: a page swapped between the two shows. */
	uint64_t newest = clockpage_load_index(&reader->page->index);
	uint64_t counter = clockpage_counter_ordered();
	return clockpage_evaluate_(reader, clock, newest, counter, ns, NULL);
}

/* As clockpage_now, but the counter may be read before earlier loads have completed, or
 * after later ones: for callers, such as loggers, that order themselves. */
CLOCKPAGE_INLINE int clockpage_now_relaxed(const struct clockpage_reader *reader, int clock,
					   int64_t *ns)
{
	uint64_t newest = clockpage_load_index(&reader->page->index);
	uint64_t counter = clockpage_counter_relaxed();
	return clockpage_evaluate_(reader, clock, newest, counter, ns, NULL);
}

/* The time at a counter value (the page's counter) captured earlier, or a little ahead.
 * CLOCKPAGE_E_OUT_OF_RANGE below the history, CLOCKPAGE_E_DISCONTINUITY across a step.
 * At or past the lease's end the value is provisional: clockpage_at_bounds says so. */
CLOCKPAGE_INLINE int clockpage_at(const struct clockpage_reader *reader, int clock,
				  uint64_t counter, int64_t *ns)
{
	uint64_t newest = clockpage_load_index(&reader->page->index);
	return clockpage_evaluate_(reader, clock, newest, counter, ns, NULL);
}

/* As clockpage_at, with bounds and status. *out is undefined unless 0 is returned. */
CLOCKPAGE_INLINE int clockpage_at_bounds(const struct clockpage_reader *reader, int clock,
					 uint64_t counter, struct clockpage_time *out)
{
	uint64_t newest = clockpage_load_index(&reader->page->index);
	int64_t ns;
	return clockpage_evaluate_(reader, clock, newest, counter, &ns, out);
}

/* As clockpage_now, with bounds and status. *out is undefined unless 0 is returned. */
CLOCKPAGE_INLINE int clockpage_now_bounds(const struct clockpage_reader *reader, int clock,
					  struct clockpage_time *out)
{
	uint64_t newest = clockpage_load_index(&reader->page->index);
	uint64_t counter = clockpage_counter_ordered();
	int64_t ns;
	return clockpage_evaluate_(reader, clock, newest, counter, &ns, out);
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

/* A segment's line for one clock, copied out for bulk conversion. */
struct clockpage_line_ {
	uint64_t start, span_ticks, base_ns, base_frac, period_frac, offset_ns, leap_start_ns;
};

static inline int clockpage_copy_line_(const struct clockpage_segment *s, int clock,
				       struct clockpage_line_ *line)
{
	int raw = clock == CLOCKPAGE_MONOTONIC_RAW;
	line->start = CLOCKPAGE_LOAD(s->start);
	line->span_ticks = CLOCKPAGE_LOAD(s->lease_end) - line->start;
	line->base_ns = CLOCKPAGE_LOAD(*(raw ? &s->raw_ns : &s->tai_ns));
	line->base_frac = CLOCKPAGE_LOAD(*(raw ? &s->raw_frac : &s->tai_frac));
	line->period_frac = CLOCKPAGE_LOAD(*(raw ? &s->raw_period_frac : &s->tai_period_frac));
	line->leap_start_ns = ~(uint64_t)0;
	line->offset_ns = 0;
	switch (clock) {
	case CLOCKPAGE_REALTIME:
		line->offset_ns = (uint64_t)CLOCKPAGE_LOAD(s->utc_offset_ns);
		line->leap_start_ns = (uint64_t)CLOCKPAGE_LOAD(s->leap_start_ns);
		return CLOCKPAGE_OK;
	case CLOCKPAGE_MONOTONIC:
		line->offset_ns = (uint64_t)CLOCKPAGE_LOAD(s->monotonic_offset_ns);
		return CLOCKPAGE_OK;
	case CLOCKPAGE_BOOTTIME:
		line->offset_ns = (uint64_t)CLOCKPAGE_LOAD(s->boottime_offset_ns);
		return CLOCKPAGE_OK;
	case CLOCKPAGE_TAI:
		return CLOCKPAGE_LOAD(s->flags) & CLOCKPAGE_SEGMENT_TAI_KNOWN
			       ? CLOCKPAGE_OK
			       : CLOCKPAGE_E_TAI_UNKNOWN;
	case CLOCKPAGE_MONOTONIC_RAW:
		return CLOCKPAGE_OK;
	default:
		return CLOCKPAGE_E_CLOCK;
	}
}

/* Converts counters[0..count) while they lie in the lease of one copied line and before a
 * leap; returns how many did. */
CLOCKPAGE_INLINE size_t clockpage_convert_run_(const struct clockpage_line_ *line, uint32_t shift,
					       const uint64_t *counters, size_t count, int64_t *ns)
{
	size_t done;
	for (done = 0; done < count; done++) {
		uint64_t delta = counters[done] - line->start, value;
		if (delta >= line->span_ticks)
			break;
		value = clockpage_line_at(line->base_ns, line->base_frac, line->period_frac,
					  delta << shift)
				.ns;
		if (value >= line->leap_start_ns)
			break;
		ns[done] = (int64_t)(value - line->offset_ns);
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
		uint64_t delta, revoked, newest = clockpage_load_index(&page->index);
		size_t left = count - done, run = 0;
		int overdue, error;
		error = clockpage_find_(page, newest, counters[done], &s, &delta, &overdue);
		if (!error && !overdue && !clockpage_copy_line_(s, clock, &line))
			run = clockpage_convert_run_(&line, reader->delta_shift, counters + done,
						     left < longest_run ? left : longest_run,
						     ns + done);
		revoked = CLOCKPAGE_LOAD(page->revoked);
		clockpage_fence_before_recheck(); /* P2 */
		if (run == 0 || revoked || CLOCKPAGE_LOAD(page->index) != newest) {
			/* Overdue, in a leap, an error, or the page changed: singly. */
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
