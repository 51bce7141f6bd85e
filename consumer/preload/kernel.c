/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE /* RTLD_NEXT */
#include "preload.h"

#include <dlfcn.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef int clock_function(clockid_t, struct timespec *);
typedef int timeofday_function(struct timeval *, void *);
typedef int timespec_get_function(struct timespec *, int);

/* Null until looked up, and for good where the C library has none. Atomic: the library may be
 * loaded by a program that has threads already. */
static clock_function *next_gettime, *next_getres;
static timeofday_function *next_gettimeofday;
static timespec_get_function *next_timespec_get;

#define LOOK_UP(next, name)                                                                        \
	__atomic_store_n(&next, (__typeof__(next))dlsym(RTLD_NEXT, name), __ATOMIC_RELEASE)

void preload_kernel_begin(void)
{
	LOOK_UP(next_gettime, "clock_gettime");
	LOOK_UP(next_getres, "clock_getres");
	LOOK_UP(next_gettimeofday, "gettimeofday");
	LOOK_UP(next_timespec_get, "timespec_get");
}

int kernel_clock_gettime(clockid_t clock, struct timespec *ts)
{
	clock_function *next = __atomic_load_n(&next_gettime, __ATOMIC_ACQUIRE);
	return next ? next(clock, ts) : (int)syscall(SYS_clock_gettime, clock, ts);
}

int kernel_clock_getres(clockid_t clock, struct timespec *resolution)
{
	clock_function *next = __atomic_load_n(&next_getres, __ATOMIC_ACQUIRE);
	return next ? next(clock, resolution) : (int)syscall(SYS_clock_getres, clock, resolution);
}

int kernel_gettimeofday(struct timeval *tv, void *timezone)
{
	timeofday_function *next = __atomic_load_n(&next_gettimeofday, __ATOMIC_ACQUIRE);
	return next ? next(tv, timezone) : (int)syscall(SYS_gettimeofday, tv, timezone);
}

int kernel_timespec_get(struct timespec *ts, int base)
{
	timespec_get_function *next = __atomic_load_n(&next_timespec_get, __ATOMIC_ACQUIRE);
	if (next)
		return next(ts, base);
	return base == TIME_UTC && kernel_clock_gettime(CLOCK_REALTIME, ts) == 0 ? base : 0;
}
