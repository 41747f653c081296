//go:build !explore

package life

import (
	"github.com/memlane/memlane/internal/sys"
	"github.com/memlane/memlane/internal/wait"
)

// What the kernel tells about members; with the build tag explore the explorer
// takes its place.

// locked says whether somebody is the member. A failure to ask is a yes: nothing
// is taken from whom nothing is known about.
func (t *Table) locked(id ID) bool {
	if t.file == nil {
		return t.lockedLocally(id)
	}
	locked, err := true, error(nil)
	// Through Control, because Leave may close the file now, and its number be
	// another's.
	closed := t.raw.Control(func(fd uintptr) { locked, err = sys.ByteLocked(int(fd), lockOf(id.Index)) })
	return locked || err != nil || closed != nil
}

// watch begins to watch a member, and all others beside it: whoever sleeps until this
// one has done something may find, when he wakes, that another has come before him;
// and when that happens while he sleeps, and the other dies, he has to hear of it.
func (t *Table) watch(id ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watchOne(id)
	t.watchOthers()
	if !t.ticking {
		t.ticking = true
		wait.AlsoAtRecheck(t.tick)
	}
}

// watchOthers begins to watch those who have joined meanwhile. The caller holds mu.
func (t *Table) watchOthers() {
	for i := range t.watched {
		// Who is marked has died some time ago, and will not be waited for by anybody
		// who looks now.
		id := ID{i, t.generation(i)}
		if i != t.id.Index && id.Generation != 0 && t.watched[i].Load() == 0 && !t.Marked(id) {
			t.watchOne(id)
		}
	}
}

func (t *Table) watchOne(id ID) {
	if t.watched[id.Index].Swap(id.Generation) != id.Generation {
		t.watchers++
		go t.look(id)
	}
}
