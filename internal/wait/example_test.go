package wait_test

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/memlane/memlane/internal/wait"
)

// One side waits until a word is 3; the other counts it up. In shared memory the
// two can be different processes.
func ExamplePark() {
	var word atomic.Uint32
	go func() {
		for range 3 {
			word.Add(1)
			wait.Wake(&word, wait.All)
		}
	}()
	for seen := word.Load(); seen != 3; seen = word.Load() {
		if err := wait.Park(context.Background(), &word, seen); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(word.Load())
	// Output: 3
}
