/* The mutex: shmsync/mutex.go. */

/* The state: Mutex.State of spec/layout.json, with few owners and generations. */
#define OWNER          7     /* the process that holds it, from 1 */
#define INCONSISTENT   8
#define UNRECOVERABLE 16
#define WAITERS       32
#define GENERATION    64     /* of the owner: in the high half, on which nobody sleeps */
#define OWNERBITS     (OWNER | GENERATION)
#define LOW(s)        ((s) & ~GENERATION)
#define INITIAL        0
/* suspect = Deaths.Rung() != rung; rung = Deaths.Rung() is a step after it, at heard. */
#define HEAR           slept = 1; suspect = has(unheard, t)

#include "machine.pml"

#ifndef ROUNDS
#define ROUNDS 1
#endif

#define MINE      ((me + 1) | (has(generation, me) -> GENERATION : 0))
#define INDEX(s)  (((s) & OWNER) - 1)
#define GEN(s)    ((s) / GENERATION)
#define OWNED(s)  (((s) & OWNER) != 0)
#define DEAD      (OWNED(state) && (suspect || MARKED(INDEX(state), GEN(state))) && REALLY)
#ifndef NOT_TOLD
#define TOLD      INCONSISTENT
#else
#define TOLD      0
#endif
#ifndef TAKE_MARKED
#define REALLY    GONE(INDEX(state), GEN(state))
#else
#define REALLY    1
#endif

/* ROUNDS is how often each locks it; 0: as often as it likes. */
#define WANTED    (!ROUNDS || round != ROUNDS)
/* What a goroutine that has slept locks the mutex with. */
#ifndef SLEEP_FORGOTTEN
#define NOTED     (slept -> WAITERS : 0)
#else
#define NOTED     0
#endif

/* What is true, whatever the word says. */
byte holds;        /* goroutines, from the step that took the mutex to that which gave it back */
byte inside;       /* goroutines that use what it guards */
bit  left;         /* somebody has died who held it, and nobody was told yet */
bit  spoilt;       /* somebody has died who held it, and nobody has repaired what it guards */

inline buried(p) {
	if
	:: (holds & OF(p)) != 0 -> left = 1; spoilt = 1; heldBy()
	:: else
	fi;
	holds = holds & ~OF(p);
	inside = inside & ~OF(p)
}

/* The state is plausible, as plausible says, and true. */
inline check() {
	assert(OWNED(state) || (state & (INCONSISTENT | GENERATION)) == 0);
	assert(!OWNED(state) || (state & UNRECOVERABLE) == 0);
	assert(OWNED(state) == (holds != 0 || left))
}

/* The step that this is part of takes the mutex. Mutual exclusion, and the next
 * owner is told if and only if somebody has died who held it. */
inline took(died) {
	assert(holds == 0);
	assert(left == died);
	left = 0;
	put(holds, t);
	drop(owes, t);
	check()
}

proctype user(byte t) {
	byte round;
	byte now;          /* the state that was loaded last */
	bit suspect;       /* the owner may have died, although its life word is not marked */
	bit slept;         /* in this Lock */
alive:
	{
		do
		:: d_step {
			!ROUNDS || round == ROUNDS ->
			round = 0; put(over, t); drop(unheard, t); drop(cancelled, t) };
			break

		/* Mutex.Lock. SYNC POINT mutex: what the last holder wrote is seen. */
		:: d_step { WANTED && state == 0 -> state = MINE; took(0) };
			goto locked
		:: d_step { WANTED && state != 0 -> drop(unheard, t) };        /* lock: rung := Deaths.Rung() */

again:		/* Mutex.lock: now := m.state.Load() */
			if
			:: state & UNRECOVERABLE ->
				goto unrecoverable
			:: d_step { (state & UNRECOVERABLE) == 0 && !OWNED(state) -> now = state };
				if
				:: d_step { state == now -> state = now | MINE | NOTED; took(0) };
					goto locked
				:: state != now -> goto again
				fi
			:: d_step { DEAD -> now = state };
				if
				:: d_step { state == now -> state = (now & WAITERS) | MINE | TOLD | NOTED; took(1) };
					goto died
				:: state != now -> goto again
				fi
			:: OWNED(state) && !DEAD && !slept -> goto next         /* TryLock: ErrBusy */
			:: d_step { OWNED(state) && !DEAD -> now = state }
			fi;

			/* Mutex.await. The spin before it, if it sees a change, or
			 * SYNC POINT mutex waiters: m.state.CompareAndSwap(now, now|waiters) */
			if
			:: d_step { LOW(state) != LOW(now) -> suspect = has(unheard, t) };
				goto heard
#ifdef SLEEPS_UNNOTED
			:: true
#else
			:: now & WAITERS
#ifdef WAITERS_STORED
			:: d_step { (now & WAITERS) == 0 -> now = now | WAITERS; state = now }
#else
			:: d_step { (now & WAITERS) == 0 && state == now -> now = now | WAITERS; state = now }
			:: d_step { (now & WAITERS) == 0 && state != now -> suspect = has(unheard, t) };
				goto heard
#endif
#endif
			fi;
#ifndef NO_WATCH
			WATCH_FOR(INDEX(now), GEN(now));
#endif
			/* There may be others asleep, and the bit that says so is gone since Unlock
			 * has waked this one: slept. */
			PARK(now, next);
heard:		/* rung = members.Deaths.Rung() */
			if
			:: d_step { true -> now = 0; drop(unheard, t) }
			fi;
			goto again;

died:		/* ErrOwnerDied. */
			if
			:: d_step { true -> put(inside, t); assert(inside == 1 << t) }
#ifdef CARELESS
			:: d_step { true -> put(inside, t); assert(inside == 1 << t) };
				goto leave
#endif
			fi;
repair:		/* Mutex.Consistent: now := m.state.Load(), not ErrNotOwner */
			if
			:: d_step { true -> now = state; assert((state & OWNERBITS) == MINE) }
			fi;
			if
			:: d_step { state == now -> state = now & ~INCONSISTENT; spoilt = 0; check() };
				goto leave
			:: state != now -> goto repair
			fi;

locked:		/* Lock has returned nil. */
			if
			:: d_step { true -> put(inside, t); assert(inside == 1 << t && !spoilt) }
			fi;

leave:		/* Mutex.Unlock. SYNC POINT mutex: what was written is seen by the next. */
			if
			:: d_step {
				state == MINE ->
				assert(inside == 1 << t);
				state = 0; drop(inside, t); drop(holds, t); check() };
				goto next
			:: d_step { state != MINE -> assert(inside == 1 << t); drop(inside, t) }
			fi;

unlock:		/* Mutex.unlock: now := m.state.Load(), not ErrNotOwner */
			if
			:: d_step { (state & INCONSISTENT) == 0 -> now = state; assert((state & OWNERBITS) == MINE) }
			:: d_step { (state & INCONSISTENT) != 0 -> now = state; assert((state & OWNERBITS) == MINE) };
				if
				:: d_step { state == now -> state = UNRECOVERABLE; drop(holds, t); put(owes, t); check() };
#ifndef UNRECOVERABLE_WAKES_ONE
					WAKE_ALL;
#else
					WAKE_ONE(next);
#endif
					goto next                          /* ErrUnrecoverable */
				:: state != now -> goto unlock
				fi
			fi;
#ifdef WAKE_FIRST
			if
			:: now & WAITERS -> WAKE_ONE(waked)
			:: (now & WAITERS) == 0
			fi;
waked:
#endif
			if
			:: d_step { state == now && (now & WAITERS) == 0 -> state = 0; drop(holds, t); check() };
				goto next
			:: d_step { state == now && (now & WAITERS) != 0 -> state = 0; drop(holds, t); put(owes, t); check() }
			:: state != now -> goto unlock
			fi;
#if !defined(WAKE_FIRST) && !defined(NOBODY_WAKED)
			WAKE_ONE(next);
#endif
			goto next;

unrecoverable:
			/* ErrUnrecoverable, and Mutex.Recover, or not. */
			if
			:: goto next
			:: d_step { state == UNRECOVERABLE -> state = MINE | INCONSISTENT; took(0) };
				goto died
			:: state != UNRECOVERABLE                  /* fs.ErrInvalid */
			fi;

next:		if
			:: d_step { true -> round = (ROUNDS -> round + 1 : 0); now = 0; suspect = 0; slept = 0; drop(owes, t) }
			fi
		od
	} unless {
		d_step {
			has(stopped, me) ->
			round = 0; now = 0; seen[t] = 0; suspect = 0; slept = 0;
			if
			:: me == REBORN && !has(generation, me)
			:: else -> put(over, t)
			fi }
	};
	OVER_OR_REBORN
}

#include "fate.pml"

#ifdef LIVENESS
/* Everybody gets it or an error, and nobody sleeps for ever. */
ltl live { <> (over == ALL) }
#endif
