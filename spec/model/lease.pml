/* SPDX-License-Identifier: MIT */
/*
 * The lease protocol (clockpage.md, sections 5.1 to 5.3) for the model checker Spin. run.py runs it and lists its properties.
 *
 * WHAT IS MODELLED
 *
 * One writer, which follows producer/publisher.cpp and page_writer.cpp step by step; one or two readers, which follow
 * consumer/include/clockpage/evaluate.h; one page or two. Every step is one access to shared memory or one look at the
 * counter, and Spin goes through every order of the steps of all of them. So either side may be preempted after each of its
 * steps, for any time. The writer may die before each of its steps, in the middle of filling a slot and between the stores of
 * two pages' indices included, and may be restarted after any time, or never. Comments in square brackets name the steps; the
 * code's comments name them too.
 *
 *  - The ring has 4 slots instead of 16, so 2 steps of history instead of 14; it wraps within the run. A slot has four words,
 *    stored and loaded one at a time: number, start, lease_end and the line (its value at the start, its slope, and whether it
 *    is a bridge). Values are real ones: a line is evaluated as in section 4, each segment begins at its predecessor's value,
 *    and every steering changes the slope.
 *  - The counter is one number for all CPUs. Two readers pass a timestamp: the second begins when the first has ended with a
 *    leased value. It reads the counter anew (order), or evaluates the first one's counter value (agreement).
 *  - A counter read waits for earlier loads, but later loads, the re-check included, may run ahead of it: by up to AHEAD
 *    ticks. In the model the loads are done when they are done, and the counter value is chosen beforehand, among those that
 *    the counter has then to those that it has AHEAD ticks later; the timestamp is passed on only when the counter has got there.
 *  - A reader's counter value is read now, or captured: any value at all.
 *
 * WHAT IS LEFT OUT, AND WHY THAT IS SOUND
 *
 *  - Weak memory. Steps take effect in order here. The four orders that the code asks for (P1 and P2 of clockpage.md 5.3, each
 *    with a writer's and a reader's half) are there as the order of steps, and each has a mutant (mutants.pml) in which it is
 *    missing. That the C11 orders named in barrier.h give these four is not this model's matter. With ANY_ORDER the words of a
 *    slot are stored in any order.
 *  - Time. It passes only in steps that look at the counter, by any number of ticks, not between two steps that do not: such a
 *    step does the same before a tick and after it, so that every run with ticks elsewhere has the same loads, stores and
 *    counter values as one that is here. The run ends at LAST; segments then are published up to that, and the last leases end
 *    past it.
 *  - The lead is constant. It only moves the time at which the writer wakes up, which may be later by any time here.
 *  - `revoked` and discontinuities: they turn a value into an error, never an error into a value, and a reader that is given
 *    another value because of them is not possible. Steps start new epochs, between which nothing is promised of order.
 *  - The order of a reader's loads within a pass. The proof of clockpage.md 5.3 needs of each load only that it is between the load
 *    of the index and the re-check.
 *  - With two pages both have the same counter: a scaled page's numbers are images of the unscaled ones. Their slots are filled
 *    one page after another, and their indices have stores of their own.
 *  - The steps of writing diagnostics: counting is one step.
 *
 * The lines that begin with g_ are ghosts: what has been published, for the properties only. Nothing in the protocol reads them.
 */

/* ---- sizes; run.py sets others */
#ifndef RING
#define RING 4
#endif
#ifndef HISTORY
#define HISTORY (RING - 2)
#endif
#ifndef PASSES
#define PASSES 3
#endif
#ifndef PAGES
#define PAGES 1
#endif
#ifndef READERS
#define READERS 1
#endif
#ifndef PERIOD /* all times in ticks */
#define PERIOD 2
#endif
#ifndef LEAD
#define LEAD 2
#endif
#ifndef MARGIN
#define MARGIN 1
#endif
#ifndef AHEAD /* how far a load may run ahead of a counter read that is before it */
#define AHEAD 1
#endif
#ifndef GUARD /* a store as little before its segment's start is counted as late */
#define GUARD AHEAD
#endif
#ifndef LAST /* the end of the run */
#define LAST 8
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef HISTORY_BEGIN /* start of the segment before the first; BEGIN: it has length zero */
#define HISTORY_BEGIN 1
#endif

#define BEGIN 2 /* counter at which the run begins */
#define FIRST (RING + 1) /* number of the first segment */
#define LONGEST (PERIOD > LEAD -> PERIOD : LEAD)

/* ---- properties. One line each: name, the guarantees of clockpage.md section 6 that it shows, what it says. run.py reads these. */
#ifndef IGNORE
#define IGNORE 0 /* one bit for each property that is not to be looked at, in this order */
#endif
hidden byte P_torn = (IGNORE >> 0) & 1;       /* G8: the words that a value is made of are those of the one published segment meant */
hidden byte P_published = (IGNORE >> 1) & 1;  /* G1 G4: a value not flagged as overdue is that of the segment published for its counter value */
hidden byte P_agreement = (IGNORE >> 2) & 1;  /* G1: two leased reads at one counter value give the same, whatever lies between them */
hidden byte P_order = (IGNORE >> 3) & 1;      /* G2: a leased read caused by an earlier one is not before it, in counter and in value */
hidden byte P_overdue = (IGNORE >> 4) & 1;    /* G5: an overdue read is contradicted only if a steering store since then was counted as late, or was and its writer killed before it counted */
hidden byte P_margin = (IGNORE >> 5) & 1;     /* G5: a steering store is late only if its writer lost more than MARGIN - AHEAD between its last look at the counter and the store */
hidden byte P_function = (IGNORE >> 6) & 1;   /* G3 G16: each published segment begins where its predecessor ends, with its value there */
hidden byte P_adoption = (IGNORE >> 7) & 1;   /* G16: the first segment of a restarted writer contradicts no overdue read of the segment that it found */
hidden byte P_pages = (IGNORE >> 8) & 1;      /* G13 G16: between publications all pages have the same newest segment */
hidden byte P_bounded = (IGNORE >> 9) & 1;    /* G7: a read ends within 2 * PASSES - 1 passes, a captured value's within PASSES, and looks no further back than HISTORY */
hidden byte P_history = (IGNORE >> 10) & 1;   /* G16: a counter value within the history is never out of range */
hidden byte P_dead_shows = (IGNORE >> 11) & 1; /* G6: no lease ends later than P + 2L after it was given */
/* P_never_waits: G7: a reader is never stopped by a writer that does not go on (Spin: "invalid end state") */
#define HOLDS(name, condition) assert((condition) || name)

/* ---- what must happen, lest the properties hold of nothing: run.py asks Spin to refute each */
#define V_leased 1              /* a leased read of now */
#define V_overdue 2             /* an overdue one */
#define V_busy 3                /* a reader gives up */
#define V_walk 4                /* a value from further back than n - 1 */
#define V_out_of_range 5        /* a captured value older than the history */
#define V_now_again 6           /* a reader lost its CPU for longer than the history and takes a new counter value */
#define V_retry 7               /* the index has moved */
#define V_torn_discarded 8      /* a torn set of words, thrown away by the re-check */
#define V_recheck_ahead 9       /* a leased read whose re-check was before its counter value */
#define V_bridge 10             /* a bridge that is not a restarted writer's */
#define V_late 11               /* a steering store after its segment's start */
#define V_leased_meets_late 12  /* a leased read of a segment stored late */
#define V_contradicted 13       /* an overdue read that is contradicted */
#define V_killed_uncounted 14   /* a writer killed between a late store and its counting */
#define V_adoption 15           /* a restarted writer publishes */
#define V_mid_fill 16           /* a writer dies with its slot half filled */
#define V_wrap 17               /* every slot has been written over */
#define V_partial_finished 18   /* a steering segment published on one page only, finished on the other */
#define V_two_deaths 19         /* the restarted writer dies too */
#define V_finisher_dies 20      /* and that with the publication finished but not counted */
#define V_same_counter 21       /* the second reader has the first one's counter value, and finds it further back than n - 1 */
#define V_other_line 22         /* the second reader's value is from another line than the first one's */
#ifdef V
#define REACHED(name, condition) assert(V != name || !(condition))
#else
#define REACHED(name, condition) skip
#endif

/* ---- the pages */
#define SLOT(page, n) ((page) * RING + (n) % RING)

byte index[PAGES] = FIRST;
byte number[PAGES * RING];
byte first[PAGES * RING]; /* the segment's `start` */
byte lease_end[PAGES * RING];
short line[PAGES * RING];

#define LINE(base, slope, bridge) ((base) * 8 + (bridge) * 4 + (slope))
#define SLOPE(l) ((l) & 3)
#define IS_BRIDGE(l) (((l) >> 2) & 1)
#define BASE(l) ((l) >> 3)
#define VALUE(l, start, c) (BASE(l) + SLOPE(l) * ((c) > (start) -> (c) - (start) : 0))
/* What a reader is given: the value, and (in the low bits) the line's slope, that two lines do not pass for one where they meet. */
#define ANSWER(l, start, c) (VALUE(l, start, c) * 4 + SLOPE(l))

/* ---- the ghost of what has been published */
byte g_first[PAGES * RING];
byte g_end[PAGES * RING];
short g_line[PAGES * RING];
#ifdef V
bool g_late[PAGES * RING];
#endif

inline publish_ghost(p, n)
{
	g_first[SLOT(p, n)] = first[SLOT(p, n)];
	g_end[SLOT(p, n)] = lease_end[SLOT(p, n)];
	g_line[SLOT(p, n)] = line[SLOT(p, n)]
}

/* ---- time */
byte now = BEGIN;
byte deaths;

/* Any number of ticks. Every step that looks at the counter begins with this, and no other. */
inline time_passes()
{
	do
	:: now < LAST -> now++
	:: break
	od
}

/* ---- overdue reads: kept until a segment that covers the counter value has been published, and counted if late */
hidden short answer;
#ifndef NO_OVERDUE
#define O_NEWEST SLOT(o_page, index[o_page])
bool o_live;
bool o_excused; /* a late steering store has been counted since (or was, and its writer killed before it counted it) */
byte o_counter;
short o_answer;
byte o_number; /* newest segment then */
bit o_page;

inline note_overdue()
{
	o_live = true; o_counter = c; o_answer = answer; o_number = n; o_page = page
}

inline excuse(p, n)
{
	if
	:: o_live && o_page == p && o_number < n -> o_excused = true
	:: else
	fi
}

inline settle(adopters_own)
{
	if
	:: o_live && o_counter < g_end[O_NEWEST] ->
		answer = ANSWER(g_line[O_NEWEST], g_first[O_NEWEST], o_counter);
		HOLDS(P_overdue, answer == o_answer || o_excused);
		HOLDS(P_adoption, answer == o_answer || !(adopters_own) || o_number + 1 != index[o_page]);
		REACHED(V_contradicted, answer != o_answer);
		answer = 0; o_live = false; o_excused = false; o_counter = 0; o_answer = 0; o_number = 0; o_page = 0
	:: else
	fi
}
#else
inline note_overdue() { skip }
inline excuse(p, n) { skip }
inline settle(adopters_own) { skip }
#endif

#include "mutants.pml"
#include "writer.pml"
#include "reader.pml"

init {
	byte p;
	atomic {
		do
		:: p < PAGES ->
			number[SLOT(p, FIRST - 1)] = FIRST - 1;
			first[SLOT(p, FIRST - 1)] = HISTORY_BEGIN;
			lease_end[SLOT(p, FIRST - 1)] = BEGIN;
			line[SLOT(p, FIRST - 1)] = LINE(HISTORY_BEGIN, 1, 0);
			publish_ghost(p, FIRST - 1);
			number[SLOT(p, FIRST)] = FIRST;
			first[SLOT(p, FIRST)] = BEGIN;
			lease_end[SLOT(p, FIRST)] = BEGIN + LONGEST;
			line[SLOT(p, FIRST)] = LINE(BEGIN, 1, 0);
			publish_ghost(p, FIRST);
			p++
		:: else -> break
		od;
		p = 0;
		run Writer(false);
		SECOND_WRITER;
		run Reader(0);
#if READERS == 2
		run Reader(1)
#endif
	}
}
