package memlane_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Nothing that users see has a type of an internal package in it: they could neither
// read what it is, nor have one.
func TestSurfaceHasNothingInternal(t *testing.T) {
	for _, r := range policy {
		if r.layer >= 9 || strings.HasPrefix(r.dir, "internal/") {
			continue
		}
		files, err := filepath.Glob(filepath.Join(r.dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, what := range internalTypes(f) {
				t.Errorf("%s: users see %s", name, what)
			}
		}
	}
}

// The check can fail.
func TestSurfaceCheckFinds(t *testing.T) {
	const head = "package p\nimport \"" + module + "/internal/ring\"\n"
	for text, want := range map[string]bool{
		"func F(w *ring.Writer) {}":                         true,
		"func f(w *ring.Writer) {}":                         false,
		"func F() { var _ ring.Writer }":                    false,
		"type T struct{}\nfunc (T) M() []ring.Writer":       true,
		"type T[V any] struct{}\nfunc (*T[V]) M(ring.Loan)": true,
		"type t struct{}\nfunc (t) M() ring.Writer":         false,
		"type T = ring.Writer":                              true,
		"type T struct { F ring.Writer }":                   true,
		"type T struct { ring.Writer }":                     true,
		"type T struct { f ring.Writer }":                   false,
		"type T interface { M(ring.Writer) }":               true,
		"var V ring.Writer":                                 true,
		"var V = ring.Writer{}":                             false, // whose type is not written down
		"const C = T(ring.Block)\ntype T uint32":            false,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "p.go", head+text, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := internalTypes(f); (len(got) > 0) != want {
			t.Errorf("%s: %q", text, got)
		}
	}
}

// internalTypes returns what the file exports that has a type of an internal package.
func internalTypes(f *ast.File) (found []string) {
	internal := map[string]bool{} // names of packages
	for _, spec := range f.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		if _, name, ok := strings.Cut(path, "/internal/"); ok {
			internal[name] = true
		}
	}
	for name, expr := range exportedTypes(f) {
		ast.Inspect(expr, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && internal[x.Name] {
					found = append(found, name+", with "+x.Name+"."+n.Sel.Name)
				}
			case *ast.StructType:
				n.Fields.List = slices.DeleteFunc(n.Fields.List, hidden)
			}
			return true
		})
	}
	return found
}

// hidden says whether users do not see a field of a struct. They do see what is
// embedded: its methods are the struct's too.
func hidden(f *ast.Field) bool {
	return len(f.Names) > 0 && !slices.ContainsFunc(f.Names, (*ast.Ident).IsExported)
}

// exportedTypes returns the types of what a file exports, as they are written down.
func exportedTypes(f *ast.File) map[string]ast.Expr {
	types := map[string]ast.Expr{}
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				name = receiver(d.Recv.List[0].Type) + "." + name
				if !ast.IsExported(name) {
					continue
				}
			}
			if d.Name.IsExported() {
				types[name] = d.Type
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					if s.Name.IsExported() {
						types[s.Name.Name] = s.Type
					}
				case *ast.ValueSpec:
					if s.Type != nil && s.Names[0].IsExported() {
						types[s.Names[0].Name] = s.Type
					}
				}
			}
		}
	}
	return types
}
