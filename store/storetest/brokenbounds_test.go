package storetest_test

import (
	"context"
	"errors"

	"github.com/khodnevis/khodnevis/content"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

type tireless struct{ store.Store }

func (s tireless) ListContents(ctx context.Context, q content.Query) ([]content.Listed, error) {
	q.MaxRows = 0
	return s.Store.ListContents(ctx, q)
}

func (s tireless) ListRatings(ctx context.Context, q rating.Query) ([]rating.Rating, error) {
	q.MaxRows = 0
	return s.Store.ListRatings(ctx, q)
}

type weary struct{ store.Store }

func (s weary) ListContents(ctx context.Context, q content.Query) ([]content.Listed, error) {
	listed, err := s.Store.ListContents(ctx, q)
	if errors.Is(err, content.ErrTooBroad) {
		return nil, nil
	}
	return listed, err
}

func (s weary) ListRatings(ctx context.Context, q rating.Query) ([]rating.Rating, error) {
	listed, err := s.Store.ListRatings(ctx, q)
	if errors.Is(err, rating.ErrTooBroad) {
		return nil, nil
	}
	return listed, err
}

type shy struct{ store.Store }

func (s shy) ListContents(ctx context.Context, q content.Query) ([]content.Listed, error) {
	f := q.Filter
	if f.Author == "" && len(f.Terms) == 0 && f.CreatedFrom.IsZero() && f.UpdatedFrom.IsZero() {
		return nil, content.ErrTooBroad
	}
	return s.Store.ListContents(ctx, q)
}

func (s shy) ListRatings(ctx context.Context, q rating.Query) ([]rating.Rating, error) {
	if q.Filter == (rating.Filter{}) {
		return nil, rating.ErrTooBroad
	}
	return s.Store.ListRatings(ctx, q)
}

type simple struct{ store.Store }

func (s simple) ListContents(ctx context.Context, q content.Query) ([]content.Listed, error) {
	if len(q.Filter.Terms) > 1 {
		return nil, content.ErrTooBroad
	}
	return s.Store.ListContents(ctx, q)
}

func (s simple) ListRatings(ctx context.Context, q rating.Query) ([]rating.Rating, error) {
	if q.Filter.Content+q.Filter.Rater != "" && q.Filter.ScoreMin != nil {
		return nil, rating.ErrTooBroad
	}
	return s.Store.ListRatings(ctx, q)
}

type countsOn struct{ store.Store }

func (s countsOn) CountContents(ctx context.Context, f content.Filter, maxRows int) (int64, error) {
	return s.Store.CountContents(ctx, f, 10*maxRows)
}

func (s countsOn) CountRatings(ctx context.Context, f rating.Filter, maxRows int) (int64, error) {
	return s.Store.CountRatings(ctx, f, 10*maxRows)
}

type countsShort struct{ store.Store }

func (s countsShort) CountContents(ctx context.Context, f content.Filter, maxRows int) (int64, error) {
	n, err := s.Store.CountContents(ctx, f, maxRows)
	return min(n, int64(maxRows)), err
}

func (s countsShort) CountRatings(ctx context.Context, f rating.Filter, maxRows int) (int64, error) {
	n, err := s.Store.CountRatings(ctx, f, maxRows)
	return min(n, int64(maxRows)), err
}
