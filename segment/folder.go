package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/memlane/memlane/internal/sys"
)

// DefaultFolder returns the folder for named segments that is private to the
// user: $MEMLANE_DIR, or memlane-UID in /dev/shm (in the folder for temporary
// files where that is missing). It makes the folder if need be, with mode 0700,
// and refuses one that is somebody else's, is a symbolic link, or can be written
// by others; the error then matches [ErrUntrusted].
//
// It is not $XDG_RUNTIME_DIR: that exists for login sessions only, so a program
// started by cron or in a container would look elsewhere than one started by
// hand, and the two would never meet.
func DefaultFolder() (string, error) {
	path, fd, err := openDefault()
	if err != nil {
		return "", err
	}
	return path, sys.Close(fd)
}

// folder is an open folder. Names are looked up through the descriptor, so that
// a folder that is renamed or replaced meanwhile does not matter.
type folder struct {
	path string
	fd   int
}

// open opens the folder that Config names.
func (c *Config) open(op string) (*folder, error) {
	if c.Folder == "" {
		path, fd, err := openDefault()
		if err != nil {
			return nil, err
		}
		return &folder{path, fd}, nil
	}
	fd, err := sys.Openat(sys.AtCwd, c.Folder, sys.OPath|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, &Error{op, "folder " + c.Folder, err, "make the folder first, or leave Config.Folder empty for the user's private one"}
	}
	return &folder{c.Folder, fd}, nil
}

func (f *folder) close() { sys.Close(f.fd) }

func (f *folder) join(name string) string { return filepath.Join(f.path, name) }

func openDefault() (string, int, error) {
	path := os.Getenv("MEMLANE_DIR")
	if path == "" {
		base := "/dev/shm"
		if st, err := os.Stat(base); err != nil || !st.IsDir() {
			base = os.TempDir()
		}
		path = filepath.Join(base, fmt.Sprintf("memlane-%d", os.Geteuid()))
	}
	fail := func(err error, fix string) (string, int, error) {
		return "", -1, &Error{"open", "private folder " + path, err, fix}
	}
	const another = "remove it, or set MEMLANE_DIR to a folder of your own"
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fail(err, "set MEMLANE_DIR to a folder that can be made")
	}
	fd, err := sys.Openat(sys.AtCwd, path, sys.OPath|sys.ONoFollow, 0)
	if err != nil {
		return fail(err, another)
	}
	st, err := sys.Fstat(fd)
	switch {
	case err != nil:
	case st.Mode&syscall.S_IFMT == syscall.S_IFLNK:
		err = fmt.Errorf("%w: it is a symbolic link", ErrUntrusted)
	case st.Mode&syscall.S_IFMT != syscall.S_IFDIR:
		err = fmt.Errorf("%w: it is not a folder", ErrUntrusted)
	case int(st.UID) != os.Geteuid():
		err = fmt.Errorf("%w: it belongs to user %d", ErrUntrusted, st.UID)
	case st.Mode&0o022 != 0:
		sys.Close(fd)
		return fail(fmt.Errorf("%w: others may write in it, mode %#o", ErrUntrusted, st.Mode&0o777), "chmod 700 "+path)
	}
	if err != nil {
		sys.Close(fd)
		return fail(err, another)
	}
	return path, fd, nil
}
