package meet

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/memlane/memlane/internal/sys"
)

// Who is at the other end, and whether he has died. A socket ends when its last
// descriptor is closed, and a forked child of the peer's has them all; so there is
// a pidfd beside it.

// peerPidfd is replaced in tests by what old kernels do.
var peerPidfd = sys.PeerPidfd

// inspect asks the kernel who is at the other end.
func (c *conn) inspect() error {
	var credentials sys.Credentials
	var err, pidfdErr error
	pidfd := -1
	closed := c.raw.Control(func(fd uintptr) {
		credentials, err = sys.PeerCredentials(int(fd))
		pidfd, pidfdErr = peerPidfd(int(fd))
	})
	if err = errors.Join(closed, err); err != nil {
		return fmt.Errorf("who is the peer: %w", err)
	}
	c.node.mu.Lock()
	c.credentials = credentials
	c.node.mu.Unlock()
	switch {
	case pidfdErr == nil:
		if err := c.watch(os.NewFile(uintptr(pidfd), "pidfd")); err != nil {
			return err
		}
	case errors.Is(pidfdErr, syscall.ESRCH), errors.Is(pidfdErr, syscall.EINVAL):
		c.died()
	case !errors.Is(pidfdErr, syscall.ENOPROTOOPT):
		return fmt.Errorf("the peer's pidfd: %w", pidfdErr)
	case credentials.PID != 0:
		// Who has the number now can be another process, so its end means nothing;
		// but if nobody has it, the peer has ended.
		fd, err := sys.PidfdOpen(credentials.PID)
		if errors.Is(err, syscall.ESRCH) {
			c.died()
		} else if err == nil {
			sys.Close(fd)
		}
	}
	if !c.node.accepts(credentials.UID) {
		return fmt.Errorf("%w: process %d of user %d", ErrForeign, credentials.PID, credentials.UID)
	}
	return nil
}

// pidfdUnknown reports whether the kernel has no pidfd for us: before Linux 6.5
// the peer sends its own with HELLO.
func (c *conn) pidfdUnknown() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pidfd == nil && !c.dead
}

// takePidfd watches the pidfd that the peer has sent. If it is another process's, he
// harms himself.
func (c *conn) takePidfd(fd int) error {
	fd, err := sys.DupCloexec(fd)
	if err == nil {
		if err = sys.SetNonblock(fd); err == nil {
			return c.watch(os.NewFile(uintptr(fd), "pidfd"))
		}
		sys.Close(fd)
	}
	return fmt.Errorf("the peer's pidfd: %w", err)
}

// watch has died called when the process of the pidfd has ended. The waiting is the
// runtime's poller's.
func (c *conn) watch(pidfd *os.File) error {
	raw, err := pidfd.SyscallConn()
	if err == nil {
		err = pollable(pidfd)
	}
	if err != nil {
		pidfd.Close()
		return err
	}
	c.mu.Lock()
	c.pidfd = pidfd
	c.mu.Unlock()
	c.node.running.Add(1)
	go func() {
		defer c.node.running.Done()
		closed := raw.Read(func(fd uintptr) bool {
			ended, err := sys.Readable(int(fd))
			return ended || err != nil
		})
		if closed == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.pidfd == pidfd {
				c.dead = true
				c.poke()
			}
		}
	}()
	return nil
}

// died notes that the peer's process has ended: what it has sent is read, and then
// the connection ends.
func (c *conn) died() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
	c.poke()
}

func (c *conn) isDead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}
