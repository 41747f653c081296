package main

const description = `What package shmsync promises of its mutex, semaphore, event and names holds when a process that uses
them is killed after any single machine instruction of what it does, or is stopped there, and goes on
when the others have tried all they may. Run ` + "`make prove-step`" + ` to add to this table;
` + "`ARGS=\"-only 'mutex'\"`" + ` for some of the operations.

A victim is a process of its own, traced (ptrace), that is taken to one place of one operation; there is a
new one for each place. A *place* is before an instruction, after the last one, or asleep in a system call.
Two processes survive it, one of which may be asleep in the operation's counterpart. They check:

- Mutex: who locks it next is told of the death if, and only if, the victim held it; nobody else is inside;
  two numbers that it guards, added to one after the other, agree; what the victim has added is there once or
  not at all; in the end the word is 0. A victim that is stopped and holds it is reported so, and not robbed.
- Semaphore: permits that the victim held are free again, each once; those that it has posted or taken for good
  are there, or not, as its word says; as many as there should be can be had, and not one more.
- Event: it is set or not as its word says; who waits goes on if it is, and otherwise after the next Set.
- Names: the victim's name is there and whole, or not there; its directory is not locked, has no gap, and
  the name can be made by somebody else.
- Members: the dead victim is gone, the stopped one is not; its place is free.
- Single steps over all instructions find the stages of the operation in their order: there is one
  instruction at which each begins.
- Stuck: nobody waits 10 s for anything.

*Killed at* and *stopped at* are the places that were reached, of all: by the same functions, after the
same system calls and in the same stage. A victim that went another way is judged too, and counted in *kills* and
*stops*; for its place there is another. One whose wake came to nothing because who slept beside it was
faster is replaced without being judged. All instructions are counted in
*instructions*; of one that is executed again and again in a loop, called by the same functions, after the
same system calls and in the same stage, the first four times and the last four are places; with
` + "`-loops 0`" + ` all are, which takes hours. *System calls* must be 0 where nobody waits. *Late* are
answers that took over half a second: who should have been waked by the victim, or was to take what it had been
waked for, is found by the look that package wait takes at all sleepers once a second. In *mutants* the victim
breaks a rule, and must be *caught* at one of the places at least.

Of operations that end in *: two*, two victims are killed, at places drawn by lot: the second one is begun where the first
was killed, and clears up after it, until it is killed too.

Victims have one processor of the Go runtime (GOMAXPROCS=1), no garbage collection and no preemption, so
that they go the same way each time: they sleep without spinning before, which is looking at a word that they
do not change. What a process asks once about itself (its PID, when it started) it has asked before. The
segment is in use already: that the first process of all finds it zero is not among the operations.`
