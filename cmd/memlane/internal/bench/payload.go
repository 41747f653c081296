package bench

import (
	"encoding/binary"
	"fmt"
)

// final is set in the number of the last message.
const final = 1 << 63

// fill writes a message: its number in every word. What is behind the last whole
// word stays as it is. The C side has the same loops.
func fill(b []byte, v uint64) {
	for ; len(b) >= 32; b = b[32:] {
		binary.LittleEndian.PutUint64(b, v)
		binary.LittleEndian.PutUint64(b[8:], v)
		binary.LittleEndian.PutUint64(b[16:], v)
		binary.LittleEndian.PutUint64(b[24:], v)
	}
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, v)
	}
}

// sum reads a message: every word of it.
func sum(b []byte) uint64 {
	var s0, s1, s2, s3 uint64
	for ; len(b) >= 32; b = b[32:] {
		s0 += binary.LittleEndian.Uint64(b)
		s1 += binary.LittleEndian.Uint64(b[8:])
		s2 += binary.LittleEndian.Uint64(b[16:])
		s3 += binary.LittleEndian.Uint64(b[24:])
	}
	for ; len(b) >= 8; b = b[8:] {
		s0 += binary.LittleEndian.Uint64(b)
	}
	return s0 + s1 + s2 + s3
}

// check says whether a message is the one that comes next, all of it, and whether
// it is the last one.
func check(b []byte, size int, want uint64) (over bool, err error) {
	if len(b) != size {
		return false, fmt.Errorf("message %d has %d bytes instead of %d", want, len(b), size)
	}
	got := binary.LittleEndian.Uint64(b)
	if got&^final != want {
		return false, fmt.Errorf("message %d instead of %d", got&^final, want)
	}
	if sum(b) != got*uint64(size/8) {
		return false, fmt.Errorf("message %d is torn", want)
	}
	return got&final != 0, nil
}

// checkFirst is check of the first word alone, of who does not read the rest.
func checkFirst(b []byte, size int, want uint64) (over bool, err error) {
	if len(b) != size {
		return false, fmt.Errorf("message %d has %d bytes instead of %d", want, len(b), size)
	}
	got := binary.LittleEndian.Uint64(b)
	if got&^final != want {
		return false, fmt.Errorf("message %d instead of %d", got&^final, want)
	}
	return got&final != 0, nil
}
