package content

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Bounds of a search.
const (
	// MaxSearch is its greatest length, in code points.
	MaxSearch = 256
	// MaxTerms is how many different words and symbols it may have.
	MaxTerms = 8
	// MinPrefix is the least length in code points of a word that also finds the words that begin with
	// it, and MaxPrefix is the greatest. A word of another length finds itself only.
	MinPrefix = 3
	MaxPrefix = 16
)

// Terms returns the terms of a search, each once, in the order of their first occurrence: its words
// and its symbols. A content matches if Content.Terms has all of them, so every store finds the same.
//
// A word is a run of letters, digits and combining marks, however it was typed:
//   - case, compatibility forms (NFKC: full-width and half-width letters, ligatures, Arabic
//     presentation forms) and accents make no difference; nor do ß and ss, æ and ae, ø and o
//   - nor do harakat, hamza on its carrier, kashida, joiners and other format characters
//   - Arabic letters that differ by keyboard or custom are one, as in Lucene's ArabicNormalizer and
//     PersianNormalizer: alef with and without hamza or madda; ta marbuta and heh; alef maksura,
//     Arabic and Persian yeh; Arabic and Persian kaf
//   - decimal digits of all scripts are those of ASCII
//
// A word with a zero-width non-joiner is taken without it: می‌روم is میروم. Content.Terms has the
// parts of such a word too, and it joins neighbours in Arabic letters two by two. So a word with a
// joiner finds the word with a joiner, with a space and with nothing between its parts; of a word of
// three parts or more, two by two are looked for, and need not follow one another.
//
// A symbol is a run of one character: a mathematical, currency or other symbol of Unicode (emoji
// among them), or one of #&@%^. All other punctuation separates words. Scripts without spaces are
// not cut: a run of Chinese or Japanese is one word.
func Terms(search string) []string {
	var terms termSet
	for _, t := range tokenize(search) {
		for i := range max(1, len(t.parts)-1) {
			terms.add(strings.Join(t.parts[i:min(i+2, len(t.parts))], ""))
		}
	}
	return terms.list
}

// Terms is for adapters. It returns all terms that searches find c by, each once: the words and
// symbols of title and description, and what they begin with.
func (c Content) Terms() []string {
	var terms termSet
	for _, text := range []string{c.Title, c.Description} {
		before := "" // the part before the next one
		for _, t := range tokenize(text) {
			if t.symbol {
				terms.addPrefixes(t.parts[0], 1)
				continue
			}
			terms.addPrefixes(strings.Join(t.parts, ""), MinPrefix)
			for i, part := range t.parts {
				terms.addPrefixes(part, MinPrefix)
				if i > 0 || t.spaced && isArabic(before) && isArabic(part) {
					terms.add(before + part)
				}
				before = part
			}
		}
	}
	return terms.list
}

func isArabic(word string) bool {
	first, _ := utf8.DecodeRuneInString(word)
	return unicode.Is(unicode.Arabic, first)
}

// termSet keeps terms, each once, in the order in which they were added.
type termSet struct {
	list []string
	has  map[string]bool
}

func (s *termSet) add(term string) {
	if s.has[term] {
		return
	}
	if s.has == nil {
		s.has = map[string]bool{}
	}
	s.has[term] = true
	s.list = append(s.list, term)
}

// addPrefixes adds a term, and what it begins with from a number of code points on.
func (s *termSet) addPrefixes(term string, from int) {
	n := 0
	for end := range term {
		if n >= from {
			s.add(term[:end])
		}
		if n++; n > MaxPrefix {
			break
		}
	}
	s.add(term)
}

// token is a word or a symbol.
type token struct {
	parts  []string // of a word, between joiners
	symbol bool
	spaced bool // nothing but space stands before it
}

// tokenizer cuts a text into tokens.
type tokenizer struct {
	tokens []token
	parts  []string
	part   strings.Builder
	spaced bool
	latest rune // what was not ignored, unless it was no symbol
}

func tokenize(s string) []token {
	var t tokenizer
	for _, r := range norm.NFKD.String(s) {
		if ignored(r) {
			continue
		}
		isSymbol := unicode.In(r, unicode.Sm, unicode.Sc, unicode.So) || strings.ContainsRune("#&@%^", r)
		switch {
		case isSymbol:
			t.symbol(r)
		case unicode.IsLetter(r), unicode.IsNumber(r):
			t.part.WriteString(fold(r))
		case unicode.IsMark(r):
			if t.part.Len() > 0 { // it belongs to the letter before it
				t.part.WriteRune(r)
			}
		case r == zwnj:
			t.endPart()
		case r == zwsp, unicode.IsSpace(r):
			t.endWord()
		default:
			t.endWord()
			t.spaced = false
		}
		if t.latest = 0; isSymbol {
			t.latest = r
		}
	}
	t.endWord()
	return t.tokens
}

func (t *tokenizer) endPart() {
	if t.part.Len() > 0 {
		t.parts = append(t.parts, norm.NFC.String(t.part.String()))
		t.part.Reset()
	}
}

func (t *tokenizer) endWord() {
	if t.endPart(); len(t.parts) > 0 {
		t.tokens = append(t.tokens, token{parts: t.parts, spaced: t.spaced})
		t.parts, t.spaced = nil, true
	}
}

// symbol adds a symbol, or makes the one right before it longer.
func (t *tokenizer) symbol(r rune) {
	t.endWord()
	if last := len(t.tokens) - 1; t.latest == r {
		t.tokens[last].parts[0] += string(r)
	} else {
		t.tokens = append(t.tokens, token{parts: []string{string(r)}, symbol: true})
	}
	t.spaced = false
}

// Characters that separate less than a space does, and more.
const (
	zwnj    = '\u200c'
	zwsp    = '\u200b'
	kashida = '\u0640'
)

// ignored reports whether a character makes no difference: format characters, accents, harakat and
// other marks that letters of these scripts are written with or without, variation selectors, skin
// tones.
func ignored(r rune) bool {
	switch {
	case r == zwnj, r == zwsp:
		return false
	case r == kashida, unicode.Is(unicode.Cf, r), r >= 0x1f3fb && r <= 0x1f3ff:
		return true
	case r == '\u3099', r == '\u309a': // voiced kana
		return false
	}
	return unicode.IsMark(r) &&
		unicode.In(r, unicode.Inherited, unicode.Latin, unicode.Greek, unicode.Cyrillic, unicode.Arabic, unicode.Hebrew)
}

// sameLetters are letters that stand for others, after compatibility decomposition and in lower
// case.
var sameLetters = map[rune]string{
	'\u0671': "\u0627",                                         // alef wasla
	'\u0629': "\u0647",                                         // ta marbuta
	'\u06c1': "\u0647", '\u06c3': "\u0647", '\u06d5': "\u0647", // heh goal, ta marbuta goal, ae
	'\u0649': "\u06cc", '\u064a': "\u06cc", '\u06d2': "\u06cc", // alef maksura, Arabic yeh, yeh barree
	'\u0643': "\u06a9", '\u06aa': "\u06a9", // Arabic kaf, swash kaf
	'ς': "σ", 'ß': "ss", 'æ': "ae", 'œ': "oe", 'ø': "o", 'ł': "l", 'đ': "d", 'ð': "d", 'þ': "th", 'ħ': "h", 'ı': "i",
}

// fold returns what a letter or a digit is compared as.
func fold(r rune) string {
	r = unicode.ToLower(r)
	if same, ok := sameLetters[r]; ok {
		return same
	}
	if r > unicode.MaxASCII && unicode.IsDigit(r) {
		r = '0' + (r-zero(r))%10
	}
	return string(r)
}

// zero returns the first digit of the range of Unicode that a decimal digit is in: the ranges have
// the digits from 0 to 9 of one script after the other.
func zero(digit rune) rune {
	for _, in := range unicode.Nd.R16 {
		if digit <= rune(in.Hi) {
			return rune(in.Lo)
		}
	}
	for _, in := range unicode.Nd.R32 {
		if digit <= rune(in.Hi) {
			return rune(in.Lo)
		}
	}
	return digit
}
