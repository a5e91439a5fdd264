package memstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
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
	c := rating.Change{Key: k, Version: rating.Version{Epoch: 1, Offset: offset}, Score: score, At: noon}
	if _, err := s.ApplyRatings(t.Context(), rating.Batch{Changes: []rating.Change{c}}); err != nil {
		t.Fatal(err)
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	now := noon.Add(1500 * time.Nanosecond).In(time.FixedZone("Tehran", 12600))
	s := memstore.New(memstore.Config{Now: func() time.Time { return now }})
	rate(t, s, rating.Key{Content: "c", Rater: "r"}, 1, 4)
	stats, err := s.RefreshScores(ctx, 1, func(rating.History) score.Score { return score.Score{Computed: true} })
	if err != nil || len(stats) != 1 {
		t.Fatal(stats, err)
	}
	if want := noon.Add(time.Microsecond); stats[0].AsOf != want {
		t.Errorf("AsOf is %v, want %v", stats[0].AsOf, want)
	}

	claim := func(at time.Duration, want bool) {
		t.Helper()
		ok, err := s.ClaimLease(ctx, "job", noon.Add(at), time.Minute)
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

// TestCancelled: a caller whose context is done gets its error and no work done, as with a
// database.
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
