package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/memlane/memlane/internal/layout"
	"github.com/memlane/memlane/shmsync"
)

// Names, and the permits of the semaphores that have them. A semaphore that a
// survivor makes has others than the victim's.
const (
	firstName   = "first"
	victimsName = "victims"
	otherName   = "another"
	nextName    = "next"

	victimsPermits, survivorsPermits = 3, 5
)

func nameOperations() []*operation {
	name := func(v *view) error {
		_, err := shmsync.NamedSemaphore(background, v.s, victimsName, victimsPermits)
		return err
	}
	first := func(a *arena) error {
		_, err := shmsync.NamedMutex(background, a.s, firstName)
		return err
	}
	return []*operation{
		{name: "names: add one", before: first, act: name, judge: namesJudge{[]string{"not yet", "adding", "named", "there"}}},
		{name: "names: find one", act: name, judge: namesJudge{[]string{"there"}},
			before: func(a *arena) error { return errors.Join(first(a), name(a.view)) }},
	}
}

// namesJudge judges the directory: the victim's name is there, whole, or not at
// all, and nothing of the heap is lost.
type namesJudge struct{ order []string }

func (j namesJudge) stages() []string { return j.order }

func (namesJudge) begin(*arena) {}

// entry returns the bytes of name number i of the directory.
func (a *arena) entry(i int) []byte {
	at := areaAt + layout.AreaNamesAt + i*layout.NameBytes
	return a.s.Bytes()[at : at+layout.NameBytes]
}

func (j namesJudge) stage(a *arena) string {
	locked := a.directoryLock.Load()>>layout.MutexStateOwnerShift&layout.MutexStateOwnerMask != 0
	there := binary.LittleEndian.Uint32(a.entry(1)[layout.NameKindAt:]) != 0
	switch {
	case there && locked:
		return "named"
	case there:
		return "there"
	case locked:
		return "adding"
	}
	return "not yet"
}

// whole says whether the victim's name is there and is a semaphore with so many
// permits.
func (a *arena) whole(permits int) error {
	for _, s := range a.survivors() {
		if err := s.do("look "+victimsName, strconv.Itoa(permits)); err != nil {
			return err
		}
	}
	return nil
}

func (j namesJudge) frozen(a *arena, stage string) error {
	if stage == "named" || stage == "there" {
		if err := a.whole(victimsPermits); err != nil {
			return err
		}
	}
	add, result := "name "+otherName+" "+strconv.Itoa(survivorsPermits)+patient, "ok"
	if stage == "adding" || stage == "named" {
		add, result = "name "+otherName+" "+strconv.Itoa(survivorsPermits)+brief, "late"
	}
	return a.survivors()[0].do(add, result)
}

func (namesJudge) resumed(*arena, string) error { return nil }

func (j namesJudge) after(a *arena, stage string, killed bool) error {
	want := victimsPermits
	if killed && (stage == "not yet" || stage == "adding") {
		want = survivorsPermits
		if err := a.local.do("look "+victimsName, "absent"); err != nil {
			return err
		}
	}
	both := a.survivors()
	// The second finds what the first has made, if it had to make it.
	for _, s := range both {
		if err := s.do("name "+victimsName+" "+strconv.Itoa(survivorsPermits)+patient, "ok"); err != nil {
			return err
		}
	}
	if err := a.whole(want); err != nil {
		return err
	}
	if err := both[1].do("name "+nextName+" "+strconv.Itoa(survivorsPermits)+patient, "ok"); err != nil {
		return err
	}
	if word := a.directoryLock.Load(); word != 0 {
		return fmt.Errorf("nobody adds a name, and the directory's lock is %#x", word)
	}
	return a.directory()
}

// directory checks what the directory has, byte by byte, and empties it.
func (a *arena) directory() error {
	want := map[string]uint32{firstName: layout.KindMutex, victimsName: layout.KindSemaphore, nextName: layout.KindSemaphore, otherName: layout.KindSemaphore}
	end := layout.AreaHeapAt
	n := 0
	for ; ; n++ {
		e := a.entry(n)
		kind := binary.LittleEndian.Uint32(e[layout.NameKindAt:])
		if kind == 0 {
			break
		}
		text, rest, _ := bytes.Cut(e[layout.NameTextAt:layout.NameTextAt+layout.NameTextCount], []byte{0})
		name := string(text)
		if want[name] != kind || len(bytes.Trim(rest, "\x00")) > 0 {
			return fmt.Errorf("name %d of the directory is %q, of kind %d, followed by %x", n, name, kind, rest)
		}
		delete(want, name)
		if offset := int(binary.LittleEndian.Uint32(e[layout.NameOffsetAt:])); offset != end {
			return fmt.Errorf("%q lies at %d; want %d, behind the one before", name, offset, end)
		}
		size := shmsync.MutexBytes
		if kind == layout.KindSemaphore {
			size = shmsync.SemaphoreBytes
		}
		object := a.s.Bytes()[areaAt+end:][:size]
		if got := binary.LittleEndian.Uint32(object[layout.MutexKindAt:]); got != kind {
			return fmt.Errorf("%q is of kind %d, and its bytes say %d", name, kind, got)
		}
		end += (size + layout.NameAlign - 1) &^ (layout.NameAlign - 1)
	}
	delete(want, otherName) // is there or not
	if len(want) > 0 {
		return fmt.Errorf("of the names %v is missing", want)
	}
	area := a.s.Bytes()[areaAt:]
	clear(area[layout.AreaNamesAt : layout.AreaNamesAt+n*layout.NameBytes])
	clear(area[layout.AreaHeapAt:end])
	return nil
}
