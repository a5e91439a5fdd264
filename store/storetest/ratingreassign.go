package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

func ratingReassigns() []Check {
	return []Check{
		{"rating/reassign",
			"A withdrawal with ReassignTo reassigns the rating to that rater, so that no number changes.",
			ratingReassign},
		{"rating/reassign-kept",
			"its score, bucket and times become a rating of this rater, with the Version of the change and " +
				"the Result Created.", ratingReassignKept},
		{"rating/reassign-nothing",
			"ReassignTo has no effect where nothing is withdrawn: without Withdraw, without a rating, or if " +
				"the change is Superseded or a duplicate.", ratingReassignNothing},
		{"rating/reassign-known",
			"If the content has a rating of this rater already, nothing is reassigned.", ratingReassignKnown},
		{"rating/reassign-race",
			"A withdrawal with ReassignTo reassigns the rating to that rater, so that no number changes.",
			ratingReassignRace},
	}
}

// reassign returns a withdrawal that hands the rating over to somebody new.
func reassign(k rating.Key, offset int64) rating.Change {
	c := withdrawal(k, offset)
	c.ReassignTo = "anonymous-" + newName()
	return c
}

// ratingReassign hands over in one batch with changes of other ratings, and then alone.
func ratingReassign(ctx context.Context, s store.Store) error {
	contents, raters, b := names(3), names(4), book{}
	if err := begin(ctx, s, contents...); err != nil {
		return err
	}
	var batch []rating.Change
	for i, id := range contents {
		for j, rater := range raters {
			c := change(rating.Key{Content: id, Rater: rater}, int64(i+1), 1+(i+j)%5)
			batch = append(batch, in(c, 20+3*j))
		}
	}
	leaver := raters[1]
	at := func(id, rater string) rating.Key { return rating.Key{Content: id, Rater: rater} }
	mixed := []rating.Change{
		reassign(at(contents[2], leaver), 10), change(at(contents[2], raters[0]), 11, 2),
		withdrawal(at(contents[0], raters[3]), 12),
		reassign(at(contents[0], leaver), 13), change(at(contents[1], newName()), 14, 5),
	}
	for _, changes := range [][]rating.Change{batch, mixed} {
		outcomes, err := apply(ctx, s, changes...)
		if err != nil {
			return err
		}
		for i, c := range changes {
			if wanted := b.apply(c); outcomes[i].Result != wanted.Result ||
				!sameRating(outcomes[i].Rating, wanted.Rating) {
				return fmt.Errorf("%#v: the outcome is %#v, want %#v", c, outcomes[i], wanted)
			}
		}
	}
	au := newAudit(contents)
	if err := errors.Join(b.check(ctx, s), au.check(ctx, s)); err != nil {
		return err
	}
	before, err := statsOf(ctx, s, contents[1])
	if err != nil {
		return err
	}
	c := reassign(at(contents[1], leaver), 20)
	if _, err := applyOne(ctx, s, c, rating.Withdrawn); err != nil {
		return err
	}
	b.apply(c)
	refreshed, err := computeAll(ctx, s, mean)
	if err != nil {
		return err
	}
	if _, claimed := refreshed[c.Content]; claimed {
		return errors.New("a content is claimed for folding because a rating of it was handed over")
	}
	after, err := statsOf(ctx, s, c.Content)
	if err := errors.Join(err, want("the revision after a rating was handed over", after.Revision,
		before.Revision), b.check(ctx, s), au.check(ctx, s)); err != nil {
		return err
	}
	if !after.Equal(before) {
		return fmt.Errorf("handing a rating over made %#v of %#v", after, before)
	}
	drifts, err := s.Recount(ctx, contents)
	if err := errors.Join(err, want("drifts", len(drifts), 0)); err != nil {
		return err
	}
	listed, err := allRatings(ctx, s, rating.Query{Filter: rating.Filter{Rater: leaver}, Limit: 10})
	return errors.Join(err, want("ratings of who left", len(listed), 0))
}

func ratingReassignKept(ctx context.Context, s store.Store) error {
	k := newKey()
	first, second := change(k, 1, 2), in(change(k, 3, 4), 77)
	for _, c := range []rating.Change{first, second, change(k, 4, 4)} {
		if _, err := apply(ctx, s, c); err != nil {
			return err
		}
	}
	c := reassign(k, 9)
	if _, err := applyOne(ctx, s, c, rating.Withdrawn); err != nil {
		return err
	}
	successor := rating.Key{Content: k.Content, Rater: c.ReassignTo}
	got, _, err := ratingByKey(ctx, s, successor)
	if err != nil {
		return err
	}
	kept := rating.Rating{Key: successor, Score: 4, Version: c.Version, Result: rating.Created, Bucket: 77,
		CreatedAt: first.At, UpdatedAt: second.At}
	if err := want("the rating that was handed over", got, kept); err != nil {
		return err
	}
	// It lives on like any other, and so may its former rater's.
	if _, err := applyOne(ctx, s, change(k, 10, 5), rating.Created); err != nil {
		return err
	}
	if _, err := applyOne(ctx, s, withdrawal(successor, 11), rating.Withdrawn); err != nil {
		return err
	}
	stats, err := statsOf(ctx, s, k.Content)
	return errors.Join(err, want("ratings left", stats.Count, 1), want("their sum", stats.Sum, 5),
		newAudit([]string{k.Content}).check(ctx, s))
}

func ratingReassignNothing(ctx context.Context, s store.Store) error {
	k, b := newKey(), book{}
	au := newAudit([]string{k.Content})
	handed, late, rated := reassign(k, 5), reassign(k, 4), change(k, 8, 3)
	rated.ReassignTo = newName()
	for i, step := range []struct {
		change rating.Change
		want   rating.Result
		count  int64
	}{
		{reassign(k, 1), rating.Withdrawn, 0}, // there never was one
		{change(k, 3, 4), rating.Created, 1},
		{handed, rating.Withdrawn, 1},
		{handed, rating.Withdrawn, 1},
		{late, rating.Superseded, 1},
		{reassign(k, 6), rating.Withdrawn, 1}, // there is none any more
		{rated, rating.Created, 2},
		{reassign(k, 7), rating.Superseded, 2},
	} {
		if _, err := applyOne(ctx, s, step.change, step.want); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		b.apply(step.change)
		n, err := s.CountRatings(ctx, rating.Filter{Content: k.Content}, 0)
		if err := errors.Join(err, want("ratings", n, step.count), b.check(ctx, s), au.check(ctx, s)); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

// ratingReassignKnown names a rater with a rating, one whose rating is withdrawn, and the one who
// leaves.
func ratingReassignKnown(ctx context.Context, s store.Store) error {
	id, b := newName(), book{}
	au := newAudit([]string{id})
	key := func(rater string) rating.Key { return rating.Key{Content: id, Rater: rater} }
	to := func(rater string, c rating.Change) rating.Change {
		c.ReassignTo = rater
		return c
	}
	for _, c := range []rating.Change{
		change(key("known"), 1, 5), change(key("gone"), 2, 4), withdrawal(key("gone"), 3),
		change(key("a"), 4, 3), change(key("b"), 5, 2), change(key("c"), 6, 1),
		to("known", withdrawal(key("a"), 7)), to("gone", withdrawal(key("b"), 8)), to("c", withdrawal(key("c"), 9)),
	} {
		outcomes, err := apply(ctx, s, c)
		if err != nil {
			return err
		}
		if wanted := b.apply(c); outcomes[0].Result != wanted.Result {
			return fmt.Errorf("%#v: the outcome is %#v, want %#v", c, outcomes[0], wanted)
		}
		if err := errors.Join(b.check(ctx, s), au.check(ctx, s)); err != nil {
			return fmt.Errorf("after %#v: %w", c, err)
		}
	}
	stats, err := statsOf(ctx, s, id)
	return errors.Join(err, want("ratings left", stats.Count, 1), want("their sum", stats.Sum, 5))
}

// ratingReassignRace lets every caller hand over the same ratings to raters of its own, in an order
// of its own: of each rating one caller finds something to hand over.
func ratingReassignRace(ctx context.Context, s store.Store) error {
	const callers = 8
	contents, raters, r := names(3), names(10), dice(91)
	var batch []rating.Change
	for i, id := range contents {
		for j, rater := range raters {
			batch = append(batch, change(rating.Key{Content: id, Rater: rater}, 1, 1+(i+j)%5))
		}
	}
	if _, err := apply(ctx, s, batch...); err != nil {
		return err
	}
	if _, err := computeAll(ctx, s, mean); err != nil {
		return err
	}
	before, err := s.StatsByContent(ctx, contents)
	if err != nil {
		return err
	}
	hands := make([][]rating.Change, callers)
	for i := range hands {
		for _, c := range batch {
			hands[i] = append(hands[i], reassign(c.Key, int64(i+2)))
		}
		r.Shuffle(len(batch), func(a, b int) { hands[i][a], hands[i][b] = hands[i][b], hands[i][a] })
	}
	err = together(callers, func(i int) error {
		_, err := apply(ctx, s, hands[i]...)
		return err
	})
	if err != nil {
		return err
	}
	for _, stats := range before {
		after, err := statsOf(ctx, s, stats.Content)
		if err != nil {
			return err
		}
		if !after.Equal(stats) {
			return fmt.Errorf("handing ratings over made %#v of %#v", after, stats)
		}
		rows, err := allRatings(ctx, s, rating.Query{Filter: rating.Filter{Content: stats.Content}, Limit: 100})
		if err := errors.Join(err, want("ratings", len(rows), len(raters))); err != nil {
			return err
		}
		if slices.ContainsFunc(rows, func(r rating.Rating) bool { return slices.Contains(raters, r.Rater) }) {
			return errors.New("a rating is still its rater's")
		}
	}
	return newAudit(contents).check(ctx, s)
}
