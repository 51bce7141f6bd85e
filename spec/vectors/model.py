# SPDX-License-Identifier: MIT
"""The clock function of spec/clockpage.md sections 4 and 5.2, in exact rational arithmetic.

Written from the spec for making vectors, not from any reader: counters and segment numbers are unbounded
integers that are wrapped only when they are written, times are fractions.ns that are rounded where the spec
says so. No part of it decodes a page.
"""

import dataclasses
from fractions import Fraction
from math import floor

REALTIME, MONOTONIC, MONOTONIC_RAW, BOOTTIME, TAI = 0, 1, 4, 7, 11
CLOCKS = (REALTIME, MONOTONIC, MONOTONIC_RAW, BOOTTIME, TAI)
OK, OUT_OF_RANGE, DISCONTINUITY, TAI_UNKNOWN, REVOKED, BAD_CLOCK = 0, -2, -3, -4, -5, -6
UNKNOWN, INITIALISING, SYNCHRONISED, FREE_RUNNING, UNRELIABLE = range(5)
TAI_KNOWN, BRIDGE, REALTIME_STEP, TAI_STEP, MONOTONIC_STEP = 0x1, 0x2, 0x4, 0x8, 0x10
ANY_STEP = REALTIME_STEP | TAI_STEP | MONOTONIC_STEP
TAI_TABLE, HOST_IN_SMEAR = 0x40, 0x80
PENDING_INSERTION, PENDING_DELETION, IN_SMEAR, JUST_PAST = range(1, 5)
NO_LEAP = 2**63 - 1
LEAP_NOTICE_NS = 24 * 3_600 * 10**9
NO_BOUND = 2**64 - 1
TIME_OVERDUE, TIME_TAI_KNOWN, TIME_AMBIGUOUS, TIME_HOST_IN_SMEAR = 0x1, 0x2, 0x4, 0x8
INT64_MIN, INT64_MAX = -2**63, 2**63 - 1
ULP = Fraction(1, 2**64)


def ppm(value):
    """A growth of `value` ppm of a tick of 1 ns, in units of 2^-64, rounded up."""
    return -floor(-Fraction(value, 10**6) * 2**64)


@dataclasses.dataclass(frozen=True)
class Segment:
    number: int
    start: int
    lease_end: int
    tai: Fraction  # ns at start, a multiple of 2^-64
    tai_period: Fraction  # ns per 2^-k tick, a multiple of 2^-64
    raw: Fraction
    raw_period: Fraction
    utc_offset_ns: int = 37 * 10**9
    leap_start_ns: int = NO_LEAP
    leap_end_ns: int = NO_LEAP
    utc_offset_after_ns: int = 37 * 10**9
    leap_slope_frac: int = 0
    monotonic_offset_ns: int = 0
    boottime_offset_ns: int = 0
    utc_bound_ns: int = 12_345
    utc_bound_growth_frac: int = ppm(500)
    local_bound_ns: int = 51
    local_bound_growth_frac: int = ppm(1000)
    epoch: int = 7
    flags: int = TAI_KNOWN
    status: int = SYNCHRONISED
    reason: int = 0
    leap_indicator: int = 0

    def tai_at(self, counter, shift):
        return self.tai + (counter - self.start) * 2**shift * self.tai_period

    def raw_at(self, counter, shift):
        return self.raw + (counter - self.start) * 2**shift * self.raw_period


def with_leap(segment, start_ns, length_ns, after_ns):
    """The segment with a change of utc_offset to after_ns over [start_ns, start_ns + length_ns)."""
    slope = 0
    if length_ns:
        slope = floor(Fraction(abs(after_ns - segment.utc_offset_ns), length_ns) * 2**64)
    return dataclasses.replace(segment, leap_start_ns=start_ns, leap_end_ns=start_ns + length_ns,
                               utc_offset_after_ns=after_ns, leap_slope_frac=slope)


@dataclasses.dataclass
class Page:
    """A data page and the segments that were ever published on it, oldest first."""
    name: str
    about: str
    shift: int
    segments: list
    frequency_hz: int = 2_299_998_765
    format: int = 0
    smear: int = 0
    abi_minor: int = 0
    smear_start_s: int = 0
    smear_length_s: int = 0
    scale_ratio: int = 1
    scale_frac_bits: int = 0
    revoked: int = 0
    pen: bool = False  # the slot after the newest is half written: its writer died
    cases: list = dataclasses.field(default_factory=list)  # (clock, counter)

    @property
    def newest(self):
        return self.segments[-1]

    def append(self, length, tai_period=None, raw_period=None, **changes):
        """The next segment; its lines continue the last one's unless `changes` says otherwise."""
        last = self.newest
        defaults = {
            "number": last.number + 1, "start": last.lease_end, "lease_end": last.lease_end + length,
            "tai": last.tai_at(last.lease_end, self.shift), "tai_period": tai_period or last.tai_period,
            "raw": last.raw_at(last.lease_end, self.shift), "raw_period": raw_period or last.raw_period,
            "flags": last.flags & TAI_KNOWN}
        self.segments.append(dataclasses.replace(last, **(defaults | changes)))

    def ask(self, *counters, clocks=CLOCKS):
        self.cases += [(clock, counter) for counter in counters for clock in clocks]


def find(page, counter):
    """(error, segment, overdue) of 5.2 step 3."""
    history = {s.number: s for s in page.segments[-16:]}
    newest = page.newest
    # Which of the values that are equal modulo 2^64 is meant: the one nearest to the newest's start.
    counter = newest.start + (counter - newest.start + 2**63) % 2**64 - 2**63
    if counter >= newest.start:
        return OK, newest, counter >= newest.lease_end, counter
    for back in range(1, 15):
        later = history[newest.number - back + 1]
        if back >= 2 and later.flags & ANY_STEP:
            return DISCONTINUITY, None, False, counter
        segment = history.get(newest.number - back)
        if segment is None:
            return OUT_OF_RANGE, None, False, counter
        if counter >= segment.start:
            return OK, segment, False, counter
    return OUT_OF_RANGE, None, False, counter


def utc_offset(segment, tai):
    if tai < segment.leap_start_ns:
        return segment.utc_offset_ns
    if tai >= segment.leap_end_ns:
        return segment.utc_offset_after_ns
    moved = (tai - segment.leap_start_ns) * segment.leap_slope_frac * ULP
    insertion = segment.utc_offset_after_ns >= segment.utc_offset_ns
    return floor(segment.utc_offset_ns + (moved if insertion else -moved))


def leap_indicator(segment, tai):
    """The end of 5.2, of a result."""
    if segment.leap_start_ns == NO_LEAP:
        return segment.leap_indicator
    if tai >= segment.leap_start_ns:
        return IN_SMEAR if tai < segment.leap_end_ns else JUST_PAST
    if tai < segment.leap_start_ns - LEAP_NOTICE_NS:
        return segment.leap_indicator
    return PENDING_INSERTION if segment.utc_offset_after_ns >= segment.utc_offset_ns else PENDING_DELETION


def is_read_twice(segment, tai):
    """Whether some other tai, on the other side of a leap without length, has the same REALTIME."""
    if segment.leap_start_ns == NO_LEAP or segment.leap_start_ns != segment.leap_end_ns:
        return False
    realtime = tai - utc_offset(segment, tai)
    before, after = realtime + segment.utc_offset_ns, realtime + segment.utc_offset_after_ns
    return before != after and before < segment.leap_start_ns <= after


def interval(segment, clock, time_ns, ticks, wider_ns=0):
    utc = clock in (REALTIME, TAI)
    bound = segment.utc_bound_ns if utc else segment.local_bound_ns
    growth = segment.utc_bound_growth_frac if utc else segment.local_bound_growth_frac
    bound = NO_BOUND if bound == NO_BOUND else bound + floor(ticks * growth * ULP) + 2 + wider_ns
    if bound > INT64_MAX:
        return INT64_MIN, INT64_MAX
    return max(time_ns - bound, INT64_MIN), min(time_ns + bound, INT64_MAX)


COLUMNS = ("clock", "counter", "error", "ns", "earliest_ns", "latest_ns", "status", "reason", "flags",
           "leap_indicator", "smear", "epoch")


def expected(page, clock, counter, offsets=None, wider_ns=0):
    """The row of COLUMNS for one reading; with an error only the first three.

    Through a view (5.4): what it adds to clocks, and to half-widths.
    """
    row = (clock, counter % 2**64)
    error, s, overdue, counter = find(page, counter)
    if page.revoked:
        return row + (REVOKED,)
    if error:
        return row + (error,)
    if clock not in CLOCKS:
        return row + (BAD_CLOCK,)
    if clock == TAI and not s.flags & TAI_KNOWN:
        return row + (TAI_UNKNOWN,)
    delta = counter - s.start
    ticks = 2**62 if delta > 2**62 >> page.shift else delta << page.shift
    tai = floor(s.tai + ticks * s.tai_period)
    time_ns = {
        REALTIME: lambda: tai - utc_offset(s, tai),
        MONOTONIC: lambda: tai - s.monotonic_offset_ns,
        BOOTTIME: lambda: tai - s.boottime_offset_ns,
        TAI: lambda: tai,
        MONOTONIC_RAW: lambda: floor(s.raw + ticks * s.raw_period),
    }[clock]()
    if offsets:
        time_ns = (time_ns + offsets.get(clock, 0) + 2**63) % 2**64 - 2**63
    status = s.status if s.status <= UNRELIABLE else UNRELIABLE
    if overdue and status != UNRELIABLE:
        status = FREE_RUNNING
    flags = ((TIME_OVERDUE if overdue else 0) | (TIME_TAI_KNOWN if s.flags & TAI_KNOWN else 0)
             | (TIME_AMBIGUOUS if clock == REALTIME and is_read_twice(s, tai) else 0)
             | (TIME_HOST_IN_SMEAR if s.flags & HOST_IN_SMEAR else 0))
    return row + (OK, time_ns, *interval(s, clock, time_ns, ticks, wider_ns), status, s.reason, flags,
                  leap_indicator(s, tai), page.smear, s.epoch % 2**64)
