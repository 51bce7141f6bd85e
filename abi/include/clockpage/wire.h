/* SPDX-License-Identifier: MIT OR (GPL-2.0 WITH Linux-syscall-note) */
/*
 * clockpage: what programs on clockpage's clocks send to each other: the wire form of a timestamp
 * (spec section 13) and the layout of an exchange (section 14). Not needed to read the time.
 *
 * Conventions as in abi.h: little-endian, fixed width, units and signs in names and comments.
 * Unlike a page's, reserved bits here are checked: a timestamp in which one is set is refused.
 */
#ifndef CLOCKPAGE_WIRE_H
#define CLOCKPAGE_WIRE_H

#include <clockpage/abi.h>

/* ---- a timestamp -------------------------------------------------------------------- */

#define CLOCKPAGE_TIMESTAMP_SIZE 64
/* The first byte. One that no UTF-8 text contains; its low four bits are the version. */
#define CLOCKPAGE_TIMESTAMP_VERSION 0xc1

/* The time scale that the three times are on; UTC and the smeared ones are REALTIME. */
#define CLOCKPAGE_SCALE_TAI          0 /* TAI since 1970-01-01 00:00:00 TAI */
#define CLOCKPAGE_SCALE_UTC          1 /* UTC as Linux counts it: a leap second is read twice */
#define CLOCKPAGE_SCALE_SMEAR_NOON   2 /* 1 + CLOCKPAGE_SMEAR_* */
#define CLOCKPAGE_SCALE_SMEAR_SLS    3
#define CLOCKPAGE_SCALE_SMEAR_LINEAR 4

/* Flags, bits 4 to 7 of status_and_flags; the status is in bits 0 to 2, bit 3 is reserved. */
#define CLOCKPAGE_TIMESTAMP_OVERDUE 0x10 /* ns was provisional: CLOCKPAGE_TIME_OVERDUE */
/* UTC: ns is read twice, here and a second away: CLOCKPAGE_TIME_AMBIGUOUS. */
#define CLOCKPAGE_TIMESTAMP_AMBIGUOUS 0x20
/* UTC: the day ends with a second that is left out: CLOCKPAGE_LEAP_PENDING_DELETION. */
#define CLOCKPAGE_TIMESTAMP_DELETION 0x40
#define CLOCKPAGE_TIMESTAMP_SCALED   0x80 /* ns is off the scaled page */

/* Of resolution_ns: ns is in no order with other readings' that is finer than the bounds. */
#define CLOCKPAGE_RESOLUTION_NONE 255

struct clockpage_timestamp_wire {
	clockpage_u8 version;          /* CLOCKPAGE_TIMESTAMP_VERSION */
	clockpage_u8 time_scale;       /* CLOCKPAGE_SCALE_* */
	clockpage_u8 status_and_flags; /* CLOCKPAGE_STATUS_*, CLOCKPAGE_TIMESTAMP_* */
	/* ns is off by at most so much from what the clock's function gives at that moment. */
	clockpage_u8 resolution_ns;
	clockpage_u32 epoch; /* of the clock, modulo 2^32 */
	/* Of a smeared scale, as in struct clockpage_data_page; else 0. */
	clockpage_s32 smear_start_s;
	clockpage_u32 smear_length_s;
	clockpage_u8 clock_id[16];       /* which clock: section 13 */
	clockpage_s64 ns;                /* on the time scale, rounded down */
	clockpage_s64 earliest_ns;       /* <= ns; the least s64: no bound */
	clockpage_s64 latest_ns;         /* >= ns; the greatest s64: no bound */
	clockpage_u64 disruption_marker; /* of the view it was read through; 0: none */
};

/* clang-format off */
CLOCKPAGE_ROW(clockpage_timestamp_wire, version, 0x00, 1);
CLOCKPAGE_ROW(clockpage_timestamp_wire, time_scale, 0x01, 1);
CLOCKPAGE_ROW(clockpage_timestamp_wire, status_and_flags, 0x02, 1);
CLOCKPAGE_ROW(clockpage_timestamp_wire, resolution_ns, 0x03, 1);
CLOCKPAGE_ROW(clockpage_timestamp_wire, epoch, 0x04, 4);
CLOCKPAGE_ROW(clockpage_timestamp_wire, smear_start_s, 0x08, 4);
CLOCKPAGE_ROW(clockpage_timestamp_wire, smear_length_s, 0x0c, 4);
CLOCKPAGE_ROW(clockpage_timestamp_wire, clock_id, 0x10, 16);
CLOCKPAGE_ROW(clockpage_timestamp_wire, ns, 0x20, 8);
CLOCKPAGE_ROW(clockpage_timestamp_wire, earliest_ns, 0x28, 8);
CLOCKPAGE_ROW(clockpage_timestamp_wire, latest_ns, 0x30, 8);
CLOCKPAGE_ROW(clockpage_timestamp_wire, disruption_marker, 0x38, 8);
CLOCKPAGE_SIZE_ROW(clockpage_timestamp_wire, 64);
/* clang-format on */

#endif /* CLOCKPAGE_WIRE_H */
