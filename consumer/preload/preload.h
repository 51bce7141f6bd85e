/* SPDX-License-Identifier: MIT */
/*
 * Inside libclockpage-preload: where the time comes from.
 *
 * A process begins with the kernel's clocks, goes over to a page once, before main, and back to
 * the kernel's for good if the page is lost. All of this is in `preload_now`, which threads and
 * signal handlers read with one atomic load; nothing here locks, waits or allocates but
 * preload_begin. A page is read as it is, or through a view of it (view.c).
 */
#ifndef CLOCKPAGE_PRELOAD_H
#define CLOCKPAGE_PRELOAD_H

#include <clockpage/clockpage.h>

#include <stdbool.h>
#include <sys/time.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the process is told by its environment; "1" is yes, unset, empty and "0" are no. All are
 * ignored in set-user-id programs. The directory is CLOCKPAGE_DIRECTORY_VARIABLE. */
#define CLOCKPAGE_PRELOAD_SMEARED "CLOCKPAGE_PRELOAD_SMEARED" /* the smeared page */
#define CLOCKPAGE_PRELOAD_SEALED  "CLOCKPAGE_PRELOAD_SEALED"  /* refuse what can be truncated */
#define CLOCKPAGE_PRELOAD_QUIET   "CLOCKPAGE_PRELOAD_QUIET"   /* no warning */
/* The region is another machine's, this one a guest of it: what its view must be like cannot be
 * told from this machine's kernel. */
#define CLOCKPAGE_PRELOAD_GUEST "CLOCKPAGE_PRELOAD_GUEST"

enum preload_source {
	PRELOAD_BEFORE, /* nothing has been opened yet: the kernel's, without a word */
	PRELOAD_PAGE,
	PRELOAD_VIEW,   /* the page, through a view */
	PRELOAD_KERNEL, /* there is no page, or no longer: the kernel's, and a warning */
};

struct preload_state {
	int source; /* enum preload_source; atomic. PRELOAD_PAGE: the reader is constant */
	struct clockpage_reader reader;
};
extern struct preload_state preload_now;

/* How often a read is tried before the page is given up. A live writer cannot keep one reader from
 * succeeding even twice running. */
#define PRELOAD_ATTEMPTS 100

/* Reads from now on go to the page, whose reader is copied. The page must stay mapped. */
void preload_use_page(const struct clockpage_reader *reader);

/* What a view that this process reads through must be, now and whenever it changes. */
struct preload_expected {
	/* 1: one of the kernel's that runs here: the host's counter, and these offsets, which are
	 * the time namespace's that the process is in. 0: anything; the machine is a guest. */
	int known;
	int64_t monotonic_offset_ns, boottime_offset_ns;
};
/* Reads from now on go through the view, whose reader is copied; called once. Everything that it
 * names must stay mapped. False: it is not what is expected, nothing has changed. */
bool preload_use_view(const struct clockpage_view_reader *reader,
		      const struct preload_expected *expected);
/* The offsets of the time namespace that this process is in, ns. 0, or -1 with one line in `why`:
 * they cannot be told. Not async-signal-safe. */
int preload_own_offsets(int64_t *monotonic_ns, int64_t *boottime_ns, char *why, size_t size);
/* Reads from now on go to the kernel; `reason` (static) is what the warning will say. The first
 * reason stays. Async-signal-safe. */
void preload_use_kernel(const char *reason);

/* The rest of preload_read, where the page gave `error` (of clockpage_now). */
bool preload_read_again(int clock, struct timespec *ts, int error);
/* The same where there is no page: false. */
bool preload_read_none(void);
/* The page has been lost for good where reading it gave `error`, or the one clock: false. */
bool preload_give_up(int error);
/* Whether another attempt may succeed. */
static inline bool preload_is_passing(int error)
{
	return error == CLOCKPAGE_E_BUSY || error == CLOCKPAGE_E_OUT_OF_RANGE ||
	       error == CLOCKPAGE_E_DISCONTINUITY;
}

/* preload_read through the view. One for each clock, so that the reader is compiled for it. */
bool preload_view_realtime(struct timespec *ts);
bool preload_view_monotonic(struct timespec *ts);
bool preload_view_raw(struct timespec *ts);
bool preload_view_boottime(struct timespec *ts);
bool preload_view_tai(struct timespec *ts);

/* One line on stderr, "libclockpage-preload: WHAT", the first time that it is called in a process
 * (and its forked children); never if it would block, or if stderr is no longer what it was when
 * the process began. Keeps errno, raises no SIGPIPE. Async-signal-safe. */
void preload_warn(const char *what);
/* Remembers what stderr is; quiet: no warning will be given. */
void preload_warnings_begin(bool quiet);

/* The C library's functions of these names, as they are without this library: system calls until
 * preload_kernel_begin has looked them up. They set errno as the C library does. */
void preload_kernel_begin(void);
int kernel_clock_gettime(clockid_t clock, struct timespec *ts);
int kernel_clock_getres(clockid_t clock, struct timespec *resolution);
int kernel_gettimeofday(struct timeval *tv, void *timezone);
int kernel_timespec_get(struct timespec *ts, int base);

/* Whether the page has the clock of this number, and if so which: CLOCKPAGE_*, else -1.
 *
 * The _COARSE clocks are REALTIME and MONOTONIC to who reads them, only cheaper and up to a tick
 * older: left to the kernel, one program would log on two time scales. The _ALARM clocks exist for
 * timers, which are the kernel's, and are there only where a device can wake the machine. */
static inline int preload_page_clock(clockid_t clock)
{
	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
		return CLOCKPAGE_REALTIME;
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_COARSE:
		return CLOCKPAGE_MONOTONIC;
	case CLOCK_MONOTONIC_RAW:
		return CLOCKPAGE_MONOTONIC_RAW;
	case CLOCK_BOOTTIME:
		return CLOCKPAGE_BOOTTIME;
	case CLOCK_TAI:
		return CLOCKPAGE_TAI;
	default:
		return -1;
	}
}

static inline bool preload_has_page(void)
{
	int source = __atomic_load_n(&preload_now.source, __ATOMIC_ACQUIRE);
	return source == PRELOAD_PAGE || source == PRELOAD_VIEW;
}

static inline __attribute__((always_inline)) bool preload_read_view(int clock, struct timespec *ts)
{
	switch (clock) {
	case CLOCKPAGE_REALTIME:
		return preload_view_realtime(ts);
	case CLOCKPAGE_MONOTONIC:
		return preload_view_monotonic(ts);
	case CLOCKPAGE_MONOTONIC_RAW:
		return preload_view_raw(ts);
	case CLOCKPAGE_BOOTTIME:
		return preload_view_boottime(ts);
	default:
		return preload_view_tai(ts);
	}
}

/* True: *ts is the page's time. False: ask the kernel; *ts may have been written to. `clock`: a
 * CLOCKPAGE_* clock, a constant at every call, so that the reader is compiled for it. errno is
 * not touched. Async-signal-safe, thread-safe. */
static inline __attribute__((always_inline)) bool preload_read(int clock, struct timespec *ts)
{
	int source = __atomic_load_n(&preload_now.source, __ATOMIC_ACQUIRE), error;
	if (__builtin_expect(source != PRELOAD_PAGE, 0))
		return source == PRELOAD_VIEW ? preload_read_view(clock, ts) : preload_read_none();
	error = clockpage_gettime(&preload_now.reader, clock, ts);
	return __builtin_expect(!error, 1) || preload_read_again(clock, ts, error);
}

#ifdef __cplusplus
}
#endif

#endif /* CLOCKPAGE_PRELOAD_H */
