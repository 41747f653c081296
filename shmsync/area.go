package shmsync

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/internal/life"
	"github.com/memlane/memlane/internal/region"
	"github.com/memlane/memlane/internal/wait"
	"github.com/memlane/memlane/internal/word"
	"github.com/memlane/memlane/segment"
)

// Sizes in bytes of the primitives, and what a primitive's offset must be a
// multiple of. A multiple of 64 keeps it apart from its neighbours in the
// processors' caches.
const (
	MutexBytes     = layout.MutexBytes     // 64, of a Mutex
	SemaphoreBytes = layout.SemaphoreBytes // 2112, of a Semaphore
	EventBytes     = layout.EventBytes     // 64, of an Event
	Align          = layout.MutexAlign     // 8, of an offset

	// AreaBytes is how many bytes at the end of a segment this package needs for
	// itself, 65536; the segment's own are those before [Area].
	AreaBytes = layout.AreaBytes
)

// MaxProcesses is how many processes at a time can use the primitives of one
// segment: 256.
const MaxProcesses = layout.AreaMembersCount

// Area returns where the part of a segment of size bytes begins that this package
// needs for itself: the last [AreaBytes], counted back from a multiple of 4096. It
// holds the names, and who uses the primitives. It must be zero at first, as the
// memory of a new segment is; if size is too small for it, the result is negative.
func Area(size int) int { return size&^(layout.AreaAlign-1) - layout.AreaBytes }

// Used says whether anybody has used primitives of the segment: whether its last
// bytes are this package's already, or free for it. If they are something else's
// the error matches [ErrArea]. It changes nothing and joins nobody.
func Used(s *segment.Segment) (used bool, err error) {
	at := Area(s.Len())
	if at < 0 {
		return false, nil
	}
	err = s.View(func(b []byte) error {
		used = binary.LittleEndian.Uint64(b[at:]) == layout.AreaMagic
		if !used && !zero(b[at:at+layout.AreaBytes]) {
			return fmt.Errorf("%w: something else is in the bytes from offset %d on", ErrArea, at)
		}
		return nil
	})
	if err != nil {
		return false, &Error{"look at", s.Name(), err, ""}
	}
	return used, nil
}

// space is a segment that this process uses primitives of.
type space struct {
	segment *segment.Segment // nil in tests that need none
	name    string
	region  *region.Region // all of the segment, mapped once more
	area    int            // offset in bytes
	members *life.Table

	waiting atomic.Int32 // calls that may be asleep
}

// spaces are those of all open segments.
var spaces struct {
	mu sync.Mutex
	of map[*segment.Segment]*space
}

// spaceOf returns the segment's space; the first call joins.
func spaceOf(s *segment.Segment) (*space, error) {
	spaces.mu.Lock()
	defer spaces.mu.Unlock()
	if sp := spaces.of[s]; sp != nil {
		return sp, nil
	}
	sp, err := join(s)
	if err != nil {
		return nil, err
	}
	// The segment's Close waits here for the lock, or has been before.
	if !s.AtClose(func() { forget(s) }) {
		sp.close()
		return nil, &Error{"use", s.Name(), ErrClosed, "use it before Close"}
	}
	if spaces.of == nil {
		spaces.of = map[*segment.Segment]*space{}
	}
	spaces.of[s] = sp
	return sp, nil
}

func forget(s *segment.Segment) {
	spaces.mu.Lock()
	sp := spaces.of[s]
	delete(spaces.of, s)
	spaces.mu.Unlock()
	if sp != nil {
		sp.close()
	}
}

// join maps the segment's file once more, so that the segment can be closed and
// unmapped whatever is going on here, and makes this process a member.
func join(s *segment.Segment) (*space, error) {
	if s == nil {
		return nil, &Error{"use", "nil segment", ErrArea, "create or attach to one"}
	}
	fail := func(err error, fix string) (*space, error) {
		return nil, &Error{"use", s.Name(), err, fix}
	}
	if life.Forked() {
		return fail(ErrForked, "execute a program, or attach before the fork only in the parent")
	}
	size := s.Len()
	if size == 0 {
		return fail(ErrClosed, "use it before Close")
	}
	if s.Path() == "" {
		return fail(fmt.Errorf("%w: it is anonymous, and only its owner can write it", ErrArea), "primitives are for segments that have a name")
	}
	area := Area(size)
	if area < 0 {
		return fail(fmt.Errorf("%w: it has %d bytes", ErrArea, size), fmt.Sprintf("make it %d bytes larger than what is yours: its last %d are needed for who uses it", layout.AreaBytes, layout.AreaBytes))
	}
	file, err := s.File()
	if err != nil {
		return nil, err
	}
	r, err := region.Map(int(file.Fd()), size)
	if err != nil {
		file.Close()
		return fail(err, "attach it for writing: whoever waits or looks writes too")
	}
	if err := prepare(r, area); err != nil {
		r.Retire()
		file.Close()
		return fail(err, "keep the last 64 KiB of the segment free, all zero at first")
	}
	members, err := life.Join(r, area, file)
	if err != nil {
		r.Retire()
		if errors.Is(err, life.ErrFull) {
			return fail(fmt.Errorf("%w: %w", ErrFull, err), "close it in some, or use several segments")
		}
		if place, ok := errors.AsType[*life.PlaceError](err); ok {
			used := place.Area + layout.AreaBytes
			return fail(fmt.Errorf("%w: other processes have attached to its first %d bytes, and it has %d now", ErrArea, used, size), "do not change the size of a file while its locks are used; end those, or truncate it to what it was")
		}
		return fail(memoryError(err), "")
	}
	return &space{segment: s, name: s.Name(), region: r, area: area, members: members}, nil
}

// prepare claims the area, or finds it claimed.
func prepare(r *region.Region, area int) error {
	magic := r.Uint64(area + layout.AreaMagicAt)
	if magic.Load() == 0 {
		// If it is not all zero it is somebody else's, or somebody has claimed it
		// just now.
		if zero(r.Bytes(area, layout.AreaBytes)) {
			magic.CompareAndSwap(0, layout.AreaMagic)
		}
	}
	switch now := magic.Load(); {
	case r.Err() != nil:
		return memoryError(r.Err())
	case now == layout.AreaMagic:
		return nil
	case now&(1<<48-1) == layout.AreaMagic&(1<<48-1):
		return fmt.Errorf("%w: its layout has version %d, this program knows %d", ErrArea, now>>48, layout.AreaMagic>>48)
	}
	return fmt.Errorf("%w: something else is in the bytes from offset %d on", ErrArea, area)
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// close leaves. Calls in flight end with ErrClosed.
func (sp *space) close() {
	sp.region.Expire()
	// As long as the memory is shared who waits can be waked where he sleeps, and can
	// pass on a wake that was meant for somebody who stays.
	pause := time.Microsecond
	for tries := 0; sp.waiting.Load() > 0 && tries < closeTries; tries++ {
		sp.members.Deaths.Ring()
		time.Sleep(pause)
		pause = min(2*pause, time.Millisecond)
	}
	// From here on nothing that this process does reaches the shared memory, and
	// only then the others may believe that it is gone.
	sp.region.Retire()
	sp.members.Leave()
}

// closeTries is how often close rings: for a second, which only they are not done in
// who can not be waked.
const closeTries = 1000

// check says why nothing can be done any more; nil if it can.
func (sp *space) check() error {
	if life.Forked() {
		return ErrForked
	}
	if err := sp.region.Err(); err != nil {
		return memoryError(err)
	}
	return nil
}

// object is what all primitives have.
type object struct {
	space *space
	what  string // for errors
}

// at returns the object of kind at offset, which is in the area only for those
// that have a name.
func at(s *segment.Segment, kind uint32, offset, size int) (object, error) {
	what := fmt.Sprintf("%s at offset %d", kindNames[kind], offset)
	sp, err := spaceOf(s)
	if err != nil {
		return object{}, err
	}
	if !sp.region.Has(offset, size, Align) || offset > sp.area-size {
		return object{}, &Error{"use", what + " of " + sp.name, fmt.Errorf("%w: it has to lie in the %d bytes before the area, at a multiple of %d, and has %d", segment.ErrSize, sp.area, Align, size), "choose another offset, or a larger segment"}
	}
	return sp.object(kind, offset, what)
}

// object marks the bytes as what they are used for, or finds them marked.
func (sp *space) object(kind uint32, offset int, what string) (object, error) {
	o := object{sp, what + " of " + sp.name}
	if err := sp.check(); err != nil {
		return object{}, o.fail("use", err, "")
	}
	w := sp.region.Uint32(offset + layout.MutexKindAt)
	w.CompareAndSwap(0, kind)
	if now := w.Load(); now != kind {
		if kindNames[now] == "" {
			return object{}, o.fail("use", ErrCorrupt, "use bytes that are zero at first")
		}
		return object{}, o.fail("use", fmt.Errorf("%w: these bytes are %s", ErrKind, a(now)), "use them as what they are")
	}
	if err := sp.check(); err != nil {
		return object{}, o.fail("use", err, "")
	}
	return o, nil
}

var kindNames = map[uint32]string{
	layout.KindMutex:       "mutex",
	layout.KindSemaphore:   "semaphore",
	layout.KindManualEvent: "manual event",
	layout.KindAutoEvent:   "automatic event",
}

// a returns a kind's name with its article.
func a(kind uint32) string {
	if kind == layout.KindAutoEvent {
		return "an " + kindNames[kind]
	}
	return "a " + kindNames[kind]
}

func (o *object) fail(op string, err error, fix string) error {
	return &Error{op, o.what, err, fix}
}

// suspects says, once in a while, that one who holds something is to be looked for
// although his life word is not marked: for programs that only ever try, and wait for
// nobody, so that nobody is watched.
func (o *object) suspects(tries *atomic.Uint32) bool { return tries.Add(1)%triesTrusted == 0 }

const triesTrusted = 1024

// park is wait.Park on a word of the segment, ended by a death too.
func (o *object) park(ctx context.Context, w *word.Uint32, seen uint32, rung uint32) error {
	err := wait.Park(ctx, w, seen, &o.space.members.Deaths, rung)
	if errors.Is(err, syscall.EFAULT) {
		// The file was cut short. The next access to the word finds that.
		return nil
	}
	return err
}

// attemptsMax bounds the loops that try again because somebody else was faster:
// so often only a process wins that does nothing but overwrite the word.
const attemptsMax = 1 << 20
