package shmsync_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/memlane/memlane/shmsync"
)

// numbers are the values of the constants that are those of package layout, which
// go doc shows by their names there.
var numbers = map[string]int{
	"MutexBytes":     shmsync.MutexBytes,
	"SemaphoreBytes": shmsync.SemaphoreBytes,
	"EventBytes":     shmsync.EventBytes,
	"Align":          shmsync.Align,
	"AreaBytes":      shmsync.AreaBytes,
	"MaxProcesses":   shmsync.MaxProcesses,
	"MaxNames":       shmsync.MaxNames,
	"MaxNameBytes":   shmsync.MaxNameBytes,
	"MaxPermits":     shmsync.MaxPermits,
}

// What go doc says beside a constant has its number.
func TestConstantsSayTheirNumbers(t *testing.T) {
	shown := 0
	for name, text := range numericConstants(t) {
		n, known := numbers[name]
		switch {
		case !known:
			t.Errorf("%s has no row in this test", name)
		case !regexp.MustCompile(`\b` + strconv.Itoa(n) + `\b`).MatchString(text):
			t.Errorf("%s is %d, and its comment says %q", name, n, text)
		}
		shown++
	}
	if shown != len(numbers) {
		t.Errorf("%d constants, %d rows", shown, len(numbers))
	}
}

// numericConstants returns the exported constants without a type, and what the
// comments of each say.
func numericConstants(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	constants := map[string]string{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			group, ok := d.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				continue
			}
			for _, s := range group.Specs {
				spec := s.(*ast.ValueSpec)
				text := spec.Doc.Text() + spec.Comment.Text()
				if !group.Lparen.IsValid() {
					text = group.Doc.Text()
				}
				if name := spec.Names[0]; name.IsExported() && spec.Type == nil {
					constants[name.Name] = text
				}
			}
		}
	}
	return constants
}

// An automatic event is set or not, and counts how often.
func TestAutomaticEventIsSetTwice(t *testing.T) {
	s := newSegment(t)
	e, err := shmsync.EventAt(s, 0, shmsync.Automatic)
	noError(t, err)
	noError(t, e.Set())
	noError(t, e.Set())
	for _, want := range []bool{true, false} {
		if set, err := e.TryWait(); err != nil || set != want {
			t.Errorf("set %v, %v; want %v", set, err, want)
		}
	}
	if n, err := e.Count(); err != nil || n != 2 {
		t.Errorf("count %d, %v; want 2", n, err)
	}
}

// A process that has two handles of a segment is two: closing the one is its death.
func TestClosingOneOfTwoHandles(t *testing.T) {
	s := newSegment(t)
	closed, kept := reattach(t, s), reattach(t, s)
	noError(t, mutexAt(t, closed, 0).Lock(background))
	semaphore, err := shmsync.SemaphoreAt(closed, 64)
	noError(t, err)
	noError(t, semaphore.Post(1))
	noError(t, semaphore.Acquire(background))
	mu := mutexAt(t, kept, 0)
	if err := mu.Unlock(); !errors.Is(err, shmsync.ErrNotOwner) {
		t.Errorf("unlocked by the other handle: %v", err)
	}
	noError(t, closed.Close())
	wantError(t, mu.Lock(background), []error{shmsync.ErrOwnerDied})
	noError(t, mu.Consistent())
	noError(t, mu.Unlock())
	semaphore, err = shmsync.SemaphoreAt(kept, 64)
	noError(t, err)
	noError(t, semaphore.Acquire(background))
}
