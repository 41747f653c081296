package word_test

import (
	"fmt"

	"github.com/memlane/memlane/internal/word"
)

// The low half of a word is what waiters sleep on.
func ExampleLow() {
	var w word.Uint64
	w.Store(7<<32 | 5)
	fmt.Println(word.Low(&w).Load())
	// Output: 5
}
