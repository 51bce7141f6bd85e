# SPDX-License-Identifier: MIT
# timeout: 120
"""What must not end a keeper, or its writer, and what a keeper must not hand over."""
import fcntl
import os
import resource
import signal
import subprocess
import unittest

from fault_common import DAEMON, REGION_SIZE, FaultTest, run

F_ADD_SEALS, SEAL_SHRINK = 1033, 2


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


class LogTest(FaultTest):
    """stderr is somebody else's: a pipe that is closed, or full."""

    def test_a_log_that_nobody_reads_any_more_ends_neither_keeper_nor_writer(self):
        keeper = self.produce("--sealed", "--source", "sim", "--sim-step-s", "1", "--sim-step-at-s", "1.5")
        (writer,) = children_of(keeper.pid)
        before = self.status()["epoch"]
        keeper.stderr.close()
        self.until(lambda: self.status()["epoch"] > before, "a step, which the writer would have said")
        self.assertEqual(children_of(keeper.pid), [writer])
        os.kill(writer, signal.SIGKILL)  # which the keeper would have said
        self.until(lambda: self.status()["adoptions"] == 1, "another writer")
        self.assertIsNone(keeper.poll())
        keeper.terminate()
        self.assertEqual(keeper.wait(timeout=20), 0)

    def test_a_log_that_takes_no_more_stops_neither_keeper_nor_writer(self):
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        os.set_blocking(writing, False)
        with self.assertRaises(BlockingIOError):
            while True:
                os.write(writing, b"x")
        os.set_blocking(writing, True)
        with subprocess.Popen([DAEMON, "--dir", self.dir, "--sealed", "--source", "sim"],
                              stderr=writing) as keeper:
            os.close(writing)
            try:
                self.until(self.status, "it publishes")
                first = self.status()["publications"]
                self.until(lambda: self.status()["publications"] > first + 20, "it goes on")
                keeper.terminate()
                self.assertEqual(keeper.wait(timeout=20), 0)
            finally:
                keeper.kill()


class KeeperTest(FaultTest):
    def test_a_keeper_that_cannot_fork_for_a_while_keeps_the_memory(self):
        wrapper, program = [], DAEMON
        if os.geteuid() == 0:  # whom no limit binds
            place = self.reachable(DAEMON)
            os.chmod(self.dir, 0o777)
            wrapper, program = self.as_nobody(place), os.path.join(place, "clockpaged")
        keeper = subprocess.Popen([*wrapper, program, "--dir", self.dir, "--sealed"], stderr=subprocess.PIPE,
                                  text=True)
        self.addCleanup(self.end, keeper)
        self.until(lambda: keeper.poll() is not None or self.status(), "it publishes")
        self.assertIsNone(keeper.poll())
        generation = self.status()["generation"]
        (writer,) = children_of(keeper.pid)
        processes, _ = resource.getrlimit(resource.RLIMIT_NPROC)

        def limit(number):
            done = run(*wrapper, "prlimit", "--pid", str(keeper.pid), f"--nproc={number}:")
            self.assertEqual(done.returncode, 0, done)

        limit(0)
        os.kill(writer, signal.SIGKILL)
        line = ""
        while "no new writer (fork: " not in line:
            line = keeper.stderr.readline()
            self.assertTrue(line, "the keeper has ended")
        limit("unlimited" if processes == resource.RLIM_INFINITY else processes)
        self.until(lambda: self.status()["adoptions"] == 1, "another writer")
        self.assertEqual(self.status()["generation"], generation)

    def test_memory_that_those_it_is_handed_to_could_write_is_not_handed_over(self):
        for mode in (0o777, 0o666, 0o464, 0o446):
            memory = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            self.addCleanup(os.close, memory)
            os.ftruncate(memory, REGION_SIZE)
            os.fchmod(memory, mode)
            fcntl.fcntl(memory, F_ADD_SEALS, SEAL_SHRINK)
            done = run(DAEMON, "--dir", self.dir, "--sealed", "--region-fd", str(memory), pass_fds=[memory])
            self.assertEqual(done.returncode, 1, oct(mode))
            self.one_line(done.stderr, f"descriptor {memory}: its mode is {mode:04o}", "fchmod")
            self.assertEqual(os.pread(memory, 8, 0), bytes(8))


if __name__ == "__main__":
    unittest.main()
