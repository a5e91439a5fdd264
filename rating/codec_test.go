package rating_test

import (
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating"
)

var someTime = time.Date(2026, 11, 23, 10, 11, 12, 131415000, time.UTC)

// FuzzQueueRecord: what is accepted from the queue encodes to something that is accepted and means
// the same.
func FuzzQueueRecord(f *testing.F) {
	f.Add(rating.EncodeRate(4, someTime))
	for _, s := range []string{
		``, `null`, `[]`, `{}`, `{"v":1,"op":"withdraw","by":"u","at":1767225600000000}`, `{"v":1,"op":"recalculate","by":"u","at":1767225600000000}`,
		`{"v":2,"op":"rate","score":4,"at":1767225600000000}`, `{"v":1,"op":"rate","at":1767225600000000}`, `{"v":1,"op":"rate","score":4,"at":-1}`,
		`{"v":1,"op":"rate","score":4,"at":1767225600000000} `, `{"v":1,"op":"rate","score":4,"at":1767225600000000}{}`, `{"v":1,"op":"rate","score":4.5,"at":1}`,
		`{"v":1,"op":"withdraw","by":"u","anonymous":"anonymous-1","at":1767225600000000}`,
		`{"v":1,"op":"rate","score":4,"by":"u","at":1767225600000000}`, `{"v":1,"op":"rate","score":4,"at":1767225600000000,"x":1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		once, ok := rating.DecodeThenEncode(body)
		if !ok {
			return
		}
		twice, ok := rating.DecodeThenEncode(once)
		if !ok || string(once) != string(twice) {
			t.Fatalf("%q was accepted, encodes to %q, and that to %q (%v)", body, once, twice, ok)
		}
	})
}

func TestQueueRecordRefuses(t *testing.T) {
	t.Parallel()
	good := string(rating.EncodeRate(4, someTime))
	if _, ok := rating.DecodeThenEncode([]byte(good)); !ok {
		t.Fatalf("%s is refused", good)
	}
	for _, bad := range []string{
		good + "{}", strings.Replace(good, `"v":1`, `"v":2`, 1), strings.Replace(good, `"score":4`, `"score":"4"`, 1),
		strings.Replace(good, `,"score":4`, ``, 1), strings.Replace(good, `"op"`, `"po"`, 1), strings.Replace(good, `rate`, `rat`, 1), good[:len(good)-1],
	} {
		if _, ok := rating.DecodeThenEncode([]byte(bad)); ok {
			t.Errorf("%s is accepted", bad)
		}
	}
}

// TestQueueRecordForms: what earlier releases have written means the same, and only a withdrawal
// names an anonymous rater.
func TestQueueRecordForms(t *testing.T) {
	t.Parallel()
	for body, ok := range map[string]bool{
		`{"v":1,"op":"rate","score":4,"at":1767225600000000}`:                                        true,
		`{"v":1,"op":"withdraw","by":"u","at":1767225600000000}`:                                     true,
		`{"v":1,"op":"recalculate","by":"u","at":1767225600000000}`:                                  true,
		`{"v":1,"op":"withdraw","by":"u","anonymous":"anonymous-1","at":1767225600000000}`:           true,
		`{"v":1,"op":"withdraw","anonymous":"anonymous-1","at":1767225600000000}`:                    false,
		`{"v":1,"op":"withdraw","by":"u","anonymous":"a b","at":1767225600000000}`:                   false,
		`{"v":1,"op":"rate","score":4,"anonymous":"anonymous-1","at":1767225600000000}`:              false,
		`{"v":1,"op":"recalculate","by":"u","anonymous":"anonymous-1","at":1767225600000000}`:        false,
		`{"v":1,"op":"withdraw","by":"u","anonymous":["anonymous-1"],"at":1767225600000000}`:         false,
		`{"v":1,"op":"withdraw","by":"u","anonymous":"anonymous-1","score":0,"at":1767225600000000}`: false,
	} {
		if again, accepted := rating.DecodeThenEncode([]byte(body)); accepted != ok || ok && string(again) != body {
			t.Errorf("%s: accepted %v, and encoded as %s", body, accepted, again)
		}
	}
}

// FuzzTaskID: what is accepted is the one spelling of what it says.
func FuzzTaskID(f *testing.F) {
	for _, key := range taskKeys() {
		f.Add(rating.TaskID(queue.Position{Stream: "s1", Offset: 7}, someTime, key))
	}
	f.Add("")
	f.Add("AAAA")
	f.Add(strings.Repeat("A", 600))
	f.Fuzz(func(t *testing.T, s string) {
		if again, _, ok := rating.ParseTaskID(s); ok && again != s {
			t.Fatalf("%q is accepted and spelled %q", s, again)
		}
	})
}

func taskKeys() []rating.Key {
	long := strings.Repeat("x", 128)
	return []rating.Key{
		{Content: "0198f7a2-7b1c-7def-8123-456789abcdef", Rater: "0197f7a2-7b1c-7def-8123-456789abcdef"},
		{Content: "post-17", Rater: "a@b.c"}, {Content: long, Rater: long},
		{Content: "0198F7A2-7B1C-7DEF-8123-456789ABCDEF", Rater: "0198f7a27b1c7def8123456789abcdef"}, // not canonical: must come back as they are
	}
}

func TestTaskIDCarriesTheRating(t *testing.T) {
	t.Parallel()
	for _, key := range taskKeys() {
		s := rating.TaskID(queue.Position{Stream: strings.Repeat("s", 64), Offset: 1 << 60}, someTime, key)
		if len(s) > rating.MaxTaskID {
			t.Errorf("%v: %d bytes, more than MaxTaskID", key, len(s))
		}
		if _, got, ok := rating.ParseTaskID(s); !ok || got != key {
			t.Errorf("%v came back as %v, %v", key, got, ok)
		}
		for i := range s { // a mistyped identifier is none
			for _, c := range []byte{'A', 'b', '_'} {
				typo := s[:i] + string(c) + s[i+1:]
				if _, _, ok := rating.ParseTaskID(typo); ok && typo != s {
					t.Fatalf("%q with byte %d as %q is accepted", s, i, c)
				}
			}
		}
	}
}

func TestVersionOrdinalKeepsTheOrder(t *testing.T) {
	t.Parallel()
	ordered := []rating.Version{{}, {Epoch: 1}, {Epoch: 1, Offset: 1}, {Epoch: 1, Offset: 1 << 39}, {Epoch: 2}, {Epoch: 2, Offset: 5}, {Epoch: 1 << 21, Offset: 9}}
	for i := 1; i < len(ordered); i++ {
		if ordered[i-1].Compare(ordered[i]) != -1 || ordered[i].Compare(ordered[i-1]) != 1 || ordered[i].Compare(ordered[i]) != 0 {
			t.Errorf("Compare does not order %v before %v", ordered[i-1], ordered[i])
		}
		if rating.Ordinal(ordered[i-1]) >= rating.Ordinal(ordered[i]) {
			t.Errorf("Ordinal does not order %v before %v", ordered[i-1], ordered[i])
		}
	}
}

// FuzzRatingID: what is accepted is the one spelling of a content's and a rater's identifier.
func FuzzRatingID(f *testing.F) {
	for _, s := range []string{
		"", ":", "a:b", "a:b:c", "a", "a%3Ab", "..:b", "a:.", "post-17:a@b|c=d+e", "a b:c", "a:\x00", "a:\xff", strings.Repeat("a", 128) + ":" + strings.Repeat("b", 128), strings.Repeat("a", 129) + ":b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		key, ok := rating.ParseKey(s)
		if !ok {
			return
		}
		if key.String() != s || !id.Valid(key.Content) || !id.Valid(key.Rater) {
			t.Fatalf("%q is accepted as %+v", s, key)
		}
	})
}

func TestParseKey(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", ":", "a:", ":b", "a:b:c", "a", "a b:c", "..:b", "a:.", strings.Repeat("a", 129) + ":b", "a:ü"} {
		if k, ok := rating.ParseKey(s); ok {
			t.Errorf("%q is accepted as %v", s, k)
		}
	}
	if k, ok := rating.ParseKey("post-17:a@b|c=d+e"); !ok || k.String() != "post-17:a@b|c=d+e" {
		t.Errorf("got %v, %v", k, ok)
	}
}
