/* SPDX-License-Identifier: MIT */
/*
 * What happens once, when the library is loaded: the only part that allocates or can wait (for a
 * region's socket, CLOCKPAGE_HANDOVER_LIMIT_MS at most).
 *
 * The library asks to be initialised before all others (-z initfirst), so that their static
 * constructors are told the same time as main. The C library has not taken note of its environment
 * then: it is the constructor's third argument.
 */
#include "preload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>

/* PROC_TIME_INIT_INO of the kernel's include/linux/proc_ns.h: the first time namespace. */
#define FIRST_TIME_NAMESPACE 0xEFFFFFFAu

static const char *variable(char **environment, const char *name)
{
	const size_t length = strlen(name);
	for (char **entry = environment; entry && *entry; entry++)
		if (strncmp(*entry, name, length) == 0 && (*entry)[length] == '=')
			return *entry + length + 1;
	return "";
}

static bool is_set(char **environment, const char *name)
{
	const char *value = variable(environment, name);
	return *value != '\0' && strcmp(value, "0") != 0;
}

/* In another one the page's MONOTONIC, RAW and BOOTTIME are not this process's. */
static bool in_first_time_namespace(void)
{
	struct stat status;
	return stat("/proc/self/ns/time", &status) != 0 || status.st_ino == FIRST_TIME_NAMESPACE;
}

static void open_page(char **environment)
{
	static char reason[CLOCKPAGE_WHERE_SIZE + 64];
	struct clockpage_open_options options = {.size = sizeof(options)};
	struct clockpage_open_error error;
	struct clockpage_region *region; /* never closed: the clock is read until the very end */
	options.directory = variable(environment, CLOCKPAGE_DIRECTORY_VARIABLE);
	if (*options.directory == '\0')
		options.directory = CLOCKPAGE_DEFAULT_DIRECTORY;
	options.smear = is_set(environment, CLOCKPAGE_PRELOAD_SMEARED);
	if (is_set(environment, CLOCKPAGE_PRELOAD_SEALED))
		options.flags |= CLOCKPAGE_OPEN_SEALED;
	if (!in_first_time_namespace()) {
		preload_use_kernel("this time namespace needs a view: the clocks are the kernel's");
	} else if (clockpage_open(&options, &region, &error) == CLOCKPAGE_OK) {
		preload_use_page(clockpage_reader_of(region));
	} else {
		snprintf(reason, sizeof(reason), "%s: the clocks are the kernel's", error.where);
		preload_use_kernel(reason);
	}
}

__attribute__((constructor)) static void begin(int count, char **arguments, char **environment)
{
	const int saved_errno = errno;
	(void)count;
	(void)arguments;
	if (getauxval(AT_SECURE)) /* the dynamic linker has let us in; the caller says no more */
		environment = NULL;
	preload_kernel_begin();
	preload_warnings_begin(is_set(environment, CLOCKPAGE_PRELOAD_QUIET));
	open_page(environment);
	errno = saved_errno;
}
