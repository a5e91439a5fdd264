package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

// wantNoRatings fails if anything is left of the ratings of a content.
func wantNoRatings(ctx context.Context, s store.Store, id string, keys []rating.Key) error {
	listed, err := s.ListRatings(ctx, rating.Query{Filter: rating.Filter{Content: id}, Limit: 100})
	if err != nil {
		return err
	}
	n, err := s.CountRatings(ctx, rating.Filter{Content: id}, 0)
	if err != nil {
		return err
	}
	byKey, err := s.RatingsByKey(ctx, keys)
	if err != nil {
		return err
	}
	stats, err := s.StatsByContent(ctx, []string{id})
	if err != nil {
		return err
	}
	if len(listed) != 0 || n != 0 || len(byKey) != 0 || len(stats) != 0 {
		return fmt.Errorf("of the ratings of a deleted content %d are listed, %d counted, %d found by key, "+
			"and the numbers are %#v", len(listed), n, len(byKey), stats)
	}
	var after string
	for {
		page, err := s.RatedContents(ctx, after, 500)
		if err != nil {
			return err
		}
		if slices.Contains(page, id) {
			return errors.New("a deleted content is among the rated ones")
		}
		if len(page) == 0 {
			return nil
		}
		after = page[len(page)-1]
	}
}

func acrossDeletedContent(ctx context.Context, s store.Store) error {
	all, err := createContents(ctx, s, newName(), 2)
	if err != nil {
		return err
	}
	gone, stays := all[0].ID, all[1].ID
	rater := newName()
	keys := []rating.Key{{Content: gone, Rater: rater}, {Content: gone, Rater: newName()},
		{Content: gone, Rater: newName()}}
	if _, err := apply(ctx, s, change(keys[0], 1, 4), change(keys[1], 1, 5), withdrawal(keys[2], 1),
		change(rating.Key{Content: stays, Rater: rater}, 1, 2)); err != nil {
		return err
	}
	if err := s.DeleteContent(ctx, gone, 1); err != nil {
		return err
	}
	if err := wantNoRatings(ctx, s, gone, keys); err != nil {
		return err
	}
	byRater, err := s.ListRatings(ctx, rating.Query{Filter: rating.Filter{Rater: rater},
		Order: rating.NewestFirst, Limit: 5})
	if err := errors.Join(err, want("ratings of the rater", len(byRater), 1)); err != nil {
		return err
	}
	refreshed, err := computeAll(ctx, s, mean)
	if err != nil {
		return err
	}
	if _, ok := refreshed[gone]; ok {
		return errors.New("a deleted content is claimed for folding")
	}
	drifts, err := s.Recount(ctx, []string{gone, stays})
	return errors.Join(err, want("drifts", len(drifts), 0), newAudit([]string{stays}).check(ctx, s))
}

func acrossDeleteMany(ctx context.Context, s store.Store) error {
	all, err := createContents(ctx, s, newName(), 1)
	if err != nil {
		return err
	}
	return removeMany(ctx, s, all[0].ID, func() error { return s.DeleteContent(ctx, all[0].ID, 0) })
}

// removeMany gives a content more ratings than a store may remove at once, and removes it.
func removeMany(ctx context.Context, s store.Store, gone string, remove func() error) error {
	stays, rater := newName(), newName()
	keys := []rating.Key{{Content: gone, Rater: rater}}
	for range 3 {
		batch := []rating.Change{change(rating.Key{Content: stays, Rater: newName()}, 1, 2)}
		for range 999 {
			k := rating.Key{Content: gone, Rater: newName()}
			keys = append(keys, k)
			batch = append(batch, change(k, 1, 4))
		}
		if _, err := apply(ctx, s, batch...); err != nil {
			return err
		}
	}
	if _, err := apply(ctx, s, change(keys[0], 1, 5)); err != nil {
		return err
	}
	if err := remove(); err != nil {
		return err
	}
	for _, when := range []string{"deleted", "swept"} {
		n, err := s.CountRatings(ctx, rating.Filter{Rater: rater}, 10)
		err = errors.Join(err, want("ratings of the rater", n, 0), wantNoRatings(ctx, s, gone, keys))
		if err == nil {
			var drifts []rating.Drift
			drifts, err = s.Recount(ctx, []string{gone, stays})
			err = errors.Join(err, want("drifts", len(drifts), 0))
		}
		if err == nil {
			n, err = s.CountRatings(ctx, rating.Filter{Content: stays}, 10)
			err = errors.Join(err, want("ratings of another content", n, 3))
		}
		if err != nil {
			return fmt.Errorf("a content with %d ratings was %s: %w", len(keys), when, err)
		}
		swept, err := s.SweepRatings(ctx, at(-1_000_000_000), 1)
		if err := errors.Join(err, want("what was swept of other rows", swept, 0)); err != nil {
			return err
		}
	}
	return nil
}

func acrossRefused(ctx context.Context, s store.Store) error {
	all, err := createContents(ctx, s, newName(), 2)
	if err != nil {
		return err
	}
	gone, stays := all[0].ID, all[1].ID
	key := func(id string) rating.Key { return rating.Key{Content: id, Rater: newName()} }
	rated := key(gone)
	if _, err := apply(ctx, s, change(rated, 5, 4)); err != nil {
		return err
	}
	if err := s.DeleteContent(ctx, gone, 0); err != nil {
		return err
	}
	batch := []rating.Change{change(key(gone), 6, 4), change(key(stays), 7, 5), change(rated, 8, 3),
		change(key(stays), 10, 2)}
	for range 2 {
		outcomes, err := apply(ctx, s, batch...)
		if err != nil {
			return err
		}
		for i, c := range batch {
			o := outcomes[i]
			switch {
			case c.Content == gone && (!o.Refused || o.Result != ""):
				return fmt.Errorf("a rating of a deleted content has the outcome %#v", o)
			case c.Content == stays && (o.Refused || o.Result != rating.Created || o.Rating.Key != c.Key):
				return fmt.Errorf("a rating beside a refused one has the outcome %#v", o)
			}
		}
		if err := wantNoRatings(ctx, s, gone, []rating.Key{rated, batch[0].Key}); err != nil {
			return err
		}
	}
	for _, c := range []rating.Change{withdrawal(rated, 9), change(rated, 5, 4), change(rated, 1, 1)} {
		outcomes, err := apply(ctx, s, c)
		if err != nil {
			return err
		}
		if !outcomes[0].Refused || outcomes[0].Result != "" {
			return fmt.Errorf("%#v of a deleted content has the outcome %#v", c, outcomes[0])
		}
	}
	return errors.Join(wantNoRatings(ctx, s, gone, []rating.Key{rated}), newAudit([]string{stays}).check(ctx, s))
}

// acrossDeleteRace deletes a content while it is rated: what came before is gone, what comes after
// is refused.
func acrossDeleteRace(ctx context.Context, s store.Store) error {
	for range 5 {
		all, err := createContents(ctx, s, newName(), 1)
		if err != nil {
			return err
		}
		id := all[0].ID
		const callers, each = 6, 6
		keys := make([][]rating.Key, callers)
		err = together(callers+1, func(i int) error {
			if i == callers {
				return s.DeleteContent(ctx, id, 0)
			}
			refused := false
			for n := range each {
				k := rating.Key{Content: id, Rater: newName()}
				keys[i] = append(keys[i], k)
				outcomes, err := apply(ctx, s, change(k, int64(n+1), 4))
				if err != nil {
					return err
				}
				if refused && !outcomes[0].Refused {
					return errors.New("a rating is taken after one was refused")
				}
				refused = outcomes[0].Refused
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := wantNoRatings(ctx, s, id, slices.Concat(keys...)); err != nil {
			return err
		}
	}
	return nil
}

// acrossDeleteScore deletes contents while they are folded and recounted: nothing of them comes
// back.
func acrossDeleteScore(ctx context.Context, s store.Store) error {
	all, err := createContents(ctx, s, newName(), 12)
	if err != nil {
		return err
	}
	var keys []rating.Key
	for _, c := range all {
		k := rating.Key{Content: c.ID, Rater: newName()}
		if _, err := apply(ctx, s, change(k, 1, 4)); err != nil {
			return err
		}
		keys = append(keys, k)
	}
	err = together(3, func(i int) error {
		for _, c := range all {
			var err error
			switch i {
			case 0:
				_, err = s.RefreshScores(ctx, 1, mean)
			case 1:
				err = s.DeleteContent(ctx, c.ID, 1)
			case 2:
				var drifts []rating.Drift
				if drifts, err = s.Recount(ctx, []string{c.ID}); err == nil {
					err = want("drifts", len(drifts), 0)
				}
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, c := range all {
		if err := wantNoRatings(ctx, s, c.ID, keys[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}
