package kvstore

import (
	"context"
	"maps"
	"reflect"
	"time"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
)

// numbersRow is what is stored of the numbers of a content, but for its buckets.
type numbersRow struct {
	rating.Stats
	Dirty time.Time // since when its score is not up to date; zero if it is
}

// dirtyKeys returns the key in the index of scores that are not up to date.
func dirtyKeys(row numbersRow) [][]byte {
	if row.Dirty.IsZero() {
		return nil
	}
	return [][]byte{key(numbersDirty, row.Dirty, row.Content)}
}

// numbers returns the stored numbers of a content. Nobody else has their histogram.
func (t *tx) numbers(id string) (row numbersRow, known bool) {
	row, known = numbers.get(t, id)
	if row.Content = id; !known {
		row.Dirty, row.Histogram = time.Time{}, map[int]int64{}
	}
	return row, known
}

// count adds d to the numbers of a content. A content without numbers gets some, because it has
// ratings.
func (t *tx) count(id string, d *rating.Tally) {
	was, known := t.numbers(id)
	if len(d.Histogram)+len(d.Buckets) == 0 {
		if !known {
			numbers.put(t, was, id)
		}
		return
	}
	for index, b := range d.Buckets {
		stored, _ := buckets.get(t, id, int64(index))
		t.putBucket(id, score.Bucket{Index: index, N: stored.N + b.N, Sum: stored.Sum + b.Sum})
	}
	now := was
	now.Count += d.Count
	now.Sum += d.Sum
	now.Histogram = maps.Clone(was.Histogram)
	for value, n := range d.Histogram {
		if now.Histogram[value] += n; now.Histogram[value] == 0 {
			delete(now.Histogram, value)
		}
	}
	t.replaceNumbers(was, t.dirty(now))
}

func (t *tx) putBucket(id string, b score.Bucket) {
	if b.N == 0 && b.Sum == 0 {
		buckets.delete(t, id, int64(b.Index))
	} else {
		buckets.put(t, b, id, int64(b.Index))
	}
}

// dirty returns numbers whose score has to be refreshed.
func (t *tx) dirty(row numbersRow) numbersRow {
	if row.Dirty.IsZero() {
		row.Dirty = t.now.Truncate(time.Microsecond)
	}
	return row
}

// replaceNumbers writes the numbers of a content, with the next revision, and returns them.
func (t *tx) replaceNumbers(was, now numbersRow) rating.Stats {
	now.Revision, now.AsOf = was.Revision+1, t.now.Truncate(time.Microsecond)
	numbers.put(t, now, now.Content)
	t.reindex(dirtyKeys(was), dirtyKeys(now))
	if contents.has(t, now.Content) {
		t.reindex(numberKeys(now.Content, was.Stats), numberKeys(now.Content, now.Stats))
	}
	return now.Stats
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

// RefreshScores implements rating.Store. What has waited longest comes first. If the
// transaction runs again, compute is called again for what has changed meanwhile.
func (s *Store) RefreshScores(
	ctx context.Context, limit int, compute func(rating.History) score.Score,
) ([]rating.Stats, error) {
	histories, scores := map[string]rating.History{}, map[string]score.Score{}
	return update(ctx, s, "refresh scores", func(t *tx) (refreshed []rating.Stats, _ error) {
		for _, p := range t.rests(span{prefix: key(numbersDirty)}, limit) {
			p.time()
			id := p.text()
			h := t.history(id)
			was, _ := t.numbers(id)
			if t.failed() {
				break
			}
			if last, ok := histories[id]; !ok || !reflect.DeepEqual(last, h) {
				histories[id], scores[id] = h, compute(h)
			}
			now := was
			now.Score, now.Dirty = scores[id], time.Time{}
			refreshed = append(refreshed, t.replaceNumbers(was, now))
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

// mark has the score of a content refreshed if the content has ever been rated.
func (t *tx) mark(id string) {
	if row, _ := t.numbers(id); row.Revision > 0 {
		t.replaceNumbers(row, t.dirty(row))
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
