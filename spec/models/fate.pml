/* What happens to the processes of machine.pml: deaths, bells, the ends of sleeps.
 * A model includes this after its own inline buried(p), which says what it means
 * for it that process p stops, and starts user(t) for each goroutine. */

/* A process that is killed can go on for any number of steps, with its life word
 * marked or not, until it stops; after that it is gone. One that closes the segment
 * is stopped by region.Retire, marks its word itself, and gives its lock up. */
#define MORTAL(p) (has(VICTIMS, p) && (has(killed, p) || (killsLeft > 0 && (over & OF(p)) != OF(p))))
#define DIE(p) \
	:: d_step { MORTAL(p) && !has(stopped, p) -> \
		kill(p); put(stopped, p); \
		if \
		:: (owes & OF(p)) != 0 -> late = 1 \
		:: else \
		fi; \
		owes = owes & ~OF(p); \
		asleep = asleep & ~OF(p); seated = seated & ~OF(p); ending = ending & ~OF(p); \
		unheard = unheard & ~OF(p); cancelled = cancelled & ~OF(p); \
		forget(p); buried(p) } \
	:: d_step { has(stopped, p) && !has(gone, p) -> put(gone, p) }
#ifndef UNMARKED
#define MARK(p) \
	:: d_step { MORTAL(p) && !has(marked, p) -> kill(p); put(marked, p) }
#else
#define MARK(p)
#endif

inline kill(p) {
	if
	:: !has(killed, p) -> killsLeft--; put(killed, p)
	:: else
	fi
}

/* Process p watches nobody any more. */
inline forget(p) {
	q = 0;
	do
	:: q < PROCS * GENERATIONS -> watch[p * PROCS * GENERATIONS + q] = 0; q++
	:: else -> break
	od;
	q = 0
}

/* Process p watches process q: life.Table.look sees that it is gone, calls unwatch,
 * and rings. That the mark wakes one watcher, who wakes the others, and that a tick
 * looks too, is left out: whoever watches sees it some time. Bell.Ring's loop over
 * the seats is one step: who takes a seat later looks at the bell himself. */
#ifdef NO_BELL
#define LOOK(p, q, g)
#elif defined(RING_BEFORE_UNWATCH)
#define LOOK(p, q, g) \
	:: d_step { WATCH(p, q, g) == WATCHED && GONE(q, g) -> \
		WATCH(p, q, g) = WATCHED | RUNG; unheard = unheard | (OF(p) & ~over) } \
	:: d_step { WATCH(p, q, g) & RUNG -> \
		WATCH(p, q, g) = 0; ending = ending | (OF(p) & seated & unheard) }
#else
#define LOOK(p, q, g) \
	:: d_step { WATCH(p, q, g) == WATCHED && GONE(q, g) -> \
		WATCH(p, q, g) = ENDED } \
	:: d_step { WATCH(p, q, g) & ENDED -> \
		WATCH(p, q, g) = (WATCH(p, q, g) & WATCHED) | RUNG; unheard = unheard | (OF(p) & ~over) } \
	:: d_step { WATCH(p, q, g) & RUNG -> \
		WATCH(p, q, g) = WATCH(p, q, g) & WATCHED; ending = ending | (OF(p) & seated & unheard) }
#endif
#if KILLS == 0
#define LOOKS(p, q)
#elif GENERATIONS == 1
#define LOOKS(p, q) LOOK(p, q, 0)
#else
#define LOOKS(p, q) LOOK(p, q, 0) LOOK(p, q, 1)
#endif

/* backstop.check: whoever sleeps on a word that has changed is waked. It is here
 * only once that has happened which it is for: without that, nobody may need it. */
#ifndef NO_BACKSTOP
#define BACKSTOP(t) \
	:: d_step { late && has(asleep, t) && LOW(state) != LOW(seen[t]) -> drop(asleep, t) }
#else
#define BACKSTOP(t)
#endif

/* seat.wake, of which a bell or the end of the context is the reason; and a sleep
 * that ends for no reason. */
#define SLEEPER(t) \
	:: d_step { has(asleep, t) && (has(ending, t) || has(cancelled, t)) -> drop(asleep, t) } \
	:: d_step { cancelsLeft > 0 && !has(over, t) && !has(cancelled, t) -> cancelsLeft--; put(cancelled, t) } \
	:: d_step { spuriousLeft > 0 && has(asleep, t) -> spuriousLeft--; drop(asleep, t) } \
	BACKSTOP(t)

byte killsLeft = KILLS;
byte spuriousLeft = SPURIOUS;
byte cancelsLeft = CANCELS;

active proctype fate() {
	byte q;
	atomic {
		do
		:: q < THREADS -> run user(q); q++
		:: else -> break
		od;
		q = 0
	}
end:
	do
	DIE(0) MARK(0) SLEEPER(0) SLEEPER(1)
#if THREADS > 2
	SLEEPER(2)
#endif
#if THREADS > 3
	SLEEPER(3)
#endif
#if PROCS > 1
	DIE(1) MARK(1) LOOKS(0, 1) LOOKS(1, 0)
#endif
#if PROCS > 2
	DIE(2) MARK(2) LOOKS(0, 2) LOOKS(2, 0) LOOKS(1, 2) LOOKS(2, 1)
#endif
#if PROCS > 3
	DIE(3) MARK(3) LOOKS(0, 3) LOOKS(3, 0) LOOKS(1, 3) LOOKS(3, 1) LOOKS(2, 3) LOOKS(3, 2)
#endif
	/* Nobody is obliged to be killed, to wake for no reason or to give up waiting,
	 * and so nobody may rely on it. */
	:: d_step { killsLeft > 0 -> killsLeft = 0 }
	:: d_step { spuriousLeft > 0 -> spuriousLeft = 0 }
	:: d_step { cancelsLeft > 0 -> cancelsLeft = 0 }
	od
}
