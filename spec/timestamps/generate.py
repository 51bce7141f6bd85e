#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the golden timestamps and what a reader must make of them (see README.md). Deterministic.

  generate.py                 writes the files beside this script
  generate.py --check         exit 1 unless they are there already, byte for byte
"""

import json
import pathlib
import random
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import check_tables  # noqa: E402  (the layout comes from the spec's own table)

ROWS = check_tables.spec_layout((HERE.parent / "clockpage.md").read_text(encoding="utf-8"), [])[0][
    "clockpage_timestamp_wire"]
MIN, MAX = -2**63, 2**63 - 1
SECOND = 10**9
OK, SIZE, VERSION, LAYOUT, SCALE = 0, -16, -18, -19, -10
TAI, UTC, NOON, SLS, LINEAR = range(5)
UNKNOWN, INITIALISING, SYNCHRONISED, FREE_RUNNING, UNRELIABLE = range(5)
OVERDUE, AMBIGUOUS, DELETION, SCALED = 0x10, 0x20, 0x40, 0x80
HOST, OTHER = bytes(range(0xA0, 0xB0)), bytes(range(0x10, 0x20))
NOW = 1_800_000_037 * SECOND
COLUMNS = ["time_scale", "status", "flags", "resolution_ns", "epoch", "smear_start_s", "smear_length_s", "clock_id",
           "ns", "earliest_ns", "latest_ns", "disruption_marker"]


def stamp(ns=NOW, bound=1000, **changes):
    """Fields; a bound of None is none."""
    fields = {"time_scale": TAI, "status": SYNCHRONISED, "flags": 0, "resolution_ns": 0, "epoch": 3, "smear_start_s": 0,
              "smear_length_s": 0, "clock_id": HOST, "ns": ns, "earliest_ns": MIN if bound is None else ns - bound,
              "latest_ns": MAX if bound is None else ns + bound, "disruption_marker": 0}
    assert not set(changes) - set(fields)
    return fields | changes


def wire(fields):
    image = bytearray(64)
    words = {name: value for name, value in fields.items() if name not in ("status", "flags")}
    words |= {"version": 0xC1, "status_and_flags": fields["status"] | fields["flags"]}
    assert set(words) == set(ROWS)
    for name, value in words.items():
        offset, size = ROWS[name]
        data = value if isinstance(value, bytes) else (value % 2**(8 * size)).to_bytes(size, "little")
        assert len(data) == size
        image[offset:offset + size] = data
    return bytes(image)


def smear(scale, start, length, **changes):
    return stamp(time_scale=scale, smear_start_s=start, smear_length_s=length, **changes)


NOON_SMEAR = {"time_scale": NOON, "smear_start_s": -43200, "smear_length_s": 86400}
GOOD = {
    "plain": stamp(),
    "every_field": stamp(time_scale=LINEAR, status=FREE_RUNNING, flags=OVERDUE | SCALED, resolution_ns=0x7B,
                         epoch=0x89ABCDEF, smear_start_s=-62500, smear_length_s=62501, clock_id=OTHER,
                         ns=0x0123456789ABCDEF, earliest_ns=0x0112233445566778, latest_ns=0x0FEDCBA987654321,
                         disruption_marker=0xFEDCBA9876543210),
    "no_bound": stamp(bound=None, status=UNKNOWN), "no_latest": stamp(latest_ns=MAX), "no_earliest": stamp(earliest_ns=MIN),
    "a_point": stamp(bound=0), "before_1970": stamp(ns=-5, bound=3), "least": stamp(ns=MIN, bound=0),
    "greatest": stamp(ns=MAX, bound=0), "utc": stamp(time_scale=UTC), "ambiguous": stamp(time_scale=UTC, flags=AMBIGUOUS),
    "deletion": stamp(time_scale=UTC, flags=DELETION), "unreliable": stamp(status=UNRELIABLE),
    "initialising": stamp(status=INITIALISING), "no_resolution": stamp(resolution_ns=255), "noon": stamp(**NOON_SMEAR),
    "sls": smear(SLS, -1000, 1000), "shortest_linear": smear(LINEAR, 0, 100), "longest_linear": smear(LINEAR, -1209600, 1209600),
    "epoch_wraps": stamp(epoch=2**32 - 1), "no_identity": stamp(clock_id=bytes(16)),
}


def bad():
    """(name, bytes, error)"""
    plain = wire(stamp())
    yield from (("empty", b"", SIZE), ("short", plain[:63], SIZE), ("long", plain + b"\0", SIZE), ("zeros", bytes(64), VERSION),
                ("ones", b"\xff" * 64, VERSION))
    for bit in range(8):
        yield f"version_bit_{bit}", bytes([0xC1 ^ 1 << bit]) + plain[1:], VERSION
    for name, fields in {
            "scale_5": stamp(time_scale=5), "scale_255": stamp(time_scale=255), "status_5": stamp(status=5),
            "status_7": stamp(status=7), "reserved_bit": stamp(flags=0x08), "tai_ambiguous": stamp(flags=AMBIGUOUS),
            "tai_deletion": stamp(flags=DELETION), "smeared_ambiguous": stamp(flags=AMBIGUOUS, **NOON_SMEAR),
            "tai_smear_start": stamp(smear_start_s=-1), "tai_smear_length": stamp(smear_length_s=1),
            "utc_smear": smear(UTC, -43200, 86400), "noon_without": smear(NOON, 0, 0), "noon_start": smear(NOON, -43199, 86400),
            "noon_length": smear(NOON, -43200, 86401), "sls_start": smear(SLS, -999, 1000), "sls_length": smear(SLS, -1000, 999),
            "linear_short": smear(LINEAR, 0, 99), "linear_long": smear(LINEAR, 0, 1209601),
            "linear_late": smear(LINEAR, 1, 1000), "linear_early": smear(LINEAR, -1001, 1000),
            "linear_least_start": smear(LINEAR, -2**31, 1000), "linear_huge": smear(LINEAR, -1000, 2**32 - 1),
            "earliest_above": stamp(earliest_ns=NOW + 1), "latest_below": stamp(latest_ns=NOW - 1),
            "inside_out": stamp(earliest_ns=MAX, latest_ns=MIN)}.items():
        yield name, wire(fields), LAYOUT


def pairs():
    """(name, a, b, error, a before b, b before a, of one clock)"""
    later, far = stamp(ns=NOW + 1), stamp(ns=NOW + 2001)
    yield "equal", stamp(), stamp(), OK, 0, 0, 1
    yield "next_ns", stamp(), later, OK, 1, 0, 1
    yield "next_ns_turned", later, stamp(), OK, 0, 1, 1
    yield "next_ns_without_bounds", stamp(bound=None), stamp(ns=NOW + 1, bound=None), OK, 1, 0, 1
    yield "markers_do_not_matter", stamp(disruption_marker=7), later, OK, 1, 0, 1
    yield "bad_status_alone_does_not_matter", stamp(status=UNKNOWN), later | {"status": FREE_RUNNING}, OK, 1, 0, 1
    for what, change in (("other_clock", {"clock_id": OTHER}), ("other_clock_in_last_byte", {"clock_id": HOST[:15] + b"\0"}),
                         ("other_clock_in_first_byte", {"clock_id": b"\0" + HOST[1:]}), ("other_epoch", {"epoch": 4}),
                         ("overdue", {"flags": OVERDUE}), ("no_resolution", {"resolution_ns": 255})):
        yield what, stamp(), later | change, OK, 0, 0, 0
        yield what + "_turned", later | change, stamp(), OK, 0, 0, 0
        yield what + "_touching", stamp(), stamp(ns=NOW + 2000, **change), OK, 0, 0, 0
        yield what + "_apart", stamp(), far | change, OK, 1, 0, 0
        yield what + "_apart_turned", far | change, stamp(), OK, 0, 1, 0
    yield "unreliable", stamp(status=UNRELIABLE), far, OK, 0, 0, 0
    yield "unreliable_later", stamp(), far | {"status": UNRELIABLE}, OK, 0, 0, 0
    foreign = {"clock_id": OTHER}
    yield "foreign_without_bound", stamp(bound=None), stamp(ns=NOW + 10**15, **foreign), OK, 0, 0, 0
    yield "foreign_without_latest", stamp(latest_ns=MAX), stamp(ns=NOW + 10**15, **foreign), OK, 0, 0, 0
    yield "foreign_without_earliest", stamp(), stamp(ns=NOW + 10**15, earliest_ns=MIN, **foreign), OK, 0, 0, 0
    yield "foreign_other_ends_unbounded", stamp(earliest_ns=MIN), far | foreign | {"latest_ns": MAX}, OK, 1, 0, 0
    yield "extremes", stamp(ns=MIN, bound=0), stamp(ns=MAX, bound=0), OK, 1, 0, 1
    yield "extremes_foreign", stamp(ns=MIN + 1, bound=0), stamp(ns=MAX - 1, bound=0, **foreign), OK, 1, 0, 0
    two = {"resolution_ns": 2, "flags": SCALED}
    yield "formats_within", stamp(), stamp(ns=NOW + 2, **two), OK, 0, 0, 1
    yield "formats_beyond", stamp(), stamp(ns=NOW + 3, **two), OK, 1, 0, 1
    yield "formats_within_turned", stamp(**two), stamp(ns=NOW + 2), OK, 0, 0, 1
    yield "formats_beyond_turned", stamp(**two), stamp(ns=NOW + 3), OK, 1, 0, 1
    yield "both_scaled", stamp(**two), stamp(ns=NOW + 1, **two), OK, 1, 0, 1
    yield "coarse_within", stamp(resolution_ns=254), stamp(ns=NOW + 508, resolution_ns=254), OK, 0, 0, 1
    yield "coarse_beyond", stamp(resolution_ns=254), stamp(ns=NOW + 509, resolution_ns=254), OK, 1, 0, 1
    yield "coarse_at_the_end", stamp(ns=MAX - 1, bound=None, resolution_ns=2), stamp(ns=MAX, bound=None), OK, 0, 0, 1
    utc, amb = {"time_scale": UTC}, {"time_scale": UTC, "flags": AMBIGUOUS}
    yield "ambiguous_first", stamp(**amb), stamp(ns=NOW + SECOND, **utc), OK, 0, 0, 1
    yield "ambiguous_first_beyond", stamp(**amb), stamp(ns=NOW + SECOND + 1, **utc), OK, 1, 0, 1
    yield "before_the_ambiguous", stamp(**utc), stamp(ns=NOW + 1, **amb), OK, 1, 0, 1
    yield "both_ambiguous", stamp(**amb), stamp(ns=NOW + SECOND // 2, **amb), OK, 0, 0, 1
    yield "ambiguous_foreign", stamp(**amb), stamp(ns=NOW + SECOND + 2000, **utc, **foreign), OK, 0, 0, 0
    yield "ambiguous_foreign_apart", stamp(**amb), stamp(ns=NOW + SECOND + 2001, **utc, **foreign), OK, 1, 0, 0
    yield "ambiguous_without_end", stamp(latest_ns=MAX - 5, **amb), stamp(ns=MAX, bound=0, **utc, **foreign), OK, 0, 0, 0
    cut = {"time_scale": UTC, "flags": DELETION}
    yield "deletion_one_clock", stamp(**cut), stamp(ns=NOW + 1, **cut), OK, 1, 0, 1
    yield "deletion_foreign", stamp(**cut), stamp(ns=NOW + SECOND + 2000, **utc, **foreign), OK, 0, 0, 0
    yield "deletion_foreign_apart", stamp(**cut), stamp(ns=NOW + SECOND + 2001, **utc, **foreign), OK, 1, 0, 0
    yield "noon_both", stamp(**NOON_SMEAR), stamp(ns=NOW + 1, **NOON_SMEAR), OK, 1, 0, 1
    linear = {"time_scale": LINEAR, "smear_start_s": -500, "smear_length_s": 1000}
    yield "linear_both", stamp(**linear), far | linear | foreign, OK, 1, 0, 0
    for name, a, b in (("tai_utc", {}, utc), ("tai_noon", {}, NOON_SMEAR), ("utc_noon", utc, NOON_SMEAR),
                       ("noon_linear", NOON_SMEAR, linear), ("linear_start", linear, linear | {"smear_start_s": -501}),
                       ("linear_length", linear, linear | {"smear_length_s": 1001})):
        yield name, stamp(**a), stamp(ns=NOW + 10**15, **b), SCALE, 0, 0, 0


def moments(t):
    """All that the moment of a bounded TAI timestamp may be by its interval alone, as a range."""
    return range(t["earliest_ns"], t["latest_ns"] + 1)


def random_pairs():
    """Small ones, of which it can be tried whether any moment of the one is not before one of the other's."""
    rng = random.Random(20261120)
    for i in range(200):
        a, b = (stamp(ns=NOW + rng.randrange(12), bound=rng.randrange(5), clock_id=rng.choice((HOST, OTHER)),
                      resolution_ns=rng.choice((0, 0, 2))) for _ in range(2))
        one = a["clock_id"] == b["clock_id"]

        def before(x, y):
            slack = x["resolution_ns"] + y["resolution_ns"]
            return (all(m < n for m in moments(x) for n in moments(y)) or
                    (one and all(m < n for m in range(x["ns"], x["ns"] + slack + 1) for n in [y["ns"]])))
        yield f"random_{i}", a, b, OK, int(before(a, b)), int(before(b, a)), int(one)


def make():
    """{file name: content}"""
    decode = [(name, wire(fields), OK, fields) for name, fields in GOOD.items()]
    decode += [(name, data, error, None) for name, data, error in bad()]
    lines = ["# name bytes error " + " ".join(COLUMNS) + "; - instead of no bytes"]
    rows = []
    for name, data, error, fields in decode:
        row = [name, data.hex(), str(error)]
        row += [v.hex() if isinstance(v := fields[c], bytes) else str(v) for c in COLUMNS] if fields else []
        rows.append(row)
        lines.append(" ".join(word or "-" for word in row))
    compare = ["# name a b error before after one_clock"]
    comparisons = []
    for name, a, b, error, before, after, one in (*pairs(), *random_pairs()):
        row = [name, wire(a).hex(), wire(b).hex(), *map(str, (error, before, after, one))]
        comparisons.append(row)
        compare.append(" ".join(row))
    data = {"columns": ["name", "bytes", "error", *COLUMNS], "decode": rows,
            "compare_columns": ["name", "a", "b", "error", "before", "after", "one_clock"], "compare": comparisons}
    text = json.dumps(data, indent=0).replace(",\n\"", ", \"").replace("[\n\"", "[\"").replace("\"\n]", "\"]")
    return {"timestamps.json": text + "\n", "decode.cases": "\n".join(lines) + "\n",
            "compare.cases": "\n".join(compare) + "\n"}


def main(arguments):
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    wrong = 0
    for name, text in make().items():
        path = HERE / name
        if not arguments:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            print(f"{name} is not what generate.py makes")
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
