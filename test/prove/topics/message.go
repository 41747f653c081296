package main

import (
	"encoding/binary"
	"fmt"
)

// A message is who has published it and its number, and then words that follow from
// both. How long it is does so too.
const leastBytes = 16

// sizes are in the slots, in the arena, and in larger chunks of that.
var sizes = [...]int{leastBytes, 40, 112, 113, 700, 5000, 40_000}

// sizeOf returns how long a message is: most are small.
func sizeOf(publisher, number uint64) int {
	h := mix(publisher, number)
	i := int(h % 32)
	switch {
	case i < 16:
		return sizes[i%4]
	case i < 28:
		return leastBytes + int(h>>8%1000)
	}
	return sizes[3+i%4]
}

// mix is a number that differs for each message and each part of it.
func mix(a, b uint64) uint64 {
	h := a*0x9e3779b97f4a7c15 ^ b*0xff51afd7ed558ccd
	h ^= h >> 32
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>29
}

// fill writes a message, of the length it has.
func fill(b []byte, publisher, number uint64) {
	binary.LittleEndian.PutUint64(b, publisher)
	binary.LittleEndian.PutUint64(b[8:], number)
	for at := leastBytes; at < len(b); at++ {
		b[at] = byte(mix(publisher^number, uint64(at)))
	}
}

// read returns who has published a message and its number, and an error if the rest
// does not follow from that.
func read(b []byte) (publisher, number uint64, err error) {
	if len(b) < leastBytes {
		return 0, 0, fmt.Errorf("it has %d bytes", len(b))
	}
	publisher, number = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	if want := sizeOf(publisher, number); len(b) != want {
		return publisher, number, fmt.Errorf("message %d of publisher %d has %d bytes; want %d", number, publisher, len(b), want)
	}
	for at := leastBytes; at < len(b); at++ {
		if want := byte(mix(publisher^number, uint64(at))); b[at] != want {
			return publisher, number, fmt.Errorf("byte %d of message %d of publisher %d, of %d bytes, is %d; want %d", at, number, publisher, len(b), b[at], want)
		}
	}
	return publisher, number, nil
}
