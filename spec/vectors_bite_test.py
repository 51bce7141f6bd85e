#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Shows that the readers' tests over the golden vectors can fail.

  vectors_bite_test.py [EMULATOR [OPTION...]] VECTORS_C_TEST

In a copy of the vectors one bit is flipped in each word of a page that a reading depends on, and one digit in each
column of a case; the C and the Python reader's test must then report a difference. So must they where the expected
results are those of a reader that forgets what a result says of a leap second, and the vectors where the Python reader
has one of its boundaries wrong.
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


# A reader that forgets something, as what it does to (flags, leap indicator), on a page that shows it.
FORGETFUL = {
    "the flag AMBIGUOUS": ("insertion_to_the_ns", lambda flags, leap: (flags & ~4, leap)),
    "the flag HOST_IN_SMEAR": ("leap_host_in_smear", lambda flags, leap: (flags & ~8, leap)),
    "to derive the indicator": ("noon_smear_insertion", lambda flags, leap: (flags, 0)),
    "the smear": ("utc_sls_insertion", lambda flags, leap: (flags, 4 if leap == 3 else leap)),
    "that a leap is pending on its last day alone": ("deletion_to_the_ns",
                                                     lambda flags, leap: (flags, 2 if leap == 0 else leap)),
    "deletions": ("deletion_to_the_ns", lambda flags, leap: (flags, 1 if leap == 2 else leap)),
    "the segment's own indicator": ("leap_taken_out", lambda flags, leap: (flags, 0 if leap == 4 else leap))}
# reader.py with one boundary wrong.
WRONG_PYTHON = {
    "-change <= signed": "-change < signed", "- s.leap_start_ns) < change": "- s.leap_start_ns) <= change",
    "(clock == CLOCKS[\"REALTIME\"] and s.leap": "(s.leap",
    "and s.leap_start_ns == s.leap_end_ns\n": "\n",
    "        if tai < s.leap_start_ns:\n            return (1": "        if tai <= s.leap_start_ns:\n            return (1",
    "3 if tai < s.leap_end_ns": "3 if tai <= s.leap_end_ns", "1 if change >= 0": "1 if change <= 0",
    "s.leap_start_ns - tai > LEAP_NOTICE_NS": "s.leap_start_ns - tai >= LEAP_NOTICE_NS",
    "NOTICE_NS = 86400 * 10**9": "NOTICE_NS = 86400 * 10**9 + 1", "return s.leap_indicator, ambiguous": "return 0, ambiguous",
    "8 if s.flags & 0x80": "8 if s.flags & 0x40"}


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
            if word == "leap_indicator":  # computed where a leap is near
                continue
            changed = bytearray(image)
            byte = 7 if word in HIGH_BYTE else 4 if word in MIDDLE_BYTE else 0
            changed[newest + offset + byte] ^= 0x02 if word == "status" else 0x80 if word in HIGH_BYTE else 0x01
            check(word, page, bytes(changed))
        for other in ("leap_taken_out.page", "noon_smear_insertion.page"):  # it is not in sight, or far ahead
            changed = bytearray((copy / other).read_bytes())
            changed[1024 + 192 * (changed[0x100] % 16) + SEGMENT_WORDS["leap_indicator"]] ^= 0x01
            check(f"leap_indicator of {other}", copy / other, bytes(changed))
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
        for forgets, (name, change) in FORGETFUL.items():
            for suffix, separator, readers in ((".cases", " ", "C"), (".json", '", "', "Python")):
                path = copy / (name + suffix)
                true = path.read_text(encoding="utf-8")
                lines = true.splitlines(keepends=True)
                for at, line in enumerate(lines):
                    words = line.split(separator)
                    if len(words) == 12 and "#" not in line and "columns" not in line:
                        words[8], words[9] = map(str, change(int(words[8]), int(words[9])))
                        lines[at] = separator.join(words)
                path.write_text("".join(lines), encoding="utf-8")
                if not fails(commands[readers]):
                    unnoticed.append(f"{readers}'s test: a reader that forgets {forgets} passes")
                path.write_text(true, encoding="utf-8")

        python = (HERE / "reader.py").read_text(encoding="utf-8")
        for right, wrong in WRONG_PYTHON.items():
            if python.count(right) != 1:
                unnoticed.append(f"reader.py does not have {right!r} once")
            other = copy / "reader.py"
            other.write_text(python.replace(right, wrong), encoding="utf-8")
            if not fails([sys.executable, "-B", str(other), "--vectors", str(copy)]):
                unnoticed.append(f"reader.py with {wrong!r} passes")
    for line in unnoticed:
        print(line)
    differences = len(SEGMENT_WORDS) + 2 + 24 + 2 * len(FORGETFUL) + len(WRONG_PYTHON)
    print(f"{differences} deliberate differences, {len(unnoticed)} unnoticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
