package storetest

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/khodnevis/khodnevis/internal/suite"
	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

func ratingRaces() []Check {
	return []Check{
		{"rating/race", "The buckets are equal to the rows after every transaction, with any number of " +
			"callers at once.", ratingRace},
		{"rating/race-one-key",
			"Of two changes of a Key, whenever they come, the one with the higher Version wins and the other " +
				"one is Superseded.", ratingRaceOneKey},
		{"rating/all-or-nothing", "ApplyRatings records batch in one transaction: all of it or, with an " +
			"error, nothing.", ratingAllOrNothing},
	}
}

// history makes random changes of few keys, whose versions each occur once but for repetitions.
type history struct {
	dice     *mathrand.Rand
	contents []string
	raters   []string
	offset   int64
	late     []rating.Change // made, to be given (again) later
}

func newHistory(seed uint64, contents, raters int) *history {
	return &history{dice: dice(seed), contents: names(contents), raters: names(raters)}
}

// batch returns at most n changes of different keys, in no order.
func (h *history) batch(n int) []rating.Change {
	var batch []rating.Change
	used := map[rating.Key]bool{}
	for range n {
		c := h.next()
		if h.dice.IntN(5) == 0 {
			h.late = append(h.late, c)
			continue
		}
		if len(h.late) > 0 && h.dice.IntN(4) == 0 {
			c = h.late[h.dice.IntN(len(h.late))]
		}
		if used[c.Key] {
			h.late = append(h.late, c)
			continue
		}
		used[c.Key] = true
		batch = append(batch, c)
		if h.dice.IntN(6) == 0 {
			h.late = append(h.late, c)
		}
	}
	return batch
}

func (h *history) next() rating.Change {
	h.offset++
	k := rating.Key{Content: h.contents[h.dice.IntN(len(h.contents))], Rater: h.raters[h.dice.IntN(len(h.raters))]}
	switch h.dice.IntN(10) {
	case 0:
		return withdrawal(k, h.offset)
	case 1:
		return reassign(k, h.offset)
	}
	return in(change(k, h.offset, 1+h.dice.IntN(5)), h.dice.IntN(30))
}

// ratingRace lets eight callers apply overlapping batches of the same keys in orders of their own,
// while others fold and recount.
func ratingRace(ctx context.Context, s store.Store) error {
	const callers = 8
	h := newHistory(31, 6, 6)
	if err := begin(ctx, s, h.contents...); err != nil {
		return err
	}
	var all []rating.Change
	wanted := map[rating.Key]rating.Change{}
	for len(all) < 500 {
		c := h.next()
		all = append(all, c)
		wanted[c.Key] = c // offsets ascend
	}
	r := dice(32)
	hands := make([][][]rating.Change, callers)
	for i := range hands {
		mine := slices.Clone(all)
		r.Shuffle(len(mine), func(a, b int) { mine[a], mine[b] = mine[b], mine[a] })
		hands[i] = inBatches(mine, 15)
	}
	var (
		meanwhile  sync.WaitGroup
		done       = make(chan struct{})
		computeErr error
	)
	meanwhile.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			computeErr = suite.Recovered(func() error {
				_, err := s.RefreshScores(ctx, 2, mean)
				return err
			})
			if computeErr != nil {
				return
			}
			var drifts []rating.Drift
			if drifts, computeErr = s.Recount(ctx, h.contents); computeErr != nil {
				return
			}
			if len(drifts) > 0 {
				computeErr = fmt.Errorf("a recount between changes found a drift: %#v", drifts)
				return
			}
		}
	})
	err := together(callers, func(i int) error {
		for _, batch := range hands[i] {
			if _, err := apply(ctx, s, batch...); err != nil {
				return err
			}
		}
		return nil
	})
	close(done)
	meanwhile.Wait()
	if err := errors.Join(err, computeErr); err != nil {
		return err
	}
	for k, c := range wanted {
		got, ok, err := ratingByKey(ctx, s, k)
		if err != nil {
			return err
		}
		if !ok || got.Version != c.Version || got.Withdrawn != c.Withdraw || got.Score != c.Score {
			return fmt.Errorf("the rating is %#v, want what %#v set", got, c)
		}
	}
	// Buckets that were folded meanwhile are folded once more by a change, so that the audit sees
	// them all.
	for _, id := range h.contents {
		if _, err := apply(ctx, s, change(rating.Key{Content: id, Rater: newName()}, h.offset+1, 3)); err != nil {
			return err
		}
	}
	return newAudit(h.contents).check(ctx, s)
}

// inBatches deals changes out to at least n batches that hold each key at most once.
func inBatches(changes []rating.Change, n int) [][]rating.Change {
	batches := make([][]rating.Change, n)
	for i, c := range changes {
		at := i % n
		for at < len(batches) && slices.ContainsFunc(batches[at],
			func(o rating.Change) bool { return o.Key == c.Key }) {
			at++
		}
		if at == len(batches) {
			batches = append(batches, nil)
		}
		batches[at] = append(batches[at], c)
	}
	return batches
}

// ratingRaceOneKey lets every caller apply one change of one and the same key that was not there
// before.
func ratingRaceOneKey(ctx context.Context, s store.Store) error {
	for range 5 {
		k := newKey()
		const callers = 16
		results := make([]rating.Result, callers)
		err := together(callers, func(i int) error {
			outcomes, err := apply(ctx, s, change(k, int64(i+1), i+1))
			if err == nil {
				results[i] = outcomes[0].Result
			}
			return err
		})
		if err != nil {
			return err
		}
		got, _, err := ratingByKey(ctx, s, k)
		if err := errors.Join(err, want("the score that won", got.Score, callers),
			want("its version", got.Version.Offset, callers)); err != nil {
			return err
		}
		created := 0
		for _, result := range results {
			if result == rating.Created {
				created++
			}
		}
		if err := want("callers told that they created the rating", created, 1); err != nil {
			return err
		}
		if results[callers-1] == rating.Superseded {
			return errors.New("the highest version is superseded")
		}
		if err := newAudit([]string{k.Content}).check(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// ratingAllOrNothing cancels batches at every stage. After an error all of a batch may be there,
// when the answer to the commit was lost; a part of it may not.
func ratingAllOrNothing(ctx context.Context, s store.Store) error {
	const size = 200
	try := func(stop func(cancel context.CancelFunc)) error {
		id, message := newName(), newName()
		batch := rating.Batch{DeadLetters: []rating.DeadLetter{newDeadLetter(message, 1)}}
		for range size {
			batch.Changes = append(batch.Changes, change(rating.Key{Content: id, Rater: newName()}, 1, 4))
		}
		cancelled, cancel := context.WithCancel(ctx)
		stop(cancel)
		outcomes, failed := s.ApplyRatings(cancelled, batch)
		cancel()
		if failed == nil && len(outcomes) != size {
			return fmt.Errorf("%d outcomes of %d changes", len(outcomes), size)
		}
		// A write whose caller has gone may still be in flight; another one comes after it.
		if _, err := apply(ctx, s, change(newKey(), 1, 3)); err != nil {
			return err
		}
		n, err := s.CountRatings(ctx, rating.Filter{Content: id}, 0)
		if err != nil {
			return err
		}
		kept, err := s.ListDeadLetters(ctx, rating.DeadLetterQuery{Key: message, Limit: 2})
		if err != nil {
			return err
		}
		all := n == size && len(kept) == 1
		nothing := n == 0 && len(kept) == 0
		if !all && (failed == nil || !nothing) {
			part := fmt.Errorf("of a batch of %d changes and one dead letter %d and %d are there", size, n, len(kept))
			return errors.Join(part, failed)
		}
		return newAudit([]string{id}).check(ctx, s)
	}
	if err := try(func(cancel context.CancelFunc) { cancel() }); err != nil {
		return err
	}
	for _, delay := range []time.Duration{10, 30, 100, 300, 1000, 3000, 10_000} {
		err := try(func(cancel context.CancelFunc) { time.AfterFunc(delay*time.Microsecond, cancel) })
		if err != nil {
			return err
		}
	}
	return nil
}
