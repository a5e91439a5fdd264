package kvstore

import (
	"context"

	"github.com/khodnevis/khodnevis/rating"
)

// Recount implements rating.Store. It reads in a snapshot of each content, and writes only where
// the buckets are wrong.
func (s *Store) Recount(ctx context.Context, ids []string) ([]rating.Drift, error) {
	var drifts []rating.Drift
	for _, id := range unique(ids) {
		d, err := view(ctx, s, "recount content "+id, func(t *tx) (*rating.Drift, error) {
			return t.recount(id), nil
		})
		if err == nil && d != nil {
			d, err = update(ctx, s, "repair content "+id, func(t *tx) (*rating.Drift, error) {
				d := t.recount(id)
				if d != nil {
					t.repair(d)
				}
				return d, nil
			})
		}
		if err != nil {
			return drifts, err
		}
		if d != nil {
			drifts = append(drifts, *d)
		}
	}
	return drifts, nil
}

// recount compares the buckets of a content with its ratings, and returns nil if they are right.
func (t *tx) recount(id string) *rating.Drift {
	if t.hides(id) {
		return nil
	}
	counted := rating.Tally{}
	for _, row := range t.scan(span{prefix: key(byte(ratings), id)}) {
		r, err := decode[rating.Rating](row)
		if t.fail(err); err != nil {
			return nil
		}
		counted.Add(r, 1)
	}
	return counted.Drift(id, t.tally(id))
}

// repair writes the buckets that d says are right.
func (t *tx) repair(d *rating.Drift) {
	for _, b := range d.WasBuckets {
		buckets.delete(t, d.Content, int64(b.Index))
	}
	for _, b := range d.IsBuckets {
		t.putBucket(d.Content, b.Index, nil, b.Counts)
	}
	row, _ := t.numbers(d.Content)
	t.setDirty(row)
}
