# SPDX-License-Identifier: MIT
# timeout: 600
"""`clockpage view save` and `view restore` between two daemons. Both have this machine's counter;
their simulated clocks differ in date, frequency, TAI and smear. A guest's program reads on either
side, its counter computed in software by KVM's arithmetic."""
import json
import os
import unittest

from programs import SEED, tool
from view_common import (BOOTTIME, E_DISRUPTED, Host, MONOTONIC, REALTIME, TAI, wait_for)
from view_kvm_test import Machine

S = 1_000_000_000


class ViewMigrationTest(unittest.TestCase):
    def setUp(self):
        print(f"seed {SEED}; again: CLOCKPAGE_SEED={SEED} tests/view_migration_test.py", flush=True)

    def host(self, number, date="2026-03-01T00:00:00Z", *options):
        return Host(self, "--source", "sim", "--sim-seed", str(SEED + number), "--sim-start", date,
                    "--sim-change-interval-s", "0.2", *options)

    def save(self, host, name="vm", *arguments):
        code, out, err = tool("view", "save", name, "--dir", host.dir, *arguments)
        self.assertEqual((code, err), (0, ""))
        return json.loads(out) if out else None

    def restore(self, host, document, *arguments, name="vm"):
        code, out, err = tool("view", "restore", name, "--json", "--dir", host.dir, *arguments,
                              input=json.dumps(document))
        self.assertEqual((code, err), (0, ""))
        return json.loads(out)

    def check_restored(self, host, saved, answer, count, captured):
        """What a guest sees there; its clocks at the moment of the restoration."""
        view, restored = answer["view"], answer["restored"]
        guest = host.guest("vm")
        marker = guest.marker()
        self.assertEqual(marker, view["disruption_marker"])
        self.assertNotEqual(marker, saved["disruption_marker"])
        counter, old_marker = captured
        self.assertEqual(guest.at(MONOTONIC, counter, old_marker)[0], E_DISRUPTED)
        passed = restored["elapsed_ns"] if count else 0
        at = saved["at"]
        for clock, name in ((MONOTONIC, "monotonic"), (BOOTTIME, "boottime")):
            error, ns = guest.at(clock, restored["guest_counter"], marker)
            if error == 0:  # 56 ms of history: on a loaded machine it may be over
                self.assertEqual(ns, at[name]["ns"] + passed)
            error, ns, *_ = guest.read(clock, view["counter_offset"], view["counter_ratio"],
                                       view["counter_frac_bits"])
            self.assertEqual(error, 0)
            self.assertGreater(ns, at[name]["ns"] + passed)
        if restored["counter_error_ns"] == 0:
            ticks = restored["elapsed_ns"] * at["guest_frequency_uhz"] // 10**15
            self.assertEqual((at["guest_counter"] + ticks) % 2**64, restored["guest_counter"])
        return guest

    def test_count_and_hide(self):
        a = self.host(1, "2026-03-01T00:00:00Z", "--sim-tai-offset-s", "37")
        b = self.host(2, "2026-03-01T01:00:00Z", "--sim-tai-offset-s", "37")
        made = a.view("add", "vm", "--tsc-offset", "-123456789", "--monotonic", "1000",
                      "--boottime", "77")["view"]
        guest = a.guest("vm")
        _, before, _, _, marker, counter = guest.read(MONOTONIC, -123456789)
        saved = self.save(a)
        self.assertEqual((saved["view_id"], saved["disruption_marker"], saved["name"]),
                         (made["view_id"], marker, "vm"))
        self.assertGreater(saved["at"]["monotonic"]["ns"], before)
        for how in ("count", "hide"):
            answer = self.restore(b, saved, "--downtime", how)
            restored = answer["restored"]
            self.assertEqual(restored["elapsed_by"], "tai")
            self.assertGreater(restored["elapsed_ns"], 3599 * S)
            self.assertEqual(answer["view"]["source"], {"kind": "given"})
            self.assertEqual(answer["view"]["view_id"], made["view_id"])
            guest = self.check_restored(b, saved, answer, how == "count", (counter, marker))
            # The host's own REALTIME and TAI.
            for clock in (REALTIME, TAI):
                self.assertEqual(guest.read(clock, answer["view"]["counter_offset"])[0], 0)
            self.assertEqual(b.show("vm"), answer["view"])
        # Into the view that was there: one step, and another marker than any before.
        self.assertEqual(self.restore(b, saved, "--downtime", "count")["view"]["number"],
                         answer["view"]["number"] + 1)

    def test_a_clock_that_is_behind_counts_no_time(self):
        a = self.host(1, "2026-03-01T01:00:00Z", "--leap-table", "none")
        b = self.host(2, "2026-03-01T00:00:00Z", "--sim-tai-offset-s", "37")
        a.view("add", "vm", "--tsc-offset", "5")
        _, _, _, _, marker, counter = a.guest("vm").read(MONOTONIC, 5)
        saved = self.save(a)
        self.assertIsNone(saved["at"]["tai"])
        answer = self.restore(b, saved, "--downtime", "count")
        self.assertEqual(answer["restored"]["elapsed_ns"], 0)
        self.assertEqual(answer["restored"]["elapsed_by"], "realtime")
        self.check_restored(b, saved, answer, True, (counter, marker))
        code, out, err = tool("view", "restore", "vm2", "--dir", b.dir, "--downtime", "hide",
                              input=json.dumps(saved))
        self.assertEqual((code, err), (0, ""))
        self.assertIn("by REALTIME (TAI is not known", out)
        self.assertIn("KVM_VCPU_TSC_OFFSET to", out)

    def test_ratio_offset_and_frequency_by_hand(self):
        a, b = self.host(1), self.host(2, "2026-03-01T00:00:10Z")
        a.view("add", "vm", "--tsc-ratio", str(3 << 46), "--frac-bits", "48")
        _, _, _, _, marker, counter = a.guest("vm").read(MONOTONIC, 0, 3 << 46, 48)
        saved = self.save(a)
        answer = self.restore(b, saved, "--downtime", "count", "--tsc-ratio", str(1 << 31),
                              "--frac-bits", "32", "--tsc-offset", "-99")
        view = answer["view"]
        self.assertEqual((view["counter_ratio"], view["counter_frac_bits"], view["counter_offset"]),
                         (1 << 31, 32, -99))
        self.assertNotEqual(answer["restored"]["counter_error_ns"], 0)
        self.check_restored(b, saved, answer, True, (counter, marker))
        answer = self.restore(b, saved, "--downtime", "count", "--guest-khz", "1000000")
        self.assertEqual((answer["view"]["format"], answer["restored"]["guest_khz"]),
                         ("scaled", 1000000))
        self.check_restored(b, saved, answer, True, (counter, marker))

    def test_a_smeared_view(self):
        a = self.host(1, "2026-03-01T00:00:00Z", "--smear", "noon")
        b = self.host(2, "2026-03-01T00:00:10Z", "--smear", "utc-sls")
        a.view("add", "vm", "--smeared")
        saved = self.save(a)
        document = json.dumps(saved)
        code, out, err = tool("view", "restore", "vm", "--dir", b.dir, "--downtime", "count",
                              input=document)
        self.assertEqual((code, out), (1, ""))
        self.assertIn("has smear noon and this host offers utc-sls", err)
        self.assertFalse(os.path.exists(b.file("vm")))
        self.assertTrue(self.restore(b, saved, "--downtime", "count",
                                     "--accept-smear")["view"]["smeared"])

    def test_whatever_fails_leaves_the_view_as_it_was(self):
        a, b = self.host(1), self.host(2, "2026-03-01T00:00:20Z")
        a.view("add", "vm")
        saved = self.save(a)
        there = b.view("add", "vm", "--tsc-offset", "7")["view"]
        for change, reason in (
                (lambda d: d.update(clockpage_saved_view=2), "is version 2, not 1"),
                (lambda d: d["at"].update(guest_counter=-1), "at.guest_counter is not"),
                (lambda d: d["at"]["monotonic"].update(
                    ns=4_611_686_018 * S, earliest_ns=None, latest_ns=None), "monotonic_offset_ns"),
                (lambda d: d["view"].pop("smear"), "view.smear is missing"),
                (lambda d: d["host"].update(counter_kind=9), "kind 9"),
                (lambda d: d.update(more=1), "does not know")):
            document = json.loads(json.dumps(saved))
            change(document)
            code, out, err = tool("view", "restore", "vm", "--dir", b.dir, "--downtime", "count",
                                  input=json.dumps(document))
            self.assertEqual((code, out), (1, ""))
            self.assertIn(reason, err)
            self.assertEqual(err.count("\n"), 1)
            self.assertEqual(b.show("vm"), there)
        for text, reason in (("", "is not what `clockpage view save` writes"),
                             ("[1]", "is not what"), (" " * 20_000, "is longer than 16384 bytes")):
            code, out, err = tool("view", "restore", "vm", "--dir", b.dir, "--downtime", "count",
                                  input=text)
            self.assertEqual((code, out), (1, ""))
            self.assertIn("standard input: " + reason, err)
        code, _, err = tool("view", "restore", "vm", "--dir", b.dir)
        self.assertEqual(code, 2, err)
        self.assertIn("--downtime", err)
        code, _, err = tool("view", "save", "none", "--dir", a.dir)
        self.assertEqual(code, 1, err)
        self.assertEqual(b.show("vm"), there)

    def test_files(self):
        a, b = self.host(1), self.host(2)
        a.view("add", "vm")
        path = os.path.join(a.dir, "saved.json")
        self.assertIsNone(self.save(a, "vm", "--out", path))
        with open(path, encoding="ascii") as file:
            self.assertEqual(json.load(file)["name"], "vm")
        view = b.view("restore", "other", "--in", path, "--downtime", "hide")["view"]
        self.assertEqual(view["name"], "other")
        self.assertIn("No such file", b.refused("restore", "other", "--in", path + "x",
                                                "--downtime", "hide"))

    def test_a_machine_that_is_followed_there(self):
        """The VMM has set its vCPUs: the view says what they are, and goes on following them."""
        debugfs = os.path.join(self.host(0).dir, "kvm")
        os.mkdir(debugfs)
        a, b = self.host(1), self.host(2, "2026-03-01T00:01:00Z", "--kvm-debugfs", debugfs)
        a.view("add", "vm", "--tsc-offset", "123")
        _, _, _, _, marker, counter = a.guest("vm").read(MONOTONIC, 123)
        saved = self.save(a)
        machine = Machine(self, debugfs, vcpus=1, offset=-4321)
        answer = self.restore(b, saved, "--downtime", "count", "--vm-pid", str(machine.pid))
        self.assertEqual(answer["view"]["counter_offset"], -4321)
        self.assertEqual(answer["view"]["source"]["kind"], "kvm")
        guest = self.check_restored(b, saved, answer, True, (counter, marker))
        restored = guest.marker()
        machine.set_offset(-9999)
        wait_for(lambda: guest.marker() == restored + 1, "another marker")
        self.assertEqual(b.show("vm")["counter_offset"], -9999)
        # Without a machine it is numbers again.
        answer = self.restore(b, saved, "--downtime", "count")
        self.assertEqual(answer["view"]["source"], {"kind": "given"})
        machine.set_offset(-1)
        self.assertEqual(b.show("vm")["source"], {"kind": "given"})
        # The VMM sets what it was told to, and only then has it followed: no disruption.
        machine.set_offset(answer["restored"]["counter_offset"])
        followed = b.view("set", "vm", "--vm-pid", str(machine.pid))["view"]
        self.assertEqual(followed["source"]["kind"], "kvm")
        self.assertEqual({**followed, "source": {"kind": "given"}}, answer["view"])


if __name__ == "__main__":
    unittest.main()
