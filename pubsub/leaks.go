package pubsub

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/memlane/memlane/internal/domain"
)

// leaks are where loans and borrowed messages were taken that were not given back, if
// memlane.Config.LeakCheck has them remembered; nil if not.
type leaks struct {
	mu    sync.Mutex
	taken map[any][]uintptr // by what tells one from all others: who called
}

func newLeaks(d *domain.Domain) *leaks {
	if !d.CheckLeaks {
		return nil
	}
	return &leaks{taken: map[any][]uintptr{}}
}

// borrowing tells a borrowed message from all others.
type borrowing struct {
	src   *source
	hold  int
	spare ticket
}

// take remembers where something is taken.
func (l *leaks) take(key any) {
	callers := make([]uintptr, 32)
	callers = callers[:runtime.Callers(2, callers)]
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken[key] = callers
}

// give forgets what is given back.
func (l *leaks) give(key any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.taken, key)
}

// err says where what is left was taken: of equal places, how often.
func (l *leaks) err(what string) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.taken) == 0 {
		return nil
	}
	count := map[string]int{}
	for _, callers := range l.taken {
		count[outside(callers)]++
	}
	var places []string
	for place, n := range count {
		places = append(places, fmt.Sprintf("%d taken at %s", n, place))
	}
	slices.Sort(places)
	return fmt.Errorf("%w: %s: %s", ErrHeld, what, strings.Join(places, ", "))
}

// outside returns the first place that is not in this package.
func outside(callers []uintptr) string {
	frames := runtime.CallersFrames(callers)
	for {
		f, more := frames.Next()
		if !more || !strings.HasPrefix(f.Function, "github.com/memlane/memlane/pubsub.") {
			return fmt.Sprintf("%s:%d", f.File, f.Line)
		}
	}
}
