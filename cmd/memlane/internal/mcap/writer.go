package mcap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/klauspost/compress/zstd"
)

func sortedKeys[K uint16 | string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// WriterConfig is what can be set of a writer. A nil *WriterConfig, or 0, has the defaults.
type WriterConfig struct {
	Library    string // who writes, for people
	ChunkBytes int    // a chunk is written when it has so many; 1 MiB
	Zstd       bool   // compress chunks
}

// Writer writes a file, from its beginning to its end. It is for one goroutine at a time.
//
// After an error of what it writes to nothing more is written, and all calls return it.
type Writer struct {
	out    io.Writer
	config WriterConfig
	err    error

	at      uint64 // how much was written
	crc     uint32 // of it
	records []byte // of the chunk that is not written yet
	chunk   struct {
		start, end uint64
		messages   int
		index      map[uint16][]byte // of each channel: times and places, as they are written
	}
	packer  *zstd.Encoder
	scratch []byte

	schemas  []byte            // all records, for the end
	channels []byte            //
	counts   map[uint16]uint64 // messages of each channel
	chunks   []byte            // records of the index
	metadata []byte            //
	stats    Statistics
}

// Statistics are what a file has.
type Statistics struct {
	Messages   uint64
	Schemas    uint16
	Channels   uint32
	Metadata   uint32
	Chunks     uint32
	Start, End uint64 // the least and the greatest LogTime; 0: there are no messages
}

// NewWriter begins a file.
func NewWriter(out io.Writer, c *WriterConfig) (*Writer, error) {
	w := &Writer{out: out, counts: map[uint16]uint64{}}
	if c != nil {
		w.config = *c
	}
	if w.config.ChunkBytes == 0 {
		w.config.ChunkBytes = 1 << 20
	}
	w.chunk.index = map[uint16][]byte{}
	if w.config.Zstd {
		var err error
		if w.packer, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest)); err != nil {
			return nil, fmt.Errorf("mcap: begin a file: %w", err)
		}
	}
	b, at := begin([]byte(magic), opHeader)
	b = appendString(b, "") // no profile
	b = appendString(b, w.config.Library)
	if err := w.write(end(b, at)); err != nil {
		return nil, fmt.Errorf("mcap: begin a file: %w", err)
	}
	return w, nil
}

func (w *Writer) write(b []byte) error {
	if w.err != nil {
		return w.err
	}
	_, w.err = w.out.Write(b)
	w.at += uint64(len(b))
	w.crc = crc32.Update(w.crc, crc32.IEEETable, b)
	return w.err
}

// errClosed is of a writer that has written the end.
var errClosed = errors.New("closed")

// AddSchema adds a schema, and returns its ID. There are up to 65535; the error of one
// more matches [ErrTooLarge].
func (w *Writer) AddSchema(name, encoding string, data []byte) (uint16, error) {
	switch {
	case w.err != nil:
		return 0, fmt.Errorf("mcap: add a schema: %w", w.err)
	case w.stats.Schemas == math.MaxUint16 || !fits(len(data)):
		return 0, fmt.Errorf("mcap: add a schema: %w: %d bytes, as number %d", ErrTooLarge, len(data), int(w.stats.Schemas)+1)
	}
	w.stats.Schemas++
	b, at := begin(nil, opSchema)
	b = binary.LittleEndian.AppendUint16(b, w.stats.Schemas)
	b = appendString(appendString(b, name), encoding)
	b = end(append(binary.LittleEndian.AppendUint32(b, uint32(len(data))), data...), at)
	w.records = append(w.records, b...)
	w.schemas = append(w.schemas, b...)
	return w.stats.Schemas, nil
}

// AddChannel adds a channel, whose ID it gives and returns. There are up to 65536; the error
// of one more matches [ErrTooLarge].
func (w *Writer) AddChannel(c Channel) (uint16, error) {
	switch {
	case w.err != nil:
		return 0, fmt.Errorf("mcap: add a channel of %q: %w", c.Topic, w.err)
	case w.stats.Channels > math.MaxUint16:
		return 0, fmt.Errorf("mcap: add a channel of %q: %w: there are %d", c.Topic, ErrTooLarge, w.stats.Channels)
	case c.SchemaID > w.stats.Schemas:
		return 0, fmt.Errorf("mcap: add a channel of %q: there is no schema %d", c.Topic, c.SchemaID)
	}
	id := uint16(w.stats.Channels)
	w.stats.Channels++
	b, at := begin(nil, opChannel)
	b = binary.LittleEndian.AppendUint16(b, id)
	b = binary.LittleEndian.AppendUint16(b, c.SchemaID)
	b = appendString(appendString(b, c.Topic), c.MessageEncoding)
	b = end(appendMap(b, c.Metadata), at)
	w.records = append(w.records, b...)
	w.channels = append(w.channels, b...)
	w.counts[id] = 0
	return id, nil
}

// Write adds a copy of a message to the chunk, which is written if it is large enough. A
// message of 1 GiB or more is an error that matches [ErrTooLarge].
func (w *Writer) Write(m *Message) error {
	if w.err != nil {
		return fmt.Errorf("mcap: write a message: %w", w.err)
	}
	if _, is := w.counts[m.Channel]; !is {
		return fmt.Errorf("mcap: write a message: there is no channel %d", m.Channel)
	}
	if len(m.Data)+len(w.records) > recordMost-1<<10 && len(w.records) > 0 {
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if len(m.Data) > recordMost-1<<10 {
		return fmt.Errorf("mcap: write a message: %w: %d bytes", ErrTooLarge, len(m.Data))
	}
	c := &w.chunk
	index := binary.LittleEndian.AppendUint64(c.index[m.Channel], m.LogTime)
	c.index[m.Channel] = binary.LittleEndian.AppendUint64(index, uint64(len(w.records)))
	b, at := begin(w.records, opMessage)
	b = binary.LittleEndian.AppendUint16(b, m.Channel)
	b = binary.LittleEndian.AppendUint32(b, m.Sequence)
	b = binary.LittleEndian.AppendUint64(b, m.LogTime)
	b = binary.LittleEndian.AppendUint64(b, m.PublishTime)
	w.records = end(append(b, m.Data...), at)
	if c.messages == 0 {
		c.start = m.LogTime
	}
	if w.stats.Messages == 0 {
		w.stats.Start = m.LogTime
	}
	c.start, c.end = min(c.start, m.LogTime), max(c.end, m.LogTime)
	w.stats.Start, w.stats.End = min(w.stats.Start, m.LogTime), max(w.stats.End, m.LogTime)
	c.messages++
	w.counts[m.Channel]++
	w.stats.Messages++
	if len(w.records) >= w.config.ChunkBytes {
		return w.Flush()
	}
	return nil
}

// Flush writes the chunk, if there is anything in it.
func (w *Writer) Flush() error {
	if w.err == nil && len(w.records) > 0 {
		w.flush()
	}
	if w.err != nil {
		return fmt.Errorf("mcap: write a chunk: %w", w.err)
	}
	return nil
}

func (w *Writer) flush() {
	c := &w.chunk
	compression, packed := "", w.records
	if w.packer != nil && len(w.records) <= unpackedMost {
		compression = "zstd"
		packed = w.packer.EncodeAll(w.records, nil)
	}
	b, at := begin(w.scratch[:0], opChunk)
	b = binary.LittleEndian.AppendUint64(b, c.start)
	b = binary.LittleEndian.AppendUint64(b, c.end)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(w.records)))
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(w.records))
	b = appendString(b, compression)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(packed)))
	b = end(append(b, packed...), at)
	length := uint64(len(b))
	chunkAt := w.at

	var offsets []byte // of the records of indexes
	for _, id := range sortedKeys(c.index) {
		if len(c.index[id]) == 0 {
			continue // it had messages in an earlier chunk
		}
		offsets = binary.LittleEndian.AppendUint16(offsets, id)
		offsets = binary.LittleEndian.AppendUint64(offsets, chunkAt+uint64(len(b)))
		b, at = begin(b, opMessageIndex)
		b = binary.LittleEndian.AppendUint16(b, id)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(c.index[id])))
		b = end(append(b, c.index[id]...), at)
		c.index[id] = c.index[id][:0]
	}
	indexBytes := uint64(len(b)) - length

	i, at := begin(w.chunks, opChunkIndex)
	i = binary.LittleEndian.AppendUint64(i, c.start)
	i = binary.LittleEndian.AppendUint64(i, c.end)
	i = binary.LittleEndian.AppendUint64(i, chunkAt)
	i = binary.LittleEndian.AppendUint64(i, length)
	i = binary.LittleEndian.AppendUint32(i, uint32(len(offsets)))
	i = append(i, offsets...)
	i = binary.LittleEndian.AppendUint64(i, indexBytes)
	i = appendString(i, compression)
	i = binary.LittleEndian.AppendUint64(i, uint64(len(packed)))
	w.chunks = end(binary.LittleEndian.AppendUint64(i, uint64(len(w.records))), at)

	w.stats.Chunks++
	c.start, c.end, c.messages = 0, 0, 0
	w.records = w.records[:0]
	w.write(b)
	w.scratch = b
	if cap(w.scratch) > 4*w.config.ChunkBytes { // of a large message, which may have been the only one
		w.scratch, w.records = nil, nil
	}
}

// AddMetadata writes the chunk, and metadata behind it.
func (w *Writer) AddMetadata(m Metadata) error {
	if err := w.Flush(); err != nil {
		return err
	}
	b, at := begin(nil, opMetadata)
	b = end(appendMap(appendString(b, m.Name), m.Values), at)
	i, at := begin(w.metadata, opMetadataIndex)
	i = binary.LittleEndian.AppendUint64(i, w.at)
	i = binary.LittleEndian.AppendUint64(i, uint64(len(b)))
	w.metadata = end(appendString(i, m.Name), at)
	w.stats.Metadata++
	if err := w.write(b); err != nil {
		return fmt.Errorf("mcap: write metadata: %w", err)
	}
	return nil
}

// Statistics returns what the file has, with what is not written yet.
func (w *Writer) Statistics() Statistics { return w.stats }

// Close writes the chunk and the end of the file. It does not close what is written to.
func (w *Writer) Close() error {
	if w.err == errClosed {
		return nil
	}
	if err := w.Flush(); err != nil {
		return err
	}
	b, at := begin(nil, opDataEnd)
	b = end(binary.LittleEndian.AppendUint32(b, w.crc), at)
	summary, start := len(b), w.at+uint64(len(b))

	statistics, at := begin(nil, opStatistics)
	statistics = binary.LittleEndian.AppendUint64(statistics, w.stats.Messages)
	statistics = binary.LittleEndian.AppendUint16(statistics, w.stats.Schemas)
	statistics = binary.LittleEndian.AppendUint32(statistics, w.stats.Channels)
	statistics = binary.LittleEndian.AppendUint32(statistics, 0) // attachments
	statistics = binary.LittleEndian.AppendUint32(statistics, w.stats.Metadata)
	statistics = binary.LittleEndian.AppendUint32(statistics, w.stats.Chunks)
	statistics = binary.LittleEndian.AppendUint64(statistics, w.stats.Start)
	statistics = binary.LittleEndian.AppendUint64(statistics, w.stats.End)
	statistics = binary.LittleEndian.AppendUint32(statistics, uint32(10*len(w.counts)))
	for _, id := range sortedKeys(w.counts) {
		statistics = binary.LittleEndian.AppendUint16(statistics, id)
		statistics = binary.LittleEndian.AppendUint64(statistics, w.counts[id])
	}
	statistics = end(statistics, at)

	var offsets []byte
	for _, group := range [][]byte{w.schemas, w.channels, statistics, w.chunks, w.metadata} {
		if len(group) == 0 {
			continue
		}
		offsets, at = begin(offsets, opSummaryOffset)
		offsets = append(offsets, group[0])
		offsets = binary.LittleEndian.AppendUint64(offsets, w.at+uint64(len(b)))
		offsets = end(binary.LittleEndian.AppendUint64(offsets, uint64(len(group))), at)
		b = append(b, group...)
	}
	offsetsAt := w.at + uint64(len(b))
	b, at = begin(append(b, offsets...), opFooter)
	b = binary.LittleEndian.AppendUint64(b, start)
	b = binary.LittleEndian.AppendUint64(b, offsetsAt)
	binary.LittleEndian.PutUint64(b[at-8:], footerBytes) // for it counts
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b[summary:]))
	if err := w.write(append(b, magic...)); err != nil {
		return fmt.Errorf("mcap: write the end: %w", err)
	}
	w.err = errClosed
	return nil
}
