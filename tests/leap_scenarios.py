# SPDX-License-Identifier: MIT
"""What is simulated around leap seconds: the scenarios of leap_oracle_test.py and leap_late_test.py.

CLOCKPAGE_SEED (default 1) is the seed of the kernel's steering and of the producer's lateness.
"""
import calendar
import hashlib
import os
import subprocess
import tempfile
import unittest

from leap_oracle import SECOND, Judge, Leap, leap_piece
from programs import BIN

PROGRAM = os.path.join(BIN, "leap_samples")
SEED = os.environ.get("CLOCKPAGE_SEED", "1")

SMEARS = {"none": (0, None), "noon": (1, (-43200, 86400)), "utc-sls": (2, (-1000, 1000))}

# Midnight UTC after the leap second, and TAI - UTC before it: IERS Bulletin C 43, 49 and 52.
REAL = {"2012": ((2012, 7, 1), 34), "2015": ((2015, 7, 1), 35), "2016": ((2017, 1, 1), 36)}


def leap(year, by=1):
    date, before = REAL[year]
    return Leap(calendar.timegm((*date, 0, 0, 0)), before, by)


def table_text(leaps):
    """A leap-seconds.list: the real ones before the first of these, then these; hashed as IERS does."""
    entries = [(calendar.timegm((1972, 1, 1, 0, 0, 0)), 10)]
    for i, (year, month) in enumerate([(1972, 7), (1973, 1), (1974, 1), (1975, 1), (1976, 1), (1977, 1), (1978, 1),
                                       (1979, 1), (1980, 1), (1981, 7), (1982, 7), (1983, 7), (1985, 7), (1988, 1),
                                       (1990, 1), (1991, 1), (1992, 7), (1993, 7), (1994, 7), (1996, 1), (1997, 7),
                                       (1999, 1), (2006, 1), (2009, 1), (2012, 7), (2015, 7), (2017, 1)]):
        entries.append((calendar.timegm((year, month, 1, 0, 0, 0)), 11 + i))
    first = leaps[0].midnight_s
    entries = [entry for entry in entries if entry[0] < first]
    entries += [(leap_.midnight_s, leap_.after_s) for leap_ in leaps]
    ntp = 2208988800
    lines = [(str(when + ntp), str(offset)) for when, offset in entries]
    updated, expires = str(first - 100 * 86400 + ntp), str(first + 100 * 86400 + ntp)
    digest = hashlib.sha1((updated + expires + "".join(a + b for a, b in lines)).encode()).hexdigest()
    words = " ".join(digest[i:i + 8] for i in range(0, 40, 8))
    return "\n".join([f"#$ {updated}", f"#@ {expires}", *(" ".join(line) for line in lines), f"#h {words}", ""])


class Scenario:
    """What is simulated, and what the calendar has to say of it."""

    def __init__(self, leaps, smear="noon", *, before_s=None, after_s=None, arm_s=10, table=False, kernel_tai=True,
                 events=(), kill_s=None, irregular=False, known_ns=None, windows_s=(),
                 reach_s=0.5, near_ns=None, until=None, restart_s=(), coarse_s=600):
        self.smear_kind, self.smear = SMEARS.get(smear) or (3, tuple(int(n) for n in smear.split(":")[1:]))
        first, last = leap_piece(leaps[0], self.smear), leap_piece(leaps[-1], self.smear)
        self.leaps, self.irregular, self.name = leaps, irregular, smear
        self.offset_s = leaps[0].before_s
        self.period_ns = 100_000_000
        # A tick of the simulated kernel's, and what one may be longer by where it is steered.
        self.tick_ns = 10_010_000
        self.tracking_ns = 25_000
        begin = min(first.start, leaps[0].tai_s() * SECOND)
        finish = max(last.end, leaps[-1].tai_s() * SECOND, until or 0)
        self.start_ns = begin - int((60 if before_s is None else before_s) * SECOND)  # TAI
        self.run_s = (finish - self.start_ns) // SECOND + (30 if after_s is None else after_s)
        self.near_ns, self.restart_s, self.coarse_s = near_ns, restart_s, coarse_s
        self.table, self.kernel_tai, self.kill_s, self.reach_s = table, kernel_tai, kill_s, reach_s
        self.events = list(events)
        if arm_s is not None:
            self.events.insert(0, (arm_s, "leap", leaps[0].by))
        # Armed, the kernel says so from the next second on; then it takes a segment to be published.
        told_s = 0 if table else (arm_s or 0) + 1
        self.known_ns = known_ns if known_ns is not None else self.start_ns + told_s * SECOND + 3 * self.period_ns
        self.windows = [self.start_ns + int(s * SECOND) for s in windows_s]
        for each in leaps:
            piece = leap_piece(each, self.smear)
            self.windows += [piece.start, each.tai_s() * SECOND, (piece.start + piece.end) // 2, piece.end]
        if irregular:
            self.windows.append(self.start_ns + (self.run_s - 5) * SECOND)  # what becomes of it
        self.seed = 1000 * int(SEED) + leaps[0].midnight_s // 86400 % 500 + leaps[0].by

    def leap_is_near(self, tai_ns):
        """So that the kernel of a run whose producer is dead may be on its other side."""
        return self.kill_s is not None and any(abs(tai_ns - each.tai_s() * SECOND) < SECOND for each in self.leaps)

    def at(self, tai_ns):
        """Seconds from the start."""
        return (tai_ns - self.start_ns) / SECOND

    def command(self, table_file):
        arguments = [PROGRAM, "--start", self.start_ns // SECOND - self.offset_s, "--tai", self.offset_s,
                     "--smear", self.name, "--run-s", self.run_s, "--seed", self.seed, "--period-ms",
                     self.period_ns // 10**6, "--kernel-tai", self.offset_s if self.kernel_tai else 0]
        if self.kill_s is not None:
            # Nobody corrects a dead page: the kernel is left alone, so that it stays near.
            arguments += ["--kill-s", self.kill_s, "--kernel-max-ppb", 0]
        if self.table:
            arguments += ["--table", table_file]
        arguments += ["--reach-ns", int(self.reach_s * SECOND), "--coarse-s", self.coarse_s]
        for restart in self.restart_s:
            arguments += ["--restart-s", restart]
        for window in sorted(set(self.windows)):
            arguments += ["--window", window]
        for when, kind, value in self.events:
            arguments += ["--event", f"{when}:{kind}:{value}"]
        return [str(argument) for argument in arguments]

    def data(self):
        with tempfile.NamedTemporaryFile("w", suffix=".list") as table:
            table.write(table_text(self.leaps))
            table.flush()
            done = subprocess.run(self.command(table.name), capture_output=True, timeout=120, check=False)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(self.command('TABLE'))}: {done.stderr.decode()}")
        return done.stdout


class ScenarioTest(unittest.TestCase):
    def judged(self, scenario):
        judge = Judge(scenario).run(scenario.data())
        self.assertEqual(judge.complaints, {}, " ".join(scenario.command("TABLE")))
        self.assertGreater(judge.end.bridges, 0)  # late producers are part of it
        print(f"{scenario.name} {scenario.leaps[0].by:+}, seed {scenario.seed}: {judge.seen['samples']} samples, "
              f"{judge.seen['boundaries']} boundaries, at most {float(judge.worst):.6f} ns off", end="")
        if judge.apart:
            late_ns = max(judge.apart) - scenario.leaps[0].tai_s() * SECOND
            print(f", kernel a second off until {late_ns / 1e6:.3f} ms after the leap", end="")
        print()
        return judge
