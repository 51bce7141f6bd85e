#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs Spin over the models of clockpage.md section 5: lease.pml (5.1 to 5.3) and view.pml (5.4).

  run.py [--long]              all of what follows
  run.py --proofs [--long]     every property, over every state; and that what the properties are about does happen
  run.py --mutants             every way to break the protocol breaks the property that it should
  run.py --list                "PROPERTY GUARANTEE..." and "MUTANT breaks PROPERTY" lines, for other programs
  run.py --labels SOURCE...    the comments of these sources name only steps that the model has

Exit code: 0 all as it should be; 1 a property fails, a mutant goes unnoticed, something that must happen does not, or a search
was not complete; 2 usage. No search is a sample: none uses bit states, and one cut short by depth or memory is a failure.
CLOCKPAGE_JOBS: how many searches at once (number of CPUs). Needs the packages spin and gcc.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
TEXTS = ("lease.pml", "writer.pml", "reader.pml", "mutants.pml", "view.pml", "view_mutants.pml")
MODELS = ("lease.pml", "view.pml")
DEPTH = 1_000_000

# What each kind of search holds fixed. One reader, of now or of any captured counter value; two, in turn; two pages.
ONE = "-DREADERS=1"
TWO = "-DREADERS=2 -DNO_OVERDUE"
PAGES = "-DPAGES=2 -DONLY_NOW"
# One view, changed by a writer that dies; changed more often; while its data page's index moves. A view of a view.
VIEW = "-DCHANGES=2 -DMOVES=0 -DLAST=1"
VIEW_3 = "-DCHANGES=3 -DMOVES=0 -DLAST=1 -DREADS=1 -DDEATHS=0"
VIEW_DATA = "-DCHANGES=1 -DMOVES=2 -DDEATHS=0 -DLAST=1"
NESTED = "-DNEST=1 -DCHANGES=2 -DRECOMPOSED=1 -DMOVES=0 -DLAST=0 -DDEATHS=0 -DREADS=1"
NESTED_TWICE = "-DNEST=2 -DCHANGES=1 -DRECOMPOSED=1 -DMOVES=0 -DLAST=0 -DDEATHS=0 -DREADS=1"
NOT_IN = {"one": {"P_agreement", "P_order", "P_pages"},
          "two": {"P_published", "P_overdue", "P_adoption", "P_pages"},
          "pages": {"P_agreement", "P_order"},
          "view": {"P_view_parent"}, "nested": set()}
KINDS = {"one": "lease.pml", "two": "lease.pml", "pages": "lease.pml", "view": "view.pml", "nested": "view.pml"}

# name, kind, constants, MiB
SHORT = (("one", "one", f"{ONE} -DLAST=8", 2000),
         ("two", "two", f"{TWO} -DLAST=7 -DPASSES=2", 2000),
         ("pages", "pages", f"{PAGES} -DLAST=7 -DPASSES=2", 2000),
         ("born", "one", f"{ONE} -DLAST=6 -DHISTORY_BEGIN=2", 2000),
         ("view", "view", VIEW, 2000),
         ("view, 3 changes", "view", VIEW_3, 2000),
         ("view, data page moves", "view", VIEW_DATA, 2000),
         ("nested", "nested", NESTED, 2000),
         ("nested twice", "nested", NESTED_TWICE, 2000))
WIDER = f"{ONE} -DLAST=10 -DAHEAD=2 -DMARGIN=2 -DLEAD=3"
SIX_SLOTS = f"{ONE} -DLAST=13 -DRING=6 -DPASSES=2 -DDEATHS=0 -DONLY_CAPTURED -DNO_OVERDUE"
FOUR_SLOTS = "-DCHANGES=4 -DMOVES=0 -DLAST=0 -DREADS=1 -DDEATHS=0 -DRING=4 -DPASSES=1 -DONLY_NOW"
LONG = SHORT + (
    ("one, longer", "one", f"{ONE} -DLAST=10 -DPASSES=4", 8000),
    ("one, two deaths", "one", f"{ONE} -DLAST=8 -DDEATHS=2", 8000),
    ("one, wider", "one", WIDER, 8000),
    ("one, any order of stores", "one", f"{ONE} -DLAST=7 -DANY_ORDER", 8000),
    ("one, 6 slots", "one", SIX_SLOTS, 8000),
    ("two, longer", "two", f"{TWO} -DLAST=8", 8000),
    ("two, index before message", "two", f"{TWO} -DLAST=7 -DPASSES=2 -DINDEX_FIRST", 8000),
    ("pages, longer", "pages", f"{PAGES} -DLAST=8 -DDEATHS=2", 8000),
    ("view, two deaths", "view", "-DCHANGES=2 -DMOVES=0 -DLAST=1 -DDEATHS=2 -DONLY_NOW", 8000),
    ("view, 3 passes", "view", VIEW_3 + " -DPASSES=3", 8000),
    ("view, 4 slots", "view", FOUR_SLOTS, 8000),
    ("nested, two readings", "nested", "-DNEST=1 -DCHANGES=1 -DRECOMPOSED=1 -DMOVES=0 -DLAST=1 -DDEATHS=0 -DONLY_NOW", 8000),
)

# What must happen, where it does not in "one".
PLACES = {"V_out_of_range": f"{ONE} -DLAST=5 -DONLY_CAPTURED -DNO_OVERDUE", "V_partial_finished": SHORT[2][2], "V_two_deaths": SHORT[0][2] + " -DDEATHS=2",
          "V_finisher_dies": SHORT[2][2] + " -DDEATHS=2", "V_view_busy": VIEW_3, "V_data_busy": VIEW_DATA,
          "V_view_torn": VIEW_3, "V_parent_gone": NESTED, "V_recomposed": NESTED, "V_torn_parent": NESTED,
          "V_same_counter": SHORT[1][2], "V_other_line": SHORT[1][2]}

# The same for constants of their own: other sizes must not mean that nothing happens.
LONG_PLACES = (("V_torn_discarded", WIDER), ("V_leased_meets_late", WIDER), ("V_contradicted", WIDER),
               ("V_torn_discarded", SIX_SLOTS), ("V_walk", SIX_SLOTS), ("V_recomposed", NESTED_TWICE),
               ("V_view_torn", FOUR_SLOTS))

# mutant, the property that it must break (all others are not looked at), constants
ONE_8 = SHORT[0][2]
CAPTURED = f"{ONE} -DLAST=8 -DONLY_CAPTURED -DNO_OVERDUE"
MUTANTS = (
    ("BAD_NO_LEASE", "P_agreement", f"{TWO} -DLAST=6 -DPASSES=2 -DDEATHS=0 -DONLY_CAPTURED"),
    ("BAD_NO_LEASE", "P_order", f"{TWO} -DLAST=7 -DPASSES=2 -DDEATHS=0 -DONLY_NOW"),
    ("BAD_NO_LEASE", "P_published", ONE_8),
    ("BAD_LEASE_INCLUSIVE", "P_published", ONE_8),
    ("BAD_NO_MARGIN", "P_margin", ONE_8),
    ("BAD_INDEX_BEFORE_FILL", "P_torn", ONE_8),
    ("BAD_NO_P1_READER", "P_torn", f"{ONE} -DLAST=6 -DONLY_NOW -DNO_OVERDUE"),
    ("BAD_NO_P2_WRITER", "P_torn", CAPTURED),
    ("BAD_NO_P2_READER", "P_torn", CAPTURED),
    ("BAD_NO_RECHECK", "P_torn", CAPTURED),
    ("BAD_NO_RECHECK", "P_overdue", ONE_8),
    ("BAD_RING_TOO_SHORT", "P_torn", CAPTURED + " -DHISTORY=RING-1"),
    ("BAD_NO_NUMBER", "P_torn", CAPTURED),
    ("BAD_STALE_RETRY", "P_torn", ONE_8),
    ("BAD_RETRY_FOREVER", "P_bounded", ONE_8),
    ("BAD_READER_WAITS", "P_never_waits", ONE_8),
    ("BAD_TWO_WRITERS", "P_torn", f"{ONE} -DLAST=7 -DPASSES=2 -DDEATHS=0 -DONLY_NOW -DNO_OVERDUE"),
    ("BAD_TWO_WRITERS", "P_function", ONE_8 + " -DDEATHS=0 -DNO_OVERDUE"),
    ("BAD_GAP", "P_function", ONE_8),
    ("BAD_BRIDGE_STEERS", "P_overdue", ONE_8),
    ("BAD_LONG_BRIDGE", "P_dead_shows", ONE_8),
    ("BAD_LATE_UNCOUNTED", "P_overdue", ONE_8),
    ("BAD_NO_GUARD", "P_overdue", ONE_8),
    ("BAD_ADOPTER_STEERS", "P_adoption", ONE_8),
    ("BAD_ADOPTER_TRUSTS_SLOT", "P_function", ONE_8),
    ("BAD_PARTIAL_UNFINISHED", "P_pages", SHORT[2][2]),
    ("BAD_FINISH_UNCOUNTED", "P_overdue", f"{PAGES} -DLAST=6 -DPASSES=2"),
    ("BAD_HISTORY_TOO_SHORT", "P_history", CAPTURED + " -DBAD_HISTORY_TOO_SHORT"),
    ("BAD_UNORDERED_COUNTER", "P_order", SHORT[1][2]),
    ("BAD_VIEW_INDEX_BEFORE_FILL", "P_view_one", VIEW),
    ("BAD_VIEW_IN_PLACE", "P_view_one", VIEW),
    ("BAD_VIEW_IN_PLACE", "P_view_whole", VIEW),
    ("BAD_VIEW_NO_P2_WRITER", "P_view_one", VIEW),
    ("BAD_VIEW_SUCCESSOR_TRUSTS", "P_view_whole", VIEW),
    ("BAD_VIEW_GUEST_RUNS", "P_view_counter", VIEW),
    ("BAD_VIEW_MARK_STAYS", "P_view_captured", VIEW),
    ("BAD_VIEW_OFFSET_NOT_CARRIED_ON", "P_view_monotonic", VIEW),
    ("BAD_VIEW_NUMBER_REUSED", "P_view_one", VIEW),
    ("BAD_VIEW_NUMBER_REUSED", "P_view_captured", VIEW),
    ("BAD_VIEW_NO_P2_READER", "P_view_one", VIEW_3),
    ("BAD_VIEW_NO_RECHECK", "P_view_one", VIEW),
    ("BAD_VIEW_NO_RECHECK", "P_view_counter", VIEW),
    ("BAD_VIEW_NO_RECHECK", "P_view_next", VIEW),
    ("BAD_VIEW_RECHECK_BEFORE_COUNTER", "P_view_counter", VIEW),
    ("BAD_VIEW_REMEMBERS", "P_view_counter", VIEW),
    ("BAD_VIEW_REMEMBERS", "P_view_monotonic", VIEW),
    ("BAD_VIEW_KEEPS_COUNTER", "P_view_counter", VIEW),
    ("BAD_VIEW_ANY_MARK", "P_view_captured", VIEW),
    ("BAD_VIEW_MARK_AFTER_CAPTURE", "P_view_captured", VIEW),
    ("BAD_VIEW_RETRY_FOREVER", "P_view_bounded", VIEW_3),
    ("BAD_VIEW_READER_WAITS", "P_view_waits", VIEW),
    ("BAD_VIEW_PARENT_UNCHECKED", "P_view_counter", NESTED + " -DONLY_NOW"),
    ("BAD_VIEW_PARENT_UNCHECKED", "P_view_parent", NESTED),
    ("BAD_VIEW_PARENT_BEFORE_COUNTER", "P_view_counter", NESTED + " -DONLY_NOW"),
    ("BAD_VIEW_GRANDPARENT_UNCHECKED", "P_view_counter", NESTED_TWICE + " -DONLY_NOW"),
    ("BAD_VIEW_COMPOSED_TORN", "P_view_counter", NESTED + " -DONLY_NOW"),
    ("BAD_VIEW_CHILD_KEEPS_MARK", "P_view_captured", NESTED),
)


def text(name):
    return (HERE / name).read_text(encoding="utf-8")


def properties(model):
    """{property: guarantees}, in the order of their bits in IGNORE; that readers never wait, which has none, last."""
    found = re.findall(r"^hidden byte (P_\w+) = \(IGNORE >> (\d+)\) & 1; +/\* ((?:G\d+ ?)+):", text(model), re.M)
    assert [int(bit) for _, bit, _ in found] == list(range(len(found))), "bits out of order"
    ((never, guarantees),) = re.findall(r"^/\* (P_\w+): ((?:G\d+ ?)+):", text(model), re.M)
    result = {name: guarantees.split() for name, _, guarantees in found}
    result[never] = guarantees.split()
    return result


def reachable(model):
    return re.findall(r"^#define (V_\w+) (\d+) ", text(model), re.M)


def model_of(name):
    """Of a property, a mutant, or what must happen."""
    mutants = {"lease.pml": "mutants.pml", "view.pml": "view_mutants.pml"}
    (model,) = [one for one in MODELS if re.search(rf"\b{name}\b", text(one) + text(mutants[one]))]
    return model


class Search:
    """One search: `verdict` is "none", the name of what was broken, or "not complete: why"."""

    def __init__(self, model, constants, mebibytes, optimise, only=None):
        self.model, self.constants, self.mebibytes, self.optimise = model, constants.split(), mebibytes, optimise
        *names, self.never_waits = properties(model)
        if only:
            ignored = sum(1 << bit for bit, name in enumerate(names) if name != only)
            self.constants.append(f"-DIGNORE={ignored}")
        self.states = self.transitions = self.depth = "-"
        self.verdict = self.broken = ""
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="lease-model-") as directory:
            self._run(directory)
        self.seconds = time.monotonic() - begin

    def _run(self, directory):
        build = (["spin", "-a", *self.constants, str(HERE / self.model)],
                 ["gcc", self.optimise, "-w", "-DSAFETY", "-DCOLLAPSE", f"-DMEMLIM={self.mebibytes}", "-o", "pan", "pan.c"])
        for command in build:
            done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
            if done.returncode or "Error" in done.stdout:
                self.verdict = f"not built: {done.stdout[-300:]}{done.stderr[-300:]}"
                return
        done = subprocess.run(["./pan", f"-m{DEPTH}", "-w20"], cwd=directory, capture_output=True, text=True, check=False)
        self._judge(done.stdout + done.stderr)

    def _judge(self, output):
        for attribute, pattern in (("states", r"(\d+) states, stored"), ("transitions", r"(\d+) transitions"),
                                   ("depth", r"depth reached (\d+)")):
            number = re.search(pattern, output)
            if number:
                setattr(self, attribute, int(number[1]))
        errors = re.search(r"errors: (\d+)", output)
        broken = re.search(r"^pan:\d+: (.*?) \(at depth", output, re.M)
        for trouble in ("too small", "out of memory", "reached -DMEMLIM", "aborting", "Bit statespace"):
            if trouble in output:
                self.verdict = f"not complete: {trouble}"
                return
        if broken:
            self.broken = broken[1]
            name = re.search(r"\|\|(P_\w+)\)$", broken[1])
            self.verdict = self.never_waits if broken[1] == "invalid end state" else name[1] if name else broken[1]
        elif errors and errors[1] == "0" and "Full statespace search" in output and "not completed" not in output:
            self.verdict = "none"
        else:
            self.verdict = "not complete: " + output[-300:]


def row(kind, name, verdict, search):
    print(f"{kind:9} {name:52} {verdict:34} {search.states:>10} {search.transitions:>11} {search.depth:>6} {search.seconds:6.1f}",
          flush=True)


def proof(name, kind, constants, mebibytes):
    return Search(KINDS[kind], constants, mebibytes, "-O2"), ("property", kind, name, "none")


def reach(name, number, constants=None):
    model = model_of(name)
    constants = constants or PLACES.get(name, {"lease.pml": ONE_8, "view.pml": VIEW}[model])
    return Search(model, f"{constants} -DV={number}", 2000, "-O0"), ("reached", None, name, f"(({number}!={number})||")


def mutant(name, broken, constants):
    define = "" if f"-D{name}" in constants else f" -D{name}"
    return Search(model_of(name), constants + define, 2000, "-O0", only=broken), ("mutant", None, name, broken)


def judge(search, kind, place, name, wanted):
    """Prints one search's rows; returns whether it came out as wanted."""
    if kind == "property":
        good = search.verdict == "none"
        for prop in properties(search.model):
            if prop not in NOT_IN[place]:
                verdict = "holds" if good else "BROKEN" if search.verdict == prop else "not shown"
                row(kind, f"{prop}  ({name})", verdict, search)
        if not good:
            print(f"  {name}: {search.verdict} {search.broken}")
        return good
    if kind == "reached":
        good = search.broken.startswith("assertion violated " + wanted)
        row(kind, name, "yes" if good else f"NO ({search.verdict})", search)
        return good
    good = search.verdict == wanted
    row(kind, name, f"breaks {search.verdict}" if good else f"NOT NOTICED ({search.verdict})", search)
    return good


def check_labels(sources):
    """Comments in the code name steps as "lease.pml [LABEL]" and "view.pml [LABEL]"."""
    comments = "".join(re.findall(r"^\t+/\* .*", "".join(text(name) for name in TEXTS), re.M))
    labels = set(re.findall(r"\[((?:P\d|5\.\d)[^\]]*)\]", comments))
    named = 0
    wrong = []
    for source in sources:
        content = re.sub(r"\s+(?:(?://|\*)\s*)?", " ", Path(source).read_text(encoding="utf-8"))
        for references in re.findall(r"(?:lease|view)\.pml ((?:\[[^\]]+\](?:, | and )?)+)", content):
            for label in re.findall(r"\[([^\]]+)\]", references):
                named += 1
                if label not in labels:
                    wrong.append(f"{source}: the models have no step [{label}]")
    print("\n".join(wrong) if wrong else f"{named} references, each to a step of the model")
    return not wrong and named > 0


def main(arguments):
    if arguments[:1] == ["--labels"] and len(arguments) > 1:
        return 0 if check_labels(arguments[1:]) else 1
    if arguments == ["--list"]:
        for model in MODELS:
            for name, guarantees in properties(model).items():
                print(name, *guarantees)
        for name, broken, _ in MUTANTS:
            print(name, "breaks", broken)
        return 0
    if set(arguments) - {"--long", "--proofs", "--mutants"}:
        print(__doc__, file=sys.stderr)
        return 2
    everything = not {"--proofs", "--mutants"} & set(arguments)
    jobs = []
    if everything or "--proofs" in arguments:
        jobs += [(proof, one) for one in (LONG if "--long" in arguments else SHORT)]
        for model in MODELS:
            jobs += [(reach, one) for one in reachable(model)]
        if "--long" in arguments:
            jobs += [(reach, (name, dict(reachable(model_of(name)))[name], constants)) for name, constants in LONG_PLACES]
    if everything or "--mutants" in arguments:
        jobs += [(mutant, one) for one in MUTANTS]
        unproven = {name for model in MODELS for name in properties(model)} - {broken for _, broken, _ in MUTANTS}
        if unproven:
            print(f"no mutant breaks {', '.join(sorted(unproven))}")
            return 1
    print(f"{'':9} {'':52} {'':34} {'states':>10} {'transitions':>11} {'depth':>6} {'s':>6}")
    begin = time.monotonic()
    with ThreadPoolExecutor(int(os.environ.get("CLOCKPAGE_JOBS", os.cpu_count() or 1))) as pool:
        bad = sum(not judge(search, *what) for search, what in pool.map(lambda job: job[0](*job[1]), jobs))
    print(f"{len(jobs)} searches in {time.monotonic() - begin:.0f} s; {bad} not as they should be")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
