package logtopic_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/memlane/memlane/logtopic"
	"github.com/memlane/memlane/pubsub"
)

// five are the attributes of an ordinary record.
var five = []slog.Attr{
	slog.String("method", "GET"),
	slog.String("path", "/orders/17?full=1"),
	slog.Int("status", 200),
	slog.Duration("took", 1234*time.Microsecond),
	slog.Bool("cached", true),
}

func handler(t testing.TB, c *logtopic.Config) *logtopic.Handler {
	t.Helper()
	h, err := logtopic.NewHandler(open(t, t.TempDir()), "logs", c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// BenchmarkHandler compares handlers: what a record with five attributes takes.
func BenchmarkHandler(b *testing.B) {
	file, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	for _, h := range []struct {
		name string
		slog.Handler
	}{
		{"topic", handler(b, nil)},
		{"JSON discarded", slog.NewJSONHandler(io.Discard, nil)},
		{"JSON to file", slog.NewJSONHandler(file, nil)},
	} {
		r := slog.NewRecord(time.Now(), slog.LevelInfo, "request served", 0)
		r.AddAttrs(five...)
		b.Run("record/"+h.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := h.Handle(context.Background(), r); err != nil {
					b.Fatal(err)
				}
			}
		})
		// With the time, and where it was called from.
		log := slog.New(h)
		b.Run("logger/"+h.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				log.LogAttrs(context.Background(), slog.LevelInfo, "request served", five...)
			}
		})
	}
}

// BenchmarkFloor is what to publish the same bytes takes, when they are there: no format
// can be faster.
func BenchmarkFloor(b *testing.B) {
	d := open(b, b.TempDir())
	p, err := pubsub.Publish(d, "bytes", &pubsub.PublisherConfig{Slots: 4096, SlotBytes: 512})
	if err != nil {
		b.Fatal(err)
	}
	record := make([]byte, 215)
	for b.Loop() {
		if err := p.TryPublish(record); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWithReader is a record with five attributes while another goroutine receives.
func BenchmarkWithReader(b *testing.B) {
	d := open(b, b.TempDir())
	h, err := logtopic.NewHandler(d, "logs", nil)
	if err != nil {
		b.Fatal(err)
	}
	s, err := pubsub.Subscribe(d, "logs", nil)
	if err != nil {
		b.Fatal(err)
	}
	var received, lost uint64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			_, err := s.Receive(context.Background())
			var lagged *pubsub.LaggedError
			switch {
			case err == nil:
				received++
			case errors.As(err, &lagged):
				lost += lagged.Lost
			default:
				return
			}
		}
	}()
	r := slog.NewRecord(time.Now(), slog.LevelInfo, "request served", 0)
	r.AddAttrs(five...)
	for b.Loop() {
		if err := h.Handle(context.Background(), r); err != nil {
			b.Fatal(err)
		}
	}
	h.Close()
	s.Close()
	<-done
	b.ReportMetric(float64(lost)/float64(max(lost+received, 1)), "lost/op")
}
