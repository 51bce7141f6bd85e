/* SPDX-License-Identifier: MIT */
#include "preload.h"

struct preload_state preload_now;

static const char *kernel_reason; /* atomic; null until the page is given up */

void preload_use_page(const struct clockpage_reader *reader)
{
	preload_now.reader = *reader;
	__atomic_store_n(&preload_now.source, PRELOAD_PAGE, __ATOMIC_RELEASE);
}

void preload_use_kernel(const char *reason)
{
	const char *none = NULL;
	__atomic_compare_exchange_n(&kernel_reason, &none, reason, false, __ATOMIC_RELEASE,
				    __ATOMIC_RELAXED);
	__atomic_store_n(&preload_now.source, PRELOAD_KERNEL, __ATOMIC_RELEASE);
}

bool preload_read_none(void)
{
	if (__atomic_load_n(&preload_now.source, __ATOMIC_ACQUIRE) == PRELOAD_KERNEL)
		preload_warn(__atomic_load_n(&kernel_reason, __ATOMIC_ACQUIRE));
	return false;
}

static const char *reason_of(int error)
{
	switch (error) {
	case CLOCKPAGE_E_REVOKED:
		return "the page was revoked: the clocks are the kernel's from now on";
	case CLOCKPAGE_E_VIEW:
		return "the view was withdrawn: the clocks are the kernel's from now on";
	case CLOCKPAGE_E_DISRUPTED:
		return "the view that this one was composed from has changed: the clocks are the "
		       "kernel's from now on";
	default:
		return "the page cannot be read: the clocks are the kernel's from now on";
	}
}

bool preload_give_up(int error)
{
	/* Not a page that is lost: it has the other clocks. */
	if (error == CLOCKPAGE_E_TAI_UNKNOWN) {
		preload_warn("the page does not know TAI: CLOCK_TAI is the kernel's");
		return false;
	}
	/* For good: a page that is read now and then would mix two clocks, and a hostile one
	 * must not make every read slow. */
	preload_use_kernel(reason_of(error));
	return preload_read_none();
}

bool preload_read_again(int clock, struct timespec *ts, int error)
{
	for (int attempt = 1; preload_is_passing(error) && attempt < PRELOAD_ATTEMPTS; attempt++)
		error = clockpage_gettime(&preload_now.reader, clock, ts);
	return error ? preload_give_up(error) : true;
}
