package meet_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/memlane/memlane/internal/meet"
)

// Whatever the kernel says has a setting that is named, and what it says is not lost.
func TestLimited(t *testing.T) {
	// A file that cannot be polled is what one is of which the kernel watches no more.
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unpollable := meet.Pollable(file)
	if unpollable == nil {
		t.Fatal("a file of a disk can be polled")
	}
	for is, setting := range map[error]string{
		syscall.EMFILE:       "RLIMIT_NOFILE",
		syscall.ENFILE:       "fs.file-max",
		syscall.ENOMEM:       "vm.max_map_count",
		syscall.ENOSPC:       "nr_inodes",
		syscall.EDQUOT:       "quota",
		syscall.ETOOMANYREFS: "RLIMIT_NOFILE",
		unpollable:           "fs.epoll.max_user_watches",
	} {
		fix, err := meet.Limited(fmt.Errorf("open: %w", is))
		if !errors.Is(err, meet.ErrLimit) || !errors.Is(err, is) || !strings.Contains(fix, setting) {
			t.Errorf("%v: %v, %s; want %v, and %s", is, err, fix, meet.ErrLimit, setting)
		}
		if fix, again := meet.Limited(err); again != err || fix != "" {
			t.Errorf("said twice: %v, %s", again, fix)
		}
	}
	if fix, err := meet.Limited(syscall.EACCES); err != syscall.EACCES || fix != "" {
		t.Errorf("%v, %s, which is no limit", err, fix)
	}
	if !meet.Starved(unpollable) {
		t.Error("who cannot wait for a connection is not met again")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if err := meet.Pollable(r); err != nil {
		t.Errorf("a pipe: %v", err)
	}
}
