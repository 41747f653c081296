package pubsub_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/internal/hostile"
	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/internal/memory"
	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/pubsub"
)

// endWithTest ends the process when the test does, however that ends.
func endWithTest() {
	io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}

// scribbling returns a process that means harm. Args: the folder, a seed.
func scribbling(harm func(folder, topic string, seed uint64) error) func(args []string) error {
	return func(args []string) error {
		seed, _ := strconv.ParseUint(args[1], 10, 64)
		go endWithTest()
		folder, err := memlane.DomainFolder("test", &memlane.Config{Folder: args[0]})
		if err != nil {
			return err
		}
		fmt.Println("scribbling")
		return harm(folder, "numbers", seed)
	}
}

// A subscriber writes what it likes into its own memory. The publisher goes on, and
// another subscriber gets everything.
func TestScribblingSubscriber(t *testing.T) {
	folder := t.TempDir()
	d := open(t, folder)
	p, err := pubsub.Publish(d, "numbers", &pubsub.PublisherConfig{Policy: pubsub.Block, ArenaLimit: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	good := proctest.Start(t, nil, "subscribe", folder, "receive", "may not")
	good.Line()
	for seed := range 3 {
		proctest.Start(t, nil, "scribbling subscriber", folder, strconv.Itoa(seed)).Line()
	}
	ctx, cancel := context.WithTimeout(background, 2*time.Second)
	defer cancel()
	var i uint64
	for ctx.Err() == nil {
		// A subscriber that says that it has read nothing is waited for; it asked
		// for that right, and this topic grants it, until it is evicted or gone.
		err := p.Publish(ctx, message(i, size(i)%5000))
		if errors.Is(err, pubsub.ErrArenaFull) {
			continue // it says that it holds everything, of what is its share
		}
		if err != nil {
			break
		}
		i++
	}
	if i < 1000 {
		t.Errorf("only %d messages in 2 s", i)
	}
	if err := p.Publish(background, message(last, 8)); err != nil {
		t.Fatal(err)
	}
	if got, want := good.Line(), fmt.Sprintf("all %d lost 0", i); got != want {
		t.Errorf("got %q; want %q", got, want)
	}
}

// A publisher writes what it likes into its own memory. Its subscriber gets errors
// that say so, or messages that nobody knows; it goes on, and gets everything of
// another publisher.
func TestScribblingPublisher(t *testing.T) {
	folder := t.TempDir()
	d := open(t, folder)
	s, err := pubsub.Subscribe(d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range 3 {
		proctest.Start(t, nil, "scribbling publisher", folder, strconv.Itoa(1000*seed)).Line()
	}
	p, err := pubsub.Publish(d, "numbers", &pubsub.PublisherConfig{Policy: pubsub.Block})
	if err != nil {
		t.Fatal(err)
	}
	enough, stop := context.WithCancel(background)
	defer stop()
	done := make(chan error)
	go func() {
		for i := uint64(0); enough.Err() == nil; i++ {
			if err := p.Publish(background, message(i, 40)); err != nil {
				done <- err
				return
			}
		}
		done <- p.Publish(background, message(last, 8))
	}()
	var next uint64
	errs := map[string]int{}
	for until := time.Now().Add(20 * time.Second); ; {
		if errs["corrupt"] >= 20 && errs["nonsense"] >= 3 && next >= 1000 || time.Now().After(until) {
			stop()
		}
		m, err := s.Receive(background)
		var lagged *pubsub.LaggedError
		switch {
		case errors.Is(err, pubsub.ErrCorrupt):
			errs["corrupt"]++
		case errors.As(err, &lagged):
			errs["lagged"]++
		case err != nil:
			t.Fatal(err)
		default:
			switch i, err := number(m.Data); {
			case err == nil && i == last && m.Sequence == next:
				if err := <-done; err != nil {
					t.Error(err)
				}
				if t.Log(next, errs); errs["corrupt"] == 0 || errs["nonsense"] == 0 || next < 1000 {
					t.Error("nobody has scribbled")
				}
				return
			case err != nil || i != next || m.Sequence != next || len(m.Data) != 40:
				errs["nonsense"]++ // of one of the others
			default:
				next++
			}
		}
	}
}

// Memory that is not what it has to be is refused when it comes.
func TestHostileMemory(t *testing.T) {
	folder := t.TempDir()
	d := open(t, folder)
	p, err := pubsub.Publish(d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	good, err := pubsub.Subscribe(d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	file := func(size int64) *os.File {
		f, err := os.CreateTemp(folder, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	small, err := memory.Create("small", 4096)
	if err != nil {
		t.Fatal(err)
	}
	large, err := memory.Create("large", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for name, send := range map[string]func(r *meet.Remote) error{
		"a file":             func(r *meet.Remote) error { return r.Send(1, hostile.Link(0), file(64<<10)) },
		"too large":          func(r *meet.Remote) error { return r.Send(1, hostile.Link(0), large.File()) },
		"beyond its end":     func(r *meet.Remote) error { return r.Send(1, hostile.Link(4096), small.File()) },
		"far beyond its end": func(r *meet.Remote) error { return r.Send(1, hostile.Link(1<<32-128), small.File()) },
		"not aligned":        func(r *meet.Remote) error { return r.Send(1, hostile.Link(4), small.File()) },
		"no file":            func(r *meet.Remote) error { return r.Send(1, hostile.Link(0)) },
		"a short link":       func(r *meet.Remote) error { return r.Send(1, hostile.Link(0)[:9], small.File()) },
		"another type":       func(r *meet.Remote) error { return r.Send(77, nil) },
		"what we say":        func(r *meet.Remote) error { return r.Send(2, make([]byte, 40), small.File()) },
		"twice": func(r *meet.Remote) error {
			return errors.Join(r.Send(1, hostile.Link(0), small.File()), r.Send(1, hostile.Link(0), small.File()))
		},
	} {
		h, err := hostile.Join(d.Folder(), "numbers", meet.Subscriber)
		if err != nil {
			t.Fatal(err)
		}
		if err := send(<-h.Found); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		select {
		case <-h.Lost:
		case <-time.After(10 * time.Second):
			t.Errorf("%s: it was not dropped", name)
		}
		h.Node.Close()
	}
	if err := p.Publish(background, message(1, 8)); err != nil {
		t.Fatal(err)
	}
	if m, err := good.Receive(background); err != nil || m.Sequence != 0 {
		t.Error(err)
	}
}

// What a subscriber says of the messages that it wants can be anything. It is refused, or
// dropped if it is not what was announced; the publisher goes on.
func TestHostileFormat(t *testing.T) {
	folder := t.TempDir()
	d := open(t, folder)
	p, err := pubsub.PublishOf[versionOne](d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	good, err := pubsub.SubscribeOf[versionOne](d, "numbers", nil)
	if err != nil {
		t.Fatal(err)
	}
	text := func(s string) *os.File {
		m, err := memory.Create("text", len(s))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		copy(m.Region().Bytes(0, len(s)), s)
		return m.File()
	}
	unsealed, err := os.CreateTemp(folder, "")
	if err != nil {
		t.Fatal(err)
	}
	defer unsealed.Close()
	if _, err := unsealed.WriteString(`"u8"`); err != nil {
		t.Fatal(err)
	}
	large := "\"u8\"" + strings.Repeat(" ", 1<<16)
	const schema, contentType = 1, 2
	for name, c := range map[string]struct {
		kind    byte
		hash    string // of this
		text    *os.File
		refused bool // and not dropped
	}{
		"another":         {schema, `"u8"`, text(`"u8"`), true},
		"none":            {schema, `"u8"`, nil, true},
		"nonsense":        {schema, "\xff[", text("\xff["), true},
		"a content type":  {contentType, "text/csv", text("text/csv"), true},
		"escapes":         {contentType, "\x1b[2J", text("\x1b[2J"), true},
		"of another hash": {schema, `"u8"`, text(`"u16"`), false},
		"a file":          {schema, `"u8"`, unsealed, false},
		"too large":       {schema, large, text(large), false},
		"of no kind":      {3, `"u8"`, text(`"u8"`), false},
		"of nothing":      {0, `"u8"`, text(`"u8"`), false},
	} {
		n, err := meet.Open(d.Folder(), nil)
		if err != nil {
			t.Fatal(err)
		}
		hash := sha256.Sum256([]byte(c.hash))
		h, err := hostile.JoinWith(n, "numbers", meet.Subscriber, hostile.Settings(c.kind, hash[:]))
		if err != nil {
			t.Fatal(err)
		}
		control, err := memory.Create("control", 4096)
		if err != nil {
			t.Fatal(err)
		}
		files := []*os.File{control.File()}
		if c.text != nil {
			files = append(files, c.text)
		}
		if err := (<-h.Found).Send(1, hostile.Link(0), files...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		select {
		case message := <-h.Message:
			if !c.refused || message != 4 {
				t.Errorf("%s: it gets message %d", name, message)
			}
		case <-h.Lost:
			if c.refused {
				t.Errorf("%s: it was dropped", name)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: nothing comes of it", name)
		}
		h.Node.Close()
		control.Close()
	}
	if err := p.Publish(background, &versionOne{1}); err != nil {
		t.Fatal(err)
	}
	if m, err := good.Receive(background); err != nil || m.Value.Amount != 1 {
		t.Error(m, err)
	}
}
