# SPDX-License-Identifier: MIT
"""clockpage convert, against an oracle in exact rational arithmetic that shares nothing with it."""
import datetime
import json
import os
import random
import shutil
import sys
import tempfile
import unittest
from fractions import Fraction

from leap_tables import leap_table, posix
from programs import SEED, tool

SECOND = 10**9
LEAPS = {(2012, 7, 1): 1, (2015, 7, 1): 1, (2017, 1, 1): 1, (2019, 7, 1): -1}
SMEARS = {"noon": (-43200, 86400), "utc-sls": (-1000, 1000), "linear:-50:100": (-50, 100),
          "linear:0:62500": (0, 62500), "none": None}


class Oracle:
    """UTC and smears by their definitions, in ns as Fractions."""

    def __init__(self, entries):
        self.entries = entries
        # (POSIX s of the midnight, offset before, after)
        self.leaps = [(b[0], a[1], b[1]) for a, b in zip(entries, entries[1:])]

    def utc(self, tai):
        """(text, POSIX ns, is 23:59:60)"""
        for when, before, after in reversed(self.leaps):
            if after > before and 0 <= tai - (when + before) * SECOND < SECOND:
                return self.text((when - 1) * SECOND + tai - (when + before) * SECOND, True)
            if tai >= (when + after) * SECOND:
                return self.text(tai - after * SECOND, False)
        return self.text(tai - 10 * SECOND, False)

    @staticmethod
    def text(ns, leap):
        clock = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=ns // SECOND)
        seconds = clock.second + (1 if leap else 0)
        return f"{clock:%Y-%m-%dT%H:%M}:{seconds:02}.{ns % SECOND:09}Z", ns, leap

    def smeared(self, tai, smear):
        """Exactly, a Fraction: along a straight line from where both clocks agree to where they do again."""
        if smear is None:
            return Fraction(self.utc(tai)[1])
        for when, before, after in reversed(self.leaps):
            first, last = when + smear[0], when + smear[0] + smear[1]  # on the smeared clock
            begin, end = (first + before) * SECOND, (last + after) * SECOND  # of TAI
            if tai >= end:
                return Fraction(tai - after * SECOND)
            if tai >= begin:
                return first * SECOND + Fraction(tai - begin, end - begin) * smear[1] * SECOND
        return Fraction(tai - 10 * SECOND)

    def formula(self, tai, smear):
        """The specification's integers (section 4, item 4)."""
        for when, before, after in reversed(self.leaps if smear else []):
            begin = (when + smear[0] + before) * SECOND
            end = (when + smear[0] + smear[1] + after) * SECOND
            if begin <= tai < end:
                slope = 2**64 * SECOND // (end - begin)
                moved = (tai - begin) * slope
                return tai - before * SECOND - ((moved if after > before else -moved) >> 64)
        return None

    def instants(self, random, count):
        """Random ones, and those around everything that can go wrong."""
        for when, before, after in self.leaps[-4:]:
            for at in (when + before, when + after, when + before - 1, when + after + 1):
                for smear in filter(None, SMEARS.values()):
                    for s in (at, at + smear[0], at + smear[0] + smear[1]):
                        yield from (s * SECOND + ns for ns in (-1, 0, 1, 499999999, 500000000, 999999999))
        for _ in range(count):
            yield random.randrange(posix(2012, 1, 1), posix(2025, 1, 1)) * SECOND + random.randrange(SECOND)


class ConvertTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.mkdtemp(prefix="clockpage-convert.")
        self.addCleanup(shutil.rmtree, directory)
        self.table = os.path.join(directory, "leap-seconds.list")
        text, entries = leap_table(LEAPS)
        self.oracle = Oracle(entries)
        self.write(text)

    def write(self, text):
        with open(self.table, "w", encoding="ascii") as file:
            file.write(text)

    def convert(self, *arguments, code=0, **options):
        got, out, err = tool("convert", "--leap-table", self.table, *arguments, **options)
        self.assertEqual(got, code, err)
        if code:
            self.assertEqual(err.count("\n"), 1, err)
            self.assertTrue(err.startswith("clockpage: "), err)
            return err
        return out

    def results(self, scale, instants, smear="noon"):
        out = self.convert("--from", scale, "--smear", smear, "--json", "-",
                           input="".join(f"{each}\n" for each in instants))
        results = [each["results"] for each in json.loads(out)["instants"]]
        self.assertEqual(len(results), len(instants))
        return results

    def test_agrees_with_exact_rationals_forth_and_back(self):
        print(f"rerun: CLOCKPAGE_SEED={SEED} {sys.executable} {__file__} ConvertTest", flush=True)
        instants = sorted(set(self.oracle.instants(random.Random(SEED), 2000)))
        for name, smear in SMEARS.items():
            with self.subTest(name):
                found = [r[0] for r in self.results("tai", [f"{t}ns" for t in instants], name)]
                worst = 0
                for tai, result in zip(instants, found):
                    text, ns, leap = self.oracle.utc(tai)
                    self.assertEqual((result["tai_ns"], result["utc"], result["realtime_ns"],
                                      result["leap_second"]), (tai, text, ns, leap))
                    off = abs(result["smeared_ns"] - self.oracle.smeared(tai, smear))
                    worst = max(worst, off)
                    self.assertLessEqual(off, 1, tai)
                    self.assertIn(self.oracle.formula(tai, smear), (None, result["smeared_ns"]))
                    self.assertEqual(result["in_smear"], self.oracle.formula(tai, smear) is not None)
                print(f"{name}: {len(found)} instants, at most {float(worst):.3f} ns off", flush=True)
                back = self.results("utc", [r["utc"] for r in found], name)
                self.assertEqual([r[0]["tai_ns"] for r in back], instants)
                again = self.results("realtime", [f"{r['realtime_ns']}ns" for r in found], name)
                for tai, results in zip(instants, again):
                    self.assertIn(tai, [r["tai_ns"] for r in results])
                    self.assertEqual(len(results), 2 if results[0]["realtime_ambiguous"] else 1)
                if smear is None:
                    continue
                again = self.results("smeared", [f"{r['smeared_ns']}ns" for r in found], name)
                for tai, results in zip(instants, again):
                    first = results[0]["tai_ns"]
                    self.assertEqual(len(results), 1)
                    self.assertIn(tai, (first, first + 1) if results[0]["smeared_at_next_ns_too"] else (first,))

    def test_shows_the_leap_second_as_such(self):
        out = self.convert("--from", "tai", "1483228836.25")
        self.assertIn("2016-12-31T23:59:60.250000000Z", out)
        self.assertIn("counted twice: the second time", out)
        self.assertEqual(self.convert("--from", "utc", "--to", "tai", "2016-12-31T23:59:60.25Z"),
                         "2017-01-01T00:00:36.250000000 TAI\n")
        self.assertEqual(self.convert("--from", "tai", "--to", "utc", "2017-01-01T00:00:36.25"),
                         "2016-12-31T23:59:60.250000000Z\n")

    def test_gives_both_instants_of_a_posix_second_that_is_counted_twice(self):
        out = self.convert("--from", "realtime", "--to", "utc", "1483228799.5")
        self.assertEqual(out, "2016-12-31T23:59:59.500000000Z\n2016-12-31T23:59:60.500000000Z\n")

    def test_says_that_there_was_no_such_instant(self):
        for scale, instant, words in (("utc", "2016-12-30T23:59:60Z", "no 23:59:60"),
                                      ("utc", "2019-06-30T23:59:59.5Z", "deleted"),
                                      ("realtime", f"{posix(2019, 7, 1) - 1}.5", "deleted"),
                                      ("realtime", "2019-06-30T23:59:59Z", "deleted"),
                                      ("utc", "1971-12-31T23:59:59Z", "before 1972"),
                                      ("tai", "63072009.999999999", "before 1972"),
                                      ("tai", "4611686018427387904ns", "after 2116"),
                                      ("smeared", "9223372036854775807ns", "after 2116")):
            with self.subTest(instant):
                self.assertIn(words, self.convert("--from", scale, instant, code=1))

    def test_refuses_what_is_no_instant(self):
        for scale, instant in (("utc", "2016-12-31"), ("utc", "1483228799"), ("tai", "2016-12-31T23:59:59Z"),
                               ("tai", "-1"), ("realtime", "2016-12-31T23:59:60Z"), ("smeared", "x"),
                               ("smeared", "2016-12-31T23:59:60Z"), ("utc", "")):
            with self.subTest(instant):
                self.convert("--from", scale, "--", instant, code=2)
        self.assertIn("stdin:2: ", self.convert("-", code=1, input="2016-12-31T23:59:60Z\nx\n"))
        self.assertIn("stdin:1: is too long", self.convert("-", code=1, input="1" * 10**6))
        for line in ("--from all 1", "--to x 1", "--smear cosine 1", "--smear linear:0:99 1", ""):
            with self.subTest(line):
                self.convert(*line.split(), code=2)

    def test_a_damaged_table_is_refused_with_file_line_and_reason(self):
        text, _ = leap_table(LEAPS)
        self.write(text.replace("\t37\n", "\t38\n"))
        err = self.convert("2017-01-01T00:00:00Z", code=1)
        self.assertRegex(err, rf"{self.table}:\d+: TAI - UTC does not change by one second")
        self.write(text.replace("#h\t", "#h\tf", 1))
        self.assertRegex(self.convert("2017-01-01T00:00:00Z", code=1), rf"{self.table}:\d+: ")

    def test_an_expired_table_is_used_and_said_to_be(self):
        self.write(leap_table(LEAPS, updated=(2019, 1, 1), expires=(2020, 1, 1))[0])
        code, out, err = tool("convert", "--leap-table", self.table, "--to", "tai", "2019-12-31T23:59:59Z")
        self.assertEqual((code, out, err), (0, "2020-01-01T00:00:35.000000000 TAI\n", ""))
        code, out, err = tool("convert", "--leap-table", self.table, "--to", "tai", "2020-01-01T00:00:00Z")
        self.assertEqual((code, out), (0, "2020-01-01T00:00:36.000000000 TAI\n"))
        self.assertIn("expired on 2020-01-01", err)
        results = self.results("utc", ["2019-12-31T23:59:59Z", "2020-01-01T00:00:00Z"])
        self.assertEqual([r[0]["past_expiry"] for r in results], [False, True])


if __name__ == "__main__":
    unittest.main()
