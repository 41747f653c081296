// Package topic has what rigs that break the users of a topic have in common: messages
// that nobody else publishes, the folder of a domain, and how it is looked at when all
// but one are gone.
package topic

import (
	"encoding/binary"
	"fmt"
)

// Message is what nobody else publishes: who has, the number, and bytes that follow from
// both, n in all: 16 or more.
func Message(who, number uint64, n int) []byte {
	b := make([]byte, n)
	binary.LittleEndian.PutUint64(b, who)
	binary.LittleEndian.PutUint64(b[8:], number)
	for at := 16; at < len(b); at++ {
		b[at] = byte(who*31 + number*7 + uint64(at))
	}
	return b
}

// Read returns what a message is, and an error if it is not whole.
func Read(b []byte) (who, number uint64, err error) {
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
