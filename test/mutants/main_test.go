package main

import (
	"os"
	"path/filepath"
	"testing"
)

// All mutants can be planted: the code is what they change. Whether they are caught takes
// minutes, with make mutants.
func TestMutantsFit(t *testing.T) {
	text, err := os.ReadFile("mutants.txt")
	if err != nil {
		t.Fatal(err)
	}
	mutants, err := parse(string(text))
	if err != nil || len(mutants) < 100 {
		t.Fatal(len(mutants), err)
	}
	names := map[string]bool{}
	for _, m := range mutants {
		source, err := os.ReadFile(filepath.Join("..", "..", m.file))
		if err == nil {
			err = m.fits(string(source))
		}
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		if names[m.name] {
			t.Errorf("%s: it is there twice", m.name)
		}
		names[m.name] = true
	}
}
