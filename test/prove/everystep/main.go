// Everystep kills a process after every single machine instruction of every
// operation of package shmsync, and has the processes that survive it find out that
// nothing is broken, lost, leaked or stuck. Then it does the same with a process
// that is stopped there, and goes on after the others have tried all they may.
//
// A victim is a second process that package step takes to the instruction. The
// survivors are two: this process, and a servant, which may be asleep in the
// operation's counterpart. What they check is in the judges: see judge.
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
			fmt.Fprintln(os.Stderr, "everystep:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(campaign().Main())
}

func campaign() *places.Campaign {
	c := &places.Campaign{Name: "everystep", Section: "step", Description: description}
	for _, op := range operations() {
		c.Operations = append(c.Operations, op.places())
	}
	return c
}

// role does what this process is, if it was started as a victim or as the servant.
func role(args []string) (ok bool, err error) {
	switch {
	case step.IsVictim() && len(args) == 3 && args[0] == victimName:
		return true, beVictim(args[1:])
	case len(args) == 2 && args[0] == servantName:
		return true, serve(args[1])
	}
	return false, nil
}
