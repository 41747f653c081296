package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// peerSource is the C side. It is part of the program, so that the program runs
// in any folder.
//
//go:embed testdata/peer.c
var peerSource []byte

// compilePeer builds the C side as the given file.
func compilePeer(ctx context.Context, file string) (string, error) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return "", errors.New("there is no gcc")
	}
	source := file + ".c"
	if err := os.WriteFile(source, peerSource, 0o600); err != nil {
		return "", err
	}
	if out, err := exec.CommandContext(ctx, gcc, "-O2", "-pthread", "-Wall", "-Wextra", "-o", file, source).CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile %s: %w\n%s", source, err, out)
	}
	return file, nil
}
