// Package text says which characters stored text may hold, the same on every store.
package text

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kind is what a text is used for.
type Kind int

// Line is a text without line breaks, such as a title; Lines is one that may have line breaks and
// tabs.
const (
	Line Kind = iota
	Lines
)

// Check returns the position (in code points, from 0) of the first character that s may not hold
// and why, or "" if there is none. Refused are: bad UTF-8, NUL and the other control characters
// (C0, DEL, C1) but for tab, line feed and carriage return in Lines; and in a Line the
// bidirectional embeddings, overrides and isolates (U+202A to U+202E, U+2066 to U+2069), with which
// a line can change how its surroundings look. Joiners and direction marks stay: Persian, Arabic
// and Hebrew need them.
func Check(s string, kind Kind) (position int, why string) {
	n := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return n, "the text is not UTF-8"
		case kind == Lines && (r == '\t' || r == '\n' || r == '\r'):
		case r < 0x20, r >= 0x7f && r <= 0x9f:
			return n, fmt.Sprintf("U+%04X is a control character", r)
		case kind == Line && (r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069):
			return n, fmt.Sprintf("U+%04X changes the direction of the text around it", r)
		}
		i += size
		n++
	}
	return 0, ""
}

// Blank reports whether s shows nothing: it consists of white space and of characters that have no
// width of their own.
func Blank(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsSpace(r) &&
			!unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
	})
}
