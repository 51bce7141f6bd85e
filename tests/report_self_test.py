# SPDX-License-Identifier: MIT
"""The counts that CI trusts: report.py against outputs as ctest writes them."""
import os
import subprocess
import sys
import tempfile
import unittest
from xml.sax.saxutils import escape, quoteattr

REPORT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "report.py")

GTEST_OK = """[==========] Running 2 tests from 1 test suite.
[ RUN      ] Line.Holds
[       OK ] Line.Holds (0 ms)
[ RUN      ] Line.NeedsRoot
/src/line_test.cpp:7: Skipped
not root

[  SKIPPED ] Line.NeedsRoot (0 ms)
[==========] 2 tests from 1 test suite ran. (0 ms total)
[  PASSED  ] 1 test.
[  SKIPPED ] 1 test, listed below:
[  SKIPPED ] Line.NeedsRoot
"""
GTEST_FAILED = GTEST_OK + "[  FAILED  ] 1 test, listed below:\n[  FAILED  ] Line.Other\n"
UNITTEST = """test_a (bad.Bad.test_a) ... ok
test_b (bad.Bad.test_b) ... skipped 'no qemu'
test_c (bad.Bad.test_c) ... FAIL

----------------------------------------------------------------------
Ran 3 tests in 0.012s

FAILED (failures=1, skipped=1)
"""


def testcase(name, status, output="", child=""):
    return (f'<testcase name={quoteattr(name)} time="1.5" status="{status}">{child}'
            f"<system-out>{escape(output)}</system-out></testcase>")


def skipped(message):
    return f'<skipped message="{message}"/>'


class ReportTest(unittest.TestCase):
    def report(self, *cases, options=()):
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as file:
            file.write("<testsuite>" + "".join(cases) + "</testsuite>")
            file.flush()
            done = subprocess.run([sys.executable, REPORT, file.name, *options],
                                  capture_output=True, text=True)
        self.assertEqual(done.stderr, "")
        return done.returncode, done.stdout.rstrip("\n").split("\n")

    def test_counts_cases_of_googletest_and_names_the_reason_of_a_skip(self):
        code, lines = self.report(
            testcase("line_test", "notrun", GTEST_OK, skipped("SKIP_REGULAR_EXPRESSION_MATCHED")))
        self.assertEqual((code, lines[-1]), (0, "1 passed, 0 failed, 1 skipped"))
        self.assertIn("skipped: line_test: Line.NeedsRoot: not root", lines)

    def test_a_failed_case_counts_even_where_ctest_calls_the_program_skipped(self):
        code, lines = self.report(
            testcase("line_test", "notrun", GTEST_FAILED, skipped("SKIP_REGULAR_EXPRESSION_MATCHED")))
        self.assertEqual((code, lines[-1]), (1, "1 passed, 1 failed, 1 skipped"))

    def test_a_program_that_ended_before_its_summary_failed(self):
        cut = GTEST_OK[:GTEST_OK.index("[  PASSED")]
        code, lines = self.report(
            testcase("line_test", "notrun", cut, skipped("SKIP_REGULAR_EXPRESSION_MATCHED")))
        self.assertEqual((code, lines[-1]), (1, "0 passed, 1 failed, 0 skipped"))

    def test_counts_cases_of_unittest(self):
        code, lines = self.report(testcase("bad_input_test", "fail", UNITTEST))
        self.assertEqual((code, lines[-1]), (1, "1 passed, 1 failed, 1 skipped"))
        self.assertIn("skipped: bad_input_test: test_b: no qemu", lines)

    def test_a_program_without_cases_is_one_case(self):
        code, lines = self.report(
            testcase("a", "run"), testcase("b", "notrun", "no root\n", skipped("SKIP_RETURN_CODE=77")))
        self.assertEqual((code, lines[-1]), (0, "1 passed, 0 failed, 1 skipped"))
        self.assertIn("skipped: b: b: no root", lines)

    def test_a_program_that_is_not_there_failed(self):
        code, lines = self.report(
            testcase("a", "notrun", "", skipped("Unable to find executable")))
        self.assertEqual((code, lines[-1]), (1, "0 passed, 1 failed, 0 skipped"))

    def test_a_number_of_skips_other_than_the_expected_one_fails(self):
        case = testcase("b", "notrun", "no root\n", skipped("SKIP_RETURN_CODE=77"))
        self.assertEqual(self.report(case, options=["--expected-skips", "1"])[0], 0)
        code, lines = self.report(case, options=["--expected-skips", "0"])
        self.assertEqual((code, lines[-1]), (1, "0 passed, 0 failed, 1 skipped"))

    def test_counts_of_several_builds_are_added_and_their_names_shown(self):
        with tempfile.TemporaryDirectory() as top:
            def run(**builds):
                for name, cases in builds.items():
                    os.makedirs(os.path.join(top, name), exist_ok=True)
                    with open(os.path.join(top, name, "test-results.xml"), "w",
                              encoding="utf-8") as file:
                        file.write("<testsuite>" + "".join(cases) + "</testsuite>")
                done = subprocess.run([sys.executable, REPORT,
                                       *(os.path.join(top, name) for name in builds)],
                                      capture_output=True, text=True, check=False)
                return done.returncode, done.stdout.rstrip("\n").split("\n")
            case = testcase("b", "notrun", "no root\n", skipped("SKIP_RETURN_CODE=77"))
            code, lines = run(release=[testcase("a", "run"), case], aarch64=[case])
            self.assertEqual((code, lines[-1]), (0, "1 passed, 0 failed, 2 skipped"))
            self.assertIn("skipped: aarch64/b: b: no root", lines)
            code, lines = run(release=[testcase("a", "run")], aarch64=[testcase("a", "fail")])
            self.assertEqual((code, lines[-1]), (1, "1 passed, 1 failed, 0 skipped"))
            self.assertIn("failed: aarch64/a", lines)
            code, lines = run(release=[testcase("a", "run")], aarch64=[])
            self.assertEqual((code, lines[-1]), (1, "1 passed, 0 failed, 0 skipped"))

    def test_no_test_at_all_fails(self):
        self.assertEqual(self.report()[0], 1)


if __name__ == "__main__":
    unittest.main()
