package shmsync

import (
	"fmt"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/life"
)

// Holder is a process that holds something, as far as can be told.
type Holder struct {
	// PID is the process as its own PID namespace has it. It is what the process
	// has said of itself: good for people, not to act upon.
	PID int
	// Here: its PID namespace is this process's too.
	Here bool
	// Gone: it has died, left or executed another program.
	Gone bool
	// Stopped: it is stopped, by a signal or a debugger, as far as can be told.
	Stopped bool
	// Permits it holds, of a semaphore.
	Permits int
}

// String returns the process as a person looks for it.
func (h Holder) String() string {
	s := "an unknown process"
	if h.PID != 0 {
		s = fmt.Sprintf("process %d", h.PID)
	}
	if h.PID != 0 && !h.Here {
		s += " of another PID namespace"
	}
	switch {
	case h.Gone:
		s += ", which is gone"
	case h.Stopped:
		s += ", which is stopped"
	}
	return s
}

// holder says who a member is.
func (sp *space) holder(id life.ID) Holder {
	if id.Index < 0 || id.Index >= layout.AreaMembersCount {
		return Holder{Gone: true}
	}
	identity, generation := sp.members.Identity(id.Index)
	if generation != id.Generation {
		return Holder{Gone: true} // another process is the member now
	}
	h := Holder{PID: int(identity.PID), Here: identity.Namespace != 0 && identity.Namespace == life.Self().Namespace, Gone: sp.members.Gone(id)}
	h.Stopped, _ = identity.Stopped()
	return h
}
