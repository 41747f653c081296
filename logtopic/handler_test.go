package logtopic_test

import (
	"context"
	"testing"

	"github.com/memlane/memlane"
)

var background = context.Background()

// open opens the domain of a test, which is in a folder of its own.
func open(t testing.TB, folder string) *memlane.Domain {
	t.Helper()
	d, err := memlane.Open("test", &memlane.Config{Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}
