package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/internal/searchpairs"
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
		[]string{"green", "GREEN", "gree", "the", "café", "CAFE", "foo bar", "bar foo", "near", "and", "mail", "e",
			"o neill", "neil", "x", "y", "x_y", "aou", "strasse", "42nd", "ﬁsh", "fis"},
		[]string{"gr", "reen", "gr*en", "greens", "foobar", "foo nothing", "not", "eill", "xy", "ao", "42", "nd",
			"strong"},
	},
	{ // What full-text searches take for operators are words, punctuation or symbols.
		"foo near bar or a not baz column",
		[]string{
			"baz*", `"baz"`, `"bar foo"`, `"foo`, "NEAR(", "near(foo bar)", "a OR",
			"OR a", "NOT foo", "foo -bar", "foo !bar", "-foo", "column : foo",
			"{foo bar} : baz", "(foo", "foo)", "foo:*", "'foo'", "foo' or ''", `\foo`, "foo\x00bar", "foo;",
		},
		[]string{"fo*", "foo OR nothing", "nothing | foo", "b%", "_oo", "foo AND bar", "+foo", "foo & bar", "foo | bar",
			"foo <-> bar", "^foo", "%foo%"},
	},
	{ // Every symbol of ASCII, and some that no tokenizer of ASCII knows.
		"C++ a+b C# R&B me@home 50% $9 <tag> x=y a|b ~z ^2 ++ 20°C 5€ → ∑",
		[]string{"C++", "++", "+", "c#", "r&b", "me @ home", "50%", "$ 9", "<tag>", "<", ">", "x = y", "|", "~z", "^ 2",
			"20 °C", "5 €", "→", "∑"},
		[]string{"+++", "##", "%%", "£", "←", "@@", "&&", "$$", "5 $ £"},
	},
	{ // Persian: with and without joiners, and as Arabic keyboards write it.
		"کتاب\u200cهای خوب، می\u200dروم؛ یک کـــار ۱۲۳",
		[]string{"کتابهای", "کتاب\u200cهای", "کتاب های", "کتاب", "کتا", "خوب", "میروم", "می\u200cروم", "۱۲۳", "123", "يك",
			"\u0643تاب\u200cها\u06cc", "\u0643تابها\u064a", "کار", "كار خوب"},
		[]string{"کت", "تاب", "12", "خو", "خوبی", "٠", "می", "رو", "خوبمی"},
	},
	{
		"\u0643تاب عرب\u064a مدرسة مُدَرِّس",
		[]string{"کتاب", "\u0643تاب", "عربی", "عرب\u064a", "مدرسة", "مُدَرِّس", "مدرسه", "مدرس", "عربی مدرس"},
		[]string{"كتب", "مدرسهه"},
	},
	{ // Without spaces there is one word from one sign of punctuation to the next.
		"我爱北京。東京タワー、한국어 문서 ภาษาไทย",
		[]string{"我爱北京", "我爱北", "東京タワー", "東京ﾀ", "한국어", "문서", "ภาษาไทย", "ภาษา",
			"문서 我爱北京", "\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165"},
		[]string{"北京", "我", "東京", "タワー", "한국", "ไทย", "我爱北京東京タワー"},
	},
	{
		"re\u0301sume\u0301 na\u00efve a\u0328\u0301 हिन्दी ΣΊΣΥΦΟΣ İstanbul ẞ",
		[]string{"r\u00e9sum\u00e9", "re\u0301sume\u0301", "R\u00c9SUM\u00c9", "resume", "nai\u0308ve", "naive", "a",
			"हिन्दी", "σίσυφος", "σισυφοσ", "istanbul", "ıstanbul", "ß", "ss"},
		[]string{"sume", "दी", "हि", "s"},
	},
	{ // Emoji are found one by one and part words.
		"love❤️you 👩‍👩‍👧 👍🏽 🇮🇷 one😀two 1️⃣",
		[]string{"love", "you", "one", "two", "love❤you", "love 👩‍👩‍👧", "👍", "👍🏿", "👩", "👧 👩", "😀 two", "🇮🇷", "1"},
		[]string{"loveyou", "onetwo", "three 😀", "👍x", "👍👍", "👎", "love👎you"},
	},
	{
		strings.Repeat("ab", 4000) + " " + strings.Repeat("ب", 1500) + " end " + strings.Repeat("+", 2000),
		[]string{"end", strings.Repeat("ab", 4000), strings.Repeat("ab", content.MaxPrefix/2), strings.Repeat("ب", 1500),
			strings.Repeat("ب", content.MaxPrefix), strings.Repeat("+", 2000), "+"},
		[]string{strings.Repeat("ab", 100), strings.Repeat("ab", 3999), strings.Repeat("ب", content.MaxPrefix+1),
			strings.Repeat("ب", 1499), strings.Repeat("ب", 100), strings.Repeat("+", 1999)},
	},
}

// contentSearchPairs is the table of package searchpairs, one title at a time.
func contentSearchPairs(ctx context.Context, s store.Store) error {
	author := newName()
	for i, p := range searchpairs.All {
		c := newContent(author, i)
		c.Title = p.Title
		if err := s.CreateContent(ctx, c); err != nil {
			return err
		}
		f := content.Filter{Author: author, Terms: content.Terms(p.Search)}
		listed, err := s.ListContents(ctx, content.Query{Filter: f, Order: content.Order{Field: content.ByTitle}, Limit: 5})
		if err != nil {
			return fmt.Errorf("a search for %q: %w", p.Search, err)
		}
		if found := len(listed) == 1 && listed[0].Content == c; found != p.Found {
			return fmt.Errorf("%q finds %q: %t, want %t", p.Search, p.Title, found, p.Found)
		}
		if err := s.DeleteContent(ctx, c.ID, 0); err != nil {
			return err
		}
	}
	return nil
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
		if err := errors.Join(count("*", 3), count("", 3), count(", \u200c\ufe0f", 3)); err != nil {
			return err
		}
	}
	return nil
}
