/* SPDX-License-Identifier: MIT */
/*
 * View pages (clockpage.md 5.4) for the model checker Spin. run.py runs it, as it does lease.pml.
 *
 * WHAT IS MODELLED
 *
 * A guest that can be stopped between any two of its steps, moved to another host and started again; what it reads through;
 * and who writes that. Every step is one access to shared memory or one look at the counter, in every order.
 *
 *  - Two hosts, each with a counter, a data page (of which the line matters here, and that its index moves) and a view file of
 *    its own for the guest. The guest's mappings lead to those of the host it is on. The relation of its counter to the host's
 *    has a value, which may be the same on both hosts.
 *  - The host's writer changes offsets and page at any time, the relation only while the guest is stopped, withdraws the view and
 *    brings it back, and moves the guest, with MONOTONIC carried on and the downtime counted or hidden. It dies before any of its
 *    steps and is followed by another, which knows of it what the pages and the hardware say.
 *  - NEST=1: the guest's view is composed by a writer inside the parent guest, which is stopped with it, from the parent's slot,
 *    and names its number; it changes the relation of its own guest, too. NEST=2: one more in between.
 *  - The reader: two readings after each other, of now or of a captured counter value with the marker that was asked for before
 *    it. Each begins with what was remembered, the first time from before the run, and goes on without (view.h, the slow way).
 *  - The loads that follow the counter's read, the re-check of the view included, may be done before it; if the guest is stopped
 *    in between they are done again, as an interrupted CPU does.
 *
 * WHAT IS LEFT OUT, AND WHY THAT IS SOUND
 *
 *  - What lease.pml is about: segments, leases, weak memory (tests/weak_memory has the code under C11).
 *  - Arithmetic: one word stands for offset, ratio and fraction bits, a sum for the composition. The golden vectors have it.
 *  - The ring has 2 slots instead of 4: more torn words, not fewer. Numbers are not random, but unique all the same. A slot is
 *    stored and loaded in three steps; what tears, tears between those.
 *  - A reader's looks at the ancestors before the counter, and at them for a marker: they could only turn a time into an error.
 *  - A reader's look at the slot's own number: it could only turn a value into an error.
 *
 * Words carry, besides their content, the count of the filling that stored them: a ghost, as are variables with g_.
 */

#ifndef RING
#define RING 2
#endif
#ifndef PASSES
#define PASSES 2
#endif
#ifndef NEST
#define NEST 0
#endif
#ifndef CHANGES /* publications of the host's writer */
#define CHANGES 3
#endif
#ifndef RECOMPOSED /* and of each composer */
#define RECOMPOSED 2
#endif
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef MOVES /* publications of the data pages */
#define MOVES 1
#endif
#ifndef READS
#define READS 2
#endif
#ifndef LAST
#define LAST 2
#endif

/* ---- properties, as in lease.pml */
#ifndef IGNORE
#define IGNORE 0
#endif
hidden byte P_view_whole = (IGNORE >> 0) & 1;     /* G21: whatever a writer does and wherever it dies, the slot that the index names is one that was published, whole */
hidden byte P_view_one = (IGNORE >> 1) & 1;       /* G21: the words that a time is made of are those of one published slot, and the line is its host's */
hidden byte P_view_counter = (IGNORE >> 2) & 1;   /* G21 G24: "now" is computed under the relation under which its counter value was read */
hidden byte P_view_next = (IGNORE >> 3) & 1;      /* G21: a reading that begins after a view was replaced gives no time of that one */
hidden byte P_view_captured = (IGNORE >> 4) & 1;  /* G22: a captured counter value gives a time only under the relation, and on the host, that it was read under */
hidden byte P_view_monotonic = (IGNORE >> 5) & 1; /* G23: MONOTONIC of two readings after each other does not go back, whatever was changed and wherever the guest was moved between them */
hidden byte P_view_parent = (IGNORE >> 6) & 1;    /* G24: a reading that begins after an ancestor's view was replaced gives no time composed from that one */
hidden byte P_view_bounded = (IGNORE >> 7) & 1;   /* G25: 1 + PASSES passes over the view, each with PASSES over the data page */
/* P_view_waits: G25: a reader is never stopped by a writer that does not go on (Spin: "invalid end state") */
#define HOLDS(name, condition) assert((condition) || name)

/* ---- what must happen */
#define V_fast 1        /* a time by what was remembered */
#define V_slow 2        /* a time by the slow way */
#define V_view_busy 3   /* the view changes in every pass */
#define V_data_busy 4   /* the data page does */
#define V_view_retry 5  /* the view's index has moved */
#define V_view_torn 6   /* words of two slots, thrown away */
#define V_disrupted 7   /* a captured value is refused */
#define V_captured 8    /* one gives a time under a slot that is newer than its marker's */
#define V_withdrawn 9   /* the view is withdrawn */
#define V_moved 10      /* a time on the other host */
#define V_ahead 11      /* a time whose re-check was done before its counter was read, and whose view has been replaced in between */
#define V_again 12      /* loads that were done before the counter was read are done again */
#define V_mid_slot 13   /* a writer dies with its slot half filled */
#define V_mid_pause 14  /* a writer dies while the guest is stopped */
#define V_hidden 15     /* downtime is hidden */
#define V_same_relation 16 /* the relation has the same value on the other host */
#define V_parent_gone 17  /* NEST: the view is still the newest, its parent is not */
#define V_recomposed 18   /* NEST: a time under a view that was composed anew on the other host */
#define V_torn_parent 19  /* NEST: a composer has read words of two slots, and reads again */
#ifdef V
#define REACHED(name, condition) assert(V != name || !(condition))
#else
#define REACHED(name, condition) skip
#endif

/* ---- the hosts, and time */
#define HOST_COUNTER(h) (now + 3 * (h))
#define LINE(h) (-5 * (h))          /* page's MONOTONIC = host's counter + this: host 1 is 2 ticks behind host 0 */
#define HOSTS_DIFFERENCE 2
byte now;
bit host;                           /* where the guest is */
bit data_index[2];                  /* of each host's data page; one is never the other's: host 1's counts as 2 + this */
byte relation = 2;                  /* of the guest (NEST: the outermost guest) to its host */
bit own_relation;                   /* NEST: of the innermost guest to that around it */
bool running = true;                /* all virtual CPUs of the outermost guest run */
bool inner_running = true;          /* NEST: those of the innermost, if that one does */
bool stopped;                       /* the guest was, since it ran loads ahead of the counter */
#define RUNS (running && inner_running)
/* The guest's counter, and the relation as a ghost knows it. */
#define COUNTER (HOST_COUNTER(host) + relation + own_relation)
#define RELATION(h, outer, own) ((h) * 16 + (outer) + 32 * (own))

inline time_passes() { do :: now < LAST -> now++ :: break od }

/* ---- view files: 0 and 1 are the hosts' for the guest, then those of composers, the innermost last */
#define FILES (2 + NEST)
#if NEST == 0
#define OWN host
#else
#define OWN (1 + NEST)
#endif
#define PARENT(f) ((f) == 2 -> host : (f) - 1)
#define FIRST(f) (8 * (f) + 2)      /* first number; no two files have one in common */
#define WITHDRAWN 0                 /* relation */
#define REL 0
#define MONO 1
#define PAGE 2
#define MARK 3
#define PAR 4
#define AT(f, number, w) (((f) * RING + (number) % RING) * 5 + (w))

byte index[FILES];
short word[FILES * RING * 5];
#define WORD(content, filling) ((content) * 32 + (filling))
#define CONTENT(w) ((w) >> 5)
#define FILLING(w) ((w) & 31)
byte g_fillings;                    /* begun so far */
int g_published;                    /* one bit each */
byte g_relation[24];                /* by filling: what it says of the counter */
#define SAYS(f, w) CONTENT(word[AT(f, index[f], w)])
#define WHOLE(f) ((g_published & (1 << FILLING(word[AT(f, index[f], REL)]))) && \
	FILLING(word[AT(f, index[f], MONO)]) == FILLING(word[AT(f, index[f], REL)]) && \
	FILLING(word[AT(f, index[f], PAGE)]) == FILLING(word[AT(f, index[f], REL)]) && \
	FILLING(word[AT(f, index[f], MARK)]) == FILLING(word[AT(f, index[f], REL)]) && \
	FILLING(word[AT(f, index[f], PAR)]) == FILLING(word[AT(f, index[f], REL)]))

byte deaths;

#include "view_mutants.pml"

/* ---- writing a slot: page_writer.cpp's order; view_page.cpp, ViewWriter::publish */
inline store_word(f, w, content)
{
	word[AT(f, TO_FILL(f), w)] = WORD(content, filling)
}

/* The host's writer. */
#define MAY_DIE :: atomic { deaths < DEATHS -> goto died }
proctype Writer()
{
	byte left = CHANGES, filling, rel, mark, stopped_at;
	short mono;
	bit page;
	bool moves, finishes;

again:
	atomic {
		if
		:: left == 0 && !finishes -> goto stop
		:: else -> left = (left > 0 -> left - 1 : 0)
		fi;
		filling = g_fillings;
		g_fillings++;
		rel = SAYS(host, REL); mono = SAYS(host, MONO); page = SAYS(host, PAGE); mark = SAYS(host, MARK);
		if
		:: finishes || !running -> rel = relation; mark++; goto fill /* what a dead writer has begun */
		:: !finishes && running && rel != WITHDRAWN -> mono++; page = 1 - page; goto fill
		:: !finishes && running && rel != WITHDRAWN -> rel = WITHDRAWN; mark++; goto fill
		:: !finishes && running && rel == WITHDRAWN -> rel = relation; mark++; goto fill
		:: !finishes && running && rel != WITHDRAWN -> goto stop_guest
		fi
	};

stop_guest:
	if
	:: atomic { true -> STOP_GUEST; stopped = true; stopped_at = now }
	MAY_DIE
	fi;
	if
	:: atomic { true -> relation++; rel = relation; mark = NEXT_MARK; goto fill }
	:: atomic { host == 0 -> moves = true }
	MAY_DIE
	fi;
	/* Another host, another file, which is complete before the guest sees it: migration. */
	if
	:: atomic {
		moves ->
		time_passes();
		if
		:: relation++
		:: REACHED(V_same_relation, true)
		fi;
		rel = relation; mark = NEXT_MARK;
		mono = mono + CARRIED_ON;
		if
		:: skip
		:: mono = mono - (now - stopped_at); REACHED(V_hidden, now > stopped_at)
		fi;
		index[1] = NEW_FILES_NUMBER;
		word[AT(1, index[1], REL)] = WORD(rel, filling);
		word[AT(1, index[1], MONO)] = WORD(mono, filling);
		word[AT(1, index[1], PAGE)] = WORD(page, filling);
		word[AT(1, index[1], MARK)] = WORD(mark, filling);
		word[AT(1, index[1], PAR)] = WORD(0, filling);
		host = 1;
		g_relation[filling] = RELATION(host, rel, 0);
		g_published = g_published | (1 << filling);
		goto resume }
	MAY_DIE
	fi;

fill:
	/* [5.4 fill], [P2 view writer]: the stores are after that of the index before. */
	if :: atomic { true -> EARLY_INDEX(host); store_word(host, REL, rel) } MAY_DIE fi;
	if :: atomic { true -> store_word(host, MONO, mono); store_word(host, PAGE, page) } MAY_DIE fi;
	if :: atomic { true -> store_word(host, MARK, mark); store_word(host, PAR, 0) } MAY_DIE fi;

publish:
	EARLY_FILL(host)
	/* [5.4 publish], [P1 view writer]: the store is after those of the slot. */
	if
	:: atomic {
		true ->
		g_relation[filling] = RELATION(host, rel, 0);
		g_published = g_published | (1 << filling);
		index[host] = TO_FILL(host);
		HOLDS(P_view_whole, WHOLE(host)) }
	MAY_DIE
	fi;
resume:
	if
	:: running
	:: atomic { !running -> running = true }
	MAY_DIE
	fi;
	atomic { filling = 0; rel = 0; mono = 0; page = 0; mark = 0; stopped_at = 0; moves = false; finishes = false; goto again };

died:
	atomic {
		deaths++;
		HOLDS(P_view_whole, WHOLE(host));
		REACHED(V_mid_slot, FILLING(word[AT(host, index[host] + 1, REL)]) == filling && FILLING(word[AT(host, index[host] + 1, PAR)]) != filling);
		REACHED(V_mid_pause, !running);
		filling = 0; rel = 0; mono = 0; page = 0; mark = 0; stopped_at = 0; moves = false;
		finishes = !running;
		if
		:: SUCCESSOR_TRUSTS -> index[host] = index[host] + 1; finishes = false; running = true; HOLDS(P_view_whole, WHOLE(host))
		:: else
		fi;
		goto again
	};
stop:
	skip
}

#if NEST > 0
/* Composes file f from its parent's, within the guest around: stopped when that one is. */
proctype Composer(byte f)
{
	byte left = RECOMPOSED, filling, from, rel, mark;
	short mono, w;
	bit page;
	bool stops;
end_again:
	atomic {
		(left > 0 && running && inner_running && (index[PARENT(f)] != SAYS(f, PAR) || (f == OWN && own_relation == 0))) ->
		left--; stops = false; from = index[PARENT(f)];
		if
		:: from != SAYS(f, PAR) -> skip
		:: f == OWN && own_relation == 0 -> stops = true
		fi
	};
compose:
	/* [5.4.1 compose] */
	atomic { running -> from = PARENTS_NUMBER_EARLY; w = word[AT(PARENT(f), from, REL)]; rel = CONTENT(w) };
	atomic { running -> mono = CONTENT(word[AT(PARENT(f), from, MONO)]); page = CONTENT(word[AT(PARENT(f), from, PAGE)]) };
	atomic { running -> mark = CONTENT(word[AT(PARENT(f), from, MARK)]) };
	atomic {
		running ->
		if
		:: index[PARENT(f)] != from && COMPOSER_RECHECKS ->
			REACHED(V_torn_parent, FILLING(w) != FILLING(word[AT(PARENT(f), from, MARK)]));
			goto compose
		:: else -> from = PARENTS_NUMBER_LATE
		fi;
		filling = g_fillings;
		g_fillings++;
		if
		:: stops -> inner_running = false; stopped = true; own_relation = 1 /* the inner guest alone */
		:: else
		fi;
		g_relation[filling] = g_relation[FILLING(w)] + (f == OWN -> 32 * own_relation : 0);
		rel = (rel == WITHDRAWN -> WITHDRAWN : rel + (f == OWN -> own_relation : 0));
		mono = mono + 1;
		mark = CHILDS_MARK
	};
	atomic { running -> store_word(f, REL, rel) };
	atomic { running -> store_word(f, MONO, mono); store_word(f, PAGE, page) };
	atomic { running -> store_word(f, MARK, mark); store_word(f, PAR, from) };
	atomic {
		running ->
		g_published = g_published | (1 << filling);
		index[f] = index[f] + 1;
		HOLDS(P_view_whole, WHOLE(f));
		inner_running = true;
		filling = 0; from = 0; rel = 0; mark = 0; mono = 0; w = 0; page = 0; stops = false;
		if
		:: left > 0 -> goto end_again
		:: else
		fi
	}
}
#endif

/* The data pages' writers: their indices move. */
proctype Publisher()
{
	byte left = MOVES;
	do
	:: atomic { left > 0 -> left--; data_index[host] = 1 - data_index[host] }
	:: break
	od
}

short g_last = -100;                /* MONOTONIC of the reading before */

proctype Guest()
{
	byte reads = READS, v, passes, data_passes, n, first_v, first_parent, g_counters;
	short c, w[5], line, answer;
	byte mark, captured_at;
	byte parent, grand;             /* numbers that the ancestors' files must have */
	bool is_now, slow, before, read_counter, same_data, same_view, same_parents, refused;

reading:
	atomic {
		RUNS ->
		if
		:: reads == 0 -> goto done
		:: else -> reads--
		fi;
		passes = 0; slow = false;
		if
		:: CAPTURES -> is_now = false
		:: ASKS_NOW -> is_now = true; goto begin
		fi
	};
	/* [5.4 marker]: clockpage_view_marker, then the counter */
	CAPTURE_EARLY
	atomic { RUNS -> captured_at = index[OWN] };
	atomic { RUNS -> mark = CONTENT(word[AT(OWN, captured_at, MARK)]) };
	atomic {
		RUNS ->
		if
		:: index[OWN] != captured_at -> goto reading
		:: else
		fi
	};
	atomic { RUNS -> CAPTURE };

begin:
	/* By what was remembered: of the first slots, whole. */
	atomic {
		RUNS ->
		first_v = index[OWN];
#if NEST > 0
		first_parent = index[PARENT(OWN)];
#endif
		v = REMEMBERED_NUMBER;
		w[REL] = WORD(2, NEST); w[MONO] = WORD(10 + NEST, NEST); w[PAGE] = WORD(0, NEST); w[MARK] = WORD(1, NEST);
		w[PAR] = WORD((NEST > 0 -> FIRST(NEST == 1 -> 0 : NEST) : 0), NEST);
		parent = CONTENT(w[PAR]);
		grand = FIRST(0);
		if
		:: !is_now && mark != CONTENT(w[MARK]) && MARK_MATTERS -> goto slow_way
		:: else -> goto data
		fi
	};

slow_way:
	atomic {
		RUNS ->
		slow = true;
		if
		:: GIVES_UP -> REACHED(V_view_busy, true); goto reading_done
		:: else
		fi;
		passes++;
		HOLDS(P_view_bounded, passes <= PASSES);
		WAIT_FOR_WRITER;
		w[REL] = 0; w[MONO] = 0; w[PAGE] = 0; w[MARK] = 0; w[PAR] = 0; line = 0; parent = 0; grand = 0; n = 0; data_passes = 0;
		before = false; read_counter = false; same_data = false; same_view = false; same_parents = false;
		if
		:: is_now && !KEEPS_COUNTER -> c = 0; g_counters = 0
		:: else
		fi;
		/* [5.4 step 1], [P1 view reader] */
		v = index[OWN]
	};
	atomic { RUNS -> EARLY_RECHECK; w[REL] = word[AT(OWN, v, REL)] };
	atomic { RUNS -> w[MONO] = word[AT(OWN, v, MONO)]; w[PAGE] = word[AT(OWN, v, PAGE)] };
	atomic { RUNS -> w[MARK] = word[AT(OWN, v, MARK)]; w[PAR] = word[AT(OWN, v, PAR)]; parent = CONTENT(w[PAR]) };
#if NEST > 1
	/* [5.4.1 ancestors] */
	atomic { RUNS -> grand = CONTENT(word[AT(PARENT(OWN), parent, PAR)]) };
#endif
	/* E_VIEW and E_DISRUPTED of a captured value: after the re-check */
	atomic {
		RUNS ->
		refused = CONTENT(w[REL]) == WITHDRAWN || (!is_now && mark != CONTENT(w[MARK]) && MARK_MATTERS);
		if
		:: refused ->
			if
			:: index[OWN] == v ->
				REACHED(V_withdrawn, CONTENT(w[REL]) == WITHDRAWN);
				REACHED(V_disrupted, CONTENT(w[REL]) != WITHDRAWN);
				goto reading_done
			:: else -> goto slow_way
			fi
		:: else
		fi
	};

data:
	/* [5.4 step 2] */
	atomic {
		RUNS ->
		data_passes = 1; read_counter = !is_now || KEEPS_COUNTER; before = false;
		n = 2 * host + data_index[host];
		if
		:: read_counter -> goto loads
		:: !read_counter -> goto counter
		:: !read_counter -> before = true; stopped = false; goto loads
		fi
	};
counter:
	/* [5.4 step 3] */
	atomic {
		RUNS ->
		if
		:: before && stopped && STOPPED_LOADS_AGAIN ->
			REACHED(V_again, true);
			before = false /* stopped in between: the loads are done once more */
		:: else
		fi;
		stopped = false;
		time_passes();
		c = COUNTER;
		g_counters = RELATION(host, relation, own_relation);
		read_counter = true;
		if
		:: before -> goto judge
		:: else
		fi
	};
loads:
	/* [5.4 step 4] */
	atomic { RUNS -> line = LINE(host) };
	atomic {
		RUNS ->
		same_data = (n == 2 * host + data_index[host]);
		if
		:: !same_data && read_counter && slow && data_passes < PASSES ->
			data_passes++;
			n = 2 * host + data_index[host];
			goto loads
		:: else
		fi;
		HOLDS(P_view_bounded, data_passes <= PASSES)
	};
#if NEST > 0
	/* [5.4.1 ancestors]: after the counter */
	atomic { RUNS -> PARENTS_CHECK };
#if NEST > 1
	atomic { RUNS -> GRANDPARENTS_CHECK };
#endif
#else
	same_parents = true;
#endif
	/* [5.4 step 6], [P2 view reader] */
	atomic {
		RUNS ->
		RECHECK;
		if
		:: before -> goto counter
		:: else
		fi
	};
judge:
	atomic {
		if
		:: !same_view -> REACHED(V_view_retry, true);
			REACHED(V_view_torn, FILLING(w[REL]) != FILLING(w[MARK]));
			REMEMBERS
			goto slow_way
		:: else
		fi;
		if
		:: !same_data && !slow -> goto slow_way
		:: !same_data && slow && before -> goto slow_way
		:: !same_data && slow && !before -> REACHED(V_data_busy, true); goto reading_done
		:: else
		fi;
		if
		:: !same_parents -> REACHED(V_parent_gone, true); goto reading_done /* E_DISRUPTED */
		:: else
		fi;
		answer = c - CONTENT(w[REL]) + line + CONTENT(w[MONO]);
		HOLDS(P_view_one, g_published & (1 << FILLING(w[REL])));
		HOLDS(P_view_one, FILLING(w[MONO]) == FILLING(w[REL]) && FILLING(w[PAGE]) == FILLING(w[REL]) && FILLING(w[MARK]) == FILLING(w[REL])
		                  && FILLING(w[PAR]) == FILLING(w[REL]));
		HOLDS(P_view_one, line == LINE((g_relation[FILLING(w[REL])] >> 4) & 1));
		HOLDS(P_view_counter, !is_now || g_counters == g_relation[FILLING(w[REL])]);
		HOLDS(P_view_captured, is_now || g_counters == g_relation[FILLING(w[REL])]);
		HOLDS(P_view_next, v >= first_v);
		HOLDS(P_view_parent, NEST == 0 || CONTENT(w[PAR]) >= first_parent);
		HOLDS(P_view_monotonic, !is_now || answer >= g_last);
		REACHED(V_fast, !slow);
		REACHED(V_slow, slow);
		REACHED(V_captured, !is_now && captured_at != v);
		REACHED(V_moved, (g_counters >> 4) & 1);
		REACHED(V_ahead, before && index[OWN] != v);
		REACHED(V_recomposed, NEST > 0 && ((g_counters >> 4) & 1));
		if
		:: is_now -> g_last = answer
		:: else
		fi
	};
reading_done:
	atomic {
		v = 0; passes = 0; data_passes = 0; n = 0; first_v = 0; first_parent = 0; g_counters = 0; c = 0; line = 0; answer = 0;
		w[REL] = 0; w[MONO] = 0; w[PAGE] = 0; w[MARK] = 0; w[PAR] = 0; mark = 0; captured_at = 0; parent = 0; grand = 0;
		is_now = false; slow = false; before = false; read_counter = false; same_data = false; same_view = false; same_parents = false;
		refused = false;
		goto reading
	};
done:
	skip
}

init {
	byte f;
	atomic {
		index[0] = FIRST(0);
		word[AT(0, index[0], REL)] = WORD(2, 0); word[AT(0, index[0], MONO)] = WORD(10, 0); word[AT(0, index[0], MARK)] = WORD(1, 0);
		g_relation[0] = RELATION(0, 2, 0);
		g_published = 1;
		g_fillings = 1;
		f = 2;
		do
		:: f < FILES -> /* composed: filling f - 1 */
			index[f] = FIRST(f);
			word[AT(f, index[f], REL)] = WORD(2, f - 1); word[AT(f, index[f], MONO)] = WORD(10 + f - 1, f - 1);
			word[AT(f, index[f], PAGE)] = WORD(0, f - 1); word[AT(f, index[f], MARK)] = WORD(1, f - 1);
			word[AT(f, index[f], PAR)] = WORD(index[(f == 2 -> 0 : f - 1)], f - 1);
			g_relation[f - 1] = RELATION(0, 2, 0);
			g_published = g_published | (1 << (f - 1));
			g_fillings++;
			f++
		:: else -> break
		od;
		f = 0;
		run Writer();
		run Publisher();
#if NEST > 0
		run Composer(2);
#endif
#if NEST > 1
		run Composer(3);
#endif
		run Guest()
	}
}
