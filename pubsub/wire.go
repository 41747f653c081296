package pubsub

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/memlane/memlane/internal/ring"
)

// The messages between the two ports of a topic, as spec/protocol.md has them. All
// numbers are little-endian.
const (
	typeLink    = 1 // subscriber: asks for the messages; with its control segment, and maybe the text of its format
	typeLinked  = 2 // publisher: grants it; with the topic's segment
	typeChunk   = 3 // publisher: a further chunk of the arena; with its segment
	typeRefused = 4 // publisher: why not
	typeUnlink  = 5 // subscriber: it wants no more messages
)

// settings are what a port tells those that it meets.
type settings struct {
	policy ring.Policy // of a publisher
	kind   ring.FormatKind
	hash   [sha256.Size]byte // of the format's text; zeros if there is none
}

// The version has changed with what is said of messages: 1 had the text itself.
const (
	settingsVersion = 2
	settingsBytes   = 3 + sha256.Size
)

func settingsOf(policy ring.Policy, f ring.Format) settings {
	s := settings{policy: policy, kind: f.Kind}
	if f.Kind != ring.FormatNone {
		s.hash = sha256.Sum256([]byte(f.Text))
	}
	return s
}

func (s settings) encode() []byte {
	return append([]byte{settingsVersion, byte(s.policy), byte(s.kind)}, s.hash[:]...)
}

func decodeSettings(b []byte) (s settings, err error) {
	if len(b) != settingsBytes || b[0] != settingsVersion {
		return s, fmt.Errorf("%w: settings of %d bytes of another version", ErrProtocol, len(b))
	}
	s = settings{ring.Policy(b[1]), ring.FormatKind(b[2]), [sha256.Size]byte(b[3:])}
	if s.kind > ring.FormatContentType || s.kind == ring.FormatNone && s.hash != [sha256.Size]byte{} {
		err = fmt.Errorf("%w: settings with a format of kind %d", ErrProtocol, s.kind)
	}
	return s, err
}

// differ says whether both sides say what the messages are, and not in the same words.
func (s settings) differ(other settings) bool {
	return s.kind != ring.FormatNone && other.kind != ring.FormatNone && (s.kind != other.kind || s.hash != other.hash)
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
