//go:build explore

package ring

import (
	"unsafe"

	"github.com/memlane/memlane/internal/word"
)

// raw reads a word without a step.
func raw(w *word.Uint64) *uint64 { return (*uint64)(unsafe.Pointer(w)) }
