package proctest

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
)

// Clocks are those of a time namespace: by how much they are ahead of the machine's.
// None can be set back further than to 0.
type Clocks struct {
	Monotonic time.Duration
	Boot      time.Duration // the time since boot
}

// ClocksAtZero returns clocks that show as little as they can: as of a machine that was
// started just now, before which all who run already were started.
func ClocksAtZero(t testing.TB) Clocks {
	t.Helper()
	const monotonic, boot = 1, 7 // CLOCK_MONOTONIC, CLOCK_BOOTTIME
	m, err := clock(monotonic)
	b, bootErr := clock(boot)
	if err = errors.Join(err, bootErr); err != nil {
		t.Fatal(err)
	}
	return Clocks{-m, -b}
}

// offsets are the clocks as /proc/PID/timens_offsets takes them.
func (c Clocks) offsets() string {
	line := func(name string, d time.Duration) string {
		d0 := d.Truncate(time.Second)
		if d0 > d { // nanoseconds are never negative
			d0 -= time.Second
		}
		return fmt.Sprintf("%s %d %d\n", name, d0/time.Second, d-d0)
	}
	return line("monotonic", c.Monotonic) + line("boottime", c.Boot)
}

// UnshareClocks makes a time namespace for those who are started from here on: this
// process stays in its own. Call it on the process's first thread, on which helpers run.
func UnshareClocks(c Clocks) error { return unshareClocks(c.offsets()) }

func unshareClocks(offsets string) error {
	if err := syscall.Unshare(syscall.CLONE_NEWTIME); err != nil {
		return fmt.Errorf("make a time namespace: %w", err)
	}
	return os.WriteFile("/proc/self/timens_offsets", []byte(offsets), 0)
}

const (
	clocksVariable = "MEMLANE_TEST_CLOCKS" // the offsets of a time namespace to begin in
	clocksAre      = "MEMLANE_TEST_CLOCKS_ARE"
)

// Clocks can be set only before anybody is in the namespace, and a process comes into
// it by executing a program: so a helper executes itself once more.
func init() {
	if offsets := os.Getenv(clocksVariable); offsets != "" {
		fmt.Fprintln(os.Stderr, beginWithClocks(offsets))
		os.Exit(2)
	}
	if want := os.Getenv(clocksAre); want != "" {
		os.Unsetenv(clocksAre)
		if is, err := os.Readlink("/proc/self/ns/time"); err != nil || is != want {
			fmt.Fprintf(os.Stderr, "the program that was executed is in time namespace %q, not in %q: %v\n", is, want, err)
			os.Exit(2)
		}
	}
}

// beginWithClocks returns only if it fails.
func beginWithClocks(offsets string) error {
	if err := unshareClocks(offsets); err != nil {
		return err
	}
	namespace, err := os.Readlink("/proc/self/ns/time_for_children")
	command, commandErr := itself()
	if err = errors.Join(err, commandErr, os.Unsetenv(clocksVariable), os.Setenv(clocksAre, namespace)); err != nil {
		return err
	}
	return syscall.Exec(command[0], append(command, os.Args[1:]...), os.Environ())
}
