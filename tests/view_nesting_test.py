# SPDX-License-Identifier: MIT
# timeout: 180
"""Views composed from views: in one daemon, and from a guest's daemon that publishes nothing. The reader is the
real library.
"""
import ctypes
import json
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
import time
import unittest

from programs import BIN, DAEMON, end, tool

LIBRARY = os.path.join(os.path.dirname(BIN), "lib", "libclockpage.so.1")
E_DISRUPTED, E_VIEW = -9, -23
MONOTONIC = 1
OPEN_GUEST, OPEN_VIEW = 0x1, 0x4
ONE = 1 << 48
INDEX, SLOTS = 0x100, 0x200


class OpenOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("directory", ctypes.c_char_p), ("view", ctypes.c_char_p),
                ("flags", ctypes.c_uint32), ("format", ctypes.c_uint8), ("smear", ctypes.c_uint8),
                ("reserved", ctypes.c_uint8 * 2), ("parents", ctypes.c_char_p * 3)]


class Reader:
    """What has a region, a view and its ancestors mapped."""

    def __init__(self, directory, view, *parents):
        self.library = ctypes.CDLL(LIBRARY)
        self.region = ctypes.c_void_p()
        options = OpenOptions(ctypes.sizeof(OpenOptions), directory.encode(), view.encode(),
                              OPEN_GUEST | OPEN_VIEW)
        for i, parent in enumerate(parents):
            options.parents[i] = parent.encode()
        code = self.library.clockpage_open(ctypes.byref(options), ctypes.byref(self.region), None)
        if code:
            raise AssertionError(f"{view}: cannot be opened: {code}")

    def monotonic(self):
        """(error, ns) of now."""
        ns = ctypes.c_int64()
        code = self.library.clockpage_read_ns(self.region, MONOTONIC, ctypes.byref(ns))
        return code, ns.value

    def close(self):
        self.library.clockpage_close(self.region)


class ViewFile:
    """A view file as another process may write it: the newest slot's fields, and a new one."""

    def __init__(self, path):
        with open(path, "r+b") as file:
            self.bytes = mmap.mmap(file.fileno(), 4096)

    def newest(self):
        index, = struct.unpack_from("<Q", self.bytes, INDEX)
        number, offset, ratio, bits, form, smear, mono, boot, marker, parent = struct.unpack_from(
            "<QqQBBB5xqqQQ", self.bytes, SLOTS + index % 4 * 128)
        assert number == index
        return {"number": number, "counter_offset": offset, "counter_ratio": ratio, "bits": bits, "format": form,
                "smear": smear, "monotonic": mono, "boottime": boot, "marker": marker, "parent": parent}

    def write(self, **changes):
        slot = {**self.newest(), **changes}
        number = slot["number"] + 1
        struct.pack_into("<QqQBBB5xqqQQ", self.bytes, SLOTS + number % 4 * 128, number, slot["counter_offset"],
                         slot["counter_ratio"], slot["bits"], slot["format"], slot["smear"], slot["monotonic"],
                         slot["boottime"], slot["marker"], slot["parent"])
        struct.pack_into("<Q", self.bytes, INDEX, number)


class ViewNestingTest(unittest.TestCase):
    def setUp(self):
        place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.dir = tempfile.mkdtemp(prefix="clockpage-nesting.", dir=place)
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def start(self, directory, *options):
        process = subprocess.Popen([DAEMON, "--dir", directory, "--quiet", "--realtime-priority", "none", *options])
        self.addCleanup(end, process)
        self.until(lambda: process.poll() is not None or os.path.exists(os.path.join(directory, "control")))
        self.assertIsNone(process.poll())
        return process

    @staticmethod
    def until(true, limit_s=20):
        deadline = time.monotonic() + limit_s
        while not true():
            if time.monotonic() > deadline:
                raise AssertionError("did not come true")
            time.sleep(0.005)

    def view(self, *arguments, directory=None):
        code, out, err = tool("view", *arguments, "--json", "--dir", directory or self.dir)
        self.assertEqual((code, err), (0, ""))
        return json.loads(out).get("view")

    def refused(self, *arguments, directory=None):
        code, _, err = tool("view", *arguments, "--dir", directory or self.dir)
        self.assertEqual((code, err.count("\n")), (1, 1), err)
        return err

    def path(self, name, directory=None):
        return os.path.join(directory or self.dir, "views", name)

    # ---- in one daemon -----------------------------------------------------------------

    def test_a_view_is_composed_from_its_parent_as_kvm_does_and_anew_when_that_changes(self):
        self.start(self.dir, "--source", "sim")
        l1 = self.view("add", "l1", "--tsc-offset", "-1000001", "--tsc-ratio", str(ONE // 2 + 3), "--frac-bits", "48",
                       "--monotonic", "5")
        self.view("add", "l2", "--parent", "l1", "--tsc-offset", "77", "--tsc-ratio", str(3 * ONE // 2),
                  "--frac-bits", "48", "--monotonic", "2")
        l3 = self.view("add", "l3", "--parent", "l2", "--tsc-offset", "-5", "--boottime", "1")
        l2 = self.view("show", "l2")
        self.assertEqual(l2["counter_ratio"], (ONE // 2 + 3) * (3 * ONE // 2) >> 48)
        self.assertEqual(l2["counter_offset"], -(1000001 * (3 * ONE // 2) >> 48) + 77)
        self.assertEqual((l2["monotonic_offset_ns"], l2["boottime_offset_ns"]), (7 * 10**9, 0))
        self.assertEqual(l2["parent_generation"], l1["number"])
        self.assertEqual(l2["source"]["kind"], "parent")
        self.assertEqual(l2["source"]["parent"], "l1")
        self.assertEqual(l3["counter_offset"], l2["counter_offset"] - 5)
        self.assertEqual((l3["monotonic_offset_ns"], l3["boottime_offset_ns"]), (7 * 10**9, 10**9))
        self.assertEqual(l3["parent_generation"], l2["number"])

        # An offset of a clock alone is no disruption; one of the counter is. Both at once.
        self.view("set", "l1", "--monotonic", "6")
        for name, before in (("l2", l2), ("l3", l3)):
            now = self.view("show", name)
            self.assertEqual(now["monotonic_offset_ns"], 8 * 10**9)
            self.assertEqual((now["number"], now["disruption_marker"]),
                             (before["number"] + 1, before["disruption_marker"]))
        self.view("set", "l1", "--tsc-offset", "0")
        for name, before in (("l2", l2), ("l3", l3)):
            now = self.view("show", name)
            self.assertEqual(now["disruption_marker"], before["disruption_marker"] + 1)
        self.assertEqual(self.view("show", "l2")["counter_offset"], 77)
        # What is set of a nested view is its own, relative to the parent's.
        self.assertEqual(self.view("set", "l2", "--tsc-offset", "78")["counter_offset"], 78)
        self.assertEqual(self.view("show", "l3")["counter_offset"], 73)

    def test_what_cannot_be_nested_is_refused_by_name(self):
        self.start(self.dir, "--source", "sim")
        self.assertIn("there is no view nobody", self.refused("add", "child", "--parent", "nobody"))
        self.view("add", "v0")
        for depth in range(1, 4):
            self.view("add", f"v{depth}", "--parent", f"v{depth - 1}")
        self.assertIn("more than 3 ancestors", self.refused("add", "v4", "--parent", "v3"))
        self.assertFalse(os.path.exists(self.path("v4")))
        self.assertIn("v0 would be its own ancestor", self.refused("set", "v0", "--parent", "v2"))
        self.assertIn("view v1 was composed from it", self.refused("remove", "v0"))
        self.view("add", "svm", "--tsc-ratio", str(1 << 31), "--frac-bits", "32")
        self.assertIn("counter_frac_bits is 48, the parent's 32",
                      self.refused("add", "x", "--parent", "svm", "--tsc-ratio", str(ONE // 3), "--frac-bits", "48"))
        for depth in reversed(range(4)):
            self.view("remove", f"v{depth}")

    def test_readers_know_at_once_that_an_ancestor_changed_and_read_again_when_it_is_composed(self):
        self.start(self.dir, "--source", "sim")
        for child, parent in (("l1", None), ("l2", "l1"), ("l3", "l2")):
            self.view("add", child, *(("--parent", parent) if parent else ()), "--monotonic", "1")
        reader = Reader(self.dir, self.path("l3"), self.path("l2"), self.path("l1"))
        self.addCleanup(reader.close)
        error, before = reader.monotonic()
        self.assertEqual(error, 0)
        # Somebody else writes the file, as a VMM that owns it may: nobody is told.
        l1 = ViewFile(self.path("l1"))
        l1.write(counter_offset=1, marker=l1.newest()["marker"] + 1)
        self.assertEqual(reader.monotonic()[0], E_DISRUPTED)  # the very next
        marker = self.view("show", "l3")["disruption_marker"]
        self.until(lambda: reader.monotonic()[0] == 0)  # polled once a second
        self.assertGreater(reader.monotonic()[1], before)
        self.assertEqual(self.view("show", "l3")["counter_offset"], 1)
        self.assertEqual(self.view("show", "l3")["disruption_marker"], marker + 1)
        # The same numbers on another host are another relation all the same.
        l1.write(marker=l1.newest()["marker"] + 1)
        self.assertEqual(reader.monotonic()[0], E_DISRUPTED)
        self.until(lambda: reader.monotonic()[0] == 0)
        self.assertEqual(self.view("show", "l3")["disruption_marker"], marker + 2)

    def test_a_withdrawn_parent_withdraws_what_is_below_it_until_it_is_back(self):
        self.start(self.dir, "--source", "sim")
        self.view("add", "l1")
        self.view("add", "l2", "--parent", "l1")
        self.view("add", "l3", "--parent", "l2")
        reader = Reader(self.dir, self.path("l3"), self.path("l2"), self.path("l1"))
        self.addCleanup(reader.close)
        l1 = ViewFile(self.path("l1"))
        good = l1.newest()
        l1.write(counter_ratio=0, bits=0, marker=good["marker"] + 1)
        self.assertIn(reader.monotonic()[0], (E_DISRUPTED, E_VIEW))
        self.until(lambda: self.view("show", "l3")["state"] == "withdrawn")
        self.assertIn("withdrawn", self.view("show", "l3")["error"])
        self.assertEqual(reader.monotonic()[0], E_VIEW)
        l1.write(counter_ratio=1, marker=good["marker"] + 2)
        self.until(lambda: reader.monotonic()[0] == 0)
        self.assertEqual(self.view("show", "l3")["state"], "ok")

    def test_what_a_nested_view_is_made_from_survives_the_daemon(self):
        daemon = self.start(self.dir, "--source", "sim")
        self.view("add", "l1", "--tsc-offset", "10")
        before = self.view("add", "l2", "--parent", "l1", "--tsc-offset", "100")
        end(daemon)
        ViewFile(self.path("l1")).write(counter_offset=11)  # meanwhile
        self.start(self.dir, "--source", "sim")
        self.until(lambda: self.view("show", "l2")["counter_offset"] == 111)
        after = self.view("show", "l2")
        self.assertEqual(after["disruption_marker"], before["disruption_marker"] + 1)
        self.assertEqual(after["view_id"], before["view_id"])

    # ---- a guest that publishes nothing ------------------------------------------------

    def guest(self):
        """L1's directory: the host's region handed through, and L1's own view of it."""
        directory = os.path.join(self.dir, "l1-machine")
        os.mkdir(directory)
        os.symlink(os.path.join(self.dir, "region"), os.path.join(directory, "region"))
        return directory

    def test_a_guest_hands_its_hosts_region_through_and_serves_views_of_it(self):
        self.start(self.dir, "--source", "sim")
        self.view("add", "l1", "--monotonic", "10", "--tsc-offset", "1")
        directory = self.guest()
        self.start(directory, "--pass-through", "--parent-view", self.path("l1"))
        added = self.view("add", "l2", "--monotonic", "100", "--tsc-offset", "2", directory=directory)
        self.assertEqual((added["counter_offset"], added["monotonic_offset_ns"]), (3, 110 * 10**9))
        self.assertEqual(added["source"]["parent_view"], self.path("l1"))
        self.view("add", "l3", "--parent", "l2", "--boottime", "1", directory=directory)
        l2 = Reader(directory, self.path("l2", directory), self.path("l1"))
        self.addCleanup(l2.close)
        l3 = Reader(directory, self.path("l3", directory), self.path("l2", directory), self.path("l1"))
        self.addCleanup(l3.close)
        self.assertEqual((l2.monotonic()[0], l3.monotonic()[0]), (0, 0))
        # L1 is migrated: its host gives it another view.
        markers = [self.view("show", name, directory=directory)["disruption_marker"] for name in ("l2", "l3")]
        times = []
        for offset in range(5, 10):
            self.view("set", "l1", "--tsc-offset", str(offset))
            begin = time.monotonic()
            self.until(lambda: l3.monotonic()[0] == 0 and l2.monotonic()[0] == 0, 5)
            times.append(time.monotonic() - begin)
            self.assertEqual(self.view("show", "l3", directory=directory)["counter_offset"], offset + 2)
        print(f"composed anew within {max(times) * 1e3:.0f} ms of being told", flush=True)
        now = [self.view("show", name, directory=directory)["disruption_marker"] for name in ("l2", "l3")]
        self.assertEqual(now, [marker + 5 for marker in markers])

    def test_a_guests_readers_do_not_need_its_daemon_to_know(self):
        self.start(self.dir, "--source", "sim")
        self.view("add", "l1")
        directory = self.guest()
        daemon = self.start(directory, "--pass-through", "--parent-view", self.path("l1"))
        self.view("add", "l2", directory=directory)
        reader = Reader(directory, self.path("l2", directory), self.path("l1"))
        self.addCleanup(reader.close)
        self.assertEqual(reader.monotonic()[0], 0)
        end(daemon)
        self.view("set", "l1", "--tsc-offset", "1")
        for _ in range(100):
            self.assertEqual(reader.monotonic()[0], E_DISRUPTED)
        self.start(directory, "--pass-through", "--parent-view", self.path("l1"))
        self.until(lambda: reader.monotonic()[0] == 0)

    def test_passing_through_needs_a_view_of_its_own_and_publishes_nothing(self):
        directory = self.guest()
        for options, reason in ((("--pass-through",), "--parent-view"),
                                (("--parent-view", "x"), "--pass-through"),
                                (("--pass-through", "--parent-view", "x", "--sealed"), "--sealed")):
            done = subprocess.run([DAEMON, "--dir", directory, *options], capture_output=True, text=True, timeout=30)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)
            self.assertIn(reason, done.stderr)


if __name__ == "__main__":
    unittest.main()
