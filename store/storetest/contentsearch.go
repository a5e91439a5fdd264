package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/store"
)

// searches says which searches find a text and which do not. What a word is, content.Terms says;
// that every store finds the same, stores must see to: full-text indexes have notions of their own
// of characters, operators and lengths.
var searches = []struct {
	text         string
	found, never []string
}{
	{
		"The Green Café foo NEAR, e-mail; O'Neill bar and baz* x_y ÄÖÜ straße 42nd ﬁsh",
		[]string{"green", "GREEN", "the", "café", "CAFÉ", "foo bar", "bar foo", "near", "and", "mail", "e",
			"o neill", "x", "y", "x_y", "äöü", "straße", "42nd", "ﬁsh"},
		[]string{"gree", "reen", "gr*en", "cafe", "foobar", "foo nothing", "not", "neil", "xy", "aou",
			"strasse", "42", "nd", "fish", "strong"},
	},
	{ // What full-text searches take for operators are words or nothing.
		"foo near bar or a not baz column",
		[]string{
			"baz*", `"baz"`, `"bar foo"`, `"foo`, "NEAR(", "near(foo bar)", "a OR",
			"OR a", "NOT foo", "foo -bar", "foo !bar", "-foo", "+foo",
			"foo & bar", "foo | bar", "foo <-> baz", "^foo", "column : foo",
			"{foo bar} : baz", "(foo", "foo)", "foo:*", "'foo'", "foo' or ''", "%foo%",
			`\foo`, "foo\x00bar", "foo;",
		},
		[]string{"fo*", "foo OR nothing", "nothing | foo", "b%", "_oo", "foo AND bar"},
	},
	{ // Persian: with and without joiners, and as Arabic keyboards write it.
		"کتاب\u200cهای خوب، می\u200dروم؛ یک کـــار ۱۲۳",
		[]string{"کتابهای", "کتاب\u200cهای", "خوب", "میروم", "می\u200cروم", "۱۲۳", "يك",
			"\u0643تاب\u200cها\u06cc", "\u0643تابها\u064a", "کار", "كار خوب"},
		[]string{"کتاب", "های", "123", "خو", "خوبی", "٠", "می", "رو"},
	},
	{
		"\u0643تاب عرب\u064a مدرسة مُدَرِّس",
		[]string{"کتاب", "\u0643تاب", "عربی", "عرب\u064a", "مدرسة", "مُدَرِّس"},
		[]string{"مدرسه", "مدرس", "كتب"},
	},
	{ // Without spaces there is one word from one sign of punctuation to the next.
		"我爱北京。東京タワー、한국어 문서 ภาษาไทย",
		[]string{"我爱北京", "東京タワー", "한국어", "문서", "ภาษาไทย",
			"문서 我爱北京", "\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165"},
		[]string{"北京", "我", "東京", "タワー", "한국", "ภาษา", "我爱北京東京タワー"},
	},
	{
		"re\u0301sume\u0301 na\u00efve a\u0328\u0301 हिन्दी ΣΊΣΥΦΟΣ İstanbul ẞ",
		[]string{"r\u00e9sum\u00e9", "re\u0301sume\u0301", "R\u00c9SUM\u00c9", "nai\u0308ve", "\u0105\u0301",
			"हिन्दी", "σίσυφος", "istanbul", "ß"},
		[]string{"resume", "naive", "a", "हिन", "σισυφοσ", "ıstanbul", "ss"},
	},
	{ // Emoji are no words, and part none and join none.
		"love❤️you 👩‍👩‍👧 👍🏽 🇮🇷 one😀two 1️⃣",
		[]string{"love", "you", "one", "two", "love👍you", "love 👩‍👩‍👧", "😀 two"},
		[]string{"loveyou", "onetwo", "three 😀", "👍🏽x"},
	},
	{
		strings.Repeat("ab", 4000) + " " + strings.Repeat("ب", 1500) + " end",
		[]string{"end", strings.Repeat("ab", 4000), strings.Repeat("ب", 1500)},
		[]string{strings.Repeat("ab", 100), strings.Repeat("ab", 3999),
			strings.Repeat("ب", 1499), strings.Repeat("ب", 100)},
	},
}

func contentTerms(ctx context.Context, s store.Store) error {
	for _, x := range searches {
		author := newName()
		for i, texts := range [][2]string{{x.text, "-"}, {"-", x.text}, {"-", "-"}} {
			c := newContent(author, i)
			c.Title, c.Description = texts[0], texts[1]
			if err := s.CreateContent(ctx, c); err != nil {
				return err
			}
		}
		count := func(search string, wanted int64) error {
			n, err := s.CountContents(ctx, content.Filter{Author: author, Terms: content.Terms(search)}, 0)
			if err != nil {
				return fmt.Errorf("a search for %+.60q: %w", search, err)
			}
			return want(fmt.Sprintf("contents with %.60q found for %.60q", x.text, search), n, wanted)
		}
		for _, search := range x.found {
			if err := count(search, 2); err != nil {
				return err
			}
		}
		for _, search := range x.never {
			if err := count(search, 0); err != nil {
				return err
			}
		}
		// No term at all is no condition.
		if err := errors.Join(count("*", 3), count("", 3), count("😀 ❤️", 3)); err != nil {
			return err
		}
	}
	return nil
}
