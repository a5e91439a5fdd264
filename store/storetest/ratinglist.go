package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

func ratingLists() []Check {
	return []Check{
		{"rating/list", "ListRatings returns at most q.Limit ratings that match q.Filter and are not " +
			"withdrawn, in q.Order, after q.After.", ratingList},
		{"rating/list-filters",
			"Filter selects ratings. The zero Filter selects all; conditions that are set must all hold.",
			ratingFilters},
		{"rating/list-all", "The zero Filter selects all; conditions that are set must all hold.", ratingListAll},
		{"rating/list-ties", "Ratings of the same time are ordered by key, in the same direction.", ratingTies},
		{"rating/list-scores", "ScoreMin and ScoreMax bound the score, both included.", ratingScores},
		{"rating/list-times", "UpdatedFrom is the earliest time of the present score that matches, " +
			"UpdatedBefore the first that no longer does.", ratingTimes},
		{"rating/list-after",
			"After is the cursor after which the page starts; nil: the page starts at the beginning. The " +
				"rating of the cursor may not exist any more.", ratingAfter},
		{"rating/list-moving",
			"After is the cursor after which the page starts; nil: the page starts at the beginning.", ratingMoving},
		{"rating/count", "CountRatings returns how many ratings that are not withdrawn match f, and " +
			"maxRows+1 if more than maxRows do.", ratingCount},
	}
}

func ratingOrders() []rating.Order {
	return []rating.Order{rating.ByKey, rating.NewestFirst, rating.OldestFirst}
}

// newBook rates contents at random, with few different times; about a fifth of the ratings is
// withdrawn.
func newBook(ctx context.Context, s rating.Store, seed uint64, contents, raters []string) (book, error) {
	r, b := dice(seed), book{}
	var batch []rating.Change
	for _, id := range contents {
		for _, rater := range raters {
			k := rating.Key{Content: id, Rater: rater}
			c := change(k, 1, 1+r.IntN(5))
			if r.IntN(5) == 0 {
				c = withdrawal(k, 1)
			}
			c.At = at(r.IntN(5)).Add(time.Duration(r.IntN(2)) * time.Microsecond)
			batch = append(batch, c)
			b.apply(c)
		}
	}
	_, err := apply(ctx, s, batch...)
	return b, err
}

// checkList pages through a list of the store and compares it and its count.
func (b book) checkList(ctx context.Context, s rating.Store, f rating.Filter, o rating.Order, limit int) error {
	wanted := b.live(f, o)
	err := func() error {
		got, err := allRatings(ctx, s, rating.Query{Filter: f, Order: o, Limit: limit})
		if err != nil {
			return err
		}
		for i := range min(len(got), len(wanted)) {
			if err := want(fmt.Sprintf("place %d", i), got[i], wanted[i]); err != nil {
				return err
			}
		}
		n, err := s.CountRatings(ctx, f, 0)
		return errors.Join(err, want("ratings listed", len(got), len(wanted)),
			want("ratings counted", n, int64(len(wanted))))
	}()
	if err != nil {
		return fmt.Errorf("%s in order %d, in pages of %d: %w", show(f), o, limit, err)
	}
	return nil
}

func ratingList(ctx context.Context, s store.Store) error {
	id, rater := newName(), newName()
	b, err := newBook(ctx, s, 41, append(names(12), id), append(names(12), rater))
	if err != nil {
		return err
	}
	for _, o := range ratingOrders() {
		for _, limit := range []int{1, 3, 50} {
			for _, f := range []rating.Filter{{Content: id}, {Rater: rater}, {Content: id, Rater: rater}} {
				if err := b.checkList(ctx, s, f, o, limit); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func ratingFilters(ctx context.Context, s store.Store) error {
	contents, raters := names(5), names(8)
	b, err := newBook(ctx, s, 42, contents, raters)
	if err != nil {
		return err
	}
	r := dice(43)
	for i := range 120 {
		var f rating.Filter
		if i%3 != 0 {
			f.Content = contents[r.IntN(len(contents))]
		}
		if i%3 != 1 {
			f.Rater = raters[r.IntN(len(raters))]
		}
		for _, bound := range []**int{&f.ScoreMin, &f.ScoreMax} {
			if r.IntN(3) == 0 {
				score := r.IntN(7)
				*bound = &score
			}
		}
		for _, bound := range []*time.Time{&f.UpdatedFrom, &f.UpdatedBefore} {
			if r.IntN(3) == 0 {
				*bound = at(r.IntN(5)).Add(time.Duration(r.IntN(3)) * time.Microsecond)
			}
		}
		if err := b.checkList(ctx, s, f, ratingOrders()[r.IntN(3)], 1+r.IntN(4)); err != nil {
			return err
		}
	}
	return nil
}

// ratingListAll names neither content nor rater, so that others' ratings may be listed too: every
// one that is must match and stand in order, and those of this check must be among them.
func ratingListAll(ctx context.Context, s store.Store) error {
	b, err := newBook(ctx, s, 44, names(4), names(4))
	if err != nil {
		return err
	}
	three, four := 3, 4
	for _, f := range []rating.Filter{{}, {ScoreMin: &three}, {ScoreMin: &three, ScoreMax: &four},
		{UpdatedFrom: at(2)}, {UpdatedBefore: at(3), ScoreMax: &four}} {
		for _, o := range ratingOrders() {
			for _, limit := range []int{2, 5, 1000} {
				all, err := allRatings(ctx, s, rating.Query{Filter: f, Order: o, Limit: limit})
				if err != nil {
					return err
				}
				listed := book{}
				for _, r := range all {
					listed[r.Key] = r
				}
				if !slices.Equal(all, listed.live(f, o)) {
					return fmt.Errorf("%s in order %d, in pages of %d: the ratings are not in order, or "+
						"match not: %s", show(f), o, limit, show(all))
				}
				for _, r := range b.live(f, o) {
					if err := want("a rating in the list of all", listed[r.Key], r); err != nil {
						return err
					}
				}
				n, err := s.CountRatings(ctx, f, 0)
				if err := errors.Join(err, want("ratings counted", n, int64(len(all)))); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func ratingTies(ctx context.Context, s store.Store) error {
	contents, raters := names(6), names(12)
	b := book{}
	var batch []rating.Change
	for _, id := range contents {
		for _, rater := range raters {
			c := change(rating.Key{Content: id, Rater: rater}, 1, 3)
			batch = append(batch, c)
			b.apply(c)
		}
	}
	if _, err := apply(ctx, s, batch...); err != nil {
		return err
	}
	for _, o := range ratingOrders() {
		for _, f := range []rating.Filter{{Content: contents[0]}, {Rater: raters[0]}} {
			if err := b.checkList(ctx, s, f, o, 2); err != nil {
				return err
			}
		}
	}
	return nil
}

func ratingScores(ctx context.Context, s store.Store) error {
	id, b := newName(), book{}
	for i, score := range []int{-2, -1, 0, 1, 2, 3} {
		c := change(rating.Key{Content: id, Rater: newName()}, int64(i+1), score)
		if _, err := apply(ctx, s, c); err != nil {
			return err
		}
		b.apply(c)
	}
	for low := -3; low <= 4; low++ {
		for high := low - 1; high <= 4; high++ {
			for _, f := range []rating.Filter{{ScoreMin: &low}, {ScoreMax: &high},
				{ScoreMin: &low, ScoreMax: &high}} {
				f.Content = id
				if err := b.checkList(ctx, s, f, rating.ByKey, 10); err != nil {
					return fmt.Errorf("scores from %d to %d: %w", low, high, err)
				}
			}
		}
	}
	return nil
}

func ratingTimes(ctx context.Context, s store.Store) error {
	k := newKey()
	if _, err := apply(ctx, s, change(k, 1, 3)); err != nil {
		return err
	}
	if _, err := apply(ctx, s, change(k, 2, 4)); err != nil {
		return err
	}
	if _, err := apply(ctx, s, change(k, 3, 4)); err != nil { // leaves the time
		return err
	}
	present, next := at(2), at(2).Add(time.Microsecond)
	for _, step := range []struct {
		f    rating.Filter
		want int64
	}{
		{rating.Filter{UpdatedFrom: present}, 1},
		{rating.Filter{UpdatedFrom: next}, 0},
		{rating.Filter{UpdatedBefore: next}, 1},
		{rating.Filter{UpdatedBefore: present}, 0},
		{rating.Filter{UpdatedFrom: present, UpdatedBefore: next}, 1},
		{rating.Filter{UpdatedFrom: present, UpdatedBefore: present}, 0},
	} {
		step.f.Content = k.Content
		n, err := s.CountRatings(ctx, step.f, 0)
		if err := errors.Join(err, want("ratings that match "+show(step.f), n, step.want)); err != nil {
			return err
		}
	}
	return nil
}

func ratingAfter(ctx context.Context, s store.Store) error {
	id := newName()
	b, err := newBook(ctx, s, 45, []string{id}, names(20))
	if err != nil {
		return err
	}
	f := rating.Filter{Content: id}
	for i, o := range ratingOrders() {
		wanted := b.live(f, o)
		gone := wanted[len(wanted)/2]
		c := withdrawal(gone.Key, int64(10+i))
		if _, err := applyOne(ctx, s, c, rating.Withdrawn); err != nil {
			return err
		}
		b.apply(c)
		listed, err := s.ListRatings(ctx, rating.Query{Filter: f, Order: o,
			After: &rating.Cursor{At: gone.UpdatedAt, Key: gone.Key}, Limit: 1})
		if err != nil {
			return err
		}
		if len(listed) != 1 || listed[0] != wanted[len(wanted)/2+1] {
			return fmt.Errorf("order %d: after the place of a withdrawn rating stands %#v, want %#v", o, listed,
				wanted[len(wanted)/2+1])
		}
		last := wanted[len(wanted)-1]
		listed, err = s.ListRatings(ctx, rating.Query{Filter: f, Order: o,
			After: &rating.Cursor{At: last.UpdatedAt, Key: last.Key}, Limit: 9})
		if err := errors.Join(err, want("ratings after the last one", len(listed), 0)); err != nil {
			return err
		}
	}
	// At is ignored in the order ByKey.
	wanted := b.live(f, rating.ByKey)
	listed, err := s.ListRatings(ctx, rating.Query{Filter: f,
		After: &rating.Cursor{At: at(1_000_000), Key: wanted[0].Key}, Limit: 100})
	if err != nil {
		return err
	}
	if !slices.Equal(listed, wanted[1:]) {
		return fmt.Errorf("after %v by key stands %#v, want %#v", wanted[0].Key, listed, wanted[1:])
	}
	return nil
}

// ratingMoving pages while ratings come and go; none changes its place.
func ratingMoving(ctx context.Context, s store.Store) error {
	for i, o := range ratingOrders() {
		id := newName()
		b, err := newBook(ctx, s, uint64(46+i), []string{id}, names(30))
		if err != nil {
			return err
		}
		f := rating.Filter{Content: id}
		steady := map[rating.Key]bool{}
		for _, r := range b.live(f, o) {
			steady[r.Key] = true
		}
		seen := map[rating.Key]bool{}
		q, offset := rating.Query{Filter: f, Order: o, Limit: 3}, int64(100)
		for turn := 0; ; turn++ {
			page, err := s.ListRatings(ctx, q)
			if err != nil {
				return err
			}
			for _, r := range page {
				if seen[r.Key] {
					return fmt.Errorf("order %d: the rating %v is listed twice", o, r.Key)
				}
				seen[r.Key] = true
			}
			if len(page) < q.Limit || turn > 100 {
				break
			}
			last := page[len(page)-1]
			q.After = &rating.Cursor{At: last.UpdatedAt, Key: last.Key}
			offset += 2
			batch := []rating.Change{withdrawal(last.Key, offset)}
			for range 2 {
				if turn < 10 {
					c := change(rating.Key{Content: id, Rater: newName()}, 1, 3)
					c.At = at(turn % 5)
					batch = append(batch, c)
				}
			}
			if _, err := apply(ctx, s, batch...); err != nil {
				return err
			}
		}
		for k := range steady {
			if !seen[k] {
				return fmt.Errorf("order %d: the rating %v, which was there all the time, is not listed", o, k)
			}
		}
	}
	return nil
}

func ratingCount(ctx context.Context, s store.Store) error {
	id := newName()
	var keys []rating.Key
	for i := range 4 {
		n, err := s.CountRatings(ctx, rating.Filter{Content: id}, 0)
		if err := errors.Join(err, want("ratings of the content", n, int64(i))); err != nil {
			return err
		}
		keys = append(keys, rating.Key{Content: id, Rater: newName()})
		if _, err := apply(ctx, s, change(keys[i], 1, 3), change(newKey(), 1, 3)); err != nil {
			return err
		}
	}
	if _, err := apply(ctx, s, withdrawal(keys[1], 2), change(keys[2], 2, 4)); err != nil {
		return err
	}
	n, err := s.CountRatings(ctx, rating.Filter{Content: id}, 0)
	return errors.Join(err, want("ratings after a withdrawal", n, 3))
}
