package kvstore

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/khodnevis/khodnevis/rating"
)

// ListRatings implements rating.Store. It reads the ratings in the order of the list, or finds all
// matches in the order of time and sorts them, whichever looks at fewer rows.
func (s *Store) ListRatings(ctx context.Context, q rating.Query) ([]rating.Rating, error) {
	return view(ctx, s, "list ratings", func(t *tx) ([]rating.Rating, error) {
		if q.Order < rating.ByKey || q.Order > rating.OldestFirst {
			return nil, fmt.Errorf("no order %d", q.Order)
		}
		for rows := range budgets(q.MaxRows) {
			if q.Order == rating.ByKey && narrowedByTime(q.Filter) {
				if found, ok := t.ratingsSorted(q, &budget{rows: rows}); ok {
					return found, nil
				}
			}
			if found, ok := t.ratingsInOrder(q, &budget{rows: rows}); ok {
				return found, nil
			}
		}
		return nil, rating.ErrTooBroad
	})
}

// ratingsInOrder reads the ratings in the order of the list. It returns false if the budget is
// exceeded.
func (t *tx) ratingsInOrder(q rating.Query, b *budget) (found []rating.Rating, ok bool) {
	for r := range t.ratings(q, b) {
		b.refund()
		if found = append(found, r); len(found) == q.Limit {
			break
		}
	}
	return found, !b.exceeded
}

// ratingsSorted finds all matches in the order of time and sorts them by key. It returns false if
// the budget is exceeded.
func (t *tx) ratingsSorted(q rating.Query, b *budget) (found []rating.Rating, ok bool) {
	for r := range t.ratings(rating.Query{Filter: q.Filter, Order: rating.OldestFirst}, b) {
		if follows(r, q) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b rating.Rating) int { return a.Key.Compare(b.Key) })
	return found[:min(q.Limit, len(found))], !b.exceeded
}

// narrowedByTime reports whether an index in the order of time leads to a part of the ratings
// because of f, and the order of keys does not.
func narrowedByTime(f rating.Filter) bool {
	return f.Rater != "" || !f.UpdatedFrom.IsZero() || !f.UpdatedBefore.IsZero()
}

// CountRatings implements rating.Store.
func (s *Store) CountRatings(ctx context.Context, f rating.Filter, maxRows int) (int64, error) {
	return view(ctx, s, "count ratings", func(t *tx) (int64, error) {
		q, b := rating.Query{Filter: f}, newBudget(oneMore(maxRows))
		if narrowedByTime(f) {
			q.Order = rating.OldestFirst
		}
		n := count(t.ratings(q, b), oneMore(maxRows))
		if b.exceeded {
			return 0, rating.ErrTooBroad
		}
		return int64(n), nil
	})
}

// ratings ranges over the matches of q, without its limit.
func (t *tx) ratings(q rating.Query, b *budget) iter.Seq[rating.Rating] {
	return func(yield func(rating.Rating) bool) {
		if t.hides(q.Filter.Content) {
			return
		}
		if q.Filter.Content != "" && q.Filter.Rater != "" {
			r, ok := ratings.get(t, q.Filter.Content, q.Filter.Rater)
			if ok && matches(r, q.Filter) && follows(r, q) {
				yield(r)
			}
			return
		}
		for end, row := range t.scan(ratingSpan(q)) {
			r, ok := t.ratingAt(q, end, row)
			if ok && t.hides(r.Content) {
				continue
			}
			if !b.spend() {
				return
			}
			if ok && matches(r, q.Filter) && follows(r, q) && !yield(r) {
				return
			}
		}
	}
}

// ratingAt returns the rating of a key in ratingSpan(q): in the order of keys row is its row, and
// in the order of time the key leads to its row.
func (t *tx) ratingAt(q rating.Query, end parts, row []byte) (rating.Rating, bool) {
	if q.Order == rating.ByKey {
		r, err := decode[rating.Rating](row)
		t.fail(err)
		return r, err == nil
	}
	end.time()
	k := rating.Key{Content: q.Filter.Content, Rater: q.Filter.Rater}
	if k.Content == "" {
		k.Content = end.text()
	}
	if k.Rater == "" {
		k.Rater = end.text()
	}
	return ratings.get(t, k.Content, k.Rater)
}

// ratingSpan returns the keys that q reads. In the order of time they end with the time and with
// those parts of the rating's key that q does not fix, in the order of keys with the latter alone;
// there the rater is never fixed.
func ratingSpan(q rating.Query) (s span) {
	fixed := q.Filter
	switch timed := q.Order != rating.ByKey; {
	case timed && fixed.Content != "":
		s.prefix = key(ratingsByContent, fixed.Content)
	case timed && fixed.Rater != "":
		s.prefix = key(ratingsByRater, fixed.Rater)
	case timed:
		s.prefix = key(ratingsByTime)
	default:
		fixed.Rater = ""
		if s.prefix = key(byte(ratings)); fixed.Content != "" {
			s.prefix = extend(s.prefix, fixed.Content)
		}
	}
	var end []byte // of the key that After would have
	if q.Order != rating.ByKey {
		bounds := during(fixed.UpdatedFrom, fixed.UpdatedBefore)
		s.low, s.high, s.descending = bounds.low, bounds.high, q.Order == rating.NewestFirst
		if q.After != nil {
			end = extend(end, q.After.At)
		}
	}
	if q.After == nil {
		return s
	}
	for _, part := range [][2]string{{fixed.Content, q.After.Content}, {fixed.Rater, q.After.Rater}} {
		switch part[0] {
		case "":
			end = extend(end, part[1])
		case part[1]:
		default:
			return s // After is of another list: ratings checks each row against it
		}
	}
	return s.beyond(end)
}

func matches(r rating.Rating, f rating.Filter) bool {
	return (f.Rater == "" || r.Rater == f.Rater) &&
		(f.ScoreMin == nil || r.Score >= *f.ScoreMin) &&
		(f.ScoreMax == nil || r.Score <= *f.ScoreMax) &&
		(f.UpdatedFrom.IsZero() || !r.UpdatedAt.Before(f.UpdatedFrom)) &&
		(f.UpdatedBefore.IsZero() || r.UpdatedAt.Before(f.UpdatedBefore))
}

// follows reports whether r stands after q.After.
func follows(r rating.Rating, q rating.Query) bool {
	if q.After == nil {
		return true
	}
	byKey := r.Key.Compare(q.After.Key)
	switch q.Order {
	case rating.NewestFirst:
		return cmp.Or(q.After.At.Compare(r.UpdatedAt), -byKey) > 0
	case rating.OldestFirst:
		return cmp.Or(r.UpdatedAt.Compare(q.After.At), byKey) > 0
	}
	return byKey > 0
}
