# SPDX-License-Identifier: MIT
"""The programs built for 64-bit Arm, emulated: the daemon publishes what CNTVCT_EL0 counts, and
other processes read it. (The emulator runs on x86 and orders memory as that does.)

Environment: CLOCKPAGE_BIN, CLOCKPAGE_EMULATOR (a command and its options).
"""
import json
import os
import subprocess
import tempfile
import time
import unittest

BIN = os.environ["CLOCKPAGE_BIN"]
EMULATOR = os.environ["CLOCKPAGE_EMULATOR"].split()
DAEMON = [*EMULATOR, os.path.join(BIN, "clockpaged")]
TOOL = [*EMULATOR, os.path.join(BIN, "clockpage")]
COUNTER_KIND, ARM_CNTVCT, X86_TSC = 0x48, 0, 1  # spec/clockpage.md, 3.1


class DaemonTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.region = os.path.join(self.directory, "region")

    def run_it(self, *command):
        return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)

    def start(self, *options):
        daemon = subprocess.Popen([*DAEMON, "--dir", self.directory, "--quiet", *options])
        self.addCleanup(lambda: (daemon.terminate(), daemon.wait()))
        for _ in range(200):
            done = self.run_it(*TOOL, "status", "--json", "--dir", self.directory)
            if done.returncode == 0:
                return json.loads(done.stdout)
            self.assertIsNone(daemon.poll(), "the daemon ended")
            time.sleep(0.05)
        return self.fail(f"no page: {done.stderr}")

    def read_region(self):
        with open(self.region, "rb") as file:
            return file.read()

    def test_it_publishes_the_arm_counter_and_others_read_the_hosts_time(self):
        status = self.start()
        # Its own choice: the kernel's mapping is known on x86 only.
        self.assertEqual(status["source"], "bracket")
        self.assertEqual(self.read_region()[COUNTER_KIND], ARM_CNTVCT)
        for _ in range(5):
            before = time.time_ns()
            done = self.run_it(*TOOL, "read", "--json", "--dir", self.directory)
            after = time.time_ns()
            self.assertEqual(done.returncode, 0, done.stderr)
            ns = json.loads(done.stdout)["clocks"]["realtime"]["ns"]
            # The bracket errs by tens of microseconds under emulation, more on a busy machine.
            self.assertTrue(before - 5_000_000 <= ns <= after + 5_000_000, (before, ns, after))

    def test_processes_that_exchange_timestamps_see_no_backward_step(self):
        self.start()
        done = self.run_it(*TOOL, "verify", "--json", "--dir", self.directory, "--exchanges",
                           "100000")
        self.assertEqual(done.returncode, 0, done.stderr)
        result = json.loads(done.stdout)
        print({key: result[key] for key in ("exchanges", "backward", "overdue", "reads")})
        self.assertEqual(result["exchanges"], 100_000)
        self.assertEqual(result["backward"], 0)

    def test_a_region_for_the_tsc_is_refused(self):
        self.start()
        with open(self.region, "r+b") as file:
            file.seek(COUNTER_KIND)
            file.write(bytes([X86_TSC]))
        done = self.run_it(*TOOL, "read", "--dir", self.directory)
        self.assertEqual(done.returncode, 1)
        self.assertIn("counter_kind is 1, not this machine's", done.stderr)

    def test_the_kernels_mapping_is_refused_as_unknown_on_arm(self):
        done = self.run_it(*DAEMON, "--dir", self.directory, "--source", "vvar")
        self.assertEqual(done.returncode, 1)
        self.assertIn("known on x86-64 only", done.stderr)
        self.assertFalse(os.path.exists(self.region))


if __name__ == "__main__":
    unittest.main()
