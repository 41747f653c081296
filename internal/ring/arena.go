package ring

import (
	"math/bits"
	"slices"
)

// arena says which parts of the chunks are free. All of it is in private memory:
// nobody else can corrupt it, or leave it locked.
//
// A chunk is divided by halves (Knuth, The Art of Computer Programming 1, 2.5,
// "buddy system"). Parts that are given back stay as small as they are, because
// most messages of a topic have the same size; halves are joined only when a
// larger part is wanted and there is none. The part given back last is taken
// first: it is the one most likely to be in the processor's cache.
type arena struct {
	chunks []*chunk
	bytes  int // of all chunks
}

// chunk is one piece of shared memory.
type chunk struct {
	bytes []byte // a power of two
	unit  int    // the smallest part, as a power of two
	order int    // the whole chunk is 1<<order units

	free   [unitsMaxOrder + 1][]uint32 // by order, the first units of free parts
	state  []uint8                     // of a free part's first unit: its order plus 1; else 0
	joined bool                        // nothing was given back since halves were joined
}

const (
	unitLeast     = 256 // bytes, at least: four cache lines
	unitsMaxOrder = 12  // a chunk has at most 4096 units, so that joining takes microseconds
)

// block is a part of a chunk: the chunk's number, its first unit, and its order in the
// lowest eight bits. It is one word, as what has a block is handed on in registers then.
type block uint64

const blockUnitBits = 32

func newBlock(chunk int, unit uint32, order uint8) block {
	return block(chunk)<<(8+blockUnitBits) | block(unit)<<8 | block(order)
}

func (b block) chunk() int   { return int(b >> (8 + blockUnitBits)) }
func (b block) unit() uint32 { return uint32(b >> 8) }
func (b block) order() uint8 { return uint8(b) }

// add makes a chunk's memory available: a power of two of at least unitLeast bytes.
func (a *arena) add(b []byte) {
	c := &chunk{bytes: b}
	c.unit = bits.TrailingZeros(unitLeast)
	whole := bits.TrailingZeros(uint(len(b)))
	c.unit = max(c.unit, whole-unitsMaxOrder)
	c.order = whole - c.unit
	c.state = make([]uint8, 1<<c.order)
	c.give(0, uint8(c.order))
	c.joined = true
	a.chunks = append(a.chunks, c)
	a.bytes += len(b)
}

// take returns a free block of at least n bytes, n > 0. Whether halves are to be
// joined for it is the caller's choice, who may have a cheaper one.
func (a *arena) take(n int, join bool) (block, bool) {
	for i, c := range a.chunks {
		if n <= len(c.bytes) {
			if unit, order, ok := c.take(n, join); ok {
				return newBlock(i, unit, order), true
			}
		}
	}
	return 0, false
}

// canHave says whether there is a chunk of at least n bytes.
func (a *arena) canHave(n int) bool {
	return slices.ContainsFunc(a.chunks, func(c *chunk) bool { return n <= len(c.bytes) })
}

// give makes a block free again.
func (a *arena) give(b block) { a.chunks[b.chunk()].give(b.unit(), b.order()) }

// memory returns the bytes of a block.
func (a *arena) memory(b block) []byte {
	c := a.chunks[b.chunk()]
	at := int(b.unit()) << c.unit
	n := 1 << (c.unit + int(b.order()))
	return c.bytes[at : at+n : at+n]
}

// next returns the block that is taken after b, if another of its size is; nil if
// that is not known.
func (a *arena) next(b block) []byte {
	free := a.chunks[b.chunk()].free[b.order()]
	if len(free) == 0 {
		return nil
	}
	return a.memory(newBlock(b.chunk(), free[len(free)-1], b.order()))
}

// offset returns where a block begins in its chunk.
func (a *arena) offset(b block) int { return int(b.unit()) << a.chunks[b.chunk()].unit }

func (c *chunk) take(n int, join bool) (unit uint32, order uint8, ok bool) {
	want := 0
	if n > 1<<c.unit {
		want = bits.Len(uint(n-1)) - c.unit
	}
	for {
		for o := want; o <= c.order; o++ {
			if k := len(c.free[o]); k > 0 {
				unit = c.free[o][k-1]
				c.free[o] = c.free[o][:k-1]
				c.state[unit] = 0
				for ; o > want; o-- {
					// The upper half stays free.
					c.put(unit+1<<(o-1), uint8(o-1))
				}
				return unit, uint8(want), true
			}
		}
		if c.joined || !join {
			return 0, 0, false
		}
		c.join()
	}
}

func (c *chunk) give(unit uint32, order uint8) {
	c.put(unit, order)
	c.joined = false
}

func (c *chunk) put(unit uint32, order uint8) {
	c.free[order] = append(c.free[order], unit)
	c.state[unit] = order + 1
}

// join joins halves that are both free.
func (c *chunk) join() {
	c.joined = true
	for o := uint8(0); int(o) < c.order; o++ {
		for unit := 0; unit < len(c.state); unit += 2 << o {
			if other := unit + 1<<o; c.state[unit] == o+1 && c.state[other] == o+1 {
				c.state[unit], c.state[other] = o+2, 0
			}
		}
	}
	for o := range c.free {
		c.free[o] = c.free[o][:0]
	}
	for unit, s := range c.state {
		if s != 0 {
			c.free[s-1] = append(c.free[s-1], uint32(unit))
		}
	}
}
