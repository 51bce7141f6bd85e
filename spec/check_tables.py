#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares the tables of spec/clockpage.md with abi.h and wire.h, and with the readers' headers.

Every field of every structure must stand in both, with the same offset, size and type; every structure
must have the same size; every numeric or string constant of the headers must stand in a table of the
spec, and every constant in a table of the spec in a header, with the same value.

  check_tables.py SPEC ABI_H WIRE_H HEADER...               prints each difference; exit 1 if there is one
  check_tables.py SPEC ABI_H WIRE_H HEADER... --self-test   shows that every kind of difference is noticed
"""

import pathlib
import re
import sys

SCALAR_BYTES = {"u8": 1, "u16": 2, "u32": 4, "s32": 4, "u64": 8, "s64": 8}
# Names in the headers that are no constants of the format or the protocol but of the C interface.
NOT_CONSTANTS = re.compile(r"_H$|_$|ROW$|^CLOCKPAGE_(EXPORT|WHERE_SIZE|OPEN_\w+|WAIT_SPIN_NS)$")


def parse_number(text):
    """A C integer constant expression of the kind the headers use; modulo 2^64 after a cast."""
    text = text.strip()
    if re.fullmatch(r'"[^"]*"', text):
        return text
    unsigned = "clockpage_u64" in text
    text = re.sub(r"\((clockpage_[us]64)\)", "", text)
    text = re.sub(r"\b(0[xX][0-9a-fA-F]+|\d+)(?:[uU]?[lL]{0,2})\b", r"\1", text)
    if not re.fullmatch(r"[0-9a-fA-FxX+\-~|<>()\s]+", text):
        return None
    value = eval(text, {"__builtins__": {}})  # pylint: disable=eval-used
    return value % 2**64 if unsigned else value


def header_constants(*headers):
    """{name: value} of the object-like macros of the headers."""
    raw = {}
    for text in headers:
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.S).replace("\\\n", " ")
        for name, body in re.findall(r"^[ \t]*#define[ \t]+(CLOCKPAGE_\w+)[ \t]+(.+)$", text, flags=re.M):
            if not NOT_CONSTANTS.search(name):
                raw[name] = body.strip()
    values = {}
    for name, body in raw.items():
        for _ in range(4):
            body = re.sub(r"\bCLOCKPAGE_\w+", lambda m: raw.get(m.group(0), m.group(0)), body)
        value = parse_number(body)
        if value is not None:
            values[name] = value
    return values


def header_layout(text):
    """({struct: {field: (offset, size)}}, {struct: size}, {struct: {field: type}})."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    rows, sizes, types = {}, {}, {}
    for struct, field, offset, size in re.findall(
            r"^CLOCKPAGE_ROW\((\w+), (\w+), (\w+), (\w+)\);", text, flags=re.M):
        rows.setdefault(struct, {})[field] = (int(offset, 0), int(size, 0))
    for struct, size in re.findall(r"^CLOCKPAGE_SIZE_ROW\((\w+), (\w+)\);", text, flags=re.M):
        sizes[struct] = int(size, 0)
    for struct, body in re.findall(r"^struct (clockpage_\w+) \{(.*?)^\};", text, flags=re.M | re.S):
        for base, field, array in re.findall(
                r"^\s*(struct clockpage_\w+|clockpage_\w+)\s+(\w+)(\[[^\]]*\])?;", body, flags=re.M):
            base = base if base.startswith("struct") else base.removeprefix("clockpage_")
            types.setdefault(struct, {})[field] = (base, bool(array))
    return rows, sizes, types


def spec_layout(text, problems):
    """As header_layout, from the spec's tables; types as (base, count or None)."""
    rows, sizes, types = {}, {}, {}
    struct = None
    for line in text.splitlines():
        heading = re.match(r"#+ .*?(?:struct (clockpage_\w+))?$", line)
        if heading:
            struct = heading.group(1)
        size = re.match(r"Size of struct (clockpage_\w+): (\d+) bytes\.", line)
        if size:
            sizes[size.group(1)] = int(size.group(2))
        row = re.match(r"\| (0x[0-9a-f]+) \| (\d+) \| ([^|]+?) \| `(\w+)` \|", line)
        if not row:
            continue
        if struct is None:
            problems.append(f"spec: a field row outside a structure's section: {line}")
            continue
        offset, nbytes, kind, field = row.groups()
        if field in rows.setdefault(struct, {}):
            problems.append(f"spec: {struct}.{field} stands in its table twice")
        rows[struct][field] = (int(offset, 16), int(nbytes))
        base, count = re.fullmatch(r"([\w ]+?)(?:\[(\d+)\])?", kind).groups()
        types.setdefault(struct, {})[field] = (base, int(count) if count else None)
    return rows, sizes, types


def spec_constants(text, problems):
    """{name: value} of the rows `| `CLOCKPAGE_X` | value | meaning |`."""
    values = {}
    for name, body in re.findall(r"^\| `(CLOCKPAGE_\w+)` \| ([^|]+?) \|", text, flags=re.M):
        if name in values:
            problems.append(f"spec: {name} stands in two tables")
        values[name] = parse_number(body)
        if values[name] is None:
            problems.append(f"spec: {name} has no readable value: {body}")
    return values


def compare_keys(what, in_spec, in_header, problems):
    for name in sorted(set(in_header) - set(in_spec)):
        problems.append(f"{what} {name} is in the header but not in the spec")
    for name in sorted(set(in_spec) - set(in_header)):
        problems.append(f"{what} {name} is in the spec but not in the header")
    return sorted(set(in_spec) & set(in_header))


def compare_fields(struct, spec, header, sizes, problems):
    (spec_rows, spec_types), (rows, types) = spec, header
    for field in compare_keys(f"field {struct}.", spec_rows, rows, problems):
        where = f"{struct}.{field}"
        for what, a, b in zip(("offset", "size"), spec_rows[field], rows[field]):
            if a != b:
                problems.append(f"{where}: {what} {a:#x} in the spec, {b:#x} in abi.h")
        base, count = spec_types[field]
        header_base, is_array = types.get(field, (None, False))
        if base != header_base or (count is not None) != is_array:
            problems.append(f"{where}: type {base}{'' if count is None else '[]'} in the spec, "
                            f"{header_base}{'[]' if is_array else ''} in abi.h")
        one = SCALAR_BYTES.get(base) or sizes.get(base.removeprefix("struct "), 0)
        if one * (count or 1) != spec_rows[field][1]:
            problems.append(f"{where}: the spec's type {base} x {count or 1} is not "
                            f"{spec_rows[field][1]} bytes")


def compare(spec, abi, reader):
    """The list of differences, empty if there is none."""
    problems = []
    rows, sizes, types = header_layout(abi)
    spec_rows, spec_sizes, spec_types = spec_layout(spec, problems)
    if not rows or not sizes:
        problems.append("abi.h: no CLOCKPAGE_ROW lines found")
    for struct in compare_keys("size of", spec_sizes, sizes, problems):
        if spec_sizes[struct] != sizes[struct]:
            problems.append(f"size of {struct}: {spec_sizes[struct]} in the spec, {sizes[struct]} in abi.h")
    for struct in compare_keys("table of", spec_rows, rows, problems):
        compare_fields(struct, (spec_rows[struct], spec_types[struct]),
                       (rows[struct], types.get(struct, {})), sizes, problems)
    for struct in types:
        compare_keys(f"asserted field {struct}.", types[struct], rows.get(struct, {}), problems)
    spec_values, values = spec_constants(spec, problems), header_constants(abi, reader)
    for name in compare_keys("constant", spec_values, values, problems):
        if spec_values[name] != values[name]:
            problems.append(f"{name}: {spec_values[name]} in the spec, {values[name]} in the header")
    return problems


def replaced(text, old, new):
    """Any run of blanks in `old` stands for any other: formatters align columns."""
    pattern = re.compile(r"\s+".join(re.escape(word) for word in old.split(" ")))
    if not pattern.search(text):
        raise SystemExit(f"check_tables.py: self-test is out of date: not found: {old}")
    return pattern.sub(lambda _: new, text, count=1)


def self_test(spec, abi, reader):
    """Breaks each kind of thing once; every time compare() must name the culprit."""
    assert not compare(spec, abi, reader), "self-test needs texts that agree"
    row = "| 0x18 | 8 | u64 | `tai_ns` |"
    mutations = [
        ("tai_ns: offset", replaced(spec, row, row.replace("0x18", "0x20")), abi, reader),
        ("tai_ns: size", replaced(spec, row, row.replace("| 8 |", "| 4 |")), abi, reader),
        ("tai_ns: type", replaced(spec, row, row.replace("u64", "s64")), abi, reader),
        ("tai_ns is in the header but not", replaced(spec, row, "| row gone |"), abi, reader),
        ("tai_sec is in the spec but not", replaced(spec, row, row.replace("tai_ns", "tai_sec")), abi, reader),
        ("raw_ns: offset", spec, replaced(abi, "raw_ns, 0x50, 8", "raw_ns, 0x58, 8"), reader),
        ("utc_offset_ns: type", spec, replaced(abi, "_s64 utc_offset_ns;", "_u64 utc_offset_ns;"), reader),
        ("size of clockpage_segment", replaced(spec, "clockpage_segment: 192", "clockpage_segment: 196"), abi, reader),
        ("size of clockpage_view_slot", spec, replaced(abi, "_view_slot, 128)", "_view_slot, 64)"), reader),
        ("REASON_SIMULATED", replaced(spec, "SIMULATED` | 6", "SIMULATED` | 7"), abi, reader),
        ("E_REVOKED", spec, abi, replaced(reader, "E_REVOKED -5", "E_REVOKED -9")),
        ("CLOCKPAGE_BOUND_UNKNOWN", spec, replaced(abi, "BOUND_UNKNOWN (~(", "BOUND_UNKNOWN (-("), reader),
        ("SEGMENT_DISCONTINUITY", spec, replaced(abi, "STEP 0x10u", "STEP 0x20u"), reader),
        ("E_NEW is in the header but not", spec, abi, reader + "\n#define CLOCKPAGE_E_NEW -23\n"),
        ("new_field is in the header but not", spec,
         abi + "\nCLOCKPAGE_ROW(clockpage_segment, new_field, 0xb0, 8);\n", reader),
        ("clockpage_timestamp_wire.epoch: offset", spec, replaced(abi, "epoch, 0x04, 4", "epoch, 0x08, 4"), reader),
        ("VIEW_MAGIC", replaced(spec, '"CLKPGVEW"', '"CLKPGVIE"'), abi, reader),
    ]
    failed = 0
    for expected, *texts in mutations:
        problems = compare(*texts)
        if not any(expected in problem for problem in problems):
            failed += 1
            print(f"not noticed: {expected}: {problems}")
    print(f"{len(mutations) - failed} of {len(mutations)} deliberate differences noticed")
    return 1 if failed else 0


def main(arguments):
    is_self_test = arguments[-1:] == ["--self-test"]
    paths = arguments[:-1] if is_self_test else arguments
    if len(paths) < 4 or any(path.startswith("-") for path in paths):
        print(__doc__, file=sys.stderr)
        return 2
    spec, abi, wire, *interface = [pathlib.Path(path).read_text(encoding="utf-8") for path in paths]
    texts = (spec, abi + wire, "\n".join(interface))
    if is_self_test:
        return self_test(*texts)
    problems = compare(*texts)
    for problem in problems:
        print(problem)
    if not problems:
        print("the spec's tables and the headers agree")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
