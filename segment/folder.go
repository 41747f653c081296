package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
	fail := func(err error, fix string) (*folder, error) {
		return nil, &Error{op, "folder " + c.Folder, err, fix}
	}
	fd, err := sys.OpenFolder(c.Folder)
	switch {
	case errors.Is(err, syscall.ELOOP):
		fix := "give the path without symbolic links"
		if real, err := filepath.EvalSymlinks(c.Folder); err == nil {
			fix = "if you trust it, give the path behind it: " + real
		}
		return fail(fmt.Errorf("%w: a symbolic link is on the path", ErrUntrusted), fix)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return fail(err, "raise ulimit -n")
	case err != nil:
		return fail(err, "make the folder first, or leave Config.Folder empty for the user's private one")
	}
	st, err := sys.Fstat(fd)
	if err == nil {
		err = c.trustFolder(&st)
	}
	if err != nil {
		sys.Close(fd)
		return fail(err, "choose a folder of yours or of root's, or accept its user in Config.Owners")
	}
	return &folder{c.Folder, fd}, nil
}

// trustFolder says why what lies in a folder may be anybody's; nil if the folder
// is of a user who is accepted, or of root, and others cannot replace names of
// ours in it.
func (c *Config) trustFolder(st *sys.Stat) error {
	sticky := st.Mode&syscall.S_ISVTX != 0
	switch {
	case int(st.UID) == sys.OverflowUID() && sticky:
		// The host's root, most likely, as with a /dev/shm that is shared into a
		// container. Whose folder it is, only its files of users who are
		// accepted are used.
	case st.UID != 0 && !c.accepts(st.UID):
		return fmt.Errorf("%w: a folder of user %d", ErrUntrusted, st.UID)
	case st.Mode&0o002 != 0 && !sticky:
		return fmt.Errorf("%w: everybody may replace what is in it, mode %#o without the sticky bit", ErrUntrusted, st.Mode&0o777)
	}
	return nil
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
		// Root's links, as /dev/shm is one on some systems, are no trap.
		if real, err := filepath.EvalSymlinks(base); err == nil {
			base = real
		}
		path = filepath.Join(base, fmt.Sprintf("memlane-%d", os.Geteuid()))
	}
	path = filepath.Clean(path) // with a slash at its end, a link would be followed
	fail := func(err error, fix string) (string, int, error) {
		return "", -1, &Error{"open", "private folder " + path, err, fix}
	}
	const another = "remove it, or set MEMLANE_DIR to a folder of your own"
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fail(err, "set MEMLANE_DIR to a folder that can be made")
	}
	fd, err := sys.OpenFolder(path)
	switch {
	case errors.Is(err, syscall.ELOOP):
		return fail(fmt.Errorf("%w: a symbolic link is on the path", ErrUntrusted), another)
	case errors.Is(err, syscall.ENOTDIR):
		return fail(fmt.Errorf("%w: it is not a folder", ErrUntrusted), "set MEMLANE_DIR to a folder of your own")
	case err != nil:
		return fail(err, another)
	}
	st, err := sys.Fstat(fd)
	switch {
	case err != nil:
	case !(&Config{}).accepts(st.UID):
		err = fmt.Errorf("%w: it belongs to user %d", ErrUntrusted, st.UID)
	case st.Mode&0o022 != 0: // the group's members too
		sys.Close(fd)
		return fail(fmt.Errorf("%w: others may write in it, mode %#o", ErrUntrusted, st.Mode&0o777), "chmod 700 "+path)
	}
	if err != nil {
		sys.Close(fd)
		return fail(err, another)
	}
	return path, fd, nil
}

// accepts reports whether a file of the user may be used: of this process's own
// user, or of one of Owners.
func (c *Config) accepts(uid uint32) bool {
	if int(uid) == sys.OverflowUID() {
		// Inside a user namespace all users that it does not know look like
		// this one: it can be anybody's.
		return false
	}
	return int(uid) == os.Geteuid() || slices.Contains(c.Owners, int(uid))
}
