# SPDX-License-Identifier: MIT
# labels: soak
# timeout: 300
"""Programs that exchange timestamps: the protocol keeps its promise, and the check can find out.

Short form: 2 million exchanges, then half a million with three kills or more. CLOCKPAGE_SOAK=1: 10
million at a time, for ten rounds, and the share of overdue reads is judged too (it needs an
otherwise idle machine); then 100 million (CLOCKPAGE_EXCHANGES: another number) with the producer
killed every second throughout, and the first of each 5 million explained offline too.
"""
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
import unittest

from programs import DAEMON, SANITIZED, SOAK, STEERED, WRONG, end, start, tool

EXCHANGES = 10_000_000 if SOAK else 200_000 if SANITIZED else 2_000_000
KILLED_EXCHANGES = int(os.environ.get("CLOCKPAGE_EXCHANGES") or
                       (100_000_000 if SOAK else 50_000 if SANITIZED else 500_000))
KILL_INTERVAL = 1.0 if SOAK else 0.4


class KilledProducer(threading.Thread):
    """A producer that is killed by SIGKILL all the time, and started again at once."""

    def __init__(self, command):
        super().__init__()
        self.command = command
        self.process = subprocess.Popen(command)
        self.kills = 0
        self.failure = None
        self.end = threading.Event()

    def run(self):
        while not self.end.wait(KILL_INTERVAL):
            if self.process.poll() is not None:
                self.failure = f"the producer ended by itself: {self.process.returncode}"
                return
            self.process.kill()
            self.process.wait()
            self.kills += 1
            self.process = subprocess.Popen(self.command)

    def stop(self):
        self.end.set()
        self.join()
        self.process.kill()
        self.process.wait()


class VerifyTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="clockpage-verify-")
        self.addCleanup(shutil.rmtree, self.directory)  # the last of all

    def start(self, *command):
        process = start(self.directory, *command)
        self.addCleanup(end, process)
        return process

    def verify(self, exchanges, *options):
        code, out, err = tool("verify", "--dir", self.directory, "--json",
                              "--exchanges", str(exchanges), *options)
        result = json.loads(out)
        stalls = result["stalls"]
        print(f"{result['exchanges']} exchanges: backward {result['backward']}, overdue "
              f"{result['overdue']} of {result['reads']}, agreements {result['agreements']}, "
              f"disagreements {result['disagreements']}, overdue_backward "
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
            self.assertEqual((result["backward"], result["disagreements"]), (0, 0))
            self.assertGreater(result["agreements"], result["leased"] // 2)
            # A process that lost its CPU for longer than the history, between its scaled counter
            # and the page, is refused and reads again.
            self.assertLessEqual(result["errors"], result["reads"] // 100_000)
            if SOAK:
                self.assertLess(result["overdue"], result["reads"] / 1000)

    def test_a_producer_killed_all_the_time_costs_no_backward_step(self):
        producer = KilledProducer([DAEMON, "--dir", self.directory, "--quiet", *STEERED])
        self.addCleanup(producer.stop)
        while tool("status", "--dir", self.directory)[0] != 0:
            self.assertIsNone(producer.process.poll())
            time.sleep(0.02)
        producer.start()
        history = os.path.join(self.directory, "history")
        keys = ("exchanges", "leased", "reads", "backward", "overdue", "overdue_backward", "agreements",
                "disagreements", "overdue_revised", "errors", "busy")
        total = dict.fromkeys(keys, 0)
        explained = dict.fromkeys(("readings", "again", "segments", "gaps", "overdue_contradicted"), 0)
        late = [self.late()]
        while total["exchanges"] < KILLED_EXCHANGES or producer.kills < 3:
            # Long enough that the producer is not dead all the while.
            part = min(5_000_000, max(KILLED_EXCHANGES - total["exchanges"], EXCHANGES // 2))
            code, result, err = self.verify(part, "--record", history, "--record-max", "500000")
            self.assertEqual(code, 0, err)
            for key in keys:
                total[key] += result[key]
            code, out, err = tool("check-history", history, "--json")
            # On a fast machine the producer may be dead for as long as is recorded: that shows nothing.
            if code == 0 or "no leased readings" not in err:
                self.assertEqual(code, 0, err)
                report = json.loads(out)
                for key in explained:
                    explained[key] += report[key]
            self.assertIsNone(producer.failure)
        late.append(self.late())
        print(f"total, with {producer.kills} kills: "
              + ", ".join(f"{key} {value}" for key, value in total.items())
              + f", late {late[1] - late[0]}; explained offline: "
              + ", ".join(f"{key} {value}" for key, value in explained.items()), flush=True)
        self.assertEqual((total["backward"], total["disagreements"]), (0, 0))
        self.assertGreater(total["overdue"], 0)
        self.assertGreater(explained["readings"], 0)

    def late(self):
        code, out, err = tool("status", "--dir", self.directory, "--json")
        self.assertEqual(code, 0, err)
        return json.loads(out)["late"]

    def test_a_wrong_protocol_is_found_out(self):
        # No lease, a start in the future only, and a writer stopped for 5 ms between choosing
        # and storing.
        self.start(WRONG, self.directory, "200", "5000")
        for _ in range(10):
            code, result, err = self.verify(EXCHANGES)
            # Each exchange that is received while the writer stands still disagrees.
            self.assertEqual(code, 1)
            self.assertGreater(result["disagreements"], 0)
            if result["backward"]:
                break
        self.assertGreater(result["backward"], 0)
        self.assertIn("backward", err)


if __name__ == "__main__":
    unittest.main()
