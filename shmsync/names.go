package shmsync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/segment"
)

// Limits of names. A segment has room for 53,248 bytes of primitives that have one:
// 25 semaphores, or any of the others. Names are never removed, as somebody may be
// about to use what has them. Whoever needs more takes several segments, or offsets.
const (
	MaxNames     = layout.AreaNamesCount    // 62, in a segment
	MaxNameBytes = layout.NameTextCount - 1 // 47, of a name
)

// sizes are the bytes of each kind.
var sizes = map[uint32]int{
	layout.KindMutex:       MutexBytes,
	layout.KindSemaphore:   SemaphoreBytes,
	layout.KindManualEvent: EventBytes,
	layout.KindAutoEvent:   EventBytes,
}

// NamedMutex returns the mutex that has the name in the segment's directory, and
// makes it if there is none. Names of at most 47 bytes of UTF-8 are possible, 62 in a
// segment, and never removed: see [MaxNames]. The error matches
// [ErrKind] if the name is one of another kind, and [ErrFull].
//
// ctx ends the wait for somebody who is just adding a name.
func NamedMutex(ctx context.Context, s *segment.Segment, name string) (*Mutex, error) {
	o, offset, err := named(ctx, s, name, layout.KindMutex, nil)
	if err != nil {
		return nil, err
	}
	return newMutex(o, offset), nil
}

// NamedSemaphore is as [NamedMutex]. A semaphore that it makes has permits free. One
// that is there keeps those that it has, and permits is ignored: how many it was made
// with is not kept, and those who use it must agree.
func NamedSemaphore(ctx context.Context, s *segment.Segment, name string, permits int) (*Semaphore, error) {
	var wrong error
	switch {
	case permits < 0:
		wrong = negative(permits)
	case permits > MaxPermits:
		wrong = fmt.Errorf("%w: %d", ErrTooMany, permits)
	}
	if wrong != nil {
		return nil, &Error{"use", fmt.Sprintf("semaphore %q", name), wrong, fmt.Sprintf("it can have 0 to %d", MaxPermits)}
	}
	o, offset, err := named(ctx, s, name, layout.KindSemaphore, func(sp *space, offset int) {
		sp.region.Uint64(offset + layout.SemaphoreStateAt).Store(uint64(permits))
	})
	if err != nil {
		return nil, err
	}
	return newSemaphore(o, offset), nil
}

// NamedEvent is as [NamedMutex]. An event that it makes is not set.
func NamedEvent(ctx context.Context, s *segment.Segment, name string, kind EventKind) (*Event, error) {
	if err := checkEventKind(kind); err != nil {
		return nil, err
	}
	o, offset, err := named(ctx, s, name, uint32(kind), nil)
	if err != nil {
		return nil, err
	}
	return newEvent(o, offset, kind), nil
}

// named finds the object with the name, or makes it and calls fill.
func named(ctx context.Context, s *segment.Segment, name string, kind uint32, fill func(sp *space, offset int)) (object, int, error) {
	what := fmt.Sprintf("%s %q", kindNames[kind], name)
	if err := checkName(name); err != nil {
		return object{}, 0, &Error{"use", what, err, ""}
	}
	sp, err := spaceOf(s)
	if err != nil {
		return object{}, 0, err
	}
	o := object{sp, what + " of " + sp.name}
	found, _, err := sp.find(name)
	if err != nil {
		return object{}, 0, o.fail("look up", err, "")
	}
	if found == nil {
		if found, err = sp.add(ctx, name, kind, fill); err != nil {
			fix := ""
			if errors.Is(err, ErrFull) {
				fix = "names are never removed: use another segment, or an offset in place of a name"
			}
			return object{}, 0, o.fail("add", err, fix)
		}
	}
	if found.kind != kind {
		return object{}, 0, o.fail("use", fmt.Errorf("%w: %s of that name is there", ErrKind, a(found.kind)), "use another name")
	}
	o, err = sp.object(kind, found.offset, what)
	return o, found.offset, err
}

func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrName)
	case len(name) > MaxNameBytes:
		return fmt.Errorf("%w: it has %d bytes, and can have %d", ErrName, len(name), MaxNameBytes)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("%w: %q is not UTF-8, or has control characters", ErrName, name)
	}
	return nil
}

// entry is a name of the directory.
type entry struct {
	name   string
	kind   uint32
	offset int // in the region
}

// entry returns name number i; nil if there is none. What it says is checked: the
// bytes are everybody's.
func (sp *space) entry(i int) (*entry, error) {
	at := sp.area + layout.AreaNamesAt + i*layout.NameBytes
	// SYNC POINT name: who sees the kind sees the rest, which does not change.
	kind := sp.region.Uint32(at + layout.NameKindAt).Load()
	if kind == 0 {
		return nil, nil
	}
	size, ok := sizes[kind]
	offset := int(sp.region.Uint32(at + layout.NameOffsetAt).Load())
	text := bytes.Clone(sp.region.Bytes(at+layout.NameTextAt, layout.NameTextCount))
	name, _, terminated := bytes.Cut(text, []byte{0})
	if !ok || !terminated || checkName(string(name)) != nil ||
		offset%layout.NameAlign != 0 || offset < layout.AreaHeapAt || offset > layout.AreaBytes-size {
		return nil, fmt.Errorf("name %d of the directory is %w", i, ErrCorrupt)
	}
	return &entry{string(name), kind, sp.area + offset}, nil
}

// find returns the entry with the name, nil if there is none, and where the free
// part of the heap begins.
func (sp *space) find(name string) (found *entry, end int, err error) {
	end = sp.area + layout.AreaHeapAt
	for i := range layout.AreaNamesCount {
		e, err := sp.entry(i)
		if err != nil {
			return nil, 0, err
		}
		if e == nil {
			break
		}
		if e.name == name {
			return e, 0, nil
		}
		end = max(end, (e.offset+sizes[e.kind]+layout.NameAlign-1)&^(layout.NameAlign-1))
	}
	return nil, end, sp.check()
}

// add makes an object and gives it the name; unless somebody else has, meanwhile,
// whose it returns then.
func (sp *space) add(ctx context.Context, name string, kind uint32, fill func(*space, int)) (e *entry, err error) {
	directory := newMutex(object{sp, "directory of " + sp.name}, sp.area+layout.AreaDirectoryLockAt)
	// There is nothing to repair after a death: what has no kind is not there.
	switch err := directory.Lock(ctx); {
	case errors.Is(err, ErrOwnerDied):
		if err := directory.Consistent(); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	defer func() { err = errors.Join(err, directory.Unlock()) }()

	found, end, err := sp.find(name)
	if err != nil || found != nil {
		return found, err
	}
	i := 0
	for ; i < layout.AreaNamesCount; i++ {
		if e, err := sp.entry(i); err != nil {
			return nil, err
		} else if e == nil {
			break
		}
	}
	limit := sp.area + layout.AreaBytes
	if i == layout.AreaNamesCount || end > limit-sizes[kind] {
		return nil, fmt.Errorf("%w: %d names, and %d bytes left for what they are the names of", ErrFull, i, limit-end)
	}
	// Somebody can have died here before.
	clear(sp.region.Bytes(end, sizes[kind]))
	if fill != nil {
		fill(sp, end)
	}
	at := sp.area + layout.AreaNamesAt + i*layout.NameBytes
	text := sp.region.Bytes(at+layout.NameTextAt, layout.NameTextCount)
	clear(text[copy(text, name):])
	sp.region.Uint32(at + layout.NameOffsetAt).Store(uint32(end - sp.area))
	// SYNC POINT name: from here on it is there.
	sp.region.Uint32(at + layout.NameKindAt).Store(kind)
	return &entry{name, kind, end}, sp.check()
}

// Info is a name of a segment's directory, and what its primitive looks like. Of
// the three the one that it is is set.
type Info struct {
	Name      string           // in the directory
	Mutex     *MutexStatus     // of a mutex
	Semaphore *SemaphoreStatus // of a semaphore
	Event     *EventStatus     // of an event
	EventKind EventKind        // of an event
}

// Names returns all names of the segment's directory, in the order in which they
// were made.
func Names(s *segment.Segment) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		sp, err := spaceOf(s)
		if err != nil {
			yield(Info{}, err)
			return
		}
		for i := range layout.AreaNamesCount {
			e, err := sp.entry(i)
			if err == nil && e == nil {
				err = sp.check() // zeros are nothing, unless the file was cut short
				if err == nil {
					return
				}
			}
			var info Info
			if err != nil {
				err = &Error{"list", sp.name, err, ""}
			} else {
				info, err = sp.info(e)
			}
			if !yield(info, err) || e == nil {
				return
			}
		}
	}
}

func (sp *space) info(e *entry) (Info, error) {
	o, err := sp.object(e.kind, e.offset, fmt.Sprintf("%s %q", kindNames[e.kind], e.name))
	if err != nil {
		return Info{}, err
	}
	info := Info{Name: e.name}
	switch e.kind {
	case layout.KindMutex:
		st, err := newMutex(o, e.offset).Status()
		info.Mutex = &st
		return info, err
	case layout.KindSemaphore:
		st, err := newSemaphore(o, e.offset).Status()
		info.Semaphore = &st
		return info, err
	}
	info.EventKind = EventKind(e.kind)
	st, err := newEvent(o, e.offset, info.EventKind).Status()
	info.Event = &st
	return info, err
}

// Lookup returns what has the name in the segment's directory; the error matches
// fs.ErrNotExist if nothing has.
func Lookup(s *segment.Segment, name string) (Info, error) {
	sp, err := spaceOf(s)
	if err != nil {
		return Info{}, err
	}
	e, _, err := sp.find(name)
	if err == nil && e == nil {
		err = fmt.Errorf("no primitive has this name: %w", fs.ErrNotExist)
	}
	if err != nil {
		return Info{}, &Error{"look up", fmt.Sprintf("%q of %s", name, sp.name), err, ""}
	}
	return sp.info(e)
}
