/* SPDX-License-Identifier: MIT */
/*
 * The C library's functions that tell the time, and nothing else that is exported (exported.list).
 *
 * A null pointer is what it is without this library: a fault where the vDSO writes to it,
 * nothing where it asks first. So the attributes `nonnull` of the C library's headers must not be
 * believed (-fno-delete-null-pointer-checks).
 */
#include "preload.h"

#define EXPORT __attribute__((visibility("default")))

EXPORT int clock_gettime(clockid_t clock, struct timespec *ts)
{
	bool read = false;
	switch (preload_page_clock(clock)) {
	case CLOCKPAGE_REALTIME:
		read = preload_read(CLOCKPAGE_REALTIME, ts);
		break;
	case CLOCKPAGE_MONOTONIC:
		read = preload_read(CLOCKPAGE_MONOTONIC, ts);
		break;
	case CLOCKPAGE_MONOTONIC_RAW:
		read = preload_read(CLOCKPAGE_MONOTONIC_RAW, ts);
		break;
	case CLOCKPAGE_BOOTTIME:
		read = preload_read(CLOCKPAGE_BOOTTIME, ts);
		break;
	case CLOCKPAGE_TAI:
		read = preload_read(CLOCKPAGE_TAI, ts);
		break;
	default:
		break;
	}
	return read ? 0 : kernel_clock_gettime(clock, ts);
}

/* 1 ns for every clock that comes from the page, the coarse ones too: they are not coarse there. */
EXPORT int clock_getres(clockid_t clock, struct timespec *resolution)
{
	if (preload_page_clock(clock) < 0 || !preload_has_page())
		return kernel_clock_getres(clock, resolution);
	if (resolution)
		*resolution = (struct timespec){0, 1};
	return 0;
}

EXPORT int gettimeofday(struct timeval *restrict tv, void *restrict timezone)
{
	struct timespec ts = {0, 0};
	if (!tv || !preload_read(CLOCKPAGE_REALTIME, &ts))
		return kernel_gettimeofday(tv, timezone);
	if (timezone && kernel_gettimeofday(NULL, timezone) != 0)
		return -1;
	*tv = (struct timeval){ts.tv_sec, ts.tv_nsec / 1000};
	return 0;
}

/* The kernel's own is that of its last tick, up to 10 ms behind clock_gettime. */
EXPORT time_t time(time_t *result)
{
	struct timespec ts = {0, 0};
	if (!preload_read(CLOCKPAGE_REALTIME, &ts) &&
	    kernel_clock_gettime(CLOCK_REALTIME, &ts) != 0)
		return -1;
	if (result)
		*result = ts.tv_sec;
	return ts.tv_sec;
}

EXPORT int timespec_get(struct timespec *ts, int base)
{
	if (base == TIME_UTC && preload_read(CLOCKPAGE_REALTIME, ts))
		return base;
	return kernel_timespec_get(ts, base);
}

/* <sys/timeb.h> calls it deprecated; newer C libraries have it for old programs only. */
struct timeb {
	time_t time;
	unsigned short millitm;
	short timezone;
	short dstflag;
};
EXPORT int ftime(struct timeb *result);

EXPORT int ftime(struct timeb *result)
{
	struct timespec ts = {0, 0};
	if (!preload_read(CLOCKPAGE_REALTIME, &ts) &&
	    kernel_clock_gettime(CLOCK_REALTIME, &ts) != 0)
		return -1;
	*result = (struct timeb){ts.tv_sec, (unsigned short)(ts.tv_nsec / 1000000), 0, 0};
	return 0;
}
