package storetest

import (
	"context"
	"fmt"
	"slices"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

func ratingVersions() []Check {
	return []Check{
		{"rating/repeated",
			"A duplicate, whose Version is the one that is stored, has the Result that it had the first time.",
			ratingRepeated},
		{"rating/order",
			"Of two changes of a Key, whenever they come, the one with the higher Version wins and the other " +
				"one is Superseded.", ratingOrder},
		{"rating/epochs",
			"Later versions are greater: a greater Epoch, or the same Epoch and a greater Offset.", ratingEpochs},
	}
}

// permutations returns every order of the numbers below n.
func permutations(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var all [][]int
	for _, p := range permutations(n - 1) {
		for i := range n {
			all = append(all, slices.Insert(slices.Clone(p), i, n-1))
		}
	}
	return all
}

// ratingOrder lets four changes arrive in each of their orders, a key for each order.
func ratingOrder(ctx context.Context, s store.Store) error {
	for name, changes := range map[string]func(rating.Key) []rating.Change{
		"a rating": func(k rating.Key) []rating.Change {
			return []rating.Change{change(k, 1, 1), change(k, 2, 2), withdrawal(k, 3), change(k, 4, 4)}
		},
		"a withdrawal": func(k rating.Key) []rating.Change {
			return []rating.Change{change(k, 1, 1), withdrawal(k, 2), change(k, 3, 3), withdrawal(k, 4)}
		},
	} {
		id, b := newName(), book{}
		orders := permutations(4)
		keys := make([]rating.Key, len(orders))
		for i := range keys {
			keys[i] = rating.Key{Content: id, Rater: newName()}
		}
		au := newAudit([]string{id})
		for turn := range 4 {
			var batch []rating.Change
			for i, order := range orders {
				batch = append(batch, changes(keys[i])[order[turn]])
			}
			outcomes, err := apply(ctx, s, batch...)
			if err != nil {
				return err
			}
			for i, c := range batch {
				if wanted := b.apply(c); outcomes[i].Result != wanted.Result ||
					!sameRating(outcomes[i].Rating, wanted.Rating) {
					return fmt.Errorf("%s last, arrivals %v, turn %d: the outcome is %#v, want %#v", name,
						orders[i], turn, outcomes[i], wanted)
				}
			}
			if err := au.check(ctx, s); err != nil {
				return err
			}
		}
		if err := b.check(ctx, s); err != nil {
			return err
		}
		for _, k := range keys {
			if err := want("the version that won", b[k].Version.Offset, 4); err != nil {
				return err
			}
		}
	}
	return nil
}

func ratingEpochs(ctx context.Context, s store.Store) error {
	k, b := newKey(), book{}
	version := func(epoch, offset int64, score int) rating.Change {
		c := change(k, offset%1000, score)
		c.Version = rating.Version{Epoch: epoch, Offset: offset}
		return c
	}
	for _, step := range []struct {
		change rating.Change
		want   rating.Result
	}{
		{version(2, 1<<40, 1), rating.Created}, // more than 32 bits
		{version(2, 1<<40-1, 2), rating.Superseded},
		{version(1, 1<<50, 3), rating.Superseded},
		{version(3, 0, 4), rating.Updated},
		{version(2, 1<<60, 5), rating.Superseded},
		{version(3, 1, 5), rating.Updated},
		{version(1<<40, 0, 2), rating.Updated},
		{version(1<<40, 1<<62, 1), rating.Updated},
	} {
		if _, err := applyOne(ctx, s, step.change, step.want); err != nil {
			return err
		}
		b.apply(step.change)
		if err := b.check(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func ratingRepeated(ctx context.Context, s store.Store) error {
	k := newKey()
	au := newAudit([]string{k.Content})
	other := change(rating.Key{Content: k.Content, Rater: newName()}, 1, 2)
	if _, err := applyOne(ctx, s, other, rating.Created); err != nil {
		return err
	}
	for i, c := range []rating.Change{change(k, 1, 4), change(k, 2, 5), change(k, 3, 5), withdrawal(k, 4),
		change(k, 5, 3)} {
		wanted := []rating.Result{rating.Created, rating.Updated, rating.Unchanged, rating.Withdrawn,
			rating.Created}[i]
		first, err := applyOne(ctx, s, c, wanted)
		if err != nil {
			return err
		}
		if err := au.check(ctx, s); err != nil {
			return err
		}
		before, err := statsOf(ctx, s, k.Content)
		if err != nil {
			return err
		}
		for range 2 {
			again, err := applyOne(ctx, s, c, wanted)
			if err != nil {
				return fmt.Errorf("the same change again: %w", err)
			}
			if !sameRating(again, first) {
				return fmt.Errorf("the same change again leaves %#v, before it was %#v", again, first)
			}
		}
		after, err := statsOf(ctx, s, k.Content)
		if err != nil {
			return err
		}
		if !after.Equal(before) {
			return fmt.Errorf("the same change again made %#v of %#v", after, before)
		}
		if err := au.check(ctx, s); err != nil {
			return err
		}
	}
	return nil
}
