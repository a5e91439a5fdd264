package khodnevis_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// required are the requirements that must have a row in SECURITY.md: accounts, rights, input and
// output, load, tooling.
var required = map[string]int{"A": 26, "Z": 7, "I": 17, "L": 8, "T": 8}

// optional are requirements that need not be met. One that is met gets a row all the same.
var optional = []string{"A7", "A22"}

// awaited are those that no test checks yet. One that gets a row leaves this list.
var awaited = []string{"L7"}

// TestRequirements compares the table in SECURITY.md with the tests that there are.
func TestRequirements(t *testing.T) {
	t.Parallel()
	rows := securityTable(t, "Requirements and their tests")
	for _, wrong := range checkRequirements(rows, sourceTests(t)) {
		t.Error(wrong)
	}
}

// checkRequirements returns what is wrong with rows of id, requirement and tests, if these tests
// exist.
func checkRequirements(rows [][]string, tests map[string]*ast.FuncDecl) (wrong []string) {
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	form := regexp.MustCompile("^(`[a-z/0-9]+\\.(Test|Fuzz)[A-Za-z0-9_]*` ?)+$")
	seen := map[string]bool{}
	for _, row := range rows {
		if len(row) != 3 || row[1] == "" {
			complain("%q is no row of an id, a requirement and tests", row)
			continue
		}
		id, names := row[0], row[2]
		if seen[id] {
			complain("%s has two rows", id)
		}
		seen[id] = true
		if !form.MatchString(names) {
			complain("%s: %q names no tests, or not as `folder.TestName`", id, names)
		}
		for name := range strings.FieldsSeq(strings.ReplaceAll(names, "`", " ")) {
			if tests[name] == nil {
				complain("%s: there is no test %s", id, name)
			}
		}
		if slices.Contains(awaited, id) {
			complain("%s has a row: take it off the list of those that no test checks", id)
		}
	}
	for letter, n := range required {
		for i := range n {
			id := fmt.Sprint(letter, i+1)
			if !seen[id] && !slices.Contains(optional, id) && !slices.Contains(awaited, id) {
				complain("%s has no row", id)
			}
		}
	}
	return wrong
}

// The check above finds what it is for.
func TestRequirementsAreChecked(t *testing.T) {
	t.Parallel()
	whole, tests := securityTable(t, "Requirements and their tests"), sourceTests(t)
	change := func(id string, with ...string) [][]string {
		rows := slices.Clone(whole)
		i := slices.IndexFunc(rows, func(r []string) bool { return r[0] == id })
		return slices.Replace(rows, i, i+1, with)
	}
	for want, rows := range map[string][][]string{
		"there is no test auth.TestNothing": change("A3", "A3", "x", "`auth.TestNothing`"),
		"names no tests":                    change("A3", "A3", "x", ""),
		"not as":                            change("A3", "A3", "x", "TestPasswordNormalization"),
		"is no row":                         change("A3", "A3", "", "`auth.TestToken`"),
		"A3 has no row": slices.DeleteFunc(slices.Clone(whole),
			func(r []string) bool { return r[0] == "A3" }),
		"A3 has two rows":                     append(slices.Clone(whole), []string{"A3", "x", "`auth.TestToken`"}),
		"there is no test auth.BenchmarkFold": change("A3", "A3", "x", "`auth.TestToken` `auth.BenchmarkFold`"),
	} {
		if got := strings.Join(checkRequirements(rows, tests), "\n"); !strings.Contains(got, want) {
			t.Errorf("found %q, want %q", got, want)
		}
	}
}

// fuzzed are the parsers of untrusted bytes.
var fuzzed = []string{
	"httpapi.FuzzDecodeStrict", "internal/id.FuzzParseID", "httpapi.FuzzCursor", "auth.FuzzParsePHC", "auth.FuzzBearer",
	"httpapi.FuzzIfMatch", "auth.FuzzUsername",
	"rating/internal/event.FuzzQueueRecord", "httpapi.FuzzProblem", "httpapi.FuzzPrefer",
	"rating/internal/taskid.FuzzTaskID", "rating.FuzzRatingID",
	"httpapi.FuzzFields",
	"httpapi.FuzzClientIP", "internal/text.FuzzCheck", "internal/address.FuzzParse",
}

// TestFuzzTargets: every parser of untrusted bytes has a fuzz target, with a corpus to begin with,
// that the Makefile runs.
func TestFuzzTargets(t *testing.T) {
	t.Parallel()
	tests := sourceTests(t)
	for _, name := range fuzzed {
		target := tests[name]
		if target == nil {
			t.Errorf("there is no %s", name)
			continue
		}
		seeds := 0
		ast.Inspect(target, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if f, ok := call.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Add" {
					seeds++
				}
			}
			return true
		})
		if seeds == 0 {
			t.Errorf("%s has no corpus to begin with", name)
		}
	}
	if make := read(t, "Makefile"); !strings.Contains(make, "grep '^Fuzz'") {
		t.Error("make fuzz does not run what it finds")
	}
}

// TestDependencies compares the table of dependencies in SECURITY.md with go.mod.
func TestDependencies(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
		Replace []any
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	if len(mod.Replace) > 0 {
		t.Errorf("go.mod replaces %v", mod.Replace)
	}
	var direct, documented []string
	for _, r := range mod.Require {
		if !r.Indirect {
			direct = append(direct, r.Path)
		}
	}
	for _, row := range securityTable(t, "Dependencies") {
		if len(row) != 3 || row[1] == "" || row[2] == "" {
			t.Fatalf("%q is no row of a module, a place and a reason", row)
		}
		documented = append(documented, strings.Trim(row[0], "`"))
	}
	slices.Sort(direct)
	if !slices.Equal(direct, documented) {
		t.Errorf("SECURITY.md gives reasons for\n%s\ngo.mod requires\n%s", strings.Join(documented, "\n"),
			strings.Join(direct, "\n"))
	}
}

// modules are all that go.mod requires, directly or not. What else tests or tools need is in
// modules of their own, which hosts never see: internal/faultlab.
var modules = []string{
	"github.com/IBM/sarama", "github.com/alicebob/miniredis/v2", "github.com/chromedp/cdproto",
	"github.com/chromedp/chromedp", "github.com/davecgh/go-spew", "github.com/dustin/go-humanize",
	"github.com/eapache/go-resiliency", "github.com/go-json-experiment/json", "github.com/golang-jwt/jwt/v5",
	"github.com/gomodule/redigo", "github.com/google/uuid", "github.com/hashicorp/go-uuid",
	"github.com/jcmturner/aescts/v2", "github.com/jcmturner/dnsutils/v2", "github.com/jcmturner/gofork",
	"github.com/jcmturner/gokrb5/v8", "github.com/jcmturner/rpc/v2", "github.com/jmoiron/sqlx",
	"github.com/klauspost/compress", "github.com/lib/pq", "github.com/mattn/go-isatty",
	"github.com/ncruces/go-strftime", "github.com/pierrec/lz4/v4", "github.com/rcrowley/go-metrics",
	"github.com/remyoudompheng/bigfft", "github.com/robfig/cron/v3",
	"github.com/santhosh-tekuri/jsonschema/v6", "github.com/twmb/franz-go",
	"github.com/twmb/franz-go/pkg/kfake", "github.com/twmb/franz-go/pkg/kmsg", "github.com/uptrace/bunrouter",
	"github.com/yuin/gopher-lua", "golang.org/x/crypto", "golang.org/x/net", "golang.org/x/sync",
	"golang.org/x/sys", "golang.org/x/text", "modernc.org/libc", "modernc.org/mathutil", "modernc.org/memory",
	"modernc.org/sqlite",
}

// TestModules: nobody who imports this module gets another one with it.
func TestModules(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct{ Require []struct{ Path string } }
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	for _, r := range mod.Require {
		if !slices.Contains(modules, r.Path) {
			t.Errorf("go.mod requires %s: put what needs it into a module of its own", r.Path)
		}
	}
}

// TestGate: the gate runs everything, with tools of fixed versions.
func TestGate(t *testing.T) {
	t.Parallel()
	for file, wants := range map[string][]string{
		".ci/run": {"set -euo pipefail", "KHODNEVIS_TEST_REQUIRE=postgres,redis,kafka", "make test",
			"make faults", "make syncs", "make browser", "make lint", "make vulnerabilities"},
		"Makefile": {"go test -race", "NESTED = $(patsubst ./%/go.mod,%,$(shell find . -mindepth 2 -name " +
			"go.mod | sort))\n", "gofmt -l .", "go vet ./...", "staticcheck@v0.8.2",
			"golangci-lint/v2/cmd/golangci-lint@v2.15.0", ".ci/vulnerabilities"},
		".ci/vulnerabilities": {"govulncheck@v1.9.0", "3) exit 1", "NOTICE"},
		".golangci.yml": {"gosec", "errorlint", "bodyclose", "sqlclosecheck", "rowserrcheck", "noctx", "contextcheck",
			"depguard"},
	} {
		for _, want := range wants {
			if !strings.Contains(read(t, file), want) {
				t.Errorf("%s has no %q", file, want)
			}
		}
	}
}

// securityTable returns the rows of the first table below a heading of SECURITY.md, without its
// head.
func securityTable(t *testing.T, heading string) (rows [][]string) {
	t.Helper()
	_, below, ok := strings.Cut(read(t, "SECURITY.md"), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("SECURITY.md has no heading %q", heading)
	}
	for line := range strings.Lines(below) {
		inside, ok := strings.CutPrefix(strings.TrimSpace(line), "|")
		if !ok && len(rows) > 0 {
			break
		}
		if !ok {
			continue
		}
		cells := strings.Split(strings.TrimSuffix(inside, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	if len(rows) < 3 {
		t.Fatalf("SECURITY.md has no table below %q", heading)
	}
	return rows[2:]
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sourceTests returns the tests and fuzz targets of the module, each named by the folder of its
// package, a dot and its name.
func sourceTests(t *testing.T) map[string]*ast.FuncDecl {
	t.Helper()
	tests := map[string]*ast.FuncDecl{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		folder := filepath.ToSlash(filepath.Dir(path))
		if folder == "." {
			folder = "khodnevis"
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if ok && f.Recv == nil && f.Name.Name != "TestMain" && (strings.HasPrefix(f.Name.Name, "Test") ||
				strings.HasPrefix(f.Name.Name, "Fuzz")) {
				tests[folder+"."+f.Name.Name] = f
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}
