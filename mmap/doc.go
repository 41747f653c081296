// Package mmap maps files and memory into the address space, completely and
// safely: the raw mapping under everything in memlane, public because it is
// useful alone.
//
// Two processes that map the same file shared see each other's bytes with no
// call in between:
//
//	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644) // 1. a file,
//	err = f.Truncate(1024)                                    // 2. its size,
//	m, err := mmap.Map(f, 1024, mmap.Read|mmap.Write, mmap.Shared, nil)
//	f.Close()                       // the mapping stays
//	copy(m.Bytes(), "hello")        // 3. use it like memory,
//	m.Sync(0, m.Len(), mmap.SyncWait) // 4. have it on disk, if that matters,
//	m.Close()                       // 5. unmap.
//
// # What a raw mapping does not do
//
// There is no synchronisation: a reader may see half of what a writer is
// storing. And the memory is only as good as the file behind it: if someone
// truncates the file, or its file system fills up, touching the mapping raises
// SIGBUS, which ends a Go program. Inside [Guard], [Mapping.View],
// [Mapping.ReadAt] and [Mapping.WriteAt] it is a [*FaultError] instead; read
// the limits at [Guard].
//
// # Lifetime of the bytes
//
// Slices and typed views point into the mapping, not into the Go heap. They are
// dead after [Mapping.Close], and after a [Mapping.Grow] that moved the mapping:
// touching them then faults, or reads whatever has been mapped at that address
// since. [Mapping.View] holds the mapping open while its function runs.
//
// # Concurrency
//
// All methods may be called from several goroutines at once. Close does not
// wait: calls and views in flight end normally and the last one unmaps. The
// bytes themselves are for the callers to coordinate, and the race detector
// does not see accesses to mapped memory.
package mmap
