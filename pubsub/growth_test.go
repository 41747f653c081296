package pubsub_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/domain"
	"github.com/memlane/memlane/internal/hostile"
	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/pubsub"
)

// addFilled adds a port by which the connection to this process can be filled, of
// which nothing is read while the process is stopped.
func addFilled(d *memlane.Domain) error {
	_, err := hostile.JoinAs(domain.Of(d).Node(), "filled", meet.Subscriber)
	return err
}

// fillSocket sends to a process that is stopped until the kernel has no more room for
// anything, and not even for a few bytes.
func fillSocket(t *testing.T, r *meet.Remote) {
	t.Helper()
	for _, n := range []int{3000, 0} {
		err := r.Send(1, make([]byte, n))
		for err == nil {
			err = r.Send(1, make([]byte, n))
		}
		if !errors.Is(err, meet.ErrBusy) {
			t.Fatal(err)
		}
	}
}

// The arena grows while the socket of one subscriber is full, who does not read it; nobody
// waits for that, and the others get everything. That subscriber hears of it when it reads.
func TestGrowthAmongFullSockets(t *testing.T) {
	// A quarter of the arena each, more than readers have in their hands at once.
	const large = 10_000
	for _, policy := range []pubsub.Policy{pubsub.Block, pubsub.DropOldest} {
		for _, end := range []string{"reads", "is killed"} {
			t.Run(fmt.Sprint(policy, ", ", end), func(t *testing.T) {
				folder := t.TempDir()
				d := open(t, folder)
				p, err := pubsub.Publish(d, "numbers", &pubsub.PublisherConfig{Policy: policy})
				if err != nil {
					t.Fatal(err)
				}
				port, err := hostile.JoinAs(domain.Of(d).Node(), "filled", meet.Publisher)
				if err != nil {
					t.Fatal(err)
				}
				var good []*proctest.Process
				for range 2 {
					good = append(good, proctest.Start(t, nil, "subscribe", folder, "receive", map[pubsub.Policy]string{pubsub.Block: "may not", pubsub.DropOldest: "may lag"}[policy]))
				}
				deaf := proctest.Start(t, nil, "subscribe", folder, "receive", "may lag", "peeks")
				for _, s := range append(good, deaf) {
					if got := s.Line(); got != "ready" {
						t.Fatal(got)
					}
				}
				eventually(t, "met", func() bool { return p.Subscribers() == 3 })
				deaf.Signal(syscall.SIGSTOP)
				eventually(t, "stopped", func() bool { return stopped(deaf.PID()) })
				fillSocket(t, <-port.Found)

				// Most need the block of one before, which the deaf one has not passed: it is
				// dropped, or not waited for, as it peeks.
				var i uint64
				for ; i < 300; i++ {
					if err := p.Publish(background, message(i, large)); err != nil {
						t.Fatalf("message %d: %v", i, err)
					}
				}
				// When all is on loan there is nothing to drop and nobody to wait for.
				var loans []pubsub.Loan
				for p.Stats().ArenaBytes == 64<<10 {
					l, err := p.Loan(background, large)
					if err != nil {
						t.Fatalf("loan %d: %v", len(loans), err)
					}
					loans = append(loans, l)
				}
				if end == "reads" {
					deaf.Signal(syscall.SIGCONT)
				} else {
					deaf.Kill()
				}
				for _, l := range loans {
					copy(l.Bytes(), message(i, large))
					if err := l.Publish(background, large); err != nil {
						t.Fatal(err)
					}
					i++
				}
				if err := p.Publish(background, message(last, 8)); err != nil {
					t.Fatal(err)
				}
				want := good
				if end == "reads" {
					want = append(want, deaf)
				}
				for _, s := range want {
					var all, lost uint64
					line := s.Line()
					if _, err := fmt.Sscanf(line, "all %d lost %d", &all, &lost); err != nil || all != i || lost > 0 && policy == pubsub.Block && s != deaf {
						t.Errorf("got %q; want all %d", line, i)
					}
				}
			})
		}
	}
}
