package mmap

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/memlane/memlane/internal/sys"
)

// Everything in this file works on a range of the mapping, given as an offset
// from its start and a length in bytes. The kernel works on pages: a range is
// widened to the pages that it touches, except where widening would destroy a
// neighbour's bytes. A length of 0 is a range too and changes nothing.

// SyncFlags say how [Mapping.Sync] writes a range back.
type SyncFlags int

// SyncAsync and SyncWait exclude each other, and one of them must be given.
// That rule is this package's: Linux takes a call with neither and does
// nothing.
const (
	// SyncAsync (MS_ASYNC) only checks the range: since 2.6.19 the kernel
	// keeps track of dirty pages by itself and starts nothing here.
	SyncAsync SyncFlags = sys.MsAsync
	// SyncWait (MS_SYNC) returns when the range is on the storage device.
	SyncWait SyncFlags = sys.MsSync
	// SyncInvalidate (MS_INVALIDATE) can be added to either. On Linux, where
	// file and mapping share one cache, it invalidates nothing; it makes the
	// call fail with EBUSY if the range is locked in memory.
	SyncInvalidate SyncFlags = sys.MsInvalidate
)

// Sync writes what was stored in a range of a shared file mapping to the file's
// storage, as its flags say. Other processes do not need it: they see stores at
// once. A crash of the machine does.
//
// While a file system is failing, the last Sync that it answers may say more than
// is true: ext4 and XFS have been seen to return success for a call that
// overlapped with their shutdown (docs/PROOF.md, late). Before that, what was
// synced was there.
func (m *Mapping) Sync(offset, length int, flags SyncFlags) error {
	if flags&^(SyncAsync|SyncWait|SyncInvalidate) != 0 || (flags&SyncAsync != 0) == (flags&SyncWait != 0) {
		return &Error{"sync", m.name, fmt.Errorf("%w %#x", ErrFlags, int(flags)), "give exactly one of SyncAsync and SyncWait, and SyncInvalidate if you like"}
	}
	return m.onPages("sync", offset, length, func(pages []byte) error {
		return m.explain("sync", sys.Msync(pages, int(flags)), map[syscall.Errno]string{
			syscall.EBUSY: "part of the range is locked in memory: Unlock it, or leave SyncInvalidate out",
			syscall.EIO:   "the storage failed: what was stored since the last successful Sync may not be on disk, and a second Sync can succeed without having saved it",
		})
	})
}

// Protect changes what may be done with all pages that the range touches.
// Write can be granted only if the file was open for writing, or the mapping is
// private.
func (m *Mapping) Protect(offset, length int, prot Prot) error {
	if prot&^(Read|Write|Exec) != 0 {
		return &Error{"protect", m.name, fmt.Errorf("%w: protection %v", ErrFlags, prot), "combine Read, Write and Exec, or use None"}
	}
	return m.onPages("protect", offset, length, func(pages []byte) error {
		return m.explain("protect", sys.Mprotect(pages, int(prot)), map[syscall.Errno]string{
			syscall.EACCES: "the file was not open for that when it was mapped, or is a sealed memfd, or its file system is mounted noexec",
			syscall.EPERM:  "the mapping is sealed, by Pin or as a memfd",
			syscall.ENOMEM: "the process has too many mappings: raise vm.max_map_count",
		})
	})
}

// Advice tells the kernel how a range will be used.
type Advice int

// Advice, named as in madvise(2).
const (
	Normal        Advice = sys.MadvNormal        // no special use
	Random        Advice = sys.MadvRandom        // read ahead little
	Sequential    Advice = sys.MadvSequential    // read ahead much
	WillNeed      Advice = sys.MadvWillNeed      // start reading it in
	DontNeed      Advice = sys.MadvDontNeed      // drop the pages: private memory is lost and reads as the file, or zeros
	Free          Advice = sys.MadvFree          // the content may be lost when memory is short (private anonymous memory)
	Remove        Advice = sys.MadvRemove        // punch a hole: the content is lost for everybody (shared memory)
	DontFork      Advice = sys.MadvDontFork      // a forked child does not get the range
	DoFork        Advice = sys.MadvDoFork        // undo DontFork
	WipeOnFork    Advice = sys.MadvWipeOnFork    // a forked child sees zeros (private anonymous memory)
	KeepOnFork    Advice = sys.MadvKeepOnFork    // undo WipeOnFork
	HugePage      Advice = sys.MadvHugePage      // use transparent huge pages
	NoHugePage    Advice = sys.MadvNoHugePage    // do not
	Collapse      Advice = sys.MadvCollapse      // make huge pages now
	DontDump      Advice = sys.MadvDontDump      // leave the range out of core dumps
	DoDump        Advice = sys.MadvDoDump        // undo DontDump
	Cold          Advice = sys.MadvCold          // reclaim these pages first
	PageOut       Advice = sys.MadvPageOut       // reclaim these pages now
	PopulateRead  Advice = sys.MadvPopulateRead  // see Mapping.Populate
	PopulateWrite Advice = sys.MadvPopulateWrite // see Mapping.Populate
)

// destroys says for which advice the content of the whole pages is lost, so
// that a range must not be widened to the bytes of a neighbour.
func (a Advice) destroys() bool { return a == DontNeed || a == Free || a == Remove || a == WipeOnFork }

var adviceNames = map[Advice]string{
	Normal: "normal", Random: "random", Sequential: "sequential", WillNeed: "willneed", DontNeed: "dontneed",
	Free: "free", Remove: "remove", DontFork: "dontfork", DoFork: "dofork", WipeOnFork: "wipeonfork",
	KeepOnFork: "keeponfork", HugePage: "hugepage", NoHugePage: "nohugepage", Collapse: "collapse",
	DontDump: "dontdump", DoDump: "dodump", Cold: "cold", PageOut: "pageout",
	PopulateRead: "populate-read", PopulateWrite: "populate-write",
}

// String returns the advice's name.
func (a Advice) String() string {
	if name, ok := adviceNames[a]; ok {
		return name
	}
	return fmt.Sprintf("Advice(%d)", int(a))
}

// ParseAdvice returns the advice with the name that String gives it.
func ParseAdvice(name string) (Advice, error) {
	for a, n := range adviceNames {
		if n == name {
			return a, nil
		}
	}
	return 0, &Error{"advise", name, fmt.Errorf("%w: no such advice", ErrFlags), "use a name of madvise(2) in lower case, such as willneed"}
}

// Advise gives the kernel advice about a range. Advice that loses the content
// of whole pages (DontNeed, Free, Remove, WipeOnFork) is not widened: its range
// must begin and end where pages do, or where the mapping does; for Remove on a
// file, where pages do.
func (m *Mapping) Advise(offset, length int, a Advice) error {
	if _, ok := adviceNames[a]; !ok {
		return &Error{"advise", m.name, fmt.Errorf("%w: %v", ErrFlags, a), "use one of the Advice constants"}
	}
	return m.onPages("advise", offset, length, func(pages []byte) error {
		if a.destroys() {
			if err := m.wholePages(offset, length, a); err != nil {
				return err
			}
		}
		return m.explain("advise "+a.String(), sys.Madvise(pages, int(a)), map[syscall.Errno]string{
			syscall.EINVAL: "this kind of mapping does not take that advice, or part of it is locked",
			syscall.EFAULT: "there is no page behind part of the range: the file is too short, or its file system is full",
			syscall.EACCES: "the mapping must be shared and writable for that",
		})
	})
}

// Lock keeps the pages of the range in memory, reading them in first. How much
// a process may lock is limited (ulimit -l).
func (m *Mapping) Lock(offset, length int) error {
	return m.onPages("lock", offset, length, func(pages []byte) error {
		err := sys.Mlock(pages)
		fix := "raise ulimit -l (RLIMIT_MEMLOCK)"
		if limit, limErr := sys.MemlockLimit(); limErr == nil {
			fix = fmt.Sprintf("raise ulimit -l (RLIMIT_MEMLOCK), now %d bytes; or a page of the range has nothing behind it", limit)
		}
		return m.explain("lock", err, map[syscall.Errno]string{syscall.ENOMEM: fix, syscall.EPERM: fix, syscall.EAGAIN: fix})
	})
}

// Unlock lets the kernel reclaim the pages of the range again. Locks do not
// count: one Unlock undoes any number of Locks.
func (m *Mapping) Unlock(offset, length int) error {
	return m.onPages("unlock", offset, length, func(pages []byte) error {
		return m.explain("unlock", sys.Munlock(pages), nil)
	})
}

// Populate brings the pages of the range in, so that touching them later does
// not wait: for Read as they are, for Write ready to be written. The latter
// allocates every page of a shared file mapping, which proves that there is
// room, and copies every page of a private one. Where touching a page would
// raise SIGBUS, Populate returns an error that matches [ErrNoBacking].
func (m *Mapping) Populate(offset, length int, access Prot) error {
	advice := 0
	switch access {
	case Read:
		advice = sys.MadvPopulateRead
	case Write, Read | Write:
		advice = sys.MadvPopulateWrite
	default:
		return &Error{"populate", m.name, fmt.Errorf("%w: populate for %v", ErrFlags, access), "populate for Read or Write"}
	}
	return m.onPages("populate", offset, length, func(pages []byte) error {
		err := sys.Madvise(pages, advice)
		for errors.Is(err, syscall.EINTR) {
			err = sys.Madvise(pages, advice) // what has been populated stays so
		}
		if errors.Is(err, syscall.EFAULT) {
			return &Error{"populate", m.name, fmt.Errorf("%w: %w", ErrNoBacking, err), "make room or make the file longer, then map it again"}
		}
		return m.explain("populate", err, map[syscall.Errno]string{
			syscall.EINVAL: "the protection does not allow that access",
			syscall.ENOMEM: "the memory limit of the process or its cgroup is reached",
		})
	})
}

// Resident reports for each page of the range whether it is in memory: with
// Len bytes, as many values as the mapping has pages of [Mapping.PageSize]. For
// a file that the process may not write and does not own, the kernel says that
// all are.
func (m *Mapping) Resident(offset, length int) ([]bool, error) {
	var resident []bool
	err := m.onPages("resident", offset, length, func(pages []byte) error {
		base := os.Getpagesize() // mincore answers for ordinary pages also where they are huge
		vec := make([]byte, len(pages)/base)
		if err := sys.Mincore(pages, vec); err != nil {
			return m.explain("resident", err, nil)
		}
		resident = make([]bool, len(pages)/m.pageSize)
		for i := range resident {
			resident[i] = vec[i*(m.pageSize/base)]&1 != 0
		}
		return nil
	})
	return resident, err
}

// onPages calls fn with the pages that the range touches, held open. It does
// not call fn for a range of length 0.
func (m *Mapping) onPages(op string, offset, length int, fn func(pages []byte) error) error {
	data, err := m.enter(op)
	if err != nil {
		return err
	}
	defer m.leave()
	if offset < 0 || length < 0 || offset > len(data) || length > len(data)-offset {
		return &Error{op, m.name, fmt.Errorf("%w: %d bytes from offset %d of %d", ErrRange, length, offset, len(data)), "keep the range inside the mapping"}
	}
	if length == 0 {
		return nil
	}
	m.mu.Lock()
	pages := m.pages
	m.mu.Unlock()
	begin := (m.slack + offset) &^ (m.pageSize - 1)
	end := roundUp(m.slack+offset+length, m.pageSize)
	return fn(pages[begin:end])
}

// wholePages checks that no byte outside the range shares a page with it, of
// the mapping or, for Remove, of the file.
func (m *Mapping) wholePages(offset, length int, a Advice) error {
	begin, end := m.slack+offset, m.slack+offset+length
	first := offset == 0 && a != Remove
	last := offset+length == m.Len() && (a != Remove || m.anonymous)
	if (begin%m.pageSize != 0 && !first) || (end%m.pageSize != 0 && !last) {
		return &Error{"advise " + a.String(), m.name, fmt.Errorf("%w: %d bytes from offset %d, in pages of %d", ErrAlignment, length, offset, m.pageSize),
			"this advice destroys whole pages: give it a range of whole pages"}
	}
	return nil
}

// explain wraps what the kernel answered, with the fix for it.
func (m *Mapping) explain(op string, err error, fixes map[syscall.Errno]string) error {
	if err == nil {
		return nil
	}
	e := &Error{Op: op, Object: m.name, Err: err}
	if errno, ok := err.(syscall.Errno); ok {
		e.Fix = fixes[errno]
	}
	return e
}
