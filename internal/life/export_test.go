package life

import (
	"os"

	"github.com/memlane/memlane/internal/sys"
)

// Locked says whether somebody has the lock of a member.
func Locked(f *os.File, member int) (bool, error) {
	return sys.ByteLocked(int(f.Fd()), lockOf(member))
}
