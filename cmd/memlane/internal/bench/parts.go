package bench

import (
	"fmt"

	"github.com/dustin/go-humanize"
)

// groupOf is how many round trips there are between two looks at the clock.
func groupOf(size int) int {
	if size <= 4096 {
		return 64
	}
	return 1
}

// inlineMost is how large a message is that travels in its slot.
const inlineMost = 48

// roundTrip is an entry of two that send a message there and back.
func (b *bench) roundTrip(transport, what string, size int, t task, same bool) *entry {
	t.Part, t.Transport, t.Size = "round trips", transport, size
	if t.Group == 0 {
		t.Group = groupOf(size)
	}
	e := &entry{figure: figure{Transport: transport, What: what, Placement: "across", Size: size, Readers: 1, Batch: 1}}
	if same {
		e.figure.Placement = "same"
	}
	side0, side1 := b.pairOf(t, same)
	e.tasks = []task{side0, side1}
	return e
}

func (e *entry) against(bare string, limit float64) *entry {
	e.bare, e.limit = bare, limit
	return e
}

// latency is round trips of two who look for messages all the time.
func (b *bench) latency() error {
	b.report.note("p50 is of groups of 64 round trips up to 4 KiB, where a look at the clock would show, else of each; the other percentiles are of each")
	sizes := []int{40, 1 << 10, 64 << 10, 1 << 20}
	if b.config.Size != 0 {
		sizes = []int{b.config.Size}
	}
	for _, size := range sizes {
		bare, limit := "floor-copy", 1.1
		switch {
		case size <= inlineMost:
			bare, limit = "floor-line", 1.15
		case size <= 4096:
			limit = 1
		}
		err := b.interleave(fmt.Sprintf("Round trip, %s, copied in and out, both look for messages", humanize.IBytes(uint64(size))), []*entry{
			b.roundTrip(bare, "latency", size, task{}, false),
			b.roundTrip(laneTransport, "latency", size, task{}, false).against(bare, limit),
			b.roundTrip(packetTransport, "latency", size, task{}, false).against(bare, 0),
			b.roundTrip(bufferedTransport, "latency", size, task{}, false).against(bare, 0),
		})
		if err != nil {
			return err
		}
		if size <= inlineMost {
			continue
		}
		group := task{Group: 64}
		err = b.interleave(fmt.Sprintf("Round trip, %s on loan: where it is; touched: written and read there", humanize.IBytes(uint64(size))), []*entry{
			b.roundTrip("floor-line", "latency", size, group, false),
			b.roundTrip("floor-two-lines", "latency", size, group, false),
			b.roundTrip(loanTransport, "latency", size, group, false).against("floor-two-lines", 1.15),
			b.roundTrip(loanTransport, "latency-touched", size, task{Touched: true}, false).against("floor-two-lines", 0),
		})
		if err != nil {
			return err
		}
	}
	return b.steadyState()
}

// throughput is one way, where the publisher waits for the subscriber.
func (b *bench) throughput() error {
	b.report.note("one subscriber, who looks for messages all the time; policy Block; the time is until the last message has been read")
	type kind struct {
		size, batch int
		least       float64
	}
	kinds := []kind{{40, 1, 40e6}, {48, 1, 40e6}, {64, 16, 60e6}, {64, 64, 60e6}}
	if b.config.Size != 0 || b.config.Batch != 0 {
		l := kind{max(b.config.Size, 8), max(b.config.Batch, 1), 0}
		if b.config.Size == 0 {
			l.size = 64
		}
		kinds = []kind{l}
	}
	for _, l := range kinds {
		of := func(transport string) *entry {
			e := &entry{figure: figure{Transport: transport, What: "throughput", Placement: "across", Size: l.size, Readers: 1, Batch: l.batch}, rate: true}
			side0, side1 := b.pairOf(task{Part: "one way", Transport: transport, Size: l.size, Batch: l.batch}, false)
			e.tasks = []task{side0, side1}
			return e
		}
		bare, name := "floor-line", laneTransport
		if l.batch > 1 {
			name = batchTransport
		}
		if l.batch > 1 || l.size > inlineMost {
			bare = "floor-copy"
		}
		all := []*entry{of(bare), of(name).against(bare, l.least), of(packetTransport).against(bare, 0), of(bufferedTransport).against(bare, 0)}
		if l.batch == 1 && l.size > inlineMost {
			e := of(loanTransport).against(bare, 0)
			e.tasks[0].Touched, e.tasks[1].Touched = true, true
			all = append(all, e)
		}
		if err := b.interleave(fmt.Sprintf("One way, %s, %d at once", humanize.IBytes(uint64(l.size)), l.batch), all); err != nil {
			return err
		}
	}
	return nil
}

// fanout is what a message costs its publisher with so many subscribers.
func (b *bench) fanout() error {
	b.report.note("what one message costs its publisher while another process looks for messages with all of its subscribers, who are in 8 domains' participants; policy DropOldest")
	readers, batches := []int{1, 10, 100, 1000}, []int{1, 16}
	if b.config.Readers != 0 {
		readers = []int{1, b.config.Readers}
	}
	if b.config.Batch != 0 {
		batches = []int{b.config.Batch}
	}
	size := max(b.config.Size, 8)
	if b.config.Size == 0 {
		size = 40
	}
	for _, batch := range batches {
		var all []*entry
		for i, n := range readers {
			e := &entry{figure: figure{Transport: laneTransport, What: "fanout", Placement: "across", Size: size, Readers: n, Batch: batch}}
			side0, side1 := b.pairOf(task{Part: "fan out", Transport: laneTransport, Size: size, Batch: batch, Readers: n, Group: fanGroup}, false)
			e.tasks = []task{side0, side1}
			if i > 0 || n > 1 {
				all = append(all, e)
			} else {
				all = append([]*entry{e}, all...)
			}
		}
		if err := b.interleaveReaders(fmt.Sprintf("Fan-out, %s, %d at once", humanize.IBytes(uint64(size)), batch), all); err != nil {
			return err
		}
	}
	return nil
}

// interleaveReaders is interleave of entries that are compared with the first.
func (b *bench) interleaveReaders(title string, all []*entry) error {
	lines, err := b.takeTurns(all)
	if err != nil {
		return err
	}
	var figures []*figure
	for i, e := range all {
		e.fill(nil)
		f := &e.figure
		if i > 0 {
			s := ratios(e.values, all[0].values)
			f.Against, f.Ratio, f.RatioLow, f.RatioHigh = "1 reader", s.median, s.low, s.high
			f.Each = (f.P50 - all[0].figure.P50) / float64(f.Readers-all[0].figure.Readers)
			switch {
			case f.Batch == 1:
				f.budget("at most 1 ns for each further subscriber", f.Each <= 1)
			case f.Readers == 100 && f.Batch == 16:
				f.budget("at most 3 × 1 reader", f.Ratio <= 3)
			}
		}
		figures = append(figures, f)
	}
	b.tell(title, figures, lines)
	return nil
}

// park is round trips of two who sleep until there is a message, and what is used by
// those who sleep.
func (b *bench) park() error {
	size := max(b.config.Size, 8)
	if b.config.Size == 0 {
		size = 40
	}
	for _, same := range []bool{true, false} {
		where, limit := "across", 0.0
		if same {
			where, limit = "same", 1.2
		}
		t := task{Park: true, Whole: true, Group: 1}
		err := b.interleave(fmt.Sprintf("Round trip, %s, both asleep, %s", humanize.IBytes(uint64(size)), map[bool]string{true: "on the same processor", false: "on two processors"}[same]), []*entry{
			b.roundTrip("floor-futex", "park", size, t, same),
			b.roundTrip(laneTransport, "park", size, t, same).against("floor-futex", limit),
			b.roundTrip(packetTransport, "park", size, t, same).against("floor-futex", 0),
		})
		if err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
	}
	return b.atRest()
}
