package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// privateFolder returns the folder in which the user's shared memory lies:
// $MEMLANE_DIR, or memlane-UID in /dev/shm. It makes the folder if need be, for
// the user alone, and refuses one that others could have made or could change.
//
// It is not $XDG_RUNTIME_DIR: that exists for login sessions only, so a program
// started by cron or in a container would look elsewhere than one started by
// hand, and the two would never meet.
func privateFolder() (string, error) {
	dir := os.Getenv("MEMLANE_DIR")
	if dir == "" {
		base := "/dev/shm"
		if st, err := os.Stat(base); err != nil || !st.IsDir() {
			base = os.TempDir()
		}
		dir = filepath.Join(base, fmt.Sprintf("memlane-%d", os.Getuid()))
	}
	const fix = "remove it, or set MEMLANE_DIR to a folder of your own"
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("private folder: %w (set MEMLANE_DIR to a folder of your own)", err)
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("private folder: %w", err)
	}
	owner := st.Sys().(*syscall.Stat_t).Uid
	switch {
	case !st.IsDir():
		return "", fmt.Errorf("private folder %s: it is not a folder (%s)", dir, fix)
	case owner != uint32(os.Geteuid()):
		return "", fmt.Errorf("private folder %s: it belongs to user %d (%s)", dir, owner, fix)
	case st.Mode().Perm()&0o022 != 0:
		return "", fmt.Errorf("private folder %s: others may write in it, mode %#o (chmod 700 %s)", dir, st.Mode().Perm(), dir)
	}
	return dir, nil
}

// seedFile returns the file that server and client meet at if no --file says
// otherwise.
func seedFile() (string, error) {
	dir, err := privateFolder()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "seed"), nil
}
