# SPDX-License-Identifier: MIT
# labels: soak
# timeout: 400
"""Time namespaces: `clockpage timens run`, the view it asks for, and what is read through it there.

Namespaces, daemon and kernel are real. CLOCKPAGE_SOAK=1: 10 million timestamps are exchanged rather than
200,000, and the distribution of differences from the kernel is judged, not only its median.
"""
import ctypes
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from programs import BIN, DAEMON, SOAK, TOOL, end, start, tool

TIMENS = os.path.join(BIN, "clockpage-timens")
PROBE = os.path.join(BIN, "timens_probe")
SECOND = 10**9
SAMPLES = 100000 if SOAK else 3000
EXCHANGES = 10_000_000 if SOAK else 200_000
CLOCKS = ("realtime", "monotonic", "raw", "boottime", "tai")
CLONE_NEWTIME = 0x80
UNFIT = 77

# Whoever runs this in the background has it ignored, and so would what is started here.
signal.signal(signal.SIGINT, signal.default_int_handler)


def why_no_namespace():
    """Why this machine makes no time namespace; None: it does."""
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        os._exit(ctypes.get_errno() if libc.unshare(CLONE_NEWTIME) else 0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return None if code == 0 else f"unshare(CLONE_NEWTIME): {os.strerror(code)}"


NO_NAMESPACE = why_no_namespace()


def ns_of(seconds):
    """Decimal seconds, exact."""
    sign = -1 if seconds.startswith("-") else 1
    whole, _, part = seconds.lstrip("+-").partition(".")
    return sign * (int(whole or 0) * SECOND + int(part.ljust(9, "0") or 0))


def environment(**more):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CLOCKPAGE_")}
    inherited.pop("LD_PRELOAD", None)
    inherited["ASAN_OPTIONS"] = inherited.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    return {**inherited, "TZ": "UTC", "LC_ALL": "C", **more}


def command(*arguments, **options):
    return subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False,
                          env=environment(**options.pop("variables", {})), **options)


class TimensTest(unittest.TestCase):
    OPTIONS = ()

    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="clockpage-timens.")
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.daemon = start(cls.dir, DAEMON, "--dir", cls.dir, *cls.OPTIONS)
        cls.addClassCleanup(end, cls.daemon)
        cls.wait_for_control()

    @classmethod
    def wait_for_control(cls):
        deadline = time.monotonic() + 20
        while tool("view", "list", "--dir", cls.dir)[0] != 0:
            if time.monotonic() > deadline:
                raise AssertionError(tool("view", "list", "--dir", cls.dir)[2])
            time.sleep(0.02)

    def need_namespaces(self):
        if NO_NAMESPACE:
            self.skipTest(NO_NAMESPACE)

    def run_in(self, *arguments, **options):
        """clockpage timens run, its options before "--"."""
        return command(TOOL, "timens", "run", "--dir", self.dir, *arguments, **options)

    def good(self, done):
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stderr, "")
        return done.stdout

    def views(self):
        return sorted(os.path.basename(path) for path in glob.glob(os.path.join(self.dir, "views", "*")))

    def one_line(self, done, code, *words, who="clockpage-timens"):
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertRegex(done.stderr, rf"\A{who}: [^\n]*\n\Z")
        for word in words:
            self.assertIn(word, done.stderr)


class ClocksTest(TimensTest):
    """Through the view: the namespace's own clocks, at the same counter value."""

    def probe(self, what, run):
        self.need_namespaces()
        done = run("--", PROBE, what, str(SAMPLES))
        if done.returncode == UNFIT:
            self.skipTest(done.stderr.strip())
        said = json.loads(self.good(done))
        for name in CLOCKS[:-1]:
            found = said[name]
            print(f"{what} {said['monotonic_offset_ns']:+} {said['boottime_offset_ns']:+} ns: {name:9} "
                  f"{found['samples']} samples, |view - kernel| median {found['median_ns']}, 99.9 % "
                  f"{found['p999_ns']}, most {found['max_ns']} ns; {found['overdue']} overdue", flush=True)
        return said

    def assert_clocks(self, said, monotonic, boottime):
        self.assertEqual(said["monotonic_offset_ns"], ns_of(monotonic))
        self.assertEqual(said["boottime_offset_ns"], ns_of(boottime))
        for name in CLOCKS:
            found = said[name]
            # A busy machine takes the writer's CPU away, and readings are overdue; not all of them.
            self.assertGreater(found["samples"], SAMPLES // 4, (name, found))
            # To the bit: the host's clock plus the namespace's offset; REALTIME and TAI the host's.
            self.assertEqual(found["unlike_page"], 0, name)
            if name == "tai":
                continue  # the kernel's is UTC where nobody has told it; the page's is the table's
            self.assertEqual(found["outside_bounds"], 0, name)
            self.assertLessEqual(found["median_ns"], 3, name)
            if SOAK:
                self.assertLessEqual(found["p999_ns"], 3, name)

    def test_offsets_of_both_signs_and_of_parts_of_a_second(self):
        for monotonic, boottime in (("1000", "-0.5"), ("-0.000000001", "86400.123456789"),
                                    ("-5.25", "0"), ("4000000000.5", ".000000001")):
            with self.subTest(monotonic=monotonic, boottime=boottime):
                said = self.probe("compare", lambda *arguments, m=monotonic, b=boottime: self.run_in(
                    "--monotonic", m, "--boottime", b, *arguments))
                self.assert_clocks(said, monotonic, boottime)

    def test_the_real_vdso_at_the_same_counter_values(self):
        said = self.probe("vdso", lambda *arguments: self.run_in(
            "--monotonic", "77.000000007", "--boottime", "-3.3", *arguments))
        self.assert_clocks(said, "77.000000007", "-3.3")

    def test_in_a_namespace_within_a_namespace(self):
        said = self.probe("compare", lambda *arguments: self.run_in(
            "--monotonic", "100", "--boottime", "200.5", "--",
            TOOL, "timens", "run", "--monotonic", "7.5", *arguments))
        self.assert_clocks(said, "7.5", "200.5")  # not 107.5: the kernel's are absolute

    def test_in_a_namespace_of_somebody_else(self):
        """The view is made outside, by the number of a process inside."""
        self.need_namespaces()
        with subprocess.Popen(["unshare", "--time", "--monotonic", "12", "--boottime", "-3", "--fork", "cat"],
                              stdin=subprocess.PIPE) as outer:
            try:
                deadline = time.monotonic() + 20
                while not (children := subprocess.run(["ps", "-o", "pid=", "--ppid", str(outer.pid)], check=False,
                                                      capture_output=True, text=True).stdout.split()):
                    self.assertLess(time.monotonic(), deadline)
                code, out, err = tool("view", "add", "container", "--timens-pid", children[0], "--dir", self.dir,
                                      "--json")
                self.assertEqual(code, 0, err)
                self.addCleanup(tool, "view", "remove", "container", "--dir", self.dir)
                view = json.loads(out)["view"]
                self.assertEqual((view["monotonic_offset_ns"], view["boottime_offset_ns"]), (12 * SECOND, -3 * SECOND))
                said = self.probe("compare", lambda _, *arguments: command(
                    "nsenter", "--time", "--target", children[0], *arguments,
                    variables={"CLOCKPAGE_DIR": self.dir, "CLOCKPAGE_VIEW": view["path"]}))
                self.assert_clocks(said, "12", "-3")
            finally:
                outer.stdin.close()

    def test_timestamps_exchanged_with_the_host_never_go_backwards(self):
        self.need_namespaces()
        shared = os.path.join(self.dir, "exchange")
        with open(shared, "wb"):
            pass
        arguments = [PROBE, "exchange", shared, str(EXCHANGES)]
        inside = subprocess.Popen([TIMENS, "run", "--dir", self.dir, "--monotonic", "1234.5", "--boottime", "-2",
                                   "--", *arguments], stdout=subprocess.PIPE, text=True, env=environment())
        outside = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True,
                                   env=environment(CLOCKPAGE_DIR=self.dir))
        try:
            said = [json.loads(process.communicate(timeout=3000 if SOAK else 300)[0]) for process in (inside, outside)]
        finally:
            for process in (inside, outside):
                process.kill() if process is outside else process.terminate()
                process.wait(timeout=20)
        print(json.dumps(said), flush=True)
        self.assertEqual([each["through_view"] for each in said], [True, False])
        self.assertEqual(sum(each["exchanges"] for each in said), EXCHANGES)
        for each in said:
            self.assertEqual((each["backward"], each["other_epoch"]), (0, 0), each)


class CompositionTest(TimensTest):
    def offsets_inside(self, *arguments, variables=None):
        """The view that a command finds, while it runs."""
        done = self.run_in(*arguments, "--", "sh", "-c", f'"{TOOL}" view show "${{CLOCKPAGE_VIEW##*/}}" --json && '
                           'echo "$CLOCKPAGE_DIR,$CLOCKPAGE_VIEW,$CLOCKPAGE_VIEW_PARENTS,$LD_PRELOAD"',
                           variables=variables or {})
        shown, _, said = self.good(done).strip().rpartition("\n")
        return json.loads(shown)["view"], said.split(",")

    def test_the_view_is_what_the_kernel_says_of_the_namespace(self):
        self.need_namespaces()
        view, (directory, path, parents, preload) = self.offsets_inside("--monotonic", "5.5", "--name", "mine")
        self.assertEqual((view["name"], view["monotonic_offset_ns"], view["boottime_offset_ns"], view["smeared"],
                          view["counter_offset"], view["parent_generation"]),
                         ("mine", 5 * SECOND + SECOND // 2, 0, False, 0, 0))
        self.assertEqual((directory, path, parents, preload),
                         (self.dir, os.path.join(self.dir, "views", "mine"), "", ""))
        self.assertEqual(self.views(), [])

    def test_a_namespaces_view_is_replaced_by_that_of_one_within_and_its_smear_is_kept(self):
        self.need_namespaces()
        for option, smeared in (("--smeared", True), ("--unsmeared", False)):
            view, _ = self.offsets_inside(
                option, "--monotonic", "100", "--boottime", "200", "--name", "outer", "--",
                TOOL, "timens", "run", "--boottime", "-1", "--name", "inner")
            self.assertEqual((view["name"], view["monotonic_offset_ns"], view["boottime_offset_ns"],
                              view["parent_generation"], view["smeared"]),
                             ("inner", 100 * SECOND, -SECOND, 0, smeared))

    def test_the_kernels_offsets_are_all_whatever_view_there_is_outside(self):
        """On the region's own kernel they are relative to the region's clocks."""
        self.need_namespaces()
        code, _, err = tool("view", "add", "machine", "--monotonic", "1000", "--boottime", "2000", "--tsc-offset", "5",
                            "--smeared", "--dir", self.dir)
        self.assertEqual(code, 0, err)
        self.addCleanup(tool, "view", "remove", "machine", "--dir", self.dir)
        machine = os.path.join(self.dir, "views", "machine")
        for option, smeared in ((["--monotonic", "5"], True), (["--monotonic", "5", "--unsmeared"], False)):
            view, (_, _, parents, _) = self.offsets_inside(*option, variables={"CLOCKPAGE_VIEW": machine})
            self.assertEqual((view["monotonic_offset_ns"], view["boottime_offset_ns"], view["counter_offset"],
                              view["parent_generation"], view["smeared"]), (5 * SECOND, 0, 0, 0, smeared))
            self.assertEqual((view["source"]["kind"], parents), ("given", ""))

    def test_the_smear_of_a_view_that_is_not_the_daemons_is_not_known(self):
        self.need_namespaces()
        for path in ("/etc/passwd", os.path.join(self.dir, "views", "none")):
            variables = {"CLOCKPAGE_VIEW": path}
            self.one_line(self.run_in("--", "true", variables=variables), 1, "CLOCKPAGE_VIEW", path,
                          "no view of the daemon", "--unsmeared")
            view, _ = self.offsets_inside("--boottime", "-2", "--unsmeared", variables=variables)
            self.assertEqual((view["boottime_offset_ns"], view["smeared"]), (-2 * SECOND, False))


class EnvironmentTest(TimensTest):
    """$CLOCKPAGE_VIEW may have been meant for another process."""

    def read_in(self, path, *arguments, unshare=("--boottime", "86400", "--monotonic", "-3")):
        within = ["unshare", "--time", *unshare, "--fork"] if unshare else []
        return command(*within, TOOL, "read", "--json", "--dir", self.dir, *arguments,
                       variables={"CLOCKPAGE_VIEW": path})

    def test_a_view_of_other_offsets_or_another_counter_is_refused_and_the_namespaces_own_is_taken(self):
        self.need_namespaces()
        namespaces = "the namespace's are -3000000000 ns, +86400000000000 ns"
        for name, options, words in (
                ("own", ("--boottime", "86400", "--monotonic", "-3"), None),
                ("plain", (), ("MONOTONIC +0 ns, BOOTTIME +0 ns", namespaces)),
                ("other", ("--boottime", "86400", "--monotonic", "-3.000000001"),
                 ("MONOTONIC -3000000001 ns, BOOTTIME +86400000000000 ns", namespaces)),
                ("guest", ("--boottime", "86400", "--monotonic", "-3", "--tsc-offset", "-7"),
                 ("its counter is not this kernel's (offset -7,",))):
            code, _, err = tool("view", "add", name, *options, "--dir", self.dir)
            self.assertEqual(code, 0, err)
            self.addCleanup(tool, "view", "remove", name, "--dir", self.dir)
            path = os.path.join(self.dir, "views", name)
            with self.subTest(name):
                done = self.read_in(path)
                if words is None:
                    self.assertEqual(json.loads(self.good(done))["view"]["boottime_offset_ns"], 86400 * SECOND)
                else:
                    self.one_line(done, 1, path, "is not the view of this process's time namespace", *words,
                                  who="clockpage")
                # Who names a view means it.
                self.good(self.read_in(path, "--view", name))
                # On the host none of them is right, but the one without offsets.
                on_host = self.read_in(path, unshare=())
                self.assertEqual(on_host.returncode, 0 if name == "plain" else 1, on_host.stderr)


class DaemonsEnvironmentTest(unittest.TestCase):
    def test_a_daemon_that_inherits_a_view_serves_views_all_the_same(self):
        for options in ((), ("--sealed",)):
            with tempfile.TemporaryDirectory(prefix="clockpage-timens.") as directory:
                daemon = subprocess.Popen([DAEMON, "--dir", directory, "--quiet", "--realtime-priority", "none", *options],
                                          env=environment(CLOCKPAGE_VIEW="/etc/passwd"))
                try:
                    deadline = time.monotonic() + 20
                    while (answer := tool("view", "add", "x", "--dir", directory))[0] != 0:
                        self.assertLess(time.monotonic(), deadline, answer[2])
                        time.sleep(0.05)
                finally:
                    end(daemon)


class GuestTest(TimensTest):
    """A machine with another boot id than the region's: here, of a mount namespace's making. Its daemon is
    the one of a guest, whose view of this machine is "machine"."""

    def setUp(self):
        self.need_namespaces()
        tool("view", "add", "machine", "--monotonic", "1000", "--boottime", "2000", "--dir", self.dir)
        self.machine = os.path.join(self.dir, "views", "machine")
        self.guest = tempfile.mkdtemp(prefix="clockpage-timens.")
        self.addCleanup(shutil.rmtree, self.guest)
        os.symlink(os.path.join(self.dir, "region"), os.path.join(self.guest, "region"))
        daemon = subprocess.Popen([DAEMON, "--dir", self.guest, "--quiet", "--realtime-priority", "none",
                                   "--pass-through", "--parent-view", self.machine])
        self.addCleanup(end, daemon)
        deadline = time.monotonic() + 20
        while tool("view", "list", "--dir", self.guest)[0] != 0:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        self.boot_id = os.path.join(self.guest, "boot_id")
        with open(self.boot_id, "w", encoding="ascii") as file:
            file.write("01234567-89ab-cdef-0123-456789abcdef\n")

    def in_guest(self, *arguments, **options):
        return command("unshare", "--mount", "sh", "-c",
                       f'mount --bind "{self.boot_id}" /proc/sys/kernel/random/boot_id && exec "$@"', "sh",
                       TOOL, "timens", "run", *arguments, **options)

    def test_a_namespaces_view_is_composed_from_the_guests_own(self):
        script = f'"{TOOL}" view show "${{CLOCKPAGE_VIEW##*/}}" --json && ' \
                 'echo "$CLOCKPAGE_VIEW_PARENTS,$CLOCKPAGE_PRELOAD_GUEST"'
        for outside in ({}, {"CLOCKPAGE_VIEW": self.machine}):
            done = self.in_guest("--guest", "--dir", self.guest, "--monotonic", "5", "--unsmeared", "--preload", "--",
                                 "sh", "-c", script, variables=outside)
            shown, _, said = self.good(done).strip().rpartition("\n")
            view = json.loads(shown)["view"]
            self.assertEqual((view["monotonic_offset_ns"], view["boottime_offset_ns"]), (1005 * SECOND, 2000 * SECOND))
            self.assertEqual(said, f"{self.machine},1")

    def test_programs_read_their_namespaces_clocks(self):
        done = self.in_guest("--guest", "--dir", self.guest, "--monotonic", "5", "--boottime", "-1", "--preload", "--",
                             os.path.join(BIN, "preload_helper"), "clocks")
        said = json.loads(self.good(done))
        # This kernel is none of a guest's: its clocks are the region's, and the machine's come on top.
        for name, more in (("monotonic", 1000), ("raw", 1000), ("boottime", 2000), ("realtime", 0)):
            self.assertLess(abs(said[name] - said["kernel_" + name] - more * SECOND), 20 * SECOND, (name, said))

    def test_whose_machine_the_region_is_of_is_to_be_said(self):
        region = os.path.join(self.guest, "region")
        self.one_line(self.in_guest("--dir", self.guest, "--", "true"), 1, region, "boot_id", "--guest")
        self.one_line(self.run_in("--guest", "--", "true"), 1, "--guest", "is of the kernel that runs here")


class RefusedTest(TimensTest):
    def test_offsets_that_the_kernel_refuses(self):
        self.need_namespaces()
        for option, value in (("--monotonic", "-999999999"), ("--boottime", "-999999999.5"),
                              ("--monotonic", "4611686019"), ("--boottime", "9223372036854775807")):
            self.one_line(self.run_in(option, value, "--", "true"), 1, "/proc/self/timens_offsets: " + option[2:],
                          "Numerical result out of range", "4611686018 s")
        self.assertEqual(self.views(), [])

    def test_numbers_that_are_none(self):
        for value in ("", "1e3", "0x10", "1.0000000000", "9223372036854775808", "five"):
            self.one_line(self.run_in(f"--monotonic={value}", "--", "true"), 2, "--monotonic")

    def test_without_the_privilege(self):
        self.need_namespaces()
        for capability, words in (("sys_admin", ("unshare(CLONE_NEWTIME): Operation not permitted", "CAP_SYS_ADMIN")),
                                  ("sys_time", ("timens_offsets", "Operation not permitted", "CAP_SYS_TIME"))):
            done = command("setpriv", f"--bounding-set=-{capability}", f"--inh-caps=-{capability}", "--",
                           TIMENS, "run", "--dir", self.dir, "--boottime", "1", "--", "true")
            self.one_line(done, 1, *words)

    def test_without_a_daemon(self):
        self.need_namespaces()
        directory = tempfile.mkdtemp(prefix="clockpage-timens.")
        self.addCleanup(shutil.rmtree, directory)
        self.one_line(command(TIMENS, "run", "--dir", directory, "--", "touch", os.path.join(directory, "ran")), 1,
                      os.path.join(directory, "control"), "is clockpaged running?")
        self.assertFalse(os.path.exists(os.path.join(directory, "ran")))

    def test_names_that_cannot_be(self):
        self.need_namespaces()
        for name in ("../x", ".x", "a b", "x" * 65):
            self.one_line(self.run_in("--name", name, "--", "true"), 1)
        code, _, err = tool("view", "add", "taken", "--dir", self.dir)
        self.assertEqual(code, 0, err)
        self.addCleanup(tool, "view", "remove", "taken", "--dir", self.dir)
        self.one_line(self.run_in("--name", "taken", "--", "true"), 1, "taken")
        self.assertEqual(self.views(), ["taken"])

    def test_bad_command_lines(self):
        for arguments in (("run",), ("run", "--"), ("run", "true"), ("run", "--smeared", "--unsmeared", "--", "true"),
                          ("run", "--quiet", "--", "true"), ("walk",), ("show", "x"), ("show", "-1"), ()):
            self.one_line(command(TOOL, "timens", *arguments), 2)
        self.one_line(command(TOOL, "timens", "show", "99999999"), 1, "there is no process 99999999")

    def test_a_process_that_a_view_cannot_be_of(self):
        add = (TOOL, "view", "add", "--dir", self.dir, "x", "--timens-pid")
        self.one_line(command(*add, "99999999"), 1, "/proc/99999999/timens_offsets: No such file", who="clockpage")
        for rest in (("0",), ("-1",), ("1x",), ("1", "--monotonic", "1"), ("1", "--boottime", "1")):
            self.one_line(command(*add, *rest), 2, "--timens-pid", who="clockpage")
        self.assertEqual(self.views(), [])

    def test_help_says_what_there_is(self):
        self.assertIn("timens", self.good(command(TOOL, "--help")))
        for words in ("CAP_SYS_ADMIN", "4611686018", "SIGKILL", "CLOCKPAGE_VIEW", "127"):
            self.assertIn(words, self.good(command(TOOL, "timens", "run", "--help")))


class CommandTest(TimensTest):
    def test_the_exit_code_is_the_commands_and_the_view_is_gone(self):
        self.need_namespaces()
        for script, code in (("exit 0", 0), ("exit 1", 1), ("exit 255", 255), ("kill -TERM $$", 128 + signal.SIGTERM),
                             ("kill -KILL $$", 128 + signal.SIGKILL)):
            self.assertEqual(self.run_in("--", "sh", "-c", script).returncode, code)
        self.one_line(self.run_in("--", "no-such-command"), 127, "no-such-command: No such file")
        self.one_line(self.run_in("--", "/etc/passwd"), 126, "/etc/passwd: Permission denied")
        self.assertEqual(self.views(), [])

    def started(self, *command_line):
        process = subprocess.Popen([TIMENS, "run", "--dir", self.dir, "--", *command_line], stdout=subprocess.PIPE,
                                   text=True, env=environment())
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process, process.stdout.readline().strip()

    def test_who_ends_it_ends_the_command_and_the_view(self):
        self.need_namespaces()
        for by in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            process, _ = self.started("sh", "-c", "echo; exec sleep 100")
            self.assertEqual(self.views(), [f"timens-{process.pid}"])
            process.send_signal(by)
            self.assertEqual(process.wait(timeout=60), 128 + by)
            self.assertEqual(self.views(), [])

    def test_a_command_that_takes_its_time_keeps_its_view(self):
        self.need_namespaces()
        process, _ = self.started("python3", "-c", "import signal, time\n"
                                  "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"
                                  "signal.signal(signal.SIGTERM, lambda *_: print('caught', flush=True))\n"
                                  "print(flush=True)\ntime.sleep(1000)\n"
                                  "time.sleep(1000)")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.stdout.readline(), "caught\n")
        self.assertEqual(self.views(), [f"timens-{process.pid}"])
        # As one that it has left running may have it open: the view goes on, without its name.
        with open(os.path.join(self.dir, "views", f"timens-{process.pid}"), "rb") as view:
            before = view.read()
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(timeout=60), 128 + signal.SIGINT)
            self.assertEqual(self.views(), [])
            view.seek(0)
            self.assertEqual(view.read(), before)

    def test_killed_it_leaves_the_view_behind_and_the_next_of_its_number_takes_another_name(self):
        self.need_namespaces()
        process, child = self.started("sh", "-c", "echo $$; exec sleep 100")
        process.kill()
        process.wait(timeout=60)
        os.kill(int(child), signal.SIGKILL)
        name = f"timens-{process.pid}"
        self.assertEqual(self.views(), [name])
        self.assertEqual(tool("view", "remove", name, "--dir", self.dir)[0], 0)
        # The name of a number is a name like any other: here, of the process that will ask for it.
        script = f'"{TOOL}" view add timens-$$ --dir "{self.dir}" && exec "{TIMENS}" run --dir "{self.dir}" ' \
                 '-- sh -c \'echo $PPID "${CLOCKPAGE_VIEW##*/}"\''
        pid, found = self.good(command("sh", "-c", script)).strip().split("\n")[-1].split()
        self.assertEqual(found, f"timens-{pid}.2")
        self.assertEqual(self.views(), [f"timens-{pid}"])
        self.assertEqual(tool("view", "remove", f"timens-{pid}", "--dir", self.dir)[0], 0)

    def test_arguments_and_streams_arrive_as_they_are(self):
        self.need_namespaces()
        arguments = ["[a,b]", "", "{}", "a,b", "--", "--help", "x y", "'q'", "%%"]
        self.assertEqual(self.good(self.run_in("--", "printf", "<%s>", *arguments)),
                         "".join(f"<{argument}>" for argument in arguments))
        self.assertEqual(self.good(self.run_in("--", "cat", input="in\n")), "in\n")

    def test_show_says_a_namespaces_offsets_and_view(self):
        self.need_namespaces()
        done = self.run_in("--monotonic", "5.5", "--boottime", "-1", "--", TOOL, "timens", "show", "--json")
        said = json.loads(self.good(done))
        self.assertEqual((said["view"]["monotonic_offset_ns"], said["view"]["boottime_offset_ns"]),
                         (5_500_000_000, -SECOND))
        self.assertEqual(said["time_namespace"], said["time_namespace_for_children"])
        text = self.good(self.run_in("--monotonic", "5.5", "--", "sh", "-c", f'"{TOOL}" timens show $$'))
        self.assertIn("view add NAME --monotonic 5.500000000 --boottime 0.000000000", text)


class PreloadTest(TimensTest):
    """Programs that know nothing of clockpage, in a namespace. The clock is a simulated one of 2016, three
    minutes before a leap second, so that it cannot be taken for the kernel's."""
    OPTIONS = ("--source", "sim", "--sim-start", "2016-12-31T23:56:00Z", "--sim-tai-offset-s", "36",
               "--sim-leap", "1", "--smear", "utc-sls", "--sim-max-frequency-ppb", "0",
               "--realtime-priority", "none")
    HELPER = os.path.join(BIN, "preload_helper")

    def page_ns(self, smeared=False):
        code, out, err = tool("read", "--json", "--dir", self.dir, *(["--smeared"] if smeared else []))
        self.assertEqual(code, 0, err)
        return {name: clock["ns"] for name, clock in json.loads(out)["clocks"].items()}

    def between_reads(self, run, smeared):
        for _ in range(50):
            before = self.page_ns(smeared)
            out = self.good(run())
            after = self.page_ns(smeared)
            if after["realtime"] - before["realtime"] < 3 * SECOND // 10:
                return before, out, after
        self.fail("this machine is too busy to read a page twice within 0.3 s")

    def test_date_tells_smeared_time_in_a_smeared_view_and_utc_in_its_neighbour(self):
        self.need_namespaces()
        utc, smeared = self.page_ns()["realtime"], self.page_ns(True)["realtime"]
        self.assertGreater(utc - smeared, SECOND // 2)  # or the rest would show nothing
        for option, is_smeared in (("--unsmeared", False), ("--smeared", True)):
            before, out, after = self.between_reads(lambda option=option: self.run_in(
                option, "--boottime", "5", "--preload", "--", "date", "+%s%N"), is_smeared)
            self.assertTrue(before["realtime"] <= int(out) <= after["realtime"], (option, before, out, after))

    def test_every_clock_is_the_pages_with_the_namespaces_offsets(self):
        self.need_namespaces()
        offsets = {"monotonic": 1000 * SECOND, "raw": 1000 * SECOND, "boottime": 7 * SECOND}
        run = [TOOL, "timens", "run", "--dir", self.dir, "--monotonic", "1000", "--boottime", "7", "--preload", "--"]
        before = self.page_ns()
        said = json.loads(self.good(command(*run, self.HELPER, "clocks")))
        after = self.page_ns()
        for name in CLOCKS:
            offset = offsets.get(name, 0)
            self.assertTrue(before[name] <= said[name] - offset <= after[name], (name, before, said, after))
        for what in ("one_time", "errors", "signals", "threads"):
            self.good(command(*run, self.HELPER, what))
        said = json.loads(self.good(command(*run, self.HELPER, "fork")))
        self.assertGreaterEqual(said["monotonic"], before["monotonic"] + 1000 * SECOND)

    def test_python_and_bash_tell_the_namespaces_time(self):
        self.need_namespaces()
        for program, unit in ((["python3", "-c", "import time; print(time.monotonic_ns())"], 1),
                              (["bash", "-c", "echo $EPOCHREALTIME"], 1000)):
            before, out, after = self.between_reads(lambda program=program: self.run_in(
                "--monotonic", "1000", "--preload", "--", *program), False)
            name, offset = ("monotonic", 1000 * SECOND) if unit == 1 else ("realtime", 0)
            ns = int(re.sub("[.,]", "", out.strip())) * unit - offset
            self.assertTrue(before[name] // unit * unit <= ns <= after[name], (program, before, out, after))

    def kernels(self, done, *words):
        """The kernel's clocks of the namespace, and one warning."""
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, r"\Alibclockpage-preload: [^\n]*\n\Z")
        for word in words:
            self.assertIn(word, done.stderr)
        said = json.loads(done.stdout)
        for name in CLOCKS:
            self.assertTrue(0 <= said["kernel_" + name] - said[name] < 60 * SECOND, (name, said))

    def test_without_its_view_a_namespace_has_the_kernels_clocks(self):
        self.need_namespaces()
        self.kernels(self.run_in("--monotonic", "5", "--preload", "--", "env", "-u", "CLOCKPAGE_VIEW", self.HELPER,
                                 "clocks"), "needs a view")

    def test_anothers_view_is_refused(self):
        self.need_namespaces()
        code, _, err = tool("view", "add", "other", "--monotonic", "4", "--dir", self.dir)
        self.assertEqual(code, 0, err)
        self.addCleanup(tool, "view", "remove", "other", "--dir", self.dir)
        other = os.path.join(self.dir, "views", "other")
        self.kernels(self.run_in("--monotonic", "5", "--preload", "--", "env", f"CLOCKPAGE_VIEW={other}", self.HELPER,
                                 "clocks"), "is not the view of this process's time namespace")
        # On the host, too: its clocks are not those of a namespace.
        self.kernels(command(TOOL, "run", "--dir", self.dir, "--view", "other", "--", self.HELPER, "clocks"),
                     "is not the view of this process's time namespace")

    def test_a_namespace_without_offsets_needs_no_view(self):
        self.need_namespaces()
        out = self.good(command("unshare", "--time", "--fork", TOOL, "run", "--dir", self.dir, "--", "date", "+%Y"))
        self.assertEqual(out[:3], "201")

    def test_run_takes_a_view_by_name_and_by_path(self):
        code, _, err = tool("view", "add", "smeared", "--smeared", "--dir", self.dir)
        self.assertEqual(code, 0, err)
        self.addCleanup(tool, "view", "remove", "smeared", "--dir", self.dir)
        for view in ("smeared", os.path.join(self.dir, "views", "smeared")):
            before, out, after = self.between_reads(lambda view=view: command(
                TOOL, "run", "--dir", self.dir, "--view", view, "--", "date", "+%s%N"), True)
            self.assertTrue(before["realtime"] <= int(out) <= after["realtime"], (before, out, after))
        self.one_line(command(TOOL, "run", "--dir", self.dir, "--view", "smeared", "--smeared", "--", "date"), 2,
                      "--smeared", who="clockpage")
        done = command(TOOL, "run", "--dir", self.dir, "--view", "none", "--", self.HELPER, "clocks")
        self.kernels(done, "views/none", "No such file")

    def test_a_view_that_changes_under_a_program(self):
        self.need_namespaces()
        program = subprocess.Popen([TIMENS, "run", "--dir", self.dir, "--name", "changing", "--monotonic", "50",
                                    "--preload", "--", self.HELPER, "watch"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())

        def ask():
            program.stdin.write("\n")
            program.stdin.flush()
            return json.loads(program.stdout.readline())

        def set_view(*options):
            code, _, err = tool("view", "set", "changing", *options, "--dir", self.dir)
            self.assertEqual(code, 0, err)
        try:
            self.assertGreater(self.page_ns()["realtime"] - self.page_ns(True)["realtime"], SECOND // 2)
            before = ask()
            set_view("--smeared")
            smeared, utc = ask(), self.page_ns()
            self.assertGreaterEqual(smeared["monotonic"], before["monotonic"])
            # What its neighbour reads later is further ahead by what smeared time is behind, and more.
            self.assertLessEqual(smeared["realtime"] - smeared["monotonic"],
                                 utc["realtime"] - utc["monotonic"] - 50 * SECOND - SECOND // 2)
            set_view("--monotonic", "51")  # not this namespace's any more
            for _ in range(2):
                said = ask()
                self.assertTrue(0 <= said["kernel_monotonic"] - said["monotonic"] < 60 * SECOND, said)
            set_view("--monotonic", "50")
            said = ask()
            self.assertTrue(0 <= said["kernel_monotonic"] - said["monotonic"] < 60 * SECOND, said)
        finally:
            warning = program.communicate(timeout=60)[1]
        self.assertRegex(warning, r"\Alibclockpage-preload: [^\n]*not this time namespace's any more[^\n]*\n\Z")


if __name__ == "__main__":
    unittest.main()
