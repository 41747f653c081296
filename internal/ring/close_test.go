package ring_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/memlane/memlane/internal/ring"
)

// A writer that is closed while it publishes gives nothing up that its readers, who
// leave because of that, have not read yet.
func TestCloseKeepsWhatIsUnread(t *testing.T) {
	for name, size := range map[string]int{"inline": 8, "blocks": 1000} {
		t.Run(name, func(t *testing.T) {
			for range 200 {
				tp := newTopic(t, ring.Config{Slots: 4, SlotBytes: 64, ArenaBytes: 4096, ArenaLimit: 4096, Policy: ring.Block})
				r := tp.join(0, true)
				view, err := ring.NewView(tp.r)
				if err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() {
					for i := uint64(0); ; i++ {
						if err := tp.w.Publish(context.Background(), message(i, size)); err != nil {
							ended <- err
							return
						}
					}
				}()
				for !view.Look().Waiting {
					runtime.Gosched()
				}
				published := view.Look().Sequence
				tp.w.Close()
				tp.w.Leave(r.member)
				if err := <-ended; !errors.Is(err, ring.ErrClosed) {
					t.Fatal(err)
				}
				// A message more may have been published.
				tp.w.Publish(context.Background(), message(0, size))
				for i := range published {
					b, _, err := r.Next(nil)
					if err != nil {
						t.Fatalf("message %d of %d: %v", i, published, err)
					}
					if n, err := check(b); n != i || err != nil {
						t.Fatalf("message %d is %d, %v", i, n, err)
					}
				}
			}
		})
	}
}
