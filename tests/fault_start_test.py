# SPDX-License-Identifier: MIT
# timeout: 180
"""Producers that start at once, without room, or on what an earlier boot left behind."""
import mmap
import os
import resource
import signal
import struct
import time
import unittest

import fault_common as common
from fault_common import DAEMON, READER, REGION_SIZE, REVOKED_REPLACED, TOOL, FaultTest, run


class RaceTest(FaultTest):
    """Producers that start at once: one wins, whatever they find."""

    def race(self, count):
        """(winner, messages of the others)."""
        gate = os.path.join(self.dir, "gate")
        os.mkfifo(gate)
        # Each blocks in opening the pipe, until all are there.
        wait = ["sh", "-c", f'read x < "{gate}"; exec "$@"', "sh"]
        producers = [self.launch(wrapper=wait) for _ in range(count)]
        time.sleep(0.3)
        with open(gate, "w", encoding="ascii") as file:
            file.write("go\n" * count)
        os.unlink(gate)
        self.until(lambda: sum(p.poll() is None for p in producers) == 1, "one producer is left")
        self.until(lambda: (self.status() or {}).get("producer_alive"), "it publishes")
        time.sleep(0.5)
        winners = [p for p in producers if p.poll() is None]
        self.assertEqual(len(winners), 1)
        texts = []
        for loser in (p for p in producers if p not in winners):
            code, text = self.end(loser)
            self.assertEqual(code, 1, text)
            self.one_line(text, self.dir, "another producer is at work")
            texts.append(text)
            self.assertNotIn("pid 0", text)
        self.assertEqual(self.status()["producer_pid"], winners[0].pid)
        self.assertFalse(os.path.exists(self.region + ".new"))
        self.assertEqual(common.own_files(self.dir), {"lock", "region"})
        return winners[0], texts

    def test_one_of_several_wins_an_empty_directory(self):
        for count in (2, 10):
            with self.subTest(producers=count):
                winner, _ = self.race(count)
                self.assertEqual(self.status()["adoptions"], 0)
                self.end(winner, signal.SIGKILL)
                os.unlink(self.region)

    def test_one_of_several_adopts_a_dead_producers_region_in_place(self):
        self.end(self.produce(), signal.SIGKILL)
        inode = os.stat(self.region).st_ino
        reader = self.reader()
        before = reader.ask("read")
        for adoptions, count in ((1, 2), (2, 10)):
            with self.subTest(producers=count):
                winner, _ = self.race(count)
                self.assertEqual(os.stat(self.region).st_ino, inode)
                self.assertEqual(self.status()["adoptions"], adoptions)
                after = reader.ask("read")
                self.assertEqual(after["monotonic"]["error"], 0)
                self.assertEqual(after["monotonic"]["epoch"], before["monotonic"]["epoch"])
                self.assertGreater(after["monotonic"]["ns"], before["monotonic"]["ns"])
                self.end(winner, signal.SIGKILL)

    def test_a_reader_cannot_keep_a_producer_from_starting(self):
        # Whoever may open the lock could hold it.
        self.end(self.produce())
        place = self.reachable()
        done = run(*self.as_nobody(place), "flock", "--nonblock", os.path.join(self.dir, "lock"), "true")
        self.assertNotEqual(done.returncode, 0, "nobody got the producer's lock")
        self.assertIn("denied", done.stderr)

    def setUp(self):
        super().setUp()
        os.chmod(self.dir, 0o755)


class ExhaustionTest(FaultTest):
    """No room: one clear line, exit code 1, nothing left behind but the lock."""

    def names(self):
        return set(os.listdir(self.dir)) - {"lock"}

    def test_a_full_tmpfs_is_said_and_leaves_nothing_half_written(self):
        for pages, what in ((0, "lock"), (1, "region"), (4, "region"), (7, "region")):
            with self.subTest(free_pages=pages):
                # The lock takes a page; the rest is filled up but for `pages`.
                script = f"""
                  mount -t tmpfs -o size=64k none "{self.dir}"
                  head -c {(16 - pages) * 4096} /dev/zero > "{self.dir}/filler"
                  code=0; "$@" || code=$?
                  ls -A "{self.dir}"
                  exit $code"""
                done = run(*self.in_private_mounts(script), DAEMON, "--dir", self.dir, "--for", "1")
                self.assertEqual(done.returncode, 1, done)
                self.one_line(done.stderr, self.dir, what, "No space left on device")
                self.assertEqual(set(done.stdout.split()) - {"lock"}, {"filler"})

    def test_a_tmpfs_that_fills_up_later_is_no_concern(self):
        # All blocks were there before the region got its name: neither side gets a SIGBUS.
        script = f"""
          mount -t tmpfs -o size=64k none "{self.dir}"
          "{DAEMON}" --dir "{self.dir}" --quiet --for 2 & daemon=$!
          for i in $(seq 100); do test -e "{self.region}" && break; sleep 0.1; done
          head -c 100000 /dev/zero > "{self.dir}/filler" 2> /dev/null || true
          stat -f -c 'free %f' "{self.dir}"
          echo 'run 0.5' | "$@"
          code=0; wait $daemon || code=$?
          echo "daemon $code"
          exit 0"""
        done = run(*self.in_private_mounts(script), READER, self.dir)
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("free 0", done.stdout)
        self.assertIn("daemon 0", done.stdout)
        self.assertIn('"reads"', done.stdout)

    def test_all_blocks_of_a_new_region_are_allocated(self):
        self.produce()
        self.assertGreaterEqual(os.stat(self.region).st_blocks * 512, REGION_SIZE)

    def test_a_limit_on_file_sizes_is_an_error_and_no_death(self):
        for limit in (0, 4096, REGION_SIZE - 1):
            with self.subTest(limit=limit):
                done = run(DAEMON, "--dir", self.dir, preexec_fn=lambda: resource.setrlimit(
                    resource.RLIMIT_FSIZE, (limit, limit)))
                self.assertEqual(done.returncode, 1, done)
                self.one_line(done.stderr, self.dir, "File too large")
                self.assertEqual(self.names(), set())

    def test_a_read_only_file_system_is_said(self):
        script = f'mount --bind "{self.dir}" "{self.dir}"; mount -o remount,bind,ro "{self.dir}"'
        done = run(*self.in_private_mounts(script), DAEMON, "--dir", self.dir)
        self.assertEqual(done.returncode, 1, done)
        self.one_line(done.stderr, self.dir, "Read-only file system")

    def test_a_directory_that_cannot_be_made_is_said(self):
        done = run(DAEMON, "--dir", "/proc/clockpage")
        self.assertEqual(done.returncode, 1, done)
        self.one_line(done.stderr, "/proc/clockpage")


class EarlierBootTest(FaultTest):
    def test_a_region_of_an_earlier_boot_is_refused_revoked_and_replaced(self):
        self.end(self.produce(), signal.SIGKILL)
        reader = self.reader()  # has it mapped, as nobody can have over a reboot; but a guest could
        with open(self.region, "r+b") as file:
            file.seek(common.BOOT_ID)
            file.write(bytes(range(16)))
            file.flush()
            old = mmap.mmap(file.fileno(), REGION_SIZE, prot=mmap.PROT_READ)
        self.addCleanup(old.close)
        inode = os.stat(self.region).st_ino
        done = run(TOOL, "read", "--dir", self.dir)
        self.assertEqual(done.returncode, 1)
        self.one_line(done.stderr, self.region, "boot")
        self.assertEqual(reader.ask("read")["monotonic"]["error"], 0)

        producer = self.produce()
        self.assertNotEqual(os.stat(self.region).st_ino, inode)
        self.assertEqual(common.revocations(bytes(old)), [REVOKED_REPLACED] * 4)
        seen = reader.ask("read")
        for clock in ("realtime", "monotonic", "raw", "boottime", "tai"):
            self.assertEqual(seen[clock]["error"], common.E_REVOKED)
        new = common.contents(self.region)
        generation = [struct.unpack_from("<Q", region, common.GENERATION)[0] for region in (old, new)]
        self.assertNotEqual(*generation)
        self.assertEqual(common.revocations(new), [0] * 4)
        self.assertEqual(self.reader().ask("read")["monotonic"]["error"], 0)
        code, text = self.end(producer)
        self.assertEqual(code, 0)
        self.assertIn("earlier boot", text)
        self.assertEqual(common.own_files(self.dir), {"lock", "region"})


if __name__ == "__main__":
    unittest.main()
