//go:build explore

package explore

import (
	"unsafe"

	"github.com/memlane/memlane/internal/word"
)

// address returns where b begins.
func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

func addressOf(w *word.Uint32) uintptr { return uintptr(unsafe.Pointer(w)) }
