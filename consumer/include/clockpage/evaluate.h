/* SPDX-License-Identifier: MIT */
/*
 * The inside of clockpage/reader.h: from a counter value to a time. Nothing here is for
 * callers; include reader.h. Spec section 5.2 is the algorithm.
 *
 * The first pass is inlined and straight (clockpage_evaluate_); everything rare is one
 * function out of line (clockpage_evaluate_slowly_).
 */
#ifndef CLOCKPAGE_EVALUATE_H
#define CLOCKPAGE_EVALUATE_H

#ifndef CLOCKPAGE_READER_H
#error "include <clockpage/reader.h>"
#endif

CLOCKPAGE_INLINE const struct clockpage_segment *
clockpage_slot_(const struct clockpage_data_page *page, uint64_t number)
{
	return &page->segment[number % CLOCKPAGE_SEGMENT_COUNT];
}

/* The newest index and the two slots a leased counter value may lie in, with the reader's
 * constants, loaded before the counter. */
struct clockpage_newest_ {
	const struct clockpage_data_page *page;
	uint64_t number;
	const struct clockpage_segment *current, *previous;
	uint64_t plain_span;
};

/* Spec section 5.2, step 1: lease.pml [5.2.1]. */
CLOCKPAGE_INLINE struct clockpage_newest_
clockpage_load_newest_(const struct clockpage_data_page *page, uint64_t plain_span)
{
	struct clockpage_newest_ newest;
	newest.page = page;
	newest.plain_span = plain_span;
	newest.number = clockpage_load_index(&newest.page->index);
	newest.current = clockpage_slot_(newest.page, newest.number);
	newest.previous = clockpage_slot_(newest.page, newest.number - 1);
	return newest;
}

/* clock = base + ticks * period - offset: what of a segment one clock is made of. */
struct clockpage_line_ {
	uint64_t base_ns, base_frac, period_frac;
	uint64_t offset_ns;
	uint64_t leap_start_ns; /* CLOCKPAGE_NO_LEAP: offset_ns holds throughout */
};

/* Returns 0 or CLOCKPAGE_E_{TAI_UNKNOWN,CLOCK}. `clock` is a constant at nearly every
 * call: no branch is left. */
CLOCKPAGE_INLINE int clockpage_load_line_(const struct clockpage_segment *s, int clock,
					  struct clockpage_line_ *line)
{
	int raw = clock == CLOCKPAGE_MONOTONIC_RAW;
	line->base_ns = CLOCKPAGE_LOAD(*(raw ? &s->raw_ns : &s->tai_ns));
	line->base_frac = CLOCKPAGE_LOAD(*(raw ? &s->raw_frac : &s->tai_frac));
	line->period_frac = CLOCKPAGE_LOAD(*(raw ? &s->raw_period_frac : &s->tai_period_frac));
	line->offset_ns = 0;
	line->leap_start_ns = (uint64_t)CLOCKPAGE_NO_LEAP;
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

/* A line's value at `ticks` (already shifted) past the segment's start, leaps aside. The offset
 * goes into the base, which need not wait for the counter. */
CLOCKPAGE_INLINE uint64_t clockpage_on_line_(const struct clockpage_line_ *line, uint64_t ticks)
{
	return clockpage_line_at(line->base_ns - line->offset_ns, line->base_frac,
				 line->period_frac, ticks)
		.ns;
}

/* REALTIME on a segment with a leap; `value`: without it. In a smear, after the line's product,
 * only an addition, a product and a subtraction wait for the counter. Unsigned throughout: a
 * hostile page must not reach undefined behaviour. */
CLOCKPAGE_INLINE uint64_t clockpage_with_leap_(const struct clockpage_segment *s,
					       const struct clockpage_line_ *line, uint64_t value)
{
	uint64_t tai = value + line->offset_ns, into, after;
	if ((int64_t)tai < (int64_t)line->leap_start_ns)
		return value;
	after = (uint64_t)CLOCKPAGE_LOAD(s->utc_offset_after_ns);
	if (CLOCKPAGE_UNLIKELY((int64_t)tai >= CLOCKPAGE_LOAD(s->leap_end_ns)))
		return tai - after;
	into = value + (line->offset_ns - line->leap_start_ns);
	/* Two loads of one word: so that a branch stays and no conditional move waits. */
	if ((int64_t)(after - line->offset_ns) >= 0)
		return value - clockpage_mul_frac(into, CLOCKPAGE_LOAD(s->leap_slope_frac));
	return value + clockpage_mul_frac_up(into, CLOCKPAGE_LOAD(s->leap_slope_frac));
}

/* What a result says of a leap second. */
struct clockpage_leap_said_ {
	uint32_t flags; /* CLOCKPAGE_TIME_AMBIGUOUS or none */
	uint8_t indicator;
};

/* The same of a segment that has a leap, which begins at `start`: the end of spec section 5.2. */
CLOCKPAGE_INLINE struct clockpage_leap_said_
clockpage_say_leap_(const struct clockpage_segment *s, int clock, uint64_t tai, uint64_t start)
{
	struct clockpage_leap_said_ said = {0, CLOCKPAGE_LEAP_JUST_PAST};
	uint64_t end = (uint64_t)CLOCKPAGE_LOAD(s->leap_end_ns);
	uint64_t change = (uint64_t)CLOCKPAGE_LOAD(s->utc_offset_after_ns) -
			  (uint64_t)CLOCKPAGE_LOAD(s->utc_offset_ns);
	if ((int64_t)tai < (int64_t)start) {
		/* Of numbers in this order the unsigned difference is exact. */
		if (start - tai > (uint64_t)CLOCKPAGE_LEAP_NOTICE_NS)
			said.indicator = CLOCKPAGE_LOAD(s->leap_indicator);
		else
			said.indicator = (int64_t)change >= 0 ? CLOCKPAGE_LEAP_PENDING_INSERTION
							      : CLOCKPAGE_LEAP_PENDING_DELETION;
	} else if ((int64_t)tai < (int64_t)end) {
		said.indicator = CLOCKPAGE_LEAP_IN_SMEAR;
	}
	/* As far on either side of the leap as REALTIME goes back there; change < 2^63. */
	if (clock == CLOCKPAGE_REALTIME && start == end && (int64_t)change > 0 &&
	    tai - start + change < 2 * change)
		said.flags = CLOCKPAGE_TIME_AMBIGUOUS;
	return said;
}

/* One clock at `ticks` (already shifted) past the segment's start, and `add_ns` (a view's; without
 * one the constant 0). *said is filled where `bounds`, which is a constant at nearly every call. */
CLOCKPAGE_INLINE int clockpage_segment_clock_(const struct clockpage_segment *s, int clock,
					      uint64_t ticks, uint64_t add_ns, int64_t *ns,
					      int bounds, struct clockpage_leap_said_ *said)
{
	struct clockpage_line_ line;
	uint64_t value;
	int error = clockpage_load_line_(s, clock, &line);
	if (CLOCKPAGE_UNLIKELY(error))
		return error;
	if (bounds) {
		said->flags = 0;
		said->indicator = CLOCKPAGE_LOAD(s->leap_indicator);
		if (clock != CLOCKPAGE_REALTIME)
			line.leap_start_ns = (uint64_t)CLOCKPAGE_LOAD(s->leap_start_ns);
	}
	line.offset_ns -= add_ns;
	value = clockpage_on_line_(&line, ticks);
	if (CLOCKPAGE_UNLIKELY(line.leap_start_ns != (uint64_t)CLOCKPAGE_NO_LEAP)) {
		uint64_t tai = value + line.offset_ns;
		if (bounds && clock == CLOCKPAGE_MONOTONIC_RAW)
			tai = clockpage_line_at(CLOCKPAGE_LOAD(s->tai_ns),
						CLOCKPAGE_LOAD(s->tai_frac),
						CLOCKPAGE_LOAD(s->tai_period_frac), ticks)
				      .ns;
		if (bounds)
			*said = clockpage_say_leap_(s, clock, tai, line.leap_start_ns);
		if (clock == CLOCKPAGE_REALTIME)
			value = clockpage_with_leap_(s, &line, value);
	}
	*ns = (int64_t)value;
	return CLOCKPAGE_OK;
}

/* Half-width at `ticks` (already shifted) past the segment's start, rounded up; with the
 * quantum of rounding ns down, and wider_ns <= INT64_MAX (a view's; without one the constant 0).
 * CLOCKPAGE_BOUND_UNKNOWN stays what it is, and so does overflow. */
CLOCKPAGE_INLINE uint64_t clockpage_bound_(const struct clockpage_segment *s, int clock,
					   uint64_t ticks, uint64_t wider_ns)
{
	int utc = clock == CLOCKPAGE_REALTIME || clock == CLOCKPAGE_TAI;
	uint64_t bound = CLOCKPAGE_LOAD(*(utc ? &s->utc_bound_ns : &s->local_bound_ns));
	uint64_t growth =
		CLOCKPAGE_LOAD(*(utc ? &s->utc_bound_growth_frac : &s->local_bound_growth_frac));
	uint64_t sum = bound + wider_ns + clockpage_mul_frac(ticks, growth) + 2;
	return CLOCKPAGE_LIKELY(sum > bound) ? sum : CLOCKPAGE_BOUND_UNKNOWN;
}

/* Fills *out; ns and said are clockpage_segment_clock_'s, wider_ns is clockpage_bound_'s. */
CLOCKPAGE_INLINE void clockpage_describe_(const struct clockpage_data_page *page,
					  const struct clockpage_segment *s, int clock,
					  uint64_t counter, uint64_t ticks, int overdue, int64_t ns,
					  struct clockpage_leap_said_ said, uint64_t wider_ns,
					  struct clockpage_time *out)
{
	uint64_t bound = clockpage_bound_(s, clock, ticks, wider_ns);
	uint32_t flags = CLOCKPAGE_LOAD(s->flags);
	uint8_t status = CLOCKPAGE_LOAD(s->status);
	/* An unknown number from the page is not a good status. */
	if (CLOCKPAGE_UNLIKELY(status > CLOCKPAGE_STATUS_UNRELIABLE))
		status = CLOCKPAGE_STATUS_UNRELIABLE;
	out->ns = ns;
	out->counter = counter;
	out->epoch = CLOCKPAGE_LOAD(s->epoch);
	out->flags =
		(flags & CLOCKPAGE_SEGMENT_TAI_KNOWN ? CLOCKPAGE_TIME_TAI_KNOWN : 0) | said.flags;
	if (CLOCKPAGE_UNLIKELY(flags & CLOCKPAGE_SEGMENT_HOST_IN_SMEAR))
		out->flags |= CLOCKPAGE_TIME_HOST_IN_SMEAR;
	if (CLOCKPAGE_UNLIKELY(overdue)) {
		out->flags |= CLOCKPAGE_TIME_OVERDUE;
		if (status != CLOCKPAGE_STATUS_UNRELIABLE)
			status = CLOCKPAGE_STATUS_FREE_RUNNING;
	}
	out->status = status;
	out->reason = CLOCKPAGE_LOAD(s->reason);
	out->leap_indicator = said.indicator;
	out->smear = CLOCKPAGE_LOAD(page->smear);
	if (CLOCKPAGE_UNLIKELY(bound > INT64_MAX ||
			       __builtin_sub_overflow(ns, (int64_t)bound, &out->earliest_ns)))
		out->earliest_ns = INT64_MIN;
	if (CLOCKPAGE_UNLIKELY(bound > INT64_MAX ||
			       __builtin_add_overflow(ns, (int64_t)bound, &out->latest_ns)))
		out->latest_ns = INT64_MAX;
}

/* Walks back from segment `newest` to the one that `counter` lies in, at most
 * CLOCKPAGE_HISTORY steps. One step across the newest's own start is always right: that
 * start may lie in the future still. A discontinuity further back is not crossed. Off the
 * hot path: only captured counter values, and readers stalled for a whole period, come
 * here. Every slot's number is checked: a page may have been swapped under its reader.
 * lease.pml [5.2.3 walk back] */
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

/* The segment that `counter` lies in, as of `newest`: spec section 5.2, step 3, in full.
 * *overdue: at or past the newest lease's end. lease.pml [5.2.3 newest] */
static inline int clockpage_find_(const struct clockpage_data_page *page,
				  struct clockpage_newest_ newest, uint64_t counter,
				  const struct clockpage_segment **found, uint64_t *delta,
				  int *overdue)
{
	const struct clockpage_segment *s = newest.previous;
	int error;
	*overdue = 0;
	*delta = counter - CLOCKPAGE_LOAD(s->start);
	if (*delta >= CLOCKPAGE_LOAD(s->lease_end) - CLOCKPAGE_LOAD(s->start)) {
		s = newest.current;
		*delta = counter - CLOCKPAGE_LOAD(s->start);
		if ((int64_t)*delta < 0) {
			error = clockpage_walk_back_(page, newest.number, counter, &s);
			if (error)
				return error;
			*delta = counter - CLOCKPAGE_LOAD(s->start);
			if ((int64_t)*delta < 0) /* changed since; the re-check will tell */
				*delta = 0;
		} else if ((int64_t)(counter - CLOCKPAGE_LOAD(s->lease_end)) >= 0) {
			*overdue = 1;
		}
	}
	*found = s;
	return CLOCKPAGE_OK;
}

/* delta << delta_shift, capped so that base + ticks stays below 2^63 ns. The cap is out
 * of reach but for a writer dead for decades, or a hostile page. */
CLOCKPAGE_INLINE uint64_t clockpage_ticks_(uint64_t delta, uint32_t delta_shift)
{
	if (delta > CLOCKPAGE_MAX_TICKS >> delta_shift)
		return CLOCKPAGE_MAX_TICKS;
	return delta << delta_shift;
}

/* By value: in two registers, so that no caller's variable has to live in memory. */
struct clockpage_result_ {
	int64_t ns;
	int error;
};

/* Passes 2 to CLOCKPAGE_MAX_PASSES, by the letter of spec section 5.2: whatever the first
 * pass, clockpage_evaluate_, did not settle: a changed index, an overdue or an old counter
 * value, every error. *out, unless null, is filled where error is 0. */
static __attribute__((noinline, unused)) struct clockpage_result_
clockpage_evaluate_slowly_(const struct clockpage_data_page *page, uint32_t delta_shift, int clock,
			   uint64_t counter, int is_now, struct clockpage_time *out)
{
	struct clockpage_result_ result = {0, CLOCKPAGE_E_BUSY};
	for (unsigned pass = 1; pass < CLOCKPAGE_MAX_PASSES; pass++) {
		const struct clockpage_segment *s;
		struct clockpage_newest_ newest = clockpage_load_newest_(page, 0);
		uint64_t delta, ticks, revoked;
		struct clockpage_leap_said_ said = {0, 0};
		int overdue;
		int error = clockpage_find_(page, newest, counter, &s, &delta, &overdue);
		if (!error) {
			ticks = clockpage_ticks_(delta, delta_shift);
			error = clockpage_segment_clock_(s, clock, ticks, 0, &result.ns,
							 out != NULL, &said);
			if (!error && out)
				clockpage_describe_(page, s, clock, counter, ticks, overdue,
						    result.ns, said, 0, out);
		}
		revoked = CLOCKPAGE_LOAD(page->revoked);
		clockpage_fence_before_recheck(); /* P2: lease.pml [P2 reader] */
		if (CLOCKPAGE_LOAD(page->index) == newest.number) {
			result.error =
				revoked != CLOCKPAGE_REVOKED_NO ? CLOCKPAGE_E_REVOKED : error;
			if (!is_now || (result.error != CLOCKPAGE_E_OUT_OF_RANGE &&
					result.error != CLOCKPAGE_E_DISCONTINUITY))
				return result;
			/* Descheduled since the counter was read, for longer than the history.
			 * Nothing has been handed out: now is as good as then. Once.
			 * lease.pml [5.2.6] */
			is_now = 0;
			pass = 0;
			counter = clockpage_counter_ordered();
			result.error = CLOCKPAGE_E_BUSY; /* the other was the old value's */
		}
	}
	return result;
}

CLOCKPAGE_INLINE int clockpage_evaluate_again_(const struct clockpage_reader *reader, int clock,
					       uint64_t counter, int is_now, int64_t *ns,
					       int bounds, struct clockpage_time *out)
{
	struct clockpage_time time; /* so that the caller's own does not escape */
	struct clockpage_result_ result = clockpage_evaluate_slowly_(
		reader->page, reader->delta_shift, clock, counter, is_now, bounds ? &time : NULL);
	if (result.error)
		return result.error;
	*ns = result.ns;
	if (bounds)
		*out = time;
	return CLOCKPAGE_OK;
}

/* Spec section 5.2, steps 3 to 5, for the counter value `counter` and what was `newest`
 * before it. Fills *ns, and *out where `bounds` (a constant at every call). is_now: the
 * counter was read just now and a later value would do as well.
 *
 * Here is only the first pass, and only where it ends well: `counter` within one of the
 * two newest leases, index unchanged, not revoked. Only the product and the one addition
 * after it wait for the counter; all else is settled meanwhile. The writer publishes
 * about a period ahead, so the segment before the newest is the likelier.
 * lease.pml [5.2.3 first pass] */
CLOCKPAGE_INLINE int clockpage_evaluate_(const struct clockpage_reader *reader, int clock,
					 struct clockpage_newest_ newest, uint64_t counter,
					 int is_now, int64_t *ns, int bounds,
					 struct clockpage_time *out)
{
	const struct clockpage_data_page *page = newest.page;
	const struct clockpage_segment *s = newest.previous;
	uint64_t start = CLOCKPAGE_LOAD(s->start);
	uint64_t span = CLOCKPAGE_LOAD(s->lease_end) - start;
	uint64_t delta = counter - start;
	uint64_t revoked;
	struct clockpage_leap_said_ said = {0, 0};
	int64_t value = 0;
	if (CLOCKPAGE_UNLIKELY(delta >= span)) { /* in long runs: well predicted */
		s = newest.current;
		start = CLOCKPAGE_LOAD(s->start);
		span = CLOCKPAGE_LOAD(s->lease_end) - start;
		delta = counter - start;
		if (CLOCKPAGE_UNLIKELY(delta >= span))
			goto slowly;
	}
	if (CLOCKPAGE_UNLIKELY(
		    span > newest.plain_span)) { /* the shift by 0 is not free: branch around it */
		/* No honest span is that long; below, the cap is not reached. */
		if (CLOCKPAGE_UNLIKELY(span > CLOCKPAGE_MAX_TICKS >> reader->delta_shift))
			goto slowly;
		delta <<= reader->delta_shift;
	}
	if (CLOCKPAGE_UNLIKELY(clockpage_segment_clock_(s, clock, delta, 0, &value, bounds, &said)))
		goto slowly;
	if (bounds)
		clockpage_describe_(page, s, clock, counter, delta, 0, value, said, 0, out);
	revoked = CLOCKPAGE_LOAD(page->revoked);
	clockpage_fence_before_recheck(); /* P2: lease.pml [P2 reader] */
	if (CLOCKPAGE_UNLIKELY(revoked != CLOCKPAGE_REVOKED_NO ||
			       CLOCKPAGE_LOAD(page->index) != newest.number))
		goto slowly;
	*ns = value;
	return CLOCKPAGE_OK;
slowly:
	return clockpage_evaluate_again_(reader, clock, counter, is_now, ns, bounds, out);
}

#endif /* CLOCKPAGE_EVALUATE_H */
