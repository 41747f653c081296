package demo

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// What a demo makes lies in a folder with this beginning of its name.
const folderPrefix = "memlane-demo-"

// files are all names that a demo ever makes in its folder. Nothing else is
// removed: the folder above it may be any of the user's.
var files = []string{"input", "memory", "message", "guarded", "socket"}

// newFolder makes a folder for this demo below parent, and removes those of
// demos that were killed. The descriptor that it returns holds a lock, by which
// others see that this demo lives.
func newFolder(parent string) (*os.File, error) {
	old, _ := filepath.Glob(filepath.Join(parent, folderPrefix+"*"))
	for _, dir := range old {
		if f, err := lockFolder(dir); err == nil {
			removeFolder(dir)
			f.Close()
		}
	}
	for {
		dir, err := os.MkdirTemp(parent, folderPrefix)
		if err != nil {
			return nil, err
		}
		f, err := lockFolder(dir)
		// Another demo may have come between, and taken it for a dead one's.
		if err == nil {
			if _, err = os.Lstat(dir); err == nil {
				return f, nil
			}
			f.Close()
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, err
		}
	}
}

// lockFolder opens a folder and takes its lock, or fails if somebody has it.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// removeFolder removes a demo's folder with what a demo makes in it.
func removeFolder(dir string) error {
	for _, name := range files {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	// The demo's own domain, whose folders are called after processes.
	if err := os.RemoveAll(filepath.Join(dir, domainName+".domain")); err != nil {
		return err
	}
	return os.Remove(dir)
}
