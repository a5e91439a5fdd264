package storetest_test

import (
	"context"
	"slices"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

// firstErasure keeps the first record.
type firstErasure struct{ store.Store }

func (s firstErasure) RecordErasure(ctx context.Context, d rating.Erasure) error {
	all, err := s.Store.Erasures(ctx, time.Time{}, "", 10_000)
	if err != nil || slices.ContainsFunc(all, func(o rating.Erasure) bool { return o.Rater == d.Rater }) {
		return err
	}
	return s.Store.RecordErasure(ctx, d)
}

// afterErasure leaves out who left at the very time.
type afterErasure struct{ store.Store }

func (s afterErasure) Erasures(ctx context.Context, since time.Time, after string, limit int) ([]rating.Erasure,
	error) {
	return s.Store.Erasures(ctx, since.Add(time.Microsecond), after, limit)
}

// silentDeletion records no erasure.
type silentDeletion struct{ store.Store }

func (s silentDeletion) DeleteUser(ctx context.Context, d auth.Deletion) error {
	d.Ratings = ""
	return s.Store.DeleteUser(ctx, d)
}

// hastyDeletion records the erasure first.
type hastyDeletion struct{ store.Store }

func (s hastyDeletion) DeleteUser(ctx context.Context, d auth.Deletion) error {
	if d.Ratings != "" {
		if err := s.RecordErasure(context.WithoutCancel(ctx),
			rating.Erasure{Rater: d.User, Mode: rating.ErasureMode(d.Ratings), At: d.At}); err != nil {
			return err
		}
	}
	return s.Store.DeleteUser(ctx, d)
}
