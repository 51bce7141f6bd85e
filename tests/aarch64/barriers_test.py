# SPDX-License-Identifier: MIT
"""The barriers of the protocol are in the code that the compiler makes for 64-bit Arm.

Emulated on x86, a missing barrier does not show: so the reader, PageWriter and the counter reads
are compiled and disassembled here. Every barrier is also taken out of a copy of the headers, and
must then be missed.

Environment: CC, CXX, OBJDUMP of the cross compiler; CLOCKPAGE_SOURCE_DIR; CLOCKPAGE_INCLUDE, the
folder with the header-only libraries; CLOCKPAGE_BIN.
"""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

SOURCE = pathlib.Path(os.environ["CLOCKPAGE_SOURCE_DIR"])
READER = "tests/aarch64/reader_functions.c"
WRITER = "producer/page_writer.cpp"
VIEW_WRITER = "producer/view_page.cpp"
COUNTER = "producer/counter.cpp"
# Without LSE atomics (then they are called: libgcc chooses at run time), with them, and with
# the weaker acquire load that suffices.
ARCHITECTURES = ("armv8-a", "armv8.1-a", "armv8.3-a")


def functions(program):
    """Name -> [(mnemonic, operands, address)]. A called symbol stands in the operands of `bl`."""
    text = subprocess.run([os.environ["OBJDUMP"], "-drC", "--no-show-raw-insn", program],
                          check=True, capture_output=True, text=True).stdout
    found, body = {}, None
    for line in text.splitlines():
        if start := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            body = found.setdefault(start[1].split("(")[0], [])
        elif relocation := re.match(r"\s+[0-9a-f]+: R_AARCH64_CALL26\s+(\S+)", line):
            body[-1] = ("bl", relocation[1], body[-1][2])
        elif code := re.match(r"\s*([0-9a-f]+):\t(\S+)\t?([^/]*)", line):
            body.append((code[2], code[3].strip(), int(code[1], 16)))
    return found


def is_load(instruction):
    return instruction[0].startswith("ld") and "[sp" not in instruction[1]


def is_store(instruction):
    return instruction[0].startswith("st") and "[sp" not in instruction[1]


def first(test, body, mnemonics, message):
    for position, (mnemonic, operands, _) in enumerate(body):
        if f"{mnemonic} {operands}" in mnemonics or mnemonic in mnemonics:
            return position
    return test.fail(message)


def branches_on(test, body, position, register, message):
    """A branch that depends on the register and leads to what follows it anyway."""
    mnemonic, operands, address = body[position]
    where = operands.split(",")
    test.assertTrue(mnemonic == "cbz" and where[0] == register
                    and int(where[1].split()[0], 16) == address + 4, message)


def reads_counter(test, body, isb):
    """The ISB, the read, the branch that later stores wait for."""
    test.assertEqual(body[isb][0], "isb")
    mnemonic, operands, _ = body[isb + 1]
    test.assertEqual((mnemonic, operands.split(", ")[1]), ("mrs", "cntvct_el0"))
    branches_on(test, body, isb + 2, operands.split(",")[0], "no branch on the counter value")


def check_counter(test, body, dsb):
    position = first(test, body, (dsb,), f"no {dsb} before the counter read")
    reads_counter(test, body, position + 1)


def check_pass(test, body, begin):
    """P1 and P2 around one pass; returns where the index is loaded, and into what."""
    acquire = begin + first(test, body[begin:], ("ldar", "ldapr"),
                            "the index is not loaded with acquire order")
    register, base = body[acquire][1].replace(" ", "").split(",")
    fence = acquire + first(test, body[acquire:], ("dmb ishld", "dmb ish"),
                            "no fence before the re-check")
    loads = [i for i in body[acquire + 1:fence] if is_load(i)]
    test.assertGreaterEqual(len(loads), 8, "the slot is not loaded before the fence")
    after = [i for i in body[fence + 1:fence + 8] if is_load(i)]
    test.assertTrue(after and base in after[0][1], "the index is not loaded after the fence")
    return acquire, register


def check_now(test, body):
    acquire, register = check_pass(test, body, 0)
    isb = first(test, body, ("isb",), "no isb before the counter read")
    test.assertLess(acquire, isb)
    branches_on(test, body, isb - 1, register, "the isb does not wait for the index")
    written = [i[1].split(",")[0] for i in body[acquire + 1:isb]]
    test.assertNotIn(register, [w for w, i in zip(written, body[acquire + 1:]) if i[0] != "cbz"])
    reads_counter(test, body, isb)
    fence = isb + first(test, body[isb:], ("dmb ishld",), "no fence after the counter read")
    test.assertGreater(fence, isb)


def check_view(test, code):
    """Readings through a view: both indices are loaded again, behind a fence; so are the ancestors'."""
    for name in ("view_now", "view_now_bounds"):
        check_now(test, code[name])
    check_pass(test, code["view_at"], 0)
    for name in ("view_now", "view_now_bounds", "view_at"):
        body = code[name]
        fence = first(test, body, ("dmb ishld",), "no fence before the re-check")
        # Page's index; where the view is, and its index; the number that is remembered.
        test.assertGreaterEqual(len([i for i in body[fence + 1:fence + 14] if is_load(i)]), 4,
                                "the view's index is not loaded after the fence")
    marker = code["view_marker"]
    acquire = first(test, marker, ("ldar", "ldapr"), "the view's index is not acquired for a marker")
    first(test, marker[acquire:], ("dmb ishld",), "no fence before a marker's re-check")
    for name, body in code.items():
        if name.startswith("clockpage_view_pass_"):
            check_pass(test, body, 0)
    slowly = [body for name, body in code.items() if name.startswith("clockpage_view_evaluate_anew_")]
    reading = [body for body in slowly if any(i[0] == "mrs" for i in body)]
    test.assertTrue(reading)
    for body in reading:
        first(test, body, ("ldar", "ldapr"), "the slow way loads the view's index without acquire order")
        check_counter(test, body, "dsb ishld")
        calls = [n for n, i in enumerate(body) if i[0] == "bl" and "clockpage_view_take_slot_" in i[1]]
        test.assertTrue(calls, "no call of clockpage_view_take_slot_: change this test")
        for call in calls:
            first(test, body[:call], ("ldar", "ldapr"), "a view is taken without acquire order")
            first(test, body[call:call + 30], ("dmb ishld",), "no fence after a view was taken")
        fences = len([i for i in body if i[0] == "dmb" and i[1] == "ishld"])
        # Behind what was taken, the data page's slots, and the reading.
        test.assertGreaterEqual(fences, 3, "a fence of the slow way is missing")


def check_reader(test, code):
    check_view(test, code)
    check_now(test, code["now"])
    check_now(test, code["now_bounds"])
    check_pass(test, code["now_relaxed"], 0)
    check_pass(test, code["at"], 0)
    # The compiler makes copies of it for constant arguments; those for `at` read no counter.
    slowly = [body for name, body in code.items() if name.startswith("clockpage_evaluate_slowly_")]
    for body in slowly:
        first(test, body, ("ldar", "ldapr"), "the slow way loads the index without acquire order")
        first(test, body, ("dmb ishld",), "the slow way has no fence before its re-check")
    reading = [body for body in slowly if any(i[0] == "mrs" for i in body)]
    test.assertTrue(reading)
    for body in reading:
        check_counter(test, body, "dsb ishld")
    check_counter(test, code["counter_ordered"], "dsb ishld")
    check_counter(test, code["counter_after_stores"], "dsb ish")


def check_writer(test, code):
    fill = code["clockpage::producer::PageWriter::fill_next"]
    stores = [n for n, instruction in enumerate(fill) if is_store(instruction)]
    fence = first(test, fill, ("dmb ish",), "no fence before the slot is filled")
    test.assertGreaterEqual(len(stores), 20)
    test.assertLess(fence, stores[0], "a store into the slot before the fence")
    first(test, code["clockpage::producer::PageWriter::publish"],
          ("casl", "casal", "bl __aarch64_cas8_rel", "bl __aarch64_cas8_acq_rel"),
          "the index is not advanced with release order")


def check_view_writer(test, code):
    body = code["clockpage::producer::ViewWriter::publish"]
    stores = [n for n, instruction in enumerate(body) if is_store(instruction)]
    fence = first(test, body, ("dmb ish",), "no fence before the view's slot is filled")
    test.assertGreaterEqual(len(stores), 8)
    test.assertLess(fence, stores[0], "a store into the view's slot before the fence")
    first(test, body, ("casl", "casal", "bl __aarch64_cas8_rel", "bl __aarch64_cas8_acq_rel"),
          "the view's index is not advanced with release order")


def check_host_counter(test, code):
    check_counter(test, code["clockpage::producer::HostCounter::read"], "dsb ish")


CHECKS = {READER: check_reader, WRITER: check_writer, VIEW_WRITER: check_view_writer, COUNTER: check_host_counter}

# A barrier taken out: header, what to replace (once), by what, whose check must fail.
BARRIER, CNT, ENTRY = (f"consumer/include/clockpage/{h}.h" for h in ("barrier", "counter", "reader"))
VIEW, TAKE = (f"consumer/include/clockpage/{h}.h" for h in ("view", "view_take"))
FENCE = "clockpage_fence_before_recheck(); /* P2, with the writers of all of them */"
MUTANTS = {
    "P1, the reader's load": (BARRIER, "LOAD_(index, __ATOMIC_ACQUIRE)",
                              "LOAD_(index, __ATOMIC_RELAXED)", READER),
    "P2, the reader's fence": (BARRIER, "CLOCKPAGE_ATOMIC_FENCE_(__ATOMIC_ACQUIRE)",
                               "__atomic_signal_fence(__ATOMIC_ACQUIRE)", READER),
    "P2, the writer's fence": (BARRIER, "CLOCKPAGE_ATOMIC_FENCE_(__ATOMIC_RELEASE)",
                               "__atomic_signal_fence(__ATOMIC_RELEASE)", WRITER),
    "P1, the writer's store": (BARRIER, "next, __ATOMIC_RELEASE", "next, __ATOMIC_RELAXED",
                               WRITER),
    "P2, the view's writer's fence": (BARRIER, "CLOCKPAGE_ATOMIC_FENCE_(__ATOMIC_RELEASE)",
                                      "__atomic_signal_fence(__ATOMIC_RELEASE)", VIEW_WRITER),
    "P1, the view's writer's store": (BARRIER, "next, __ATOMIC_RELEASE", "next, __ATOMIC_RELAXED",
                                      VIEW_WRITER),
    "the view's re-check": (VIEW, "LOAD(reader->view->index) != reader->number", "LOAD(page->revoked)",
                            READER),
    "P2, the fence after a reading under a view": (VIEW, FENCE, "", READER),
    "P2, the fence after a view was taken anew": (TAKE, FENCE, "", READER),
    "P1, the view's index taken anew": (TAKE, "clockpage_load_index(&reader->view->index)",
                                        "CLOCKPAGE_LOAD(reader->view->index)", READER),
    "the branch on the index, through a view": (VIEW, "reader->data.rdtscp, newest.number",
                                                "reader->data.rdtscp, newest.plain_span", READER),
    "ISB": (CNT, '"isb\\n\\tmrs %0', '"mrs %0', READER),
    "ISB after the writer's DSB": (CNT, '"isb\\n\\tmrs %0', '"mrs %0', COUNTER),
    "the branch on the index": (CNT, '"cbz %1, 1f\\n1:\\t"', '""', READER),
    "the branch on something else": (ENTRY, "reader->rdtscp, newest.number",
                                     "reader->rdtscp, newest.plain_span", READER),
    "the branch on the counter value": (CNT, "\\n\\tcbz %0, 2f\\n2:", "", READER),
    "DSB before a captured value": (CNT, '"dsb ishld', '"dmb ishld', READER),
    "DSB after the writer's store": (CNT, '"dsb ish\\n', '"dmb ish\\n', COUNTER),
}


class BarriersTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.object = os.path.join(self.directory.name, "code.o")

    def code(self, source, headers=SOURCE, architecture=ARCHITECTURES[0]):
        compiler = ([os.environ["CC"], "-std=c11"] if source.endswith(".c")
                    else [os.environ["CXX"], "-std=c++20"])
        subprocess.run([*compiler, "-O2", f"-march={architecture}", "-c", SOURCE / source, "-o",
                        self.object, "-I", headers / "abi/include", "-I",
                        headers / "consumer/include", "-I", SOURCE / "producer", "-I",
                        SOURCE / "consumer", "-isystem", os.environ["CLOCKPAGE_INCLUDE"]],
                       check=True)
        return functions(self.object)

    def test_every_barrier_is_in_the_code(self):
        for source, check in CHECKS.items():
            for architecture in ARCHITECTURES:
                with self.subTest(source=source, architecture=architecture):
                    check(self, self.code(source, architecture=architecture))

    def test_each_barrier_is_missed_when_it_is_taken_out(self):
        for name, (header, old, new, source) in MUTANTS.items():
            with self.subTest(name):
                headers = pathlib.Path(self.directory.name) / "headers"
                shutil.rmtree(headers, ignore_errors=True)
                for folder in ("abi/include", "consumer/include"):
                    shutil.copytree(SOURCE / folder, headers / folder)
                text = (headers / header).read_text(encoding="utf-8")
                self.assertIn(old, text, "the header no longer has it: change this test")
                (headers / header).write_text(text.replace(old, new), encoding="utf-8")
                with self.assertRaises(AssertionError):
                    CHECKS[source](self, self.code(source, headers))

    def test_libgccs_compare_and_exchange_keeps_the_release_order_with_and_without_lse(self):
        code = functions(os.path.join(os.environ["CLOCKPAGE_BIN"], "clockpaged"))
        body = code["__aarch64_cas8_rel"]
        for mnemonic in ("casl", "stlxr"):
            first(self, body, (mnemonic,), f"no {mnemonic} in __aarch64_cas8_rel")


if __name__ == "__main__":
    unittest.main()
