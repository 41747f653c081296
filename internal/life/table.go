package life

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/region"
	"github.com/memlane/memlane/internal/sys"
	"github.com/memlane/memlane/internal/wait"
	"github.com/memlane/memlane/internal/word"
)

// ErrFull: there is no room for another member.
var ErrFull = fmt.Errorf("%d processes use it, and no more can", layout.AreaMembersCount)

// ID names a member in the words of the structures that it changes: its index in
// the table, and which of the processes it is that have been this member one
// after the other.
type ID struct {
	Index      int
	Generation uint32
}

// Table is a process's membership among those that share a segment, and its view
// of the others. All methods may be called at once.
type Table struct {
	region *region.Region
	area   int      // where the [layout.Area] is that the members are in, in bytes
	file   *os.File // its open file description has the lock; nil on the heap
	raw    syscall.RawConn
	id     ID
	life   *sys.RobustWord // nil on the heap
	guard  *sys.BusGuard   // of the life word's page

	// Deaths is rung when a member that is watched is gone. Whoever waits for
	// what a member does watches it first.
	Deaths wait.Bell

	ending wait.Bell // ends the watches
	left   atomic.Bool

	// watched are the generations of the members that are watched; 0: not. Who
	// changes them holds mu.
	watched  [layout.AreaMembersCount]atomic.Uint32
	mu       sync.Mutex
	ended    [layout.AreaMembersCount]uint32 // the last generation of each that was found gone
	watchers int                             // goroutines in look
	ticking  bool
	joining  bool // somebody is in lookForJoins
}

// Join makes this process a member. The members are in the [layout.Area] at this
// offset of the region, a multiple of 4096; all are zero at first. The region is
// mapped from the file, which the table takes: it must have an open file description
// of its own.
//
// Without a file, the region is on the heap, and all members are of this process:
// they live until they leave.
//
// Errors match [ErrFull], [ErrForked], are a [*PlaceError], or what the kernel answers.
func Join(r *region.Region, area int, file *os.File) (*Table, error) {
	if Forked() {
		return nil, ErrForked
	}
	t := &Table{region: r, area: area, file: file}
	if file == nil {
		return t, t.joinLocally()
	}
	if err := RecogniseForks(); err != nil {
		return nil, fmt.Errorf("recognise forks: %w", err)
	}
	var err error
	if t.raw, err = file.SyscallConn(); err == nil {
		err = t.join(int(file.Fd()))
	}
	if err != nil {
		if t.life != nil {
			release(t.life)
		}
		file.Close()
		return nil, err
	}
	return t, nil
}

// PlaceError says that there are members of another table of the same file: it had
// another size when they joined. Area is where theirs is, in bytes.
type PlaceError struct{ Area int64 }

func (e *PlaceError) Error() string {
	return fmt.Sprintf("other processes use the file with a table of members in an area at offset %d: it had another size then", e.Area)
}

// claim says where in the file this table is, and fails if somebody says another
// place. All of them say it before they look, so that of two at least one finds out.
func (t *Table) claim(fd int) error {
	place := layout.PlaceBase + int64(t.area)/placeBytes
	if err := sys.ShareByte(fd, place); err != nil {
		return fmt.Errorf("lock a byte of %s: %w", t.file.Name(), err)
	}
	for _, others := range [][2]int64{{layout.PlaceBase, place - layout.PlaceBase}, {place + 1, 0}} {
		if others[1] == 0 && others[0] <= place {
			continue // there is nothing before it
		}
		at, locked, err := sys.RangeLocked(fd, others[0], others[1])
		if err != nil {
			return fmt.Errorf("look for locks of %s: %w", t.file.Name(), err)
		}
		if locked {
			return &PlaceError{(at - layout.PlaceBase) * placeBytes}
		}
	}
	return nil
}

// placeBytes is what the place of a table is a multiple of.
const placeBytes = 4096

// join takes a place, through the descriptor of the file.
func (t *Table) join(fd int) error {
	if err := t.claim(fd); err != nil {
		return err
	}
	// Anywhere, so that a member's generations last long.
	first := rand.IntN(layout.AreaMembersCount)
	for i := range layout.AreaMembersCount {
		t.id.Index = (first + i) % layout.AreaMembersCount
		err := sys.LockByte(fd, lockOf(t.id.Index))
		if err == nil {
			return t.begin(fd)
		}
		if !errors.Is(err, sys.ErrLocked) {
			return fmt.Errorf("lock a byte of %s: %w", t.file.Name(), err)
		}
	}
	return ErrFull
}

// begin writes what a member writes about itself. The lock is its already.
func (t *Table) begin(fd int) error {
	self := Self()
	t.word(layout.MemberPIDAt).Store(self.PID)
	t.word(layout.MemberPIDNamespaceAt).Store(self.Namespace)
	t.word64(layout.MemberPidfdInodeAt).Store(self.Inode)
	t.word64(layout.MemberStartTimeAt).Store(self.Start)
	t.newGeneration()

	offset := t.offset(t.id.Index, layout.MemberLifeAt)
	life, keeper, err := hold(fd, int64(offset))
	if err != nil {
		return fmt.Errorf("map the life word: %w", err)
	}
	t.life = life
	if t.guard, err = sys.NewBusGuard(life.Bytes(), new(atomic.Uint32)); err != nil {
		return err
	}
	// The word is in the keeper's list already: from this store on the kernel
	// marks it.
	life.Word().Store(keeper.thread | layout.FutexWaiters)
	t.tellOfJoin()
	if err := t.region.Err(); err != nil {
		t.guard.Release()
		return err
	}
	return nil
}

func (t *Table) newGeneration() {
	w := t.word(layout.MemberGenerationAt)
	t.id.Generation = w.Load() + 1
	if t.id.Generation == 0 {
		t.id.Generation++
	}
	// SYNC POINT member: who sees the generation sees the fields before it.
	w.Store(t.id.Generation)
}

func lockOf(member int) int64 { return layout.LockBase + int64(member) }

func (t *Table) offset(member, field int) int {
	return t.area + layout.AreaMembersAt + member*layout.MemberBytes + field
}

// word returns a field of this process's own entry.
func (t *Table) word(field int) *word.Uint32 {
	return t.region.Uint32(t.offset(t.id.Index, field))
}

func (t *Table) word64(field int) *word.Uint64 {
	return t.region.Uint64(t.offset(t.id.Index, field))
}

// ID returns who this process is in the table.
func (t *Table) ID() ID { return t.id }

// Leave ends the membership: the member is gone. The region must have been
// retired before, as a process that is gone does not write. Leaving again does
// nothing.
func (t *Table) Leave() error {
	if t.left.Swap(true) {
		return nil
	}
	t.ending.Ring()
	t.Deaths.Ring()
	if t.file == nil {
		t.leaveLocally()
		return nil
	}
	t.life.Word().Store(0)
	t.life.Wake()
	t.guard.Release()
	return errors.Join(release(t.life), t.file.Close())
}

// Gone says whether a member can not change the shared memory any more.
func (t *Table) Gone(id ID) bool {
	switch {
	case id == t.id:
		return t.left.Load()
	case id.Index < 0 || id.Index >= layout.AreaMembersCount || id.Generation == 0:
		return true // there is no such member, and never was
	}
	// The order matters: whoever takes the lock after we have found it free
	// changes the generation after that.
	if t.generation(id.Index) != id.Generation {
		return true
	}
	if !t.locked(id) {
		return true
	}
	identity, generation := t.Identity(id.Index)
	if generation != id.Generation {
		return true
	}
	dead, known := identity.Dead()
	return known && dead
}

func (t *Table) generation(member int) uint32 {
	return t.region.Uint32(t.offset(member, layout.MemberGenerationAt)).Load()
}

// Marked says whether a member's life word has been marked, or it has been
// replaced by another. This alone proves nothing.
func (t *Table) Marked(id ID) bool {
	if id.Index < 0 || id.Index >= layout.AreaMembersCount || t.generation(id.Index) != id.Generation {
		return true
	}
	life := t.region.Uint32(t.offset(id.Index, layout.MemberLifeAt)).Load()
	return life == 0 || life&layout.FutexOwnerDied != 0
}

// Identity returns who a member is, by its own account, and its generation; 0 if
// there was nobody yet.
func (t *Table) Identity(member int) (Identity, uint32) {
	at := func(field int) int { return t.offset(member, field) }
	generation := t.generation(member)
	return Identity{
		PID:       t.region.Uint32(at(layout.MemberPIDAt)).Load(),
		Namespace: t.region.Uint32(at(layout.MemberPIDNamespaceAt)).Load(),
		Inode:     t.region.Uint64(at(layout.MemberPidfdInodeAt)).Load(),
		Start:     t.region.Uint64(at(layout.MemberStartTimeAt)).Load(),
	}, generation
}

// Members returns those that are not gone.
func (t *Table) Members() iter.Seq2[ID, Identity] {
	return func(yield func(ID, Identity) bool) {
		for i := range layout.AreaMembersCount {
			identity, generation := t.Identity(i)
			id := ID{i, generation}
			if generation != 0 && !t.Gone(id) && !yield(id, identity) {
				return
			}
		}
	}
}

// Watch has Deaths rung when the member is gone, and from then on when any other is:
// whoever sleeps until this one has done something may find, when he wakes, that
// another has come before him; and when that happens while he sleeps, and the other
// dies, he has to hear of it. It is rung soon after the death, if the kernel marks
// the life word; at the process's next recheck (see package wait) in any case. Read
// Deaths.Rung before Watch, and look at what is waited for between Watch and the wait.
func (t *Table) Watch(id ID) {
	if id.Index < 0 || id.Index >= layout.AreaMembersCount || id.Generation == 0 {
		t.Deaths.Ring() // gone for ever
	} else if id != t.id && t.watched[id.Index].Load() != id.Generation {
		t.watch(id)
	}
}

// look waits for the end of a member, and rings.
func (t *Table) look(id ID) {
	life := t.region.Uint32(t.offset(id.Index, layout.MemberLifeAt))
	var marked time.Time // when it was found so
	for {
		rung := t.ending.Rung()
		if t.left.Load() {
			return
		}
		seen := life.Load()
		if t.Marked(id) {
			if marked.IsZero() {
				marked = time.Now()
			}
			// The kernel woke one watcher, of one process. He wakes the others.
			wait.Wake(life, wait.All)
		} else {
			marked = time.Time{} // it had not stored its life word yet
		}
		if t.Gone(id) {
			break
		}
		if !marked.IsZero() {
			// Its memory is being taken away, which takes about 30 ms for each GiB;
			// or a child that it forked has the lock, which can take for ever.
			time.Sleep(min(max(time.Since(marked)/8, lookSoon), tickEvery))
		} else if wait.ParkShared(life, seen, &t.ending, rung) != nil {
			time.Sleep(tickEvery) // it can not be slept on: the file was cut short
		}
	}
	t.unwatch(id)
	t.Deaths.Ring()
}

const (
	// lookSoon is the first pause between looks at a member that is marked.
	lookSoon = 50 * time.Microsecond
	// tickEvery is the longest.
	tickEvery = time.Second
)

func (t *Table) unwatch(id ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watchers--
	t.ended[id.Index] = id.Generation
	t.watched[id.Index].CompareAndSwap(id.Generation, 0)
	t.watchPlace(id.Index) // another may be there already
}

// tick looks at those who are watched, at each recheck of the process and as long as
// there are any: a keeper can fail to have its words marked, and a watcher that the
// kernel wakes can die before it wakes the others.
func (t *Table) tick() (again bool) {
	if !t.stillTicks() {
		return false
	}
	for i := range t.watched {
		if generation := t.watched[i].Load(); generation != 0 && t.Gone(ID{i, generation}) {
			wait.Wake(t.region.Uint32(t.offset(i, layout.MemberLifeAt)), wait.All)
		}
	}
	return true
}

func (t *Table) stillTicks() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ticking = t.watchers > 0 && !t.left.Load()
	if t.ticking {
		t.watchAll()
	}
	return t.ticking
}
