package prove

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Workspace makes a folder below dir for the segments and ledgers of a campaign's run, and
// removes those that killed runs of it have left. A folder in use is locked by its run.
func Workspace(dir, campaign string) (path string, remove func() error, err error) {
	prefix := "memlane-prove-" + campaign + "-"
	old, err := filepath.Glob(filepath.Join(dir, prefix+"*"))
	if err != nil {
		return "", nil, fmt.Errorf("look for leftovers in %s: %w", dir, err)
	}
	for _, path := range old {
		f, err := lock(path)
		if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
			continue // of another run, or user
		}
		if err == nil {
			err = os.RemoveAll(path)
			f.Close()
		}
		if err != nil {
			return "", nil, fmt.Errorf("remove a leftover: %w", err)
		}
	}
	if path, err = os.MkdirTemp(dir, prefix); err != nil {
		return "", nil, err
	}
	f, err := lock(path)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(path))
	}
	return path, func() error {
		defer f.Close()
		return os.RemoveAll(path)
	}, nil
}

func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}
