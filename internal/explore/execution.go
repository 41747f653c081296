//go:build explore

package explore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"strings"
	"syscall"

	"github.com/memlane/memlane/internal/wait"
	"github.com/memlane/memlane/internal/word"
)

// choice is what happens next.
type choice struct {
	what    kind
	process uint8
	other   uint8 // of ring: who is gone
}

type kind uint8

const (
	step     kind = iota // the process does its next access
	mark                 // the kernel marks its life word: it is being killed
	stop                 // it does nothing more: it was killed
	gone                 // the others can see that it is gone
	ring                 // a process that watches another is told that it is gone
	nudge                // the bell is rung again, for one that was about to sleep
	spurious             // a wait ends for no reason
	late                 // the backstop ends a wait
)

var kindNames = [...]string{"step", "mark", "stop", "gone", "ring", "nudge", "spurious", "late"}

func trace(path []choice) string {
	var b strings.Builder
	for i := 0; i < len(path); {
		n := 1
		for i+n < len(path) && path[i+n] == path[i] {
			n++
		}
		fmt.Fprintf(&b, " %s %d", kindNames[path[i].what], path[i].process)
		if path[i].what == ring {
			fmt.Fprintf(&b, " about %d", path[i].other)
		}
		if n > 1 {
			fmt.Fprintf(&b, " × %d", n)
		}
		b.WriteByte(';')
		i += n
	}
	return b.String()
}

// coroutine runs the bodies of processes, one after the other: of many executions, so
// that its stack has grown already.
type coroutine struct {
	body  func()
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
}

// idle are the coroutines without a body.
var idle []*coroutine

func newCoroutine() *coroutine {
	if n := len(idle) - 1; n >= 0 {
		c := idle[n]
		idle = idle[:n]
		return c
	}
	c := &coroutine{}
	c.next, c.stop = iter.Pull(func(yield func(struct{}) bool) {
		for c.yield = yield; ; {
			c.body()
			if !yield(struct{}{}) {
				return
			}
		}
	})
	return c
}

// dismiss ends the coroutines that are idle.
func dismiss() {
	for _, c := range idle {
		c.stop()
	}
	idle = nil
}

// process is one of an execution.
type process struct {
	id        int
	coroutine *coroutine
	over      bool // its body has returned

	operation                     uint64 // hash of what it knew when its operation began
	history                       uint64 // hash of what it has done and seen since
	done                          bool
	killed, marked, stopped, gone bool
	watches, told                 uint // sets of processes

	pending pending // what its next step is
	counts  bool    // it accesses a counter

	parked *word.Uint32 // what it sleeps on
	seen   uint32
	bit    uint32
	since  int // when it fell asleep
}

// pending is what a process is about to do.
type pending struct {
	what access
	word int // of memory
}

type access uint8

const (
	parks access = iota // or wakes, or anything else that no order is left out of
	none                // nothing but to go on
	loads
	stores // and perhaps loads
)

// execution is one run from the beginning.
type execution struct {
	config   *Config
	explorer *explorer
	scene    *Scene
	begin    uintptr // of the scene's memory
	end      uintptr
	memory   *picture
	procs    []*process
	running  *process
	clock    int
	spurious int
	late     bool
	failed   error
}

func (x *explorer) execution() *execution {
	current = nil // what Build does is not part of it
	e := &execution{config: x.config, explorer: x, scene: x.config.Build()}
	e.begin = address(e.scene.Memory)
	e.end = e.begin + uintptr(len(e.scene.Memory))
	e.memory = x.first.of(e.scene.Memory)
	if x.users == nil {
		x.users = make([]users, len(e.scene.Memory)/8)
		for _, w := range e.scene.Counters {
			x.users[e.index(addressOf(word.Low(w)))].counter = true
		}
	}
	for i, body := range e.scene.Processes {
		p := &process{id: i, coroutine: newCoroutine()}
		p.coroutine.body = func() {
			defer func() {
				p.over = true
				switch r := recover().(type) {
				case nil:
					p.done = true
				case aborted:
				case violation:
					p.done = true
					e.failed = fmt.Errorf("process %d: %s", p.id, string(r))
				default:
					panic(r)
				}
			}()
			body()
		}
		e.procs = append(e.procs, p)
	}
	current = e
	for _, p := range e.procs {
		e.resume(p) // to its first access
	}
	return e
}

// aborted is what a process that was stopped panics with.
type aborted struct{}

// resume lets a process run to its next access, or out of its body if it was stopped.
func (e *execution) resume(p *process) {
	e.running = p
	p.coroutine.next()
	e.running = nil
}

// pause lets others run; the process that runs goes on when it is resumed.
func (p *process) pause() {
	p.coroutine.yield(struct{}{})
	if p.stopped {
		panic(aborted{})
	}
}

// abort stops a process.
func (e *execution) abort(p *process) {
	p.stopped = true
	if !p.over {
		e.resume(p)
	}
}

func (e *execution) follow(path []choice) error {
	for _, c := range path {
		if err := e.take(c); err != nil {
			return err
		}
	}
	return nil
}

func (e *execution) killed() (n int) {
	for _, p := range e.procs {
		if p.killed {
			n++
		}
	}
	return n
}

// active says whether the process can still do something.
func (p *process) active() bool { return !p.done && !p.stopped }

// next returns what can happen, or what is wrong with that; nothing if this is the end,
// and all is well.
func (e *execution) next() ([]choice, error) {
	list, err := e.choices()
	if err == nil && len(list) == 0 {
		err = e.finish()
	}
	return list, err
}

// choices returns what can happen. It is an error if somebody sleeps and nothing
// is left that must happen: that somebody may be killed is no help.
func (e *execution) choices() (list []choice, err error) {
	if p := e.alone(); p != nil {
		return []choice{{what: step, process: uint8(p.id)}}, nil
	}
	add := func(what kind, p *process) { list = append(list, choice{what: what, process: uint8(p.id)}) }
	var asleep []*process
	for _, p := range e.procs {
		switch {
		case p.active() && p.parked == nil:
			add(step, p)
		case p.active():
			asleep = append(asleep, p)
		}
	}
	// A process that is being killed is marked, stopped, and then gone; or stopped,
	// and then marked and gone in any order.
	for _, p := range e.procs {
		if p.killed && !p.marked {
			add(mark, p)
		}
		if p.killed && p.active() {
			add(stop, p)
		}
		if p.killed && !p.active() && !p.gone {
			add(gone, p)
		}
		if !p.active() {
			continue
		}
		for _, other := range e.procs {
			if other.gone && p.watches&(1<<other.id) != 0 && p.told&(1<<other.id) == 0 {
				list = append(list, choice{ring, uint8(p.id), uint8(other.id)})
			}
		}
		if p.parked != nil && wait.Unheard(e.scene.Bells[p.id]) {
			add(nudge, p)
		}
	}
	if len(list) == 0 && len(asleep) > 0 {
		for _, p := range asleep {
			if peek(p.parked) != p.seen {
				add(late, p)
			}
		}
		switch {
		case len(list) == 0:
			return nil, fmt.Errorf("process %d is stuck", asleep[0].id)
		case e.killed() == 0:
			return nil, fmt.Errorf("a wake was lost: only the backstop can go on, for process %d", list[0].process)
		}
	}
	for _, p := range asleep {
		if e.spurious < e.config.Spurious {
			add(spurious, p)
		}
	}
	for _, p := range e.procs {
		if p.active() && !p.killed && e.killed() < e.config.Kills {
			add(mark, p)
			add(stop, p)
		}
	}
	return list, nil
}

// take has something happen.
func (e *execution) take(c choice) error {
	p := e.procs[c.process]
	switch c.what {
	case step:
		e.resume(p)
	case mark:
		p.killed, p.marked = true, true
		e.scene.Mark(p.id)
	case stop:
		p.killed, p.parked = true, nil
		e.abort(p)
	case gone:
		p.gone = true
	case ring:
		p.told |= 1 << c.other
		p.learn(100 + uint64(c.other))
		wait.RingOnce(e.scene.Bells[p.id])
	case nudge:
		wait.Nudge(e.scene.Bells[p.id])
	case spurious:
		e.spurious++
		p.parked = nil
	case late:
		e.late = true
		p.parked = nil
	}
	return e.failed
}

// finish is called where nothing more can happen.
func (e *execution) finish() error {
	defer func(e *execution) { current = e }(current)
	current = nil
	return e.scene.Check()
}

func (e *execution) close() {
	for _, p := range e.procs {
		e.abort(p)
		idle = append(idle, p.coroutine)
	}
}

// learn adds to what a process knows.
func (p *process) learn(v uint64) { p.history = mix(p.history, v) }

func mix(h, v uint64) uint64 {
	h ^= v + 0x9e3779b97f4a7c15 + h<<6 + h>>2
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}

// picture is what is known of a scene's memory, so that only what was touched is looked
// at again: a state differs from the one before in a word.
type picture struct {
	memory  []byte
	seen    []byte // what the sum is of
	sum     uint64 // of all words' hashes, in any order
	touched []int  // words that may be others since
}

// of returns the picture of another execution's memory, which has just been built in the
// same way, and most probably is the same.
func (m *picture) of(memory []byte) *picture {
	if bytes.Equal(m.seen, memory) {
		return &picture{memory: memory, seen: bytes.Clone(memory), sum: m.sum}
	}
	if len(memory)%8 != 0 {
		panic("the memory of a scene is not whole words")
	}
	m.seen, m.sum = bytes.Clone(memory), 0
	for i := range len(memory) / 8 {
		m.sum ^= m.wordHash(i)
	}
	return m.of(memory)
}

func (m *picture) wordHash(i int) uint64 {
	return mix(mix(5, uint64(i)), binary.LittleEndian.Uint64(m.seen[8*i:]))
}

// hash identifies the memory.
func (m *picture) hash() uint64 {
	for _, i := range m.touched {
		m.sum ^= m.wordHash(i)
		copy(m.seen[8*i:8*i+8], m.memory[8*i:])
		m.sum ^= m.wordHash(i)
	}
	m.touched = m.touched[:0]
	return m.sum
}

// hash identifies the state.
func (e *execution) hash() uint64 {
	h := mix(uint64(e.spurious), e.memory.hash())
	for _, p := range e.procs {
		bits := uint64(p.watches)<<16 | uint64(p.told)<<24
		for i, b := range []bool{p.done, p.killed, p.marked, p.stopped, p.gone, p.parked != nil} {
			if b {
				bits |= 1 << i
			}
		}
		if p.parked != nil {
			for _, other := range e.procs { // the order in which they are waked
				if other.parked == p.parked && other.since < p.since {
					bits += 1 << 8
				}
			}
		}
		history := p.history
		if p.stopped || p.done {
			history = 0 // what it knew matters no more
		}
		h = mix(mix(h, history), bits)
	}
	if e.late {
		h = mix(h, 7)
	}
	if e.scene.Ghost != nil {
		h = mix(h, e.scene.Ghost())
	}
	return h
}

// hooks are what other packages call.
type hooks struct{}

// Access is word.Explorer's.
func (hooks) Access(address uintptr, stored bool) {
	what := loads
	if stored {
		what = stores
	}
	act(address, what)
}

// act is a step of the process that runs.
func act(address uintptr, what access) {
	if current == nil || current.running == nil {
		return
	}
	p := current.running
	if p.stopped {
		panic(aborted{}) // a deferred call
	}
	if address < current.begin || address >= current.end {
		return
	}
	i := current.index(address)
	p.pending = pending{what, i}
	u := &current.explorer.users[i]
	current.explorer.note(u, p.id, what)
	p.pause()
	// Now it happens; until it is here again the word stays as it is then.
	if p.counts = u.counter; !p.counts {
		current.memory.touched = append(current.memory.touched, i)
	}
}

// index is the number of a word of the scene's memory.
func (e *execution) index(address uintptr) int { return int(address-e.begin) / 8 }

// Saw is word.Explorer's.
func (hooks) Saw(v uint64) {
	if current == nil || current.running == nil {
		return
	}
	p := current.running
	if p.counts {
		p.counts, v = false, 0 // that it has gone on, and nothing else
	}
	p.learn(v + 1)
}

// Here is word.Explorer's.
func (hooks) Here(known ...uint64) {
	if current == nil || current.running == nil {
		return
	}
	p := current.running
	p.history = p.operation
	for _, v := range known {
		p.history = mix(p.history, v+3)
	}
}

// Wait is wait.Kernel's.
func (hooks) Wait(w *word.Uint32, seen, bit uint32) error {
	act(addressOf(w), parks)
	p := current.running
	if peek(w) != seen {
		p.learn(11)
		return syscall.EAGAIN
	}
	current.clock++
	p.parked, p.seen, p.bit, p.since = w, seen, bit, current.clock
	p.pending = pending{}
	p.pause()
	p.learn(12)
	return nil
}

// Wake is wait.Kernel's. It wakes those first who have slept longest, as the
// kernel does.
func (h hooks) Wake(w *word.Uint32, n int, bit uint32) int {
	act(addressOf(w), parks)
	woken := wake(w, n, bit)
	h.Saw(uint64(woken))
	return woken
}

// WakeNow is wait.Kernel's.
func (h hooks) WakeNow(w *word.Uint32, bit uint32) int {
	woken := wake(w, wait.All, bit)
	h.Saw(uint64(woken))
	return woken
}

// Rest is wait.Kernel's.
func (hooks) Rest() {
	rest(parks)
}

func rest(what access) {
	p := current.running
	p.learn(13) // that it has come so far
	p.pending = pending{what: what}
	p.pause()
	p.learn(14) // and further: two places are never one state
}

func wake(w *word.Uint32, n int, bit uint32) (woken int) {
	for woken < n {
		var first *process
		for _, p := range current.procs {
			if p.parked == w && p.bit&bit != 0 && (first == nil || p.since < first.since) {
				first = p
			}
		}
		if first == nil {
			break
		}
		first.parked = nil
		woken++
	}
	return woken
}

// peek reads a word without a step.
func peek(w *word.Uint32) uint32 { return *word.Raw(w) }
