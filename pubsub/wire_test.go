package pubsub

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/internal/ring"
)

// Whatever a peer says of a topic is refused, or is exactly what is encoded again.
func FuzzWire(f *testing.F) {
	seeds := [][]byte{
		settingsOf(ring.Block, ring.Format{Kind: ring.FormatContentType, Text: "text/csv"}).encode(), settings{}.encode(),
		link{at: 128, flags: flagPeeks, history: 7, use: 3}.encode(), link{}.encode(),
		linked{ring.Start{Position: 1, Sequence: 2, Left: 3, Number: 4}, 4096}.encode(), chunk{1}.encode(), chunk{63}.encode(),
	}
	proctest.Fuzz(f, seeds, func(b []byte) error {
		again := func(what string, decoded []byte, err error) error {
			switch {
			case errors.Is(err, ErrProtocol):
				return nil
			case err == nil && !bytes.Equal(decoded, b):
				return fmt.Errorf("as %s it is %x", what, decoded)
			}
			return err
		}
		s, err := decodeSettings(b)
		errs := again("settings", s.encode(), err)
		l, err := decodeLink(b)
		errs = errors.Join(errs, again("a link", l.encode(), err))
		g, err := decodeLinked(b)
		errs = errors.Join(errs, again("a grant", g.encode(), err))
		c, err := decodeChunk(b)
		return errors.Join(errs, again("a chunk", c.encode(), err))
	})
}
