# SPDX-License-Identifier: MIT
"""What the tests of views share: a daemon with its views, and a guest that reads through one."""
import json
import os
import shutil
import subprocess
import tempfile
import time

from programs import BIN, DAEMON, end, start, tool

GUEST = os.path.join(BIN, "view_guest")
REALTIME, MONOTONIC, RAW, BOOTTIME, TAI = 0, 1, 4, 7, 11
E_DISRUPTED, E_VIEW = -9, -23


class Host:
    """A region with a daemon, in a directory of its own."""

    def __init__(self, test, *options):
        self.test, self.options = test, options
        self.dir = tempfile.mkdtemp(prefix="clockpage-view.")
        test.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.process = None
        test.addCleanup(lambda: self.process and end(self.process))
        self.start()

    def start(self):
        self.process = start(self.dir, DAEMON, "--dir", self.dir, "--quiet", *self.options)
        socket = os.path.join(self.dir, "control")
        wait_for(lambda: os.path.exists(socket), "the control socket")

    def stop(self):
        end(self.process)

    def file(self, name):
        return os.path.join(self.dir, "views", name)

    def view(self, *arguments):
        """`clockpage view ... --json`: its answer."""
        code, out, err = tool("view", *arguments, "--json", "--dir", self.dir)
        self.test.assertEqual((code, err), (0, ""), arguments)
        return json.loads(out)

    def show(self, name):
        return self.view("show", name)["view"]

    def refused(self, *arguments):
        """The line that says why."""
        code, out, err = tool("view", *arguments, "--dir", self.dir)
        self.test.assertEqual((code, out), (1, ""), err)
        self.test.assertEqual(err.count("\n"), 1, err)
        return err

    def guest(self, name):
        return Guest(self.test, self.dir, self.file(name))


class Guest:
    """A program in a guest with this view."""

    def __init__(self, test, directory, view):
        self.process = subprocess.Popen([GUEST, directory, view], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        test.addCleanup(self.close)
        opened = self.process.stdout.readline()
        test.assertEqual(opened, "0 \n")

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=20)
        self.process.stdout.close()

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return [int(word) for word in self.process.stdout.readline().split()]

    def marker(self):
        return self.ask("marker")[1]

    def read(self, clock, offset=0, ratio=1, bits=0):
        """error, ns, earliest, latest, marker, guest's counter"""
        return self.ask("read", clock, offset, ratio, bits)

    def at(self, clock, counter, marker):
        return self.ask("at", clock, counter, marker)


def wait_for(condition, what, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")
