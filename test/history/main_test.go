// Package history checks that what several processes do with one primitive at the
// same time could have been done by one after the other: that their history is
// linearizable. Each operation is written down with the moments before and after
// it, and the checker looks for an order in which every answer is the model's.
//
// Some processes are killed in the middle of an operation. What they had begun may
// have happened, at any time before their death, or not.
//
// Of topics nothing has to be searched: a message is published once, and each subscriber has
// its own way through them, so that rules decide in n log n: see checkTopic. Where both
// checkers can say something they must say the same. -topics is for more histories than make
// test has.
package history

import (
	"testing"

	"github.com/memlane/memlane/internal/proctest"
)

func TestMain(m *testing.M) {
	proctest.Main(m, map[string]proctest.Helper{"perform": perform, "topic": performTopic})
}
