package rating_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/rating"
)

// bombed is a thousand ratings of 4.2 on the second day, then five thousand ones within a day.
var bombed = []rating.Bucket{b(24, 1000, 4200), b(40, 5000, 5000)}

func TestFoldWithWindows(t *testing.T) {
	t.Parallel()
	window := func(r rating.Ruling, first, last int) rating.Window {
		return rating.Window{Ruling: r, First: first, Last: last}
	}
	for _, c := range []struct {
		name          string
		windows       []rating.Window
		weight, value float64
	}{
		{"none", nil, 1032.297608, 4.099881},
		{"elsewhere", []rating.Window{window(rating.Excluded, 25, 39), window(rating.Cleared, 41, 99)}, 1032.297608, 4.099881},
		{"excluded", []rating.Window{window(rating.Excluded, 40, 40)}, 1000, 4.2},
		{"cleared", []rating.Window{window(rating.Cleared, 38, 44)}, 6000, 9200.0 / 6000},
		{"excluded and cleared", []rating.Window{window(rating.Excluded, 40, 40), window(rating.Cleared, 0, 99)}, 1000, 4.2},
		{"cleared and excluded", []rating.Window{window(rating.Cleared, 0, 99), window(rating.Excluded, 40, 40)}, 1000, 4.2},
		{"all excluded", []rating.Window{window(rating.Excluded, 0, 99)}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := rating.History{Buckets: bombed, Windows: c.windows}
			parts, got := rating.ScorePolicy{}.Explain(rating.Scale{}, h)
			if math.Abs(got.Weight-c.weight) > 1e-6 || math.Abs(got.Value-c.value) > 1e-6 {
				t.Errorf("%+v, want the weight %v and the score %v", got, c.weight, c.value)
			}
			if folded := (rating.ScorePolicy{}).Compute(rating.Scale{}, h); folded != got {
				t.Errorf("the explanation ends with %+v, the fold with %+v", got, folded)
			}
			if len(parts) != 2 {
				t.Fatalf("%d parts", len(parts))
			}
			if counted := parts[0].Counted + parts[1].Counted; math.Abs(counted-got.Weight) > 1e-9 {
				t.Errorf("the parts count %v, the score rests on %v", counted, got.Weight)
			}
		})
	}
}

func TestExplainSaysWhy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		buckets []rating.Bucket
		windows []rating.Window
		want    []rating.Verdict
		says    string // about the last one
	}{
		{[]rating.Bucket{b(0, 1, 5)}, nil, []rating.Verdict{rating.VerdictFew}, "All 1 count: while a content has few ratings, a few more always do."},
		{bombed, nil, []rating.Verdict{rating.VerdictCounted, rating.VerdictHeld},
			"5000 ratings average 1.00 where the score stood at 4.20; a day may pull it by 0.10, so they count as 32.3, and 4967.7 are held back until others agree."},
		{[]rating.Bucket{b(0, 300, 1260), b(5, 3000, 3000)}, nil, []rating.Verdict{rating.VerdictCounted, rating.VerdictHeld}, "an hour of the first day may pull it by 0.02"},
		{shift(10)[:4], nil, []rating.Verdict{rating.VerdictCounted, rating.VerdictHeld, rating.VerdictHeld, rating.VerdictHeld}, "held back"},
		{[]rating.Bucket{b(0, 500, 500), b(24, 500, 500)}, nil, []rating.Verdict{rating.VerdictAgreed, rating.VerdictAgreed}, "the ratings since agree, so all 500 count."},
		{bombed, []rating.Window{{Ruling: rating.Excluded, First: 40, Last: 40}}, []rating.Verdict{rating.VerdictCounted, rating.VerdictExcluded}, "Excluded by staff: none of the 5000 counts."},
		{bombed, []rating.Window{{Ruling: rating.Cleared, First: 40, Last: 40}}, []rating.Verdict{rating.VerdictCounted, rating.VerdictCleared}, "Cleared by staff: all 5000 count."},
	} {
		parts, _ := rating.ScorePolicy{}.Explain(rating.Scale{}, rating.History{Buckets: c.buckets, Windows: c.windows})
		var got []rating.Verdict
		for _, p := range parts {
			got = append(got, p.Verdict)
		}
		if why := parts[len(parts)-1].Why(); !slices.Equal(got, c.want) || !strings.Contains(why, c.says) {
			t.Errorf("%v: %v, want %v; the last one: %q, want %q", c.buckets, got, c.want, why, c.says)
		}
	}
}

// BucketSpan is the inverse of BucketAt.
func TestBucketSpan(t *testing.T) {
	t.Parallel()
	for bucket := range 400 {
		from, until := rating.BucketSpan(someTime, bucket)
		for at, want := range map[time.Time]int{from: bucket, until.Add(-time.Microsecond): bucket, until: bucket + 1} {
			if got := rating.BucketAt(someTime, at); got != want {
				t.Fatalf("bucket %d is from %s to %s, and %s lies in %d, want %d", bucket, from, until, at, got, want)
			}
		}
	}
}

// Staff exclude a campaign, and take that back: the published score follows, nothing else moves.
func TestWindowsAreReversible(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.content()
	boss, user := rating.Actor{User: "boss", Staff: true}, rating.Actor{User: "user"}
	recalculator := check(rating.NewRecalculator(w.store, w.cfg))(t)
	changes := make([]rating.Change, 220)
	for i := range changes {
		changes[i] = rating.Change{Key: rating.Key{Content: c.ID, Rater: "u" + string(rune('0'+i/100)) + string(rune('a'+i%100))}, Version: rating.Version{Epoch: 1, Offset: int64(i)},
			Score: 4, Bucket: 24, At: c.CreatedAt.Add(25 * time.Hour)}
		if i >= 20 {
			changes[i].Score, changes[i].Bucket, changes[i].At = 1, 26, c.CreatedAt.Add(73*time.Hour)
		}
	}
	check(w.store.ApplyRatings(t.Context(), rating.Batch{Changes: changes}))(t)
	score := func() float64 {
		check(recalculator.Refresh(t.Context()))(t)
		s := w.stats(c.ID)
		if s.Count != 220 || s.Sum != 280 || s.Histogram[1] != 200 || s.Histogram[4] != 20 {
			t.Errorf("a window moved the numbers: %+v", s)
		}
		return s.Score.Value
	}
	before := score()
	draft := rating.WindowDraft{Content: c.ID, Ruling: rating.Excluded, From: c.CreatedAt.Add(74 * time.Hour), Until: c.CreatedAt.Add(75 * time.Hour), Note: "a link in a channel"}
	if _, err := w.ratings.AddWindow(t.Context(), user, draft); !errors.Is(err, rating.ErrForbidden) {
		t.Errorf("a user: %v", err)
	}
	window := check(w.ratings.AddWindow(t.Context(), boss, draft))(t)
	if window.First != 26 || window.Last != 26 || window.By != "boss" {
		t.Errorf("the window is %+v, want the bucket that it touches", window)
	}
	if got := score(); got != 4 {
		t.Errorf("without the campaign the score is %v, want 4", got)
	}
	e := check(w.ratings.Explain(t.Context(), boss, c.ID))(t)
	if len(e.Windows) != 1 || e.Windows[0] != window || len(e.Parts) != 2 || e.Parts[1].Verdict != rating.VerdictExcluded || e.Score != e.Stats.Score || e.Stats.Held() != 200 {
		t.Errorf("the explanation is %+v", e)
	}
	if _, err := w.ratings.Explain(t.Context(), user, c.ID); !errors.Is(err, rating.ErrForbidden) {
		t.Errorf("a user gets an explanation: %v", err)
	}
	if err := w.ratings.RemoveWindow(t.Context(), user, c.ID, window.ID); !errors.Is(err, rating.ErrForbidden) {
		t.Errorf("a user removes a window: %v", err)
	}
	if err := w.ratings.RemoveWindow(t.Context(), boss, c.ID, ""); err != nil {
		t.Fatal(err)
	}
	if got := score(); math.Float64bits(got) != math.Float64bits(before) {
		t.Errorf("with the window taken back the score is %v, it was %v", got, before)
	}
	if err := w.ratings.RemoveWindow(t.Context(), boss, c.ID, window.ID); !errors.Is(err, rating.ErrNotFound) {
		t.Errorf("it is removed twice: %v", err)
	}
}

func TestWindowsAreValidated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.content()
	boss := rating.Actor{User: "boss", Staff: true}
	ok := rating.WindowDraft{Content: c.ID, Ruling: rating.Cleared, From: w.now(), Until: w.now().Add(time.Hour)}
	for name, bad := range map[string]func(*rating.WindowDraft){
		"ruling": func(d *rating.WindowDraft) { d.Ruling = "maybe" },
		"from":   func(d *rating.WindowDraft) { d.From = time.Time{} },
		"until":  func(d *rating.WindowDraft) { d.Until = d.From },
		"note":   func(d *rating.WindowDraft) { d.Note = strings.Repeat("é", rating.MaxNote+1) },
	} {
		d := ok
		bad(&d)
		var invalid *rating.ValidationError
		if _, err := w.ratings.AddWindow(t.Context(), boss, d); !errors.As(err, &invalid) || invalid.Fields[0].Name != name {
			t.Errorf("a bad %s: %v", name, err)
		}
	}
	for range rating.MaxWindows {
		check(w.ratings.AddWindow(t.Context(), boss, ok))(t)
	}
	if _, err := w.ratings.AddWindow(t.Context(), boss, ok); err == nil {
		t.Errorf("a content has more than %d windows", rating.MaxWindows)
	}
	ok.Content = "none"
	if _, err := w.ratings.AddWindow(t.Context(), boss, ok); !errors.Is(err, rating.ErrNotFound) {
		t.Errorf("a window of nothing: %v", err)
	}
}
