//go:build explore

package explore

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
)

// Walked is what walks came to.
type Walked struct {
	Walks int
	Steps int   // choices, of all together
	Late  int   // walks in which only the backstop could wake somebody
	Err   error // what is wrong, and with which walk
}

func (w Walked) String() string {
	return fmt.Sprintf("%d walks, %d steps, %d late", w.Walks, w.Steps, w.Late)
}

// Walk goes so many ways to their ends by lot, of what is too large for [Run]: those of a
// seed that have the numbers from first on. What a walk does follows from the seed and its
// number. It ends with the first in which something is wrong; then Err wraps a [*Failure],
// or errEndless.
func Walk(c Config, seed uint64, first, walks int) Walked {
	x, end := begin(c)
	defer end()
	var w Walked
	for number := first; number < first+walks; number++ {
		path, late, err := x.walk(rand.New(rand.NewPCG(seed, uint64(number))))
		w.Walks++
		w.Steps += len(path)
		if late {
			w.Late++
		}
		if err != nil {
			if !errors.Is(err, errEndless) {
				err = x.failure(err, path)
			}
			w.Err = fmt.Errorf("walk %d of seed %d: %w", number, seed, err)
			break
		}
	}
	return w
}

// walkMost is how many steps no walk has: whoever goes on for so long goes round.
const walkMost = 1 << 17

var errEndless = fmt.Errorf("it has not ended after %d steps", walkMost)

// walk goes one way to its end.
//
// If each step were drawn alone from all that there are, processes would keep pace with
// each other, and be killed at once. So how long one goes on before another's turn comes,
// and how rare it is that one is killed or wakes for no reason, is drawn for each walk.
func (x *explorer) walk(lot *rand.Rand) (path []choice, late bool, err error) {
	e := x.execution()
	defer e.close()
	turn, rare := 1<<lot.IntN(7), 2<<lot.IntN(8)
	var usual, harm []choice
	for err == nil {
		if len(path) == walkMost {
			return path, e.late, errEndless
		}
		list, bad := e.next()
		if err = bad; err != nil || len(list) == 0 {
			break
		}
		usual, harm = usual[:0], harm[:0]
		for _, c := range list {
			if c.what == spurious || (c.what == mark || c.what == stop) && !e.procs[c.process].killed {
				harm = append(harm, c)
			} else {
				usual = append(usual, c)
			}
		}
		from := usual
		if len(usual) == 0 || len(harm) > 0 && lot.IntN(rare) == 0 {
			from = harm
		}
		c := from[lot.IntN(len(from))]
		if len(path) > 0 && lot.IntN(turn) > 0 {
			for _, again := range from {
				if again == path[len(path)-1] {
					c = again
				}
			}
		}
		path = append(path, c)
		err = e.take(c)
	}
	return path, e.late, err
}

var (
	walksFlag = flag.Int("walks", 0, "go `so many` walks of each configuration of TestExploreWalks, and say what they came to, for test/prove/explore")
	firstFlag = flag.Int("first", 0, "the `number` of the first one")
	seedFlag  = flag.Uint64("seed", 1, "`number` that all walks follow from")
)

// walksUsual is how many walks of a configuration a test goes that was not told.
const walksUsual = 300

// Walks is a test of what walks come to: as many, and those, as the flags say.
func Walks(t *testing.T, structure, configuration string, c Config) {
	t.Helper()
	t.Run(structure+", "+configuration, func(t *testing.T) {
		walks := *walksFlag
		if walks == 0 {
			walks = walksUsual
		}
		w := Walk(c, *seedFlag, *firstFlag, walks)
		t.Log(w)
		broken := 0
		if w.Err != nil {
			broken = 1
			t.Error(w.Err)
		}
		if *walksFlag > 0 {
			fmt.Printf("walked\t%s\t%s\t%d\t%d\t%d\t%d\n", structure, configuration, w.Walks, w.Steps, w.Late, broken)
		}
	})
}
