//go:build linux && (amd64 || arm64)

package sys

import (
	"os"

	"golang.org/x/sys/unix"
)

// Gettid is gettid(2): the id of the calling thread, as its PID namespace has it.
func Gettid() int {
	tid, _, _ := unix.RawSyscall(unix.SYS_GETTID, 0, 0, 0)
	return int(tid)
}

// Interrupt has a thread of this process begin the system call anew in which it
// sleeps: by SIGURG, which the Go runtime sends its threads for its own reasons,
// and whose handler it installs with SA_RESTART. A program that is notified of
// SIGURG sees one more.
func Interrupt(thread int) { unix.Tgkill(os.Getpid(), thread, unix.SIGURG) }
