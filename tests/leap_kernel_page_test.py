# SPDX-License-Identifier: MIT
# labels: no_sanitizer
# timeout: 180
"""clockpaged beside a real kernel that takes a leap second: the pages take it at its instant.

The kernel is a guest's (user-mode Linux). Every sample has the kernel's clocks between two readings
of the pages, so the page's interval from before to after must hold the kernel's time.
"""
import os
import unittest

import programs
import uml_guest
from uml_guest import NS, Leap, utc

# Ticks as in leap_kernel_test.py.
PHASE = 302_000_000
BEFORE_S = 4  # a producer starts within one and a half
# Its readings of the clock take milliseconds there: each clock_gettime some 10 us.
PRODUCER = f"{programs.DAEMON} --source bracket --period-us 50000"
# Of a noon smear.
HALF_DAY = 43200
CLOCKS = ("tai", "realtime", "monotonic", "smeared")


class PageLeap(Leap):
    """`offset_s`: TAI - UTC before it, by the page."""

    def __init__(self, rows, midnight, raw_offset, sign, offset_s):
        super().__init__(rows, midnight, raw_offset, sign)
        self.page_before, self.page_after = offset_s * NS, (offset_s + sign) * NS
        self.raw_error = self.page_before - self.before
        self.page_tai = self.tai + self.raw_error

    def readings(self):
        """The pages', in order."""
        fields = ("error", "ns", "epoch", "flags", "leap", "status")
        for row in self.rows:
            for when in ("before", "after"):
                yield {f"{clock}_{field}": row[f"page_{clock}_{when}_{field}"] for clock in CLOCKS for field in fields}

    def holds(self, row, clock, ns):
        return row[f"page_{clock}_before_earliest_ns"] <= ns <= row[f"page_{clock}_after_latest_ns"]


def wrong_with(leap, counted):
    """What a page did that it may not do at a leap second; nothing, if all is well."""
    wrong = set()
    readings = list(leap.readings())
    if any(reading[f"{clock}_error"] for reading in readings for clock in CLOCKS):
        return {"a clock could not be read"}
    for row in leap.rows:
        if not leap.holds(row, "tai", row["tai"] + leap.raw_error):
            wrong.add("TAI is not the kernel's")
        if not leap.holds(row, "monotonic", row["monotonic"]):
            wrong.add("MONOTONIC is not the kernel's")
        if row["page_tai_before_earliest_ns"] <= leap.page_tai <= row["page_tai_after_latest_ns"]:
            continue  # by its bounds before it, or after
        # The kernel leaps some ticks late, but at the instant in what adjtimex says.
        late = row["tai"] > leap.tai and leap.offset(row) == leap.before
        if leap.offset(row) and not leap.holds(row, "realtime", row["realtime"] - (leap.sign * NS if late else 0)):
            wrong.add("REALTIME is not the kernel's, or a second off while that has not leapt")
        adjtimex = row["adjtimex_s"] * NS + row["adjtimex_us"] * 1000  # rounded down
        if not leap.holds(row, "realtime", adjtimex) and not leap.holds(row, "realtime", adjtimex + 999):
            wrong.add("REALTIME is not adjtimex's")
    for reading in readings:
        tai = reading["tai_ns"]
        if tai - reading["realtime_ns"] != (leap.page_before if tai < leap.page_tai else leap.page_after):
            wrong.add("REALTIME does not leap at its instant")
        if abs(tai - reading["smeared_ns"] - smeared_offset(leap, tai)) > 1:
            wrong.add("smeared REALTIME is not on its line")
    if len({reading["tai_ns"] - reading["monotonic_ns"] for reading in readings}) != 1:
        wrong.add("TAI or MONOTONIC shows a trace")
    for clock in ("tai", "monotonic", "smeared"):
        if any(a[f"{clock}_ns"] > b[f"{clock}_ns"] for a, b in zip(readings, readings[1:])):
            wrong.add(f"{clock} goes backward")
    if any(int(counted[name]) for name in ("realtime_steps", "tai_steps", "monotonic_steps")):
        wrong.add("a step is counted")
    if len({reading[f"{clock}_epoch"] for reading in readings for clock in CLOCKS}) != 1:
        wrong.add("a new epoch is published")
    return wrong


def smeared_offset(leap, tai):
    """TAI - smeared REALTIME by a noon smear that began in time; to 1 ns."""
    start = leap.midnight - HALF_DAY * NS + leap.page_before
    length = 2 * HALF_DAY + leap.sign
    return leap.page_before + leap.sign * ((tai - start) // length)


def write(name, midnight, raw_offset, flag, *options, kill=False):
    """The script's lines for one leap second under a producer of its own."""
    directory = f"/run/{name}"
    sample = f"sample {name} {BEFORE_S - PHASE / NS}"  # of which some second passed at its start
    return [f"tai {raw_offset}", "reset", f"set {midnight - BEFORE_S} {PHASE}", f"flag {flag}",
            " ".join((f"producer {directory} {PRODUCER}", *options)),
            *(["signal 9"] if kill else []), sample, *([] if kill else ["signal 15"])]


class PageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.midnights = {"inserted": utc("2017-01-01 00:00:00"), "killed": utc("2015-07-01 00:00:00"),
                         "deleted": utc("2029-01-01 00:00:00"), "nothing": utc("2018-01-01 00:00:00")}
        cls.left = uml_guest.boot([
            *write("inserted", cls.midnights["inserted"], 36, "ins"),
            *write("killed", cls.midnights["killed"], 35, "ins", kill=True),
            *write("deleted", cls.midnights["deleted"], 37, "del"),
            *write("nothing", cls.midnights["nothing"], 37, "none"),
        ])

    def leap(self, name, raw_offset, sign, offset_s):
        leap = PageLeap(uml_guest.samples(self.left[f"{name}.csv"]), self.midnights[name], raw_offset, sign,
                        offset_s)
        uml_guest.report(name, leap)
        self.assertLess(leap.rows[0]["tai"], leap.tai - NS // 2, "the producer took too long to start")
        self.assertGreater(leap.rows[-1]["tai"], leap.tai + NS // 2)
        return leap, dict(line.split() for line in self.left[f"{name}.diagnostics"].splitlines())

    def test_an_insertion_is_taken_at_its_instant(self):
        leap, counted = self.leap("inserted", 36, 1, 36)
        self.assertEqual(wrong_with(leap, counted), set())

    def test_a_deletion_is_taken_at_its_instant(self):
        leap, counted = self.leap("deleted", 37, -1, 37)
        self.assertEqual(wrong_with(leap, counted), set())

    def test_the_page_of_a_killed_producer_takes_it_too(self):
        leap, counted = self.leap("killed", 35, 1, 35)
        self.assertEqual(wrong_with(leap, counted), set())
        self.assertEqual({row["page_realtime_before_status"] for row in leap.not_before(leap.tai)}, {FREE_RUNNING})

    def test_without_an_announcement_nothing_leaps_and_the_checks_notice(self):
        leap, counted = self.leap("nothing", 37, 1, 37)
        wrong = wrong_with(leap, counted)
        self.assertIn("REALTIME does not leap at its instant", wrong)


FREE_RUNNING = 3

if __name__ == "__main__":
    unittest.main()
