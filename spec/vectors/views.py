# SPDX-License-Identifier: MIT
"""The golden views: what clockpage.md 5.4 and 5.4.1 make of a guest's counter value, in unbounded integers.

As in model.py nothing is decoded. Which error a view that cannot be read through gives is said at the view.
"""

import dataclasses
import random
from fractions import Fraction
from math import floor

import model
import pages
from model import BOOTTIME, MONOTONIC, MONOTONIC_RAW, REALTIME

DISRUPTED, MAGIC, VERSION, LAYOUT, STALE, CANNOT = -9, -17, -18, -19, -21, -23
GENERATION = 0x6765_6E65_7261_7465  # all golden pages have it
MARK = 0xD15C_0123_4567_89AB
COLUMNS = ("clock", "guest_counter", "marker", "error", "page_counter", *model.COLUMNS[3:])


@dataclasses.dataclass
class View:
    name: str
    about: str
    counter_offset: int = 0
    counter_ratio: int = 1
    counter_frac_bits: int = 0
    format: int = 0
    smear: int = 0
    monotonic_offset_ns: int = 0
    boottime_offset_ns: int = 0
    disruption_marker: int = MARK
    parent_generation: int = 0
    index: int = 0x0BAD_5EED_0001
    region: str = "views"
    error: int = 0  # that opening it gives, and every reading
    ancestors: tuple = ()  # names, nearest first
    header: dict = dataclasses.field(default_factory=dict)  # fields that are not what they should be
    slot: dict = dataclasses.field(default_factory=dict)
    counters: tuple = ()  # of the guest, beside those that the host's give

    def guest_counter(self, host):
        """What hardware makes of the host's counter."""
        return ((host * self.counter_ratio >> self.counter_frac_bits) + self.counter_offset) % 2**64

    def page_counter(self, page, guest):
        """(c, late), "The host's counter"."""
        one, ratio = 2**self.counter_frac_bits, self.counter_ratio
        scaled = (guest - self.counter_offset) % 2**64
        if (ratio, self.counter_frac_bits) == (page.scale_ratio, page.scale_frac_bits) or ratio == one:
            return scaled, 0
        image = page.newest.start % 2**64 * ratio >> self.counter_frac_bits
        wraps = floor(Fraction(image - scaled, 2**64) + Fraction(1, 2))
        whole, fraction = one // ratio, one % ratio * 2**64 // ratio
        power = ratio & (ratio - 1) == 0
        counter = scaled * whole + (scaled * fraction >> 64) + (0 if power else 1) + wraps * fraction
        late = max(whole, 1) - 1 if power else whole + 1 + max(wraps, 0)
        return counter, late

    def expected(self, page, clock, guest, marker):
        row = (clock, guest, marker)
        if self.error:
            return row + (self.error,)
        if marker != self.disruption_marker:
            return row + (DISRUPTED,)
        counter, late = self.page_counter(page, guest)
        tick = 2**32 * 10**9 // page.frequency_hz
        wider = min(late * (tick + tick // 8 + 1) // 2**32 + 1, 2**63 - 1) if late else 0
        offsets = {MONOTONIC: self.monotonic_offset_ns, MONOTONIC_RAW: self.monotonic_offset_ns,
                   BOOTTIME: self.boottime_offset_ns}
        _, _, error, *rest = model.expected(page, clock, counter, offsets, wider)
        return row + ((error,) if error else (error, counter % 2**64, *rest))


def smeared(page):
    """Half a second of a leap second later, that it may be told from the other."""
    segments = [dataclasses.replace(s, utc_offset_ns=s.utc_offset_ns - 500_000_000,
                                    utc_offset_after_ns=s.utc_offset_after_ns - 500_000_000, epoch=s.epoch + 40)
                for s in page.segments]
    return dataclasses.replace(page, smear=1, segments=segments)


def regions():
    """{name: its four data pages}. The host's counter of the second is past 2^63."""
    made = {}
    for name, start in (("views", 0x0123_4567_89AB), ("views_high", 2**63 + 0x0123_4567_89AB)):
        rng = random.Random(name)
        page = pages.Page(name, "", 0, [pages.first_segment(start=start)])
        pages.steered(page, rng, 20, 9_199_995, pages.TSC_HZ)
        scaled = pages.scaled(page)
        made[name] = [page, smeared(page), scaled, smeared(scaled)]
    return made


def faster(bits, hz):
    """As KVM computes it."""
    return (hz // 1000 << bits) // (pages.TSC_HZ // 1000)


def good_views(made):
    host, _, scaled, _ = made["views"]
    middle = (host.segments[-3].start + host.segments[-3].lease_end) // 2
    booted = -0x0100_0000_0000
    third = (2**48 // 3, 48)
    return [
        View("view_offset", "an offset alone: a guest that was started later", booted),
        View("view_forward", "an offset that puts the guest's counter ahead", 2**62 + 12_345),
        View("view_wrap", "the guest's counter wraps around within the history", 2**64 - middle - 2**64 * (2**64 - middle >= 2**63)),
        View("view_one_48", "a ratio of exactly one in 48 bits", booted, 2**48, 48),
        View("view_one_32", "a ratio of exactly one in 32 bits", 77, 2**32, 32),
        View("view_smeared", "the smeared page", booted, smear=1),
        View("view_smeared_255", "any smear but 0 is the smeared page", booted, smear=255),
        View("view_scaled", "the scaled page", booted, scaled.scale_ratio, scaled.scale_frac_bits, 1),
        View("view_scaled_smeared", "the scaled smeared page", 99, scaled.scale_ratio, scaled.scale_frac_bits, 1, 1),
        View("view_undone_1ghz", "1 GHz on the unscaled page", booted, scaled.scale_ratio, scaled.scale_frac_bits),
        View("view_faster_48", "3.1 GHz", booted, faster(48, 3_100_000_000), 48),
        View("view_faster_32", "3.1 GHz", booted, faster(32, 3_100_000_000), 32),
        View("view_slower_48", "1.7 GHz", booted, faster(48, 1_700_000_000), 48),
        View("view_slower_32", "1.7 GHz", booted, faster(32, 1_700_000_000), 32),
        View("view_third", "a third: rounded quotients at their worst", 0, *third),
        View("view_1mhz", "1 MHz: 2300 of the host's ticks are one", 5, faster(48, 1_000_000), 48, smear=1),
        View("view_half", "a power of two: half", booted, 2**47, 48),
        View("view_quarter", "a power of two: a quarter", 3, 2**30, 32),
        View("view_fourfold", "a power of two: fourfold", booted, 2**50, 48),
        View("view_nearly_one", "a ratio one unit below one", booted, 2**48 - 1, 48),
        View("view_barely_more", "a ratio one unit above one", booted, 2**32 + 1, 32),
        View("view_high_faster", "the scaled counter has wrapped around once", booted, faster(48, 5_750_000_000), 48, region="views_high"),
        View("view_high_32", "the scaled counter has wrapped around once", 0, faster(32, 6_900_000_000), 32, region="views_high"),
        View("view_high_fourfold", "twice, by a power of two", 11, 2**50, 48, region="views_high"),
        View("view_high_slower", "not at all", booted, faster(48, 1_700_000_000), 48, region="views_high"),
        View("view_high_offset", "a host's counter past 2^63, and a guest's near 0", -2**63, region="views_high"),
        View("view_clocks", "offsets to MONOTONIC and BOOTTIME", booted, monotonic_offset_ns=-90_000 * 10**9,
             boottime_offset_ns=86_400 * 10**9 + 1),
        View("view_clocks_undone", "the same with a ratio to be undone", booted, faster(48, 3_100_000_000), 48,
             monotonic_offset_ns=123_456_789_012_345, boottime_offset_ns=-1),
        View("view_hostile_offsets", "offsets that no writer gives: modulo 2^64, bounds saturate", -2**63,
             monotonic_offset_ns=-2**63, boottime_offset_ns=2**63 - 1, counters=(0, 2**63, 2**64 - 1)),
        View("view_hostile_ratio_1", "a ratio of 2^-48: bounds of 39 h", 1, 1, 48, counters=(0, 1, 2, 2**16, 2**64 - 1)),
        View("view_hostile_ratio_max", "a ratio of nearly 2^64 in 32 bits", -1, 2**64 - 1, 32, counters=(0, 2**40, 2**63)),
    ]


def nested_views(made):
    parent = View("view_parent", "of the guest around", -0x0080_0000_0000, faster(48, 3_100_000_000), 48, index=0x1111_2222_3333,
                  disruption_marker=3)
    child = {"counter_offset": 4_711, "counter_ratio": faster(48, 2_000_000_000), "counter_frac_bits": 48}
    middle = dataclasses.replace(parent, name="view_middle", about="of the guest in between", index=0x2222_3333_4444,
                                 parent_generation=parent.index, ancestors=("view_parent",))

    def nested(name, about, **changes):
        return View(name, about, **({"parent_generation": parent.index, "ancestors": ("view_parent",),
                                     "monotonic_offset_ns": 5_000_000_000} | child | changes))

    moved = dataclasses.replace(parent, name="view_parent_moved", about="changed since", index=parent.index + 1, disruption_marker=4)
    gone = dataclasses.replace(parent, name="view_parent_withdrawn", about="withdrawn", counter_ratio=0, counter_frac_bits=0, error=CANNOT)
    torn = dataclasses.replace(parent, name="view_parent_torn", about="its slot has another number", slot={"number": 5}, error=LAYOUT)
    other = dataclasses.replace(parent, name="view_parent_stale", about="of another region", header={"generation": 9}, error=STALE)
    lost = dataclasses.replace(middle, name="view_middle_lost", about="its parent has changed", ancestors=("view_parent_moved",), error=DISRUPTED)
    deep = {"parent_generation": middle.index}
    return [
        parent, middle, moved, gone, torn, other, lost,
        nested("view_nested", "composed from one"),
        nested("view_nested_more", "more ancestors given than it has", ancestors=("view_parent", "view_offset", "view_parent_stale")),
        nested("view_nested_twice", "composed from one that is composed", ancestors=("view_middle", "view_parent"), **deep),
        View("view_not_nested", "an ancestor given, and none needed", 1, ancestors=("view_parent_stale",)),
        nested("view_nested_moved", "its parent has changed since", ancestors=("view_parent_moved",), error=DISRUPTED),
        nested("view_nested_twice_moved", "its parent's parent has", ancestors=("view_middle", "view_parent_moved"), error=DISRUPTED, **deep),
        nested("view_nested_middle_moved", "its parent has, which has no parent now", ancestors=("view_parent_moved", "view_parent"),
               error=DISRUPTED, **deep),
        nested("view_nested_alone", "no ancestor given", ancestors=(), error=CANNOT),
        nested("view_nested_too_few", "one given, two needed", ancestors=("view_middle",), error=CANNOT, **deep),
        nested("view_nested_withdrawn", "its parent is withdrawn", ancestors=("view_parent_withdrawn",), error=CANNOT),
        nested("view_nested_torn", "its parent's slot has another number", ancestors=("view_parent_torn",), error=LAYOUT),
        nested("view_nested_stale", "its parent is of another region", ancestors=("view_parent_stale",), error=STALE),
    ]


def refused_views(made):
    def bad(name, about, error, **changes):
        return View("view_bad_" + name, about, **({"error": error} | changes))

    scaled = made["views"][2]
    return [
        bad("withdrawn", "withdrawn", CANNOT, counter_ratio=0), bad("ratio_0", "a ratio of 0", CANNOT, counter_ratio=0, counter_frac_bits=48),
        bad("ratio_2", "a ratio without fraction bits", CANNOT, counter_ratio=2),
        bad("bits_33", "fraction bits that no CPU has", CANNOT, counter_ratio=2**33, counter_frac_bits=33),
        bad("format_2", "a format that does not exist", CANNOT, format=2),
        bad("scaled_ratio", "the scaled page with another ratio", CANNOT, counter_ratio=scaled.scale_ratio + 1, counter_frac_bits=32, format=1),
        bad("scaled_bits", "the scaled page with other bits", CANNOT, counter_ratio=scaled.scale_ratio, counter_frac_bits=48, format=1),
        bad("scaled_plain", "the scaled page without a ratio", CANNOT, format=1),
        bad("stale", "of another region", STALE, header={"generation": GENERATION + 1}),
        bad("magic", "no view", MAGIC, header={"magic": b"CLKPGDAT"}),
        bad("major", "another version", VERSION, header={"abi_major": 2}),
        bad("size_small", "a size below 1024", LAYOUT, header={"size": 1023}),
        bad("size_large", "a size above 4096", LAYOUT, header={"size": 4097}),
        bad("slots_5", "5 slots", LAYOUT, header={"slot_count": 5}), bad("slot_size", "slots of 64 bytes", LAYOUT, header={"slot_size": 64}),
        bad("number", "another number in the newest slot", LAYOUT, slot={"number": 7}),
        View("view_features", "a later minor version, features, and a size of 1024", 5,
             header={"abi_minor": 99, "features": 2**64 - 1, "size": 1024}),
    ]


def host_counters(page):
    newest = page.newest
    yield from (newest.start, newest.start + 1, newest.lease_end - 1, newest.lease_end, newest.lease_end + page.frequency_hz)
    for segment in page.segments[-15:-1:4]:
        yield from (segment.start, segment.start + 1_234_567, segment.lease_end - 1)
    yield page.segments[-15].start - 2 * page.frequency_hz


def with_cases():
    """[(view, [row of COLUMNS])], and the regions."""
    made = regions()
    rows = []
    for view in good_views(made) + nested_views(made) + refused_views(made):
        host = made[view.region][0]
        page = made[view.region][2 * (view.format % 2) + (view.smear != 0)]
        if view.error:
            cases = [(clock, view.guest_counter(host.newest.start), MARK) for clock in (REALTIME, MONOTONIC)]
        else:
            counters = []
            for counter in host_counters(host):
                guest = view.guest_counter(counter)
                true = counter if view.format == 0 else counter * view.counter_ratio >> view.counter_frac_bits
                found, late = view.page_counter(page, guest)
                if guest != view.counter_offset % 2**64 and "hostile" not in view.name:
                    assert 0 <= true - found <= late or late == 0 and true % 2**64 == found, (view.name, true - found, late)
                counters.append(guest)
            counters += view.counters
            few = len(counters) // 3
            cases = [(clock, guest, view.disruption_marker) for guest in counters[:few + 2] for clock in model.CLOCKS]
            cases += [(clock, guest, view.disruption_marker) for guest in counters[few + 2:] for clock in (REALTIME, MONOTONIC)]
            cases += [(MONOTONIC, counters[0], view.disruption_marker ^ 1), (2, counters[0], view.disruption_marker)]
        rows.append((view, [view.expected(page, *case) for case in cases]))
    return rows, made
