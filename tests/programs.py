# SPDX-License-Identifier: MIT
"""What the system tests share: where the programs are, and starting, asking and ending them."""
import os
import random
import signal
import subprocess
import time

BIN = os.environ.get("CLOCKPAGE_BIN") or os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "build", "release", "bin")
TOOL = os.path.join(BIN, "clockpage")
DAEMON = os.path.join(BIN, "clockpaged")
WRONG = os.path.join(BIN, "wrong_protocol")
SOAK = os.environ.get("CLOCKPAGE_SOAK") == "1"
SANITIZED = os.environ.get("CLOCKPAGE_SANITIZE", "")
SEED = int(os.environ.get("CLOCKPAGE_SEED") or random.SystemRandom().randrange(2**32))
# A simulated clock whose frequency changes all the time.
STEERED = ["--source", "sim", "--period-us", "1000", "--sim-change-interval-s", "0.05",
           "--sim-max-frequency-ppb", "500000"]


def tool(*arguments, environment=None, timeout=280, **options):
    """Runs clockpage; (exit code, stdout, stderr)."""
    inherited = {name: value for name, value in os.environ.items() if name != "CLOCKPAGE_DIR"}
    done = subprocess.run([TOOL, *arguments], capture_output=True, text=True, timeout=timeout,
                          env={**inherited, **(environment or {})}, **options)
    return done.returncode, done.stdout, done.stderr


def start(directory, *command):
    """Starts what makes a region in the directory, and waits until there is one to read."""
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        if tool("status", "--dir", directory)[0] == 0:
            return process
        time.sleep(0.02)
    end(process)
    raise AssertionError(f"{command[0]} did not make a region: exit code {process.returncode}")


def end(process, with_signal=signal.SIGTERM):
    if process.poll() is None:
        process.send_signal(with_signal)
    process.wait(timeout=20)


def own_files(directory):
    """What is in a region's directory but for what its view server has there."""
    return set(os.listdir(directory)) - {"control", "control.lock"}
