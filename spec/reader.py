#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A small independent reader of clockpage data pages and views: sections 3, 4, 5.2, 5.4 and 8 of clockpage.md.

  reader.py PAGE COUNTER [CLOCK]     reads one page file at one counter value (all clocks if none is named)
  reader.py --vectors DIR            reads all golden pages; exit 1 if any result differs

Standard library only. Counter values are given: Python cannot read the counter, so there is no "now", and a
file that a writer is changing needs the re-check of 5.2 step 5 around `read`.
"""

import json
import pathlib
import struct
import sys

M64 = 2**64 - 1
CLOCKS = {"REALTIME": 0, "MONOTONIC": 1, "MONOTONIC_RAW": 4, "BOOTTIME": 7, "TAI": 11}
ERRORS = {0: "OK", -2: "OUT_OF_RANGE", -3: "DISCONTINUITY", -4: "TAI_UNKNOWN", -5: "REVOKED", -6: "CLOCK",
          -9: "DISRUPTED", -21: "STALE", -23: "VIEW", -16: "SIZE", -17: "MAGIC", -18: "VERSION", -19: "LAYOUT", -20: "COUNTER"}
COUNTER_X86_TSC = 1
HISTORY = 14
NO_BOUND = M64
NO_LEAP = 2**63 - 1
LEAP_NOTICE_NS = 86400 * 10**9
INT64_MIN, INT64_MAX = -2**63, 2**63 - 1


class ClockpageError(Exception):
    """No time could be read; .number is CLOCKPAGE_E_*."""

    def __init__(self, number):
        super().__init__(ERRORS.get(number, "?"))
        self.number = number


def signed(value):
    value &= M64
    return value - 2**64 if value >> 63 else value


class Segment:
    LAYOUT = struct.Struct("<6Q4q8QI4B2qQ16x")  # 3.4

    def __init__(self, data):
        (self.number, self.start, self.lease_end, self.tai_ns, self.tai_frac, self.tai_period_frac,
         self.utc_offset_ns, self.leap_start_ns, self.monotonic_offset_ns, self.boottime_offset_ns,
         self.raw_ns, self.raw_frac, self.raw_period_frac, self.utc_bound_ns, self.utc_bound_growth_frac,
         self.local_bound_ns, self.local_bound_growth_frac, self.epoch, self.flags, self.status, self.reason,
         self.leap_indicator, _, self.leap_end_ns, self.utc_offset_after_ns,
         self.leap_slope_frac) = self.LAYOUT.unpack(data)


class DataPage:
    def __init__(self, image, counter_kind=COUNTER_X86_TSC):
        """Section 8, in its order."""
        if len(image) < 4096:
            raise ClockpageError(-16)
        (magic, major, _minor, size, _features, kind, self.format, self.smear, self.shift, count, slot_size, slots_at,
         self.frequency, self.ratio, self.frac_bits) = struct.unpack_from("<8sHHIQ4B3IQQB", image)
        if magic != b"CLKPGDAT":
            raise ClockpageError(-17)
        if major != 1:
            raise ClockpageError(-18)
        if (size, count, slot_size, slots_at) != (4096, 16, 192, 1024) or self.shift > 32 or not self.ratio \
                or self.frac_bits > 63 or not self.frequency:
            raise ClockpageError(-19)
        if kind != counter_kind:
            raise ClockpageError(-20)
        self.index, self.revoked = struct.unpack_from("<QQ", image, 0x100)
        self.slots = [Segment(image[1024 + 192 * i:1024 + 192 * (i + 1)]) for i in range(16)]

    def slot(self, number):
        return self.slots[number % 16]

    def find(self, counter):
        """5.2 step 3: (segment, overdue)."""
        s = self.slot(self.index)
        if signed(counter - s.start) >= 0:
            return s, signed(counter - s.lease_end) >= 0
        for back in range(1, HISTORY + 1):
            s = self.slot(self.index - back)
            if back > 1:
                if self.slot(self.index - back + 1).flags & 0x1C:
                    raise ClockpageError(-3)
                if s.number != (self.index - back) & M64:
                    raise ClockpageError(-2)
            if signed(counter - s.start) >= 0:
                return s, False
        raise ClockpageError(-2)

    def read(self, clock, counter, offset=0, wider=0):
        """The columns of the vectors from `ns` on. A view adds `offset` to the time, `wider` to half-widths."""
        if self.revoked:
            raise ClockpageError(-5)
        s, overdue = self.find(counter & M64)
        if clock not in CLOCKS.values():
            raise ClockpageError(-6)
        tai_known = s.flags & 1
        if clock == CLOCKS["TAI"] and not tai_known:
            raise ClockpageError(-4)
        delta = (counter - s.start) & M64
        ticks = 2**62 if delta > 2**62 >> self.shift else delta << self.shift
        ns = signed(self.time(s, clock, ticks) + offset)
        earliest, latest = self.interval(s, clock, ns, ticks, wider)
        status = s.status if s.status <= 4 else 4
        if overdue and status != 4:
            status = 3
        indicator, ambiguous = self.leap(s, clock, ticks)
        flags = ((1 if overdue else 0) | (2 if tai_known else 0) | (4 if ambiguous else 0)
                 | (8 if s.flags & 0x80 else 0))
        return {"ns": ns, "earliest_ns": earliest, "latest_ns": latest, "status": status, "reason": s.reason,
                "flags": flags, "leap_indicator": indicator, "smear": self.smear, "epoch": s.epoch}

    @staticmethod
    def tai(s, ticks):
        return signed(s.tai_ns + (s.tai_frac + ticks * s.tai_period_frac >> 64))

    @staticmethod
    def leap(s, clock, ticks):
        """The end of 5.2: (leap indicator, whether REALTIME is read twice)."""
        if s.leap_start_ns == NO_LEAP:
            return s.leap_indicator, False
        tai = DataPage.tai(s, ticks)
        change = signed(s.utc_offset_after_ns - s.utc_offset_ns)
        ambiguous = (clock == CLOCKS["REALTIME"] and s.leap_start_ns == s.leap_end_ns
                     and -change <= signed(tai - s.leap_start_ns) < change)
        if s.leap_start_ns - tai > LEAP_NOTICE_NS:
            return s.leap_indicator, ambiguous
        if tai < s.leap_start_ns:
            return (1 if change >= 0 else 2), ambiguous
        return (3 if tai < s.leap_end_ns else 4), ambiguous

    @staticmethod
    def time(s, clock, ticks):
        """Section 4, items 2 to 4."""
        if clock == CLOCKS["MONOTONIC_RAW"]:
            return s.raw_ns + (s.raw_frac + ticks * s.raw_period_frac >> 64)
        tai = DataPage.tai(s, ticks)
        if clock == CLOCKS["MONOTONIC"]:
            return tai - s.monotonic_offset_ns
        if clock == CLOCKS["BOOTTIME"]:
            return tai - s.boottime_offset_ns
        if clock == CLOCKS["TAI"]:
            return tai
        if tai < s.leap_start_ns:
            return tai - s.utc_offset_ns
        if tai >= s.leap_end_ns:
            return tai - s.utc_offset_after_ns
        moved = ((tai - s.leap_start_ns) & M64) * s.leap_slope_frac
        insertion = signed(s.utc_offset_after_ns - s.utc_offset_ns) >= 0
        return tai - (s.utc_offset_ns + ((moved if insertion else -moved) >> 64))

    @staticmethod
    def interval(s, clock, ns, ticks, wider):
        """Section 4, item 5."""
        utc = clock in (CLOCKS["REALTIME"], CLOCKS["TAI"])
        bound, growth = ((s.utc_bound_ns, s.utc_bound_growth_frac) if utc
                         else (s.local_bound_ns, s.local_bound_growth_frac))
        grown = bound + (ticks * growth >> 64) + 2 + wider
        if bound == NO_BOUND or grown > INT64_MAX:
            return INT64_MIN, INT64_MAX
        return max(ns - grown, INT64_MIN), min(ns + grown, INT64_MAX)


class Region:
    """What a view needs of it: its generation, and its data pages by format and smear or not."""

    def __init__(self, image):
        if image[:8] != b"CLKPGDIR":
            raise ClockpageError(-17)
        if struct.unpack_from("<H", image, 8)[0] != 1:
            raise ClockpageError(-18)
        (self.generation,) = struct.unpack_from("<Q", image, 0x40)
        self.pages = {}
        for offset, kind, smear in struct.iter_unpack("<IBB2x", image[0x70:0x90]):
            self.pages[kind, smear != 0] = DataPage(image[offset:offset + 4096])


class View:
    """Section 5.4; `ancestors`: images of view pages, nearest first (5.4.1)."""

    def __init__(self, image, region, ancestors=()):
        self.take_slot(image, region.generation)
        usable = (self.ratio == 1 if self.frac_bits == 0 else self.ratio and self.frac_bits in (32, 48))
        if self.format > 1 or not usable:
            raise ClockpageError(-23)
        parent, given = self.parent, list(ancestors)
        while parent:
            if not given:
                raise ClockpageError(-23)
            parent = self.parent_of(given.pop(0), parent, region.generation)
        self.page = region.pages[self.format, self.smear != 0]
        same = (self.ratio, self.frac_bits) == (self.page.ratio, self.page.frac_bits)
        self.is_exact = same or (self.format == 0 and self.ratio == 1 << self.frac_bits)
        if self.format == 1 and not same:
            raise ClockpageError(-23)

    @staticmethod
    def newest_slot(image, generation):
        """(the number that index has, the slot), as section 8 says."""
        magic, major, _minor, size, _features, _id, own, count, slot_size = struct.unpack_from("<8sHHIQ16sQII", image)
        if magic != b"CLKPGVEW":
            raise ClockpageError(-17)
        if major != 1:
            raise ClockpageError(-18)
        if not 1024 <= size <= 4096 or (count, slot_size) != (4, 128):
            raise ClockpageError(-19)
        if own != generation:
            raise ClockpageError(-21)
        (index,) = struct.unpack_from("<Q", image, 0x100)
        return index, struct.unpack_from("<QqQBBB5xqqQQ", image, 0x200 + index % 4 * 128)

    def take_slot(self, image, generation):
        index, slot = self.newest_slot(image, generation)
        (number, self.offset, self.ratio, self.frac_bits, self.format, self.smear, self.monotonic, self.boottime,
         self.marker, self.parent) = slot
        if number != index:
            raise ClockpageError(-19)

    @classmethod
    def parent_of(cls, image, wanted, generation):
        """The number that the ancestor's slot names in turn. `wanted` is what its child was composed from."""
        index, slot = cls.newest_slot(image, generation)
        if index != wanted:
            raise ClockpageError(-9)
        if slot[0] != index:
            raise ClockpageError(-19)
        if slot[2] == 0:
            raise ClockpageError(-23)
        return slot[9]

    def page_counter(self, guest):
        """(c, late) of "The host's counter"."""
        g = (guest - self.offset) & M64
        if self.is_exact:
            return g, 0
        whole, rest = divmod(1 << self.frac_bits, self.ratio)
        fraction = (rest << 64) // self.ratio
        image = self.page.slot(self.page.index).start * self.ratio >> self.frac_bits
        wrapped = (image + signed(g - image)) >> 64  # of all that are g modulo 2^64, the nearest to image
        c = g * whole + (g * fraction >> 64) + wrapped * fraction
        if bin(self.ratio).count("1") == 1:
            return c & M64, max(whole, 1) - 1
        return (c + 1) & M64, whole + 1 + max(wrapped, 0)

    def read(self, clock, guest, marker):
        """The columns of views.cases from `page_counter` on."""
        if marker != self.marker:
            raise ClockpageError(-9)
        c, late = self.page_counter(guest)
        period = (10**9 << 32) // self.page.frequency
        wider = min((late * (period + period // 8 + 1) >> 32) + 1, INT64_MAX) if late else 0
        offset = {"MONOTONIC": self.monotonic, "MONOTONIC_RAW": self.monotonic, "BOOTTIME": self.boottime}
        added = {CLOCKS[name]: ns for name, ns in offset.items()}.get(clock, 0)
        return {"page_counter": c} | self.page.read(clock, c, added, wider)


def result(page, clock, counter):
    """One row as the vectors have it, from `error` on."""
    try:
        return ["0"] + [str(value) for value in page.read(clock, counter).values()]
    except ClockpageError as error:
        return [str(error.number)]


def check_page(directory, name):
    """(cases, differences) of one golden page, from its JSON."""
    page = DataPage((directory / f"{name}.page").read_bytes())
    cases = json.loads((directory / f"{name}.json").read_text(encoding="utf-8"))["cases"]
    wrong = 0
    for clock, counter, *expected in cases:
        got = result(page, int(clock), int(counter))
        if got != expected:
            wrong += 1
            print(f"{name}: clock {clock} at {counter}: {got}, expected {expected}")
    return len(cases), wrong


def check_headers(directory):
    image = (directory / "unscaled.page").read_bytes()
    cases = json.loads((directory / "headers.json").read_text(encoding="utf-8"))["cases"]
    wrong = 0
    for case in cases:
        data = bytearray(image + bytes(4096))[:max(case["length"], 4096)]
        for patch in case["patch"].split(",") if case["patch"] != "-" else []:
            offset, _, text = patch.partition(":")
            data[int(offset):int(offset) + len(text) // 2] = bytes.fromhex(text)
        try:
            DataPage(bytes(data[:case["length"]]))
            error = 0
        except ClockpageError as refusal:
            error = refusal.number
        if error != case["error"]:
            wrong += 1
            print(f"header {case['name']}: {error}, expected {case['error']}")
    return len(cases), wrong


def check_view(directory, case):
    """(cases, differences) of one golden view."""
    wrong, view, opened = 0, None, 0
    try:
        region = Region((directory / f"{case['region']}.region").read_bytes())
        view = View((directory / f"{case['view']}.view").read_bytes(), region,
                    [(directory / f"{name}.view").read_bytes() for name in case["ancestors"]])
    except ClockpageError as error:
        opened = error.number
    if str(opened) != case["error"]:
        wrong += 1
        print(f"{case['view']}: {opened}, expected {case['error']}")
    for clock, guest, marker, *expected in case["cases"]:
        try:
            if opened:
                raise ClockpageError(opened)
            got = ["0"] + [str(value) for value in view.read(int(clock), int(guest), int(marker)).values()]
        except ClockpageError as error:
            got = [str(error.number)]
        if got != expected:
            wrong += 1
            print(f"{case['view']}: clock {clock} at {guest}: {got}, expected {expected}")
    return len(case["cases"]) + 1, wrong


def check_vectors(directory):
    names = (directory / "pages.list").read_text(encoding="utf-8").split()
    counts = [check_page(directory, name) for name in names] + [check_headers(directory)]
    views = json.loads((directory / "views.json").read_text(encoding="utf-8"))["views"]
    counts += [check_view(directory, view) for view in views]
    cases, wrong = (sum(column) for column in zip(*counts))
    print(f"{len(names)} pages, {len(views)} views, {cases} cases, {wrong} wrong")
    return 1 if wrong or not cases else 0


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "--vectors":
        return check_vectors(pathlib.Path(arguments[1]))
    if len(arguments) not in (2, 3) or not arguments[1].isdecimal() or arguments[2:3] not in (
            [], *([name] for name in CLOCKS)):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        page = DataPage(pathlib.Path(arguments[0]).read_bytes())
    except (OSError, ClockpageError) as error:
        print(f"{arguments[0]}: {error}", file=sys.stderr)
        return 1
    for name in arguments[2:] or CLOCKS:
        try:
            print(name, *(f"{key}={value}" for key, value in page.read(CLOCKS[name], int(arguments[1])).items()))
        except ClockpageError as error:
            print(name, f"error={error}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
