# SPDX-License-Identifier: MIT
# labels: soak
# timeout: 240
"""A producer that gets the CPU last: every CPU is kept busy, and it is scheduled idle.

It is late nearly always then: it bridges, readers are told that they are overdue, leased readings
never step back, and an overdue reading is contradicted only where the producer counted that it may
have been. CLOCKPAGE_SOAK=1: a minute instead of some seconds.
"""
import json
import os
import subprocess
import sys
import time
import unittest

from fault_common import TOOL, FaultTest, run

SECONDS = 60 if os.environ.get("CLOCKPAGE_SOAK") == "1" else 8
IDLE = ["chrt", "--idle", "0"]


def spin(cpu):
    """A process that uses up a CPU, and ends with this one."""
    code = (f"import ctypes, os\nctypes.CDLL(None).prctl(1, 9)\nos.sched_setaffinity(0, {{{cpu}}})\n"
            "while True: pass")
    return subprocess.Popen([sys.executable, "-c", code])


class SlowWriterTest(FaultTest):
    def setUp(self):
        super().setUp()
        if run(*IDLE, "true").returncode != 0:
            self.skipTest("the idle scheduling class is not permitted here")

    def load_all_cpus(self):
        spinners = [spin(cpu) for cpu in sorted(os.sched_getaffinity(0))]

        def unload():
            while spinners:
                spinner = spinners.pop()
                spinner.kill()
                spinner.wait()
        self.addCleanup(unload)
        return unload

    def slow_producer(self, *options):
        # Not by the real-time class that it would choose for itself.
        producer = self.produce("--quiet", "--realtime-priority", "none", *options, wrapper=IDLE)
        self.assertEqual(os.sched_getscheduler(producer.pid), os.SCHED_IDLE)
        return producer

    def verify(self):
        done = run(TOOL, "verify", "--dir", self.dir, "--json", "--for", str(SECONDS), timeout=200)
        return done, json.loads(done.stdout)

    def test_it_bridges_and_leased_readings_never_step_back(self):
        # A frequency that is changed all the time: a wrong continuation would show.
        self.slow_producer("--source", "sim", "--sim-change-interval-s", "0.05",
                           "--sim-max-frequency-ppb", "500000")
        self.load_all_cpus()
        before = self.status()
        reader, listener = self.reader(), self.reader()
        reader.begin(f"run {SECONDS}")
        listener.begin(f"overdue {SECONDS}")
        done, result = self.verify()
        seen, heard = reader.answer(), listener.answer()
        after = self.status()
        bridges = after["bridges"] - before["bridges"]
        published = after["publications"] - before["publications"]
        late = after["late"] - before["late"]
        print(f"{published} segments, {bridges} of them bridges, {late} late; verify: "
              f"{result['exchanges']} exchanges, {result['overdue']} of {result['reads']} reads "
              f"overdue, backward {result['backward']}, with overdue ones "
              f"{result['overdue_backward']}; {heard}", flush=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(result["backward"], 0)
        self.assertGreater(result["leased"], 0)
        self.assertGreater(bridges, 0)
        # The stall is seen by the readers, flagged and never called good.
        self.assertGreater(result["overdue"], 0)
        self.assertGreater(seen["overdue"], 0)
        self.assertEqual(seen["overdue_called_good"], 0)
        self.assertEqual(set(seen["backward"].values()), {0})
        # An overdue reading was contradicted only where the producer owned up to it.
        self.assertGreater(heard["asked_again"], 0)
        if heard["contradicted"] or result["overdue_backward"]:
            self.assertGreater(late, 0)
            # Readings are rounded down.
            self.assertLessEqual(heard["largest_ns"], after["late_max_ns"] + 2)
            self.assertLessEqual(result["largest_overdue_backward_ns"], after["late_max_ns"] + 2)
        self.assertEqual(set(seen["errors"]) - {"0", "-1"}, set())

    def test_it_is_as_good_as_ever_once_it_gets_the_cpu_again(self):
        self.slow_producer()
        unload = self.load_all_cpus()
        time.sleep(2)
        unload()
        self.until(self.steers, "it steers again, nearly always", seconds=40)

    def steers(self):
        before = self.status()
        time.sleep(1)
        after = self.status()
        published, bridges = (after[name] - before[name] for name in ("publications", "bridges"))
        return not after["overdue"] and published > 2 * bridges + 10


if __name__ == "__main__":
    unittest.main()
