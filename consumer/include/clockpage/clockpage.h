/* SPDX-License-Identifier: MIT */
/*
 * libclockpage: finding, mapping and validating a region, for C11 and C++.
 *
 * Reading the time is reader.h's, header only: it needs this library for nothing but
 * the reader that clockpage_reader_of returns.
 *
 * Functions return 0 or a negative CLOCKPAGE_E_*. Nothing here prints, exits, throws or
 * writes to a region. A handle is constant once opened: threads may share it, and every
 * function but clockpage_close may be called on it concurrently.
 *
 * A region *file* that is truncated while it is mapped raises SIGBUS in whoever reads it
 * next: that is the operating system's rule and no reader can check for it. clockpaged
 * never truncates or re-creates a region under its readers; do not edit the file by hand.
 * Who does not trust the file's owner with that wants sealed memory, which nobody can
 * shrink: `clockpaged --sealed`, and CLOCKPAGE_OPEN_SEALED to be sure of it.
 */
#ifndef CLOCKPAGE_CLOCKPAGE_H
#define CLOCKPAGE_CLOCKPAGE_H

#include <clockpage/reader.h>
#include <clockpage/view.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CLOCKPAGE_EXPORT __attribute__((visibility("default")))

/* The directory of the region file where neither an option nor the environment names one,
 * the environment variable that may (ignored in set-user-id programs), the file's name. */
#define CLOCKPAGE_DEFAULT_DIRECTORY  "/run/clockpage"
#define CLOCKPAGE_DIRECTORY_VARIABLE "CLOCKPAGE_DIR"
#define CLOCKPAGE_REGION_FILE        "region"
/* The socket in that directory over which views are controlled: section 9.2 of the spec. */
#define CLOCKPAGE_CONTROL_SOCKET "control"

/* Where options->view is NULL: the environment variable that names a view file, and the one that
 * names the views that it was composed from, its ancestors, nearest first, with ':' between
 * (both ignored in set-user-id programs). */
#define CLOCKPAGE_VIEW_VARIABLE         "CLOCKPAGE_VIEW"
#define CLOCKPAGE_VIEW_PARENTS_VARIABLE "CLOCKPAGE_VIEW_PARENTS"

/* Errors of opening, beside those of reader.h. */
#define CLOCKPAGE_E_UNSEALED -24 /* its owner could truncate it under its readers */

/* clockpage_open_options.flags */
/* The region is another machine's, the host's: do not compare its boot id with ours. */
#define CLOCKPAGE_OPEN_GUEST 0x1u
/* Only memory that is sealed against shrinking (F_SEAL_SHRINK of fcntl(2)): reading it
 * cannot raise SIGBUS because somebody truncated it. Holds for a view as well. A region
 * that comes over a socket must be sealed in any case. */
#define CLOCKPAGE_OPEN_SEALED 0x2u

/* The caller reads through the view, by clockpage_view_reader_of: any view will do. Without
 * this a view that clockpage_reader_of cannot stand for is refused (CLOCKPAGE_E_VIEW). */
#define CLOCKPAGE_OPEN_VIEW 0x4u

/* The host's clocks are meant, whatever the environment says and whatever time namespace this
 * process is in: $CLOCKPAGE_VIEW is not looked at. Not together with options->view. */
#define CLOCKPAGE_OPEN_HOST_CLOCKS 0x8u

/* What a region's socket sends with the descriptor, one packet: section 9 of the spec. */
#define CLOCKPAGE_HANDOVER_MAGIC    "CLKPGFDS"
#define CLOCKPAGE_HANDOVER_VERSION  1
#define CLOCKPAGE_HANDOVER_LIMIT_MS 2000 /* the longest that opening waits for a socket */

struct clockpage_handover {
	uint8_t magic[8];     /* CLOCKPAGE_HANDOVER_MAGIC */
	uint32_t version;     /* CLOCKPAGE_HANDOVER_VERSION */
	uint32_t region_size; /* CLOCKPAGE_REGION_SIZE */
};

/* A mapped region, and a view if one was asked for. Opaque. */
struct clockpage_region;

/* All zero but `size`: the unscaled, unsmeared page of the region in the default place. Grows at
 * its end only: `size` tells which version the caller knows. */
struct clockpage_open_options {
	size_t size;           /* sizeof(struct clockpage_open_options) */
	const char *directory; /* NULL: $CLOCKPAGE_DIR, else CLOCKPAGE_DEFAULT_DIRECTORY */
	const char *view;      /* path of a view file; NULL: $CLOCKPAGE_VIEW, else none */
	uint32_t flags;        /* CLOCKPAGE_OPEN_* */
	uint8_t format;        /* CLOCKPAGE_FORMAT_*; a view's own choice overrides it */
	/* 0: unsmeared, not zero: the smeared page, however the host smears (clockpage_smear_of
	 * says how); overridden likewise. */
	uint8_t smear;
	uint8_t reserved0[2]; /* zero */
	/* Paths of the view files that `view` was composed from: its parent, that one's parent and
	 * so on; NULL after the last one. Needed with `view` alone. */
	const char *parents[CLOCKPAGE_VIEW_MAX_ANCESTORS];
};

#define CLOCKPAGE_WHERE_SIZE 512

/* Why a region or view was refused. */
struct clockpage_open_error {
	int code;        /* CLOCKPAGE_E_*, the function's return value */
	int saved_errno; /* with CLOCKPAGE_E_SYSTEM: errno; else 0 */
	/* One line without a newline, file and reason:
	 * "/run/clockpage/region: magic is not CLKPGDIR". A long path loses its beginning. */
	char where[CLOCKPAGE_WHERE_SIZE];
};

/* Opens, maps read-only and validates a region, and a view and its ancestors if options->view or
 * $CLOCKPAGE_VIEW is set. options may be NULL: the defaults. error may be NULL; it is filled in any
 * case (code 0 and an empty line on success). *region is written only with 0.
 *
 * A page of format CLOCKPAGE_FORMAT_SCALED is a function of the *scaled* counter: reading
 * it "now" is right only where the CPU's counter is scaled so (a guest); elsewhere use
 * clockpage_at with clockpage_scale_counter.
 *
 * Where the region's name is a socket (clockpaged --sealed), the memory is taken from the
 * process behind it: a read-only descriptor, closed again once it is mapped. That process
 * may be hostile: opening takes CLOCKPAGE_HANDOVER_LIMIT_MS at most, and memory that is not
 * sealed is refused. The mapping stays whatever becomes of socket and process.
 *
 * Returns 0, CLOCKPAGE_E_ARGUMENT, CLOCKPAGE_E_SYSTEM (open, connect, mmap; ETIMEDOUT and
 * ECONNRESET: the socket gave no answer), or what the files are refused for:
 * CLOCKPAGE_E_{SIZE,MAGIC,VERSION,LAYOUT,COUNTER,STALE,VIEW,UNSEALED,BUSY}. A view of another
 * region than this one is CLOCKPAGE_E_STALE. A view whose guest counter is not the counter of the
 * page it names, or that has offsets, is CLOCKPAGE_E_VIEW without CLOCKPAGE_OPEN_VIEW: it is
 * refused, never ignored; and without that flag clockpage_reader_of looks at a view when it is
 * opened only. Likewise a view that the host has withdrawn, and one whose ancestors were not given.
 * CLOCKPAGE_E_DISRUPTED: an ancestor has changed, and the view has not been composed anew; its
 * writer does that within seconds.
 *
 * $CLOCKPAGE_VIEW may have been meant for another process: unless CLOCKPAGE_OPEN_GUEST is set, a
 * view that is not of this kernel's counter with the offsets of the caller's time namespace is
 * CLOCKPAGE_E_VIEW. options->view is the caller's word.
 *
 * In a time namespace with offsets the host's MONOTONIC, RAW and BOOTTIME are not the caller's:
 * opening without a view is CLOCKPAGE_E_VIEW there, unless CLOCKPAGE_OPEN_HOST_CLOCKS (or _GUEST)
 * is set. */
CLOCKPAGE_EXPORT int clockpage_open(const struct clockpage_open_options *options,
				    struct clockpage_region **region,
				    struct clockpage_open_error *error);

/* As clockpage_open, of a region that the caller has a descriptor of, readable at least: an
 * inherited one, or one that came over a socket of the caller's own. It is neither kept nor
 * closed: the caller may close it at once. options->directory must be NULL. */
CLOCKPAGE_EXPORT int clockpage_open_fd(int fd, const struct clockpage_open_options *options,
				       struct clockpage_region **region,
				       struct clockpage_open_error *error);

/* 1: the region is memory that nobody can shrink; 0: a file that its owner could truncate. */
CLOCKPAGE_EXPORT int clockpage_is_sealed(const struct clockpage_region *region);

/* Unmaps. Readers and pages obtained from the handle are invalid afterwards. NULL is fine. */
CLOCKPAGE_EXPORT void clockpage_close(struct clockpage_region *region);

/* The reader of the page selected at opening; lives as long as the handle. With a view: of the page
 * that the view selected then, in terms of the page's own counter and clocks. */
CLOCKPAGE_EXPORT const struct clockpage_reader *
clockpage_reader_of(const struct clockpage_region *region);

/* The reader of the view where there is one, of options->view or $CLOCKPAGE_VIEW; else NULL. Of the
 * view as it was when it was opened: it goes on reading right when that changes, but slower than a
 * copy of the caller's on which clockpage_view_reader_refresh has been called since. Lives as long
 * as the handle. */
CLOCKPAGE_EXPORT const struct clockpage_view_reader *
clockpage_view_reader_of(const struct clockpage_region *region);

/* The mapped directory page, and the data page of a format (CLOCKPAGE_FORMAT_*) and smear
 * (0: unsmeared, not zero: smeared), or NULL where the region has no such page. */
CLOCKPAGE_EXPORT const struct clockpage_directory_page *
clockpage_directory_of(const struct clockpage_region *region);
CLOCKPAGE_EXPORT const struct clockpage_data_page *
clockpage_page_of(const struct clockpage_region *region, uint8_t format, uint8_t smear);

/* Which smear the REALTIME of a data page is on. Two values of REALTIME are on one time scale only
 * where all three are the same, and only then may they be compared or subtracted. */
struct clockpage_smear {
	uint8_t kind; /* CLOCKPAGE_SMEAR_*; NONE: UTC, also on a "smeared" page whose writer smears
		       * nothing */
	uint8_t reserved0[3];
	int32_t start_s;   /* s of the smeared clock, from the midnight UTC that follows a leap */
	uint32_t length_s; /* s of the smeared clock; 0: none */
};

/* Fills *smear from a data page (of clockpage_page_of, or clockpage_reader_of(...)->page). Constant
 * as long as the page is. Returns 0, CLOCKPAGE_E_ARGUMENT (null), or CLOCKPAGE_E_LAYOUT where kind,
 * start and length contradict each other: no page that clockpage_open accepts, unless it has been
 * changed since. Thread-safe. */
CLOCKPAGE_EXPORT int clockpage_smear_of(const struct clockpage_data_page *page,
					struct clockpage_smear *smear);

/* A static text for CLOCKPAGE_E_* (and CLOCKPAGE_OK); never NULL. */
CLOCKPAGE_EXPORT const char *clockpage_strerror(int code);

/* Validates `length` bytes as a region: the directory page, and every data page by
 * clockpage_reader_init. Not the boot id. bytes must be 8-byte aligned. Returns 0 or
 * CLOCKPAGE_E_{ARGUMENT,SIZE,MAGIC,VERSION,LAYOUT,COUNTER}; error may be NULL. */
CLOCKPAGE_EXPORT int clockpage_validate_region(const void *bytes, size_t length,
					       struct clockpage_open_error *error);

/* Validates `length` bytes as a view page of the region with this (valid) directory page;
 * directory NULL: of any region. Does not ask whether this version can read through it. */
CLOCKPAGE_EXPORT int clockpage_validate_view(const void *bytes, size_t length,
					     const struct clockpage_directory_page *directory,
					     struct clockpage_open_error *error);

/* The boot id of this machine (/proc/sys/kernel/random/boot_id) as its 16 bytes in the
 * order of the text. Returns 0 or CLOCKPAGE_E_SYSTEM. */
CLOCKPAGE_EXPORT int clockpage_boot_id(uint8_t boot_id[16]);

/* clockpage_now and clockpage_now_bounds as symbols, for languages without C headers; through the
 * view where there is one. */
CLOCKPAGE_EXPORT int clockpage_read_ns(const struct clockpage_region *region, int clock,
				       int64_t *ns);
CLOCKPAGE_EXPORT int clockpage_read_time(const struct clockpage_region *region, int clock,
					 struct clockpage_time *time);

#ifdef __cplusplus
}
#endif

#endif /* CLOCKPAGE_CLOCKPAGE_H */
