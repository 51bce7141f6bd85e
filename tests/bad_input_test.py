# SPDX-License-Identifier: MIT
# timeout: 180
"""Bad input gets one clear line, the right exit code, and nothing overwritten.

Every message must be exactly one line on stderr that names the file or option and the reason.
Exit codes: 1 the input or the machine, 2 the command line. Nothing in the directory may have
changed afterwards, not a byte.
"""
import ctypes
import os
import random
import shutil
import signal
import stat
import struct
import subprocess
import tempfile
import time
import unittest

from programs import BIN, DAEMON, SANITIZED, TOOL

NOBODY = 65534
PAGE = 4096
REGION_SIZE = 32768

# Offsets of fields, from spec/clockpage.md: directory, data page, view, its slot.
DIRECTORY = {"magic": 0x00, "abi_major": 0x08, "size": 0x0C, "region_size": 0x18, "boot_id": 0x30,
             "counter_kind": 0x48, "counter_frequency_hz": 0x50, "data_page_count": 0x68,
             "data_page_size": 0x6C, "data_page": 0x70}
DATA = {"magic": 0x00, "abi_major": 0x08, "size": 0x0C, "counter_kind": 0x18, "delta_shift": 0x1B,
        "segment_count": 0x1C, "scale_frac_bits": 0x38, "index": 0x100, "segment": 0x400}
VIEW = {"magic": 0x00, "abi_major": 0x08, "size": 0x0C, "generation": 0x28, "slot_count": 0x30,
        "slot_size": 0x34, "index": 0x100, "slot": 0x200}
SLOT = {"counter_ratio": 0x10, "counter_frac_bits": 0x18, "format": 0x19}


def put(data, offset, form, value):
    """The bytes with one little-endian field replaced."""
    changed = bytearray(data)
    struct.pack_into("<" + form, changed, offset, value)
    return bytes(changed)


def garbage(size):
    return random.Random(20261120).randbytes(size)


def bad_regions(good):
    """(what, bytes): files that are no region of this version. `good` is one."""
    data0 = struct.unpack_from("<I", good, DIRECTORY["data_page"])[0]
    data3 = struct.unpack_from("<I", good, DIRECTORY["data_page"] + 3 * 8)[0]
    return [
        ("empty", b""),
        ("truncated in the directory", good[:100]),
        ("truncated to the directory", good[:PAGE]),
        ("truncated by one byte", good[:-1]),
        ("too long", good + bytes(PAGE)),
        ("zeroed", bytes(REGION_SIZE)),
        ("garbage", garbage(REGION_SIZE)),
        ("wrong magic", put(good, DIRECTORY["magic"], "8s", b"CLKPGDAT")),
        ("wrong version", put(good, DIRECTORY["abi_major"], "H", 2)),
        ("wrong size of the directory", put(good, DIRECTORY["size"], "I", 8)),
        ("wrong size of the region", put(good, DIRECTORY["region_size"], "Q", 1 << 40)),
        ("no data pages", put(good, DIRECTORY["data_page_count"], "I", 0)),
        ("too many data pages", put(good, DIRECTORY["data_page_count"], "I", 0xFFFFFFFF)),
        ("wrong data page size", put(good, DIRECTORY["data_page_size"], "I", 1)),
        ("data page outside", put(good, DIRECTORY["data_page"], "I", REGION_SIZE)),
        ("data page unaligned", put(good, DIRECTORY["data_page"], "I", data0 + 8)),
        ("another counter", put(good, DIRECTORY["counter_kind"], "B", 77)),
        ("no frequency", put(good, DIRECTORY["counter_frequency_hz"], "Q", 0)),
        ("first data page zeroed", good[:data0] + bytes(PAGE) + good[data0 + PAGE:]),
        ("last data page garbage", good[:data3] + garbage(PAGE) + good[data3 + PAGE:]),
        ("data page of another version", put(good, data0 + DATA["abi_major"], "H", 2)),
        ("data page of another counter", put(good, data0 + DATA["counter_kind"], "B", 77)),
        ("data page with a huge shift", put(good, data0 + DATA["delta_shift"], "B", 64)),
        ("data page with many segments", put(good, data0 + DATA["segment_count"], "I", 1 << 31)),
        ("data page with a huge scale", put(good, data0 + DATA["scale_frac_bits"], "B", 64)),
    ]


def good_view(region):
    """A view file that reads the region's unscaled page as it is."""
    view = bytearray(PAGE)
    struct.pack_into("<8sHHI", view, VIEW["magic"], b"CLKPGVEW", 1, 0, PAGE)
    generation = struct.unpack_from("<Q", region, 0x40)[0]
    struct.pack_into("<QII", view, VIEW["generation"], generation, 4, 128)
    struct.pack_into("<Q", view, VIEW["index"], 4)
    struct.pack_into("<Qq", view, VIEW["slot"], 4, 0)
    struct.pack_into("<Q", view, VIEW["slot"] + SLOT["counter_ratio"], 1)
    return bytes(view)


def bad_views(good):
    """(what, bytes): files that are no view of the region that `good` is one of."""
    slot = VIEW["slot"]
    return [
        ("empty", b""),
        ("truncated", good[:-1]),
        ("too long", good + b"x"),
        ("zeroed", bytes(PAGE)),
        ("garbage", garbage(PAGE)),
        ("wrong magic", put(good, VIEW["magic"], "8s", b"CLKPGDAT")),
        ("wrong version", put(good, VIEW["abi_major"], "H", 2)),
        ("wrong size", put(good, VIEW["size"], "I", 8)),
        ("of another region", put(good, VIEW["generation"], "Q", 1)),
        ("wrong number of slots", put(good, VIEW["slot_count"], "I", 1 << 31)),
        ("wrong size of slots", put(good, VIEW["slot_size"], "I", 0)),
        ("no ratio", put(good, slot + SLOT["counter_ratio"], "Q", 0)),
        ("huge fraction", put(good, slot + SLOT["counter_frac_bits"], "B", 200)),
        ("a format that is none", put(good, slot + SLOT["format"], "B", 9)),
    ]


class OpenOptions(ctypes.Structure):
    """struct clockpage_open_options."""
    _fields_ = [("size", ctypes.c_size_t), ("directory", ctypes.c_char_p), ("view", ctypes.c_char_p),
                ("flags", ctypes.c_uint32), ("format", ctypes.c_uint8), ("smear", ctypes.c_uint8),
                ("reserved0", ctypes.c_uint8 * 2)]


class OpenError(ctypes.Structure):
    """struct clockpage_open_error."""
    _fields_ = [("code", ctypes.c_int), ("saved_errno", ctypes.c_int), ("where", ctypes.c_char * 512)]


def run(*command, **options):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20,
                              stdin=subprocess.DEVNULL, **options)
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"{command} went on for 20 s") from error


def snapshot(directory):
    """Every file below but the producer's lock: kind, inode, bytes, when it was last written."""
    seen = {}
    for root, directories, files in os.walk(directory):
        for name in set(directories + files) - {"lock"}:
            path = os.path.join(root, name)
            status = os.lstat(path)
            content = None
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = file.read()
            seen[path] = (status.st_mode, status.st_ino, status.st_mtime_ns if content is not None else 0,
                          content)
    return seen


class Producer:
    """A clockpaged on a directory, ended cleanly by stop()."""

    def __init__(self, directory):
        self.process = subprocess.Popen([DAEMON, "--dir", directory], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True)
        for _ in range(200):
            if run(TOOL, "read", "--dir", directory).returncode == 0:
                return
            if self.process.poll() is not None:
                raise AssertionError(f"clockpaged ended: {self.process.stderr.read()}")
            time.sleep(0.05)
        self.stop()
        raise AssertionError("clockpaged published nothing in 10 s")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise AssertionError("clockpaged did not end within 5 s of SIGTERM") from None
        return self.process.returncode


class BadInputTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        for program in (TOOL, DAEMON):
            if not os.access(program, os.X_OK):
                raise AssertionError(f"{program} has not been built")
        cls.good = cls.region_of_a_stopped_producer()

    @classmethod
    def region_of_a_stopped_producer(cls):
        with tempfile.TemporaryDirectory() as directory:
            Producer(directory).stop()
            with open(os.path.join(directory, "region"), "rb") as file:
                return file.read()

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="clockpage-bad.")
        self.addCleanup(shutil.rmtree, self.dir)
        self.region = os.path.join(self.dir, "region")

    def write(self, data):
        with open(self.region, "wb") as file:
            file.write(data)

    def refused(self, *command, code, naming):
        """The command fails with `code` and one line that names something, changing nothing."""
        before = snapshot(self.dir)
        done = run(*command)
        self.assertEqual(done.returncode, code, done)
        self.assertRegex(done.stderr, r"\A[^\n]+\n\Z", done)
        self.assertIn(naming, done.stderr)
        # A reason beside the name.
        self.assertGreater(len(done.stderr), len(naming) + len("clockpaged: x"))
        self.assertEqual(done.stdout, "")
        after = snapshot(self.dir)
        self.assertEqual(sorted(before), sorted(after))
        for path, state in before.items():
            self.assertTrue(state == after[path], f"{path} was changed")
        return done.stderr

    # ---- the region, read --------------------------------------------------------------

    def test_the_region_the_cases_start_from_is_good(self):
        self.write(self.good)
        self.assertEqual(run(TOOL, "read", "--dir", self.dir).returncode, 0)

    def test_the_tool_refuses_a_bad_region(self):
        reasons = {}
        for what, data in bad_regions(self.good):
            with self.subTest(what):
                self.write(data)
                reasons[what] = self.refused(TOOL, "read", "--dir", self.dir, code=1, naming=self.region)
        # Not one text for everything.
        self.assertGreater(len(set(reasons.values())), 8, reasons)

    def test_every_command_of_the_tool_refuses_a_bad_region(self):
        self.write(garbage(REGION_SIZE))
        for command in ("read", "watch", "status", "compare", "verify"):
            with self.subTest(command):
                self.refused(TOOL, command, "--dir", self.dir, code=1, naming=self.region)

    def test_the_tool_names_a_missing_region(self):
        self.refused(TOOL, "read", "--dir", self.dir, code=1, naming=self.region)
        missing = os.path.join(self.dir, "missing")
        self.refused(TOOL, "read", "--dir", missing, code=1, naming=missing)

    def test_the_tool_names_a_region_that_is_a_directory(self):
        os.mkdir(self.region)
        self.refused(TOOL, "read", "--dir", self.dir, code=1, naming=self.region)

    def test_the_tool_does_not_hang_on_a_region_that_is_a_pipe(self):
        os.mkfifo(self.region)
        self.refused(TOOL, "read", "--dir", self.dir, code=1, naming=self.region)

    def test_the_tool_refuses_a_region_of_an_earlier_boot(self):
        self.write(put(self.good, DIRECTORY["boot_id"], "16s", bytes(range(16))))
        self.assertIn("boot", self.refused(TOOL, "read", "--dir", self.dir, code=1, naming=self.region))

    # ---- views, through the library: the tool does not open them yet -------------------

    def open_view(self, path):
        """clockpage_open's return value and the line it left."""
        library = ctypes.CDLL(os.path.join(os.path.dirname(BIN), "lib", "libclockpage.so"))
        options = OpenOptions(ctypes.sizeof(OpenOptions), self.dir.encode(), path.encode())
        error, region = OpenError(), ctypes.c_void_p()
        code = library.clockpage_open(ctypes.byref(options), ctypes.byref(region), ctypes.byref(error))
        library.clockpage_close(region)
        self.assertEqual(code, error.code)
        return code, error.where.decode()

    def test_the_library_refuses_a_bad_view(self):
        if SANITIZED:
            self.skipTest("python cannot load a library with sanitizers")
        self.write(self.good)
        path = os.path.join(self.dir, "guest.view")
        self.assertIn(path, self.open_view(path)[1])  # missing
        good = good_view(self.good)
        reasons = set()
        for what, data in [("good", good), *bad_views(good)]:
            with self.subTest(what), open(path, "wb") as file:
                file.write(data)
                file.flush()
                before = snapshot(self.dir)
                code, where = self.open_view(path)
                self.assertEqual(before, snapshot(self.dir))
                if what == "good":
                    self.assertEqual((code, where), (0, ""))
                    continue
                self.assertLess(code, 0)
                self.assertTrue(where.startswith(path + ": "), where)
                self.assertNotIn("\n", where)
                reasons.add(where)
        self.assertGreater(len(reasons), 6, reasons)

    # ---- the region, adopted -----------------------------------------------------------

    def test_the_daemon_refuses_a_bad_region_and_leaves_its_bytes(self):
        for what, data in bad_regions(self.good):
            with self.subTest(what):
                self.write(data)
                self.refused(DAEMON, "--dir", self.dir, code=1, naming=self.region)

    def test_the_daemon_refuses_a_newest_segment_that_cannot_be_this_counters(self):
        # The counter restarted, or the file is damaged.
        data0 = struct.unpack_from("<I", self.good, DIRECTORY["data_page"])[0]
        index = struct.unpack_from("<Q", self.good, data0 + DATA["index"])[0]
        newest = data0 + DATA["segment"] + index % 16 * 192
        for what, offset in (("start", 0x08), ("lease_end", 0x10), ("tai_ns", 0x18),
                             ("tai_period_frac", 0x28), ("raw_period_frac", 0x60), ("number", 0)):
            with self.subTest(what):
                self.write(put(self.good, newest + offset, "Q", (1 << 63) - 1))
                self.refused(DAEMON, "--dir", self.dir, code=1, naming=self.region)

    def test_the_daemon_refuses_a_region_that_is_a_directory(self):
        os.mkdir(self.region)
        self.refused(DAEMON, "--dir", self.dir, code=1, naming=self.region)

    def test_the_daemon_refuses_a_directory_that_is_a_file(self):
        self.write(b"not a directory")
        self.refused(DAEMON, "--dir", self.region, code=1, naming=self.region)

    def test_a_second_producer_is_refused_and_the_first_goes_on(self):
        first = Producer(self.dir)
        self.addCleanup(first.stop)
        done = run(DAEMON, "--dir", self.dir)
        self.assertEqual(done.returncode, 1, done)
        self.assertRegex(done.stderr, r"\A[^\n]+\n\Z")
        self.assertIn(self.dir, done.stderr)
        self.assertIsNone(first.process.poll())
        self.assertEqual(run(TOOL, "read", "--dir", self.dir).returncode, 0)
        self.assertEqual(first.stop(), 0)

    # ---- rights ------------------------------------------------------------------------

    def as_nobody(self, program, *options):
        """A command line that runs a copy of the program, which nobody may reach."""
        if os.geteuid() != 0:
            self.skipTest("not root: cannot become another user")
        place = tempfile.mkdtemp(prefix="clockpage-bin.")
        self.addCleanup(shutil.rmtree, place)
        os.chmod(place, 0o755)
        library_dir = os.path.join(os.path.dirname(BIN), "lib")
        for name in os.listdir(library_dir) if os.path.isdir(library_dir) else []:
            if ".so" in name:
                shutil.copy(os.path.join(library_dir, name), place)
        copy = shutil.copy(program, place)
        return ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups",
                "env", f"LD_LIBRARY_PATH={place}", copy, *options]

    def test_the_daemon_names_a_directory_that_it_may_not_write(self):
        os.chmod(self.dir, 0o755)
        self.refused(*self.as_nobody(DAEMON, "--dir", self.dir), code=1, naming=self.dir)

    def test_the_daemon_names_a_region_that_it_may_not_write(self):
        os.chmod(self.dir, 0o777)
        self.write(self.good)
        os.chmod(self.region, 0o444)
        self.refused(*self.as_nobody(DAEMON, "--dir", self.dir), code=1, naming=self.region)

    def test_the_tool_names_a_region_that_it_may_not_read(self):
        os.chmod(self.dir, 0o755)
        self.write(self.good)
        os.chmod(self.region, 0o600)
        self.refused(*self.as_nobody(TOOL, "read", "--dir", self.dir), code=1, naming=self.region)

    # ---- the machine -------------------------------------------------------------------

    def test_the_daemon_refuses_a_counter_that_is_not_invariant(self):
        qemu = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
        if qemu is None:
            self.skipTest("qemu-x86_64-static (package qemu-user-static) is not installed")
        if SANITIZED:
            self.skipTest("qemu-user cannot run a program with sanitizers")
        self.refused(qemu, "-cpu", "qemu64", DAEMON, "--dir", self.dir, code=1,
                     naming="invariant")

    # ---- the command line --------------------------------------------------------------

    def test_unknown_options_are_usage_errors(self):
        self.refused(DAEMON, "--bogus", code=2, naming="--bogus")
        self.refused(TOOL, "--bogus", "read", code=2, naming="--bogus")
        for command in ("read", "watch", "status", "compare", "verify"):
            with self.subTest(command):
                self.refused(TOOL, command, "--dir", self.dir, "--bogus", code=2, naming="--bogus")

    def test_an_unknown_command_is_a_usage_error(self):
        self.refused(TOOL, "bogus", code=2, naming="bogus")
        self.refused(TOOL, "view", "bogus", code=2, naming="view bogus")
        self.refused(TOOL, "--bogus", code=2, naming="--bogus")
        self.refused(DAEMON, "--sim-seed", "7", code=2, naming="--sim-seed")
        for option in ("--sim-step-s", "--sim-suspend-s"):
            self.refused(DAEMON, option, "7", code=2, naming=option)
            when = option[:-2] + "-at-s"
            self.refused(DAEMON, "--source", "sim", when, "7", code=2, naming=when)
        for option, value in (("--sim-start", "2016-12-31T23:59:50Z"), ("--sim-tai-offset-s", "36"),
                              ("--sim-leap", "1")):
            self.refused(DAEMON, option, value, code=2, naming=option)
        self.refused(DAEMON, "--source", "sim", "--sim-leap-at-s", "1", code=2, naming="--sim-leap-at-s")

    def test_a_bad_value_is_a_usage_error_that_names_its_option(self):
        simulated = [(DAEMON, "--source", "sim", f"--sim-{name}")
                     for name in ("change-interval-s", "steps-per-hour", "step-s", "suspend-s")]
        limits = [(TOOL, "compare", f"--max-{name}-ns") for name in ("median", "p999")]
        for value in ("abc", "-1e7", "", "nan", "inf"):
            for *command, option in ((TOOL, "watch", "--for"), (DAEMON, "--for"), *limits, *simulated):
                with self.subTest(option, value=value):
                    self.refused(*command, "--dir", self.dir, option, value, code=2, naming=option)

    def test_a_bad_smear_or_tai_offset_is_a_usage_error_that_names_its_option(self):
        for option, value in (("--smear", "cosine"), ("--smear", "linear:5:1000"), ("--smear", "linear:-5:10"),
                              ("--smear", ""), ("--host-smear", "quadratic"), ("--tai-offset-s", "9"),
                              ("--tai-offset-s", "37.5")):
            with self.subTest(option, value=value):
                self.refused(DAEMON, "--dir", self.dir, option, value, code=2, naming=option)
        self.refused(DAEMON, "--dir", self.dir, "--host-smear", "noon", "--smear", "utc-sls", code=2,
                     naming="--smear")

    def test_a_smeared_host_needs_a_table_of_leap_seconds(self):
        table = os.path.join(self.dir, "leaps")
        with open(table, "w", encoding="ascii") as file:
            file.write("#$ 3960835200\n2272060800 11\n")
        for name, naming in (("none", "--host-smear"), (table, table), (self.dir + "/missing", "missing")):
            with self.subTest(name):
                self.refused(DAEMON, "--dir", self.dir, "--host-smear", "noon", "--leap-table", name, code=1,
                             naming=naming)

    def test_a_bad_date_or_leap_is_a_usage_error_that_names_its_option(self):
        dates = ("", "abc", "2016-12-31", "2016-12-31T23:59:50", "2016-12-31 23:59:50Z",
                 "2016-12-31T23:59:60Z", "2016-12-31T24:00:00Z", "2016-12-31T23:60:00Z",
                 "2017-02-29T00:00:00Z", "2016-13-01T00:00:00Z", "2016-00-01T00:00:00Z",
                 "2016-12-00T00:00:00Z", "1969-12-31T23:59:59Z", "2116-01-01T00:00:00Z",
                 "16-12-31T23:59:50Z", "2016-12-31T23:59:50ZZ", "+016-12-31T23:59:50Z",
                 "2016-12-31T23:59:5 Z", "2016-12-31t23:59:50z")
        bad = [("--sim-start", value) for value in dates]
        bad += [("--sim-leap", value) for value in ("", "0", "2", "-2", "+", "one", "1.5")]
        bad += [("--sim-tai-offset-s", value) for value in ("", "-1", "256", "x", "36.5")]
        for option, value in bad:
            with self.subTest(option, value=value):
                self.refused(DAEMON, "--dir", self.dir, "--source", "sim", option, value, code=2,
                             naming=option)
        for value in ("-1", "nan", "", "1e7"):
            with self.subTest("--sim-leap-at-s", value=value):
                self.refused(DAEMON, "--dir", self.dir, "--source", "sim", "--sim-leap", "1",
                             "--sim-leap-at-s", value, code=2, naming="--sim-leap-at-s")

    def test_an_option_without_its_value_is_a_usage_error(self):
        self.refused(TOOL, "read", "--dir", code=2, naming="--dir")
        self.refused(DAEMON, "--dir", code=2, naming="--dir")


if __name__ == "__main__":
    unittest.main()
