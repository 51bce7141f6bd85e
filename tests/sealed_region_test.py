# SPDX-License-Identifier: MIT
# timeout: 180
"""Truncation: with sealed memory nobody can; with a plain file every program says so in one line.

Whole programs, killed and restarted under running readers, with hostile peers at the socket and hands on
everything that the owner of the directory can reach. CLOCKPAGE_SOAK=1: more kills. CLOCKPAGE_SEED: as seeded.
"""
import ctypes
import fcntl
import json
import mmap
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from programs import DAEMON, SEED, SOAK, STEERED, TOOL, own_files

SIZE = 32768
F_ADD_SEALS, F_GET_SEALS = 1033, 1034  # Python 3.9's fcntl does not name all of them
SEAL_SEAL, SEAL_SHRINK, SEAL_GROW = 1, 2, 4


def tool(*arguments, **options):
    return subprocess.run([TOOL, *arguments], capture_output=True, text=True, timeout=60, **options)


def daemon(*arguments):
    return subprocess.run([DAEMON, *arguments], capture_output=True, text=True, timeout=20)


def eventually(condition, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("did not come true")


def take_region(path):
    """A descriptor of the region behind the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
        peer.settimeout(10)
        peer.connect(path)
        words, descriptors, _, _ = socket.recv_fds(peer, 64, 4)
    assert words == b"CLKPGFDS" + (1).to_bytes(4, "little") + SIZE.to_bytes(4, "little"), words
    assert len(descriptors) == 1
    return descriptors[0]


def sealed_memory(size=SIZE, seals=SEAL_SHRINK | SEAL_GROW | SEAL_SEAL):
    memory = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.fchmod(memory, 0o444)
    os.ftruncate(memory, size)
    fcntl.fcntl(memory, F_ADD_SEALS, seals)
    return memory


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def state_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


class SealedRegionTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="clockpage-sealed.")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.region = os.path.join(self.dir, "region")

    def start(self, *command, **options):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   **options)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.terminate()
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        except ValueError:
            pass  # communicated already

    @staticmethod
    def kill_orphan(pid):
        """A writer that should be gone and is not, so that a failed test leaves none behind."""
        try:
            with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
                if file.read().split("\0")[0] == DAEMON:
                    os.kill(pid, signal.SIGKILL)
        except OSError:
            pass

    def keeper(self, *options):
        """A clockpaged --sealed that hands its region over."""
        process = self.start(DAEMON, "--dir", self.dir, "--sealed", *options)
        eventually(lambda: process.poll() is not None or
                   tool("read", "--dir", self.dir).returncode == 0)
        self.assertIsNone(process.poll())
        return process

    def status(self):
        done = tool("status", "--dir", self.dir, "--json")
        self.assertEqual(done.returncode, 0, done)
        return json.loads(done.stdout)

    def one_line(self, text, *parts):
        self.assertRegex(text, r"\A[^\n]+\n\Z")
        self.assertEqual([part for part in parts if part not in text], [], text)

    def result_of(self, process):
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, err)
        return json.loads(out)

    # ---- sealed memory -----------------------------------------------------------------

    def test_nobody_can_truncate_sealed_memory_under_its_readers(self):
        keeper = self.keeper()
        self.assertTrue(self.status()["sealed"])
        check = self.start(TOOL, "verify", "--dir", self.dir, "--json", "--for", "2")
        mine = take_region(self.region)
        self.addCleanup(os.close, mine)
        with self.assertRaises(OSError):
            os.ftruncate(mine, 0)  # read-only
        # The owner opens it for writing, by every way that leads to it.
        ways = [f"/proc/self/fd/{mine}"]
        for pid in [keeper.pid, *children_of(keeper.pid)]:
            links = f"/proc/{pid}/fd"
            found = [name for name in os.listdir(links)
                     if os.readlink(f"{links}/{name}").startswith("/memfd:clockpage")]
            self.assertTrue(found)
            ways += [f"{links}/{name}" for name in found]
        for way in ways:
            os.chmod(way, 0o644)
            writable = os.open(way, os.O_RDWR)
            for size in (0, 4096, SIZE - 1, SIZE + 1, 1 << 20):
                with self.assertRaises(PermissionError):
                    os.ftruncate(writable, size)
            with self.assertRaises(PermissionError):
                os.open(way, os.O_RDWR | os.O_TRUNC)
            with self.assertRaises(PermissionError):
                fcntl.fcntl(writable, F_ADD_SEALS, 8)
            os.close(writable)
        result = self.result_of(check)
        self.assertEqual((result["backward"], result["leased"] > 0), (0, True))

    def test_kills_of_the_writer_cost_no_backward_step_and_no_new_memory(self):
        print(f"seed {SEED}: CLOCKPAGE_SEED={SEED} python3 {__file__} "
              "SealedRegionTest.test_kills_of_the_writer_cost_no_backward_step_and_no_new_memory")
        chance = random.Random(SEED)
        keeper = self.keeper("--quiet", *STEERED)
        before = self.status()
        seconds = 60 if SOAK else 5
        check = self.start(TOOL, "verify", "--dir", self.dir, "--json", "--for", str(seconds))
        kills = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end - 1:
            # Some die before they have adopted anything, some in the middle, most at work.
            time.sleep(chance.uniform(0, 0.3))
            (writer,) = eventually(lambda: children_of(keeper.pid))
            os.kill(writer, signal.SIGKILL)
            kills += 1
            eventually(lambda: writer not in children_of(keeper.pid))
            if kills % 3 != 0:
                eventually(lambda: not self.status()["overdue"])
        result = self.result_of(check)
        after = eventually(lambda: (s := self.status())["producer_alive"] and s)
        print(f"{kills} kills, {after['adoptions']} adoptions; {result['exchanges']} exchanges: backward "
              f"{result['backward']}, overdue {result['overdue']} of {result['reads']}, late "
              f"{result['late']}")
        self.assertEqual(result["backward"], 0)
        self.assertGreater(min(result["overdue"], result["leased"]), 0)
        self.assertEqual(after["generation"], before["generation"])
        self.assertLessEqual(after["adoptions"], before["adoptions"] + kills)
        self.assertGreater(after["adoptions"], before["adoptions"])
        self.assertGreaterEqual(kills, 3)

    def test_readers_survive_whatever_happens_to_keeper_socket_and_directory(self):
        keeper = self.keeper("--quiet", *STEERED)
        first = children_of(keeper.pid)[0]
        os.kill(first, signal.SIGKILL)  # its successor is forked from a keeper that listens already
        (writer,) = eventually(lambda: set(children_of(keeper.pid)) - {first})
        self.addCleanup(self.kill_orphan, writer)
        check = self.start(TOOL, "verify", "--dir", self.dir, "--json", "--for", "3")
        memory = take_region(self.region)
        self.addCleanup(os.close, memory)
        held = mmap.mmap(memory, SIZE, mmap.MAP_SHARED, mmap.PROT_READ)
        eventually(lambda: children_of(check.pid))
        time.sleep(0.5)
        os.kill(writer, signal.SIGSTOP)
        keeper.kill()
        keeper.wait()
        # Nobody is there to wait for, though the writer has not ended yet.
        done = tool("read", "--dir", self.dir)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.one_line(done.stderr, self.region, "refused")
        # The writer does not go on as a second clock.
        os.kill(writer, signal.SIGCONT)
        eventually(lambda: not os.path.exists(f"/proc/{writer}"))
        shutil.rmtree(self.dir)
        result = self.result_of(check)
        self.assertEqual(result["backward"], 0)
        self.assertGreater(result["overdue"], 0)
        self.assertEqual(held[:8], b"CLKPGDIR")

    def test_a_new_keeper_takes_a_dead_ones_name(self):
        first = self.keeper("--quiet")
        before = self.status()["generation"]
        first.kill()
        first.wait()
        eventually(lambda: not self.lock_is_held("lock"))
        self.keeper("--quiet")
        self.assertNotEqual(self.status()["generation"], before)

    def lock_is_held(self, name):
        with open(os.path.join(self.dir, name), "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return False
            except BlockingIOError:
                return True

    # ---- peers -------------------------------------------------------------------------

    def test_hostile_peers_cost_the_others_nothing(self):
        keeper = self.keeper("--quiet")
        files = f"/proc/{keeper.pid}/fd"
        before = len(os.listdir(files))
        peers = []
        for i in range(600):
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            peers.append(peer)
            peer.connect(self.region)  # and never reads
            if i % 3 == 1:
                try:
                    peer.send(b"x" * 1000)
                except OSError:
                    pass  # answered and closed already
            elif i % 3 == 2:
                peer.shutdown(socket.SHUT_RDWR)
        begin = time.monotonic()
        self.assertEqual(tool("read", "--dir", self.dir).returncode, 0)
        self.assertLess(time.monotonic() - begin, 5)
        for peer in peers:
            peer.close()
        eventually(lambda: len(os.listdir(files)) == before)
        self.assertIsNone(keeper.poll())

    def test_another_user_gets_read_only_memory_and_no_hold_on_the_writer(self):
        if os.geteuid() != 0:
            self.skipTest("not root: cannot become another user")
        keeper = self.keeper("--quiet")
        os.chmod(self.dir, 0o755)
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                code = self.try_everything(self.region, self.dir)
            finally:
                os._exit(code)
        try:
            eventually(lambda: state_of(pid) in "TZ")
            # While it holds its lock on the memory (it has stopped itself), the writer restarts.
            adoptions = self.status()["adoptions"]
            os.kill(children_of(keeper.pid)[0], signal.SIGKILL)
            eventually(lambda: self.status()["adoptions"] == adoptions + 1)
        finally:
            os.kill(pid, signal.SIGCONT)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)

    @staticmethod
    def try_everything(path, directory):
        """0: nothing that must not work worked. Otherwise the number of what did, or failed to."""
        memory = take_region(path)
        held = mmap.mmap(memory, SIZE, mmap.MAP_SHARED, mmap.PROT_READ)
        attempts = [
            lambda: mmap.mmap(memory, SIZE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE),
            lambda: os.open(f"/proc/self/fd/{memory}", os.O_RDWR),
            lambda: os.open(f"/proc/self/fd/{memory}", os.O_WRONLY),
            lambda: os.ftruncate(memory, 0),
            lambda: os.fchmod(memory, 0o666),
            lambda: os.pwrite(memory, b"x", 0),
            lambda: fcntl.fcntl(memory, F_ADD_SEALS, 8),
            lambda: os.unlink(path),
            # Whoever can open a lock can hold it.
            lambda: os.open(os.path.join(directory, "lock"), os.O_RDONLY),
            lambda: os.open(os.path.join(directory, "keeper.lock"), os.O_RDONLY),
        ]
        for number, attempt in enumerate(attempts, 1):
            try:
                attempt()
                return number
            except OSError:
                pass
        if os.open(f"/proc/self/fd/{memory}", os.O_RDONLY) < 0 or held[:8] != b"CLKPGDIR":
            return 50
        libc = ctypes.CDLL(None)
        libc.mmap.restype = ctypes.c_void_p
        address = libc.mmap(None, ctypes.c_size_t(SIZE), mmap.PROT_READ, mmap.MAP_SHARED, memory,
                            ctypes.c_long(0))
        if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(SIZE),
                         mmap.PROT_READ | mmap.PROT_WRITE) != -1:
            return 51
        fcntl.flock(memory, fcntl.LOCK_EX)
        os.kill(os.getpid(), signal.SIGSTOP)
        return 0

    # ---- the keeper --------------------------------------------------------------------

    def test_sigterm_ends_writer_and_keeper_and_removes_the_socket(self):
        keeper = self.keeper("--quiet")
        writer = children_of(keeper.pid)[0]
        keeper.terminate()
        out, err = keeper.communicate(timeout=20)
        self.assertEqual((keeper.returncode, out, err), (0, "", ""))
        self.assertFalse(os.path.exists(f"/proc/{writer}"))
        self.assertFalse(os.path.exists(os.path.join(self.dir, "control")))
        self.assertEqual(own_files(self.dir), {"keeper.lock", "lock"})

    def test_sigterm_ends_a_writer_that_is_stopped_too(self):
        keeper = self.keeper("--quiet")
        os.kill(children_of(keeper.pid)[0], signal.SIGSTOP)
        keeper.terminate()
        keeper.communicate(timeout=20)
        self.assertEqual(keeper.returncode, 1)
        self.assertFalse(os.path.exists(self.region))

    def test_a_writer_that_has_run_its_time_ends_the_keeper(self):
        keeper = self.keeper("--quiet", "--for", "1.5")
        keeper.communicate(timeout=20)
        self.assertEqual(keeper.returncode, 0)
        self.assertFalse(os.path.exists(self.region))

    def test_restarts_are_said_and_get_rarer(self):
        keeper = self.keeper("--source", "sim")
        for _ in range(4):  # the first has published; the others are killed before they can
            (writer,) = eventually(lambda: children_of(keeper.pid))
            os.kill(writer, signal.SIGKILL)
            eventually(lambda: writer not in children_of(keeper.pid))
        eventually(lambda: children_of(keeper.pid))
        keeper.terminate()
        _, err = keeper.communicate(timeout=20)
        for delay in (50, 100, 200, 400):
            self.assertRegex(err, rf"the writer \(pid \d+\) was ended by signal 9; another follows in {delay} ms")

    def test_a_keeper_whose_writer_cannot_begin_ends_with_its_reason(self):
        with open(os.path.join(self.dir, "lock"), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = daemon("--dir", self.dir, "--sealed")
        self.assertEqual(done.returncode, 1)
        self.one_line(done.stderr, "another producer", self.dir)
        self.assertFalse(os.path.exists(self.region))

    def test_a_second_keeper_and_a_producer_of_another_kind_are_refused(self):
        keeper = self.keeper("--quiet")
        for options in (["--sealed"], []):
            done = daemon("--dir", self.dir, *options)
            self.assertEqual(done.returncode, 1)
            self.one_line(done.stderr, "another producer is at work here", self.dir)
        self.assertIsNone(keeper.poll())
        self.assertEqual(tool("read", "--dir", self.dir).returncode, 0)

    def test_a_keeper_leaves_a_region_file_alone(self):
        plain = self.start(DAEMON, "--dir", self.dir, "--for", "0.3", "--quiet")
        self.assertEqual(plain.wait(timeout=20), 0)
        with open(self.region, "rb") as file:
            before = file.read()
        done = daemon("--dir", self.dir, "--sealed")
        self.assertEqual(done.returncode, 1)
        self.one_line(done.stderr, self.region, "remove it")
        with open(self.region, "rb") as file:
            self.assertEqual(file.read(), before)

    # ---- memory that somebody else keeps -----------------------------------------------

    def publisher(self, memory, *options):
        return self.start(DAEMON, "--dir", self.dir, "--region-fd", str(memory), "--quiet", *options,
                          pass_fds=[memory])

    def test_a_producer_goes_on_in_memory_that_it_is_passed(self):
        memory = sealed_memory()
        self.addCleanup(os.close, memory)
        view = mmap.mmap(memory, SIZE, mmap.MAP_SHARED, mmap.PROT_READ)
        self.assertEqual(view[:8], bytes(8))

        def adoptions():
            return int.from_bytes(view[4096 + 0x200 + 0x18:][:8], "little")

        def index():
            return int.from_bytes(view[4096 + 0x100:][:8], "little")

        for expected in range(3):
            first = index()
            producer = self.publisher(memory)
            eventually(lambda: producer.poll() is not None or
                       view[:8] == b"CLKPGDIR" and index() > first + 10)
            self.assertIsNone(producer.poll())
            self.assertEqual(adoptions(), expected)
            producer.kill()
            producer.wait()
        self.assertEqual(own_files(self.dir), {"lock"})

    def test_a_keeper_can_be_passed_memory_too_and_it_outlives_the_keeper(self):
        memory = sealed_memory()
        self.addCleanup(os.close, memory)
        generations = set()
        for _ in range(2):
            process = self.start(DAEMON, "--dir", self.dir, "--sealed", "--quiet", "--region-fd",
                                 str(memory), pass_fds=[memory])
            eventually(lambda: tool("read", "--dir", self.dir).returncode == 0)
            generations.add(self.status()["generation"])
            self.end(process)
        self.assertEqual(len(generations), 1)

    def test_memory_that_cannot_hold_a_region_is_refused(self):
        garbage = sealed_memory()
        os.pwrite(garbage, b"garbage!" * 4096, 0)
        with open(os.path.join(self.dir, "file"), "wb+") as file:
            file.truncate(SIZE)
            cases = [(sealed_memory(seals=0), "sealed"), (sealed_memory(4096), "4096 bytes"),
                     (sealed_memory(SIZE * 2), "65536 bytes"), (garbage, "magic"),
                     (os.dup(file.fileno()), "sealed"), (os.open("/dev/null", os.O_RDWR), "sealed")]
        for memory, reason in cases:
            for options in ([], ["--sealed"]):
                with self.subTest(reason, options=options):
                    producer = self.publisher(memory, *options)
                    out, err = producer.communicate(timeout=20)
                    self.assertEqual((producer.returncode, out), (1, ""))
                    self.one_line(err, f"descriptor {memory}: ", reason)
            os.close(memory)
        self.assertFalse(os.path.exists(self.region))
        done = daemon("--dir", self.dir, "--region-fd", "77")
        self.assertEqual(done.returncode, 1)
        self.one_line(done.stderr, "descriptor 77: Bad file descriptor")

    def test_revoked_memory_and_memory_of_an_earlier_boot_are_given_up(self):
        memory = sealed_memory()
        self.addCleanup(os.close, memory)
        self.assertEqual(self.publisher(memory, "--for", "0.2").wait(timeout=20), 0)
        boot = os.pread(memory, 16, 0x30)
        os.pwrite(memory, bytes(16), 0x30)
        for reason in ("earlier boot and is revoked", "was revoked"):
            producer = self.publisher(memory)
            _, err = producer.communicate(timeout=20)
            self.assertEqual(producer.returncode, 1)
            self.one_line(err, reason, "new memory")
            os.pwrite(memory, boot, 0x30)
        for page in range(1, 5):  # each page's `revoked`: REPLACED
            self.assertEqual(os.pread(memory, 8, page * 4096 + 0x108), (2).to_bytes(8, "little"))

    # ---- a plain file ------------------------------------------------------------------

    def test_every_program_says_in_one_line_that_its_file_was_truncated(self):
        producer = self.start(DAEMON, "--dir", self.dir, "--quiet")
        eventually(lambda: tool("read", "--dir", self.dir).returncode == 0)
        self.assertFalse(self.status()["sealed"])
        readers = [self.start(TOOL, *words, "--dir", self.dir, "--for", "60")
                   for words in (["watch"], ["compare"], ["verify"])]
        eventually(lambda: all(self.maps_region(reader.pid) for reader in readers))
        time.sleep(0.3)
        os.truncate(self.region, 0)
        for process in [producer, *readers]:
            _, err = process.communicate(timeout=20)
            self.assertEqual(process.returncode, 1, (process.args, err))
            self.one_line(err, self.region, "truncated")

    def maps_region(self, pid):
        with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
            return self.region in maps.read()


if __name__ == "__main__":
    unittest.main()
