# SPDX-License-Identifier: MIT
"""Views from end to end: clockpaged, its control socket, `clockpage view`, and the files."""
import json
import os
import shutil
import tempfile
import unittest

from programs import DAEMON, end, start, tool


class ViewControlTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="clockpage-view.")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def daemon(self, *options):
        process = start(self.dir, DAEMON, "--dir", self.dir, *options)
        self.addCleanup(end, process)
        return process

    def view(self, *arguments):
        """`clockpage view ... --json`: its answer."""
        code, out, err = tool("view", *arguments, "--json", "--dir", self.dir)
        self.assertEqual((code, err), (0, ""))
        return json.loads(out)

    def test_add_set_list_show_remove(self):
        self.daemon()
        added = self.view("add", "guest7", "--monotonic", "-1.5", "--tsc-offset", "-7")["view"]
        self.assertEqual(added["monotonic_offset_ns"], -1500000000)
        self.assertEqual(added["state"], "ok")
        self.assertEqual(self.view("show", "guest7")["view"], added)
        self.assertEqual(self.view("list")["views"], [added])
        changed = self.view("set", "guest7", "--boottime", "2")["view"]
        self.assertEqual(changed, {**added, "boottime_offset_ns": 2000000000, "number": added["number"] + 1})
        self.assertEqual(self.view("remove", "guest7"), {"ok": True})
        self.assertEqual(self.view("list")["views"], [])


if __name__ == "__main__":
    unittest.main()
