# SPDX-License-Identifier: MIT
"""A user-mode Linux guest: a real kernel with a clock of its own, which may be set to anything.

Debian's package user-mode-linux boots on this machine's files, read only. Its first process is
leap_guest, which obeys a script (see leap_guest.cpp).
"""
import calendar
import concurrent.futures
import csv
import os
import shutil
import subprocess
import tempfile
import unittest

import programs

KERNEL = shutil.which("linux.uml")
GUEST = os.path.join(programs.BIN, "leap_guest")


NS = 10**9


class Failed(Exception):
    pass


def boot(script, files=None, timeout=120):
    """Runs the script's lines in a guest; what it left in /mnt, as {file name: text}. `files`: more for it.

    Where the kernel does not come as far as its first process, the test is skipped.
    """
    if KERNEL is None:
        raise unittest.SkipTest("linux.uml (package user-mode-linux) is not installed")
    with tempfile.TemporaryDirectory(prefix="clockpage-uml-") as private:
        out = os.path.join(private, "out")
        os.mkdir(out)
        for name, text in {**(files or {}), "script": "\n".join(script) + "\n"}.items():
            with open(os.path.join(out, name), "w", encoding="utf-8") as file:
                file.write(text)
        console = _run(private, out, timeout)
        left = {}
        for name in os.listdir(out):
            with open(os.path.join(out, name), encoding="utf-8", errors="replace") as file:
                left[name] = file.read()
    if "log" not in left:
        raise unittest.SkipTest("user-mode Linux does not boot here: " +
                                " / ".join(console.strip().splitlines()[-3:]))
    if "done" not in left:
        raise Failed(f"the guest did not end its script: {left['log']}\n{console}")
    return left


def boot_all(scripts, files=None):
    """A guest for each script, side by side; what they left, all `log`s in one."""
    with concurrent.futures.ThreadPoolExecutor() as guests:
        lefts = list(guests.map(lambda script: boot(script, files), scripts))
    merged = {name: text for left in lefts for name, text in left.items()}
    return {**merged, "log": "".join(left["log"] for left in lefts)}


def may_execute_from(directory):
    """Whether a file there can be written and executed: containers mount /dev/shm noexec."""
    return os.access(directory, os.W_OK) and not os.statvfs(directory).f_flag & os.ST_NOEXEC


def _run(private, out, timeout):
    # The guest's memory is a file that it executes from.
    memory = "/dev/shm" if may_execute_from("/dev/shm") else private
    command = [KERNEL, "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={GUEST}",
               "con0=null,fd:1", "con=null", "ssl=null", "mem=512M", "quiet", f"uml_dir={private}",
               "--", out]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True,
                               env={**os.environ, "TMPDIR": memory, "HOME": private})
    try:
        console, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        # Its processes are children of its own, in its session.
        os.killpg(process.pid, 9)
        console, _ = process.communicate()
        raise Failed(f"the guest did not end in {timeout} s:\n{console!r}") from error
    return console.decode(errors="replace")


def samples(text):
    return [{name: int(value) for name, value in row.items()} for row in csv.DictReader(text.splitlines())]


def utc(text):
    return calendar.timegm(tuple(int(part) for part in text.replace(":", "-").replace(" ", "-").split("-")))


def clock(ns):
    return f"{ns // NS // 3600 % 24:02}:{ns // NS // 60 % 60:02}:{ns // NS % 60:02}.{ns % NS:09}"


class Leap:
    """What was read across one. `raw_offset`: the kernel's TAI - UTC before it, s, even if it is not true."""

    def __init__(self, rows, midnight, raw_offset, sign):
        self.rows, self.midnight, self.sign = rows, midnight * NS, sign
        self.before, self.after = raw_offset * NS, (raw_offset + sign) * NS
        # The instant by CLOCK_TAI: the first of 23:59:60, or that after 23:59:58.
        self.tai = self.midnight + self.before - (NS if sign < 0 else 0)

    def offset(self, row):
        """TAI - REALTIME, where a stall does not hide it."""
        fits = [offset for offset in (self.before, self.after)
                if row["tai"] <= row["realtime"] + offset <= row["tai_after"]]
        return fits[0] if len(fits) == 1 else None

    def not_before(self, tai):
        return [row for row in self.rows if row["tai"] >= tai]

    def until(self, tai):
        return [row for row in self.rows if row["tai_after"] < tai]


def report(name, leap):
    """The readings on both sides of the step, and how late it came."""
    rows = [row for row in leap.rows if leap.offset(row) is not None]
    if not rows:
        print(f"{name}: TAI - REALTIME is never what it should be before or after", flush=True)
        return
    last, first = next(((a, b) for a, b in zip(rows, rows[1:]) if leap.offset(a) != leap.offset(b)),
                       (rows[-1], rows[-1]))
    print(f"{name}: REALTIME {clock(last['realtime'])} at TAI - leap = {(last['tai'] - leap.tai) / 1e6:+.3f} ms, "
          f"then {clock(first['realtime'])} at {(first['tai'] - leap.tai) / 1e6:+.3f} ms; COARSE "
          f"{clock(last['coarse'])}, then {clock(first['coarse'])}; {len(leap.rows)} samples", flush=True)
