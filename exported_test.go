package khodnevis_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/format"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write exported_names_test.go anew")

// publicPackages are those that hosts and authors of adapters can import.
func publicPackages(t *testing.T) []*types.Package {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-json=ImportPath,Export,Name",
		"./...").Output()
	if err != nil {
		t.Fatalf("go list -export: %v", err)
	}
	exports, public := map[string]string{}, []string{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ ImportPath, Export, Name string }
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		inside, ours := strings.CutPrefix(p.ImportPath+"/", module+"/")
		if ours && p.Name != "main" && !strings.HasPrefix(inside, "internal/") && !strings.HasPrefix(inside, "examples/") &&
			!strings.Contains(inside, "/internal/") {
			public = append(public, p.ImportPath)
		}
	}
	imports := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser,
		error) {
		return os.Open(exports[path])
	})
	packages := make([]*types.Package, len(public))
	for i, path := range public {
		if packages[i], err = imports.Import(path); err != nil {
			t.Fatal(err)
		}
	}
	return packages
}

// mentions collects the named types that an exported declaration mentions.
type mentions struct {
	found map[*types.TypeName]string // the type, and one declaration that mentions it
	seen  map[types.Type]bool
	at    string
}

// declaration walks what object declares.
func (m *mentions) declaration(object types.Object) {
	m.at = object.Pkg().Path() + "." + object.Name()
	name, isType := object.(*types.TypeName)
	switch {
	case !isType:
		m.walk(object.Type())
	case name.IsAlias():
		m.walk(types.Unalias(name.Type()))
	default:
		m.found[name] = m.at
		m.members(name.Type())
	}
}

// members walks the exported methods and fields of a declared type, those that it embeds included.
func (m *mentions) members(declared types.Type) {
	if named, ok := declared.(*types.Named); ok {
		for p := range named.TypeParams().TypeParams() {
			m.walk(p.Constraint())
		}
	}
	if _, isInterface := declared.Underlying().(*types.Interface); !isInterface {
		for method := range types.NewMethodSet(types.NewPointer(declared)).Methods() {
			if method.Obj().Exported() {
				m.walk(method.Type())
			}
		}
	}
	m.walk(declared.Underlying())
}

// walk adds the named types in t.
func (m *mentions) walk(t types.Type) {
	if m.seen[t] {
		return
	}
	m.seen[t] = true
	switch t := t.(type) {
	case *types.Alias:
		m.walk(types.Unalias(t))
	case *types.Named:
		for arg := range t.TypeArgs().Types() {
			m.walk(arg)
		}
		if name := t.Obj(); name.Pkg() != nil && strings.HasPrefix(name.Pkg().Path()+"/", module+"/") {
			if _, known := m.found[name]; !known {
				m.found[name] = m.at
			}
			if !name.Exported() { // its exported members are reachable through the declaration
				m.members(t)
			}
		}
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() {
				m.walk(f.Type())
			} else if f.Embedded() { // its exported fields are promoted
				m.walk(f.Type().Underlying())
			}
		}
	case *types.Interface:
		for method := range t.Methods() {
			if method.Exported() {
				m.walk(method.Type())
			}
		}
		for embedded := range t.EmbeddedTypes() {
			m.walk(embedded)
		}
	case *types.Signature:
		m.walk(t.Params())
		m.walk(t.Results())
	case *types.Tuple:
		for v := range t.Variables() {
			m.walk(v.Type())
		}
	case *types.Union:
		for term := range t.Terms() {
			m.walk(term.Type())
		}
	case *types.Map:
		m.walk(t.Key())
		m.walk(t.Elem())
	case interface{ Elem() types.Type }: // pointer, slice, array, channel
		m.walk(t.Elem())
	}
}

// mentioned returns the types of this module that the exported declarations of public packages
// mention.
func mentioned(t *testing.T) map[*types.TypeName]string {
	t.Helper()
	m := &mentions{found: map[*types.TypeName]string{}, seen: map[types.Type]bool{}}
	for _, p := range publicPackages(t) {
		for _, name := range p.Scope().Names() {
			if object := p.Scope().Lookup(name); object.Exported() {
				m.declaration(object)
			}
		}
	}
	return m.found
}

// What hosts and authors of adapters use has names that they can write, and fields that go doc
// shows: no exported declaration of a public package mentions a type of internal/.
func TestExportedAPIMentionsNoInternalType(t *testing.T) {
	t.Parallel()
	for name, at := range mentioned(t) {
		if strings.Contains(name.Pkg().Path(), "/internal/") {
			t.Errorf("%s mentions %s.%s", at, name.Pkg().Path(), name.Name())
		}
	}
}

// exported_names_test.go names every type that a public signature mentions: that it compiles shows
// that a host can do the same.
func TestExportedTypesHaveNames(t *testing.T) {
	t.Parallel()
	const file = "exported_names_test.go"
	lines, imports := []string{}, map[string]bool{}
	for name, at := range mentioned(t) {
		path := name.Pkg().Path()
		named, ok := name.Type().(*types.Named)
		if !name.Exported() || !ok || named.TypeParams().Len() > 0 {
			t.Errorf("%s mentions %s.%s, which a host cannot name", at, path, name.Name())
			continue
		}
		imports[path] = true
		lines = append(lines, fmt.Sprintf("_ *%s.%s", name.Pkg().Name(), name.Name()))
	}
	slices.Sort(lines)
	var b bytes.Buffer
	fmt.Fprintf(&b, "package khodnevis_test\n\n// Code generated by go test -run TestExportedTypesHaveNames -update "+
		".; DO NOT EDIT.\n"+
		"// After the rename of a type, delete this file first.\n\nimport (\n")
	for _, path := range slices.Sorted(maps.Keys(imports)) {
		fmt.Fprintf(&b, "%q\n", path)
	}
	fmt.Fprintf(&b, ")\n\nvar (\n%s\n)\n", strings.Join(lines, "\n"))
	want, err := format.Source(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s does not have the types of today (%v): write it anew with go test -run %s -update .", file, err,
			t.Name())
	}
}
