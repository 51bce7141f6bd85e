/* SPDX-License-Identifier: MIT */
/* The ways in which view.pml can be broken: as mutants.pml. */

/* ---- the host's writer's, and a composer's */

/* The index names the slot before it is filled. */
#ifdef BAD_VIEW_INDEX_BEFORE_FILL
#define EARLY_INDEX(f) index[f] = index[f] + 1
#define TO_FILL(f) (f == host -> index[f] : index[f] + 1)
/* It writes into the slot that is being read, under the number that it has. */
#elif defined(BAD_VIEW_IN_PLACE)
#define EARLY_INDEX(f) skip
#define TO_FILL(f) (f == host -> index[f] : index[f] + 1)
#else
#define EARLY_INDEX(f) skip
#define TO_FILL(f) (index[f] + 1)
#endif

/* P2 writer: a word of the slot after the next, which has the place of this one, is seen before the index moves. */
#ifdef BAD_VIEW_NO_P2_WRITER
#define EARLY_FILL(f) word[AT(f, index[f] + RING, MONO)] = WORD(0, 31);
#else
#define EARLY_FILL(f)
#endif

/* A successor takes what is in the next slot for complete. */
#ifdef BAD_VIEW_SUCCESSOR_TRUSTS
#define SUCCESSOR_TRUSTS (FILLING(word[AT(host, index[host] + 1, REL)]) + 1 == g_fillings)
#else
#define SUCCESSOR_TRUSTS false
#endif

/* The relation changes while virtual CPUs run. */
#ifdef BAD_VIEW_GUEST_RUNS
#define STOP_GUEST skip
#else
#define STOP_GUEST running = false
#endif

/* The marker stays. */
#ifdef BAD_VIEW_MARK_STAYS
#define NEXT_MARK mark
#else
#define NEXT_MARK (mark + 1)
#endif

/* At another host MONOTONIC's offset is the one it was. */
#ifdef BAD_VIEW_OFFSET_NOT_CARRIED_ON
#define CARRIED_ON 0
#else
#define CARRIED_ON HOSTS_DIFFERENCE
#endif

/* The new file at another host begins at the number of the old one. */
#ifdef BAD_VIEW_NUMBER_REUSED
#define NEW_FILES_NUMBER FIRST(0)
#else
#define NEW_FILES_NUMBER FIRST(1)
#endif

/* A composer does not look again whether the parent's slot is still the newest; or names the number that it finds afterwards. */
#ifdef BAD_VIEW_COMPOSED_TORN
#define COMPOSER_RECHECKS false
#else
#define COMPOSER_RECHECKS true
#endif
#define PARENTS_NUMBER_EARLY index[PARENT(f)]
#ifdef BAD_VIEW_COMPOSED_TORN
#define PARENTS_NUMBER_LATE index[PARENT(f)]
#else
#define PARENTS_NUMBER_LATE from
#endif

/* A composed view's marker changes only where its own numbers do, not where the parent's does. */
#ifdef BAD_VIEW_CHILD_KEEPS_MARK
#define CHILDS_MARK (rel == SAYS(f, REL) -> SAYS(f, MARK) : SAYS(f, MARK) + 1)
#else
#define CHILDS_MARK (mark + (f == OWN -> 8 * own_relation : 0))
#endif

/* ---- the reader's */

/* P2 reader: the re-check is done before the slot's words are loaded; before the counter is read, in the order of the program; not at all. */
#if defined(BAD_VIEW_NO_P2_READER)
#define EARLY_RECHECK same_view = true
#define RECHECK same_view = same_view && (slow || index[OWN] == v)
#elif defined(BAD_VIEW_NO_RECHECK)
#define EARLY_RECHECK skip
#define RECHECK same_view = true
#else
#define EARLY_RECHECK skip
#define RECHECK same_view = (index[OWN] == v)
#endif
#ifdef BAD_VIEW_RECHECK_BEFORE_COUNTER
#define STOPPED_LOADS_AGAIN false
#else
#define STOPPED_LOADS_AGAIN true
#endif

/* What was remembered is used on after it was found to be no more. */
#ifdef BAD_VIEW_REMEMBERS
#define REMEMBERED_NUMBER (reads == READS - 1 -> FIRST(OWN) : index[OWN])
#else
#define REMEMBERED_NUMBER FIRST(NEST == 0 -> 0 : 1 + NEST)
#endif
#define REMEMBERS

/* "Now" keeps its counter value for the next view. */
#ifdef BAD_VIEW_KEEPS_COUNTER
#define KEEPS_COUNTER (slow && g_counters != 0)
#else
#define KEEPS_COUNTER false
#endif

/* A captured value under any marker; a marker that is asked for after the counter. */
#ifdef BAD_VIEW_ANY_MARK
#define MARK_MATTERS false
#else
#define MARK_MATTERS true
#endif
#define CAPTURE_NOW time_passes(); c = COUNTER; g_counters = RELATION(host, relation, own_relation)
#ifdef BAD_VIEW_MARK_AFTER_CAPTURE
#define CAPTURE_EARLY atomic { RUNS -> CAPTURE_NOW };
#define CAPTURE skip
#else
#define CAPTURE_EARLY
#define CAPTURE CAPTURE_NOW
#endif

/* The parent is not looked at; or before the counter is read, in the order of the program. */
#if defined(BAD_VIEW_PARENT_UNCHECKED)
#define PARENTS_CHECK same_parents = true
#elif defined(BAD_VIEW_PARENT_BEFORE_COUNTER)
#define PARENTS_CHECK same_parents = (before || !is_now -> index[PARENT(OWN)] == parent : true)
#else
#define PARENTS_CHECK same_parents = (index[PARENT(OWN)] == parent)
#endif

/* Nor is the parent's parent. */
#ifdef BAD_VIEW_GRANDPARENT_UNCHECKED
#define GRANDPARENTS_CHECK skip
#else
#define GRANDPARENTS_CHECK same_parents = same_parents && index[host] == grand
#endif

#ifdef BAD_VIEW_RETRY_FOREVER
#define GIVES_UP false
#else
#define GIVES_UP (passes == PASSES)
#endif

/* It waits while a slot is being filled. */
#ifdef BAD_VIEW_READER_WAITS
#define WAIT_FOR_WRITER (FILLING(word[AT(OWN, index[OWN] + 1, REL)]) == FILLING(word[AT(OWN, index[OWN] + 1, PAR)]))
#else
#define WAIT_FOR_WRITER skip
#endif

/* ---- what a search is about */
#ifdef ONLY_NOW
#define CAPTURES false
#else
#define CAPTURES true
#endif
#ifdef ONLY_CAPTURED
#define ASKS_NOW false
#else
#define ASKS_NOW true
#endif
