# SPDX-License-Identifier: MIT
# timeout: 900
"""The real leap seconds of 2012, 2015 and 2016, and an imaginary deletion, announced in time.

A producer follows a simulated kernel on a virtual counter through each of them (leap_samples), on all four
pages. Readers are asked every millisecond around everything that happens, tick by tick where it does, and
here and there between; leap_oracle.py judges every answer. Then the oracle is shown to bite: damaged
segments and wrong readings must be rejected, by name.
"""
import unittest

import leap_oracle
from leap_oracle import DAY, NO_LEAP, SECOND, Judge, Leap, leap_piece
from leap_scenarios import Scenario, ScenarioTest, leap


class LeapTest(ScenarioTest):
    def regular(self, scenario):
        """A leap second that was announced in time."""
        judge = self.judged(scenario)
        self.assertEqual((judge.end.realtime_steps, judge.end.tai_steps, judge.end.monotonic_steps), (0, 0, 0))
        for each in scenario.leaps:
            if each.by > 0:
                self.assertGreater(judge.seen["ambiguous"], 2 * 1900 * min(1, scenario.reach_s))  # two pages
        self.assertGreater(judge.seen[f"indicator {leap_oracle.JUST_PAST}"], 4 * 900 * scenario.reach_s)
        self.assertEqual(judge.seen["TAI known"] > 0, scenario.table or scenario.kernel_tai)
        # Unsmeared REALTIME is the kernel's own, but for the tick that the kernel is late by.
        self.assertGreater(judge.seen["kernel"], 2 * 3000 * scenario.reach_s)
        self.assertTrue(judge.apart)
        if scenario.smear:
            self.assertGreater(judge.seen[f"indicator {leap_oracle.IN_SMEAR}"], 2 * 1900 * scenario.reach_s)
            self.assertTrue(judge.mid_smear)
            for _, off in judge.mid_smear:
                self.assertLessEqual(abs(off), 1)
        return judge

    # ---- announced

    def test_2012_smeared_from_noon_to_noon_with_tai_from_the_table(self):
        self.regular(Scenario([leap("2012")], table=True, kernel_tai=False, reach_s=2))

    def test_2015_smeared_from_noon_to_noon_known_from_the_kernel_alone(self):
        self.regular(Scenario([leap("2015")], reach_s=2))

    def test_2016_smeared_from_noon_to_noon(self):
        self.regular(Scenario([leap("2016")], table=True, reach_s=2))

    def test_2016_smeared_over_the_last_1000_seconds(self):
        self.regular(Scenario([leap("2016")], "utc-sls", table=True))

    def test_a_deletion_smeared_from_noon_to_noon(self):
        self.regular(Scenario([leap("2016", -1)], reach_s=2))

    def test_a_deletion_smeared_over_the_last_1000_seconds(self):
        self.regular(Scenario([leap("2016", -1)], "utc-sls"))

    def test_a_linear_smear_that_begins_at_the_leap_where_that_is_what_was_asked_for(self):
        self.regular(Scenario([leap("2015")], "linear:0:2000", table=True))

    def test_a_linear_smear_where_tai_is_not_known(self):
        # Then it is REALTIME's own line, and TAI - UTC counts from zero.
        each = Leap(leap("2012").midnight_s, 0, 1)
        self.regular(Scenario([each], "linear:-700:1500", kernel_tai=False))

    def test_no_smear_on_any_page(self):
        self.regular(Scenario([leap("2016")], "none", table=True))

    def test_a_producer_that_is_replaced_in_a_smear_and_at_the_leap(self):
        scenario = Scenario([leap("2016")], table=True, restart_s=())
        instants = [scenario.leaps[0].tai_s() * SECOND + ns for ns in (-3600 * SECOND, -30_000_000, 500_000_000)]
        scenario.restart_s = [scenario.at(tai) for tai in instants]
        scenario.windows += instants
        self.regular(scenario)

    def test_it_is_pending_on_its_last_day_and_just_past_on_the_next_though_long_known(self):
        for by, smear in ((1, "none"), (-1, "utc-sls")):
            scenario = Scenario([leap("2016", by)], smear, table=True, before_s=86400 + 60, after_s=86400 + 60,
                                arm_s=86400 // 2)
            piece = leap_piece(scenario.leaps[0], scenario.smear)
            scenario.windows += [piece.start - DAY, piece.end + DAY]
            judge = self.regular(scenario)
            # Before and after, on the smeared pages at least.
            self.assertGreater(judge.seen[f"indicator {leap_oracle.NONE}"], 2 * 2 * 400)

    # ---- nobody there

    def test_pages_whose_producer_was_killed_the_day_before_leap_and_smear_on_time(self):
        for each, smear in ((leap("2016"), "noon"), (leap("2015", -1), "noon"), (leap("2012"), "utc-sls")):
            with self.subTest(smear, by=each.by):
                scenario = Scenario([each], smear, table=True, before_s=86400 + 60, kill_s=60, arm_s=86400 // 2)
                judge = self.judged(scenario)
                self.assertTrue(judge.end.killed)
                self.assertGreater(judge.seen[f"indicator {leap_oracle.IN_SMEAR}"], 2 * 1900 * scenario.reach_s)

    def test_another_seed_gives_other_readings_and_the_same_verdict(self):
        scenario = Scenario([leap("2016")], "utc-sls", reach_s=0.1)
        first = scenario.data()
        scenario.seed += 1
        self.assertNotEqual(scenario.data(), first)
        self.regular(scenario)


class OracleBitesTest(unittest.TestCase):
    """A run that is right, with one thing made wrong: the oracle must say what."""

    @classmethod
    def setUpClass(cls):
        quick = {"reach_s": 0.02, "coarse_s": 7200, "table": True}
        cls.scenarios = {"insertion": Scenario([leap("2016")], **quick),
                         "deletion": Scenario([leap("2016", -1)], **quick)}
        cls.data = {name: scenario.data() for name, scenario in cls.scenarios.items()}

    def test_the_runs_themselves_are_right(self):
        for name, scenario in self.scenarios.items():
            judge = Judge(scenario).run(self.data[name])
            self.assertEqual(judge.complaints, {})
            self.assertGreater(judge.seen["samples"], 500)

    def rejected(self, run, *names, **wrong):
        judge = Judge(self.scenarios[run]).run(self.data[run], **wrong)
        self.assertLessEqual(set(names), set(judge.complaints), judge.complaints)
        return judge

    @staticmethod
    def smeared(change):
        """A damage to the leap words of the smeared pages' segments."""
        def damage(page, segment):
            if page.smear is None or segment.leap_start_ns == NO_LEAP:
                return segment
            return segment.changed(**change(segment))
        return damage

    def test_a_slope_off_by_one_unit(self):
        for by in (1, -1):
            damage = self.smeared(lambda s, by=by: {"leap_slope_frac": s.leap_slope_frac + by})
            judge = self.rejected("insertion", "leap slope", damage=damage)
            self.assertEqual(set(judge.complaints), {"leap slope"})  # no value shows it

    def test_a_window_shifted_by_a_microsecond(self):
        damage = self.smeared(lambda s: {"leap_start_ns": s.leap_start_ns + 1000, "leap_end_ns": s.leap_end_ns + 1000})
        self.rejected("insertion", "leap window", damage=damage)

    def test_a_window_shifted_by_a_second(self):
        damage = self.smeared(lambda s: {"leap_start_ns": s.leap_start_ns + SECOND,
                                         "leap_end_ns": s.leap_end_ns + SECOND})
        self.rejected("deletion", "leap window", "exact time", damage=damage)

    def test_the_sign_of_a_deletion(self):
        damage = self.smeared(lambda s: {"utc_offset_after_ns": s.utc_offset_ns + SECOND})
        self.rejected("deletion", "leap offsets", "exact time", damage=damage)

    def test_a_step_of_38_ns_at_the_end(self):
        def change(segment):
            length = segment.leap_end_ns - segment.leap_start_ns
            return {"leap_slope_frac": ((SECOND - 38) << 64) // length}
        self.rejected("insertion", "leap slope", "exact time", "step", "backward", damage=self.smeared(change))
        self.rejected("deletion", "leap slope", "exact time", "step", damage=self.smeared(change))

    def test_an_offset_of_18_seconds(self):
        damage = self.smeared(lambda s: {"utc_offset_after_ns": s.utc_offset_after_ns - 18 * SECOND})
        self.rejected("insertion", "leap offsets", "exact time", "step", damage=damage)

    def test_a_smear_that_begins_at_the_leap(self):
        leap_ns = self.scenarios["insertion"].leaps[0].tai_s() * SECOND
        damage = self.smeared(lambda s: {"leap_start_ns": leap_ns,
                                         "leap_end_ns": leap_ns + s.leap_end_ns - s.leap_start_ns})
        self.rejected("insertion", "leap window", "exact time", damage=damage)

    def test_a_smear_of_the_length_that_utc_has_and_not_the_smeared_clock(self):
        def change(segment):
            length = 86400 * SECOND
            return {"leap_end_ns": segment.leap_start_ns + length, "leap_slope_frac": (SECOND << 64) // length}
        self.rejected("insertion", "leap window", "exact time", damage=self.smeared(change))

    def test_a_smear_that_is_not_there(self):
        def change(segment):
            return {"leap_start_ns": NO_LEAP, "leap_end_ns": NO_LEAP, "utc_offset_after_ns": segment.utc_offset_ns}
        self.rejected("insertion", "leap not announced", "exact time", damage=self.smeared(change))

    def test_an_unsmeared_leap_a_second_late(self):
        def damage(page, segment):
            if page.smear or segment.leap_start_ns == NO_LEAP:
                return segment
            return segment.changed(leap_start_ns=segment.leap_start_ns + SECOND,
                                   leap_end_ns=segment.leap_end_ns + SECOND)
        self.rejected("insertion", "leap window", "exact time", "kernel", damage=damage)

    def test_a_trace_of_the_leap_in_monotonic_or_tai(self):
        leap_ns = self.scenarios["insertion"].leaps[0].tai_s() * SECOND

        def late(segment):
            return segment.tai_ns >= leap_ns
        self.rejected("insertion", "TAI - MONOTONIC", "rate of MONOTONIC", "boundary of MONOTONIC",
                      damage=lambda page, s: s.changed(monotonic_offset_ns=s.monotonic_offset_ns + SECOND)
                      if late(s) else s)
        self.rejected("insertion", "TAI - MONOTONIC", "boundary of TAI",
                      damage=lambda page, s: s.changed(tai_ns=s.tai_ns + 1,
                                                       monotonic_offset_ns=s.monotonic_offset_ns + 1)
                      if late(s) else s)

    # ---- wrong readers

    @staticmethod
    def reading(index, change, clock=leap_oracle.REALTIME, smeared=False):
        """Changes one word of a clock's reading."""
        def misread(page, sample):
            if (page.smear is not None) != smeared:
                return sample
            clocks = list(sample.clocks)
            words = list(clocks[clock])
            words[index] = change(words[index])
            clocks[clock] = tuple(words)
            return sample.changed(clocks=clocks)
        return misread

    def test_a_reader_that_is_a_nanosecond_off(self):
        for clock in range(5):
            self.rejected("insertion", "integer formula", misread=self.reading(2, lambda ns: ns + 1, clock, True))

    def test_a_reader_that_does_not_see_ambiguity_or_sees_it_everywhere(self):
        flag = leap_oracle.AMBIGUOUS
        self.rejected("insertion", "flags", "ambiguity by date", misread=self.reading(1, lambda flags: flags & ~flag))
        self.rejected("deletion", "flags", "ambiguity by date", misread=self.reading(1, lambda flags: flags | flag))

    def test_a_reader_that_takes_a_deletion_for_an_insertion(self):
        swap = {leap_oracle.PENDING_DELETION: leap_oracle.PENDING_INSERTION}
        self.rejected("deletion", "indicator", "indicator by date",
                      misread=self.reading(8, lambda word: swap.get(word, word), smeared=True))

    def test_a_reader_that_calls_a_leap_pending_that_is_further_ahead_than_a_day(self):
        far = {leap_oracle.NONE: leap_oracle.PENDING_INSERTION}
        scenario = Scenario([leap("2016")], "utc-sls", table=True, before_s=2 * 86400, arm_s=3 * 43200,
                            reach_s=0.02, coarse_s=7200)
        data = scenario.data()
        self.assertEqual(Judge(scenario).run(data).complaints, {})
        judge = Judge(scenario).run(data, misread=self.reading(8, lambda word: far.get(word, word), smeared=True))
        self.assertLessEqual({"indicator", "indicator by date"}, set(judge.complaints))

    def test_a_reader_whose_bounds_are_narrower(self):
        self.rejected("insertion", "bounds", misread=self.reading(3, lambda ns: ns + 1))
        for clock in (leap_oracle.REALTIME, leap_oracle.MONOTONIC):
            for smeared in (False, True):
                self.rejected("deletion", "bounds", "containment",
                              misread=self.reading(4, lambda ns: ns - 10 * SECOND, clock, smeared))


if __name__ == "__main__":
    unittest.main()
