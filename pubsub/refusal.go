package pubsub

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/memlane/memlane/internal/format"
	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/ring"
)

// A publisher refuses a subscriber that wants messages of another kind, or whose memory it cannot
// have. Whoever came later, both sides have to learn it: the subscriber by an error of
// Subscribe or, if it was there first, of the call that receives; the publisher by that
// of WaitSubscribers.

// fixRefused is what to do about it.
const fixRefused = "if it is for what the messages are, use the same type, Schema or ContentType on both sides"

// refusalsMost is how many refusals wait to be reported. Somebody hostile can send
// any number, to a program that does not receive.
const refusalsMost = 100

// refuse has a publisher's refusal reported. The caller holds mu.
func (s *Subscriber) refuse(r *meet.Remote, reason []byte) {
	s.report(fmt.Errorf("%w (%s): %q", ErrRefused, process(r), reason))
}

// report has the next call that receives return an error: why there is nothing of some
// publisher. The caller holds mu, and calls change, so that who waits looks.
func (s *Subscriber) report(err error) {
	if len(s.refused) < refusalsMost {
		s.refused = append(s.refused, err)
		s.unreported.Store(true)
	}
}

// missed is the error of a publisher whose memory this process cannot have.
func missed(r *meet.Remote, err error) error {
	return fmt.Errorf("%s cannot be received from: %w", process(r), err)
}

// errLost is that both processes are there, and one of them had no descriptors left.
var errLost = errors.New("the connection to a publisher was lost, and is begun again")

// fixStarved is what to do about what was missed.
const fixStarved = "raise ulimit -n or vm.max_map_count, or close what is not needed, and subscribe again"

// refusal returns the next one that was not reported yet, or nil.
func (s *Subscriber) refusal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.refused) == 0 || s.closed.Load() {
		return nil
	}
	err := s.refused[0]
	s.refused = s.refused[1:]
	s.unreported.Store(len(s.refused) > 0)
	return s.explain(err)
}

// unsuited returns why the subscriber does not suit the publisher; "" if it does. It may
// have sent the text of its format. An error means that this is nonsense, or cannot be had.
func (p *Publisher) unsuited(its settings, text []*os.File) (reason string, err error) {
	if !settingsOf(0, p.format).differ(its) {
		return "", nil
	}
	f := ring.Format{Kind: its.kind}
	if len(text) > 0 {
		if f.Text, err = textOf(text[0]); err != nil {
			return "", err
		}
		if sha256.Sum256([]byte(f.Text)) != its.hash {
			return "", fmt.Errorf("%w: a format with another hash", ErrProtocol)
		}
	}
	return format.Difference(p.format, f), nil
}

// refuse tells a subscriber why, and remembers it until it goes.
func (p *Publisher) refuse(r *meet.Remote, reason string) error {
	p.mu.Lock()
	p.refused[r] = reason
	p.mu.Unlock()
	return r.Post(typeRefused, []byte(reason))
}

// refusalsNamed is how many an error names.
const refusalsNamed = 3

// missing is the error of waiting for subscribers until the context ended.
func (p *Publisher) missing(ctx context.Context, n int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	have := p.count()
	err := fmt.Errorf("%w: %d of %d are there", context.Cause(ctx), have, n)
	if peek := len(p.peers) - have; peek > 0 {
		err = fmt.Errorf("%w, and %d that peek", err, peek)
	}
	if len(p.refused) == 0 {
		return &Error{"wait for subscribers of", p.topic, err, "start them, or wait longer"}
	}
	remotes := slices.SortedFunc(maps.Keys(p.refused), func(a, b *meet.Remote) int { return cmp.Compare(a.Peer().PID(), b.Peer().PID()) })
	var list []string
	for _, r := range remotes[:min(refusalsNamed, len(remotes))] {
		list = append(list, fmt.Sprintf("(%s): %s", process(r), p.refused[r]))
	}
	if more := len(remotes) - len(list); more > 0 {
		list = append(list, fmt.Sprintf("and %d more", more))
	}
	return &Error{"wait for subscribers of", p.topic, fmt.Errorf("%w; %w %s", err, ErrRefused, strings.Join(list, "; ")), fixRefused}
}

// process names the process of a remote port.
func process(r *meet.Remote) string {
	if pid := r.Peer().PID(); pid != 0 {
		return fmt.Sprintf("process %d", pid)
	}
	return "a process without a number here"
}
