// Package life tells which of the processes that share memory are there, and
// which have died (layer L2).
//
// Three words, of which each promises more than the one before:
//
//   - marked: the kernel, or the process itself, has changed its life word. Its
//     threads may still be running for a moment. A mark may end waits and fail
//     calls, and nothing else.
//   - gone: it can not write into the shared memory any more: it has left, has
//     executed another program, or has died. What it held may be taken over.
//   - dead: the process has ended, all of its threads, though a child that it
//     forked may live.
//
// A process that is stopped is none of these.
//
// # How they are known
//
// Every process that shares a segment is a member of its [Table], and has there
// a life word: a robust futex, held by the one thread of the process that exists
// for this, the keeper. When the thread ends, however it ends, the kernel marks
// the word and wakes one waiter; that takes it tens of microseconds, whatever the
// size of the process. But the process's other threads may not have ended yet.
//
// So a mark is only the sign to look. What is believed is the lock that the
// member has on one byte of the segment's file, an OFD lock of an open file
// description of its own: the kernel releases it when the last descriptor is
// closed, which it does after it has taken the process's memory away. This works
// across all namespaces and between users. A forked child keeps the descriptor;
// there, and in the same PID namespace, a pidfd tells: identified by its inode,
// which no other process ever gets, or where the kernel has no such, by the time
// when the process started. PIDs alone are never believed.
package life
