#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# labels: no_sanitizer
# timeout: 900
"""Shows that the reader's fuzz targets can fail: each of some checks is taken out of a copy of the headers, and the
replay of the corpus in the tree must then notice, with no sanitizer's help.

CLOCKPAGE_BIN is where the built programs are; CXX the compiler (default: c++).
"""
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

TOP = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(os.environ.get("CLOCKPAGE_BIN", TOP / "build/release/bin"))
CXX = os.environ.get("CXX", "c++")

# What is broken: (target that must notice, header, text as it is, text instead).
MUTANTS = {
    "a slot's number is taken modulo 17":
        ("reader_mutating", "evaluate.h", "segment[number % CLOCKPAGE_SEGMENT_COUNT]", "segment[number % 17]"),
    "the first pass does not check the index again":
        ("reader_interleaved", "evaluate.h",
         "revoked != CLOCKPAGE_REVOKED_NO ||\n\t\t\t       CLOCKPAGE_LOAD(page->index) != newest.number))",
         "revoked != CLOCKPAGE_REVOKED_NO))"),
    "later passes do not check the index again":
        ("reader_interleaved", "evaluate.h", "if (CLOCKPAGE_LOAD(page->index) == newest.number) {", "if (1) {"),
    "the history reaches into the slot that is being filled":
        ("reader_interleaved", "abi.h", "#define CLOCKPAGE_HISTORY 14", "#define CLOCKPAGE_HISTORY 15"),
    "an error of a dropped counter value is kept":
        ("reader_interleaved", "evaluate.h", "result.error = CLOCKPAGE_E_BUSY; /*", "/*"),
    "the reader tries a thousand times":
        ("reader_mutating", "evaluate.h", "pass < CLOCKPAGE_MAX_PASSES; pass++", "pass < 1000; pass++"),
    "delta_shift is not checked":
        ("reader", "reader.h", "shift > CLOCKPAGE_MAX_DELTA_SHIFT || ", ""),
    "the cap of the ticks is passed by":
        ("reader", "evaluate.h", "if (CLOCKPAGE_UNLIKELY(span > CLOCKPAGE_MAX_TICKS >> reader->delta_shift))",
         "if (0)"),
    "a slot's number is not checked":
        ("reader", "evaluate.h", "if (CLOCKPAGE_LOAD(s->number) != newest - back)", "if (0)"),
    "an unknown status is passed on":
        ("reader", "evaluate.h", "if (CLOCKPAGE_UNLIKELY(status > CLOCKPAGE_STATUS_UNRELIABLE))", "if (0)"),
    "a leap in sight does not change the indicator":
        ("reader", "evaluate.h", "*said = clockpage_say_leap_(s, clock, tai, line.leap_start_ns);", ";"),
    "a clock that does not leap is ambiguous":
        ("reader", "evaluate.h", "if (clock == CLOCKPAGE_REALTIME && start == end", "if (start == end"),
    "RAW is taken for TAI":
        ("reader", "evaluate.h", "if (bounds && clock == CLOCKPAGE_MONOTONIC_RAW)", "if (0)"),
    "a page may make now_leased wait":
        ("reader", "clockpage.hpp", "std::uint64_t{1} << 34", "std::uint64_t{1} << 44"),
    "the view is not looked at again by what is remembered":
        ("view", "view.h", "newest.number ||\n\t\t\t       CLOCKPAGE_LOAD(reader->view->index) != reader->number ||",
         "newest.number ||"),
    "its ancestors are not looked at again by what is remembered":
        ("view", "view.h", "(nested && !clockpage_view_same_ancestors_(reader))", "0"),
    "the view is not looked at again after a reading":
        ("view", "view.h", "return CLOCKPAGE_LOAD(now->view->index) == now->number &&\n\t       clockpage",
         "return clockpage"),
    "the view is not looked at again when it is taken":
        ("view", "view_take.h", "if (CLOCKPAGE_LOAD(reader->view->index) == reader->number &&", "if ("),
    "an ancestor may be any slot":
        ("view", "view_take.h", "if (number != parent)", "if (0)"),
    "more ancestors are looked at than were given":
        ("view", "view_take.h", "if (reader->depth == reader->ancestor_count)", "if (0)"),
    "the depth of an earlier look is kept":
        ("view", "view_take.h", "reader->depth = 0;", ";"),
    "a captured value is read under any marker":
        ("view", "view.h", "if (!is_now && marker != now.disruption_marker)", "if (0)"),
    "now keeps its counter value for another view":
        ("view", "view.h", "if (is_now)\n\t\t\tguest = clockpage_counter_ordered();", ";"),
    "a data page may be anywhere":
        ("view", "view_take.h", "if (offset % CLOCKPAGE_PAGE_SIZE || offset < CLOCKPAGE_PAGE_SIZE ||\n\t\t    offset >",
         "if (0 && offset >"),
    "a view is taken a thousand times":
        ("view", "view_take.h", "pass < CLOCKPAGE_MAX_PASSES; pass++", "pass < 1000; pass++"),
}


class FuzzBites(unittest.TestCase):
    def replay(self, target, header=None, old=None, new=None):
        """Compiles a target over the (changed) headers and replays its corpus. Returns the finished process."""
        with tempfile.TemporaryDirectory() as name:
            copy = pathlib.Path(name)
            for part in ("abi", "consumer"):
                shutil.copytree(TOP / part / "include", copy / "include", dirs_exist_ok=True)
            if header:
                path = copy / "include/clockpage" / header
                text = path.read_text(encoding="utf-8")
                self.assertEqual(text.count(old), 1, f"{header} has changed: {old!r}")
                path.write_text(text.replace(old, new), encoding="utf-8")
            program = copy / "fuzz"
            library = BIN.parent / "lib"
            subprocess.run(
                [CXX, "-std=c++20", "-O0", f"-I{copy}/include", f"-I{TOP}/consumer",
                 str(TOP / f"consumer/{target}_fuzz.cpp"), str(TOP / "tests/fuzz_replay.cpp"), "-o", str(program),
                 f"-L{library}", "-lclockpage", f"-Wl,-rpath,{library}"], check=True)
            seeds = sorted(TOP.glob("spec/vectors/*.page")) if target == "reader" else []
            return subprocess.run([program, TOP / f"tests/corpus/{target}_fuzz", *seeds], capture_output=True,
                                  text=True, check=False)

    def test_the_true_headers_pass(self):
        for target in ("reader", "reader_mutating", "reader_interleaved", "view"):
            with self.subTest(target):
                done = self.replay(target)
                self.assertEqual(done.returncode, 0, done.stdout[-300:] + done.stderr)

    def test_every_mutant_is_noticed(self):
        for what, mutant in MUTANTS.items():
            with self.subTest(what):
                done = self.replay(*mutant)
                self.assertNotEqual(done.returncode, 0, "not noticed")
                self.assertIn("broken promise", done.stderr)


if __name__ == "__main__":
    unittest.main()
