# SPDX-License-Identifier: MIT
# timeout: 180
"""libclockpage-preload.so and `clockpage run`: programs that know nothing of clockpage, on its clocks.

The daemon is real; its source is simulated, so that its clock cannot be taken for the kernel's: it is
2016-12-31, three minutes before a leap second that the smeared page has nearly smeared.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from programs import BIN, DAEMON, TOOL, end, start, tool

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARY = os.path.join(os.path.dirname(BIN), "lib", "libclockpage-preload.so")
HELPER = os.path.join(BIN, "preload_helper")
IN_2016 = ("--source", "sim", "--sim-start", "2016-12-31T23:56:00Z", "--sim-tai-offset-s", "36",
           "--sim-leap", "1", "--smear", "utc-sls", "--sim-max-frequency-ppb", "0",
           "--realtime-priority", "none")
SECOND = 10**9
CLOCKS = ("realtime", "monotonic", "raw", "boottime", "tai")
WARNING = re.compile(r"\Alibclockpage-preload: [^\n]*\n\Z")
# No simulated clock of 2016 is nearer to the kernel's.
APART = 300 * 86400 * SECOND


def command(*arguments, environment=None, **options):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CLOCKPAGE_")}
    inherited.pop("LD_PRELOAD", None)
    # Or a `clockpage` with AddressSanitizer refuses to be run with any library before it.
    inherited["ASAN_OPTIONS"] = inherited.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    return subprocess.run(arguments, capture_output=True, text=True, timeout=100, check=False,
                          env={**inherited, "TZ": "UTC", "LC_ALL": "C", **(environment or {})}, **options)


def run(*arguments, **options):
    """clockpage run, its options before "--"."""
    return command(TOOL, "run", *arguments, **options)


class PreloadTest(unittest.TestCase):
    def make_directory(self):
        directory = tempfile.mkdtemp(prefix="clockpage-preload.")
        self.addCleanup(shutil.rmtree, directory)
        return directory

    def produce(self, *options):
        directory = self.make_directory()
        daemon = start(directory, DAEMON, "--dir", directory, *IN_2016, *options)
        self.addCleanup(end, daemon)
        return directory, daemon

    def good(self, done, warned=False):
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        if warned:
            self.assertRegex(done.stderr, WARNING)
        else:
            self.assertEqual(done.stderr, "")
        return done.stdout

    def assert_kernels(self, ns):
        self.assertLess(abs(ns - time.time_ns()), 60 * SECOND)


class ProgramsTest(PreloadTest):
    """All under one daemon."""
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="clockpage-preload.")
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        daemon = start(cls.dir, DAEMON, "--dir", cls.dir, *IN_2016)
        cls.addClassCleanup(end, daemon)

    def run_here(self, *arguments, **options):
        return run("--dir", self.dir, *arguments, **options)

    def page_ns(self, smeared=False):
        code, out, err = tool("read", "--json", "--dir", self.dir, *(["--smeared"] if smeared else []))
        self.assertEqual(code, 0, err)
        return {name: clock["ns"] for name, clock in json.loads(out)["clocks"].items()}

    def between_reads(self, program, smeared=False):
        """What the program says, in ns, and the page's REALTIME before and after; the three less than
        0.3 s apart, for UTC and the smeared clock are further apart than that."""
        options = ["--smeared"] if smeared else []
        for _ in range(50):
            before = self.page_ns(smeared)["realtime"]
            out = self.good(self.run_here(*options, "--", *program))
            after = self.page_ns(smeared)["realtime"]
            if after - before < 3 * SECOND // 10:
                return before, out, after
        self.fail("this machine is too busy to read a page twice within 0.3 s")

    def assert_tells(self, program, unit_ns, smeared=False):
        before, out, after = self.between_reads(program, smeared)
        ns = int(out.strip().replace(".", "").replace(",", "")) * unit_ns
        self.assertLessEqual(before // unit_ns * unit_ns, ns, program)
        self.assertLessEqual(ns, after, program)
        return ns

    def test_date_tells_smeared_time_and_its_neighbour_utc(self):
        utc, smeared = self.page_ns()["realtime"], self.page_ns(True)["realtime"]
        self.assertGreater(utc - smeared, SECOND // 2)  # or the rest would show nothing
        self.assert_tells(["date", "+%s%N"], 1)
        self.assert_tells(["date", "+%s%N"], 1, smeared=True)

    def test_python_bash_and_perl_tell_the_pages_time(self):
        for smeared in (False, True):
            self.assert_tells(["python3", "-c", "import time; print(time.time_ns())"], 1, smeared)
            self.assert_tells(["bash", "-c", "echo $EPOCHREALTIME"], 1000, smeared)
            self.assert_tells(["perl", "-MTime::HiRes=gettimeofday", "-e", 'printf "%d%06d", gettimeofday'],
                              1000, smeared)
            self.assert_tells(["perl", "-e", "print time"], SECOND, smeared)

    def test_every_clock_is_the_pages(self):
        for smeared in (False, True):
            before = self.page_ns(smeared)
            said = json.loads(self.good(self.run_here(*(["--smeared"] if smeared else []), "--", HELPER, "clocks")))
            after = self.page_ns(smeared)
            for name in CLOCKS:
                self.assertTrue(before[name] <= said[name] <= after[name], (name, before, said, after))
            for name in ("realtime", "monotonic"):
                self.assertTrue(before[name] <= said[name + "_coarse"] <= after[name], name)
            self.assertTrue(said["cpu"] <= said["kernel_cpu"] < said["cpu"] + SECOND)
            self.assert_kernels(said["kernel_realtime"])

    def test_static_constructors_of_program_and_libraries_are_told_the_pages_time(self):
        said = json.loads(self.good(self.run_here("--", HELPER, "clocks")))
        self.assertTrue(said["library_constructor"] <= said["constructor"] <= said["realtime"], said)
        self.assertLess(said["realtime"] - said["library_constructor"], 20 * SECOND)

    def test_all_functions_tell_one_time(self):
        self.good(self.run_here("--", HELPER, "one_time"))
        self.good(self.run_here("--smeared", "--", HELPER, "one_time"))

    def test_errors_and_errno_are_the_kernels(self):
        self.good(self.run_here("--", HELPER, "errors"))
        self.good(command(HELPER, "errors"))  # the helper is right about the kernel

    def test_a_null_timespec_is_what_it_is_without_the_library(self):
        self.assertEqual(self.run_here("--", HELPER, "null").returncode,
                         command(HELPER, "null").returncode)

    def test_fork_and_exec(self):
        before = self.page_ns()["realtime"]
        said = json.loads(self.good(self.run_here("--", HELPER, "fork")))
        self.assertTrue(before <= said["realtime"] <= self.page_ns()["realtime"])

    def test_signal_handlers_read_in_the_midst_of_reads(self):
        self.good(self.run_here("--", HELPER, "signals"))

    def test_threads_see_no_time_go_backwards(self):
        self.good(self.run_here("--", HELPER, "threads"))

    def test_a_program_with_thread_sanitizer(self):
        said = self.good(self.run_here("--", "setarch", "-R", HELPER + "_tsan", "clocks"))
        self.assertLess(json.loads(said)["library_constructor"], self.page_ns()["realtime"])
        self.good(self.run_here("--", "setarch", "-R", HELPER + "_tsan", "threads"))

    def test_loaded_late_it_reads_the_page_and_stays(self):
        said = json.loads(self.good(command(HELPER, "load", LIBRARY,
                                            environment={"CLOCKPAGE_DIR": self.dir})))
        self.assertTrue(0 < self.page_ns()["realtime"] - said["loaded"] < 60 * SECOND)
        self.assert_kernels(said["own"])

    def test_it_brings_the_c_library_only_and_leaves_no_file_open(self):
        maps = self.good(self.run_here("--", "cat", "/proc/self/maps"))
        self.assertIn("libclockpage-preload.so", maps)
        self.assertRegex(maps, rf"(?m) r--s .* {re.escape(self.dir)}/region$")
        self.assertNotIn("libstdc++", maps)
        self.assertNotIn("libclockpage.so", maps)
        files = ("python3", "-c", "import os; print(os.listdir('/proc/self/fd'))")
        self.assertEqual(self.good(self.run_here("--", *files)), self.good(command(*files)))

    def test_it_exports_the_names_it_takes_over_and_no_other(self):
        with open(os.path.join(ROOT, "consumer", "preload", "exported.list"), encoding="ascii") as file:
            wanted = file.read().split()
        out = self.good(command("nm", "-D", "--defined-only", LIBRARY))
        self.assertEqual([line.split()[-1] for line in out.splitlines()], wanted)

    def test_a_statically_linked_program_is_not_affected(self):
        self.assert_kernels(int(self.good(self.run_here("--", os.path.join(BIN, "preload_static")))))

    def test_a_set_user_id_program_is_not_affected(self):
        if os.geteuid() != 0:
            self.skipTest("needs root, to run a set-user-id program as somebody else")
        directory = self.make_directory()
        os.chmod(directory, 0o755)
        date = shutil.copy(shutil.which("date"), directory)
        os.chmod(date, 0o4755)
        tell = ("setpriv", "--reuid", "65534", "--clear-groups", date, "+%s%N")
        self.assert_kernels(int(self.good(self.run_here("--", *tell))))
        os.chmod(date, 0o755)  # or the above would show nothing
        os.chmod(self.dir, 0o755)
        self.assertLess(int(self.good(self.run_here("--", *tell))), self.page_ns()["realtime"])

    def test_the_innermost_run_decides(self):
        inner = [TOOL, "run", "--dir", self.dir]
        self.assert_tells([*inner, "--", "date", "+%s%N"], 1)
        before = self.page_ns()["realtime"]
        out = self.good(self.run_here("--smeared", "--", *inner, "--", "date", "+%s%N"))
        self.assertLessEqual(before, int(out))
        out = self.good(self.run_here("--", *inner, "--", "sh", "-c", "echo $LD_PRELOAD"))
        self.assertEqual(out.strip(), os.path.realpath(LIBRARY))

    def test_it_is_put_before_other_libraries(self):
        other = os.path.join(os.path.dirname(LIBRARY), "libpreload_early.so")
        out = self.good(self.run_here("--", "sh", "-c", "echo $LD_PRELOAD", environment={"LD_PRELOAD": other}))
        self.assertEqual(out.strip(), f"{os.path.realpath(LIBRARY)}:{other}")

    def test_a_relative_directory_survives_a_change_of_directory(self):
        done = run("--dir", os.path.basename(self.dir), "--", "sh", "-c", "cd / && exec date +%s%N",
                   cwd=os.path.dirname(self.dir))
        self.assertLess(int(self.good(done)), self.page_ns()["realtime"])


class CommandLineTest(PreloadTest):
    def one_line(self, done, code, *words):
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertRegex(done.stderr, r"\Aclockpage: [^\n]*\n\Z")
        for word in words:
            self.assertIn(word, done.stderr)

    def test_the_exit_code_is_the_commands(self):
        for code in (0, 1, 9, 255):
            self.assertEqual(run("--", "sh", "-c", f"exit {code}").returncode, code)
        self.assertEqual(run("--", "sh", "-c", "kill -TERM $$").returncode, -signal.SIGTERM)

    def test_a_command_that_cannot_be_run_is_what_it_is_to_env(self):
        self.one_line(run("--", "no-such-command"), 127, "no-such-command: No such file or directory")
        self.one_line(run("--", "/etc/passwd"), 126, "/etc/passwd: Permission denied")
        self.one_line(run("--", "/"), 126, "/: Permission denied")
        self.one_line(run("--", ""), 127)

    def test_arguments_arrive_as_they_are(self):
        arguments = ["[a,b]", "", "{}", "a,b", "--", "--help", "--dir", "x y", "'q'", '"z"', "-u", "%%"]
        out = self.good(run("--", "printf", "<%s>", *arguments))
        self.assertEqual(out, "".join(f"<{argument}>" for argument in arguments))

    def test_bad_input_is_one_line(self):
        self.one_line(run(), 2, "no command is given")
        self.one_line(run("--"), 2, "no command is given")
        self.one_line(run("--quick", "--", "date"), 2, "--quick")
        self.one_line(run("date"), 2, "date")
        self.one_line(run("--dir"), 2, "--dir")

    def test_a_library_that_ld_preload_cannot_name_is_refused(self):
        directory = os.path.join(self.make_directory(), "with a space")
        for part in ("bin", "lib"):
            os.makedirs(os.path.join(directory, part))
        library = os.path.join(directory, "lib", "libclockpage.so.1")
        shutil.copy(os.path.join(os.path.dirname(LIBRARY), "libclockpage.so.1"), library)
        environment = {"LD_LIBRARY_PATH": os.path.dirname(library)}
        self.one_line(run("--", "date", environment=environment), 1, "libclockpage-preload.so: No such file")
        shutil.copy(LIBRARY, os.path.dirname(library))
        self.one_line(run("--", "date", environment=environment), 1, "a space or a colon")

    def test_help_says_who_is_not_affected(self):
        out = self.good(run("--help"))
        for words in ("set-user-id", "statically linked", "Sleeps", "SIGBUS", "127"):
            self.assertIn(words, out)


class NoPageTest(PreloadTest):
    """The kernel's time, and one warning that can be silenced."""

    def kernels_time(self, *options, warned=True):
        said = json.loads(self.good(run(*options, "--", HELPER, "clocks"), warned=warned))
        self.assert_kernels(said["library_constructor"])
        for name in (*CLOCKS, "cpu"):
            self.assertTrue(0 <= said["kernel_" + name] - said[name] < 60 * SECOND, (name, said))

    def test_without_a_region(self):
        directory = self.make_directory()
        self.kernels_time("--dir", directory)
        self.assertIn(f"{directory}/region: open: No such file", run("--dir", directory, "--", "date").stderr)
        self.kernels_time("--dir", directory, "--quiet", warned=False)

    def test_a_program_that_does_not_ask_for_the_time_is_not_warned(self):
        self.good(run("--dir", self.make_directory(), "--", "true"))

    def test_errors_and_functions_are_right_without_a_page_too(self):
        for what in ("one_time", "errors", "signals", "threads"):
            self.good(run("--quiet", "--dir", self.make_directory(), "--", HELPER, what))

    def test_whatever_the_directory_holds(self):
        for what in ("directory", "pipe", "garbage", "empty", "short"):
            with self.subTest(what):
                directory = self.make_directory()
                region = os.path.join(directory, "region")
                if what == "directory":
                    os.mkdir(region)
                elif what == "pipe":
                    os.mkfifo(region)
                else:
                    with open(region, "wb") as file:
                        file.write({"garbage": os.urandom(32768), "empty": b"", "short": b"CLKPGDIR"}[what])
                self.kernels_time("--dir", directory)

    def test_in_another_time_namespace(self):
        directory, _ = self.produce()
        done = command("unshare", "--user", "--map-root-user", "--time", "--monotonic", "5000", "--",
                       TOOL, "run", "--dir", directory, "--", HELPER, "clocks")
        said = json.loads(self.good(done, warned=True))
        self.assertIn("time namespace", done.stderr)
        self.assertTrue(0 <= said["kernel_monotonic"] - said["monotonic"] < SECOND * 60)

    def test_a_file_where_sealed_memory_is_asked_for(self):
        directory, _ = self.produce()
        done = run("--sealed", "--dir", directory, "--", "date", "+%s%N")
        self.assert_kernels(int(self.good(done, warned=True)))
        self.assertIn("not sealed", done.stderr)

    def test_sealed_memory_where_it_is_asked_for(self):
        directory, _ = self.produce("--sealed")
        out = self.good(run("--sealed", "--dir", directory, "--", "date", "+%Y"))
        self.assertEqual(out.strip()[:4], "2016")

    def test_tai_is_the_kernels_where_the_page_does_not_know_it(self):
        directory = self.make_directory()
        daemon = start(directory, DAEMON, "--dir", directory, "--source", "sim", "--leap-table", "/dev/null",
                       "--realtime-priority", "none")
        self.addCleanup(end, daemon)
        done = run("--dir", directory, "--", HELPER, "clocks")
        said = json.loads(self.good(done, warned=True))
        self.assertIn("TAI", done.stderr)
        self.assertTrue(0 <= said["kernel_tai"] - said["tai"] < 60 * SECOND)
        self.assertGreater(said["kernel_monotonic"] - said["monotonic"], 0)


class WhileItRunsTest(PreloadTest):
    """What becomes of a program that runs while something becomes of the region."""

    def watch(self, directory):
        program = subprocess.Popen([TOOL, "run", "--dir", directory, "--", HELPER, "watch"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

        def stop():
            program.kill()
            program.communicate()
        self.addCleanup(stop)
        return program

    def ask(self, program):
        program.stdin.write("\n")
        program.stdin.flush()
        return json.loads(program.stdout.readline())

    def assert_pages(self, said):
        self.assertGreater(said["kernel_realtime"] - said["realtime"], APART)

    def test_the_clock_goes_on_without_its_writer(self):
        directory, daemon = self.produce()
        program = self.watch(directory)
        first = self.ask(program)
        end(daemon, signal.SIGKILL)
        time.sleep(0.3)  # past the lease
        second = self.ask(program)
        self.assert_pages(second)
        for name in CLOCKS:
            passed = second["kernel_" + name] - first["kernel_" + name]
            self.assertLess(abs(second[name] - first[name] - passed), SECOND // 4, name)
        self.assertEqual(program.communicate()[1], "")

    def test_a_revoked_page_is_given_up_with_one_warning_and_never_taken_again(self):
        directory, daemon = self.produce()
        program = self.watch(directory)
        self.assert_pages(self.ask(program))
        os.unlink(os.path.join(directory, "region"))  # the daemon revokes the pages of a region that is gone
        daemon.wait(timeout=60)
        again = start(directory, DAEMON, "--dir", directory, *IN_2016)
        self.addCleanup(end, again)
        for _ in range(3):
            self.assert_kernels(self.ask(program)["realtime"])
        self.assert_pages(self.ask(self.watch(directory)))  # a new program
        warning = program.communicate()[1]
        self.assertRegex(warning, WARNING)
        self.assertIn("revoked", warning)


if __name__ == "__main__":
    unittest.main()
