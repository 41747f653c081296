package demo_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/memlane/memlane/cmd/memlane/internal/demo"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "peer" {
		if err := demo.Peer(os.Stdin, os.Stdout); err != nil {
			log.Fatal(err)
		}
		os.Exit(0)
	}
	if len(os.Args) == 2 && os.Args[1] == "rogue" {
		if err := runRogue(os.Stdin, os.Stdout); err != nil {
			log.Fatal(err)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// The program's own copies are the demo's other processes.
func ExampleRun() {
	folder, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	input := filepath.Join(folder, "input")
	if err := os.WriteFile(input, []byte(strings.Repeat("real input ", 1000)), 0o600); err != nil {
		log.Fatal(err)
	}
	var shown bytes.Buffer
	err = demo.Run(context.Background(), demo.Config{
		Input: input, Folder: folder, Out: &shown, Command: []string{"/proc/self/exe", "peer"},
	})
	fmt.Println(err, strings.Count(shown.String(), "All 3 clients have the input's SHA-256"))
	// Output: <nil> 2
}
