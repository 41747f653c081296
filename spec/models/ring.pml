/* The ring of a topic, its arena, joining, leaving and death: internal/ring.
 *
 * A step is one access to shared memory, and what its process does by itself until the
 * next; accesses are sequentially consistent, as package word's axiom says. What lies
 * between two stamps is written and read in two halves, so that it can be torn.
 *
 *   SLOTS     how many slots the ring has; 2
 *   MESSAGES  how many messages the writer publishes; 3
 *   BLOCKS    how many blocks the arena has, if messages are in it; 0: they are in the slots
 *   READERS   how many readers there are, 1 or 2; reader 0 is there from the beginning
 *   BLOCK     the policy: the writer waits for the slowest reader; else it drops the oldest
 *   KILLS     how many processes are killed at most
 *   LATE      reader 1 joins at some time
 *   LETS_GO   the writer lets reader 0 go at some time, which goes on reading
 */

#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef MESSAGES
#define MESSAGES 3
#endif
#ifndef BLOCKS
#define BLOCKS 0
#endif
#ifndef READERS
#define READERS 1
#endif
#ifndef KILLS
#define KILLS 0
#endif

#define PLACES   (BLOCKS + SLOTS)           /* where content is: blocks, or the slots themselves */
#define SLOT(p)  ((p) % SLOTS)
#define DROPPED  64

/* The writer's memory. */
byte stamp[SLOTS];      /* position + 1, and whether it is dropped */
byte place[SLOTS];      /* of the slot's message */
byte low[PLACES];       /* the message, in two halves: position + 1 */
byte high[PLACES];
byte tail;
bit  waiting;
byte haveLeft;          /* counts those who have left */

/* The readers' memory. */
byte cursor[READERS];
byte reading[READERS];  /* position + 1, 0: none */
byte sleeps[READERS];   /* position + 1, 0: it is awake */

/* The kernel: who sleeps, and on what. */
bit  sleeping[READERS];
bit  writerSleeps;

/* Who is what. */
bit  joined[READERS];   /* the writer knows of it */
bit  told[READERS];     /* it has the acknowledgement; see Writer.Join */
byte start[READERS];
byte leftBefore[READERS];
bit  dead[READERS];
bit  writerDead;
bit  alone[READERS];     /* the reader can see that its writer is gone, or has let it go */
byte kills;
bit  letGo;

/* What is true, whatever the words say. */
byte published;         /* messages that are committed */

/* Death is told by the end of a connection: whoever sleeps is woken, and looks. */
#define WAKE_READER(r) sleeping[r] = 0

active proctype writer() {
	byte p, b, oldest, r, t, held, seen;
	told[0]; /* the first reader is there */
publish:
	do
	:: p == MESSAGES -> goto end /* it lives on, and wakes nobody any more */
	:: p < MESSAGES ->
#ifdef LETS_GO
		if
		:: !letGo && joined[0] -> atomic {
			/* Writer.remove: SYNC POINT left, before anything that it holds is reused. */
#ifndef NOT_COUNTED
			haveLeft++;
#endif
			joined[0] = 0; letGo = 1; run hears() }
		:: true
		fi;
#endif
		/* makeRoom: the slot is ready once its message before is dropped. */
		if
		:: p < SLOTS + tail -> skip
		:: p >= SLOTS + tail ->
#ifdef BLOCK
room:
			/* until: consumed is what all who gate have reached. */
			r = 0; oldest = p;
			do
			:: r < READERS && joined[r] ->
				if
				:: d_step { cursor[r] < oldest -> oldest = cursor[r]; seen = r }
				:: cursor[r] >= oldest
				fi;
				r++
			:: r < READERS && !joined[r] -> r++
			:: r == READERS -> break
			od;
			if
			:: p < SLOTS + oldest -> waiting = 0
			:: p >= SLOTS + oldest ->
				if
#ifndef SLEEPS_UNNOTED
				/* SYNC POINT waiting: stored, then the cursors are looked at once more. */
				:: !waiting -> waiting = 1; goto room
#endif
				/* wait.Park: the kernel compares the cursor. A bell is rung when readers leave. */
				:: atomic { (cursor[seen] == oldest && joined[seen]
#ifndef SLEEPS_UNNOTED
					&& waiting
#endif
					) -> writerSleeps = 1 };
					!writerSleeps; goto room
				:: atomic { cursor[seen] != oldest || !joined[seen] } -> goto room
				fi
			fi;
#endif
			/* setTail: SYNC POINT tail, before the stamps. */
#ifndef STAMPS_FIRST
			tail = p - SLOTS + 1;
#endif
#ifndef STAMPS_STAY
			stamp[SLOT(p)] = stamp[SLOT(p)] | DROPPED;
#endif
#ifdef STAMPS_FIRST
			tail = p - SLOTS + 1;
#endif
		fi;

#if BLOCKS > 0
		/* take: a block that is not used, or of the oldest message that has one. */
		b = p % BLOCKS;
		if
		:: p < BLOCKS -> skip
		:: p >= BLOCKS ->
			/* reclaimTo: its message is given up, */
			t = p - BLOCKS;
			if
			:: tail > t
			:: tail <= t ->
#ifdef BLOCK
				/* which readers have passed; waitFor, as above. */
space:
				r = 0; oldest = p;
				do
				:: r < READERS && joined[r] ->
					if
					:: d_step { cursor[r] < oldest -> oldest = cursor[r]; seen = r }
					:: cursor[r] >= oldest
					fi;
					r++
				:: r < READERS && !joined[r] -> r++
				:: r == READERS -> break
				od;
				if
				:: oldest > t -> waiting = 0
				:: oldest <= t ->
					if
					:: !waiting -> waiting = 1; goto space
					:: atomic { cursor[seen] == oldest && joined[seen] && waiting -> writerSleeps = 1 };
						!writerSleeps; goto space
					:: atomic { cursor[seen] != oldest || !joined[seen] } -> goto space
					fi
				fi;
#endif
				tail = t + 1;
				stamp[SLOT(t)] = stamp[SLOT(t)] | DROPPED
			fi;
			/* findHolds: SYNC POINT hold, the stamps are gone before. Who holds it has it; a
			 * message for which there is no block is not published. */
			r = 0; held = 0;
			do
			:: r < READERS && joined[r] ->
#ifndef HOLDS_UNSEEN
				if
				:: reading[r] == t + 1 -> held = 1
				:: reading[r] != t + 1
				fi;
#endif
				r++
			:: r < READERS && !joined[r] -> r++
			:: r == READERS -> break
			od;
			/* It waits until the reader has copied: see the README. */
			if
			:: held -> goto publish
			:: !held
			fi
		fi;
#else
		b = SLOT(p);
#endif
#ifdef STAMP_FIRST
		stamp[SLOT(p)] = p + 1;
		published = p + 1;
#endif
		low[b] = p + 1;
		high[b] = p + 1;
		place[SLOT(p)] = b;
		/* commit: SYNC POINT stamp. */
#ifndef STAMP_FIRST
		atomic { stamp[SLOT(p)] = p + 1; published = p + 1 };
#endif
		p++;
		/* SYNC POINT sleeps: the stamp is stored before the readers' words are looked at. */
		r = 0;
		do
		:: r < READERS && joined[r] ->
			if
			:: atomic { sleeps[r] == p -> WAKE_READER(r) }
			:: sleeps[r] != p
			fi;
			r++
		:: r < READERS && !joined[r] -> r++
		:: r == READERS -> break
		od
	:: atomic { kills < KILLS -> kills++; writerDead = 1 } ; goto over
	od;
over:
	atomic {
		r = 0;
		do
		:: r < READERS -> alone[r] = 1; WAKE_READER(r); r++
		:: r == READERS -> break
		od
	};
end:
	skip
}

/* Who is let go hears of it by the end of the connection, some time. */
proctype hears() { atomic { true -> alone[0] = 1; WAKE_READER(0) } }

/* Join: the list is changed, then the place to begin at is found, then told. */
#ifdef LATE
active proctype joiner() {
	atomic {
		true -> joined[1] = 1;
		/* Under the writer's lock, which makes no room meanwhile. */
		start[1] = published; cursor[1] = start[1]; leftBefore[1] = haveLeft; told[1] = 1
	}
}
#endif

proctype reader(byte r) {
	byte p, s, b, l, h, n, lost, got;
	told[r] || writerDead;
	if
	:: !told[r] -> goto over
	:: told[r]
	fi;
	p = start[r];
#ifdef LEFT_LOOKED_UP
	n = haveLeft;
#else
	n = leftBefore[r];
#endif
	do
	:: p == MESSAGES -> break
	:: p < MESSAGES ->
		s = stamp[SLOT(p)];
		if
		:: s == p + 1 ->
			b = place[SLOT(p)];
#if BLOCKS > 0
#ifndef NOT_HELD
			/* SYNC POINT hold: it stands in memory before the stamp is looked at again. */
			reading[r] = p + 1;
#endif
#ifndef NO_SECOND_LOOK
			if
			:: stamp[SLOT(p)] != p + 1 -> goto again
			:: stamp[SLOT(p)] == p + 1
			fi;
#endif
#ifdef HELD_LATE
			reading[r] = 0;
#endif
#endif
			l = low[b];
			h = high[b];
#if BLOCKS > 0
			/* kept: SYNC POINT left. */
			if
			:: haveLeft == n
			:: haveLeft != n ->
				if
				:: stamp[SLOT(p)] != p + 1 -> goto again
				:: stamp[SLOT(p)] == p + 1
				fi
			fi;
#else
#ifndef NO_SECOND_LOOK
			/* still. */
			if
			:: stamp[SLOT(p)] != p + 1 -> goto again
			:: stamp[SLOT(p)] == p + 1
			fi;
#endif
#endif
			assert(l == p + 1 && h == p + 1);   /* whole, and the one that it is said to be */
			got++;
			p++;
			/* flush: doneReading, then SYNC POINT waiting. */
			d_step { reading[r] = 0 };
			cursor[r] = p;
			if
			:: atomic { waiting -> writerSleeps = 0 }
			:: !waiting
			fi
		:: s != p + 1 ->
			/* skipLost: SYNC POINT tail, the stamp was looked at before. */
			if
			:: d_step { tail > p -> lost = lost + tail - p; p = tail };
#ifdef BLOCK
				assert(letGo && r == 0);        /* nothing is lost */
#endif
				cursor[r] = p
			:: tail <= p ->
				reading[r] = 0;
				if
				:: alone[r] ->
					/* It was gone before this look, or there may be something yet. */
					if
					:: stamp[SLOT(p)] == p + 1 || tail > p -> goto again
					:: stamp[SLOT(p)] != p + 1 && tail <= p -> break
					fi
				:: !alone[r] ->
					/* Sleep: SYNC POINT sleeps, stored, then the stamp is looked at. */
#ifndef SLEEPS_UNSAID
					sleeps[r] = p + 1;
#endif
					s = stamp[SLOT(p)];
					if
					:: s == p + 1 -> goto awake
					:: s != p + 1
					fi;
					if
					:: tail > p -> goto awake
					:: tail <= p
					fi;
					/* The kernel compares the low half, which is the same when it is dropped. A
					 * bell is rung when the writer is gone. */
					if
					:: atomic { (stamp[SLOT(p)] & ~DROPPED) == (s & ~DROPPED) && !alone[r] -> sleeping[r] = 1 };
						!sleeping[r]
					:: (stamp[SLOT(p)] & ~DROPPED) != (s & ~DROPPED) || alone[r]
					fi;
awake:
					sleeps[r] = 0
				fi
			fi
		fi;
again:
		skip
	:: atomic { kills < KILLS -> kills++; dead[r] = 1 }; goto die
	od;
	/* What was committed since it joined has come, or is said to be lost. */
	assert(got + lost >= published - start[r] || (letGo && r == 0));
	goto over;
die:
	/* The writer hears of it: Leave, and its bell. */
	atomic { joined[r] = 0; haveLeft++; writerSleeps = 0 };
over:
	/* Who has all leaves. */
	atomic { joined[r] = 0; haveLeft++; writerSleeps = 0 }
}

init {
	atomic {
		joined[0] = 1; told[0] = 1;
		run reader(0);
#if READERS > 1
#ifndef LATE
		joined[1] = 1; told[1] = 1;
#endif
		run reader(1)
#endif
	}
}
