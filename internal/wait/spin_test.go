package wait

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/memlane/memlane/internal/proctest"
)

// budget prints what this process spins.
func budget([]string) error {
	fmt.Println(spinBudget() > 0)
	return nil
}

func TestSpinBudget(t *testing.T) {
	if got := proctest.Run(t, &proctest.Config{Env: []string{"GOMAXPROCS=1"}}, "budget"); got != "false" {
		t.Errorf("with one processor: spins %s", got)
	}
	if runtime.NumCPU() < 2 {
		t.Skip("needs two processors for the rest")
	}
	if b := spinBudget(); b < spinLeast || b > spinMost {
		t.Errorf("the budget is %v; want %v to %v", b, spinLeast, spinMost)
	}
	t.Logf("a wake takes %v, the budget is %v", wakeTime(), spinBudget())
}

func TestSpinSeesAChange(t *testing.T) {
	var word atomic.Uint32
	word.Store(7)
	if now, ok := spin(&word, 6); spinBudget() > 0 && (!ok || now != 7) {
		t.Errorf("got %d, %v for a word that is another already", now, ok)
	}
	if now, ok := spin(&word, 7); ok || now != 7 {
		t.Errorf("got %d, %v for a word that nobody changes", now, ok)
	}
	if n := spinning.Load(); n != 0 {
		t.Errorf("%d goroutines are counted as spinning", n)
	}
	if n := testing.AllocsPerRun(10, func() { spin(&word, 6); spin(&word, 7) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// One processor is left for those who have something to do.
func TestSpinLeavesAProcessor(t *testing.T) {
	all := int32(runtime.GOMAXPROCS(0)) - 1
	spinning.Add(all)
	defer spinning.Add(-all)
	var word atomic.Uint32
	word.Store(1)
	if _, ok := spin(&word, 0); ok {
		t.Error("spins although all other processors are taken by spinners")
	}
}

func TestSpinnerGivesUpAndTriesAgain(t *testing.T) {
	var s Spinner
	tried := ""
	for range missesAllowed + 2*(retryEvery+1) + 1 {
		if s.worthIt() {
			tried += "s"
			s.misses++ // in vain
		} else {
			tried += "."
		}
	}
	want := "ssss"
	for range 2 {
		want += "................"
		want += "s"
	}
	if tried[:len(want)] != want {
		t.Errorf("spins and parks: %s\nwant              %s", tried, want)
	}
}

func TestSpinnerChange(t *testing.T) {
	var word atomic.Uint32
	var s Spinner
	for i := range uint32(500) {
		go func() {
			if i%2 == 0 {
				runtime.Gosched()
			}
			word.Store(i + 1)
			Wake(&word, All)
		}()
		now, err := s.Change(background, &word, i)
		if err != nil || now != i+1 {
			t.Fatalf("got %d, %v; want %d", now, err, i+1)
		}
	}
	ctx, cancel := context.WithCancel(background)
	go cancel()
	if _, err := s.Change(ctx, &word, 500); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func BenchmarkSpinnerHandOff(b *testing.B) {
	var w [2]atomic.Uint32
	go func() {
		var s Spinner
		for i := range uint32(b.N) {
			s.Change(background, &w[0], i)
			w[1].Store(i + 1)
			Wake(&w[1], 1)
		}
	}()
	var s Spinner
	b.ReportAllocs()
	for i := range uint32(b.N) {
		w[0].Store(i + 1)
		Wake(&w[0], 1)
		s.Change(background, &w[1], i)
	}
}
