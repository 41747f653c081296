// Package observe is what the two sides of a topic tell an observer of it: package
// pubsub says it, package inspect hears it (layer L5).
//
// A publisher sends its segment, and what it knows of its subscriptions; a
// subscriber sends where its entries are. Both do so when they meet an observer, and
// once. What is decoded here was written by others, who may be broken or hostile.
package observe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// The types of the messages, as spec/protocol.md has them.
const (
	// TypeTopic is a publisher's, with its segment: see [Topic].
	TypeTopic = 10
	// TypeMembers is a publisher's: some [Member]s.
	TypeMembers = 11
	// TypeEntries is a subscriber's, with its control segment: some [Entry]s in it.
	TypeEntries = 12
	// TypeRefusal is a publisher's: a [Refusal].
	TypeRefusal = 13
	// TypeTrouble is anybody's: a [Trouble].
	TypeTrouble = 14
)

// ErrProtocol: a message that nobody sends.
var ErrProtocol = errors.New("protocol error")

// Topic is what a publisher says first.
type Topic struct {
	Subscriptions uint32 // how many there are; some Members follow for them
}

// Encode returns it as a message's body.
func (t Topic) Encode() []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, t.Subscriptions), 0)
}

// DecodeTopic decodes a message's body. Later versions may add to it.
func DecodeTopic(b []byte) (Topic, error) {
	if len(b) < 8 {
		return Topic{}, fmt.Errorf("%w: a topic of %d bytes", ErrProtocol, len(b))
	}
	return Topic{binary.LittleEndian.Uint32(b)}, nil
}

// Member is a subscription as its publisher knows it.
type Member struct {
	Subscriber               uint64 // see ID
	PID                      uint32 // in the publisher's PID namespace; 0: unknown
	Holds                    uint16
	Asleep, Peeks            bool
	Position, Received, Lost uint64
	Slow                     time.Duration // for how long it has been; in whole milliseconds
}

const memberBytes = 48

// MembersMost is how many fit into a message.
const MembersMost = 64

const (
	flagAsleep = 1
	flagPeeks  = 2
)

// AppendMember adds one to a message's body.
func AppendMember(b []byte, m Member) []byte {
	b = binary.LittleEndian.AppendUint64(b, m.Subscriber)
	b = binary.LittleEndian.AppendUint32(b, m.PID)
	b = binary.LittleEndian.AppendUint16(b, m.Holds)
	flags := uint16(0)
	if m.Asleep {
		flags |= flagAsleep
	}
	if m.Peeks {
		flags |= flagPeeks
	}
	b = binary.LittleEndian.AppendUint16(b, flags)
	b = binary.LittleEndian.AppendUint64(b, m.Position)
	b = binary.LittleEndian.AppendUint64(b, m.Received)
	b = binary.LittleEndian.AppendUint64(b, m.Lost)
	return binary.LittleEndian.AppendUint64(b, uint64(m.Slow.Milliseconds()))
}

// DecodeMembers decodes a message's body.
func DecodeMembers(b []byte) ([]Member, error) {
	if len(b)%memberBytes != 0 || len(b) > MembersMost*memberBytes {
		return nil, fmt.Errorf("%w: members in %d bytes", ErrProtocol, len(b))
	}
	var list []Member
	for ; len(b) > 0; b = b[memberBytes:] {
		flags := binary.LittleEndian.Uint16(b[14:])
		list = append(list, Member{
			Subscriber: binary.LittleEndian.Uint64(b),
			PID:        binary.LittleEndian.Uint32(b[8:]),
			Holds:      binary.LittleEndian.Uint16(b[12:]),
			Asleep:     flags&flagAsleep != 0,
			Peeks:      flags&flagPeeks != 0,
			Position:   binary.LittleEndian.Uint64(b[16:]),
			Received:   binary.LittleEndian.Uint64(b[24:]),
			Lost:       binary.LittleEndian.Uint64(b[32:]),
			Slow:       duration(binary.LittleEndian.Uint64(b[40:])),
		})
	}
	return list, nil
}

// Refusal is a subscriber that a publisher refuses.
type Refusal struct {
	Subscriber uint64 // see ID
	PID        uint32 // in the publisher's PID namespace; 0: unknown
	Reason     string
}

const refusalBytes = 16 // before the reason

// Encode returns it as a message's body.
func (r Refusal) Encode() []byte {
	b := binary.LittleEndian.AppendUint64(nil, r.Subscriber)
	b = binary.LittleEndian.AppendUint32(b, r.PID)
	b = binary.LittleEndian.AppendUint32(b, 0)
	return append(b, r.Reason...)
}

// DecodeRefusal decodes a message's body.
func DecodeRefusal(b []byte) (Refusal, error) {
	if len(b) < refusalBytes {
		return Refusal{}, fmt.Errorf("%w: a refusal of %d bytes", ErrProtocol, len(b))
	}
	return Refusal{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:]), string(b[refusalBytes:])}, nil
}

// Trouble is another participant whom its participant has dropped, or was dropped by, and
// does not meet any more, or has not met.
type Trouble struct {
	Instance uint64 // 0: it did not say
	PID      uint32 // in the PID namespace of who tells; 0: unknown
	UID      uint32
	Ago      time.Duration // in whole milliseconds
	Reason   string
}

const troubleBytes = 24 // before the reason

// TroublesMost is how many one port tells of.
const TroublesMost = 16

// Encode returns it as a message's body.
func (t Trouble) Encode() []byte {
	b := binary.LittleEndian.AppendUint64(nil, t.Instance)
	b = binary.LittleEndian.AppendUint32(b, t.PID)
	b = binary.LittleEndian.AppendUint32(b, t.UID)
	b = binary.LittleEndian.AppendUint64(b, uint64(t.Ago.Milliseconds()))
	return append(b, t.Reason...)
}

// DecodeTrouble decodes a message's body.
func DecodeTrouble(b []byte) (Trouble, error) {
	if len(b) < troubleBytes {
		return Trouble{}, fmt.Errorf("%w: a trouble of %d bytes", ErrProtocol, len(b))
	}
	return Trouble{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:]),
		duration(binary.LittleEndian.Uint64(b[16:])), string(b[troubleBytes:])}, nil
}

// duration is what is believed of so many milliseconds: a century at most.
func duration(ms uint64) time.Duration {
	return time.Duration(min(ms, 100*365*24*3600*1000)) * time.Millisecond
}

// Entry is a subscription as its subscriber knows it.
type Entry struct {
	Publisher uint64 // see ID
	At        uint32 // where it is in the control segment
	Peeks     bool
}

const entryBytes = 16

// EntriesMost is how many fit into a message.
const EntriesMost = 128

// AppendEntry adds one to a message's body.
func AppendEntry(b []byte, e Entry) []byte {
	b = binary.LittleEndian.AppendUint64(b, e.Publisher)
	b = binary.LittleEndian.AppendUint32(b, e.At)
	flags := uint32(0)
	if e.Peeks {
		flags |= flagPeeks
	}
	return binary.LittleEndian.AppendUint32(b, flags)
}

// DecodeEntries decodes a message's body. Where an entry is remains to be checked
// against its segment.
func DecodeEntries(b []byte) ([]Entry, error) {
	if len(b)%entryBytes != 0 || len(b) > EntriesMost*entryBytes {
		return nil, fmt.Errorf("%w: entries in %d bytes", ErrProtocol, len(b))
	}
	var list []Entry
	for ; len(b) > 0; b = b[entryBytes:] {
		list = append(list, Entry{
			Publisher: binary.LittleEndian.Uint64(b),
			At:        binary.LittleEndian.Uint32(b[8:]),
			Peeks:     binary.LittleEndian.Uint32(b[12:])&flagPeeks != 0,
		})
	}
	return list, nil
}

// ID tells the ports of all participants of a domain apart: by the participant's
// number and the port's.
func ID(participant uint64, port uint32) uint64 { return participant ^ uint64(port)<<32 }
