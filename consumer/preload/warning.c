/* SPDX-License-Identifier: MIT */
/*
 * The one warning. It is given from within clock_gettime, so anywhere: in a signal handler, under
 * the program's locks, months after the program has closed stderr and opened its database there.
 */
#include "preload.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool warned = true; /* atomic. So until preload_warnings_begin */
static dev_t stderr_device;
static ino_t stderr_inode;

void preload_warnings_begin(bool quiet)
{
	struct stat status;
	if (quiet || fstat(STDERR_FILENO, &status) != 0)
		return;
	stderr_device = status.st_dev;
	stderr_inode = status.st_ino;
	__atomic_store_n(&warned, false, __ATOMIC_RELEASE);
}

static bool stderr_is_fit(void)
{
	struct stat status;
	struct pollfd file = {STDERR_FILENO, POLLOUT, 0};
	return fstat(STDERR_FILENO, &status) == 0 && status.st_dev == stderr_device &&
	       status.st_ino == stderr_inode && poll(&file, 1, 0) == 1 && file.revents == POLLOUT;
}

/* Writes without SIGPIPE: it is kept from this thread, and taken back if it came of this. */
static void write_quietly(const char *line, size_t length)
{
	const struct timespec at_once = {0, 0};
	sigset_t pipe, before, pending;
	bool was_pending;
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	if (pthread_sigmask(SIG_BLOCK, &pipe, &before) != 0)
		return;
	was_pending = sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
	if (write(STDERR_FILENO, line, length) < 0 && errno == EPIPE && !was_pending)
		sigtimedwait(&pipe, NULL, &at_once);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void preload_warn(const char *what)
{
	static const char who[] = "libclockpage-preload: ";
	char line[CLOCKPAGE_WHERE_SIZE + 256];
	const int saved_errno = errno;
	size_t length = strnlen(what, sizeof(line) - sizeof(who) - 1);
	if (__atomic_load_n(&warned, __ATOMIC_ACQUIRE) ||
	    __atomic_exchange_n(&warned, true, __ATOMIC_ACQ_REL))
		return;
	memcpy(line, who, sizeof(who) - 1);
	memcpy(line + sizeof(who) - 1, what, length);
	length += sizeof(who) - 1;
	line[length++] = '\n'; /* one write: lines of several processes do not mix */
	if (stderr_is_fit())
		write_quietly(line, length);
	errno = saved_errno;
}
