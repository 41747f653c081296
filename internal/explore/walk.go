//go:build explore

package explore

import (
	"fmt"
	"math/rand/v2"
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
// number. It ends with the first in which something is wrong; then Err wraps a [*Failure].
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
			w.Err = fmt.Errorf("walk %d of seed %d: %w", number, seed, x.failure(err, path))
			break
		}
	}
	return w
}

// walkMost is how many steps no walk has: whoever goes on for so long goes round.
const walkMost = 1 << 20

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
			return path, e.late, fmt.Errorf("it has not ended after %d steps", walkMost)
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
