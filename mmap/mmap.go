package mmap

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/memlane/memlane/internal/sys"
)

// Prot says what the processor lets this process do with mapped memory: None,
// or Read, Write and Exec in any combination. On amd64 and arm64 memory that
// can be written or executed can also be read.
type Prot int

// Protections.
const (
	None  Prot = sys.ProtNone  // no access: touching it faults
	Read  Prot = sys.ProtRead  // loads
	Write Prot = sys.ProtWrite // stores
	Exec  Prot = sys.ProtExec  // running it as code
)

// String returns the protection as "read|write" and so on.
func (p Prot) String() string {
	if p == None {
		return "none"
	}
	var names []string
	for _, n := range []struct {
		bit  Prot
		name string
	}{{Read, "read"}, {Write, "write"}, {Exec, "exec"}} {
		if p&n.bit != 0 {
			names = append(names, n.name)
			p &^= n.bit
		}
	}
	if p != 0 {
		names = append(names, fmt.Sprintf("%#x", int(p)))
	}
	return strings.Join(names, "|")
}

// Sharing says who sees what is stored into a mapping. It has no default: every
// caller chooses one.
type Sharing int

// The two ways to map.
const (
	// Shared: stores go to the file, and every process that maps it shared, or
	// reads it, sees them.
	Shared Sharing = sys.MapShared
	// Private: stores stay in this process; a page is copied when it is first
	// written. Whether later changes to the file are seen in pages not yet
	// written is left open by the kernel.
	Private Sharing = sys.MapPrivate
)

// HugePages asks for memory in larger pages, so that fewer of the processor's
// address translations are needed.
type HugePages int

// Kinds of huge pages. What was asked for and what was got can differ:
// [Mapping.HugePages] reports it.
const (
	HugeNone        HugePages = 0  // ordinary pages
	HugeTransparent HugePages = 1  // advise the kernel to use huge pages where it can
	Huge2MiB        HugePages = 21 // reserved pages of 2 MiB (vm.nr_hugepages), else transparent ones
	Huge1GiB        HugePages = 30 // reserved pages of 1 GiB, else transparent ones
)

// String returns the kind's name.
func (h HugePages) String() string {
	switch h {
	case HugeNone:
		return "none"
	case HugeTransparent:
		return "transparent"
	case Huge2MiB:
		return "2MiB"
	case Huge1GiB:
		return "1GiB"
	}
	return fmt.Sprintf("HugePages(%d)", int(h))
}

// Config holds what is seldom needed. A nil *Config means all zero.
type Config struct {
	// Offset is where in the file the mapping begins, in bytes. Any offset
	// works: that the kernel maps whole pages is this package's business.
	Offset int64

	// Addr asks for an address for the page that holds Offset. It is a hint
	// unless Fixed is set; 0 lets the kernel choose.
	Addr uintptr

	// Fixed insists on Addr, which must be a multiple of the page size: if
	// anything is mapped there already, Map fails with ErrInUse. This is
	// MAP_FIXED_NOREPLACE. Plain MAP_FIXED is not offered: it silently
	// replaces whatever lies in the range, and in a Go program that can be the
	// heap or a goroutine's stack.
	Fixed bool

	// Populate brings all pages in before Map returns: Read for reading,
	// Write to have them ready to be written, which on a shared mapping also
	// proves that the file system has room for them. See [Mapping.Populate].
	Populate Prot

	// Lock keeps all pages in memory, as [Mapping.Lock] does.
	Lock bool

	// HugePages asks for huge pages.
	HugePages HugePages

	// BeyondEOF lets the mapping reach past the last page of the file, for a
	// file that will grow. Until it has grown, touching that part is SIGBUS;
	// without this option Map and Grow refuse with ErrBeyondEOF.
	BeyondEOF bool

	// Name is what errors call the object instead of the file's name.
	Name string
}

// Mapping is a range of mapped memory. It is made by [Map], [MapFD] or
// [MapAnonymous] and must be closed: it is not garbage collected.
type Mapping struct {
	name      string
	pageSize  int  // bytes; what the kernel maps this in: a page, or a huge page
	slack     int  // bytes of the first page before data
	anonymous bool // no file behind it
	sharing   Sharing
	beyondEOF bool // Config.BeyondEOF
	huge      HugePages
	hugeWhy   error

	mu     sync.Mutex // guards what follows
	pages  []byte     // the whole pages that are mapped; nil once unmapped
	data   []byte     // the part of pages that was asked for
	users  int        // calls and views that need the pages to stay
	closed bool
	pinned bool // by Pin: the kernel will not unmap it
}

// Map maps length bytes of the file. The file may be closed afterwards: the
// mapping keeps what it maps alive by itself.
//
// The file must be open for reading, and for writing too if the mapping is
// shared and can be written. It must be long enough already: map what it has,
// or Truncate it first.
func Map(f *os.File, length int, prot Prot, sharing Sharing, c *Config) (*Mapping, error) {
	if c == nil {
		c = &Config{}
	}
	if f == nil {
		return nil, &Error{"map", "nil file", os.ErrInvalid, "open a file first, or use MapAnonymous"}
	}
	name := c.Name
	if name == "" {
		name = f.Name()
	}
	var m *Mapping
	var mapErr error
	conn, err := f.SyscallConn()
	if err == nil {
		// Control, not Fd: the descriptor cannot be closed and reused
		// meanwhile, and a non-blocking file stays non-blocking.
		err = conn.Control(func(fd uintptr) { m, mapErr = mapFile(int(fd), name, length, prot, sharing, c) })
	}
	if err != nil {
		// What Control answers for a closed file does not match os.ErrClosed.
		return nil, &Error{"map", name, fmt.Errorf("%w: %w", os.ErrClosed, err), "map a file before closing it; the mapping outlives the descriptor"}
	}
	return m, mapErr
}

// MapFD is [Map] for a bare descriptor, which stays the caller's.
func MapFD(fd, length int, prot Prot, sharing Sharing, c *Config) (*Mapping, error) {
	if c == nil {
		c = &Config{}
	}
	name := c.Name
	if name == "" {
		name = fmt.Sprintf("fd %d", fd)
	}
	return mapFile(fd, name, length, prot, sharing, c)
}

// MapAnonymous maps length bytes of zeros that no file stands behind. Shared,
// it is shared with children that are forked later without exec, which Go
// programs do not have: to hand memory to another process, map a file.
func MapAnonymous(length int, prot Prot, sharing Sharing, c *Config) (*Mapping, error) {
	if c == nil {
		c = &Config{}
	}
	name := c.Name
	if name == "" {
		name = "anonymous memory"
	}
	if c.Offset != 0 {
		return nil, &Error{"map", name, fmt.Errorf("%w %d", ErrOffset, c.Offset), "anonymous memory begins at 0"}
	}
	if err := checkArguments(name, length, prot, sharing, c); err != nil {
		return nil, err
	}
	m := &Mapping{name: name, pageSize: os.Getpagesize(), sharing: sharing, anonymous: true}
	flags := int(sharing) | sys.MapAnonymous
	if c.HugePages > HugeTransparent {
		hugeSize := 1 << c.HugePages
		if length <= math.MaxInt-hugeSize {
			pages, err := m.mmap(c, roundUp(length, hugeSize), prot, flags|sys.MapHugeTLB|int(c.HugePages)<<sys.MapHugeShift, -1, 0)
			if err == nil {
				m.pageSize = hugeSize
				m.huge = c.HugePages
				return m.finish(c, pages, length)
			}
			m.hugeWhy = fmt.Errorf("no reserved pages of %v: %w (see vm.nr_hugepages)", c.HugePages, err)
		}
	}
	pages, err := m.mmap(c, roundUp(length, m.pageSize), prot, flags, -1, 0)
	if err != nil {
		return nil, explainMap(name, -1, length, prot, sharing, c, err)
	}
	if c.HugePages != HugeNone {
		m.adviseHuge(pages, -1, c.HugePages)
	}
	return m.finish(c, pages, length)
}

func mapFile(fd int, name string, length int, prot Prot, sharing Sharing, c *Config) (*Mapping, error) {
	if err := checkArguments(name, length, prot, sharing, c); err != nil {
		return nil, err
	}
	st, err := sys.Fstat(fd)
	if err != nil {
		return nil, &Error{"map", name, fmt.Errorf("descriptor %d: %w", fd, err), "pass an open descriptor; close it only after mapping"}
	}
	m := &Mapping{name: name, pageSize: os.Getpagesize(), sharing: sharing, beyondEOF: c.BeyondEOF}
	fsys, fsErr := sys.Fstatfs(fd)
	fsKnown := fsErr == nil
	if fsKnown && fsys.HugeTLB {
		m.pageSize = int(fsys.BlockSize)
	}
	m.slack = int(c.Offset % int64(m.pageSize))
	// Rounded up to whole pages, the end must still be a file position and the
	// size an int; both are 64 bits here.
	if c.Offset > math.MaxInt64-int64(length)-2*int64(m.pageSize) || length > math.MaxInt-2*m.pageSize {
		return nil, &Error{"map", name, fmt.Errorf("%w: %d bytes from offset %d", ErrLength, length, c.Offset), "no file reaches that far"}
	}
	if st.Regular() && !c.BeyondEOF {
		if c.Offset > 0 && c.Offset >= st.Size {
			return nil, &Error{"map", name, fmt.Errorf("%w: offset %d, and the file has %d bytes", ErrBeyondEOF, c.Offset, st.Size),
				"choose an offset inside the file, or Truncate it to a larger size first"}
		}
		if st.Size == 0 && length > 0 && fsKnown && fsys.Pseudo {
			return nil, &Error{"map", name, errors.New("a file of /proc or /sys cannot be mapped"), "read it"}
		}
		// The pages that exist end where the file's last page does.
		if end := c.Offset + int64(length); end > roundUp64(st.Size, m.pageSize) {
			return nil, &Error{"map", name, fmt.Errorf("%w: bytes %d to %d, and the file has %d", ErrBeyondEOF, c.Offset, end, st.Size),
				fmt.Sprintf("Truncate the file to %d bytes first, or set Config.BeyondEOF if it will grow before you touch that part", end)}
		}
	}
	pages, err := m.mmap(c, roundUp(m.slack+length, m.pageSize), prot, int(sharing), fd, c.Offset-int64(m.slack))
	if err != nil {
		return nil, explainMap(name, fd, length, prot, sharing, c, err)
	}
	if c.HugePages != HugeNone {
		if m.pageSize == 1<<c.HugePages {
			m.huge = c.HugePages
		} else {
			m.adviseHuge(pages, fd, c.HugePages)
		}
	}
	return m.finish(c, pages, length)
}

func checkArguments(name string, length int, prot Prot, sharing Sharing, c *Config) error {
	fail := func(err error, fix string) error { return &Error{"map", name, err, fix} }
	switch {
	case length <= 0:
		return fail(fmt.Errorf("%w %d", ErrLength, length), "map at least one byte")
	case length > math.MaxInt-os.Getpagesize():
		return fail(fmt.Errorf("%w %d", ErrLength, length), "the address space is smaller than that")
	case c.Offset < 0:
		return fail(fmt.Errorf("%w %d", ErrOffset, c.Offset), "offsets begin at 0")
	case prot&^(Read|Write|Exec) != 0:
		return fail(fmt.Errorf("%w: protection %v", ErrFlags, prot), "combine Read, Write and Exec, or use None")
	case sharing != Shared && sharing != Private:
		// Linux takes both bits at once for MAP_SHARED_VALIDATE and would map
		// shared without a word.
		return fail(fmt.Errorf("%w: sharing %d", ErrFlags, int(sharing)), "choose exactly one of Shared and Private")
	case c.Populate&^(Read|Write) != 0:
		return fail(fmt.Errorf("%w: populate %v", ErrFlags, c.Populate), "populate for Read or Write")
	case c.HugePages != HugeNone && c.HugePages != HugeTransparent && c.HugePages != Huge2MiB && c.HugePages != Huge1GiB:
		return fail(fmt.Errorf("%w: %v", ErrFlags, c.HugePages), "choose one of the Huge constants")
	case c.Fixed && c.Addr == 0:
		return fail(fmt.Errorf("%w: Fixed without Addr", ErrFlags), "set Addr, or leave Fixed out")
	case c.Fixed && c.Addr%uintptr(os.Getpagesize()) != 0:
		return fail(fmt.Errorf("%w: fixed address %#x", ErrAlignment, c.Addr), fmt.Sprintf("use a multiple of the page size, %d", os.Getpagesize()))
	}
	return nil
}

// mmap makes the system call for whole pages.
func (m *Mapping) mmap(c *Config, size int, prot Prot, flags, fd int, offset int64) ([]byte, error) {
	if c.Fixed {
		flags |= sys.MapFixedNoReplace
	}
	return sys.Mmap(c.Addr, size, int(prot), flags, fd, offset)
}

// finish does what was asked for beyond the bare mapping, and undoes the
// mapping if that fails: a mapping is handed out whole or not at all.
func (m *Mapping) finish(c *Config, pages []byte, length int) (*Mapping, error) {
	m.pages = pages
	m.data = pages[m.slack : m.slack+length : m.slack+length]
	var err error
	if c.Populate != None {
		err = m.Populate(0, length, c.Populate)
	}
	if err == nil && c.Lock {
		err = m.Lock(0, length)
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// adviseHuge asks for transparent huge pages and notes what became of it. fd is
// -1 for anonymous memory.
func (m *Mapping) adviseHuge(pages []byte, fd int, asked HugePages) {
	if fd >= 0 && asked > HugeTransparent {
		m.hugeWhy = fmt.Errorf("the file is not on a hugetlbfs with pages of %v", asked)
	}
	fail := func(why error) { m.hugeWhy = errors.Join(m.hugeWhy, why) }
	if err := sys.Madvise(pages, sys.MadvHugePage); err != nil {
		fail(fmt.Errorf("transparent huge pages refused: %w", err))
		return
	}
	// The kernel accepts the advice also where nothing comes of it. Private
	// memory has one switch, memory that is shared another; files on disks have
	// no huge pages that can be written.
	policy := "/sys/kernel/mm/transparent_hugepage/enabled"
	if m.sharing == Shared {
		policy = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
	}
	if fd >= 0 {
		fsys, err := sys.Fstatfs(fd)
		if err != nil || !fsys.Memory {
			fail(errors.New("transparent huge pages are for memory: anonymous, a memfd, or a file on a tmpfs"))
			return
		}
		policy = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
	}
	set, err := os.ReadFile(policy)
	if err != nil || strings.Contains(string(set), "[never]") || strings.Contains(string(set), "[deny]") {
		fail(fmt.Errorf("transparent huge pages are off: %s is %q", policy, strings.TrimSpace(string(set))))
		return
	}
	m.huge = HugeTransparent
}

// explainMap turns mmap's errno into what the user can do about it. fd is -1
// for anonymous memory.
func explainMap(name string, fd, length int, prot Prot, sharing Sharing, c *Config, err error) error {
	e := &Error{Op: "map", Object: name, Err: err}
	switch {
	case errors.Is(err, syscall.EACCES):
		mode, modeErr := sys.AccessMode(fd)
		switch {
		case modeErr == nil && mode == syscall.O_WRONLY:
			e.Err = fmt.Errorf("the file is open for writing only: %w", err)
			e.Fix = "open it with os.O_RDWR: the kernel reads the pages even for a mapping that is only written"
		case modeErr == nil && mode == syscall.O_RDONLY && prot&Write != 0 && sharing == Shared:
			e.Err = fmt.Errorf("the file is open read-only and the mapping is shared with %v: %w", prot, err)
			e.Fix = "open it with os.O_RDWR, or map it with Read, or Private"
		default:
			e.Fix = "only regular files, devices and memory files can be mapped, not folders, pipes or sockets"
		}
	case errors.Is(err, syscall.EPERM):
		fsys, fsErr := sys.Fstatfs(fd)
		if fsErr == nil && fsys.NoExec && prot&Exec != 0 {
			e.Err = fmt.Errorf("its file system is mounted noexec: %w", err)
			e.Fix = "leave Exec out, or keep the file on a file system that allows execution"
		} else {
			e.Err = fmt.Errorf("%v is forbidden: %w", prot, err)
			e.Fix = "if this is a sealed memfd, map it without Write"
		}
	case errors.Is(err, syscall.EBADF):
		e.Fix = "open the file for reading; a descriptor of O_PATH cannot be mapped"
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.ENODEV):
		e.Err = fmt.Errorf("this kind of file cannot be mapped: %w", err)
		e.Fix = "map a regular file, a device or a memfd"
	case errors.Is(err, syscall.EEXIST):
		e.Err = fmt.Errorf("%w: something is mapped in %#x to %#x already: %w", ErrInUse, c.Addr, c.Addr+uintptr(length), err)
		e.Fix = "choose another address, or leave Fixed out"
	case errors.Is(err, syscall.ENOMEM) && c.Fixed && c.Addr >= addressLimit:
		e.Err = fmt.Errorf("fixed address %#x is not in the address space: %w", c.Addr, err)
		e.Fix = "choose one below 1<<47, or leave Fixed out"
	case errors.Is(err, syscall.ENOMEM) && fd >= 0 && onHugeTLB(fd):
		e.Err = fmt.Errorf("not enough reserved huge pages: %w", err)
		e.Fix = "raise vm.nr_hugepages, or map less"
	case errors.Is(err, syscall.ENOMEM):
		e.Err = fmt.Errorf("no address space or memory for %d bytes: %w", length, err)
		e.Fix = "map less; or raise ulimit -v, vm.max_map_count or the overcommit limit"
	case errors.Is(err, syscall.EINVAL) && fd >= 0:
		e.Fix = "the file system refuses this offset, length or address"
	case errors.Is(err, syscall.EOVERFLOW):
		e.Err = fmt.Errorf("%w: %w", ErrLength, err)
		e.Fix = "no file reaches that far"
	}
	return e
}

// addressLimit is where the addresses of a process end with page tables of four
// levels; x86-64 and arm64 kernels with more give what is above to nobody who
// does not ask for it.
const addressLimit = 1 << 47

func onHugeTLB(fd int) bool {
	fsys, err := sys.Fstatfs(fd)
	return err == nil && fsys.HugeTLB
}

// enter holds the mapping open for one call or view and returns its bytes.
// Every successful enter is followed by one leave.
func (m *Mapping) enter(op string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, &Error{op, m.name, ErrClosed, "map it again, or Close it later"}
	}
	m.users++
	return m.data, nil
}

func (m *Mapping) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.users--
	if m.closed && m.users == 0 {
		m.unmap()
	}
}

// unmap gives the pages back. The caller holds mu, and users is 0.
func (m *Mapping) unmap() error {
	pages := m.pages
	m.pages, m.data = nil, nil
	if m.pinned {
		return nil
	}
	if err := sys.Munmap(pages); err != nil {
		return &Error{"unmap", m.name, err, ""}
	}
	return nil
}

// Close unmaps the memory. It does not write it to disk: what was stored into a
// shared mapping is in the file for every reader at once, and on disk when the
// kernel gets to it or [Mapping.Sync] asks. Slices from [Mapping.Bytes] and
// typed views must not be touched any more.
//
// Close does not wait for views and calls in flight: they end normally, and the
// last of them unmaps; new calls return ErrClosed. Closing again does nothing.
func (m *Mapping) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	if m.users > 0 {
		return nil
	}
	return m.unmap()
}

// Pin has the kernel refuse, until the process ends, to unmap the mapping, move
// it or change its protection (mseal, Linux 6.10): a stray call elsewhere in the
// program then cannot take it away. Close afterwards ends the use of the mapping
// and leaves the memory mapped. Where the kernel cannot, the error matches
// errors.ErrUnsupported and nothing has changed.
func (m *Mapping) Pin() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return &Error{"pin", m.name, ErrClosed, "pin it before Close"}
	}
	if err := sys.Mseal(m.pages); err != nil {
		return &Error{"pin", m.name, err, "go on without: it guards against mistakes of this program only"}
	}
	m.pinned = true
	return nil
}

// Bytes returns the mapped bytes themselves, not a copy; nil after Close. The
// slice is good until Close, or until a Grow that moves the mapping: kept
// longer and touched, it faults and ends the program, or shows what has been
// mapped at its address since. [Mapping.View] is the way to be safe from that.
// Storing into a mapping without Write faults too.
func (m *Mapping) Bytes() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	return m.data
}

// View calls fn with the mapped bytes and keeps them mapped until it returns,
// even if the mapping is closed meanwhile, by fn too. The slice must not be
// kept. A fault in this mapping while fn runs, such as SIGBUS after the file
// was truncated, ends fn where it stands and is returned as a [*FaultError];
// the limits are those of [Guard]. Other panics pass through.
func (m *Mapping) View(fn func(b []byte) error) error { return m.view("view", fn) }

// view is [Mapping.View] under the name that errors give the operation.
func (m *Mapping) view(op string, fn func(b []byte) error) error {
	b, err := m.enter(op)
	if err != nil {
		return err
	}
	defer m.leave()
	return guard(op, m, b, func() error { return fn(b) })
}

// Len returns the length in bytes that was mapped, or grown to; 0 after Close.
func (m *Mapping) Len() int { return len(m.Bytes()) }

// Name returns what errors call the mapping: the file's name, if it has one.
func (m *Mapping) Name() string { return m.name }

// PageSize returns the size in bytes of the pages that the mapping is made of.
func (m *Mapping) PageSize() int { return m.pageSize }

// HugePages returns what kind of huge pages the mapping has, or is advised to
// have, and why that is less than Config asked for; nil if it is not.
func (m *Mapping) HugePages() (HugePages, error) { return m.huge, m.hugeWhy }

func roundUp(n, pageSize int) int { return (n + pageSize - 1) &^ (pageSize - 1) }

func roundUp64(n int64, pageSize int) int64 {
	return (n + int64(pageSize) - 1) &^ (int64(pageSize) - 1)
}
