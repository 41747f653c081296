//go:build !explore

package life

import "github.com/memlane/memlane/internal/sys"

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

// watch begins to watch a member.
func (t *Table) watch(id ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.watched[id.Index].Swap(id.Generation) == id.Generation {
		return
	}
	t.watchers++
	go t.look(id)
	if !t.ticking {
		t.ticking = true
		go t.tick()
	}
}
