//go:build !race

package logtopic_test

import (
	"log/slog"
	"testing"
)

// An ordinary record does not allocate, neither as such nor by way of a Logger.
func TestAllocations(t *testing.T) {
	h, s := pair(t, nil)
	log := slog.New(h.WithGroup("http").WithAttrs([]slog.Attr{slog.String("host", "localhost")}))
	both := func() {
		log.LogAttrs(background, slog.LevelInfo, "request served", five...)
		if _, err := s.TryReceive(); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		both()
	}
	if n := testing.AllocsPerRun(1000, both); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
