package pubsub_test

import (
	"testing"

	"github.com/memlane/memlane"
	"github.com/memlane/memlane/pubsub"
)

// turns are a publisher and its one subscriber, both of this goroutine: what they do is
// measured without the way of a cache line between two processors, which
// memlane bench measures.
func turns(b *testing.B) (*pubsub.Publisher, *pubsub.Subscriber) {
	b.Helper()
	d, err := memlane.Open("bench", &memlane.Config{Folder: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.Close() })
	p, err := pubsub.Publish(d, "t", nil)
	if err != nil {
		b.Fatal(err)
	}
	s, err := pubsub.Subscribe(d, "t", nil)
	if err != nil {
		b.Fatal(err)
	}
	return p, s
}

func BenchmarkInTurn(b *testing.B) {
	p, s := turns(b)
	m := make([]byte, 40)
	for b.Loop() {
		if err := p.Publish(background, m); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Receive(background); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBatchInTurn(b *testing.B) {
	p, s := turns(b)
	batch := make([][]byte, 64)
	for i := range batch {
		batch[i] = make([]byte, 64)
	}
	for b.Loop() {
		if err := p.PublishBatch(background, batch); err != nil {
			b.Fatal(err)
		}
		for range batch {
			if _, err := s.Receive(background); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(batch)), "ns/message")
}

func BenchmarkLoanInTurn(b *testing.B) {
	p, s := turns(b)
	for b.Loop() {
		l, err := p.Loan(background, 1024)
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Publish(background, 1024); err != nil {
			b.Fatal(err)
		}
		m, err := s.Borrow(background)
		if err != nil {
			b.Fatal(err)
		}
		m.Release()
	}
}
