package storetest_test

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"strings"
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
	return append(outcomes, rating.Outcome{Result: rating.Created, Rating: rating.Rating{Key: last.Key, Score: last.Score, Version: last.Version}}), err
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

// lossy keeps counts of its own, read before and written after an update, as a transaction without locks does.
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

type firstCreation struct {
	store.Store
	first sync.Map
}

func (s *firstCreation) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	outcomes, err := s.Store.ApplyRatings(ctx, batch)
	for _, o := range outcomes {
		if o.Result == rating.Created {
			s.first.LoadOrStore(o.Rating.Key, o.Rating.CreatedAt)
		}
	}
	return outcomes, err
}

func (s *firstCreation) RatingsByKey(ctx context.Context, keys []rating.Key) ([]rating.Rating, error) {
	found, err := s.Store.RatingsByKey(ctx, keys)
	for i, r := range found {
		if at, ok := s.first.Load(r.Key); ok {
			found[i].CreatedAt = at.(time.Time)
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
		if slices.ContainsFunc(before, func(r rating.Rating) bool { return r.Key == c.Key && r.Version == c.Version }) {
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
	for _, r := range batch.Rejected {
		s.bodies.Store(r.Position, r.Body)
	}
	return s.Store.ApplyRatings(ctx, batch)
}

func (s *sharedBody) ListRejected(ctx context.Context, q rating.RejectedQuery) ([]rating.Rejected, error) {
	found, err := s.Store.ListRejected(ctx, q)
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
	slices.SortFunc(listed, func(a, b rating.Rating) int { return cmp.Or(b.UpdatedAt.Compare(a.UpdatedAt), a.Compare(b.Key)) })
	if q.After != nil {
		at := slices.IndexFunc(listed, func(r rating.Rating) bool { return r.Key == q.After.Key })
		listed = listed[at+1:]
	}
	return listed[:min(q.Limit, len(listed))], err
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

type lastOpening struct{ store.Store }

func (s lastOpening) OpenContents(_ context.Context, openings []rating.Opening) ([]rating.Opening, error) {
	return slices.Clone(openings), nil
}

// foldsTwice claims each content twice.
type foldsTwice struct {
	store.Store
	mu   sync.Mutex
	last []rating.Stats
}

func (s *foldsTwice) RefreshScores(ctx context.Context, limit int, fold func([]rating.Bucket) rating.Score) ([]rating.Stats, error) {
	refreshed, err := s.Store.RefreshScores(ctx, limit, fold)
	s.mu.Lock()
	defer s.mu.Unlock()
	again := s.last[:min(len(s.last), limit-len(refreshed))]
	s.last = slices.Clone(refreshed)
	return append(refreshed, again...), err
}

// sharedClaims gives what one caller claims to the next one too.
type sharedClaims struct {
	store.Store
	mu    sync.Mutex
	calls int
	last  []rating.Stats
}

func (s *sharedClaims) RefreshScores(ctx context.Context, limit int, fold func([]rating.Bucket) rating.Score) ([]rating.Stats, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls++; s.calls%2 == 0 && len(s.last) > 0 {
		last := s.last
		s.last = nil
		return last, nil
	}
	refreshed, err := s.Store.RefreshScores(ctx, limit, fold)
	s.last = slices.Clone(refreshed)
	return refreshed, err
}

type unordered struct{ store.Store }

func (s unordered) RefreshScores(ctx context.Context, limit int, fold func([]rating.Bucket) rating.Score) ([]rating.Stats, error) {
	return s.Store.RefreshScores(ctx, limit, func(buckets []rating.Bucket) rating.Score {
		slices.Reverse(buckets)
		return fold(buckets)
	})
}

type emptyBuckets struct{ store.Store }

func (s emptyBuckets) RefreshScores(ctx context.Context, limit int, fold func([]rating.Bucket) rating.Score) ([]rating.Stats, error) {
	return s.Store.RefreshScores(ctx, limit, func(buckets []rating.Bucket) rating.Score {
		return fold(append(buckets, rating.Bucket{Index: 1 << 20}))
	})
}

// deaf marks what changes during a fold as folded.
type deaf struct {
	store.Store
	folding atomic.Bool
	score   atomic.Value
}

func (s *deaf) RefreshScores(ctx context.Context, limit int, fold func([]rating.Bucket) rating.Score) ([]rating.Stats, error) {
	defer s.folding.Store(false)
	return s.Store.RefreshScores(ctx, limit, func(buckets []rating.Bucket) rating.Score {
		s.folding.Store(true)
		score := fold(buckets)
		s.score.Store(score)
		return score
	})
}

func (s *deaf) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	during := s.folding.Load()
	outcomes, err := s.Store.ApplyRatings(ctx, batch)
	if during {
		_, failed := s.Store.RefreshScores(ctx, 1000, func([]rating.Bucket) rating.Score { return s.score.Load().(rating.Score) })
		err = errors.Join(err, failed)
	}
	return outcomes, err
}

type alarmist struct{ store.Store }

func (s alarmist) Recount(ctx context.Context, ids []string) ([]rating.Drift, error) {
	drifts, err := s.Store.Recount(ctx, ids)
	for _, id := range ids {
		drifts = append(drifts, rating.Drift{Content: id})
	}
	return drifts, err
}

type caselessIDs struct{ store.Store }

func (s caselessIDs) RatedContents(ctx context.Context, after string, limit int) ([]string, error) {
	all, err := s.Store.RatedContents(ctx, "", 10_000)
	all = slices.DeleteFunc(all, func(id string) bool { return strings.ToLower(id) <= strings.ToLower(after) })
	slices.SortFunc(all, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return all[:min(limit, len(all))], err
}

type shrinking struct{ store.Store }

func (s shrinking) StreamEpoch(ctx context.Context, stream string) (int64, error) {
	epoch, err := s.Store.StreamEpoch(ctx, stream)
	return 1000 - epoch, err
}

type newEpochs struct {
	store.Store
	last atomic.Int64
}

func (s *newEpochs) StreamEpoch(context.Context, string) (int64, error) { return s.last.Add(1), nil }

type twiceClaimed struct {
	store.Store
	last sync.Map
}

func (s *twiceClaimed) ClaimTick(ctx context.Context, job string, at time.Time, lease time.Duration) (bool, error) {
	ok, err := s.Store.ClaimTick(ctx, job, at, lease)
	if ok {
		s.last.Store(job, at)
	}
	last, _ := s.last.Load(job)
	return ok || last == at, err
}

type leaseless struct {
	store.Store
	last sync.Map
}

func (s *leaseless) ClaimTick(ctx context.Context, job string, at time.Time, lease time.Duration) (bool, error) {
	if last, ok := s.last.Load(job); ok {
		if err := s.ReleaseTick(ctx, job, last.(time.Time)); err != nil {
			return false, err
		}
	}
	ok, err := s.Store.ClaimTick(ctx, job, at, lease)
	if ok {
		s.last.Store(job, at)
	}
	return ok, err
}

type endlessLease struct{ store.Store }

func (s endlessLease) ClaimTick(ctx context.Context, job string, at time.Time, _ time.Duration) (bool, error) {
	return s.Store.ClaimTick(ctx, job, at, time.Hour)
}

type anyRelease struct {
	store.Store
	last sync.Map
}

func (s *anyRelease) ClaimTick(ctx context.Context, job string, at time.Time, lease time.Duration) (bool, error) {
	ok, err := s.Store.ClaimTick(ctx, job, at, lease)
	if ok {
		s.last.Store(job, at)
	}
	return ok, err
}

func (s *anyRelease) ReleaseTick(ctx context.Context, job string, at time.Time) error {
	if last, ok := s.last.Load(job); ok {
		at = last.(time.Time)
	}
	return s.Store.ReleaseTick(ctx, job, at)
}

type recordsAgain struct {
	store.Store
	times atomic.Int64
}

func (s *recordsAgain) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	batch.Rejected = slices.Clone(batch.Rejected)
	for i := range batch.Rejected {
		batch.Rejected[i].Position.Offset += 1000 * s.times.Add(1)
	}
	return s.Store.ApplyRatings(ctx, batch)
}

type renumbering struct{ store.Store }

func (s renumbering) ListRejected(ctx context.Context, q rating.RejectedQuery) ([]rating.Rejected, error) {
	found, err := s.Store.ListRejected(ctx, q)
	for i := range found {
		found[i].ID = int64(i + 1)
	}
	return found, err
}

func (s renumbering) RemoveRejected(ctx context.Context, ids []int64) error {
	found, err := s.Store.ListRejected(ctx, rating.RejectedQuery{Limit: 1000})
	if err != nil {
		return err
	}
	var meant []int64
	for i, r := range found {
		if slices.Contains(ids, int64(i+1)) {
			meant = append(meant, r.ID)
		}
	}
	return s.Store.RemoveRejected(ctx, meant)
}

type sweepsLive struct{ store.Store }

func (s sweepsLive) SweepRatings(ctx context.Context, before time.Time, limit int) (int, error) {
	old, err := s.ListRatings(ctx, rating.Query{Filter: rating.Filter{UpdatedBefore: before}, Limit: 100})
	if err != nil {
		return 0, err
	}
	var batch rating.Batch
	for _, r := range old {
		version := r.Version
		version.Offset++
		batch.Changes = append(batch.Changes, rating.Change{Key: r.Key, Version: version, Withdraw: true, At: r.UpdatedAt})
	}
	if _, err := s.ApplyRatings(ctx, batch); err != nil {
		return 0, err
	}
	return s.Store.SweepRatings(ctx, before, limit)
}

type sweepsAll struct{ store.Store }

func (s sweepsAll) SweepRatings(ctx context.Context, before time.Time, _ int) (int, error) {
	return s.Store.SweepRatings(ctx, before, 1000)
}

func (s sweepsAll) SweepSessions(ctx context.Context, before time.Time, _ int) (int, error) {
	return s.Store.SweepSessions(ctx, before, 1000)
}
