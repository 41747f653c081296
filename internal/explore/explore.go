//go:build explore

package explore

import (
	"errors"
	"fmt"
	"slices"

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
	// Counters are words of it on which nothing depends that processes do: they are for
	// who looks on, and two states that differ in them alone are one. Who changes one may
	// load it for that.
	Counters []*word.Uint64
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
	// Reduced leaves out orders of steps that nobody can tell from each other, if
	// processes affect each other by nothing but the memory: see execution.alone.
	Reduced bool
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
	rest(none) // nobody is told of anything where nobody is killed
}

// Run explores, depth first. If something is wrong, Err is a [*Failure].
func Run(c Config) Result {
	x, end := begin(c)
	defer end()
	if c.Reduced {
		if c.Kills > 0 {
			panic("explore: what kills do is more than accesses")
		}
		x.learn()
	}
	for {
		x.surprised = false
		r := x.run()
		if r.Err != nil || !x.surprised {
			return r
		}
	}
}

var errRound = errors.New("a process goes round and round")

func (x *explorer) run() Result {
	var r Result
	c := x.config
	seen := map[uint64]struct{}{}
	stack := [][]choice{nil}
	for len(stack) > 0 && (c.States == 0 || len(seen) < c.States) && !x.surprised {
		path := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		e := x.execution()
		r.Executions++
		err := e.follow(path)
		var round []uint64 // the states since there was a choice
		for err == nil {
			h := e.hash()
			if _, ok := seen[h]; ok {
				if slices.Contains(round, h) {
					err = errRound
				}
				break
			}
			seen[h] = struct{}{}
			choices, bad := e.next()
			if round = append(round, h); len(choices) > 1 {
				round = round[:0]
			}
			if err = bad; err != nil || len(choices) == 0 {
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
		switch {
		case err == errRound: // in whose place breadth would find nothing
			r.States, r.Err = len(seen), &Failure{Err: err, Steps: len(path), trace: path}
			return r
		case err != nil:
			r.States, r.Err = len(seen), x.failure(err, path)
			return r
		}
	}
	r.States, r.Complete = len(seen), len(stack) == 0
	return r
}

// explorer is an exploration that is under way.
type explorer struct {
	config *Config
	first  picture // of the memory of each execution, at first
	users  []users // of each word

	surprised bool // a word has users that were not known before
}

// begin has the hooks of other packages lead here until end is called.
func begin(c Config) (x *explorer, end func()) {
	word.Explorer, wait.Kernel = hooks{}, hooks{}
	return &explorer{config: &c}, func() {
		word.Explorer, wait.Kernel, current = nil, nil, nil
		dismiss()
	}
}
