package memlane_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/memlane/memlane"

// A row is what one package is and may do. Layers are those of ARCHITECTURE.md:
// an import goes to a smaller number, never sideways or up.
type row struct {
	dir      string
	layer    int
	external []string // modules and packages outside the standard library
	unsafe   bool     // its *_unsafe.go files may import unsafe
	assembly bool     // it may have *.s files, for instructions that Go has no word for
	testing  bool     // only tests import it
}

// policy has a row for every package of every module. It states a decision: to
// get a failing test green, change the code, not the row.
var policy = []row{
	{dir: "internal/sys", layer: 0, unsafe: true, assembly: true, external: []string{"golang.org/x/sys/unix"}},
	{dir: "internal/layout", layer: 0},
	{dir: "internal/word", layer: 0, unsafe: true},
	{dir: "mmap", layer: 1, unsafe: true},
	{dir: "internal/region", layer: 1, unsafe: true},
	{dir: "internal/wait", layer: 1, assembly: true},
	{dir: "segment", layer: 2},
	{dir: "schema", layer: 2},
	{dir: "internal/life", layer: 2},
	{dir: "shmsync", layer: 3},
	{dir: "internal/memory", layer: 3},
	{dir: "internal/ring", layer: 4, unsafe: true, assembly: true},
	{dir: "internal/meet", layer: 4},
	{dir: "internal/domain", layer: 5},
	{dir: "internal/observe", layer: 5},
	{dir: "internal/format", layer: 5},
	{dir: "spec/generate", layer: 9},
	{dir: "examples/seed/server", layer: 9},
	{dir: "examples/seed/client", layer: 9},
	{dir: "examples/logs/shop", layer: 9},
	{dir: "examples/logs/agent", layer: 9},
	{dir: "examples/pubsub/publisher", layer: 9},
	{dir: "examples/pubsub/subscriber", layer: 9},
	{dir: "cmd/memlane/internal/demo", layer: 9, external: []string{"github.com/dustin/go-humanize"}},
	{dir: "cmd/memlane/internal/bench", layer: 9, external: []string{"github.com/dustin/go-humanize", "golang.org/x/sys/unix"}},
	{dir: "cmd/memlane/internal/live", layer: 9},
	{dir: "cmd/memlane/internal/mcap", layer: 9, external: []string{"github.com/klauspost/compress/zstd"}},
	{dir: "cmd/memlane/internal/top", layer: 10, external: []string{"charm.land/bubbletea/v2", "charm.land/lipgloss/v2", "github.com/charmbracelet/x/ansi", "github.com/dustin/go-humanize"}},
	{dir: "cmd/memlane", layer: 11, external: []string{"github.com/dustin/go-humanize", "github.com/invopop/jsonschema", "github.com/prometheus/client_golang/prometheus", "github.com/spf13/cobra", "golang.org/x/term"}},
	{dir: "internal/explore", layer: 9, unsafe: true, testing: true},
	{dir: "internal/hostile", layer: 5, testing: true},
	{dir: "internal/proctest", layer: 9, unsafe: true, testing: true},
	{dir: "test", layer: 9, testing: true, external: []string{"github.com/rogpeppe/go-internal/testscript", "github.com/santhosh-tekuri/jsonschema/v6"}},
	{dir: "test/history", layer: 9, testing: true, external: []string{"github.com/anishathalye/porcupine"}},
	{dir: "test/prove", layer: 8, testing: true},
	{dir: "test/prove/msync", layer: 9, testing: true},
	{dir: "test/prove/rounds", layer: 9, testing: true},
	{dir: "test/prove/locks", layer: 10, testing: true},
	{dir: "test/prove/topics", layer: 10, testing: true},
	{dir: "test/prove/churn", layer: 10, testing: true},
	{dir: "test/prove/hostile", layer: 10, testing: true},
	{dir: "test/prove/fuzz", layer: 9, testing: true},
	{dir: "test/prove/litmus", layer: 9, testing: true},
	{dir: "test/prove/explore", layer: 9, testing: true},
	{dir: "test/prove/step", layer: 8, testing: true},
	{dir: "test/prove/topic", layer: 8, testing: true},
	{dir: "test/prove/calls", layer: 8, testing: true},
	{dir: "test/prove/joins", layer: 10, testing: true},
	{dir: "test/prove/places", layer: 9, testing: true},
	{dir: "test/prove/everystep", layer: 10, testing: true},
	{dir: "test/prove/everymessage", layer: 10, testing: true},
	{dir: "test/prove/models", layer: 9, testing: true},
	{dir: "test/boot", layer: 9, testing: true},
	{dir: "test/mutants", layer: 9, testing: true},
	{dir: "test/report", layer: 9, testing: true},
	{dir: "bench/internal/machine", layer: 8},
	{dir: "bench/sync", layer: 9},
	{dir: "bench/peers", layer: 9},
	{dir: "bench/joins", layer: 9},
	{dir: ".", layer: 6},
	{dir: "pubsub", layer: 7},
	{dir: "inspect", layer: 8},
	{dir: "logtopic", layer: 8},
	{dir: "doctor", layer: 9},
	{dir: "export/prometheus", layer: 9, external: []string{"github.com/prometheus/client_golang/prometheus"}},
}

func TestLayers(t *testing.T) {
	for _, problem := range check(t, ".", policy) {
		t.Error(problem)
	}
	text, err := exec.Command("go", "mod", "edit", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct{ Require []struct{ Path string } }
	if err := json.Unmarshal(text, &mod); err != nil {
		t.Fatal(err)
	}
	if len(mod.Require) != 1 || mod.Require[0].Path != "golang.org/x/sys" {
		t.Errorf("the root module requires %v; it depends on golang.org/x/sys alone", mod.Require)
	}
}

// The check can fail: each of these trees breaks one rule.
func TestLayersFailOnPlantedViolations(t *testing.T) {
	rows := []row{
		{dir: "low", layer: 0, unsafe: true, external: []string{"golang.org/x/sys/unix"}},
		{dir: "high", layer: 1},
		{dir: "help", layer: 9, testing: true},
		{dir: "nested/cmd", layer: 9, external: []string{"example.com/allowed"}},
	}
	good := map[string]string{
		"low/a_unsafe.go":      "// Package low is low.\npackage low\nimport (\n\t\"unsafe\"\n\t\"golang.org/x/sys/unix\"\n)\nvar _ unsafe.Pointer\nvar _ unix.Errno",
		"low/example_test.go":  "package low_test\nfunc Example() {\n\t// Output:\n}",
		"high/a.go":            "// Package high is high.\npackage high\nimport _ \"" + module + "/low\"\n",
		"high/example_test.go": "package high_test\nimport _ \"" + module + "/help\"\nfunc Example() {\n\t// Output:\n}",
		"help/a.go":            "// Package help helps tests.\npackage help\n",
		"nested/go.mod":        "module " + module + "/nested\n",
		"nested/cmd/main.go":   "// Cmd is a program.\npackage main\nimport _ \"example.com/allowed/sub\"\nfunc main() {}\n",
	}
	for name, tc := range map[string]struct {
		path, text, want string
	}{
		"nothing":                          {"", "", ""},
		"import upwards":                   {"low/b.go", "package low\nimport _ \"" + module + "/high\"\n", "low/b.go: imports high: layer 1 from layer 0"},
		"import sideways":                  {"high/b.go", "package high\nimport _ \"" + module + "/high/other\"\n", "imports high/other, which has no row"},
		"x/sys outside sys":                {"high/b.go", "package high\nimport _ \"golang.org/x/sys/unix\"\n", "high/b.go: imports golang.org/x/sys/unix"},
		"unsafe in another file":           {"low/b.go", "package low\nimport _ \"unsafe\"\n", "low/b.go: imports unsafe"},
		"unsafe in another package":        {"high/b_unsafe.go", "package high\nimport _ \"unsafe\"\n", "high/b_unsafe.go: imports unsafe"},
		"unsafe in a test":                 {"high/b_test.go", "package high\nimport _ \"unsafe\"\n", "high/b_test.go: imports unsafe"},
		"cgo":                              {"high/b.go", "package high\nimport \"C\"\n", "imports C"},
		"test helper in a program":         {"high/b.go", "package high\nimport _ \"" + module + "/help\"\n", "imports help, which is for tests"},
		"dependency of a module":           {"nested/cmd/b.go", "package main\nimport _ \"example.com/other\"\n", "nested/cmd/b.go: imports example.com/other"},
		"prefix that is another one":       {"nested/cmd/b.go", "package main\nimport _ \"example.com/allowed2\"\n", "imports example.com/allowed2"},
		"package without a row":            {"more/a.go", "// Package more is more.\npackage more\n", "more: no row"},
		"row without a package":            {"help/a.go", "", "help: a row, but no package"},
		"drawer":                           {"high/util/a.go", "// Package util is a drawer.\npackage util\n", "high/util: says nothing"},
		"no package comment":               {"high/a.go", "package high\n", "high: no package comment"},
		"undocumented function":            {"high/b.go", "package high\nfunc F() {}\n", "high/b.go: F has no doc comment"},
		"undocumented method":              {"high/b.go", "package high\n// T is.\ntype T int\nfunc (T) M() {}\n", "high/b.go: M has no doc comment"},
		"undocumented type":                {"high/b.go", "package high\ntype T int\n", "high/b.go: T has no doc comment"},
		"undocumented constant":            {"high/b.go", "package high\nconst (\n\tA = 1 // one\n\tB = 2\n)\n", "high/b.go: B has no doc comment"},
		"undocumented field":               {"high/b.go", "package high\n// T is.\ntype T struct {\n\tA int // a\n\tB int\n}\n", "high/b.go: T.B has no doc comment"},
		"system call elsewhere":            {"high/b.go", "package high\nimport \"syscall\"\nvar _, _ = syscall.Mmap(0, 0, 0, 0, 0)\n", "high/b.go: calls syscall.Mmap"},
		"bare system call":                 {"high/b.go", "package high\nimport \"syscall\"\nfunc f() { syscall.RawSyscall(9, 0, 0, 0) }\n", "high/b.go: calls syscall.RawSyscall"},
		"assembly":                         {"high/a_amd64.s", "TEXT ·f(SB), 0, $0\n\tRET\n", "high/a_amd64.s: only Go"},
		"testing in a library":             {"high/b.go", "package high\nimport _ \"testing\"\n", "high/b.go: imports testing"},
		"web server in a library":          {"high/b.go", "package high\nimport _ \"net/http\"\n", "high/b.go: imports net/http"},
		"empty folder":                     {"high/none/", "", "high/none: an empty folder"},
		"generic method":                   {"high/b.go", "package high\n// P is.\ntype P[K, V any] struct{}\nfunc (*(P[K, V])) M() {}\n", "high/b.go: M has no doc comment"},
		"interface method":                 {"high/b.go", "package high\n// I is.\ntype I interface {\n\tM()\n}\n", "high/b.go: I.M has no doc comment"},
		"nested field":                     {"high/b.go", "package high\n// T is.\ntype T struct {\n\tA struct{ B int } // a\n}\n", "high/b.go: T.A.B has no doc comment"},
		"second type of a group":           {"high/b.go", "package high\n// Both are.\ntype (\n\tA int\n\tB int\n)\n", "high/b.go: B has no doc comment"},
		"method named like an interface's": {"high/b.go", "package high\n// T is.\ntype T int\nfunc (T) Write(n int) {}\n", "high/b.go: Write has no doc comment"},
		"no example":                       {"high/example_test.go", "package high_test\nfunc Example() {\n}", "high: no Example that runs"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			files := map[string]string{}
			for path, text := range good {
				files[path] = text
			}
			if tc.path != "" {
				files[tc.path] = tc.text
			}
			for path, text := range files {
				if strings.HasSuffix(path, "/") {
					if err := os.MkdirAll(filepath.Join(dir, path), 0o700); err != nil {
						t.Fatal(err)
					}
				}
				if text == "" {
					continue
				}
				file := filepath.Join(dir, path)
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			problems := check(t, dir, rows)
			if tc.want == "" {
				if len(problems) > 0 {
					t.Errorf("problems in a good tree: %q", problems)
				}
				return
			}
			if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, tc.want) }) {
				t.Errorf("got %q; want %q", problems, tc.want)
			}
		})
	}
}

// check holds the tree below root against rows and returns what is wrong.
func check(t *testing.T, root string, rows []row) (problems []string) {
	t.Helper()
	report := func(where, format string, args ...any) {
		problems = append(problems, where+": "+fmt.Sprintf(format, args...))
	}
	byDir := map[string]row{}
	for _, r := range rows {
		byDir[r.dir] = r
	}
	fset := token.NewFileSet()
	packages := map[string]map[string]*ast.File{} // dir → file name → file
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && file != root && (name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
			return filepath.SkipDir
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if entries, err := os.ReadDir(file); err == nil && len(entries) == 0 {
				report(filepath.ToSlash(rel), "an empty folder")
			}
			return nil
		}
		if ext := filepath.Ext(name); ext == ".s" && byDir[filepath.ToSlash(filepath.Dir(rel))].assembly {
			return nil
		}
		if slices.Contains([]string{".s", ".c", ".cc", ".h", ".syso"}, filepath.Ext(name)) {
			report(filepath.ToSlash(rel), "only Go here; a row must allow other code first")
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(fset, file, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(rel))
		if packages[dir] == nil {
			packages[dir] = map[string]*ast.File{}
		}
		packages[dir][name] = f
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	for dir, files := range packages {
		if base := path.Base(dir); slices.Contains([]string{"util", "utils", "common", "types", "helpers", "misc"}, base) {
			report(dir, "says nothing about what it is")
		}
		self, ok := byDir[dir]
		if !ok {
			report(dir, "no row in the policy")
			continue
		}
		documented, example, onlyTests := false, false, true
		for name, f := range files {
			where := path.Join(dir, name)
			test := strings.HasSuffix(name, "_test.go")
			for _, spec := range f.Imports {
				imported, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				if why := refused(self, byDir, name, imported, test); why != "" {
					report(where, "imports %s", why)
				}
			}
			if test {
				example = example || runs(f)
				continue
			}
			if self.layer > 0 && !self.unsafe && !self.testing {
				for _, call := range kernelCalls(f) {
					report(where, "calls syscall.%s: that is for internal/sys", call)
				}
			}
			onlyTests = false
			documented = documented || f.Doc.Text() != ""
			undocumented(f, !strings.Contains("/"+dir+"/", "/internal/") && !self.testing, func(name string) {
				report(where, "%s has no doc comment", name)
			})
		}
		if onlyTests {
			continue
		}
		if !documented {
			report(dir, "no package comment")
		}
		for name, f := range files {
			library := f.Name.Name != "main" && !strings.HasSuffix(name, "_test.go")
			if library && !self.testing && !example {
				report(dir, "no Example that runs")
				break
			}
		}
	}
	for dir := range byDir {
		if packages[dir] == nil {
			report(dir, "a row, but no package")
		}
	}
	slices.Sort(problems)
	return problems
}

// refused returns what is wrong with a file's import; "" if nothing is.
func refused(self row, byDir map[string]row, file, imported string, test bool) string {
	switch imported {
	case "unsafe":
		if !self.unsafe || !strings.HasSuffix(file, "_unsafe.go") {
			return "unsafe: only *_unsafe.go files of packages whose row says so may"
		}
		return ""
	case "C":
		return "C: there is no cgo here"
	case "testing", "net/http", "net/http/pprof", "expvar", "plugin", "reflect/internal":
		// What a library drags in stays in every program that uses it.
		if !test && !self.testing && self.layer < 8 {
			return imported + ": not in a library"
		}
		return ""
	}
	if rel, ours := strings.CutPrefix(imported, module+"/"); ours || imported == module {
		if !ours {
			rel = "."
		}
		other, ok := byDir[rel]
		switch {
		case !ok:
			return rel + ", which has no row"
		case rel == self.dir:
			return "" // an external test of its own package
		case test:
			return "" // tests may reach for anything of ours
		case other.testing && !self.testing:
			return rel + ", which is for tests"
		case other.layer >= self.layer:
			return fmt.Sprintf("%s: layer %d from layer %d", rel, other.layer, self.layer)
		}
		return ""
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return "" // the standard library
	}
	for _, allowed := range self.external {
		if imported == allowed || strings.HasPrefix(imported, allowed+"/") {
			return ""
		}
	}
	return imported + ", which its row does not allow"
}

// kernelCalls returns the functions of package syscall that the file uses to
// map memory or to call the kernel without a name.
func kernelCalls(f *ast.File) (calls []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == "syscall" {
			switch name := sel.Sel.Name; name {
			case "Mmap", "Munmap", "Mprotect", "Madvise", "Syscall", "Syscall6", "RawSyscall", "RawSyscall6":
				calls = append(calls, name)
			}
		}
		return true
	})
	return calls
}

// runs reports whether the file has an Example with an Output comment: only
// these are run.
func runs(f *ast.File) bool {
	for _, decl := range f.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || !strings.HasPrefix(fn.Name.Name, "Example") || fn.Body == nil {
			continue
		}
		for _, c := range f.Comments {
			if c.Pos() > fn.Body.Lbrace && c.End() < fn.Body.Rbrace && strings.HasPrefix(strings.ToLower(c.Text()), "output:") {
				return true
			}
		}
	}
	return false
}

// undocumented calls report for every exported declaration without a comment,
// and with fields for every exported field and interface method too.
func undocumented(f *ast.File, fields bool, report func(name string)) {
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			exported := d.Name.IsExported()
			if d.Recv != nil {
				exported = exported && ast.IsExported(receiver(d.Recv.List[0].Type)) && !ofWellKnownInterface(d)
			}
			if exported && d.Doc.Text() == "" {
				report(d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					if !s.Name.IsExported() {
						continue
					}
					if s.Doc.Text() == "" && (d.Doc.Text() == "" || len(d.Specs) > 1) {
						report(s.Name.Name)
					}
					if fields {
						undocumentedFields(s.Type, s.Name.Name, report)
					}
				case *ast.ValueSpec:
					for _, name := range s.Names {
						// A group of bare values, as of a kernel's flags, has its
						// comment above it.
						grouped := d.Doc.Text() != "" && !fields
						if name.IsExported() && s.Doc.Text() == "" && s.Comment.Text() == "" && !grouped && (len(d.Specs) > 1 || d.Doc.Text() == "") {
							report(name.Name)
						}
					}
				}
			}
		}
	}
}

func undocumentedFields(t ast.Expr, path string, report func(name string)) {
	var list *ast.FieldList
	switch t := t.(type) {
	case *ast.StructType:
		list = t.Fields
	case *ast.InterfaceType:
		list = t.Methods
	default:
		return
	}
	for _, field := range list.List {
		for _, name := range field.Names {
			if !name.IsExported() {
				continue
			}
			if field.Doc.Text() == "" && field.Comment.Text() == "" {
				report(path + "." + name.Name)
			}
			undocumentedFields(field.Type, path+"."+name.Name, report)
		}
	}
}

// ofWellKnownInterface recognises methods whose meaning an interface of the
// standard library, or of a library that is used, gives: by name and number of
// parameters and results.
func ofWellKnownInterface(d *ast.FuncDecl) bool {
	shape, ok := map[string][2]int{
		"Error": {0, 1}, "Unwrap": {0, 1}, "String": {0, 1}, "Is": {1, 1},
		"Read": {1, 2}, "Write": {1, 2}, "Set": {1, 1}, "Type": {0, 1},
	}[d.Name.Name]
	return ok && d.Type.Params.NumFields() == shape[0] && d.Type.Results.NumFields() == shape[1]
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.ParenExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
