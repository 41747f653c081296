// Package places takes victims to every single machine instruction of what they do, kills
// them there or stops them, and has a judge look at what becomes of all others. What the
// victims do, and who judges, is a program's own: an [Operation] and its [Scene].
//
// A victim is a process of its own, which package step takes to the place; there is a new
// one for each place.
package places

import (
	"errors"
	"math/rand/v2"

	"github.com/memlane/memlane/test/prove/step"
)

// An Operation is what a victim does between the marks.
type Operation struct {
	Name string
	// Stages are what can have become of it, in the order in which it goes through them.
	Stages []string
	// Every: take every so many-th of its places, which are too many; 0: all. Nor does it go
	// the same way each time then: places that no victim comes by are counted, and no fault.
	Every  int
	Quiet  bool // it must make no system call
	Mutant bool // the victim breaks the rules, and the judge must notice
	Stops  bool // of a mutant: it is stopped too, not only killed
	// Twice: two victims are killed, at places drawn by lot. The second one is begun where the
	// first was killed, and nobody else has cleared up after it. The scene is a [Pairs].
	Twice bool
	// Make makes what surrounds the victims; all that is drawn by lot there follows from rnd.
	Make func(rnd *rand.Rand) (Scene, error)
}

// A Scene is what surrounds victims, one after the other, and judges. What is wrong with
// what is tested, and not with the test, is [Judged]; after that the scene is not used
// again.
type Scene interface {
	// Begin starts a victim, which stands at the first mark then, and notes how all is.
	Begin() (*step.Victim, error)
	// Stage returns the one in which the victim stands.
	Stage() string
	// Awaken does what a victim waits for that has fallen asleep.
	Awaken() error
	// Aside returns ErrAside if this victim is of no use.
	Aside() error
	// Frozen judges while the victim is stopped.
	Frozen(stage string) error
	// Resumed does what the victim needs to come to its end, when it goes on.
	Resumed(stage string) error
	// After judges when the victim is gone, and leaves all as it was before it. killed
	// says that it was killed in the stage; otherwise it has come to its end.
	After(stage string, killed bool) error
	// Close ends it, and returns how many answers took more than half a second.
	Close() (late int)
}

// Pairs is a scene in which a second victim can be begun after the first.
type Pairs interface {
	Scene
	// Another starts another victim where one was killed that has not been judged.
	Another() (*step.Victim, error)
}

// ErrStuck: somebody who could go on does not.
var ErrStuck = errors.New("stuck")

// ErrAside: the victim is of no use, and not judged. It was waked, for example, and who
// slept beside it was faster, by the look that package wait takes at all sleepers.
var ErrAside = errors.New("somebody else got what the victim was waked for")

// judged is a failure that a judge has found.
type judged struct{ error }

func (e judged) Unwrap() error { return e.error }

// Judged marks an error as one of what is tested, and not of the test; nil stays nil.
func Judged(err error) error {
	if err == nil {
		return nil
	}
	return judged{err}
}
