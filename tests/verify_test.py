# SPDX-License-Identifier: MIT
# labels: soak
# timeout: 300
"""Programs that exchange timestamps: the protocol keeps its promise, and the check can find out.

Short form: 2 million exchanges. CLOCKPAGE_SOAK=1: 10 million at a time, for ten rounds, and the
share of overdue reads is judged too (it needs an otherwise idle machine).
"""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

BIN = os.environ.get("CLOCKPAGE_BIN") or os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "build", "release", "bin")
TOOL = os.path.join(BIN, "clockpage")
DAEMON = os.path.join(BIN, "clockpaged")
WRONG = os.path.join(BIN, "wrong_protocol")
SOAK = os.environ.get("CLOCKPAGE_SOAK") == "1"
SANITIZED = bool(os.environ.get("CLOCKPAGE_SANITIZE"))
EXCHANGES = 10_000_000 if SOAK else 200_000 if SANITIZED else 2_000_000
STEERED = ["--source", "sim", "--period-us", "1000", "--sim-change-interval-s", "0.05",
           "--sim-max-frequency-ppb", "500000"]


class VerifyTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="clockpage-verify-")
        self.processes = []

    def tearDown(self):
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
            process.wait(timeout=20)
        shutil.rmtree(self.directory)

    def start(self, *command):
        process = subprocess.Popen(command)
        self.processes.append(process)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if process.poll() is None and self.tool("status", "--dir", self.directory)[0] == 0:
                return process
            if process.poll() is not None:
                break
            time.sleep(0.02)
        self.fail(f"{command[0]} did not make a region")

    @staticmethod
    def tool(*arguments):
        done = subprocess.run([TOOL, *arguments], capture_output=True, text=True, timeout=280)
        return done.returncode, done.stdout, done.stderr

    def verify(self, exchanges):
        code, out, err = self.tool("verify", "--dir", self.directory, "--json",
                                   "--exchanges", str(exchanges))
        result = json.loads(out)
        stalls = result["stalls"]
        print(f"{result['exchanges']} exchanges: backward {result['backward']}, overdue "
              f"{result['overdue']} of {result['reads']}, overdue_backward "
              f"{result['overdue_backward']}, late {result['late']}, min_margin_ns "
              f"{result['min_margin_ns']}; a {stalls['policy']} thread woke late by p99.9 "
              f"{stalls['p999_us']:.0f} us, max {stalls['max_us']:.0f} us", flush=True)
        return code, result, err

    def test_leased_reads_never_step_back_while_the_frequency_changes(self):
        self.start(DAEMON, "--dir", self.directory, "--quiet", *STEERED)
        for _ in range(10 if SOAK else 1):
            code, result, err = self.verify(EXCHANGES)
            self.assertEqual(code, 0, err)
            self.assertEqual(result["exchanges"], EXCHANGES)
            self.assertEqual(result["backward"], 0)
            # A process that lost its CPU for longer than the history, between its scaled counter
            # and the page, is refused and reads again.
            self.assertLessEqual(result["errors"], result["reads"] // 100_000)
            if SOAK:
                self.assertLess(result["overdue"], result["reads"] / 1000)

    def test_a_killed_and_restarted_producer_costs_no_backward_step(self):
        producer = self.start(DAEMON, "--dir", self.directory, "--quiet", *STEERED)
        check = subprocess.Popen([TOOL, "verify", "--dir", self.directory, "--json", "--for", "4"],
                                 stdout=subprocess.PIPE, text=True)
        self.processes.append(check)
        for _ in range(3):
            time.sleep(0.7)
            producer.send_signal(signal.SIGKILL)
            producer.wait()
            time.sleep(0.2)
            producer = self.start(DAEMON, "--dir", self.directory, "--quiet", *STEERED)
        out, _ = check.communicate(timeout=60)
        result = json.loads(out)
        self.assertEqual(check.returncode, 0, out)
        self.assertEqual(result["backward"], 0)
        # The dead producer is seen: by its readers, at once.
        self.assertGreater(result["overdue"], 0)
        self.assertGreater(result["exchanges"], result["overdue"] // 2)

    def test_a_wrong_protocol_is_found_out(self):
        # No lease, a start in the future only, and a writer stopped for 5 ms between choosing
        # and storing.
        self.start(WRONG, self.directory, "200", "5000")
        for _ in range(10):
            code, result, err = self.verify(EXCHANGES)
            if result["backward"]:
                break
        self.assertGreater(result["backward"], 0)
        self.assertEqual(code, 1)
        self.assertIn("backward", err)


if __name__ == "__main__":
    unittest.main()
