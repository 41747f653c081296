package pubsub_test

import "testing"

// Both sides are of one goroutine here: what they do is measured without the way of a
// cache line between two processors, which memlane bench measures.

func BenchmarkInTurn(b *testing.B) {
	p, s := pair(b, nil, nil)
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
	p, s := pair(b, nil, nil)
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
	p, s := pair(b, nil, nil)
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
