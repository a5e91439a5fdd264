package text_test

import (
	"testing"
	"unicode/utf8"

	"github.com/khodnevis/khodnevis/internal/text"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, s     string
		line, lines bool // whether it may be in a Line, and in Lines
	}{
		{"plain", "Stalker", true, true},
		{"Persian with a non-joiner", "می\u200cخواهم", true, true},
		{"joiner, direction marks", "a\u200db\u200ec\u200fd", true, true},
		{"emoji", "👩\u200d🚀", true, true},
		{"line feed", "a\nb", false, true},
		{"carriage return and tab", "a\r\tb", false, true},
		{"NUL", "a\x00b", false, false},
		{"escape", "a\x1bb", false, false},
		{"vertical tab", "a\vb", false, false},
		{"DEL", "a\x7fb", false, false},
		{"C1", "a\u0085b", false, false},
		{"right-to-left override", "a\u202eb", false, true},
		{"isolate", "a\u2066b\u2069", false, true},
		{"bad UTF-8", "a\xffb", false, false},
		{"a replacement character that was sent as one", "a\ufffdb", true, true},
	} {
		if _, why := text.Check(c.s, text.Line); (why == "") != c.line {
			t.Errorf("%s in a line: %q", c.name, why)
		}
		if _, why := text.Check(c.s, text.Lines); (why == "") != c.lines {
			t.Errorf("%s in lines: %q", c.name, why)
		}
	}
	if at, _ := text.Check("مو\x00", text.Line); at != 2 {
		t.Errorf("the position is %d, want 2 code points", at)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("a\u202eb")
	f.Fuzz(func(t *testing.T, s string) {
		if _, why := text.Check(s, text.Lines); why == "" && !utf8.ValidString(s) {
			t.Fatalf("%q passes and is not UTF-8", s)
		}
	})
}

func TestBlank(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"": true, " \t\u00a0\u3000": true, "\u200b": true, "\u200c\u200d": true, "\ufeff": true, "\u00ad": true,
		"\u2060 \u200e": true, "\ufe0f": true,
		"\u3164": true, "\U000e0020": true,
		"a": false, "\u200ca": false, ".": false, "👩\u200d🚀": false, "می\u200cخواهم": false, "\u0301": false,
		"0": false,
	} {
		if text.Blank(s) != want {
			t.Errorf("%q: %v, want %v", s, !want, want)
		}
	}
}
