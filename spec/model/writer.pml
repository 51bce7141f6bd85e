/* SPDX-License-Identifier: MIT */
/* The writer: clockpage.md 5.1. Included by lease.pml. */

#define NEWEST(p) SLOT(p, n[p])
#define NEXT(p) SLOT(p, n[p] + 1)
#define NEWEST_END(p) lease_end[NEWEST(p)]

/* Before any step. */
#define MAY_DIE :: atomic { deaths < DEATHS -> goto died }

#define DUE (first[NEWEST(0)] > NEWEST_END(0) - LEAD -> first[NEWEST(0)] : NEWEST_END(0) - LEAD)

/* So late that a reader may have missed it whose re-check ran ahead. */
#define IS_LATE (now + AHEAD >= NEWEST_END(p))

#ifdef ANY_ORDER
#define STORED(words) true
#else
#define STORED(words) ((left & (words)) == 0)
#endif

#define FOR_ALL_PAGES p = 0; do :: p < PAGES ->
#define END_FOR p++ :: else -> p = 0; break od

proctype Writer(bool adopts)
{
	byte n[PAGES];          /* the newest segments, as this writer knows them */
	byte p, end;
	byte left;              /* words of slot n + 1 still to be stored, one bit each */
	bool bridge, must_bridge;
	bool finishing;         /* a dead writer's publication */
	/* for the properties only */
	byte checked;           /* counter at the last look before a steering store */
	byte uncounted;         /* pages whose newest segment is published and not yet counted, one bit each */
	bool late;              /* a steering store among them was late */
	bool adopters_own;      /* the next publication is a restarted writer's first own */

start:
	atomic { FOR_ALL_PAGES n[p] = index[p]; END_FOR };
	if
	:: TRUSTS_SLOT -> goto publish
	:: else
	fi;

#if PAGES > 1
	/* [5.1.6 finish]: finish_dead_writers_publication */
	if
	:: atomic {
		adopts && n[1] + 1 == n[0] && FINISHES ->
		assert(number[NEXT(1)] == n[0] && first[NEXT(1)] == NEWEST_END(1)); /* next_is_complete */
		p = 1;
		finishing = true;
		bridge = IS_BRIDGE(line[NEXT(1)]);
		goto publish }
	:: else
	fi;
finished:
#endif
	/* [5.1.6 bridge first] */
	atomic { must_bridge = adopts && ADOPTER_BRIDGES; adopters_own = adopts };

again:
#if PAGES > 1
	HOLDS(P_pages, n[0] == n[1] && g_first[NEWEST(0)] == g_first[NEWEST(1)] && g_end[NEWEST(0)] == g_end[NEWEST(1)]
	               && g_line[NEWEST(0)] == g_line[NEWEST(1)]);
#endif
end_wait:
	/* [5.1.1]: publisher.cpp, advance */
	if
	:: atomic { DUE <= LAST -> now = (now > DUE -> now : DUE); time_passes() }
	MAY_DIE
	fi;

	/* [5.1.4 second writer]: is_ours */
	do
	:: atomic { p < PAGES && index[p] == n[p] -> p++ }
	:: atomic { p < PAGES && index[p] != n[p] -> goto stop }
	:: atomic { p == PAGES -> p = 0; break }
	MAY_DIE
	od;

	/* [5.1.3]: steer, if there is time */
	if
	:: must_bridge -> goto new_lease
	:: atomic {
		!must_bridge ->
		time_passes();
		if
		:: IN_TIME -> bridge = false; end = NEWEST_END(0) + LONGEST; left = 15
		:: else -> goto new_lease
		fi }
	MAY_DIE
	fi;
	goto fill;

new_lease:
	/* [5.1.3 bridge]: fill_bridge */
	if
	:: atomic {
		true ->
		time_passes();
		bridge = true;
		end = (now > NEWEST_END(0) -> now : NEWEST_END(0)) + BRIDGE_LENGTH;
		left = 15 }
	MAY_DIE
	fi;

fill:
	/* [5.1.4 fill], [P2 writer]: page_writer.cpp, fill_next. The stores are after that of the index before. */
	do
	:: atomic { left & 1 -> number[NEXT(p)] = n[p] + 1; left = left - 1 }
	:: atomic { (left & 2) && STORED(1) -> first[NEXT(p)] = NEXT_START(p); left = left - 2 }
	:: atomic { (left & 4) && STORED(3) -> lease_end[NEXT(p)] = end; left = left - 4 }
	:: atomic {
		(left & 8) && STORED(7) ->
		line[NEXT(p)] = LINE(VALUE(line[NEWEST(p)], first[NEWEST(p)], NEWEST_END(p)),
			(KEEPS_LINE -> SLOPE(line[NEWEST(p)]) : 3 - SLOPE(line[NEWEST(p)])), bridge);
		left = left - 8 }
	EARLY_INDEX_STORE
	:: atomic { left == 0 && p + 1 < PAGES -> p++; left = 15 }
	:: atomic { left == 0 && p + 1 == PAGES -> p = 0; break }
	MAY_DIE
	od;

	/* [5.1.4 check]: in_time, once more */
	if
	:: bridge
	:: atomic {
		!bridge ->
		time_passes();
		if
		:: IN_TIME -> checked = now
		:: else -> goto new_lease
		fi }
	MAY_DIE
	fi;

publish:
	EARLY_FILL
	/* [5.1.5 publish], [P1 writer]: publish_all. The store is after those of the slots. */
	if
	:: atomic {
		INDEX_IS_OURS ->
		time_passes();
		late = late || (!bridge && IS_LATE);
		HOLDS(P_margin, bridge || finishing || !IS_LATE || now - checked > MARGIN - AHEAD);
		HOLDS(P_function, number[NEXT(p)] == n[p] + 1);
		HOLDS(P_function, first[NEXT(p)] == g_end[NEWEST(p)]);
		HOLDS(P_function, lease_end[NEXT(p)] > first[NEXT(p)]);
		HOLDS(P_function, BASE(line[NEXT(p)]) == VALUE(g_line[NEWEST(p)], g_first[NEWEST(p)], g_end[NEWEST(p)]));
		HOLDS(P_dead_shows, lease_end[NEXT(p)] <= now + PERIOD + 2 * LEAD);
#ifdef V
		g_late[NEXT(p)] = !bridge && now >= NEWEST_END(p);
		REACHED(V_late, g_late[NEXT(p)]);
		REACHED(V_wrap, n[p] + 1 >= FIRST + RING - 1);
		REACHED(V_partial_finished, finishing && !bridge);
#endif
		n[p] = n[p] + 1;
		publish_ghost(p, n[p]);
		index[p] = n[p];
		uncounted = uncounted | (1 << p);
		p++;
		if
		:: p < PAGES -> goto publish
		:: else -> p = 0
		fi }
	:: atomic { !INDEX_IS_OURS -> goto stop }
	MAY_DIE
	fi;

	/* [5.1.5 count]: account, count_if_late */
	if
	:: atomic {
		true ->
		time_passes();
		if
		:: !bridge && (finishing -> FINISHED_IS_LATE : COUNTS_AS_LATE(first[NEWEST(0)])) ->
			FOR_ALL_PAGES
				if
				:: uncounted & (1 << p) -> excuse(p, n[p])
				:: else
				fi;
			END_FOR
		:: else
		fi;
		settle(adopters_own && !finishing);
		REACHED(V_bridge, bridge && !adopters_own);
		REACHED(V_adoption, adopters_own && !finishing);
		uncounted = 0; late = false; checked = 0; end = 0; bridge = false;
#if PAGES > 1
		if
		:: finishing -> finishing = false; goto finished
		:: else
		fi;
#endif
		must_bridge = false; adopters_own = false;
		goto again }
	MAY_DIE
	fi;

died:
	atomic {
		deaths++;
		REACHED(V_mid_fill, left != 0 && left != 15);
		REACHED(V_killed_uncounted, late);
		REACHED(V_two_deaths, deaths == 2);
		REACHED(V_finisher_dies, finishing && uncounted != 0 && !bridge);
		FOR_ALL_PAGES
			if
			:: late && (uncounted & (1 << p)) -> excuse(p, n[p])
			:: else
			fi;
		END_FOR;
		settle(false);
		/* Nothing is left of it but the pages. */
		FOR_ALL_PAGES n[p] = 0; END_FOR;
		end = 0; left = 0; bridge = false; must_bridge = false; finishing = false;
		checked = 0; uncounted = 0; late = false; adopters_own = false;
		adopts = true;
		if
		:: goto start
		:: goto stop /* nobody restarts it */
		fi
	};

stop:
	skip
}
