#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Shows that the readers' tests over the golden views can fail.

  view_vectors_bite_test.py [EMULATOR [OPTION...]] VIEW_VECTORS_TEST

In a copy of the vectors one bit is flipped in each field of a view that a reading depends on, and one digit in each column of a
case: the C and the Python reader's test must report a difference. So must the vectors where the Python reader has one of the rules
of clockpage.md 5.4 wrong.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
HEADER = {"magic": 0x00, "abi_major": 0x08, "size": 0x0D, "generation": 0x28, "slot_count": 0x30, "slot_size": 0x34, "index": 0x100}
SLOT = {"number": 0x00, "counter_offset": 0x08, "counter_ratio": 0x13, "counter_frac_bits": 0x18, "format": 0x19, "smear": 0x1A,
        "monotonic_offset_ns": 0x20, "boottime_offset_ns": 0x28, "disruption_marker": 0x30, "parent_generation": 0x38}
# reader.py with one rule wrong.
WRONG_PYTHON = {
    "return (c + 1) & M64": "return c & M64", "+ wrapped * fraction": "", "whole + 1 + max(wrapped, 0)": "whole + 1",
    "image + signed(g - image)": "image + (g - image) % 2**64", "max(whole, 1) - 1\n": "whole\n",
    "(period + period // 8 + 1)": "period", ">> 32) + 1, INT64_MAX) if late": ">> 32), INT64_MAX) if late",
    "M64, max(whole, 1) - 1": "M64, 0", "== 1:\n            return c & M64": "== 65:\n            return c & M64",
    "if index != wanted:": "if False:",
    "return slot[9]": "return 0", "if slot[2] == 0:": "if False:", "if slot[0] != index:": "if False:",
    "if marker != self.marker:": "if False:", "self.smear != 0]": "self.smear == 1]", '"MONOTONIC_RAW": self.monotonic': '"TAI": 0',
    "if self.format == 1 and not same:": "if False:", "if own != generation:": "if False:", "1024 <= size": "1025 <= size",
    "size <= 4096 or": "size <= 4097 or", "self.frac_bits in (32, 48)": "self.frac_bits in (32, 33, 48)",
    "(self.ratio == 1 if": "(True if"}


def fails(command):
    return subprocess.run(command, capture_output=True, check=False).returncode == 1


def main(arguments):
    unnoticed, differences = [], 0
    with tempfile.TemporaryDirectory() as name:
        copy = pathlib.Path(name) / "vectors"
        shutil.copytree(HERE / "vectors", copy)
        commands = {"C": [*arguments, str(copy)],
                    "Python": [sys.executable, "-B", str(HERE / "reader.py"), "--vectors", str(copy)]}
        unnoticed += [f"{which} fails over the true vectors" for which, c in commands.items() if fails(c)]

        def check(what, path, data, readers=("C", "Python")):
            nonlocal differences
            true = path.read_bytes()
            assert data != true, what
            path.write_bytes(data)
            differences += 1
            unnoticed.extend(f"{which} does not notice {what}" for which in readers if not fails(commands[which]))
            path.write_bytes(true)

        image = (copy / "view_nested.view").read_bytes()
        slot = 0x200 + image[0x100] % 4 * 128
        for field, offset in {**HEADER, **{field: slot + at for field, at in SLOT.items()}}.items():
            changed = bytearray(image)
            changed[offset] ^= 1
            check(field, copy / "view_nested.view", bytes(changed))
        parent = bytearray((copy / "view_parent.view").read_bytes())
        parent[0x100] ^= 1
        check("the parent's index", copy / "view_parent.view", bytes(parent))

        for path, separator, which in ((copy / "views.cases", " ", "C"), (copy / "views.json", '", "', "Python")):
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            at = next(i for i, line in enumerate(lines) if line.count(separator) == 13 and "#" not in line and "columns" not in line)
            for column in range(14):
                words = lines[at].split(separator)
                digit = next(c for c in reversed(words[column]) if c.isdigit())
                head, _, tail = words[column].rpartition(digit)
                words[column] = head + str((int(digit) + 1) % 10) + tail
                check(f"column {column} of {path.name}", path,
                      "".join(lines[:at] + [separator.join(words)] + lines[at + 1:]).encode(), [which])

        python = (HERE / "reader.py").read_text(encoding="utf-8")
        for right, wrong in WRONG_PYTHON.items():
            differences += 1
            if python.count(right) != 1:
                unnoticed.append(f"reader.py does not have {right!r} once")
            other = copy / "reader.py"
            other.write_text(python.replace(right, wrong), encoding="utf-8")
            if not fails([sys.executable, "-B", str(other), "--vectors", str(copy)]):
                unnoticed.append(f"reader.py with {wrong!r} for {right!r} passes")
    for line in unnoticed:
        print(line)
    print(f"{differences} deliberate differences, {len(unnoticed)} unnoticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
