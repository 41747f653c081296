package bench

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/memlane/memlane"
	"github.com/memlane/memlane/inspect"
)

// observedTransport is memlane while somebody looks.
const observedTransport = "memlane-observed"

// observed is what it costs those who exchange messages that somebody looks at them.
func (b *bench) observed() error {
	b.report.note("one way under policy Block, as in throughput; while another process looks at all of the domain each second, as memlane top does, on whatever processor is free")
	sizes := []int{40, 64 << 10}
	if b.config.Size != 0 {
		sizes = []int{b.config.Size}
	}
	for _, size := range sizes {
		of := func(transport string) *entry {
			e := &entry{figure: figure{Transport: transport, What: "observed", Placement: "across", Size: size, Readers: 1, Batch: 1}, rate: true}
			side0, side1 := b.pairOf(task{Part: "one way", Transport: laneTransport, Size: size}, false)
			e.tasks = []task{side0, side1}
			return e
		}
		alone, observed := of(laneTransport), of(observedTransport).against(laneTransport, 0)
		observed.tasks = append(observed.tasks, task{Part: "observe", Side: 2, Processor: -1})
		lines, err := b.takeTurns([]*entry{alone, observed})
		if err != nil {
			return err
		}
		alone.fill(nil)
		observed.fill([]*entry{alone, observed})
		f := &observed.figure
		f.budget("at least 0.99 × memlane", f.Ratio >= 0.99)
		b.tell(fmt.Sprintf("One way, %s, looked at", humanize.IBytes(uint64(size))), []*figure{&alone.figure, f}, lines)
	}
	return nil
}

// observeEvery is how often the other process looks.
const observeEvery = time.Second

// observe looks at the domain until nobody is there any more.
func observe(t *task, _ io.Writer) (*count, error) {
	c := &memlane.Config{Folder: t.Folder}
	var d *memlane.Domain
	for begun := time.Now(); ; {
		topics, err := inspect.Topics("bench", c)
		if err != nil {
			return nil, err
		}
		if len(topics) == 0 {
			if d != nil {
				return nil, d.Close()
			}
			if time.Since(begun) > patience {
				return nil, errors.New("there is nobody to look at")
			}
			time.Sleep(time.Millisecond)
			continue
		}
		if d == nil {
			if d, err = memlane.Open("bench", c); err != nil {
				return nil, err
			}
		}
		for _, topic := range topics {
			if _, err := inspect.Look(d, topic.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
		if _, err := inspect.Participants("bench", c); err != nil {
			return nil, err
		}
		time.Sleep(observeEvery)
	}
}
