package pubsub

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/memlane/memlane/internal/ring"
)

// The messages between the two ports of a topic, as spec/protocol.md has them. All
// numbers are little-endian.
const (
	typeLink    = 1 // subscriber: asks for the messages; with its control segment
	typeLinked  = 2 // publisher: grants it; with the topic's segment
	typeChunk   = 3 // publisher: a further chunk of the arena; with its segment
	typeRefused = 4 // publisher: why not
	typeUnlink  = 5 // subscriber: it wants no more messages
)

// settings are what a port tells those that it meets.
type settings struct {
	policy ring.Policy // of a publisher
	schema string      // what the messages are; empty: any bytes
}

const settingsVersion = 1

// maxSchema is how long a schema can be, so that the settings fit.
const maxSchema = 1000

func (s settings) encode() []byte {
	b := []byte{settingsVersion, byte(s.policy)}
	return append(b, s.schema...)
}

func decodeSettings(b []byte) (s settings, err error) {
	if len(b) < 2 || b[0] != settingsVersion || len(b)-2 > maxSchema {
		return s, fmt.Errorf("%w: settings of %d bytes of another version", ErrProtocol, len(b))
	}
	return settings{ring.Policy(b[1]), string(b[2:])}, nil
}

// link is what a subscriber asks for.
type link struct {
	at      uint32 // of its entry in the control segment
	flags   uint32
	history uint64
	use     uint64 // of the entry's place; see ring.Entry.Use
}

// flagPeeks: nobody is to wait for the subscriber.
const flagPeeks = 1

func (l link) encode() []byte {
	b := make([]byte, 0, 24)
	b = binary.LittleEndian.AppendUint32(b, l.at)
	b = binary.LittleEndian.AppendUint32(b, l.flags)
	b = binary.LittleEndian.AppendUint64(b, l.history)
	return binary.LittleEndian.AppendUint64(b, l.use)
}

func decodeLink(b []byte) (l link, err error) {
	if len(b) != 24 {
		return l, fmt.Errorf("%w: a link of %d bytes", ErrProtocol, len(b))
	}
	l = link{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])}
	if l.flags&^flagPeeks != 0 {
		err = fmt.Errorf("%w: a link with the flags %#x", ErrProtocol, l.flags)
	}
	return l, err
}

// linked is what a publisher grants.
type linked struct {
	start ring.Start
	arena uint64 // the most bytes that the arena can have
}

func (l linked) encode() []byte {
	b := make([]byte, 0, 40)
	b = binary.LittleEndian.AppendUint64(b, l.start.Position)
	b = binary.LittleEndian.AppendUint64(b, l.start.Sequence)
	b = binary.LittleEndian.AppendUint64(b, l.start.Left)
	b = binary.LittleEndian.AppendUint64(b, l.start.Number)
	return binary.LittleEndian.AppendUint64(b, l.arena)
}

func decodeLinked(b []byte) (l linked, err error) {
	if len(b) != 40 {
		return l, fmt.Errorf("%w: a grant of %d bytes", ErrProtocol, len(b))
	}
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8*i:]) }
	l = linked{ring.Start{Position: word(0), Sequence: word(1), Left: word(2), Number: word(3)}, word(4)}
	if l.arena > maxArena {
		err = fmt.Errorf("%w: an arena of %d bytes", ErrProtocol, l.arena)
	}
	return l, err
}

// maxArena is what nobody's arena is larger than.
const maxArena = 1 << 40

// chunk is a further one.
type chunk struct{ index uint32 }

func (c chunk) encode() []byte { return binary.LittleEndian.AppendUint32(nil, c.index) }

func decodeChunk(b []byte) (c chunk, err error) {
	if len(b) != 4 {
		return c, fmt.Errorf("%w: a chunk of %d bytes", ErrProtocol, len(b))
	}
	c = chunk{binary.LittleEndian.Uint32(b)}
	if c.index == 0 || c.index >= ring.ChunksMax {
		err = fmt.Errorf("%w: chunk %d", ErrProtocol, c.index)
	}
	return c, err
}

// ErrProtocol: the other side of a topic has said what it cannot mean.
var ErrProtocol = errors.New("protocol error")
