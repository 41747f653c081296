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

// ended reports whether an error of peerPidfd says that the process has ended, and that
// somebody has waited for it.
func ended(err error) bool {
	return errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENODATA)
}

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
		if err := c.watch(os.NewFile(uintptr(pidfd), "pidfd"), true); err != nil {
			return err
		}
	case ended(pidfdErr):
		c.died()
	case !errors.Is(pidfdErr, syscall.ENOPROTOOPT):
		return fmt.Errorf("the peer's pidfd: %w", pidfdErr)
	case credentials.PID != 0:
		// Who has the number now can be another process: then the peer has ended before.
		// So it has in any case when that process ends.
		switch pidfd, err := sys.PidfdOpen(credentials.PID); {
		case ended(err):
			c.died()
		case err == nil:
			if err := c.watchOwn(pidfd, false); err != nil {
				return err
			}
		case Starved(err):
			return fmt.Errorf("the peer's pidfd: %w", err)
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
	return !c.known && !c.dead
}

// takePidfd watches the pidfd that the peer has sent. If it is of a process that is not
// there any more, or has no number here, it can be another's: then the peer harms himself.
func (c *conn) takePidfd(fd int) error {
	if err := c.checkPidfd(fd); err != nil {
		return err
	}
	fd, err := sys.DupCloexec(fd)
	if err != nil {
		return fmt.Errorf("the peer's pidfd: %w", err)
	}
	return c.watchOwn(fd, true)
}

// watchOwn is watch of a descriptor that may block.
func (c *conn) watchOwn(pidfd int, known bool) error {
	if err := sys.SetNonblock(pidfd); err != nil {
		sys.Close(pidfd)
		return fmt.Errorf("the peer's pidfd: %w", err)
	}
	return c.watch(os.NewFile(uintptr(pidfd), "pidfd"), known)
}

// checkPidfd refuses the pidfd of another process than the one that the kernel has noted
// for the socket. Both are looked up in the same /proc, whichever PID namespace that is of.
func (c *conn) checkPidfd(fd int) error {
	c.node.mu.Lock()
	pid := c.credentials.PID
	c.node.mu.Unlock()
	sent, err := processOf(fd)
	if err == nil && (sent == reaped || pid == 0) {
		return nil
	}
	var own string
	if err == nil {
		var known int
		if known, err = sys.PidfdOpen(pid); errors.Is(err, syscall.ESRCH) {
			c.died()
			return nil
		}
		if err == nil {
			own, err = processOf(known)
			sys.Close(known)
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("the peer's pidfd: %w", err)
	case own != sent && own != reaped:
		return fmt.Errorf("%w: the pidfd that process %d sends as its own is another process's", ErrProtocol, pid)
	}
	return nil
}

// watch has died called when the process of the pidfd has ended, which takes the place of
// one that is not known to be the peer's. The waiting is the runtime's poller's.
func (c *conn) watch(pidfd *os.File, known bool) error {
	raw, err := pidfd.SyscallConn()
	if err == nil {
		err = pollable(pidfd)
	}
	if err != nil {
		pidfd.Close()
		return err
	}
	c.mu.Lock()
	old := c.pidfd
	c.pidfd, c.known = pidfd, known
	c.mu.Unlock()
	if old != nil {
		old.Close()
	}
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
