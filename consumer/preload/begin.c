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

static char
	reason[CLOCKPAGE_WHERE_SIZE + 128]; /* of the one warning, as long as the process lives */

static void use_kernel(const char *why)
{
	snprintf(reason, sizeof(reason), "%s: the clocks are the kernel's", why);
	preload_use_kernel(reason);
}

/* The ancestors' paths, nearest first, ':' between; cut up in `buffer`. False: too many of them. */
static bool take_parents(const char *paths, char *buffer, size_t size,
			 struct clockpage_open_options *options)
{
	unsigned count = 0;
	char *rest = NULL;
	if (strlen(paths) >= size)
		return false;
	strcpy(buffer, paths);
	for (char *path = strtok_r(buffer, ":", &rest); path; path = strtok_r(NULL, ":", &rest)) {
		if (count == CLOCKPAGE_VIEW_MAX_ANCESTORS)
			return false;
		options->parents[count++] = path;
	}
	return true;
}

/* A region that has this kernel's boot id (clockpage_open sees to that, but for guests) is of the
 * counter that this process reads, and of this kernel's clocks: so a view of it that is right here
 * has the time namespace's offsets, and no view is right where there are none. */
static bool take_expected(bool is_guest, struct preload_expected *expected)
{
	static char why[CLOCKPAGE_WHERE_SIZE];
	expected->known = !is_guest;
	if (is_guest || preload_own_offsets(&expected->monotonic_offset_ns,
					    &expected->boottime_offset_ns, why, sizeof(why)) == 0)
		return true;
	use_kernel(why);
	return false;
}

static void open_through(const char *view, char **environment, bool is_guest,
			 struct clockpage_open_options *options)
{
	static char parents[CLOCKPAGE_VIEW_MAX_ANCESTORS * 4096];
	struct preload_expected expected = {0, 0, 0};
	struct clockpage_open_error error;
	struct clockpage_region *region; /* never closed: the clock is read until the very end */
	char why[CLOCKPAGE_WHERE_SIZE + 80];
	options->view = view;
	options->flags |= CLOCKPAGE_OPEN_VIEW;
	options->smear = 0; /* is the view's to say */
	if (!take_parents(variable(environment, CLOCKPAGE_VIEW_PARENTS_VARIABLE), parents,
			  sizeof(parents), options)) {
		use_kernel(CLOCKPAGE_VIEW_PARENTS_VARIABLE " names too many views");
		return;
	}
	if (!take_expected(is_guest, &expected))
		return;
	if (clockpage_open(options, &region, &error) != CLOCKPAGE_OK) {
		use_kernel(error.where);
	} else if (!preload_use_view(clockpage_view_reader_of(region), &expected)) {
		snprintf(why, sizeof(why),
			 "%.480s: is not the view of this process's time namespace", view);
		use_kernel(why);
	}
}

static void open_page(char **environment)
{
	struct clockpage_open_options options = {.size = sizeof(options)};
	struct clockpage_open_error error;
	struct clockpage_region *region; /* never closed, likewise */
	const char *view = variable(environment, CLOCKPAGE_VIEW_VARIABLE);
	const bool is_guest = is_set(environment, CLOCKPAGE_PRELOAD_GUEST);
	options.directory = variable(environment, CLOCKPAGE_DIRECTORY_VARIABLE);
	if (*options.directory == '\0')
		options.directory = CLOCKPAGE_DEFAULT_DIRECTORY;
	options.smear = is_set(environment, CLOCKPAGE_PRELOAD_SMEARED);
	if (is_set(environment, CLOCKPAGE_PRELOAD_SEALED))
		options.flags |= CLOCKPAGE_OPEN_SEALED;
	if (is_guest)
		options.flags |= CLOCKPAGE_OPEN_GUEST;
	if (*view != '\0')
		open_through(view, environment, is_guest, &options);
	else if (is_guest)
		use_kernel("a guest needs a view");
	else if (clockpage_open(&options, &region, &error) == CLOCKPAGE_OK)
		preload_use_page(clockpage_reader_of(region));
	else
		use_kernel(error.where);
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
