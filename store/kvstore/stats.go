package kvstore

import (
	"context"
	"maps"
	"reflect"
	"time"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
)

// numbersRow is the published numbers of a content.
type numbersRow struct {
	rating.Stats
	Dirty time.Time // since when its buckets differ from those of Stats; zero if they do not
}

// bucketRow is how many ratings of each score a bucket has.
type bucketRow struct {
	Index  int
	Counts map[int]int64
}

// dirtyKeys returns the key in the index of contents whose numbers are to be published.
func dirtyKeys(row numbersRow) [][]byte {
	if row.Dirty.IsZero() {
		return nil
	}
	return [][]byte{key(numbersDirty, row.Dirty, row.Content)}
}

// numbers returns the published numbers of a content. Nobody else has their histogram.
func (t *tx) numbers(id string) (row numbersRow, known bool) {
	row, known = numbers.get(t, id)
	if row.Content = id; !known {
		row.Dirty, row.Histogram = time.Time{}, map[int]int64{}
	}
	return row, known
}

// count adds d to the buckets of a content. A content without numbers gets some, because it has
// ratings.
func (t *tx) count(id string, d rating.Tally) {
	was, known := t.numbers(id)
	if len(d) == 0 {
		if !known {
			numbers.put(t, was, id)
		}
		return
	}
	for _, b := range d.Buckets() {
		row, _ := buckets.get(t, id, int64(b.Index))
		t.putBucket(id, b.Index, row.Counts, b.Counts)
	}
	t.setDirty(was)
}

// putBucket writes a bucket that had some ratings and has more, or fewer, now.
func (t *tx) putBucket(id string, index int, had map[int]int64, more []score.Count) {
	row := bucketRow{Index: index, Counts: map[int]int64{}}
	maps.Copy(row.Counts, had)
	for _, c := range more {
		if row.Counts[c.Score] += c.N; row.Counts[c.Score] == 0 {
			delete(row.Counts, c.Score)
		}
	}
	if len(row.Counts) == 0 {
		buckets.delete(t, id, int64(index))
	} else {
		buckets.put(t, row, id, int64(index))
	}
}

// setDirty has the numbers of a content published by the next RefreshScores.
func (t *tx) setDirty(row numbersRow) {
	if row.Dirty.IsZero() {
		row.Dirty = t.now.Truncate(time.Microsecond)
		numbers.put(t, row, row.Content)
		t.reindex(nil, dirtyKeys(row))
	}
}

// publish writes the numbers of a content, with the next revision, and returns them.
func (t *tx) publish(was numbersRow, now rating.Stats) rating.Stats {
	now.Revision, now.AsOf = was.Revision+1, t.now.Truncate(time.Microsecond)
	numbers.put(t, numbersRow{Stats: now}, now.Content)
	t.reindex(dirtyKeys(was), nil)
	if contents.has(t, now.Content) {
		t.reindex(numberKeys(now.Content, was.Stats), numberKeys(now.Content, now))
	}
	return now
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

// RefreshScores implements rating.Store. What has waited longest comes first.
func (s *Store) RefreshScores(
	ctx context.Context, limit int, compute func(rating.History) score.Score,
) ([]rating.Stats, error) {
	return s.refresh(ctx, compute, func(t *tx) (due []string) {
		for _, p := range t.rests(span{prefix: key(numbersDirty)}, limit) {
			p.time()
			due = append(due, p.text())
		}
		return due
	})
}

// RefreshScoresOf implements rating.Store.
func (s *Store) RefreshScoresOf(
	ctx context.Context, ids []string, compute func(rating.History) score.Score,
) ([]rating.Stats, error) {
	return s.refresh(ctx, compute, func(t *tx) (due []string) {
		for _, id := range unique(ids) {
			if row, _ := t.numbers(id); !row.Dirty.IsZero() {
				due = append(due, id)
			}
		}
		return due
	})
}

// refresh publishes the numbers of contents. If the transaction runs again, compute is called again
// for what has changed meanwhile.
func (s *Store) refresh(
	ctx context.Context, compute func(rating.History) score.Score, due func(*tx) []string,
) ([]rating.Stats, error) {
	histories, scores := map[string]rating.History{}, map[string]score.Score{}
	return update(ctx, s, "refresh scores", func(t *tx) (refreshed []rating.Stats, _ error) {
		for _, id := range due(t) {
			h := t.history(id)
			was, _ := t.numbers(id)
			if t.failed() {
				break
			}
			if last, ok := histories[id]; !ok || !reflect.DeepEqual(last, h) {
				histories[id], scores[id] = h, compute(h)
			}
			refreshed = append(refreshed, t.publish(was, h.Stats(id, scores[id])))
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

// mark has the numbers of a content published if there are any. A content that was rated and has none
// is dirty anyway.
func (t *tx) mark(id string) {
	if row, _ := t.numbers(id); row.Revision > 0 {
		t.setDirty(row)
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
