package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

func ratingDepartures() []Check {
	return []Check{
		{"rating/depart", "Depart records that a rater left. The last record of a rater counts.", ratingDepart},
		{"rating/departures", "Departures returns at most limit of those who left at the given time or later, after the given rater, in the order of Rater, bytewise.", ratingDeparted},
		{"rating/departures-sweep", "SweepRatings removes at most limit withdrawn ratings, rejected messages and departures from before the given time and returns how many.", ratingDepartureSweep},
	}
}

// departuresOf pages through all departures and returns those of the raters named, in order.
func departuresOf(ctx context.Context, s rating.Store, since time.Time, limit int, raters ...string) ([]rating.Departure, error) {
	var found []rating.Departure
	after := ""
	for {
		page, err := s.Departures(ctx, since, after, limit)
		if err != nil {
			return nil, err
		}
		if len(page) > limit {
			return nil, fmt.Errorf("a page of %d departures, at most %d", len(page), limit)
		}
		for _, d := range page {
			if d.Rater <= after {
				return nil, fmt.Errorf("the departure of %s comes after that of %s", d.Rater, after)
			}
			if after = d.Rater; slices.Contains(raters, d.Rater) {
				found = append(found, d)
			}
		}
		if len(page) < limit {
			return found, nil
		}
	}
}

func wantDepartures(ctx context.Context, s rating.Store, since time.Time, limit int, raters []string, wanted ...rating.Departure) error {
	slices.SortFunc(wanted, func(a, b rating.Departure) int { return strings.Compare(a.Rater, b.Rater) })
	got, err := departuresOf(ctx, s, since, limit, raters...)
	if err != nil {
		return err
	}
	if !slices.Equal(got, wanted) {
		return fmt.Errorf("those who left at %v or later, %d at a time, are %+v, want %+v", since, limit, got, wanted)
	}
	return nil
}

func ratingDepart(ctx context.Context, s store.Store) error {
	rater := newName()
	for i, fate := range []rating.Fate{rating.FateDelete, rating.FateDelete, rating.FateAnonymize} {
		d := rating.Departure{Rater: rater, Fate: fate, At: at(i)}
		if err := s.Depart(ctx, d); err != nil {
			return err
		}
		if err := wantDepartures(ctx, s, at(i), 10, []string{rater}, d); err != nil {
			return err
		}
	}
	for i, t := range edges() {
		d := rating.Departure{Rater: newName(), Fate: rating.FateDelete, At: t}
		if err := errors.Join(s.Depart(ctx, d), wantDepartures(ctx, s, t, 10, []string{d.Rater}, d)); err != nil {
			return fmt.Errorf("time %d: %w", i, err)
		}
	}
	return nil
}

func ratingDeparted(ctx context.Context, s store.Store) error {
	var all []rating.Departure
	raters := names(9)
	for i, rater := range raters {
		d := rating.Departure{Rater: rater, Fate: rating.FateAnonymize, At: at(i)}
		if err := s.Depart(ctx, d); err != nil {
			return err
		}
		all = append(all, d)
	}
	for _, limit := range []int{1, 2, 100} {
		for _, first := range []int{0, 4, len(all)} {
			if err := wantDepartures(ctx, s, at(first), limit, raters, slices.Clone(all[first:])...); err != nil {
				return err
			}
		}
	}
	return wantDepartures(ctx, s, time.Time{}, 3, raters, all...)
}

// ratingDepartureSweep works with times of long ago, which no other check uses.
func ratingDepartureSweep(ctx context.Context, s store.Store) error {
	border := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	var left []rating.Departure
	raters := names(7)
	for i, rater := range raters {
		d := rating.Departure{Rater: rater, Fate: rating.FateDelete, At: border.Add(time.Duration(i-4) * time.Microsecond)}
		if err := s.Depart(ctx, d); err != nil {
			return err
		}
		if i >= 4 {
			left = append(left, d)
		}
	}
	for _, wanted := range []int{3, 1, 0} {
		n, err := s.SweepRatings(ctx, border, 3)
		if err := errors.Join(err, want("departures swept, 3 at a time", n, wanted)); err != nil {
			return err
		}
	}
	return wantDepartures(ctx, s, border.Add(-time.Hour), 10, raters, left...)
}
