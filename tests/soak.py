#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the tests labelled `soak` in their long form, each printed with its command.

    soak.py BUILD_DIR [PATTERN]

Not through ctest: its time limits are those of the short forms. PATTERN is a regular
expression that selects by test name. Exit code: 0; 1 if one failed; 2 if none was selected.
"""
import json
import os
import re
import shlex
import subprocess
import sys
import time


def soak_tests(build_dir):
    """Yields (name, command, environment, directory) of each test labelled soak."""
    listing = subprocess.run(["ctest", "--test-dir", build_dir, "--show-only=json-v1"],
                             check=True, capture_output=True, text=True).stdout
    for test in json.loads(listing)["tests"]:
        properties = {p["name"]: p["value"] for p in test.get("properties", [])}
        if "soak" not in properties.get("LABELS", []) or "command" not in test:
            continue
        environment = dict(e.split("=", 1) for e in properties.get("ENVIRONMENT", []))
        yield (test["name"], test["command"], environment,
               properties.get("WORKING_DIRECTORY", build_dir))


def main():
    if not 2 <= len(sys.argv) <= 3:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    build_dir, pattern = sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else ""
    verdicts = []
    for name, command, environment, directory in soak_tests(build_dir):
        if not re.search(pattern, name):
            continue
        environment["CLOCKPAGE_SOAK"] = "1"
        shown = [f"{key}={shlex.quote(value)}" for key, value in sorted(environment.items())]
        print(f"\n== {name}\n$ {' '.join(shown)} {shlex.join(command)}", flush=True)
        begin = time.monotonic()
        code = subprocess.run(command, cwd=directory, env={**os.environ, **environment}).returncode
        verdict = {0: "passed", 77: "skipped"}.get(code, f"failed (exit code {code})")
        verdicts.append(verdict)
        print(f"== {name}: {verdict} in {time.monotonic() - begin:.0f} s", flush=True)
    if not verdicts:
        print(f"soak: no test labelled soak matches '{pattern}'", file=sys.stderr)
        return 2
    passed, skipped = verdicts.count("passed"), verdicts.count("skipped")
    failed = len(verdicts) - passed - skipped
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
