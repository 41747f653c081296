package places

import (
	"fmt"
	"strconv"

	"github.com/memlane/memlane/test/prove"
)

var columns = []prove.Column{
	{Name: "started (UTC)", Key: true}, {Name: "commit"}, {Name: "kernel"}, {Name: "seed"}, {Name: "operation", Key: true},
	{Name: "instructions", Sum: true}, {Name: "system calls"}, {Name: "killed at"}, {Name: "stopped at"},
	{Name: "kills", Sum: true}, {Name: "stops", Sum: true}, {Name: "broken", Sum: true}, {Name: "stuck", Sum: true}, {Name: "late", Sum: true},
	{Name: "mutant victims", Sum: true}, {Name: "mutant caught", Sum: true},
}

// A record is where the rows of a run go.
type record struct {
	section, description    string
	file                    string
	started, commit, kernel string
	seed                    uint64
}

// add writes the row of one operation.
func (r *record) add(op *Operation, t Tally) error {
	if r.file == "" || t.Kills+t.Stops == 0 {
		return nil
	}
	of := func(n, all int) string { return fmt.Sprintf("%d of %d", n, all) }
	row := []string{r.started, r.commit, r.kernel, strconv.FormatUint(r.seed, 10), op.Name, strconv.Itoa(t.instructions), strconv.Itoa(t.Syscalls),
		of(t.killedAt, t.killPlaces), of(t.stoppedAt, t.stopPlaces)}
	counts := []int{t.Kills, t.Stops, t.broken, t.stuck, t.late, 0, 0}
	if op.Mutant {
		counts = []int{0, 0, 0, 0, 0, t.Kills + t.Stops, t.broken + t.stuck}
	}
	for _, n := range counts {
		row = append(row, strconv.Itoa(n))
	}
	return prove.Add(r.file, r.section, r.description, columns, row)
}

// Good says whether all is as it has to be.
func (t Tally) Good(op *Operation) bool {
	if op.Mutant {
		return t.broken+t.stuck > 0
	}
	return t.broken+t.stuck == 0 && (t.missed() == 0 || op.Every > 0)
}

// String returns the tally for people.
func (t Tally) String(op *Operation) string {
	text := fmt.Sprintf("%d instructions, %d system calls; killed at %d of %d places (%d kills; %s), stopped at %d of %d (%d stops)",
		t.instructions, t.Syscalls, t.killedAt, t.killPlaces, t.Kills, t.stages, t.stoppedAt, t.stopPlaces, t.Stops)
	if op.Mutant {
		return text + fmt.Sprintf("; caught %d times, %d of them stuck", t.broken+t.stuck, t.stuck)
	}
	return text + fmt.Sprintf("; %d broken, %d stuck, %d late, %d not judged", t.broken, t.stuck, t.late, t.asides)
}
