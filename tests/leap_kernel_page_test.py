# SPDX-License-Identifier: MIT
# labels: no_sanitizer
# timeout: 180
"""clockpaged beside a real kernel that takes a leap second: the pages take it at its instant.

The kernel is a guest's (user-mode Linux). Every sample has the kernel's clocks between two readings
of the pages, so the page's interval from before to after must hold the kernel's time.
"""
import hashlib
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
FREE_RUNNING = 3  # CLOCKPAGE_STATUS_FREE_RUNNING
PENDING_INSERTION, PENDING_DELETION, IN_SMEAR, JUST_PAST = range(1, 5)  # CLOCKPAGE_LEAP_*
AMBIGUOUS = 0x4  # CLOCKPAGE_TIME_AMBIGUOUS
CLOCKS = ("tai", "realtime", "monotonic", "smeared")


# The midnights after the leap seconds that there were.
LEAPS = ("1972-07", "1973-01", "1974-01", "1975-01", "1976-01", "1977-01", "1978-01", "1979-01", "1980-01",
         "1981-07", "1982-07", "1983-07", "1985-07", "1988-01", "1990-01", "1991-01", "1992-07", "1993-07",
         "1994-07", "1996-01", "1997-07", "1999-01", "2006-01", "2009-01", "2012-07", "2015-07", "2017-01")


def leap_table(*more):
    """A leap-seconds.list of these, and of `more`."""
    offsets = [(f"{month}-01", 10 + number) for number, month in enumerate(("1972-01", *LEAPS))]
    lines = [(since_1900(date), offset) for date, offset in (*offsets, *more)]
    updated, expires = since_1900("2016-07-01"), since_1900("2030-01-01")
    digits = f"{updated}{expires}" + "".join(f"{when}{offset}" for when, offset in lines)
    digest = hashlib.sha1(digits.encode()).hexdigest()
    return "\n".join([f"#$ {updated}", f"#@ {expires}", *(f"{when} {offset}" for when, offset in lines),
                      "#h " + " ".join(digest[i:i + 8] for i in range(0, 40, 8))]) + "\n"


def since_1900(date):
    return utc(f"{date} 00:00:00") + 2208988800


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

    def indicator(self, tai):
        if tai >= self.page_tai:
            return JUST_PAST
        return PENDING_INSERTION if self.sign > 0 else PENDING_DELETION

    def is_ambiguous(self, tai):
        return self.sign > 0 and self.page_tai - NS <= tai < self.page_tai + NS

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
        if reading["realtime_leap"] != leap.indicator(tai) or reading["smeared_leap"] != IN_SMEAR:
            wrong.add("the leap indicator is wrong")
        if bool(reading["realtime_flags"] & AMBIGUOUS) != leap.is_ambiguous(tai):
            wrong.add("the second that comes twice is not flagged so")
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


def write(name, midnight, raw_offset, flag, *options, kill=False, more_s=0.0):
    """The script's lines for one leap second under a producer of its own."""
    seconds = BEFORE_S - PHASE / NS + more_s  # the producer has taken one of them and more
    return [f"tai {raw_offset}", "reset", f"set {midnight - BEFORE_S} {PHASE}", f"flag {flag}",
            " ".join((f"producer /run/{name} {PRODUCER}", *options)), *(["signal 9"] if kill else []),
            f"sample {name} {seconds:.3f}", *([] if kill else ["signal 15"])]


class PageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        kernel, table, never = "--leap-table none", "--leap-table /mnt/table", 0
        scripts = [
            [*write("inserted", utc("2017-01-01 00:00:00"), 36, "ins", kernel),
             *write("killed", utc("2015-07-01 00:00:00"), 35, "ins", kernel, kill=True),
             *write("by_table", utc("2017-01-01 00:00:00"), never, "ins", table)],
            [*write("deleted", utc("2029-01-01 00:00:00"), 37, "del", kernel),
             *write("deleted_by_table", utc("2029-01-01 00:00:00"), never, "del", table + "_with_deletion"),
             *write("nothing", utc("2018-01-01 00:00:00"), 37, "none", table),
             *write("not_by_the_kernel", utc("2017-01-01 00:00:00"), 36, "none", table, more_s=2)]]
        tables = {"table": leap_table(), "table_with_deletion": leap_table(("2029-01-01", 36))}
        cls.left = uml_guest.boot_all(scripts, tables)
        print(cls.left["log"], flush=True)

    def leap(self, name, date, raw_offset, sign, offset_s):
        """The samples, and what is wrong with them."""
        leap = PageLeap(uml_guest.samples(self.left[f"{name}.csv"]), utc(f"{date} 00:00:00"), raw_offset, sign,
                        offset_s)
        uml_guest.report(name, leap)
        self.assertLess(leap.rows[0]["tai"], leap.tai - NS // 2, "the producer took too long to start")
        self.assertGreater(leap.rows[-1]["tai"], leap.tai + NS // 4)
        counted = dict(line.split() for line in self.left[f"{name}.diagnostics"].splitlines())
        return leap, counted

    def taken(self, name, *which):
        leap, counted = self.leap(name, *which)
        self.assertEqual(wrong_with(leap, counted), set())
        return leap

    def test_an_insertion_is_taken_at_its_instant(self):
        self.taken("inserted", "2017-01-01", 36, 1, 36)

    def test_a_deletion_is_taken_at_its_instant(self):
        self.taken("deleted", "2029-01-01", 37, -1, 37)

    def test_an_insertion_with_tai_by_the_table_alone_is_taken_at_its_instant(self):
        self.taken("by_table", "2017-01-01", 0, 1, 36)

    def test_a_deletion_with_tai_by_the_table_alone_is_taken_at_its_instant(self):
        self.taken("deleted_by_table", "2029-01-01", 0, -1, 37)

    def test_the_page_of_a_killed_producer_takes_it_too(self):
        leap = self.taken("killed", "2015-07-01", 35, 1, 35)
        self.assertEqual({row["page_realtime_before_status"] for row in leap.not_before(leap.tai)}, {FREE_RUNNING})

    def test_the_producer_says_that_it_is_past_and_never_that_it_will_not_come(self):
        self.assertNotIn("no longer to come", self.left["log"])
        # All but the killed one's, and that with none.
        self.assertEqual(self.left["log"].count("it is past"), 5)

    # That the checks above can fail:

    def test_where_neither_kernel_nor_table_knows_of_one_there_is_none(self):
        leap, counted = self.leap("nothing", "2018-01-01", 37, 1, 37)
        self.assertEqual(wrong_with(leap, counted),
                         {"REALTIME is not the kernel's, or a second off while that has not leapt",
                          "REALTIME does not leap at its instant", "smeared REALTIME is not on its line",
                          "the leap indicator is wrong", "the second that comes twice is not flagged so"})

    def test_where_the_kernel_does_not_take_it_the_page_goes_back_with_a_step(self):
        leap, counted = self.leap("not_by_the_kernel", "2017-01-01", 36, 1, 36)
        self.assertLessEqual({"REALTIME is not adjtimex's", "a step is counted", "a new epoch is published"},
                             wrong_with(leap, counted))
        self.assertTrue(leap.holds(leap.rows[-1], "realtime", leap.rows[-1]["realtime"]))


if __name__ == "__main__":
    unittest.main()
