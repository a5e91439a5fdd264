package memstore_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/memstore"
	"github.com/khodnevis/khodnevis/store/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) store.Store { return memstore.New(memstore.Config{}) }, storetest.Config{})
}

var noon = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)

func rate(t *testing.T, s *memstore.Store, k rating.Key, offset int64, score int) {
	t.Helper()
	c := rating.Change{Key: k, Version: rating.Version{Epoch: 1, Offset: offset}, Score: score, Bucket: 3, At: noon}
	if _, err := s.ApplyRatings(t.Context(), rating.Batch{Changes: []rating.Change{c}}); err != nil {
		t.Fatal(err)
	}
}

// TestRecountRepairs covers what the suite cannot: numbers that are wrong.
func TestRecountRepairs(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := memstore.New(memstore.Config{Now: func() time.Time { return noon }})
	rate(t, s, rating.Key{Content: "c", Rater: "r"}, 1, 4)
	fold := func(h rating.History) rating.Score {
		return rating.Score{Weight: float64(len(h.Buckets)), Folded: true}
	}
	if _, err := s.RefreshScores(ctx, 10, fold); err != nil {
		t.Fatal(err)
	}
	s.Damage("c")

	drifts, err := s.Recount(ctx, []string{"c", "missing"})
	if err != nil {
		t.Fatal(err)
	}
	score := rating.Score{Weight: 1, Folded: true}
	want := []rating.Drift{{
		Content:    "c",
		Was:        rating.Stats{Content: "c", Count: 2, Sum: 9, Histogram: map[int]int64{4: 1, 5: 1}, Score: score, Revision: 2, AsOf: noon},
		Is:         rating.Stats{Content: "c", Count: 1, Sum: 4, Histogram: map[int]int64{4: 1}, Score: score, Revision: 3, AsOf: noon},
		WasBuckets: []rating.Bucket{{Index: 3, N: 1, Sum: 4}, {Index: 7, N: 1, Sum: 5}},
		IsBuckets:  []rating.Bucket{{Index: 3, N: 1, Sum: 4}},
	}}
	if !reflect.DeepEqual(drifts, want) {
		t.Errorf("drifts:\n%+v, want\n%+v", drifts, want)
	}
	if drifts, err = s.Recount(ctx, []string{"c"}); err != nil || len(drifts) > 0 {
		t.Errorf("after the repair: %+v, %v", drifts, err)
	}
	if refreshed, err := s.RefreshScores(ctx, 10, fold); err != nil || len(refreshed) != 1 {
		t.Errorf("what was repaired is not claimed: %+v, %v", refreshed, err)
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	now := noon.Add(1500 * time.Nanosecond).In(time.FixedZone("Tehran", 12600))
	s := memstore.New(memstore.Config{Now: func() time.Time { return now }})
	rate(t, s, rating.Key{Content: "c", Rater: "r"}, 1, 4)
	stats, err := s.StatsByContent(ctx, []string{"c"})
	if err != nil {
		t.Fatal(err)
	}
	if want := noon.Add(time.Microsecond); stats[0].AsOf != want {
		t.Errorf("AsOf is %v, want %v", stats[0].AsOf, want)
	}

	claim := func(at time.Duration, want bool) {
		t.Helper()
		ok, err := s.ClaimTick(ctx, "job", noon.Add(at), time.Minute)
		if err != nil || ok != want {
			t.Errorf("the claim is %t, %v, want %t", ok, err, want)
		}
	}
	claim(0, true)
	now = now.Add(time.Minute - 1)
	claim(time.Second, false)
	now = now.Add(1)
	claim(time.Second, true)
}

// TestCancelled: a caller whose context is done gets its error and no work done, as with a database.
func TestCancelled(t *testing.T) {
	t.Parallel()
	s := memstore.New(memstore.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.CreateContent(ctx, content.Content{ID: "c"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a write: %v", err)
	}
	if _, err := s.CountContents(ctx, content.Filter{}, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("a read: %v", err)
	}
	if err := s.Ping(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a ping: %v", err)
	}
	if n, err := s.CountContents(t.Context(), content.Filter{}, 0); err != nil || n != 0 {
		t.Errorf("contents after a cancelled creation: %d, %v", n, err)
	}
}
