/* The semaphore: shmsync/semaphore.go. */

/* The state: Semaphore.State of spec/layout.json, with narrower fields. */
#define PERMITS(s)   ((s) & 3)
#define WAITERS      4
#define CHANGE(s)    (((s) >> 3) & 3)
#define SEQUENCE(s)  (((s) >> 5) & 255)
#define MEMBER(s)    ((s) >> 13)
/* semState.after */
#define AFTER(s, permits, change, member, sequence) \
	((permits) | ((s) & WAITERS) | ((change) << 3) | ((sequence) << 5) | ((member) << 13))
#define MAXPERMITS   3
/* The kernel compares the low half, with the last 9 of 32 bits of the sequence: here
 * with all, as if 512 changes never came between a load and a sleep. */
#ifndef LOWBITS
#define LOWBITS 8
#endif
#define LOW(s)       ((s) & ((32 << LOWBITS) - 1))

#ifndef TOTAL
#define TOTAL   1      /* how many permits there are at first */
#endif
#define INITIAL TOTAL

#define HEAR suspicious = has(unheard, t); drop(unheard, t)

#define NONE     0
#define ACQUIRED 1
#define RELEASED 2
#define RETURNED 3

#include "machine.pml"

#ifndef ROUNDS
#define ROUNDS 1
#endif
/* The first POSTERS goroutines Post once, so that there is one for each of the
 * WAITS next, which Wait; all others Acquire and Release. */
#ifndef POSTERS
#define POSTERS 0
#endif
#ifndef WAITS
#define WAITS 0
#endif
#define POSTED(t) ((t) == 0 && WAITS > POSTERS -> WAITS - POSTERS + 1 : 1)
#define ROLE_POST(t) ((t) < POSTERS)
#define ROLE_WAIT(t) ((t) >= POSTERS && (t) < POSTERS + WAITS)

/* The cells: Semaphore.Cells. */
#define HELD(c)      ((c) & 3)
#define CELLGEN(c)   (((c) >> 2) & 3)
#define ENTERED(c)   ((c) >> 4)
#define CELL(held, generation, sequence) ((held) | ((generation) << 2) | ((sequence) << 4))
#ifndef HELDMAX
#define HELDMAX      3
#endif
#ifdef WRAPPED
/* The cells were last changed as many changes ago as there are sequences. */
short cells[PROCS] = CELL(0, 1, 1);
#else
short cells[PROCS];
#endif

#ifndef QUICK_IN_SPITE
#define QUICKWAITERS(s) ((s) & WAITERS)
#else
#define QUICKWAITERS(s) 0
#endif

/* The generation of a process, which is never 0, and of who has a cell: 0 if nobody
 * has had it. Semaphore.holding: who is of an earlier one is gone. */
#define GENERATION(p)   (has(generation, p) + 1)
#define MYGENERATION    GENERATION(me)
#ifndef EARLIER_LIVE
#define EARLIER_DEAD(p, c) 1
#else
#define EARLIER_DEAD(p, c) (CELLGEN(c) == GENERATION(p))
#endif
#define DEAD(p, c)      (HELD(c) > 0 && EARLIER_DEAD(p, c) && (suspicious || MARKED(p, CELLGEN(c) - 1)) && REALLY(p, c))
#ifndef RETURN_MARKED
#define REALLY(p, c)    GONE(p, CELLGEN(c) - 1)
#else
#define REALLY(p, c)    1
#endif
/* cell.heldAfter */
#define HELD_AFTER(c, change) ((change) == ACQUIRED -> HELD(c) + 1 : ((change) == RELEASED -> HELD(c) - 1 : 0))

/* What is true, whatever the words say. */
byte had[PROCS];      /* permits of who is the member, or was and has not got them returned */
byte whose[PROCS];    /* in which generation */
byte supply = TOTAL;  /* permits that there are: free or held */

inline buried(p) {
	if
	:: had[p] > 0 -> heldBy()
	:: else
	fi
}

/* What a member holds by its cell and the change that may not be entered yet. */
#define BYCELL(p) ((CHANGE(state) != NONE && MEMBER(state) == (p) && ENTERED(cells[p]) != SEQUENCE(state)) \
	-> HELD_AFTER(cells[p], CHANGE(state)) : HELD(cells[p]))

/* Permits are conserved, and the cells know who has them. */
inline check() {
	assert(had[0] == BYCELL(0));
#if PROCS > 1
	assert(had[1] == BYCELL(1));
#endif
#if PROCS > 2
	assert(had[2] == BYCELL(2));
#endif
#if PROCS == 1
	assert(PERMITS(state) + had[0] == supply)
#endif
#if PROCS == 2
	assert(PERMITS(state) + had[0] + had[1] == supply)
#endif
#if PROCS == 3
	assert(PERMITS(state) + had[0] + had[1] + had[2] == supply)
#endif
#if PROCS > 3
#error at most three processes
#endif
}

/* Part of a step that changes the state: what becomes of the permits. */
#define OWES owes = owes | ((state & WAITERS) -> 1 << t : 0)
inline acquired() {
	assert(had[me] == 0 || whose[me] == MYGENERATION);
	had[me]++;
	whose[me] = MYGENERATION;
	drop(owes, t);
	check()
}
inline released() {
	assert(had[me] > 0 && whose[me] == MYGENERATION);
	had[me]--;
	OWES;
	check()
}
inline posted(n) { supply = supply + n; OWES; check() }
inline taken() { supply--; drop(owes, t); check() }
inline returned(p, n) {
	assert(had[p] == n && (has(stopped, p) || whose[p] != GENERATION(p)));
	had[p] = 0;
	OWES;
	check()
}

/* The sequence of the state that follows now by a change that is about cell c. */
#ifndef NO_SKIP
#define NEXT(c) ((SEQUENCE(now) + (ENTERED(c) == ((SEQUENCE(now) + 1) & 255) -> 2 : 1)) & 255)
#else
#define NEXT(c) ((SEQUENCE(now) + 1) & 255)
#endif
#define AFTER_NOW(permits, change, p, c) AFTER(now, permits, change, p, NEXT(c))
/* Cell c after the change of now. */
#define CELL_AFTER(c) CELL(HELD_AFTER(c, CHANGE(now)), CELLGEN(c), SEQUENCE(now))

/* What a goroutine does at a time. */
#define ACQUIRE 0
#define RELEASE 1
#define POST    2
#define WAIT    3
#define WANTED    (round != ROUNDS)
#define TAKES     (op == ACQUIRE || op == WAIT)

/* held is not out of its bounds, so that look does not return ErrCorrupt. */
#define NOT_CORRUPT assert(HELD_AFTER(c, CHANGE(now)) >= 0 && HELD_AFTER(c, CHANGE(now)) <= HELDMAX)

#define MINE      (op == RELEASE || (op == ACQUIRE && PERMITS(now) > 0))
#ifndef CLEAR_AND_WAKE_ONE
#define KEPT
#else
#define KEPT      & ~WAITERS
#endif

/* Semaphore.wake: now := s.state.Load(), which may be later than what swap stored;
 * and if nobody is found asleep, nobody waits, unless there are no permits. */
#define WAKE_FOR(done, nobody) \
	if \
	:: d_step { (state & WAITERS) == 0 -> n = 0; drop(owes, t) }; \
		goto done \
	:: d_step { (state & WAITERS) != 0 -> now = state } \
	fi; \
	if \
	:: atomic { asleep != 0 -> \
		do \
		:: n > 0 && has(asleep, 0) -> WAKED(0); n-- \
		:: n > 0 && has(asleep, 1) -> WAKED(1); n-- \
		:: n > 0 && has(asleep, 2) -> WAKED(2); n-- \
		:: n > 0 && has(asleep, 3) -> WAKED(3); n-- \
		:: n == 0 || asleep == 0 -> n = 0; drop(owes, t); break \
		od }; \
		goto done \
	:: d_step { asleep == 0 && FREE(now) -> n = 0; drop(owes, t) }; \
		goto nobody \
	:: d_step { asleep == 0 && !FREE(now) -> n = 0; drop(owes, t) }; \
		goto done \
	fi
#ifndef WAKE_CLEARS_ALWAYS
#define FREE(now) (PERMITS(now) > 0)
#else
#define FREE(now) 1
#endif
#define CLEAR_WAITERS \
	if \
	:: d_step { state == now -> state = now & ~WAITERS } \
	:: state != now \
	fi

/* What giveBackAll and await find in the cells: the first of those who are gone. */
inline find() {
	i = 0;
	do
	:: i < PROCS && !DEAD(i, cells[i]) -> i++
	:: else -> break
	od
}

/* await, and Watch. Whoever is of an earlier generation is gone, and Watch rings the
 * bell at once. What it does to its own process's sleepers is one step here. */
#ifndef SLEEPS_ON_EARLIER
#define EARLIER unheard = unheard | (OF(me) & ~over); ending = ending | (OF(me) & seated)
#else
#define EARLIER skip
#endif
inline watchAll() {
	i = 0;
	do
	:: i == PROCS -> break
	:: i < PROCS && HELD(cells[i]) > 0 && CELLGEN(cells[i]) != GENERATION(i) -> EARLIER; i++
	:: i < PROCS && HELD(cells[i]) > 0 && CELLGEN(cells[i]) == GENERATION(i) && i != me ->
		WATCH(me, i, CELLGEN(cells[i]) - 1) = WATCH(me, i, CELLGEN(cells[i]) - 1) | WATCHED; i++
	:: else -> i++
	od;
	i = 0
}

inline clear() {
	now = 0; c = 0; n = 0; i = 0; suspicious = 0; drop(owes, t)
}

proctype user(byte t) {
	byte round;
	byte op;
	short now;         /* the state that was loaded last, or stored by swap */
	short c;           /* the cell that was loaded last */
	byte i;            /* whose permits giveBack frees */
	byte n;            /* how many permits become free */
	bit suspicious;    /* somebody is gone */
alive:
	{
		do
		:: d_step {
			!WANTED ->
			round = 0; put(over, t); drop(unheard, t); drop(cancelled, t) };
			break
		:: d_step { WANTED && ROLE_POST(t) -> op = POST; round = ROUNDS - 1; n = POSTED(t) };
			goto simply
		:: d_step { WANTED && ROLE_WAIT(t) -> op = WAIT; round = ROUNDS - 1 };
			goto simply
		:: d_step { WANTED && !ROLE_POST(t) && !ROLE_WAIT(t) -> op = ACQUIRE };

quickly:	/* Semaphore.quickly, where it does it; otherwise the slow way is gone. */
			if
			:: QUICKWAITERS(state) || (CHANGE(state) != NONE && MEMBER(state) != me) -> goto slow
			:: d_step { !QUICKWAITERS(state) && (CHANGE(state) == NONE || MEMBER(state) == me) -> now = state }
			fi;
			if
			:: CELLGEN(cells[me]) != MYGENERATION -> goto slow
			:: d_step { CELLGEN(cells[me]) == MYGENERATION && (CHANGE(now) == NONE || ENTERED(cells[me]) == SEQUENCE(now)) -> c = cells[me] }
			:: d_step { CELLGEN(cells[me]) == MYGENERATION && CHANGE(now) != NONE && ENTERED(cells[me]) != SEQUENCE(now) -> c = cells[me] };
				if
				:: state == now
				:: state != now -> goto slow
				fi;
				if
				:: d_step { cells[me] == c -> c = CELL_AFTER(c); cells[me] = c; check() }
				:: cells[me] != c -> goto slow
				fi
			fi;
			if
			:: d_step { op == ACQUIRE && PERMITS(now) > 0 && HELD(c) < HELDMAX && state == now ->
				state = AFTER_NOW(PERMITS(now) - 1, ACQUIRED, me, c); acquired() };
				goto done
			:: d_step { op == RELEASE && PERMITS(now) < MAXPERMITS && HELD(c) > 0 && state == now ->
				state = AFTER_NOW(PERMITS(now) + 1, RELEASED, me, c); released() };
				goto done
			:: (op == ACQUIRE && (PERMITS(now) == 0 || HELD(c) == HELDMAX)) ||
			   (op == RELEASE && (PERMITS(now) == MAXPERMITS || HELD(c) == 0)) || state != now ->
				goto slow
			fi;

simply:		/* Semaphore.simply, of Post and Wait. */
			if
			:: (state & WAITERS) != 0 || CHANGE(state) != NONE || (op == WAIT && PERMITS(state) == 0)
			:: d_step { (state & WAITERS) == 0 && CHANGE(state) == NONE && (op == POST || PERMITS(state) > 0) -> now = state };
				if
				:: d_step { state == now && op == POST -> state = AFTER_NOW(PERMITS(now) + n, NONE, 0, 0); posted(n) };
					goto done
				:: d_step { state == now && op == WAIT -> state = AFTER_NOW(PERMITS(now) - 1, NONE, 0, 0); taken() };
					goto done
				:: state != now
				fi
			fi;

slow:		/* Semaphore.take, Release, Post. In take: rung := deaths.Rung() */
			if
			:: d_step { true -> drop(unheard, t); suspicious = 0; c = 0; now = 0 }
			fi;

again:		/* Semaphore.look: now := s.state.Load() */
#ifdef NOT_ENTERED
			if
			:: d_step { true -> now = state }
			fi;
#else
			if
			:: d_step { CHANGE(state) == NONE -> now = state }
			:: d_step { CHANGE(state) != NONE -> now = state };
				/* w := s.cell(now.member()); c := w.Load() */
				if
				:: ENTERED(cells[MEMBER(now)]) == SEQUENCE(now)
				:: d_step { ENTERED(cells[MEMBER(now)]) != SEQUENCE(now) -> c = cells[MEMBER(now)] };
#ifndef NO_REREAD
					/* SYNC POINT semaphore cell */
					if
					:: d_step { state == now -> NOT_CORRUPT }
					:: d_step { state != now -> c = 0 };
						goto again
					fi;
#endif
					if
#ifdef CELL_STORED
					:: d_step { true ->
#else
					:: d_step { cells[MEMBER(now)] != c -> c = 0 }
					:: d_step { cells[MEMBER(now)] == c ->
#endif
						cells[MEMBER(now)] = CELL_AFTER(c); c = 0; check() }
					fi;
					goto again
				fi
			fi;
#endif

			/* Semaphore.mine, for tryAcquire and Release: c := s.own.Load() */
			if
			:: d_step { MINE && CELLGEN(cells[me]) != MYGENERATION && HELD(cells[me]) > 0 -> i = me; n = HELD(cells[me]) };
				goto giveBack
			:: d_step { MINE && CELLGEN(cells[me]) != MYGENERATION && HELD(cells[me]) == 0 -> c = cells[me] };
				if
				:: d_step { cells[me] == c -> cells[me] = CELL(0, MYGENERATION, ENTERED(c)); c = 0; check() }
				:: d_step { cells[me] != c -> c = 0 }
				fi;
				goto again
			:: MINE && CELLGEN(cells[me]) == MYGENERATION ->
				/* Semaphore.swap. It reads the cell a step earlier, when it is the same:
				 * a cell changes only by what the state says, and this compares it. */
				if
				:: d_step { state == now && op == ACQUIRE ->
					assert(HELD(cells[me]) < HELDMAX);
					state = AFTER_NOW(PERMITS(now) - 1, ACQUIRED, me, cells[me]); acquired() };
					goto done
				:: d_step { state == now && op == RELEASE ->
					assert(HELD(cells[me]) > 0);                       /* not ErrNotHeld */
					now = AFTER_NOW(PERMITS(now) + 1, RELEASED, me, cells[me]);
					n = 1; state = now KEPT; released() };
					goto wake
				:: state != now -> goto again
				fi
			/* tryWait */
			:: d_step { op == WAIT && PERMITS(now) > 0 && state == now -> state = AFTER_NOW(PERMITS(now) - 1, NONE, 0, 0); taken() };
				goto done
			:: op == WAIT && PERMITS(now) > 0 && state != now -> goto again
			/* Post */
			:: d_step { op == POST && state == now -> now = AFTER_NOW(PERMITS(now) + n, NONE, 0, 0); state = now; posted(n) };
				goto wake
			:: op == POST && state != now -> goto again
			/* Semaphore.giveBackAll. The cells are read in one step: as long as the state
			 * is the same, they are. It gives back what others hold too, but in vain. */
			:: d_step { TAKES && PERMITS(now) == 0 ->
				find();
				if
				:: i < PROCS -> n = HELD(cells[i])
				:: else -> i = 0
				fi }
			fi;
			if
			:: n > 0 -> goto giveBack
			/* Semaphore.await. The spin before it, if it sees a change. */
			:: d_step { n == 0 && LOW(state) != LOW(now) -> suspicious = 0 };
				goto again
			:: n == 0 && (now & WAITERS)
			/* SYNC POINT semaphore waiters */
#ifdef WAITERS_STORED
			:: d_step { n == 0 && (now & WAITERS) == 0 -> now = now | WAITERS; state = now }
#else
			:: d_step { n == 0 && (now & WAITERS) == 0 && state == now -> now = now | WAITERS; state = now }
			:: d_step { n == 0 && (now & WAITERS) == 0 && state != now -> suspicious = 0 };
				goto again
#endif
			fi;
#ifndef NO_WATCH
			if
			:: d_step { true -> watchAll() }
			fi;
#endif
			PARK(now, failed);
			goto again;

giveBack:	/* Semaphore.giveBack, of the n permits of member i; op is as it was. */
			if
			:: d_step { state == now ->
				now = AFTER_NOW(PERMITS(now) + n, RETURNED, i, cells[i]);
				state = now; returned(i, n); i = 0 };
				WAKE_FOR(again, nobodyToGive);
nobodyToGive:	CLEAR_WAITERS;
				goto again
			:: d_step { state != now -> n = 0; i = 0 };
				goto again
			fi;

wake:		/* Semaphore.wake */
			WAKE_FOR(done, nobody);
nobody:		CLEAR_WAITERS;
			goto done;

failed:		op = WAIT;             /* the context's cause: it ends here too */

done:		if
			:: d_step { op == ACQUIRE -> op = RELEASE; clear() };
				goto quickly
			:: d_step { op != ACQUIRE -> op = ACQUIRE; clear(); round++ }
			fi
		od
	} unless {
		d_step {
			has(stopped, me) ->
			round = 0; op = ACQUIRE; clear(); seen[t] = 0;
			if
			:: me == REBORN && !has(generation, me)
			:: else -> put(over, t)
			fi }
	};
	OVER_OR_REBORN
}

#include "fate.pml"

#ifdef LIVENESS
/* Everybody gets a permit or an error, and nobody sleeps for ever. */
ltl live { <> (over == ALL) }
#endif
