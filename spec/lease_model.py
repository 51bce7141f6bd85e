#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every interleaving of one writer and one reader of the lease protocol (clockpage.md section 5), in the small.

A ring of 4 slots instead of 16 (so 2 steps of history instead of 14), segments of a few ticks, one page. Time may pass between
any two steps, so either side may stall for any time; the writer may die once at any step, mid-write included, and is then
restarted. A slot is two words, stored in any order and loaded one after the other. The reader takes its counter value before it
loads a slot or (as a CPU may, that lets loads run ahead of rdtsc) after the re-check.

Checked in every reachable state, against the segments as they were published:
  G1  a leased read gives the line that is published for its counter value
  G5  an overdue read that a later segment disagrees with: that segment was counted as late. Not asked of a reader whose
      re-check ran ahead of its counter read, nor after a death, which may fall between publishing and counting
  G7  the reader never waits: it ends with a value, an error or "busy" after the allowed passes
  G8  an overdue read, too, uses the words of the one segment that was the newest

  lease_model.py             exit 1 if a promise is broken
  lease_model.py --bite      breaks the protocol in each of several ways; exit 1 unless each is noticed
"""

import sys
from collections import deque, namedtuple

RING, HISTORY, PASSES = 4, 2, 3
PERIOD, LEAD, MARGIN = 3, 2, 1
LAST_TICK = 10
# Ways to break the protocol, each of which must be noticed.
BREAKS = ("no_recheck", "no_lease", "history_of_ring_minus_1", "late_uncounted", "publish_before_fill",
          "new_line_when_late")

# remaining: words of the slot still to be stored (bits); stage: W(ait), F(ill), C(heck), P(ublish), L(ate?)
Writer = namedtuple("Writer", "stage segment remaining must_bridge deaths")
# stage: I(ndex), T(ime), A and B (the two words), R(e-check), t(ime after the re-check), D(one)
Reader = namedtuple("Reader", "stage early index counter back first passes result")
# segments: (start, lease_end, line, steered) of every published one; late: numbers counted as late
State = namedtuple("State", "now index slots writer reader segments late")

IDLE = Writer("W", None, 0, False, 0)


class Broken(Exception):
    pass


def initial(early):
    """Number 2 is the newest, [0, 3), after number 1, [-2, 0), on the same line; the ring is otherwise empty."""
    segments = ((-4, -2, 0, False), (-2, 0, 0, False), (0, 3, 0, False))
    slots = [((-9, 0), (0, -1))] * RING
    for number in (1, 2):
        start, end, line, _ = segments[number]
        slots[number % RING] = ((number, start), (end, line))
    return State(0, 2, tuple(slots), IDLE, Reader("I", early, None, None, 0, None, 0, None), segments, frozenset())


def chosen(state, must_bridge, broken):
    """5.1 steps 2 and 3: the segment after the newest."""
    start, line = state.segments[-1][1], state.segments[-1][2]
    if state.now < start - MARGIN and not must_bridge:
        return (start, start + max(PERIOD, LEAD), len(state.segments), True)
    if broken == "new_line_when_late":
        line = len(state.segments)
    return (start, max(state.now, start) + PERIOD + LEAD, line, False)


def store(slots, number, segment, word):
    start, end, line, _ = segment
    slot = list(slots[number % RING])
    slot[word] = (number, start) if word == 0 else (end, line)
    return slots[:number % RING] + (tuple(slot),) + slots[number % RING + 1:]


def writer_steps(s, broken):
    w = s.writer
    if w.deaths == 0:  # dies here and is restarted: only memory is left
        yield s._replace(writer=Writer("W", None, 0, True, 1))
    if w.stage == "W":
        start, end = s.segments[-1][:2]
        if s.now > start and s.now >= end - LEAD:
            yield s._replace(writer=w._replace(stage="F", segment=chosen(s, w.must_bridge, broken), remaining=3))
    elif w.stage == "F":
        for word in (0, 1):
            if w.remaining >> word & 1:
                left = w.remaining & ~(1 << word)
                yield s._replace(slots=store(s.slots, s.index + 1, w.segment, word),
                                 writer=w._replace(remaining=left, stage="F" if left else "C"))
        if broken == "publish_before_fill" and w.remaining in (1, 2):
            early = s._replace(index=s.index + 1, segments=s.segments + (w.segment,))
            yield early._replace(writer=w._replace(stage="X", remaining=w.remaining - 1))
    elif w.stage == "X":  # the rest of a slot that is published already
        yield s._replace(slots=store(s.slots, s.index, w.segment, w.remaining), writer=w._replace(stage="L"))
    elif w.stage == "C":
        if w.segment[3] and s.now >= w.segment[0] - MARGIN:
            yield s._replace(writer=w._replace(stage="F", segment=chosen(s, True, None), remaining=3))
        else:
            yield s._replace(writer=w._replace(stage="P"))
    elif w.stage == "P":
        yield s._replace(index=s.index + 1, segments=s.segments + (w.segment,), writer=w._replace(stage="L"))
    elif w.stage == "L":
        late = s.late | {s.index} if w.segment[3] and s.now >= w.segment[0] and broken != "late_uncounted" else s.late
        yield s._replace(late=late, writer=Writer("W", None, 0, False, w.deaths))


def covering(s, counter):
    for number in range(len(s.segments) - 1, -1, -1):
        start, end, line, _ = s.segments[number]
        if start <= counter < end:
            return number, line
    return None, None


def finish(s, r, line, overdue, broken):
    """A value: G1 and G8 at once, G5 when the segment that covers it is there."""
    number, truth = covering(s, r.counter)
    if broken == "no_lease":
        overdue = False
    if not overdue:
        if number is None or line != truth:
            raise Broken(f"G1: leased read at {r.counter} gave line {line}, published is {truth}")
    elif line != s.segments[r.index][2]:
        raise Broken(f"G8: overdue read at {r.counter} gave line {line}, not that of segment {r.index}")
    return s._replace(reader=r._replace(stage="D", first=None, index=None, result=(r.counter, line, overdue)))


def retry(s, r):
    if r.passes + 1 == PASSES:
        return s._replace(reader=r._replace(stage="D", first=None, result="busy"))
    stage = "A" if r.counter is not None else "T"
    return s._replace(reader=r._replace(stage=stage, early=False, index=s.index, back=0, first=None, passes=r.passes + 1))


def reader_steps(s, broken):
    r = s.reader
    if r.stage == "I":
        yield s._replace(reader=r._replace(stage="A" if r.early else "T", index=s.index))
    elif r.stage == "T":
        yield s._replace(reader=r._replace(stage="A", counter=s.now))
    elif r.stage == "A":
        number, start = s.slots[(r.index - r.back) % RING][0]
        history = HISTORY + (broken == "history_of_ring_minus_1")
        if r.counter is not None and r.back >= 2 and number != r.index - r.back:
            yield s._replace(reader=r._replace(stage="R", first="none"))
        elif r.counter is not None and r.counter < start:
            if r.back == history:
                yield s._replace(reader=r._replace(stage="R", first="none"))
            else:
                yield s._replace(reader=r._replace(back=r.back + 1))
        else:
            yield s._replace(reader=r._replace(stage="B", first=(start,)))
    elif r.stage == "B":
        yield s._replace(reader=r._replace(stage="R", first=r.first + s.slots[(r.index - r.back) % RING][1]))
    elif r.stage == "R":
        if s.index != r.index and broken != "no_recheck":
            yield retry(s, r)
        elif r.counter is None:
            yield s._replace(reader=r._replace(stage="t"))
        else:
            yield from evaluate(s, r, broken)
    elif r.stage == "t":
        r = r._replace(counter=s.now)
        # The newest's words are there; a counter value before its start needs another pass.
        yield from (evaluate(s, r, broken) if r.counter >= r.first[0] else (retry(s, r),))


def evaluate(s, r, broken):
    if r.first == "none":
        yield s._replace(reader=r._replace(stage="D", result="out of range", first=None, index=None))
        return
    _, end, line = r.first
    yield finish(s, r, line, r.back == 0 and r.counter >= end, broken)


def check_overdue(s):
    """G5, once the writer has had the chance to count."""
    r = s.reader
    if r.stage != "D" or not isinstance(r.result, tuple) or not r.result[2] or s.writer.stage == "L":
        return
    counter, line, _ = r.result
    number, truth = covering(s, counter)
    if number is None or truth == line or r.early:
        return
    late = [n for n in range(3, number + 1) if s.segments[n][3] and n in s.late]
    if not late and s.writer.deaths == 0:
        raise Broken(f"G5: overdue read at {counter} gave {line}, then {truth} was published and not counted as late")


def explore(broken=None):
    """The number of states; raises Broken with the first broken promise."""
    seen, results = set(), {"leased": 0, "overdue": 0, "busy": 0, "out of range": 0}
    queue = deque(initial(early) for early in (False, True))
    seen.update(queue)
    while queue:
        s = queue.popleft()
        check_overdue(s)
        following = [*writer_steps(s, broken), *reader_steps(s, broken)]
        if s.now < LAST_TICK:
            following.append(s._replace(now=s.now + 1))
        if s.reader.stage not in "D" and not list(reader_steps(s, broken)):
            raise Broken("G7: the reader waits")
        for t in following:
            if t not in seen:
                seen.add(t)
                queue.append(t)
                if t.reader.stage == "D" and s.reader.stage != "D":
                    kind = t.reader.result if isinstance(t.reader.result, str) else (
                        "overdue" if t.reader.result[2] else "leased")
                    results[kind] += 1
    return len(seen), results


def main(arguments):
    if arguments == ["--bite"]:
        unnoticed = 0
        for broken in BREAKS:
            try:
                explore(broken)
                unnoticed += 1
                print(f"{broken}: not noticed")
            except Broken as found:
                print(f"{broken}: noticed: {found}")
        return 1 if unnoticed else 0
    try:
        states, results = explore()
    except Broken as found:
        print(found)
        return 1
    print(f"{states} states, no promise broken; readings: {results}")
    return 1 if 0 in results.values() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
