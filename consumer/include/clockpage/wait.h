/* SPDX-License-Identifier: MIT */
/*
 * Waiting for the clock, and refusing what is too uncertain. C11 and C++, header only, usable
 * without libclockpage. Spec section 13.4.
 *
 * Commit wait: who stamps a write, waits until that timestamp has passed everywhere, and only then
 * lets others see it, gets writes whose timestamps are in the order in which they were seen.
 *
 * Time limits are of the kernel's CLOCK_MONOTONIC, which goes on whatever becomes of the page.
 * Thread-safe; nothing here allocates or writes to a page. Sleeping needs POSIX: with -std=c11 and
 * without _POSIX_C_SOURCE (or _GNU_SOURCE) only clockpage_now_within is declared.
 */
#ifndef CLOCKPAGE_WAIT_H
#define CLOCKPAGE_WAIT_H

#include <clockpage/timestamp.h>

#include <errno.h>

/* Beside the errors of reader.h and timestamp.h. */
#define CLOCKPAGE_E_WIDE    -11 /* the interval is wider than the caller allows, or has no bound */
#define CLOCKPAGE_E_TIMEOUT -12 /* what was waited for has not come within the time limit */

/* The time limit that never ends. */
#define CLOCKPAGE_NO_LIMIT INT64_MAX

/* Whether latest - earliest is bounded and at most max_width_ns. */
static inline int clockpage_is_within_(const struct clockpage_time *time, uint64_t max_width_ns)
{
	return time->earliest_ns != INT64_MIN && time->latest_ns != INT64_MAX &&
	       (uint64_t)time->latest_ns - (uint64_t)time->earliest_ns <= max_width_ns;
}

/* clockpage_now_bounds, but CLOCKPAGE_E_WIDE where latest_ns - earliest_ns would be more than
 * max_width_ns, or there is no bound. *out is undefined unless 0 is returned. */
CLOCKPAGE_INLINE int clockpage_now_within(const struct clockpage_reader *reader, int clock,
					  uint64_t max_width_ns, struct clockpage_time *out)
{
	int error = clockpage_now_bounds(reader, clock, out);
	if (!error && !clockpage_is_within_(out, max_width_ns))
		error = CLOCKPAGE_E_WIDE;
	return error;
}

/* The same through a view. */
CLOCKPAGE_INLINE int clockpage_view_now_within(const struct clockpage_view_reader *reader,
					       int clock, uint64_t max_width_ns,
					       struct clockpage_view_time *out)
{
	int error = clockpage_view_now_bounds(reader, clock, out);
	if (!error && !clockpage_is_within_(&out->time, max_width_ns))
		error = CLOCKPAGE_E_WIDE;
	return error;
}

#if defined(TIMER_ABSTIME)

/* How long before its end a wait stops sleeping and spins: what waking up takes on an idle CPU,
 * timer slack (50 us) included, and as much again. A caller may define it otherwise. */
#ifndef CLOCKPAGE_WAIT_SPIN_NS
#define CLOCKPAGE_WAIT_SPIN_NS 200000
#endif
/* The longest single sleep: bounds may become narrower meanwhile, and the clock be set. */
#define CLOCKPAGE_WAIT_SLEEP_NS_ 50000000
/* How often clockpage_wait_synchronised looks. */
#define CLOCKPAGE_WAIT_POLL_NS_ 1000000

static inline int64_t clockpage_wait_kernel_ns_(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Until CLOCK_MONOTONIC is that, or a signal comes. */
static inline void clockpage_wait_sleep_until_(int64_t ns)
{
	struct timespec until;
	until.tv_sec = (time_t)(ns / 1000000000);
	until.tv_nsec = (long)(ns % 1000000000);
	(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static inline void clockpage_wait_pause_(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#else
	__asm__ volatile("isb" : : : "memory");
#endif
}

/* What to read: one of the two. */
struct clockpage_wait_reader_ {
	const struct clockpage_reader *reader;
	const struct clockpage_view_reader *view;
};

static inline int clockpage_wait_read_(struct clockpage_wait_reader_ from, int clock,
				       struct clockpage_time *time)
{
	struct clockpage_view_time through;
	int error;
	if (from.reader)
		return clockpage_now_bounds(from.reader, clock, time);
	error = clockpage_view_now_bounds(from.view, clock, &through);
	if (!error)
		*time = through.time;
	return error;
}

/* Errors that no waiting mends. All others may pass: the page changes again and again, the clock
 * has been set, a view is being composed anew or has been withdrawn for a migration, TAI is not
 * known yet. */
static inline int clockpage_wait_is_final_(int error)
{
	return error == CLOCKPAGE_E_REVOKED || error == CLOCKPAGE_E_CLOCK ||
	       error == CLOCKPAGE_E_ARGUMENT || error == CLOCKPAGE_E_STALE ||
	       error == CLOCKPAGE_E_LAYOUT || error == CLOCKPAGE_E_SCALE;
}

/* The time limit's end; INT64_MAX: none. */
static inline int64_t clockpage_wait_deadline_(int64_t timeout_ns)
{
	int64_t end;
	if (timeout_ns == CLOCKPAGE_NO_LIMIT ||
	    __builtin_add_overflow(clockpage_wait_kernel_ns_(), timeout_ns, &end))
		return INT64_MAX;
	return end;
}

/* Whether the time scale is that of the page. The page's words are constant, but a view may choose
 * another page: so each time. */
static inline int clockpage_wait_check_scale_(const struct clockpage_data_page *page,
					      const struct clockpage_timestamp *t)
{
	struct clockpage_timestamp form;
	int error;
	if (t->time_scale == CLOCKPAGE_SCALE_TAI)
		return CLOCKPAGE_OK;
	error = clockpage_timestamp_smear_(page, &form);
	if (error)
		return error;
	return form.time_scale == t->time_scale && form.smear_start_s == t->smear_start_s &&
			       form.smear_length_s == t->smear_length_s
		       ? CLOCKPAGE_OK
		       : CLOCKPAGE_E_SCALE;
}

/* Reads once, in a time scale that is known to be t's. */
static inline int clockpage_wait_now_(struct clockpage_wait_reader_ from,
				      const struct clockpage_timestamp *t,
				      struct clockpage_time *now)
{
	struct clockpage_view_timestamp_source source;
	struct clockpage_timestamp stamp;
	int clock = t->time_scale == CLOCKPAGE_SCALE_TAI ? CLOCKPAGE_TAI : CLOCKPAGE_REALTIME;
	int error;
	if (from.reader) {
		error = clockpage_wait_check_scale_(from.reader->page, t);
		return error ? error : clockpage_wait_read_(from, clock, now);
	}
	if (clock == CLOCKPAGE_TAI)
		return clockpage_wait_read_(from, clock, now);
	/* Which REALTIME it is the view may change from one reading to the next. */
	error = clockpage_view_timestamp_source_init(&source, from.view, clock);
	if (!error)
		error = clockpage_view_timestamp_now(&source, &stamp);
	if (error)
		return error;
	now->earliest_ns = stamp.earliest_ns;
	now->status = stamp.status;
	return stamp.time_scale == t->time_scale && stamp.smear_start_s == t->smear_start_s &&
			       stamp.smear_length_s == t->smear_length_s
		       ? CLOCKPAGE_OK
		       : CLOCKPAGE_E_SCALE;
}

/* How long there is to wait; negative: it has passed; INT64_MAX: that cannot be told. */
static inline int64_t clockpage_wait_left_(const struct clockpage_time *now, int64_t latest)
{
	int64_t left;
	if (now->status >= CLOCKPAGE_STATUS_UNRELIABLE || now->earliest_ns == INT64_MIN)
		return INT64_MAX;
	if (now->earliest_ns > latest)
		return -1;
	return __builtin_sub_overflow(latest, now->earliest_ns, &left) ? INT64_MAX : left;
}

static inline int clockpage_wait_past_(struct clockpage_wait_reader_ from,
				       const struct clockpage_timestamp *t, int64_t timeout_ns)
{
	int64_t deadline, latest;
	/* What the caller has stored is visible before any counter value that ends the wait. */
	(void)clockpage_counter_after_stores();
	if (!t || timeout_ns < 0)
		return CLOCKPAGE_E_ARGUMENT;
	latest = clockpage_timestamp_latest_(t);
	deadline = clockpage_wait_deadline_(timeout_ns);
	for (;;) {
		struct clockpage_time now;
		int64_t left = INT64_MAX, kernel, until;
		int error = clockpage_wait_now_(from, t, &now);
		if (!error)
			left = clockpage_wait_left_(&now, latest);
		if (left < 0)
			return CLOCKPAGE_OK;
		if (clockpage_wait_is_final_(error))
			return error;
		kernel = clockpage_wait_kernel_ns_();
		if (kernel >= deadline)
			return error ? error : CLOCKPAGE_E_TIMEOUT;
		if (error == CLOCKPAGE_E_BUSY || left <= CLOCKPAGE_WAIT_SPIN_NS) {
			clockpage_wait_pause_();
			continue;
		}
		if (left == INT64_MAX) /* nobody knows how long: look again soon */
			left = CLOCKPAGE_WAIT_SPIN_NS + CLOCKPAGE_WAIT_POLL_NS_;
		left -= CLOCKPAGE_WAIT_SPIN_NS;
		until = kernel +
			(left < CLOCKPAGE_WAIT_SLEEP_NS_ ? left : CLOCKPAGE_WAIT_SLEEP_NS_);
		clockpage_wait_sleep_until_(until < deadline ? until : deadline);
	}
}

/* Commit wait: returns 0 once the earliest moment that it can be now is after the latest that *t
 * can be: from then on *t has passed for everyone whose bounds are right. Full fence first: what
 * the caller stored before is visible to all by then, and what it stores afterwards is seen later.
 *
 * Sleeps while that is far, spins at the end. Nothing makes it return 0 too early: while the clock
 * has no bound, is UNRELIABLE or cannot be read, it goes on waiting.
 *
 * timeout_ns >= 0, of CLOCK_MONOTONIC; CLOCKPAGE_NO_LIMIT. Returns CLOCKPAGE_E_TIMEOUT when that is
 * over, or the error that the last reading had; at once: CLOCKPAGE_E_REVOKED, CLOCKPAGE_E_STALE,
 * CLOCKPAGE_E_LAYOUT; CLOCKPAGE_E_SCALE: *t is on another time scale than the page;
 * CLOCKPAGE_E_ARGUMENT. A timestamp without a bound never passes. Signals do not end it. */
static inline int clockpage_wait_until_past(const struct clockpage_reader *reader,
					    const struct clockpage_timestamp *t, int64_t timeout_ns)
{
	struct clockpage_wait_reader_ from = {reader, NULL};
	return reader ? clockpage_wait_past_(from, t, timeout_ns) : CLOCKPAGE_E_ARGUMENT;
}

/* The same through a view, whose changes and disruptions it outlasts. */
static inline int clockpage_view_wait_until_past(const struct clockpage_view_reader *reader,
						 const struct clockpage_timestamp *t,
						 int64_t timeout_ns)
{
	struct clockpage_wait_reader_ from = {NULL, reader};
	return reader ? clockpage_wait_past_(from, t, timeout_ns) : CLOCKPAGE_E_ARGUMENT;
}

static inline int clockpage_wait_sync_(struct clockpage_wait_reader_ from, int clock,
				       uint64_t max_width_ns, int64_t timeout_ns,
				       struct clockpage_time *out)
{
	int64_t deadline;
	if (!out || timeout_ns < 0)
		return CLOCKPAGE_E_ARGUMENT;
	deadline = clockpage_wait_deadline_(timeout_ns);
	for (;;) {
		int error = clockpage_wait_read_(from, clock, out);
		int64_t now, until;
		if (!error && out->status == CLOCKPAGE_STATUS_SYNCHRONISED &&
		    clockpage_is_within_(out, max_width_ns))
			return CLOCKPAGE_OK;
		if (clockpage_wait_is_final_(error))
			return error;
		now = clockpage_wait_kernel_ns_();
		if (now >= deadline)
			return error ? error : CLOCKPAGE_E_TIMEOUT;
		until = now + CLOCKPAGE_WAIT_POLL_NS_;
		clockpage_wait_sleep_until_(until < deadline ? until : deadline);
	}
}

/* Waits instead of failing: until a reading of `clock` is SYNCHRONISED and its interval no wider
 * than max_width_ns (UINT64_MAX: any that is bounded). That reading is *out. timeout_ns and errors
 * as clockpage_wait_until_past; after CLOCKPAGE_E_TIMEOUT *out is the last reading, which says what
 * there was instead. */
static inline int clockpage_wait_synchronised(const struct clockpage_reader *reader, int clock,
					      uint64_t max_width_ns, int64_t timeout_ns,
					      struct clockpage_time *out)
{
	struct clockpage_wait_reader_ from = {reader, NULL};
	return reader ? clockpage_wait_sync_(from, clock, max_width_ns, timeout_ns, out)
		      : CLOCKPAGE_E_ARGUMENT;
}

/* The same through a view. */
static inline int clockpage_view_wait_synchronised(const struct clockpage_view_reader *reader,
						   int clock, uint64_t max_width_ns,
						   int64_t timeout_ns, struct clockpage_time *out)
{
	struct clockpage_wait_reader_ from = {NULL, reader};
	return reader ? clockpage_wait_sync_(from, clock, max_width_ns, timeout_ns, out)
		      : CLOCKPAGE_E_ARGUMENT;
}

#endif /* TIMER_ABSTIME */

#endif /* CLOCKPAGE_WAIT_H */
