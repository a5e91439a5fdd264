// Package docsection keeps parts of the documents equal to what tests run.
//
// A part stands between two comments that name it:
//
//	<!-- begin limits -->
//	<!-- end limits -->
package docsection

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

// writing keeps tests of one process from writing at once. Packages that share a document are
// updated one after the other.
var writing sync.Mutex

// Check fails the test unless the section called name of the document is want. With update it
// writes the section instead.
func Check(t testing.TB, document, name, want string, update bool) {
	t.Helper()
	writing.Lock()
	defer writing.Unlock()
	text, err := os.ReadFile(document) //nolint:gosec // a test says which
	if err != nil {
		t.Fatal(err)
	}
	start, end, err := bounds(text, name)
	if err != nil {
		t.Fatalf("%s: %v", document, err)
	}
	want = "\n" + strings.TrimSpace(want) + "\n"
	if got := string(text[start:end]); got == want {
		return
	} else if !update {
		t.Errorf("the section %q of %s is outdated; run\n\n\tgo test -run '^%s$' . -update\n\nin this package. It is%s\n"+
			"and should be%s", name, document, t.Name(), got, want)
		return
	}
	whole := bytes.Join([][]byte{text[:start], []byte(want), text[end:]}, nil)
	if err := os.WriteFile(document, whole, 0o644); err != nil { //nolint:gosec // a document that everybody may read
		t.Fatal(err)
	}
}

// bounds finds where the section's text begins and ends.
func bounds(text []byte, name string) (start, end int, err error) {
	begins, ends := []byte("<!-- begin "+name+" -->"), []byte("<!-- end "+name+" -->")
	if bytes.Count(text, begins) != 1 || bytes.Count(text, ends) != 1 {
		return 0, 0, fmt.Errorf("the section %q must begin and end once", name)
	}
	start, end = bytes.Index(text, begins)+len(begins), bytes.Index(text, ends)
	if start > end {
		return 0, 0, fmt.Errorf("the section %q ends before it begins", name)
	}
	return start, end, nil
}
