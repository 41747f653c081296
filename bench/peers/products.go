package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A product is what carries messages: memlane, a peer, or the floor.
type product struct {
	Name    string `json:"product"`
	Version string `json:"version,omitempty"`
	Missing string `json:"missing,omitempty"` // why it is; "" if it is there

	own   bool // without it there is nothing to compare with
	build func(b *bench) error
	// version is the command that prints it.
	version func(b *bench) []string
}

// patience is how long one command of a build may take. iceoryx2 and what it needs take
// a minute on two processors.
const patience = 10 * time.Minute

// products are made anew for each run.
func products() []*product {
	return []*product{
		{Name: "floor", own: true, build: buildFloor},
		{Name: "memlane", own: true, build: buildMemlane, version: func(*bench) []string {
			return []string{"git", "describe", "--always", "--dirty"}
		}},
		{Name: "iceoryx2", build: buildIceoryx, version: workerVersion(iceoryxWorker)},
		{Name: "aeron", build: buildAeron, version: func(b *bench) []string { return b.java("Peer", "version") }},
		{Name: "zeromq", build: buildZeromq, version: workerVersion("zeromq")},
		{Name: "boost", build: buildBoost, version: workerVersion("boost")},
	}
}

func workerVersion(file string) func(b *bench) []string {
	return func(b *bench) []string { return []string{b.built(file), "version"} }
}

// plain are the flags for C and C++. The loops over the payload are to be those of Go,
// which are not vectorized.
var plain = []string{"-O2", "-fno-tree-vectorize", "-Wall", "-Wextra"}

// iceoryxWorker is where cargo puts the worker, in the folder of what is built.
const iceoryxWorker = "cargo/release/peer"

// built is a file that is made.
func (b *bench) built(file string) string { return filepath.Join(b.folder, ".build", file) }

// source is a file of this program's testdata.
func (b *bench) source(elements ...string) string {
	return filepath.Join(append([]string{b.folder, "testdata"}, elements...)...)
}

// needed are the products of the contenders that -only selects, memlane, and the floor.
func (b *bench) needed(all []*product) (list []*product) {
	for _, p := range all {
		uses := func(c contender) bool { return c.product == p.Name && b.selects(c) }
		if p.own || slices.ContainsFunc(contenders, uses) {
			list = append(list, p)
		}
	}
	return list
}

// build makes products, or finds out why that cannot be.
func (b *bench) build(list []*product) error {
	if err := os.MkdirAll(b.built(""), 0o755); err != nil {
		return err
	}
	b.products = map[string]*product{}
	for _, p := range list {
		b.products[p.Name] = p
		err := p.build(b)
		if err == nil && p.version != nil {
			p.Version, err = b.command(p.version(b), b.folder)
		}
		if b.ctx.Err() != nil {
			return context.Cause(b.ctx)
		}
		if err != nil && p.own {
			return fmt.Errorf("build %s: %w", p.Name, err)
		}
		if err != nil {
			p.Missing = fmt.Sprintf("%v; bench/peers/install-deps installs what it needs, or says what does", err)
		}
		b.report.product(p)
	}
	return nil
}

// command runs a command in a folder, and returns what it prints.
func (b *bench) command(command []string, folder string, env ...string) (string, error) {
	if _, err := exec.LookPath(command[0]); err != nil {
		return "", fmt.Errorf("there is no %s", command[0])
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), env...)
	out, err := cmd.Output()
	if err == nil {
		return strings.TrimSpace(string(out)), nil
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, reason(string(exit.Stderr)))
	}
	return "", fmt.Errorf("%s: %w", filepath.Base(command[0]), err)
}

// reason returns the first line of what a compiler says that is about an error, or else
// the first one that is not the name of a Go package.
func reason(said string) string {
	first := ""
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, "error") {
			return line
		}
		if first == "" && !strings.HasPrefix(line, "#") {
			first = line
		}
	}
	return first
}

func buildFloor(b *bench) error {
	source := filepath.Join(b.folder, "../../cmd/memlane/internal/bench/testdata/floor.c")
	_, err := b.command(append([]string{"gcc", "-o", b.built("floor"), source}, plain...), b.folder)
	return err
}

func buildMemlane(b *bench) error {
	_, err := b.command([]string{"go", "build", "-o", b.built("memlane"), "./cmd/memlane"}, filepath.Join(b.folder, "../.."))
	return err
}

func buildIceoryx(b *bench) error {
	_, err := b.command([]string{"cargo", "build", "--quiet", "--locked", "--release"}, b.source("iceoryx2"),
		"CARGO_TARGET_DIR="+b.built("cargo"), "RUSTFLAGS=-C no-vectorize-loops -C no-vectorize-slp")
	return err
}

func buildAeron(b *bench) error {
	if _, err := os.Stat(b.built("aeron-all.jar")); err != nil {
		return errors.New("there is no aeron-all.jar in .build")
	}
	_, err := b.command([]string{"javac", "-d", b.built("aeron"), "-cp", b.built("aeron-all.jar"), b.source("aeron", "Peer.java")}, b.folder)
	return err
}

func buildZeromq(b *bench) error {
	args := append([]string{"gcc", "-o", b.built("zeromq"), b.source("zeromq", "peer.c")}, plain...)
	_, err := b.command(append(args, "-lzmq"), b.folder)
	return err
}

func buildBoost(b *bench) error {
	args := append([]string{"g++", "-std=c++17", "-pthread", "-o", b.built("boost"), b.source("boost", "peer.cpp")}, plain...)
	_, err := b.command(append(args, "-lrt"), b.folder)
	return err
}
