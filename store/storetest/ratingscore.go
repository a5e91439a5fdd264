package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/internal/suite"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store"
)

func ratingScoreChecks() []Check {
	return []Check{
		{"rating/scores",
			"passes the non-empty buckets of each to compute in ascending order, publishes the result together " +
				"with the numbers of the same buckets (see History.Stats), and returns the new Stats.", ratingScore},
		{"rating/scores-empty", "A content whose ratings are all withdrawn gives compute no bucket.", ratingScoreEmpty},
		{"rating/scores-limit",
			"RefreshScores claims at most limit contents whose buckets have changed since their numbers were " +
				"last published", ratingScoreLimit},
		{"rating/scores-changed",
			"RefreshScores claims at most limit contents whose buckets have changed since their numbers were " +
				"last published", ratingScoreChanged},
		{"rating/scores-meanwhile", "A content that changes meanwhile is claimed again later.", ratingScoreMeanwhile},
		{"rating/scores-race", "Of two calls at once, in one process or in two, a content is claimed by one.",
			ratingScoreRace},
		{"rating/recount",
			"Recount computes the buckets of the contents ids from their rows, repairs those that differ, and " +
				"reports them.", ratingRecount},
		{"rating/recount-meanwhile", "Changes that are applied meanwhile are neither lost nor counted twice.",
			ratingRecountMeanwhile},
		{"rating/audit", "Audit returns how many contents have ratings or numbers, and the identifiers of " +
			"those whose " +
			"numbers are not what their rows say, bytewise ascending.", ratingAudit},
	}
}

func ratingScore(ctx context.Context, s store.Store) error {
	id := newName()
	if err := begin(ctx, s, id); err != nil {
		return err
	}
	var batch []rating.Change
	for i, index := range []int{300, 2, 24, 2, 0, 23, 100} {
		batch = append(batch, in(change(rating.Key{Content: id, Rater: newName()}, int64(i+1), i), index))
	}
	if _, err := apply(ctx, s, batch...); err != nil {
		return err
	}
	if _, err := apply(ctx, s, withdrawal(batch[5].Key, 8)); err != nil { // empties bucket 23
		return err
	}
	wanted := []score.Bucket{bucket(0, 4), bucket(2, 1, 3), bucket(24, 2), bucket(100, 6), bucket(300, 0)}
	// numbers that show a loss of bits
	computed := score.Score{Value: 4.1 + 0.2, Counted: math.Nextafter(301.894467, 0), Rank: -1.0 / 3, Computed: true}
	folds := 0
	refreshed, err := computeAll(ctx, s, func(h rating.History) score.Score {
		if sameBuckets(h.Buckets, wanted) == nil {
			folds++
			return computed
		}
		return mean(h)
	})
	if err != nil {
		return err
	}
	if err := want("folds of the buckets wanted", folds, 1); err != nil {
		return err
	}
	stats, err := statsOf(ctx, s, id)
	if err != nil {
		return err
	}
	if stats.Score != computed || stats.Count != 6 || stats.Sum != 16 {
		return fmt.Errorf("after a fold the numbers are %#v, want the computed %#v", stats, computed)
	}
	if got := refreshed[id]; !got.Equal(stats) || got.Revision != stats.Revision || got.AsOf != stats.AsOf {
		return fmt.Errorf("a fold returned %#v, stored is %#v", got, stats)
	}
	return nil
}

// ratingScoreEmpty: without ratings there is nothing to hand to fold, and its result counts all the
// same.
func ratingScoreEmpty(ctx context.Context, s store.Store) error {
	k := newKey()
	for _, c := range []rating.Change{change(k, 1, 4), withdrawal(k, 2)} {
		if _, err := apply(ctx, s, c); err != nil {
			return err
		}
	}
	empty := score.Score{Rank: 3.5, Computed: true}
	refreshed, err := computeAll(ctx, s, func(h rating.History) score.Score {
		if len(h.Buckets) == 0 {
			return empty
		}
		return mean(h)
	})
	return errors.Join(err, want("the score without ratings", refreshed[k.Content].Score, empty))
}

func ratingScoreLimit(ctx context.Context, s store.Store) error {
	if _, err := computeAll(ctx, s, mean); err != nil {
		return err
	}
	contents := names(10)
	for i, id := range contents {
		if _, err := apply(ctx, s, change(rating.Key{Content: id, Rater: newName()}, int64(i+1), 4)); err != nil {
			return err
		}
	}
	claimed := map[string]bool{}
	for _, wanted := range []int{4, 4, 2, 0} {
		folds := 0
		refreshed, err := s.RefreshScores(ctx, 4, func(h rating.History) score.Score {
			folds++
			return mean(h)
		})
		if err := errors.Join(err, want("contents refreshed with the limit 4", len(refreshed), wanted),
			want("folds", folds, wanted)); err != nil {
			return err
		}
		for _, stats := range refreshed {
			if claimed[stats.Content] {
				return fmt.Errorf("content %s is claimed again without a change", stats.Content)
			}
			claimed[stats.Content] = true
		}
	}
	for _, id := range contents {
		if !claimed[id] {
			return fmt.Errorf("content %s is not claimed", id)
		}
	}
	return nil
}

func ratingScoreChanged(ctx context.Context, s store.Store) error {
	k := newKey()
	for _, step := range []struct {
		what    string
		change  rating.Change
		claimed bool
	}{
		{"a creation", change(k, 2, 3), true},
		{"the same change", change(k, 2, 3), false},
		{"a late change", change(k, 1, 4), false},
		{"the same score", change(k, 3, 3), false},
		{"another score", change(k, 4, 5), true},
		{"a withdrawal", withdrawal(k, 5), true},
		{"a withdrawal again", withdrawal(k, 6), false},
		{"a creation after that", change(k, 7, 5), true},
	} {
		if _, err := apply(ctx, s, step.change); err != nil {
			return err
		}
		refreshed, err := computeAll(ctx, s, mean)
		if err != nil {
			return err
		}
		if _, claimed := refreshed[k.Content]; claimed != step.claimed {
			return fmt.Errorf("after %s: claimed is %t, want %t", step.what, claimed, step.claimed)
		}
	}
	return nil
}

// ratingScoreMeanwhile begins a change during a fold. The fold does not wait for it for long,
// because a store may keep changes out while it folds; whenever it comes through, the last fold
// must have seen it.
func ratingScoreMeanwhile(ctx context.Context, s store.Store) error {
	for turn := range 5 {
		if _, err := computeAll(ctx, s, mean); err != nil {
			return err
		}
		id := newName()
		if _, err := apply(ctx, s, change(rating.Key{Content: id, Rater: newName()}, 1, 5)); err != nil {
			return err
		}
		var (
			once    sync.Once
			changed = make(chan error, 1)
		)
		refreshed, err := s.RefreshScores(ctx, 10, func(h rating.History) score.Score {
			once.Do(func() {
				through := make(chan struct{})
				go func() {
					defer close(through)
					changed <- suite.Recovered(func() error {
						_, err := apply(ctx, s, change(rating.Key{Content: id, Rater: newName()}, 2, 1))
						return err
					})
				}()
				select {
				case <-through:
				case <-time.After(time.Duration(turn) * 10 * time.Millisecond):
				}
			})
			return mean(h)
		})
		if err != nil {
			return err
		}
		if len(refreshed) != 1 || refreshed[0].Content != id {
			return fmt.Errorf("refreshed are %#v, want content %s alone", refreshed, id)
		}
		if err := <-changed; err != nil {
			return fmt.Errorf("a change during a fold: %w", err)
		}
		if _, err := computeAll(ctx, s, mean); err != nil {
			return err
		}
		stats, err := statsOf(ctx, s, id)
		if err := errors.Join(err, want("ratings", stats.Count, 2),
			want("the ratings that count", stats.Score.Counted, 2),
			want("its value", stats.Score.Value, 3)); err != nil {
			return err
		}
	}
	return nil
}

func ratingScoreRace(ctx context.Context, s store.Store) error {
	if _, err := computeAll(ctx, s, mean); err != nil {
		return err
	}
	for range 3 {
		contents := names(40)
		var batch []rating.Change
		for i, id := range contents {
			batch = append(batch, change(rating.Key{Content: id, Rater: newName()}, int64(i+1), 4))
		}
		if _, err := apply(ctx, s, batch...); err != nil {
			return err
		}
		const callers = 4
		claims := make([][]rating.Stats, callers+1)
		err := together(callers, func(i int) error {
			for range 5 {
				refreshed, err := s.RefreshScores(ctx, 3, mean)
				if err != nil {
					return err
				}
				claims[i] = append(claims[i], refreshed...)
			}
			return nil
		})
		if err != nil {
			return err
		}
		rest, err := computeAll(ctx, s, mean)
		if err != nil {
			return err
		}
		for _, stats := range rest {
			claims[callers] = append(claims[callers], stats)
		}
		times := map[string]int{}
		for _, stats := range slices.Concat(claims...) {
			times[stats.Content]++
		}
		for _, id := range contents {
			if err := want("claims of a content that changed once", times[id], 1); err != nil {
				return err
			}
		}
	}
	return nil
}

// ratingRecount cannot break the numbers from outside; what it can show is that a recount leaves
// right ones alone.
func ratingRecount(ctx context.Context, s store.Store) error {
	h := newHistory(51, 4, 6)
	if err := begin(ctx, s, h.contents...); err != nil {
		return err
	}
	for range 10 {
		if _, err := apply(ctx, s, h.batch(12)...); err != nil {
			return err
		}
	}
	au := newAudit(h.contents)
	if err := au.check(ctx, s); err != nil {
		return err
	}
	before, err := s.StatsByContent(ctx, h.contents)
	if err != nil {
		return err
	}
	wanted, err := index(before, func(st rating.Stats) string { return st.Content })
	if err != nil {
		return err
	}
	drifts, err := s.Recount(ctx, append(slices.Clone(h.contents), newName(), h.contents[0]))
	if err != nil {
		return err
	}
	if len(drifts) > 0 {
		return fmt.Errorf("a drift is reported where there was none: %#v", drifts)
	}
	after, err := s.StatsByContent(ctx, h.contents)
	if err != nil {
		return err
	}
	for _, stats := range after {
		if !stats.Equal(wanted[stats.Content]) {
			return fmt.Errorf("a recount made %#v of %#v", stats, wanted[stats.Content])
		}
	}
	drifts, err = s.Recount(ctx, nil)
	return errors.Join(err, want("drifts of no content", len(drifts), 0), au.check(ctx, s))
}

// ratingAudit takes a store whose numbers are right: the port has no way to make them wrong.
func ratingAudit(ctx context.Context, s store.Store) error {
	a, err := power[rating.Auditor](s)
	if err != nil {
		return err
	}
	h := newHistory(52, 4, 6)
	if err := begin(ctx, s, h.contents...); err != nil {
		return err
	}
	if _, err := apply(ctx, s, h.batch(40)...); err != nil {
		return err
	}
	n, suspects, err := a.Audit(ctx)
	if err != nil {
		return err
	}
	accused := func(id string) bool { return slices.Contains(suspects, id) }
	if n < 1 || slices.ContainsFunc(h.contents, accused) {
		return fmt.Errorf("of %d contents %v are suspected, want at least 1 content and none of %v", n,
			suspects, h.contents)
	}
	return nil
}

func ratingRecountMeanwhile(ctx context.Context, s store.Store) error {
	contents := names(3)
	const callers, each = 4, 20
	err := together(callers+2, func(i int) error {
		if i >= callers {
			for range each {
				drifts, err := s.Recount(ctx, contents)
				if err != nil {
					return err
				}
				if len(drifts) > 0 {
					return fmt.Errorf("a drift is reported where there was none: %#v", drifts)
				}
			}
			return nil
		}
		for j := range each {
			var batch []rating.Change
			for _, id := range contents {
				batch = append(batch, change(rating.Key{Content: id, Rater: newName()}, int64(j+1), 1+(i+j)%5))
			}
			if _, err := apply(ctx, s, batch...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range contents {
		stats, err := statsOf(ctx, s, id)
		if err := errors.Join(err, want("ratings", stats.Count, callers*each)); err != nil {
			return err
		}
	}
	return newAudit(contents).check(ctx, s)
}
