package life

import (
	"sync"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/region"
	"github.com/memlane/memlane/internal/wait"
)

// local are the members on the heap.
var local struct {
	mu     sync.Mutex
	tables map[*region.Region]map[int]*Table // by index
}

func (t *Table) joinLocally() error {
	local.mu.Lock()
	defer local.mu.Unlock()
	if local.tables == nil {
		local.tables = map[*region.Region]map[int]*Table{}
	}
	if local.tables[t.region] == nil {
		local.tables[t.region] = map[int]*Table{}
	}
	for i := range layout.AreaMembersCount {
		if local.tables[t.region][i] == nil {
			local.tables[t.region][i] = t
			t.id.Index = i
			t.newGeneration()
			t.word(layout.MemberLifeAt).Store(1)
			t.tellOfJoin()
			return nil
		}
	}
	return ErrFull
}

func (t *Table) leaveLocally() {
	local.mu.Lock()
	delete(local.tables[t.region], t.id.Index)
	if len(local.tables[t.region]) == 0 {
		delete(local.tables, t.region)
	}
	local.mu.Unlock()
	w := t.word(layout.MemberLifeAt)
	w.Store(0)
	wait.Wake(w, wait.All)
}

// lockedLocally stands for a lock on a byte of a file.
func (t *Table) lockedLocally(id ID) bool {
	local.mu.Lock()
	defer local.mu.Unlock()
	return local.tables[t.region][id.Index] != nil
}
