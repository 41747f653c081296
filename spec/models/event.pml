/* The event: shmsync/event.go, manual and automatic. */

/* The state: Event.State of spec/layout.json, with a narrower count. */
#define COUNT(s)    ((s) & 7)
#define SET         8
#define WAITERS    16
#define MORE(s)     (((s) + 1) & 7)
#define LOW(s)      (s)
#define INITIAL     0
#define HEAR        skip      /* rung is read before Park, and only Close rings */

#include "machine.pml"

/* What the goroutines do:
 *
 *   PULSE    manual: 0 sets and resets. All others wait. Those who began before it
 *            are let go by it; if others did not, 0 sets once more.
 *   FOLLOW   manual: 0 sets twice; all others wait, with WaitAfter, until they have
 *            seen it.
 *   PASS     automatic: 0 sets. Each of the others waits, and sets it for the next.
 *            Where the one who has taken it dies, 0 sets again.
 *
 *   HELPERS  how many goroutines after 0 set once instead, in PULSE and FOLLOW
 *   RESETS   in PASS, 0 sets, resets and sets
 *   AUTOMATIC in FOLLOW, the event is automatic: this is what goes wrong then
 */
#ifdef PASS
#define AUTOMATIC
#endif
#ifndef HELPERS
#define HELPERS 0
#endif
#define FIRST   (1 + HELPERS)                       /* that waits */
#define WAITING (ALL & ~((1 << FIRST) - 1))         /* all that do */

/* What is true, whatever the word says. */
byte sets;            /* steps that have set it */
byte takes;           /* steps that have taken it, or have reset it when it was set */
byte carries;         /* goroutines that have taken it, and have not set it again */
bit  lost;            /* one of those has died */
byte began;           /* goroutines that wait */
bit  after;           /* one of them began after the last set */

inline buried(p) {
	if
	:: (carries & OF(p)) != 0 -> lost = 1
	:: else
	fi;
	carries = carries & ~OF(p);
#ifdef PULSE
	began = began | OF(p)
#endif
}

inline wasSet() {
	sets++;
	drop(carries, t);
	after = 0;
	assert(COUNT(state) == (sets & 7) && (state & SET))
}
/* Of an automatic event, what is taken was set. */
inline wasTaken() {
	takes++;
	drop(owes, t);
	assert(takes <= sets);
	assert((state & SET) == 0)
}

/* Event.Set, which goes to done. now := e.state.Load(), and the swap. */
#ifdef AUTOMATIC
#define KEEPS(s) (KEPT(s) & WAITERS)
#else
#define KEEPS(s) 0
#endif
#ifndef CLEAR_AND_WAKE_ONE
#define KEPT(s) (s)
#else
#define KEPT(s) 0
#endif
#ifndef NO_COUNT
#define COUNTED(s) MORE(s)
#else
#define COUNTED(s) COUNT(s)
#endif
#define SWAP_SET(set, wake) \
	if \
	:: d_step { true -> now = state } \
	fi; \
	WAKE_BEFORE \
	if \
	:: d_step { state == now && (now & WAITERS) == 0 -> state = COUNTED(now) | SET; now = 0; wasSet() } \
	:: d_step { state == now && (now & WAITERS) != 0 -> state = COUNTED(now) | SET | KEEPS(now); now = state; wasSet(); put(owes, t) }; \
		goto wake \
	:: state != now -> goto set \
	fi
#ifdef WAKE_FIRST
#define WAKE_BEFORE \
	if \
	:: now & WAITERS -> WAKE_ALL \
	:: (now & WAITERS) == 0 \
	fi;
#else
#define WAKE_BEFORE
#endif

/* Event.await, which goes on to sleep. The spin before it only looks.
 * SYNC POINT event waiters: e.state.CompareAndSwap(now, now|waiters) */
#ifndef WAITERS_STORED
#define AWAIT(again, failed) \
	if \
	:: now & WAITERS \
	:: d_step { (now & WAITERS) == 0 && state == now -> now = now | WAITERS; state = now } \
	:: (now & WAITERS) == 0 && state != now -> goto again \
	fi; \
	PARK(now, failed); \
	goto again
#else
#define AWAIT(again, failed) \
	if \
	:: now & WAITERS \
	:: d_step { (now & WAITERS) == 0 -> now = now | WAITERS; state = now } \
	fi; \
	PARK(now, failed); \
	goto again
#endif

proctype user(byte t) {
	byte now;          /* the state that was loaded last, or stored by Set */
	byte first;        /* Wait: the state when it began; WaitAfter: the count that was seen */
	byte round;        /* of 0: how far it is */
alive:
	{
		if
		:: t < FIRST
		:: t >= FIRST ->
#ifdef FOLLOW
			goto follow
#else
			goto wait
#endif
		fi;

set:		/* SYNC POINT event: what was written before is seen by whom this lets go. */
		SWAP_SET(set, wake);
		goto next;

wake:
#ifndef WAKE_FIRST
#ifndef AUTOMATIC
#ifndef MANUAL_WAKES_ONE
		WAKE_ALL;
#else
		WAKE_ONE(next);
#endif
#else
#ifndef SET_WAKES_ALL
		WAKE_ONE(nobody);
		goto next;
nobody:	if
		:: d_step { state == now -> state = now & ~WAITERS }
		:: state != now
		fi;
#else
		WAKE_ALL;
#endif
#endif
#endif

next:		/* What comes after a Set. */
		now = 0;
		if
		:: t > 0 -> goto ended
#ifdef PULSE
		:: t == 0 && round == 0 -> round = 1; goto reset
		:: t == 0 && round == 1 && (began & WAITING) == WAITING ->
			if
			:: after -> round = 2; goto set
			:: !after -> goto ended
			fi
		:: t == 0 && round == 2 -> goto ended
#endif
#ifdef FOLLOW
		:: t == 0 && round == 0 -> round = 1; goto set
		:: t == 0 && round == 1 -> goto ended
#endif
#ifdef PASS
#ifdef RESETS
		:: t == 0 && round == 0 -> round = 1; goto reset
		:: t == 0 && round == 1 -> round = 2; goto next
#else
		:: t == 0 && round == 0 -> round = 2; goto next
#endif
		:: d_step { t == 0 && round == 2 && lost -> lost = 0 };
			goto set
		:: t == 0 && round == 2 && (over | 1) == ALL -> goto ended
#endif
		fi;

reset:		/* Event.Reset */
		if
		:: (state & SET) == 0
		:: d_step { (state & SET) != 0 -> now = state };
			if
#ifndef RESET_CLEARS_WAITERS
			:: d_step { state == now -> state = now & ~SET; now = 0; wasTaken() }
#else
			:: d_step { state == now -> state = COUNT(now); now = 0; wasTaken() }
#endif
			:: state != now -> goto reset
			fi
		fi;
#ifdef PULSE
		goto next;
#else
		goto set;
#endif

wait:		/* Event.Wait: first := e.state.Load() */
		if
		:: d_step { true -> first = state; put(began, t); after = 1 }
		fi;
look:		/* now := e.state.Load() */
		if
#ifndef AUTOMATIC
		:: (state & SET) != 0 || COUNT(state) != COUNT(first) -> goto ended
		:: d_step { (state & SET) == 0 && COUNT(state) == COUNT(first) -> now = state }
#else
		:: d_step { (state & SET) != 0 -> now = state };
			if
#ifdef TAKEN_STORED
			:: d_step { true -> state = now & ~SET; now = 0; put(carries, t); wasTaken() };
				goto set
#else
			:: d_step { state == now -> state = now & ~SET; now = 0; put(carries, t); wasTaken() };
				goto set
			:: state != now -> goto look
#endif
			fi
		:: d_step { (state & SET) == 0 -> now = state }
#endif
		fi;
		AWAIT(look, ended);

#ifdef FOLLOW
follow:		/* Event.WaitAfter until it was set twice, at least. */
		if
		:: COUNT(state) != first && COUNT(state) >= 2 -> goto ended
		:: d_step { COUNT(state) != first && COUNT(state) < 2 -> first = COUNT(state) };
			goto follow
		:: d_step { COUNT(state) == first -> now = state }
		fi;
		AWAIT(follow, ended);
#endif

ended:		if
		:: d_step { true -> now = 0; first = 0; round = 0; put(over, t); drop(cancelled, t); drop(owes, t) }
		fi
	} unless {
		d_step { has(stopped, me) -> now = 0; first = 0; round = 0; seen[t] = 0; put(over, t) }
	}
}

#include "fate.pml"

#ifdef LIVENESS
/* Everybody who waits is let go, or gets an error, and nobody sleeps for ever. */
ltl live { <> (over == ALL) }
#endif
