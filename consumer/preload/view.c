/* SPDX-License-Identifier: MIT */
/*
 * Reading the page through a view, which may change as long as the process lives.
 *
 * A reader (struct clockpage_view_reader) is of one slot of the view, and constant. When the view
 * has another one, whoever notices first makes the next reader and publishes it; the one before
 * stays as it is, since others may be in the midst of it, in a thread or below a signal handler.
 * So there is an end to them: then every reading makes its own, which is right, and some 60 ns
 * slower. A view changes when its guest or container is moved or set, not as time goes by.
 *
 * What was read counts only if the view still was the one that has been looked at: a time
 * namespace's view that is set to something else is not this process's any more.
 */
#include "preload.h"

#include "kernels_view.h"

#define READERS 64

static struct clockpage_view_reader readers[READERS]; /* each filled once, before it is published */
static uint32_t readers_used;                         /* atomic; may run beyond READERS */
static uint64_t claimed; /* atomic: number of the view's slot that somebody makes a reader for */
static const struct clockpage_view_reader *newest; /* atomic; constant */
static struct preload_expected expected;           /* constant once the source is PRELOAD_VIEW */

static bool is_expected(const struct clockpage_view_reader *reader)
{
	return !expected.known || clockpage_is_kernels_view(reader, expected.monotonic_offset_ns,
							    expected.boottime_offset_ns);
}

static void publish(const struct clockpage_view_reader *reader)
{
	uint64_t before = __atomic_load_n(&claimed, __ATOMIC_RELAXED);
	uint32_t place = __atomic_load_n(&readers_used, __ATOMIC_RELAXED);
	if (place >= READERS || before == reader->number ||
	    !__atomic_compare_exchange_n(&claimed, &before, reader->number, false, __ATOMIC_RELAXED,
					 __ATOMIC_RELAXED))
		return;
	place = __atomic_fetch_add(&readers_used, 1, __ATOMIC_RELAXED);
	if (place >= READERS)
		return;
	readers[place] = *reader;
	__atomic_store_n(&newest, &readers[place], __ATOMIC_RELEASE);
}

bool preload_use_view(const struct clockpage_view_reader *reader,
		      const struct preload_expected *what)
{
	expected = *what;
	if (!is_expected(reader))
		return false;
	readers[0] = *reader;
	readers_used = 1;
	claimed = reader->number;
	__atomic_store_n(&newest, &readers[0], __ATOMIC_RELEASE);
	__atomic_store_n(&preload_now.source, PRELOAD_VIEW, __ATOMIC_RELEASE);
	return true;
}

/* One attempt under the view as it is now. Returns as clockpage_view_gettime; CLOCKPAGE_E_BUSY:
 * the view has changed meanwhile. */
static int read_newly(int clock, struct timespec *ts, bool *is_ours)
{
	struct clockpage_view_reader now = *__atomic_load_n(&newest, __ATOMIC_ACQUIRE);
	int error = clockpage_view_reader_take_(&now); /* its mappings and `rdtscp` stay */
	if (error)
		return error;
	*is_ours = is_expected(&now);
	if (!*is_ours)
		return CLOCKPAGE_OK;
	publish(&now);
	error = clockpage_view_gettime(&now, clock, ts);
	if (!error && !clockpage_view_reader_is_current(&now))
		return CLOCKPAGE_E_BUSY;
	return error;
}

static __attribute__((noinline)) bool read_again(int clock, struct timespec *ts)
{
	bool is_ours = true;
	int error = CLOCKPAGE_E_BUSY;
	for (int attempt = 0; preload_is_passing(error) && attempt < PRELOAD_ATTEMPTS; attempt++)
		error = read_newly(clock, ts, &is_ours);
	if (!is_ours) {
		preload_use_kernel("the view is not this time namespace's any more: the clocks are "
				   "the kernel's from now on");
		return preload_read_none();
	}
	return error ? preload_give_up(error) : true;
}

static inline __attribute__((always_inline)) bool read_view(int clock, struct timespec *ts)
{
	const struct clockpage_view_reader *reader = __atomic_load_n(&newest, __ATOMIC_ACQUIRE);
	int error = clockpage_view_gettime(reader, clock, ts);
	/* Its number is never used again: so it was this one while the counter was read. */
	if (__builtin_expect(!error && clockpage_view_reader_is_current(reader), 1))
		return true;
	return read_again(clock, ts);
}

bool preload_view_realtime(struct timespec *ts)
{
	return read_view(CLOCKPAGE_REALTIME, ts);
}

bool preload_view_monotonic(struct timespec *ts)
{
	return read_view(CLOCKPAGE_MONOTONIC, ts);
}

bool preload_view_raw(struct timespec *ts)
{
	return read_view(CLOCKPAGE_MONOTONIC_RAW, ts);
}

bool preload_view_boottime(struct timespec *ts)
{
	return read_view(CLOCKPAGE_BOOTTIME, ts);
}

bool preload_view_tai(struct timespec *ts)
{
	return read_view(CLOCKPAGE_TAI, ts);
}
