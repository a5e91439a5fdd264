package rating_test

import (
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/internal/id"
	"github.com/khodnevis/khodnevis/rating"
)

var someTime = time.Date(2026, 11, 23, 10, 11, 12, 131415000, time.UTC)

func TestVersionOrdinalKeepsTheOrder(t *testing.T) {
	t.Parallel()
	ordered := []rating.Version{{}, {Epoch: 1}, {Epoch: 1, Offset: 1}, {Epoch: 1, Offset: 1 << 39}, {Epoch: 2},
		{Epoch: 2, Offset: 5}, {Epoch: 1 << 21, Offset: 9}}
	for i := 1; i < len(ordered); i++ {
		if ordered[i-1].Compare(ordered[i]) != -1 || ordered[i].Compare(ordered[i-1]) != 1 ||
			ordered[i].Compare(ordered[i]) != 0 {
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
		"", ":", "a:b", "a:b:c", "a", "a%3Ab", "..:b", "a:.", "post-17:a@b|c=d+e", "a b:c", "a:\x00", "a:\xff",
		strings.Repeat("a", 128) + ":" + strings.Repeat("b", 128), strings.Repeat("a", 129) + ":b",
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
	for _, s := range []string{"", ":", "a:", ":b", "a:b:c", "a", "a b:c", "..:b", "a:.", strings.Repeat("a", 129) +
		":b", "a:ü"} {
		if k, ok := rating.ParseKey(s); ok {
			t.Errorf("%q is accepted as %v", s, k)
		}
	}
	if k, ok := rating.ParseKey("post-17:a@b|c=d+e"); !ok || k.String() != "post-17:a@b|c=d+e" {
		t.Errorf("got %v, %v", k, ok)
	}
}
