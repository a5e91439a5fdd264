package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
)

// book is what ratings are compared with: the rules of rating.Change, applied one after the other
// to a map.
type book map[rating.Key]rating.Rating

// apply returns what the outcome of c must be.
func (b book) apply(c rating.Change) rating.Outcome {
	old, exists := b[c.Key]
	if exists && c.Version.Compare(old.Version) < 0 {
		return rating.Outcome{Result: rating.Superseded, Rating: old}
	}
	if exists && c.Version == old.Version {
		return rating.Outcome{Result: old.Result, Rating: old}
	}
	next := rating.Rating{Key: c.Key, Score: c.Score, Version: c.Version, Bucket: c.Bucket, CreatedAt: c.At,
		UpdatedAt: c.At}
	switch {
	case c.Withdraw:
		next.Result, next.Withdrawn, next.Score = rating.Withdrawn, true, 0
		successor := rating.Key{Content: c.Content, Rater: c.ReassignTo}
		if _, known := b[successor]; c.ReassignTo != "" && exists && !old.Withdrawn && !known {
			old.Key, old.Version, old.Result = successor, c.Version, rating.Created
			b[successor] = old
		}
	case !exists || old.Withdrawn:
		next.Result = rating.Created
	case old.Score == c.Score:
		next.Result, next.Bucket, next.CreatedAt, next.UpdatedAt = rating.Unchanged, old.Bucket, old.CreatedAt,
			old.UpdatedAt
	default:
		next.Result, next.CreatedAt = rating.Updated, old.CreatedAt
	}
	b[c.Key] = next
	return rating.Outcome{Result: next.Result, Rating: next}
}

// sameRating reports whether both say the same. Of a withdrawn rating only its key, version, result
// and UpdatedAt are compared.
func sameRating(a, b rating.Rating) bool {
	if a.Withdrawn && b.Withdrawn {
		a.Bucket, b.Bucket = 0, 0
		a.CreatedAt, b.CreatedAt = a.UpdatedAt, b.UpdatedAt
	}
	return a == b
}

// check compares everything stored under the keys of the book.
func (b book) check(ctx context.Context, s rating.Store) error {
	found, err := s.RatingsByKey(ctx, slices.Collect(maps.Keys(b)))
	if err != nil {
		return err
	}
	if err := want("ratings by key", len(found), len(b)); err != nil {
		return err
	}
	for _, r := range found {
		if wanted := b[r.Key]; !sameRating(r, wanted) {
			return fmt.Errorf("stored is %#v, want %#v", r, wanted)
		}
	}
	return nil
}

// live returns the ratings that are not withdrawn and match, in order.
func (b book) live(f rating.Filter, o rating.Order) []rating.Rating {
	var found []rating.Rating
	for _, r := range b {
		if !r.Withdrawn &&
			(f.Content == "" || r.Content == f.Content) &&
			(f.Rater == "" || r.Rater == f.Rater) &&
			(f.ScoreMin == nil || r.Score >= *f.ScoreMin) &&
			(f.ScoreMax == nil || r.Score <= *f.ScoreMax) &&
			(f.UpdatedFrom.IsZero() || !r.UpdatedAt.Before(f.UpdatedFrom)) &&
			(f.UpdatedBefore.IsZero() || r.UpdatedAt.Before(f.UpdatedBefore)) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(x, y rating.Rating) int {
		switch o {
		case rating.NewestFirst:
			return cmp.Or(y.UpdatedAt.Compare(x.UpdatedAt), y.Key.Compare(x.Key))
		case rating.OldestFirst:
			return cmp.Or(x.UpdatedAt.Compare(y.UpdatedAt), x.Key.Compare(y.Key))
		}
		return x.Key.Compare(y.Key)
	})
	return found
}

// audit recounts the numbers of contents from their rows, again and again, and compares them with
// those the store keeps.
type audit struct {
	contents []string
	folded   map[string][]score.Bucket // what each content was last folded from
}

func newAudit(contents []string) *audit {
	return &audit{contents: contents, folded: map[string][]score.Bucket{}}
}

// check compares count, sum, histogram and the list's length at once, and the buckets by folding
// what waits for it. Nobody may change ratings of these contents meanwhile.
func (a *audit) check(ctx context.Context, s rating.Store) error {
	if err := a.fold(ctx, s); err != nil {
		return err
	}
	for _, id := range a.contents {
		rows, err := allRatings(ctx, s, rating.Query{Filter: rating.Filter{Content: id}, Limit: 500})
		if err != nil {
			return err
		}
		wanted := rating.Stats{Content: id, Histogram: map[int]int64{}}
		buckets := map[int]score.Bucket{}
		for _, r := range rows {
			wanted.Count++
			wanted.Sum += int64(r.Score)
			wanted.Histogram[r.Score]++
			b := buckets[r.Bucket]
			buckets[r.Bucket] = score.Bucket{Index: r.Bucket, N: b.N + 1, Sum: b.Sum + int64(r.Score)}
		}
		got, err := statsOf(ctx, s, id)
		if err != nil {
			return err
		}
		if got.Count != wanted.Count || got.Sum != wanted.Sum || !maps.Equal(got.Histogram, wanted.Histogram) {
			return fmt.Errorf("content %s: the numbers are %#v, its rows say %#v", id, got, wanted)
		}
		if ordered := byIndex(buckets); !slices.Equal(a.folded[id], ordered) {
			return fmt.Errorf("content %s: the buckets are %v, its rows say %v", id, a.folded[id], ordered)
		}
		n, err := s.CountRatings(ctx, rating.Filter{Content: id}, 0)
		if err := errors.Join(err, want("ratings counted", n, wanted.Count)); err != nil {
			return err
		}
	}
	return nil
}

// fold folds one content after the other, so that it is known whose buckets each call got.
func (a *audit) fold(ctx context.Context, s rating.Store) error {
	for {
		var got []score.Bucket
		refreshed, err := s.RefreshScores(ctx, 1, func(h rating.History) score.Score {
			got = slices.Clone(h.Buckets)
			return mean(h)
		})
		if err != nil || len(refreshed) == 0 {
			return err
		}
		if len(refreshed) > 1 {
			return fmt.Errorf("%d contents refreshed, at most 1", len(refreshed))
		}
		a.folded[refreshed[0].Content] = got
	}
}

func byIndex(buckets map[int]score.Bucket) []score.Bucket {
	return slices.SortedFunc(maps.Values(buckets), func(x,
		y score.Bucket) int {
		return cmp.Compare(x.Index, y.Index)
	})
}

// mean is the fold that the checks use: the plain mean, and a rank that is another number.
func mean(h rating.History) score.Score {
	var n, sum int64
	for _, b := range h.Buckets {
		n += b.N
		sum += b.Sum
	}
	score := score.Score{Weight: float64(n), Rank: float64(sum+35) / float64(n+10), Computed: true}
	if n > 0 {
		score.Value = float64(sum) / float64(n)
	}
	return score
}

// computeAll folds everything that waits for it and returns the new numbers by content.
func computeAll(ctx context.Context, s rating.Store,
	fold func(rating.History) score.Score) (map[string]rating.Stats, error) {
	all := map[string]rating.Stats{}
	for {
		refreshed, err := s.RefreshScores(ctx, 100, fold)
		if err != nil || len(refreshed) == 0 {
			return all, err
		}
		for _, stats := range refreshed {
			if _, ok := all[stats.Content]; ok {
				return nil, fmt.Errorf("content %s is claimed again without a change", stats.Content)
			}
			all[stats.Content] = stats
		}
	}
}
