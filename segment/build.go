package segment

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/memlane/memlane/internal/sys"
)

// A build is a file that has no name yet, or where the file system cannot do
// that, one whose hidden name is nobody's business.
type build struct {
	dir    *folder
	fd     int
	hidden string // its temporary name; "" if it has none
}

// hiddenPrefix begins the temporary names. Names of segments never begin with a
// dot.
const hiddenPrefix = ".memlane-building-"

// noTmpfile makes tests take the way of file systems without O_TMPFILE.
var noTmpfile = false

func newBuild(dir *folder) (*build, error) {
	if _, err := os.Lstat(sys.FDPath(dir.fd)); err == nil && !noTmpfile {
		// Without /proc the file could not be named afterwards.
		//
		// O_TMPFILE needs the folder itself opened; "." of an O_PATH descriptor
		// does.
		fd, err := sys.Openat(dir.fd, ".", sys.OTmpfile|syscall.O_RDWR, 0o600)
		// What kernels and file systems answer that do not know it: see open(2).
		if err == nil || !isErrno(err, syscall.EOPNOTSUPP, syscall.EISDIR, syscall.ENOENT, syscall.EINVAL) {
			return &build{dir: dir, fd: fd}, err
		}
	}
	sweep(dir)
	for range 100 {
		hidden := hiddenPrefix + rand.Text()
		fd, err := sys.Openat(dir.fd, hidden, syscall.O_RDWR|syscall.O_CREAT|syscall.O_EXCL|sys.ONoFollow, 0o600)
		if err != nil {
			return nil, err
		}
		b := &build{dir, fd, hidden}
		// The lock says that somebody lives who builds it. A sweeper can come
		// between making and locking it; then it has been removed, or will be.
		if sys.TryFlock(fd) == nil {
			if st, err := sys.Fstat(fd); err == nil && st.LinkCount > 0 {
				return b, nil
			}
		}
		b.close()
	}
	return nil, errors.New("temporary files disappear as soon as they are made")
}

// publish gives the finished file its name: ErrExist if that is taken.
func (b *build) publish(name string) error {
	if b.hidden == "" {
		err := sys.LinkFD(b.fd, b.dir.fd, name)
		if errors.Is(err, syscall.ENOENT) {
			return fmt.Errorf("%w: giving a file its name needs /proc and an existing folder", err)
		}
		return err
	}
	err := sys.RenameNoReplace(b.dir.fd, b.hidden, name)
	if isErrno(err, syscall.EINVAL, syscall.ENOSYS) {
		// Some network file systems. For a moment the file has two names, and
		// who attaches just then refuses it.
		if err = sys.Link(b.dir.fd, b.hidden, name); err == nil {
			err = sys.Unlinkat(b.dir.fd, b.hidden)
		}
	}
	if err == nil {
		b.hidden = ""
		err = sys.Funlock(b.fd) // of a descriptor that the segment keeps
	}
	return err
}

// close gives the descriptor back, and the file too if it was not published.
func (b *build) close() {
	if b.hidden != "" {
		sys.Unlinkat(b.dir.fd, b.hidden)
	}
	sys.Close(b.fd)
}

// sweep removes the files of builders that were killed: those that nobody has
// locked.
func sweep(dir *folder) {
	names, err := dir.names()
	if err != nil {
		return
	}
	for _, name := range names {
		if !strings.HasPrefix(name, hiddenPrefix) {
			continue
		}
		fd, err := sys.Openat(dir.fd, name, syscall.O_RDWR|sys.ONoFollow|syscall.O_NONBLOCK, 0)
		if err != nil {
			continue // another user's, or gone
		}
		if sys.TryFlock(fd) == nil {
			sys.Unlinkat(dir.fd, name)
		}
		sys.Close(fd)
	}
}
