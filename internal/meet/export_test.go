package meet

import "syscall"

// WithoutPeerPidfd has the kernel be one before Linux 6.5.
func WithoutPeerPidfd() {
	peerPidfd = func(int) (int, error) { return -1, syscall.ENOPROTOOPT }
}

// Backlog sets how many may wait to be accepted.
func Backlog(n int) { backlog = n }

// BootID is this boot's.
func BootID() string { return bootID() }
