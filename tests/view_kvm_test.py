# SPDX-License-Identifier: MIT
# timeout: 600
"""`clockpage view add --vm-pid`: a real daemon, a real process for the VMM, and a directory tree
that looks like KVM's debugfs. A guest's program reads through the view meanwhile."""
import os
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from programs import DAEMON, end, start, tool
from view_common import E_DISRUPTED, E_VIEW, Host, MONOTONIC, wait_for


class Machine:
    """A VMM's process and its VM's directory."""

    def __init__(self, test, debugfs, fd=11, vcpus=2, offset=-1000):
        self.process = subprocess.Popen(["sleep", "1000"])
        test.addCleanup(self.end)
        self.pid = self.process.pid
        self.debugfs, self.vcpus = debugfs, vcpus
        self.add(fd)
        self.fd = fd
        for number in range(vcpus):
            self.write(number, "guest_mode", 0)
        self.set_offset(offset)

    def end(self):
        self.process.kill()
        self.process.wait()

    def path(self, *parts):
        return os.path.join(self.debugfs, f"{self.pid}-{self.fd}", *parts)

    def add(self, fd):
        for number in range(self.vcpus):
            os.makedirs(os.path.join(self.debugfs, f"{self.pid}-{fd}", f"vcpu{number}"))

    def write(self, number, name, value):
        # As a kernel's file: whole at any time.
        path = self.path(f"vcpu{number}", name)
        with open(self.path("new"), "w", encoding="ascii") as file:
            file.write(f"{value}\n")
        os.rename(self.path("new"), path)

    def set_offset(self, offset):
        for number in range(self.vcpus):
            self.write(number, "tsc-offset", offset)


class ViewKvmTest(unittest.TestCase):
    def setUp(self):
        self.debugfs = tempfile.mkdtemp(prefix="clockpage-debugfs.")
        self.addCleanup(shutil.rmtree, self.debugfs, ignore_errors=True)
        self.host = Host(self, "--kvm-debugfs", self.debugfs)

    def seen(self, key, value):
        """Waits until the view `vm` has it so."""
        wait_for(lambda: self.host.show("vm").get(key) == value, f"{key} {value}")
        return self.host.show("vm")

    def test_a_changed_offset_is_one_disruption(self):
        # One vCPU: with two a poll may come between their changes, and find them disagree.
        machine = Machine(self, self.debugfs, vcpus=1)
        added = self.host.view("add", "vm", "--vm-pid", str(machine.pid))["view"]
        self.assertEqual((added["counter_offset"], added["counter_ratio"]), (-1000, 1))
        self.assertEqual(added["source"], {"kind": "kvm", "vm_pid": machine.pid, "vm_fd": 11,
                                           "path": machine.path()})
        guest = self.host.guest("vm")
        error, before, _, _, marker, counter = guest.read(MONOTONIC, -1000)
        self.assertEqual((error, marker), (0, added["disruption_marker"]))
        self.assertEqual(guest.at(MONOTONIC, counter, marker), [0, before])

        machine.set_offset(5_000_000_000)
        wait_for(lambda: guest.marker() != marker, "another marker")
        self.assertEqual(guest.at(MONOTONIC, counter, marker)[0], E_DISRUPTED)
        error, after, _, _, new_marker, _ = guest.read(MONOTONIC, 5_000_000_000)
        self.assertEqual((error, new_marker), (0, marker + 1))
        self.assertGreater(after, before)
        changed = self.host.show("vm")
        time.sleep(2.5)  # polls without a change change nothing
        self.assertEqual(self.host.show("vm"), changed)
        self.assertEqual((changed["number"], changed["disruption_marker"]),
                         (added["number"] + 1, marker + 1))

    def test_a_scaled_machine(self):
        machine = Machine(self, self.debugfs)
        ratio = 3 << 30
        for number in range(2):
            machine.write(number, "tsc-scaling-ratio", ratio)
            machine.write(number, "tsc-scaling-ratio-frac-bits", 32)
        view = self.host.view("add", "vm", "--vm-pid", str(machine.pid))["view"]
        self.assertEqual((view["counter_ratio"], view["counter_frac_bits"], view["format"]),
                         (ratio, 32, "unscaled"))
        guest = self.host.guest("vm")
        plain = self.host.view("add", "plain")["view"]
        host = self.host.guest(plain["name"])
        before = host.read(MONOTONIC)
        inside = guest.read(MONOTONIC, -1000, ratio, 32)
        after = host.read(MONOTONIC)
        self.assertEqual((before[0], inside[0], after[0]), (0, 0, 0))
        self.assertLess(before[1], inside[1])
        self.assertLess(inside[1], after[1])

    def test_vcpus_that_disagree_withdraw_it_until_they_agree(self):
        machine = Machine(self, self.debugfs)
        added = self.host.view("add", "vm", "--vm-pid", str(machine.pid))["view"]
        guest = self.host.guest("vm")
        machine.write(1, "tsc-offset", -999)
        view = self.seen("state", "withdrawn")
        self.assertIn("vcpu0 has tsc-offset -1000 and vcpu1 has -999", view["error"])
        self.assertEqual(guest.read(MONOTONIC, -1000)[0], E_VIEW)
        self.assertNotEqual(view["disruption_marker"], added["disruption_marker"])
        # A daemon that starts then still knows.
        self.host.stop()
        self.host.start()
        self.assertEqual(self.seen("state", "withdrawn")["counter_ratio"], 0)
        machine.write(0, "tsc-offset", -999)
        view = self.seen("state", "ok")
        self.assertEqual(view["counter_offset"], -999)
        self.assertEqual(guest.read(MONOTONIC, -999)[0], 0)
        self.assertGreater(guest.marker(), added["disruption_marker"] + 1)

    def test_without_debugfs_it_is_withdrawn_until_debugfs_is_back(self):
        machine = Machine(self, self.debugfs)
        self.host.view("add", "vm", "--vm-pid", str(machine.pid))
        guest = self.host.guest("vm")
        away = self.debugfs + ".away"
        self.addCleanup(shutil.rmtree, away, ignore_errors=True)
        os.rename(self.debugfs, away)
        view = self.seen("state", "withdrawn")
        self.assertIn(f"{self.debugfs}: No such file or directory: debugfs is not mounted", view["error"])
        self.assertNotIn("gone", view["source"])
        self.assertEqual(guest.read(MONOTONIC, -1000)[0], E_VIEW)
        # Nor does a daemon that starts then take what it said for what is.
        self.host.stop()
        self.host.start()
        time.sleep(1.5)
        self.assertEqual(self.host.show("vm")["state"], "withdrawn")
        os.rename(away, self.debugfs)
        self.assertEqual(self.seen("state", "ok")["counter_offset"], -1000)
        self.assertEqual(guest.read(MONOTONIC, -1000)[0], 0)

    def test_without_a_socket_it_is_followed_all_the_same(self):
        machine = Machine(self, self.debugfs, vcpus=1)
        self.host.view("add", "vm", "--vm-pid", str(machine.pid))
        guest = self.host.guest("vm")
        marker = guest.marker()
        self.host.stop()
        process = start(self.host.dir, DAEMON, "--dir", self.host.dir, "--quiet", "--no-control",
                        "--kvm-debugfs", self.debugfs)
        self.addCleanup(end, process)
        machine.set_offset(-2000)
        wait_for(lambda: guest.marker() != marker, "another marker")
        self.assertEqual(guest.read(MONOTONIC, -2000)[0], 0)
        self.assertFalse(os.path.exists(os.path.join(self.host.dir, "control")))

    def test_when_what_keeps_the_server_is_killed_nothing_stays_that_nobody_follows(self):
        machine = Machine(self, self.debugfs)
        self.host.view("add", "vm", "--vm-pid", str(machine.pid))
        self.host.view("add", "by_hand")
        followed, by_hand = self.host.guest("vm"), self.host.guest("by_hand")
        daemon = self.host.process.pid
        with open(f"/proc/{daemon}/task/{daemon}/children", encoding="ascii") as file:
            supervisor = int(file.read())
        os.kill(supervisor, signal.SIGKILL)
        wait_for(lambda: followed.read(MONOTONIC, -1000)[0] == E_VIEW, "withdrawn")
        self.assertEqual(by_hand.read(MONOTONIC)[0], 0)
        self.host.stop()
        self.host.start()
        self.assertEqual(self.seen("state", "ok")["counter_offset"], -1000)

    def test_a_nested_guest_is_refused_at_first_and_changes_nothing_later(self):
        machine = Machine(self, self.debugfs)
        machine.write(1, "guest_mode", 1)
        line = self.host.refused("add", "vm", "--vm-pid", str(machine.pid))
        self.assertIn("vcpu1 runs a nested guest", line)
        self.assertIn("--tsc-offset", line)
        self.assertFalse(os.path.exists(self.host.file("vm")))
        machine.write(1, "guest_mode", 0)
        added = self.host.view("add", "vm", "--vm-pid", str(machine.pid))["view"]
        machine.write(1, "guest_mode", 1)
        machine.set_offset(-777_000)  # both combined
        wait_for(lambda: self.host.show("vm")["source"].get("nested"), "nested")
        view = self.host.show("vm")
        self.assertEqual((view["counter_offset"], view["number"], view["state"]),
                         (-1000, added["number"], "ok"))
        self.assertIn("nested guest", view["source"]["note"])
        self.assertIn("its relation is not known at present", self.host.refused("save", "vm", "--out", "-"))
        # A restarted daemon does not know more than the view does.
        self.host.stop()
        self.host.start()
        self.assertEqual(self.host.show("vm")["counter_offset"], -1000)
        self.assertEqual(self.host.show("vm")["disruption_marker"], added["disruption_marker"])
        machine.set_offset(-1000)
        machine.write(1, "guest_mode", 0)
        wait_for(lambda: "nested" not in self.host.show("vm")["source"], "not nested")
        self.assertEqual(self.host.show("vm")["number"], added["number"])

    def test_a_machine_that_ends_withdraws_its_view_and_no_other_takes_it_over(self):
        machine = Machine(self, self.debugfs)
        added = self.host.view("add", "vm", "--vm-pid", str(machine.pid))["view"]
        os.rename(machine.path(), os.path.join(self.debugfs, "old"))
        machine.add(machine.fd)  # the VMM makes another one
        for number in range(2):
            machine.write(number, "guest_mode", 0)
        machine.set_offset(-5)
        wait_for(lambda: self.host.show("vm")["source"].get("gone"), "gone")
        self.host.stop()
        self.host.start()
        wait_for(lambda: self.host.show("vm")["source"].get("gone"), "gone after a restart")
        view = self.host.show("vm")
        self.assertEqual((view["counter_ratio"], view["number"], view["state"]),
                         (0, added["number"] + 1, "withdrawn"))
        self.assertIn("has ended, and another one has its name", view["error"])
        # Until it is said that this one is meant now.
        view = self.host.view("set", "vm", "--vm-pid", str(machine.pid))["view"]
        self.assertEqual((view["counter_offset"], view["source"].get("gone")), (-5, None))
        machine.end()
        wait_for(lambda: self.host.show("vm")["source"].get("gone"), "gone with its process")
        view = self.seen("state", "withdrawn")
        self.assertIn("process has ended", view["source"]["note"])

    def test_it_is_followed_after_a_restart_and_a_change_of_something_else(self):
        machine = Machine(self, self.debugfs)
        self.host.view("add", "vm", "--vm-pid", str(machine.pid), "--boottime", "5")
        self.host.view("set", "vm", "--monotonic", "7")
        self.host.stop()
        machine.set_offset(-2000)
        self.host.start()
        view = self.seen("counter_offset", -2000)
        self.assertEqual((view["monotonic_offset_ns"], view["boottime_offset_ns"]),
                         (7_000_000_000, 5_000_000_000))

    def test_numbers_by_hand_end_it(self):
        machine = Machine(self, self.debugfs)
        self.host.view("add", "vm", "--vm-pid", str(machine.pid))
        view = self.host.view("set", "vm", "--tsc-offset", "-4000")["view"]
        self.assertEqual((view["counter_offset"], view["source"]), (-4000, {"kind": "given"}))
        machine.set_offset(-3000)
        time.sleep(2)
        self.assertEqual(self.host.show("vm"), view)
        self.assertEqual(os.listdir(os.path.join(self.host.dir, "view-sources")), [])

    def test_says_what_is_missing(self):
        machine = Machine(self, self.debugfs)
        os.makedirs(os.path.join(self.debugfs, f"{machine.pid}-30", "vcpu0"))
        pid = str(machine.pid)
        self.assertIn("with descriptors 11, 30: say which one by --vm-fd",
                      self.host.refused("add", "vm", "--vm-pid", pid))
        self.assertIn("vcpu0/tsc-offset: No such file",
                      self.host.refused("add", "vm", "--vm-pid", pid, "--vm-fd", "30"))
        self.host.view("add", "vm", "--vm-pid", pid, "--vm-fd", "11")
        self.assertIn("there is no process 2147483632",
                      self.host.refused("add", "x", "--vm-pid", "2147483632"))
        self.assertIn("has no virtual machine",
                      self.host.refused("add", "x", "--vm-pid", "1"))
        self.assertIn("not both", self.host.refused("add", "x", "--vm-pid", pid, "--vm-fd", "11",
                                                    "--tsc-offset", "1"))
        code, _, err = tool("view", "add", "x", "--vm-fd", "3", "--dir", self.host.dir)
        self.assertEqual(code, 2, err)


if __name__ == "__main__":
    unittest.main()
