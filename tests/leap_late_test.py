# SPDX-License-Identifier: MIT
# timeout: 900
"""Leap seconds that are announced late, not at all, or called off, and two days in a row.

What the smeared pages do then is section 5.6 of the specification; the oracle, as in leap_oracle_test.py,
asks of every value whether it is what the segments say, and of the segments whether smeared REALTIME goes
on, forwards, no steeper than it may, to where it has to be.
"""
import unittest

from leap_oracle import SECOND, Leap, leap_piece
from leap_scenarios import Scenario, ScenarioTest, leap


class LateLeapTest(ScenarioTest):
    def irregular(self, leaps, smear="noon", *, offset_s, **options):
        """smeared REALTIME goes on, forwards, and ends where it has to."""
        scenario = Scenario(leaps, smear, irregular=True, coarse_s=3600, reach_s=0.25, **options)
        judge = self.judged(scenario)
        for page in (1, 3):
            self.assertEqual(judge.last_offset[page], offset_s * SECOND, judge.ramps)
        for page in (0, 2):
            self.assertEqual(judge.last_offset[page], offset_s * SECOND)
        return scenario, judge

    def assert_ramp(self, ramp, start, end, before_s, after_s):
        """Begun at `start` or within four segments of it."""
        self.assertEqual(ramp[2:], (before_s * SECOND, after_s * SECOND), ramp)
        self.assertTrue(0 <= ramp[0] - start <= 4 * 100_000_000 + SECOND, (ramp[0] - start) / SECOND)
        self.assertEqual(ramp[1], ramp[0] + 1000 * SECOND if end is None else end)

    def test_announced_six_hours_late_the_smear_begins_at_once_and_ends_on_time(self):
        for by in (1, -1):
            with self.subTest(by=by):
                each = leap("2015", by)
                armed = 6 * 3600 + 10
                scenario, judge = self.irregular([each], offset_s=35 + by, arm_s=armed + 60, windows_s=[armed + 60])
                regular = leap_piece(each, scenario.smear)
                self.assertEqual(len(judge.ramps), 1)
                self.assert_ramp(judge.ramps[0], regular.start + armed * SECOND, regular.end, 35, 35 + by)

    def test_announced_too_late_for_a_short_smear_it_is_no_steeper(self):
        each = leap("2016")
        scenario, judge = self.irregular([each], "utc-sls", offset_s=37, arm_s=760, windows_s=[760],
                                         until=(each.tai_s() + 800) * SECOND)
        self.assert_ramp(judge.ramps[0], scenario.start_ns + 760 * SECOND, None, 36, 37)
        self.assertEqual(len(judge.ramps), 1)

    def test_announced_in_the_last_seconds(self):
        each = leap("2016")
        armed = 43200 + 60 - 2.5
        scenario, judge = self.irregular([each], offset_s=37, arm_s=armed)
        piece = leap_piece(each, scenario.smear)
        self.assert_ramp(judge.ramps[0], scenario.start_ns + int(armed * SECOND), piece.end, 36, 37)
        self.assertEqual((judge.end.realtime_steps, judge.end.tai_steps), (0, 0))  # in time for the leap itself

    def test_not_announced_at_all(self):
        for by in (1, -1):
            with self.subTest(by=by):
                each = leap("2016", by)
                at = 43200 + 60.01  # a daemon has stepped the clock
                scenario, judge = self.irregular([each], offset_s=36 + by, arm_s=None, windows_s=[at, at + 1000],
                                                 events=[(at, "step", -by * SECOND), (at, "tai", 36 + by)])
                self.assert_ramp(judge.ramps[-1], scenario.start_ns + int(at * SECOND), None, 36, 36 + by)
                self.assertEqual(judge.end.tai_steps, 0)
                self.assertEqual(judge.end.realtime_steps, 1)

    def test_called_off_in_its_smear(self):
        for by in (1, -1):
            with self.subTest(by=by):
                at = 6 * 3600 + 60
                scenario, judge = self.irregular([leap("2015", by)], offset_s=35, windows_s=[at, at + 250],
                                                 events=[(at, "leap", 0)])
                first, back = judge.ramps
                self.assertEqual(first[3], (35 + by) * SECOND)
                self.assertEqual(back[3], 35 * SECOND)
                self.assertTrue(abs(back[2] - 35 * SECOND - by * SECOND // 4) < 30_000, back)
                self.assertEqual(back[1] - back[0], 1000 * abs(back[2] - back[3]))
                self.assertEqual(judge.end.realtime_steps, 0)

    def test_in_the_table_and_not_taken(self):
        each = leap("2016")
        at = 43200 + 62
        scenario, judge = self.irregular([each], offset_s=36, arm_s=None, table=True, windows_s=[at, at + 500])
        self.assertEqual(judge.ramps[-1][3], 36 * SECOND)
        self.assertEqual(judge.end.realtime_steps, 1)  # the unsmeared pages': back to the kernel

    def test_two_days_in_a_row(self):
        for by, then in ((1, 1), (1, -1), (-1, -1)):
            with self.subTest(by=by, then=then):
                first = leap("2015", by)
                second = Leap(first.midnight_s + 86400, first.after_s, then)
                midnight = 43200 + 60
                # Known from the afternoon of the first day, the second one begins where the first ends,
                # at the next segment: late by two segments at most, at 11.6 ppm.
                scenario, judge = self.irregular(
                    [first, second], offset_s=35 + by + then, near_ns=2400,
                    events=[(midnight + 100, "leap", 0), (midnight + 200, "leap", then)])
                self.assertEqual(len(judge.ramps), 2)
                pieces = [leap_piece(each, scenario.smear) for each in (first, second)]
                self.assertEqual(judge.ramps[0][:2], (pieces[0].start, pieces[0].end))
                self.assert_ramp(judge.ramps[1], pieces[1].start, pieces[1].end, first.after_s, second.after_s)
                self.assertEqual((judge.end.realtime_steps, judge.end.tai_steps), (0, 0))


if __name__ == "__main__":
    unittest.main()
