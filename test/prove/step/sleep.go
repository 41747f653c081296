package step

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// Sleeps says whether a thread of a process sleeps in a futex that other processes
// can wake: FUTEX_WAIT_BITSET without FUTEX_PRIVATE_FLAG, which the Go runtime's
// own sleeps have, or futex_waitv, which it does not use.
func Sleeps(pid, thread int) bool {
	const (
		waitBitset = "0x9"
		futexWaitv = "449"
	)
	// The number of the call, and its arguments; "running" if it is in none, or
	// does not sleep.
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/syscall", pid, thread))
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 3 {
		return false
	}
	return fields[0] == futexWaitv || fields[0] == fmt.Sprint(syscall.SYS_FUTEX) && fields[2] == waitBitset
}
