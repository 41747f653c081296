// Package mcap writes and reads files of the format MCAP, version 0 (layer L9): messages
// of topics with their times, and what they are. The format is described at
// https://mcap.dev/spec, and tools that show and convert such files are listed there.
//
// A file is a sequence of records. Messages are in chunks, each with a checksum, and at the
// end of the file is an index of the chunks. A file whose end is missing, because who wrote
// it was killed or the disk was full, is read as far as it goes.
package mcap

import (
	"encoding/binary"
	"errors"
	"math"
)

// Errors that those of this package match.
var (
	// ErrNotMCAP: the file does not begin as one of this format does.
	ErrNotMCAP = errors.New("not an MCAP file")
	// ErrCorrupt: what is in the file makes no sense, or is not what was written.
	ErrCorrupt = errors.New("corrupt")
	// ErrUnfinished: the file's end is missing; see [Reader.Damage].
	ErrUnfinished = errors.New("not finished")
	// ErrCompression: chunks are compressed by what is not known here.
	ErrCompression = errors.New("unknown compression")
	// ErrTooLarge: something is larger than is read or written here: see the limits.
	ErrTooLarge = errors.New("too large")
)

// Limits, so that a hostile file does not take all memory.
const (
	// recordMost is how large a record is at most.
	recordMost = 1 << 30
	// unpackedMost is how large a compressed chunk becomes at most.
	unpackedMost = 256 << 20
	// loadedMost is how much of a file is in memory at most: of chunks whose times overlap.
	loadedMost = 2 << 30
)

// Schema is what messages of some channels are.
type Schema struct {
	ID       uint16 // from 1 on
	Name     string
	Encoding string // of the data: jsonschema, protobuf, ros1msg, …
	Data     []byte
}

// Channel is where messages come from: of one topic, and of one kind.
type Channel struct {
	ID              uint16
	SchemaID        uint16 // 0: there is none
	Topic           string
	MessageEncoding string // json, protobuf, ros1, …
	Metadata        map[string]string
}

// Message is one message.
type Message struct {
	Channel     uint16
	Sequence    uint32
	LogTime     uint64 // when it was recorded, in nanoseconds; since 1970, if the clock is the wall's
	PublishTime uint64
	Data        []byte
}

// Metadata is what else somebody has said, in any number of words.
type Metadata struct {
	Name   string
	Values map[string]string
}

// magic is what files begin and end with.
const magic = "\x89MCAP0\r\n"

// The kinds of records.
const (
	opHeader          = 0x01
	opFooter          = 0x02
	opSchema          = 0x03
	opChannel         = 0x04
	opMessage         = 0x05
	opChunk           = 0x06
	opMessageIndex    = 0x07
	opChunkIndex      = 0x08
	opAttachment      = 0x09
	opAttachmentIndex = 0x0a
	opStatistics      = 0x0b
	opMetadata        = 0x0c
	opMetadataIndex   = 0x0d
	opSummaryOffset   = 0x0e
	opDataEnd         = 0x0f
)

const (
	headBytes    = 9  // of a record: its kind, and the length of what follows
	footerBytes  = 20 // of its content
	messageBytes = 22 // of its content before the data
)

// begin adds the head of a record, whose length end fills in.
func begin(b []byte, op byte) (_ []byte, at int) {
	b = append(b, op, 0, 0, 0, 0, 0, 0, 0, 0)
	return b, len(b)
}

func end(b []byte, at int) []byte {
	binary.LittleEndian.PutUint64(b[at-8:], uint64(len(b)-at))
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
}

// appendMap adds pairs of strings, in the order of the keys.
func appendMap(b []byte, m map[string]string) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	for _, k := range sortedKeys(m) {
		b = appendString(appendString(b, k), m[k])
	}
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// fields takes a record apart. After the first thing that is not there all are zero.
type fields struct {
	rest []byte
	bad  bool
}

func (f *fields) bytes(n uint64) []byte {
	if f.bad || n > uint64(len(f.rest)) {
		f.bad, f.rest = true, nil
		return nil
	}
	b := f.rest[:n:n]
	f.rest = f.rest[n:]
	return b
}

func (f *fields) u16() uint16 {
	if b := f.bytes(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (f *fields) u32() uint32 {
	if b := f.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (f *fields) u64() uint64 {
	if b := f.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (f *fields) string() string { return string(f.bytes(uint64(f.u32()))) }

func (f *fields) pairs() map[string]string {
	inner := fields{rest: f.bytes(uint64(f.u32()))}
	m := map[string]string{}
	for len(inner.rest) > 0 {
		k := inner.string()
		m[k] = inner.string()
	}
	f.bad = f.bad || inner.bad
	return m
}

func (f *fields) schema() *Schema {
	s := &Schema{ID: f.u16(), Name: f.string(), Encoding: f.string()}
	s.Data = append([]byte(nil), f.bytes(uint64(f.u32()))...)
	return s
}

func (f *fields) channel() *Channel {
	return &Channel{f.u16(), f.u16(), f.string(), f.string(), f.pairs()}
}

// chunkHead is what is before the records of a chunk.
type chunkHead struct {
	start, end  uint64 // times
	unpacked    uint64
	crc         uint32
	compression string
	packed      uint64
}

func (f *fields) chunk() chunkHead {
	return chunkHead{f.u64(), f.u64(), f.u64(), f.u32(), f.string(), f.u64()}
}

// fits says whether a length can be written in 32 bits.
func fits(n int) bool { return n <= math.MaxUint32 }
