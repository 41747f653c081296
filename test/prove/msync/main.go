// Msync proves that what was stored in a shared file mapping and synced with
// MS_SYNC survives a power loss, and that no power loss makes up values. It
// needs root.
//
// In each cycle a writer process maps a file on a file system of its own,
// stores records, syncs the ones in half of the pages, and acknowledges these
// to the conductor over a pipe when Sync has returned. The conductor cuts the
// file system off from its device while the writer is at work, kills the
// writer, mounts the file system again and compares the file with the
// acknowledgements; see judge for what exactly. Mutant cycles, in which the
// writer acknowledges without syncing, show that the comparison can fail.
//
// It exits with 0 if every acknowledged record was there, no value was wrong
// and the mutant was caught on each file system; with 1 if not, or if something
// else failed; with 2 if used wrongly; with 130 if interrupted. What was found
// until then is in the record of campaigns in any case.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/memlane/memlane/test/prove"
)

const description = `What was stored in a shared file mapping is there after a power loss if ` + "`Mapping.Sync`" + ` with
` + "`SyncWait`" + ` has returned for it; what was not synced may be lost. No power loss makes up values.
Run ` + "`make prove-msync`" + ` as root to add to this table.

In each cycle a writer process stores records of 64 bytes, syncs those in half of the pages, and
acknowledges them to another process, which then shuts the file system down
(` + "`FS_IOC_SHUTDOWN`" + `, the journal not flushed), kills the writer, mounts again and reads the file.
*Lost* and *wrong* must be 0: an acknowledged record of which nothing is there, and bytes that nobody
stored in that place. *Unsynced* records were stored and never synced; they may be lost, but
need not be: the kernel may write more than it was asked to. In *mutant* cycles, which are counted
nowhere else, the writer acknowledges without syncing; *caught* are those in which the check noticed.

*Late* records were acknowledged after the shutdown had begun, which after a power loss nobody can.
A ` + "`Sync`" + ` that is under way at that moment can return success for what is lost: when the storage
fails, the last success is not to be relied on. Every later one must fail; that more than one late
record of a cycle is lost counts as a failure of the run.

A shutdown cuts the file system off from its device: what it has not written is gone, what it has
written stays. It does not cut the device off from its own cache, so that this does not show whether
the file system asks the device to flush that, nor whether a device obeys.`

var columns = []prove.Column{
	{Name: "started (UTC)", Key: true}, {Name: "commit"}, {Name: "kernel"}, {Name: "seed", Key: true}, {Name: "file system", Key: true},
	{Name: "cycles", Sum: true}, {Name: "acknowledged", Sum: true}, {Name: "lost", Sum: true}, {Name: "wrong", Sum: true},
	{Name: "late", Sum: true}, {Name: "late lost", Sum: true},
	{Name: "unsynced", Sum: true}, {Name: "unsynced lost", Sum: true}, {Name: "mutant cycles", Sum: true}, {Name: "mutant caught", Sum: true},
}

// every is after how many cycles a run's row is written anew.
const every = 20

func main() {
	if len(os.Args) > 1 && os.Args[1] == "writer" {
		if err := write(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	r := run{started: time.Now().UTC().Format(time.DateTime), commit: prove.Commit(), kernel: prove.Kernel()}
	flag.IntVar(&r.cycles, "cycles", 200, "`power losses`, half of them on ext4, half on XFS")
	flag.IntVar(&r.mutants, "mutant", 5, "`power losses` on each file system with a writer that acknowledges without syncing")
	flag.Uint64Var(&r.seed, "seed", 0, "`number` that all choices follow from; 0 draws one")
	flag.StringVar(&r.dir, "dir", os.TempDir(), "`folder` for the images of the file systems, 400 MiB at most")
	flag.StringVar(&r.file, "file", "docs/PROOF.md", "Markdown `file` to add the figures to")
	flag.Parse()
	if flag.NArg() > 0 || r.cycles < 0 || r.mutants < 1 {
		fmt.Fprintln(os.Stderr, "msync: takes no arguments, and needs cycles of the mutant: without them it proves nothing; see -help")
		os.Exit(2)
	}
	r.seed = prove.Seed(r.seed)
	if status := prove.Run("msync", r.all); status != 0 {
		os.Exit(status)
	}
	fmt.Printf("%d power losses: every acknowledged record was there, no value was wrong, and the mutant was caught\n", r.cycles)
}

// A run is one call of the program.
type run struct {
	cycles, mutants         int
	seed                    uint64
	dir, file               string
	started, commit, kernel string
}

// all runs the cycles on every kind of file system and leaves nothing behind.
func (r *run) all(ctx context.Context) (err error) {
	runtime.LockOSThread() // as isolate needs; never undone
	if err := isolate(); err != nil {
		return err
	}
	// With a killed run its mounts and loop devices ended too: see isolate. What it has
	// left is files.
	dir, remove, err := prove.Workspace(r.dir, "msync")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	fmt.Printf("seed %d\n", r.seed)
	for i, fs := range fileSystems {
		v, err := newVolume(dir, fs.name, fs.size, fs.mkfs)
		if err != nil {
			return err
		}
		// A stream for each kind; the first gets the odd cycle.
		rnd := rand.New(rand.NewPCG(r.seed, uint64(i)))
		cycles := (r.cycles + len(fileSystems) - 1 - i) / len(fileSystems)
		if err := errors.Join(r.on(ctx, v, rnd, cycles), v.discard()); err != nil {
			return err
		}
	}
	return nil
}

// A tally is what the cycles on one file system have found.
type tally struct {
	verdict
	cycles, mutants, caught int
}

// on runs the mutant cycles, then the real ones, on one volume.
func (r *run) on(ctx context.Context, v *volume, rnd *rand.Rand, cycles int) (err error) {
	var sum tally
	bad := 0
	defer func() { err = errors.Join(err, r.record(v.kind, sum)) }()
	for range r.mutants {
		seed := rnd.Uint64()
		got, err := cycle(ctx, v, seed, true)
		if err != nil {
			return fmt.Errorf("%s, mutant cycle of seed %d: %w", v.kind, seed, err)
		}
		sum.mutants++
		if got.lost > 0 {
			sum.caught++
		}
	}
	if sum.caught == 0 {
		return fmt.Errorf("%s: of %d cycles with a writer that does not sync none was noticed: this run proves nothing", v.kind, sum.mutants)
	}
	for range cycles {
		seed := rnd.Uint64()
		got, err := cycle(ctx, v, seed, false)
		if err != nil {
			return fmt.Errorf("%s, cycle of seed %d: %w", v.kind, seed, err)
		}
		sum.cycles++
		sum.add(got)
		// The writer has one Sync under way at a time, and each that begins
		// after the shutdown must fail.
		if got.lost+got.wrong > 0 || got.lateLost > 1 {
			bad++
			fmt.Fprintf(os.Stderr, "msync: %s, cycle of seed %d: %+v\n", v.kind, seed, got)
		}
		if sum.cycles%every == 0 {
			if err := r.record(v.kind, sum); err != nil {
				return err
			}
			fmt.Printf("%s: %d cycles: %+v\n", v.kind, sum.cycles, sum.verdict)
		}
	}
	if bad > 0 {
		return fmt.Errorf("%s: %d of %d cycles went wrong: of %d acknowledged records %d were lost; %d values were wrong; of %d late records %d were lost",
			v.kind, bad, sum.cycles, sum.acknowledged, sum.lost, sum.wrong, sum.late, sum.lateLost)
	}
	return nil
}

// add adds what one cycle has found.
func (v *verdict) add(other verdict) {
	v.acknowledged += other.acknowledged
	v.lost += other.lost
	v.wrong += other.wrong
	v.late += other.late
	v.lateLost += other.lateLost
	v.unsynced += other.unsynced
	v.unsyncedLost += other.unsyncedLost
}

// record writes the run's row for one kind of file system.
func (r *run) record(kind string, t tally) error {
	if t.cycles+t.mutants == 0 {
		return nil
	}
	row := []string{r.started, r.commit, r.kernel, strconv.FormatUint(r.seed, 10), kind}
	for _, n := range []int{t.cycles, t.acknowledged, t.lost, t.wrong, t.late, t.lateLost, t.unsynced, t.unsyncedLost, t.mutants, t.caught} {
		row = append(row, strconv.Itoa(n))
	}
	return prove.Add(r.file, "msync", description, columns, row)
}
