package kvstore_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store"
	"github.com/khodnevis/khodnevis/store/kvstore"
	"github.com/khodnevis/khodnevis/store/memstore"
	"github.com/khodnevis/khodnevis/store/storetest"
)

// TestStore runs the suite on an engine that permits nothing beyond its contract, and looks at the
// indexes after each check.
func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		s := kvstore.New(strict{memstore.NewEngine()}, kvstore.Config{})
		t.Cleanup(func() {
			if err := s.Audit(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return s
	}, storetest.Config{})
}

// TestRecountRepairs covers what the suite cannot: numbers that are wrong.
func TestRecountRepairs(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := kvstore.New(memstore.NewEngine(), kvstore.Config{Now: func() time.Time { return noon }})
	one := rating.Change{
		Key:     rating.Key{Content: "c", Rater: "r"},
		Version: rating.Version{Epoch: 1, Offset: 1},
		Score:   4,
		At:      noon,
	}
	if _, err := s.ApplyRatings(ctx, rating.Batch{Changes: []rating.Change{one}}); err != nil {
		t.Fatal(err)
	}
	compute := func(h rating.History) score.Score {
		return score.Score{Counted: float64(len(h.Buckets)), Computed: true}
	}
	if _, err := s.RefreshScores(ctx, 10, compute); err != nil {
		t.Fatal(err)
	}
	if err := s.Damage(ctx, "c"); err != nil {
		t.Fatal(err)
	}

	drifts, err := s.Recount(ctx, []string{"c", "missing"})
	if err != nil {
		t.Fatal(err)
	}
	right := score.Bucket{Index: 0, Counts: []score.Count{{Score: 4, N: 1}}}
	want := []rating.Drift{{
		Content:    "c",
		WasBuckets: []score.Bucket{right, {Index: 7, Counts: []score.Count{{Score: 5, N: 1}}}},
		IsBuckets:  []score.Bucket{right},
	}}
	if !reflect.DeepEqual(drifts, want) {
		t.Errorf("drifts:\n%+v, want\n%+v", drifts, want)
	}
	if drifts, err = s.Recount(ctx, []string{"c"}); err != nil || len(drifts) > 0 {
		t.Errorf("after the repair: %+v, %v", drifts, err)
	}
	if refreshed, err := s.RefreshScores(ctx, 10, compute); err != nil || len(refreshed) != 1 {
		t.Errorf("what was repaired is not claimed: %+v, %v", refreshed, err)
	}
}

var noon = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)

// failing is an engine that fails at one operation of a transaction.
type failing struct {
	kvstore.Engine
	left *int // operations until then
}

var errDisk = errors.New("the disk is gone")

func (e failing) Update(ctx context.Context, fn func(kvstore.Tx) error) error {
	return e.Engine.Update(ctx, func(kv kvstore.Tx) error { return fn(failingTx{kv, e.left}) })
}

func (e failing) View(ctx context.Context, fn func(kvstore.Tx) error) error {
	return e.Engine.View(ctx, func(kv kvstore.Tx) error { return fn(failingTx{kv, e.left}) })
}

type failingTx struct {
	kvstore.Tx
	left *int
}

func (tx failingTx) fail() error {
	if *tx.left--; *tx.left == 0 {
		return errDisk
	}
	return nil
}

func (tx failingTx) Get(key []byte) ([]byte, bool, error) {
	if err := tx.fail(); err != nil {
		return nil, false, err
	}
	return tx.Tx.Get(key)
}

func (tx failingTx) Put(key, value []byte) error {
	return errors.Join(tx.fail(), tx.Tx.Put(key, value))
}

func (tx failingTx) Delete(key []byte) error { return errors.Join(tx.fail(), tx.Tx.Delete(key)) }

func (tx failingTx) Scan(low, high []byte, descending bool, yield func(key, value []byte) bool) error {
	return errors.Join(tx.fail(), tx.Tx.Scan(low, high, descending, yield))
}

// TestEveryErrorOfTheEngineIsReturned fails each operation of each method once: the method returns
// that error and nothing else, and leaves nothing behind.
func TestEveryErrorOfTheEngineIsReturned(t *testing.T) {
	t.Parallel()
	k := rating.Key{Content: "c", Rater: "r"}
	methods := map[string]func(ctx context.Context, s store.Store) error{
		"create": func(ctx context.Context, s store.Store) error {
			return s.CreateContent(ctx, content.Content{ID: "new", Title: "a b c", Version: 1})
		},
		"update": func(ctx context.Context, s store.Store) error {
			return s.UpdateContent(ctx, content.Content{ID: "c", Title: "other", Version: 2})
		},
		"search": func(ctx context.Context, s store.Store) error {
			_, err := s.ListContents(
				ctx,
				content.Query{
					Filter: content.Filter{Terms: []string{"one", "two"}},
					Order:  content.Order{Field: content.ByScore},
					Limit:  5,
				},
			)
			return err
		},
		"list": func(ctx context.Context, s store.Store) error {
			_, err := s.ListContents(
				ctx,
				content.Query{
					Filter: content.Filter{RatingsMin: 1},
					Order:  content.Order{Field: content.ByTitle},
					Limit:  5,
				},
			)
			return err
		},
		"ratings": func(ctx context.Context, s store.Store) error {
			_, err := s.ListRatings(ctx, rating.Query{Order: rating.NewestFirst, Limit: 5})
			return err
		},
		"apply": func(ctx context.Context, s store.Store) error {
			changes := []rating.Change{
				{Key: k, Version: rating.Version{Epoch: 1, Offset: 2}, Withdraw: true, ReassignTo: "x", At: noon},
				{
					Key:     rating.Key{Content: "c", Rater: "other"},
					Version: rating.Version{Epoch: 1, Offset: 3},
					Score:   3,
					At:      noon,
				},
			}
			_, err := s.ApplyRatings(ctx, rating.Batch{Changes: changes,
				DeadLetters: []rating.DeadLetter{{Key: "k"}}})
			return err
		},
		"refresh": func(ctx context.Context, s store.Store) error {
			_, err := s.RefreshScores(
				ctx,
				10,
				func(rating.History) score.Score { return score.Score{Rank: 1, Computed: true} },
			)
			return err
		},
		"recount": func(ctx context.Context, s store.Store) error {
			_, err := s.Recount(ctx, []string{"c"})
			return err
		},
		"sweep": func(ctx context.Context, s store.Store) error {
			_, err := s.SweepRatings(ctx, noon.Add(time.Hour), 5)
			return err
		},
		"delete": func(ctx context.Context, s store.Store) error { return s.DeleteContent(ctx, "c", 0) },
	}
	for name, run := range methods {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := 1; ; n++ {
				left := 0
				s := kvstore.New(failing{memstore.NewEngine(), &left}, kvstore.Config{})
				ctx := t.Context()
				c := content.Content{ID: "c", Title: "one two", Version: 1}
				if err := s.CreateContent(ctx, c); err != nil {
					t.Fatal(err)
				}
				for offset := range int64(2) {
					_, err := s.RefreshScores(ctx, 10, func(rating.History) score.Score { return score.Score{Computed: true} })
					first := rating.Change{Key: k, Version: rating.Version{Epoch: 1, Offset: offset}, Score: int(offset), At: noon}
					_, failed := s.ApplyRatings(ctx, rating.Batch{Changes: []rating.Change{first}})
					if err := errors.Join(err, failed); err != nil {
						t.Fatal(err)
					}
				}
				before := snapshotOf(t, s)
				left = n
				err := run(ctx, s)
				if left > 0 {
					if err != nil || n < 3 {
						t.Errorf("after %d operations without an error: %v", n, err)
					}
					return
				}
				left = 0
				if !errors.Is(err, errDisk) {
					t.Errorf("operation %d failed, and the method returned %v", n, err)
				}
				if after := snapshotOf(t, s); !reflect.DeepEqual(before, after) {
					t.Errorf("operation %d failed, and left\n%v\nof\n%v", n, after, before)
				}
			}
		})
	}
}

// snapshotOf returns everything that is stored.
func snapshotOf(t *testing.T, s *kvstore.Store) map[string]string {
	t.Helper()
	all, err := s.Dump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}
