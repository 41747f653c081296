// Package segment makes shared memory an object: created whole, found by name
// or handed over, protected, and cleaned up. It is layer L2, on top of package
// mmap, and adds nothing to the bytes: a segment is bare memory from offset 0,
// so that C's shm_open, Python's SharedMemory and any program that maps the
// file see the same.
//
// # Named segments
//
// A named segment is a file in a folder, by default in one that is private to
// the user. [Create] builds it without a name (O_TMPFILE), reserves all of its
// memory, fills it, and only then gives it its name: other processes see it
// whole or not at all, of several creators exactly one wins, and one that is
// killed leaves nothing. [Attach] opens it, and refuses what somebody else could
// have put there: symbolic links, files that are not regular, files of other
// users, files with a second name.
//
// Whoever may write a named segment may also cut it short, whereupon touching it
// raises SIGBUS; [mmap.Mapping.View] makes that an error.
//
// # Anonymous segments
//
// An anonymous segment is a memfd that its owner maps for writing and then
// seals, so that from then on nobody, the owner included, can write it through a
// descriptor, map it for writing, change its size, or punch holes into it. Only
// the owner's own mapping writes. [Segment.Send] hands it to another process
// over a Unix socket; [Receive] checks the seals, the size and that the memory
// is reserved before mapping it for reading. What it maps can not be taken away:
// no peer causes SIGBUS.
//
// # Concurrency
//
// All functions and methods may be called from several goroutines and processes
// at once. What is stored in the bytes is for their users to coordinate. A child
// that is forked without exec does not get the memory (MADV_DONTFORK).
package segment
