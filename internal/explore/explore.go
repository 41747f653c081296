//go:build explore

package explore

import (
	"fmt"
	"iter"
	"strings"
	"syscall"

	"github.com/memlane/memlane/internal/wait"
	"github.com/memlane/memlane/internal/word"
)

// Scene is what is explored. Build makes a fresh one for each execution, always
// in the same way.
type Scene struct {
	// Memory is what the processes share and change. They may read other words,
	// which only what happens to processes changes, such as Mark; that is no step,
	// because it could as well have happened just before the last one.
	Memory []byte
	// Processes are what they do. A process must do nothing else that is seen from
	// outside, and nothing at random.
	Processes []func()
	// Bells of the processes, which are rung when one that they watch is gone.
	Bells []*wait.Bell
	// Mark is what the kernel does to memory when a process has died.
	Mark func(process int)
	// Ghost, if not nil, is what the processes' own asserts depend on beside the
	// memory and where the processes are.
	Ghost func() uint64
	// Check looks at the memory at the end, when all processes have ended.
	Check func() error
}

// Config bounds an exploration.
type Config struct {
	Build    func() *Scene
	Kills    int // how many processes are killed at most
	Spurious int // how many waits end for no reason at most
	States   int // when to give up; 0: never
}

// Result is what an exploration came to.
type Result struct {
	States     int   // different states
	Executions int   // from the beginning
	Late       int   // executions in which only the backstop could wake somebody
	Complete   bool  // all states that can be reached were
	Err        error // what is wrong, with the steps that lead to it
}

func (r Result) String() string {
	s := fmt.Sprintf("%d states, %d executions, %d late", r.States, r.Executions, r.Late)
	if !r.Complete {
		s += ", not complete"
	}
	return s
}

// current is the execution that is under way: the hooks of other packages are
// functions without one.
var current *execution

// Assert ends the execution with an error if the condition does not hold.
func Assert(condition bool, format string, args ...any) {
	if !condition {
		panic(violation(fmt.Sprintf(format, args...)))
	}
}

type violation string

// Stopped says whether a process has been killed and does nothing more.
func Stopped(process int) bool { return current.procs[process].stopped }

// Killed says whether a process has been killed.
func Killed(process int) bool { return current.procs[process].killed }

// Self is the process that runs.
func Self() int { return current.running.id }

// Operation says that the running process begins an operation, and that all that
// it knows is in the numbers: what it has seen on the way there does not matter
// any more. Without it two ways to the same place are two states.
func Operation(known ...uint64) {
	p := current.running
	p.operation = 0
	for _, v := range known {
		p.operation = mix(p.operation, v)
	}
	p.history = p.operation
}

// Run explores.
func Run(c Config) Result {
	word.Explorer, wait.Kernel = hooks{}, hooks{}
	defer func() { word.Explorer, wait.Kernel, current = nil, nil, nil }()
	var r Result
	seen := map[uint64]struct{}{}
	stack := [][]choice{nil}
	for len(stack) > 0 && (c.States == 0 || len(seen) < c.States) {
		path := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		e := newExecution(&c)
		r.Executions++
		err := e.follow(path)
		for err == nil {
			h := e.hash()
			if _, ok := seen[h]; ok {
				break
			}
			seen[h] = struct{}{}
			choices, bad := e.choices()
			if err = bad; err != nil {
				break
			}
			if len(choices) == 0 {
				err = e.finish()
				break
			}
			for _, other := range choices[1:] {
				stack = append(stack, append(append([]choice(nil), path...), other))
			}
			path = append(path, choices[0])
			err = e.take(choices[0])
		}
		if e.late {
			r.Late++
		}
		e.close()
		if err != nil {
			r.States, r.Err = len(seen), fmt.Errorf("%w\n%s", err, trace(path))
			return r
		}
	}
	r.States, r.Complete = len(seen), len(stack) == 0
	return r
}

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

// process is one of an execution.
type process struct {
	id    int
	next  func() (struct{}, bool)
	abort func()
	yield func(struct{}) bool

	operation                     uint64 // hash of what it knew when its operation began
	history                       uint64 // hash of what it has done and seen since
	done                          bool
	killed, marked, stopped, gone bool
	watches, told                 uint // sets of processes

	parked *word.Uint32 // what it sleeps on
	seen   uint32
	bit    uint32
	since  int // when it fell asleep
	woken  bool
}

// execution is one run from the beginning.
type execution struct {
	config   *Config
	scene    *Scene
	begin    uintptr // of the scene's memory
	end      uintptr
	procs    []*process
	running  *process
	clock    int
	spurious int
	late     bool
	failed   error
}

func newExecution(c *Config) *execution {
	current = nil // what Build does is not part of it
	e := &execution{config: c, scene: c.Build()}
	e.begin = address(e.scene.Memory)
	e.end = e.begin + uintptr(len(e.scene.Memory))
	for i, body := range e.scene.Processes {
		p := &process{id: i}
		p.next, p.abort = iter.Pull(func(yield func(struct{}) bool) {
			p.yield = yield
			defer func() {
				switch r := recover().(type) {
				case nil, aborted:
				case violation:
					e.failed = fmt.Errorf("process %d: %s", p.id, string(r))
				default:
					panic(r)
				}
			}()
			body()
		})
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

// resume lets a process run to its next access.
func (e *execution) resume(p *process) {
	e.running = p
	if _, ok := p.next(); !ok {
		p.done = true
	}
	e.running = nil
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

// choices returns what can happen. It is an error if somebody sleeps and nothing
// is left that must happen: that somebody may be killed is no help.
func (e *execution) choices() (list []choice, err error) {
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
		p.killed, p.stopped, p.parked = true, true, nil
		p.abort()
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
		p.stopped = true
		p.abort()
	}
}

// learn adds to what a process knows.
func (p *process) learn(v uint64) { p.history = mix(p.history, v) }

func mix(h, v uint64) uint64 {
	h ^= v + 0x9e3779b97f4a7c15 + h<<6 + h>>2
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}

// hash identifies the state.
func (e *execution) hash() uint64 {
	h := mix(uint64(e.spurious), 1)
	m := e.scene.Memory
	for i := 0; i+8 <= len(m); i += 8 {
		h = mix(h, uint64(m[i])|uint64(m[i+1])<<8|uint64(m[i+2])<<16|uint64(m[i+3])<<24|uint64(m[i+4])<<32|uint64(m[i+5])<<40|uint64(m[i+6])<<48|uint64(m[i+7])<<56)
	}
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
func (hooks) Access(address uintptr) {
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
	if !p.yield(struct{}{}) {
		panic(aborted{})
	}
}

// Saw is word.Explorer's.
func (hooks) Saw(v uint64) {
	if current != nil && current.running != nil {
		current.running.learn(v + 1)
	}
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
func (h hooks) Wait(w *word.Uint32, seen, bit uint32) error {
	h.Access(addressOf(w))
	p := current.running
	if peek(w) != seen {
		p.learn(11)
		return syscall.EAGAIN
	}
	current.clock++
	p.parked, p.seen, p.bit, p.since = w, seen, bit, current.clock
	if !p.yield(struct{}{}) {
		panic(aborted{})
	}
	p.learn(12)
	return nil
}

// Wake is wait.Kernel's. It wakes those first who have slept longest, as the
// kernel does.
func (h hooks) Wake(w *word.Uint32, n int, bit uint32) int {
	h.Access(addressOf(w))
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
	p := current.running
	p.learn(13) // that it has come so far
	if !p.yield(struct{}{}) {
		panic(aborted{})
	}
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

// Gone is what package life asks the kernel about a process.
func Gone(process int) bool {
	gone := current.procs[process].gone
	if gone {
		hooks{}.Saw(1)
	} else {
		hooks{}.Saw(0)
	}
	return gone
}

// Watch has the running process told when another is gone, once for each watch
// that was not under way already. It can be told at once. As in internal/life, all
// others are watched from then on too.
func Watch(process int) {
	current.running.watches = 1<<len(current.procs) - 1
	current.running.told &^= 1 << process
	hooks{}.Rest()
}

// peek reads a word without a step.
func peek(w *word.Uint32) uint32 { return *word.Raw(w) }
