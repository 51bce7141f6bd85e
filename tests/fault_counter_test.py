# SPDX-License-Identifier: MIT
# timeout: 180
"""The CPU's counter jumps or changes its rate, or the kernel leaves it.

The counter's faults are real to the programs: `faulty_counter` traps every rdtsc of daemon and
reader. The kernel's MONOTONIC, which has no part in the fault, is the truth that the page's bounds
are held against.
"""
import mmap
import os
import platform
import struct
import tempfile
import time
import unittest

import fault_common as common
from fault_common import FAULTY_COUNTER, REVOKED_COUNTER, SANITIZED, FaultTest

CURRENT_CLOCKSOURCE = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
# A leased reading cannot be wrong for longer than the leases that were given before the fault: two
# segments, which lateness makes 50 ms and a period long at most.
TWO_LEASES_NS = 120_000_000


class CounterFaultTest(FaultTest):
    def setUp(self):
        super().setUp()
        if platform.machine() != "x86_64":
            self.skipTest("the counter can be trapped on x86 only")
        if SANITIZED:
            self.skipTest("a sanitizer's handlers and a trapped counter do not go together")
        with tempfile.NamedTemporaryFile(dir=self.dir, prefix="fault.", delete=False) as file:
            file.write(bytes(24))
        self.fault = file.name
        self.wrapper = [FAULTY_COUNTER, self.fault]

    def inject(self, at, jump, rate_ppb):
        with open(self.fault, "r+b") as file, mmap.mmap(file.fileno(), 24) as memory:
            struct.pack_into("<qq", memory, 8, jump, rate_ppb)
            struct.pack_into("<Q", memory, 0, at)

    def through_a_fault(self, jump_s=0.0, rate_ppb=0):
        """What a reader saw over 1.5 s, with the fault 0.25 s after their beginning."""
        self.producer = self.produce("--quiet", "--source", "bracket", wrapper=self.wrapper)
        self.hz = self.status()["counter_frequency_hz"]
        reader = self.reader(*self.wrapper)
        healthy = reader.ask("judge 0.3")
        self.assertEqual(healthy["wrong"] + healthy["overdue_wrong"], 0)
        self.assertGreater(healthy["leased"], 0)
        counter = reader.ask("read")["counter"]
        self.inject(counter + self.hz // 4, int(jump_s * self.hz), rate_ppb)
        seen = reader.ask("judge 1.5")
        print(f"\n  jump {jump_s} s, rate {rate_ppb / 1e7:+} %: {seen}", flush=True)
        self.seen_later = reader.ask("judge 0.3")
        self.mapped = reader
        # A leased time outside of its bounds: only by a lease given before the fault.
        self.assertLess(seen["wrong_span_ns"], TWO_LEASES_NS)
        return seen

    def assert_right_again(self):
        later = self.seen_later
        self.assertEqual(later["wrong"], 0)
        self.assertGreater(later["leased"], 0)
        self.assertEqual(set(later["errors"]), {"0"})
        self.assertIsNone(self.producer.poll())

    def assert_revoked(self):
        self.ends_by_itself(self.producer, 1, "counter", "went back", "revoked")
        self.assertEqual(common.revocations(common.contents(self.region)), [REVOKED_COUNTER] * 4)
        self.assertEqual(set(self.seen_later["errors"]), {str(common.E_REVOKED)})

    def through_a_jump_past_every_lease(self, seconds):
        """A leased time is then never wrong, but for a lease given from a reading of the source just
        before the jump; nor need a reader have been there in time to find it overdue. So one of three."""
        for _ in range(3):
            seen = self.through_a_fault(jump_s=seconds)
            self.assert_right_again()
            if seen["wrong"] == 0 and seen["overdue"] > 0:
                return
            self.end(self.producer)
            self.setUp()
        self.fail(f"three times not: {seen}")

    def test_a_small_jump_forwards_is_made_good_and_meanwhile_within_the_bounds(self):
        self.through_a_jump_past_every_lease(0.5)

    def test_a_large_jump_forwards_is_a_disruption_of_monotonic(self):
        self.through_a_jump_past_every_lease(20)
        self.assertGreaterEqual(self.status()["monotonic_steps"], 1)
        self.assertGreaterEqual(self.status()["epoch"], 2)

    def test_a_jump_back_revokes_the_pages(self):
        for seconds in (-0.05, -1, -100):
            with self.subTest(seconds=seconds):
                self.through_a_fault(jump_s=seconds)
                self.assert_revoked()
                # What reads the faulty counter cannot stay.
                self.setUp()

    def test_another_rate_is_followed(self):
        for rate_ppb in (50_000_000, -50_000_000):
            with self.subTest(rate_ppb=rate_ppb):
                self.through_a_fault(rate_ppb=rate_ppb)
                self.assert_right_again()
                self.end(self.producer)
                self.setUp()


class ClocksourceTest(FaultTest):
    """The kernel's file is replaced by one of ours, for the daemon alone."""

    def clocksource(self, name):
        path = os.path.join(self.dir, "clocksource")
        with open(path, "w", encoding="ascii") as file:
            file.write(name + "\n")
        return path

    def with_own_clocksource(self):
        return self.in_private_mounts(f'mount --bind "{self.clocksource("tsc")}" {CURRENT_CLOCKSOURCE}')

    def test_the_kernel_leaving_the_counter_revokes_the_pages(self):
        producer = self.produce("--quiet", "--source", "bracket", wrapper=self.with_own_clocksource())
        reader = self.reader()
        self.assertEqual(reader.ask("read")["monotonic"]["error"], 0)
        time.sleep(1.5)
        self.assertIsNone(producer.poll())
        self.clocksource("hpet")
        self.ends_by_itself(producer, 1, "counter", "revoked", within=15)
        self.assertEqual(common.revocations(common.contents(self.region)), [REVOKED_COUNTER] * 4)
        for clock in ("realtime", "monotonic", "raw", "boottime", "tai"):
            self.assertEqual(reader.ask("read")[clock]["error"], common.E_REVOKED)

    def test_a_producer_is_not_restarted_before_the_kernel_trusts_the_counter_again(self):
        wrapper = self.with_own_clocksource()
        producer = self.produce("--quiet", "--source", "bracket", wrapper=wrapper)
        old = self.reader()
        generation = self.status()["generation"]
        self.clocksource("acpi_pm")
        self.ends_by_itself(producer, 1, "revoked", within=15)
        bind = f'mount --bind "{self.dir}/clocksource" {CURRENT_CLOCKSOURCE}'
        for source in ("bracket", "auto"):
            refused = self.launch("--quiet", "--source", source, wrapper=self.in_private_mounts(bind))
            self.ends_by_itself(refused, 1, "clocksource is acpi_pm", "does not trust")
        self.clocksource("tsc")
        self.produce("--quiet", "--source", "bracket", wrapper=self.in_private_mounts(bind))
        self.assertNotEqual(self.status()["generation"], generation)
        self.assertEqual(self.reader().ask("read")["monotonic"]["error"], 0)
        self.assertEqual(old.ask("read")["monotonic"]["error"], common.E_REVOKED)


if __name__ == "__main__":
    unittest.main()
