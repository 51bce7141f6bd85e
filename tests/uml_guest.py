# SPDX-License-Identifier: MIT
"""A user-mode Linux guest: a real kernel with a clock of its own, which may be set to anything.

Debian's package user-mode-linux boots on this machine's files, read only. Its first process is
leap_guest, which obeys a script (see leap_guest.cpp).
"""
import csv
import os
import shutil
import subprocess
import tempfile
import unittest

import programs

KERNEL = shutil.which("linux.uml")
GUEST = os.path.join(programs.BIN, "leap_guest")


class Failed(Exception):
    pass


def boot(script, timeout=120):
    """Runs the script's lines in a guest; what it left, as {file name: text}.

    Where the kernel does not come as far as its first process, the test is skipped.
    """
    if KERNEL is None:
        raise unittest.SkipTest("linux.uml (package user-mode-linux) is not installed")
    with tempfile.TemporaryDirectory(prefix="clockpage-uml-") as private:
        out = os.path.join(private, "out")
        os.mkdir(out)
        with open(os.path.join(out, "script"), "w", encoding="utf-8") as file:
            file.write("\n".join(script) + "\n")
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


def _run(private, out, timeout):
    # The guest's memory is a file that it executes from.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else private
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
