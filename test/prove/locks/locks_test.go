package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/memlane/memlane/test/prove/rounds"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && asked(os.Args[1:]) {
		return
	}
	os.Exit(m.Run())
}

// A short piece of the campaign: one mistake is noticed, and without it nothing is.
func TestKills(t *testing.T) {
	dir := "/dev/shm"
	if _, err := os.Stat(dir); err != nil {
		dir = t.TempDir()
	}
	c := campaign(new(5))
	c.Kills, c.Mutants, c.Seed, c.Dir, c.File = 200, mutants[:1], 1, dir, filepath.Join(t.TempDir(), "PROOF.md")
	if err := c.All(context.Background()); err != nil {
		t.Fatal(err)
	}
	if c.Killed < c.Kills || c.Caught != 1 {
		t.Errorf("%d kills, %d mutants caught; want %d and 1", c.Killed, c.Caught, c.Kills)
	}
	for i, what := range c.Columns {
		if c.Figures[i] == 0 && slices.Contains([]string{"stops", "sections", "owners died", "guarded", "posted", "set", "names"}, what) {
			t.Errorf("no %s", what)
		}
	}
}

// Whatever can be left wrong in the segment is seen, each in its own kind.
func TestJudge(t *testing.T) {
	good := sums{sections: span{100, 103}, posts: span{50, 52}, takes: span{40, 41}, sets: span{10, 11}, rings: span{20, 22}, answers: span{15, 15}}
	fine := left{a: 101, permits: 10, set: 10, rung: 21, guardTaken: permits, guardPosted: permits}
	for what, tc := range map[string]struct {
		change func(s *sums, l *left)
		want   []string
	}{
		"nothing":                  {func(*sums, *left) {}, nil},
		"least":                    {func(_ *sums, l *left) { l.a, l.permits, l.rung = 100, 9, 20 }, nil},
		"most":                     {func(_ *sums, l *left) { l.a, l.permits, l.set, l.rung = 103, 12, 11, 22 }, nil},
		"section lost":             {func(_ *sums, l *left) { l.a = 99 }, []string{sectionLost}},
		"section made up":          {func(_ *sums, l *left) { l.a = 104 }, []string{sectionMadeUp}},
		"permit cannot be had":     {func(_ *sums, l *left) { l.guardTaken-- }, []string{permitLost}},
		"one permit more":          {func(_ *sums, l *left) { l.guardTaken++ }, []string{permitMadeUp}},
		"permit gone on release":   {func(_ *sums, l *left) { l.guardPosted-- }, []string{permitLost}},
		"permit more on release":   {func(_ *sums, l *left) { l.guardPosted++ }, []string{permitMadeUp}},
		"post lost":                {func(_ *sums, l *left) { l.permits = 8 }, []string{signalLost}},
		"post made up":             {func(_ *sums, l *left) { l.permits = 13 }, []string{signalMadeUp}},
		"set lost":                 {func(_ *sums, l *left) { l.set = 9 }, []string{eventLost}},
		"set made up":              {func(_ *sums, l *left) { l.set = 12 }, []string{eventMadeUp}},
		"ring lost":                {func(_ *sums, l *left) { l.rung = 19 }, []string{eventLost}},
		"ring made up":             {func(_ *sums, l *left) { l.rung = 23 }, []string{eventMadeUp}},
		"every ring taken":         {func(s *sums, _ *left) { s.answers = span{21, 21} }, nil},
		"ring taken and still set": {func(s *sums, l *left) { s.answers, l.isRung = span{21, 21}, true }, []string{eventMadeUp}},
		"two at once":              {func(_ *sums, l *left) { l.a, l.set = 99, 12 }, []string{sectionLost, eventMadeUp}},
	} {
		s, l := good, fine
		tc.change(&s, &l)
		var got []string
		if err := judge(s, l); err != nil {
			for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
				got = append(got, err.(*rounds.Broken).Kind)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q; want %q", what, got, tc.want)
		}
	}
}
