// Package shmsync has locks, semaphores and events that lie in shared memory and
// work between processes (layer L3).
//
// Each is a few bytes of a named segment: [MutexAt], [SemaphoreAt] and [EventAt]
// use those at an offset, where zeros are a primitive that is ready, and
// [NamedMutex] and its like find one by its name in the segment's own directory,
// or make it: there is room for 62 names, which are never removed. Processes that
// use them need nothing in common but the segment's file: no parent, no user, no PID
// namespace, no daemon.
//
//	s, _, err := segment.CreateOrAttach("counters", 1<<20, nil)
//	mu, err := shmsync.MutexAt(s, 0)
//	switch err := mu.Lock(ctx); {
//	case errors.Is(err, shmsync.ErrOwnerDied):
//		repair(s) // it was in the middle of something
//		mu.Consistent()
//	case err != nil:
//		return err
//	}
//	defer mu.Unlock()
//
// The last [AreaBytes] of the segment are this package's; see [Area].
//
// # When a process dies
//
// Whatever it was doing, and however it died, nobody waits for it for ever. A
// mutex that it held goes to the next who locks it, together with [ErrOwnerDied],
// as soon as the dead process can not write any more: within a millisecond, if it
// was small. The permits of a [Semaphore] that it held are returned. A process
// that executes another program counts as one that died. A process that is stopped
// does not; it keeps what it holds.
//
// Closing a handle of the segment counts as a death too, of that handle: what was
// locked or acquired through it goes to others as if its process had died, also where
// the process has attached to the segment twice and goes on with the other handle.
//
// It is handles of segments that hold locks and permits, not goroutines: as with
// package sync, a goroutine may unlock what another one has locked, through the same
// [segment.Segment]. A process that has two of one segment is two to this package;
// where it says process, it means that.
//
// # What is not promised
//
// All who can write the segment share it: one that stores arbitrary bytes into it
// can keep others from going on, or let two of them in at once. It can not crash
// them: what is wrong is an error, of a file that was cut short too. There is no
// order among waiters, and who unlocks and locks again at once often wins.
//
// # Cost
//
// A mutex that nobody else wants is one compare-and-swap to lock and one to
// unlock. Waiters look for a while, then sleep in the kernel; see [Mutex.Lock].
// Every process has one thread more from its first use of a segment on, whose end
// tells the others that it died.
//
// # Concurrency
//
// All methods may be called from several goroutines at once. Closing the segment
// ends calls in flight with [ErrClosed].
package shmsync
