package storetest_test

import (
	"context"
	"slices"
	"time"

	"github.com/khodnevis/khodnevis/auth"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

// firstDeparture keeps the first record.
type firstDeparture struct{ store.Store }

func (s firstDeparture) Depart(ctx context.Context, d rating.Departure) error {
	all, err := s.Store.Departures(ctx, time.Time{}, "", 10_000)
	if err != nil || slices.ContainsFunc(all, func(o rating.Departure) bool { return o.Rater == d.Rater }) {
		return err
	}
	return s.Store.Depart(ctx, d)
}

// afterDeparture leaves out who left at the very time.
type afterDeparture struct{ store.Store }

func (s afterDeparture) Departures(ctx context.Context, since time.Time, after string, limit int) ([]rating.Departure, error) {
	return s.Store.Departures(ctx, since.Add(time.Microsecond), after, limit)
}

// silentDeletion records no departure.
type silentDeletion struct{ store.Store }

func (s silentDeletion) DeleteUser(ctx context.Context, d auth.Deletion) error {
	d.Ratings = ""
	return s.Store.DeleteUser(ctx, d)
}

// hastyDeletion records the departure first.
type hastyDeletion struct{ store.Store }

func (s hastyDeletion) DeleteUser(ctx context.Context, d auth.Deletion) error {
	if d.Ratings != "" {
		if err := s.Depart(context.WithoutCancel(ctx), rating.Departure{Rater: d.User, Fate: rating.Fate(d.Ratings), At: d.At}); err != nil {
			return err
		}
	}
	return s.Store.DeleteUser(ctx, d)
}
