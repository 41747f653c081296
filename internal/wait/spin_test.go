package wait

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/memlane/memlane/internal/proctest"
	"github.com/memlane/memlane/internal/word"
)

// budget prints whether this process spins.
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
	var w word.Uint32
	w.Store(7)
	if spinBudget() > 0 && !spin(&w, 6) {
		t.Error("a word that is another already is not seen to be")
	}
	if spin(&w, 7) {
		t.Error("a word that nobody changes is seen to change")
	}
	if n := spinning.Load(); n != 0 {
		t.Errorf("%d goroutines are counted as spinning", n)
	}
	if n := testing.AllocsPerRun(10, func() { spin(&w, 6); spin(&w, 7) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// One processor is left for those who have something to do.
func TestSpinLeavesAProcessor(t *testing.T) {
	all := int32(runtime.GOMAXPROCS(0)) - 1
	spinning.Add(all)
	defer spinning.Add(-all)
	var w word.Uint32
	w.Store(1)
	if spin(&w, 0) {
		t.Error("spins although all other processors are taken by spinners")
	}
}

func TestSpinnerGivesUpAndTriesAgain(t *testing.T) {
	var s Spinner
	var tried strings.Builder
	for range 60 {
		if s.worthIt() {
			tried.WriteByte('s')
			s.misses.Add(1) // in vain
		} else {
			tried.WriteByte('.')
		}
	}
	want := "ssss" + strings.Repeat(".", 16) + "s" + strings.Repeat(".", 32) + "s" + "......"
	if got := tried.String(); got != want {
		t.Errorf("spins and parks: %s\nwant              %s", got, want)
	}
	for range 100_000 {
		if s.worthIt() {
			s.misses.Add(1)
		}
	}
	waits := 0
	for !s.worthIt() {
		waits++
	}
	if waits > retryMost {
		t.Errorf("does not spin for %d waits; want at most %d", waits, retryMost)
	}
}

// change waits until the word is not seen, and returns what it is.
func change(ctx context.Context, s *Spinner, w *word.Uint32, seen uint32) (uint32, error) {
	for now := w.Load(); ; now = w.Load() {
		if now != seen {
			return now, nil
		}
		if s.Spin(w, seen) {
			continue
		}
		if err := Park(ctx, w, seen, nil, 0); err != nil {
			return now, err
		}
	}
}

func TestSpinnerThenPark(t *testing.T) {
	var w word.Uint32
	var s Spinner
	for i := range uint32(500) {
		go func() {
			if i%2 == 0 {
				runtime.Gosched()
			}
			w.Store(i + 1)
			Wake(&w, All)
		}()
		now, err := change(background, &s, &w, i)
		if err != nil || now != i+1 {
			t.Fatalf("got %d, %v; want %d", now, err, i+1)
		}
	}
	ctx, cancel := context.WithCancel(background)
	go cancel()
	if _, err := change(ctx, &s, &w, 500); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func BenchmarkSpinnerHandOff(b *testing.B) {
	var w [2]word.Uint32
	go func() {
		var s Spinner
		for i := range uint32(b.N) {
			change(background, &s, &w[0], i)
			w[1].Store(i + 1)
			Wake(&w[1], 1)
		}
	}()
	var s Spinner
	b.ReportAllocs()
	for i := range uint32(b.N) {
		w[0].Store(i + 1)
		Wake(&w[0], 1)
		change(background, &s, &w[1], i)
	}
}
