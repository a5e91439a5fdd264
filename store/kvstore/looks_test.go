package kvstore_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/queue"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store/kvstore"
	"github.com/khodnevis/khodnevis/store/memstore"
)

// counting counts the keys that transactions look at: those that they Get, and those that they
// Scan.
type counting struct {
	kvstore.Engine
	looks *int
}

func (e counting) View(ctx context.Context, fn func(kvstore.Tx) error) error {
	return e.Engine.View(ctx, func(kv kvstore.Tx) error { return fn(countingTx{kv, e.looks}) })
}

func (e counting) Update(ctx context.Context, fn func(kvstore.Tx) error) error {
	return e.Engine.Update(ctx, func(kv kvstore.Tx) error { return fn(countingTx{kv, e.looks}) })
}

type countingTx struct {
	kvstore.Tx
	looks *int
}

func (tx countingTx) Get(key []byte) ([]byte, bool, error) {
	*tx.looks++
	return tx.Tx.Get(key)
}

func (tx countingTx) Scan(low, high []byte, descending bool, yield func(key, value []byte) bool) error {
	*tx.looks++ // to find the place
	return tx.Tx.Scan(low, high, descending, func(key, value []byte) bool {
		*tx.looks++
		return yield(key, value)
	})
}

func at(n int) time.Time { return noon.Add(time.Duration(n) * time.Second) }

// filled returns a store with n contents of n/20 authors, and a rating of every tenth. Every
// content has the word all, every second even, every third third, and the last ten rare.
func filled(tb testing.TB, n int) (*kvstore.Store, *int) {
	tb.Helper()
	looks := new(int)
	s := kvstore.New(counting{memstore.NewEngine(), looks}, kvstore.Config{Now: func() time.Time { return at(n) }})
	for from := 0; from < n; from += 1000 {
		var created []content.Content
		var changes []rating.Change
		for i := from; i < from+1000; i++ {
			title := fmt.Sprintf("%07d all", i*7919%n)
			for word, every := range map[string]int{" even": 2, " third": 3} {
				if i%every == 0 {
					title += word
				}
			}
			if i >= n-10 {
				title += " rare"
			}
			created = append(
				created,
				content.Content{
					ID:        id(i),
					Title:     title,
					Author:    fmt.Sprint("author", i%(n/20)),
					Version:   1,
					CreatedAt: at(i),
					UpdatedAt: at(i),
				},
			)
			if i%10 > 0 {
				continue
			}
			changes = append(
				changes,
				rating.Change{
					Key:     rating.Key{Content: id(i), Rater: fmt.Sprint("rater", i/10%(n/500))},
					Version: rating.Version{Epoch: 1, Offset: int64(i)},
					Score:   1 + i%5,
					At:      at(i),
				},
			)
		}
		if err := s.Fill(tb.Context(), created, changes); err != nil {
			tb.Fatal(err)
		}
		if _, err := s.RefreshScores(tb.Context(), 100, func(h rating.History) score.Score {
			sum := float64(h.Buckets[0].Sum())
			return score.Score{Value: sum, Counted: 1, Rank: sum, Computed: true}
		}); err != nil {
			tb.Fatal(err)
		}
	}
	return s, looks
}

func id(i int) string { return fmt.Sprintf("content-%07d", i) }

// pages are the operations whose cost must not grow with what is stored.
func pages(n int) map[string]func(ctx context.Context, s *kvstore.Store) error {
	all := map[string]func(ctx context.Context, s *kvstore.Store) error{}
	contents := func(name string, f content.Filter, o content.Order, wanted int) {
		all[name] = func(ctx context.Context, s *kvstore.Store) error {
			q := content.Query{Filter: f, Order: o, Limit: 10}
			first, err := s.ListContents(ctx, q)
			if err != nil || len(first) != min(wanted, q.Limit) {
				return fmt.Errorf("%d contents, %w", len(first), err)
			}
			if wanted > q.Limit {
				q.After = &first[len(first)-1].Cursor
				second, err := s.ListContents(ctx, q)
				if err != nil || len(second) != q.Limit || second[0].ID == first[0].ID {
					return fmt.Errorf("%d contents on the second page, %w", len(second), err)
				}
			}
			return nil
		}
	}
	for _, field := range content.Fields() {
		for _, desc := range []bool{false, true} {
			contents(
				fmt.Sprintf("contents by %s, descending %t", field, desc),
				content.Filter{},
				content.Order{Field: field, Desc: desc},
				20,
			)
		}
	}
	newest := content.Order{Field: content.ByCreated, Desc: true}
	contents("contents of an author", content.Filter{Author: "author7"}, newest, 20)
	contents(
		"contents of an author by title",
		content.Filter{Author: "author7"},
		content.Order{Field: content.ByTitle},
		20,
	)
	contents("a search for a common word", content.Filter{Terms: []string{"all"}}, newest, 20)
	contents("a search for common words", content.Filter{Terms: []string{"even", "all", "third"}}, newest, 20)
	contents("a search for a rare and a common word", content.Filter{Terms: []string{"all", "rare"}}, newest, 10)
	contents(
		"a search for a rare and a common word by score",
		content.Filter{Terms: []string{"all", "rare"}},
		content.Order{Field: content.ByScore, Desc: true},
		10,
	)
	contents("a search for a word that does not occur", content.Filter{Terms: []string{"all", "never"}}, newest, 0)
	contents("contents created between", content.Filter{CreatedFrom: at(500), CreatedBefore: at(505)}, newest, 5)
	contents(
		"contents updated between",
		content.Filter{UpdatedFrom: at(500), UpdatedBefore: at(505)},
		content.Order{Field: content.ByUpdated},
		5,
	)
	ratings := func(name string, f rating.Filter, o rating.Order) {
		all[name] = func(ctx context.Context, s *kvstore.Store) error {
			q := rating.Query{Filter: f, Order: o, Limit: 10}
			first, err := s.ListRatings(ctx, q)
			if err != nil || len(first) != q.Limit {
				return fmt.Errorf("%d ratings, %w", len(first), err)
			}
			last := first[len(first)-1]
			q.After = &rating.Cursor{At: last.UpdatedAt, Key: last.Key}
			second, err := s.ListRatings(ctx, q)
			if err != nil || len(second) != q.Limit || second[0].Key == first[0].Key {
				return fmt.Errorf("%d ratings on the second page, %w", len(second), err)
			}
			return nil
		}
	}
	for _, o := range []rating.Order{rating.ByKey, rating.NewestFirst, rating.OldestFirst} {
		ratings(fmt.Sprintf("ratings in the order %d", o), rating.Filter{}, o)
		ratings(fmt.Sprintf("ratings of a rater in the order %d", o), rating.Filter{Rater: "rater1"}, o)
		ratings(fmt.Sprintf("ratings of a content in the order %d", o), rating.Filter{Content: "popular"}, o)
	}
	all["100 ratings"] = func(ctx context.Context, s *kvstore.Store) error {
		var changes []rating.Change
		for i := range 100 {
			changes = append(
				changes,
				rating.Change{
					Key:     rating.Key{Content: id(n - 1 - i), Rater: "new"},
					Version: rating.Version{Epoch: 1, Offset: int64(i)},
					Score:   1 + i%5,
					At:      at(n),
				},
			)
		}
		_, err := s.ApplyRatings(ctx, rating.Batch{Changes: changes})
		return err
	}
	none := func(history rating.History) score.Score { return score.Score{Computed: true} }
	steps := map[string]func(ctx context.Context, s *kvstore.Store) (int, error){
		"refresh": func(ctx context.Context, s *kvstore.Store) (int, error) {
			refreshed, err := s.RefreshScores(ctx, 10, none)
			return len(refreshed), err
		},
		"rated contents": func(ctx context.Context, s *kvstore.Store) (int, error) {
			ids, err := s.RatedContents(ctx, id(n/2), 10)
			return len(ids), err
		},
		"sweep": func(ctx context.Context, s *kvstore.Store) (int, error) { return s.SweepRatings(ctx, at(0), 10) },
		"rejected": func(ctx context.Context, s *kvstore.Store) (int, error) {
			found, err := s.ListDeadLetters(ctx, rating.DeadLetterQuery{Limit: 10})
			return len(found), err
		},
		"users": func(ctx context.Context, s *kvstore.Store) (int, error) {
			found, err := s.ListUsers(ctx, "", 10)
			return len(found), err
		},
		"sweep of sessions": func(ctx context.Context, s *kvstore.Store) (int, error) {
			return s.SweepSessions(ctx, at(0), 10)
		},
		"sweep of creations": func(ctx context.Context, s *kvstore.Store) (int, error) {
			return s.SweepIdempotencyRecords(ctx, at(0), 10)
		},
	}
	for name, step := range steps {
		all[name] = func(ctx context.Context, s *kvstore.Store) error {
			if n, err := step(ctx, s); err != nil || n != 10 {
				return fmt.Errorf("%d, %w", n, err)
			}
			return nil
		}
	}
	return all
}

// rest fills in n/50 of what filled leaves out, half of it old enough to be swept.
func rest(ctx context.Context, s *kvstore.Store, n int) error {
	var popular []rating.Change
	var messages []rating.DeadLetter
	for i := range n / 50 {
		when := at(i - n/100)
		k := rating.Key{Content: "popular", Rater: fmt.Sprint("fan", i)}
		gone := rating.Key{Content: "unpopular", Rater: k.Rater}
		popular = append(popular,
			rating.Change{Key: k, Version: rating.Version{Epoch: 1, Offset: 1}, Score: 5, At: when},
			rating.Change{Key: gone, Version: rating.Version{Epoch: 1, Offset: 1}, Withdraw: true, At: when})
		messages = append(
			messages,
			rating.DeadLetter{Position: queue.Position{Stream: "s", Offset: int64(i)}, Key: "k", At: when},
		)
		u := auth.User{ID: fmt.Sprintf("user%07d", i), Canonical: fmt.Sprint("name", i), Version: 1}
		c := content.Content{
			ID:        fmt.Sprintf("other-%07d", i),
			Author:    "other",
			Version:   1,
			CreatedAt: at(-i - 1),
			UpdatedAt: at(-i - 1),
		}
		creation := content.IdempotencyRecord{Author: u.ID, Key: content.Hash{byte(i)}, Content: c.ID, At: when}
		_, err := s.CreateContentIdempotent(ctx, c, creation, time.Time{})
		login := auth.Session{ID: u.ID, User: u.ID, IdleAt: when, ExpiresAt: when, CreatedAt: when}
		if err := errors.Join(err, s.CreateUser(ctx, u), s.CreateSession(ctx, login, nil)); err != nil {
			return err
		}
	}
	_, err := s.ApplyRatings(ctx, rating.Batch{Changes: popular, DeadLetters: messages})
	return err
}

// TestReadKeysDoNotGrow: with a hundred times as much in the store, every page, search, claim and
// sweep and an apply of 100 ratings looks at the same number of keys.
func TestReadKeysDoNotGrow(t *testing.T) {
	t.Parallel()
	sizes := []int{1000, 100_000}
	looked := make([]map[string]int, len(sizes))
	for i, n := range sizes {
		s, looks := filled(t, n)
		if err := rest(t.Context(), s, n); err != nil {
			t.Fatal(err)
		}
		looked[i] = map[string]int{}
		all := pages(n)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			*looks = 0
			if err := all[name](t.Context(), s); err != nil {
				t.Errorf("%s of %d contents: %v", name, n, err)
			}
			looked[i][name] = *looks
		}
	}
	for _, name := range slices.Sorted(maps.Keys(looked[0])) {
		if looked[0][name] != looked[1][name] {
			t.Errorf(
				"%s: it looks at %d keys of %d contents, at %d of %d",
				name,
				looked[0][name],
				sizes[0],
				looked[1][name],
				sizes[1],
			)
		}
		t.Logf("%-60s %5d", name, looked[1][name])
	}
}
