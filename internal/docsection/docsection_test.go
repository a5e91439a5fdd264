package docsection_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis/internal/docsection"
)

// recorder notes how a test would fail.
type recorder struct {
	testing.TB
	failed string
}

func (r *recorder) Helper()      {}
func (r *recorder) Name() string { return "TestX" }
func (r *recorder) Errorf(format string, args ...any) {
	r.failed = fmt.Sprintf(format, args...)
}
func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = fmt.Sprintf(format, args...)
	panic(r)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	const document = "# A\n<!-- begin x -->\nold\n<!-- end x -->\nrest\n"
	for _, c := range []struct {
		name, document, section, want string
		update                        bool
		fails, after                  string
	}{
		{"equal", document, "x", "old", false, "", document},
		{"changed", document, "x", "new", false, "go test -run '^TestX$' . -update", document},
		{"updated", document, "x", "new\n", true, "", strings.Replace(document, "old", "new", 1)},
		{"no such section", document, "y", "new", true, "must begin and end once", document},
		{"twice", document + document, "x", "old", true, "must begin and end once", document + document},
		{"the wrong way round", "<!-- end x --><!-- begin x -->", "x", "old", true, "ends before it begins",
			"<!-- end x --><!-- begin x -->"},
	} {
		file := filepath.Join(t.TempDir(), "doc.md")
		if err := os.WriteFile(file, []byte(c.document), 0o600); err != nil {
			t.Fatal(err)
		}
		r := &recorder{TB: t}
		func() {
			defer func() {
				if p := recover(); p != nil && p != any(r) {
					panic(p)
				}
			}()
			docsection.Check(r, file, c.section, c.want, c.update)
		}()
		if (r.failed == "") != (c.fails == "") || !strings.Contains(r.failed, c.fails) {
			t.Errorf("%s: fails with %q, want %q", c.name, r.failed, c.fails)
		}
		if after, err := os.ReadFile(file); err != nil || string(after) != c.after {
			t.Errorf("%s: the document is then %q, %v", c.name, after, err)
		}
	}
}
