# SPDX-License-Identifier: MIT
# timeout: 120
"""The daemon and what it is told of leap seconds: tables good and bad, TAI, smears, restarts.

Source `sim`; daemon, region and tool are real.
"""
import os
import re
import shutil
import struct
import subprocess
import tempfile
import time
import unittest

from leap_tables import leap_table
from programs import DAEMON, end, tool

# Nothing else happens to the clock.
ALONE = ("--source", "sim", "--sim-max-frequency-ppb", "0", "--sim-change-interval-s", "1000000",
         "--realtime-priority", "none")
PAGES = {"unsmeared": 0x1000, "smeared": 0x2000}
SMEAR, SMEAR_START, INDEX, SEGMENTS = 0x1a, 0x48, 0x100, 0x400
KERNEL, TABLE, CONFIGURATION, SOURCE = 0x20, 0x40, 0x60, 0x60
TAI_KNOWN = 1
NO_LEAP = 2**63 - 1
LEAP_2016 = 1483228836 * 10**9


class LeapDaemonTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="clockpage-leap.")
        self.addCleanup(shutil.rmtree, self.dir)
        self.table = os.path.join(self.dir, "leaps")
        self.write_table()
        self.daemons = []
        self.addCleanup(lambda: [end(daemon) for daemon in self.daemons])

    def write_table(self, text=None):
        with open(self.table, "w", encoding="ascii") as file:
            file.write(text or leap_table()[0])

    def produce(self, *options):
        """Starts a daemon; returns it when there is something new of it to read."""
        log = open(os.path.join(self.dir, "log"), "a+", encoding="utf-8")  # pylint: disable=consider-using-with
        self.addCleanup(log.close)
        options = options if "--leap-table" in options else ("--leap-table", self.table, *options)
        daemon = subprocess.Popen([DAEMON, "--dir", self.dir, *ALONE, *options], stderr=log)
        self.daemons.append(daemon)
        deadline = time.monotonic() + 30
        while "publishes" not in self.log() and time.monotonic() < deadline:
            if daemon.poll() is not None:
                return daemon
            time.sleep(0.02)
        return daemon

    def log(self):
        with open(os.path.join(self.dir, "log"), encoding="utf-8") as file:
            return file.read()

    def until_said(self, pattern):
        deadline = time.monotonic() + 40
        while not re.search(pattern, self.log()):
            self.assertLess(time.monotonic(), deadline, f"{pattern!r} not in {self.log()!r}")
            time.sleep(0.05)

    def segment(self, page="unsmeared"):
        """What the newest segment says, by the offsets of the spec."""
        with open(os.path.join(self.dir, "region"), "rb") as file:
            region = file.read()
        at = PAGES[page]
        index, = struct.unpack_from("<Q", region, at + INDEX)
        slot = at + SEGMENTS + index % 16 * 192
        utc, start = struct.unpack_from("<qq", region, slot + 0x30)
        flags, = struct.unpack_from("<I", region, slot + 0x90)
        leap_end, after, slope = struct.unpack_from("<qqQ", region, slot + 0x98)
        smear = struct.unpack_from("<iI", region, at + SMEAR_START)
        return {"utc": utc, "start": start, "end": leap_end, "after": after, "slope": slope, "flags": flags,
                "epoch": struct.unpack_from("<Q", region, slot + 0x88)[0],
                "smear": (region[at + SMEAR], *smear)}

    def assert_tai(self, source, offset_s):
        segment = self.segment()
        if source is None:
            self.assertEqual(segment["flags"] & (TAI_KNOWN | SOURCE), 0)
            return
        self.assertEqual(segment["flags"] & (TAI_KNOWN | SOURCE), TAI_KNOWN | source)
        self.assertEqual(segment["utc"], offset_s * 10**9)

    def test_tai_is_the_kernels_then_the_tables_then_what_it_was_told(self):
        start = ("--sim-start", "2016-12-01T00:00:00Z")
        for options, source, offset in ((("--sim-tai-offset-s", "36", "--tai-offset-s", "99"), KERNEL, 36),
                                        (("--tai-offset-s", "99"), TABLE, 36),
                                        (("--tai-offset-s", "99", "--leap-table", "none"), CONFIGURATION, 99),
                                        (("--leap-table", "none"), None, 0)):
            with self.subTest(options):
                daemon = self.produce(*start, *options)
                self.assert_tai(source, offset)
                end(daemon)
                os.remove(os.path.join(self.dir, "region"))
                os.remove(os.path.join(self.dir, "log"))

    def test_a_damaged_table_is_refused_by_line_and_the_next_source_is_used(self):
        good = leap_table()[0]
        for damage, line in (((lambda text: text.replace("\t37\n", "\t38\n")), r":\d+: "),
                             ((lambda text: text[:-6] + "\n"), r":\d+: "),
                             ((lambda text: text.replace("#h", "#")), ": ")):
            bad = damage(good)
            self.assertNotEqual(bad, good)
            with self.subTest(line):
                self.write_table(bad)
                daemon = self.produce("--sim-start", "2016-12-01T00:00:00Z", "--tai-offset-s", "36")
                self.until_said("no table of leap seconds is used")
                self.assertRegex(self.log(), re.escape(self.table) + line)
                self.assert_tai(CONFIGURATION, 36)
                self.assertIsNone(daemon.poll())
                end(daemon)
                os.remove(os.path.join(self.dir, "region"))
                os.remove(os.path.join(self.dir, "log"))

    def test_an_expired_table_is_used_and_said_to_be_expired(self):
        self.write_table(leap_table(updated=(2016, 7, 1), expires=(2016, 12, 28))[0])
        self.produce("--sim-start", "2016-12-01T00:00:00Z")
        self.assert_tai(TABLE, 36)
        self.until_said("expired on 2016-12-28")

    def test_a_kernel_that_contradicts_the_table_is_believed_and_reported(self):
        self.produce("--sim-start", "2016-12-01T00:00:00Z", "--sim-tai-offset-s", "35")
        self.assert_tai(KERNEL, 35)
        self.until_said("the kernel says that TAI - UTC is 35 s, the table of leap seconds says 36 s")

    def test_a_new_region_announces_the_next_leap_on_both_kinds_of_page(self):
        self.produce("--sim-start", "2016-10-01T00:00:00Z")
        step, smear = self.segment(), self.segment("smeared")
        for segment in (step, smear):
            self.assertEqual((segment["utc"], segment["after"]), (36 * 10**9, 37 * 10**9))
        self.assertEqual((step["start"], step["end"], step["slope"]), (LEAP_2016, LEAP_2016, 0))
        self.assertEqual(smear["start"], LEAP_2016 - 43200 * 10**9)
        self.assertEqual(smear["end"], LEAP_2016 + 43201 * 10**9)
        self.assertEqual(smear["slope"], 2**64 // 86401)
        self.assertEqual(step["smear"], (0, 0, 0))
        self.assertEqual(smear["smear"], (1, -43200, 86400))
        self.until_said("23:59:60 is inserted at the end of 2016-12-31")

    def test_the_smear_asked_for_is_the_smeared_pages(self):
        for name, expected in (("utc-sls", (2, -1000, 1000)), ("linear:-600:1800", (3, -600, 1800)),
                               ("none", (0, 0, 0))):
            with self.subTest(name):
                daemon = self.produce("--sim-start", "2016-12-01T00:00:00Z", "--smear", name)
                smear = self.segment("smeared")
                self.assertEqual(smear["smear"], expected)
                _, start, length = expected
                leap = LEAP_2016 if length == 0 else LEAP_2016 + start * 10**9
                self.assertEqual(smear["start"], leap)
                self.assertEqual(smear["end"] - smear["start"], (length + 1) * 10**9 if length else 0)
                end(daemon)
                os.remove(os.path.join(self.dir, "region"))
                os.remove(os.path.join(self.dir, "log"))

    def test_a_restart_keeps_the_smear_and_refuses_another(self):
        end(self.produce("--sim-start", "2016-12-01T00:00:00Z", "--smear", "utc-sls"))
        other = self.produce("--smear", "noon")
        self.assertEqual(other.wait(20), 1)
        self.assertIn("smeared pages have smear utc-sls, which --smear noon cannot change", self.log())
        os.remove(os.path.join(self.dir, "log"))
        for options in ((), ("--smear", "utc-sls")):
            daemon = self.produce(*options)
            self.assertIsNone(daemon.poll(), self.log())
            self.assertEqual(self.segment("smeared")["smear"], (2, -1000, 1000))
            end(daemon)
            os.remove(os.path.join(self.dir, "log"))

    def test_a_leap_goes_by_without_a_step_and_the_day_after_is_as_any(self):
        for leap, offset in (("1", 37), ("-1", 35)):
            with self.subTest(leap):
                daemon = self.produce("--sim-start", "2016-12-31T23:59:55Z", "--sim-tai-offset-s", "36",
                                      "--sim-leap", leap, "--leap-table", "none", "--smear", "utc-sls")
                self.until_said("it is past")
                deadline = time.monotonic() + 20
                while self.segment()["start"] != NO_LEAP and time.monotonic() < deadline:
                    time.sleep(0.05)
                segment = self.segment()
                self.assertEqual((segment["start"], segment["utc"]), (NO_LEAP, offset * 10**9))
                self.assertEqual(segment["epoch"], 1)
                # Announced five seconds before the end of its smear, that is half begun.
                smear = self.segment("smeared")
                self.assertEqual(smear["epoch"], 1)
                self.assertEqual(smear["end"] - smear["start"], 1000 * 10**9)
                self.assertNotIn("step:", self.log())
                code, out, error = tool("status", "--dir", self.dir)
                self.assertEqual(code, 0, error)
                self.assertIn(f"{offset}", out)
                end(daemon)
                os.remove(os.path.join(self.dir, "region"))
                os.remove(os.path.join(self.dir, "log"))


if __name__ == "__main__":
    unittest.main()
