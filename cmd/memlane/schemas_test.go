package main

import (
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
	"github.com/memlane/memlane/cmd/memlane/internal/top"
)

var update = flag.Bool("update", false, "write spec/output")

// outputs are what commands print with -o json. hz, bw and top print one after the other.
var outputs = map[string]any{
	"bw":           rateJSON{},
	"cat":          recordedJSON{},
	"clean":        []leftoverJSON{},
	"doctor":       []findingJSON{},
	"hz":           rateJSON{},
	"info":         domainJSON{},
	"info-topic":   topicInfoJSON{},
	"lag":          []lagJSON{},
	"ls":           []topicJSON{},
	"ps":           []participantJSON{},
	"segment-info": segmentJSON{},
	"segment-ls":   []segmentJSON{},
	"stat":         []snapshotJSON{},
	"sync-ls":      []primitiveJSON{},
	"top":          top.Frame{},
}

// The schemas in spec/output are those of what is printed: what is in the repository is what
// the types say. Whether commands print that is tested in test.
func TestSchemas(t *testing.T) {
	folder := filepath.Join("..", "..", "spec", "output")
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) != len(outputs) && !*update {
		t.Errorf("%d schemas of %d outputs, %v", len(files), len(outputs), err)
	}
	said := comments{}
	for _, dir := range []string{".", filepath.Join("internal", "top")} {
		said.read(t, dir)
	}
	for name, value := range outputs {
		r := &jsonschema.Reflector{Anonymous: true, LookupComment: said.of,
			Namer: func(t reflect.Type) string { return strings.TrimSuffix(t.Name(), "JSON") }}
		s := r.ReflectFromType(reflect.TypeOf(value))
		s.Title = "memlane " + name + " -o json"
		text, err := json.MarshalIndent(s, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, '\n')
		path := filepath.Join(folder, name+".json")
		if *update {
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if old, err := os.ReadFile(path); err != nil || string(old) != string(text) {
			t.Errorf("%s is not what the command prints (%v): run make generate", path, err)
		}
	}
}

// comments are what the source says of types, by their name, and of fields, by that and
// theirs.
type comments map[string]string

func (c comments) read(t *testing.T, dir string) {
	t.Helper()
	sources, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(sources) == 0 {
		t.Fatal(dir, err)
	}
	for _, path := range sources {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			declared, ok := n.(*ast.GenDecl)
			if !ok || declared.Tok != token.TYPE {
				return true
			}
			for _, spec := range declared.Specs {
				named := spec.(*ast.TypeSpec)
				c[named.Name.Name] = one(declared.Doc.Text())
				fields, ok := named.Type.(*ast.StructType)
				if !ok {
					continue
				}
				for _, f := range fields.Fields.List {
					for _, name := range f.Names {
						c[named.Name.Name+"."+name.Name] = one(f.Doc.Text() + f.Comment.Text())
					}
				}
			}
			return true
		})
	}
}

// of is a jsonschema.Reflector's LookupComment.
func (c comments) of(t reflect.Type, field string) string {
	if field == "" {
		return c[t.Name()]
	}
	return c[t.Name()+"."+field]
}

// one is text as one line.
func one(text string) string { return strings.Join(strings.Fields(text), " ") }
