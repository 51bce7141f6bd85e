# SPDX-License-Identifier: MIT
# timeout: 120
"""A daemon that follows another one's page (--source page:DIR), both real: at the same counter value
the second page is where the first is, whatever happens to the first.
"""
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

from programs import DAEMON, end

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "spec"))
from reader import CLOCKS, ClockpageError, DataPage  # noqa: E402  pylint: disable=wrong-import-position

INDEX, SEGMENTS, GENERATION, SOURCE, STEPS = 0x100, 0x400, 0x40, 0x200, 0x248
UNKNOWN, SOURCE_LOST, SIMULATED = 0, 3, 6  # a status, two reasons


class PageSourceTest(unittest.TestCase):
    def setUp(self):
        place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.dir = tempfile.mkdtemp(prefix="clockpage-page.", dir=place)
        self.addCleanup(shutil.rmtree, self.dir)
        self.daemons = []
        self.addCleanup(lambda: [end(daemon) for daemon in self.daemons])

    def path(self, name):
        return os.path.join(self.dir, name)

    def start(self, name, *options):
        """A daemon on a region of this name; returns it when it publishes."""
        with open(self.path(name + ".log"), "a", encoding="utf-8") as log:
            daemon = subprocess.Popen([DAEMON, "--dir", self.path(name), "--realtime-priority", "none", *options],
                                      stderr=log)
        self.daemons.append(daemon)
        self.until(lambda: "publishes" in self.log(name) and self.publishes(name, daemon.pid) or daemon.poll())
        self.assertIsNone(daemon.poll(), self.log(name))
        return daemon

    def publishes(self, name, pid):
        """Whether this process does, and has chosen a segment itself."""
        page = self.page_bytes(name)
        return struct.unpack_from("<Q", page, SOURCE + 0x10)[0] == pid and self.newest(name).lease_end

    def follow(self, name, upstream, *options):
        return self.start(name, "--source", f"page:{self.path(upstream)}", *options)

    def log(self, name):
        with open(self.path(name + ".log"), encoding="utf-8") as file:
            return file.read()

    def until(self, true, limit_s=20):
        deadline = time.monotonic() + limit_s
        while not true():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def page_bytes(self, name):
        """The unscaled, unsmeared page, in one piece: its index is the same before and after."""
        with open(self.path(name) + "/region", "rb") as file:
            while True:
                file.seek(0x1000)
                before = file.read(0x1000)
                file.seek(0x1000 + INDEX)
                if file.read(8) == before[INDEX:INDEX + 8]:
                    return before

    def newest(self, name):
        page = DataPage(self.page_bytes(name))
        return page.slot(page.index)

    def status(self, name):
        newest = self.newest(name)
        return newest.status, newest.reason

    def both(self, first, second):
        """Readings of the two pages' clocks at one counter value that both have leased, as (clock, reading,
        reading)."""
        while True:
            pages = [DataPage(self.page_bytes(name)) for name in (first, second)]
            # The latest that is leased on both.
            counter = min(page.slot(page.index).lease_end for page in pages) - 1
            try:
                return [(clock, *(page.read(number, counter) for page in pages))
                        for clock, number in CLOCKS.items()
                        if clock != "TAI" or pages[0].slot(pages[0].index).flags & 1]
            except ClockpageError:
                time.sleep(0.001)  # one of them was stalled for longer than the other's history

    def assert_together(self, first, second, within_ns, samples=100):
        """The median, which no stall of the machine moves: a stalled producer bridges, and is off meanwhile."""
        apart = {}
        for _ in range(samples):
            for clock, one, other in self.both(first, second):
                apart.setdefault(clock, []).append(abs(one["ns"] - other["ns"]))
                if other["latest_ns"] < 2**63 - 1:  # intervals about one and the same clock
                    self.assertLessEqual(max(one["earliest_ns"], other["earliest_ns"]),
                                         min(one["latest_ns"], other["latest_ns"]), clock)
            time.sleep(0.003)
        self.assertGreaterEqual(len(apart), 4)
        for clock, values in apart.items():
            values.sort()
            print(f"{clock}: median {values[len(values) // 2]} ns, 90 % {values[len(values) * 9 // 10]} ns",
                  file=sys.stderr)
            self.assertLessEqual(values[len(values) // 2], within_ns, clock)

    def test_is_within_nanoseconds_of_a_page_that_follows_the_kernel(self):
        self.start("up", "--source", "auto")
        self.follow("down", "up")
        self.assert_together("up", "down", 10)
        self.assertEqual(self.status("down"), self.status("up"))
        generation = struct.unpack_from("<Q", self.page_bytes("up"), GENERATION)[0]
        self.assertEqual(self.page_bytes("down")[SOURCE:SOURCE + 15].decode(),
                         f"page:1:{generation & 0xffffffff:08x}")

    def test_follows_through_a_chain_and_no_ring(self):
        up = self.start("a", "--source", "auto")
        self.follow("b", "a")
        self.follow("c", "b")
        self.assert_together("a", "c", 10)
        self.assertTrue(self.page_bytes("c")[SOURCE:].startswith(b"page:2:"))
        end(up)
        for upstream in ("c", "b", "a"):
            refused = subprocess.run([DAEMON, "--dir", self.path("a"), "--source", f"page:{self.path(upstream)}",
                                      "--for", "1"], capture_output=True, text=True, timeout=30)
            self.assertEqual(refused.returncode, 1)
            self.assertIn("the page that is followed comes of this very region", refused.stderr)

    def test_a_step_passes_through_as_a_step(self):
        self.start("up", "--source", "sim", "--sim-max-frequency-ppb", "0", "--sim-step-s", "-100", "--sim-step-at-s",
                   "3")
        self.follow("down", "up")
        epoch = self.newest("down").epoch
        self.until(lambda: struct.unpack_from("<Q", self.page_bytes("up"), STEPS)[0] == 1)
        self.until(lambda: struct.unpack_from("<Q", self.page_bytes("down"), STEPS)[0] == 1)
        self.assertEqual(self.newest("down").epoch, epoch + 1)
        self.assert_together("up", "down", 10, samples=30)
        steps = [struct.unpack_from("<QQQ", self.page_bytes(name), STEPS) for name in ("up", "down")]
        self.assertEqual(*steps)  # of REALTIME, of TAI with it where that is known, none of MONOTONIC

    def test_is_never_better_than_its_upstream_dead_and_alive(self):
        up = self.start("up", "--source", "sim", "--sim-max-frequency-ppb", "0")
        self.follow("down", "up")
        self.until(lambda: self.status("down") == (UNKNOWN, SIMULATED))
        up.kill()
        up.wait()
        self.until(lambda: self.status("down") == (UNKNOWN, SOURCE_LOST), 5)
        bound = self.newest("down").local_bound_ns
        time.sleep(0.5)
        self.assertGreater(self.newest("down").local_bound_ns, bound)
        self.start("up", "--source", "sim", "--sim-max-frequency-ppb", "0")
        self.until(lambda: self.status("down") == (UNKNOWN, SIMULATED), 5)
        self.assert_together("up", "down", 10, samples=30)

    def test_goes_on_with_the_region_that_takes_the_place_of_one_that_was_removed(self):
        up = self.start("up", "--source", "auto")
        self.follow("down", "up")
        os.remove(self.path("up") + "/region")
        self.assertEqual(up.wait(timeout=20), 1)
        self.until(lambda: self.status("down")[1] == SOURCE_LOST)
        os.remove(self.path("up.log"))
        self.start("up", "--source", "auto")
        self.until(lambda: self.status("down") == self.status("up"))
        self.assert_together("up", "down", 10, samples=30)

    def test_a_frozen_upstream_is_a_lost_one_until_it_goes_on(self):
        up = self.start("up", "--source", "sim", "--sim-max-frequency-ppb", "0")
        self.follow("down", "up")
        self.until(lambda: self.status("down") == (UNKNOWN, SIMULATED))
        up.send_signal(signal.SIGSTOP)
        try:
            self.until(lambda: self.status("down") == (UNKNOWN, SOURCE_LOST), 5)
        finally:
            up.send_signal(signal.SIGCONT)
        self.until(lambda: self.status("down") == (UNKNOWN, SIMULATED), 5)

    def test_bad_places_are_refused_in_one_line(self):
        for place, reason in (("page:", "needs a directory"),
                              (f"page:{self.dir},veiw=x", "'veiw=x': after the directory may come"),
                              (f"page:{self.dir},parent=x", "'parent=x': after the directory may come"),
                              ("pages:x", "must be auto, vvar, bracket, sim or page:DIR")):
            refused = subprocess.run([DAEMON, "--dir", self.path("x"), "--source", place], capture_output=True,
                                     text=True, timeout=30)
            self.assertEqual((refused.returncode, refused.stderr.count("\n")), (2, 1), refused.stderr)
            self.assertIn(reason, refused.stderr)
        refused = subprocess.run([DAEMON, "--dir", self.path("x"), "--source", "page:/nonexistent"],
                                 capture_output=True, text=True, timeout=30)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("/nonexistent/region: ", refused.stderr)
        self.assertFalse(os.path.exists(self.path("x") + "/region"))


if __name__ == "__main__":
    unittest.main()
