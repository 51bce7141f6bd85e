/* SPDX-License-Identifier: MIT */
/* The reader: clockpage.md 5.2. Included by lease.pml. */

#if READERS == 2
/* What the first reader hands to the second. */
bool a_leased;
byte a_counter;
short a_answer;
#endif

#define NONE 255 /* in `back`: no segment found */

proctype Reader(bit me)
{
	byte n, c;
	byte back;         /* the segment evaluated is n - back */
	byte passes, most;
	byte s;            /* its start, as loaded */
	short l;           /* its line, as loaded */
	bool is_now, overdue;
	bit page;
#ifdef BAD_NO_P2_READER
	byte seen;
#endif

#if READERS == 2 && !defined(INDEX_FIRST)
end_message:
	me == 0 || a_leased;
#endif
	EARLY_SLOT_LOAD
	/* [5.2.1], [P1 reader]: evaluate.h, clockpage_load_newest_. Loads of slots are after this one. */
	atomic {
#if PAGES > 1
		if
		:: page = 0
		:: page = 1
		fi;
#endif
		n = index[page];
		passes = 1;
		most = PASSES
	};
#if READERS == 2 && defined(INDEX_FIRST)
	/* Only the counter is read after the message. */
end_message:
	me == 0 || a_leased;
#endif

	/* [5.2.2] */
	if
#ifndef ONLY_CAPTURED
	:: true -> is_now = true; goto read_counter
#elif READERS == 2
	:: me == 0 -> is_now = true; goto read_counter
#endif
#ifndef ONLY_NOW
#if READERS == 2
	:: me == 1 -> c = a_counter
#else
	:: atomic {
		true ->
		do
		:: c < LAST -> c++
		:: break
		od }
#endif
#endif
	fi;
	goto first_pass;
read_counter:
	atomic {
		time_passes();
		c = now;
		READ_COUNTER_EARLY;
		do
		:: c < LAST && c < now + AHEAD -> c++ /* loads from here on run ahead of it */
		:: break
		od;
		if
		:: passes > 1 -> goto slow
		:: else
		fi
	};

first_pass:
	/* [5.2.3 first pass]: clockpage_evaluate_. n - 1, by both of its ends, then n */
	s = first[SLOT(page, n - 1)];
	atomic {
		if
		:: IN_LEASE(s, lease_end[SLOT(page, n - 1)]) -> back = 1; goto load_line
		:: else
		fi
	};
	s = first[SLOT(page, n)];
	atomic {
		if
		:: IN_LEASE(s, lease_end[SLOT(page, n)]) -> back = 0; goto load_line
		:: else -> s = 0; goto slow
		fi
	};

another:
	/* [5.2.5 passes] */
	if
	:: GIVES_UP -> REACHED(V_busy, true); goto done
	:: else
	fi;
slow:
	/* clockpage_evaluate_slowly_, clockpage_find_ */
	WAIT_FOR_WRITER
	atomic {
		passes++;
		HOLDS(P_bounded, passes <= (is_now -> 2 * PASSES - 1 : PASSES));
		back = 0; overdue = false; s = 0; FORGET_LINE;
		n = index[page]
	};
	s = first[SLOT(page, n - 1)];
	atomic {
		if
		:: IN_LEASE(s, lease_end[SLOT(page, n - 1)]) -> back = 1; goto load_line
		:: else
		fi
	};
	/* [5.2.3 newest] */
	atomic {
		s = first[SLOT(page, n)];
		if
		:: c < s -> s = 0; back = 2; goto walk
		:: else
		fi
	};
	atomic { overdue = IS_OVERDUE(lease_end[SLOT(page, n)]); goto load_line };

walk:
	/* [5.2.3 walk back]: clockpage_walk_back_ */
	atomic {
		if
		:: back > WALKS || WRONG_NUMBER -> back = NONE; goto recheck
		:: else
		fi
	};
	atomic {
		if
		:: c < first[SLOT(page, n - back)] -> back++; goto walk
		:: else
		fi
	};
	s = first[SLOT(page, n - back)];

load_line:
	/* [5.2.4] */
	EARLY_RECHECK
	atomic {
		if
		:: HAS_LINE
		:: else -> l = line[SLOT(page, n - back)]
		fi
	};

recheck:
	/* [5.2.5], [P2 reader]. The load of the index is after all loads of slots. */
	atomic {
		if
		:: INDEX_SEEN != n ->
			REACHED(V_retry, true);
			REACHED(V_torn_discarded, back <= HISTORY && l != g_line[SLOT(page, n - back)]);
			goto another
		:: else
		fi;
		if
		:: back == NONE ->
			HOLDS(P_history, c < g_first[SLOT(page, (n - HISTORY > FIRST - 1 -> n - HISTORY : FIRST - 1))]);
			REACHED(V_out_of_range, !is_now);
			if
			:: is_now && most == PASSES ->
				/* [5.2.6]: once, with PASSES - 1 passes more */
				REACHED(V_now_again, true);
				most = passes + PASSES - 1;
				back = 0;
				goto read_counter
			:: else -> goto done
			fi
		:: else
		fi;
		answer = ANSWER(l, s, c);
		HOLDS(P_bounded, back <= HISTORY);
		HOLDS(P_torn, n - back >= FIRST - 1);
		HOLDS(P_torn, s == g_first[SLOT(page, n - back)] && l == g_line[SLOT(page, n - back)]);
		REACHED(V_walk, back > 1);
		REACHED(V_recheck_ahead, is_now && c > now && !overdue);
		if
		:: overdue ->
			REACHED(V_overdue, is_now);
			/* A captured value may lie ahead: it is provisional, nothing is promised of it. */
			if
			:: is_now && me == 0 -> note_overdue()
			:: else
			fi
		:: else ->
			REACHED(V_leased, is_now);
			REACHED(V_leased_meets_late, is_now && g_late[SLOT(page, n - back)]);
#if READERS == 2
			if
			:: me == 1 ->
				HOLDS(P_agreement, c != a_counter || answer == a_answer);
				HOLDS(P_order, !is_now || (c >= a_counter && (answer >> 2) >= (a_answer >> 2)));
				REACHED(V_same_counter, c == a_counter && back > 1);
				REACHED(V_other_line, is_now && (answer & 3) != (a_answer & 3))
			:: else ->
				now = (now > c -> now : c); /* the counter read is done by now */
				a_leased = true; a_counter = c; a_answer = answer
			fi
#else
			HOLDS(P_published, c >= g_first[SLOT(page, n - back)]);
			HOLDS(P_published, c < (back <= 1 -> g_end[SLOT(page, n - back)] : g_first[SLOT(page, n - back + 1)]));
			HOLDS(P_published, answer == ANSWER(g_line[SLOT(page, n - back)], g_first[SLOT(page, n - back)], c))
#endif
		fi
	};
done:
	atomic {
		n = 0; c = 0; back = 0; passes = 0; most = 0; s = 0; l = 0; is_now = false; overdue = false; page = 0; answer = 0
	}
}
