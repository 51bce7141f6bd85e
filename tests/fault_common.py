# SPDX-License-Identifier: MIT
"""What the fault tests share: producers and readers as real processes, private mounts, the bytes
of a region."""
import json
import os
import signal
import struct
import subprocess
import time
import unittest
import shutil
import tempfile

from programs import BIN, DAEMON, SANITIZED, TOOL, own_files

READER = os.path.join(BIN, "fault_reader")
FAULTY_COUNTER = os.path.join(BIN, "faulty_counter")
NOBODY = 65534
REGION_SIZE = 32768

# From spec/clockpage.md: errors, the directory's fields, a data page's.
E_OUT_OF_RANGE, E_DISCONTINUITY, E_REVOKED = -2, -3, -5
SYNCHRONISED, FREE_RUNNING = 2, 3
REVOKED_COUNTER, REVOKED_REPLACED = 1, 2
BOOT_ID, GENERATION, DATA_PAGES = 0x30, 0x40, 0x70
INDEX, REVOKED = 0x100, 0x108


def run(*command, timeout=60, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL, **options)


def data_pages(region):
    """Offsets of a region's data pages."""
    return [struct.unpack_from("<I", region, DATA_PAGES + 8 * i)[0] for i in range(4)]


def revocations(region):
    return [struct.unpack_from("<Q", region, page + REVOKED)[0] for page in data_pages(region)]


def contents(path):
    with open(path, "rb") as file:
        return file.read()


class Reader:
    """A program that has the region mapped, and keeps it."""

    def __init__(self, directory, *wrapper):
        self.process = subprocess.Popen([*wrapper, READER, directory], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if not self.process.stdout.readline():
            raise AssertionError(f"no reader: {self.process.communicate()[1]}")

    def begin(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self):
        return json.loads(self.process.stdout.readline())

    def ask(self, line):
        self.begin(line)
        return self.answer()

    def stop(self):
        self.process.stdin.close()
        self.process.wait(timeout=20)
        self.process.stdout.close()
        self.process.stderr.close()


class FaultTest(unittest.TestCase):
    def setUp(self):
        # On tmpfs, as /run is: tests of a full one need it, and no disk is in the way.
        place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.dir = tempfile.mkdtemp(prefix="clockpage-fault.", dir=place)
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.region = os.path.join(self.dir, "region")

    # ---- producers ---------------------------------------------------------------------

    def launch(self, *options, wrapper=(), directory=None):
        """A producer; its stderr is read when it has ended."""
        process = subprocess.Popen([*wrapper, DAEMON, "--dir", directory or self.dir, *options],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end, process)
        return process

    def produce(self, *options, wrapper=(), directory=None):
        """The same, publishing."""
        process = self.launch(*options, wrapper=wrapper, directory=directory)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and process.poll() is None:
            status = self.status(directory)
            if status and status["producer_alive"] and not status["overdue"]:
                return process
            time.sleep(0.05)
        self.fail(f"no producer: {self.end(process, signal.SIGKILL)}")

    @staticmethod
    def end(process, with_signal=signal.SIGTERM):
        """(exit code, stderr)."""
        if process.stderr.closed:
            return process.returncode, ""
        if process.poll() is None:
            process.send_signal(with_signal)
        try:
            _, text = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            _, text = process.communicate()
            raise AssertionError(f"did not end within 20 s: {text}") from None
        return process.returncode, text

    def ends_by_itself(self, process, code, *words, within=20):
        """It ends with this code, and with one line that has these words."""
        try:
            _, text = process.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            self.fail(f"still runs after {within} s")
        self.assertEqual(process.returncode, code, text)
        self.one_line(text, *words)
        return text

    def one_line(self, text, *words):
        self.assertRegex(text, r"\A[^\n]+\n\Z")
        for word in words:
            self.assertIn(word, text)

    def status(self, directory=None):
        done = run(TOOL, "status", "--json", "--dir", directory or self.dir)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def reader(self, *wrapper):
        reader = Reader(self.dir, *wrapper)
        self.addCleanup(reader.stop)
        return reader

    def until(self, condition, what, seconds=20):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            time.sleep(0.02)
        return self.fail(f"not within {seconds} s: {what}")

    # ---- privileges --------------------------------------------------------------------

    def need_root(self):
        if os.geteuid() != 0:
            self.skipTest("not root: cannot mount, or become another user")

    def in_private_mounts(self, script):
        """A command prefix: runs a shell script in a mount namespace of its own, then the rest."""
        self.need_root()
        return ["unshare", "-m", "--propagation", "unchanged", "sh", "-ec", script + '\nexec "$@"',
                "sh"]

    def reachable(self, *programs):
        """Copies of the programs, and of the library, that every user may run: a folder."""
        place = tempfile.mkdtemp(prefix="clockpage-bin.")
        self.addCleanup(shutil.rmtree, place)
        os.chmod(place, 0o755)
        library = os.path.join(os.path.dirname(BIN), "lib")
        for name in os.listdir(library) if os.path.isdir(library) else []:
            if ".so" in name:
                shutil.copy(os.path.join(library, name), place)
        for program in programs:
            shutil.copy(program, place)
        return place

    def as_nobody(self, place):
        self.need_root()
        return ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "env",
                f"LD_LIBRARY_PATH={place}"]
