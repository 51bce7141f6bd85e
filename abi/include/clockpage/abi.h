/* SPDX-License-Identifier: MIT OR (GPL-2.0 WITH Linux-syscall-note) */
/*
 * clockpage: the shared-memory layout (ABI version 1).
 *
 * WHY. A guest that wants its host's CLOCK_REALTIME today is given pairs
 * (counter, time) and steers a clock of its own by them; two clocks that are
 * steered apart are two clocks, and programs that exchange timestamps see time
 * go backwards. Here the host publishes the *function* from the CPU's counter
 * to time instead. Whoever maps the page evaluates that one function, so all
 * readers of a page at one counter value compute the same bits, and nobody has
 * to be woken when the host adjusts its clock.
 *
 * WHAT. One region file: a directory page and four data pages, {unscaled,
 * scaled} x {unsmeared, smeared}. A data page holds a ring of *segments*. A
 * segment is a straight line that begins at counter value `start`, and a
 * *lease*: the writer's promise that nothing about the function changes before
 * counter value `lease_end`. The next segment begins exactly where the lease
 * ends. A view page (a file of its own) carries what is particular to one guest
 * or time namespace.
 *
 * The normative text is spec/clockpage.md; a test compares its tables with the
 * assertion rows at the end of this file.
 *
 * CONVENTIONS. Little-endian, fixed width, explicitly padded. `_ns`
 * nanoseconds; `_frac` a fraction in units of 2^-64 of what the name says;
 * `_ticks` counter ticks. The sign of an offset is stated as an equation. Time
 * domains: "TAI" counts TAI seconds since 1970-01-01 00:00:00 TAI (as PTP does),
 * "REALTIME" is UTC as Linux counts it, since 1970-01-01 00:00:00 UTC.
 *
 * VALIDITY. Constant fields are written once, before the file gets its name.
 * Words of a segment are valid while `index` names it or one of the 14 before
 * it, and only if `index` reads the same before and after (spec section 5).
 * Reserved bytes are written zero and ignored by readers.
 */
#ifndef CLOCKPAGE_ABI_H
#define CLOCKPAGE_ABI_H

#ifdef __KERNEL__
#include <linux/build_bug.h>
#include <linux/types.h>
typedef u8 clockpage_u8;
typedef u16 clockpage_u16;
typedef u32 clockpage_u32;
typedef s32 clockpage_s32;
typedef u64 clockpage_u64;
typedef s64 clockpage_s64;
#else
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
typedef uint8_t clockpage_u8;
typedef uint16_t clockpage_u16;
typedef uint32_t clockpage_u32;
typedef int32_t clockpage_s32;
typedef uint64_t clockpage_u64;
typedef int64_t clockpage_s64;
#endif

/* The major version changes only when an old reader would misread. */
#define CLOCKPAGE_ABI_MAJOR 1
/* The minor version grows with fields added in reserved space; `size` covers them. */
#define CLOCKPAGE_ABI_MINOR 1

#define CLOCKPAGE_PAGE_SIZE 4096
/* Directory and data pages, padded to a power of two so that it can be a PCI BAR. */
#define CLOCKPAGE_REGION_SIZE     32768
#define CLOCKPAGE_DATA_PAGE_COUNT 4

#define CLOCKPAGE_MAGIC_SIZE 8
/* Byte strings, so that they do not depend on endianness. */
#define CLOCKPAGE_DIRECTORY_MAGIC "CLKPGDIR"
#define CLOCKPAGE_DATA_MAGIC      "CLKPGDAT"
#define CLOCKPAGE_VIEW_MAGIC      "CLKPGVEW"

/* Slots in a data page's ring. Slot n & 15 holds segment n. */
#define CLOCKPAGE_SEGMENT_COUNT  16
#define CLOCKPAGE_SEGMENT_SIZE   192
#define CLOCKPAGE_SEGMENT_OFFSET 1024
/* How far behind `index` a segment may be and still be read: the one 15 back
 * shares its slot with the one that may be under the writer's pen. */
#define CLOCKPAGE_HISTORY 14

#define CLOCKPAGE_VIEW_SLOT_COUNT 4
/* How many views a view may be composed from, one of another (nesting). */
#define CLOCKPAGE_VIEW_MAX_ANCESTORS 3

/* Offset of TAI's base and cap of an evaluated delta: base < 2^62 ns (the year
 * 2116) and (delta << delta_shift) <= 2^62, so that their sum stays below 2^63. */
#define CLOCKPAGE_MAX_BASE_NS ((clockpage_u64)1 << 62)
#define CLOCKPAGE_MAX_TICKS   ((clockpage_u64)1 << 62)
/* The largest delta_shift a page may carry. */
#define CLOCKPAGE_MAX_DELTA_SHIFT 32

/* A bound that is not known. Never written as zero. */
#define CLOCKPAGE_BOUND_UNKNOWN (~(clockpage_u64)0)
/* leap_start_ns and leap_end_ns of a segment without a leap in sight. */
#define CLOCKPAGE_NO_LEAP ((clockpage_s64)0x7fffffffffffffffLL)
/* How long before leap_start_ns a leap is PENDING_*: 24 h of TAI, the UTC day that ends with it. */
#define CLOCKPAGE_LEAP_NOTICE_NS ((clockpage_s64)86400000000000LL)

/* struct clockpage_directory_page.counter_kind, clockpage_data_page.counter_kind;
 * the values of vmclock's counter_id. */
#define CLOCKPAGE_COUNTER_ARM_CNTVCT 0
#define CLOCKPAGE_COUNTER_X86_TSC    1

/* Data page format. */
#define CLOCKPAGE_FORMAT_UNSCALED 0 /* input: the host's counter */
#define CLOCKPAGE_FORMAT_SCALED   1 /* input: (counter * scale_ratio) >> scale_frac_bits */

/* Which smear a data page carries; the first three have the values of vmclock's smearing hint.
 * Two values of REALTIME are on one time scale only where smear, start and length are the same. */
#define CLOCKPAGE_SMEAR_NONE    0 /* UTC with leap seconds */
#define CLOCKPAGE_SMEAR_NOON    1 /* linear, from noon to noon UTC: 24 h on the smeared clock */
#define CLOCKPAGE_SMEAR_UTC_SLS 2 /* linear, over the last 1000 s before midnight UTC */
#define CLOCKPAGE_SMEAR_LINEAR  3 /* linear, as smear_start_s and smear_length_s say */

/* struct clockpage_data_page.features, clockpage_directory_page.features */
#define CLOCKPAGE_FEATURE_LEAPS 0x1 /* segments announce leap seconds and say where TAI is from */

/* How good the clock is: the states of vmclock's clock_status. */
#define CLOCKPAGE_STATUS_UNKNOWN      0 /* nothing vouches for REALTIME and TAI */
#define CLOCKPAGE_STATUS_INITIALISING 1 /* the source is being proven */
#define CLOCKPAGE_STATUS_SYNCHRONISED 2 /* the source says it is synchronised */
#define CLOCKPAGE_STATUS_FREE_RUNNING 3 /* nobody steers it (any more); runs on, bounds grow */
#define CLOCKPAGE_STATUS_UNRELIABLE   4 /* do not use */

/* Why the status is what it is (struct clockpage_segment.reason). */
#define CLOCKPAGE_REASON_NONE                  0
#define CLOCKPAGE_REASON_KERNEL_UNSYNCHRONISED 1 /* adjtimex: STA_UNSYNC */
#define CLOCKPAGE_REASON_KERNEL_CLOCK_ERROR    2 /* adjtimex: TIME_ERROR */
#define CLOCKPAGE_REASON_SOURCE_LOST           3 /* the source could not be read */
#define CLOCKPAGE_REASON_CATCHING_UP           4 /* slewing towards the source */
#define CLOCKPAGE_REASON_PRODUCER_STOPPED      5 /* the producer ended cleanly */
#define CLOCKPAGE_REASON_SIMULATED             6 /* source `sim`: not a real time */

/* struct clockpage_data_page.revoked: not zero means that no time can be read. */
#define CLOCKPAGE_REVOKED_NO       0
#define CLOCKPAGE_REVOKED_COUNTER  1 /* the counter jumped or is no longer invariant */
#define CLOCKPAGE_REVOKED_REPLACED 2 /* another file has this region's name, or none has */

/* struct clockpage_segment.leap_indicator, as of its start; PENDING_*: within LEAP_NOTICE_NS */
#define CLOCKPAGE_LEAP_NONE              0
#define CLOCKPAGE_LEAP_PENDING_INSERTION 1
#define CLOCKPAGE_LEAP_PENDING_DELETION  2
#define CLOCKPAGE_LEAP_IN_SMEAR          3
#define CLOCKPAGE_LEAP_JUST_PAST         4

/* struct clockpage_segment.flags */
#define CLOCKPAGE_SEGMENT_TAI_KNOWN      0x1u  /* utc_offset_ns is TAI - UTC */
#define CLOCKPAGE_SEGMENT_BRIDGE         0x2u  /* the line before goes on unchanged */
#define CLOCKPAGE_SEGMENT_REALTIME_STEP  0x4u  /* REALTIME steps at start */
#define CLOCKPAGE_SEGMENT_TAI_STEP       0x8u  /* TAI steps at start */
#define CLOCKPAGE_SEGMENT_MONOTONIC_STEP 0x10u /* MONOTONIC, RAW or BOOTTIME step at start */
/* Where TAI - UTC is from, valid with TAI_KNOWN; zero: not said (ABI 1.0). */
#define CLOCKPAGE_SEGMENT_TAI_SOURCE        0x60u /* mask */
#define CLOCKPAGE_SEGMENT_TAI_KERNEL        0x20u /* the kernel's TAI offset */
#define CLOCKPAGE_SEGMENT_TAI_TABLE         0x40u /* a table of leap seconds */
#define CLOCKPAGE_SEGMENT_TAI_CONFIGURATION 0x60u /* the writer was told */
/* The source's own REALTIME is being smeared: unsmeared REALTIME is computed back from it. */
#define CLOCKPAGE_SEGMENT_HOST_IN_SMEAR 0x80u
/* Any of these: a discontinuity. It begins a new epoch. */
#define CLOCKPAGE_SEGMENT_DISCONTINUITY                                                            \
	(CLOCKPAGE_SEGMENT_REALTIME_STEP | CLOCKPAGE_SEGMENT_TAI_STEP |                            \
	 CLOCKPAGE_SEGMENT_MONOTONIC_STEP)

/* Where a data page lies in the region. Constant. */
struct clockpage_data_page_entry {
	clockpage_u32 offset_bytes; /* from the start of the region; a multiple of 4096 */
	clockpage_u8 format;        /* CLOCKPAGE_FORMAT_* */
	clockpage_u8 smear;         /* 0: unsmeared; not zero: smeared */
	clockpage_u8 reserved0[2];
};

/* Directory page, at offset 0 of the region. Constant but for its creation. */
struct clockpage_directory_page {
	clockpage_u8 magic[CLOCKPAGE_MAGIC_SIZE]; /* CLOCKPAGE_DIRECTORY_MAGIC */
	clockpage_u16 abi_major;                  /* CLOCKPAGE_ABI_MAJOR */
	clockpage_u16 abi_minor;                  /* CLOCKPAGE_ABI_MINOR */
	clockpage_u32 size;                       /* bytes of this page with a meaning */
	clockpage_u64 features;                   /* CLOCKPAGE_FEATURE_* */
	clockpage_u64 region_size;                /* bytes: CLOCKPAGE_REGION_SIZE */
	clockpage_u8 host_id[16];                 /* of this host, the same over reboots */
	clockpage_u8 boot_id[16];                 /* of this boot of the host */
	clockpage_u64 generation;                 /* random, of this region file */
	clockpage_u8 counter_kind;                /* CLOCKPAGE_COUNTER_* */
	clockpage_u8 reserved0[7];
	clockpage_u64 counter_frequency_hz;  /* nominal, of the host's counter */
	clockpage_u64 counter_quantum_ticks; /* the counter advances in multiples of this; >= 1 */
	/* counter = art * art_numerator / art_denominator + constant; denominator 0: no ART */
	clockpage_u32 art_numerator;
	clockpage_u32 art_denominator;
	clockpage_u32 data_page_count; /* CLOCKPAGE_DATA_PAGE_COUNT */
	clockpage_u32 data_page_size;  /* CLOCKPAGE_PAGE_SIZE */
	struct clockpage_data_page_entry data_page[CLOCKPAGE_DATA_PAGE_COUNT];
	clockpage_u8 reserved1[CLOCKPAGE_PAGE_SIZE - 144];
};

/*
 * One segment. Written by the one writer while `index` does not name it; every
 * word is read and written as one relaxed atomic access.
 *
 * With ticks = (counter - start) << delta_shift, for start <= counter < lease_end:
 *   tai       = tai_ns + (tai_frac + ticks * tai_period_frac) / 2^64
 *   raw       = raw_ns + (raw_frac + ticks * raw_period_frac) / 2^64
 *   realtime  = tai - utc_offset(tai)
 *   monotonic = tai - monotonic_offset_ns
 *   boottime  = tai - boottime_offset_ns
 * rounded down to ns once, before the offsets are subtracted.
 */
struct clockpage_segment {
	clockpage_u64 number;          /* this segment's; slot number & 15; wraps at 2^64 */
	clockpage_u64 start;           /* counter at which the line begins (page's counter) */
	clockpage_u64 lease_end;       /* nothing changes before this; the next one's start */
	clockpage_u64 tai_ns;          /* TAI at start, whole ns, < 2^62 */
	clockpage_u64 tai_frac;        /* TAI at start, 2^-64 ns */
	clockpage_u64 tai_period_frac; /* ns per 2^-delta_shift tick, 2^-64 ns */
	/* utc_offset(tai) = utc_offset_ns where tai < leap_start_ns. When TAI is not known
	 * it is 0 and "tai" is REALTIME's own line. Example: 2017-01-01: 37000000000. */
	clockpage_s64 utc_offset_ns;
	clockpage_s64 leap_start_ns;       /* TAI at which utc_offset begins to change */
	clockpage_s64 monotonic_offset_ns; /* monotonic = tai - monotonic_offset_ns */
	clockpage_s64 boottime_offset_ns;  /* boottime = tai - boottime_offset_ns */
	clockpage_u64 raw_ns;              /* MONOTONIC_RAW at start, whole ns */
	clockpage_u64 raw_frac;            /* MONOTONIC_RAW at start, 2^-64 ns */
	clockpage_u64 raw_period_frac;     /* ns per 2^-delta_shift tick, 2^-64 ns */
	/* Half-widths at start, and their growth in 2^-64 ns per 2^-delta_shift tick since start.
	 * utc: |REALTIME or TAI read here - what the source claims UTC or TAI to be|.
	 * local: |MONOTONIC, RAW, BOOTTIME read here - the source's|.
	 * CLOCKPAGE_BOUND_UNKNOWN: no bound. */
	clockpage_u64 utc_bound_ns;
	clockpage_u64 utc_bound_growth_frac;
	clockpage_u64 local_bound_ns;
	clockpage_u64 local_bound_growth_frac;
	clockpage_u64 epoch;         /* +1 at every discontinuity */
	clockpage_u32 flags;         /* CLOCKPAGE_SEGMENT_* */
	clockpage_u8 status;         /* CLOCKPAGE_STATUS_*, of REALTIME and TAI */
	clockpage_u8 reason;         /* CLOCKPAGE_REASON_* */
	clockpage_u8 leap_indicator; /* CLOCKPAGE_LEAP_* */
	clockpage_u8 reserved0;
	clockpage_s64 leap_end_ns;         /* TAI at which utc_offset is utc_offset_after_ns */
	clockpage_s64 utc_offset_after_ns; /* utc_offset(tai) where tai >= leap_end_ns */
	/* |utc_offset_after_ns - utc_offset_ns| / (leap_end_ns - leap_start_ns), 2^-64 */
	clockpage_u64 leap_slope_frac;
	clockpage_u64 reserved1[2];
};

/* What the writer tells about itself. Not part of the clock: each word is one
 * relaxed atomic, words are not consistent with each other. */
struct clockpage_diagnostics {
	clockpage_u8 source[16];         /* name of the time source, zero-padded */
	clockpage_u64 producer_pid;      /* in the producer's pid namespace; 0: ended cleanly */
	clockpage_u64 adoptions;         /* times a producer took over this region */
	clockpage_u64 publications;      /* segments published, bridges included */
	clockpage_u64 bridges;           /* segments that only extended a lease */
	clockpage_u64 late_publications; /* steering stores later than 1 us before their start */
	clockpage_u64 late_max_ns;     /* the largest disagreement that one of them made possible */
	clockpage_s64 min_margin_ns;   /* smallest start - counter after a steering store */
	clockpage_u64 realtime_steps;  /* steps of REALTIME */
	clockpage_u64 tai_steps;       /* steps of TAI */
	clockpage_u64 monotonic_steps; /* disruptions of MONOTONIC, RAW or BOOTTIME */
	clockpage_u64 period_ns;       /* length asked for of a segment */
	clockpage_u64 lead_ns;         /* adapted: how long before a lease's end the writer wakes */
	clockpage_s64 source_error_ns; /* page - source at the last observation */
	clockpage_u64 source_max_error_ns; /* what the source said of its own error; ~0: nothing */
	clockpage_u64 source_frequency_hz; /* counter frequency as the source last saw it */
	/* The table of leap seconds that was read, if any (all zero: none): POSIX seconds at which
	 * it was made and at which it expires, and what it says TAI - UTC to be now, in seconds. */
	clockpage_u64 leap_table_updated_s;
	clockpage_u64 leap_table_expires_s;
	clockpage_s64 leap_table_offset_s;
};

/* Data page. */
struct clockpage_data_page {
	/* Constant. */
	clockpage_u8 magic[CLOCKPAGE_MAGIC_SIZE]; /* CLOCKPAGE_DATA_MAGIC */
	clockpage_u16 abi_major;
	clockpage_u16 abi_minor;
	clockpage_u32 size;                 /* bytes of this page with a meaning */
	clockpage_u64 features;             /* CLOCKPAGE_FEATURE_* */
	clockpage_u8 counter_kind;          /* CLOCKPAGE_COUNTER_* */
	clockpage_u8 format;                /* CLOCKPAGE_FORMAT_* */
	clockpage_u8 smear;                 /* CLOCKPAGE_SMEAR_* of this page; see the directory */
	clockpage_u8 delta_shift;           /* k: 0 to CLOCKPAGE_MAX_DELTA_SHIFT */
	clockpage_u32 segment_count;        /* CLOCKPAGE_SEGMENT_COUNT */
	clockpage_u32 segment_size;         /* CLOCKPAGE_SEGMENT_SIZE */
	clockpage_u32 segment_offset;       /* CLOCKPAGE_SEGMENT_OFFSET */
	clockpage_u64 counter_frequency_hz; /* nominal, of this page's counter */
	/* This page's counter = (host counter * scale_ratio) >> scale_frac_bits.
	 * Unscaled: ratio 1, frac_bits 0. */
	clockpage_u64 scale_ratio;
	clockpage_u8 scale_frac_bits;
	clockpage_u8 reserved0[7];
	clockpage_u64 generation; /* the directory's */
	/* The smear, in seconds of the smeared clock: where it begins, from the midnight UTC that
	 * follows the leap second (noon before: -43200), and how long it takes. ABI 1.0: both 0. */
	clockpage_s32 smear_start_s;
	clockpage_u32 smear_length_s;
	clockpage_u8 reserved1[176];

	/* Changing: the newest segment's number, and the writer's withdrawal. */
	clockpage_u64 index;   /* starts at a random 48-bit value, then +1 per segment */
	clockpage_u64 revoked; /* CLOCKPAGE_REVOKED_* */
	clockpage_u8 reserved2[240];

	/* Changing, for people. */
	struct clockpage_diagnostics diagnostics;
	clockpage_u8 reserved3[352];

	/* Changing under `index`. */
	struct clockpage_segment segment[CLOCKPAGE_SEGMENT_COUNT];
};

/* One view slot. Changes only while no virtual CPU of the guest can run. */
struct clockpage_view_slot {
	clockpage_u64 number; /* this slot's; slot number & 3 */
	/* guest counter = ((host counter * counter_ratio) >> counter_frac_bits) + counter_offset */
	clockpage_s64 counter_offset;
	clockpage_u64 counter_ratio;    /* never 0; unscaled: 1 with counter_frac_bits 0 */
	clockpage_u8 counter_frac_bits; /* 0, 32 (SVM) or 48 (VMX) */
	clockpage_u8 format;            /* data page to use: CLOCKPAGE_FORMAT_* */
	clockpage_u8 smear;             /* data page to use: 0 unsmeared, not zero smeared */
	clockpage_u8 reserved0[5];
	clockpage_s64 monotonic_offset_ns; /* view's = page's + this: MONOTONIC and MONOTONIC_RAW */
	clockpage_s64 boottime_offset_ns;  /* view's = page's + this: BOOTTIME */
	clockpage_u64 disruption_marker;   /* changes whenever counter_offset or ratio do */
	clockpage_u64 parent_generation;   /* of the view this one was composed from; 0: none */
	clockpage_u64 reserved1[8];
};

/* View page: one file per guest or time namespace. */
struct clockpage_view_page {
	/* Constant. */
	clockpage_u8 magic[CLOCKPAGE_MAGIC_SIZE]; /* CLOCKPAGE_VIEW_MAGIC */
	clockpage_u16 abi_major;
	clockpage_u16 abi_minor;
	clockpage_u32 size;     /* bytes of this page with a meaning */
	clockpage_u64 features; /* none are defined yet */
	clockpage_u8 view_id[16];
	clockpage_u64 generation; /* the directory's it belongs to */
	clockpage_u32 slot_count; /* CLOCKPAGE_VIEW_SLOT_COUNT */
	clockpage_u32 slot_size;  /* sizeof(struct clockpage_view_slot) */
	clockpage_u8 reserved0[200];

	/* Changing. */
	clockpage_u64 index; /* the newest slot's number; random 48-bit start */
	clockpage_u8 reserved1[248];
	struct clockpage_view_slot slot[CLOCKPAGE_VIEW_SLOT_COUNT];
	clockpage_u8 reserved2[CLOCKPAGE_PAGE_SIZE - 512 - 4 * 128];
};

#ifndef __cplusplus
#define CLOCKPAGE_STATIC_ASSERT_(condition) _Static_assert(condition, #condition)
#else
#define CLOCKPAGE_STATIC_ASSERT_(condition) static_assert(condition, #condition)
#endif
/* One row per field: structure, field, offset in bytes, size in bytes. */
#define CLOCKPAGE_ROW(structure, field, offset, size)                                              \
	CLOCKPAGE_STATIC_ASSERT_(offsetof(struct structure, field) == (offset) &&                  \
				 sizeof(((struct structure *)0)->field) == (size))
#define CLOCKPAGE_SIZE_ROW(structure, size)                                                        \
	CLOCKPAGE_STATIC_ASSERT_(sizeof(struct structure) == (size))

/* clang-format off */
CLOCKPAGE_ROW(clockpage_data_page_entry, offset_bytes, 0x00, 4);
CLOCKPAGE_ROW(clockpage_data_page_entry, format, 0x04, 1);
CLOCKPAGE_ROW(clockpage_data_page_entry, smear, 0x05, 1);
CLOCKPAGE_ROW(clockpage_data_page_entry, reserved0, 0x06, 2);
CLOCKPAGE_SIZE_ROW(clockpage_data_page_entry, 8);

CLOCKPAGE_ROW(clockpage_directory_page, magic, 0x00, 8);
CLOCKPAGE_ROW(clockpage_directory_page, abi_major, 0x08, 2);
CLOCKPAGE_ROW(clockpage_directory_page, abi_minor, 0x0a, 2);
CLOCKPAGE_ROW(clockpage_directory_page, size, 0x0c, 4);
CLOCKPAGE_ROW(clockpage_directory_page, features, 0x10, 8);
CLOCKPAGE_ROW(clockpage_directory_page, region_size, 0x18, 8);
CLOCKPAGE_ROW(clockpage_directory_page, host_id, 0x20, 16);
CLOCKPAGE_ROW(clockpage_directory_page, boot_id, 0x30, 16);
CLOCKPAGE_ROW(clockpage_directory_page, generation, 0x40, 8);
CLOCKPAGE_ROW(clockpage_directory_page, counter_kind, 0x48, 1);
CLOCKPAGE_ROW(clockpage_directory_page, reserved0, 0x49, 7);
CLOCKPAGE_ROW(clockpage_directory_page, counter_frequency_hz, 0x50, 8);
CLOCKPAGE_ROW(clockpage_directory_page, counter_quantum_ticks, 0x58, 8);
CLOCKPAGE_ROW(clockpage_directory_page, art_numerator, 0x60, 4);
CLOCKPAGE_ROW(clockpage_directory_page, art_denominator, 0x64, 4);
CLOCKPAGE_ROW(clockpage_directory_page, data_page_count, 0x68, 4);
CLOCKPAGE_ROW(clockpage_directory_page, data_page_size, 0x6c, 4);
CLOCKPAGE_ROW(clockpage_directory_page, data_page, 0x70, 32);
CLOCKPAGE_ROW(clockpage_directory_page, reserved1, 0x90, 3952);
CLOCKPAGE_SIZE_ROW(clockpage_directory_page, 4096);

CLOCKPAGE_ROW(clockpage_segment, number, 0x00, 8);
CLOCKPAGE_ROW(clockpage_segment, start, 0x08, 8);
CLOCKPAGE_ROW(clockpage_segment, lease_end, 0x10, 8);
CLOCKPAGE_ROW(clockpage_segment, tai_ns, 0x18, 8);
CLOCKPAGE_ROW(clockpage_segment, tai_frac, 0x20, 8);
CLOCKPAGE_ROW(clockpage_segment, tai_period_frac, 0x28, 8);
CLOCKPAGE_ROW(clockpage_segment, utc_offset_ns, 0x30, 8);
CLOCKPAGE_ROW(clockpage_segment, leap_start_ns, 0x38, 8);
CLOCKPAGE_ROW(clockpage_segment, monotonic_offset_ns, 0x40, 8);
CLOCKPAGE_ROW(clockpage_segment, boottime_offset_ns, 0x48, 8);
CLOCKPAGE_ROW(clockpage_segment, raw_ns, 0x50, 8);
CLOCKPAGE_ROW(clockpage_segment, raw_frac, 0x58, 8);
CLOCKPAGE_ROW(clockpage_segment, raw_period_frac, 0x60, 8);
CLOCKPAGE_ROW(clockpage_segment, utc_bound_ns, 0x68, 8);
CLOCKPAGE_ROW(clockpage_segment, utc_bound_growth_frac, 0x70, 8);
CLOCKPAGE_ROW(clockpage_segment, local_bound_ns, 0x78, 8);
CLOCKPAGE_ROW(clockpage_segment, local_bound_growth_frac, 0x80, 8);
CLOCKPAGE_ROW(clockpage_segment, epoch, 0x88, 8);
CLOCKPAGE_ROW(clockpage_segment, flags, 0x90, 4);
CLOCKPAGE_ROW(clockpage_segment, status, 0x94, 1);
CLOCKPAGE_ROW(clockpage_segment, reason, 0x95, 1);
CLOCKPAGE_ROW(clockpage_segment, leap_indicator, 0x96, 1);
CLOCKPAGE_ROW(clockpage_segment, reserved0, 0x97, 1);
CLOCKPAGE_ROW(clockpage_segment, leap_end_ns, 0x98, 8);
CLOCKPAGE_ROW(clockpage_segment, utc_offset_after_ns, 0xa0, 8);
CLOCKPAGE_ROW(clockpage_segment, leap_slope_frac, 0xa8, 8);
CLOCKPAGE_ROW(clockpage_segment, reserved1, 0xb0, 16);
CLOCKPAGE_SIZE_ROW(clockpage_segment, 192);

CLOCKPAGE_ROW(clockpage_diagnostics, source, 0x00, 16);
CLOCKPAGE_ROW(clockpage_diagnostics, producer_pid, 0x10, 8);
CLOCKPAGE_ROW(clockpage_diagnostics, adoptions, 0x18, 8);
CLOCKPAGE_ROW(clockpage_diagnostics, publications, 0x20, 8);
CLOCKPAGE_ROW(clockpage_diagnostics, bridges, 0x28, 8);
CLOCKPAGE_ROW(clockpage_diagnostics, late_publications, 0x30, 8);
CLOCKPAGE_ROW(clockpage_diagnostics, late_max_ns, 0x38, 8);
CLOCKPAGE_ROW(clockpage_diagnostics, min_margin_ns, 0x40, 8);
CLOCKPAGE_ROW(clockpage_diagnostics, realtime_steps, 0x48, 8);
CLOCKPAGE_ROW(clockpage_diagnostics, tai_steps, 0x50, 8);
CLOCKPAGE_ROW(clockpage_diagnostics, monotonic_steps, 0x58, 8);
CLOCKPAGE_ROW(clockpage_diagnostics, period_ns, 0x60, 8);
CLOCKPAGE_ROW(clockpage_diagnostics, lead_ns, 0x68, 8);
CLOCKPAGE_ROW(clockpage_diagnostics, source_error_ns, 0x70, 8);
CLOCKPAGE_ROW(clockpage_diagnostics, source_max_error_ns, 0x78, 8);
CLOCKPAGE_ROW(clockpage_diagnostics, source_frequency_hz, 0x80, 8);
CLOCKPAGE_ROW(clockpage_diagnostics, leap_table_updated_s, 0x88, 8);
CLOCKPAGE_ROW(clockpage_diagnostics, leap_table_expires_s, 0x90, 8);
CLOCKPAGE_ROW(clockpage_diagnostics, leap_table_offset_s, 0x98, 8);
CLOCKPAGE_SIZE_ROW(clockpage_diagnostics, 160);

CLOCKPAGE_ROW(clockpage_data_page, magic, 0x00, 8);
CLOCKPAGE_ROW(clockpage_data_page, abi_major, 0x08, 2);
CLOCKPAGE_ROW(clockpage_data_page, abi_minor, 0x0a, 2);
CLOCKPAGE_ROW(clockpage_data_page, size, 0x0c, 4);
CLOCKPAGE_ROW(clockpage_data_page, features, 0x10, 8);
CLOCKPAGE_ROW(clockpage_data_page, counter_kind, 0x18, 1);
CLOCKPAGE_ROW(clockpage_data_page, format, 0x19, 1);
CLOCKPAGE_ROW(clockpage_data_page, smear, 0x1a, 1);
CLOCKPAGE_ROW(clockpage_data_page, delta_shift, 0x1b, 1);
CLOCKPAGE_ROW(clockpage_data_page, segment_count, 0x1c, 4);
CLOCKPAGE_ROW(clockpage_data_page, segment_size, 0x20, 4);
CLOCKPAGE_ROW(clockpage_data_page, segment_offset, 0x24, 4);
CLOCKPAGE_ROW(clockpage_data_page, counter_frequency_hz, 0x28, 8);
CLOCKPAGE_ROW(clockpage_data_page, scale_ratio, 0x30, 8);
CLOCKPAGE_ROW(clockpage_data_page, scale_frac_bits, 0x38, 1);
CLOCKPAGE_ROW(clockpage_data_page, reserved0, 0x39, 7);
CLOCKPAGE_ROW(clockpage_data_page, generation, 0x40, 8);
CLOCKPAGE_ROW(clockpage_data_page, smear_start_s, 0x48, 4);
CLOCKPAGE_ROW(clockpage_data_page, smear_length_s, 0x4c, 4);
CLOCKPAGE_ROW(clockpage_data_page, reserved1, 0x50, 176);
CLOCKPAGE_ROW(clockpage_data_page, index, 0x100, 8);
CLOCKPAGE_ROW(clockpage_data_page, revoked, 0x108, 8);
CLOCKPAGE_ROW(clockpage_data_page, reserved2, 0x110, 240);
CLOCKPAGE_ROW(clockpage_data_page, diagnostics, 0x200, 160);
CLOCKPAGE_ROW(clockpage_data_page, reserved3, 0x2a0, 352);
CLOCKPAGE_ROW(clockpage_data_page, segment, 0x400, 3072);
CLOCKPAGE_SIZE_ROW(clockpage_data_page, 4096);

CLOCKPAGE_ROW(clockpage_view_slot, number, 0x00, 8);
CLOCKPAGE_ROW(clockpage_view_slot, counter_offset, 0x08, 8);
CLOCKPAGE_ROW(clockpage_view_slot, counter_ratio, 0x10, 8);
CLOCKPAGE_ROW(clockpage_view_slot, counter_frac_bits, 0x18, 1);
CLOCKPAGE_ROW(clockpage_view_slot, format, 0x19, 1);
CLOCKPAGE_ROW(clockpage_view_slot, smear, 0x1a, 1);
CLOCKPAGE_ROW(clockpage_view_slot, reserved0, 0x1b, 5);
CLOCKPAGE_ROW(clockpage_view_slot, monotonic_offset_ns, 0x20, 8);
CLOCKPAGE_ROW(clockpage_view_slot, boottime_offset_ns, 0x28, 8);
CLOCKPAGE_ROW(clockpage_view_slot, disruption_marker, 0x30, 8);
CLOCKPAGE_ROW(clockpage_view_slot, parent_generation, 0x38, 8);
CLOCKPAGE_ROW(clockpage_view_slot, reserved1, 0x40, 64);
CLOCKPAGE_SIZE_ROW(clockpage_view_slot, 128);

CLOCKPAGE_ROW(clockpage_view_page, magic, 0x00, 8);
CLOCKPAGE_ROW(clockpage_view_page, abi_major, 0x08, 2);
CLOCKPAGE_ROW(clockpage_view_page, abi_minor, 0x0a, 2);
CLOCKPAGE_ROW(clockpage_view_page, size, 0x0c, 4);
CLOCKPAGE_ROW(clockpage_view_page, features, 0x10, 8);
CLOCKPAGE_ROW(clockpage_view_page, view_id, 0x18, 16);
CLOCKPAGE_ROW(clockpage_view_page, generation, 0x28, 8);
CLOCKPAGE_ROW(clockpage_view_page, slot_count, 0x30, 4);
CLOCKPAGE_ROW(clockpage_view_page, slot_size, 0x34, 4);
CLOCKPAGE_ROW(clockpage_view_page, reserved0, 0x38, 200);
CLOCKPAGE_ROW(clockpage_view_page, index, 0x100, 8);
CLOCKPAGE_ROW(clockpage_view_page, reserved1, 0x108, 248);
CLOCKPAGE_ROW(clockpage_view_page, slot, 0x200, 512);
CLOCKPAGE_ROW(clockpage_view_page, reserved2, 0x400, 3072);
CLOCKPAGE_SIZE_ROW(clockpage_view_page, 4096);
/* clang-format on */

#endif /* CLOCKPAGE_ABI_H */
