# SPDX-License-Identifier: MIT
"""Tables of leap seconds for tests: a leap-seconds.list with its hash, from dates."""
import datetime
import hashlib

REAL = {(2012, 7, 1): 1, (2015, 7, 1): 1, (2017, 1, 1): 1}


def posix(year, month, day):
    return int(datetime.datetime(year, month, day, tzinfo=datetime.timezone.utc).timestamp())


def leap_table(leaps=None, begin=34, updated=(2024, 1, 1), expires=(2060, 1, 1)):
    """The text, and [(POSIX s, TAI - UTC from then on)]. `leaps`: {date: +1 or -1}; those that lead
    to `begin` seconds are put into the years before."""
    entries, offset = [(posix(1972, 1, 1), 10)], 10
    for month in range(begin - 10):
        offset += 1
        entries.append((posix(1973 + month, 1, 1), offset))
    for date, change in sorted((REAL if leaps is None else leaps).items()):
        offset += change
        entries.append((posix(*date), offset))
    ntp = 2208988800
    made, until = posix(*updated) + ntp, posix(*expires) + ntp
    digits = f"{made}{until}" + "".join(f"{when + ntp}{offset}" for when, offset in entries)
    # As it is published: without leading zeros.
    digest = hashlib.sha1(digits.encode()).digest()
    words = " ".join(f"{int.from_bytes(digest[i:i + 4], 'big'):x}" for i in range(0, 20, 4))
    lines = [f"#$\t{made}", f"#@\t{until}", *(f"{when + ntp}\t{offset}" for when, offset in entries),
             f"#h\t{words}"]
    return "\n".join(lines) + "\n", entries
