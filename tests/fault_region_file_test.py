# SPDX-License-Identifier: MIT
# timeout: 180
"""The region's file is removed, replaced or made unreadable under its producer and its readers.

Who has it mapped reads on: good times while it is published, then E_REVOKED where the producer
could say so. Who opens it anew gets a clear error, or the new region.
"""
import os
import shutil
import signal
import subprocess
import time
import unittest

import fault_common as common
from fault_common import REGION_SIZE, TOOL, FaultTest, run

CLOCKS = ("realtime", "monotonic", "raw", "boottime")


class UnderRunningReadersTest(FaultTest):
    def setUp(self):
        super().setUp()
        os.chmod(self.dir, 0o755)
        self.producer = self.produce("--quiet")
        self.mapped = self.reader()

    def reads_on(self, overdue=False):
        seen = self.mapped.ask("read")
        for clock in CLOCKS:
            self.assertEqual(seen[clock]["error"], 0)
        if not overdue:
            return
        for clock in CLOCKS:
            self.assertTrue(seen[clock]["overdue"])
            self.assertNotEqual(seen[clock]["status"], common.SYNCHRONISED)

    def is_revoked(self):
        seen = self.mapped.ask("read")
        for clock in CLOCKS:
            self.assertEqual(seen[clock]["error"], common.E_REVOKED)

    def refused_anew(self, *words):
        done = run(TOOL, "read", "--dir", self.dir)
        self.assertEqual(done.returncode, 1, done)
        self.one_line(done.stderr, self.region, *words)

    def producer_notices(self):
        self.ends_by_itself(self.producer, 1, self.region, "removed or replaced", within=10)
        self.is_revoked()

    # ---- removed -----------------------------------------------------------------------

    def test_removed(self):
        os.unlink(self.region)
        self.refused_anew("No such file")
        self.producer_notices()
        self.assertFalse(os.path.exists(self.region))
        # A supervisor's restart makes a new one.
        self.produce()
        self.assertEqual(self.reader().ask("read")["monotonic"]["error"], 0)
        self.is_revoked()

    def test_removed_with_its_directory(self):
        shutil.rmtree(self.dir)
        self.producer_notices()

    def test_removed_while_nobody_publishes(self):
        self.end(self.producer, signal.SIGKILL)
        os.unlink(self.region)
        time.sleep(0.2)
        self.reads_on(overdue=True)
        self.refused_anew("No such file")
        self.produce()
        # Nobody could tell the reader of the old file: it stays overdue and never good.
        self.reads_on(overdue=True)
        self.assertEqual(self.status()["adoptions"], 0)

    # ---- replaced ----------------------------------------------------------------------

    def test_replaced_by_another_valid_region(self):
        other = os.path.join(self.dir, "other")
        os.mkdir(other)
        self.end(self.produce(directory=other))
        os.rename(os.path.join(other, "region"), self.region)
        inode = os.stat(self.region).st_ino
        # New readers find the other one: a dead producer's, and it says so.
        anew = self.reader()
        self.until(lambda: anew.ask("read")["monotonic"]["overdue"], "its lease has ended")
        self.producer_notices()
        # It is a good one: the next producer adopts it.
        self.produce()
        self.assertEqual(os.stat(self.region).st_ino, inode)
        self.assertEqual(self.status()["adoptions"], 1)

    def test_replaced_by_garbage(self):
        garbage = self.region + ".garbage"
        with open(garbage, "wb") as file:
            file.write(os.urandom(REGION_SIZE))
        wanted = common.contents(garbage)
        os.rename(garbage, self.region)
        self.refused_anew("magic")
        self.producer_notices()
        self.ends_by_itself(self.launch("--quiet"), 1, self.region, "left as it is")
        self.assertEqual(common.contents(self.region), wanted)

    def test_replaced_by_another_producer_that_found_the_lock_removed_too(self):
        os.unlink(self.region)
        os.unlink(os.path.join(self.dir, "lock"))
        other = self.produce()
        self.producer_notices()
        self.assertIsNone(other.poll())
        self.assertEqual(self.status()["producer_pid"], other.pid)
        self.assertFalse(self.status()["revoked"])

    def test_the_lock_alone_removed_lets_a_second_producer_in_and_one_of_the_two_out(self):
        os.unlink(os.path.join(self.dir, "lock"))
        other = self.launch("--quiet")
        both = [self.producer, other]
        self.until(lambda: any(p.poll() is not None for p in both), "one of them notices")
        time.sleep(0.5)
        left = [p for p in both if p.poll() is None]
        self.assertEqual(len(left), 1)
        loser = both[1 - both.index(left[0])]
        self.ends_by_itself(loser, 1, self.region, "another producer writes to it")
        self.until(lambda: not self.status()["overdue"], "the other one publishes")
        self.reads_on()
        self.assertFalse(self.status()["revoked"])

    # ---- made unreadable ---------------------------------------------------------------

    def test_made_unreadable_is_no_fault_of_who_has_it_mapped(self):
        os.chmod(self.region, 0)
        place = self.reachable(TOOL)
        done = run(*self.as_nobody(place), os.path.join(place, "clockpage"), "read", "--dir", self.dir)
        self.assertEqual(done.returncode, 1, done)
        self.one_line(done.stderr, self.region, "Permission denied")
        time.sleep(1.5)  # the producer looks once a second
        self.assertIsNone(self.producer.poll())
        self.reads_on()
        self.assertFalse(self.mapped.ask("read")["monotonic"]["overdue"])
        self.assertEqual(self.end(self.producer)[0], 0)

    def test_a_directory_that_is_closed_to_its_producer_is_no_end(self):
        # It cannot tell whether the file has its name.
        self.end(self.producer)
        place = self.reachable(common.DAEMON)
        inner = os.path.join(self.dir, "inner")
        os.mkdir(inner)
        os.chown(inner, common.NOBODY, common.NOBODY)
        process = subprocess.Popen(
            [*self.as_nobody(place), os.path.join(place, "clockpaged"), "--dir", inner, "--quiet"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end, process)
        self.until(lambda: (self.status(inner) or {}).get("producer_alive"), "it publishes")
        os.chmod(self.dir, 0o700)
        time.sleep(1.5)
        self.assertIsNone(process.poll())
        self.assertFalse(self.status(inner)["overdue"])
        self.assertEqual(self.end(process), (0, ""))


if __name__ == "__main__":
    unittest.main()
