package memstore

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/khodnevis/khodnevis/rating"
)

// tally is what follows from the rows of one content by counting.
type tally struct {
	count, sum int64
	histogram  map[int]int64         // by score
	buckets    map[int]rating.Bucket // by index
}

func newTally() tally {
	return tally{histogram: map[int]int64{}, buckets: map[int]rating.Bucket{}}
}

// add counts r n times; a withdrawn one, or the zero Rating, counts for nothing.
func (t *tally) add(r rating.Rating, n int64) {
	if r.Withdrawn || r.Result == "" {
		return
	}
	t.count += n
	t.sum += n * int64(r.Score)
	if t.histogram[r.Score] += n; t.histogram[r.Score] == 0 {
		delete(t.histogram, r.Score)
	}
	b := t.buckets[r.Bucket]
	b.Index = r.Bucket
	b.N += n
	b.Sum += n * int64(r.Score)
	if t.buckets[r.Bucket] = b; b.N == 0 {
		delete(t.buckets, r.Bucket)
	}
}

func (t tally) equal(o tally) bool {
	return t.count == o.count && t.sum == o.sum && maps.Equal(t.histogram, o.histogram) && maps.Equal(t.buckets, o.buckets)
}

// ordered returns the buckets in ascending order.
func (t tally) ordered() []rating.Bucket {
	return slices.SortedFunc(maps.Values(t.buckets), func(a, b rating.Bucket) int { return cmp.Compare(a.Index, b.Index) })
}

// touch records that something in the Stats changed.
func (s *Store) touch(of *rated) {
	of.revision++
	of.asOf = s.now().UTC().Truncate(time.Microsecond)
}

// stats returns the numbers of a content; those of an unknown one are zero.
func (s *Store) stats(id string) rating.Stats {
	stats := rating.Stats{Content: id}
	if of := s.rated[id]; of != nil {
		stats.Count, stats.Sum, stats.Histogram = of.tally.count, of.tally.sum, of.tally.histogram
		stats.Score, stats.Revision, stats.AsOf = of.score, of.revision, of.asOf
	}
	return stats
}

// copied returns the numbers of a content for a caller to keep.
func (s *Store) copied(id string) rating.Stats {
	stats := s.stats(id)
	stats.Histogram = maps.Clone(stats.Histogram)
	return stats
}

// StatsByContent implements rating.Store.
func (s *Store) StatsByContent(ctx context.Context, ids []string) ([]rating.Stats, error) {
	if err := s.rlock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	var found []rating.Stats
	for id := range unique(ids) {
		if of := s.rated[id]; of != nil && of.revision > 0 {
			found = append(found, s.copied(id))
		}
	}
	return found, nil
}

// OpenContents implements rating.Store.
func (s *Store) OpenContents(ctx context.Context, openings []rating.Opening) ([]rating.Opening, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	recorded := make([]rating.Opening, len(openings))
	for i, o := range openings {
		if at, ok := s.openings[o.Content]; ok {
			o.At = at
		}
		s.openings[o.Content] = o.At
		recorded[i] = o
	}
	return recorded, nil
}

// RefreshScores implements rating.Store.
func (s *Store) RefreshScores(ctx context.Context, limit int, fold func(rating.History) rating.Score) ([]rating.Stats, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	claimed := least(maps.Keys(s.changed), limit, strings.Compare)
	scores := make([]rating.Score, len(claimed))
	for i, id := range claimed {
		scores[i] = fold(s.history(id))
	}
	refreshed := make([]rating.Stats, len(claimed))
	for i, id := range claimed {
		delete(s.changed, id)
		of := s.rated[id]
		of.score = scores[i]
		s.touch(of)
		refreshed[i] = s.copied(id)
	}
	return refreshed, nil
}

// RatedContents implements rating.Store.
func (s *Store) RatedContents(ctx context.Context, after string, limit int) ([]string, error) {
	if err := s.rlock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	return least(following(maps.Keys(s.rated), after), limit, strings.Compare), nil
}

// Recount implements rating.Store.
func (s *Store) Recount(ctx context.Context, ids []string) ([]rating.Drift, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var drifts []rating.Drift
	for id := range unique(ids) {
		of := s.rated[id]
		if of == nil {
			continue
		}
		counted := newTally()
		for _, r := range of.rows {
			counted.add(r, 1)
		}
		if counted.equal(of.tally) {
			continue
		}
		d := rating.Drift{Content: id, Was: s.copied(id), WasBuckets: of.tally.ordered()}
		of.tally = counted
		s.changed.add(id)
		s.touch(of)
		d.Is, d.IsBuckets = s.copied(id), of.tally.ordered()
		drifts = append(drifts, d)
	}
	return drifts, nil
}

// following leaves out of ids those up to after.
func following(ids iter.Seq[string], after string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for id := range ids {
			if id > after && !yield(id) {
				return
			}
		}
	}
}
