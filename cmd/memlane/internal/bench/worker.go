package bench

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"
)

// A task is what one process is started for.
type task struct {
	Part      string        // one of parts
	Transport string        // what carries the messages
	Side      int           // 0 measures
	Folder    string        // of the domain, and of the floors' file
	Processor int           // -1: any
	Whole     bool          // all of the process is on it
	Park      bool          // sleep while there is no message, and do not look for it
	Touched   bool          // read and write all of what is on loan
	Size      int           // of a message, in bytes
	Batch     int           // messages at once
	Group     int           // round trips between two looks at the clock
	Readers   int           // subscribers
	Warm      time.Duration // before it is measured
	Length    time.Duration
}

// A count is what a process has measured.
type count struct {
	Messages uint64
	Took     time.Duration // for all of them
	Groups   []uint32      // ns that Group round trips took
	Singles  []uint32      // ns that one took
	Bytes    uint64        // of memory
	Extra    float64       // allocations, or processor time
}

// samplesMost bounds what one process keeps.
const samplesMost = 1 << 18

// groupsLeast is how many there are, however slow the machine is just now.
const groupsLeast = 16

// parts are what a process can be started for.
var parts = map[string]func(t *task, out io.Writer) (*count, error){
	"round trips": roundTrips,
	"one way":     oneWay,
	"fan out":     fanOut,
	"rest":        rest,
	"steady":      steady,
	"crowd":       crowd,
	"observe":     observe,
}

// Worker runs one process of a bench, whose task is the argument.
func Worker(argument string, out io.Writer) error {
	var t task
	if err := json.Unmarshal([]byte(argument), &t); err != nil {
		return err
	}
	part, ok := parts[t.Part]
	if !ok {
		return fmt.Errorf("there is no part %q", t.Part)
	}
	if err := pin(t.Processor, t.Whole); err != nil {
		return err
	}
	c, err := part(&t, out)
	if err != nil || c == nil {
		return err
	}
	return c.write(out)
}

// write writes it as the C side does.
func (c *count) write(out io.Writer) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "%d %d %d %d %d %g\n", c.Messages, c.Took.Nanoseconds(), len(c.Groups), len(c.Singles), c.Bytes, c.Extra)
	binary.Write(w, binary.LittleEndian, c.Groups)
	binary.Write(w, binary.LittleEndian, c.Singles)
	return w.Flush()
}

// readCount reads it; the last two numbers may be missing.
func readCount(r io.Reader) (*count, error) {
	b := bufio.NewReader(r)
	line, err := b.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("no result: %w", err)
	}
	var c count
	var groups, singles int
	if n, err := fmt.Sscan(line, &c.Messages, &c.Took, &groups, &singles, &c.Bytes, &c.Extra); n < 4 {
		return nil, fmt.Errorf("the result %q: %w", line, err)
	}
	if groups < 0 || groups > samplesMost || singles < 0 || singles > samplesMost {
		return nil, fmt.Errorf("the result %q", line)
	}
	c.Groups, c.Singles = make([]uint32, groups), make([]uint32, singles)
	if err := binary.Read(b, binary.LittleEndian, c.Groups); err != nil {
		return nil, err
	}
	return &c, binary.Read(b, binary.LittleEndian, c.Singles)
}

// A pair is one side of two that exchange messages. trip sends one and waits for the
// answer; answer is its counterpart, and says whether it was the last one.
type pair struct {
	trip   func(v uint64) error
	answer func(v uint64) (over bool, err error)
	close  func()
}

// roundTrips measures how long an answer takes. A look at the clock takes some 20 ns,
// so that half of the time it is looked at only after Group round trips.
func roundTrips(t *task, _ io.Writer) (*count, error) {
	p, err := openPair(t)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if t.Side == 1 {
		for v := uint64(1); ; v++ {
			if over, err := p.answer(v); over || err != nil {
				return nil, err
			}
		}
	}
	c := &count{Groups: make([]uint32, 0, samplesMost), Singles: make([]uint32, 0, samplesMost)}
	for i := range c.Groups[:samplesMost] { // so that no page is missing later
		c.Groups[:samplesMost][i], c.Singles[:samplesMost][i] = 1, 1
	}
	v := uint64(0)
	begun := time.Now()
	now, measured := time.Duration(0), time.Duration(0)
	for (now < t.Warm+t.Length || len(c.Groups) < groupsLeast) && len(c.Singles)+t.Group <= samplesMost && len(c.Groups) < samplesMost {
		counts := now >= t.Warm
		if !counts {
			measured = now
		}
		before := time.Since(begun)
		for range t.Group {
			v++
			if err := p.trip(v); err != nil {
				return nil, err
			}
		}
		now = time.Since(begun)
		if counts {
			c.Groups = append(c.Groups, nanoseconds(now-before))
			c.Messages += uint64(t.Group)
		}
		if t.Group == 1 {
			continue
		}
		for range t.Group {
			v++
			if err := p.trip(v); err != nil {
				return nil, err
			}
			after := time.Since(begun)
			if counts {
				c.Singles = append(c.Singles, nanoseconds(after-now))
			}
			now = after
		}
		if counts {
			c.Messages += uint64(t.Group)
		}
	}
	c.Took = now - measured
	return c, p.trip(v + 1 | final)
}

func nanoseconds(d time.Duration) uint32 { return uint32(min(max(d, 0), math.MaxUint32)) }

// A stream is one side of two of which the first one sends. put sends n messages
// from v on, of which the last is the final one if over is true. get receives
// messages from v on up to the final one, and returns the number after it. Both
// sides then meet in barrier.
type stream struct {
	put     func(v uint64, n int, over bool) error
	get     func(v uint64) (next uint64, err error)
	barrier func() error
	close   func()
}

// burst is how many messages are sent between two looks at the clock, at least.
const burst = 1024

// writtenOf is how many messages are written before the first one of them is sent. Who
// copies a word with wider loads before it has left the processor's store buffer
// waits for that, which would be most of the time that is measured.
func writtenOf(t *task) int {
	if t.Batch > 16 || t.Size > 4096 {
		return t.Batch
	}
	return 16 / t.Batch * t.Batch
}

// oneWay measures how many messages can be sent. The first phase is to warm up.
func oneWay(t *task, _ io.Writer) (*count, error) {
	s, err := openStream(t)
	if err != nil {
		return nil, err
	}
	defer s.close()
	c := &count{}
	v := uint64(1)
	n := (burst + writtenOf(t) - 1) / writtenOf(t) * writtenOf(t)
	if t.Size > 4096 {
		n = t.Batch
	}
	for _, length := range []time.Duration{t.Warm, t.Length} {
		if t.Side == 1 {
			if v, err = s.get(v); err == nil {
				err = s.barrier()
			}
			if err != nil {
				return nil, err
			}
			continue
		}
		first := v
		begun := time.Now()
		for over := false; !over; v += uint64(n) {
			over = time.Since(begun) >= length
			if err := s.put(v, n, over); err != nil {
				return nil, err
			}
		}
		if err := s.barrier(); err != nil {
			return nil, err
		}
		c.Messages, c.Took = v-first, time.Since(begun)
	}
	if t.Side == 1 {
		return nil, nil
	}
	return c, nil
}
