#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Shows that the readers' tests over the golden timestamps can fail, and that the vectors find wrong readers out.

  timestamps_bite_test.py [EMULATOR [OPTION...]] TIMESTAMPS_TEST

In a copy of the vectors every byte of a wire form is changed, and every column of a case; the C and the Python reader's
test must then report a difference. So must the Python one where it has one of its rules wrong, and the C one where the
expected results are those of such a reader.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
# timestamp.py with one rule wrong.
WRONG_PYTHON = {
    "len(data) != 64": "len(data) < 64", "version != 0xC1": "version & 0xF0 != 0xC0", "if both & 8 or": "if",
    "self.status > 4": "self.status > 5", "self.earliest_ns <= self.ns": "True", "<= self.latest_ns": "or False",
    "or not self.is_scale()": "", "and self.time_scale != 1": "and self.time_scale == 0", "100 <= length": "99 <= length",
    "<= 14 * 86400": "<= 14 * 86400 + 1", "-length <= start": "True", "<= start <= 0": "<= start <= 1",
    "self.flags & (AMBIGUOUS | DELETION) else": "self.flags & AMBIGUOUS else",
    "(SECOND if self": "(0 if self", "if self.is_reliable() and latest < MAX else": "if latest < MAX else",
    "self.is_reliable() and self.earliest_ns > MIN": "self.earliest_ns > MIN", "(a.clock_id, a.epoch": "(b.clock_id, a.epoch",
    "a.epoch, a.scale())": "b.epoch, a.scale())", "and not (a.flags | b.flags) & OVERDUE": "", "(a.flags | b.flags)": "(a.flags & b.flags)",
    "            a.is_reliable() and b": "            True and b", "and b.is_reliable() and 255": "and 255",
    "and 255 not in (a.resolution_ns, b.resolution_ns)": "", "(a.resolution_ns, b.resolution_ns)": "(a.resolution_ns,)",
    "if a.scale() != b.scale()": "if a.time_scale != b.time_scale", "a.latest() < b.earliest()": "a.latest() <= b.earliest()",
    "0 if a.flags & b.flags & SCALED": "0 if (a.flags | b.flags) & SCALED", "else a.resolution_ns + b.resolution_ns": "else a.resolution_ns",
    "slack += SECOND if a.flags": "slack += SECOND if b.flags", "a.ns + slack < b.ns": "a.ns + slack <= b.ns",
    "return of_one_clock(a, b) and": "return", "raise TimestampError(SCALE)": "return False"}


def fails(command):
    return subprocess.run(command, capture_output=True, check=False).returncode == 1


def main(arguments):
    unnoticed, count = [], 0
    with tempfile.TemporaryDirectory() as name:
        copy = pathlib.Path(name) / "timestamps"
        shutil.copytree(HERE / "timestamps", copy)
        c_reader = [*arguments, str(copy)]
        python = [sys.executable, "-B", str(HERE / "timestamp.py"), "--vectors", str(copy)]
        unnoticed += [f"{what} fails over the true vectors" for what, c in (("C", c_reader), ("Python", python)) if fails(c)]

        # One other byte or digit at a time.
        for file, rows in (("decode.cases", ("every_field ",)), ("compare.cases", ("deletion_foreign_apart ", "noon_linear "))):
            path = copy / file
            true = path.read_text(encoding="utf-8")
            for start in rows:
                line = next(line for line in true.splitlines() if line.startswith(start))
                words = line.split(" ")
                columns = range(1, len(words)) if file == "decode.cases" else range(3, 7)
                for column in columns:
                    places = range(0, 128, 2) if column == 1 else [len(words[column]) - 1]
                    for place in places:
                        word = words[column]
                        other = "1" if word[place] != "1" else "3"
                        changed = [*words[:column], word[:place] + other + word[place + 1:], *words[column + 1:]]
                        path.write_text(true.replace(line, " ".join(changed)), encoding="utf-8")
                        count += 1
                        if not fails(c_reader):
                            unnoticed.append(f"C does not notice {file} {start}column {column}, place {place}")
            path.write_text(true, encoding="utf-8")

        path = copy / "timestamps.json"
        true = path.read_text(encoding="utf-8")
        data = json.loads(true)
        for part, columns in (("decode", range(2, 15)), ("compare", range(3, 7))):
            row = data[part][1]
            for column in columns:
                kept = row[column]
                row[column] = str(int(kept, 16) + 1) if column == 10 else str(int(kept) + 1)
                path.write_text(json.dumps(data), encoding="utf-8")
                row[column] = kept
                count += 1
                if not fails(python):
                    unnoticed.append(f"Python does not notice {part} column {column}")
        path.write_text(true, encoding="utf-8")

        text = (HERE / "timestamp.py").read_text(encoding="utf-8")
        for right, wrong in WRONG_PYTHON.items():
            count += 1
            if text.count(right) != 1:
                unnoticed.append(f"timestamp.py has {right!r} {text.count(right)} times, not once")
            (copy / "wrong.py").write_text(text.replace(right, wrong), encoding="utf-8")
            if not fails([sys.executable, "-B", str(copy / "wrong.py"), "--vectors", str(copy)]):
                unnoticed.append(f"timestamp.py with {wrong!r} for {right!r} passes")
    for line in unnoticed:
        print(line)
    print(f"{count} deliberate differences, {len(unnoticed)} unnoticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
