# SPDX-License-Identifier: MIT
"""Views from end to end: clockpaged, its control socket, `clockpage view`, and the files."""
import grp
import json
import mmap
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
import unittest

from programs import BIN, DAEMON, SANITIZED, tool

VIEWS = 10_000


def ask(directory, request):
    """One request as any program may make it: bytes as they are, else JSON. The answer as JSON."""
    if not isinstance(request, bytes):
        request = json.dumps({"version": 1, **request}).encode() + b"\n"
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(30)
        peer.connect(os.path.join(directory, "control"))
        peer.sendall(request)
        answer = bytearray()
        while not answer.endswith(b"\n"):
            part = peer.recv(1 << 16)
            if not part:
                raise AssertionError(f"cut off after {len(answer)} bytes")
            answer += part
    assert answer.count(b"\n") == 1
    return json.loads(answer)


def newest_ratio(page):
    """counter_ratio of a view page's newest slot (0: withdrawn). Spec sections 3.6 and 3.7."""
    index = int.from_bytes(page[0x100:0x108], "little")
    slot = 0x200 + 0x80 * (index % 4)
    return int.from_bytes(page[slot + 0x10:slot + 0x18], "little")


def eventually(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("did not come true")


def children_of(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


class ViewControlTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="clockpage-view.")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.control = os.path.join(self.dir, "control")

    def path(self, name):
        return os.path.join(self.dir, "views", name)

    def daemon(self, *options, control=True, **more):
        """A clockpaged that publishes, and answers."""
        process = subprocess.Popen([DAEMON, "--dir", self.dir, *options], stderr=subprocess.PIPE, text=True,
                                   **more)
        self.addCleanup(self.end, process)
        eventually(lambda: process.poll() is not None or tool("status", "--dir", self.dir)[0] == 0)
        self.assertIsNone(process.poll())
        if control:
            eventually(self.answers)
        return process

    def answers(self):
        try:
            return ask(self.dir, {"command": "view.list"})["ok"]
        except OSError:
            return False

    @staticmethod
    def end(process, with_signal=signal.SIGTERM):
        """Ends it; what it has said."""
        if process.poll() is None:
            process.send_signal(with_signal)
        try:
            return process.communicate(timeout=20)[1]
        except ValueError:
            return ""  # communicated already

    def view(self, *arguments):
        """`clockpage view ... --json`: its answer."""
        code, out, err = tool("view", *arguments, "--json", "--dir", self.dir)
        self.assertEqual((code, err), (0, ""))
        return json.loads(out)

    def refused(self, *arguments, code=1):
        """The one line that `clockpage view ...` ends with."""
        got, out, err = tool("view", *arguments, "--dir", self.dir)
        self.assertEqual((got, out), (code, ""), err)
        self.assertRegex(err, r"\Aclockpage: [^\n]+\n\Z")
        return err[len("clockpage: "):-1]

    # ---- what there is to be done with views -------------------------------------------

    def test_add_set_list_show_remove(self):
        self.daemon()
        self.assertEqual(self.view("list")["views"], [])
        added = self.view("add", "guest7", "--monotonic", "-1.5", "--tsc-offset", "-7", "--smeared")["view"]
        self.assertEqual(added["monotonic_offset_ns"], -1500000000)
        self.assertEqual(added["counter_offset"], -7)
        self.assertEqual((added["state"], added["smeared"]), ("ok", True))
        self.assertEqual(added["path"], self.path("guest7"))
        self.assertEqual(self.view("show", "guest7")["view"], added)
        self.assertEqual(self.view("list")["views"], [added])
        changed = self.view("set", "guest7", "--boottime", "+2.000000001", "--unsmeared")["view"]
        self.assertEqual(changed, {**added, "boottime_offset_ns": 2000000001, "smeared": False,
                                   "number": added["number"] + 1})
        moved = self.view("set", "guest7", "--tsc-ratio", str(3 << 47), "--frac-bits", "48")["view"]
        self.assertEqual(moved, {**changed, "counter_ratio": 3 << 47, "counter_frac_bits": 48,
                                 "number": added["number"] + 2,
                                 "disruption_marker": added["disruption_marker"] + 1})
        with open(self.path("guest7"), "rb") as mapped:
            self.assertIn("keep: view guest7 says more", self.refused("remove", "guest7", "--keep"))
            self.assertEqual(self.view("remove", "guest7"), {"ok": True})
            self.assertEqual(newest_ratio(mapped.read()), 0)
        self.view("add", "container", "--monotonic", "5")
        with open(self.path("container"), "rb") as mapped:
            self.assertEqual(self.view("remove", "container", "--keep"), {"ok": True})
            self.assertEqual(newest_ratio(mapped.read()), 1)
        self.assertEqual(self.view("list")["views"], [])
        self.assertFalse(os.path.exists(self.path("guest7")))

    def test_what_people_see(self):
        self.daemon()
        code, out, _ = tool("view", "add", "a", "--monotonic", "86400.25", "--dir", self.dir)
        self.assertEqual(code, 0)
        self.assertIn("+86400.25 s", out)
        self.assertIn(self.path("a"), out)
        self.assertEqual(tool("view", "show", "a", "--dir", self.dir)[1], out)
        lines = tool("view", "list", "--dir", self.dir)[1].splitlines()
        self.assertEqual(len(lines), 2)
        self.assertRegex(lines[0], r"\ANAME +STATE ")
        self.assertRegex(lines[1], r"\Aa +ok +\+86400.25 s ")
        self.assertEqual(tool("view", "remove", "a", "--dir", self.dir), (0, "", ""))

    def test_a_symbolic_link_in_the_place_of_the_views_is_not_followed(self):
        elsewhere = tempfile.mkdtemp(prefix="clockpage-view.")
        self.addCleanup(shutil.rmtree, elsewhere, ignore_errors=True)
        theirs = os.path.join(elsewhere, ".a.123")
        with open(theirs, "w", encoding="ascii"):
            pass
        os.symlink(elsewhere, os.path.join(self.dir, "views"))
        said = tempfile.TemporaryFile("w+")
        self.addCleanup(said.close)
        process = subprocess.Popen([DAEMON, "--dir", self.dir], stdout=said, stderr=said)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)

        def line():
            said.seek(0)
            return [line for line in said.read().splitlines() if "symbolic link" in line]
        self.assertIn("no views can be made: " + os.path.join(self.dir, "views"), eventually(line)[0])
        self.assertFalse(os.path.exists(os.path.join(self.dir, "control")))
        self.assertTrue(os.path.exists(theirs))

    def test_a_file_has_its_mode_and_owner_before_it_has_its_name(self):
        self.daemon()
        self.view("add", "default")
        self.view("add", "closed", "--mode", "0600")
        status = os.stat(self.path("default"))
        self.assertEqual((stat.S_IMODE(status.st_mode), status.st_uid, status.st_size), (0o644, os.geteuid(), 4096))
        self.assertEqual(stat.S_IMODE(os.stat(self.path("closed")).st_mode), 0o600)
        if os.geteuid() != 0:
            return
        self.view("add", "guests", "--owner", "12345:12346", "--mode", "0440")
        status = os.stat(self.path("guests"))
        self.assertEqual((stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid), (0o440, 12345, 12346))
        self.view("set", "guests", "--owner", "0", "--mode", "0640")
        status = os.stat(self.path("guests"))
        self.assertEqual((stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid), (0o640, 0, 12346))

    def test_whatever_is_wrong_is_refused_with_one_line_and_changes_nothing(self):
        self.daemon()
        before = self.view("add", "a")["view"]
        missing = self.path("b") + ": there is no such view"
        self.assertEqual(self.refused("add", "a"), self.path("a") + ": there is such a view already")
        self.assertEqual(self.refused("set", "b"), missing)
        self.assertEqual(self.refused("show", "b"), missing)
        self.assertIn(self.path("b"), self.refused("remove", "b"))
        for command in ("add", "set", "show", "remove"):
            for name in ("../a", ".a", "a/b", "a b", "a\n", "a" * 65, "\u00e9"):
                with self.subTest(command, name=name):
                    self.assertIn("name", self.refused(command, name))
        for what, *options in (
                ("counter_ratio is 0", "--tsc-ratio", "0", "--frac-bits", "48"),
                ("counter_ratio is 5 without", "--tsc-ratio", "5"),
                ("the scaled page is made for", "--tsc-ratio", "5", "--frac-bits", "48", "--format", "scaled"),
                ("monotonic_offset_ns is -9", "--monotonic", "-9223372036"),
                ("monotonic_offset_ns is 46", "--monotonic", "4611686018"),
                ("boottime_offset_ns is 92", "--boottime", "9223372036"),
                ("mode is 0666", "--mode", "0666"),
                ('mode is "rw"', "--mode", "rw")):
            for command, name in (("add", "b"), ("set", "a")):
                with self.subTest(command, options=options):
                    self.assertIn(what, self.refused(command, name, *options))
        no_meaning = "has no meaning across a leap second"
        for option, value, why in (
                ("--realtime", "1", no_meaning), ("--tai", "1", no_meaning), ("--monotonic", "1e3", "decimal"),
                ("--monotonic", "1.0000000001", "9 digits"), ("--boottime", "", "decimal"),
                ("--boottime", "9223372037", "decimal"), ("--tsc-offset", "9223372036854775808", "integer"),
                ("--tsc-ratio", "-1", "integer"), ("--tsc-ratio", "x", "integer"), ("--frac-bits", "33", "33"),
                ("--format", "any", "any"), ("--owner", "root", "uid"), ("--owner", "1:", "uid"),
                ("--vm-pid", "0", "integer"), ("--vm-fd", "3", "--vm-pid")):
            for command, name in (("add", "b"), ("set", "a")):
                with self.subTest(command, option=option, value=value):
                    line = self.refused(command, name, option, value, code=2)
                    self.assertIn(option, line)
                    self.assertIn(why, line)
        self.refused("add", code=2)
        self.refused(code=2)
        for field in ("realtime_offset_ns", "tai_offset_ns"):
            answer = ask(self.dir, {"command": "view.add", "name": "b", field: 1})
            self.assertFalse(answer["ok"])
            self.assertIn(no_meaning, answer["error"])
        self.assertEqual(self.view("list")["views"], [before])
        self.assertEqual(os.listdir(os.path.join(self.dir, "views")), ["a"])

    def test_hostile_clients_get_one_line_and_hold_up_nobody(self):
        self.daemon()
        for request, why in ((b"\x00\xff\n", "not JSON"), (b"{\n", "not JSON"), (b"x" * (1 << 20), "longer than"),
                             (b"[" * 9000 + b"\n", "nested"), (b'{"version":1,"version":1}\n', "twice"),
                             (b'{"version":1,"command":"view.list"}\n{}\n', "more than one line")):
            try:
                answer = ask(self.dir, request)
            except BrokenPipeError:
                continue  # it was answered before all of it was sent
            self.assertFalse(answer["ok"])
            self.assertIn(why, answer["error"])
        silent = []
        for _ in range(30):
            peer = socket.socket(socket.AF_UNIX)
            self.addCleanup(peer.close)
            peer.connect(self.control)
            silent.append(peer)
        begin = time.monotonic()
        self.assertTrue(ask(self.dir, {"command": "view.list"})["ok"])
        self.assertLess(time.monotonic() - begin, 1.9)  # before the silent ones' time is over
        self.assertIn(b"within 2000 ms", silent[0].recv(1000))

    def test_a_client_without_a_daemon_says_so(self):
        self.assertEqual(self.refused("list"),
                         f"{self.control}: No such file or directory: is clockpaged running?")
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(self.control)
        self.assertEqual(self.refused("list"), f"{self.control}: Connection refused: is clockpaged running?")

    def test_a_client_believes_no_hostile_daemon(self):
        for answer, why in ((b"", "no answer"), (b'{"ok":true', "cut off"), (b"\xff\xfe\n", "not a JSON object"),
                            (b"[]\n", "not a JSON object"), (b"{}\n", "ok"), (b'{"ok":1}\n', "ok"),
                            (b'{"ok":false}\n', "without a reason"),
                            (b'{"ok":false,"error":"a\\nb\\u001b[31m"}\n', "a?b?[31m"),
                            (b'{"ok":true,"views":[{"name":7}]}\n', "not understood"),
                            (b'{"ok":true,"views":7}\n', "not understood")):
            with self.subTest(answer), socket.socket(socket.AF_UNIX) as server:
                server.bind(self.control)
                server.listen(1)
                server.settimeout(20)
                client = subprocess.Popen([os.path.join(BIN, "clockpage"), "view", "list", "--dir", self.dir],
                                          stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                peer, _ = server.accept()
                peer.recv(1 << 16)
                peer.sendall(answer)
                peer.close()
                out, err = client.communicate(timeout=20)
                self.assertEqual((client.returncode, out), (1, ""))
                self.assertRegex(err, r"\Aclockpage: [^\n]+\n\Z")
                self.assertIn(why, err)
                os.unlink(self.control)

    # ---- life and death ----------------------------------------------------------------

    def test_views_survive_a_killed_daemon_and_those_who_have_them_mapped_go_on(self):
        process = self.daemon("--quiet")
        before = self.view("add", "a", "--monotonic", "5", "--tsc-offset", "9")["view"]
        with open(self.path("a"), "rb") as file:
            mapped = mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ)
        self.addCleanup(mapped.close)
        image = mapped[:]
        self.end(process, signal.SIGKILL)
        self.daemon("--quiet")
        self.assertEqual(self.view("show", "a")["view"], before)
        self.assertEqual(mapped[:], image)
        after = self.view("set", "a", "--monotonic", "6")["view"]
        self.assertEqual((after["disruption_marker"], after["number"]),
                         (before["disruption_marker"], before["number"] + 1))
        self.assertEqual(int.from_bytes(mapped[0x100:0x108], "little"), after["number"])  # the same file

    def test_sigterm_ends_all_and_removes_the_socket(self):
        process = self.daemon("--quiet")
        supervisor, = children_of(process.pid)
        server, = children_of(supervisor)
        self.view("add", "a")
        process.terminate()
        out = process.communicate(timeout=20)
        self.assertEqual((process.returncode, out[1]), (0, ""))
        for pid in (supervisor, server):
            self.assertFalse(os.path.exists(f"/proc/{pid}"))
        self.assertEqual(sorted(os.listdir(self.dir)), ["control.lock", "lock", "region", "views"])

    def test_sigterm_ends_servers_that_are_stopped_too(self):
        process = self.daemon("--quiet")
        supervisor, = children_of(process.pid)
        server, = children_of(supervisor)
        for pid in (server, supervisor):
            os.kill(pid, signal.SIGSTOP)
        process.terminate()
        self.assertEqual(process.wait(timeout=20), 0)
        # Below a supervisor that was killed: its own SIGTERM waits until it goes on.
        os.kill(server, signal.SIGCONT)
        eventually(lambda: not os.path.exists(f"/proc/{server}") or self.is_zombie(server))

    def test_a_killed_daemon_takes_its_view_server_with_it(self):
        process = self.daemon("--quiet")
        supervisor, = children_of(process.pid)
        server, = children_of(supervisor)
        self.end(process, signal.SIGKILL)
        for pid in (supervisor, server):
            eventually(lambda: not os.path.exists(f"/proc/{pid}") or self.is_zombie(pid))  # pylint: disable=W0640

    @staticmethod
    def is_zombie(pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                return file.read().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            return True

    def test_a_view_server_that_is_killed_is_restarted_at_most_once_a_second(self):
        process = self.daemon("--quiet" if SANITIZED else "--realtime-priority=auto")
        view = self.view("add", "a")["view"]
        supervisor, = children_of(process.pid)
        begin = time.monotonic()
        for _ in range(3):
            server = eventually(lambda: children_of(supervisor))[0]
            eventually(self.answers)
            os.kill(server, signal.SIGKILL)
            eventually(lambda: children_of(supervisor) not in ([], [server]))  # pylint: disable=W0640
        eventually(self.answers)
        self.assertGreater(time.monotonic() - begin, 1.9)
        self.assertEqual(self.view("show", "a")["view"], view)
        self.assertEqual(tool("read", "--dir", self.dir)[0], 0)
        if not SANITIZED:
            said = [line for line in self.end(process).splitlines() if "view server" in line]
            self.assertEqual(len(said), 3, said)
            self.assertIn("was ended by signal 9; another follows in", said[0])

    def test_whoever_truncates_a_view_keeps_the_others_waiting_for_a_second_every_time(self):
        # The one that a server has mapped all the time: the fault is the kernel's own.
        self.daemon("--quiet")
        self.view("add", "l1")
        l1, inner = self.path("l1"), os.path.join(self.dir, "inner")
        with open(l1, "rb") as file:
            image = file.read()
        os.mkdir(inner)
        os.symlink(os.path.join(self.dir, "region"), os.path.join(inner, "region"))
        process = subprocess.Popen([DAEMON, "--dir", inner, "--pass-through", "--parent-view", l1],
                                   stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end, process)
        supervisor = eventually(lambda: children_of(process.pid))[0]
        for _ in range(4):
            server = eventually(lambda: children_of(supervisor))[0]
            eventually(lambda: os.path.exists(os.path.join(inner, "control")))
            eventually(lambda: self.has_mapped(server, l1))  # pylint: disable=W0640
            os.truncate(l1, 0)
            eventually(lambda: server not in children_of(supervisor))  # pylint: disable=W0640
            with open(l1, "r+b") as file:
                file.write(image)
        eventually(lambda: children_of(supervisor))
        said = self.end(process).splitlines()
        self.assertEqual(len([line for line in said if "was truncated while it was mapped" in line]), 4, said)
        waits = [int(line.split()[-2]) for line in said if "another follows in" in line]
        self.assertEqual(len(waits), 4, said)
        self.assertLessEqual(max(waits), 1000)

    @staticmethod
    def has_mapped(pid, path):
        with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
            return any(line.rstrip().endswith(path) for line in file)

    def test_where_there_can_be_no_views_it_publishes_all_the_same(self):
        os.mkdir(self.control)
        process = self.daemon("--quiet", control=False)
        time.sleep(0.5)
        self.assertEqual(tool("read", "--dir", self.dir)[0], 0)
        said = self.end(process)
        self.assertRegex(said, r"\Aclockpaged: no views can be made: [^\n]+\n\Z")
        self.assertIn(f"{self.control}: is not a socket", said)
        self.assertTrue(os.path.isdir(self.control))
        os.rmdir(self.control)
        process = self.daemon("--no-control", "--quiet", control=False)
        self.assertEqual(children_of(process.pid), [])
        self.assertFalse(os.path.exists(self.control))
        self.assertEqual(self.end(process), "")

    def test_a_second_daemon_leaves_the_firsts_socket_and_views(self):
        self.daemon("--quiet")
        self.view("add", "a")
        done = subprocess.run([DAEMON, "--dir", self.dir], capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(self.view("list")["views"]), 1)

    def test_the_server_can_read_the_region_and_nothing_more_of_the_publishers(self):
        process = self.daemon("--quiet")
        supervisor, = children_of(process.pid)
        server, = children_of(supervisor)
        for pid in (supervisor, server):
            with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
                maps = [line.split() for line in file if self.dir in line]
            self.assertFalse([line for line in maps if "w" in line[1]], maps)
            files = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            self.assertNotIn(os.path.join(self.dir, "lock"), files)
            self.assertEqual(os.sched_getscheduler(pid), os.SCHED_OTHER)
            with open(f"/proc/{pid}/status", encoding="ascii") as file:
                self.assertIn("VmLck:\t       0 kB", file.read())

    # ---- sealed memory -----------------------------------------------------------------

    def test_in_sealed_memory_the_writer_has_the_server_and_views_survive_it(self):
        keeper = self.daemon("--sealed", "--quiet")
        before = self.view("add", "a", "--monotonic", "7")["view"]
        writer, = children_of(keeper.pid)
        supervisor, = children_of(writer)
        server, = children_of(supervisor)
        with open(f"/proc/{server}/maps", encoding="utf-8") as file:
            maps = [line.split()[1] for line in file if "memfd:clockpage" in line]
        self.assertEqual(maps, ["r--s"])
        self.assertFalse([fd for fd in os.listdir(f"/proc/{server}/fd")
                          if "memfd" in os.readlink(f"/proc/{server}/fd/{fd}")
                          and os.stat(f"/proc/{server}/fd/{fd}").st_mode & 0o222])
        os.kill(writer, signal.SIGKILL)
        eventually(lambda: children_of(keeper.pid) not in ([], [writer]))
        eventually(self.answers)
        self.assertEqual(self.view("show", "a")["view"], before)
        self.assertEqual(self.view("set", "a", "--monotonic", "8")["view"]["disruption_marker"],
                         before["disruption_marker"])
        self.assertFalse(os.path.exists(f"/proc/{server}"))
        self.assertEqual(self.end(keeper), "")
        self.assertFalse(os.path.exists(self.control))

    # ---- who may -----------------------------------------------------------------------

    @unittest.skipIf(os.geteuid() != 0, "needs root, to be somebody else")
    def test_members_of_the_control_group_may_and_others_may_not(self):
        os.chmod(self.dir, 0o755)
        program = os.path.join(self.dir, "clockpage")
        shutil.copy(os.path.join(BIN, "clockpage"), program)
        for library in os.listdir(os.path.join(os.path.dirname(BIN), "lib")):
            if library.startswith("libclockpage.so"):
                shutil.copy(os.path.join(os.path.dirname(BIN), "lib", library), self.dir)

        def as_user(uid, gid, groups=()):
            done = subprocess.run([program, "view", "list", "--json", "--dir", self.dir], capture_output=True,
                                  text=True, timeout=60, user=uid, group=gid, extra_groups=list(groups),
                                  env={"LD_LIBRARY_PATH": self.dir})
            return done.returncode, done.stderr
        process = self.daemon("--control-group", "4242", "--quiet")
        status = os.stat(self.control)
        self.assertEqual((stat.S_IMODE(status.st_mode), status.st_gid), (0o660, 4242))
        self.assertEqual(as_user(12345, 4242), (0, ""))
        self.assertEqual(as_user(12345, 1, [7, 4242]), (0, ""))
        denied = (1, f"clockpage: {self.control}: Permission denied\n")
        self.assertEqual(as_user(12345, 1, [7]), denied)
        # Past the mode it is still asked who he is.
        os.chmod(self.control, 0o666)
        code, said = as_user(12345, 1, [7])
        self.assertEqual(code, 1)
        self.assertRegex(said, r"\Aclockpage: permission denied: only root[^\n]+\n\Z")
        self.end(process)
        self.daemon("--control-group", grp.getgrgid(0).gr_name, "--quiet")
        self.assertEqual(os.stat(self.control).st_gid, 0)
        self.end(process)

    def test_a_control_group_that_does_not_exist_is_a_usage_error(self):
        for group in ("no-such-group-here", "-1", "4294967295", "1x", ""):
            done = subprocess.run([DAEMON, "--dir", self.dir, "--control-group=" + group], capture_output=True,
                                  text=True, timeout=20)
            self.assertEqual(done.returncode, 2, done)
            self.assertRegex(done.stderr, r"\Aclockpaged: [^\n]*--control-group[^\n]+\n\Z")

    # ---- many --------------------------------------------------------------------------

    def update_cost(self, publisher):
        """CPU time of the publishing process, in ns per update, over 2 s."""
        def now():
            with open(f"/proc/{publisher}/schedstat", encoding="ascii") as file:
                used = int(file.read().split()[0])
            return used, json.loads(tool("status", "--json", "--dir", self.dir)[1])["publications"]
        before = now()
        time.sleep(2)
        after = now()
        return (after[0] - before[0]) / (after[1] - before[1])

    def test_ten_thousand_views(self):
        count = VIEWS // 10 if SANITIZED else VIEWS
        process = self.daemon("--quiet")
        cost_without = self.update_cost(process.pid)
        begin = time.monotonic()
        for i in range(count):
            answer = ask(self.dir, {"command": "view.add", "name": f"guest{i:05}", "counter_offset": -i,
                                    "monotonic_offset_ns": i, "mode": "0444"})
            self.assertTrue(answer["ok"], answer)
        added = time.monotonic()
        code, out, err = tool("view", "list", "--json", "--dir", self.dir)
        listed = time.monotonic()
        self.assertEqual((code, err), (0, ""))
        views = json.loads(out)["views"]
        self.assertEqual([view["counter_offset"] for view in views], [-i for i in range(count)])
        self.assertEqual({view["state"] for view in views}, {"ok"})
        self.assertEqual(len({view["view_id"] for view in views}), count)
        self.assertEqual(len(tool("view", "list", "--dir", self.dir)[1].splitlines()), count + 1)
        # The publisher has nothing to do with any of them, whatever it publishes.
        changed = [os.stat(view["path"]).st_mtime_ns for view in views]
        cost = self.update_cost(process.pid)
        self.assertEqual([os.stat(view["path"]).st_mtime_ns for view in views], changed)
        with open(f"/proc/{process.pid}/maps", encoding="utf-8") as file:
            self.assertNotIn(os.path.join(self.dir, "views"), file.read())
        self.end(process, signal.SIGKILL)
        again = time.monotonic()
        self.daemon("--quiet")
        restarted = time.monotonic()
        self.assertEqual(json.loads(tool("view", "list", "--json", "--dir", self.dir)[1])["views"], views)
        print(f"\n{count} views: added in {added - begin:.1f} s, {1e3 * (added - begin) / count:.2f} ms each; "
              f"listed in {listed - added:.2f} s, {len(out)} bytes; a new daemon answers after "
              f"{restarted - again:.2f} s; the publisher's CPU time per update {cost / 1e3:.1f} us, "
              f"{cost_without / 1e3:.1f} us without any")


if __name__ == "__main__":
    unittest.main()
