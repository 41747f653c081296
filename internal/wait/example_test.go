package wait_test

import (
	"context"
	"fmt"

	"github.com/memlane/memlane/internal/wait"
	"github.com/memlane/memlane/internal/word"
)

// One side waits until a word is 3; the other counts it up. In shared memory the
// two can be different processes.
func ExamplePark() {
	var w word.Uint32
	go func() {
		for range 3 {
			w.Add(1)
			wait.Wake(&w, wait.All)
		}
	}()
	for seen := w.Load(); seen != 3; seen = w.Load() {
		if err := wait.Park(context.Background(), &w, seen, nil, 0); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(w.Load())
	// Output: 3
}
