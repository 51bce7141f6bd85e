#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A small independent reader of clockpage timestamps: section 13 of clockpage.md.

  timestamp.py HEX [HEX]          what one says; how two stand to each other
  timestamp.py --vectors DIR      reads all golden timestamps; exit 1 if any result differs

Standard library only.
"""

import json
import pathlib
import struct
import sys

MIN, MAX = -2**63, 2**63 - 1
SECOND = 10**9
SIZE, VERSION, LAYOUT, SCALE = -16, -18, -19, -10
OVERDUE, AMBIGUOUS, DELETION, SCALED = 0x10, 0x20, 0x40, 0x80


class TimestampError(Exception):
    """.number is CLOCKPAGE_E_*."""

    def __init__(self, number):
        super().__init__(str(number))
        self.number = number


class Timestamp:
    LAYOUT = struct.Struct("<4BIiI16sqqqQ")

    def __init__(self, data):
        if len(data) != 64:
            raise TimestampError(SIZE)
        (version, self.time_scale, both, self.resolution_ns, self.epoch, self.smear_start_s, self.smear_length_s,
         self.clock_id, self.ns, self.earliest_ns, self.latest_ns, self.disruption_marker) = self.LAYOUT.unpack(data)
        self.status, self.flags = both & 7, both & 0xF0
        if version != 0xC1:
            raise TimestampError(VERSION)
        if both & 8 or self.status > 4 or not self.earliest_ns <= self.ns <= self.latest_ns or not self.is_scale():
            raise TimestampError(LAYOUT)
        if self.flags & (AMBIGUOUS | DELETION) and self.time_scale != 1:
            raise TimestampError(LAYOUT)

    def is_scale(self):
        start, length = self.smear_start_s, self.smear_length_s
        if self.time_scale < 4:
            return (start, length) == [(0, 0), (0, 0), (-43200, 86400), (-1000, 1000)][self.time_scale]
        return self.time_scale == 4 and 100 <= length <= 14 * 86400 and -length <= start <= 0

    def scale(self):
        return self.time_scale, self.smear_start_s, self.smear_length_s

    def is_reliable(self):
        return self.status < 4

    def latest(self):
        """None: no bound."""
        latest = self.latest_ns + (SECOND if self.flags & (AMBIGUOUS | DELETION) else 0)
        return latest if self.is_reliable() and latest < MAX else None

    def earliest(self):
        return self.earliest_ns if self.is_reliable() and self.earliest_ns > MIN else None

    def fields(self):
        return [self.time_scale, self.status, self.flags, self.resolution_ns, self.epoch, self.smear_start_s,
                self.smear_length_s, self.clock_id.hex(), self.ns, self.earliest_ns, self.latest_ns,
                self.disruption_marker]


def of_one_clock(a, b):
    return ((a.clock_id, a.epoch, a.scale()) == (b.clock_id, b.epoch, b.scale()) and not (a.flags | b.flags) & OVERDUE and
            a.is_reliable() and b.is_reliable() and 255 not in (a.resolution_ns, b.resolution_ns))


def definitely_before(a, b):
    if a.scale() != b.scale():
        raise TimestampError(SCALE)
    if None not in (a.latest(), b.earliest()) and a.latest() < b.earliest():
        return True
    slack = 0 if a.flags & b.flags & SCALED else a.resolution_ns + b.resolution_ns
    slack += SECOND if a.flags & AMBIGUOUS else 0
    return of_one_clock(a, b) and a.ns + slack < b.ns


def result_of(function, *arguments):
    """(error, result)"""
    try:
        return 0, function(*arguments)
    except TimestampError as error:
        return error.number, None


def check_vectors(directory):
    data = json.loads((pathlib.Path(directory) / "timestamps.json").read_text(encoding="utf-8"))
    wrong = 0
    for name, image, error, *expected in data["decode"]:
        got, timestamp = result_of(Timestamp, bytes.fromhex(image))
        if str(got) != error or (timestamp and [str(f) for f in timestamp.fields()] != expected):
            print(f"{name}: {got} {timestamp and timestamp.fields()}, expected {error} {expected}")
            wrong += 1
    for name, a, b, error, *expected in data["compare"]:
        a, b = Timestamp(bytes.fromhex(a)), Timestamp(bytes.fromhex(b))
        got, before = result_of(definitely_before, a, b)
        turned, after = result_of(definitely_before, b, a)
        results = [str(int(bool(r))) for r in (before, after, of_one_clock(a, b))]
        if (str(got), str(turned)) != (error, error) or results != expected:
            print(f"{name}: {got} {turned} {results}, expected {error} {expected}")
            wrong += 1
    count = len(data["decode"]) + len(data["compare"])
    print(f"{count} cases, {wrong} wrong")
    return 1 if wrong or not count else 0


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "--vectors":
        return check_vectors(arguments[1])
    if len(arguments) not in (1, 2) or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        timestamps = [Timestamp(bytes.fromhex(argument)) for argument in arguments]
        for timestamp in timestamps:
            print(*timestamp.fields())
        if len(timestamps) == 2:
            before, after = definitely_before(*timestamps), definitely_before(*reversed(timestamps))
            print("before" if before else "after" if after else "overlaps")
    except (TimestampError, ValueError) as error:
        print(f"timestamp.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
