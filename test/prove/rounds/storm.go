package rounds

import (
	"context"
	"sync"
	"time"
)

// watchEvery is how often it is looked whether everybody goes on.
const watchEvery = 50 * time.Millisecond

// Storm runs storm in all places at once, and then the rest of the round's course.
// Meanwhile it calls watch again and again; an error of this ends the round, and
// comes before what came of it.
func Storm[P any](ctx context.Context, places []P, storm func(context.Context, P) error, rest func(context.Context) error, watch func() error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over, watched := make(chan struct{}), make(chan error)
	go func() {
		err := watching(over, watch)
		if err != nil {
			cancel(err)
		}
		watched <- err
	}()
	var storming sync.WaitGroup
	for _, p := range places {
		storming.Go(func() {
			if err := storm(ctx, p); err != nil {
				cancel(err) // the first error is the one that counts
			}
		})
	}
	storming.Wait()
	err := context.Cause(ctx)
	if err == nil {
		err = rest(ctx)
	}
	close(over)
	if seen := <-watched; seen != nil {
		err = seen
	}
	return err
}

func watching(over <-chan struct{}, watch func() error) error {
	for {
		select {
		case <-over:
			return nil
		case <-time.After(watchEvery):
		}
		if err := watch(); err != nil {
			return err
		}
	}
}

// A Progress is a number that must grow.
type Progress struct {
	Of    any // whose number it is
	was   uint64
	Since time.Time // when it has last grown, or become that of another
}

// Stands returns for how long the number of this has not grown.
func (p *Progress) Stands(of any, is uint64) time.Duration {
	if p.Of != of || p.was != is {
		*p = Progress{of, is, time.Now()}
	}
	return time.Since(p.Since)
}
