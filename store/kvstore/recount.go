package kvstore

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
)

// Recount implements rating.Store. It reads in a snapshot of each content, and writes only where
// the numbers are wrong.
func (s *Store) Recount(ctx context.Context, ids []string) ([]rating.Drift, error) {
	var drifts []rating.Drift
	for _, id := range unique(ids) {
		d, err := view(ctx, s, "recount content "+id, func(t *tx) (*rating.Drift, error) { return t.recount(id), nil })
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

// recount compares the numbers of a content with its ratings, and returns nil if they are right.
func (t *tx) recount(id string) *rating.Drift {
	if t.hides(id) {
		return nil
	}
	was := t.tally(id).was
	is := numbersRow{Stats: was.Stats}
	is.Count, is.Sum, is.Histogram = 0, 0, map[int]int64{}
	counted := map[int]score.Bucket{}
	for _, row := range t.scan(span{prefix: key(ratings.name, id)}) {
		r, err := decode(row, ratingFields)
		if t.fail(err); err != nil {
			return nil
		}
		is.count(r, 1)
		b := counted[r.Bucket]
		counted[r.Bucket] = score.Bucket{Index: r.Bucket, N: b.N + 1, Sum: b.Sum + int64(r.Score)}
	}
	byIndex := func(a, b score.Bucket) int { return cmp.Compare(a.Index, b.Index) }
	d := &rating.Drift{
		Content: id, Was: was.Stats, Is: is.Stats, WasBuckets: t.history(id).Buckets,
		IsBuckets: slices.SortedFunc(maps.Values(counted), byIndex),
	}
	if d.Was.Equal(d.Is) && slices.Equal(d.WasBuckets, d.IsBuckets) {
		return nil
	}
	return d
}

// repair writes the numbers that d says are right, and completes d.
func (t *tx) repair(d *rating.Drift) {
	sum := t.tally(d.Content)
	for _, b := range d.WasBuckets {
		sum.buckets[b.Index] = score.Bucket{Index: b.Index}
	}
	for _, b := range d.IsBuckets {
		sum.buckets[b.Index] = b
	}
	sum.now.Stats = d.Is
	sum.changed()
	t.record(sum)
	d.Is = sum.now.Stats
}
