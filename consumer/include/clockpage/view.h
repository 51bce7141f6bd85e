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
 * So initialise anew when clockpage_view_reader_is_current says no. */
struct clockpage_view_reader {
	const struct clockpage_view_page *view;
	uint64_t number; /* the slot's that all below is of */
	struct clockpage_reader data;
	uint64_t counter_offset;
	/* What is subtracted from the counter last: counter_offset where that is all there is
	 * between the counters, else what rounds to the right tick. */
	uint64_t origin;
	/* 0: the guest's counter is the page's plus an offset. Else its ratio is undone: host's
	 * counter = (guest's - offset) * (whole + fraction / 2^64), rounded down, - origin. */
	int32_t inverted;
	uint32_t frac_bits;
	uint64_t ratio, whole, fraction;
	uint64_t late_ticks; /* the true host's counter is 0 to this much later than that */
	uint64_t wider_ns;   /* what bounds are widened by on account of it */
	uint64_t monotonic_offset_ns, boottime_offset_ns;
	uint64_t disruption_marker;
	const void *region;
	size_t view_length, region_length;
};

/* One reading through a view. */
struct clockpage_view_time {
	struct clockpage_time time; /* its counter is the page's, not the guest's */
	uint64_t guest_counter;     /* the guest's counter value this is the time of */
	/* Another one than before: the relation of the guest's counter to time has changed (it
	 * was migrated, say). Whatever was derived from counter values before is void. */
	uint64_t disruption_marker;
};

/* ---- opening ------------------------------------------------------------------------ */

/* floor((high * 2^64) / divisor), high < divisor. Without the compiler's run-time library. */
static inline uint64_t clockpage_view_divide_(uint64_t high, uint64_t divisor)
{
#if defined(__x86_64__)
	uint64_t quotient, rest = high;
	__asm__("divq %2" : "=a"(quotient), "+d"(rest) : "r"(divisor), "a"((uint64_t)0) : "cc");
	return quotient;
#else
	uint64_t quotient = 0;
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t carry = high >> 63;
		high <<= 1;
		quotient <<= 1;
		if (carry || high >= divisor) {
			high -= divisor;
			quotient |= 1;
		}
	}
	return quotient;
#endif
}

/* How late_ticks show in ns, rounded up, an eighth more than nominal: slopes and the bounds' own
 * growth are below that. */
static inline uint64_t clockpage_view_wider_ns_(uint64_t ticks, uint64_t frequency_hz)
{
	uint64_t tick = ((uint64_t)1000000000 << 32) / (frequency_hz ? frequency_hz : 1);
	clockpage_u128 ns = ((clockpage_u128)ticks * (tick + tick / 8 + 1) >> 32) + 1;
	if (!ticks)
		return 0;
	return ns > INT64_MAX ? (uint64_t)INT64_MAX : (uint64_t)ns;
}

/* ratio > 0, frac_bits <= 63. */
static inline void clockpage_view_invert_(struct clockpage_view_reader *reader, uint64_t hz)
{
	uint64_t one = (uint64_t)1 << reader->frac_bits;
	uint64_t power_of_two = !(reader->ratio & (reader->ratio - 1));
	reader->inverted = 1;
	reader->whole = one / reader->ratio;
	reader->fraction = clockpage_view_divide_(one % reader->ratio, reader->ratio);
	/* Of a power of two the quotient is exact, and the product rounded down is the first of the
	 * host's counter values that give this guest's. Else the exact product is less than that
	 * first one, and the rounded one plus 1 is not more. */
	reader->origin = power_of_two ? 0 : ~(uint64_t)0;
	reader->late_ticks =
		power_of_two ? reader->whole - (reader->whole != 0) : reader->whole + 1;
	reader->wider_ns = clockpage_view_wider_ns_(reader->late_ticks, hz);
}

static inline int clockpage_view_check_magic_(const uint8_t *bytes, const char *magic)
{
	for (size_t i = 0; i < CLOCKPAGE_MAGIC_SIZE; i++)
		if (CLOCKPAGE_LOAD(bytes[i]) != (uint8_t)magic[i])
			return CLOCKPAGE_E_MAGIC;
	return CLOCKPAGE_OK;
}

/* The constant fields of both files. */
static inline int clockpage_view_check_headers_(const struct clockpage_view_page *v,
						const struct clockpage_directory_page *d)
{
	uint32_t size;
	int error;
	(void)clockpage_load_magic((const uint64_t *)(const void *)d); /* P3 */
	error = clockpage_view_check_magic_(d->magic, CLOCKPAGE_DIRECTORY_MAGIC);
	if (!error)
		error = clockpage_view_check_magic_(v->magic, CLOCKPAGE_VIEW_MAGIC);
	if (error)
		return error;
	if (CLOCKPAGE_LOAD(d->abi_major) != CLOCKPAGE_ABI_MAJOR ||
	    CLOCKPAGE_LOAD(v->abi_major) != CLOCKPAGE_ABI_MAJOR)
		return CLOCKPAGE_E_VERSION;
	size = CLOCKPAGE_LOAD(v->size);
	if (size < offsetof(struct clockpage_view_page, reserved2) || size > sizeof *v ||
	    CLOCKPAGE_LOAD(v->slot_count) != CLOCKPAGE_VIEW_SLOT_COUNT ||
	    CLOCKPAGE_LOAD(v->slot_size) != sizeof(struct clockpage_view_slot) ||
	    CLOCKPAGE_LOAD(d->data_page_count) != CLOCKPAGE_DATA_PAGE_COUNT ||
	    CLOCKPAGE_LOAD(d->data_page_size) != CLOCKPAGE_PAGE_SIZE ||
	    CLOCKPAGE_LOAD(d->region_size) != CLOCKPAGE_REGION_SIZE)
		return CLOCKPAGE_E_LAYOUT;
	return CLOCKPAGE_LOAD(v->generation) == CLOCKPAGE_LOAD(d->generation) ? CLOCKPAGE_OK
									      : CLOCKPAGE_E_STALE;
}

/* The data page of a format and smear, validated, into reader->data. */
static inline int clockpage_view_find_page_(struct clockpage_view_reader *reader, uint8_t format,
					    uint8_t smear)
{
	const struct clockpage_directory_page *d =
		(const struct clockpage_directory_page *)reader->region;
	for (unsigned i = 0; i < CLOCKPAGE_DATA_PAGE_COUNT; i++) {
		const struct clockpage_data_page_entry *entry = &d->data_page[i];
		uint32_t offset = CLOCKPAGE_LOAD(entry->offset_bytes);
		const struct clockpage_data_page *page;
		int error;
		if (CLOCKPAGE_LOAD(entry->format) != format ||
		    (CLOCKPAGE_LOAD(entry->smear) != 0) != (smear != 0))
			continue;
		if (offset % CLOCKPAGE_PAGE_SIZE || offset < CLOCKPAGE_PAGE_SIZE ||
		    offset > CLOCKPAGE_REGION_SIZE - CLOCKPAGE_PAGE_SIZE)
			return CLOCKPAGE_E_LAYOUT;
		page = (const struct clockpage_data_page *)(const void *)((const uint8_t *)d +
									  offset);
		error = clockpage_reader_take_(&reader->data, page, sizeof *page);
		if (error)
			return error;
		return CLOCKPAGE_LOAD(page->format) == format &&
				       CLOCKPAGE_LOAD(page->generation) ==
					       CLOCKPAGE_LOAD(d->generation)
			       ? CLOCKPAGE_OK
			       : CLOCKPAGE_E_LAYOUT;
	}
	return CLOCKPAGE_E_LAYOUT;
}

/* The newest slot, and what it makes of the counter. Whether it was one slot the caller finds out
 * by looking at the index again. */
static inline int clockpage_view_take_slot_(struct clockpage_view_reader *reader)
{
	const struct clockpage_view_slot *s =
		&reader->view->slot[reader->number % CLOCKPAGE_VIEW_SLOT_COUNT];
	uint64_t number = CLOCKPAGE_LOAD(s->number), parent = CLOCKPAGE_LOAD(s->parent_generation);
	uint64_t page_ratio, hz;
	uint8_t format = CLOCKPAGE_LOAD(s->format), smear = CLOCKPAGE_LOAD(s->smear), page_bits;
	int error;
	reader->counter_offset = (uint64_t)CLOCKPAGE_LOAD(s->counter_offset);
	reader->ratio = CLOCKPAGE_LOAD(s->counter_ratio);
	reader->frac_bits = CLOCKPAGE_LOAD(s->counter_frac_bits);
	reader->monotonic_offset_ns = (uint64_t)CLOCKPAGE_LOAD(s->monotonic_offset_ns);
	reader->boottime_offset_ns = (uint64_t)CLOCKPAGE_LOAD(s->boottime_offset_ns);
	reader->disruption_marker = CLOCKPAGE_LOAD(s->disruption_marker);
	if (number != reader->number)
		return CLOCKPAGE_E_LAYOUT;
	/* The place for a view of a view (nesting), which also has its ancestors' to look at. */
	if (parent || format > CLOCKPAGE_FORMAT_SCALED || !reader->ratio ||
	    (reader->frac_bits == 0 ? reader->ratio != 1
				    : reader->frac_bits != 32 && reader->frac_bits != 48))
		return CLOCKPAGE_E_VIEW;
	error = clockpage_view_find_page_(reader, format, smear);
	if (error)
		return error;
	page_ratio = CLOCKPAGE_LOAD(reader->data.page->scale_ratio);
	page_bits = CLOCKPAGE_LOAD(reader->data.page->scale_frac_bits);
	hz = CLOCKPAGE_LOAD(reader->data.page->counter_frequency_hz);
	reader->inverted = 0;
	reader->origin = reader->counter_offset;
	reader->late_ticks = reader->wider_ns = 0;
	if (format == CLOCKPAGE_FORMAT_UNSCALED && (page_ratio != 1 || page_bits))
		return CLOCKPAGE_E_LAYOUT;
	if (reader->ratio == page_ratio && reader->frac_bits == page_bits)
		return CLOCKPAGE_OK;
	if (format != CLOCKPAGE_FORMAT_UNSCALED)
		return CLOCKPAGE_E_VIEW;
	if (reader->ratio != (uint64_t)1 << reader->frac_bits)
		clockpage_view_invert_(reader, hz);
	return CLOCKPAGE_OK;
}

/* clockpage_view_reader_init but for how the counter is best read. */
static inline int clockpage_view_reader_take_(struct clockpage_view_reader *reader,
					      const void *view, size_t view_length,
					      const void *region, size_t region_length)
{
	if (!reader || !view || !region || (uintptr_t)view % sizeof(uint64_t) ||
	    (uintptr_t)region % sizeof(uint64_t))
		return CLOCKPAGE_E_ARGUMENT;
	if (view_length < sizeof *reader->view || region_length < CLOCKPAGE_REGION_SIZE)
		return CLOCKPAGE_E_SIZE;
	reader->view = (const struct clockpage_view_page *)view;
	reader->region = region;
	reader->view_length = view_length;
	reader->region_length = region_length;
	for (unsigned pass = 0; pass < CLOCKPAGE_MAX_PASSES; pass++) {
		int error;
		reader->number = clockpage_load_index(&reader->view->index); /* P1 */
		error = clockpage_view_check_headers_(
			reader->view, (const struct clockpage_directory_page *)region);
		if (!error)
			error = clockpage_view_take_slot_(reader);
		clockpage_fence_before_recheck(); /* P2 */
		if (CLOCKPAGE_LOAD(reader->view->index) == reader->number)
			return error;
	}
	return CLOCKPAGE_E_BUSY;
}

/* Validates a mapped view of `view_length` readable bytes and the mapped region (the file, or the
 * BAR) of `region_length` that it belongs to, and fills *reader for the view as it is now. Returns
 * 0 or CLOCKPAGE_E_{ARGUMENT,SIZE,MAGIC,VERSION,LAYOUT,COUNTER}; CLOCKPAGE_E_STALE: the view is of
 * another region, an earlier one of this name perhaps; CLOCKPAGE_E_VIEW: it asks for what this
 * version cannot do; CLOCKPAGE_E_BUSY: it changed all the time. Both mappings must outlive the
 * reader and be write-back cached. */
static inline int clockpage_view_reader_init(struct clockpage_view_reader *reader, const void *view,
					     size_t view_length, const void *region,
					     size_t region_length)
{
	int error = clockpage_view_reader_take_(reader, view, view_length, region, region_length);
	if (!error)
		reader->data.rdtscp = clockpage_counter_prefers_rdtscp();
	return error;
}

/* Whether the view is still the one that *reader was initialised for. If not it still reads right,
 * but slowly. */
static inline int clockpage_view_reader_is_current(const struct clockpage_view_reader *reader)
{
	return clockpage_load_index(&reader->view->index) == reader->number;
}

/* ---- the inside --------------------------------------------------------------------- */

/* Of a guest's counter without its offset. */
CLOCKPAGE_INLINE uint64_t clockpage_view_host_(const struct clockpage_view_reader *reader,
					       uint64_t scaled)
{
	return scaled * reader->whole + clockpage_mul_frac(scaled, reader->fraction);
}

/* The same in full: the scaled counter itself may have wrapped around, so the host's counter is
 * meant that is nearest to the newest segment's start. *wider_ns: what it adds to bounds. */
static inline uint64_t clockpage_view_near_(const struct clockpage_view_reader *reader,
					    uint64_t scaled, uint64_t start, uint64_t *wider_ns)
{
	clockpage_u128 image = (clockpage_u128)start * reader->ratio >> reader->frac_bits;
	uint64_t wraps = (uint64_t)(image >> 64), low = (uint64_t)image;
	if ((int64_t)(scaled - low) >= 0)
		wraps += scaled < low; /* past a wrap that the start is before */
	else
		wraps -= scaled > low;
	if (reader->origin && (int64_t)wraps > 0)
		*wider_ns = clockpage_view_wider_ns_(
			reader->late_ticks + wraps,
			CLOCKPAGE_LOAD(reader->data.page->counter_frequency_hz));
	return clockpage_view_host_(reader, scaled) + wraps * reader->fraction - reader->origin;
}

/* What is added to a clock. */
CLOCKPAGE_INLINE uint64_t clockpage_view_offset_(const struct clockpage_view_reader *reader,
						 int clock)
{
	if (clock == CLOCKPAGE_MONOTONIC || clock == CLOCKPAGE_MONOTONIC_RAW)
		return reader->monotonic_offset_ns;
	return clock == CLOCKPAGE_BOOTTIME ? reader->boottime_offset_ns : 0;
}

/* What a result says beside the page's. wider_ns <= INT64_MAX. */
CLOCKPAGE_INLINE void clockpage_view_describe_(const struct clockpage_view_reader *reader,
					       uint64_t guest, uint64_t wider_ns,
					       struct clockpage_view_time *out)
{
	int64_t wider = (int64_t)wider_ns;
	out->guest_counter = guest;
	out->disruption_marker = reader->disruption_marker;
	if (!wider)
		return;
	if (__builtin_sub_overflow(out->time.earliest_ns, wider, &out->time.earliest_ns))
		out->time.earliest_ns = INT64_MIN;
	if (out->time.latest_ns == INT64_MAX ||
	    __builtin_add_overflow(out->time.latest_ns, wider, &out->time.latest_ns))
		out->time.latest_ns = INT64_MAX;
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
		if (now->inverted)
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
						    said, &out->time);
		}
		revoked = CLOCKPAGE_LOAD(page->revoked);
		clockpage_fence_before_recheck(); /* P2 */
		if (CLOCKPAGE_LOAD(page->index) != newest.number)
			continue;
		if (revoked != CLOCKPAGE_REVOKED_NO)
			return CLOCKPAGE_E_REVOKED;
		if (!error)
			clockpage_view_describe_(now, guest, wider_ns, out);
		return error;
	}
	return CLOCKPAGE_E_BUSY;
}

/* Whatever the first pass, clockpage_view_evaluate_, did not settle. */
static __attribute__((noinline, unused)) int
clockpage_view_evaluate_slowly_(const struct clockpage_view_reader *reader, int clock, int is_now,
				uint64_t guest, uint64_t marker, struct clockpage_view_time *out)
{
	for (unsigned pass = 0; pass < CLOCKPAGE_MAX_PASSES; pass++) {
		struct clockpage_view_reader now;
		int error = clockpage_view_reader_take_(&now, reader->view, reader->view_length,
							reader->region, reader->region_length);
		if (error) /* its own re-check has been done */
			return error;
		if (!is_now && marker != now.disruption_marker)
			return CLOCKPAGE_E_DISRUPTED;
		if (is_now)
			guest = clockpage_counter_ordered();
		error = clockpage_view_pass_(&now, clock, guest, out);
		clockpage_fence_before_recheck(); /* P2 */
		if (CLOCKPAGE_LOAD(now.view->index) != now.number)
			continue;
		/* Descheduled for longer than the history: as in reader.h. */
		if (is_now && pass + 1 < CLOCKPAGE_MAX_PASSES &&
		    (error == CLOCKPAGE_E_OUT_OF_RANGE || error == CLOCKPAGE_E_DISCONTINUITY))
			continue;
		return error;
	}
	return CLOCKPAGE_E_BUSY;
}

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
 * which need not wait for the counter, rather than taken from the counter. `how` and `bounds` are
 * constants at every call. */
CLOCKPAGE_INLINE int clockpage_view_evaluate_(const struct clockpage_view_reader *reader, int clock,
					      enum clockpage_view_counter_ how, uint64_t guest,
					      uint64_t marker, int64_t *ns, int bounds,
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
	if (how == CLOCKPAGE_VIEW_ORDERED_)
		guest = clockpage_counter_ordered_by(reader->data.rdtscp, newest.number);
	else if (how == CLOCKPAGE_VIEW_RELAXED_)
		guest = clockpage_counter_relaxed();
	/* Nothing more than that before the counter, which waits for it; all else can be loaded
	 * while the counter is read. */
	start = CLOCKPAGE_LOAD(s->start);
	span = CLOCKPAGE_LOAD(s->lease_end) - start;
	counter = guest;
	if (reader->inverted)
		counter = clockpage_view_host_(reader, guest - reader->counter_offset);
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
				    &out->time);
	revoked = CLOCKPAGE_LOAD(page->revoked);
	clockpage_fence_before_recheck(); /* P2 */
	if (CLOCKPAGE_UNLIKELY(revoked != CLOCKPAGE_REVOKED_NO ||
			       CLOCKPAGE_LOAD(page->index) != newest.number ||
			       CLOCKPAGE_LOAD(reader->view->index) != reader->number))
		goto slowly;
	if (bounds)
		clockpage_view_describe_(reader, guest, reader->wider_ns, out);
	*ns = value;
	return CLOCKPAGE_OK;
slowly:
	return clockpage_view_evaluate_again_(reader, clock, how != CLOCKPAGE_VIEW_CAPTURED_, guest,
					      marker, ns, bounds, out);
}

/* ---- reading ------------------------------------------------------------------------ */

/* The time now in the view. Ordered as clockpage_now. Returns 0 or
 * CLOCKPAGE_E_{BUSY,REVOKED,TAI_UNKNOWN,CLOCK,OUT_OF_RANGE,DISCONTINUITY}, or CLOCKPAGE_E_VIEW: the
 * view asks for what this version cannot do. *ns is written only with 0. */
CLOCKPAGE_INLINE int clockpage_view_now(const struct clockpage_view_reader *reader, int clock,
					int64_t *ns)
{
	return clockpage_view_evaluate_(reader, clock, CLOCKPAGE_VIEW_ORDERED_, 0, 0, ns, 0, NULL);
}

/* As clockpage_view_now, not ordered: clockpage_now_relaxed. */
CLOCKPAGE_INLINE int clockpage_view_now_relaxed(const struct clockpage_view_reader *reader,
						int clock, int64_t *ns)
{
	return clockpage_view_evaluate_(reader, clock, CLOCKPAGE_VIEW_RELAXED_, 0, 0, ns, 0, NULL);
}

/* As clockpage_view_now, with bounds, status and marker. *out is undefined unless 0 is returned. */
CLOCKPAGE_INLINE int clockpage_view_now_bounds(const struct clockpage_view_reader *reader,
					       int clock, struct clockpage_view_time *out)
{
	int64_t ns;
	return clockpage_view_evaluate_(reader, clock, CLOCKPAGE_VIEW_ORDERED_, 0, 0, &ns, 1, out);
}

/* The disruption marker that counter values captured from now on are given with. Returns 0 or
 * CLOCKPAGE_E_BUSY. */
static inline int clockpage_view_marker(const struct clockpage_view_reader *reader,
					uint64_t *marker)
{
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
					marker, ns, 0, NULL);
}

/* As clockpage_view_at, with bounds and status. *out is undefined unless 0 is returned. */
CLOCKPAGE_INLINE int clockpage_view_at_bounds(const struct clockpage_view_reader *reader, int clock,
					      uint64_t guest_counter, uint64_t marker,
					      struct clockpage_view_time *out)
{
	int64_t ns;
	return clockpage_view_evaluate_(reader, clock, CLOCKPAGE_VIEW_CAPTURED_, guest_counter,
					marker, &ns, 1, out);
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
