# SPDX-License-Identifier: MIT
"""The golden pages: what each shows, and at which counter values it is read."""

import dataclasses
import random
from fractions import Fraction
from math import floor

from model import (BRIDGE, FREE_RUNNING, HOST_IN_SMEAR, IN_SMEAR, INITIALISING, JUST_PAST, MONOTONIC, MONOTONIC_STEP,
                   NO_BOUND, NO_LEAP, REALTIME, REALTIME_STEP, SYNCHRONISED, TAI, TAI_KNOWN, TAI_STEP, TAI_TABLE, ULP,
                   UNKNOWN, UNRELIABLE, Page, Segment, ppm, with_leap)

SECOND = 10**9
# 2026-11-20 12:00:00 UTC as TAI.
NOON = (1_795_176_000 + 37) * SECOND
BOOT = NOON - 90_061 * SECOND
TSC_HZ = 2_299_998_765
FIRST = 0x5EED_0123_4567


def period_of(frequency_hz, shift, drift_ppb=0):
    return floor(Fraction(SECOND * (10**9 + drift_ppb), frequency_hz * 10**9 * 2**shift) * 2**64) * ULP


def first_segment(frequency_hz=TSC_HZ, shift=0, start=0x0123_4567_89AB, length=9_199_995, **changes):
    fields = {
        "number": FIRST, "start": start, "lease_end": start + length,
        "tai": NOON + 123_456_789 + 0xFEDC_BA98_7654_3210 * ULP,
        "tai_period": period_of(frequency_hz, shift, 3_210),
        "raw": 90_063 * SECOND + 5 + 0x8000_0000_0000_0001 * ULP,
        "raw_period": period_of(frequency_hz, shift),
        "monotonic_offset_ns": BOOT, "boottime_offset_ns": BOOT - 3_600 * SECOND}
    return Segment(**(fields | changes))


def steered(page, rng, count, length, frequency_hz):
    """`count` more segments as a producer would publish them, a bridge here and there."""
    for _ in range(count):
        jitter = rng.randrange(-length // 8, length // 8)
        if rng.random() < 0.2:
            page.append(length + jitter, flags=page.newest.flags & TAI_KNOWN | BRIDGE)
        else:
            page.append(length + jitter, period_of(frequency_hz, page.shift, rng.randrange(-500_000, 500_000)),
                        utc_bound_ns=rng.randrange(1_000, 100_000), local_bound_ns=rng.randrange(20, 200))
    return page


def ask_everywhere(page, rng):
    """Edges and insides of every segment of the history, below it and past the lease."""
    newest = page.newest
    page.ask(newest.start, newest.start + 1, newest.lease_end - 1, newest.lease_end, newest.lease_end + 1,
             newest.lease_end + page.frequency_hz * 10, newest.lease_end + page.frequency_hz * 86_400 * 365)
    for segment in page.segments[-15:-1]:
        page.ask(segment.start, rng.randrange(segment.start, segment.lease_end), segment.lease_end - 1)
    page.ask(page.segments[-15].start - 1, page.segments[-16].start, page.segments[-16].start - 10**9)
    page.ask(newest.start + 2, clocks=(2, 3, 5, 6, 8, 9, 10, 12, -1, 2**31 - 1))


def unscaled(rng):
    page = Page("unscaled", "host's counter at 2.3 GHz, k = 0: all clocks over the whole ring, below it, overdue",
                0, [first_segment()])
    steered(page, rng, 20, 9_199_995, TSC_HZ)
    ask_everywhere(page, rng)
    page.pen = True
    return page


def scaled(host):
    """The scaled page that follows `host` as 5.1 says, at the images of the same counter values."""
    frac_bits, shift = 32, 1
    ratio = (2**frac_bits * 1_000_000) // (TSC_HZ // 1000)

    def image(counter):
        return (counter * ratio) >> frac_bits

    def host_value(segment, tick, line):
        return getattr(segment, line)(Fraction(tick * 2**frac_bits, ratio), 0)

    page = Page("scaled", "scaled counter at 1 GHz, k = 1: the same function as on the page `unscaled`, and the "
                "same instants", shift, [], frequency_hz=1_000_000_000, format=1, scale_ratio=ratio,
                scale_frac_bits=frac_bits, pen=True)
    for s in host.segments:
        start, end = image(s.start), image(s.lease_end)
        last = page.segments[-1] if page.segments else None
        lines = {}
        for name in ("tai", "raw"):
            base = getattr(last, name + "_at")(start, shift) if last else host_value(s, start, name + "_at")
            base = floor(base / ULP) * ULP
            rise = host_value(s, end, name + "_at") - base
            lines[name] = base
            lines[name + "_period"] = floor(rise / ((end - start) << shift) / ULP) * ULP
        page.segments.append(dataclasses.replace(s, start=start, lease_end=end, number=s.number + 99, **lines))
    page.cases = [(clock, image(counter)) for clock, counter in host.cases]
    return page


def slow(rng):
    page = Page("slow", "a 1 MHz counter, k = 10; the segment 15 back is whole, and yet out of range", 10,
                [first_segment(1_000_000, 10, length=4_000)], frequency_hz=1_000_000)
    steered(page, rng, 18, 4_000, 1_000_000)
    ask_everywhere(page, rng)
    return page


def step(rng):
    page = Page("step", "REALTIME steps forward by 1.5 s at the start of the segment 3 behind the newest", 0,
                [first_segment()])
    steered(page, rng, 9, 9_199_995, TSC_HZ)
    step_ns, last = 1_500_000_000, page.newest
    page.append(9_199_995, tai=last.tai_at(last.lease_end, 0) + step_ns, epoch=last.epoch + 1,
                monotonic_offset_ns=last.monotonic_offset_ns + step_ns,
                boottime_offset_ns=last.boottime_offset_ns + step_ns, flags=TAI_KNOWN | REALTIME_STEP | TAI_STEP)
    stepped = page.newest
    steered(page, rng, 3, 9_199_995, TSC_HZ)
    page.ask(stepped.start - 10**8, stepped.start - 1, stepped.start, stepped.start + 1, stepped.lease_end,
             page.newest.start - 1, page.newest.start)
    return page


def step_newest(rng):
    page = Page("step_newest", "TAI is learned at the newest segment's start: TAI alone steps, and captured values "
                "before it are still readable", 0, [first_segment(utc_offset_ns=0, utc_offset_after_ns=0, flags=0)])
    steered(page, rng, 9, 9_199_995, TSC_HZ)
    step_ns, last = 37 * SECOND, page.newest
    page.append(9_199_995, tai=last.tai_at(last.lease_end, 0) + step_ns, epoch=last.epoch + 1,
                utc_offset_ns=step_ns, utc_offset_after_ns=step_ns,
                monotonic_offset_ns=last.monotonic_offset_ns + step_ns,
                boottime_offset_ns=last.boottime_offset_ns + step_ns, flags=TAI_KNOWN | TAI_STEP)
    for segment in page.segments[-4:]:
        page.ask(segment.start - 1, segment.start)
    page.ask(page.newest.lease_end - 1, page.newest.lease_end)
    return page


def step_behind(name, about, step_ns, step_flag, rng):
    page = Page(name, f"{about} at the start of the segment before the newest: not to be crossed", 0,
                [first_segment()])
    steered(page, rng, 4, 9_199_995, TSC_HZ)
    last = page.newest
    offsets = {"monotonic_offset_ns": last.monotonic_offset_ns, "boottime_offset_ns": last.boottime_offset_ns}
    if step_flag == MONOTONIC_STEP:
        changes = {field: value - step_ns for field, value in offsets.items()}
    else:
        changes = {field: value + step_ns for field, value in offsets.items()}
        changes["tai"] = last.tai_at(last.lease_end, 0) + step_ns
    if step_flag == TAI_STEP:
        changes["utc_offset_ns"] = changes["utc_offset_after_ns"] = last.utc_offset_ns + step_ns
    page.append(9_199_995, epoch=last.epoch + 1, flags=TAI_KNOWN | step_flag, **changes)
    stepped = page.newest
    steered(page, rng, 1, 9_199_995, TSC_HZ)
    page.ask(stepped.start - 1, stepped.start, page.newest.start - 1, page.newest.start, page.segments[0].start - 1)
    return page


def tai_unknown(rng):
    page = Page("tai_unknown", "TAI - UTC is not known; status INITIALISING, reason CATCHING_UP", 0,
                [first_segment(utc_offset_ns=0, utc_offset_after_ns=0, flags=0, status=INITIALISING, reason=4)])
    steered(page, rng, 3, 9_199_995, TSC_HZ)
    page.ask(page.newest.start - 1, page.newest.start + 77, page.newest.lease_end, page.segments[0].start - 1)
    return page


def revoked(rng):
    page = Page("revoked", "withdrawn: nothing can be read, whatever the clock and the counter value", 0,
                [first_segment()], revoked=1)
    steered(page, rng, 3, 9_199_995, TSC_HZ)
    page.ask(page.newest.start - 1, page.newest.start + 77, page.newest.lease_end, page.segments[0].start - 1)
    page.ask(page.newest.start, clocks=(3,))
    return page


def revoked_unknown_reason(_rng):
    page = Page("revoked_unknown_reason", "`revoked` holds a number that no version defines", 0, [first_segment()],
                revoked=2**40)
    page.ask(page.newest.start + 77)
    return page


def leap(name, about, length_ns, change_s, smear, rng):
    """A leap (or smear) whose terms sit in one segment with a long lease."""
    start_ns = NOON + 3_600 * SECOND
    span = (2 * 3_600 * SECOND + length_ns) * TSC_HZ // SECOND
    first = with_leap(first_segment(), start_ns, length_ns, (37 + change_s) * SECOND)
    page = Page(name, about, 0, [dataclasses.replace(first, lease_end=first.start + span, leap_indicator=1 if
                                                     change_s > 0 else 2)], smear=smear)
    for edge in sorted({start_ns, start_ns + length_ns}):
        at = counter_at(page.newest, edge)
        page.ask(at - TSC_HZ, at - 1, at, at + 1, at + 2, at + TSC_HZ)
    if length_ns:
        ends = counter_at(page.newest, start_ns), counter_at(page.newest, start_ns + length_ns)
        page.ask(*sorted(rng.randrange(*ends) for _ in range(6)))
    page.ask(page.newest.start, page.newest.lease_end - 1)
    return page


def counter_at(segment, tai_ns):
    """The first counter value with tai >= tai_ns (k = 0). Its tai is tai_ns: a tick is shorter than a ns."""
    counter = segment.start - floor(-(tai_ns - segment.tai) / segment.tai_period)
    assert floor(segment.tai_at(counter, 0)) == tai_ns and segment.tai_at(counter - 1, 0) < tai_ns
    return counter


# The smears that have a name: (CLOCKPAGE_SMEAR_*, start and length in s of the smeared clock).
NO_SMEAR, NOON_SMEAR, UTC_SLS = (0, 0, 0), (1, -43_200, 86_400), (2, -1_000, 1_000)


def leap_at_midnight(segment, smear, change_s):
    """The segment with a leap second at the midnight 12 h ahead, as a writer of ABI 1.1 has it."""
    _, start_s, length_s = smear
    midnight_utc = NOON - 37 * SECOND + 43_200 * SECOND
    before, after = segment.utc_offset_ns, segment.utc_offset_ns + change_s * SECOND
    if not length_s:  # the first ns of 23:59:60, or the one after 23:59:58
        return with_leap(segment, midnight_utc + min(before, after), 0, after)
    return with_leap(segment, midnight_utc + start_s * SECOND + before, (length_s + change_s) * SECOND, after)


def indicated(name, about, smear, change_s, **changes):
    """A leap second read to the ns on either side of all that changes at it, and of the day before it."""
    before = NOON - 2 * 86_400 * SECOND  # half of the noon smear lies before
    own_word = {"leap_indicator": JUST_PAST if change_s > 0 else 0}  # of another leap second, or none
    first = first_segment(tai=before + 77 * ULP, **(own_word | changes))
    first = leap_at_midnight(first, smear, change_s)
    first = dataclasses.replace(first, lease_end=first.start + 4 * 86_400 * TSC_HZ)
    page = Page(name, about, 0, [first], abi_minor=1, smear=smear[0], smear_start_s=smear[1],
                smear_length_s=smear[2])
    edges = {first.leap_start_ns, first.leap_end_ns, leap_at_midnight(first, NO_SMEAR, change_s).leap_start_ns}
    for edge in sorted(edges):
        for ns in (edge - SECOND - 1, edge - SECOND, edge - 1, edge, edge + SECOND - 1, edge + SECOND):
            page.ask(counter_at(first, ns))
    notice = first.leap_start_ns - 86_400 * SECOND
    page.ask(*(counter_at(first, ns) for ns in (notice - 1, notice, notice + 1)))
    page.ask(first.start, (first.start + first.lease_end) // 2, first.lease_end)
    return page


def leap_taken_out():
    """The writer takes a leap out of its segments 1 s after its end: then the segment's own word holds."""
    page = Page("leap_taken_out", "the leap second has left the segments: their own word holds, and that the host's "
                "clock is being smeared", 0, [], abi_minor=1)
    first = leap_at_midnight(first_segment(tai=NOON + 43_200 * SECOND - 5 * SECOND), NO_SMEAR, 1)
    end = counter_at(first, first.leap_end_ns + SECOND)
    page.segments.append(dataclasses.replace(first, lease_end=end))
    page.append(9_199_995, utc_offset_ns=first.utc_offset_after_ns, leap_start_ns=NO_LEAP, leap_end_ns=NO_LEAP,
                leap_slope_frac=0, leap_indicator=JUST_PAST, flags=TAI_KNOWN | TAI_TABLE | HOST_IN_SMEAR)
    page.ask(first.start, counter_at(first, first.leap_end_ns - SECOND), counter_at(first, first.leap_end_ns),
             end - 1, end, page.newest.lease_end - 1, page.newest.lease_end)
    page.append(9_199_995, leap_indicator=0, flags=TAI_KNOWN | TAI_TABLE)
    page.ask(page.newest.start - 1, page.newest.start)
    return page


def unknown_bound(rng):
    page = Page("unknown_bound", "the kernel is unsynchronised: REALTIME has no bound, MONOTONIC has", 0,
                [first_segment(utc_bound_ns=NO_BOUND, status=UNKNOWN, reason=1)])
    steered(page, rng, 1, 9_199_995, TSC_HZ)
    page.append(9_199_995, utc_bound_ns=NO_BOUND, utc_bound_growth_frac=2**64 - 1)
    page.append(9_199_995, local_bound_ns=NO_BOUND, local_bound_growth_frac=0)
    for segment in page.segments[1:]:
        page.ask(segment.start - 1)
    page.ask(page.newest.start, page.newest.lease_end)
    return page


def bound_saturation(_rng):
    page = Page("bound_saturation", "bounds near 2^63 and 2^64 saturate, one side at a time", 0,
                [first_segment(utc_bound_ns=2**63 - 1 - 2, local_bound_ns=2**63 - 1 - 4_000_000)])
    page.append(9_199_995, utc_bound_ns=2**63 - 10**18, local_bound_ns=2**63 + 5, status=UNRELIABLE)
    page.append(9_199_995, utc_bound_ns=2**64 - 2, local_bound_ns=2**64 - 10_000)
    page.append(9_199_995, utc_bound_ns=0, utc_bound_growth_frac=2**64 - 1, local_bound_ns=2**63 - 3,
                local_bound_growth_frac=0, status=SYNCHRONISED)
    for segment in page.segments:
        page.ask(segment.start, segment.start + 1, segment.start + 5, segment.lease_end - 1)
    page.ask(page.newest.start + 2**61)
    return page


def huge_delta(name, shift, frequency_hz):
    page = Page(name, f"deltas up to and beyond the cap of 2^62 ticks, k = {shift}, largest base and period", shift,
                [first_segment(tai=2**62 - ULP, tai_period=1 - ULP, raw=2**62 - 1 + Fraction(1, 2),
                               raw_period=1 - ULP)], frequency_hz=frequency_hz)
    start, cap = page.newest.start, 2**62 >> shift
    page.ask(start, start + 1, start + cap // 2, start + cap - 1, start + cap, start + cap + 1, start + 2**63 - 1,
             start - 2**63, start - 1)
    return page


def index_wrap(rng):
    first = first_segment(number=2**64 - 9, start=2**64 - 5 * 9_199_995, epoch=2**64 - 1)
    page = Page("wrap", "segment number, counter and epoch wrap at 2^64", 0, [first])
    steered(page, rng, 12, 9_199_995, TSC_HZ)
    page.append(9_199_995, epoch=page.newest.epoch + 1, flags=TAI_KNOWN | REALTIME_STEP)
    for segment in page.segments[1:]:
        page.ask(segment.start - 1, segment.start)
    page.ask(2**64 - 1, 2**64, page.segments[0].start - 1, page.newest.lease_end)
    return page


def fresh(_rng):
    page = Page("fresh", "one segment was ever published: there is no history", 0, [first_segment()])
    start = page.newest.start
    page.ask(start - 2**62, start - 1, start, start + 1, page.newest.lease_end - 1, page.newest.lease_end)
    return page


def stopped(rng):
    page = Page("stopped", "the producer ended cleanly: the last segment is free-running", 0, [first_segment()])
    steered(page, rng, 3, 9_199_995, TSC_HZ)
    page.append(9_199_995, status=FREE_RUNNING, reason=5)
    page.ask(page.newest.start - 1, page.newest.start, page.newest.lease_end, page.newest.lease_end + 60 * TSC_HZ)
    return page


def odd_values(_rng):
    page = Page("odd_values", "status and reason that no version defines, negative results and offsets, growth 0", 0,
                [first_segment(tai=Fraction(5), utc_offset_ns=-37 * SECOND, utc_offset_after_ns=-37 * SECOND,
                               monotonic_offset_ns=10**15, boottime_offset_ns=-10**15, status=200, reason=201,
                               leap_indicator=202, local_bound_growth_frac=0, local_bound_ns=0,
                               flags=TAI_KNOWN | 0x8000_0000 | REALTIME_STEP)], smear=203)
    page.ask(page.newest.start, page.newest.start + 12_345, page.newest.lease_end)
    page.ask(page.newest.start, clocks=(REALTIME, MONOTONIC, TAI))
    return page


def all_pages():
    rng = random.Random(20_261_120)
    host = unscaled(rng)
    day = 86_400 * SECOND
    return [
        host, scaled(host), slow(rng), step(rng), step_newest(rng),
        step_behind("step_back", "a backward step of REALTIME (flagged as only that)", -2 * SECOND, REALTIME_STEP, rng),
        step_behind("step_tai", "a correction of TAI - UTC by one second", SECOND, TAI_STEP, rng),
        step_behind("disruption", "MONOTONIC and BOOTTIME step by an hour, as after a suspend", 3_600 * SECOND,
                    MONOTONIC_STEP, rng),
        tai_unknown(rng), revoked(rng), revoked_unknown_reason(rng), unknown_bound(rng), bound_saturation(rng),
        leap("smear_insertion", "linear smear of an inserted leap second over 24 h", day, 1, 1, rng),
        leap("smear_deletion", "linear smear of a deleted leap second over 1000 s", 1000 * SECOND, -1, 1, rng),
        leap("leap_insertion", "unsmeared insertion: REALTIME repeats a second", 0, 1, 0, rng),
        leap("leap_deletion", "unsmeared deletion: REALTIME skips a second", 0, -1, 0, rng),
        huge_delta("huge_delta", 0, TSC_HZ), huge_delta("huge_delta_slow", 10, 1_000_000), index_wrap(rng), fresh(rng),
        stopped(rng), odd_values(rng),
        indicated("insertion_to_the_ns", "unsmeared insertion: which second is read twice", NO_SMEAR, 1),
        indicated("deletion_to_the_ns", "unsmeared deletion: none is read twice", NO_SMEAR, -1),
        indicated("noon_smear_insertion", "noon to noon smear of an insertion", NOON_SMEAR, 1),
        indicated("noon_smear_deletion", "noon to noon smear of a deletion", NOON_SMEAR, -1),
        indicated("utc_sls_insertion", "UTC-SLS of an insertion: over the last 1000 s before midnight", UTC_SLS, 1),
        indicated("utc_sls_deletion", "UTC-SLS of a deletion", UTC_SLS, -1),
        indicated("leap_host_in_smear", "a host whose own clock is smeared; TAI from a table", NO_SMEAR, 1,
                  flags=TAI_KNOWN | TAI_TABLE | HOST_IN_SMEAR, leap_indicator=IN_SMEAR),
        indicated("leap_tai_unknown", "a leap second on a page that does not know TAI - UTC", NO_SMEAR, 1,
                  flags=0, utc_offset_ns=0, utc_offset_after_ns=0),
        leap_taken_out()]


def header_cases():
    """(name, readable bytes, {offset: bytes}, error) against the page `unscaled`."""
    size, magic, version, layout, counter = -16, -17, -18, -19, -20
    return [
        ("as_it_is", 4096, {}, 0), ("longer_mapping", 8192, {}, 0), ("empty", 0, {}, size),
        ("one_byte_short", 4095, {}, size), ("short_and_no_magic", 8, {0: b"XXXXXXXX"}, size),
        ("magic_first_byte", 4096, {0: b"c"}, magic), ("magic_last_byte", 4096, {7: b"R"}, magic),
        ("magic_of_a_directory", 4096, {0: b"CLKPGDIR"}, magic), ("magic_of_a_view", 4096, {0: b"CLKPGVEW"}, magic),
        ("zeroed", 4096, {0: bytes(512)}, magic), ("major_0", 4096, {8: b"\0\0"}, version),
        ("major_2", 4096, {8: b"\2\0"}, version), ("major_big_endian", 4096, {8: b"\0\1"}, version),
        ("major_2_and_bad_layout", 4096, {8: b"\2\0", 0x1B: b"\xff"}, version),
        ("minor_later", 4096, {0x0A: b"\xff\x7f"}, 0), ("features_unknown", 4096, {0x10: b"\xff" * 8}, 0),
        ("reserved_not_zero", 4096, {0x39: b"\xff" * 7, 0x48: b"\xff" * 184}, 0),
        ("size_zero", 4096, {0x0C: b"\0\0\0\0"}, layout), ("size_one_less", 4096, {0x0C: b"\xff\x0f\0\0"}, layout),
        ("size_larger", 8192, {0x0C: b"\0\x20\0\0"}, layout), ("segments_15", 4096, {0x1C: b"\x0f"}, layout),
        ("segments_0", 4096, {0x1C: b"\0"}, layout), ("segments_many", 4096, {0x1C: b"\xff\xff\xff\xff"}, layout),
        ("segment_size_128", 4096, {0x20: b"\x80"}, layout), ("segment_offset_512", 4096, {0x24: b"\0\2"}, layout),
        ("segment_offset_outside", 4096, {0x24: b"\0\xff\xff\xff"}, layout), ("shift_32", 4096, {0x1B: b"\x20"}, 0),
        ("shift_33", 4096, {0x1B: b"\x21"}, layout), ("shift_255", 4096, {0x1B: b"\xff"}, layout),
        ("frequency_zero", 4096, {0x28: bytes(8)}, layout), ("ratio_zero", 4096, {0x30: bytes(8)}, layout),
        ("frac_bits_63", 4096, {0x38: b"\x3f"}, 0), ("frac_bits_64", 4096, {0x38: b"\x40"}, layout),
        ("counter_unknown", 4096, {0x18: b"\x07"}, counter), ("counter_of_arm", 4096, {0x18: b"\x00"}, counter),
        ("revoked_is_no_header_error", 4096, {0x108: b"\1"}, 0)]
