package storetest_test

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

type dropping struct{ store.Store }

func (s dropping) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	n := len(batch.Changes)
	if n < 2 {
		return s.Store.ApplyRatings(ctx, batch)
	}
	last := batch.Changes[n-1]
	batch.Changes = batch.Changes[:n-1]
	outcomes, err := s.Store.ApplyRatings(ctx, batch)
	return append(outcomes, rating.Outcome{Result: rating.Created,
		Rating: rating.Rating{Key: last.Key, Score: last.Score, Version: last.Version}}), err
}

type lastWins struct {
	store.Store
	epoch atomic.Int64
}

func (s *lastWins) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	batch.Changes = slices.Clone(batch.Changes)
	for i := range batch.Changes {
		batch.Changes[i].Version.Epoch = s.epoch.Add(1)
	}
	outcomes, err := s.Store.ApplyRatings(ctx, batch)
	for i := range outcomes {
		outcomes[i].Rating.Version.Epoch = 1
	}
	return outcomes, err
}

type oneEpoch struct{ store.Store }

func (s oneEpoch) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	batch.Changes = slices.Clone(batch.Changes)
	for i := range batch.Changes {
		batch.Changes[i].Version.Epoch = 1
	}
	return s.Store.ApplyRatings(ctx, batch)
}

type countsTwice struct {
	store.Store
	seen, extra sync.Map
}

func (s *countsTwice) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	for _, c := range batch.Changes {
		if _, again := s.seen.LoadOrStore(c, true); again {
			s.extra.Store(c.Content, true)
		}
	}
	return s.Store.ApplyRatings(ctx, batch)
}

func (s *countsTwice) StatsByContent(ctx context.Context, ids []string) ([]rating.Stats, error) {
	found, err := s.Store.StatsByContent(ctx, ids)
	for i, stats := range found {
		if _, ok := s.extra.Load(stats.Content); ok {
			found[i].Count++
		}
	}
	return found, err
}

// lossy keeps counts of its own, read before and written after an update, as a transaction without
// locks does.
type lossy struct {
	store.Store
	counts sync.Map
}

func (s *lossy) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	before := map[string]int64{}
	for _, c := range batch.Changes {
		if n, ok := s.counts.Load(c.Content); ok {
			before[c.Content] = n.(int64)
		} else {
			before[c.Content] = 0
		}
	}
	outcomes, err := s.Store.ApplyRatings(ctx, batch)
	runtime.Gosched()
	for _, o := range outcomes {
		switch o.Result {
		case rating.Created:
			before[o.Rating.Content]++
		case rating.Withdrawn:
			before[o.Rating.Content]--
		}
	}
	for id, n := range before {
		s.counts.Store(id, n)
	}
	return outcomes, err
}

func (s *lossy) StatsByContent(ctx context.Context, ids []string) ([]rating.Stats, error) {
	found, err := s.Store.StatsByContent(ctx, ids)
	for i := range found {
		if n, ok := s.counts.Load(found[i].Content); ok {
			found[i].Count = n.(int64)
		}
	}
	return found, err
}

type moving struct {
	store.Store
	moved sync.Map
}

func (s *moving) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	outcomes, err := s.Store.ApplyRatings(ctx, batch)
	for i, o := range outcomes {
		if o.Result == rating.Unchanged {
			s.moved.Store(o.Rating.Key, batch.Changes[i].At)
			outcomes[i].Rating.UpdatedAt = batch.Changes[i].At
		}
	}
	return outcomes, err
}

func (s *moving) RatingsByKey(ctx context.Context, keys []rating.Key) ([]rating.Rating, error) {
	found, err := s.Store.RatingsByKey(ctx, keys)
	for i, r := range found {
		if at, ok := s.moved.Load(r.Key); ok && r.Result == rating.Unchanged {
			found[i].UpdatedAt = at.(time.Time)
		}
	}
	return found, err
}

type firstRecord struct {
	store.Store
	first sync.Map
}

func (s *firstRecord) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	outcomes, err := s.Store.ApplyRatings(ctx, batch)
	for _, o := range outcomes {
		if o.Result == rating.Created {
			s.first.LoadOrStore(o.Rating.Key, o.Rating.CreatedAt)
		}
	}
	return outcomes, err
}

func (s *firstRecord) RatingsByKey(ctx context.Context, keys []rating.Key) ([]rating.Rating, error) {
	found, err := s.Store.RatingsByKey(ctx, keys)
	for i, r := range found {
		if at, ok := s.first.Load(r.Key); ok {
			found[i].CreatedAt = at.(time.Time)
		}
	}
	return found, err
}

// firstUpdate keeps the time of the first change of a rating where it is withdrawn.
type firstUpdate struct {
	store.Store
	first sync.Map
}

func (s *firstUpdate) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	for _, c := range batch.Changes {
		s.first.LoadOrStore(c.Key, c.At)
	}
	return s.Store.ApplyRatings(ctx, batch)
}

func (s *firstUpdate) RatingsByKey(ctx context.Context, keys []rating.Key) ([]rating.Rating, error) {
	found, err := s.Store.RatingsByKey(ctx, keys)
	for i, r := range found {
		if at, ok := s.first.Load(r.Key); ok && r.Withdrawn {
			found[i].UpdatedAt = at.(time.Time)
		}
	}
	return found, err
}

type forgetful struct{ store.Store }

func (s forgetful) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	var keys []rating.Key
	for _, c := range batch.Changes {
		keys = append(keys, c.Key)
	}
	before, err := s.RatingsByKey(ctx, keys)
	if err != nil {
		return nil, err
	}
	outcomes, err := s.Store.ApplyRatings(ctx, batch)
	for i, c := range batch.Changes {
		if slices.ContainsFunc(before, func(r rating.Rating) bool {
			return r.Key == c.Key &&
				r.Version == c.Version
		}) {
			outcomes[i].Result = rating.Superseded
		}
	}
	return outcomes, err
}

type sorting struct{ store.Store }

func (s sorting) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	outcomes, err := s.Store.ApplyRatings(ctx, batch)
	slices.SortFunc(outcomes, func(a, b rating.Outcome) int { return a.Rating.Compare(b.Rating.Key) })
	return outcomes, err
}

type halving struct{ store.Store }

func (s halving) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	if err := ctx.Err(); err != nil {
		batch.Changes = batch.Changes[:len(batch.Changes)/2]
		_, failed := s.Store.ApplyRatings(context.WithoutCancel(ctx), batch)
		return nil, errors.Join(err, failed)
	}
	return s.Store.ApplyRatings(ctx, batch)
}

type sharedHistogram struct {
	store.Store
	mu     sync.Mutex
	shared map[string]map[int]int64
}

func (s *sharedHistogram) StatsByContent(ctx context.Context, ids []string) ([]rating.Stats, error) {
	found, err := s.Store.StatsByContent(ctx, ids)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shared == nil {
		s.shared = map[string]map[int]int64{}
	}
	for i, stats := range found {
		if s.shared[stats.Content] == nil {
			s.shared[stats.Content] = maps.Clone(stats.Histogram)
		}
		found[i].Histogram = s.shared[stats.Content]
	}
	return found, err
}

type sharedBody struct {
	store.Store
	bodies sync.Map
}

func (s *sharedBody) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	for _, r := range batch.DeadLetters {
		s.bodies.Store(r.Position, r.Body)
	}
	return s.Store.ApplyRatings(ctx, batch)
}

func (s *sharedBody) ListDeadLetters(ctx context.Context, q rating.DeadLetterQuery) ([]rating.DeadLetter, error) {
	found, err := s.Store.ListDeadLetters(ctx, q)
	for i, r := range found {
		if body, ok := s.bodies.Load(r.Position); ok {
			found[i].Body = body.([]byte)
		}
	}
	return found, err
}

type unrefusing struct{ store.Store }

func (s unrefusing) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	outcomes, err := s.Store.ApplyRatings(ctx, batch)
	for i, o := range outcomes {
		if o.Refused {
			outcomes[i] = rating.Outcome{Result: rating.Superseded}
		}
	}
	return outcomes, err
}

type hiding struct{ store.Store }

func (s hiding) RatingsByKey(ctx context.Context, keys []rating.Key) ([]rating.Rating, error) {
	found, err := s.Store.RatingsByKey(ctx, keys)
	return slices.DeleteFunc(found, func(r rating.Rating) bool { return r.Withdrawn }), err
}

type ratingGap struct{ store.Store }

func (s ratingGap) ListRatings(ctx context.Context, q rating.Query) ([]rating.Rating, error) {
	if q.After == nil {
		return s.Store.ListRatings(ctx, q)
	}
	q.Limit++
	listed, err := s.Store.ListRatings(ctx, q)
	return listed[min(1, len(listed)):], err
}

type ratingTies struct{ store.Store }

func (s ratingTies) ListRatings(ctx context.Context, q rating.Query) ([]rating.Rating, error) {
	if q.Order != rating.NewestFirst {
		return s.Store.ListRatings(ctx, q)
	}
	all := q
	all.After, all.Limit = nil, 10_000
	listed, err := s.Store.ListRatings(ctx, all)
	slices.SortFunc(listed, func(a,
		b rating.Rating) int {
		return cmp.Or(b.UpdatedAt.Compare(a.UpdatedAt), a.Compare(b.Key))
	})
	if q.After != nil {
		at := slices.IndexFunc(listed, func(r rating.Rating) bool { return r.Key == q.After.Key })
		listed = listed[at+1:]
	}
	return listed[:min(q.Limit, len(listed))], err
}

type groupedRatings struct{ store.Store }

func (s groupedRatings) ListRatings(ctx context.Context, q rating.Query) ([]rating.Rating, error) {
	listed, err := s.Store.ListRatings(ctx, q)
	if q.Filter.Content == "" {
		slices.SortStableFunc(listed, func(a, b rating.Rating) int { return cmp.Compare(a.Content, b.Content) })
	}
	return listed, err
}

type openBound struct{ store.Store }

func (s openBound) ListRatings(ctx context.Context, q rating.Query) ([]rating.Rating, error) {
	if q.Filter.ScoreMax != nil {
		below := *q.Filter.ScoreMax - 1
		q.Filter.ScoreMax = &below
	}
	return s.Store.ListRatings(ctx, q)
}

type countsWithdrawn struct{ store.Store }

func (s countsWithdrawn) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	batch.Changes = slices.DeleteFunc(slices.Clone(batch.Changes), func(c rating.Change) bool { return c.Withdraw })
	outcomes, err := s.Store.ApplyRatings(ctx, batch)
	for len(outcomes) < 2 {
		outcomes = append(outcomes, rating.Outcome{})
	}
	return outcomes, err
}

type oneRevision struct{ store.Store }

func (s oneRevision) StatsByContent(ctx context.Context, ids []string) ([]rating.Stats, error) {
	found, err := s.Store.StatsByContent(ctx, ids)
	for i := range found {
		found[i].Revision = 1
	}
	return found, err
}

type faithful struct{ store.Store }

func (faithful) EraseContent(context.Context, string) error { return nil }

type forgetsOnce struct{ store.Store }

func (s forgetsOnce) EraseContent(ctx context.Context, id string) error {
	stats, err := s.Store.StatsByContent(ctx, []string{id})
	if err != nil || len(stats) == 0 {
		return errors.Join(err, rating.ErrNotFound)
	}
	return s.Store.EraseContent(ctx, id)
}
