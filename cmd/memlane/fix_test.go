package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/memlane/memlane/internal/meet"
	"github.com/memlane/memlane/pubsub"
	"github.com/memlane/memlane/segment"
	"github.com/memlane/memlane/shmsync"
)

// goOnly are fixes of errors that the command does not come to, because it makes no
// such mistake.
var goOnly = []string{
	"use it before Close",
	"remove it before Close, or by its name",
	"the sender must make it with CreateAnonymous, or seal its memfd after mapping it",
	"choose Manual or Automatic",
	"it is yours: repair what it guards, call Consistent, Unlock",
	"call Consistent before Unlock when what it guards is repaired; now use Recover",
	"acquire it first, and release it once; what Wait has taken is not held",
	"take permits with Wait",
}

// What the packages advise in words of Go has other words in the command, and the
// command has no words for what they do not say any more.
func TestFixesAreOfTheCommand(t *testing.T) {
	said := map[string]bool{}
	for _, dir := range []string{"segment", "shmsync"} {
		for _, text := range literals(t, filepath.Join("../..", dir)) {
			said[text] = true
		}
	}
	for fix := range fixes {
		if !said[fix] {
			t.Errorf("no package says %q", fix)
		}
	}
	for _, fix := range goOnly {
		if !said[fix] {
			t.Errorf("no package says %q, which is in this test", fix)
		}
	}
	exported := regexp.MustCompile(`[a-z;,:.] ?\b[A-Z][a-z]+[A-Za-z]*\b`)
	for _, dir := range []string{"segment", "shmsync"} {
		for _, fix := range fixesOf(t, filepath.Join("../..", dir)) {
			if _, ok := fixes[fix]; !ok && exported.MatchString(fix) && !slices.Contains(goOnly, fix) {
				t.Errorf("package %s advises %q: give the table of fixes the words of the command", dir, fix)
			}
		}
	}
}

// parse returns the files of a package that are not tests.
func parse(t *testing.T, dir string) []*ast.File {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// text returns the value of a string literal.
func text(n ast.Node) (string, bool) {
	literal, ok := n.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return "", false
	}
	value, err := strconv.Unquote(literal.Value)
	return value, err == nil
}

func literals(t *testing.T, dir string) (all []string) {
	for _, file := range parse(t, dir) {
		ast.Inspect(file, func(n ast.Node) bool {
			if s, ok := text(n); ok {
				all = append(all, s)
			}
			return true
		})
	}
	return all
}

// fixesOf returns the literals that are the last value of an Error, or the last
// argument of a function that is called fail.
func fixesOf(t *testing.T, dir string) (all []string) {
	for _, file := range parse(t, dir) {
		ast.Inspect(file, func(n ast.Node) bool {
			var values []ast.Expr
			switch n := n.(type) {
			case *ast.CallExpr:
				if selector, ok := n.Fun.(*ast.SelectorExpr); ok && selector.Sel.Name == "fail" {
					values = n.Args
				} else if name, ok := n.Fun.(*ast.Ident); ok && name.Name == "fail" {
					values = n.Args
				}
			case *ast.CompositeLit:
				if name, ok := n.Type.(*ast.Ident); ok && name.Name == "Error" {
					values = n.Elts
				}
			}
			if len(values) > 1 {
				if s, ok := text(values[len(values)-1]); ok {
					all = append(all, s)
				}
			}
			return true
		})
	}
	if len(all) < 10 {
		t.Fatalf("found %q", all)
	}
	return all
}

// However deep the error is, its fix is the command's.
func TestMessage(t *testing.T) {
	attach := &segment.Error{Op: "attach", Object: "/x", Err: segment.ErrNotExist, Fix: "create it first, or look with List what there is"}
	lock := &shmsync.Error{Op: "lock", Object: "m", Err: shmsync.ErrUnrecoverable, Fix: "restore what it guards, with Recover"}
	other := &segment.Error{Op: "attach", Object: "/x", Err: segment.ErrEmpty, Fix: "try again"}
	large := &pubsub.Error{Op: "publish", Topic: "x", Err: pubsub.ErrTooLarge, Fix: "make PublisherConfig.ArenaLimit larger"}
	foreign := &meet.Error{Op: "open", Object: "domain /x", Err: meet.ErrUntrusted, Fix: "accept that user in Config.Owners if it is to take part, or choose another folder"}
	for _, c := range []struct {
		err  error
		want string
	}{
		{foreign, "meet: open domain /x: not trusted (accept that user with --owner if it is to take part, or choose another folder)"},
		{errors.New("plain"), "plain"},
		{attach, `segment: attach /x: file does not exist ("memlane segment ls" shows what there is)`},
		{large, `pubsub: publish "x": ` + pubsub.ErrTooLarge.Error() + " (publish it in parts)"},
		{fmt.Errorf("%w (more)", lock), "shmsync: lock m: what it guards was left inconsistent (more)"},
		{errors.Join(other, fmt.Errorf("a: %w, %w", attach, lock)), "segment: attach /x: it has no size yet (try again)\n" +
			`a: segment: attach /x: file does not exist ("memlane segment ls" shows what there is), shmsync: lock m: what it guards was left inconsistent`},
	} {
		if got := message(c.err); got != c.want {
			t.Errorf("%q; want %q", got, c.want)
		}
	}
}
