package meet

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/memlane/memlane/internal/life"
)

// What passes over a socket, as spec/protocol.md has it. Everything that decodes
// is given bytes of a stranger.

const (
	magic        = "memlane\x01"
	versionFirst = 1 // the versions that are spoken here
	versionLast  = 1

	headerBytes = 16
	helloBytes  = 64
	maxFrame    = 4096
	maxFiles    = 4 // of a message
	maxSettings = 1024
	maxBody     = 3072
	maxText     = 512
)

type frameKind uint16

const (
	frameHello    frameKind = 1
	frameReject   frameKind = 2
	framePort     frameKind = 3
	framePortGone frameKind = 4
	frameAsk      frameKind = 5
	frameSeen     frameKind = 6
	frameMessage  frameKind = 7
)

// frame is one packet.
type frame struct {
	kind     frameKind
	typ      uint16 // of a message
	from, to uint32 // ports, or what ASK and SEEN say
	body     []byte
}

func (f *frame) encode() []byte {
	b := make([]byte, headerBytes, headerBytes+len(f.body))
	binary.LittleEndian.PutUint16(b, uint16(f.kind))
	binary.LittleEndian.PutUint16(b[2:], f.typ)
	binary.LittleEndian.PutUint32(b[4:], f.from)
	binary.LittleEndian.PutUint32(b[8:], f.to)
	return append(b, f.body...)
}

// decodeFrame takes a packet apart; the body is part of b.
func decodeFrame(b []byte) (frame, error) {
	if len(b) < headerBytes || len(b) > maxFrame {
		return frame{}, fmt.Errorf("%w: a packet of %d bytes", ErrProtocol, len(b))
	}
	f := frame{
		kind: frameKind(binary.LittleEndian.Uint16(b)),
		typ:  binary.LittleEndian.Uint16(b[2:]),
		from: binary.LittleEndian.Uint32(b[4:]),
		to:   binary.LittleEndian.Uint32(b[8:]),
		body: b[headerBytes:],
	}
	bad := ""
	switch f.kind {
	case frameHello, frameReject:
		if f.from != 0 || f.to != 0 {
			bad = "ports in a HELLO or REJECT"
		}
	case framePort:
		if f.from == 0 || f.to != 0 {
			bad = "a PORT without its id, or for another port"
		}
	case framePortGone, frameAsk, frameSeen:
		if f.from == 0 || f.to != 0 || len(f.body) != 0 {
			bad = "more or less than an id"
		}
	case frameMessage:
		if f.from == 0 || f.to == 0 {
			bad = "a message without its ports"
		}
	default:
		bad = "unknown kind"
	}
	if f.typ != 0 && f.kind != frameMessage {
		bad = "a type that only messages have"
	}
	if binary.LittleEndian.Uint32(b[12:]) != 0 {
		bad = "the last word of the header is not 0"
	}
	if bad != "" {
		return frame{}, fmt.Errorf("%w: frame of kind %d: %s", ErrProtocol, uint16(f.kind), bad)
	}
	return f, nil
}

// hello is who somebody is.
type hello struct {
	first, last uint16 // versions
	instance
	identity life.Identity
}

func (h *hello) encode() frame {
	b := make([]byte, helloBytes)
	copy(b, magic)
	binary.LittleEndian.PutUint16(b[8:], h.first)
	binary.LittleEndian.PutUint16(b[10:], h.last)
	binary.LittleEndian.PutUint64(b[16:], h.id)
	hex.Decode(b[24:40], []byte(h.boot))
	binary.LittleEndian.PutUint32(b[40:], h.identity.PID)
	binary.LittleEndian.PutUint32(b[44:], h.identity.Namespace)
	binary.LittleEndian.PutUint64(b[48:], h.identity.Inode)
	binary.LittleEndian.PutUint64(b[56:], h.identity.Start)
	return frame{kind: frameHello, body: b}
}

// decodeHello takes the body of a HELLO apart. Later versions may add to its end.
func decodeHello(b []byte) (hello, error) {
	if len(b) < helloBytes {
		return hello{}, fmt.Errorf("%w: a HELLO of %d bytes, it has %d", ErrProtocol, len(b), helloBytes)
	}
	if string(b[:8]) != magic {
		return hello{}, fmt.Errorf("%w: a HELLO with magic %q", ErrProtocol, b[:8])
	}
	h := hello{
		first:    binary.LittleEndian.Uint16(b[8:]),
		last:     binary.LittleEndian.Uint16(b[10:]),
		instance: instance{hex.EncodeToString(b[24:40]), binary.LittleEndian.Uint64(b[16:])},
		identity: life.Identity{
			PID:       binary.LittleEndian.Uint32(b[40:]),
			Namespace: binary.LittleEndian.Uint32(b[44:]),
			Inode:     binary.LittleEndian.Uint64(b[48:]),
			Start:     binary.LittleEndian.Uint64(b[56:]),
		},
	}
	if h.first > versionLast || h.last < versionFirst {
		return hello{}, fmt.Errorf("%w: versions %d to %d, here are %d to %d", ErrVersion, h.first, h.last, versionFirst, versionLast)
	}
	if h.boot != bootID() {
		return hello{}, fmt.Errorf("%w: a HELLO of boot %s", ErrProtocol, h.boot)
	}
	return h, nil
}

// announcement is what a PORT says.
type announcement struct {
	key
	role     Role
	settings []byte
}

func (a *announcement) encode(id uint32) frame {
	b := make([]byte, 8, 8+len(a.name)+len(a.settings))
	b[0], b[1] = byte(a.kind), byte(a.role)
	binary.LittleEndian.PutUint16(b[2:], uint16(len(a.name)))
	binary.LittleEndian.PutUint16(b[4:], uint16(len(a.settings)))
	b = append(append(b, a.name...), a.settings...)
	return frame{kind: framePort, from: id, body: b}
}

// decodePort takes the body of a PORT apart; nothing of the result is part of b.
func decodePort(b []byte) (announcement, error) {
	if len(b) < 8 {
		return announcement{}, fmt.Errorf("%w: a PORT of %d bytes", ErrProtocol, len(b))
	}
	name, settings := int(binary.LittleEndian.Uint16(b[2:])), int(binary.LittleEndian.Uint16(b[4:]))
	if len(b) != 8+name+settings || name > maxName || settings > maxSettings || b[1] == 0 || b[6] != 0 || b[7] != 0 {
		return announcement{}, fmt.Errorf("%w: a PORT of %d bytes, role %d, with a name of %d and settings of %d", ErrProtocol, len(b), b[1], name, settings)
	}
	a := announcement{
		key:      key{Kind(b[0]), string(b[8 : 8+name])},
		role:     Role(b[1]),
		settings: append([]byte(nil), b[8+name:]...),
	}
	if err := a.check(); err != nil {
		return announcement{}, fmt.Errorf("%w: a PORT: %w", ErrProtocol, err)
	}
	return a, nil
}

// The codes of REJECT.
var codes = map[uint16]error{1: ErrVersion, 2: ErrProtocol, 3: ErrForeign, 4: ErrDuplicate, 5: ErrQuota, 6: ErrDropped, 7: ErrStarved}

// reject makes a REJECT that tells the peer why it is refused.
func reject(why error) frame {
	code := uint16(7)
	if !Starved(why) {
		for code = 1; code < 6 && !errors.Is(why, codes[code]); code++ {
		}
	}
	text := why.Error()
	for len(text) > maxText || !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text[:min(len(text), maxText)], "")
	}
	return frame{kind: frameReject, body: append(binary.LittleEndian.AppendUint32(nil, uint32(code)), text...)}
}

// errRefused is within what decodeReject returns.
var errRefused = errors.New("the peer refuses")

// decodeReject returns what a REJECT says as an error.
func decodeReject(b []byte) error {
	if len(b) < 4 || len(b) > 4+maxText || !utf8.Valid(b[4:]) {
		return fmt.Errorf("%w: a REJECT of %d bytes", ErrProtocol, len(b))
	}
	code, text := binary.LittleEndian.Uint32(b), string(b[4:])
	// It ends in somebody's terminal.
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	why, ok := codes[uint16(code)]
	if !ok || code > 0xffff {
		why = ErrDropped
	}
	return fmt.Errorf("%w: %w: %q", errRefused, why, text)
}
