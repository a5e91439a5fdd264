package memstore

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/khodnevis/khodnevis/rating"
)

// rated is what is known of the ratings of one content.
type rated struct {
	rows     map[string]rating.Rating // by rater, withdrawn ones too
	tally    tally
	score    rating.Score
	revision int64
	asOf     time.Time
}

// ApplyRatings implements rating.Store. Nothing can fail halfway, so that there is nothing to undo.
func (s *Store) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	outcomes := make([]rating.Outcome, len(batch.Changes))
	for i, c := range batch.Changes {
		outcomes[i] = s.apply(c)
	}
	for _, r := range batch.Rejected {
		s.reject(r)
	}
	return outcomes, nil
}

func (s *Store) apply(c rating.Change) rating.Outcome {
	if s.deleted.has(c.Content) {
		return rating.Outcome{Refused: true}
	}
	of := s.rated[c.Content]
	if of == nil {
		of = &rated{rows: map[string]rating.Rating{}, tally: newTally()}
		s.rated[c.Content] = of
	}
	old, exists := of.rows[c.Rater]
	if exists {
		switch c.Version.Compare(old.Version) {
		case -1:
			return rating.Outcome{Result: rating.Superseded, Rating: old}
		case 0:
			return rating.Outcome{Result: old.Result, Rating: old}
		}
	}
	live := exists && !old.Withdrawn
	next := successor(c, old, live)
	of.rows[c.Rater] = next
	link(s.raters, c.Rater, c.Content)
	if live && s.handOver(of, c, old) {
		return rating.Outcome{Result: next.Result, Rating: next}
	}
	if live != !next.Withdrawn || next.Result == rating.Updated {
		of.tally.add(old, -1)
		of.tally.add(next, 1)
		s.changed.add(c.Content)
		s.touch(of)
	}
	return rating.Outcome{Result: next.Result, Rating: next}
}

// handOver makes the rating that c withdraws one of c.Anonymous, and reports false if that is not what c is for. No number changes.
func (s *Store) handOver(of *rated, c rating.Change, old rating.Rating) bool {
	if _, known := of.rows[c.Anonymous]; known || !c.Withdraw || c.Anonymous == "" {
		return false
	}
	old.Rater, old.Version, old.Result = c.Anonymous, c.Version, rating.Created
	of.rows[c.Anonymous] = old
	link(s.raters, c.Anonymous, c.Content)
	return true
}

// successor returns what a change makes of a rating; old means nothing unless it is live.
func successor(c rating.Change, old rating.Rating, live bool) rating.Rating {
	next := rating.Rating{Key: c.Key, Version: c.Version, CreatedAt: c.At, UpdatedAt: c.At}
	if live {
		next.CreatedAt = old.CreatedAt
	}
	switch {
	case c.Withdraw:
		next.Result, next.Withdrawn = rating.Withdrawn, true
		return next
	case !live:
		next.Result = rating.Created
	case old.Score == c.Score:
		next.Result, next.Score, next.Bucket, next.UpdatedAt = rating.Unchanged, old.Score, old.Bucket, old.UpdatedAt
		return next
	default:
		next.Result = rating.Updated
	}
	next.Score, next.Bucket = c.Score, c.Bucket
	return next
}

// RatingsByKey implements rating.Store.
func (s *Store) RatingsByKey(ctx context.Context, keys []rating.Key) ([]rating.Rating, error) {
	if err := s.rlock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	var found []rating.Rating
	for k := range unique(keys) {
		if r, ok := s.row(k); ok {
			found = append(found, r)
		}
	}
	return found, nil
}

// ListRatings implements rating.Store.
func (s *Store) ListRatings(ctx context.Context, q rating.Query) ([]rating.Rating, error) {
	if err := s.rlock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	if q.MaxRows > 0 && !served(q) && !s.narrowRatings(q.Filter, q.MaxRows) {
		return s.among(q)
	}
	return s.find(q), nil
}

// find returns a piece of a list, whatever it costs.
func (s *Store) find(q rating.Query) []rating.Rating {
	if q.Order == rating.ByKey && q.Filter.Content == "" && q.Filter.Rater == "" {
		return s.walk(q)
	}
	return s.list(q)
}

// among looks for a piece of a list among the next rows in its order.
func (s *Store) among(q rating.Query) ([]rating.Rating, error) {
	rows := s.find(rating.Query{Order: q.Order, After: q.After, Limit: q.MaxRows + q.Limit})
	var page []rating.Rating
	for _, r := range rows {
		if matches(r, q.Filter) && len(page) < q.Limit {
			page = append(page, r)
		}
	}
	if len(rows) == q.MaxRows+q.Limit && len(page) < q.Limit {
		return nil, fmt.Errorf("memstore: list ratings: %w", rating.ErrTooBroad)
	}
	return page, nil
}

// served reports whether a database has an index for the filter and the order of q together.
func served(q rating.Query) bool {
	f := q.Filter
	spanless := f.UpdatedFrom.IsZero() && f.UpdatedBefore.IsZero()
	switch {
	case f.ScoreMin != nil || f.ScoreMax != nil:
		return f.Content != "" && f.Rater != ""
	case q.Order == rating.ByKey:
		return spanless && (f.Content != "" || f.Rater == "")
	}
	return f.Content == ""
}

// ratingParts returns the conditions of f that databases have indexes for, each by itself, and whether there are no others.
func ratingParts(f rating.Filter) (each []rating.Filter, all bool) {
	if f.Content != "" {
		each = append(each, rating.Filter{Content: f.Content})
	}
	if f.Rater != "" {
		each = append(each, rating.Filter{Rater: f.Rater})
	}
	if !f.UpdatedFrom.IsZero() || !f.UpdatedBefore.IsZero() {
		each = append(each, rating.Filter{UpdatedFrom: f.UpdatedFrom, UpdatedBefore: f.UpdatedBefore})
	}
	return each, f.ScoreMin == nil && f.ScoreMax == nil
}

// narrowRatings reports whether one of the conditions of f leaves at most so many ratings.
func (s *Store) narrowRatings(f rating.Filter, maxRows int) bool {
	each, _ := ratingParts(f)
	return slices.ContainsFunc(append(each, rating.Filter{}), func(part rating.Filter) bool { return s.countRatings(part, maxRows+1) <= maxRows })
}

// countRatings returns how many ratings match f, at most limit.
func (s *Store) countRatings(f rating.Filter, limit int) int {
	n := 0
	for range s.live(f) {
		if n++; n == limit {
			break
		}
	}
	return n
}

// walk lists by key, one content after the other, so that a page of everything does not look at everything.
func (s *Store) walk(q rating.Query) []rating.Rating {
	var found []rating.Rating
	for _, id := range slices.Sorted(maps.Keys(s.rated)) {
		if q.After != nil && id < q.After.Content {
			continue
		}
		of := q
		of.Filter.Content, of.Limit = id, q.Limit-len(found)
		if found = append(found, s.list(of)...); len(found) == q.Limit {
			break
		}
	}
	return found
}

func (s *Store) list(q rating.Query) []rating.Rating {
	compare := func(a, b rating.Place) int {
		switch byKey := a.Key.Compare(b.Key); q.Order {
		case rating.NewestFirst:
			return cmp.Or(b.At.Compare(a.At), -byKey)
		case rating.OldestFirst:
			return cmp.Or(a.At.Compare(b.At), byKey)
		default:
			return byKey
		}
	}
	rest := func(yield func(rating.Rating) bool) {
		for r := range s.live(q.Filter) {
			if q.After != nil && compare(place(r), *q.After) <= 0 {
				continue
			}
			if !yield(r) {
				return
			}
		}
	}
	return least(rest, q.Limit, func(a, b rating.Rating) int { return compare(place(a), place(b)) })
}

// CountRatings implements rating.Store.
func (s *Store) CountRatings(ctx context.Context, f rating.Filter, maxRows int) (int64, error) {
	if err := s.rlock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.RUnlock()
	if maxRows == 0 {
		return int64(s.countRatings(f, math.MaxInt)), nil
	}
	if each, all := ratingParts(f); !(all && len(each) <= 1) && !s.narrowRatings(f, maxRows) {
		return 0, fmt.Errorf("memstore: count ratings: %w", rating.ErrTooBroad)
	}
	return int64(s.countRatings(f, maxRows+1)), nil
}

func place(r rating.Rating) rating.Place { return rating.Place{At: r.UpdatedAt, Key: r.Key} }

func (s *Store) row(k rating.Key) (rating.Rating, bool) {
	of := s.rated[k.Content]
	if of == nil {
		return rating.Rating{}, false
	}
	r, ok := of.rows[k.Rater]
	return r, ok
}

// live ranges over the ratings that match f and are not withdrawn, in no order.
func (s *Store) live(f rating.Filter) iter.Seq[rating.Rating] {
	return func(yield func(rating.Rating) bool) {
		for r := range s.candidates(f) {
			if !r.Withdrawn && matches(r, f) && !yield(r) {
				return
			}
		}
	}
}

// candidates ranges over the rows that can match f, through the index that leaves the fewest.
func (s *Store) candidates(f rating.Filter) iter.Seq[rating.Rating] {
	switch {
	case f.Content != "" && f.Rater != "":
		if r, ok := s.row(rating.Key{Content: f.Content, Rater: f.Rater}); ok {
			return slices.Values([]rating.Rating{r})
		}
		return func(func(rating.Rating) bool) {}
	case f.Content != "":
		if of := s.rated[f.Content]; of != nil {
			return maps.Values(of.rows)
		}
		return func(func(rating.Rating) bool) {}
	case f.Rater != "":
		return func(yield func(rating.Rating) bool) {
			for c := range s.raters[f.Rater] {
				if !yield(s.rated[c].rows[f.Rater]) {
					return
				}
			}
		}
	}
	return func(yield func(rating.Rating) bool) {
		for _, of := range s.rated {
			for _, r := range of.rows {
				if !yield(r) {
					return
				}
			}
		}
	}
}

func matches(r rating.Rating, f rating.Filter) bool {
	switch {
	case f.Content != "" && r.Content != f.Content,
		f.Rater != "" && r.Rater != f.Rater,
		f.ScoreMin != nil && r.Score < *f.ScoreMin,
		f.ScoreMax != nil && r.Score > *f.ScoreMax,
		!f.UpdatedFrom.IsZero() && r.UpdatedAt.Before(f.UpdatedFrom),
		!f.UpdatedBefore.IsZero() && !r.UpdatedAt.Before(f.UpdatedBefore):
		return false
	}
	return true
}

// drop removes a row. The caller sees to the tally.
func (s *Store) drop(k rating.Key) {
	delete(s.rated[k.Content].rows, k.Rater)
	unlink(s.raters, k.Rater, k.Content)
}

// ForgetContent implements rating.Store.
func (s *Store) ForgetContent(ctx context.Context, id string) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.deleted.add(id)
	s.dropRatings(id)
	return nil
}

// dropRatings removes everything about the ratings of a content.
func (s *Store) dropRatings(id string) {
	delete(s.windows, id)
	delete(s.openings, id)
	of := s.rated[id]
	if of == nil {
		return
	}
	for rater := range of.rows {
		unlink(s.raters, rater, id)
	}
	delete(s.rated, id)
	delete(s.changed, id)
}
