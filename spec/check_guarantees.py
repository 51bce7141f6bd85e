#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every guarantee of spec/clockpage.md section 6 is shown by something that exists.

Its table has a row per guarantee: number, text, the tests that show it, the properties of spec/model that show it. A row must
name a test at least, and a property, or say after "none:" why there is no ordering to model. What is named must exist, every
property of the model must be claimed by the guarantee it says it shows, and spec/evidence.md must have a row for each guarantee,
with commands that ./dev has.

  check_guarantees.py TREE              prints each fault; exit 1 if there is one
  check_guarantees.py TREE --self-test  shows that every kind of fault is noticed
"""

import pathlib
import re
import subprocess
import sys


class Tree:
    """What exists: texts, tests, golden pages, properties of the model, commands of ./dev."""

    def __init__(self, top):
        self.spec = (top / "spec/clockpage.md").read_text(encoding="utf-8")
        self.evidence = (top / "spec/evidence.md").read_text(encoding="utf-8")
        sources = ""
        for pattern in ("*_test.cpp", "*_test.c", "*_test.py", "CMakeLists.txt", "*.cmake"):
            for path in sorted(top.rglob(pattern)):
                if "build" not in path.relative_to(top).parts:
                    sources += f"{path.stem} {path.parent.name}_{path.stem}\n" + path.read_text(encoding="utf-8")
        self.cases = {f"{a}.{b}" for a, b in re.findall(r"TEST(?:_[FP])?\(\s*(\w+)\s*,\s*(\w+)\s*\)", sources)}
        self.words = set(re.findall(r"\w+", sources))
        self.pages = set((top / "spec/vectors/pages.list").read_text(encoding="utf-8").split())
        self.properties = listed_properties(top)
        usage = (top / "dev").read_text(encoding="utf-8").split("HELP'\n", 1)[1].split("\nHELP", 1)[0]
        self.commands = set(re.findall(r"\w+", " ".join(re.findall(r"^  (\w[\w, ]*?)(?: \[| [A-Z]|  |$)", usage, flags=re.M))))


def listed_properties(top):
    """{property of the model: the guarantees it says it shows}."""
    out = subprocess.run([sys.executable, "-B", top / "spec/model/run.py", "--list"], check=True, capture_output=True, text=True).stdout
    found = {}
    for line in out.splitlines():
        words = line.split()
        if words and words[0].startswith("P_"):
            found[words[0]] = {w.strip(",") for w in words[1:] if re.fullmatch(r"G\d+,?", w)}
    return found


def rows_of(text, columns):
    """The cells of each row that begins with a guarantee's number."""
    rows = []
    for line in re.findall(r"^\| G\d+ \|.*$", text, flags=re.M):
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        rows.append(cells if len(cells) == columns else [cells[0]])
    return rows


def exists(name, tree):
    if "." in name:
        return name in tree.cases
    return name in tree.words or name in tree.pages


def check_row(cells, tree, problems):
    if len(cells) != 4:
        problems.append(f"{cells[0]}: its row has not the columns number, guarantee, tests, model")
        return set()
    number, _, tests, model = cells
    named = re.findall(r"`([\w.]+)`", tests)
    if not named:
        problems.append(f"{number}: names no test")
    problems += [f"{number}: names the test {name}, which does not exist" for name in named if not exists(name, tree)]
    properties = re.findall(r"`(\w+)`", model)
    problems += [f"{number}: names the property {name}, which the model does not have"
                 for name in properties if name not in tree.properties]
    problems += [f"{number}: the model's property {name} does not say that it shows it"
                 for name in properties if number not in tree.properties.get(name, {number})]
    if not properties and not re.match(r"none: \w+ \w+", model):
        problems.append(f"{number}: names no property of the model, nor why it needs none")
    return set(properties)


def faults(tree):
    problems, named = [], {}
    rows = rows_of(tree.spec, 4)
    numbers = [cells[0] for cells in rows]
    if not rows or numbers != [f"G{i + 1}" for i in range(len(rows))]:
        problems.append(f"the guarantees are not numbered G1, G2, ...: {' '.join(numbers)}")
    for cells in rows:
        named[cells[0]] = check_row(cells, tree, problems)
    for name, shows in sorted(tree.properties.items()):
        if not shows:
            problems.append(f"the model's property {name} does not say which guarantee it shows")
        problems += [f"the model's property {name} shows {number}, whose row does not name it"
                     for number in sorted(shows) if name not in named.get(number, set())]
    shown = [cells for cells in rows_of(tree.evidence, 4)]
    for number in numbers:
        if not any(cells[0] == number for cells in shown):
            problems.append(f"{number}: has no row in evidence.md")
    for cells in shown:
        if len(cells) != 4 or not all(cells):
            problems.append(f"{cells[0]}: its row in evidence.md has not the columns guarantee, how, command, figures")
        elif cells[0] not in numbers:
            problems.append(f"evidence.md has a row for {cells[0]}, which is no guarantee")
        elif not re.search(r"`[^`]*\./dev ", cells[2]):
            problems.append(f"{cells[0]}: its row in evidence.md names no command")
    for command in re.findall(r"\./dev (\w+)", tree.evidence):
        if command not in tree.commands:
            problems.append(f"evidence.md names ./dev {command}, which ./dev does not have")
    return problems


def self_test(tree):
    """Breaks each kind of thing once."""
    assert not faults(tree), "self-test needs texts without fault"
    line = re.search(r"^\| G1 \|.*$", tree.spec, flags=re.M).group(0)
    cells = line.strip("| ").split(" | ")
    name = sorted(tree.properties)[0]

    def spec_with(index, text):
        return tree.spec.replace(line, "| " + " | ".join(cells[:index] + [text] + cells[index + 1:]) + " |")

    whole = tree.evidence.replace("\n| G1 |", "\n| G99 |")
    mutations = [
        ("G1: names no test", "spec", spec_with(2, "by inspection")),
        ("NoSuch.Test, which does not exist", "spec", spec_with(2, "`NoSuch.Test`")),
        ("no_such_test, which does not exist", "spec", spec_with(2, "`no_such_test`")),
        ("G1: names no property", "spec", spec_with(3, "")),
        ("P_nothing, which the model does not have", "spec", spec_with(3, "`P_nothing`")),
        ("whose row does not name it", "spec", spec_with(3, "none: no reason")),
        ("are not numbered", "spec", tree.spec.replace("| G2 |", "| G3 |", 1)),
        ("has not the columns number", "spec", tree.spec.replace(line, "| " + " | ".join(cells[:3]) + " |")),
        ("G1: has no row in evidence.md", "evidence", whole),
        ("G99, which is no guarantee", "evidence", whole),
        ("./dev nothing, which", "evidence", tree.evidence + "`./dev nothing`"),
        (f"{name} does not say which", "properties", {**tree.properties, name: set()}),
        ("P_orphan shows G1, whose row", "properties", {**tree.properties, "P_orphan": {"G1"}}),
    ]
    failed = 0
    for expected, field, value in mutations:
        kept = getattr(tree, field)
        setattr(tree, field, value)
        found = faults(tree)
        setattr(tree, field, kept)
        if not any(expected in problem for problem in found):
            failed += 1
            print(f"not noticed: {expected}: {found}")
    print(f"{len(mutations) - failed} of {len(mutations)} deliberate faults noticed")
    return 1 if failed else 0


def main(arguments):
    if not arguments or arguments[1:] not in ([], ["--self-test"]):
        print(__doc__, file=sys.stderr)
        return 2
    tree = Tree(pathlib.Path(arguments[0]).resolve())
    if arguments[1:]:
        return self_test(tree)
    problems = faults(tree)
    print("\n".join(problems) or f"every guarantee is shown; {len(tree.properties)} properties of the model")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
