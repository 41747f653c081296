/* What the three models have in common: processes with goroutines, and how these
 * sleep, are waked and watch each other. What happens to them is in fate.pml.
 *
 * A step is one access to a shared word and what the goroutine does by itself
 * until its next, as in internal/explore; accesses are sequentially consistent, as
 * package word's axiom says. A compare-and-swap has two branches, in which the word
 * is what was seen, or is not. Beside each step stands what it is in the source.
 *
 * A model defines INITIAL, the state at first; LOW(state), what of it the kernel
 * compares, because that is the half that is slept on; and HEAR, what it does after
 * Park about how often the bell was rung. Each of these can be said with -D:
 *
 *   THREADS   how many goroutines use the primitive, at most 4
 *   SAME      how many of them, the first ones, are of process 0; each of the
 *             others is a process of its own
 *   KILLS     how many processes are killed at most
 *   VICTIMS   which processes can be, as a set. Where all do the same it does not
 *             matter which one it is, and process 0 stands for all.
 *   REBORN    the process that, once it is gone, is followed by another one in the
 *             same member's place, with the next generation; it has one goroutine
 *   UNMARKED  the kernel marks no life word; a keeper can fail
 *   SPURIOUS  how many sleeps end for no reason at most
 *   CANCELS   how many contexts end at most
 */

#ifndef THREADS
#define THREADS 2
#endif
#ifndef SAME
#define SAME 1
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef VICTIMS
#define VICTIMS 15
#endif
#ifndef REBORN
#define REBORN 9
#endif
#ifndef SPURIOUS
#define SPURIOUS 0
#endif
#ifndef CANCELS
#define CANCELS 0
#endif

#define PROCS       (THREADS - SAME + 1)
#define PROC(t)     ((t) < SAME -> 0 : (t) - SAME + 1)
/* The goroutines of a process, and all. */
#define OF(p)       ((p) == 0 -> (1 << SAME) - 1 : 1 << ((p) + SAME - 1))
#define ALL         ((1 << THREADS) - 1)
#if REBORN == 0 && SAME > 1
#error who is born again has one goroutine
#endif
#if REBORN < PROCS
#define GENERATIONS 2
#else
#define GENERATIONS 1
#endif

/* Sets are the bits of a byte. */
#define has(set, x)  (((set) >> (x)) & 1)
#define put(set, x)  set = (set) | (1 << (x))
#define drop(set, x) set = (set) & ~(1 << (x))

/* Sets of processes. */
byte killed;        /* are being killed, or were */
byte marked;        /* their life word says so */
byte stopped;       /* do nothing more */
byte gone;          /* the others can see that */
byte joining;       /* a newcomer has its lock, and has not written his generation */
byte generation;    /* who is the second one in his member's place */
bit  late;          /* somebody has died who owed a wake, or who held what another sleeps
                     * for who went to sleep before, and does not watch him */

/* Sets of goroutines. */
byte over;          /* have done all that they wanted, or are dead */
byte owes;          /* have let something go and not waked anybody yet; or were waked,
                     * and have neither taken it nor gone to sleep again */
byte seated;        /* have a seat (package wait), from which a bell can get them */
byte asleep;        /* sleep in the kernel */
byte unheard;       /* the bell was rung since they have read how often it was */
byte ending;        /* somebody is in seat.wake for them, until they have left */
byte cancelled;     /* their context has ended */

short state = INITIAL; /* the primitive's word */
short seen[THREADS]; /* of it, by those who sleep */

/* For each two processes and a generation of the second: whether life.Table.watched
 * of the first has the second, and how far a goroutine is that rings the bell. */
#define WATCHED  1
#define ENDED    2   /* look has seen that it is gone, and unwatch was called */
#define RUNG     4   /* Bell.Ring has counted, and has not looked at the seats yet */
byte watch[PROCS * PROCS * GENERATIONS];
#define WATCH(p, q, g) watch[((p) * PROCS + (q)) * GENERATIONS + (g)]

/* life.Table.Marked and Gone, of a process in one of its generations. They are read
 * in the step that loads the state: what has become true later could as well have
 * been waited for by a later load, of the same state. */
#define MARKED(q, g) (has(marked, q) || has(generation, q) != (g))
#define GONE(q, g)   ((has(gone, q) && !has(joining, q)) || has(generation, q) != (g))

/* The process of goroutine t. */
#define me PROC(t)

/* wait.Wake(word, 1); goes to nobody if nobody sleeps. Who wakes is not the first
 * here, but anybody: who has the memory mapped can change their order. */
#define WAKE_ONE(nobody) \
	if \
	:: d_step { has(asleep, 0) -> WAKED(0); drop(owes, t) } \
	:: d_step { has(asleep, 1) -> WAKED(1); drop(owes, t) } \
	:: d_step { has(asleep, 2) -> WAKED(2); drop(owes, t) } \
	:: d_step { has(asleep, 3) -> WAKED(3); drop(owes, t) } \
	:: d_step { asleep == 0 -> drop(owes, t) }; \
		goto nobody \
	fi
#define WAKED(x) drop(asleep, x); put(owes, x)

/* wait.Wake(word, All). They owe nobody anything. */
#define WAKE_ALL \
	if \
	:: d_step { true -> asleep = 0; drop(owes, t) } \
	fi

/* life.Table.Watch. From here on its goroutine, life.Table.look, sees the death. */
#define WATCH_FOR(q, g) \
	if \
	:: d_step { q != me -> WATCH(me, q, g) = WATCH(me, q, g) | WATCHED } \
	:: q == me \
	fi

/* wait.Park: it returns an error if the context has ended, and goes to failed. In
 * the seat, under s.mu, stands what bells have to know; whoever rings after that
 * finds the seat, and who has rung before is heard now: bell.Rung() != rung. The
 * kernel compares the word and puts the sleeper to sleep in one step. Who leaves
 * the seat looks at his context. HEAR is what await does next, in the same step: a
 * bell that is rung between the two can as well be rung just before them. */
#define PARK(now, failed) \
	if \
	:: has(cancelled, t) -> goto failed \
	:: d_step { !has(cancelled, t) -> put(seated, t) } \
	fi; \
	if \
	:: d_step { HEARD(t) -> LEAVE_SEAT; HEAR } \
	:: !HEARD(t) -> \
		if \
		:: d_step { LOW(state) == LOW(now) -> put(asleep, t); seen[t] = now; drop(owes, t) } \
		:: LOW(state) != LOW(now) \
		fi; \
		if \
		:: d_step { !has(asleep, t) && !has(cancelled, t) -> LEAVE_SEAT; HEAR } \
		:: d_step { !has(asleep, t) && has(cancelled, t) -> LEAVE_SEAT }; \
			PASS_ON(failed); \
			goto failed \
		fi \
	fi
#define LEAVE_SEAT drop(seated, t); drop(ending, t); seen[t] = 0
#ifndef BELL_UNHEARD
#define HEARD(t) has(unheard, t)
#else
#define HEARD(t) 0
#endif
#ifndef NO_PASS_ON
#define PASS_ON(failed) WAKE_ONE(failed)
#else
#define PASS_ON(failed) skip
#endif

/* Somebody sleeps on a word that has changed. */
#define STALE(x) (has(asleep, x) && LOW(state) != LOW(seen[x]))
#if THREADS == 2
#define STALES (STALE(0) || STALE(1))
#elif THREADS == 3
#define STALES (STALE(0) || STALE(1) || STALE(2))
#else
#define STALES (STALE(0) || STALE(1) || STALE(2) || STALE(3))
#endif

/* Part of a death of who holds the primitive: whoever sleeps since before has seen, and
 * watches, another holder. */
inline heldBy() {
#ifndef ALL_KNOW
	if
	:: STALES -> late = 1
	:: else
	fi
#else
	skip
#endif
}

/* What follows a death in the life of goroutine t, whose alive is where it starts. */
#define OVER_OR_REBORN \
	if \
	:: has(over, t) \
	:: d_step { \
		/* Another process is the same member: life.Table.join takes the lock, */ \
		!has(over, t) && has(gone, me) -> put(joining, me) }; \
		if \
		/* begin writes the generation, */ \
		:: d_step { \
			put(generation, me); \
			drop(killed, me); drop(marked, me); drop(stopped, me); drop(gone, me); drop(joining, me) }; \
			if \
			:: goto alive \
			/* and it may use something else in the segment. */ \
			:: put(over, t) \
			fi \
		fi \
	fi
