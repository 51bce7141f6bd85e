#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes the golden pages and their expected results (see README.md). Deterministic.

  generate.py                 writes the files beside this script
  generate.py --check         exit 1 unless they are there already, byte for byte
  generate.py --output DIR    writes them to DIR
"""

import json
import pathlib
import random
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent))

import check_tables  # noqa: E402  (the layout comes from the spec's own tables)
import model  # noqa: E402
import pages  # noqa: E402
import views  # noqa: E402

ROWS = check_tables.spec_layout((HERE.parent / "clockpage.md").read_text(encoding="utf-8"), [])[0]


def put(image, base, struct, field, value):
    offset, size = ROWS[struct][field]
    data = value if isinstance(value, bytes) else (value % 2**(8 * size)).to_bytes(size, "little")
    assert len(data) == size and (isinstance(value, bytes) or -2**63 <= value < 2**64)
    image[base + offset:base + offset + size] = data


def split(fields, name, value):
    """A time of whole ns and 2^-64 ns into its two words."""
    units = value * 2**64
    assert units.denominator == 1 and 0 <= units < 2**126
    fields[name + "_ns"], fields[name + "_frac"] = divmod(int(units), 2**64)


def segment_fields(s):
    fields = {name: getattr(s, name) for name in ROWS["clockpage_segment"] if hasattr(s, name)}
    split(fields, "tai", s.tai)
    split(fields, "raw", s.raw)
    for name in ("tai", "raw"):
        units = getattr(s, name + "_period") * 2**64
        assert units.denominator == 1 and 0 < units < 2**64
        fields[name + "_period_frac"] = int(units)
    for name in ("number", "start", "lease_end", "epoch"):
        fields[name] %= 2**64
    return fields


def page_bytes(page):
    image = bytearray(4096)
    data = "clockpage_data_page"
    header = {
        "magic": b"CLKPGDAT", "abi_major": 1, "abi_minor": page.abi_minor, "size": 4096,
        "features": 1 if page.abi_minor else 0, "counter_kind": 1, "format": page.format,
        "smear": page.smear, "delta_shift": page.shift, "segment_count": 16, "segment_size": 192,
        "segment_offset": 1024, "counter_frequency_hz": page.frequency_hz, "scale_ratio": page.scale_ratio,
        "scale_frac_bits": page.scale_frac_bits, "generation": 0x6765_6E65_7261_7465,
        "index": page.newest.number % 2**64, "revoked": page.revoked,
        "smear_start_s": page.smear_start_s, "smear_length_s": page.smear_length_s}
    for field, value in header.items():
        put(image, 0, data, field, value)
    ring, slot_size = ROWS[data]["segment"][0], 192
    first = page.segments[0]
    before_first = ring + (first.number - 1) % 16 * slot_size
    for field in ("start", "lease_end"):  # 5.1: a segment of length zero, for there is no history
        put(image, before_first, "clockpage_segment", field, first.start % 2**64)
    for s in page.segments[-16:]:
        for field, value in segment_fields(s).items():
            put(image, ring + s.number % 16 * slot_size, "clockpage_segment", field, value)
    if page.pen:
        under_pen = ring + (page.newest.number + 1) % 16 * slot_size
        image[under_pen:under_pen + slot_size] = random.Random(page.name).randbytes(slot_size)
    return bytes(image)


def text_of(page, rows):
    lines = [f"# {page.about}", "# " + " ".join(model.COLUMNS), *(" ".join(map(str, row)) for row in rows)]
    return "\n".join(lines) + "\n"


def json_of(page, rows):
    body = ",\n".join("    " + json.dumps([str(value) for value in row]) for row in rows)
    head = json.dumps({"page": page.name + ".page", "about": page.about, "columns": model.COLUMNS}, indent=2)
    return head[:-2] + ',\n  "cases": [\n' + body + "\n  ]\n}\n"


def check_formats_agree(host, scaled):
    """5.1: the same instant on both formats differs by less than 1 ns before rounding."""
    rng = random.Random(2)
    for s in host.segments:
        for _ in range(200):
            counter = rng.randrange(s.start, s.lease_end)
            tick = counter * scaled.scale_ratio >> scaled.scale_frac_bits
            twin = [t for t in scaled.segments if t.start <= tick][-1]
            if tick < twin.lease_end:
                assert abs(twin.tai_at(tick, scaled.shift) - s.tai_at(counter, 0)) < 1


def header_files():
    rows = []
    for name, length, patches, error in pages.header_cases():
        patch = ",".join(f"{offset}:{data.hex()}" for offset, data in patches.items()) or "-"
        rows.append((name, length, patch, error))
    text = "".join(" ".join(map(str, row)) + "\n" for row in rows)
    columns = ("name", "length", "patch", "error")
    body = ",\n".join("    " + json.dumps(dict(zip(columns, row))) for row in rows)
    about = "unscaled.page, `length` readable bytes, with the bytes at the offsets of `patch` (hex) replaced"
    return {
        "headers.cases": f"# {about}\n# {' '.join(columns)}\n{text}".encode(),
        "headers.json": ('{\n  "page": "unscaled.page",\n' + f'  "about": {json.dumps(about)},\n  "cases": [\n{body}\n'
                         + "  ]\n}\n").encode()}


def region_bytes(made):
    """The region of these four data pages: unscaled, unscaled smeared, scaled, scaled smeared."""
    image = bytearray(32768)
    struct, entry = "clockpage_directory_page", "clockpage_data_page_entry"
    fields = {"magic": b"CLKPGDIR", "abi_major": 1, "abi_minor": 1, "size": 4096, "features": 1, "region_size": 32768,
              "generation": views.GENERATION, "counter_kind": 1, "counter_frequency_hz": made[0].frequency_hz,
              "counter_quantum_ticks": 1, "data_page_count": 4, "data_page_size": 4096}
    for field, value in fields.items():
        put(image, 0, struct, field, value)
    for i, page in enumerate(made):
        at = ROWS[struct]["data_page"][0] + 8 * i
        for field, value in (("offset_bytes", 4096 * (i + 1)), ("format", page.format), ("smear", page.smear != 0)):
            put(image, at, entry, field, int(value))
        image[4096 * (i + 1):4096 * (i + 2)] = page_bytes(page)
    return bytes(image)


def view_bytes(view):
    """The slots that are not the newest have random bytes: nothing looks at them."""
    image = bytearray(4096)
    struct, slot_struct = "clockpage_view_page", "clockpage_view_slot"
    fields = {"magic": b"CLKPGVEW", "abi_major": 1, "abi_minor": 1, "size": 4096, "view_id": view.name.encode()[-16:].ljust(16, b"."),
              "generation": views.GENERATION, "slot_count": 4, "slot_size": 128, "index": view.index}
    for field, value in (fields | view.header).items():
        put(image, 0, struct, field, value)
    ring = ROWS[struct]["slot"][0]
    image[ring:ring + 512] = random.Random(view.name).randbytes(512)
    base = ring + view.index % 4 * 128
    image[base:base + 128] = bytes(128)
    fields = {name: getattr(view, name) for name in ROWS[slot_struct] if hasattr(view, name)} | {"number": view.index}
    for field, value in (fields | view.slot).items():
        put(image, base, slot_struct, field, value)
    return bytes(image)


def view_files():
    rows, made = views.with_cases()
    files = {name + ".region": region_bytes(four) for name, four in made.items()}
    text, body = f"# view REGION NAME ERROR ANCESTOR..., then its cases: {' '.join(views.COLUMNS)}\n", []
    for view, cases in rows:
        files[view.name + ".view"] = view_bytes(view)
        text += f"# {view.about}\n" + " ".join(map(str, ("view", view.region, view.name, view.error, *view.ancestors))) + "\n"
        text += "".join(" ".join(map(str, case)) + "\n" for case in cases)
        head = json.dumps({"view": view.name, "about": view.about, "region": view.region, "error": str(view.error),
                           "ancestors": view.ancestors})
        body.append(head[:-1] + ', "cases": [\n' + ",\n".join("  " + json.dumps([str(value) for value in case]) for case in cases) + "]}")
    files["views.cases"] = text.encode()
    files["views.json"] = (json.dumps({"columns": views.COLUMNS})[:-1] + ', "views": [\n' + ",\n".join(body) + "]}\n").encode()
    return files


def all_files():
    files = header_files() | view_files()
    made = pages.all_pages()
    check_formats_agree(made[0], made[1])
    for page in made:
        rows = [model.expected(page, clock, counter) for clock, counter in page.cases]
        files[page.name + ".page"] = page_bytes(page)
        files[page.name + ".cases"] = text_of(page, rows).encode()
        files[page.name + ".json"] = json_of(page, rows).encode()
    files["pages.list"] = "".join(page.name + "\n" for page in made).encode()
    return files


def main(arguments):
    files = all_files()
    if arguments == ["--check"]:
        there = {p.name for p in HERE.iterdir() if p.suffix in (".page", ".cases", ".json", ".list", ".view", ".region")}
        wrong = sorted(there ^ set(files)) + [
            name for name in sorted(there & set(files)) if (HERE / name).read_bytes() != files[name]]
        for name in wrong:
            print(f"spec/vectors/{name} is not what generate.py makes")
        return 1 if wrong else 0
    if arguments[:1] not in ([], ["--output"]):
        print(__doc__, file=sys.stderr)
        return 2
    output = pathlib.Path(arguments[1]) if arguments else HERE
    output.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (output / name).write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
