package life

import (
	"os"

	"github.com/memlane/memlane/internal/sys"
)

// Locked says whether somebody has the lock of a member.
func Locked(f *os.File, member int) (bool, error) {
	return sys.ByteLocked(int(f.Fd()), lockOf(member))
}

// NoTicks has the table notice deaths without the backstop's help, or not at all.
func (t *Table) NoTicks() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ticking = true
}

// Overlook has a watcher of the member who never looks: as one who falls asleep on
// a life word just when it is again what it was.
func (t *Table) Overlook(id ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watched[id.Index].Store(id.Generation)
}
