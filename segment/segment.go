package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"sync"
	"syscall"

	"github.com/memlane/memlane/internal/sys"
	"github.com/memlane/memlane/mmap"
)

// Config holds what is seldom needed. A nil *Config means all zero.
type Config struct {
	// Folder is where named segments lie; "" is [DefaultFolder]. "/dev/shm" is
	// where C's shm_open and Python's SharedMemory look.
	Folder string

	// Mode is the permission of a segment that is created, exactly: the umask
	// does not apply. 0 means 0600.
	Mode fs.FileMode

	// Group is the name or number of the group that a segment that is created
	// shall belong to; "" leaves the process's own.
	Group string

	// Owners are user ids, beside the process's own, whose segments are
	// accepted.
	Owners []int

	// ReadOnly has Attach map for reading.
	ReadOnly bool

	// HugePages asks for huge pages; [Segment.HugePages] reports what became
	// of it. Reserved huge pages are for anonymous segments; a named one gets
	// transparent ones where its file system has them.
	HugePages mmap.HugePages

	// Prefault touches all pages before the call returns, so that later nobody
	// waits for a page fault, and everybody knows that the memory is there.
	Prefault bool

	// Pin has the kernel refuse to unmap the segment or change its protection
	// until the process ends; see [mmap.Mapping.Pin]. Kernels without mseal
	// ignore it.
	Pin bool

	// Fill is called with the bytes of a segment that is being created, all
	// zero, before anybody else can see it. If it fails, nothing is created.
	Fill func(b []byte) error
}

// Segment is shared memory that this process has mapped. What can be done with
// the bytes are the methods of its mapping. It must be closed.
type Segment struct {
	*mmap.Mapping
	path     string  // of a named segment; else ""
	config   *Config // it was found with; nil for an anonymous one
	dev, ino uint64
	hugeWhy  error // why an anonymous segment has no reserved huge pages

	mu      sync.Mutex // guards what follows
	file    *os.File   // its descriptor; nil of one that was received, or once closed
	atClose []func()
	closed  bool
}

// Create makes a named segment of size bytes and maps it for reading and
// writing. If the name is taken, whatever has it, the error matches [ErrExist].
// If there is no room it is an [*mmap.SpaceError].
func Create(name string, size int, c *Config) (*Segment, error) {
	if c == nil {
		c = &Config{}
	}
	if err := checkName("create", name); err != nil {
		return nil, err
	}
	dir, err := c.open("create")
	if err != nil {
		return nil, err
	}
	defer dir.close()
	return create(dir, name, size, c)
}

func create(dir *folder, name string, size int, c *Config) (*Segment, error) {
	fail := func(err error, fix string) (*Segment, error) {
		return nil, &Error{"create", dir.join(name), err, fix}
	}
	if size <= 0 {
		return fail(fmt.Errorf("%w: %d bytes", ErrSize, size), "a segment has at least one byte")
	}
	mode := c.Mode
	if mode == 0 {
		mode = 0o600
	}
	if mode&^fs.ModePerm != 0 {
		return fail(fmt.Errorf("mode %v: %w", mode, fs.ErrInvalid), "give permission bits alone")
	}
	gid := -1
	if c.Group != "" {
		var err error
		if gid, err = groupID(c.Group); err != nil {
			return fail(err, "give a group that exists, or its number")
		}
	}
	b, err := newBuild(dir)
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fail(err, "the file system has no room for another file, of however many bytes")
	case isErrno(err, syscall.EMFILE, syscall.ENFILE):
		return fail(err, "raise ulimit -n")
	case err != nil:
		return fail(err, "check that the folder exists and is writable")
	}
	defer b.close()
	if gid >= 0 {
		if err := sys.Fchown(b.fd, -1, gid); err != nil {
			return fail(fmt.Errorf("give it to group %s: %w", c.Group, err), "choose a group that you are in")
		}
	}
	if err := mmap.ReserveFD(b.fd, dir.join(name), int64(size)); err != nil {
		return fail(err, "")
	}
	s, err := mapFD(b.fd, dir.join(name), size, mmap.Read|mmap.Write, c)
	if err != nil {
		return fail(err, "")
	}
	whole := false
	defer func() {
		if !whole { // Fill can panic too
			s.Close()
		}
	}()
	if c.Fill != nil {
		if err := s.View(c.Fill); err != nil {
			return fail(fmt.Errorf("fill it: %w", err), "")
		}
	}
	// The mode comes last: until then nobody but the owner could open it, not
	// even through /proc or a name that it has while it is built.
	err = sys.Fchmod(b.fd, uint32(mode))
	if err == nil {
		err = b.publish(name)
	}
	if err != nil {
		if errors.Is(err, ErrExist) {
			// Who has the name, so that a squatter is not mistaken for a peer.
			if st, inspectErr := dir.inspect(name); inspectErr == nil {
				if trustErr := c.trust(&st); trustErr != nil {
					return fail(fmt.Errorf("%w, and what has the name is %w", err, trustErr), "choose another name, or a folder that others cannot write in")
				}
			}
			return fail(err, "attach to it, or choose another name")
		}
		return fail(err, "")
	}
	s.path, s.config = dir.join(name), c
	if err := s.keep(b.fd); err != nil {
		return fail(err, "raise ulimit -n")
	}
	if err := s.pin(c); err != nil {
		return fail(err, "")
	}
	whole = true
	return s, nil
}

func groupID(group string) (int, error) {
	if n, err := strconv.ParseUint(group, 10, 31); err == nil {
		return int(n), nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(g.Gid)
}

// Attach maps the named segment, all of it, for reading and writing, or for
// reading only if c says so. If there is none, the error matches [ErrNotExist];
// if what has the name could be somebody else's trap, [ErrUntrusted].
//
// A file that another program made may have holes, for which no memory is
// reserved. Attach reserves them if it may write; reading a hole of a segment
// that was attached read-only can be SIGBUS on a full file system.
func Attach(name string, c *Config) (*Segment, error) {
	if c == nil {
		c = &Config{}
	}
	if err := checkName("attach", name); err != nil {
		return nil, err
	}
	dir, err := c.open("attach")
	if err != nil {
		return nil, err
	}
	defer dir.close()
	return attach(dir, name, 0, c)
}

// attach is [Attach] in an open folder, of a segment that must have size bytes
// unless that is 0.
func attach(dir *folder, name string, size int, c *Config) (*Segment, error) {
	fail := func(err error, fix string) (*Segment, error) {
		return nil, &Error{"attach", dir.join(name), err, fix}
	}
	// Look before opening: opening a FIFO or a device does things.
	before, err := dir.inspect(name)
	if err != nil {
		return fail(err, "create it first, or look with List what there is")
	}
	if err := c.trust(&before); err != nil {
		return fail(err, "remove it, choose a folder that others cannot write in, or accept its user in Config.Owners")
	}
	flags, prot := syscall.O_RDWR, mmap.Read|mmap.Write
	if c.ReadOnly {
		flags, prot = syscall.O_RDONLY, mmap.Read
	}
	fd, err := sys.Openat(dir.fd, name, flags|sys.ONoFollow|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	switch {
	case isErrno(err, syscall.ELOOP, syscall.EISDIR, syscall.ENXIO, syscall.ENOTDIR):
		return fail(fmt.Errorf("%w: it was replaced by something else just now: %w", ErrUntrusted, err), "choose a folder that others cannot write in")
	case errors.Is(err, syscall.EACCES) && !c.ReadOnly:
		return fail(err, "its mode does not let you write: attach it for reading only")
	case err != nil:
		return fail(err, "")
	}
	defer sys.Close(fd)
	st, err := sys.Fstat(fd)
	if err == nil {
		err = c.trust(&st) // it can have been replaced in between
	}
	if err != nil {
		return fail(err, "")
	}
	if st.Size == 0 {
		return fail(ErrEmpty, "whoever made it sets its size after its name: try again")
	}
	if size != 0 && st.Size != int64(size) {
		return fail(fmt.Errorf("%w: it has %d bytes, %d were expected", ErrSize, st.Size, size), "Attach takes it with the size that it has; if that is wrong, its users must agree on one")
	}
	if !c.ReadOnly {
		// Always: that it has as many blocks as bytes does not say where they
		// are. Where none is missing, this costs little.
		if err := mmap.ReserveFD(fd, dir.join(name), st.Size); err != nil {
			return fail(err, "")
		}
	}
	s, err := mapFD(fd, dir.join(name), int(st.Size), prot, c)
	if err != nil {
		return fail(err, "")
	}
	s.path, s.config = dir.join(name), c
	err = s.keep(fd)
	if err == nil {
		err = s.pin(c)
	}
	if err != nil {
		s.Close()
		return fail(err, "")
	}
	return s, nil
}

// CreateOrAttach attaches to the named segment, or creates it with size bytes if
// there is none, and says which. Processes that call it at the same time get the
// same segment, and exactly one of them has created it. A segment that exists
// with another size is an error that matches [ErrSize]; [Attach] takes it as it is.
func CreateOrAttach(name string, size int, c *Config) (s *Segment, created bool, err error) {
	if c == nil {
		c = &Config{}
	}
	if err := checkName("create", name); err != nil {
		return nil, false, err
	}
	dir, err := c.open("create")
	if err != nil {
		return nil, false, err
	}
	defer dir.close()
	// Each turn lost means that somebody else created or removed it between
	// two calls. Nobody can do that for ever by accident.
	if size <= 0 {
		return nil, false, &Error{"create", dir.join(name), fmt.Errorf("%w: %d bytes", ErrSize, size), "a segment has at least one byte"}
	}
	for range 100 {
		s, err = attach(dir, name, size, c)
		if !errors.Is(err, ErrNotExist) {
			return s, false, err
		}
		s, err = create(dir, name, size, c)
		if !errors.Is(err, ErrExist) {
			return s, err == nil, err
		}
	}
	return nil, false, err
}

// Remove takes the segment's name away. Who has it mapped keeps it; its memory
// is freed when the last has let go.
func Remove(name string, c *Config) error {
	if c == nil {
		c = &Config{}
	}
	if err := checkName("remove", name); err != nil {
		return err
	}
	dir, err := c.open("remove")
	if err != nil {
		return err
	}
	defer dir.close()
	sweep(dir) // what killed builders left, where they need names
	return remove(dir, name, c, nil)
}

// remove unlinks name if it is trusted or, with only, if it is that very file.
func remove(dir *folder, name string, c *Config, only *Segment) error {
	st, err := dir.inspect(name)
	if err == nil && only != nil && (st.Dev != only.dev || st.Ino != only.ino) {
		err = fmt.Errorf("another segment has the name now: %w", ErrNotExist)
	}
	if err == nil && only == nil {
		err = c.trust(&st)
	}
	if err == nil {
		err = sys.Unlinkat(dir.fd, name)
	}
	if err != nil {
		return &Error{"remove", dir.join(name), err, ""}
	}
	return nil
}

// inspect looks at what has the name, without opening it and without following
// a symbolic link.
func (f *folder) inspect(name string) (sys.Stat, error) {
	fd, err := sys.Openat(f.fd, name, sys.OPath|sys.ONoFollow, 0)
	if err != nil {
		return sys.Stat{}, err
	}
	defer sys.Close(fd)
	return sys.Fstat(fd)
}

// trust says why a file is not to be used as a segment; nil if it is.
func (c *Config) trust(st *sys.Stat) error {
	switch kind := st.Mode & syscall.S_IFMT; {
	case kind == syscall.S_IFLNK:
		return fmt.Errorf("%w: a symbolic link of user %d", ErrUntrusted, st.UID)
	case kind == syscall.S_IFIFO:
		return fmt.Errorf("%w: a FIFO of user %d", ErrUntrusted, st.UID)
	case kind != syscall.S_IFREG:
		return fmt.Errorf("%w: not a regular file, of user %d", ErrUntrusted, st.UID)
	case !c.accepts(st.UID):
		return fmt.Errorf("%w: a file of user %d", ErrUntrusted, st.UID)
	case st.LinkCount > 1:
		// Somebody may have given a file of ours a second name, here.
		return fmt.Errorf("%w: a file with %d names", ErrUntrusted, st.LinkCount)
	case st.LinkCount == 0:
		return ErrNotExist // removed since its name was looked up
	}
	return nil
}

// mapFD maps a segment's descriptor, which stays the caller's.
func mapFD(fd int, object string, size int, prot mmap.Prot, c *Config) (*Segment, error) {
	st, err := sys.Fstat(fd)
	if err != nil {
		return nil, err
	}
	mc := &mmap.Config{Name: object, HugePages: c.HugePages}
	if c.Prefault {
		mc.Populate = prot & mmap.Write
		if mc.Populate == mmap.None {
			mc.Populate = mmap.Read
		}
	}
	m, err := mmap.MapFD(fd, size, prot, mmap.Shared, mc)
	if err != nil {
		return nil, err
	}
	if err := m.Advise(0, size, mmap.DontFork); err != nil {
		m.Close()
		return nil, err
	}
	return &Segment{Mapping: m, dev: st.Dev, ino: st.Ino}, nil
}

// keep keeps a descriptor of a named segment, whose name others may take away.
func (s *Segment) keep(fd int) error {
	dup, err := sys.DupCloexec(fd)
	if err == nil {
		s.file = os.NewFile(uintptr(dup), s.path)
	}
	return err
}

// pin does what Config.Pin asks for. It comes after everything that can fail: a
// pinned mapping can not be given back.
func (s *Segment) pin(c *Config) error {
	if !c.Pin {
		return nil
	}
	if err := s.Pin(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// Path returns where the segment's file was when it was created or attached; ""
// for an anonymous segment.
func (s *Segment) Path() string { return s.path }

// HugePages returns what kind of huge pages the segment has, or is advised to
// have, and why that is less than Config asked for; nil if it is not.
func (s *Segment) HugePages() (mmap.HugePages, error) {
	got, why := s.Mapping.HugePages()
	return got, errors.Join(s.hugeWhy, why)
}

// File returns a new descriptor of the segment, close-on-exec, which the caller
// closes.
//
// Of a named segment, it is for locks on the file or for what else takes a
// descriptor: it has an open file description of its own, so that its locks are
// the caller's alone, and is open for what the segment was attached for.
//
// Of an anonymous segment that this process has made, it is for handing the
// segment over in some other way than [Segment.Send]: inherited by a child, or
// kept by a service manager. Whoever gets it passes it to [Open]. One that was
// received has no descriptor.
func (s *Segment) File() (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil, &Error{"hand over", s.Name(), s.noFile(), "only an open segment has a descriptor, an anonymous one only for it to be handed over by its owner"}
	}
	fd := int(s.file.Fd())
	if s.path == "" {
		fd, err := sys.DupCloexec(fd)
		if err != nil {
			return nil, &Error{"hand over", s.Name(), err, ""}
		}
		return os.NewFile(uintptr(fd), s.file.Name()), nil
	}
	mode, err := sys.AccessMode(fd)
	if err == nil {
		fd, err = sys.Openat(sys.AtCwd, sys.FDPath(fd), mode, 0)
	}
	if err != nil {
		return nil, &Error{"open again", s.Name(), err, "mount /proc, and see that the file's mode has not been changed since it was attached"}
	}
	return os.NewFile(uintptr(fd), s.path), nil
}

// noFile says why a segment has no descriptor. The caller holds mu.
func (s *Segment) noFile() error {
	if s.closed {
		return mmap.ErrClosed
	}
	return errors.New("it was received")
}

// CloseFile closes the segment's descriptor and leaves the mapping as it is: it
// cannot be sent any more. A process that has many segments can run out of
// descriptors. Closing it again does nothing.
func (s *Segment) CloseFile() error {
	s.mu.Lock()
	file := s.file
	s.file = nil
	s.mu.Unlock()
	if file == nil {
		return nil
	}
	return file.Close()
}

// AtClose has Close call fn, before the memory is unmapped: for what is built on
// a segment and must end with it. If the segment is closed already it returns
// false and does nothing.
func (s *Segment) AtClose(fn func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.atClose = append(s.atClose, fn)
	return true
}

// Close unmaps the segment in this process. A named segment keeps its name and
// content, an anonymous one its content as long as anybody has it. Views and
// calls in flight end normally, and the last of them unmaps; slices of the bytes
// must not be touched any more. Closing again does nothing.
func (s *Segment) Close() error {
	s.mu.Lock()
	file, atClose := s.file, s.atClose
	s.file, s.atClose, s.closed = nil, nil, true
	s.mu.Unlock()
	for _, fn := range atClose {
		fn()
	}
	var fileErr error
	if file != nil {
		fileErr = file.Close()
	}
	return errors.Join(s.Mapping.Close(), fileErr)
}
