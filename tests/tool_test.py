# SPDX-License-Identifier: MIT
# timeout: 240
"""The tool `clockpage` against a live producer, dead ones, and pages that were made wrong.

A wrong page is a copy of a live region whose lease was put far ahead (so that it is a leased
page, standing alone) and whose lines were moved: each check must find what it is there to find.
"""
import json
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest

from programs import DAEMON, TOOL, end, start, tool

CLOCKS = {"realtime", "tai", "monotonic", "raw", "boottime"}

# Offsets, from spec/clockpage.md: the directory's entries; a data page's segments; a segment's
# fields.
ENTRIES, FORMAT = 0x70, 4
SEGMENTS, SEGMENT_SIZE, SEGMENT_COUNT = 1024, 192, 16
LEASE_END, TAI_NS = 0x10, 0x18
SCALED = 1


def start_producer(directory, *options):
    return start(directory, DAEMON, "--dir", directory, "--quiet", *options)


def tools_naming(directory):
    """Pids of the tool with the directory on its command line. Zombies have none."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read()
                if words.startswith(TOOL.encode() + b"\0") and directory.encode() in words:
                    found.append(int(pid))
        except OSError:
            pass
    return found


def stand_alone(region, shift_ns, formats=(0, 1)):
    """The region with leases that do not end, and TAI moved by shift_ns in pages of these
    formats."""
    changed = bytearray(region)
    for entry in range(4):
        page, form = struct.unpack_from("<IB", changed, ENTRIES + 8 * entry)
        for slot in range(SEGMENT_COUNT):
            segment = page + SEGMENTS + slot * SEGMENT_SIZE
            lease_end, tai_ns = struct.unpack_from("<QQ", changed, segment + LEASE_END)
            shifted = tai_ns + (shift_ns if form in formats else 0)
            struct.pack_into("<QQ", changed, segment + LEASE_END, (lease_end + (1 << 50)) % (1 << 64),
                             shifted % (1 << 64))
    return bytes(changed)


class OneLine:
    def assert_one_line(self, text, *words):
        self.assertEqual(text.count("\n"), 1, text)
        self.assertTrue(text.startswith("clockpage: "), text)
        for word in words:
            self.assertIn(word, text)


class UsageTest(unittest.TestCase, OneLine):
    def test_wrong_command_lines_get_one_line_and_exit_code_2(self):
        for line in ("", "nonsense", "--nonsense", "read --nonsense", "read extra", "read --clock x",
                     "watch --for never", "compare --for -1", "compare --source sim",
                     "compare --max-median-ns x", "verify --processes 1", "verify --exchanges 0",
                     "status --dir"):
            with self.subTest(line):
                code, out, err = tool(*line.split())
                self.assertEqual((code, out), (2, ""), err)
                self.assert_one_line(err)

    def test_help_and_version_go_to_stdout_and_succeed(self):
        for line in ("--help", "--version", "read --help", "watch --help", "status --help",
                     "compare --help", "verify --help", "convert --help", "plot --help",
                     "plot leap --help"):
            with self.subTest(line):
                code, out, err = tool(*line.split())
                self.assertEqual((code, err), (0, ""))
                self.assertTrue(out)

    def test_a_missing_region_is_named_whichever_way_its_directory_is_given(self):
        code, _, err = tool("read", "--dir", "/nonexistent/a")
        self.assertEqual(code, 1)
        self.assert_one_line(err, "/nonexistent/a/region")
        code, _, err = tool("read", environment={"CLOCKPAGE_DIR": "/nonexistent/b"})
        self.assertEqual(code, 1)
        self.assert_one_line(err, "/nonexistent/b/region")


class LiveTest(unittest.TestCase, OneLine):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="clockpage-tool.")
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.producer = start_producer(cls.dir)
        cls.addClassCleanup(end, cls.producer)

    def json(self, *arguments, code=0):
        got, out, err = tool(*arguments, "--json", "--dir", self.dir)
        self.assertEqual(got, code, err)
        return json.loads(out)

    def test_read_gives_the_time_of_day(self):
        before = time.time_ns()
        clocks = self.json("read")["clocks"]
        after = time.time_ns()
        self.assertEqual(set(clocks), CLOCKS)
        self.assertLess(before - 1_000_000, clocks["realtime"]["ns"])
        self.assertLess(clocks["realtime"]["ns"], after + 1_000_000)
        self.assertEqual(len({c["counter"] for c in clocks.values() if not c["error"]}), 1)
        self.assertLess(clocks["monotonic"]["earliest_ns"], clocks["monotonic"]["ns"])

    def test_read_can_be_of_one_clock(self):
        self.assertEqual(set(self.json("read", "--clock", "BOOTTIME")["clocks"]), {"boottime"})

    def test_read_shows_all_five_clocks_to_people(self):
        code, out, err = tool("read", "--dir", self.dir)
        self.assertEqual((code, err), (0, ""))
        self.assertEqual({line.split()[0] for line in out.splitlines()}, CLOCKS)

    def test_require_sync_tells_only_by_its_exit_code_3(self):
        synchronised = self.json("status")["synchronised"]
        for command in ("read", "status"):
            code, out, err = tool(command, "--require-sync", "--dir", self.dir)
            self.assertEqual(code, 0 if synchronised else 3)
            self.assertTrue(out)
            if not synchronised:
                self.assert_one_line(err, self.dir + "/region", "not synchronised")

    def test_status_says_why(self):
        status = self.json("status")
        self.assertTrue(status["producer_alive"])
        self.assertEqual(status["producer_pid"], self.producer.pid)
        self.assertIn(status["source"], ("vvar", "bracket"))
        self.assertTrue(status["why"])
        self.assertEqual(status["revoked"], 0)
        self.assertGreater(status["period_ns"], 0)
        code, out, _ = tool("status", "--dir", self.dir)
        self.assertEqual(code, 0)
        self.assertIn(f"pid {self.producer.pid}, alive", out)

    def test_compare_reports_a_page_that_follows_the_kernel(self):
        for clock in ("realtime", "monotonic", "raw", "boottime"):
            with self.subTest(clock):
                result = self.json("compare", "--for", "0.5", "--clock", clock)
                self.assertGreater(result["samples"], 100)
                self.assertIn(result["source"], ("vvar", "bracket"))
                self.assertLessEqual(result["median_ns"], 1000)
                self.assertLessEqual(result["median_ns"], result["p999_ns"])
                self.assertLessEqual(result["p999_ns"], result["max_ns"])
                self.assertEqual(result["errors"], 0)

    def test_compare_brackets_when_asked_and_gives_the_window(self):
        result = self.json("compare", "--for", "0.5", "--source", "bracket")
        self.assertEqual(result["source"], "bracket")
        self.assertGreater(result["window_median_ns"], 0)
        self.assertLessEqual(result["median_ns"], result["window_median_ns"] + 1000)

    def test_watch_agrees_and_prints_lines_where_there_is_no_terminal(self):
        code, out, err = tool("watch", "--for", "1.2", "--dir", self.dir)
        self.assertEqual((code, err), (0, ""))
        self.assertNotIn("\x1b", out)
        self.assertGreaterEqual(out.count("kernel "), 2)
        result = self.json("watch", "--for", "0.2")
        self.assertEqual(result["disagreed"], 0)
        self.assertGreater(result["agreed"], 0)

    def test_verify_finds_no_backward_step(self):
        result = self.json("verify", "--exchanges", "50000")
        self.assertGreaterEqual(result["exchanges"] + result["errors"], 50000)
        self.assertGreater(result["leased"], 0)
        self.assertEqual(result["backward"], 0)
        for key in ("overdue", "overdue_backward", "late", "min_margin_ns"):
            self.assertIsInstance(result[key], int)
        self.assertGreater(result["stalls"]["wakeups"], 0)

    def test_verify_takes_more_processes_than_cpus(self):
        result = self.json("verify", "--for", "1", "--processes", "5")
        self.assertGreater(result["exchanges"], 0)
        self.assertEqual(result["backward"], 0)

    def test_a_signal_ends_a_run_with_its_result(self):
        for command in (("watch",), ("compare", "--for", "100"), ("verify", "--exchanges", str(10**12))):
            for number in (signal.SIGINT, signal.SIGTERM):
                with self.subTest(command[0], signal=number):
                    run = subprocess.Popen([TOOL, *command, "--json", "--dir", self.dir],
                                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                    time.sleep(0.7)
                    run.send_signal(number)
                    out, err = run.communicate(timeout=20)
                    self.assertEqual(run.returncode, 0, err)
                    self.assertIn("file", json.loads(out))

    def kill_tools(self):
        for pid in tools_naming(self.dir):
            os.kill(pid, signal.SIGKILL)

    def test_verify_leaves_no_process_behind_when_it_is_killed(self):
        run = subprocess.Popen([TOOL, "verify", "--exchanges", str(10**12), "--dir", self.dir],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(self.kill_tools)
        deadline = time.monotonic() + 10
        while len(tools_naming(self.dir)) < 4 and time.monotonic() < deadline:
            time.sleep(0.02)  # verify, its two and the stall meter
        self.assertEqual(len(tools_naming(self.dir)), 4)
        run.kill()
        run.wait()
        deadline = time.monotonic() + 10
        while tools_naming(self.dir) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertEqual(tools_naming(self.dir), [])


class DeadProducerTest(unittest.TestCase, OneLine):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="clockpage-tool.")
        self.addCleanup(shutil.rmtree, self.dir)

    def die(self, with_signal):
        producer = start_producer(self.dir)
        time.sleep(0.3)
        end(producer, with_signal)
        time.sleep(0.2)
        code, out, err = tool("status", "--json", "--dir", self.dir)
        self.assertEqual(code, 0, err)
        return json.loads(out)

    def test_status_tells_a_clean_end_from_a_death(self):
        ended = self.die(signal.SIGTERM)
        self.assertIn("ended cleanly", ended["why"])
        self.assertTrue(ended["overdue"])
        killed = self.die(signal.SIGKILL)
        self.assertIn("gone", killed["why"])
        self.assertFalse(killed["producer_alive"])
        self.assertFalse(killed["synchronised"])

    def test_the_time_goes_on_and_says_that_it_is_overdue(self):
        self.die(signal.SIGKILL)
        reading = json.loads(tool("read", "--json", "--dir", self.dir)[1])["clocks"]["realtime"]
        self.assertTrue(reading["overdue"])
        self.assertLess(abs(reading["ns"] - time.time_ns()), 1_000_000_000)

    def test_nothing_is_shown_by_a_page_without_leased_readings(self):
        self.die(signal.SIGKILL)
        code, out, err = tool("verify", "--exchanges", "1000", "--dir", self.dir)
        self.assertEqual(code, 1)
        self.assert_one_line(err, "leased")
        code, out, err = tool("watch", "--for", "0.1", "--dir", self.dir)
        self.assertEqual(code, 1)
        self.assert_one_line(err, "overdue")


class WrongPageTest(unittest.TestCase, OneLine):
    """What must be found is found."""

    @classmethod
    def setUpClass(cls):
        live = tempfile.mkdtemp(prefix="clockpage-tool.")
        cls.addClassCleanup(shutil.rmtree, live)
        producer = start_producer(live)
        time.sleep(0.5)
        end(producer)
        with open(os.path.join(live, "region"), "rb") as file:
            cls.region = file.read()

    def region_of(self, bytes_of_it):
        directory = tempfile.mkdtemp(prefix="clockpage-tool.")
        self.addCleanup(shutil.rmtree, directory)
        with open(os.path.join(directory, "region"), "wb") as file:
            file.write(bytes_of_it)
        return directory

    def test_verify_accepts_the_page_before_it_is_made_wrong(self):
        directory = self.region_of(stand_alone(self.region, 0))
        code, out, err = tool("verify", "--exchanges", "20000", "--json", "--dir", directory)
        self.assertEqual(code, 0, err)
        result = json.loads(out)
        self.assertEqual((result["leased"], result["overdue"]), (20000, 0))

    def test_verify_finds_a_scaled_page_that_is_behind_the_unscaled_one(self):
        directory = self.region_of(stand_alone(self.region, -1_000_000, formats=(SCALED,)))
        code, out, err = tool("verify", "--exchanges", "20000", "--json", "--dir", directory)
        self.assertEqual(code, 1)
        result = json.loads(out)
        self.assertGreater(result["backward"], 1000)
        self.assertLessEqual(result["largest_backward_ns"], 1_000_000)
        self.assertIn("backward steps between leased reads", err.splitlines()[-1])
        self.assertIn("  received ", err)
        self.assertIn("  own ", err)

    def test_compare_finds_a_page_that_is_ahead(self):
        directory = self.region_of(stand_alone(self.region, 1_000_000))
        code, out, err = tool("compare", "--for", "0.3", "--json", "--dir", directory,
                              "--max-median-ns", "500000")
        self.assertEqual(code, 1)
        self.assert_one_line(err, "median")
        result = json.loads(out)
        self.assertAlmostEqual(result["median_signed_ns"], 1_000_000, delta=100_000)
        self.assertAlmostEqual(result["median_ns"], 1_000_000, delta=100_000)
        code, _, err = tool("compare", "--for", "0.3", "--dir", directory, "--max-p999-ns", "500000")
        self.assertEqual(code, 1)
        self.assert_one_line(err, "p99.9")

    def test_compare_takes_the_magnitude_of_a_page_that_is_behind(self):
        directory = self.region_of(stand_alone(self.region, -1_000_000))
        code, out, _ = tool("compare", "--for", "0.3", "--json", "--dir", directory)
        self.assertEqual(code, 0)
        result = json.loads(out)
        self.assertAlmostEqual(result["median_signed_ns"], -1_000_000, delta=100_000)
        self.assertAlmostEqual(result["median_ns"], 1_000_000, delta=100_000)

    def test_watch_finds_a_page_that_is_not_the_kernels(self):
        directory = self.region_of(stand_alone(self.region, 2_000_000_000))
        code, out, err = tool("watch", "--for", "0.2", "--dir", directory)
        self.assertEqual(code, 1)
        self.assert_one_line(err, "differed")


class SimulatedTest(unittest.TestCase, OneLine):
    def test_a_simulated_clock_is_not_held_against_the_kernels(self):
        directory = tempfile.mkdtemp(prefix="clockpage-tool.")
        self.addCleanup(shutil.rmtree, directory)
        self.addCleanup(end, start_producer(directory, "--source", "sim", "--period-us", "1000"))
        code, out, err = tool("compare", "--for", "1", "--dir", directory)
        self.assertEqual((code, out), (1, ""))
        self.assert_one_line(err, "sim", directory + "/region")
        code, _, err = tool("watch", "--for", "0.1", "--dir", directory)
        self.assertEqual((code, err), (0, ""))
        code, out, err = tool("verify", "--exchanges", "100000", "--json", "--dir", directory)
        self.assertEqual(code, 0, err)
        self.assertEqual(json.loads(out)["backward"], 0)


if __name__ == "__main__":
    unittest.main()
