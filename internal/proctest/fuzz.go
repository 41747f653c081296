package proctest

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var executions = flag.Int("executions", 0, "run each fuzz target of proctest.Fuzz `so many` times, with inputs made from its seeds")

// Fuzz is a fuzz target: check returns what is wrong with what comes of an input. Under go
// test -fuzz the fuzzer makes the inputs; with -executions they are changes of the seeds
// drawn by lot, which is a hundred times as fast, and finds less by each; else they are
// the seeds.
func Fuzz(f *testing.F, seeds [][]byte, check func(b []byte) error) {
	f.Helper()
	if *executions == 0 {
		for _, b := range seeds {
			f.Add(b)
		}
		f.Fuzz(func(t *testing.T, b []byte) {
			if err := check(b); err != nil {
				t.Error(err)
			}
		})
		return
	}
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	var b []byte
	for n := range *executions {
		b = change(rnd, b[:0], seeds)
		if err := check(b); err != nil {
			f.Fatalf("execution %d of seed %d, %x: %v", n, seed, b, err)
		}
	}
	fmt.Printf("executions: %s %d\n", f.Name(), *executions)
	f.Add([]byte(nil)) // package testing wants to have been asked
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := check(b); err != nil {
			t.Error(err)
		}
	})
}

// change makes an input of a seed, with a few bytes changed, put in or left out.
func change(rnd *rand.Rand, b []byte, seeds [][]byte) []byte {
	b = append(b, seeds[rnd.IntN(len(seeds))]...)
	for range rnd.IntN(5) {
		if len(b) == 0 {
			return append(b, byte(rnd.Uint32()))
		}
		at := rnd.IntN(len(b))
		switch r := rnd.Uint64(); r % 8 {
		case 0, 1:
			b[at] = byte(r >> 8)
		case 2:
			b[at] += byte(r>>8)%5 - 2
		case 3:
			b[at] ^= 1 << (r >> 8 % 8)
		case 4:
			if at+4 <= len(b) {
				binary.LittleEndian.PutUint32(b[at:], uint32(r>>8))
			}
		case 5:
			b = b[:at]
		case 6:
			end := min(len(b), at+1+int(r>>8%16))
			b = slices.Delete(b, at, end)
		case 7:
			other := seeds[rnd.IntN(len(seeds))]
			if len(other) > 0 {
				from := rnd.IntN(len(other))
				b = append(b[:at], other[from:]...)
			}
		}
	}
	return b
}
