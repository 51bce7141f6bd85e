# SPDX-License-Identifier: MIT
"""`clockpage read`, `status` and `compare` through a view, in a time namespace too.

The views are written here, by the spec's tables (3.6, 3.7).
"""
import json
import os
import shutil
import struct
import subprocess
import tempfile
import unittest

from programs import DAEMON, TOOL, end, start, tool

SECOND = 10**9
# What no program of these tests may inherit.
CLEAN = {"CLOCKPAGE_VIEW": "", "CLOCKPAGE_VIEW_PARENTS": ""}


def view_page(generation, index=0x1000, parent=0, **fields):
    """A view page whose newest slot says `fields`."""
    slot = struct.pack("<QqQBBB5xqqQQ64x", index, fields.get("counter_offset", 0), fields.get("counter_ratio", 1),
                       fields.get("counter_frac_bits", 0), fields.get("format", 0), fields.get("smear", 0),
                       fields.get("monotonic_offset_ns", 0), fields.get("boottime_offset_ns", 0),
                       fields.get("disruption_marker", 7), parent)
    page = bytearray(4096)
    struct.pack_into("<8sHHIQ16sQII", page, 0, b"CLKPGVEW", 1, 1, 4096, 0, b"\x22" * 16, generation, 4, 128)
    struct.pack_into("<Q", page, 0x100, index)
    page[0x200 + 128 * (index % 4):0x200 + 128 * (index % 4 + 1)] = slot
    return bytes(page)


class ViewToolTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="clockpage-view-tool-")
        cls.producer = start(cls.directory, DAEMON, "--dir", cls.directory, "--quiet")
        cls.generation = int(json.loads(cls.tool_of("status", "--json")[1])["generation"])
        os.makedirs(os.path.join(cls.directory, "views"), exist_ok=True)

    @classmethod
    def tearDownClass(cls):
        end(cls.producer)
        shutil.rmtree(cls.directory)

    @classmethod
    def tool_of(cls, command, *arguments, environment=None):
        return tool(command, "--dir", cls.directory, *arguments, environment={**CLEAN, **(environment or {})})

    def write(self, name, **fields):
        path = os.path.join(self.directory, "views", name)
        with open(path, "wb") as file:
            file.write(view_page(self.generation, **fields))
        return path

    def json_of(self, command, *arguments, environment=None):
        code, out, err = self.tool_of(command, "--json", *arguments, environment=environment)
        self.assertEqual((code, err), (0, ""))
        return json.loads(out)

    def refused(self, *words, environment=None):
        code, out, err = self.tool_of(*words, environment=environment)
        self.assertEqual((code, out, err.count("\n")), (1, "", 1), err)
        return err

    def clocks(self, *arguments, environment=None):
        result = self.json_of("read", *arguments, environment=environment)
        return {name: clock["ns"] for name, clock in result["clocks"].items() if not clock["error"]}

    def assert_shifted(self, clocks, by):
        """`clocks` have just been read; `by`: ns by which they are ahead of the host's."""
        after = self.clocks()
        for name, ns in clocks.items():
            behind = after[name] - (ns - by.get(name, 0))
            self.assertTrue(0 < behind < 20 * SECOND, f"{name}: {behind}")

    OFFSETS = {"monotonic": 1000 * SECOND, "raw": 1000 * SECOND, "boottime": 5000 * SECOND}

    def test_read_goes_through_a_view_by_name_by_path_and_by_the_environment(self):
        path = self.write("shifted", monotonic_offset_ns=1000 * SECOND, boottime_offset_ns=5000 * SECOND)
        self.assert_shifted(self.clocks("--view", "shifted"), self.OFFSETS)
        self.assert_shifted(self.clocks("--view", path), self.OFFSETS)
        # The option goes before the environment, which may have been meant for another process.
        self.assertIn("$CLOCKPAGE_VIEW is not the view of this process's time namespace",
                      self.refused("read", environment={"CLOCKPAGE_VIEW": path}))
        same = self.write("same")
        self.assert_shifted(self.clocks("--view", "same", environment={"CLOCKPAGE_VIEW": path}), {})
        self.assert_shifted(self.clocks("--view", "shifted", environment={"CLOCKPAGE_VIEW": same}), self.OFFSETS)
        self.assertEqual(self.json_of("read", environment={"CLOCKPAGE_VIEW": same})["view"]["monotonic_offset_ns"], 0)

    def test_a_guest_s_counter_is_computed_from_the_host_s(self):
        for fields in ({"counter_offset": -10**15}, {"counter_offset": 77, "counter_ratio": 3 << 46,
                                                     "counter_frac_bits": 48}):
            self.write("guest", **fields)
            self.assert_shifted(self.clocks("--view", "guest"), {})

    def test_read_says_which_view_it_went_through(self):
        self.write("guest", counter_offset=-5, disruption_marker=12345, boottime_offset_ns=3)
        view = self.json_of("read", "--view", "guest")["view"]
        self.assertEqual((view["counter_offset"], view["disruption_marker"], view["boottime_offset_ns"]), (-5, 12345, 3))
        self.assertNotIn("view", self.json_of("read"))

    def test_status_says_what_the_view_is(self):
        self.write("parent", index=0x2222)
        self.write("child", parent=0x2222, counter_offset=-5, smear=1, monotonic_offset_ns=-9, disruption_marker=12345)
        through = ["--view", "child", "--view-parent", "parent"]
        view = self.json_of("status", *through)["view"]
        self.assertEqual(view["path"], os.path.join(self.directory, "views", "child"))
        self.assertEqual(view["view_id"], "22" * 16)
        expected = {"number": 0x1000, "disruption_marker": 12345, "counter_offset": -5, "counter_ratio": 1,
                    "counter_frac_bits": 0, "format": "unscaled", "smeared": True, "monotonic_offset_ns": -9,
                    "boottime_offset_ns": 0, "parent_generation": 0x2222, "ancestors": 1}
        self.assertEqual({name: view[name] for name in expected}, expected)
        code, out, err = self.tool_of("status", *through)
        self.assertEqual((code, err), (0, ""))
        for words in ("counter: the host's -5", "smeared", "MONOTONIC and RAW -9 ns", "disruption marker 12345",
                      "composed from another view, its number 8738"):
            self.assertIn(words, out)
        self.assertIn("view          none: the host's clocks\n", self.tool_of("status")[1])

    def test_a_view_that_cannot_be_read_through_is_refused_in_one_line(self):
        self.write("gone", counter_ratio=0)
        self.assertIn("gone: withdrawn by the host", self.refused("read", "--view", "gone"))
        self.assertIn("views/missing: open: No such file", self.refused("read", "--view", "missing"))
        self.write("parent", index=0x2222)
        self.write("child", parent=0x2222)
        self.assertIn("composed from another view: name that too", self.refused("read", "--view", "child"))
        self.write("parent", index=0x2223)
        self.assertIn("has to be composed anew", self.refused("status", "--view", "child", "--view-parent", "parent"))
        code, _, err = self.tool_of("read", "--view", "child", "--smeared")
        self.assertEqual((code, err.count("\n")), (2, 1), err)

    def test_compare_through_a_view_compares_with_this_namespace_s_clocks(self):
        self.write("same")
        result = self.json_of("compare", "--view", "same", "--clock", "monotonic", "--for", "1")
        self.assertLess(result["median_ns"], 2000)
        self.write("shifted", monotonic_offset_ns=1000 * SECOND)
        result = self.json_of("compare", "--view", "shifted", "--clock", "monotonic", "--for", "0.2")
        self.assertAlmostEqual(result["median_signed_ns"], 1000 * SECOND, delta=SECOND)

    def test_what_does_not_read_through_a_view_says_so(self):
        path = self.write("shifted", monotonic_offset_ns=1000 * SECOND)
        for command in (["watch", "--for", "0.2"], ["verify", "--for", "0.2"]):
            code, _, err = self.tool_of(*command, "--json", environment={"CLOCKPAGE_VIEW": path})
            self.assertEqual(code, 0, err)
            self.assertIn("these are the host's clocks: this command does not read through $CLOCKPAGE_VIEW", err)

    # ---- in a time namespace

    def in_namespace(self, *arguments):
        done = subprocess.run(["unshare", "--time", "--fork", "--monotonic", "1000", "--boottime", "5000", TOOL,
                               arguments[0], "--dir", self.directory, *arguments[1:]],
                              capture_output=True, text=True, timeout=60, env={**os.environ, **CLEAN})
        if "unshare" in done.stderr:
            self.skipTest(f"needs CAP_SYS_ADMIN and time namespaces: {done.stderr}")
        return done.returncode, done.stdout, done.stderr

    def test_in_a_time_namespace_a_view_gives_its_clocks_and_nothing_else_does(self):
        code, out, err = self.in_namespace("read")
        self.assertEqual((code, out), (1, ""))
        self.assertIn("this process's time namespace has offsets, so it needs a view of its own", err)
        self.write("container", monotonic_offset_ns=1000 * SECOND, boottime_offset_ns=5000 * SECOND)
        for clock in ("monotonic", "raw", "boottime", "realtime"):
            for source in ("vvar", "bracket"):
                code, out, err = self.in_namespace("compare", "--view", "container", "--json", "--for", "0.5",
                                                   "--clock", clock, "--source", source)
                self.assertEqual((code, err), (0, ""))
                result = json.loads(out)
                print(f"{clock}, {source}: kernel side {result['source']}, median_ns {result['median_ns']}, "
                      f"p999_ns {result['p999_ns']}, {result['samples']} samples")
                self.assertLess(result["median_ns"], 2000)
        # Without a view the host's page is compared with the host's clocks, from either source.
        for source in ("vvar", "bracket"):
            code, out, err = self.in_namespace("compare", "--json", "--for", "0.5", "--clock", "boottime",
                                               "--source", source)
            self.assertEqual(code, 0, err)
            self.assertLess(json.loads(out)["median_ns"], 2000)
        code, out, err = self.in_namespace("status")
        self.assertEqual(code, 0, err)
        self.assertIn("not those of this process's time namespace", out)
        code, out, err = self.in_namespace("watch", "--for", "0.2", "--json")
        self.assertEqual(code, 0, err)
        self.assertIn("MONOTONIC, RAW and BOOTTIME are others in this time namespace", err)


if __name__ == "__main__":
    unittest.main()
