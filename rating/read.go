package rating

import (
	"context"
	"fmt"

	"github.com/khodnevis/khodnevis/auth/actor"
	"github.com/khodnevis/khodnevis/internal/errs"
)

// Get returns a rating as the actor may see it, and whether it is pending: raters read their own
// writes before they are stored. ErrNotFound: there is no such rating, or it is withdrawn.
func (s *Service) Get(ctx context.Context, actor actor.Actor, key Key) (r Rating, isPending bool, err error) {
	found, err := s.store.RatingsByKey(ctx, []Key{key})
	if err != nil {
		return Rating{}, false, fmt.Errorf("rating: get %s: %w", key, err)
	}
	if len(found) > 0 {
		r = found[0]
	} else {
		r = Rating{Key: key, Withdrawn: true}
	}
	if actor.User == key.Rater {
		r, isPending = s.pending.over(ctx, r)
	}
	if r.Withdrawn {
		return Rating{}, false, ErrNotFound
	}
	if isPending { // a pending rating of a deleted content will never be stored
		if err := s.Exists(ctx, key.Content); err != nil {
			return Rating{}, false, err
		}
	}
	return r, isPending, nil
}

// maxRows is about how many rows a store reads for one list or count at the most, besides those
// that it returns.
const maxRows = errs.MaxRows

// List returns a page of stored ratings. ErrTooBroad: the store would have to read more than
// q.MaxRows rows to find it, or more than 10,000 if that is 0. A later page of a list may be too
// broad although an earlier page was not: where fewer ratings match, more rows have to be read.
func (s *Service) List(ctx context.Context, q Query) ([]Rating, error) {
	if q.Limit < 1 {
		return nil, fmt.Errorf("rating: list with limit %d", q.Limit)
	}
	if q.MaxRows == 0 {
		q.MaxRows = maxRows
	}
	found, err := s.store.ListRatings(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("rating: list: %w", err)
	}
	return found, nil
}

// Count returns how many stored ratings match f. If more than 10,000 do, it returns 10,000 and
// true. ErrTooBroad: the store would have to read more rows than that.
func (s *Service) Count(ctx context.Context, f Filter) (n int64, more bool, err error) {
	n, err = s.store.CountRatings(ctx, f, maxRows)
	if err != nil {
		return 0, false, fmt.Errorf("rating: count: %w", err)
	}
	return min(n, maxRows), n > maxRows, nil
}
