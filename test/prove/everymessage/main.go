// Everymessage kills a process after every single machine instruction of every operation
// of a topic that takes part in memory, and has the processes that survive it find out
// that no message is lost, made up or torn, that nobody is stuck, and that nothing is
// left behind. Then it does the same with a process that is stopped there, and goes on
// after the others have tried all they may.
//
// A victim is a second process that package step takes to the instruction: a publisher,
// or a subscriber. The conductor, this process, has both in the same topic: see scene.
//
// It exits with 0 if nothing was wrong and every mutant was caught, a victim that
// breaks the rules; with 1 if not, or if something else failed; with 2 if used
// wrongly; with 130 if interrupted. What was found until then is in the record of
// campaigns in any case.
package main

import (
	"fmt"
	"os"

	"github.com/memlane/memlane/test/prove/places"
	"github.com/memlane/memlane/test/prove/step"
)

func main() {
	if ok, err := role(os.Args[1:]); ok {
		if err != nil {
			fmt.Fprintln(os.Stderr, "everymessage:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(campaign().Main())
}

// role does what this process is, if it was started as a victim.
func role(args []string) (ok bool, err error) {
	if step.IsVictim() && len(args) == 3 && args[0] == victimName {
		return true, beVictim(args[1], args[2])
	}
	return false, nil
}

func campaign() *places.Campaign {
	c := &places.Campaign{Name: "everymessage", Section: "message", Description: description}
	for _, op := range operations() {
		c.Operations = append(c.Operations, op.places())
	}
	return c
}

const description = `What package pubsub promises holds when a publisher or a subscriber is killed after any single machine
instruction of what it does in memory, or is stopped there, and goes on when the others have tried all they may.
Run ` + "`make prove-message`" + ` to add to this table; ` + "`ARGS=\"-only 'publish'\"`" + ` for some of the operations. Places,
victims, *killed at*, *stopped at*, *late* and *mutants* are as in the section on steps; joining and leaving, which several
goroutines take part in, are in the section on joins. Of *where the arena grows* every hundredth place is taken.

A publisher that is a victim has two subscribers in the conductor, one of which may be asleep, and there is another
publisher of the topic. Checked are:

- What it had published before, and this message if its stamp says so, both subscribers get, once, whole, in order; under
  DropOldest some may be lost, and they say how many, also at its end; otherwise the message never comes.
- While it is stopped, and when it is gone, the other publisher's messages come, also to who is asleep.
- When it is gone, the subscribers know of one publisher less, and this process has as many descriptors as before.

A subscriber that is a victim has a publisher in the conductor, and there is another subscriber, which gets everything.
Checked are:

- While it is stopped the publisher goes on under DropOldest, for three rings and arenas; under Block it goes on as far as
  the ring goes, and no further, and says so.
- When it is gone the publisher goes on, knows of one subscriber less, and can have all of its arena on loan: nothing is held.
- What it has received or borrowed is whole, also after it was stopped while the ring and the arena were written three times.`
