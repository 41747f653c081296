package main

import "github.com/memlane/memlane/test/prove"

// table is what is searched. The options are explained in spec/models: in
// machine.pml, and at the beginning of each model.
var table = []configuration{
	{"mutex", "2 as often as they like", "THREADS=2 ROUNDS=0 SPURIOUS=1", holds},

	{"mutex", "mutant: who has slept forgets the others", "THREADS=3 SLEEP_FORGOTTEN", stuck},
	{"mutex", "mutant: taken over on the mark alone", "THREADS=2 KILLS=1 TAKE_MARKED", broken},
}

var columns = []prove.Column{
	{Name: "model", Key: true}, {Name: "configuration", Key: true}, {Name: "options"},
	{Name: "verdict"}, {Name: "states", Sum: true}, {Name: "commit"},
}

const description = `
The models of the mutex, the semaphore and the event in [spec/models](../spec/models/README.md), in
which every state was searched with Spin. Run ` + "`make models`" + ` to search again: a row is replaced by the
newest verdict of its configuration, with the commit on which it was reached.

*Holds*: in no state does an assertion fail, and in none does anybody wait while nothing can happen any
more. With LIVENESS it is searched for runs too in which everybody who can make a step makes one
some time, and somebody goes on for ever. *Broken* is an assertion that fails, *stuck* somebody who
waits for ever, *endless* a run that does not end: so must each mutant be, which is a mistake made on
purpose; its states are those until it was found.
`
