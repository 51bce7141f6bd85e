# SPDX-License-Identifier: MIT
"""What producer/leap_samples.cpp writes, as Python objects."""
import struct

CLOCKS = ("REALTIME", "MONOTONIC", "MONOTONIC_RAW", "BOOTTIME", "TAI")
SEGMENT_WORDS = ("number start lease_end tai_ns tai_frac tai_period_frac utc_offset_ns leap_start_ns "
                 "monotonic_offset_ns boottime_offset_ns raw_ns raw_frac raw_period_frac utc_bound_ns "
                 "utc_bound_growth_frac local_bound_ns local_bound_growth_frac epoch flags status reason "
                 "leap_indicator reserved0 leap_end_ns utc_offset_after_ns leap_slope_frac").split()


class Words:
    """Named values, some of which a test may damage."""

    def __init__(self, names, values):
        self.__dict__.update(zip(names, values))

    def changed(self, **words):
        copy = Words((), ())
        copy.__dict__.update(self.__dict__, **words)
        return copy


PAGE = struct.Struct("<IQQiI4BI")
SEGMENT = struct.Struct("<I6Q4q8QI4B2qQ16x")
KERNEL = struct.Struct("<i2Q5q")
SAMPLE = struct.Struct("<IQ" + 5 * "iIqqqQ4BI")
END = struct.Struct("<I6Q")
READING = "error flags ns earliest_ns latest_ns epoch status reason leap_indicator smear reserved".split()


def records(data):
    """(kind, Words) in the order of writing. A sample's `clocks` are tuples in the order of READING."""
    at = 0
    while at < len(data):
        kind = data[at]
        at += 4
        if kind == 4:
            values = SAMPLE.unpack_from(data, at)
            at += SAMPLE.size
            yield "sample", Words(("page", "counter", "clocks"),
                                  (values[0], values[1], [values[2 + 11 * i:13 + 11 * i] for i in range(5)]))
        elif kind == 2:
            values = SEGMENT.unpack_from(data, at)
            at += SEGMENT.size
            yield "segment", Words(["page", *SEGMENT_WORDS], values)
        elif kind == 3:
            pending, counter, last_tick, *ns = KERNEL.unpack_from(data, at)
            at += KERNEL.size
            yield "kernel", Words(("pending", "counter", "last_tick", "ns"), (pending, counter, last_tick, ns))
        elif kind == 1:
            yield "page", Words(("page", "scale_ratio", "frequency_hz", "smear_start_s", "smear_length_s", "format",
                                 "smear", "delta_shift", "frac_bits"), PAGE.unpack_from(data, at))
            at += PAGE.size
        elif kind == 5:
            yield "end", Words(("killed", "publications", "bridges", "late_publications", "realtime_steps",
                                "tai_steps", "monotonic_steps"), END.unpack_from(data, at))
            at += END.size
        else:
            raise ValueError(f"record {kind} at {at - 4}")
