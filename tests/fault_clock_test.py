# SPDX-License-Identifier: MIT
# timeout: 120
"""The source's clock is set by an hour, or its machine was suspended, while readers run.

Source `sim`: the step is one that a kernel would make; daemon, region and readers are real.
"""
import struct
import unittest

import fault_common as common
from fault_common import FaultTest

# A segment, from spec/clockpage.md.
SEGMENTS, SEGMENT_SIZE, EPOCH, FLAGS = 0x400, 192, 0x88, 0x90
REALTIME_STEP, TAI_STEP, MONOTONIC_STEP = 0x4, 0x8, 0x10
# Nothing else happens to the clock.
ALONE = ("--source", "sim", "--sim-max-frequency-ppb", "0", "--sim-change-interval-s", "1000000")
# What a reader sees between two readings beside the counter's own time.
SMALL_NS = 2_000
# When it happens: after the readers have begun.
AT_S = 8 if common.SANITIZED else 2.5


class ClockFaultTest(FaultTest):
    def through_a_fault(self, *options):
        """Readings before it, what was seen during it, and after it."""
        self.producer = self.produce("--quiet", *ALONE, *options)
        reader, witness = self.reader(), self.reader()
        self.before = self.status()
        self.assertEqual(self.before["epoch"], 1, "too late: the fault is over already")
        first = reader.ask("read")
        witness.begin(f"run {AT_S + 1.5}")
        self.until(lambda: self.status()["epoch"] > 1, "the fault is published")
        seen = witness.answer()
        last = reader.ask("read")
        self.after = self.status()
        self.reader_of_before = reader
        print(f"{seen['reads']} reads, errors {seen['errors']}, jumps {seen['jump_ns']}, epochs "
              f"{seen['epochs']}, overdue {seen['overdue']}", flush=True)
        # One epoch, no more; never called good; no backward step within an epoch.
        self.assertEqual(self.after["epoch"], 2)
        self.assertEqual(seen["epochs"], [1, 2])
        self.assertNotIn(common.SYNCHRONISED, seen["statuses"])
        self.assertEqual(set(seen["backward"].values()), {0})
        # Refused at most: readers of a step that passes under them, for a moment.
        self.assertLess(sum(n for error, n in seen["errors"].items() if error not in "0 -1"), 1000)
        return first, seen, last

    def passed_ns(self, clock, first, last):
        """How much more the clock has gone on than the counter."""
        ticks = last["counter"] - first["counter"]
        return last[clock]["ns"] - first[clock]["ns"] - ticks * 10**9 / self.after["counter_frequency_hz"]

    def counted(self):
        return {name: self.after[name] - self.before[name]
                for name in ("realtime_steps", "tai_steps", "monotonic_steps")}

    def assert_moved(self, clock, by_ns, first, last, seen):
        self.assertAlmostEqual(self.passed_ns(clock, first, last), by_ns, delta=2_000_000, msg=clock)
        if by_ns == 0:
            self.assertLess(seen["jump_ns"][clock], SMALL_NS, clock)
        else:
            self.assertAlmostEqual(seen["jump_ns"][clock], abs(by_ns), delta=abs(by_ns) / 10, msg=clock)

    def assert_no_value_is_carried_across(self, first):
        seen = self.reader_of_before.ask(f"at {first['counter']}")
        for clock in ("realtime", "monotonic", "raw", "boottime"):
            self.assertIn(seen[clock]["error"], (common.E_DISCONTINUITY, common.E_OUT_OF_RANGE), clock)

    def set_by(self, seconds):
        first, seen, last = self.through_a_fault("--sim-step-s", str(seconds), "--sim-step-at-s", str(AT_S))
        self.assertEqual(self.counted(), {"realtime_steps": 1, "tai_steps": 1, "monotonic_steps": 0})
        self.assert_moved("realtime", seconds * 10**9, first, last, seen)
        for clock in ("monotonic", "raw", "boottime"):
            self.assert_moved(clock, 0, first, last, seen)
        self.assert_no_value_is_carried_across(first)
        self.assertEqual(self.end(self.producer), (0, ""))

    def test_set_forwards_by_an_hour(self):
        self.set_by(3600)

    def test_set_backwards_by_an_hour(self):
        self.set_by(-3600)

    def test_a_value_captured_before_a_step_that_lies_behind_is_refused_as_such(self):
        self.produce("--quiet", *ALONE, "--period-us", "100000", "--sim-step-s", "3600",
                     "--sim-step-at-s", "2")
        reader = self.reader()
        captured = []

        def stepped():
            captured.append(reader.ask("read"))
            return captured[-1]["realtime"]["epoch"] == 2 if not captured[-1]["realtime"]["error"] else None
        self.until(stepped, "the step")
        # The step is the newest segment for 100 ms, and within the history for 1.4 s.
        before = [c for c in captured if c["realtime"]["error"] == 0 and c["realtime"]["epoch"] == 1][-1]
        across = self.until(lambda: [a for a in [reader.ask(f"at {before['counter']}")]
                                     if a["realtime"]["error"] != 0], "it lies behind")[0]
        for clock in ("realtime", "monotonic", "raw", "boottime"):
            self.assertEqual(across[clock]["error"], common.E_DISCONTINUITY, clock)
        self.assertEqual(reader.ask("read")["realtime"]["error"], 0)

    def test_suspended_for_ten_seconds(self):
        first, seen, last = self.through_a_fault("--sim-suspend-s", "10", "--sim-suspend-at-s", str(AT_S))
        self.assertEqual(self.counted(), {"realtime_steps": 0, "tai_steps": 0, "monotonic_steps": 1})
        for clock in ("monotonic", "raw"):
            self.assert_moved(clock, -10 * 10**9, first, last, seen)
        for clock in ("realtime", "boottime"):
            self.assert_moved(clock, 0, first, last, seen)
        self.assert_no_value_is_carried_across(first)
        self.assertEqual(self.end(self.producer), (0, ""))

    def test_the_step_is_flagged_on_all_pages(self):
        for option, seconds, flags in (("step", -3600, REALTIME_STEP | TAI_STEP),
                                       ("suspend", 10, MONOTONIC_STEP)):
            with self.subTest(option):
                producer = self.produce("--quiet", *ALONE, "--period-us", "100000", f"--sim-{option}-s",
                                        str(seconds), f"--sim-{option}-at-s", "1.5")
                self.until(lambda: self.status()["epoch"] == 2, "the step")
                region = common.contents(self.region)
                for page in common.data_pages(region):
                    slots = [page + SEGMENTS + i * SEGMENT_SIZE for i in range(16)]
                    found = [struct.unpack_from("<QI", region, slot + EPOCH) for slot in slots]
                    self.assertEqual([(e, f & 0x1c) for e, f in found if f & 0x1c], [(2, flags)])
                self.end(producer)
                self.setUp()


if __name__ == "__main__":
    unittest.main()
