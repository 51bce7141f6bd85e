# SPDX-License-Identifier: MIT
# timeout: 300
"""What verify records, check-history explains; what is made wrong afterwards, it rejects.

One run under a clock whose frequency and whose date change all the time, with its producer killed
and restarted meanwhile. Then the same with one thing damaged: CLOCKPAGE_SEED chooses the places.
"""
import json
import os
import random
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest

from history_records import DAMAGES, HEADER, History, leased_now
from programs import DAEMON, SEED, STEERED, TOOL, WRONG, end, start, tool

STEPPING = [*STEERED, "--sim-steps-per-hour", "72000"]


class Directory(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="clockpage-history.")
        self.addCleanup(shutil.rmtree, self.dir)
        self.file = os.path.join(self.dir, "history")

    def start(self, *command):
        process = start(self.dir, *command)
        self.addCleanup(end, process)
        return process

    def record(self, *options, code=0):
        done, out, err = tool("verify", "--dir", self.dir, "--record", self.file, "--json", *options)
        if code is not None:
            self.assertEqual(done, code, err)
        return json.loads(out)

    def check(self, file=None):
        """(exit code, the JSON object, stderr) of check-history."""
        code, out, err = tool("check-history", file or self.file, "--json")
        return code, json.loads(out), err


class RecordedRunTest(Directory):
    def record_over_a_kill(self):
        """A run with enough of everything, however little of a CPU it gets; or how much: what may be
        recorded is full after half a second of a fast one, which must not be before the kill."""
        for pause in (0.05, 0.3, 1, 3, 9):
            result = self.try_to_record_over_a_kill(pause)
            self.assertEqual((result["backward"], result["disagreements"]), (0, 0))
            recorded = self.check()[1]
            if result["leased"] > 3000 and result["recorded"]["gaps"] == 0 and \
                    recorded["overdue"] > 20 and recorded["epochs"] > 1 and self.part_is_leased():
                return result
        self.fail(f"this machine is too slow: {result}")

    def part_to_damage(self):
        with open(self.file, "rb") as file:
            whole = History(file.read())
        message = whole.first_change()
        return whole.cut(max(1, message - 4000), message + 4000)

    def part_is_leased(self):
        """The change may be the restarted producer's, with nothing but overdue readings around it."""
        path = self.file + ".part"
        with open(path, "wb") as file:
            file.write(self.part_to_damage().data)
        report = self.check(path)[1]
        return report["leased"] > 1000 and report["agreements"] > 0

    def try_to_record_over_a_kill(self, pause):
        producer = self.start(DAEMON, "--dir", self.dir, "--quiet", *STEPPING, "--sim-seed", str(SEED))
        run = subprocess.Popen([TOOL, "verify", "--dir", self.dir, "--for", "60", "--record", self.file,
                                "--record-max", "800000", "--json"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(end, run, signal.SIGKILL)
        time.sleep(pause)
        end(producer, signal.SIGKILL)
        producer = self.start(DAEMON, "--dir", self.dir, "--quiet", *STEPPING, "--sim-seed", str(SEED + 1))
        deadline = time.monotonic() + 20
        while json.loads(tool("status", "--dir", self.dir, "--json")[1])["overdue"]:
            self.assertLess(time.monotonic(), deadline, "the restarted producer does not publish")
        time.sleep(pause)
        run.send_signal(signal.SIGINT)
        out, _ = run.communicate(timeout=60)
        end(producer)
        return json.loads(out)

    def test_is_explained_and_one_damage_is_not(self):
        print(f"rerun: CLOCKPAGE_SEED={SEED} {sys.executable} {__file__} RecordedRunTest", flush=True)
        verified = self.record_over_a_kill()
        self.assertGreater(verified["agreements"], verified["leased"] // 2)
        begin = time.monotonic()
        code, report, err = self.check()
        self.assertEqual((code, report["offences"]), (0, 0), err)
        print(f"{report['readings']} readings and {report['again']} again: {report['overdue']} overdue "
              f"({report['overdue_contradicted']} contradicted), {report['segments']} segments, "
              f"{report['gaps']} gaps, {report['uncaptured']} readings in them, {report['epochs']} epochs, "
              f"{report['agreements']} agreements; checked in {time.monotonic() - begin:.2f} s", flush=True)
        self.assertGreater(report["overdue"], 0)
        self.assertGreater(report["epochs"], 1)
        if report["dropped"] == 0:
            # The two count alike.
            self.assertEqual(report["readings"], verified["reads"])
            self.assertEqual(report["overdue"], verified["overdue"])
            self.assertEqual(report["agreements"], verified["agreements"])
            self.assertEqual(report["unlinked"], 0)

        part = self.part_to_damage()
        self.write(part)
        code, report, err = self.check()
        self.assertEqual((code, report["offences"]), (0, 0), err)
        self.assertGreater(report["agreements"], 0)
        for damage in DAMAGES:
            with self.subTest(damage.__name__):
                self.damage(part, damage)
        self.check_a_gap(part)

    def write(self, history):
        with open(self.file, "wb") as file:
            file.write(history.data)

    def damage(self, part, damage):
        damaged = part.copy()
        rule = damage(damaged, random.Random(SEED))
        self.write(damaged)
        code, report, err = self.check()
        self.assertEqual(code, 1)
        self.assertIn(rule, report["offences_by_rule"], err)
        self.assertIn(f"\n{rule}: ", "\n" + err)
        self.assertIn("no one function explains this history", err.splitlines()[-1])

    def check_a_gap(self, part):
        """Readings in a segment that is not there: still one line, and not two."""
        def often_read(h, p, i, r):
            if not leased_now(h, p, i, r):
                return False
            cover = h.cover(r.format, r.counter)
            near = [h.reading(p, j) for j in range(max(0, i - 300), min(len(h.readings[p]), i + 300))]
            same = [n for n in near if (n.kind, n.format, n.clock) == (0, r.format, r.clock) and
                    not n.overdue() and h.cover(n.format, n.counter) == cover]
            return 2 < cover < len(h.segments[r.format]) - 2 and \
                same[0].counter < r.counter < same[-1].counter
        gap = part.copy()
        p, i, r = gap.draw_reading(random.Random(SEED), often_read)
        page, cover = r.format, gap.cover(r.format, r.counter)
        gap.remove_segment(page, cover)
        gap.segment(page, cover).after_gap = 1
        self.write(gap)
        code, report, err = self.check()
        self.assertEqual((code, report["gaps"]), (0, 1), err)
        self.assertGreater(report["uncaptured"], 2)
        gap.reading(p, i).ns += 3
        self.write(gap)
        code, report, err = self.check()
        self.assertEqual(code, 1)
        self.assertIn("line", report["offences_by_rule"], err)


class WrongProtocolTest(Directory):
    def test_is_rejected_for_its_segments_and_for_its_readings(self):
        # No lease, a start in the future only, and a writer stopped for 5 ms between choosing and
        # storing.
        self.start(WRONG, self.dir, "100", "5000")
        self.record("--for", "1.5", "--record-max", "300000", code=None)
        code, report, err = self.check()
        self.assertEqual(code, 1)
        self.assertIn("start", report["offences_by_rule"], err)
        self.assertIn("value", report["offences_by_rule"], err)
        self.assertIn("agreement", report["offences_by_rule"], err)


class FileTest(Directory):
    def setUp(self):
        super().setUp()
        self.start(DAEMON, "--dir", self.dir, "--quiet", *STEPPING)

    def test_says_what_it_dropped_and_that_is_no_offence(self):
        result = self.record("--exchanges", "2000", "--record-max", "500")
        self.assertEqual(result["recorded"]["readings"], 1000)
        self.assertGreater(result["recorded"]["readings_dropped"], 2000)
        code, report, err = self.check()
        self.assertEqual((code, report["readings"] + report["again"]), (0, 1000), err)
        self.assertEqual(report["dropped"], result["recorded"]["readings_dropped"])
        code, out, _ = tool("verify", "--dir", self.dir, "--record", self.file, "--exchanges", "1000")
        self.assertEqual(code, 0)
        self.assertIn("(0 dropped)", out)
        code, out, _ = tool("check-history", self.file)
        self.assertEqual(code, 0)
        self.assertIn("offences      0\n", out)

    def refused(self, *arguments, naming, **keywords):
        code, out, err = tool(*arguments, **keywords)
        self.assertEqual((code, out, err.count("\n")), (1, "", 1), err)
        self.assertTrue(err.startswith("clockpage: "), err)
        self.assertIn(naming, err)

    def test_nothing_is_written_by_halves(self):
        missing = os.path.join(self.dir, "missing", "history")
        self.refused("verify", "--dir", self.dir, "--record", missing, naming=missing)

        def small_files_only():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        before = sorted(os.listdir(self.dir))
        self.refused("verify", "--dir", self.dir, "--record", self.file, "--exchanges", "5000",
                     naming=self.file, preexec_fn=small_files_only)
        self.assertEqual(sorted(os.listdir(self.dir)), before)

    def test_what_is_no_history_gets_one_line(self):
        fifo = os.path.join(self.dir, "fifo")
        os.mkfifo(fifo)
        empty = os.path.join(self.dir, "empty")
        open(empty, "wb").close()
        for file in (self.dir, fifo, empty, "/dev/zero", os.path.join(self.dir, "missing"),
                     os.path.join(self.dir, "region"), TOOL):
            with self.subTest(file):
                self.refused("check-history", file, naming=file)

    def test_a_damaged_file_gets_an_answer_and_no_crash(self):
        print(f"rerun: CLOCKPAGE_SEED={SEED} {sys.executable} {__file__} FileTest", flush=True)
        self.record("--exchanges", "300")
        self.assertEqual(stat.S_IMODE(os.stat(self.file).st_mode) & 0o400, 0o400)
        with open(self.file, "rb") as file:
            good = file.read()
        draw = random.Random(SEED)
        refused = 0
        for round_number in range(120):
            data = bytearray(good)
            if round_number % 3 == 0:
                del data[draw.randrange(len(data)):]
            elif round_number % 3 == 1:
                data[draw.randrange(HEADER + 128)] = draw.choice((0, 1, 127, 128, 255))
            else:
                for _ in range(20):
                    data[draw.randrange(len(data))] = draw.randrange(256)
            with open(self.file, "wb") as file:
                file.write(data)
            code, _, err = tool("check-history", self.file)
            self.assertIn(code, (0, 1), f"round {round_number}: {err}")
            if code:
                refused += 1
                self.assertTrue(err.splitlines()[-1].startswith("clockpage: " + self.file), err)
        self.assertGreater(refused, 80)


class UsageTest(unittest.TestCase):
    def test_wrong_command_lines_get_exit_code_2(self):
        for line in ("check-history", "check-history a b", "check-history --nonsense f",
                     "verify --record-max 5", "verify --record f --record-max 0"):
            with self.subTest(line):
                code, out, err = tool(*line.split())
                self.assertEqual((code, out, err.count("\n")), (2, "", 1), err)


if __name__ == "__main__":
    unittest.main()
