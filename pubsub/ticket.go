package pubsub

// tickets tell a handle that is outstanding from a copy of one that was given back:
// handles are values, so that to hand one out allocates nothing, and so whoever has one
// can copy it.
type tickets struct {
	uses []uint64 // by index: which use of it is the present one
	free []int
}

// ticket is one use of an index. The zero ticket is never outstanding.
type ticket struct {
	index int
	use   uint64 // from 1
}

// take hands out a ticket. It allocates only when more are outstanding than ever before.
func (t *tickets) take() ticket {
	last := len(t.free) - 1
	if last < 0 {
		t.uses = append(t.uses, 1)
		return ticket{len(t.uses) - 1, 1}
	}
	index := t.free[last]
	t.free = t.free[:last]
	return ticket{index, t.uses[index]}
}

// has says whether the ticket is outstanding.
func (t *tickets) has(k ticket) bool {
	return k.index < len(t.uses) && t.uses[k.index] == k.use
}

// give takes the ticket back, and says whether it was outstanding.
func (t *tickets) give(k ticket) bool {
	if !t.has(k) {
		return false
	}
	t.uses[k.index]++
	t.free = append(t.free, k.index)
	return true
}
