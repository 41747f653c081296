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
func fillSocket(r *meet.Remote) error {
	for _, n := range []int{3000, 0} {
		err := r.Send(1, make([]byte, n))
		for err == nil {
			err = r.Send(1, make([]byte, n))
		}
		if !errors.Is(err, meet.ErrBusy) {
			return err
		}
	}
	return nil
}

// growing publishes so much that its arena has to grow, first with two descriptors left: one
// for the memory, and one for the first of two who do not read, for whom it has to be kept.
// Args: the folder.
func growing(args []string) error {
	const large = 10_000
	d, err := memlane.Open("test", &memlane.Config{Folder: args[0]})
	if err != nil {
		return err
	}
	p, err := pubsub.Publish(d, "numbers", &pubsub.PublisherConfig{Policy: pubsub.Block})
	if err != nil {
		return err
	}
	port, err := hostile.JoinAs(domain.Of(d).Node(), "filled", meet.Publisher)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	var order string
	if _, err := fmt.Scanln(&order); err != nil {
		return err
	}
	if n := p.Subscribers(); n != 4 {
		return fmt.Errorf("%d subscribers", n)
	}
	for range 2 {
		if err := fillSocket(<-port.Found); err != nil {
			return err
		}
	}
	relieve, err := proctest.Starve(2)
	if err != nil {
		return err
	}
	var loans []pubsub.Loan
	for err == nil {
		var l pubsub.Loan
		if l, err = p.Loan(background, large); err == nil {
			loans = append(loans, l)
		}
	}
	_, again := p.Loan(background, large) // nothing has changed
	fmt.Println(errors.Is(err, pubsub.ErrArenaFull), errors.Is(again, pubsub.ErrArenaFull), p.Stats().ArenaBytes)
	if _, err := fmt.Scanln(&order); err != nil {
		return err
	}
	relieve()
	l, err := p.Loan(background, large)
	if err != nil {
		return err
	}
	loans = append(loans, l)
	fmt.Println(p.Stats().ArenaBytes > 64<<10)
	if _, err := fmt.Scanln(&order); err != nil { // all read again
		return err
	}
	var i uint64
	for ; i < 300; i++ {
		if int(i) < len(loans) {
			copy(loans[i].Bytes(), message(i, large))
			err = loans[i].Publish(background, large)
		} else {
			err = p.Publish(background, message(i, large))
		}
		if err != nil {
			return err
		}
	}
	return p.Publish(background, message(last, 8))
}

// A chunk that could not be announced to one of four is announced to that one later, and to
// the others once.
func TestGrowthWhileStarved(t *testing.T) {
	folder := t.TempDir()
	p := proctest.Start(t, nil, "growing", folder)
	if got := p.Line(); got != "ready" {
		t.Fatal(got)
	}
	var all []*proctest.Process
	for _, args := range [][]string{{"may not"}, {"may not"}, {"may lag", "peeks"}, {"may lag", "peeks"}} {
		s := proctest.Start(t, nil, "subscribe", append([]string{folder, "receive"}, args...)...)
		if got := s.Line(); got != "ready" {
			t.Fatal(got)
		}
		all = append(all, s)
	}
	deaf := all[2:]
	for _, s := range deaf {
		s.Signal(syscall.SIGSTOP)
		eventually(t, "stopped", func() bool { return stopped(s.PID()) })
	}
	p.Send("go")
	if got := p.Line(); got != "true true 65536" {
		t.Fatalf("starved: %s", got)
	}
	p.Send("relieve")
	if got := p.Line(); got != "true" {
		t.Fatalf("relieved: it has grown: %s", got)
	}
	for _, s := range deaf {
		s.Signal(syscall.SIGCONT)
	}
	p.Send("publish")
	for i, s := range all {
		var n, lost uint64
		line := s.Line()
		if _, err := fmt.Sscanf(line, "all %d lost %d", &n, &lost); err != nil || n != 300 || lost > 0 && i < 2 {
			t.Errorf("subscriber %d: %q", i, line)
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
				if err := fillSocket(<-port.Found); err != nil {
					t.Fatal(err)
				}

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
