package mcap

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// Reader reads a file, of which nothing is changed meanwhile. It is for one goroutine at a
// time.
type Reader struct {
	file io.ReaderAt
	size uint64

	chunks   []chunk // by their place in the file
	schemas  map[uint16]*Schema
	channels map[uint16]*Channel
	metadata []Metadata
	damage   error

	window   []byte // of the file, where it is gone through
	windowAt uint64
	spare    []byte        // for the next chunk
	unpacker *zstd.Decoder // nil: nothing was compressed yet
}

// chunk is where messages are in the file: in the record of a chunk, or in those of messages.
type chunk struct {
	at, bytes  uint64 // in the file
	loose      bool   // there is no chunk around them
	cut        bool   // the end of the record is missing
	start, end uint64 // times that they are between
	channels   []uint16
}

// Open looks at a file of so many bytes. Without an index at its end all of it is read
// once. What there is of a file that is damaged can be read: see [Reader.Damage].
//
// Errors match [ErrNotMCAP], and those of the file.
func Open(file io.ReaderAt, size int64) (*Reader, error) {
	r := &Reader{file: file, size: uint64(max(size, 0)), schemas: map[uint16]*Schema{}, channels: map[uint16]*Channel{}}
	if err := r.open(); err != nil {
		return nil, fmt.Errorf("mcap: open: %w", err)
	}
	return r, nil
}

func (r *Reader) open() error {
	head, err := r.look(0, uint64(len(magic)))
	if err != nil {
		return err
	}
	if string(head) != magic {
		return fmt.Errorf("%w: it begins with %q, and has %d bytes", ErrNotMCAP, head, r.size)
	}
	end, indexed, err := r.index()
	if err != nil && !isDamage(err) {
		return err
	}
	r.note(err)
	// What is not in the index is between the chunks: metadata, and messages without a chunk.
	at := uint64(len(magic))
	for _, c := range indexed {
		if _, err := r.scan(at, c.at); err != nil {
			return err
		}
		r.chunks = append(r.chunks, c.chunk)
		at = c.behind
	}
	over, err := r.scan(at, end)
	switch {
	case err != nil || end < r.size:
	case over:
		r.note(fmt.Errorf("%w: the index at its end is missing, and no message", ErrUnfinished))
	default:
		r.note(fmt.Errorf("%w: it ends at byte %d, without an index", ErrUnfinished, r.size))
	}
	return err
}

// Damage returns why there may have been more in the file than is read; nil if that is not
// so. It matches [ErrUnfinished], [ErrCorrupt], [ErrCompression] or [ErrTooLarge].
func (r *Reader) Damage() error { return r.damage }

// note keeps the first thing that is wrong with the file.
func (r *Reader) note(err error) {
	if r.damage == nil {
		r.damage = err
	}
}

// isDamage says whether the file is to blame, and not that it cannot be read.
func isDamage(err error) bool {
	return errors.Is(err, ErrUnfinished) || errors.Is(err, ErrCorrupt) || errors.Is(err, ErrCompression) || errors.Is(err, ErrTooLarge)
}

// Channels returns the channels of the file, by their IDs.
func (r *Reader) Channels() []*Channel {
	var list []*Channel
	for _, id := range slices.Sorted(maps.Keys(r.channels)) {
		list = append(list, r.channels[id])
	}
	return list
}

// Channel returns the channel of that ID; nil if there is none.
func (r *Reader) Channel(id uint16) *Channel { return r.channels[id] }

// Schema returns the schema of that ID; nil if there is none.
func (r *Reader) Schema(id uint16) *Schema { return r.schemas[id] }

// Metadata returns the metadata of the file, in its order.
func (r *Reader) Metadata() []Metadata { return r.metadata }

// Span returns the times between which the messages are; 0 if there are none.
func (r *Reader) Span() (start, end uint64) {
	for i, c := range r.chunks {
		if i == 0 || start == 0 || c.start != 0 && c.start < start { // 0 is that of chunks without messages
			start = c.start
		}
		end = max(end, c.end)
	}
	return start, end
}

// read returns a part of the file, which must be in it, in a buffer if that is large enough.
func (r *Reader) read(buffer []byte, at, n uint64) ([]byte, error) {
	if n > recordMost+headBytes {
		return nil, fmt.Errorf("%w: a record of %d bytes at byte %d; at most %d are read", ErrTooLarge, n, at, recordMost)
	}
	if uint64(cap(buffer)) < n {
		buffer = make([]byte, n)
	}
	buffer = buffer[:n]
	if n, err := r.file.ReadAt(buffer, int64(at)); n < len(buffer) {
		return nil, fmt.Errorf("read %d bytes at byte %d: %w", len(buffer), at, err)
	}
	return buffer, nil
}

// windowBytes is how much is read at once where there are no chunks.
const windowBytes = 64 << 10

// look returns so many bytes of the file, or fewer if there are not so many, until the next
// look.
func (r *Reader) look(at, n uint64) ([]byte, error) {
	n = min(n, r.size-min(at, r.size))
	if at < r.windowAt || at+n > r.windowAt+uint64(len(r.window)) {
		window, err := r.read(r.window, at, min(windowBytes, r.size-at))
		if err != nil {
			r.window = nil
			return nil, err
		}
		r.window, r.windowAt = window, at
	}
	return r.window[at-r.windowAt:][:n], nil
}

// indexedChunk is one of the index.
type indexedChunk struct {
	chunk
	behind uint64 // it, and the records of its messages' index
}

// index returns where the data of the file ends, which is where the file does if that is not
// finished, and the chunks that the index has, by their place. An error that is damage says
// that the index is wrong; then there are none.
func (r *Reader) index() (end uint64, list []indexedChunk, err error) {
	const tail = headBytes + footerBytes + uint64(len(magic))
	if r.size < uint64(len(magic))+tail {
		return r.size, nil, nil
	}
	at := r.size - tail
	b, err := r.look(at, tail)
	if err != nil {
		return 0, nil, err
	}
	f := fields{rest: b}
	if op, length := f.bytes(1)[0], f.u64(); op != opFooter || length != footerBytes || string(b[tail-uint64(len(magic)):]) != magic {
		return r.size, nil, nil
	}
	start, _, sum := f.u64(), f.u64(), f.u32()
	if start == 0 {
		return at, nil, nil // it was written without
	}
	if start > at {
		return at, nil, fmt.Errorf("%w: the index is said to be at byte %d", ErrCorrupt, start)
	}
	b, err = r.read(nil, start, at+headBytes+16-start)
	if err != nil {
		return at, nil, err
	}
	if sum != 0 && crc32.ChecksumIEEE(b) != sum {
		return at, nil, fmt.Errorf("%w: the checksum of the index", ErrCorrupt)
	}
	list, err = r.summary(b[:len(b)-headBytes-16], start)
	if err != nil {
		// It may not be the file's, whatever of it was understood.
		clear(r.schemas)
		clear(r.channels)
		return at, nil, err
	}
	return start, list, nil
}

// summary takes the summary of a file apart, which begins there.
func (r *Reader) summary(b []byte, start uint64) (list []indexedChunk, err error) {
	err = records(b, func(op byte, content []byte, at int) error {
		f := fields{rest: content}
		switch op {
		case opSchema, opChannel:
			return r.learn(op, content)
		case opChunkIndex:
			c := indexedChunk{chunk: chunk{start: f.u64(), end: f.u64(), at: f.u64(), bytes: f.u64()}}
			offsets := fields{rest: f.bytes(uint64(f.u32()))}
			for len(offsets.rest) > 0 {
				c.channels = append(c.channels, offsets.u16())
				offsets.u64()
			}
			index := f.u64()
			if f.bad || offsets.bad || c.bytes > start || c.at > start-c.bytes || index > start-c.bytes-c.at {
				return fmt.Errorf("%w: a record of the index, at byte %d", ErrCorrupt, start+uint64(at))
			}
			c.behind = c.at + c.bytes + index
			list = append(list, c)
		}
		return nil
	})
	slices.SortStableFunc(list, func(a, b indexedChunk) int { return cmp.Compare(a.at, b.at) })
	before := uint64(len(magic))
	for _, c := range list {
		if err == nil && c.at < before {
			err = fmt.Errorf("%w: chunks of the index overlap at byte %d", ErrCorrupt, c.at)
		}
		before = c.behind
	}
	return list, err
}

// records calls fn with each of a sequence of records, and where it begins.
func records(b []byte, fn func(op byte, content []byte, at int) error) error {
	for at := 0; at < len(b); {
		op, content, ok := record(b[at:])
		if !ok {
			return fmt.Errorf("%w: the record at byte %d of %d", ErrCorrupt, at, len(b))
		}
		if err := fn(op, content, at); err != nil {
			return err
		}
		at += headBytes + len(content)
	}
	return nil
}

// record returns the record that b begins with.
func record(b []byte) (op byte, content []byte, ok bool) {
	if len(b) < headBytes || b[0] == 0 {
		return 0, nil, false
	}
	length := binary.LittleEndian.Uint64(b[1:])
	if length > uint64(len(b)-headBytes) {
		return 0, nil, false
	}
	return b[0], b[headBytes:][:length], true
}

// learn remembers a schema or a channel. The same one may be told again.
func (r *Reader) learn(op byte, content []byte) error {
	f := fields{rest: content}
	if op == opSchema {
		s := f.schema()
		if f.bad || s.ID == 0 {
			return fmt.Errorf("%w: schema %d", ErrCorrupt, s.ID)
		}
		if r.schemas[s.ID] == nil {
			r.schemas[s.ID] = s
		}
		return nil
	}
	c := f.channel()
	if f.bad {
		return fmt.Errorf("%w: channel %d", ErrCorrupt, c.ID)
	}
	if r.channels[c.ID] == nil {
		r.channels[c.ID] = c
	}
	return nil
}

// scan goes through the records of a part of the file, and says whether it came to the end
// of the data. What is wrong it notes.
func (r *Reader) scan(from, to uint64) (over bool, err error) {
	for at := from; at < to; {
		head, err := r.look(at, min(headBytes+messageBytes, to-at))
		if err != nil {
			return false, err
		}
		var op byte
		var length uint64
		if len(head) >= headBytes {
			op, length = head[0], binary.LittleEndian.Uint64(head[1:])
		}
		if op == 0 || length > to-at-headBytes {
			if op == opChunk {
				if err := r.add(chunk{at: at, bytes: to - at, cut: true}); err != nil && !isDamage(err) {
					return false, err
				}
			}
			what := ErrUnfinished
			if len(head) >= headBytes && op == 0 || to < r.size {
				what = ErrCorrupt
			}
			r.note(fmt.Errorf("%w: the record at byte %d ends beyond what there is", what, at))
			return false, nil
		}
		bytes := headBytes + length
		switch op {
		case opDataEnd, opFooter:
			return true, nil
		case opSchema, opChannel, opMetadata:
			err = r.meet(op, at, bytes)
		case opMessage:
			err = r.loose(head, at, bytes)
		case opChunk:
			err = r.add(chunk{at: at, bytes: bytes})
		}
		if err != nil && !isDamage(err) {
			return false, err
		}
		r.note(err)
		at += bytes
	}
	return false, nil
}

// meet handles a record that is not in a chunk, and no message.
func (r *Reader) meet(op byte, at, bytes uint64) error {
	b, err := r.read(nil, at, bytes)
	if err != nil {
		return err
	}
	if op != opMetadata {
		return r.learn(op, b[headBytes:])
	}
	f := fields{rest: b[headBytes:]}
	m := Metadata{f.string(), f.pairs()}
	if f.bad {
		return fmt.Errorf("%w: metadata at byte %d", ErrCorrupt, at)
	}
	r.metadata = append(r.metadata, m)
	return nil
}

// looseBytes is how much of messages that are not in chunks is read at once.
const looseBytes = 1 << 20

// loose adds a message that is not in a chunk.
func (r *Reader) loose(head []byte, at, bytes uint64) error {
	if bytes < headBytes+messageBytes || bytes > recordMost {
		return fmt.Errorf("%w: a message of %d bytes at byte %d", ErrCorrupt, bytes, at)
	}
	id, time := binary.LittleEndian.Uint16(head[headBytes:]), binary.LittleEndian.Uint64(head[headBytes+6:])
	if r.channels[id] == nil {
		return fmt.Errorf("%w: a message of channel %d, which there is not, at byte %d", ErrCorrupt, id, at)
	}
	if n := len(r.chunks); n > 0 {
		last := &r.chunks[n-1]
		if last.loose && last.at+last.bytes == at && last.bytes+bytes <= looseBytes {
			last.bytes += bytes
			last.start, last.end = min(last.start, time), max(last.end, time)
			return nil
		}
	}
	r.chunks = append(r.chunks, chunk{at: at, bytes: bytes, loose: true, start: time, end: time})
	return nil
}

// add adds a chunk that is in no index, and what there is to know of it.
func (r *Reader) add(c chunk) error {
	u, err := r.unpack(&c)
	if err != nil {
		return err
	}
	c.start, c.end = u.head.start, u.head.end
	if _, err = r.messages(&c, u.records); err == nil {
		r.chunks = append(r.chunks, c)
	}
	r.spare = u.buffer
	return err
}

// unpacked is a chunk in memory.
type unpacked struct {
	head    chunkHead
	records []byte
	buffer  []byte // that they are in
}

// unpack returns a chunk as it is in memory.
func (r *Reader) unpack(c *chunk) (*unpacked, error) {
	fail := func(err error) (*unpacked, error) {
		if isDamage(err) {
			err = fmt.Errorf("the chunk at byte %d: %w", c.at, err)
		}
		return nil, err
	}
	b, err := r.read(r.spare, c.at, c.bytes)
	r.spare = nil
	if err != nil {
		return fail(err)
	}
	if c.loose {
		return &unpacked{records: b, buffer: b}, nil
	}
	if c.bytes < headBytes || b[0] != opChunk || !c.cut && binary.LittleEndian.Uint64(b[1:]) != c.bytes-headBytes {
		return fail(fmt.Errorf("%w: it is none", ErrCorrupt))
	}
	f := fields{rest: b[headBytes:]}
	head := f.chunk()
	packed := f.bytes(min(head.packed, uint64(len(f.rest))))
	u := &unpacked{head, packed, b}
	switch {
	case f.bad || !c.cut && uint64(len(packed)) < head.packed:
		return fail(fmt.Errorf("%w: its head", ErrCorrupt))
	case head.compression == "" && c.cut:
		return u, nil // the checksum is of all
	case c.cut:
		return fail(fmt.Errorf("%w: it is cut, and compressed", ErrUnfinished))
	case head.compression == "zstd":
		if u.records, err = r.unzstd(packed, head.unpacked); err != nil {
			return fail(err)
		}
		u.buffer, r.spare = u.records, b
	case head.compression != "":
		return fail(fmt.Errorf("%w %.32q; zstd and none are known", ErrCompression, head.compression))
	}
	switch {
	case uint64(len(u.records)) != head.unpacked:
		return fail(fmt.Errorf("%w: it has %d bytes, and says %d", ErrCorrupt, len(u.records), head.unpacked))
	case head.crc != 0 && crc32.ChecksumIEEE(u.records) != head.crc:
		return fail(fmt.Errorf("%w: its checksum", ErrCorrupt))
	}
	return u, nil
}

// unzstd returns what so many bytes were packed into. No block of zstd's, which has 3 bytes
// or more, is more than 128 KiB: who says that there is more says it only to have memory
// taken.
func (r *Reader) unzstd(packed []byte, size uint64) ([]byte, error) {
	if size > unpackedMost || size/(128<<10) > uint64(len(packed))/3 {
		return nil, fmt.Errorf("%w: %d bytes of %d when they are unpacked; at most %d are", ErrTooLarge, size, len(packed), unpackedMost)
	}
	if r.unpacker == nil {
		var err error
		if r.unpacker, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(unpackedMost), zstd.WithDecodeAllCapLimit(true)); err != nil {
			return nil, err
		}
	}
	data, err := r.unpacker.DecodeAll(packed, make([]byte, 0, size))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return data, nil
}

// entry is a message of a chunk.
type entry struct {
	time     uint64
	at, size uint32 // of the record's content in the chunk
}

// messages returns the messages that are in the records of a chunk, in their order, and
// learns what else is there. Of one that is cut, it returns those that are whole.
func (r *Reader) messages(c *chunk, data []byte) (list []entry, err error) {
	err = records(data, func(op byte, content []byte, at int) error {
		switch op {
		case opSchema, opChannel:
			return r.learn(op, content)
		case opMessage:
			if len(content) < messageBytes {
				return fmt.Errorf("%w: a message of %d bytes", ErrCorrupt, len(content))
			}
			id, time := binary.LittleEndian.Uint16(content), binary.LittleEndian.Uint64(content[6:])
			if r.channels[id] == nil || time < c.start || time > c.end {
				return fmt.Errorf("%w: a message of channel %d at time %d: there is none, or it is not of this time", ErrCorrupt, id, time)
			}
			list = append(list, entry{time, uint32(at + headBytes), uint32(len(content))})
		}
		return nil
	})
	if c.cut {
		return list, nil
	}
	if err != nil {
		return nil, fmt.Errorf("in the chunk at byte %d: %w", c.at, err)
	}
	return list, nil
}
