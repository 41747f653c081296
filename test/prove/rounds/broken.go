package rounds

import "fmt"

// A Broken is a promise that was not kept. It is an error of a worker, or the
// judgement of the conductor.
type Broken struct {
	Kind string // what must not happen
	Text string
}

func (b *Broken) Error() string { return b.Kind + ": " + b.Text }

// The kinds that every campaign knows.
const (
	Stuck      = "stuck"                           // somebody does not go on
	Unexpected = "an operation failed that cannot" // or a worker ended that must not
)

// Breaks returns the Broken of a kind.
func Breaks(kind, format string, args ...any) *Broken {
	return &Broken{kind, fmt.Sprintf(format, args...)}
}
