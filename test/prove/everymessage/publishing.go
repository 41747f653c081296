package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/memory"
	"github.com/memlane/memlane/internal/ring"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/test/prove/places"
	"github.com/memlane/memlane/test/prove/step"
	"github.com/memlane/memlane/test/prove/topic"
)

// publishing is where victims publish: two subscribers and another publisher survive them.
type publishing struct {
	o      *operation
	folder string
	d      *memlane.Domain
	other  *pubsub.Publisher
	subs   [2]*subscriber // the second one may be asleep
	rnd    *rand.Rand
	probes uint64 // that the other publisher has published

	// Of one victim.
	memory *memory.Memory // its topic's
	view   *ring.View
	total  uint64 // messages that are to come of it
}

func newPublishing(o *operation, rnd *rand.Rand) (_ *publishing, err error) {
	p := &publishing{o: o, rnd: rnd}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	if p.folder, err = topic.NewFolder(); err != nil {
		return nil, err
	}
	if p.d, err = topic.Open(p.folder); err != nil {
		return nil, err
	}
	if p.other, err = pubsub.Publish(p.d, topicName, nil); err != nil {
		return nil, err
	}
	for i := range p.subs {
		p.subs[i] = &subscriber{}
		if p.subs[i].s, err = pubsub.Subscribe(p.d, topicName, nil); err != nil {
			return nil, err
		}
	}
	return p, p.probe()
}

// Close ends it.
func (p *publishing) Close() (late int) {
	p.unmap()
	for _, s := range p.subs {
		if s != nil {
			s.wake()
			late += s.late
		}
	}
	if p.d != nil {
		p.d.Close()
	}
	os.RemoveAll(p.folder)
	return late
}

func (p *publishing) unmap() {
	if p.memory != nil {
		p.memory.Close()
		p.memory, p.view = nil, nil
	}
}

// Begin starts a victim.
func (p *publishing) Begin() (*step.Victim, error) {
	p.unmap()
	for _, s := range p.subs {
		s.forget()
	}
	v, err := step.Start(victimName, p.folder, p.o.name)
	if err != nil {
		return nil, err
	}
	if err := p.arrange(v); err != nil {
		return nil, errors.Join(places.Judged(fmt.Errorf("before what the victim does: %w", err)), v.Kill())
	}
	return v, nil
}

func (p *publishing) arrange(v *step.Victim) (err error) {
	p.total = uint64(p.o.before)
	if p.memory, err = topicOf(v.PID()); err != nil {
		return err
	}
	if p.view, err = ring.NewView(p.memory.Region()); err != nil {
		return err
	}
	if p.o.unread > 0 {
		for _, s := range p.subs {
			if err := s.found(2); err != nil {
				return err
			}
		}
		return nil
	}
	for _, s := range p.subs {
		if err := errors.Join(s.has(victims, p.total), s.publishers(2)); err != nil {
			return err
		}
	}
	if p.o.asleep {
		return p.subs[1].sleep()
	}
	return nil
}

// topicOf maps the topic's segment of a process that publishes one.
func topicOf(pid int) (*memory.Memory, error) {
	folder := fmt.Sprintf("/proc/%d/fd", pid)
	files, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		name := filepath.Join(folder, f.Name())
		target, err := os.Readlink(name)
		if err != nil || target != "/memfd:memlane topic (deleted)" {
			continue
		}
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		return memory.Open(file, 1<<30)
	}
	return nil, fmt.Errorf("a topic's segment of process %d: %w", pid, fs.ErrNotExist)
}

// Stage returns the one in which the victim stands.
func (p *publishing) Stage() string {
	if p.view.Look().Sequence > p.total {
		return "published"
	}
	return "not yet"
}

// Awaken has the subscribers read, for which the victim waits.
func (p *publishing) Awaken() error {
	for _, s := range p.subs {
		if err := s.has(victims, p.total); err != nil {
			return places.Judged(err)
		}
	}
	return nil
}

// Aside: nobody is faster than a victim.
func (p *publishing) Aside() error { return nil }

// probe has the other publisher publish, which all subscribers receive.
func (p *publishing) probe() error {
	if err := p.other.Publish(background, topic.Message(conductors, p.probes, 40)); err != nil {
		return err
	}
	p.probes++
	for _, s := range p.subs {
		if err := s.has(conductors, p.probes); err != nil {
			return fmt.Errorf("while the other publishes: %w", err)
		}
	}
	return nil
}

// Frozen judges while the victim is stopped.
func (p *publishing) Frozen(stage string) error {
	if err := p.probe(); err != nil {
		return err
	}
	for _, s := range p.subs {
		if stage == "published" {
			if err := s.has(victims, p.total+uint64(p.o.count)); err != nil {
				return err
			}
		}
		if err := p.inBounds(s, stage == "published"); err != nil {
			return err
		}
	}
	return nil
}

// inBounds looks at what a subscriber has of the victim.
func (p *publishing) inBounds(s *subscriber, published bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	most := p.total
	if published {
		most += uint64(p.o.count)
	}
	switch {
	case s.next[victims] > most:
		return fmt.Errorf("message %d has come of the victim, which has published %d", s.next[victims]-1, most)
	case s.lost > 0 && !p.o.loses:
		return fmt.Errorf("%d messages are said to be lost", s.lost)
	}
	return nil
}

// Resumed has the subscribers read: the victim may have been stopped before it waits for
// that.
func (p *publishing) Resumed(string) error {
	for _, s := range p.subs {
		s.drain()
	}
	return nil
}

// After judges when the victim is gone.
func (p *publishing) After(stage string, killed bool) error {
	published := stage == "published" || !killed
	total := p.total
	if published {
		total += uint64(p.o.count)
	}
	for _, s := range p.subs {
		if err := errors.Join(s.has(victims, total), p.inBounds(s, published), s.publishers(1)); err != nil {
			return err
		}
	}
	if err := p.probe(); err != nil {
		return err
	}
	for _, s := range p.subs {
		s.wake()
	}
	return p.swept()
}

// swept says what is left of victims in the folder when somebody has come after them.
func (p *publishing) swept() error {
	if p.rnd.IntN(16) != 0 {
		return nil // each victim sweeps after the one before; it is looked at now and then
	}
	return topic.Swept(p.d)
}
