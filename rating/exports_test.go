package rating_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestExportsFitOnAPage: go doc shows a host at most 60 names.
func TestExportsFitOnAPage(t *testing.T) {
	t.Parallel()
	const most = 60
	fset := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	p, err := doc.NewFromFiles(fset, files, "rating")
	if err != nil {
		t.Fatal(err)
	}
	names = nil
	values := func(all []*doc.Value) {
		for _, v := range all {
			names = append(names, v.Names...)
		}
	}
	funcs := func(all []*doc.Func) {
		for _, f := range all {
			names = append(names, f.Name)
		}
	}
	values(p.Consts)
	values(p.Vars)
	funcs(p.Funcs)
	for _, d := range p.Types {
		names = append(names, d.Name)
		values(d.Consts)
		values(d.Vars)
		funcs(d.Funcs)
	}
	if len(names) > most {
		t.Errorf("package rating exports %d names, at most %d: %s", len(names), most, strings.Join(names, " "))
	}
}
