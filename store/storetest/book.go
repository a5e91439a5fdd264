package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
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
	next := rating.Rating{Key: c.Key, Score: c.Score, Version: c.Version, Bucket: score.BucketAt(at(0), c.At),
		CreatedAt: c.At, UpdatedAt: c.At}
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
		if next.UpdatedAt.Before(old.UpdatedAt) {
			next.UpdatedAt, next.Bucket = old.UpdatedAt, old.Bucket
		}
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

// audit compares the numbers and buckets of contents with their ratings.
type audit struct{ contents []string }

func newAudit(contents []string) audit { return audit{contents} }

// check publishes all numbers that are due first. Nobody may change ratings of these contents
// meanwhile.
func (a audit) check(ctx context.Context, s rating.Store) error {
	for _, id := range a.contents {
		rows, err := allRatings(ctx, s, rating.Query{Filter: rating.Filter{Content: id}, Limit: 500})
		if err != nil {
			return err
		}
		counted := rating.Tally{}
		for _, r := range rows {
			counted.Add(r, 1)
		}
		is := rating.History{Buckets: counted.Buckets()}
		wanted := is.Stats(id, score.Score{})
		got, err := statsOf(ctx, s, id)
		if err != nil {
			return err
		}
		if got.Count != wanted.Count || got.Sum != wanted.Sum || !maps.Equal(got.Histogram, wanted.Histogram) {
			return fmt.Errorf("content %s: the numbers are %#v, its rows say %#v", id, got, wanted)
		}
		h, err := s.HistoryByContent(ctx, id)
		if err := errors.Join(err, sameBuckets(h.Buckets, is.Buckets)); err != nil {
			return fmt.Errorf("content %s: %w", id, err)
		}
		n, err := s.CountRatings(ctx, rating.Filter{Content: id}, 0)
		if err := errors.Join(err, want("ratings counted", n, wanted.Count)); err != nil {
			return err
		}
	}
	return nil
}

func sameBuckets(got, wanted []score.Bucket) error {
	if !reflect.DeepEqual(got, wanted) && len(got)+len(wanted) > 0 {
		return fmt.Errorf("the buckets are %v, want %v", got, wanted)
	}
	return nil
}

// bucket returns a bucket with one rating of each of the given scores, which ascend.
func bucket(index int, scores ...int) score.Bucket {
	b := score.Bucket{Index: index}
	for _, s := range scores {
		if n := len(b.Counts); n > 0 && b.Counts[n-1].Score == s {
			b.Counts[n-1].N++
		} else {
			b.Counts = append(b.Counts, score.Count{Score: s, N: 1})
		}
	}
	return b
}

// mean is the score that the checks use: the plain mean, and a rank that is another number.
func mean(h rating.History) score.Score {
	var n, sum int64
	for _, b := range h.Buckets {
		n += b.Ratings()
		sum += b.Sum()
	}
	computed := score.Score{Counted: float64(n), Rank: float64(sum+35) / float64(n+10), Computed: true}
	if n > 0 {
		computed.Value = float64(sum) / float64(n)
	}
	return computed
}

// computeAll publishes all numbers that are due and returns the new numbers by content.
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
