package shmsync

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/memlane/memlane/segment"
)

// When Close takes the memory away nobody sleeps on it any more: who does could not be
// waked there, and could not wake the next.
func TestNobodyWaitsAfterClose(t *testing.T) {
	dir := t.TempDir()
	for round := range 100 {
		s, err := segment.Create(fmt.Sprint("waited-on-", round), AreaBytes+4096, &segment.Config{Folder: dir})
		if err != nil {
			t.Fatal(err)
		}
		m, err := MutexAt(s, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Lock(context.Background()); err != nil {
			t.Fatal(err)
		}
		var waiters sync.WaitGroup
		for range 20 {
			waiters.Go(func() {
				if err := m.Lock(context.Background()); !errors.Is(err, ErrClosed) {
					t.Errorf("got %v; want %v", err, ErrClosed)
				}
			})
		}
		for m.space.waiting.Load() < 20 {
			runtime.Gosched()
		}
		// The mutex is locked as long as the memory is shared; then there are zeros.
		left := make(chan int64)
		go func() {
			for m.state.Load() != 0 {
				runtime.Gosched()
			}
			left <- int64(m.space.waiting.Load())
		}()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if n := <-left; n != 0 {
			t.Errorf("%d calls wait when the memory is shared no more", n)
		}
		waiters.Wait()
	}
}
