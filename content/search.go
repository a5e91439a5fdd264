package content

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Bounds of a search.
const (
	// MaxSearch is its greatest length, in code points.
	MaxSearch = 256
	// MaxTerms is how many different words it may have.
	MaxTerms = 8
)

// Terms cuts s into the words that searches compare: runs of letters, digits and combining marks,
// in lower case, each once, in the order of their first occurrence. Stores index the terms of title
// and description, and so all of them find the same.
//
// Spellings that readers take for one another are one term: composed and decomposed characters
// (NFC), Arabic yeh and kaf and the Persian ones, a final sigma and a plain one, a word with
// joiners, variation selectors or a kashida in it and the one without. Accents make a difference,
// and so do digits of different scripts. A script that is written without spaces is not cut: of
// Chinese and Japanese, what stands between two signs of punctuation is found as a whole only.
// Emoji are no words.
func Terms(s string) []string {
	var terms []string
	var word strings.Builder
	seen := map[string]bool{}
	flush := func() {
		if w := norm.NFC.String(word.String()); w != "" && !seen[w] {
			seen[w] = true
			terms = append(terms, w)
		}
		word.Reset()
	}
	for _, r := range norm.NFC.String(s) {
		switch {
		case r == zwnj, r == zwj, r == kashida, unicode.Is(unicode.Variation_Selector, r):
		case unicode.IsLetter(r), unicode.IsDigit(r):
			word.WriteRune(fold(r))
		case unicode.IsMark(r):
			if word.Len() > 0 { // it belongs to the letter before it
				word.WriteRune(r)
			}
		default:
			flush()
		}
	}
	flush()
	return terms
}

// What words are written with or without.
const (
	zwnj    = '\u200c'
	zwj     = '\u200d'
	kashida = '\u0640'
)

// fold returns the letter that stands for r and its look-alikes.
func fold(r rune) rune {
	switch r = unicode.ToLower(r); r {
	case '\u064a': // Arabic yeh
		return '\u06cc'
	case '\u0643': // Arabic kaf
		return '\u06a9'
	case '\u03c2': // final sigma
		return '\u03c3'
	}
	return r
}
