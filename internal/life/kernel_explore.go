//go:build explore

package life

// Model is the explorer's.
var Model interface {
	Gone(process int) bool
	Watch(process int)
}

func (t *Table) locked(id ID) bool { return !Model.Gone(id.Index) }

func (t *Table) watch(id ID) { Model.Watch(id.Index) }

// Forget forgets all members on the heap, for the next execution.
func Forget() { local.tables = nil }

func (t *Table) tellOfJoin() {}

func (t *Table) watchAll() {}

func (t *Table) watchPlace(int) {}
