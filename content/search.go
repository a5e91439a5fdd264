package content

import (
	"strings"
	"unicode"
)

// MaxSearch is the greatest length of a search, in code points.
const MaxSearch = 256

// Terms cuts s into the words that searches compare: runs of letters, digits and combining marks, in lower case, each
// once, in the order of their first occurrence. Joiners within a word are dropped, so that both spellings of a Persian
// compound are one. Stores index the terms of title and description, and so all of them find the same.
func Terms(s string) []string {
	var terms []string
	var word strings.Builder
	seen := map[string]bool{}
	flush := func() {
		if w := word.String(); w != "" && !seen[w] {
			seen[w] = true
			terms = append(terms, w)
		}
		word.Reset()
	}
	for _, r := range s {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r):
			word.WriteRune(unicode.ToLower(r))
		case r == '\u200c' || r == '\u200d': // ZWNJ, ZWJ
		default:
			flush()
		}
	}
	flush()
	return terms
}
