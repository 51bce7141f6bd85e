# SPDX-License-Identifier: MIT
# timeout: 180
"""What clockpage says of leap seconds, TAI and smears: status, read, watch and verify through a
simulated leap second."""
import json
import os
import shutil
import signal
import tempfile
import time
import unittest

from leap_tables import leap_table
from programs import DAEMON, end, start, tool

SECOND = 10**9
LEAP_TAI = 1483228836 * SECOND  # 23:59:60 of 2016-12-31 begins
SMEAR = "linear:-50:100"


class LeapToolTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="clockpage-leap-tool.")
        self.addCleanup(shutil.rmtree, self.dir)
        self.table = os.path.join(self.dir, "leap-seconds.list")
        self.write_table()

    def write_table(self, **options):
        with open(self.table, "w", encoding="ascii") as file:
            file.write(leap_table(**options)[0])

    def produce(self, at, *options, table=None):
        producer = start(self.dir, DAEMON, "--dir", self.dir, "--quiet", "--source", "sim", "--sim-start", at,
                         "--sim-leap", "1", "--smear", SMEAR, "--leap-table", table or self.table, *options)
        self.addCleanup(end, producer)
        return producer

    def run_tool(self, command, *arguments, code=0):
        got, out, err = tool(command, "--dir", self.dir, *arguments)
        self.assertEqual(got, code, err)
        return out

    def json(self, command, *arguments):
        return json.loads(self.run_tool(command, "--json", *arguments))

    def check_against_convert(self, states):
        """Each status' REALTIMEs are what convert makes of the same TAI."""
        tais = [s["smeared"]["leap"]["start_tai_ns"] - s["smeared"]["leap"]["start_in_ns"] for s in states]
        code, out, err = tool("convert", "--leap-table", self.table, "--smear", SMEAR, "--from", "tai", "--json",
                              "-", input="".join(f"{tai}ns\n" for tai in tais))
        self.assertEqual(code, 0, err)
        for tai, status, given in zip(tais, states, json.loads(out)["instants"]):
            right = given["results"][0]
            self.assertEqual(status["unsmeared"]["realtime_ns"], right["realtime_ns"])
            self.assertEqual(status["smeared"]["realtime_ns"], right["smeared_ns"])
            self.assertEqual(status["unsmeared"]["ambiguous"], abs(tai - LEAP_TAI + 0.5) < SECOND)
            self.assertEqual(status["unsmeared"]["ambiguous"], right["realtime_ambiguous"])
            self.assertEqual(status["unsmeared"]["leap_indicator"],
                             "pending_insertion" if tai < LEAP_TAI else "just_past")
            self.assertFalse(status["smeared"]["ambiguous"])
            self.assertEqual(status["smeared"]["leap_indicator"], "in_smear")
        return tais

    def follow_over_the_leap(self):
        states = []
        deadline = time.monotonic() + 60
        while not states or states[-1]["unsmeared"]["realtime_ns"] < 1483228802 * SECOND:
            self.assertLess(time.monotonic(), deadline)
            states.append(self.json("status"))
            time.sleep(0.1)
        tais = self.check_against_convert(states)
        self.assertLess(tais[0], LEAP_TAI, "this machine is too slow")
        self.assertTrue(any(s["unsmeared"]["ambiguous"] for s in states))
        return states

    def test_status_goes_through_an_insertion(self):
        self.produce("2016-12-31T23:59:57Z")
        first = self.run_tool("status")
        self.assertRegex(first, "TAI +known: TAI - UTC = 36.000 s, from the leap table")
        self.assertRegex(first, r"leap second +a leap second will be inserted: "
                                r"2016-12-31T23:59:60Z \(inserted\), in ")
        self.assertRegex(first, "unsmeared +UTC with leap seconds")
        self.assertRegex(first, "smeared +smear linear:-50:100: from 2016-12-31T23:59:10Z to 2017-01-01T00:00:50Z "
                                "on its own clock, in it, ")
        states = self.follow_over_the_leap()
        self.assertEqual([states[0]["utc_offset_ns"], states[-1]["utc_offset_ns"]], [36 * SECOND, 37 * SECOND])
        self.assertEqual({s["tai_source"] for s in states}, {"table"})
        self.assertEqual({s["tai_contradicts_table"] for s in states}, {False})
        self.assertRegex(self.run_tool("status"), "just past: 2016-12-31T23:59:60Z .* ago")

    def test_status_tells_of_a_leap_second_that_is_further_ahead_than_its_last_day(self):
        self.produce("2016-12-01T12:00:00Z", "--sim-tai-offset-s", "36")
        status = self.run_tool("status")
        self.assertRegex(status, r"leap second +the next will be inserted: 2016-12-31T23:59:60Z \(inserted\), in 30 d")
        self.assertEqual(self.json("status")["unsmeared"]["leap_indicator"], "none")
        self.assertNotIn("will be inserted", self.run_tool("read", "--clock", "realtime"))

    def test_a_dead_producers_page_goes_through_it_too(self):
        end(self.produce("2016-12-31T23:59:57Z"), signal.SIGKILL)
        self.follow_over_the_leap()

    def test_read_says_which_second_it_is(self):
        self.produce("2016-12-31T23:59:57Z")
        said = ""
        deadline = time.monotonic() + 60
        while "the second time, 23:59:60" not in said:
            self.assertLess(time.monotonic(), deadline, said)
            said += self.run_tool("read", "--clock", "realtime")
            time.sleep(0.05)
        self.assertIn("a leap second will be inserted", said)
        self.assertIn("counted twice: the first time", said)
        smeared = self.run_tool("read", "--clock", "realtime", "--smeared")
        self.assertIn(f"smear {SMEAR}; in the smear of a leap second", smeared)
        self.assertNotIn("twice", smeared)
        reading = self.json("read", "--smeared")
        self.assertEqual(reading["smear"], SMEAR)
        self.assertEqual(reading["clocks"]["realtime"]["leap_indicator"], "in_smear")

    def test_watch_shows_four_pages_in_100_columns(self):
        self.produce("2016-12-31T23:59:57Z")
        lines = self.run_tool("watch", "--for", "4").splitlines()
        for kind in ("unscaled ", "scaled "):
            rows = [line for line in lines if line.startswith(kind)]
            self.assertGreater(len(rows), 1)
            for row in rows:
                self.assertLessEqual(len(row), 100)
                self.assertRegex(row, r"(\d{4}-\d\d-\d\dT[0-9:.]{18}Z +){2}-?0\.\d{9}  "
                                      r"(twice: (1st|2nd)|in smear)$")
        pages = self.json("watch", "--for", "0.1")["pages"]
        self.assertEqual([(p["format"], p["smear"]) for p in pages],
                         [("unscaled", "none"), ("unscaled", SMEAR), ("scaled", "none"), ("scaled", SMEAR)])
        for unscaled, scaled in zip(pages[:2], pages[2:]):
            self.assertLessEqual(abs(unscaled["ns"] - scaled["ns"]), 2)

    def test_verify_accepts_the_repeated_second_and_no_other_step_back(self):
        for options in ((), ("--smeared",)):
            with self.subTest(options):
                producer = self.produce("2016-12-31T23:59:57Z", "--period-us", "1000")
                result = self.json("verify", "--for", "5", "--record", os.path.join(self.dir, "history"),
                                   "--record-max", "2000000", *options)
                end(producer)
                os.remove(os.path.join(self.dir, "region"))
                self.assertEqual((result["backward"], result["disagreements"], result["other_epoch"]), (0, 0, 0))
                self.assertGreater(result["leased"], 0)
                self.assertLessEqual(result["repeated"], 0 if options else 100)
                self.assertEqual(result["smear"], SMEAR if options else "none")
                code, out, err = tool("check-history", os.path.join(self.dir, "history"), "--json")
                self.assertEqual((code, json.loads(out)["offences"]), (0, 0), err)

    def test_an_expired_table_is_said_and_used(self):
        self.write_table(updated=(2016, 1, 1), expires=(2016, 6, 28))
        self.produce("2016-12-31T12:00:00Z")
        status = self.run_tool("status")
        self.assertRegex(status, r"leap table +made 2016-01-01 \(365 days old\), expired 2016-06-28 "
                                 r"\(186 days ago: still used\); it says TAI - UTC = 36 s")
        self.assertIn("2016-12-31T23:59:60Z", status)
        self.assertTrue(self.json("status")["leap_table"]["expired"])

    def test_a_kernel_that_contradicts_the_table_is_reported(self):
        self.produce("2016-12-31T12:00:00Z", "--sim-tai-offset-s", "35")
        status = self.run_tool("status")
        self.assertRegex(status, "TAI - UTC = 35.000 s, from the kernel")
        self.assertRegex(status, "contradiction: TAI - UTC = 35.000 s is used and the table says 36 s")
        self.assertTrue(self.json("status")["tai_contradicts_table"])

    def test_without_a_table_there_is_none(self):
        self.produce("2016-12-31T12:00:00Z", "--sim-tai-offset-s", "36", table="none")
        self.assertRegex(self.run_tool("status"), "leap table +none was read")
        status = self.json("status")
        self.assertIsNone(status["leap_table"])
        self.assertFalse(status["tai_contradicts_table"])


if __name__ == "__main__":
    unittest.main()
