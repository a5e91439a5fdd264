package kvstore

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
)

// numbersRow is what is stored of the numbers of a content, but for its buckets.
type numbersRow struct {
	rating.Stats
	dirty time.Time // since when its buckets have changed without a fold; zero if they have not
}

func numbersFields(c *codec, v *numbersRow) {
	text(c, &v.Content)
	integer(c, &v.Count)
	integer(c, &v.Sum)
	float(c, &v.Score.Value)
	float(c, &v.Score.Weight)
	float(c, &v.Score.Rank)
	flag(c, &v.Score.Computed)
	integer(c, &v.Revision)
	instant(c, &v.AsOf)
	instant(c, &v.dirty)
	scores := slices.Sorted(maps.Keys(v.Histogram))
	n := c.length(len(scores))
	if !c.reading {
		for _, score := range scores {
			count := v.Histogram[score]
			integer(c, &score)
			integer(c, &count)
		}
		return
	}
	v.Histogram = map[int]int64{}
	for range n {
		var score int
		var count int64
		integer(c, &score)
		if integer(c, &count); c.err != nil {
			return
		}
		v.Histogram[score] = count
	}
}

func bucketFields(c *codec, v *score.Bucket) {
	integer(c, &v.Index)
	integer(c, &v.N)
	integer(c, &v.Sum)
}

// dirtyKeys returns the key in the index of what is to be folded, if the numbers are.
func dirtyKeys(row numbersRow) [][]byte {
	if row.dirty.IsZero() {
		return nil
	}
	return [][]byte{key(numbersDirty, row.dirty, row.Content)}
}

// tally is the numbers of one content while a transaction changes them.
type tally struct {
	tx       *tx
	known    bool // was is stored
	was, now numbersRow
	buckets  map[int]score.Bucket // those that changed
}

func (t *tx) tally(id string) *tally {
	was, known := numbers.get(t, id)
	was.Content = id
	sum := &tally{tx: t, known: known, was: was, now: was, buckets: map[int]score.Bucket{}}
	if sum.now.Histogram = maps.Clone(was.Histogram); sum.now.Histogram == nil {
		sum.now.Histogram = map[int]int64{}
	}
	return sum
}

// add counts r n times. One that is withdrawn, or the zero Rating, counts for nothing.
func (sum *tally) add(r rating.Rating, n int64) {
	if r.Withdrawn || r.Result == "" {
		return
	}
	b, ok := sum.buckets[r.Bucket]
	if !ok {
		b, _ = buckets.get(sum.tx, r.Content, int64(r.Bucket))
	}
	b.Index, b.N, b.Sum = r.Bucket, b.N+n, b.Sum+n*int64(r.Score)
	sum.buckets[r.Bucket] = b
	sum.now.count(r, n)
	sum.changed()
}

// count counts r in everything but the buckets.
func (row *numbersRow) count(r rating.Rating, n int64) {
	row.Count += n
	row.Sum += n * int64(r.Score)
	if row.Histogram[r.Score] += n; row.Histogram[r.Score] == 0 {
		delete(row.Histogram, r.Score)
	}
}

// changed has the content folded.
func (sum *tally) changed() {
	if sum.now.dirty.IsZero() {
		sum.now.dirty = sum.tx.now.Truncate(time.Microsecond)
	}
	sum.touch()
}

// touch records that something in the Stats changed.
func (sum *tally) touch() {
	sum.now.Revision, sum.now.AsOf = sum.was.Revision+1, sum.tx.now.Truncate(time.Microsecond)
}

// record writes what has changed. A content without a row gets one, because it has ratings.
func (t *tx) record(sum *tally) {
	was, now, id := sum.was, sum.now, sum.now.Content
	if sum.known && now.Revision == was.Revision {
		return
	}
	for _, b := range sum.buckets {
		if b.N == 0 && b.Sum == 0 {
			buckets.delete(t, id, int64(b.Index))
		} else {
			buckets.put(t, b, id, int64(b.Index))
		}
	}
	numbers.put(t, now, id)
	t.reindex(dirtyKeys(was), dirtyKeys(now))
	if contents.has(t, id) {
		t.reindex(numberKeys(id, was.Stats), numberKeys(id, now.Stats))
	}
}

// StatsByContent implements rating.Store.
func (s *Store) StatsByContent(ctx context.Context, ids []string) ([]rating.Stats, error) {
	return view(ctx, s, "stats by content", func(t *tx) (found []rating.Stats, _ error) {
		for _, id := range unique(ids) {
			if row, ok := numbers.get(t, id); ok && row.Revision > 0 {
				found = append(found, row.Stats)
			}
		}
		return found, nil
	})
}

// RefreshScores implements rating.Store. What has waited longest is folded first. If the
// transaction runs again, fold is called again for what has changed meanwhile.
func (s *Store) RefreshScores(
	ctx context.Context, limit int, fold func(rating.History) score.Score,
) ([]rating.Stats, error) {
	histories, scores := map[string]rating.History{}, map[string]score.Score{}
	return update(ctx, s, "refresh scores", func(t *tx) (refreshed []rating.Stats, _ error) {
		for _, p := range t.rests(span{prefix: key(numbersDirty)}, limit) {
			p.time()
			id := p.text()
			h, sum := t.history(id), t.tally(id)
			if t.failed() {
				break
			}
			if last, ok := histories[id]; !ok || !reflect.DeepEqual(last, h) {
				histories[id], scores[id] = h, fold(h)
			}
			sum.now.Score, sum.now.dirty = scores[id], time.Time{}
			sum.touch()
			t.record(sum)
			refreshed = append(refreshed, sum.now.Stats)
		}
		return refreshed, nil
	})
}

// MarkChanged implements rating.Store.
func (s *Store) MarkChanged(ctx context.Context, ids []string) error {
	return s.write(ctx, "mark contents", func(t *tx) error {
		for _, id := range ids {
			t.mark(id)
		}
		return nil
	})
}

// mark has a content folded if it has ever been rated.
func (t *tx) mark(id string) {
	if sum := t.tally(id); sum.was.Revision > 0 {
		sum.changed()
		t.record(sum)
	}
}

// RatedContents implements rating.Store.
func (s *Store) RatedContents(ctx context.Context, after string, limit int) ([]string, error) {
	return view(ctx, s, "rated contents", func(t *tx) (found []string, _ error) {
		for _, p := range t.rests(numbers.following(after), limit) {
			found = append(found, p.text())
		}
		return found, nil
	})
}
