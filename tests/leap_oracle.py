# SPDX-License-Identifier: MIT
"""Judges what readers were told around leap seconds: an oracle that shares nothing with the pages' code.

Two questions to every value. Is it, bit for bit, what section 4 of the specification makes of the
segment's words, in integers? And is it within 1 ns of the exact time: the segment's line as a rational
number, and TAI - UTC from the calendar, the dates of the leap seconds and the definition of the smear, as
rational functions of it? The second does not look at the segment's leap words; those are compared with
the calendar for themselves, because an error of 1 us in a smear of a day is no nanosecond in any value.
"""
import collections
from fractions import Fraction

from leap_samples import CLOCKS, records

SECOND = 10**9
DAY = 86400 * SECOND
NO_LEAP = 2**63 - 1
M64 = 2**64 - 1
INT64_MIN, INT64_MAX = -2**63, 2**63 - 1
REALTIME, MONOTONIC, RAW, BOOTTIME, TAI = range(5)
# Segment flags, result flags, indicators, status: sections 3.8 and 7.
TAI_KNOWN, BRIDGE, DISCONTINUITY = 0x1, 0x2, 0x1C
OVERDUE, READ_TAI_KNOWN, AMBIGUOUS = 0x1, 0x2, 0x4
NONE, PENDING_INSERTION, PENDING_DELETION, IN_SMEAR, JUST_PAST = range(5)
FREE_RUNNING, UNRELIABLE = 3, 4
E_OUT_OF_RANGE, E_DISCONTINUITY, E_TAI_UNKNOWN = -2, -3, -4


class Leap:
    """A leap second at the end of the day before `midnight_s` (POSIX seconds): by is +1 (insertion) or -1."""

    def __init__(self, midnight_s, before_s, by):
        self.midnight_s, self.before_s, self.after_s, self.by = midnight_s, before_s, before_s + by, by

    def tai_s(self):
        """Where 23:59:60 begins, or 23:59:58 ends."""
        return self.midnight_s + self.before_s - (1 if self.by < 0 else 0)


class Piece:
    """TAI - UTC moves from before to after between two instants of TAI; all in ns."""

    def __init__(self, start, end, before, after):
        self.start, self.end, self.before, self.after = start, end, before, after
        self.slope = Fraction(after - before, end - start) if end > start else None

    def offset(self, tai):
        """Exactly; tai is a Fraction or an int."""
        if tai < self.start:
            return self.before
        return self.after if tai >= self.end else self.before + (tai - self.start) * self.slope


def leap_piece(leap, smear):
    """smear: (start, length) in seconds of the smeared clock from midnight; None: UTC as it is.

    A smear begins when the clock before it reads midnight + start, and ends when the clock after it reads
    midnight + start + length; the one is TAI - before, the other TAI - after."""
    before, after = leap.before_s * SECOND, leap.after_s * SECOND
    if smear is None:
        at = leap.tai_s() * SECOND
        return Piece(at, at, before, after)
    start, length = smear
    return Piece((leap.midnight_s + start) * SECOND + before,
                 (leap.midnight_s + start + length) * SECOND + after, before, after)


class Calendar:
    """TAI - UTC by the calendar."""

    def __init__(self, leaps, smear, offset_s):
        self.pieces = [leap_piece(leap, smear) for leap in leaps]
        self.first = offset_s * SECOND

    def offset(self, tai):
        found = self.first
        for piece in self.pieces:
            if tai >= piece.start:
                found = piece.offset(tai)
        return found

    def current(self, tai):
        """The piece that is to come, or under way."""
        for piece in self.pieces:
            if tai < piece.end:
                return piece
        return None


def floor_slope(start, end, before, after):
    return 0 if start == end else (abs(after - before) << 64) // (end - start)


def signed(value):
    value &= M64
    return value - 2**64 if value >> 63 else value


# ---- section 4, in integers


def ticks_of(segment, counter, shift):
    delta = (counter - segment.start) & M64
    return 2**62 if delta > 2**62 >> shift else delta << shift


def integer_tai(segment, ticks):
    return signed(segment.tai_ns + ((ticks * segment.tai_period_frac + segment.tai_frac) >> 64))


def integer_utc_offset(segment, tai):
    if tai < segment.leap_start_ns:
        return segment.utc_offset_ns
    if tai >= segment.leap_end_ns:
        return segment.utc_offset_after_ns
    moved = (tai - segment.leap_start_ns) * segment.leap_slope_frac
    by = segment.utc_offset_after_ns - segment.utc_offset_ns
    return segment.utc_offset_ns + ((moved if by >= 0 else -moved) >> 64)


def integer_clocks(segment, ticks, tai):
    """In the order of CLOCKS."""
    raw = signed(segment.raw_ns + ((ticks * segment.raw_period_frac + segment.raw_frac) >> 64))
    return [tai - integer_utc_offset(segment, tai), tai - segment.monotonic_offset_ns, raw,
            tai - segment.boottime_offset_ns, tai]


def half_width(segment, ticks, clock):
    """None: unknown."""
    utc = clock in (REALTIME, TAI)
    bound, growth = ((segment.utc_bound_ns, segment.utc_bound_growth_frac) if utc
                     else (segment.local_bound_ns, segment.local_bound_growth_frac))
    wide = bound + (ticks * growth >> 64) + 2
    return None if bound == M64 or wide > INT64_MAX else wide


def interval(ns, wide):
    return (INT64_MIN, INT64_MAX) if wide is None else (max(ns - wide, INT64_MIN), min(ns + wide, INT64_MAX))


def derived_indicator(segment, tai):
    """What a reader makes of a segment that has a leap; the segment's own word until a day before it, or without."""
    if segment.leap_start_ns == NO_LEAP or tai < segment.leap_start_ns - DAY:
        return segment.leap_indicator
    if tai < segment.leap_start_ns:
        return PENDING_INSERTION if segment.utc_offset_after_ns > segment.utc_offset_ns else PENDING_DELETION
    return IN_SMEAR if tai < segment.leap_end_ns else JUST_PAST


def is_ambiguous(segment, tai):
    by = segment.utc_offset_after_ns - segment.utc_offset_ns
    return (segment.leap_start_ns == segment.leap_end_ns != NO_LEAP and by > 0 and
            segment.leap_start_ns - by <= tai < segment.leap_start_ns + by)


# ---- the judge


class Judge:
    """One run. complaints: {name: [how often, what it was first]}."""

    def __init__(self, scenario):
        self.scenario = scenario
        self.complaints = {}
        self.seen = collections.Counter()
        self.worst = Fraction(0)  # ns between a value of REALTIME and the exact one
        self.mid_smear = []       # (TAI - middle, TAI - REALTIME - exactly half), ns
        self.apart = []           # TAI where the kernel is a second off
        self.ramps = []           # of the unscaled smeared page, in order: (start, end, before, after)
        self.last_offset = {}     # TAI - REALTIME of a page's last sample, ns
        self.pages = {}
        self.kernel = self.end = None

    def complain(self, name, what):
        count = self.complaints.setdefault(name, [0, what])
        count[0] += 1

    def expect(self, good, name, *what):
        if not good:
            self.complain(name, " ".join(map(str, what)))

    def run(self, data, damage=None, misread=None):
        """damage: a function (page, segment) -> segment that a wrong writer would have published; misread:
        one (page, sample) -> what a wrong reader would have read."""
        for kind, record in records(data):
            if kind == "segment":
                page = self.pages[record.page]
                honest = record
                if damage:
                    record = damage(page, record)
                record.honest = honest
                page.take(record)
            elif kind == "sample":
                page = self.pages[record.page]
                page.judge(misread(page, record) if misread else record, self.kernel, damage is not None)
            elif kind == "kernel":
                self.kernel = record
            elif kind == "page":
                self.pages[record.page] = Page(self, record)
            else:
                self.end = record
        self.expect(self.end is not None, "no end", "the run was cut short")
        return self


class Page:
    def __init__(self, judge, header):
        self.judge_, self.header = judge, header
        scenario = judge.scenario
        self.name = f"{('unscaled', 'scaled')[header.format]} {('unsmeared', 'smeared')[header.page % 2]}"
        self.smear = scenario.smear if header.page % 2 else None
        expected = (scenario.smear_kind, *scenario.smear) if self.smear else (0, 0, 0)
        judge.expect((header.smear, header.smear_start_s, header.smear_length_s) == expected and
                     header.format == header.page // 2, "page header", vars(header))
        self.calendar = Calendar(scenario.leaps, self.smear, scenario.offset_s)
        self.segments = collections.deque(maxlen=32)
        self.before = None  # the last sample: (counter, tai, realtime, kernel's tai - monotonic)
        self.tai_minus_monotonic = None

    def expect(self, good, name, *what):
        self.judge_.expect(good, name, self.name, *what)

    # -- segments

    def take(self, segment):
        before = self.segments[-1] if self.segments else None
        self.segments.append(segment)
        self.judge_.seen["segments"] += 1
        start = segment.tai_ns
        if segment.lease_end == segment.start:
            return  # the one before the first
        if segment.leap_start_ns != NO_LEAP:
            self.expect(segment.leap_slope_frac == floor_slope(segment.leap_start_ns, segment.leap_end_ns,
                                                               segment.utc_offset_ns,
                                                               segment.utc_offset_after_ns),
                        "leap slope", hex(segment.leap_slope_frac))
        if self.judge_.scenario.irregular:
            self.check_irregular_words(before, segment, start)
        else:
            self.check_leap_words(segment, start)
        if before is None or before.number + 1 != segment.number:
            return
        self.judge_.seen["boundaries"] += 1
        ticks = ticks_of(before, before.lease_end, self.header.delta_shift)
        line = (before.tai_ns << 64) + before.tai_frac + ticks * before.tai_period_frac
        self.expect(before.lease_end == segment.start, "boundary", segment.number)
        self.expect(line == (segment.tai_ns << 64) + segment.tai_frac and before.epoch == segment.epoch or
                    segment.flags & DISCONTINUITY, "boundary of TAI", segment.number)
        if not segment.flags & DISCONTINUITY:
            gap = integer_utc_offset(segment, start) - integer_utc_offset(before, start)
            self.expect(abs(gap) <= 2, "boundary of REALTIME", f"segment {segment.number}: {gap} ns")
            self.expect(segment.monotonic_offset_ns == before.monotonic_offset_ns, "boundary of MONOTONIC",
                        segment.number)

    def check_leap_words(self, segment, start):
        """Against the calendar."""
        words = (segment.leap_start_ns, segment.leap_end_ns)
        offsets = (segment.utc_offset_ns, segment.utc_offset_after_ns)
        late = SECOND + 3 * self.judge_.scenario.period_ns
        if words == (NO_LEAP, NO_LEAP):
            coming = self.calendar.current(start)
            known = coming is not None and self.judge_.scenario.known_ns <= start
            # A leap second that was just past goes at the next segment, and the next one comes.
            just_past = any(0 <= start - piece.end <= late for piece in self.calendar.pieces)
            self.expect(not known or (just_past and start < coming.start), "leap not announced", start)
            offset = self.calendar.offset(start)
            self.expect(offsets == (offset, offset), "leap offsets", *offsets)
            return
        pieces = [piece for piece in self.calendar.pieces if (piece.start, piece.end) == words]
        self.expect(pieces, "leap window", *words)
        for piece in pieces:
            self.expect(offsets == (piece.before, piece.after), "leap offsets", *offsets)
            self.expect(start < piece.end + late, "leap kept", start - piece.end)

    def check_irregular_words(self, before, segment, start):
        """What a writer may choose where it was not told in time."""
        if self.smear is None or segment.leap_start_ns == NO_LEAP:
            return
        ramp = (segment.leap_start_ns, segment.leap_end_ns, segment.utc_offset_ns, segment.utc_offset_after_ns)
        if self.header.format == 0 and ramp not in self.judge_.ramps:
            self.judge_.ramps.append(ramp)
        length = segment.leap_end_ns - segment.leap_start_ns
        steepest = min(1000, self.smear[1] - 1)
        self.expect(length >= abs(segment.utc_offset_after_ns - segment.utc_offset_ns) * steepest, "too steep",
                    length)
        if before is not None and before.number + 1 == segment.number and \
                before.leap_start_ns != segment.leap_start_ns:
            # By the unscaled page's TAI, which the scaled one's may be a nanosecond off.
            self.expect(segment.leap_start_ns >= start - 1, "begins in the past", start - segment.leap_start_ns)

    # -- samples

    def find(self, counter):
        """5.2, step 3: (segment, overdue, error)."""
        later = None
        for back, segment in enumerate(reversed(self.segments)):
            # One step back across the newest's start is always right; it may lie in the future.
            if back > 1 and later.flags & DISCONTINUITY:
                return None, False, E_DISCONTINUITY
            if signed(counter - segment.start) >= 0:
                return segment, back == 0 and signed(counter - segment.lease_end) >= 0, 0
            later = segment
        return None, False, E_OUT_OF_RANGE

    def judge(self, sample, kernel, damaged):
        self.judge_.seen["samples"] += 1
        segment, overdue, error = self.find(sample.counter)
        if segment is None:
            self.judge_.seen[f"error {error}"] += 1
            self.expect(all(reading[0] == error for reading in sample.clocks), "error", sample.counter)
            return
        ticks = ticks_of(segment, sample.counter, self.header.delta_shift)
        tai = integer_tai(segment, ticks)
        values = integer_clocks(segment, ticks, tai)
        for clock, expected in enumerate(self.expected(segment, ticks, tai, values, overdue)):
            if sample.clocks[clock] != expected:
                self.explain(clock, sample.clocks[clock], expected, damaged)
        if not damaged:  # a wrong writer's page, read rightly, else
            values = [reading[2] for reading in sample.clocks]
        self.check_exactly(segment, ticks, tai, values[REALTIME])
        self.check_calendar(sample, segment, tai)
        self.check_kernel(values, sample, kernel, tai, overdue)
        self.check_order(sample, tai, values, segment)

    def expected(self, segment, ticks, tai, values, overdue):
        """All five readings as the specification has them."""
        status = segment.status if segment.status <= UNRELIABLE else UNRELIABLE
        if overdue and status != UNRELIABLE:
            status = FREE_RUNNING
        flags = (OVERDUE if overdue else 0) | (READ_TAI_KNOWN if segment.flags & TAI_KNOWN else 0)
        # By the words that the readers saw, where an oracle is tested with others.
        indicator = derived_indicator(segment.honest, tai)
        ambiguous = AMBIGUOUS if is_ambiguous(segment.honest, tai) else 0
        rest = (segment.epoch, status, segment.reason, indicator, self.header.smear, 0)
        utc, local = half_width(segment, ticks, TAI), half_width(segment, ticks, MONOTONIC)
        for clock, ns in enumerate(values):
            if clock == TAI and not segment.flags & TAI_KNOWN:
                yield (E_TAI_UNKNOWN, *(10 * (0,)))
                continue
            wide = utc if clock in (REALTIME, TAI) else local
            yield (0, flags | ambiguous if clock == REALTIME else flags, ns, *interval(ns, wide), *rest)

    def explain(self, clock, reading, expected, damaged):
        names = ("error", "flags", "integer formula", "bounds", "bounds", "epoch", "status", "reason", "indicator",
                 "smear", "reserved")
        for i, (got, want) in enumerate(zip(reading, expected)):
            if got != want and not (damaged and 2 <= i <= 4):
                self.expect(False, names[i], CLOCKS[clock], got, "is not", want)

    def check_exactly(self, segment, ticks, tai, realtime):
        exact_tai = Fraction((segment.tai_ns << 64) + segment.tai_frac + ticks * segment.tai_period_frac, 1 << 64)
        judge = self.judge_
        if judge.scenario.irregular:
            # Where the writer was not told in time it chooses the smear; then only this follows the words.
            offset = Piece(segment.leap_start_ns, segment.leap_end_ns, segment.utc_offset_ns,
                           segment.utc_offset_after_ns).offset(exact_tai)
            if judge.scenario.near_ns is not None and self.smear:
                # Or begins a moment late, because another was not over; it is no further off than this.
                away = self.calendar.offset(exact_tai) - offset
                self.expect(abs(away) <= judge.scenario.near_ns, "near the calendar", float(away), "ns at", tai)
        else:
            # Where REALTIME jumps, the instant itself is rounded down to a nanosecond, as all are.
            offset = self.calendar.offset(exact_tai if self.smear else tai)
        error = abs(realtime - (exact_tai - offset))
        judge.worst = max(judge.worst, error)
        if error > 1:
            self.expect(False, "exact time", f"{float(error):.6f} ns off at TAI {tai}")
        for piece in self.calendar.pieces:
            if self.smear and abs(tai - (piece.start + piece.end) // 2) <= 2:
                half = Fraction(piece.before + piece.after, 2)
                judge.mid_smear.append((tai - (piece.start + piece.end) // 2,
                                        float(tai - realtime - half)))

    def check_calendar(self, sample, segment, tai):
        """Flags and indicators by the date, where all is as it was announced."""
        scenario, seen = self.judge_.scenario, self.judge_.seen
        flags, indicator = sample.clocks[REALTIME][1], sample.clocks[REALTIME][8]
        if flags & AMBIGUOUS:
            seen["ambiguous"] += 1
        seen[f"indicator {indicator}"] += 1
        if scenario.irregular:
            return
        ambiguous = any(piece.start == piece.end and piece.after > piece.before and
                        abs(2 * (tai - piece.start) + 1) < 2 * SECOND for piece in self.calendar.pieces)
        self.expect(bool(flags & AMBIGUOUS) == ambiguous, "ambiguity by date", flags, tai)
        allowed = self.indicators_by_date(tai, segment.tai_ns)
        self.expect(indicator in allowed, "indicator by date", indicator, "at", tai, "not in", allowed)

    def indicators_by_date(self, tai, start):
        late = SECOND + 3 * self.judge_.scenario.period_ns
        pending = {1: PENDING_INSERTION, -1: PENDING_DELETION}
        known = self.judge_.scenario.known_ns
        for piece, following in zip(self.calendar.pieces, [*self.calendar.pieces[1:], None]):
            by = 1 if piece.after > piece.before else -1
            if tai < piece.start - DAY:
                return {NONE}  # the one before it is years ago
            if tai < piece.start:
                return {pending[by]} if start >= known else {NONE, pending[by]}
            if tai < piece.end:
                return {IN_SMEAR}
            if following is None:
                # The segment's own word as of its start, unless it has the leap in it.
                return {JUST_PAST} if start < piece.end + DAY else {NONE}
            if tai < piece.end + late:
                return {JUST_PAST} | ({IN_SMEAR} if following.start <= tai else {PENDING_INSERTION,
                                                                                 PENDING_DELETION})
            if tai < following.start and following.before != following.after:
                nxt = pending[1 if following.after > following.before else -1]
                return {nxt, JUST_PAST}
        return {NONE}

    def check_kernel(self, values, sample, kernel, tai, overdue):
        """The kernel's clocks lie within the bounds of what is read here; REALTIME but for a tick."""
        judge = self.judge_
        for clock in (MONOTONIC, RAW, BOOTTIME):
            _, _, _, earliest, latest, *_ = sample.clocks[clock]
            self.expect(earliest <= kernel.ns[clock] <= latest, "containment", CLOCKS[clock],
                        kernel.ns[clock] - values[clock])
        if judge.scenario.irregular:
            return
        if self.smear is not None:
            # The source's own time on this scale: its MONOTONIC, the leap second taken from the calendar.
            source = kernel.ns[MONOTONIC] + tai - values[MONOTONIC]
            self.expect(sample.clocks[REALTIME][3] <= source - self.calendar.offset(source) <=
                        sample.clocks[REALTIME][4], "containment", "smeared REALTIME", tai - source)
            return
        difference = kernel.ns[REALTIME] - values[REALTIME]
        if abs(difference) > SECOND // 2 and not overdue:
            judge.apart.append(tai)
            piece = self.calendar.pieces[0] if self.calendar.pieces else None
            by = 1 if piece and piece.after > piece.before else -1
            difference -= by * SECOND
            ns = judge.scenario.tick_ns
            self.expect(any(0 <= tai - p.start <= ns for p in self.calendar.pieces), "kernel a second off", tai)
        elif not judge.scenario.leap_is_near(tai):
            _, _, _, earliest, latest, *_ = sample.clocks[REALTIME]
            self.expect(earliest <= kernel.ns[REALTIME] <= latest, "containment", "REALTIME", difference)
        if not overdue:
            self.expect(abs(difference) <= judge.scenario.tracking_ns, "kernel", difference, "ns at", tai)
            judge.seen["kernel"] += 1

    def check_order(self, sample, tai, values, segment):
        """From one sample to the next: no trace in TAI and MONOTONIC, no step in smeared REALTIME."""
        realtime, monotonic = values[REALTIME], values[MONOTONIC]
        if segment.flags & TAI_KNOWN:
            self.judge_.seen["TAI known"] += 1
            if self.tai_minus_monotonic is None:
                self.tai_minus_monotonic = tai - monotonic
            self.expect(tai - monotonic == self.tai_minus_monotonic, "TAI - MONOTONIC", tai - monotonic)
        if self.before is not None:
            counter, last_tai, last_realtime, last_monotonic, epoch = self.before
            ticks, hz = (sample.counter - counter) * SECOND, self.header.frequency_hz
            self.expect(1000 * abs((monotonic - last_monotonic) * hz - ticks) <= ticks + 2000 * hz,
                        "rate of MONOTONIC", monotonic - last_monotonic)
            self.expect(epoch == segment.epoch or self.judge_.scenario.irregular, "epoch", segment.epoch)
            if self.smear is not None:
                self.expect(realtime >= last_realtime, "backward", realtime - last_realtime, "ns at", tai)
                moved = abs((realtime - last_realtime) - (tai - last_tai))
                least = self.smear[1] - 1
                if self.judge_.scenario.irregular:
                    least = min(least, 1000)
                self.expect((moved - 2) * least <= tai - last_tai, "step", moved, "ns at", tai)
        self.judge_.last_offset[self.header.page] = tai - realtime
        self.before = (sample.counter, tai, realtime, monotonic, segment.epoch)
