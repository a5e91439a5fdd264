package id_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/khodnevis/khodnevis/internal/id"
)

func TestNewIsOrderedAndValid(t *testing.T) {
	t.Parallel()
	last := ""
	for range 10_000 {
		s := id.New()
		if !id.Valid(s) || len(s) != 36 || s[14] != '7' {
			t.Fatalf("%q is no UUIDv7", s)
		}
		if s <= last {
			t.Fatalf("%q was made after %q", s, last)
		}
		last = s
	}
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"", "a", ".", "..", "...", "a b", "a/b", "a%2f", "A_.@|=+-9", "a:b", "é", "a\x00",
		strings.Repeat("a", 128), strings.Repeat("a", 129)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !id.Valid(s) {
			return
		}
		if len(s) == 0 || len(s) > id.MaxLen || s == "." || s == ".." {
			t.Fatalf("%q is valid", s)
		}
		if back, err := url.PathUnescape(url.PathEscape(s)); err != nil || back != s ||
			strings.Contains(url.PathEscape(s), "/") {
			t.Fatalf("%q does not survive a path", s)
		}
	})
}
