package event_test

import (
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/rating/internal/event"
)

func encodeRate(score int) []byte {
	return event.Event{Op: event.Rate, Score: score,
		At: time.Date(2026, 11, 23, 10, 11, 12, 131415000, time.UTC)}.Encode()
}

func decodeThenEncode(body []byte) ([]byte, bool) {
	e, err := event.Decode(body)
	if err != nil {
		return nil, false
	}
	return e.Encode(), true
}

// FuzzQueueRecord: what is accepted from the queue encodes to something that is accepted and means
// the same.
func FuzzQueueRecord(f *testing.F) {
	f.Add(encodeRate(4))
	for _, s := range []string{
		``, `null`, `[]`, `{}`, `{"v":1,"op":"withdraw","by":"u","at":1767225600000000}`,
		`{"v":1,"op":"recalculate","by":"u","at":1767225600000000}`,
		`{"v":2,"op":"rate","score":4,"at":1767225600000000}`, `{"v":1,"op":"rate","at":1767225600000000}`,
		`{"v":1,"op":"rate","score":4,"at":-1}`,
		`{"v":1,"op":"rate","score":4,"at":1767225600000000} `, `{"v":1,"op":"rate","score":4,"at":1767225600000000}{}`,
		`{"v":1,"op":"rate","score":4.5,"at":1}`,
		`{"v":1,"op":"withdraw","by":"u","anonymous":"anonymous-1","at":1767225600000000}`,
		`{"v":1,"op":"rate","score":4,"by":"u","at":1767225600000000}`,
		`{"v":1,"op":"rate","score":4,"at":1767225600000000,"x":1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		once, ok := decodeThenEncode(body)
		if !ok {
			return
		}
		twice, ok := decodeThenEncode(once)
		if !ok || string(once) != string(twice) {
			t.Fatalf("%q was accepted, encodes to %q, and that to %q (%v)", body, once, twice, ok)
		}
	})
}

func TestQueueRecordRefuses(t *testing.T) {
	t.Parallel()
	good := string(encodeRate(4))
	if _, ok := decodeThenEncode([]byte(good)); !ok {
		t.Fatalf("%s is refused", good)
	}
	for _, bad := range []string{
		good + "{}", strings.Replace(good, `"v":1`, `"v":2`, 1), strings.Replace(good, `"score":4`, `"score":"4"`, 1),
		strings.Replace(good, `,"score":4`, ``, 1), strings.Replace(good, `"op"`, `"po"`, 1),
		strings.Replace(good, `rate`, `rat`, 1), good[:len(good)-1],
	} {
		if _, ok := decodeThenEncode([]byte(bad)); ok {
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
		if again, accepted := decodeThenEncode([]byte(body)); accepted != ok || ok && string(again) != body {
			t.Errorf("%s: accepted %v, and encoded as %s", body, accepted, again)
		}
	}
}
