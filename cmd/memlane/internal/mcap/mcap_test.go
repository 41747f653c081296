package mcap

import (
	"bytes"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/memlane/memlane/internal/proctest"
)

// written is a file, and what was written to it.
type written struct {
	file     []byte
	messages []Message
	channels []Channel
	metadata []Metadata
}

// write writes a file of two channels, in chunks of about 500 bytes.
func write(t testing.TB, c WriterConfig, messages int) *written {
	t.Helper()
	var file bytes.Buffer
	c.Library, c.ChunkBytes = "test", 500
	w, err := NewWriter(&file, &c)
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(err)
	schema, err := w.AddSchema("Price", "jsonschema", []byte(`{"type":"object"}`))
	ok(err)
	out := &written{channels: []Channel{
		{SchemaID: schema, Topic: "prices", MessageEncoding: "json", Metadata: map[string]string{"publisher": "1", "domain": "default"}},
		{Topic: "заказы", Metadata: map[string]string{}},
	}}
	for i, c := range out.channels {
		id, err := w.AddChannel(c)
		ok(err)
		out.channels[i].ID = id
	}
	for i := range messages {
		m := Message{Channel: uint16(i % 2), Sequence: uint32(i), LogTime: 1e18 + uint64(i/3), PublishTime: uint64(i), Data: fmt.Appendf(nil, "<%0*d>", i%50, i)}
		out.messages = append(out.messages, m)
		ok(w.Write(&m))
		if i == messages/2 {
			out.metadata = append(out.metadata, Metadata{"about", map[string]string{"what": "this", "why": ""}})
			ok(w.AddMetadata(out.metadata[0]))
		}
	}
	ok(w.Close())
	ok(w.Close())
	out.file = file.Bytes()
	return out
}

func open(t testing.TB, file []byte) *Reader {
	t.Helper()
	r, err := Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// all returns the messages that are selected, and what went wrong.
func all(r *Reader, s Selection) (list []Message, errs []error) {
	for m, err := range r.Messages(s) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c := *m
		c.Data = bytes.Clone(m.Data)
		list = append(list, c)
	}
	return list, errs
}

func same(a, b Message) bool {
	x, y := a, b
	x.Data, y.Data = nil, nil
	return fmt.Sprint(x) == fmt.Sprint(y) && bytes.Equal(a.Data, b.Data)
}

func wantMessages(t *testing.T, r *Reader, s Selection, want []Message) {
	t.Helper()
	got, errs := all(r, s)
	if len(errs) > 0 || !slices.EqualFunc(got, want, same) {
		t.Errorf("%d messages, %v; want %d", len(got), errs, len(want))
	}
}

// What was written is read, by the index and without it.
func TestRoundTrip(t *testing.T) {
	for _, zstd := range []bool{false, true} {
		w := write(t, WriterConfig{Zstd: zstd}, 300)
		noIndex := w.file[:len(w.file)-1]
		for _, file := range [][]byte{w.file, noIndex} {
			r := open(t, file)
			wantMessages(t, r, Selection{}, w.messages)
			var channels []Channel
			for _, c := range r.Channels() {
				channels = append(channels, *c)
			}
			if fmt.Sprint(channels) != fmt.Sprint(w.channels) || fmt.Sprint(r.Metadata()) != fmt.Sprint(w.metadata) {
				t.Errorf("channels %v, metadata %v", channels, r.Metadata())
			}
			if s := r.Schema(1); s == nil || s.Name != "Price" || s.Encoding != "jsonschema" || string(s.Data) != `{"type":"object"}` {
				t.Errorf("schema %v", s)
			}
			if start, end := r.Span(); start != 1e18 || end != 1e18+99 {
				t.Errorf("from %d to %d", start, end)
			}
			if d := r.Damage(); len(file) == len(w.file) && d != nil || len(file) < len(w.file) && !errors.Is(d, ErrUnfinished) {
				t.Errorf("damage: %v", d)
			}
			some := slices.DeleteFunc(slices.Clone(w.messages), func(m Message) bool {
				return m.Channel != 1 || m.LogTime < 1e18+20 || m.LogTime >= 1e18+60
			})
			wantMessages(t, r, Selection{Wants: func(c *Channel) bool { return c.Topic == "заказы" }, From: 1e18 + 20, To: 1e18 + 60}, some)
		}
		if zstd && len(w.file) > 2*len(write(t, WriterConfig{}, 300).file)/3+len(w.file)/3 {
			t.Errorf("%d bytes, compressed", len(w.file))
		}
	}
}

// counting counts what is read of a file.
type counting struct {
	io.ReaderAt
	bytes int
}

func (c *counting) ReadAt(b []byte, at int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(b, at)
	c.bytes += n
	return n, err
}

// With an index only what is wanted is read: not even of a chunk that has nothing of a
// topic.
func TestIndexSavesReading(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file, &WriterConfig{ChunkBytes: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"often", "rare"} {
		if _, err := w.AddChannel(Channel{Topic: topic}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		m := Message{LogTime: uint64(i), Data: make([]byte, 1000)}
		if i == 500 {
			m.Channel = 1
		}
		if err := w.Write(&m); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for what, s := range map[string]Selection{
		"a topic": {Wants: func(c *Channel) bool { return c.Topic == "rare" }},
		"a time":  {From: 700, To: 701},
	} {
		c := &counting{bytes.NewReader(file.Bytes()), 0}
		r, err := Open(c, int64(file.Len()))
		if err != nil {
			t.Fatal(err)
		}
		got, errs := all(r, s)
		if len(got) != 1 || len(errs) > 0 || c.bytes > file.Len()/4 {
			t.Errorf("%s: %d messages, %v, %d bytes read of %d", what, len(got), errs, c.bytes, file.Len())
		}
	}
}

// A file that is cut anywhere in its last chunk has all messages before it, and those of it
// that are whole; if it is compressed, none of them. Behind the last chunk nothing is
// missing.
func TestCutAtEveryByte(t *testing.T) {
	for _, zstd := range []bool{false, true} {
		w := write(t, WriterConfig{Zstd: zstd}, 100)
		chunks := open(t, w.file).chunks
		last := chunks[len(chunks)-1]
		behind := int(last.at + last.bytes)
		earlier, _ := all(open(t, w.file[:last.at]), Selection{})
		// The texts of messages of an uncompressed file are found in it.
		ends := make([]int, len(w.messages))
		before := 0
		for i, m := range w.messages {
			ends[i] = behind
			if !zstd {
				ends[i] = bytes.Index(w.file, m.Data) + len(m.Data)
			} else if i < len(earlier) {
				ends[i] = int(last.at)
			}
			if ends[i] <= int(last.at) {
				before++
			}
		}
		if before < 20 || before > len(w.messages)-2 {
			t.Fatalf("%d messages are before the last chunk", before)
		}
		for cut := int(last.at); cut < len(w.file); cut++ {
			r := open(t, w.file[:cut])
			whole := 0
			for _, end := range ends {
				if end <= cut {
					whole++
				}
			}
			got, errs := all(r, Selection{})
			if len(errs) > 0 || !slices.EqualFunc(got, w.messages[:whole], same) {
				t.Fatalf("cut at byte %d: %d messages, %v; want %d", cut, len(got), errs, whole)
			}
			if !errors.Is(r.Damage(), ErrUnfinished) || errors.Is(r.Damage(), ErrCorrupt) {
				t.Fatalf("cut at byte %d: damage: %v", cut, r.Damage())
			}
		}
	}
}

// After a power failure a file can end in what was never written.
func TestZerosBehind(t *testing.T) {
	w := write(t, WriterConfig{}, 100)
	chunks := open(t, w.file).chunks
	last := chunks[len(chunks)-1]
	for cut := int(last.at) + 60; cut < len(w.file); cut += 7 {
		file := append(slices.Clone(w.file[:cut]), make([]byte, 5000)...)
		got, errs := all(open(t, file), Selection{})
		n := len(got)
		if len(errs) > 0 || n == 0 || n > len(w.messages) || !slices.EqualFunc(got[:n-1], w.messages[:n-1], same) {
			t.Fatalf("%d messages, %v", n, errs)
		}
	}
}

// A byte that is not what was written is found, unless it says nothing of the messages; the
// other chunks are read.
func TestChangedByte(t *testing.T) {
	for _, zstd := range []bool{false, true} {
		w := write(t, WriterConfig{Zstd: zstd}, 100)
		chunks := open(t, w.file).chunks
		step := uint64(1)
		if zstd {
			step = 7 // it takes longer
		}
		for _, c := range chunks {
			for at := c.at; at < c.at+c.bytes; at += step {
				file := slices.Clone(w.file)
				file[at] ^= 0x41
				got, errs := all(open(t, file), Selection{})
				if len(errs) > 1 || len(errs) == 0 && !slices.EqualFunc(got, w.messages, same) {
					t.Fatalf("byte %d of the chunk at byte %d: %v", at-c.at, c.at, errs)
				}
				for _, err := range errs {
					if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTooLarge) && !errors.Is(err, ErrCompression) {
						t.Fatalf("byte %d of the chunk at byte %d: %v", at-c.at, c.at, err)
					}
				}
				if len(got) < len(w.messages)/3 && !errors.Is(errors.Join(errs...), ErrCompression) {
					t.Fatalf("byte %d of the chunk at byte %d: %d messages", at-c.at, c.at, len(got))
				}
			}
		}
		index := int(open(t, w.file).chunks[len(chunks)-1].at + chunks[len(chunks)-1].bytes)
		for at := index; at < len(w.file); at += int(step) {
			file := slices.Clone(w.file)
			file[at] ^= 0x41
			if got, errs := all(open(t, file), Selection{}); len(errs) > 0 || len(got) != len(w.messages) {
				t.Fatalf("byte %d, of the end: %d messages, %v, %v", at, len(got), errs, open(t, file).Damage())
			}
		}
	}
}

// What is no such file is said to be none.
func TestNotMCAP(t *testing.T) {
	for _, text := range []string{"", "\x89MCAP", "PK\x03\x04 and so on", "\x89MCAP1\r\n and so on"} {
		if _, err := Open(strings.NewReader(text), int64(len(text))); !errors.Is(err, ErrNotMCAP) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := Open(iotestErr{}, 1000); err == nil || errors.Is(err, ErrNotMCAP) || !errors.Is(err, os.ErrPermission) {
		t.Errorf("a file that cannot be read: %v", err)
	}
}

type iotestErr struct{}

func (iotestErr) ReadAt([]byte, int64) (int, error) { return 0, os.ErrPermission }

// Files that @mcap/core has written, with and without chunks and index, in which times go
// back and forth: testdata/write.mjs made them.
func TestFilesOfOthers(t *testing.T) {
	for _, name := range []string{"chunked", "unchunked", "noindex", "zstd"} {
		file, err := os.ReadFile(filepath.Join("testdata", name+".mcap"))
		if err != nil {
			t.Fatal(err)
		}
		wantOthers(t, name, file)
	}
}

// wantOthers checks a file that testdata/write.mjs has written.
func wantOthers(t *testing.T, name string, file []byte) {
	t.Helper()
	r := open(t, file)
	var want []Message
	for i := range 100 {
		time := 1_700_000_000_000_000_000 + uint64(i-i%4)*1000 + uint64((i*7)%3)
		m := Message{Sequence: uint32(i), LogTime: time, PublishTime: time - 5, Data: fmt.Appendf(nil, `{"price":%d}`, i)}
		if i%3 == 0 {
			m.Channel = 1
		}
		want = append(want, m)
	}
	slices.SortStableFunc(want, func(a, b Message) int { return int(int64(a.LogTime) - int64(b.LogTime)) })
	got, errs := all(r, Selection{})
	if r.Damage() != nil || len(errs) > 0 || !slices.EqualFunc(got, want, same) {
		t.Errorf("%s: %d messages, %v, damage %v", name, len(got), errs, r.Damage())
	}
	c := r.Channel(1)
	if len(r.Channels()) != 2 || c == nil || c.Topic != "заказы" || c.MessageEncoding != "json" || !maps.Equal(c.Metadata, map[string]string{"from": "заказы"}) {
		t.Errorf("%s: channels %v", name, r.Channels())
	}
	if s := r.Schema(c.SchemaID); s == nil || s.Name != "Price" || s.Encoding != "jsonschema" || string(s.Data) != `{"type":"object"}` {
		t.Errorf("%s: schema %v", name, s)
	}
	if fmt.Sprint(r.Metadata()) != fmt.Sprint([]Metadata{{"about", map[string]string{"what": name}}}) {
		t.Errorf("%s: metadata %v", name, r.Metadata())
	}
}

// What a hostile file claims does not take memory.
func TestClaims(t *testing.T) {
	record := func(op byte, length uint64, content ...byte) []byte {
		return append(binary.LittleEndian.AppendUint64([]byte{op}, length), content...)
	}
	chunk := func(unpacked, packed uint64, compression string, content ...byte) []byte {
		b, at := begin(nil, opChunk)
		b = binary.LittleEndian.AppendUint64(append(b, make([]byte, 16)...), unpacked)
		b = appendString(binary.LittleEndian.AppendUint32(b, 0), compression)
		return end(append(binary.LittleEndian.AppendUint64(b, packed), content...), at)
	}
	for name, tc := range map[string]struct {
		record []byte
		want   error
	}{
		"a record without end":    {record(opSchema, 1<<63), ErrUnfinished},
		"a schema without end":    {record(opSchema, 10, 1, 0, 255, 255, 255, 255, 0, 0, 0, 0), ErrCorrupt},
		"a channel without end":   {record(opChannel, 8, 1, 0, 0, 0, 255, 255, 255, 255), ErrCorrupt},
		"a message of nothing":    {record(opMessage, 3, 0, 0, 0), ErrCorrupt},
		"a message of no channel": {record(opMessage, 22, make([]byte, 22)...), ErrCorrupt},
		"a chunk of nothing":      {record(opChunk, 0), ErrCorrupt},
		"a chunk without end":     {chunk(10, 1<<60, ""), ErrCorrupt},
		"a chunk of less":         {chunk(10, 0, ""), ErrCorrupt},
		"a bomb":                  {chunk(1<<40, 4, "zstd", 1, 2, 3, 4), ErrTooLarge},
		"a small bomb":            {chunk(200<<20, 4, "zstd", 1, 2, 3, 4), ErrTooLarge},
		"no zstd":                 {chunk(100, 4, "zstd", 1, 2, 3, 4), ErrCorrupt},
		"lz4":                     {chunk(100, 4, "lz4", 1, 2, 3, 4), ErrCompression},
		"no record":               {make([]byte, 100), ErrCorrupt},
	} {
		file := append([]byte(magic), tc.record...)
		var damage error
		least := testing.AllocsPerRun(1, func() { damage = open(t, file).Damage() })
		if !errors.Is(damage, tc.want) {
			t.Errorf("%s: damage %v", name, damage)
		}
		if least > 2000 {
			t.Errorf("%s: %.0f allocations", name, least)
		}
	}
}

// An index that says of two chunks that they are at the same place is not believed, and the file
// read without it; of a chunk that has messages of another time than it says, none is.
func TestIndexLies(t *testing.T) {
	w := write(t, WriterConfig{}, 100)
	file := withoutChecksums(t, w.file)
	chunks := open(t, file).chunks
	place := func(i int) []byte { return binary.LittleEndian.AppendUint64(nil, chunks[i].at) }
	// The head of a chunk of the index has the place behind two times.
	at := bytes.LastIndex(file, place(3))
	copy(file[at:], place(2))
	r := open(t, file)
	wantMessages(t, r, Selection{}, w.messages)
	if !errors.Is(r.Damage(), ErrCorrupt) {
		t.Errorf("damage: %v", r.Damage())
	}

	// Two fields before it is the chunk's first time.
	file = withoutChecksums(t, w.file)
	binary.LittleEndian.PutUint64(file[at-16:], chunks[3].start+1)
	got, errs := all(open(t, file), Selection{})
	if len(errs) != 1 || !errors.Is(errs[0], ErrCorrupt) || len(got) >= len(w.messages) || len(got) < len(w.messages)/2 {
		t.Errorf("a chunk with messages of another time: %d messages, %v", len(got), errs)
	}
}

// What cannot be written is told, and after an error nothing more is written.
func TestWriterErrors(t *testing.T) {
	w, err := NewWriter(io.Discard, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(&Message{Channel: 0}); err == nil {
		t.Error("a message of no channel is written")
	}
	if _, err := w.AddChannel(Channel{SchemaID: 1}); err == nil {
		t.Error("a channel of no schema is added")
	}
	for i := range 1 << 16 {
		if id, err := w.AddChannel(Channel{}); err != nil || int(id) != i {
			t.Fatal(id, err)
		}
	}
	if _, err := w.AddChannel(Channel{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a channel beyond all numbers: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(&Message{}); !errors.Is(err, errClosed) {
		t.Errorf("a message behind the end: %v", err)
	}

	full := &limited{room: 100}
	if w, err = NewWriter(full, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddChannel(Channel{}); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(&Message{Data: make([]byte, 200)}); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("no room: %v", err)
	}
	full.room = 1 << 20
	if err := w.Close(); !errors.Is(err, io.ErrShortWrite) || full.room != 1<<20 {
		t.Errorf("after that: %v", err)
	}
}

type limited struct{ room int }

func (l *limited) Write(b []byte) (int, error) {
	if len(b) > l.room {
		return l.room, io.ErrShortWrite
	}
	l.room -= len(b)
	return len(b), nil
}

// Messages of chunks that overlap in time come in order.
func TestOverlappingChunks(t *testing.T) {
	var file bytes.Buffer
	w, err := NewWriter(&file, &WriterConfig{ChunkBytes: 300})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddChannel(Channel{}); err != nil {
		t.Fatal(err)
	}
	lot := rand.New(rand.NewPCG(1, 2))
	var want []Message
	for i := range 1000 {
		m := Message{Sequence: uint32(i), LogTime: 1 + lot.Uint64N(200), Data: []byte{byte(i)}}
		if err := w.Write(&m); err != nil {
			t.Fatal(err)
		}
		want = append(want, m)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(want, func(a, b Message) int { return int(a.LogTime) - int(b.LogTime) })
	wantMessages(t, open(t, file.Bytes()), Selection{}, want)
}

//go:embed testdata/*.mcap
var others embed.FS

// withoutChecksums returns a file whose chunks, and index, have none, so that what is
// changed in it is looked at.
func withoutChecksums(t testing.TB, file []byte) []byte {
	file = bytes.Clone(file)
	for _, c := range open(t, file).chunks {
		if !c.loose {
			clear(file[c.at+headBytes+24:][:4])
		}
	}
	clear(file[len(file)-len(magic)-4:][:4])
	return file
}

// Whatever a file says, it is read or refused, and what is read keeps to the bounds.
func FuzzFile(f *testing.F) {
	var seeds [][]byte
	for _, zstd := range []bool{false, true} {
		file := write(f, WriterConfig{Zstd: zstd}, 20).file
		seeds = append(seeds, file, withoutChecksums(f, file), file[:len(file)-1], withoutChecksums(f, file)[:len(file)/2])
	}
	for _, name := range []string{"chunked", "unchunked", "zstd"} {
		file, err := others.ReadFile("testdata/" + name + ".mcap")
		if err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, withoutChecksums(f, file))
	}
	proctest.Fuzz(f, seeds, func(file []byte) error {
		r, err := Open(bytes.NewReader(file), int64(len(file)))
		if errors.Is(err, ErrNotMCAP) {
			return nil
		}
		if err != nil {
			return err
		}
		if d := r.Damage(); d != nil && !isDamage(d) {
			return d
		}
		last := uint64(0)
		for m, err := range r.Messages(Selection{}) {
			if err != nil {
				if !isDamage(err) {
					return err
				}
				continue
			}
			if r.Channel(m.Channel) == nil || m.LogTime < last {
				return fmt.Errorf("channel %d, time %d after %d", m.Channel, m.LogTime, last)
			}
			last = m.LogTime
		}
		return nil
	})
}
