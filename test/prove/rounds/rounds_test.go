package rounds

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A worker of these tests announces itself, and then lives, or does not.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[0] == "rounds" {
		Announce(7)
		if os.Args[1] == "lives" {
			time.Sleep(time.Hour)
		}
		fmt.Fprintln(os.Stderr, "many words before the last words")
		os.Exit(len(os.Args[1]) - len("well"))
	}
	os.Exit(m.Run())
}

// A worker has ended as it must if it was killed by order or has ended well, and has
// not told of anything broken.
func TestVerdict(t *testing.T) {
	place, err := NewPlace(t.TempDir(), 0, int64(len("last words\n")))
	if err != nil {
		t.Fatal(err)
	}
	defer place.Close()
	for what, tc := range map[string]struct {
		does string
		end  func(*Process)
		told *Broken
		want string
	}{
		"ends well":             {"well", func(*Process) {}, nil, ""},
		"fails":                 {"badly", func(*Process) {}, nil, Unexpected + ": worker 7 ended: exit status 1: last words"},
		"is killed":             {"lives", (*Process).Kill, nil, ""},
		"is killed by somebody": {"lives", func(p *Process) { p.Signal(syscall.SIGKILL) }, nil, "signal: killed"},
		"tells":                 {"lives", (*Process).Kill, Breaks("kind", "text %d", 1), "kind: text 1"},
		"ends otherwise":        {"lives", func(p *Process) { p.Order(); p.Signal(syscall.SIGTERM) }, nil, "signal: terminated"},
	} {
		after := false
		p, err := place.Start(Start{Incarnation: 7, What: "worker", Args: []string{"rounds", tc.does}, After: func() { after = true }})
		if err != nil {
			t.Fatal(err)
		}
		p.Await(t.Context())
		tc.end(p)
		<-p.Ended
		if err := p.Verdict(tc.told); (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("who %s: %v; want %q", what, err, tc.want)
		}
		if !after {
			t.Errorf("who %s: it has ended, and nothing was called", what)
		}
	}
}

// What is entered is there for whoever opens the ledger, and a report is what was
// told, its text cut where it is too long.
func TestLedger(t *testing.T) {
	type header struct{ stage atomic.Uint64 }
	type entry struct {
		steps atomic.Uint64
		Report
	}
	folder := t.TempDir()
	written, err := Create[header, entry](folder, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer written.Close()
	read, err := Open[header, entry](folder)
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	written.Header.stage.Store(5)
	written.Entries[2].steps.Store(6)
	written.Entries[0].Tell(errors.New("not of the kind"))
	written.Entries[1].Tell(fmt.Errorf("worker: %w", Breaks("kind", "text")))
	written.Entries[2].Tell(Breaks("kind", "%1000d", 1))
	if len(read.Entries) != 3 || read.Header.stage.Load() != 5 || read.Entries[2].steps.Load() != 6 {
		t.Errorf("%d entries, stage %d, %d steps", len(read.Entries), read.Header.stage.Load(), read.Entries[2].steps.Load())
	}
	if b := read.Entries[0].Broken(); b != nil {
		t.Errorf("nothing was broken, and %v is told", b)
	}
	if b := read.Entries[1].Broken(); b == nil || *b != (Broken{"kind", "text"}) {
		t.Errorf("%v is told", b)
	}
	if b := read.Entries[2].Broken(); b == nil || b.Kind != "kind" || len(b.Text) != 512-len("kind\t") {
		t.Errorf("%v is told", b)
	}
}

// An error of watch ends a round, and comes before what came of it.
func TestWatchComesFirst(t *testing.T) {
	seen := errors.New("seen")
	err := Storm(t.Context(), []int{1, 2}, func(ctx context.Context, _ int) error {
		<-ctx.Done()
		return errors.New("came of it")
	}, func(context.Context) error { return errors.New("went on") }, func() error { return seen })
	if err != seen {
		t.Error(err)
	}
}

// fake is a round that ends with an error.
type fake struct {
	Order
	err error
}

func (f *fake) Run(context.Context) error { return f.err }
func (f *fake) Found() (int, []uint64)    { return f.Kills, []uint64{1, 2} }
func (f *fake) Discard() error            { return nil }
func (f *fake) String() string            { return "a fake" }

// A campaign ends well only if every mutant was caught for the right reason and
// nothing was broken; what it has found is in its record in any case.
func TestCampaign(t *testing.T) {
	broken, wrong, other := Breaks("broken", "text"), Breaks("wrong", "text"), errors.New("no memory")
	for what, tc := range map[string]struct {
		mutant, round         error
		want                  string
		killed, broken, stuck int
		caught                int
	}{
		"all is well":             {broken, nil, "", 25, 0, 0, 1},
		"not caught":              {nil, nil, "was not caught", 0, 0, 0, 0},
		"caught for wrong reason": {wrong, nil, "was not caught", 0, 0, 0, 0},
		"mutant fails":            {other, nil, "was not caught", 0, 0, 0, 0},
		"broken":                  {broken, wrong, "in 25 kills 3 things were broken, and 0 times", 25, 3, 0, 1},
		"stuck":                   {broken, Breaks(Stuck, "text"), "in 25 kills 0 things were broken, and 3 times", 25, 0, 3, 1},
		"fails":                   {broken, other, "no memory", 10, 0, 0, 1},
	} {
		file := filepath.Join(t.TempDir(), "PROOF.md")
		c := &Campaign{
			Name: "rounds", Promises: "things", Columns: []string{"ones", "twos"},
			Mutants: []Mutant{{Name: "m", Kinds: []string{"none", "broken"}}}, KillsPerRound: 10, KillsPerMutant: 5,
			Kills: 25, Seed: 1, Dir: t.TempDir(), File: file,
		}
		c.Make = func(o Order) (Round, error) {
			if o.Mutant != "" {
				return &fake{o, tc.mutant}, nil
			}
			return &fake{o, tc.round}, nil
		}
		err := c.All(t.Context())
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v; want %q", what, err, tc.want)
		}
		got, want := []int{c.Killed, c.Broken, c.Stuck, c.Tried, c.Caught}, []int{tc.killed, tc.broken, tc.stuck, 1, tc.caught}
		if !slices.Equal(got, want) {
			t.Errorf("%s: killed, broken, stuck, tried and caught are %d; want %d", what, got, want)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		n := (tc.killed + 9) / 10
		row := fmt.Sprintf("| 1 | %d | %d | %d | %d | %d | 1 | %d |\n", tc.killed, n, 2*n, tc.broken, tc.stuck, tc.caught)
		head := "| seed | kills | ones | twos | broken | stuck | mutants | caught |\n"
		if !strings.Contains(string(text), row) || !strings.Contains(string(text), head) {
			t.Errorf("%s: %s\nwant %s%s", what, text, head, row)
		}
	}
}

// After ten broken rounds a run gives up.
func TestCampaignGivesUp(t *testing.T) {
	c := &Campaign{Name: "rounds", Promises: "things", KillsPerRound: 1, Kills: 1000, Seed: 1, Dir: t.TempDir()}
	c.Columns = []string{"ones", "twos"}
	c.Make = func(o Order) (Round, error) { return &fake{o, Breaks("broken", "text")}, nil }
	if err := c.All(t.Context()); err == nil || c.Broken != maxBroken {
		t.Errorf("%v after %d broken rounds", err, c.Broken)
	}
}
