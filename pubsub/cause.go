package pubsub

import "context"

// cause returns why the context has ended, nil if it has not. It is asked before each
// message, not only before a wait: whoever always has something to do would never hear
// of it. context.Cause alone takes a lock each time; this is an atomic load, with the
// contexts of the standard library.
func cause(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}
