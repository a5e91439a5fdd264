package rating_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/rating/worker"
)

// Staff exclude a campaign, and take that back: the published score follows, nothing else moves.
func TestWindowsAreReversible(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.content()
	boss, user := actor.Actor{User: "boss", Staff: true}, actor.Actor{User: "user"}
	recalculator := check(worker.NewRecalculator(w.ratings, w.store))(t)
	changes := make([]rating.Change, 220)
	for i := range changes {
		changes[i] = rating.Change{Key: rating.Key{Content: c.ID, Rater: "u" +
			string(rune('0'+i/100)) + string(rune('a'+i%100))}, Version: rating.Version{Epoch: 1, Offset: int64(i)},
			Score: 4, At: c.CreatedAt}
		if i >= 20 {
			changes[i].Score, changes[i].At = 1, c.CreatedAt.Add(73*time.Hour)
		}
	}
	check(w.store.ApplyRatings(t.Context(), rating.Batch{Changes: changes}))(t)
	published := func() float64 {
		check(recalculator.RefreshScores(t.Context()))(t)
		s := w.stats(c.ID)
		if s.Count != 220 || s.Sum != 280 || s.Histogram[1] != 200 || s.Histogram[4] != 20 {
			t.Errorf("a window moved the numbers: %+v", s)
		}
		return s.Score.Value
	}
	before := published()
	draft := rating.Window{Content: c.ID, Ruling: score.Excluded, From: c.CreatedAt.Add(74 * time.Hour),
		Until: c.CreatedAt.Add(75 * time.Hour), Note: "a link in a channel"}
	if _, err := w.ratings.AddWindow(t.Context(), user, draft); !errors.Is(err, rating.ErrForbidden) {
		t.Errorf("a user: %v", err)
	}
	window := check(w.ratings.AddWindow(t.Context(), boss, draft))(t)
	if window.First != 26 || window.Last != 26 || window.By != "boss" {
		t.Errorf("the window is %+v, want the bucket that it touches", window)
	}
	if got := published(); got != 4 {
		t.Errorf("without the campaign the score is %v, want 4", got)
	}
	e := check(w.ratings.Explain(t.Context(), boss, c.ID))(t)
	if len(e.Windows) != 1 || e.Windows[0] != window || len(e.Parts) != 2 ||
		e.Parts[1].Verdict != score.VerdictExcluded || e.Score != e.Stats.Score || e.Stats.Held() != 200 {
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
	if got := published(); math.Float64bits(got) != math.Float64bits(before) {
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
	boss := actor.Actor{User: "boss", Staff: true}
	check(w.store.ApplyRatings(t.Context(), rating.Batch{Changes: []rating.Change{{
		Key: rating.Key{Content: c.ID, Rater: "u"}, Version: rating.Version{Epoch: 1, Offset: 1}, Score: 4, At: w.now(),
	}}}))(t)
	ok := rating.Window{Content: c.ID, Ruling: score.Cleared, From: w.now(), Until: w.now().Add(time.Hour)}
	for name, bad := range map[string]func(*rating.Window){
		"ruling": func(d *rating.Window) { d.Ruling = "maybe" },
		"from":   func(d *rating.Window) { d.From = time.Time{} },
		"until":  func(d *rating.Window) { d.Until = d.From },
		"note":   func(d *rating.Window) { d.Note = strings.Repeat("é", rating.MaxNote+1) },
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
