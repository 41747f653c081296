package main

import (
	"encoding/binary"
	"fmt"
)

// Who publishes.
const (
	victims    = 1
	conductors = 2
)

// message is what nobody else publishes: who has, the number, and bytes that follow from
// both, n in all.
func message(who, number uint64, n int) []byte {
	b := make([]byte, n)
	fill(b, who, number)
	return b
}

// fill writes a message of 16 bytes or more.
func fill(b []byte, who, number uint64) {
	binary.LittleEndian.PutUint64(b, who)
	binary.LittleEndian.PutUint64(b[8:], number)
	for at := 16; at < len(b); at++ {
		b[at] = byte(who*31 + number*7 + uint64(at))
	}
}

// read returns what a message is, and an error if it is not whole.
func read(b []byte) (who, number uint64, err error) {
	if len(b) < 16 {
		return 0, 0, fmt.Errorf("a message of %d bytes", len(b))
	}
	who, number = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	for at := 16; at < len(b); at++ {
		if want := byte(who*31 + number*7 + uint64(at)); b[at] != want {
			return who, number, fmt.Errorf("byte %d of message %d of %d, of %d bytes, is %d; want %d", at, number, who, len(b), b[at], want)
		}
	}
	return who, number, nil
}
