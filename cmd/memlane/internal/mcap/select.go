package mcap

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
)

// Selection says which messages are wanted.
type Selection struct {
	Wants func(*Channel) bool // nil: all
	From  uint64              // the least LogTime
	To    uint64              // the LogTime after the greatest; 0: all
}

// Messages returns the messages of the file by their LogTime; those of the same one in the
// order in which they are in the file. A message, and its data, is good until the next one.
//
// Chunks in which there can be none are not read. An error is of one chunk: what is in it is
// missing, and it goes on with the others; only if the file cannot be read, chunks of more
// than 2 GiB overlap in time, or the compression is not known, it is the last one. Errors
// match [ErrCorrupt], [ErrTooLarge], [ErrCompression], and those of the file.
func (r *Reader) Messages(s Selection) iter.Seq2[*Message, error] {
	if s.To == 0 {
		s.To = math.MaxUint64
	}
	return func(yield func(*Message, error) bool) {
		var waiting []chunk // by time
		for _, c := range r.chunks {
			if c.end >= s.From && c.start < s.To && r.has(&c, s) {
				waiting = append(waiting, c)
			}
		}
		slices.SortStableFunc(waiting, func(a, b chunk) int { return cmp.Compare(a.start, b.start) })
		var open opened
		var m Message
		loaded := 0
		for {
			for len(waiting) > 0 && (len(open) == 0 || waiting[0].start <= open[0].left[0].time) {
				c := waiting[0]
				waiting = waiting[1:]
				p, err := r.load(&c, s)
				if err == nil && loaded+len(p.data) > loadedMost {
					yield(nil, fmt.Errorf("mcap: read: %w: chunks of more than %d bytes overlap in time", ErrTooLarge, loadedMost))
					return
				}
				switch {
				case err != nil:
					if !yield(nil, fmt.Errorf("mcap: read: %w", err)) || !isDamage(err) || errors.Is(err, ErrCompression) {
						return
					}
				case len(p.left) == 0:
					r.spare = p.buffer
				default:
					loaded += len(p.data)
					heap.Push(&open, p)
				}
			}
			if len(open) == 0 {
				return
			}
			p := open[0]
			e := p.left[0]
			b := p.data[e.at:][:e.size:e.size]
			m = Message{binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint32(b[2:]), e.time, binary.LittleEndian.Uint64(b[14:]), b[messageBytes:]}
			if !yield(&m, nil) {
				return
			}
			if p.left = p.left[1:]; len(p.left) > 0 {
				heap.Fix(&open, 0)
				continue
			}
			heap.Pop(&open)
			loaded -= len(p.data)
			r.spare = p.buffer
		}
	}
}

// has says whether a chunk can have messages that are wanted.
func (r *Reader) has(c *chunk, s Selection) bool {
	if s.Wants == nil || len(c.channels) == 0 {
		return true
	}
	return slices.ContainsFunc(c.channels, func(id uint16) bool {
		return r.channels[id] == nil || s.Wants(r.channels[id])
	})
}

// part is a chunk of which not all messages were returned.
type part struct {
	at           uint64 // in the file
	data, buffer []byte
	left         []entry
}

// load returns a chunk with the messages in it that are wanted, by their time.
func (r *Reader) load(c *chunk, s Selection) (*part, error) {
	u, err := r.unpack(c)
	if err != nil {
		return nil, err
	}
	left, err := r.messages(c, u.records)
	if err != nil {
		return nil, err
	}
	left = slices.DeleteFunc(left, func(e entry) bool {
		return e.time < s.From || e.time >= s.To || s.Wants != nil && !s.Wants(r.channels[binary.LittleEndian.Uint16(u.records[e.at:])])
	})
	byTime := func(a, b entry) int { return cmp.Compare(a.time, b.time) }
	if !slices.IsSortedFunc(left, byTime) {
		slices.SortStableFunc(left, byTime)
	}
	return &part{c.at, u.records, u.buffer, left}, nil
}

// opened is a heap of them, by the time of the next message.
type opened []*part

// Len is of heap.Interface, as are the others.
func (o opened) Len() int { return len(o) }
func (o opened) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(o[i].left[0].time, o[j].left[0].time), cmp.Compare(o[i].at, o[j].at)) < 0
}
func (o opened) Swap(i, j int) { o[i], o[j] = o[j], o[i] }

// Push is of heap.Interface.
func (o *opened) Push(p any) { *o = append(*o, p.(*part)) }

// Pop is of heap.Interface.
func (o *opened) Pop() any {
	last := (*o)[len(*o)-1]
	*o = (*o)[:len(*o)-1]
	return last
}
