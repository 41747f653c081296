package main

import (
	"fmt"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if ok, err := role(os.Args[1:]); ok {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Of lines that store again and again the first and the last times are tried.
func TestInLoop(t *testing.T) {
	lines := []string{"a", "b", "b", "b", "b", "b", "b", "b", "c"}
	for loops, want := range map[int]string{0: "abbbbbbbc", 1: "abbc", 2: "abbbbc", 3: "abbbbbbc"} {
		c := campaign{loops: loops}
		got := ""
		for i, l := range lines {
			if !c.inLoop(lines, i) {
				got += l
			}
		}
		if got != want {
			t.Errorf("with %d loops %s are taken; want %s", loops, got, want)
		}
	}
}
