package main

const description = `What package pubsub promises holds when a process is killed before any of its stores to shared memory, or before or after any
of its system calls, from where it opens the domain to where it closes it; or is stopped there, and goes on when the others
have tried all they may. Run ` + "`make prove-joins`" + ` to add to this table; ` + "`ARGS=\"-only '^publish'\"`" + ` for some of the operations.

Several goroutines take part in that, so that a place is the n-th store or the n-th system call, whoever makes it; *killed
at* and *stopped at* say at how many of them, in the usual run, a victim was. *Lines that store* are those of the source.
Of a line that stores again and again, such as that which copies a message, the first and last times are tried. System
calls with which the Go runtime keeps its threads and its heap are left out.

The conductor has a publisher and a subscriber in the topic. Checked are:

- Every message that a victim has acknowledged comes, once, whole, in order, and at most one that it has not.
- While it is stopped, the conductor's messages come, and somebody who comes then finds everybody, publishes, receives, and leaves.
- One that was stopped comes to a good end: it receives without a gap.
- When it is gone, the conductor knows of nobody else, all of its arena can be had on loan, and after the next one has come
  nothing is in the folder that is not the conductor's.

*Two at once*: one victim is killed, and a second, which may be clearing up after it, is killed too; or the second is
killed while the first is stopped, or dies at the same time. Operations and places are drawn by lot. *Late* are answers
that took more than half a second.`
