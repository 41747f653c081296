// Package rounds is what campaigns share in whose rounds worker processes are
// killed: a conductor starts workers of the same program, kills and stops them at
// random moments, and starts new ones; they enter in a ledger what they do, and what
// was broken. A campaign says what workers do, and what must hold.
package rounds

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/memlane/memlane/test/prove"
)

// maxBroken is after how many broken rounds a run gives up.
const maxBroken = 10

// A Mutant is a mistake that the workers of a round make on purpose, and the kinds of
// judgement by which it must be noticed.
type Mutant struct {
	Name     string
	Kinds    []string
	Patience time.Duration // where it has to be waited for what never comes; 0: the usual
}

// An Order is what a round is to be.
type Order struct {
	Folder   string // of its own, which it makes and removes
	Seed     uint64
	Kills    int
	Mutant   string        // what the workers do wrong, "" for nothing
	Patience time.Duration // within which everything must go on
}

// A Round starts workers and kills them.
type Round interface {
	// Run runs the round. The error is a *Broken, or what else went wrong.
	Run(ctx context.Context) error
	// Found returns how many workers were killed, and the figures for the
	// campaign's own columns.
	Found() (kills int, figures []uint64)
	// Discard ends all workers and removes everything.
	Discard() error
	// String says which round it is.
	String() string
}

// A Campaign is one call of its program.
type Campaign struct {
	Name           string
	Promises       string   // what may be broken: a word in the plural
	Description    string   // of its table in the record of campaigns
	Size           string   // of its rounds, if they have different ones
	Columns        []string // its own figures there
	Mutants        []Mutant
	KillsPerRound  int
	KillsPerMutant int
	Patience       time.Duration              // how long anything may take
	Make           func(Order) (Round, error) // what the workers of a round need

	// What the flags say.
	Kills     int
	Seed      uint64
	Dir, File string

	// What the real rounds have found.
	Killed, Broken, Stuck int
	Figures               []uint64 // for its own columns
	// How many mutants were tried, and how many of them were caught.
	Tried, Caught int

	started, commit, kernel string
}

// Flags are those that every campaign has: for so many kills, and for a folder of
// what it makes there.
func (c *Campaign) Flags(kills int, of string) {
	flag.IntVar(&c.Kills, "kills", kills, "`number` of processes to kill")
	flag.Uint64Var(&c.Seed, "seed", 0, "`number` that all choices follow from; 0 draws one")
	flag.StringVar(&c.Dir, "dir", "/dev/shm", "`folder` for the "+of)
	flag.StringVar(&c.File, "file", "docs/PROOF.md", "Markdown `file` to add the figures to; \"\" for none")
}

// Main runs the campaign as its flags say, and returns what the program exits with: 0
// if nothing was broken, nobody was stuck and every mutant was caught; 1 if not, or if
// something else failed; 130 if it was interrupted.
func (c *Campaign) Main() int {
	c.Seed = prove.Seed(c.Seed)
	if status := prove.Run(c.Name, c.All); status != 0 {
		return status
	}
	fmt.Printf("%d kills: nothing was broken, nobody was stuck, and every mutant was caught\n", c.Killed)
	return 0
}

// All runs the mutants, then the real rounds, and leaves nothing behind.
func (c *Campaign) All(ctx context.Context) (err error) {
	c.started, c.commit, c.kernel = time.Now().UTC().Format(time.DateTime), prove.Commit(), prove.Kernel()
	dir, remove, err := prove.Workspace(c.Dir, c.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	fmt.Printf("seed %d\n", c.Seed)
	c.Figures = make([]uint64, len(c.Columns))
	defer func() { err = errors.Join(err, c.record()) }()
	rnd := rand.New(rand.NewPCG(c.Seed, 0))
	for _, m := range c.Mutants {
		if err := c.try(ctx, dir, m, rnd.Uint64()); err != nil {
			return err
		}
	}
	begun := time.Now()
	for c.Killed < c.Kills && c.Broken+c.Stuck < maxBroken {
		if err := c.round(ctx, dir, rnd.Uint64()); err != nil {
			return err
		}
		if err := c.record(); err != nil {
			return err
		}
		fmt.Printf("%d kills, %.0f a second, %d broken, %d stuck\n", c.Killed, float64(c.Killed)/time.Since(begun).Seconds(), c.Broken, c.Stuck)
	}
	if c.Broken+c.Stuck > 0 {
		return fmt.Errorf("in %d kills %d %s were broken, and %d times somebody was stuck", c.Killed, c.Broken, c.Promises, c.Stuck)
	}
	return nil
}

// round runs a real round and adds what it has found. That something was broken is
// not an error yet.
func (c *Campaign) round(ctx context.Context, dir string, seed uint64) error {
	r, err := c.Make(Order{folder(dir, seed), seed, min(c.KillsPerRound, c.Kills-c.Killed), "", c.Patience})
	if err != nil {
		return fmt.Errorf("round of seed %d: %w", seed, err)
	}
	err = r.Run(ctx)
	c.add(r, err)
	err = errors.Join(err, r.Discard())
	if b := (*Broken)(nil); errors.As(err, &b) {
		fmt.Fprintf(os.Stderr, "%s: %v: %v\n", c.Name, r, err)
	} else if err != nil {
		return fmt.Errorf("round of seed %d: %w", seed, err)
	}
	return nil
}

// add adds what one round has found.
func (c *Campaign) add(r Round, err error) {
	kills, figures := r.Found()
	c.Killed += kills
	for i, n := range figures {
		c.Figures[i] += n
	}
	if b := (*Broken)(nil); errors.As(err, &b) && b.Kind == Stuck {
		c.Stuck++
	} else if b != nil {
		c.Broken++
	}
}

// try runs a round of a mutant, which must be caught, and for the right reason.
func (c *Campaign) try(ctx context.Context, dir string, m Mutant, seed uint64) error {
	r, err := c.Make(Order{folder(dir, seed), seed, c.KillsPerMutant, m.Name, cmp.Or(m.Patience, c.Patience)})
	if err != nil {
		return err
	}
	err = errors.Join(r.Run(ctx), r.Discard())
	if ctx.Err() != nil {
		return err
	}
	c.Tried++
	if b := (*Broken)(nil); !errors.As(err, &b) || !slices.Contains(m.Kinds, b.Kind) {
		return fmt.Errorf("the mutant %q (seed %d) was not caught: want one of %q, got: %v", m.Name, seed, m.Kinds, err)
	}
	c.Caught++
	return nil
}

func folder(dir string, seed uint64) string { return filepath.Join(dir, fmt.Sprintf("round-%d", seed)) }

// record writes the run's row.
func (c *Campaign) record() error {
	if c.Killed+c.Tried == 0 || c.File == "" {
		return nil
	}
	columns := []prove.Column{{Name: "started (UTC)", Key: true}, {Name: "commit"}, {Name: "kernel"}, {Name: "seed", Key: true}}
	row := []string{c.started, c.commit, c.kernel, strconv.FormatUint(c.Seed, 10)}
	if c.Size != "" {
		columns, row = append(columns, prove.Column{Name: "size"}), append(row, c.Size)
	}
	figure := func(name string, n uint64) {
		columns, row = append(columns, prove.Column{Name: name, Sum: true}), append(row, strconv.FormatUint(n, 10))
	}
	figure("kills", uint64(c.Killed))
	for i, name := range c.Columns {
		figure(name, c.Figures[i])
	}
	figure("broken", uint64(c.Broken))
	figure("stuck", uint64(c.Stuck))
	figure("mutants", uint64(c.Tried))
	figure("caught", uint64(c.Caught))
	return prove.Add(c.File, c.Name, c.Description, columns, row)
}
