package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
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
	r := &run{kills: 200, workers: 5, mutants: mutants[:1], seed: 1, dir: dir, file: filepath.Join(t.TempDir(), "PROOF.md"), started: "now", commit: "this", kernel: "here"}
	if err := r.all(context.Background()); err != nil {
		t.Fatal(err)
	}
	if s := r.sum; s.kills < r.kills || s.caught != 1 || s.stops == 0 || s.sections == 0 || s.deaths == 0 || s.guarded == 0 || s.posted == 0 || s.set == 0 || s.names == 0 {
		t.Errorf("not everything was done: %+v", s)
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
				got = append(got, err.(*broken).kind)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %q; want %q", what, got, tc.want)
		}
	}
}
