package kvstore

import (
	"context"
	"time"

	"github.com/khodnevis/khodnevis/rating"
)

// ratingKeys returns the keys in indexes that follow from a rating.
func ratingKeys(r rating.Rating) [][]byte {
	if r.Withdrawn {
		return [][]byte{key(withdrawnByTime, r.UpdatedAt, r.Content, r.Rater)}
	}
	return [][]byte{
		key(ratingsByTime, r.UpdatedAt, r.Content, r.Rater),
		key(ratingsByContent, r.Content, r.UpdatedAt, r.Rater),
		key(ratingsByRater, r.Rater, r.UpdatedAt, r.Content),
	}
}

// tableOf returns where a rating stands: those that are withdrawn stand apart, so that lists do not
// look at them.
func tableOf(r rating.Rating) table[rating.Rating] {
	if r.Withdrawn {
		return withdrawn
	}
	return ratings
}

func (t *tx) rating(k rating.Key) (r rating.Rating, ok bool) {
	if t.hides(k.Content) {
		return r, false
	}
	if r, ok = ratings.get(t, k.Content, k.Rater); !ok {
		r, ok = withdrawn.get(t, k.Content, k.Rater)
	}
	return r, ok
}

// replace writes a rating; old is what there was, or the zero Rating.
func (t *tx) replace(old, now rating.Rating) {
	var keys [][]byte
	if old.Result != "" {
		keys = ratingKeys(old)
		if old.Withdrawn != now.Withdrawn {
			tableOf(old).delete(t, old.Content, old.Rater)
		}
	}
	tableOf(now).put(t, now, now.Content, now.Rater)
	t.reindex(keys, ratingKeys(now))
}

// ApplyRatings implements rating.Store.
func (s *Store) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	return update(ctx, s, "apply ratings", func(t *tx) ([]rating.Outcome, error) {
		outcomes := make([]rating.Outcome, len(batch.Changes))
		starts := t.startHistories(batch)
		changed := map[string]rating.Tally{} // by content
		for i, c := range batch.Changes {
			if tombstones.has(t, c.Content) {
				outcomes[i].Refused = true
				continue
			}
			if changed[c.Content] == nil {
				changed[c.Content] = rating.Tally{}
			}
			outcomes[i] = t.apply(c, starts[c.Content], changed[c.Content])
		}
		for id, d := range changed {
			t.count(id, d)
		}
		for _, r := range batch.DeadLetters {
			t.recordDeadLetter(r)
		}
		return outcomes, nil
	})
}

// apply applies a change of a rating of a content that is not deleted, and counts it.
func (t *tx) apply(c rating.Change, start time.Time, changed rating.Tally) rating.Outcome {
	old, _ := t.rating(c.Key)
	outcome, applied := c.Apply(old, start)
	if !applied {
		return outcome
	}
	now := outcome.Rating
	t.replace(old, now)
	if successor, ok := c.Reassign(old); ok {
		if _, known := t.rating(successor.Key); !known {
			t.replace(rating.Rating{}, successor) // so that no number changes
			return outcome
		}
	}
	changed.Add(old, -1)
	changed.Add(now, 1)
	return outcome
}

// RatingsByKey implements rating.Store.
func (s *Store) RatingsByKey(ctx context.Context, keys []rating.Key) ([]rating.Rating, error) {
	return view(ctx, s, "ratings by key", func(t *tx) (found []rating.Rating, _ error) {
		for _, k := range unique(keys) {
			if r, ok := t.rating(k); ok {
				found = append(found, r)
			}
		}
		return found, nil
	})
}
