# SPDX-License-Identifier: MIT
"""clockpage plot leap: what is drawn, by gnuplot, and what is said where it cannot be."""
import os
import shutil
import stat
import tempfile
import unittest
import xml.etree.ElementTree
from fractions import Fraction

from leap_tables import leap_table
from programs import tool

SMEARS = {"noon": (-43200, 86400), "utc-sls": (-1000, 1000), "linear:-50:100": (-50, 100), "none": None}


class PlotTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="clockpage-plot.")
        self.addCleanup(shutil.rmtree, self.dir)
        self.table = self.path("leap-seconds.list")
        self.svg = self.path("leap.svg")
        with open(self.table, "w", encoding="ascii") as file:
            file.write(leap_table()[0])

    def path(self, name):
        return os.path.join(self.dir, name)

    def plot(self, *arguments, at="2016-12-31", code=0, environment=None):
        got, out, err = tool("plot", "leap", "--at", at, "--svg", self.svg, "--leap-table", self.table,
                             *arguments, environment=environment)
        self.assertEqual((got, out), (code, ""), err)
        self.assertEqual(err.count("\n"), 1 if code else 0, err)
        # Nothing is left beside what was asked for.
        self.assertLessEqual(set(os.listdir(self.dir)) - {"bin"}, {"leap-seconds.list", "leap.svg"})
        return err

    def texts(self):
        root = xml.etree.ElementTree.parse(self.svg).getroot()
        self.assertTrue(root.tag.endswith("svg"))
        return [" ".join("".join(node.itertext()).split()) for node in root.iter() if node.tag.endswith("text")]

    def fake_gnuplot(self, script):
        os.mkdir(self.path("bin"))
        with open(self.path("bin/gnuplot"), "w", encoding="ascii") as file:
            file.write("#!/bin/sh\n" + script)
        os.chmod(self.path("bin/gnuplot"), stat.S_IRWXU)
        return {"PATH": self.path("bin") + ":" + os.environ["PATH"]}

    def test_names_start_leap_middle_and_end(self):
        for smear, expected in (
                ("noon", ["smear starts 12:00:00", "leap second 23:59:60", "middle 23:59:60.5",
                          "smear ends 12:00:00"]),
                ("utc-sls", ["smear starts 23:43:20", "middle 23:51:40.5", "leap second 23:59:60",
                             "smear ends 00:00:00"]),
                ("none", ["leap second 23:59:60"])):
            with self.subTest(smear):
                self.plot("--smear", smear)
                texts = self.texts()
                for each in [*expected, "2016-12-31", "UTC"]:
                    self.assertIn(each, texts)
                self.assertTrue(any(text.startswith("Leap second of 2016-12-31: 23:59:60 is inserted")
                                    for text in texts), texts)

    def test_draws_an_imaginary_leap_second(self):
        self.plot("--delete", at="2019-06-30")
        self.assertIn("without 23:59:59", self.texts())
        self.plot("--insert", at="2019-06-30")
        self.assertIn("leap second 23:59:60", self.texts())

    def test_hands_gnuplot_the_curves_of_the_definition(self):
        """A gnuplot that draws its input: points of (s from the leap, unsmeared, smeared, difference)."""
        environment = self.fake_gnuplot("exec cat\n")
        for change in (1, -1):
            for name, smear in SMEARS.items():
                with self.subTest(name, change=change):
                    self.plot("--smear", name, "--insert" if change > 0 else "--delete", environment=environment)
                    with open(self.svg, encoding="ascii") as file:
                        script = file.read()
                    block = script.split("$clocks << END\n")[1].split("END\n")[0]
                    self.check_points([[Fraction(n) for n in line.split()] for line in block.splitlines()],
                                      smear, change)

    def check_points(self, points, smear, change):
        self.assertGreater(len(points), 200)
        # The midnight by the clock before the leap: when 23:59:60 begins, or a second after the leap.
        start = (0 if change > 0 else 1) + (smear[0] if smear else 0)
        length = smear[1] + change if smear else 0
        for x, unsmeared, smeared, difference in points:
            self.assertEqual(unsmeared, 0 if x < 0 else -change)
            if smear:
                along = min(max((x - start) / length, 0), 1)
                self.assertLessEqual(abs(smeared + change * along), Fraction(3, 10**9), float(x))
            else:
                self.assertEqual(smeared, unsmeared)
            self.assertLessEqual(abs(difference - (smeared - unsmeared)), Fraction(2, 10**9))

    def test_says_that_gnuplot_is_missing_and_leaves_what_was_there(self):
        with open(self.svg, "w", encoding="ascii") as file:
            file.write("before")
        err = self.plot(code=1, environment={"PATH": "/nonexistent"})
        self.assertIn("gnuplot is not installed", err)
        err = self.plot(code=1, environment=self.fake_gnuplot("echo half of it\necho no fonts >&2\nexit 3\n"))
        self.assertIn("gnuplot failed: no fonts", err)
        with open(self.svg, encoding="ascii") as file:
            self.assertEqual(file.read(), "before")

    def test_survives_a_gnuplot_that_does_not_read(self):
        self.assertIn("gnuplot failed", self.plot(code=1, environment=self.fake_gnuplot("exit 1\n")))

    def test_refuses_what_cannot_be_drawn(self):
        self.assertIn("has no leap second", self.plot(at="2016-12-30", code=1))
        self.assertIn("no day of the calendar", self.plot(at="2016-02-30", code=2))
        self.assertIn("1972", self.plot("--insert", at="1970-01-01", code=1))
        self.plot("--insert", "--delete", code=2)
        self.plot("--smear", "cosine", code=2)
        self.svg = self.path("missing/leap.svg")
        self.assertIn(self.svg, self.plot(code=1))
        code, _, err = tool("plot")
        self.assertEqual((code, err.count("\n")), (2, 1), err)


if __name__ == "__main__":
    unittest.main()
