# SPDX-License-Identifier: MIT
"""Recorded histories (consumer/tool/history.hpp) for tests: reading, cutting, damaging.

Each function in DAMAGES makes one thing wrong, at a place drawn from `random`, and returns the
rule that `clockpage check-history` must name.
"""
import struct

M64 = 2**64 - 1
OVERDUE = 1
NOW, AGAIN, REFUSED = 0, 1, 2
REALTIME, MONOTONIC = 0, 1
BRIDGE, DISCONTINUITY = 0x2, 0x1C
HEADER, PAGE, PROCESS, SEGMENT, READING = 416, 40, 24, 208, 80
# name: (offset, struct format)
SEGMENT_FIELDS = {"after_gap": (0, "Q"), "number": (16, "Q"), "start": (24, "Q"), "lease_end": (32, "Q"),
                  "tai_ns": (40, "Q"), "tai_frac": (48, "Q"), "tai_period_frac": (56, "Q"),
                  "utc_offset_ns": (64, "q"), "monotonic_offset_ns": (80, "q"), "epoch": (152, "Q"),
                  "flags": (160, "I")}
READING_FIELDS = {"counter": (0, "Q"), "ns": (8, "q"), "earliest_ns": (16, "q"), "latest_ns": (24, "q"),
                  "epoch": (32, "Q"), "index": (40, "Q"), "received": (48, "Q"), "sent": (56, "Q"),
                  "sequence": (64, "I"), "kind": (72, "B"), "clock": (73, "B"), "format": (74, "B"),
                  "flags": (75, "B"), "status": (76, "B")}
PAYLOAD = 48  # bytes of a reading: what was read, not where it stands


class Record:
    """One segment or reading, in place."""

    def __init__(self, data, offset, fields):
        object.__setattr__(self, "at", (data, offset, fields))

    def __getattr__(self, name):
        data, offset, fields = self.at
        place, kind = fields[name]
        return struct.unpack_from("<" + kind, data, offset + place)[0]

    def __setattr__(self, name, value):
        data, offset, fields = self.at
        place, kind = fields[name]
        struct.pack_into("<" + kind, data, offset + place, value)

    def overdue(self):
        return bool(self.flags & OVERDUE)


class History:
    def __init__(self, data):
        self.data = bytearray(data)
        pages, _, processes = struct.unpack_from("<III", self.data, 64)
        at = HEADER
        self.shift = [self.data[at + PAGE * i + 2] for i in range(pages)]
        segment_counts = [struct.unpack_from("<Q", self.data, at + PAGE * i + 24)[0] for i in range(pages)]
        at += pages * PAGE
        self.process_at = at
        counts = [struct.unpack_from("<Q", self.data, at + PROCESS * i)[0] for i in range(processes)]
        at += processes * PROCESS
        self.segments, self.readings = [], []
        for count in segment_counts:
            self.segments.append(range(at, at + count * SEGMENT, SEGMENT))
            at += count * SEGMENT
        for count in counts:
            self.readings.append(range(at, at + count * READING, READING))
            at += count * READING
        assert at == len(self.data), "the layout is not what this file says"

    def segment(self, page, i):
        return Record(self.data, self.segments[page][i], SEGMENT_FIELDS)

    def reading(self, process, i):
        return Record(self.data, self.readings[process][i], READING_FIELDS)

    def copy(self):
        return History(self.data)

    def cover(self, page, counter):
        """Position of the segment that covers `counter`, or None."""
        low, high = 0, len(self.segments[page])
        while low < high:
            middle = (low + high) // 2
            if self.segment(page, middle).start <= counter:
                low = middle + 1
            else:
                high = middle
        return low - 1 if low and counter < self.segment(page, low - 1).lease_end else None

    def value(self, page, i, clock, counter):
        """Section 4 of the spec, without leaps."""
        s = self.segment(page, i)
        ticks = counter - s.start << self.shift[page]
        tai = s.tai_ns + (s.tai_frac + ticks * s.tai_period_frac >> 64)
        return tai - (s.utc_offset_ns if clock == REALTIME else s.monotonic_offset_ns)

    def first_change(self):
        """The message that came with the first change between leased and overdue readings."""
        records = self.readings[0]
        now = [i for i in range(len(records)) if self.data[records[i] + 72] == NOW]
        first = self.data[records[now[0]] + 75] & OVERDUE
        i = next(i for i in now if self.data[records[i] + 75] & OVERDUE != first)
        r = self.reading(0, i)
        return r.received or r.sent

    def cut(self, first, last):
        """A history of its own: all segments, the readings of messages `first` to `last`."""
        kept = []
        for p, records in enumerate(self.readings):
            message = [max(self.reading(p, i).received, self.reading(p, i).sent - 1)
                       for i in range(len(records))]
            kept.append([i for i, m in enumerate(message) if first <= m <= last])
        head = bytearray(self.data[:self.readings[0].start])
        body = bytearray()
        for p, positions in enumerate(kept):
            struct.pack_into("<QQ", head, self.process_at + PROCESS * p, len(positions),
                             len(self.readings[p]) - len(positions))
            for sequence, i in enumerate(positions):
                at = self.readings[p][i]
                body += self.data[at:at + READING]
                struct.pack_into("<I", body, len(body) - READING + 64, sequence)
        struct.pack_into("<Q", head, 16, len(head) + len(body))
        return History(head + body)

    def remove_segment(self, page, i):
        at = self.segments[page][i]
        del self.data[at:at + SEGMENT]
        struct.pack_into("<Q", self.data, HEADER + PAGE * page + 24, len(self.segments[page]) - 1)
        struct.pack_into("<Q", self.data, 16, len(self.data))
        self.__init__(self.data)

    def draw_reading(self, random, accept):
        """A random reading that `accept(history, process, position, reading)`."""
        places = [(p, i) for p, records in enumerate(self.readings) for i in range(len(records))]
        random.shuffle(places)
        for p, i in places:
            r = self.reading(p, i)
            if r.kind != REFUSED and accept(self, p, i, r):
                return p, i, r
        raise AssertionError("no reading like that in this history")

    def draw_segment(self, random, accept):
        """A random segment with two before and two after it that `accept(segment)`."""
        places = [(page, i) for page, records in enumerate(self.segments) for i in range(2, len(records) - 2)]
        random.shuffle(places)
        for page, i in places:
            s = self.segment(page, i)
            if not s.after_gap and not self.segment(page, i + 1).after_gap and accept(s):
                return page, i, s
        raise AssertionError("no segment like that in this history")


def leased_now(history, _process, _position, r):
    """A leased reading of the clock in a captured segment."""
    return r.kind == NOW and not r.overdue() and history.cover(r.format, r.counter) is not None


def one_value_one_ns_up(history, random):
    r = history.draw_reading(random, leased_now)[2]
    r.ns += 1
    return "value"


def one_value_one_ns_down_where_evaluated_again(history, random):
    r = history.draw_reading(random, lambda h, p, i, r: r.kind == AGAIN and not r.overdue() and
                             h.cover(r.format, r.counter) is not None)[2]
    r.ns -= 1
    return "value"


def one_bound_one_ns_in(history, random):
    r = history.draw_reading(random, lambda *a: leased_now(*a) and a[3].earliest_ns > -2**63)[2]
    r.earliest_ns += 1
    return "bounds"


def two_readings_swapped(history, random):
    """What was read, not the places: successive readings of one process and page."""
    def with_a_next(h, p, i, r):
        if not leased_now(h, p, i, r):
            return False
        later = (h.reading(p, j) for j in range(i + 1, min(i + 8, len(h.readings[p]))))
        return any(leased_now(h, p, 0, n) and n.format == r.format and n.clock == r.clock for n in later)
    p, i, r = history.draw_reading(random, with_a_next)
    j = next(j for j in range(i + 1, i + 8) if leased_now(history, p, j, history.reading(p, j)) and
             history.reading(p, j).format == r.format and history.reading(p, j).clock == r.clock)
    a, b = history.readings[p][i], history.readings[p][j]
    data = history.data
    data[a:a + PAYLOAD], data[b:b + PAYLOAD] = data[b:b + PAYLOAD], data[a:a + PAYLOAD]
    return "counter"


def a_base_off_by_one_part_of_2_to_the_64(history, random):
    s = history.draw_segment(random, lambda s: not s.flags & DISCONTINUITY and s.tai_frac < M64)[2]
    s.tai_frac += 1
    return "base"


def a_leased_flag_on_an_overdue_value(history, random):
    def not_yet_covered(h, _p, _i, r):
        cover = h.cover(r.format, r.counter)
        return r.overdue() and cover is not None and r.index < h.segment(r.format, cover).number
    r = history.draw_reading(random, not_yet_covered)[2]
    r.flags &= ~OVERDUE
    return "lease"


def an_overdue_value_one_ns_up(history, random):
    r = history.draw_reading(random, lambda h, p, i, r: r.overdue())[2]
    r.ns += 1
    return "value"


def an_epoch_not_raised(history, random):
    s = history.draw_segment(random, lambda s: s.flags & DISCONTINUITY)[2]
    s.epoch -= 1
    return "epoch"


def a_segment_number_twice(history, random):
    page, i, s = history.draw_segment(random, lambda s: True)
    s.number = history.segment(page, i - 1).number
    return "number"


def a_counter_reversed_in_causal_order(history, random):
    """A reading from just before the message that it came after was read, right in itself."""
    senders = {}
    for p, records in enumerate(history.readings):
        for i in range(len(records)):
            r = history.reading(p, i)
            if r.sent:
                senders[r.sent] = r

    def can_be_moved(h, p, i, r):
        sender = senders.get(r.received)
        return leased_now(h, p, i, r) and sender is not None and sender.format == r.format and \
            not r.sent and h.cover(r.format, sender.counter - 1) == h.cover(r.format, r.counter)
    r = history.draw_reading(random, can_be_moved)[2]
    r.counter = senders[r.received].counter - 1
    width = r.ns - r.earliest_ns
    r.ns = history.value(r.format, history.cover(r.format, r.counter), r.clock, r.counter)
    if width < 2**62:
        r.earliest_ns, r.latest_ns = r.ns - width, r.ns + width
    return "counter"


def a_dropped_segment_that_no_gap_tells_of(history, random):
    history.remove_segment(*history.draw_segment(random, lambda s: True)[:2])
    return "number"


def an_index_that_went_back(history, random):
    r = history.draw_reading(random, lambda h, p, i, r: i > 100)[2]
    r.index -= 20
    return "index"


def a_reading_lost(history, random):
    """Its place is taken by the one before it."""
    p, i, _ = history.draw_reading(random, lambda h, p, i, r: i > 0)
    at, before = history.readings[p][i], history.readings[p][i - 1]
    history.data[at:at + READING] = history.data[before:before + READING]
    return "sequence"


DAMAGES = [one_value_one_ns_up, one_value_one_ns_down_where_evaluated_again, one_bound_one_ns_in,
           two_readings_swapped, a_base_off_by_one_part_of_2_to_the_64, a_leased_flag_on_an_overdue_value,
           an_overdue_value_one_ns_up, an_epoch_not_raised, a_segment_number_twice,
           a_counter_reversed_in_causal_order, a_dropped_segment_that_no_gap_tells_of,
           an_index_that_went_back, a_reading_lost]
