/* SPDX-License-Identifier: MIT */
/*
 * Reading through a view: what one guest or time namespace makes of the pages that all share.
 * C11 and C++, header only, usable in a guest. Spec section 5.4 is the algorithm.
 *
 * A view says how the counter that is read here comes of the host's, which data page to use,
 * and what to add to MONOTONIC, MONOTONIC_RAW and BOOTTIME. It may change at any time: only the
 * newest one holds. Where it changes during a reading, "now" reads the counter anew. A counter
 * value that was *captured* means something only under the view it was captured under: so it
 * is given together with the disruption marker of that time (clockpage_view_marker, asked for
 * before, or a result's), and is CLOCKPAGE_E_DISRUPTED under another one.
 *
 * A view may have been composed from another one (nesting: a guest of a guest). It names the slot
 * of its parent that it was composed from; the reader maps its ancestors' views as well, and looks
 * at them each time: where one has changed since, the result is CLOCKPAGE_E_DISRUPTED, for "now"
 * too, until the view has been composed anew.
 *
 * As in reader.h: thread-safe, one reader may be shared; nothing waits, allocates or calls the
 * system; at most 1 + CLOCKPAGE_MAX_PASSES readings of the view, each with at most as many of the
 * data page; hostile pages may yield wrong times and errors, nothing else.
 */
#ifndef CLOCKPAGE_VIEW_H
#define CLOCKPAGE_VIEW_H

#include <clockpage/reader.h>

/* A view as it was when this was initialised, with the data page that it chose. Constant. The hot
 * path uses it as long as the view's index is still the same: as no number is used twice, one
 * look at it after the counter has been read says that the view was this one at that moment.
 * Under a view that has changed since, every reading begins by validating both files anew (there
 * may be another host's behind them, after a migration): right, but some 60 ns slower.
 * So clockpage_view_reader_refresh when clockpage_view_reader_is_current says no. */
struct clockpage_view_reader {
	const struct clockpage_view_page *view;
	uint64_t number; /* the slot's that all below is of */
	struct clockpage_reader data;
	uint64_t counter_offset;
	/* What is subtracted from the counter last: counter_offset where that is all there is
	 * between the counters, else what rounds to the right tick. */
	uint64_t origin;
	/* CLOCKPAGE_VIEW_*_. 0: the guest's counter is the page's plus an offset, and there are no
	 * ancestors. INVERTED_: its ratio is undone: host's counter = (guest's - offset) * (whole +
	 * fraction / 2^64), rounded down, - origin. NESTED_: `depth` is not 0. */
	uint32_t kind;
	uint32_t frac_bits;
	uint64_t ratio, whole, fraction;
	uint64_t late_ticks; /* the true host's counter is 0 to this much later than that */
	uint64_t wider_ns;   /* what bounds are widened by on account of it */
	uint64_t monotonic_offset_ns, boottime_offset_ns;
	uint64_t disruption_marker;
	const void *region;
	/* The ancestors given, nearest first; how many of them the view has (its parent, that one's
	 * parent and so on), and which slot of each it was composed from. */
	uint32_t ancestor_count, depth;
	const struct clockpage_view_page *ancestor[CLOCKPAGE_VIEW_MAX_ANCESTORS];
	uint64_t ancestor_number[CLOCKPAGE_VIEW_MAX_ANCESTORS];
};

/* clockpage_view_reader.kind */
#define CLOCKPAGE_VIEW_INVERTED_ 1u
#define CLOCKPAGE_VIEW_NESTED_   2u

/* One reading through a view. */
struct clockpage_view_time {
	struct clockpage_time time; /* its counter is the page's, not the guest's */
	uint64_t guest_counter;     /* the guest's counter value this is the time of */
	/* Another one than before: the relation of the guest's counter to time has changed (it
	 * was migrated, say). Whatever was derived from counter values before is void. */
	uint64_t disruption_marker;
};

#include <clockpage/view_counter.h>
#include <clockpage/view_take.h>

/* ---- opening ------------------------------------------------------------------------ */

/* clockpage_view_reader_init for a view that was composed from others. ancestors[0] is its parent's
 * view page, [1] that one's parent's and so on: `count` mappings, at most
 * CLOCKPAGE_VIEW_MAX_ANCESTORS, of sizeof(struct clockpage_view_page) readable bytes each, which
 * must outlive the reader too. More than the view has at the moment do no harm. Also returns
 * CLOCKPAGE_E_VIEW: it has more ancestors than were given, or one has been withdrawn;
 * CLOCKPAGE_E_DISRUPTED: an ancestor has changed, and the view has not been composed anew yet. */
static inline int clockpage_view_reader_init_nested(struct clockpage_view_reader *reader,
						    const void *view, size_t view_length,
						    const void *region, size_t region_length,
						    const void *const *ancestors, size_t count)
{
	int error;
	if (!reader || !view || !region || (uintptr_t)view % sizeof(uint64_t) ||
	    (uintptr_t)region % sizeof(uint64_t) || (count && !ancestors) ||
	    count > CLOCKPAGE_VIEW_MAX_ANCESTORS)
		return CLOCKPAGE_E_ARGUMENT;
	if (view_length < sizeof *reader->view || region_length < CLOCKPAGE_REGION_SIZE)
		return CLOCKPAGE_E_SIZE;
	reader->view = (const struct clockpage_view_page *)view;
	reader->region = region;
	reader->ancestor_count = (uint32_t)count;
	for (size_t i = 0; i < count; i++) {
		if (!ancestors[i] || (uintptr_t)ancestors[i] % sizeof(uint64_t))
			return CLOCKPAGE_E_ARGUMENT;
		reader->ancestor[i] = (const struct clockpage_view_page *)ancestors[i];
	}
	error = clockpage_view_reader_take_(reader);
	if (!error)
		reader->data.rdtscp = clockpage_counter_prefers_rdtscp();
	return error;
}

/* Validates a mapped view of `view_length` readable bytes and the mapped region (the file, or the
 * BAR) of `region_length` that it belongs to, and fills *reader for the view as it is now. Returns
 * 0 or CLOCKPAGE_E_{ARGUMENT,SIZE,MAGIC,VERSION,LAYOUT,COUNTER}; CLOCKPAGE_E_STALE: the view is of
 * another region, an earlier one of this name perhaps; CLOCKPAGE_E_VIEW: the host has withdrawn it
 * (it may come back), or it asks for what this version cannot do, or it has ancestors;
 * CLOCKPAGE_E_BUSY: it changed all the time. Both mappings must outlive the reader and be
 * write-back cached. */
static inline int clockpage_view_reader_init(struct clockpage_view_reader *reader, const void *view,
					     size_t view_length, const void *region,
					     size_t region_length)
{
	return clockpage_view_reader_init_nested(reader, view, view_length, region, region_length,
						 NULL, 0);
}

/* Whether the view, and its ancestors, still are those that *reader was initialised for. If not it
 * still reads right, but slowly. */
static inline int clockpage_view_reader_is_current(const struct clockpage_view_reader *reader)
{
	return clockpage_load_index(&reader->view->index) == reader->number &&
	       clockpage_view_same_ancestors_(reader);
}

/* Initialises a reader anew, with the mappings it has, for the view as it is now: after
 * clockpage_view_reader_is_current said no. Nobody else may use this reader meanwhile. Returns 0 or
 * as clockpage_view_reader_init_nested; with an error it stays what it was. */
static inline int clockpage_view_reader_refresh(struct clockpage_view_reader *reader)
{
	struct clockpage_view_reader now = *reader;
	int error = clockpage_view_reader_take_(&now);
	if (!error)
		*reader = now;
	return error;
}

/* ---- the inside --------------------------------------------------------------------- */

/* What is added to a clock. */
CLOCKPAGE_INLINE uint64_t clockpage_view_offset_(const struct clockpage_view_reader *reader,
						 int clock)
{
	if (clock == CLOCKPAGE_MONOTONIC || clock == CLOCKPAGE_MONOTONIC_RAW)
		return reader->monotonic_offset_ns;
	return clock == CLOCKPAGE_BOOTTIME ? reader->boottime_offset_ns : 0;
}

/* Where a counter value comes from. */
enum clockpage_view_counter_ {
	CLOCKPAGE_VIEW_CAPTURED_,
	CLOCKPAGE_VIEW_ORDERED_,
	CLOCKPAGE_VIEW_RELAXED_
};

/* Spec section 5.4, step 4, under `now`, a reader that has just been initialised. The re-check of
 * the view is the caller's. */
static inline int clockpage_view_pass_(const struct clockpage_view_reader *now, int clock,
				       uint64_t guest, struct clockpage_view_time *out)
{
	const struct clockpage_data_page *page = now->data.page;
	for (unsigned pass = 0; pass < CLOCKPAGE_MAX_PASSES; pass++) {
		struct clockpage_newest_ newest = clockpage_load_newest_(page, 0);
		const struct clockpage_segment *s;
		struct clockpage_leap_said_ said = {0, 0};
		uint64_t counter = guest - now->counter_offset, wider_ns = now->wider_ns;
		uint64_t delta, ticks, revoked;
		int overdue, error;
		if (now->kind & CLOCKPAGE_VIEW_INVERTED_)
			counter = clockpage_view_near_(
				now, counter, CLOCKPAGE_LOAD(newest.current->start), &wider_ns);
		error = clockpage_find_(page, newest, counter, &s, &delta, &overdue);
		if (!error) {
			int64_t ns = 0;
			ticks = clockpage_ticks_(delta, now->data.delta_shift);
			error = clockpage_segment_clock_(
				s, clock, ticks, clockpage_view_offset_(now, clock), &ns, 1, &said);
			if (!error)
				clockpage_describe_(page, s, clock, counter, ticks, overdue, ns,
						    said, wider_ns, &out->time);
		}
		revoked = CLOCKPAGE_LOAD(page->revoked);
		clockpage_fence_before_recheck(); /* P2 */
		if (CLOCKPAGE_LOAD(page->index) != newest.number)
			continue;
		if (revoked != CLOCKPAGE_REVOKED_NO)
			return CLOCKPAGE_E_REVOKED;
		out->guest_counter = guest;
		out->disruption_marker = now->disruption_marker;
		return error;
	}
	return CLOCKPAGE_E_BUSY;
}

/* Whether `now` still is the view, and its ancestors' theirs. */
static inline int clockpage_view_is_same_(const struct clockpage_view_reader *now)
{
	clockpage_fence_before_recheck(); /* P2, with the writers of all of them */
	return CLOCKPAGE_LOAD(now->view->index) == now->number &&
	       clockpage_view_same_ancestors_(now);
}

/* Whatever the first pass, clockpage_view_evaluate_, did not settle: all is looked at anew. */
static __attribute__((noinline, unused)) int
clockpage_view_evaluate_anew_(const struct clockpage_view_reader *reader, int clock, int is_now,
			      uint64_t guest, uint64_t marker, struct clockpage_view_time *out)
{
	struct clockpage_view_reader now = *reader;
	for (unsigned pass = 0; pass < CLOCKPAGE_MAX_PASSES; pass++) {
		int error = clockpage_view_reader_take_(&now);
		if (error) /* its own re-check has been done */
			return error;
		if (!is_now && marker != now.disruption_marker)
			return CLOCKPAGE_E_DISRUPTED;
		if (is_now)
			guest = clockpage_counter_ordered();
		error = clockpage_view_pass_(&now, clock, guest, out);
		if (!clockpage_view_is_same_(&now))
			continue;
		/* Descheduled for longer than the history: as in reader.h. */
		if (is_now && pass + 1 < CLOCKPAGE_MAX_PASSES &&
		    (error == CLOCKPAGE_E_OUT_OF_RANGE || error == CLOCKPAGE_E_DISCONTINUITY))
			continue;
		return error;
	}
	return CLOCKPAGE_E_BUSY;
}

/* Out of line, so that a view without ancestors does not pay for theirs. Below. */
static int clockpage_view_evaluate_slowly_(const struct clockpage_view_reader *reader, int clock,
					   int is_now, uint64_t guest, uint64_t marker,
					   struct clockpage_view_time *out);

CLOCKPAGE_INLINE int clockpage_view_evaluate_again_(const struct clockpage_view_reader *reader,
						    int clock, int is_now, uint64_t guest,
						    uint64_t marker, int64_t *ns, int bounds,
						    struct clockpage_view_time *out)
{
	struct clockpage_view_time time; /* so that the caller's own does not escape */
	int error = clockpage_view_evaluate_slowly_(reader, clock, is_now, guest, marker, &time);
	if (error)
		return error;
	*ns = time.time.ns;
	if (bounds)
		*out = time;
	return CLOCKPAGE_OK;
}

/* The first pass, straight, under the view that the reader was initialised for, and only where it
 * ends well: clockpage_evaluate_ with a view. The guest's offset is added to the segment's start,
 * which need not wait for the counter, rather than taken from the counter. `how`, `bounds` and
 * `nested` are constants at every call. `nested`: called from out of line, for a view that has
 * ancestors; CLOCKPAGE_E_BUSY if it does not end well. */
CLOCKPAGE_INLINE int clockpage_view_evaluate_(const struct clockpage_view_reader *reader, int clock,
					      enum clockpage_view_counter_ how, uint64_t guest,
					      uint64_t marker, int64_t *ns, int bounds, int nested,
					      struct clockpage_view_time *out)
{
	struct clockpage_newest_ newest =
		clockpage_load_newest_(reader->data.page, reader->data.plain_span);
	const struct clockpage_data_page *page = newest.page;
	const struct clockpage_segment *s = newest.previous;
	uint64_t start, span, counter, delta, revoked;
	struct clockpage_leap_said_ said = {0, 0};
	int64_t value = 0;
	if (how == CLOCKPAGE_VIEW_CAPTURED_ &&
	    CLOCKPAGE_UNLIKELY(marker != reader->disruption_marker))
		goto slowly;
	if (bounds)
		out->disruption_marker = reader->disruption_marker;
	if (how == CLOCKPAGE_VIEW_ORDERED_)
		guest = clockpage_counter_ordered_by(reader->data.rdtscp, newest.number);
	else if (how == CLOCKPAGE_VIEW_RELAXED_)
		guest = clockpage_counter_relaxed();
	/* Nothing more than that before the counter, which waits for it; all else can be loaded
	 * while the counter is read. */
	start = CLOCKPAGE_LOAD(s->start);
	span = CLOCKPAGE_LOAD(s->lease_end) - start;
	counter = guest;
	if (CLOCKPAGE_UNLIKELY(reader->kind)) {
		if (!nested && CLOCKPAGE_UNLIKELY(reader->kind & CLOCKPAGE_VIEW_NESTED_))
			goto slowly;
		if (!nested || reader->kind & CLOCKPAGE_VIEW_INVERTED_)
			counter = clockpage_view_host_(reader, guest - reader->counter_offset);
	}
	delta = counter - (start + reader->origin);
	if (CLOCKPAGE_UNLIKELY(delta >= span)) {
		s = newest.current;
		start = CLOCKPAGE_LOAD(s->start);
		span = CLOCKPAGE_LOAD(s->lease_end) - start;
		delta = counter - (start + reader->origin);
		if (CLOCKPAGE_UNLIKELY(delta >= span))
			goto slowly;
	}
	if (CLOCKPAGE_UNLIKELY(span > newest.plain_span)) {
		if (CLOCKPAGE_UNLIKELY(span > CLOCKPAGE_MAX_TICKS >> reader->data.delta_shift))
			goto slowly;
		delta <<= reader->data.delta_shift;
	}
	if (CLOCKPAGE_UNLIKELY(clockpage_segment_clock_(
		    s, clock, delta, clockpage_view_offset_(reader, clock), &value, bounds, &said)))
		goto slowly;
	if (bounds)
		clockpage_describe_(page, s, clock, counter - reader->origin, delta, 0, value, said,
				    reader->wider_ns, &out->time);
	if (bounds)
		out->guest_counter = guest;
	revoked = CLOCKPAGE_LOAD(page->revoked);
	clockpage_fence_before_recheck(); /* P2, with the writers of all of them */
	if (CLOCKPAGE_UNLIKELY(revoked != CLOCKPAGE_REVOKED_NO ||
			       CLOCKPAGE_LOAD(page->index) != newest.number ||
			       CLOCKPAGE_LOAD(reader->view->index) != reader->number ||
			       (nested && !clockpage_view_same_ancestors_(reader))))
		goto slowly;
	*ns = value;
	return CLOCKPAGE_OK;
slowly:
	if (nested)
		return CLOCKPAGE_E_BUSY;
	return clockpage_view_evaluate_again_(reader, clock, how != CLOCKPAGE_VIEW_CAPTURED_, guest,
					      marker, ns, bounds, out);
}

/* Whatever is not straight. Where there are ancestors that is the first pass as well, under what
 * the reader remembers and with the counter value that has been read. */
static __attribute__((noinline, unused)) int
clockpage_view_evaluate_slowly_(const struct clockpage_view_reader *reader, int clock, int is_now,
				uint64_t guest, uint64_t marker, struct clockpage_view_time *out)
{
	if (reader->kind & CLOCKPAGE_VIEW_NESTED_ &&
	    !clockpage_view_evaluate_(reader, clock, CLOCKPAGE_VIEW_CAPTURED_, guest,
				      is_now ? reader->disruption_marker : marker, &out->time.ns, 1,
				      1, out))
		return CLOCKPAGE_OK;
	return clockpage_view_evaluate_anew_(reader, clock, is_now, guest, marker, out);
}

/* ---- reading ------------------------------------------------------------------------ */

/* The time now in the view. Ordered as clockpage_now. Returns 0 or
 * CLOCKPAGE_E_{BUSY,REVOKED,TAI_UNKNOWN,CLOCK,OUT_OF_RANGE,DISCONTINUITY}; CLOCKPAGE_E_VIEW: the
 * host has withdrawn the view, or it asks for what this version cannot do; CLOCKPAGE_E_DISRUPTED:
 * an ancestor has changed, and the view has not been composed anew yet. *ns is written only with 0.
 */
CLOCKPAGE_INLINE int clockpage_view_now(const struct clockpage_view_reader *reader, int clock,
					int64_t *ns)
{
	return clockpage_view_evaluate_(reader, clock, CLOCKPAGE_VIEW_ORDERED_, 0, 0, ns, 0, 0,
					NULL);
}

/* As clockpage_view_now, not ordered: clockpage_now_relaxed. */
CLOCKPAGE_INLINE int clockpage_view_now_relaxed(const struct clockpage_view_reader *reader,
						int clock, int64_t *ns)
{
	return clockpage_view_evaluate_(reader, clock, CLOCKPAGE_VIEW_RELAXED_, 0, 0, ns, 0, 0,
					NULL);
}

/* As clockpage_view_now, with bounds, status and marker. *out is undefined unless 0 is returned. */
CLOCKPAGE_INLINE int clockpage_view_now_bounds(const struct clockpage_view_reader *reader,
					       int clock, struct clockpage_view_time *out)
{
	int64_t ns;
	return clockpage_view_evaluate_(reader, clock, CLOCKPAGE_VIEW_ORDERED_, 0, 0, &ns, 1, 0,
					out);
}

/* The disruption marker that counter values captured from now on are given with. Returns 0,
 * CLOCKPAGE_E_BUSY, or of a view with ancestors CLOCKPAGE_E_{DISRUPTED,VIEW,...}: as for reading,
 * since what a counter value means is not known before the view has been composed anew. */
static inline int clockpage_view_marker(const struct clockpage_view_reader *reader,
					uint64_t *marker)
{
	struct clockpage_view_reader now;
	if (reader->ancestor_count) {
		int error;
		now = *reader;
		error = clockpage_view_reader_take_(&now);
		if (!error)
			*marker = now.disruption_marker;
		return error;
	}
	for (unsigned pass = 0; pass < CLOCKPAGE_MAX_PASSES; pass++) {
		const struct clockpage_view_page *view = reader->view;
		uint64_t number = clockpage_load_index(&view->index); /* P1 */
		uint64_t said = CLOCKPAGE_LOAD(
			view->slot[number % CLOCKPAGE_VIEW_SLOT_COUNT].disruption_marker);
		clockpage_fence_before_recheck(); /* P2 */
		if (CLOCKPAGE_LOAD(view->index) == number) {
			*marker = said;
			return CLOCKPAGE_OK;
		}
	}
	return CLOCKPAGE_E_BUSY;
}

/* The time at a value of the guest's counter that was captured after `marker` was the view's
 * disruption marker. As clockpage_at; CLOCKPAGE_E_DISRUPTED where the newest view has another
 * marker: what that counter value meant is not known any more. */
CLOCKPAGE_INLINE int clockpage_view_at(const struct clockpage_view_reader *reader, int clock,
				       uint64_t guest_counter, uint64_t marker, int64_t *ns)
{
	return clockpage_view_evaluate_(reader, clock, CLOCKPAGE_VIEW_CAPTURED_, guest_counter,
					marker, ns, 0, 0, NULL);
}

/* As clockpage_view_at, with bounds and status. *out is undefined unless 0 is returned. */
CLOCKPAGE_INLINE int clockpage_view_at_bounds(const struct clockpage_view_reader *reader, int clock,
					      uint64_t guest_counter, uint64_t marker,
					      struct clockpage_view_time *out)
{
	int64_t ns;
	return clockpage_view_evaluate_(reader, clock, CLOCKPAGE_VIEW_CAPTURED_, guest_counter,
					marker, &ns, 1, 0, out);
}

/* clock_gettime's shape. *ts is written only with 0. */
CLOCKPAGE_INLINE int clockpage_view_gettime(const struct clockpage_view_reader *reader, int clock,
					    struct timespec *ts)
{
	int64_t ns, second = 1000000000;
	int error = clockpage_view_now(reader, clock, &ns);
	if (CLOCKPAGE_UNLIKELY(error))
		return error;
	ts->tv_sec = ns / second - (ns % second < 0);
	ts->tv_nsec = ns % second + (ns % second < 0 ? second : 0);
	return CLOCKPAGE_OK;
}

#endif /* CLOCKPAGE_VIEW_H */
