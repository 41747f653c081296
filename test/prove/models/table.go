package main

import "github.com/memlane/memlane/test/prove"

// table is what is searched. The options are explained in spec/models: in
// machine.pml, and at the beginning of each model.
var table = []configuration{
	{"mutex", "2, as often as they like", "THREADS=2 ROUNDS=0 SPURIOUS=1", holds},
	{"mutex", "2, as often as they like, 1 killed, 1 context ends", "THREADS=2 ROUNDS=0 KILLS=1 SPURIOUS=1 CANCELS=1 CARELESS", holds},
	{"mutex", "2, as often as they like, 2 killed without a mark, 1 replaced", "THREADS=2 ROUNDS=0 KILLS=2 REBORN=0 UNMARKED CARELESS", holds},
	{"mutex", "3, as often as they like", "THREADS=3 ROUNDS=0", holds},
	{"mutex", "3, 1 killed", "THREADS=3 KILLS=1 VICTIMS=1 CARELESS", holds},
	{"mutex", "3, 1 killed and replaced", "THREADS=3 KILLS=1 VICTIMS=1 REBORN=0", holds},
	{"mutex", "3, 1 killed without a mark", "THREADS=3 KILLS=1 VICTIMS=1 UNMARKED", holds},
	{"mutex", "3, 2 of one process, 1 killed", "THREADS=3 SAME=2 KILLS=1", holds},
	{"mutex", "3, 1 context ends", "THREADS=3 CANCELS=1 SPURIOUS=1", holds},
	{"mutex", "4", "THREADS=4", holds},
	{"mutex", "2, 1 killed, to an end", "THREADS=2 KILLS=1 SPURIOUS=1 CANCELS=1 LIVENESS", holds},
	{"mutex", "3, 1 killed, to an end", "THREADS=3 KILLS=1 VICTIMS=1 LIVENESS", holds},

	{"mutex", "mutant: who has slept forgets the others", "THREADS=3 SLEEP_FORGOTTEN", stuck},
	{"mutex", "mutant: taken over on the mark alone", "THREADS=2 KILLS=1 TAKE_MARKED", broken},
	{"mutex", "mutant: a death is not told", "THREADS=3 KILLS=1 VICTIMS=1 CARELESS NOT_TOLD", broken},
	{"mutex", "mutant: unlocked and nobody is waked", "THREADS=2 NOBODY_WAKED", stuck},
	{"mutex", "mutant: waked before it is unlocked", "THREADS=2 WAKE_FIRST", stuck},
	{"mutex", "mutant: sleeps without saying so", "THREADS=2 SLEEPS_UNNOTED", stuck},
	{"mutex", "mutant: the waiters bit is stored", "THREADS=2 WAITERS_STORED", stuck},
	{"mutex", "mutant: the owner is not watched", "THREADS=2 KILLS=1 UNMARKED NO_WATCH", stuck},
	{"mutex", "mutant: no bell", "THREADS=2 KILLS=1 NO_BELL", stuck},
	{"mutex", "mutant: a bell between look and sleep is not heard", "THREADS=2 KILLS=1 BELL_UNHEARD", stuck},
	{"mutex", "mutant: the bell is rung before the watch ends", "THREADS=3 KILLS=1 VICTIMS=1 UNMARKED RING_BEFORE_UNWATCH", stuck},
	{"mutex", "mutant: a wake for who gives up is lost", "THREADS=3 CANCELS=1 NO_PASS_ON", stuck},
	{"mutex", "mutant: one is waked when it is unrecoverable", "THREADS=3 KILLS=1 VICTIMS=1 REBORN=0 CARELESS UNRECOVERABLE_WAKES_ONE", stuck},
	{"mutex", "mutant: no backstop", "THREADS=3 KILLS=1 VICTIMS=1 NO_BACKSTOP", stuck},
	{"mutex", "mutant: no backstop for who watches another owner", "THREADS=3 KILLS=1 VICTIMS=1 ALL_KNOW", stuck},

	{"semaphore", "2 twice, 1 permit", "THREADS=2 ROUNDS=2 SPURIOUS=1", holds},
	{"semaphore", "2, 1 permit, 1 killed, 1 context ends", "THREADS=2 KILLS=1 SPURIOUS=1 CANCELS=1", holds},
	{"semaphore", "2 twice, 1 permit, 1 killed and replaced", "THREADS=2 ROUNDS=2 KILLS=1 REBORN=0", holds},
	{"semaphore", "2, 1 permit, 2 killed without a mark, 1 replaced", "THREADS=2 KILLS=2 REBORN=0 UNMARKED", holds},
	{"semaphore", "2 twice, 1 permit, an old number in the cells", "THREADS=2 ROUNDS=2 WRAPPED", holds},
	{"semaphore", "3, 1 permit", "THREADS=3", holds},
	{"semaphore", "3, 2 permits", "THREADS=3 TOTAL=2", holds},
	{"semaphore", "3, 2 permits, 1 killed", "THREADS=3 TOTAL=2 KILLS=1 VICTIMS=1", holds},
	{"semaphore", "3, 2 of one process, 1 permit, 1 killed", "THREADS=3 SAME=2 KILLS=1", holds},
	{"semaphore", "1 posts, 2 wait, 1 waiter killed, 1 context ends", "THREADS=3 TOTAL=0 POSTERS=1 WAITS=2 KILLS=1 VICTIMS=6 CANCELS=1", holds},
	{"semaphore", "2 post, 1 waits", "THREADS=3 TOTAL=0 POSTERS=2 WAITS=1 SPURIOUS=1", holds},
	{"semaphore", "2, 1 permit, 1 killed, to an end", "THREADS=2 KILLS=1 SPURIOUS=1 CANCELS=1 LIVENESS", holds},
	{"semaphore", "3, 1 permit, to an end", "THREADS=3 LIVENESS", holds},

	{"semaphore", "mutant: the last change is forgotten", "THREADS=2 NOT_ENTERED", broken},
	{"semaphore", "mutant: a change is entered twice", "THREADS=3 NO_REREAD", broken},
	{"semaphore", "mutant: the cell is stored", "THREADS=3 CELL_STORED", broken},
	{"semaphore", "mutant: a number that is in the cell already", "THREADS=2 WRAPPED NO_SKIP", broken},
	{"semaphore", "mutant: returned on the mark alone", "THREADS=2 KILLS=1 RETURN_MARKED", broken},
	{"semaphore", "mutant: quick in spite of waiters", "THREADS=3 QUICK_IN_SPITE", stuck},
	{"semaphore", "mutant: the waiters bit is cleared although somebody was waked", "THREADS=3 CLEAR_AND_WAKE_ONE", stuck},
	{"semaphore", "mutant: the waiters bit is cleared after somebody fell asleep", "THREADS=3 WAKE_CLEARS_ALWAYS", stuck},
	{"semaphore", "mutant: the waiters bit is stored", "THREADS=2 WAITERS_STORED", stuck},
	{"semaphore", "mutant: the holders are not watched", "THREADS=2 KILLS=1 NO_WATCH", stuck},
	{"semaphore", "mutant: who is of an earlier generation is not noticed", "THREADS=3 KILLS=1 VICTIMS=1 REBORN=0 SLEEPS_ON_EARLIER", stuck},
	{"semaphore", "mutant: who is of an earlier generation is watched and kept", "THREADS=2 KILLS=1 REBORN=0 EARLIER_LIVE LIVENESS", endless},
	{"semaphore", "mutant: no bell", "THREADS=2 KILLS=1 NO_BELL", stuck},
	{"semaphore", "mutant: a bell between look and sleep is not heard", "THREADS=2 KILLS=1 BELL_UNHEARD", stuck},
	{"semaphore", "mutant: a wake for who gives up is lost", "THREADS=3 CANCELS=1 NO_PASS_ON", stuck},
	{"semaphore", "mutant: no backstop", "THREADS=3 KILLS=1 VICTIMS=1 NO_BACKSTOP", stuck},
	{"semaphore", "mutant: no backstop for who watches another holder", "THREADS=3 KILLS=1 VICTIMS=1 ALL_KNOW", stuck},
	{"semaphore", "512 changes between look and sleep, then a death", "THREADS=3 KILLS=1 VICTIMS=1 LOWBITS=0", stuck},

	{"event", "manual: a pulse, 2 wait, 1 of them killed, 1 context ends", "PULSE THREADS=3 KILLS=1 VICTIMS=6 SPURIOUS=1 CANCELS=1", holds},
	{"event", "manual: a pulse and another set, 2 wait", "PULSE THREADS=4 HELPERS=1", holds},
	{"event", "manual: a pulse, 3 wait", "PULSE THREADS=4", holds},
	{"event", "manual: set twice, 2 follow, 1 of them killed", "FOLLOW THREADS=3 KILLS=1 VICTIMS=6 SPURIOUS=1", holds},
	{"event", "manual: set twice and once more, 2 follow", "FOLLOW THREADS=4 HELPERS=1", holds},
	{"event", "automatic: 2 pass it on, 1 of them killed", "PASS THREADS=3 KILLS=1 VICTIMS=6 SPURIOUS=1", holds},
	{"event", "automatic: reset, 2 pass it on", "PASS THREADS=3 RESETS", holds},
	{"event", "automatic: 3 pass it on", "PASS THREADS=4", holds},
	{"event", "automatic: all are waked, which is only slower", "PASS THREADS=3 SET_WAKES_ALL", holds},
	{"event", "manual: a pulse, 2 wait, to an end", "PULSE THREADS=3 KILLS=1 VICTIMS=6 LIVENESS", holds},
	{"event", "automatic: 2 pass it on, to an end", "PASS THREADS=3 KILLS=1 VICTIMS=6 LIVENESS", holds},

	{"event", "mutant: sets are not counted", "PULSE THREADS=3 NO_COUNT", broken},
	{"event", "mutant: a manual one wakes one", "PULSE THREADS=3 MANUAL_WAKES_ONE", stuck},
	{"event", "mutant: waked before it is set", "PULSE THREADS=3 WAKE_FIRST", stuck},
	{"event", "mutant: the waiters bit is stored", "PULSE THREADS=3 WAITERS_STORED", stuck},
	{"event", "mutant: a reset forgets who waits", "PASS THREADS=3 RESETS RESET_CLEARS_WAITERS", stuck},
	{"event", "mutant: the waiters bit is cleared although somebody was waked", "PASS THREADS=3 CLEAR_AND_WAKE_ONE", stuck},
	{"event", "mutant: taken by a store", "PASS THREADS=3 TAKEN_STORED", broken},
	{"event", "mutant: a wake for who gives up is lost", "PASS THREADS=3 CANCELS=1 NO_PASS_ON", stuck},
	{"event", "mutant: no backstop", "PASS THREADS=3 KILLS=1 VICTIMS=6 NO_BACKSTOP", stuck},
	{"event", "WaitAfter on an automatic one", "FOLLOW AUTOMATIC THREADS=3", stuck},

	{"ring", "drop oldest, 5 messages", "MESSAGES=5", holds},
	{"ring", "drop oldest, 4 messages, 2 killed", "MESSAGES=4 KILLS=2", holds},
	{"ring", "drop oldest, in the arena, 4 messages, 1 killed", "MESSAGES=4 BLOCKS=1 KILLS=1", holds},
	{"ring", "drop oldest, 2 readers, 1 killed", "READERS=2 KILLS=1", holds},
	{"ring", "drop oldest, 2 readers, one joins late, 1 killed", "READERS=2 LATE KILLS=1", holds},
	{"ring", "drop oldest, in the arena, let go, 1 killed", "BLOCKS=1 LETS_GO KILLS=1", holds},
	{"ring", "block, 5 messages, 2 killed", "BLOCK MESSAGES=5 KILLS=2", holds},
	{"ring", "block, in the arena, 4 messages, 1 killed", "BLOCK MESSAGES=4 BLOCKS=1 KILLS=1", holds},
	{"ring", "block, 2 readers, 1 killed", "BLOCK READERS=2 KILLS=1", holds},
	{"ring", "block, in the arena, 2 readers, one joins late, 1 killed", "BLOCK BLOCKS=1 READERS=2 LATE KILLS=1", holds},
	{"ring", "block, let go, 1 killed", "BLOCK LETS_GO KILLS=1", holds},
	{"ring", "block, in the arena, let go, 1 killed", "BLOCK BLOCKS=1 LETS_GO KILLS=1", holds},

	{"ring", "mutant: no second look at the stamp", "NO_SECOND_LOOK", broken},
	{"ring", "mutant: no second look at the stamp of a block", "BLOCKS=1 NO_SECOND_LOOK", broken},
	{"ring", "mutant: a block is not held", "BLOCKS=1 NOT_HELD", broken},
	{"ring", "mutant: a block is let go before it is copied", "BLOCKS=1 HELD_LATE", broken},
	{"ring", "mutant: holds are not looked at", "BLOCKS=1 HOLDS_UNSEEN", broken},
	{"ring", "mutant: stamped before it is filled in", "STAMP_FIRST", broken},
	{"ring", "mutant: the stamp is dropped before the tail moves", "STAMPS_FIRST", stuck},
	{"ring", "mutant: stamps stay", "STAMPS_STAY", broken},
	{"ring", "mutant: stamps stay where all have passed, and one is let go", "BLOCK LETS_GO STAMPS_STAY", broken},
	{"ring", "mutant: who leaves is not counted", "BLOCK BLOCKS=1 LETS_GO NOT_COUNTED", broken},
	{"ring", "mutant: how many have left is looked up after joining", "BLOCK BLOCKS=1 LETS_GO LEFT_LOOKED_UP", broken},
	{"ring", "mutant: a reader does not say that it sleeps", "SLEEPS_UNSAID", stuck},
	{"ring", "mutant: a writer does not say that it waits", "BLOCK SLEEPS_UNNOTED", stuck},
}

var columns = []prove.Column{
	{Name: "model", Key: true}, {Name: "configuration", Key: true}, {Name: "options"},
	{Name: "verdict"}, {Name: "states", Sum: true}, {Name: "commit"},
}

const description = `
The models of the mutex, the semaphore, the event and the ring in [spec/models](../spec/models/README.md), in
which every state was searched with Spin. Run ` + "`make models`" + ` to search again: a row is replaced by the
newest verdict of its configuration, with the commit on which it was reached.

*Holds*: in no state does an assertion fail, and in none does anybody wait while nothing can happen any
more. With LIVENESS it is searched for runs too in which everybody who can make a step makes one
some time, and somebody goes on for ever. *Broken* is an assertion that fails, *stuck* somebody who
waits for ever, *endless* a run that does not end: so must each mutant be, which is a mistake made on
purpose; its states are those until it was found. Two that are found stuck and are no mutants show what
is not promised; the models' README has them.
`
