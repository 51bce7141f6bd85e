#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Shows that the readers' tests over the golden vectors can fail.

  vectors_bite_test.py [EMULATOR [OPTION...]] VECTORS_C_TEST

In a copy of the vectors one bit is flipped in each word of a page that a reading depends on, and one digit in each
column of a case; the C and the Python reader's test must then report a difference.
"""

import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SEGMENT_WORDS = {
    "start": 0x08, "lease_end": 0x10, "tai_ns": 0x18, "tai_frac": 0x20, "tai_period_frac": 0x28, "utc_offset_ns": 0x30,
    "leap_start_ns": 0x38, "monotonic_offset_ns": 0x40, "boottime_offset_ns": 0x48, "raw_ns": 0x50, "raw_frac": 0x58,
    "raw_period_frac": 0x60, "utc_bound_ns": 0x68, "utc_bound_growth_frac": 0x70, "local_bound_ns": 0x78,
    "local_bound_growth_frac": 0x80, "epoch": 0x88, "flags": 0x90, "status": 0x94, "reason": 0x95,
    "leap_indicator": 0x96, "leap_end_ns": 0x98, "utc_offset_after_ns": 0xA0, "leap_slope_frac": 0xA8}
# Which byte has a bit whose flip shows in whole ns; the lowest for all others.
HIGH_BYTE = {"tai_frac", "raw_frac", "utc_bound_growth_frac", "local_bound_growth_frac", "leap_slope_frac"}
MIDDLE_BYTE = {"tai_period_frac", "raw_period_frac", "leap_start_ns", "leap_end_ns", "start", "lease_end"}


def fails(command):
    return subprocess.run(command, capture_output=True, check=False).returncode == 1


def main(arguments):
    with tempfile.TemporaryDirectory() as name:
        copy = pathlib.Path(name) / "vectors"
        shutil.copytree(HERE / "vectors", copy)
        commands = {"C": [*arguments, str(copy)],
                    "Python": [sys.executable, "-B", str(HERE / "reader.py"), "--vectors", str(copy)]}
        unnoticed = [f"{reader} fails over the true vectors" for reader, c in commands.items() if fails(c)]

        def check(what, path, data):
            true = path.read_bytes()
            path.write_bytes(data)
            unnoticed.extend(f"{reader} does not notice {what}" for reader, c in commands.items() if not fails(c))
            path.write_bytes(true)

        page = copy / "smear_insertion.page"
        image = page.read_bytes()
        newest = 1024 + 192 * (image[0x100] % 16)
        for word, offset in SEGMENT_WORDS.items():
            changed = bytearray(image)
            byte = 7 if word in HIGH_BYTE else 4 if word in MIDDLE_BYTE else 0
            changed[newest + offset + byte] ^= 0x02 if word == "status" else 0x80 if word in HIGH_BYTE else 0x01
            check(word, page, bytes(changed))
        changed = bytearray(image)
        changed[0x108] = 1
        check("revoked", page, bytes(changed))

        for suffix, separator, readers in ((".cases", " ", "C"), (".json", '", "', "Python")):
            path = copy / ("step" + suffix)
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            at = next(i for i, line in enumerate(lines) if line.count(separator) == 11 and "#" not in line)
            for column in range(12):
                words = lines[at].split(separator)
                digit = next(c for c in reversed(words[column]) if c.isdigit())
                head, _, tail = words[column].rpartition(digit)
                words[column] = head + str((int(digit) + 1) % 10) + tail
                other = lines[:at] + [separator.join(words)] + lines[at + 1:]
                true = path.read_bytes()
                path.write_text("".join(other), encoding="utf-8")
                if not fails(commands[readers]):
                    unnoticed.append(f"{readers} does not notice column {column} of {path.name}")
                path.write_bytes(true)
    for line in unnoticed:
        print(line)
    print(f"{len(SEGMENT_WORDS) + 1 + 24} deliberate differences, {len(unnoticed)} unnoticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
