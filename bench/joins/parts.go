package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
)

// table prints the head of a table.
func table(title string, columns ...string) {
	fmt.Printf("\n%s\n\n| %s |\n|%s\n", title, strings.Join(columns, " | "), strings.Repeat(" --: |", len(columns)))
}

// row prints a line of it.
func row(cells ...any) {
	for _, c := range cells {
		if d, ok := c.(time.Duration); ok {
			c = fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond))
		}
		fmt.Printf("| %v ", c)
	}
	fmt.Println("|")
}

// fresh makes the folder of one measurement.
func (b *bench) fresh() (folder string, remove func(), err error) {
	folder, err = os.MkdirTemp(b.folder, "")
	return folder, func() { os.RemoveAll(folder) }, err
}

// background is a context that does not end.
var background = context.Background()

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// strangers: so many participants are there that share no topic with who comes.
func (b *bench) strangers() error {
	table("Among participants that share nothing with who comes, each with a topic of its own, ms (median)",
		"participants", "Open", "Publish", "Subscribe", "Close")
	for _, n := range b.counts {
		folder, remove, err := b.fresh()
		if err != nil {
			return err
		}
		defer remove()
		all, err := crowd(n, order{Folder: folder, Alone: true})
		if err != nil {
			return err
		}
		defer killAll(all)
		var opens, publishes, subscribes, closes []time.Duration
		for i := range b.repeat {
			begun := time.Now()
			d, err := memlane.Open("joins", &memlane.Config{Folder: folder})
			if err != nil {
				return err
			}
			opens = append(opens, time.Since(begun))
			begun = time.Now()
			if _, err := pubsub.Publish(d, fmt.Sprint("mine ", i), nil); err != nil {
				return err
			}
			publishes = append(publishes, time.Since(begun))
			begun = time.Now()
			if _, err := pubsub.Subscribe(d, fmt.Sprint("other ", i), nil); err != nil {
				return err
			}
			subscribes = append(subscribes, time.Since(begun))
			begun = time.Now()
			if err := d.Close(); err != nil {
				return err
			}
			closes = append(closes, time.Since(begun))
		}
		row(n, median(opens), median(publishes), median(subscribes), median(closes))
	}
	return nil
}

// commonTopics returns the names of so many.
func commonTopics(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint("common ", i))
	}
	return all
}

// common: so many participants subscribe to the topic that who comes publishes.
func (b *bench) common() error {
	table("Publish a topic that so many participants subscribe to; what the publisher's process has then more than before",
		"subscribers", "Publish, ms", "all joined, ms", "descriptors", "mappings", "goroutines", "MiB resident")
	for _, n := range b.counts {
		if err := b.commonOf(n); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) commonOf(n int) error {
	folder, remove, err := b.fresh()
	if err != nil {
		return err
	}
	defer remove()
	all, err := crowd(n, order{Folder: folder, Subscribes: commonTopics(1)})
	if err != nil {
		return err
	}
	defer killAll(all)
	d, err := memlane.Open("joins", &memlane.Config{Folder: folder})
	if err != nil {
		return err
	}
	defer d.Close()
	var before, after answer
	before.measure()
	begun := time.Now()
	p, err := pubsub.Publish(d, commonTopics(1)[0], nil)
	if err != nil {
		return err
	}
	took := time.Since(begun)
	if err := within(p, n); err != nil {
		return err
	}
	joined := time.Since(begun)
	after.measure()
	more := after.less(before)
	row(n, took, joined, more.Descriptors, more.Mappings, more.Goroutines, fmt.Sprintf("%.1f", float64(more.Resident)/(1<<20)))
	return nil
}

// topics: two processes have so many topics in common.
func (b *bench) topics() error {
	table("So many topics that one process publishes and another subscribes to; what each has more than before",
		"topics", "Publish, ms each", "Subscribe, ms each", "publisher's descriptors", "mappings", "MiB resident", "subscriber's descriptors", "mappings", "MiB resident")
	for _, m := range b.counts {
		if err := b.topicsOf(m); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) topicsOf(m int) error {
	folder, remove, err := b.fresh()
	if err != nil {
		return err
	}
	defer remove()
	var both [2]*worker
	var before, after [2]answer
	for i := range both {
		if both[i], err = start(); err != nil {
			return err
		}
		defer both[i].kill()
		if before[i], err = both[i].do(order{}); err != nil {
			return err
		}
	}
	if after[0], err = both[0].do(order{Folder: folder, Participants: 1, Publishes: commonTopics(m)}); err != nil {
		return err
	}
	if after[1], err = both[1].do(order{Folder: folder, Participants: 1, Subscribes: commonTopics(m)}); err != nil {
		return err
	}
	took := [2]time.Duration{after[0].Took / time.Duration(max(m, 1)), after[1].Took / time.Duration(max(m, 1))}
	if after[0], err = both[0].do(order{}); err != nil {
		return err
	}
	cells := []any{m, took[0], took[1]}
	for i := range both {
		more := after[i].less(before[i])
		cells = append(cells, more.Descriptors, more.Mappings, fmt.Sprintf("%.1f", float64(more.Resident)/(1<<20)))
	}
	row(cells...)
	return nil
}

// each calls of with each number of participants, but 0.
func (b *bench) each(of func(n int) error) error {
	for _, n := range b.counts {
		if n == 0 {
			continue
		}
		if err := of(n); err != nil {
			return err
		}
	}
	return nil
}

// stopped: of those that subscribe to what who comes publishes, some are stopped.
func (b *bench) stopped() error {
	table("Of the participants that subscribe to a topic some are stopped, ms",
		"subscribers", "stopped", "Publish", "all others joined", "a message reaches another, µs (median)")
	return b.each(b.stoppedOf)
}

func (b *bench) stoppedOf(n int) error {
	folder, remove, err := b.fresh()
	if err != nil {
		return err
	}
	defer remove()
	awake, err := crowd(n, order{Folder: folder, Subscribes: commonTopics(1)})
	if err != nil {
		return err
	}
	defer killAll(awake)
	asleep, err := crowd(min(n, perProcess), order{Folder: folder, Subscribes: commonTopics(1)})
	if err != nil {
		return err
	}
	defer killAll(asleep)
	for _, w := range asleep {
		if err := w.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
	}
	d, err := memlane.Open("joins", &memlane.Config{Folder: folder})
	if err != nil {
		return err
	}
	defer d.Close()
	begun := time.Now()
	p, err := pubsub.Publish(d, commonTopics(1)[0], nil)
	if err != nil {
		return err
	}
	took := time.Since(begun)
	if err := within(p, n); err != nil {
		return err
	}
	joined := time.Since(begun)
	one, err := memlane.Open("joins", &memlane.Config{Folder: folder})
	if err != nil {
		return err
	}
	defer one.Close()
	s, err := pubsub.Subscribe(one, commonTopics(1)[0], nil)
	if err != nil {
		return err
	}
	var trips []time.Duration
	for range 100 {
		begun := time.Now()
		if err := p.Publish(background, []byte("are you there")); err != nil {
			return err
		}
		if _, err := s.Receive(background); err != nil {
			return err
		}
		trips = append(trips, time.Since(begun))
	}
	row(n+min(n, perProcess), min(n, perProcess), took, joined, fmt.Sprintf("%.2f", float64(median(trips))/float64(time.Microsecond)))
	return nil
}

// atOnce: so many participants come at once.
func (b *bench) atOnce() error {
	table("All participants open the domain at once, from processes with 50 each, until the last has done, ms",
		"participants", "Open, and Publish of a topic of its own", "Open, and Subscribe to the same topic")
	for _, n := range b.counts {
		if n == 0 {
			continue
		}
		cells := []any{n}
		for _, o := range []order{{Alone: true}, {Subscribes: commonTopics(1)}} {
			took, err := b.atOnceOf(n, o)
			if err != nil {
				return err
			}
			cells = append(cells, took)
		}
		row(cells...)
	}
	return nil
}

func (b *bench) atOnceOf(n int, o order) (time.Duration, error) {
	folder, remove, err := b.fresh()
	if err != nil {
		return 0, err
	}
	defer remove()
	var all []*worker
	defer func() { killAll(all) }()
	for range (n + perProcess - 1) / perProcess {
		w, err := start()
		if err != nil {
			return 0, err
		}
		all = append(all, w)
		if _, err := w.do(order{}); err != nil {
			return 0, err
		}
	}
	begun := time.Now()
	for i, w := range all {
		o.Folder, o.Participants = folder, min(perProcess, n-i*perProcess)
		if err := w.tell(o); err != nil {
			return 0, err
		}
	}
	for _, w := range all {
		if _, err := w.hear(); err != nil {
			return 0, err
		}
	}
	return time.Since(begun), nil
}

// dead: so many participants were killed before anybody else was there.
func (b *bench) dead() error {
	table("Open, after so many participants were killed at once, ms; and what they have left then",
		"participants", "topics", "Open", "sockets left", "folders of topics left")
	for _, n := range b.counts {
		for _, o := range []order{{Alone: true}, {Subscribes: commonTopics(10)}} {
			if n == 0 {
				continue
			}
			if err := b.deadOf(n, o); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) deadOf(n int, o order) error {
	folder, remove, err := b.fresh()
	if err != nil {
		return err
	}
	defer remove()
	o.Folder = folder
	all, err := crowd(n, o)
	if err != nil {
		return err
	}
	topics, _ := filepath.Glob(filepath.Join(folder, "joins.domain", "ports", "*"))
	killAll(all)
	begun := time.Now()
	d, err := memlane.Open("joins", &memlane.Config{Folder: folder})
	if err != nil {
		return err
	}
	took := time.Since(begun)
	left := [2]int{}
	for i, in := range []string{"sockets", "ports"} {
		entries, err := os.ReadDir(filepath.Join(d.Folder(), in))
		if err != nil {
			return err
		}
		left[i] = len(entries)
	}
	row(n, len(topics), took, left[0]-1, left[1])
	return d.Close()
}

// died: of those that are there one is killed, with a topic that all have in common.
func (b *bench) died() error {
	table("The one is killed whose topic all subscribe to, who have a topic of their own each too; processor time of all others for that, what is left of it then, and Open by the next one, ms",
		"participants", "topics in the domain", "processor time", "sockets left", "Open")
	return b.each(b.diedOf)
}

func (b *bench) diedOf(n int) error {
	folder, remove, err := b.fresh()
	if err != nil {
		return err
	}
	defer remove()
	victim, err := crowd(1, order{Folder: folder, Publishes: commonTopics(1)})
	if err != nil {
		return err
	}
	defer killAll(victim)
	all, err := crowd(n, order{Folder: folder, Subscribes: commonTopics(1), Alone: true})
	if err != nil {
		return err
	}
	defer killAll(all)
	for range 2 { // what is begun has ended, of all
		for _, w := range all {
			if _, err := w.do(order{}); err != nil {
				return err
			}
		}
	}
	before := processorTime(all)
	victim[0].kill()
	// Until nobody does anything any more.
	used := processorTime(all)
	for rest := time.Now(); time.Since(rest) < time.Second; time.Sleep(100 * time.Millisecond) {
		if now := processorTime(all); now > used {
			used, rest = now, time.Now()
		}
	}
	sockets, err := os.ReadDir(filepath.Join(folder, "joins.domain", "sockets"))
	if err != nil {
		return err
	}
	begun := time.Now()
	d, err := memlane.Open("joins", &memlane.Config{Folder: folder})
	if err != nil {
		return err
	}
	took := time.Since(begun)
	row(n, n+1, used-before, len(sockets)-n, took)
	return d.Close()
}

// processorTime returns what the processes have used.
func processorTime(all []*worker) (sum time.Duration) {
	for _, w := range all {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.cmd.Process.Pid))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		var user, system int
		fmt.Sscan(fields[11], &user)
		fmt.Sscan(fields[12], &system)
		sum += time.Duration(user+system) * 10 * time.Millisecond
	}
	return sum
}

// mesh: so many participants each publish a topic and subscribe to it.
func (b *bench) mesh() error {
	table("All participants publish one topic and subscribe to it: a connection for each two; of one process with 10 participants",
		"participants", "until all are there, ms", "connections of each participant", "descriptors of a participant", "mappings of it", "MiB resident of it")
	for _, n := range b.counts {
		if n == 0 {
			continue
		}
		if err := b.meshOf(min(n, 200)); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) meshOf(n int) error {
	folder, remove, err := b.fresh()
	if err != nil {
		return err
	}
	defer remove()
	var all []*worker
	defer func() { killAll(all) }()
	var before answer
	for range n / 10 {
		w, err := start()
		if err != nil {
			return err
		}
		all = append(all, w)
		if before, err = w.do(order{}); err != nil {
			return err
		}
	}
	begun := time.Now()
	for _, w := range all {
		if err := w.tell(order{Folder: folder, Participants: 10, Publishes: commonTopics(1), Subscribes: commonTopics(1)}); err != nil {
			return err
		}
	}
	for _, w := range all {
		if _, err := w.hear(); err != nil {
			return err
		}
	}
	took := time.Since(begun)
	after, err := all[0].do(order{})
	if err != nil {
		return err
	}
	more := after.less(before)
	row(n, took, n-1, more.Descriptors/10, more.Mappings/10, fmt.Sprintf("%.1f", float64(more.Resident)/(1<<20)/10))
	return nil
}
