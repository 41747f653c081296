package ring_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/memlane/memlane/internal/ring"
)

// One way between two threads of one process; "memlane bench" measures processes.
func BenchmarkOneWay(b *testing.B) {
	for _, c := range []struct {
		name        string
		size, batch int
		policy      ring.Policy
	}{
		{"48 B", 48, 1, ring.Block}, {"48 B drop", 48, 1, ring.DropOldest}, {"64 B", 64, 1, ring.Block},
		{"64 B by 16", 64, 16, ring.Block}, {"64 B by 64", 64, 64, ring.Block}, {"1 KiB", 1024, 1, ring.Block},
	} {
		b.Run(c.name, func(b *testing.B) {
			tp := newTopic(b, ring.Config{Slots: 1024, SlotBytes: 64, ArenaBytes: 128 << 10, ArenaLimit: 1 << 28, Policy: c.policy})
			r := tp.join(0, true)
			done := make(chan uint64)
			go func() {
				buf := make([]byte, 0, 4096)
				var sum, n uint64
				for n < uint64(b.N) {
					m, sequence, err := r.Next(buf)
					if err != nil {
						if _, ok := err.(*ring.LaggedError); err != ring.ErrEmpty && !ok {
							panic(err)
						}
						continue
					}
					for len(m) >= 8 {
						sum += binary.LittleEndian.Uint64(m)
						m = m[8:]
					}
					n = sequence + 1
				}
				done <- sum
			}()
			m := make([]byte, c.size)
			batch := make([][]byte, c.batch)
			for i := range batch {
				batch[i] = m
			}
			b.ResetTimer()
			for i := 0; i < b.N; i += c.batch {
				m[0] = byte(i)
				if err := tp.w.PublishBatch(context.Background(), batch); err != nil {
					b.Fatal(err)
				}
			}
			<-done
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "M/s")
		})
	}
}

// What a message costs in instructions: both sides in turn, in one goroutine, so that
// no cache line travels.
func BenchmarkInTurn(b *testing.B) {
	for _, size := range []int{8, 48, 64, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			tp := newTopic(b, ring.Config{Slots: 1024, SlotBytes: 64, ArenaBytes: 128 << 10, ArenaLimit: 1 << 28, Policy: ring.Block})
			r := tp.join(0, true)
			m := make([]byte, size)
			buf := make([]byte, 0, size)
			b.Run("publish", func(b *testing.B) {
				for i := range b.N {
					if err := tp.w.Publish(context.Background(), m); err != nil {
						b.Fatal(err)
					}
					if i%64 == 63 {
						b.StopTimer()
						for range 64 {
							if _, _, err := r.Next(buf); err != nil {
								b.Fatal(err)
							}
						}
						b.StartTimer()
					}
				}
			})
			b.Run("both", func(b *testing.B) {
				for range b.N {
					if err := tp.w.Publish(context.Background(), m); err != nil {
						b.Fatal(err)
					}
					if _, _, err := r.Next(buf); err != nil && err != ring.ErrEmpty {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// The same for batches of 16.
func BenchmarkBatchInTurn(b *testing.B) {
	tp := newTopic(b, ring.Config{Slots: 1024, SlotBytes: 64, ArenaBytes: 128 << 10, ArenaLimit: 1 << 28, Policy: ring.Block})
	r := tp.join(0, true)
	var batch [][]byte
	for range 16 {
		batch = append(batch, make([]byte, 64))
	}
	buf := make([]byte, 0, 64)
	var publishing, receiving time.Duration
	for range b.N / 16 {
		begun := time.Now()
		if err := tp.w.PublishBatch(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
		between := time.Now()
		for range 16 {
			if _, _, err := r.Next(buf); err != nil {
				b.Fatal(err)
			}
		}
		publishing += between.Sub(begun)
		receiving += time.Since(between)
	}
	b.ReportMetric(float64(publishing)/float64(b.N), "ns/published")
	b.ReportMetric(float64(receiving)/float64(b.N), "ns/received")
}
