# SPDX-License-Identifier: MIT
# labels: no_sanitizer
# timeout: 180
"""What a real Linux kernel does at a leap second: each sentence of spec section 4.1 is asserted.

The kernel is a guest's (user-mode Linux), and so is the clock that is set. `-v` prints what was
read around each step.
"""
import unittest

import uml_guest
from uml_guest import NS, Leap, utc

# adjtimex's results.
TIME_OK, TIME_INS, TIME_DEL, TIME_OOP, TIME_WAIT, TIME_ERROR = range(6)
STA_INS = 0x10
TICK_NS = 10_000_000  # CONFIG_HZ=100


def write(name, midnight, before_s, flag, ns):
    """The script's lines for a leap second at the end of a day, and what comes until a second after it."""
    seconds = before_s - ns / NS + 1.2
    return ["reset", f"set {midnight - before_s} {ns}", f"flag {flag}", f"sample {name} {seconds:.3f}"]


class KernelTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        first, second, third = utc("2012-07-01 00:00:00"), utc("2017-01-01 00:00:00"), utc("2029-01-01 00:00:00")
        day = 86400
        # Ticks that the kernel counts by are then 2 ms beyond the second, and come up to 10 ms later.
        phase = 302_000_000
        left = uml_guest.boot_all([[
            *write("never_set", first, 2, "ins", phase),
            # STA_INS stays set, and the next midnight comes.
            f"set {first + day - 1} {phase}", "flag ins", "sample left_set 1.2",
            "flag none", "sample cleared 1.3",
            f"set {first + 2 * day - 2} {phase}", "flag ins", "sample any_day 2.8",
        ], [
            "tai 36", *write("inserted", second, 2, "ins", phase),
            *write("deleted", third, 3, "del", phase),
            "tai 36", *write("unsynchronised", second, 2, "ins_unsync", phase),
            # Announced within the last second.
            "reset", f"set {second - 1} {phase}", "flag ins", "sample too_late 1.3",
            # Announced, and then the clock is set.
            "reset", f"set {second - 9} {phase}", "flag ins", "sample announced 1",
            f"set {second - 1} {phase}", "flag ins", "sample set_again 1.3",
        ]])
        cls.rows = {name[:-4]: uml_guest.samples(text) for name, text in left.items() if name.endswith(".csv")}
        cls.insertions = {
            "never_set": Leap(cls.rows["never_set"], first, 0, 1),
            "any_day": Leap(cls.rows["any_day"], first + 2 * day, 1, 1),
            "inserted": Leap(cls.rows["inserted"], second, 36, 1)}
        cls.deletion = Leap(cls.rows["deleted"], third, 37, -1)
        cls.unsynchronised = Leap(cls.rows["unsynchronised"], second, 36, 1)
        cls.leaps = {**cls.insertions, "deleted": cls.deletion}
        cls.midnight = {"left_set": first + day, "too_late": second, "set_again": second}
        for name, leap in cls.leaps.items():
            uml_guest.report(name, leap)

    def each_leap(self):
        yield from self.leaps.values()

    def each_insertion(self):
        yield from self.insertions.values()

    def test_tai_and_monotonic_show_no_trace_of_it(self):
        for leap in self.each_leap():
            # One difference of the two fits every sample, to the ns.
            self.assertLessEqual(max(row["tai"] - row["monotonic"] for row in leap.rows),
                                 min(row["tai_after"] - row["monotonic"] for row in leap.rows))
            for name in ("tai", "monotonic"):
                self.assertTrue(all(a[name] <= b[name] for a, b in zip(leap.rows, leap.rows[1:])))

    def test_realtime_steps_once_by_one_second_and_not_early(self):
        for leap in self.each_leap():
            offsets = [leap.offset(row) for row in leap.rows]
            self.assertLess(offsets.count(None), len(offsets) // 20)
            known = [offset for offset in offsets if offset is not None]
            changes = [(a, b) for a, b in zip(known, known[1:]) if a != b]
            self.assertEqual(changes, [(leap.before, leap.after)])
            self.assertNotIn(leap.after, {leap.offset(row) for row in leap.until(leap.tai)})

    def test_realtime_steps_at_the_first_tick_after_it(self):
        for leap in self.each_insertion():
            # CLOCK_REALTIME_COARSE is REALTIME at the last tick. Were there a tick after the leap
            # second and before the step, it would read 00:00:00.x there.
            self.assertFalse([row for row in leap.until(leap.tai + NS) if row["coarse"] >= leap.midnight])
        skipped = [row for row in self.deletion.rows
                   if self.deletion.midnight - NS <= row["coarse"] < self.deletion.midnight]
        self.assertFalse(skipped)

    def test_realtime_steps_less_than_two_ticks_late(self):
        # The last that was read before the step: after it this machine may have kept the guest waiting.
        # It may be late with an interrupt, too, but not with all of them.
        late = [max(row["tai"] for row in leap.rows if leap.offset(row) == leap.before) - leap.tai
                for leap in self.leaps.values()]
        self.assertLess(min(late), 2 * TICK_NS)

    def test_until_that_tick_realtime_goes_on_as_if_there_were_none(self):
        seen = 0
        for leap in self.each_leap():
            late = [row for row in leap.not_before(leap.tai) if leap.offset(row) == leap.before]
            seen += len(late)
            # Insertion: 00:00:00.x, too early. Deletion: 23:59:59.x, which there never is.
            start = leap.midnight if leap.sign > 0 else leap.midnight - NS
            for row in late:
                self.assertGreaterEqual(row["realtime"], start)
        self.assertGreater(seen, 0, "the ticks are 2 ms beyond the second")

    def test_an_insertion_repeats_the_last_second(self):
        for leap in self.each_insertion():
            second = leap.midnight - NS
            twice = {leap.offset(row) for row in leap.rows if second <= row["realtime"] < leap.midnight}
            self.assertLessEqual({leap.before, leap.after}, twice)

    def test_adjtimex_gives_time_and_offset_that_step_at_the_instant_itself(self):
        for leap in self.each_leap():
            for row in leap.rows:
                time = row["adjtimex_s"] * NS + row["adjtimex_us"] * 1000
                tai = time + row["tai_offset"] * NS
                self.assertLessEqual(row["tai"] - 1000, tai)
                self.assertLessEqual(tai, row["tai_after"])
            self.assertEqual({row["tai_offset"] * NS for row in leap.until(leap.tai)}, {leap.before})
            self.assertEqual({row["tai_offset"] * NS for row in leap.not_before(leap.tai)}, {leap.after})

    def test_an_insertion_is_pending_then_in_progress_then_over(self):
        for leap in self.each_insertion():
            states = [row["state"] for row in leap.rows]
            order = [a for a, b in zip(states, [*states[1:], None]) if a != b]
            self.assertEqual(order, [TIME_OK, TIME_INS, TIME_OOP, TIME_WAIT])
            during = [row for row in leap.not_before(leap.tai) if row["tai_after"] < leap.tai + NS]
            self.assertEqual({row["state"] for row in during}, {TIME_OOP})
            self.assertEqual({row["state"] for row in leap.not_before(leap.tai + NS)}, {TIME_WAIT})

    def test_a_deletion_is_pending_and_then_over(self):
        states = [row["state"] for row in self.deletion.rows]
        order = [a for a, b in zip(states, [*states[1:], None]) if a != b]
        self.assertEqual(order, [TIME_OK, TIME_DEL, TIME_WAIT])
        self.assertEqual({row["state"] for row in self.deletion.not_before(self.deletion.tai)}, {TIME_WAIT})

    def test_pending_begins_with_the_first_second_after_the_flag(self):
        for leap in self.each_leap():
            first = leap.rows[0]["coarse"] // NS + 1
            pending = TIME_INS if leap.sign > 0 else TIME_DEL
            self.assertEqual({row["state"] for row in leap.rows if row["tai_after"] - leap.before < first * NS},
                             {TIME_OK})
            self.assertEqual({row["state"] for row in leap.until(leap.tai) if row["coarse"] >= first * NS},
                             {pending})

    def test_an_offset_that_was_never_set_counts_the_leap_seconds_since_boot(self):
        leap = self.leaps["never_set"]
        self.assertEqual({row["tai_offset"] for row in leap.until(leap.tai)}, {0})
        self.assertEqual({row["tai_offset"] for row in leap.not_before(leap.tai)}, {1})

    def test_a_clock_that_is_not_called_synchronised_leaps_too_and_the_state_hides_it(self):
        leap = self.unsynchronised
        self.assertEqual((leap.offset(leap.rows[0]), leap.offset(leap.rows[-1])), (leap.before, leap.after))
        self.assertEqual({row["state"] for row in leap.until(leap.tai)}, {TIME_ERROR})
        # What adjtimex corrects itself, until the tick has come, it says: up to two ticks long.
        said = [row["state"] for row in leap.not_before(leap.tai) if row["state"] != TIME_ERROR]
        self.assertLessEqual(set(said), {TIME_OOP, TIME_WAIT})
        self.assertEqual(leap.rows[-1]["state"], TIME_ERROR)

    def no_leap(self, name):
        """The rows, through a midnight at which REALTIME simply goes on."""
        rows, midnight = self.rows[name], self.midnight[name] * NS
        self.assertLess(rows[0]["realtime"], midnight)
        self.assertGreater(rows[-1]["realtime"], midnight)
        self.assertLessEqual(max(row["tai"] - row["realtime"] for row in rows),
                             min(row["tai_after"] - row["realtime"] for row in rows))
        self.assertEqual(len({row["tai_offset"] for row in rows}), 1)
        self.assertTrue(all(row["status"] & STA_INS for row in rows))
        return rows

    def test_a_flag_left_set_gives_no_second_leap(self):
        self.assertEqual({row["state"] for row in self.no_leap("left_set")}, {TIME_WAIT})

    def test_the_state_is_ok_again_at_the_next_second_once_the_flag_is_cleared(self):
        rows = self.rows["cleared"]
        states = [row["state"] for row in rows]
        self.assertEqual([a for a, b in zip(states, [*states[1:], None]) if a != b], [TIME_WAIT, TIME_OK])

    def test_any_midnight_will_do(self):
        # 2012-07-02: not a month's last day.
        leap = self.leaps["any_day"]
        self.assertEqual(leap.offset(leap.rows[-1]), leap.after)

    def test_a_flag_set_within_the_last_second_is_for_the_next_midnight(self):
        rows, midnight = self.no_leap("too_late"), self.midnight["too_late"] * NS
        self.assertEqual({row["state"] for row in rows if row["tai_after"] - row["tai_offset"] * NS < midnight},
                         {TIME_OK})
        self.assertEqual({row["state"] for row in rows if row["coarse"] >= midnight}, {TIME_INS})

    def test_setting_the_clock_cancels_the_leap_and_leaves_flag_and_state(self):
        self.assertEqual(self.rows["announced"][-1]["state"], TIME_INS)
        self.assertEqual({row["state"] for row in self.no_leap("set_again")}, {TIME_INS})


if __name__ == "__main__":
    unittest.main()
