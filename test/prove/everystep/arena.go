package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/life"
	"github.com/memlane/memlane/internal/region"
	"github.com/memlane/memlane/internal/sys"
	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/test/prove/places"
	"github.com/memlane/memlane/test/prove/step"
)

// An arena is the segment in which victims die, and the two who survive them. It
// is used for many, and must be as it was after each.
type arena struct {
	folder string
	*view  // the conductor's
	local  *survivor
	other  *survivor // the servant
	rnd    *rand.Rand

	// The members, looked at by one more of them, which does nothing else.
	table   *life.Table
	region  *region.Region
	looking *os.File     // to ask who has locked which byte
	members map[int]bool // those that live while there is no victim
	place   int          // the one that a victim finds free, where it is not to choose
	grave   int          // the one of a process that has died before the victim

	// What follows is of one victim, or of two of which the second one clears up after the
	// first.
	victim  *step.Victim
	victims uint64      // how many
	id      life.ID     // its membership; none if it has not joined yet
	awake   bool        // it has been asleep, and somebody has done what it waits for
	parked  []*survivor // who are asleep in what they were told
	held    int         // permits, or the mutex, that the conductor has taken before
	spent   bool        // a survivor has taken what the victim has given
	base    uint32      // a count, from before the victim's operation
	a0      uint64      // the number a, from before
	used    uint64      // how often survivors have added to it since
	tokens  int         // that survivors have posted to the signal since, less those taken
}

func newArena(rnd *rand.Rand) (_ *arena, err error) {
	a := &arena{rnd: rnd, members: map[int]bool{}}
	defer func() {
		if err != nil {
			a.close()
			err = fmt.Errorf("prepare a segment: %w", err)
		}
	}()
	// On a tmpfs, if there is one: no file system writes these pages back.
	if a.folder, err = os.MkdirTemp("/dev/shm", "memlane-everystep-"); err != nil {
		if a.folder, err = os.MkdirTemp("", "memlane-everystep-"); err != nil {
			return nil, err
		}
	}
	s, err := segment.Create("arena", segmentBytes, &segment.Config{Folder: a.folder})
	if err != nil {
		return nil, err
	}
	if a.view, err = newView(s); err != nil {
		return nil, err
	}
	if a.looking, err = s.File(); err != nil {
		return nil, err
	}
	// The same places each time: those who look for others go through all.
	if err = a.joinAt(conductorsPlace); err != nil {
		return nil, err
	}
	if err = a.view.join(); err != nil {
		return nil, err
	}
	if err = a.view.warm(); err != nil {
		return nil, err
	}
	if err = a.guard.Post(permits); err != nil {
		return nil, err
	}
	a.local = local(a.view)
	if err = a.joinAt(servantsPlace); err != nil {
		return nil, err
	}
	if a.other, err = servant(s.Path()); err != nil {
		return nil, err
	}
	if a.region, err = region.Map(int(a.looking.Fd()), segmentBytes); err != nil {
		return nil, err
	}
	file, err := s.File()
	if err != nil {
		return nil, err
	}
	if err = a.joinAt(tablesPlace); err != nil {
		return nil, err
	}
	if a.table, err = life.Join(a.region, areaAt, file); err != nil {
		return nil, err
	}
	joined := map[int]bool{}
	for id := range a.table.Members() {
		joined[id.Index] = true
	}
	if !maps.Equal(joined, a.members) {
		return nil, fmt.Errorf("the members are in the places %v; want %v", joined, a.members)
	}
	a.place = a.vacant(0)
	a.grave = a.vacant(a.place + 1)
	return a, nil
}

// Places of members.
const (
	conductorsPlace = 40
	servantsPlace   = 120
	tablesPlace     = 200
)

// joinAt has the next member take this place.
func (a *arena) joinAt(place int) error {
	err := a.onlyFree(place)
	a.members[place] = true
	return err
}

// allFree has whoever joins choose among all places.
func (a *arena) allFree() error {
	var all []int
	for i := range layout.AreaMembersCount {
		all = append(all, i)
	}
	return a.onlyFree(all...)
}

// vacant returns a place that no member has, at or after i.
func (a *arena) vacant(i int) int {
	for a.members[i] {
		i++
	}
	return i
}

// onlyFree has whoever joins find these places free and no other, so that victims
// find the same each time. The locks on the others are of a descriptor that is no
// member.
func (a *arena) onlyFree(places ...int) error {
	const ofdSetLock = 37 // F_OFD_SETLK
	for i := range layout.AreaMembersCount {
		lock := syscall.Flock_t{Type: syscall.F_WRLCK, Start: layout.LockBase + int64(i), Len: 1}
		switch {
		case a.members[i]:
			continue
		case slices.Contains(places, i):
			lock.Type = syscall.F_UNLCK
		}
		if err := syscall.FcntlFlock(a.looking.Fd(), ofdSetLock, &lock); err != nil {
			return fmt.Errorf("lock the place of member %d: %w", i, err)
		}
	}
	return nil
}

// close ends the survivors, and removes all.
func (a *arena) close() {
	for _, s := range []*survivor{a.local, a.other} {
		if s != nil {
			s.end()
		}
	}
	if a.region != nil {
		a.region.Retire()
	}
	if a.table != nil {
		a.table.Leave()
	}
	if a.looking != nil {
		a.looking.Close()
	}
	if a.view != nil {
		a.s.Close()
	}
	os.RemoveAll(a.folder)
}

// forget forgets the last victim.
func (a *arena) forget() {
	a.victim, a.id, a.awake, a.parked, a.held, a.spent = nil, life.ID{}, false, nil, 0, false
	a.base, a.a0, a.used, a.tokens, a.victims = 0, *a.a, 0, 0, 1
}

// survivors returns both in an order drawn by lot.
func (a *arena) survivors() [2]*survivor {
	if a.rnd.IntN(2) == 0 {
		return [2]*survivor{a.local, a.other}
	}
	return [2]*survivor{a.other, a.local}
}

// sleeper has a survivor fall asleep in what it is told.
func (a *arena) sleeper(s *survivor, order string) error {
	if err := s.park(order); err != nil {
		return err
	}
	a.parked = append(a.parked, s)
	return nil
}

// awaken waits until n of those who are parked have been let go, whoever it is.
func (a *arena) awaken(n int, want string) error {
	for range n {
		i, err := a.first()
		if err != nil {
			return err
		}
		if err := a.parked[i].want(want); err != nil {
			return err
		}
		a.parked = append(a.parked[:i:i], a.parked[i+1:]...)
	}
	return a.stillParked()
}

// first waits until one of those who are parked has answered.
func (a *arena) first() (int, error) {
	for begun := time.Now(); time.Since(begun) < limit; time.Sleep(20 * time.Microsecond) {
		for i, s := range a.parked {
			if s.answered() {
				if time.Since(begun) > late {
					s.late++
				}
				return i, nil
			}
		}
	}
	var orders []string
	for _, s := range a.parked {
		orders = append(orders, s.name+": "+s.order)
	}
	return 0, fmt.Errorf("nobody is let go of those who wait (%s): %w", strings.Join(orders, "; "), places.ErrStuck)
}

// stillParked says whether all who are parked are.
func (a *arena) stillParked() error {
	for _, s := range a.parked {
		if s.answered() {
			return fmt.Errorf("%s has been let go from %q, and nothing was there for it", s.name, s.order)
		}
	}
	return nil
}

// whose says who a member is that owns the mutex.
func (a *arena) whose(owner life.ID) holder {
	switch {
	case owner.Index < 0:
		return nobody
	case a.members[owner.Index]:
		return survivorHolds
	case owner == a.id:
		return victimHolds
	}
	return deadHolds
}

type holder int

const (
	nobody holder = iota
	survivorHolds
	victimHolds
	deadHolds
)

// identify finds the victim among the members.
func (a *arena) identify() {
	for i := range layout.AreaMembersCount {
		if a.members[i] {
			continue
		}
		if identity, generation := a.table.Identity(i); int(identity.PID) == a.victim.PID() {
			if id := (life.ID{Index: i, Generation: generation}); !a.table.Gone(id) {
				a.id = id
			}
		}
	}
}

// gone says what is left of the victim's membership.
func (a *arena) gone() error {
	if a.id != (life.ID{}) && !a.table.Gone(a.id) {
		return fmt.Errorf("the victim is dead, and member %+v is not gone", a.id)
	}
	for i := range layout.AreaMembersCount {
		if a.members[i] {
			continue
		}
		locked, err := sys.ByteLocked(int(a.looking.Fd()), layout.LockBase+int64(i))
		if err != nil {
			return fmt.Errorf("ask who is member %d: %w", i, err)
		}
		identity, generation := a.table.Identity(i)
		switch {
		case locked:
			return fmt.Errorf("the victim is dead, and somebody is still member %d (generation %d, %v)", i, generation, identity)
		case generation != 0 && int(identity.PID) == a.victim.PID() && !a.table.Gone(life.ID{Index: i, Generation: generation}):
			return fmt.Errorf("the victim is dead, and member %d, generation %d, is not gone", i, generation)
		}
	}
	return nil
}
