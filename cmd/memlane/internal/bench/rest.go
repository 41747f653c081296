package bench

import (
	"context"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
)

func contextOf(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(background, d)
}

// restReaders are how many receivers are asleep.
const restReaders = 100

// atRest is what a topic and sleeping receivers use.
func (b *bench) atRest() error {
	t := task{Part: "rest", Transport: laneTransport, Processor: -1, Readers: restReaders, Warm: 12 * time.Second, Length: 10 * time.Second}
	if b.config.Duration < 100*time.Millisecond {
		t.Warm, t.Length = 200*time.Millisecond, 10*b.config.Duration
	}
	b.report.note(fmt.Sprintf("at rest: a publisher with default options, whose memory it is, and one process with %d receivers asleep, whose processor time it is, over %v after %v", restReaders, t.Length, t.Warm))
	side1 := t
	side1.Side = 1
	c, err := b.run(t, side1)
	if err != nil {
		return err
	}
	memory := &figure{Transport: laneTransport, What: "rest-memory", Readers: 1, Memory: c.Bytes}
	memory.budget("at most 256 KiB", c.Bytes <= 256<<10)
	share := &figure{Transport: laneTransport, What: "rest-processor", Readers: restReaders, Processor: &c.Extra}
	share.budget("at most 0.01 %", c.Extra <= 0.0001)
	b.report.table("At rest", []*figure{memory, share})
	return nil
}

// rest is a process whose receivers are asleep; its counterpart publishes nothing.
func rest(t *task, _ io.Writer) (*count, error) {
	d, err := memlane.Open("bench", &memlane.Config{Folder: t.Folder})
	if err != nil {
		return nil, err
	}
	defer d.Close()
	ctx, cancel := context.WithTimeout(background, patience+t.Warm+t.Length)
	defer cancel()
	if t.Side == 1 {
		pub, err := pubsub.Publish(d, "news", nil)
		if err != nil {
			return nil, err
		}
		if err := pub.WaitSubscribers(ctx, t.Readers); err != nil {
			return nil, err
		}
		end, err := pubsub.Subscribe(d, "end", nil)
		if err != nil {
			return nil, err
		}
		_, err = end.Receive(ctx)
		return nil, err
	}
	for range t.Readers {
		s, err := pubsub.Subscribe(d, "news", nil)
		if err != nil {
			return nil, err
		}
		go s.Receive(background)
	}
	end, err := pubsub.Publish(d, "end", nil)
	if err != nil {
		return nil, err
	}
	if err := end.WaitSubscribers(ctx, 1); err != nil {
		return nil, err
	}
	time.Sleep(t.Warm)
	c := &count{}
	before, begun := processorTime(), time.Now()
	time.Sleep(t.Length)
	c.Extra = (processorTime() - before).Seconds() / time.Since(begun).Seconds()
	c.Bytes = topicBytes()
	if err := end.TryPublish([]byte("all")); err != nil {
		return nil, err
	}
	time.Sleep(20 * time.Millisecond)
	return c, nil
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// topicBytes returns how large the smallest segment of a topic is that this process
// has mapped. All of its pages are reserved.
func topicBytes() (bytes uint64) {
	seen := map[string]uint64{} // by inode
	for line := range strings.Lines(contents("/proc/self/maps")) {
		// from-to permissions offset device inode name
		fields := strings.Fields(line)
		if len(fields) < 6 || !strings.Contains(line, "memlane topic") {
			continue
		}
		var from, to uint64
		if _, err := fmt.Sscanf(fields[0], "%x-%x", &from, &to); err == nil {
			seen[fields[4]] += to - from
		}
	}
	for _, n := range seen {
		if bytes == 0 || n < bytes {
			bytes = n
		}
	}
	return bytes
}
