/* SPDX-License-Identifier: MIT */
/*
 * Timestamps: readings that are compared elsewhere, on other machines too. C11 and C++, header
 * only, usable without libclockpage. Spec section 13.
 *
 * A timestamp says when (an interval, and the clock's own value in it), on which time scale, by
 * which clock, and how good that clock was. Two of them are compared
 *  - to the nanosecond where one clock made both: one function of one counter, in one epoch;
 *  - by their intervals elsewhere. The answer then is as good as both bounds are;
 *  - not at all where their time scales, or smears, are different: that is an error.
 * "Definitely" means that. Where nothing definite can be said, neither is before the other.
 *
 * Thread-safe: a source is constant once initialised, and one may be shared by all threads.
 */
#ifndef CLOCKPAGE_TIMESTAMP_H
#define CLOCKPAGE_TIMESTAMP_H

#include <clockpage/reader.h>
#include <clockpage/view.h>
#include <clockpage/wire.h>

/* Beside the errors of reader.h. */
#define CLOCKPAGE_E_SCALE -10 /* the two are on different time scales, or differently smeared */

struct clockpage_timestamp {
	int64_t ns; /* on the time scale; of one clock, readings are in order by this */
	int64_t earliest_ns, latest_ns; /* INT64_MIN, INT64_MAX: no bound */
	uint64_t disruption_marker;     /* of the view it was read through; 0: without one */
	uint64_t clock_id[2];           /* which clock; nothing but equality has a meaning */
	uint32_t epoch;                 /* modulo 2^32 */
	int32_t smear_start_s;          /* of a smeared scale; else 0 */
	uint32_t smear_length_s;
	uint8_t time_scale;    /* CLOCKPAGE_SCALE_* */
	uint8_t status;        /* CLOCKPAGE_STATUS_* */
	uint8_t flags;         /* CLOCKPAGE_TIMESTAMP_* */
	uint8_t resolution_ns; /* CLOCKPAGE_RESOLUTION_NONE: no order but by the intervals */
};

/* ---- where timestamps come from ----------------------------------------------------- */

/* Makes timestamps of one page, and of one clock of it. */
struct clockpage_timestamp_source {
	struct clockpage_reader reader;
	uint64_t generation;             /* of the region that the form is of */
	struct clockpage_timestamp form; /* all but the reading */
};

/* The same through a view. */
struct clockpage_view_timestamp_source {
	struct clockpage_view_reader reader;
	uint64_t number; /* of the view's slot that the form is of */
	int clock;
	struct clockpage_timestamp form; /* all but the reading */
};

/* What a page must say of its smear, as clockpage_open demands it. */
static inline int clockpage_timestamp_smear_(const struct clockpage_data_page *page,
					     struct clockpage_timestamp *form)
{
	uint8_t kind = CLOCKPAGE_LOAD(page->smear);
	form->smear_start_s = CLOCKPAGE_LOAD(page->smear_start_s);
	form->smear_length_s = CLOCKPAGE_LOAD(page->smear_length_s);
	if (kind > CLOCKPAGE_SMEAR_LINEAR)
		return CLOCKPAGE_E_LAYOUT;
	if (!CLOCKPAGE_LOAD(page->abi_minor)) { /* it had no words for start and length */
		form->smear_start_s = kind == CLOCKPAGE_SMEAR_NOON      ? -43200
				      : kind == CLOCKPAGE_SMEAR_UTC_SLS ? -1000
									: 0;
		form->smear_length_s = kind == CLOCKPAGE_SMEAR_NOON      ? 86400
				       : kind == CLOCKPAGE_SMEAR_UTC_SLS ? 1000
									 : 0;
	}
	form->time_scale = (uint8_t)(CLOCKPAGE_SCALE_UTC + kind);
	return CLOCKPAGE_OK;
}

/* Whether a smear's words go together: those of section 3.3. */
static inline int clockpage_timestamp_smear_is_one_(uint8_t time_scale, int32_t start_s,
						    uint32_t length_s)
{
	switch (time_scale) {
	case CLOCKPAGE_SCALE_TAI:
	case CLOCKPAGE_SCALE_UTC:
		return start_s == 0 && length_s == 0;
	case CLOCKPAGE_SCALE_SMEAR_NOON:
		return start_s == -43200 && length_s == 86400;
	case CLOCKPAGE_SCALE_SMEAR_SLS:
		return start_s == -1000 && length_s == 1000;
	case CLOCKPAGE_SCALE_SMEAR_LINEAR:
		return length_s >= 100 && length_s <= 14 * 86400 && start_s <= 0 &&
		       start_s >= -(int32_t)length_s;
	default:
		return 0;
	}
}

/* clock_id: the host's boot_id, with the region's generation in its first 8 bytes: of one boot
 * there may be several regions, and each is a clock of its own. */
static inline int clockpage_timestamp_form_of_(const struct clockpage_directory_page *directory,
					       const struct clockpage_data_page *page, int clock,
					       struct clockpage_timestamp *form)
{
	int error = clockpage_timestamp_smear_(page, form);
	for (unsigned half = 0; half < 2; half++) {
		form->clock_id[half] = 0;
		for (unsigned i = 8; i-- > 0;)
			form->clock_id[half] = form->clock_id[half] << 8 |
					       CLOCKPAGE_LOAD(directory->boot_id[8 * half + i]);
	}
	form->clock_id[0] ^= CLOCKPAGE_LOAD(directory->generation);
	form->ns = form->earliest_ns = form->latest_ns = 0;
	form->disruption_marker = 0;
	form->epoch = 0;
	form->status = CLOCKPAGE_STATUS_UNKNOWN;
	form->flags = 0;
	form->resolution_ns = 0;
	if (clock == CLOCKPAGE_TAI) {
		form->time_scale = CLOCKPAGE_SCALE_TAI;
		form->smear_start_s = 0;
		form->smear_length_s = 0;
	} else if (clock != CLOCKPAGE_REALTIME) {
		return CLOCKPAGE_E_CLOCK;
	}
	if (!error && !clockpage_timestamp_smear_is_one_(form->time_scale, form->smear_start_s,
							 form->smear_length_s))
		error = CLOCKPAGE_E_LAYOUT;
	if (CLOCKPAGE_LOAD(page->format) != CLOCKPAGE_FORMAT_UNSCALED) {
		form->flags = CLOCKPAGE_TIMESTAMP_SCALED;
		form->resolution_ns = 2; /* between formats: G13 */
	}
	return error;
}

/* Of the page that `reader` is of, in the region whose (valid) directory page is `directory`.
 * clock: CLOCKPAGE_TAI or CLOCKPAGE_REALTIME. TAI has no leap seconds and no smears, so it can be
 * compared with everybody's: prefer it where it is known. Returns 0 or
 * CLOCKPAGE_E_{ARGUMENT,CLOCK}; CLOCKPAGE_E_STALE: the page is of another region;
 * CLOCKPAGE_E_LAYOUT: its smear is none. Both must outlive the source. */
static inline int clockpage_timestamp_source_init(struct clockpage_timestamp_source *source,
						  const struct clockpage_reader *reader,
						  const struct clockpage_directory_page *directory,
						  int clock)
{
	if (!source || !reader || !directory)
		return CLOCKPAGE_E_ARGUMENT;
	source->reader = *reader;
	source->generation = CLOCKPAGE_LOAD(directory->generation);
	if (CLOCKPAGE_LOAD(reader->page->generation) != source->generation)
		return CLOCKPAGE_E_STALE;
	return clockpage_timestamp_form_of_(directory, reader->page, clock, &source->form);
}

/* The form under the view's newest slot, its number in source->number. Whether it was that slot
 * all the while the caller finds out by looking at the index again. */
static inline int clockpage_view_timestamp_take_(struct clockpage_view_timestamp_source *source)
{
	const struct clockpage_view_page *view = source->reader.view;
	const struct clockpage_directory_page *directory =
		(const struct clockpage_directory_page *)source->reader.region;
	const struct clockpage_view_slot *slot;
	uint8_t format, smear, page_bits;
	uint64_t ratio, page_ratio, hz, late;
	uint32_t bits;
	source->number = clockpage_load_index(&view->index); /* P1 */
	slot = &view->slot[source->number % CLOCKPAGE_VIEW_SLOT_COUNT];
	format = CLOCKPAGE_LOAD(slot->format);
	smear = CLOCKPAGE_LOAD(slot->smear);
	ratio = CLOCKPAGE_LOAD(slot->counter_ratio);
	bits = CLOCKPAGE_LOAD(slot->counter_frac_bits);
	for (unsigned i = 0; i < CLOCKPAGE_DATA_PAGE_COUNT; i++) {
		const struct clockpage_data_page_entry *entry = &directory->data_page[i];
		uint32_t offset = CLOCKPAGE_LOAD(entry->offset_bytes);
		const struct clockpage_data_page *page;
		int error;
		if (CLOCKPAGE_LOAD(entry->format) != format ||
		    (CLOCKPAGE_LOAD(entry->smear) != 0) != (smear != 0))
			continue;
		if (offset % CLOCKPAGE_PAGE_SIZE || offset < CLOCKPAGE_PAGE_SIZE ||
		    offset > CLOCKPAGE_REGION_SIZE - CLOCKPAGE_PAGE_SIZE)
			return CLOCKPAGE_E_LAYOUT;
		page = (const struct clockpage_data_page *)(const void *)((const uint8_t *)
										  directory +
									  offset);
		error = clockpage_timestamp_form_of_(directory, page, source->clock, &source->form);
		page_ratio = CLOCKPAGE_LOAD(page->scale_ratio);
		page_bits = CLOCKPAGE_LOAD(page->scale_frac_bits);
		hz = CLOCKPAGE_LOAD(page->counter_frequency_hz);
		if (error || !ratio || bits > 63 || (ratio == page_ratio && bits == page_bits) ||
		    ratio == (uint64_t)1 << bits)
			return !ratio || bits > 63 ? CLOCKPAGE_E_VIEW : error;
		/* Its ratio is undone: at most `late` ticks too early (section 5.4, 2). Generous:
		 * whatever the number of the counter's wraps may be, and 1/8 beyond nominal. */
		late = ((uint64_t)1 << bits) / ratio + 3 + (ratio >> bits);
		if (hz < 1000000 || late > 255)
			source->form.resolution_ns = CLOCKPAGE_RESOLUTION_NONE;
		else if ((late = late * 1125000000 / hz + 2) >= CLOCKPAGE_RESOLUTION_NONE)
			source->form.resolution_ns = CLOCKPAGE_RESOLUTION_NONE;
		else
			source->form.resolution_ns = (uint8_t)late;
		return CLOCKPAGE_OK;
	}
	return CLOCKPAGE_E_LAYOUT;
}

/* Through a view. The reader, with its mappings, must stay valid; the view may change at any time.
 * Returns 0 or CLOCKPAGE_E_{ARGUMENT,CLOCK,LAYOUT,VIEW,BUSY}. */
static inline int
clockpage_view_timestamp_source_init(struct clockpage_view_timestamp_source *source,
				     const struct clockpage_view_reader *reader, int clock)
{
	if (!source || !reader)
		return CLOCKPAGE_E_ARGUMENT;
	source->reader = *reader;
	source->clock = clock;
	for (unsigned pass = 0; pass < CLOCKPAGE_MAX_PASSES; pass++) {
		int error = clockpage_view_timestamp_take_(source);
		clockpage_fence_before_recheck(); /* P2 */
		if (CLOCKPAGE_LOAD(reader->view->index) == source->number)
			return error;
	}
	return CLOCKPAGE_E_BUSY;
}

/* ---- making them -------------------------------------------------------------------- */

/* The rest of it is the form's, copied before the counter is read: it need not wait for that. */
CLOCKPAGE_INLINE void clockpage_timestamp_fill_(const struct clockpage_time *time,
						struct clockpage_timestamp *out)
{
	out->ns = time->ns;
	out->earliest_ns = time->earliest_ns;
	out->latest_ns = time->latest_ns;
	out->epoch = (uint32_t)time->epoch;
	out->status = time->status;
	if (CLOCKPAGE_UNLIKELY(time->flags & CLOCKPAGE_TIME_OVERDUE))
		out->flags |= CLOCKPAGE_TIMESTAMP_OVERDUE;
}

/* What REALTIME says beside. */
CLOCKPAGE_INLINE void clockpage_timestamp_fill_leap_(const struct clockpage_time *time,
						     struct clockpage_timestamp *out)
{
	if (out->time_scale != CLOCKPAGE_SCALE_UTC)
		return;
	if (CLOCKPAGE_UNLIKELY(time->flags & CLOCKPAGE_TIME_AMBIGUOUS))
		out->flags |= CLOCKPAGE_TIMESTAMP_AMBIGUOUS;
	if (CLOCKPAGE_UNLIKELY(time->leap_indicator == CLOCKPAGE_LEAP_PENDING_DELETION))
		out->flags |= CLOCKPAGE_TIMESTAMP_DELETION;
}

/* Whether the region that was read is the one that the form is of: after a migration there may be
 * another behind the mapping. */
CLOCKPAGE_INLINE int clockpage_timestamp_check_(const struct clockpage_timestamp_source *source)
{
	clockpage_fence_before_recheck();
	return CLOCKPAGE_UNLIKELY(CLOCKPAGE_LOAD(source->reader.page->generation) !=
				  source->generation)
		       ? CLOCKPAGE_E_STALE
		       : CLOCKPAGE_OK;
}

/* `is_now` and `clock` are constants at every call. */
CLOCKPAGE_INLINE int clockpage_timestamp_make_(const struct clockpage_timestamp_source *source,
					       int is_now, int clock, uint64_t counter,
					       struct clockpage_timestamp *out)
{
	struct clockpage_time time;
	int error;
	*out = source->form;
	error = is_now ? clockpage_now_bounds(&source->reader, clock, &time)
		       : clockpage_at_bounds(&source->reader, clock, counter, &time);
	if (CLOCKPAGE_UNLIKELY(error))
		return error;
	clockpage_timestamp_fill_(&time, out);
	if (clock != CLOCKPAGE_TAI)
		clockpage_timestamp_fill_leap_(&time, out);
	return clockpage_timestamp_check_(source);
}

/* A timestamp of now, ordered as clockpage_now: after earlier loads, before later stores. Returns 0
 * or an error of clockpage_now_bounds, or CLOCKPAGE_E_STALE: there is another region behind the
 * mapping, make a new source. *out is undefined unless 0 is returned. */
CLOCKPAGE_INLINE int clockpage_timestamp_now(const struct clockpage_timestamp_source *source,
					     struct clockpage_timestamp *out)
{
	if (source->form.time_scale == CLOCKPAGE_SCALE_TAI)
		return clockpage_timestamp_make_(source, 1, CLOCKPAGE_TAI, 0, out);
	return clockpage_timestamp_make_(source, 1, CLOCKPAGE_REALTIME, 0, out);
}

/* Of a value of the page's counter that was captured earlier: clockpage_at_bounds. */
CLOCKPAGE_INLINE int clockpage_timestamp_at(const struct clockpage_timestamp_source *source,
					    uint64_t counter, struct clockpage_timestamp *out)
{
	if (source->form.time_scale == CLOCKPAGE_SCALE_TAI)
		return clockpage_timestamp_make_(source, 0, CLOCKPAGE_TAI, counter, out);
	return clockpage_timestamp_make_(source, 0, CLOCKPAGE_REALTIME, counter, out);
}

CLOCKPAGE_INLINE int
clockpage_view_timestamp_fill_(const struct clockpage_view_timestamp_source *source, int is_now,
			       int clock, uint64_t guest_counter, uint64_t marker,
			       struct clockpage_timestamp *out)
{
	struct clockpage_view_time time;
	int error;
	*out = source->form;
	error = is_now ? clockpage_view_now_bounds(&source->reader, clock, &time)
		       : clockpage_view_at_bounds(&source->reader, clock, guest_counter, marker,
						  &time);
	if (CLOCKPAGE_UNLIKELY(error))
		return error;
	clockpage_timestamp_fill_(&time.time, out);
	out->disruption_marker = time.disruption_marker;
	if (clock != CLOCKPAGE_TAI)
		clockpage_timestamp_fill_leap_(&time.time, out);
	return CLOCKPAGE_OK;
}

/* Under a view that has changed since the source was made: form and time of one and the same. */
static __attribute__((noinline, unused)) int
clockpage_view_timestamp_slowly_(const struct clockpage_view_timestamp_source *source, int is_now,
				 uint64_t guest_counter, uint64_t marker,
				 struct clockpage_timestamp *out)
{
	struct clockpage_view_timestamp_source now = *source;
	struct clockpage_view_time time;
	__builtin_memset(&time, 0, sizeof time); /* for compilers that cannot tell */
	for (unsigned pass = 0; pass < CLOCKPAGE_MAX_PASSES; pass++) {
		int error = clockpage_view_timestamp_take_(&now);
		int refused = is_now ? clockpage_view_now_bounds(&now.reader, now.clock, &time)
				     : clockpage_view_at_bounds(&now.reader, now.clock,
								guest_counter, marker, &time);
		clockpage_fence_before_recheck(); /* P2 */
		if (CLOCKPAGE_LOAD(now.reader.view->index) != now.number)
			continue;
		if (refused || error)
			return refused ? refused : error;
		*out = now.form;
		clockpage_timestamp_fill_(&time.time, out);
		clockpage_timestamp_fill_leap_(&time.time, out);
		out->disruption_marker = time.disruption_marker;
		return CLOCKPAGE_OK;
	}
	return CLOCKPAGE_E_BUSY;
}

/* As no number of a view is used twice, one look at it after the reading says that the view was the
 * source's all the while; and a view of another region, after a migration, has another number. */
CLOCKPAGE_INLINE int
clockpage_view_timestamp_make_(const struct clockpage_view_timestamp_source *source, int is_now,
			       int clock, uint64_t guest_counter, uint64_t marker,
			       struct clockpage_timestamp *out)
{
	int error =
		clockpage_view_timestamp_fill_(source, is_now, clock, guest_counter, marker, out);
	clockpage_fence_before_recheck(); /* P2 */
	if (CLOCKPAGE_UNLIKELY(CLOCKPAGE_LOAD(source->reader.view->index) != source->number))
		return clockpage_view_timestamp_slowly_(source, is_now, guest_counter, marker, out);
	return error;
}

/* As clockpage_timestamp_now, through a view. Returns 0 or an error of
 * clockpage_view_now_bounds. */
CLOCKPAGE_INLINE int
clockpage_view_timestamp_now(const struct clockpage_view_timestamp_source *source,
			     struct clockpage_timestamp *out)
{
	if (source->clock == CLOCKPAGE_TAI)
		return clockpage_view_timestamp_make_(source, 1, CLOCKPAGE_TAI, 0, 0, out);
	return clockpage_view_timestamp_make_(source, 1, CLOCKPAGE_REALTIME, 0, 0, out);
}

/* Of a value of the guest's counter that was captured after `marker` was the view's disruption
 * marker: clockpage_view_at_bounds. */
CLOCKPAGE_INLINE int
clockpage_view_timestamp_at(const struct clockpage_view_timestamp_source *source,
			    uint64_t guest_counter, uint64_t marker,
			    struct clockpage_timestamp *out)
{
	return clockpage_view_timestamp_make_(source, 0, source->clock, guest_counter, marker, out);
}

/* ---- comparing them ----------------------------------------------------------------- */

/* Whether both are readings of one function: one clock, one epoch, one time scale, neither
 * provisional. Then ns orders them. */
static inline int clockpage_timestamps_of_one_clock(const struct clockpage_timestamp *a,
						    const struct clockpage_timestamp *b)
{
	return a->clock_id[0] == b->clock_id[0] && a->clock_id[1] == b->clock_id[1] &&
	       a->epoch == b->epoch && a->time_scale == b->time_scale &&
	       a->smear_start_s == b->smear_start_s && a->smear_length_s == b->smear_length_s &&
	       !((a->flags | b->flags) & CLOCKPAGE_TIMESTAMP_OVERDUE) &&
	       a->status < CLOCKPAGE_STATUS_UNRELIABLE && b->status < CLOCKPAGE_STATUS_UNRELIABLE &&
	       a->resolution_ns != CLOCKPAGE_RESOLUTION_NONE &&
	       b->resolution_ns != CLOCKPAGE_RESOLUTION_NONE;
}

/* The latest moment as others count: UTC near a leap second is a second late, or says so. */
static inline int64_t clockpage_timestamp_latest_(const struct clockpage_timestamp *t)
{
	int64_t latest = t->latest_ns;
	if (t->status >= CLOCKPAGE_STATUS_UNRELIABLE)
		return INT64_MAX;
	if (t->flags & (CLOCKPAGE_TIMESTAMP_AMBIGUOUS | CLOCKPAGE_TIMESTAMP_DELETION) &&
	    __builtin_add_overflow(latest, (int64_t)1000000000, &latest))
		return INT64_MAX;
	return latest;
}

static inline int clockpage_timestamp_before_(const struct clockpage_timestamp *a,
					      const struct clockpage_timestamp *b)
{
	int64_t latest = clockpage_timestamp_latest_(a), after = a->ns, slack = 0;
	if (b->status < CLOCKPAGE_STATUS_UNRELIABLE && b->earliest_ns != INT64_MIN &&
	    latest != INT64_MAX && latest < b->earliest_ns)
		return 1;
	if (!clockpage_timestamps_of_one_clock(a, b))
		return 0;
	if (!(a->flags & b->flags & CLOCKPAGE_TIMESTAMP_SCALED))
		slack = (int64_t)a->resolution_ns + b->resolution_ns;
	if (a->flags & CLOCKPAGE_TIMESTAMP_AMBIGUOUS)
		slack += 1000000000;
	return !__builtin_add_overflow(after, slack, &after) && after < b->ns;
}

static inline int clockpage_timestamp_check_pair_(const struct clockpage_timestamp *a,
						  const struct clockpage_timestamp *b,
						  const int *answer)
{
	if (!a || !b || !answer)
		return CLOCKPAGE_E_ARGUMENT;
	return a->time_scale == b->time_scale && a->smear_start_s == b->smear_start_s &&
			       a->smear_length_s == b->smear_length_s
		       ? CLOCKPAGE_OK
		       : CLOCKPAGE_E_SCALE;
}

/* *answer: 1 where what a stamps came before what b stamps, 0 where that cannot be said. Returns 0,
 * or CLOCKPAGE_E_SCALE or CLOCKPAGE_E_ARGUMENT, with *answer 0 (unless it is null). */
static inline int clockpage_definitely_before(const struct clockpage_timestamp *a,
					      const struct clockpage_timestamp *b, int *answer)
{
	int error = clockpage_timestamp_check_pair_(a, b, answer);
	if (answer)
		*answer = error ? 0 : clockpage_timestamp_before_(a, b);
	return error;
}

/* The same with a and b exchanged. */
static inline int clockpage_definitely_after(const struct clockpage_timestamp *a,
					     const struct clockpage_timestamp *b, int *answer)
{
	return clockpage_definitely_before(b, a, answer);
}

/* *answer: 1 where neither is definitely before the other. Not transitive: no equality. With an
 * error *answer is 1 as well: nothing definite is known. */
static inline int clockpage_overlaps(const struct clockpage_timestamp *a,
				     const struct clockpage_timestamp *b, int *answer)
{
	int error = clockpage_timestamp_check_pair_(a, b, answer);
	if (answer)
		*answer = error || (!clockpage_timestamp_before_(a, b) &&
				    !clockpage_timestamp_before_(b, a));
	return error;
}

/* ---- the wire form ------------------------------------------------------------------ */

/* Returns 0 or CLOCKPAGE_E_LAYOUT: no timestamp is like this. */
static inline int clockpage_timestamp_check_fields_(const struct clockpage_timestamp *t)
{
	const unsigned of_utc = CLOCKPAGE_TIMESTAMP_AMBIGUOUS | CLOCKPAGE_TIMESTAMP_DELETION;
	if (t->status > CLOCKPAGE_STATUS_UNRELIABLE || t->flags & 0x0f ||
	    (t->flags & of_utc && t->time_scale != CLOCKPAGE_SCALE_UTC) ||
	    !clockpage_timestamp_smear_is_one_(t->time_scale, t->smear_start_s,
					       t->smear_length_s) ||
	    t->earliest_ns > t->ns || t->latest_ns < t->ns)
		return CLOCKPAGE_E_LAYOUT;
	return CLOCKPAGE_OK;
}

/* Little-endian words at any alignment. Where that is this machine's order: by one move. */
CLOCKPAGE_INLINE void clockpage_timestamp_put_(uint8_t *to, uint64_t value, unsigned bytes)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	__builtin_memcpy(to, &value, bytes);
#else
	for (unsigned i = 0; i < bytes; i++)
		to[i] = (uint8_t)(value >> 8 * i);
#endif
}

CLOCKPAGE_INLINE uint64_t clockpage_timestamp_get_(const uint8_t *from, unsigned bytes)
{
	uint64_t value = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	__builtin_memcpy(&value, from, bytes);
#else
	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)from[i] << 8 * i;
#endif
	return value;
}

/* Writes the CLOCKPAGE_TIMESTAMP_SIZE bytes of the wire form (struct clockpage_timestamp_wire).
 * Returns 0 or CLOCKPAGE_E_{ARGUMENT,LAYOUT}; then nothing is written. */
static inline int clockpage_timestamp_encode(const struct clockpage_timestamp *t,
					     uint8_t wire[CLOCKPAGE_TIMESTAMP_SIZE])
{
	int error = !t || !wire ? CLOCKPAGE_E_ARGUMENT : clockpage_timestamp_check_fields_(t);
	if (error)
		return error;
	wire[0] = CLOCKPAGE_TIMESTAMP_VERSION;
	wire[1] = t->time_scale;
	wire[2] = (uint8_t)(t->status | t->flags);
	wire[3] = t->resolution_ns;
	clockpage_timestamp_put_(wire + 0x04, t->epoch, 4);
	clockpage_timestamp_put_(wire + 0x08, (uint32_t)t->smear_start_s, 4);
	clockpage_timestamp_put_(wire + 0x0c, t->smear_length_s, 4);
	clockpage_timestamp_put_(wire + 0x10, t->clock_id[0], 8);
	clockpage_timestamp_put_(wire + 0x18, t->clock_id[1], 8);
	clockpage_timestamp_put_(wire + 0x20, (uint64_t)t->ns, 8);
	clockpage_timestamp_put_(wire + 0x28, (uint64_t)t->earliest_ns, 8);
	clockpage_timestamp_put_(wire + 0x30, (uint64_t)t->latest_ns, 8);
	clockpage_timestamp_put_(wire + 0x38, t->disruption_marker, 8);
	return CLOCKPAGE_OK;
}

/* Takes `length` bytes, which may be anybody's, for a timestamp. Returns 0; CLOCKPAGE_E_SIZE: it
 * is not CLOCKPAGE_TIMESTAMP_SIZE; CLOCKPAGE_E_VERSION: the first byte; CLOCKPAGE_E_LAYOUT: a field
 * is impossible, or a reserved bit set; CLOCKPAGE_E_ARGUMENT. *out is written only with 0. What
 * it *says* is its sender's claim: nothing in it is signed. */
static inline int clockpage_timestamp_decode(const void *bytes, size_t length,
					     struct clockpage_timestamp *out)
{
	const uint8_t *wire = (const uint8_t *)bytes;
	struct clockpage_timestamp t;
	int error;
	if (!wire || !out)
		return CLOCKPAGE_E_ARGUMENT;
	if (length != CLOCKPAGE_TIMESTAMP_SIZE)
		return CLOCKPAGE_E_SIZE;
	if (wire[0] != CLOCKPAGE_TIMESTAMP_VERSION)
		return CLOCKPAGE_E_VERSION;
	if (wire[2] & 0x08)
		return CLOCKPAGE_E_LAYOUT;
	t.time_scale = wire[1];
	t.status = wire[2] & 0x07;
	t.flags = wire[2] & 0xf0;
	t.resolution_ns = wire[3];
	t.epoch = (uint32_t)clockpage_timestamp_get_(wire + 0x04, 4);
	t.smear_start_s = (int32_t)clockpage_timestamp_get_(wire + 0x08, 4);
	t.smear_length_s = (uint32_t)clockpage_timestamp_get_(wire + 0x0c, 4);
	t.clock_id[0] = clockpage_timestamp_get_(wire + 0x10, 8);
	t.clock_id[1] = clockpage_timestamp_get_(wire + 0x18, 8);
	t.ns = (int64_t)clockpage_timestamp_get_(wire + 0x20, 8);
	t.earliest_ns = (int64_t)clockpage_timestamp_get_(wire + 0x28, 8);
	t.latest_ns = (int64_t)clockpage_timestamp_get_(wire + 0x30, 8);
	t.disruption_marker = clockpage_timestamp_get_(wire + 0x38, 8);
	error = clockpage_timestamp_check_fields_(&t);
	if (!error)
		*out = t;
	return error;
}

#endif /* CLOCKPAGE_TIMESTAMP_H */
