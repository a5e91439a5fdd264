package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store"
)

// ratingChecks are those of rating.Store.
func ratingChecks() []Check {
	return slices.Concat([]Check{
		{"rating/results", "Result is Created, Updated, Unchanged, Withdrawn or Superseded.", ratingResults},
		{"rating/unchanged", "The same score again leaves the rating in its bucket.", ratingUnchanged},
		{"rating/withdrawn",
			"CreatedAt is when the first change since the last withdrawal was accepted, UpdatedAt when the " +
				"present score was accepted, both UTC in microseconds.", ratingWithdrawn},
		{"rating/withdrawn-at", "UpdatedAt of a tombstone is when the withdrawal was accepted.", ratingWithdrawnAt},
		{"rating/clock",
			"Another score never has an earlier UpdatedAt than the score before, also if the clock went back.", ratingClock},
		{"rating/unknown-content", "there was no rating, or it was withdrawn", ratingUnknown},
		{"rating/outcomes", "The outcomes stand in the order of batch.Changes.", ratingOutcomes},
		{"rating/large-batch",
			"ApplyRatings records batch in one transaction: all of it or, with an error, nothing.", ratingLargeBatch},
		{"rating/numbers", "The buckets are equal to the rows after every transaction, with any number of " +
			"callers at once.", ratingNumbers},
		{"rating/history", "The buckets are equal to the rows after every transaction, with any number of " +
			"callers at once.", ratingHistory},
		{"rating/by-key",
			"RatingsByKey returns those of keys that have ever been rated, each once, in any order, " +
				"tombstones included and marked.", ratingByKeys},
		{"rating/times", "Times come and go as UTC with microseconds.", ratingTimesKept},
		{"rating/memory", "Methods may be called concurrently, also from several processes, and share no " +
			"memory with the caller.", ratingMemory},
	}, ratingVersions(), ratingReassigns(), ratingErasures(), ratingRaces(), ratingLists(), ratingBounds(),
		ratingStats(), ratingScoreChecks(), ratingWindows(), ratingStream(), ratingDeadLetters())
}

func ratingResults(ctx context.Context, s store.Store) error {
	k, b := newKey(), book{}
	for _, step := range []struct {
		change rating.Change
		want   rating.Result
	}{
		{change(k, 10, 4), rating.Created},
		{change(k, 9, 1), rating.Superseded},
		{change(k, 11, 5), rating.Updated},
		{change(k, 12, 5), rating.Unchanged},
		{change(k, 11, 5), rating.Superseded},
		{withdrawal(k, 5), rating.Superseded},
		{withdrawal(k, 13), rating.Withdrawn},
		{change(k, 12, 2), rating.Superseded},
		{change(k, 14, 5), rating.Created},
		{change(k, 15, 0), rating.Updated}, // a scale may hold 0 and what is below
		{change(k, 16, 0), rating.Unchanged},
		{change(k, 17, -3), rating.Updated},
	} {
		r, err := applyOne(ctx, s, step.change, step.want)
		if err != nil {
			return err
		}
		if wanted := b.apply(step.change); wanted.Result != step.want || !sameRating(r, wanted.Rating) {
			return fmt.Errorf("%#v: the outcome's rating is %#v, want %#v", step.change, r, wanted.Rating)
		}
		if err := b.check(ctx, s); err != nil {
			return fmt.Errorf("after %#v: %w", step.change, err)
		}
	}
	return nil
}

// ratingClock changes a score after the clock went back by days.
func ratingClock(ctx context.Context, s store.Store) error {
	k, latest := newKey(), int64(0)
	for _, step := range []struct {
		change rating.Change
		at     int
		want   rating.Result
	}{{change(k, 1, 4), 9, rating.Created}, {in(change(k, 2, 5), 40), 0, rating.Updated},
		{change(k, 3, 4), 5, rating.Updated}} {
		if step.at > 0 {
			step.change.At = at(step.at)
		}
		latest = max(latest, step.change.At.UnixMicro())
		r, err := applyOne(ctx, s, step.change, step.want)
		if err := errors.Join(err, want("created", r.CreatedAt, at(9)),
			want("updated", r.UpdatedAt.UnixMicro(), latest)); err != nil {
			return err
		}
		stored, _, err := ratingByKey(ctx, s, k)
		if err := errors.Join(err, want("the rating as stored", stored, r)); err != nil {
			return err
		}
	}
	return newAudit([]string{k.Content}).check(ctx, s)
}

func ratingUnchanged(ctx context.Context, s store.Store) error {
	k := newKey()
	first, err := applyOne(ctx, s, change(k, 1, 4), rating.Created)
	if err != nil {
		return err
	}
	again := in(change(k, 2, 4), 30)
	got, err := applyOne(ctx, s, again, rating.Unchanged)
	if err != nil {
		return err
	}
	wanted := first
	wanted.Version, wanted.Result = again.Version, rating.Unchanged
	if err := want("the rating after the same score again", got, wanted); err != nil {
		return err
	}
	got, _, err = ratingByKey(ctx, s, k)
	if err := errors.Join(err, want("the rating as stored after the same score again", got, wanted)); err != nil {
		return err
	}
	between := change(k, 2, 1)
	between.Version.Offset = 1
	_, err = applyOne(ctx, s, between, rating.Superseded)
	return err
}

// ratingWithdrawn reads a withdrawal of what is withdrawn, or never was rated, as one that holds:
// it takes the version, and its time. Otherwise an older rating could come after it.
func ratingWithdrawn(ctx context.Context, s store.Store) error {
	k, b := newKey(), book{}
	au := newAudit([]string{k.Content})
	for _, step := range []struct {
		change rating.Change
		want   rating.Result
	}{
		{withdrawal(k, 2), rating.Withdrawn},
		{change(k, 1, 5), rating.Superseded},
		{change(k, 3, 5), rating.Created},
		{change(k, 4, 2), rating.Updated},
		{withdrawal(k, 5), rating.Withdrawn},
		{withdrawal(k, 7), rating.Withdrawn},
		{change(k, 6, 3), rating.Superseded},
		{change(k, 8, 2), rating.Created},
		{change(k, 9, 1), rating.Updated},
	} {
		if _, err := applyOne(ctx, s, step.change, step.want); err != nil {
			return err
		}
		b.apply(step.change)
		if err := errors.Join(b.check(ctx, s), au.check(ctx, s)); err != nil {
			return fmt.Errorf("after %#v: %w", step.change, err)
		}
	}
	r, _, err := ratingByKey(ctx, s, k)
	return errors.Join(err,
		want("the creation of a rating given again after a withdrawal", r.CreatedAt, at(8)),
		want("the change of a rating given again and changed", r.UpdatedAt, at(9)))
}

// ratingWithdrawnAt withdraws what is rated, what is withdrawn already, and what never was rated.
func ratingWithdrawnAt(ctx context.Context, s store.Store) error {
	k := newKey()
	for _, c := range []rating.Change{change(k, 1, 4), withdrawal(k, 2), withdrawal(k, 3), withdrawal(newKey(), 4)} {
		outcomes, err := apply(ctx, s, c)
		if err != nil {
			return err
		}
		r, _, err := ratingByKey(ctx, s, c.Key)
		if err := errors.Join(err, want("UpdatedAt of the outcome", outcomes[0].Rating.UpdatedAt, c.At),
			want("UpdatedAt as stored", r.UpdatedAt, c.At)); err != nil {
			return fmt.Errorf("after %#v: %w", c, err)
		}
	}
	return nil
}

// ratingUnknown: hosts may bring contents of their own, which content.Store does not know.
func ratingUnknown(ctx context.Context, s store.Store) error {
	_, err := applyOne(ctx, s, change(newKey(), 1, 4), rating.Created)
	return err
}

// ratingOutcomes gives batches whose order is not that of their keys, and the empty batch.
func ratingOutcomes(ctx context.Context, s store.Store) error {
	b, r := book{}, dice(21)
	contents, raters := names(4), names(5)
	for turn := range 6 {
		var batch []rating.Change
		for _, id := range contents {
			for _, rater := range raters {
				k := rating.Key{Content: id, Rater: rater}
				c := change(k, int64(r.IntN(8)), 1+r.IntN(5))
				if r.IntN(4) == 0 {
					c = withdrawal(k, int64(r.IntN(8)))
				}
				batch = append(batch, c)
			}
		}
		r.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
		// The same version is given to one change only, as in a log.
		for i := range batch {
			batch[i].Version.Offset = batch[i].Version.Offset*1000 + int64(turn)
		}
		outcomes, err := apply(ctx, s, batch...)
		if err != nil {
			return err
		}
		for i, c := range batch {
			if wanted := b.apply(c); outcomes[i].Refused || outcomes[i].Result != wanted.Result ||
				!sameRating(outcomes[i].Rating, wanted.Rating) {
				return fmt.Errorf("outcome %d of %#v is %#v, want %#v", i, c, outcomes[i], wanted)
			}
		}
	}
	_, err := apply(ctx, s)
	return errors.Join(err, b.check(ctx, s))
}

// ratingLargeBatch applies more changes at once than databases have placeholders by default, and
// then changes some of them.
func ratingLargeBatch(ctx context.Context, s store.Store) error {
	contents, b := names(5), book{}
	if err := begin(ctx, s, contents...); err != nil {
		return err
	}
	for turn, size := range []int{5000, 500} {
		var batch rating.Batch
		for i := range size {
			c := change(rating.Key{Content: contents[i%len(contents)], Rater: fmt.Sprintf("rater-%d", i)},
				int64(turn+1), 1+(i+turn)%5)
			batch.Changes = append(batch.Changes, in(c, i%40))
		}
		outcomes, err := s.ApplyRatings(ctx, batch)
		if err := errors.Join(err, want("outcomes", len(outcomes), len(batch.Changes))); err != nil {
			return err
		}
		for i, c := range batch.Changes {
			if wanted := b.apply(c); outcomes[i].Result != wanted.Result || outcomes[i].Rating != wanted.Rating {
				return fmt.Errorf("outcome %d is %#v, want %#v", i, outcomes[i], wanted)
			}
		}
	}
	return errors.Join(b.check(ctx, s), newAudit(contents).check(ctx, s))
}

func ratingNumbers(ctx context.Context, s store.Store) error {
	id := newName()
	key := func(rater string) rating.Key { return rating.Key{Content: id, Rater: rater} }
	a, b := key("a"), key("b")
	if _, err := computeAll(ctx, s, mean); err != nil {
		return err
	}
	for i, step := range []struct {
		changes []rating.Change
		count   int64
		sum     int64
		buckets []score.Bucket
	}{
		{[]rating.Change{in(change(a, 1, 5), 0), in(change(b, 1, 3), 0)}, 2, 8,
			[]score.Bucket{bucket(0, 3, 5)}},
		{[]rating.Change{in(change(a, 2, 4), 25)}, 2, 7, []score.Bucket{bucket(0, 3), bucket(25, 4)}},
		{[]rating.Change{in(change(b, 2, 3), 26)}, 2, 7, nil},
		{[]rating.Change{withdrawal(a, 3)}, 1, 3, []score.Bucket{bucket(0, 3)}},
		{[]rating.Change{withdrawal(b, 3)}, 0, 0, []score.Bucket{}},
		{[]rating.Change{in(change(a, 4, 0), 400), in(change(b, 4, -5), 3)}, 2, -5,
			[]score.Bucket{bucket(3, -5), bucket(400, 0)}},
		{[]rating.Change{in(change(a, 5, 1_000_000), 400)}, 2, 999_995,
			[]score.Bucket{bucket(3, -5), bucket(400, 1_000_000)}},
	} {
		if _, err := apply(ctx, s, step.changes...); err != nil {
			return err
		}
		var got []score.Bucket
		refreshed, err := computeAll(ctx, s, func(h rating.History) score.Score {
			got = h.Buckets
			return mean(h)
		})
		if err != nil {
			return err
		}
		stats, err := statsOf(ctx, s, id)
		if err := errors.Join(err, want("count", stats.Count, step.count),
			want("sum", stats.Sum, step.sum)); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		for score, n := range stats.Histogram {
			if n <= 0 {
				return fmt.Errorf("step %d: the histogram has %d ratings of %d", i, n, score)
			}
		}
		if _, claimed := refreshed[id]; claimed != (step.buckets != nil) {
			return fmt.Errorf("step %d: claimed: %t", i, claimed)
		}
		if err := sameBuckets(got, step.buckets); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

// ratingHistory applies several hundred random changes, late and repeated ones among them, and
// audits again and again.
func ratingHistory(ctx context.Context, s store.Store) error {
	for seed := range uint64(2) {
		h := newHistory(seed, 3, 7)
		b, au := book{}, newAudit(h.contents)
		if err := begin(ctx, s, h.contents...); err != nil {
			return err
		}
		for turn := range 50 {
			batch := h.batch(1 + h.dice.IntN(15))
			outcomes, err := apply(ctx, s, batch...)
			if err != nil {
				return err
			}
			for i, c := range batch {
				if wanted := b.apply(c); outcomes[i].Result != wanted.Result ||
					!sameRating(outcomes[i].Rating, wanted.Rating) {
					return fmt.Errorf("%#v: the outcome is %#v, want %#v", c, outcomes[i], wanted)
				}
			}
			if turn%4 != 3 {
				continue
			}
			if err := au.check(ctx, s); err != nil {
				return err
			}
		}
		if err := errors.Join(b.check(ctx, s), au.check(ctx, s)); err != nil {
			return err
		}
	}
	return nil
}

func ratingByKeys(ctx context.Context, s store.Store) error {
	contents, raters := names(2), names(2)
	var keys []rating.Key
	b := book{}
	for _, id := range contents {
		for _, rater := range raters {
			keys = append(keys, rating.Key{Content: id, Rater: rater})
		}
	}
	// The last one is never rated, although its content and its rater are.
	for i, c := range []rating.Change{change(keys[0], 1, 3), change(keys[1], 1, 2), withdrawal(keys[2], 1),
		withdrawal(keys[1], 2)} {
		if _, err := apply(ctx, s, c); err != nil {
			return fmt.Errorf("change %d: %w", i, err)
		}
		b.apply(c)
	}
	ask := append(slices.Clone(keys), keys[1], newKey(), keys[0],
		rating.Key{Content: keys[0].Rater, Rater: keys[0].Content})
	for range 3000 {
		ask = append(ask, newKey())
	}
	found, err := s.RatingsByKey(ctx, ask)
	if err != nil {
		return err
	}
	byKey, err := index(found, func(r rating.Rating) rating.Key { return r.Key })
	if err := errors.Join(err, want("ratings found", len(byKey), 3)); err != nil {
		return err
	}
	for k, wanted := range b {
		if !sameRating(byKey[k], wanted) {
			return fmt.Errorf("rating %v is %#v, want %#v", k, byKey[k], wanted)
		}
	}
	found, err = s.RatingsByKey(ctx, nil)
	return errors.Join(err, want("ratings found for no key", len(found), 0))
}

func ratingTimesKept(ctx context.Context, s store.Store) error {
	id, b := newName(), book{}
	for i, t := range edges() {
		c := change(rating.Key{Content: id, Rater: newName()}, 1, 3)
		c.At = t
		r := newDeadLetter(id, i)
		r.At = t
		if _, err := s.ApplyRatings(ctx, rating.Batch{Changes: []rating.Change{c},
			DeadLetters: []rating.DeadLetter{r}}); err != nil {
			return err
		}
		b.apply(c)
		kept := b[c.Key]
		kept.Bucket = score.BucketAt(edges()[0], t)
		b[c.Key] = kept
		later := c
		later.Key = rating.Key{Content: newName(), Rater: newName()}
		if _, err := apply(ctx, s, later); err != nil {
			return err
		}
		h, err := s.HistoryByContent(ctx, later.Content)
		if err := errors.Join(err,
			want("the start of the history", h.Start, t),
			wantDeadLetters(ctx, s, rating.DeadLetterQuery{Key: id, Position: r.Position, Limit: 2}, r),
		); err != nil {
			return err
		}
	}
	for _, o := range ratingOrders() {
		if err := b.checkList(ctx, s, rating.Filter{Content: id}, o, 2); err != nil {
			return err
		}
	}
	return b.check(ctx, s)
}

func ratingMemory(ctx context.Context, s store.Store) error {
	k, message := newKey(), newName()
	changes := []rating.Change{change(k, 1, 3), change(rating.Key{Content: k.Content, Rater: newName()}, 1, 5)}
	before := slices.Clone(changes)
	body := []byte("body")
	rejected := []rating.DeadLetter{newDeadLetter(message, 1)}
	rejected[0].Body = body
	outcomes, err := s.ApplyRatings(ctx, rating.Batch{Changes: changes, DeadLetters: rejected})
	if err != nil {
		return err
	}
	if !slices.Equal(changes, before) || rejected[0].ID != 0 || string(body) != "body" {
		return errors.New("the batch was changed")
	}
	// What was handed in belongs to the caller again.
	body[0], changes[0], outcomes[0] = 'X', rating.Change{}, rating.Outcome{}
	rejected[0] = rating.DeadLetter{}
	for range 2 {
		kept, err := s.ListDeadLetters(ctx, rating.DeadLetterQuery{Key: message, Limit: 2})
		if err != nil {
			return err
		}
		if len(kept) != 1 || string(kept[0].Body) != "body" {
			return fmt.Errorf("the dead letter is %#v, want the body that was handed in", kept)
		}
		kept[0].Body[0] = 'Y'
		stats, err := statsOf(ctx, s, k.Content)
		if err := errors.Join(err, want("ratings of 3", stats.Histogram[3], 1),
			want("ratings of 4", stats.Histogram[4], 0)); err != nil {
			return err
		}
		stats.Histogram[3], stats.Histogram[4] = 17, 18
		listed, err := s.ListRatings(ctx, rating.Query{Filter: rating.Filter{Content: k.Content}, Limit: 5})
		if err := errors.Join(err, want("ratings listed", len(listed), 2)); err != nil {
			return err
		}
		for i, r := range listed {
			if r.Score == 0 {
				return errors.New("a rating was changed through an answer")
			}
			listed[i] = rating.Rating{}
		}
	}
	// The buckets belong to fold, what RefreshScores returns to the caller.
	refreshed, err := s.RefreshScores(ctx, 100, func(h rating.History) score.Score {
		computed := mean(h)
		for i := range h.Buckets {
			h.Buckets[i] = score.Bucket{Index: 99}
		}
		return computed
	})
	if err != nil {
		return err
	}
	for _, stats := range refreshed {
		stats.Histogram[1] = 99
	}
	if _, err := applyOne(ctx, s, change(k, 2, 4), rating.Updated); err != nil {
		return err
	}
	return newAudit([]string{k.Content}).check(ctx, s)
}
