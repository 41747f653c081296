package shmsync_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/memlane/memlane/mmap"
	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
)

// counters is a segment in a folder of its own, so that the examples do not
// meet; programs that are to meet give the same name and no folder.
func counters() (*segment.Segment, func()) {
	folder, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	s, err := segment.Create("counters", 1<<20, &segment.Config{Folder: folder})
	if err != nil {
		log.Fatal(err)
	}
	return s, func() { s.Close(); os.RemoveAll(folder) }
}

// A mutex at the beginning of a segment guards what comes behind it. Any number of
// processes can run this.
func ExampleMutexAt() {
	s, remove := counters()
	defer remove()
	mu, err := shmsync.MutexAt(s, 0)
	if err != nil {
		log.Fatal(err)
	}
	count, err := mmap.At[uint64](s.Mapping, shmsync.MutexBytes)
	if err != nil {
		log.Fatal(err)
	}
	switch err := mu.Lock(context.Background()); {
	case errors.Is(err, shmsync.ErrOwnerDied):
		// A number is never half written: nothing to repair.
		mu.Consistent()
	case err != nil:
		log.Fatal(err)
	}
	*count++
	fmt.Println(*count, mu.Unlock())
	// Output: 1 <nil>
}

// At most two processes at a time do something; one that is killed while it does
// makes room for another.
func ExampleNamedSemaphore() {
	s, remove := counters()
	defer remove()
	slots, err := shmsync.NamedSemaphore(context.Background(), s, "slots", 2)
	if err != nil {
		log.Fatal(err)
	}
	for range 3 {
		err := slots.TryAcquire()
		fmt.Println(err == nil, errors.Is(err, shmsync.ErrBusy))
	}
	// Output:
	// true false
	// true false
	// false true
}

// One process says that it is ready, and others wait for it.
func ExampleEvent() {
	s, remove := counters()
	defer remove()
	ready, err := shmsync.NamedEvent(context.Background(), s, "ready", shmsync.Manual)
	if err != nil {
		log.Fatal(err)
	}
	go func() { // elsewhere
		ready.Set()
	}()
	fmt.Println(ready.Wait(context.Background()))
	// Output: <nil>
}
