//go:build !explore

package shmsync

import "github.com/memlane/memlane/internal/layout"

// cellsMax is how many cells a semaphore has; the explorer has fewer members, and
// does not look at the rest.
const cellsMax = layout.AreaMembersCount
