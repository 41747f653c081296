package meet

import (
	"os"
	"syscall"

	"github.com/memlane/memlane/internal/sys"
)

// WithoutPeerPidfd has the kernel be one before Linux 6.5.
func WithoutPeerPidfd() {
	peerPidfd = func(int) (int, error) { return -1, syscall.ENOPROTOOPT }
}

// PeerPidfdOfTheLiving has the kernel be one of before Linux 6.16, which gives no pidfd of
// a process that has ended and was waited for.
func PeerPidfdOfTheLiving() {
	peerPidfd = func(socket int) (int, error) {
		fd, err := sys.PeerPidfd(socket)
		if err != nil {
			return -1, err
		}
		if process, err := processOf(fd); err != nil || process == reaped {
			sys.Close(fd)
			return -1, syscall.EINVAL
		}
		return fd, nil
	}
}

// Backlog sets how many may wait to be accepted.
func Backlog(n int) { backlog = n }

// Connections is how many there are.
func (n *Node) Connections() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return max(len(n.links), len(n.conns))
}

// Pollable says whether reading from a file can be waited for.
func Pollable(f *os.File) error { return pollable(f) }

// BootID is this boot's.
func BootID() string { return bootID() }

// CheckHello looks at a descriptor that has come with a HELLO.
func CheckHello(fd int) error {
	return checkDescriptors(&frame{kind: frameHello}, []int{fd})
}

// Meeting is how many ports of ours meet some of a participant's, as is looked when the
// connection was lost.
func (n *Node) Meeting(id uint64) int {
	ports, _ := n.meeting(instance{n.self.boot, id})
	return len(ports)
}
