package meet

import (
	"fmt"
	"slices"
	"testing"
)

// dial is what one of the pair does to connect to the other.
type dial struct {
	own      *conn // at who began it
	strange  *conn // at the other, once HELLO has come; nil before
	phase    string
	wait     <-chan struct{} // the other keeps it waiting
	attempts int
}

// pair is two nodes, of which one or both connect to the other; the first has the
// smaller id. Nothing of the code under test is left out but the sockets.
type pair struct {
	nodes   [2]*Node
	dials   [2]*dial
	evicted bool     // once, a connection is closed before its HELLO is read
	asked   [2]bool  // who has said HELLO
	both    [2]*conn // the ends of what is established on both sides
}

func newPair(who ...int) *pair {
	p := &pair{}
	for i := range p.nodes {
		p.nodes[i] = &Node{
			self:  instance{bootID(), uint64(i + 1)},
			conns: map[*conn]struct{}{}, links: map[uint64]*conn{}, banned: map[uint64]error{},
		}
		p.dials[i] = &dial{phase: "over"}
	}
	for _, i := range who {
		p.dials[i].phase = "new"
	}
	return p
}

// steps returns what can happen now.
func (p *pair) steps() map[string]func() {
	steps := map[string]func(){}
	for i, d := range p.dials {
		mine, theirs := p.nodes[i], p.nodes[1-i]
		hear := func() {
			var err error
			switch d.wait, err = theirs.decide(d.strange, hello{instance: mine.self}); {
			case err != nil:
				d.phase = "rejected"
			case d.wait == nil:
				d.phase = "accepted"
			default:
				d.phase = "waiting"
			}
		}
		switch d.phase {
		case "new":
			steps[fmt.Sprint(i, " begins")] = func() {
				if mine.links[theirs.self.id] != nil {
					d.phase = "over" // it has come from there
					return
				}
				d.own = mine.newConn()
				d.own.peer.instance = theirs.self.id
				mine.links[theirs.self.id] = d.own
				d.phase = "begun"
			}
		case "begun":
			steps[fmt.Sprint(i, " asks")] = func() {
				if mine.asks(d.own) != nil {
					d.phase = "over"
					return
				}
				d.phase, d.strange = "asked", theirs.newConn()
				p.asked[i] = true
			}
		case "asked":
			steps[fmt.Sprint(1-i, " hears")] = hear
			if !p.evicted {
				steps[fmt.Sprint(1-i, " closes unheard")] = func() {
					p.evicted = true
					d.phase = "rejected"
				}
			}
		case "waiting":
			select {
			case <-d.wait:
				steps[fmt.Sprint(1-i, " looks again")] = hear
			default:
			}
		case "accepted":
			steps[fmt.Sprint(i, " is answered")] = func() {
				d.phase = "over"
				if mine.answered(d.own, hello{instance: theirs.self}) == nil {
					p.establishes(d, i)
				} else if theirs.links[mine.self.id] == d.strange {
					delete(theirs.links, mine.self.id) // it sees the end, and had nothing of it
				}
			}
		case "rejected":
			steps[fmt.Sprint(i, " is rejected")] = func() {
				mine.unanswered(d.own)
				d.attempts++
				if d.phase = "begun"; d.attempts == attempts {
					d.phase = "given up"
				}
			}
		}
	}
	return steps
}

// establishes notes that a connection is established on both sides: from now on, ports
// may be told on it.
func (p *pair) establishes(d *dial, i int) {
	if p.both[0] != nil {
		panic("a second connection is established")
	}
	p.both[i], p.both[1-i] = d.own, d.strange
}

// wrong says what is wrong.
func (p *pair) wrong(end bool) string {
	for i, n := range p.nodes {
		link := n.links[p.nodes[1-i].self.id]
		switch {
		case p.both[i] != nil && (link != p.both[i] || link.state != established):
			return "what was established is not any more"
		case end && (link == nil || link.state != established):
			return "not met in the end"
		}
	}
	switch {
	case end && p.both[0] == nil:
		return "they do not have the same connection in the end"
	case end && p.asked == [2]bool{true, true} && !p.evicted && p.both[0] != p.dials[0].own:
		return "the one that the larger began has stayed"
	}
	return ""
}

// All orders of steps in which two can begin to connect to each other, with a connection
// that is closed unheard at any point: in the end both have the same one connection, the
// one begun by the smaller if both have asked; and never was one given up that was
// established on both sides.
func TestDecisions(t *testing.T) {
	for _, who := range [][]int{{0}, {1}, {0, 1}} {
		executions, both := 0, 0
		var explore func(path []string)
		explore = func(path []string) {
			p := newPair(who...)
			for _, name := range path {
				p.steps()[name]()
				if wrong := p.wrong(false); wrong != "" {
					t.Fatalf("%v: %s", path, wrong)
				}
			}
			steps := p.steps()
			if len(steps) == 0 {
				executions++
				if p.dials[0].attempts+p.dials[1].attempts > 0 {
					both++
				}
				if wrong := p.wrong(true); wrong != "" {
					t.Fatalf("%v: %s", path, wrong)
				}
				return
			}
			names := []string{}
			for name := range steps {
				names = append(names, name)
			}
			slices.Sort(names)
			for _, name := range names {
				explore(append(slices.Clone(path), name))
			}
		}
		explore(nil)
		t.Logf("%v begin: %d executions, in %d of them one was rejected", who, executions, both)
		if executions < 2 {
			t.Errorf("only %d executions", executions)
		}
	}
}
