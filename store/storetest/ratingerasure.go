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

func ratingErasures() []Check {
	return []Check{
		{"rating/erasure",
			"RecordErasure records the erasure of a rater. The last record of a rater counts.", ratingErasure},
		{"rating/erasures",
			"Erasures returns at most limit erasures of the given time or later, after the given rater, in " +
				"the order of Rater, bytewise.", ratingErased},
		{"rating/erasures-sweep",
			"SweepRatings removes at most limit tombstones, dead letters and erasures from before the given " +
				"time and returns how many.", ratingErasureSweep},
	}
}

// erasuresOf pages through all erasures and returns those of the raters named, in order.
func erasuresOf(ctx context.Context, s rating.Store, since time.Time, limit int,
	raters ...string) ([]rating.Erasure, error) {
	var found []rating.Erasure
	after := ""
	for {
		page, err := s.Erasures(ctx, since, after, limit)
		if err != nil {
			return nil, err
		}
		if len(page) > limit {
			return nil, fmt.Errorf("a page of %d erasures, at most %d", len(page), limit)
		}
		for _, d := range page {
			if d.Rater <= after {
				return nil, fmt.Errorf("the erasure of %s comes after that of %s", d.Rater, after)
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

func wantErasures(ctx context.Context, s rating.Store, since time.Time, limit int, raters []string,
	wanted ...rating.Erasure) error {
	slices.SortFunc(wanted, func(a, b rating.Erasure) int { return strings.Compare(a.Rater, b.Rater) })
	got, err := erasuresOf(ctx, s, since, limit, raters...)
	if err != nil {
		return err
	}
	if !slices.Equal(got, wanted) {
		return fmt.Errorf("those who left at %v or later, %d at a time, are %+v, want %+v", since, limit, got, wanted)
	}
	return nil
}

func ratingErasure(ctx context.Context, s store.Store) error {
	rater := newName()
	for i, fate := range []rating.ErasureMode{rating.EraseDelete, rating.EraseDelete, rating.EraseAnonymize} {
		d := rating.Erasure{Rater: rater, Mode: fate, At: at(i)}
		if err := s.RecordErasure(ctx, d); err != nil {
			return err
		}
		if err := wantErasures(ctx, s, at(i), 10, []string{rater}, d); err != nil {
			return err
		}
	}
	for i, t := range edges() {
		d := rating.Erasure{Rater: newName(), Mode: rating.EraseDelete, At: t}
		if err := errors.Join(s.RecordErasure(ctx, d), wantErasures(ctx, s, t, 10, []string{d.Rater},
			d)); err != nil {
			return fmt.Errorf("time %d: %w", i, err)
		}
	}
	return nil
}

func ratingErased(ctx context.Context, s store.Store) error {
	var all []rating.Erasure
	raters := names(9)
	for i, rater := range raters {
		d := rating.Erasure{Rater: rater, Mode: rating.EraseAnonymize, At: at(i)}
		if err := s.RecordErasure(ctx, d); err != nil {
			return err
		}
		all = append(all, d)
	}
	for _, limit := range []int{1, 2, 100} {
		for _, first := range []int{0, 4, len(all)} {
			if err := wantErasures(ctx, s, at(first), limit, raters, slices.Clone(all[first:])...); err != nil {
				return err
			}
		}
	}
	return wantErasures(ctx, s, time.Time{}, 3, raters, all...)
}

// ratingErasureSweep works with times of long ago, which no other check uses.
func ratingErasureSweep(ctx context.Context, s store.Store) error {
	border := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	var left []rating.Erasure
	raters := names(7)
	for i, rater := range raters {
		d := rating.Erasure{Rater: rater, Mode: rating.EraseDelete,
			At: border.Add(time.Duration(i-4) * time.Microsecond)}
		if err := s.RecordErasure(ctx, d); err != nil {
			return err
		}
		if i >= 4 {
			left = append(left, d)
		}
	}
	for _, wanted := range []int{3, 1, 0} {
		n, err := s.SweepRatings(ctx, border, 3)
		if err := errors.Join(err, want("erasures swept, 3 at a time", n, wanted)); err != nil {
			return err
		}
	}
	return wantErasures(ctx, s, border.Add(-time.Hour), 10, raters, left...)
}
