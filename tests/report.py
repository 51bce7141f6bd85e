#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Sums up a ctest run: time and cases per test, every skip with its reason, one last line.

    report.py RESULTS... [--expected-skips N]

RESULTS is what `ctest --output-junit` wrote, with the tests' whole output in it, or the directory
with its test-results.xml; of several the counts are added, and the directories' names shown. Cases
are GoogleTest's and unittest's where a test prints them, else the test itself. The counts come
from the output, so a failed case is a failure even where ctest calls its program skipped.
Exit code: 0; 1 if anything failed or the number of skips is not the expected one; 2 usage.
"""
import argparse
import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

GTEST_SUM = {
    "passed": re.compile(r"^\[  PASSED  \] (\d+) tests?", re.M),
    "failed": re.compile(r"^\[  FAILED  \] (\d+) tests?", re.M),
    "skipped": re.compile(r"^\[  SKIPPED \] (\d+) tests?", re.M),
}
GTEST_SKIP = re.compile(r"^\[ RUN      \] (\S+)\n(.*?)^\[  SKIPPED \] \1 ", re.M | re.S)
GTEST_SOURCE_LINE = re.compile(r"^\S+:\d+: Skipped$")
UNITTEST_SUM = re.compile(r"^Ran (\d+) tests? in .*\n\n(OK|FAILED)(?: \((.*)\))?$", re.M)
UNITTEST_SKIP = re.compile(r"^(\S+) .*\.\.\. skipped (['\"])(.*)\2$", re.M)


class Result:
    """One ctest test: its counts, its skips as (case, reason), and its time in seconds."""

    def __init__(self, case, build=""):
        self.name = build + case.get("name")
        self.seconds = float(case.get("time") or 0)
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        self.skips = []
        self.output = case.findtext("system-out") or ""
        status = case.get("status")
        skipped = case.find("skipped")
        message = skipped.get("message", "") if skipped is not None else ""
        # ctest also says "notrun" of a program that it could not find.
        self.skipped_by_ctest = status == "notrun" and message.startswith("SKIP_")
        self.ok = status == "run" or self.skipped_by_ctest
        if not (self._count_gtest() or self._count_unittest()):
            self._count_plain(message)
        if not self.ok and not self.counts["failed"]:
            self.counts["failed"] = 1

    def _count_gtest(self):
        if "[==========]" not in self.output:
            return False
        for what, pattern in GTEST_SUM.items():
            self.counts[what] = sum(int(n) for n in pattern.findall(self.output))
        if not GTEST_SUM["passed"].search(self.output) and not self.counts["failed"]:
            self.counts["failed"] = 1  # it ended before its own summary
        for name, text in GTEST_SKIP.findall(self.output):
            lines = [line for line in text.split("\n") if line.strip()]
            lines = [line for line in lines if not GTEST_SOURCE_LINE.match(line)]
            self.skips.append((name, " ".join(lines)))
        return True

    def _count_unittest(self):
        sums = UNITTEST_SUM.findall(self.output)
        if not sums:
            return False
        for total, verdict, details in sums:
            numbers = dict(re.findall(r"([a-z ]+)=(\d+)", details))
            numbers = {key.strip(): int(value) for key, value in numbers.items()}
            failed = sum(numbers.get(key, 0)
                         for key in ("failures", "errors", "unexpected successes"))
            skipped = numbers.get("skipped", 0)
            self.counts["failed"] += failed or (verdict == "FAILED")
            self.counts["skipped"] += skipped
            self.counts["passed"] += max(0, int(total) - failed - skipped)
        self.skips = [(name, reason) for name, _, reason in UNITTEST_SKIP.findall(self.output)]
        return True

    def _count_plain(self, message):
        if self.skipped_by_ctest:
            self.counts["skipped"] = 1
            lines = [line for line in self.output.split("\n") if line.strip()]
            self.skips.append((self.name.rpartition("/")[2], lines[-1] if lines else message))
        elif self.ok:
            self.counts["passed"] = 1


def main():
    parser = argparse.ArgumentParser(description="Sums up a ctest run.")
    parser.add_argument("results", metavar="RESULTS", nargs="+", type=pathlib.Path)
    parser.add_argument("--expected-skips", type=int)
    arguments = parser.parse_args()

    per_run = []
    for path in arguments.results:
        build = f"{path.name}/" if len(arguments.results) > 1 else ""
        file = path / "test-results.xml" if path.is_dir() else path
        root = ElementTree.parse(file).getroot()
        per_run.append([Result(case, build) for case in root.iter("testcase")])
    results = [result for run in per_run for result in run]
    totals = {what: sum(r.counts[what] for r in results) for what in ("passed", "failed", "skipped")}

    width = max([len(r.name) for r in results] + [8])
    print(f"\n{'suite':<{width}}  {'seconds':>8}  {'passed':>6}  {'failed':>6}  {'skipped':>7}")
    for r in sorted(results, key=lambda r: -r.seconds):
        print(f"{r.name:<{width}}  {r.seconds:8.2f}  {r.counts['passed']:6}  "
              f"{r.counts['failed']:6}  {r.counts['skipped']:7}")
    print(f"{'all':<{width}}  {sum(r.seconds for r in results):8.2f}")
    for r in results:
        for name, reason in r.skips:
            print(f"skipped: {r.name}: {name}: {reason}")
    for r in results:
        if r.counts["failed"]:
            print(f"failed: {r.name}")

    ok = totals["failed"] == 0
    for path, cases in zip(arguments.results, per_run):
        if not cases:
            print(f"no test ran: {path}")
            ok = False
    if arguments.expected_skips is not None and totals["skipped"] != arguments.expected_skips:
        print(f"expected {arguments.expected_skips} skipped, got {totals['skipped']}: "
              "a test no longer runs here, or now does (tests/expected_skips, "
              "CLOCKPAGE_EXPECTED_SKIPS)")
        ok = False
    print(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
