package main

import (
	"bytes"
	"runtime"

	"github.com/memlane/memlane/internal/word"
)

// A cell is the memory of one round of a test, all zero at first. Its words are in lines
// of their own, and not in neighbouring ones, which a processor may fetch together.
type cell struct {
	x, y, z *word.Uint64
	n       *word.Uint32
	payload []byte
}

// A program is what one process does in a round, and the two numbers that it has seen.
type program func(c *cell) (a, b uint64)

// An outcome is what came of a round: what each process has seen, and what is in the
// words at the end.
type outcome struct {
	Seen       [processesMost][2]uint64
	X, Y, Z, N uint64
}

// A test is a few lines for each of several processes, which run them at the same time
// again and again, and an outcome that cannot be if their accesses are in an order.
type test struct {
	name     string
	programs []program
	odd      func(o *outcome) bool
	// allowed: the odd outcome may be; wanted: it has to be seen, or this program could
	// not see one that is forbidden either.
	allowed, wanted bool
	// overtakes: the odd outcome is that of a load which overtakes the Store before it.
	overtakes bool
}

// weak says that word.StoreRelease is weaker than a Store in this build.
const weak = runtime.GOARCH == "amd64" && !raceDetector

// all are the tests, by the names that the literature gives them (Alglave, Maranget and
// Tautschnig, "Herding Cats", 2014), and by the places of the source that rely on them.
var all = []test{
	{
		name: "MP", // message passing
		programs: []program{
			func(c *cell) (a, b uint64) { c.x.Store(1); c.y.Store(1); return },
			func(c *cell) (a, b uint64) { a = c.y.Load(); b = c.x.Load(); return },
		},
		odd: func(o *outcome) bool { return o.Seen[1] == [2]uint64{1, 0} },
	},
	{
		name:     "MP: a message and its stamp", // ring.Writer.commit and ring.Reader.next
		programs: []program{func(c *cell) (a, b uint64) { fill(c, 1); c.x.Store(1); return }, readStamped},
		odd:      stampedAndNotWhole,
	},
	{
		name:     "MP: a message and its stamp, released",
		programs: []program{func(c *cell) (a, b uint64) { fill(c, 1); word.StoreRelease(c.x, 1); return }, readStamped},
		odd:      stampedAndNotWhole,
	},
	{
		name:     "planted: stamped before it is filled",
		programs: []program{func(c *cell) (a, b uint64) { c.x.Store(1); fill(c, 1); return }, readStamped},
		odd:      stampedAndNotWhole, allowed: true, wanted: true,
	},
	{
		name: "SB", // store buffering
		programs: []program{
			func(c *cell) (a, b uint64) { c.x.Store(1); a = c.y.Load(); return },
			func(c *cell) (a, b uint64) { c.y.Store(1); a = c.x.Load(); return },
		},
		odd: neitherSaw, overtakes: true,
	},
	{
		name: "SB: released", // what StoreRelease does not promise
		programs: []program{
			func(c *cell) (a, b uint64) { word.StoreRelease(c.x, 1); a = c.y.Load(); return },
			func(c *cell) (a, b uint64) { word.StoreRelease(c.y, 1); a = c.x.Load(); return },
		},
		odd: neitherSaw, allowed: weak, wanted: weak, overtakes: true,
	},
	{
		name: "SB: CompareAndSwap",
		programs: []program{
			func(c *cell) (a, b uint64) { c.x.CompareAndSwap(0, 1); a = c.y.Load(); return },
			func(c *cell) (a, b uint64) { c.y.CompareAndSwap(0, 1); a = c.x.Load(); return },
		},
		odd: neitherSaw,
	},
	{
		name: "SB: a sleeper and its wake", // ring.Reader.Sleep and ring.Writer.commit; it sleeps on the low half
		programs: []program{
			func(c *cell) (a, b uint64) { fill(c, 1); c.x.Store(1); a = c.y.Load(); return },
			func(c *cell) (a, b uint64) { c.y.Store(1); a = uint64(word.Low(c.x).Load()); return },
		},
		odd: neitherSaw, overtakes: true,
	},
	{
		name: "SB: a writer that waits and a cursor", // ring.Writer.until and ring.Reader.flush
		programs: []program{
			func(c *cell) (a, b uint64) { c.n.Store(1); a = c.x.Load(); return },
			func(c *cell) (a, b uint64) {
				word.StoreRelease(c.z, 1)
				c.x.Store(1)
				a = uint64(c.n.Load())
				return
			},
		},
		odd: neitherSaw, overtakes: true,
	},
	{
		name: "SB: a hold and a stamp that is taken away", // ring.Reader.find and ring.Writer.setTail
		programs: []program{
			func(c *cell) (a, b uint64) { c.y.Store(1); a = c.x.Load(); return },
			func(c *cell) (a, b uint64) { takeAway(c); a = c.y.Load(); return },
		},
		odd: neitherSaw, overtakes: true,
	},
	{
		name: "planted: the stamp is looked at, then held",
		programs: []program{
			func(c *cell) (a, b uint64) { a = c.x.Load(); c.y.Store(1); return },
			func(c *cell) (a, b uint64) { takeAway(c); a = c.y.Load(); return },
		},
		odd: neitherSaw, allowed: true, wanted: true,
	},
	{
		name: "LB", // load buffering
		programs: []program{
			func(c *cell) (a, b uint64) { a = c.x.Load(); c.y.Store(1); return },
			func(c *cell) (a, b uint64) { a = c.y.Load(); c.x.Store(1); return },
		},
		odd: func(o *outcome) bool { return o.Seen[0][0] == 1 && o.Seen[1][0] == 1 },
	},
	{
		name: "LB: a block that is let go and filled again", // ring.Reader.doneReading and ring.Writer.take
		programs: []program{
			func(c *cell) (a, b uint64) { a = read(c); word.StoreRelease(c.y, 1); return },
			func(c *cell) (a, b uint64) {
				if a = c.y.Load(); a == 1 {
					fill(c, 1)
				}
				return
			},
		},
		odd: func(o *outcome) bool { return o.Seen[0][0] != 0 },
	},
	{
		name: "2+2W", // two that store to two
		programs: []program{
			func(c *cell) (a, b uint64) { c.x.Store(1); c.y.Store(2); return },
			func(c *cell) (a, b uint64) { c.y.Store(1); c.x.Store(2); return },
		},
		odd: func(o *outcome) bool { return o.X == 1 && o.Y == 1 },
	},
	{
		name: "2+2W: released", // in order even so, on amd64 and on arm64
		programs: []program{
			func(c *cell) (a, b uint64) { word.StoreRelease(c.x, 1); word.StoreRelease(c.y, 2); return },
			func(c *cell) (a, b uint64) { word.StoreRelease(c.y, 1); word.StoreRelease(c.x, 2); return },
		},
		odd: func(o *outcome) bool { return o.X == 1 && o.Y == 1 },
	},
	{
		name: "R",
		programs: []program{
			func(c *cell) (a, b uint64) { c.x.Store(1); c.y.Store(1); return },
			func(c *cell) (a, b uint64) { c.y.Store(2); a = c.x.Load(); return },
		},
		odd: func(o *outcome) bool { return o.Y == 2 && o.Seen[1][0] == 0 }, overtakes: true,
	},
	{
		name: "R: released",
		programs: []program{
			func(c *cell) (a, b uint64) { c.x.Store(1); c.y.Store(1); return },
			func(c *cell) (a, b uint64) { word.StoreRelease(c.y, 2); a = c.x.Load(); return },
		},
		odd: func(o *outcome) bool { return o.Y == 2 && o.Seen[1][0] == 0 }, allowed: weak, overtakes: true,
	},
	{
		name: "S",
		programs: []program{
			func(c *cell) (a, b uint64) { c.x.Store(2); c.y.Store(1); return },
			func(c *cell) (a, b uint64) { a = c.y.Load(); c.x.Store(1); return },
		},
		odd: func(o *outcome) bool { return o.Seen[1][0] == 1 && o.X == 2 },
	},
	{
		name: "WRC", // what one has seen and tells of, the third sees
		programs: []program{
			func(c *cell) (a, b uint64) { c.x.Store(1); return },
			func(c *cell) (a, b uint64) {
				a = c.x.Load()
				c.y.Store(1 + a)
				return
			},
			func(c *cell) (a, b uint64) { a = c.y.Load(); b = c.x.Load(); return },
		},
		odd: func(o *outcome) bool { return o.Seen[2] == [2]uint64{2, 0} },
	},
	{
		name: "IRIW", // two that read see two independent stores in one order
		programs: []program{
			func(c *cell) (a, b uint64) { c.x.Store(1); return },
			func(c *cell) (a, b uint64) { c.y.Store(1); return },
			func(c *cell) (a, b uint64) { a = c.x.Load(); b = c.y.Load(); return },
			func(c *cell) (a, b uint64) { a = c.y.Load(); b = c.x.Load(); return },
		},
		odd: func(o *outcome) bool { return o.Seen[2] == [2]uint64{1, 0} && o.Seen[3] == [2]uint64{1, 0} },
	},
	{
		name: "CoRR, CoWW", // one word: read in the order in which it was stored to
		programs: []program{
			func(c *cell) (a, b uint64) { c.x.Store(1); c.x.Store(2); return },
			func(c *cell) (a, b uint64) { a = c.x.Load(); b = c.x.Load(); return },
		},
		odd: func(o *outcome) bool { return o.Seen[1][0] > o.Seen[1][1] || o.X != 2 },
	},
	{
		name: "CoRR, CoWW: released, then stored", // ring.Writer.setTail
		programs: []program{
			func(c *cell) (a, b uint64) { word.StoreRelease(c.x, 1); c.x.Store(2); return },
			func(c *cell) (a, b uint64) { a = c.x.Load(); b = c.x.Load(); return },
		},
		odd: func(o *outcome) bool { return o.Seen[1][0] > o.Seen[1][1] || o.X != 2 },
	},
	{
		name: "CoRR: two that read one word",
		programs: []program{
			func(c *cell) (a, b uint64) { c.x.Store(1); return },
			func(c *cell) (a, b uint64) { c.x.Store(2); return },
			func(c *cell) (a, b uint64) { a = c.x.Load(); b = c.x.Load(); return },
			func(c *cell) (a, b uint64) { a = c.x.Load(); b = c.x.Load(); return },
		},
		odd: func(o *outcome) bool {
			one, two := o.Seen[2], o.Seen[3]
			return one == [2]uint64{1, 2} && two == [2]uint64{2, 1} || one == [2]uint64{2, 1} && two == [2]uint64{1, 2}
		},
	},
	{
		name: "CoWR",
		programs: []program{
			func(c *cell) (a, b uint64) { c.x.Store(1); a = c.x.Load(); return },
			func(c *cell) (a, b uint64) { c.x.Store(2); return },
		},
		odd: func(o *outcome) bool { return o.Seen[0][0] == 0 || o.Seen[0][0] == 2 && o.X == 1 },
	},
	{
		name:     "seqlock: a message that is overtaken", // ring.Reader.next and still; ring.Writer.setTail
		programs: []program{fillAgain, func(c *cell) (a, b uint64) { return readBetween(c, true) }},
		odd:      stampedAndOther,
	},
	{
		name:     "planted: the stamp is not looked at once more",
		programs: []program{fillAgain, func(c *cell) (a, b uint64) { return readBetween(c, false) }},
		odd:      stampedAndOther, allowed: true, wanted: true,
	},
	{
		name:     "CAS: one of two",
		programs: []program{swap(1), swap(2)},
		odd:      notOne,
	},
	{
		name:     "CAS: one of four",
		programs: []program{swap(1), swap(2), swap(3), swap(4)},
		odd:      notOne,
	},
	{
		name:     "planted: a load and a store for a CAS",
		programs: []program{loadAndStore(1), loadAndStore(2)},
		odd:      notOne, allowed: true, wanted: true,
	},
	{
		name:     "CAS: a lock and what it guards",
		programs: []program{locked, locked},
		odd:      func(o *outcome) bool { return o.Z != o.Seen[0][0]+o.Seen[1][0] },
	},
	{
		name:     "Add: two by each of four",
		programs: []program{add, add, add, add},
		odd: func(o *outcome) bool {
			var seen uint64
			for _, s := range o.Seen {
				seen |= 1<<s[0] | 1<<s[1]
			}
			return o.N != 8 || seen != 0x1fe
		},
	},
}

// neitherSaw says that two that stored, and then looked, did not see each other.
func neitherSaw(o *outcome) bool { return o.Seen[0][0] == 0 && o.Seen[1][0] == 0 }

const (
	payloadBytes = 256

	torn      = 8 // in the place of what a payload is
	discarded = 9
	dropped   = 10 // in the place of a stamp
)

// ones are a payload.
var ones = bytes.Repeat([]byte{1}, payloadBytes)

// copied is what this process copies payloads to.
var copied [payloadBytes]byte

// fill fills in the payload and the word beside it.
func fill(c *cell, v uint64) {
	word.CopyIn(c.payload, ones)
	word.StorePlain(c.z, v)
}

// read returns 1 or 0 if that is the payload and the word beside it; else torn.
func read(c *cell) uint64 {
	meta := word.LoadPlain(c.z)
	word.CopyOut(copied[:], c.payload)
	for _, b := range copied {
		if uint64(b) != meta {
			return torn
		}
	}
	return meta
}

// readStamped reads if the stamp is there.
func readStamped(c *cell) (a, b uint64) {
	if a = c.x.Load(); a == 1 {
		b = read(c)
	}
	return a, b
}

func stampedAndNotWhole(o *outcome) bool { return o.Seen[1][0] == 1 && o.Seen[1][1] != 1 }

// takeAway is what a writer does before it uses a slot again; the stamp becomes other
// than 0.
func takeAway(c *cell) {
	word.StoreRelease(c.x, dropped)
	c.z.Store(1)
	c.z.Load()
}

// fillAgain fills a slot again, which had zeros under the stamp 0.
func fillAgain(c *cell) (a, b uint64) {
	word.StoreRelease(c.x, dropped)
	c.y.Store(1)
	c.y.Load()
	fill(c, 1)
	c.x.Store(1)
	return
}

// readBetween reads between two looks at the stamp, or after one look.
func readBetween(c *cell, twice bool) (a, b uint64) {
	a = c.x.Load()
	b = read(c)
	if !twice {
		return a, b
	}
	if word.FenceLoads(); c.x.Load() != a {
		b = discarded
	}
	return a, b
}

// stampedAndOther says that under one of the stamps something was read that is not its.
func stampedAndOther(o *outcome) bool {
	a, b := o.Seen[1][0], o.Seen[1][1]
	return a != dropped && b != discarded && a != b
}

// swap wants to be the one whose number the word becomes.
func swap(me uint64) program {
	return func(c *cell) (a, b uint64) {
		if c.x.CompareAndSwap(0, me) {
			a = me
		}
		return a, c.x.Load()
	}
}

func loadAndStore(me uint64) program {
	return func(c *cell) (a, b uint64) {
		if c.x.Load() == 0 {
			c.x.Store(me)
			a = me
		}
		return a, c.x.Load()
	}
}

// notOne says that not exactly one has won, or that others see somebody else.
func notOne(o *outcome) bool {
	winners := 0
	for _, s := range o.Seen {
		if s[0] != 0 {
			winners++
			if s[0] != o.X {
				return true
			}
		}
		if s[1] != 0 && s[1] != o.X {
			return true
		}
	}
	return winners != 1
}

// locked takes a lock, if it can soon, and adds one to a word that only its owner may
// touch. It has seen whether it had the lock, and what the word was.
func locked(c *cell) (a, b uint64) {
	for range 20 {
		if c.x.CompareAndSwap(0, 1) {
			b = word.LoadPlain(c.z)
			word.StorePlain(c.z, b+1)
			c.x.CompareAndSwap(1, 0)
			return 1, b
		}
	}
	return 0, 0
}

func add(c *cell) (a, b uint64) { return uint64(c.n.Add(1)), uint64(c.n.Add(1)) }
