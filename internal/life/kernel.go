//go:build !explore

package life

import (
	"time"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/sys"
	"github.com/memlane/memlane/internal/wait"
	"github.com/memlane/memlane/internal/word"
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

// watch begins to watch a member, all others, and who joins later.
func (t *Table) watch(id ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.joining {
		t.joining = true
		go t.lookForJoins()
	}
	t.watchAll()
	if t.generation(id.Index) != id.Generation || t.ended[id.Index] == id.Generation {
		t.Deaths.Ring()
	}
	if !t.ticking {
		t.ticking = true
		wait.AlsoAtRecheck(t.tick)
	}
}

// tellOfJoin has the others watch this member, before it can be waited for.
func (t *Table) tellOfJoin() {
	// SYNC POINT joins: pairs with the load in lookForJoins.
	joins := t.joins()
	joins.Add(1)
	wait.Wake(joins, wait.All)
}

func (t *Table) joins() *word.Uint32 { return t.region.Uint32(t.area + layout.AreaJoinsAt) }

// lookForJoins has those watched that join.
func (t *Table) lookForJoins() {
	joins := t.joins()
	for {
		rung := t.ending.Rung()
		if t.left.Load() {
			return
		}
		// SYNC POINT joins: who is not counted yet has not used anything yet.
		seen := joins.Load()
		t.mu.Lock()
		t.watchAll()
		t.mu.Unlock()
		if wait.ParkShared(joins, seen, &t.ending, rung) != nil {
			time.Sleep(tickEvery) // it can not be slept on: the file was cut short
		} else {
			time.Sleep(lookSoon) // so that nobody can keep us busy with it
		}
	}
}

// watchersMax is how many watchers a table can have at once.
const watchersMax = 2 * layout.AreaMembersCount

// watchAll begins to watch all who are not watched. The caller holds mu.
func (t *Table) watchAll() {
	for i := range t.watched {
		t.watchPlace(i)
	}
}

// watchPlace begins to watch the member that has this index now. The watcher of an
// earlier one ends when he looks next, and until then there are two. The caller holds
// mu.
func (t *Table) watchPlace(i int) {
	id := ID{i, t.generation(i)}
	watched := t.watched[i].Load()
	if i == t.id.Index || id.Generation == 0 || id.Generation == t.ended[i] || id.Generation == watched {
		return
	}
	if watched != 0 {
		// It is gone. The watcher may have missed that, if the life word is what it was
		// again: a process that has left, and joined once more, has the same keeper.
		t.Deaths.Ring()
		wait.Wake(t.region.Uint32(t.offset(i, layout.MemberLifeAt)), wait.All)
	}
	switch {
	case t.watchers >= watchersMax:
		// Somebody overwrites the generations. The watchers find that, and the next
		// that ends looks here again.
	case t.Marked(id) && t.Gone(id):
		// Somebody may wait for it who saw it when it was not.
		t.ended[i] = id.Generation
		t.Deaths.Ring()
	default:
		t.watched[i].Store(id.Generation)
		t.watchers++
		go t.look(id)
	}
}
