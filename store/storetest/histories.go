package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store"
)

// randomHistories is how many histories ratingRandomHistories tries, unless the environment says
// another number in KHODNEVIS_TEST_HISTORIES.
const randomHistories = 200

// ratingRandomHistories: after any history of ratings the published numbers are, to the bit, those
// that follow from the ratings that are stored.
func ratingRandomHistories(ctx context.Context, s store.Store) error {
	n := randomHistories
	if given := os.Getenv("KHODNEVIS_TEST_HISTORIES"); given != "" {
		var err error
		if n, err = strconv.Atoi(given); err != nil {
			return fmt.Errorf("KHODNEVIS_TEST_HISTORIES: %w", err)
		}
	}
	seed := rand.Uint64()                                                               //nolint:gosec // no secret
	if err := histories(ctx, s, rand.New(rand.NewPCG(seed, 1)), names(n)); err != nil { //nolint:gosec // repeatable
		return fmt.Errorf("seed %d: %w", seed, err)
	}
	return nil
}

// histories applies a history of each content, all of them side by side.
func histories(ctx context.Context, s rating.Store, dice *rand.Rand, contents []string) error {
	policy := score.Policy{}
	compute := func(h rating.History) score.Score { return policy.Compute(score.Scale{}, h.Buckets, h.Rulings()) }
	left := make([][]rating.Change, len(contents))
	for i, id := range contents {
		left[i] = randomChanges(dice, id)
	}
	for more := true; more; {
		more = false
		var batch []rating.Change
		used := map[rating.Key]bool{} // a batch holds each key once
		for i := range left {
			for range 1 + dice.IntN(8) {
				if len(left[i]) == 0 || used[left[i][0].Key] {
					break
				}
				used[left[i][0].Key] = true
				batch, left[i] = append(batch, left[i][0]), left[i][1:]
			}
			more = more || len(left[i]) > 0
			if len(batch) > 900 || i == len(left)-1 && len(batch) > 0 {
				if _, err := apply(ctx, s, batch...); err != nil {
					return err
				}
				batch = nil
			}
		}
		if _, err := s.RefreshScores(ctx, dice.IntN(len(contents))+1, compute); err != nil {
			return err
		}
	}
	if _, err := s.RefreshScoresOf(ctx, contents, compute); err != nil {
		return err
	}
	for _, id := range contents {
		if err := checkHistory(ctx, s, id, compute); err != nil {
			return fmt.Errorf("content %s: %w", id, err)
		}
	}
	drifts, err := s.Recount(ctx, contents)
	return errors.Join(err, want("drifts", len(drifts), 0))
}

// randomChanges returns a history of one content: ratings are made, changed, withdrawn and made
// again, there are bursts of ones, and some changes come late, after newer ones of the same rating,
// or twice.
func randomChanges(dice *rand.Rand, id string) []rating.Change {
	raters, when := 1+dice.IntN(80), at(0)
	var changes []rating.Change
	burst := 1 + dice.IntN(300) // when a burst begins; most histories have none
	for i := range 1 + dice.IntN(120) {
		pace := 8 * time.Hour
		if i > burst {
			pace = time.Minute
		}
		when = when.Add(time.Duration(dice.ExpFloat64() * float64(pace))).Truncate(time.Microsecond)
		c := rating.Change{Key: rating.Key{Content: id, Rater: strconv.Itoa(dice.IntN(raters))},
			Version: rating.Version{Epoch: 1, Offset: int64(i)}, At: when}
		switch {
		case dice.IntN(6) == 0:
			c.Withdraw = true
		case i > burst:
			c.Score = 1
		default:
			c.Score = 1 + dice.IntN(5)
		}
		changes = append(changes, c)
	}
	for range len(changes) / 4 {
		from, to := dice.IntN(len(changes)), dice.IntN(len(changes))
		changes[from], changes[to] = changes[to], changes[from]
		if dice.IntN(2) == 0 {
			changes = append(changes, changes[from])
		}
	}
	return changes
}

// checkHistory compares the numbers of a content with its ratings.
func checkHistory(ctx context.Context, s rating.Store, id string, compute func(rating.History) score.Score) error {
	stored, err := s.HistoryByContent(ctx, id)
	if err != nil {
		return err
	}
	rows, err := allRatings(ctx, s, rating.Query{Filter: rating.Filter{Content: id}, Limit: 500})
	if err != nil {
		return err
	}
	counted := rating.Tally{}
	for _, r := range rows {
		r.Bucket = score.BucketAt(stored.Start, r.UpdatedAt)
		counted.Add(r, 1)
	}
	rebuilt := rating.History{Buckets: counted.Buckets()}
	if err := sameBuckets(stored.Buckets, rebuilt.Buckets); err != nil {
		return err
	}
	stats, err := s.StatsByContent(ctx, []string{id})
	if err != nil || len(stats) == 0 { // a history may consist of a withdrawal
		return errors.Join(err, want("ratings without numbers", len(rows), 0))
	}
	computed := compute(rebuilt)
	if got, wanted := bits(stats[0].Score), bits(computed); got != wanted || !stats[0].Equal(rebuilt.Stats(id, computed)) {
		return fmt.Errorf("published is %+v, the ratings say %+v", stats[0], rebuilt.Stats(id, computed))
	}
	return nil
}

// bits tells scores apart that are equal to every digit one prints.
func bits(s score.Score) [3]uint64 {
	return [3]uint64{math.Float64bits(s.Value), math.Float64bits(s.Counted), math.Float64bits(s.Rank)}
}
