package storetest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/rating/score"
	"github.com/khodnevis/khodnevis/store"
)

// lastHistoryStart starts a history with the last rating.
type lastHistoryStart struct {
	store.Store
	starts sync.Map
}

func (s *lastHistoryStart) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	for _, c := range batch.Changes {
		if !c.Withdraw {
			s.starts.Store(c.Content, c.At)
		}
	}
	return s.Store.ApplyRatings(ctx, batch)
}

func (s *lastHistoryStart) HistoryByContent(ctx context.Context, id string) (rating.History, error) {
	h, err := s.Store.HistoryByContent(ctx, id)
	if at, ok := s.starts.Load(id); ok {
		h.Start = at.(time.Time)
	}
	return h, err
}

// unpublished returns the numbers of the moment.
type unpublished struct{ store.Store }

func (s unpublished) StatsByContent(ctx context.Context, ids []string) ([]rating.Stats, error) {
	found, err := s.Store.StatsByContent(ctx, ids)
	for i := range found {
		h, failed := s.HistoryByContent(ctx, found[i].Content)
		err = errors.Join(err, failed)
		now := h.Stats(found[i].Content, found[i].Score)
		now.Revision, now.AsOf = found[i].Revision, found[i].AsOf
		found[i] = now
	}
	return found, err
}

// publishesLater leaves to RefreshScores what it is asked for.
type publishesLater struct{ store.Store }

func (s publishesLater) RefreshScoresOf(
	context.Context, []string, func(rating.History) score.Score,
) ([]rating.Stats, error) {
	return nil, nil
}

// computesTwice claims each content twice.
type computesTwice struct {
	store.Store
	mu   sync.Mutex
	last []rating.Stats
}

func (s *computesTwice) RefreshScores(ctx context.Context, limit int,
	fold func(rating.History) score.Score) ([]rating.Stats, error) {
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

func (s *sharedClaims) RefreshScores(ctx context.Context, limit int,
	fold func(rating.History) score.Score) ([]rating.Stats, error) {
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

func (s unordered) RefreshScores(ctx context.Context, limit int,
	fold func(rating.History) score.Score) ([]rating.Stats, error) {
	return s.Store.RefreshScores(ctx, limit, func(h rating.History) score.Score {
		slices.Reverse(h.Buckets)
		return fold(h)
	})
}

type emptyBuckets struct{ store.Store }

func (s emptyBuckets) RefreshScores(ctx context.Context, limit int,
	fold func(rating.History) score.Score) ([]rating.Stats, error) {
	return s.Store.RefreshScores(ctx, limit, func(h rating.History) score.Score {
		h.Buckets = append(h.Buckets, score.Bucket{Index: 1 << 20})
		return fold(h)
	})
}

// unasked folds no buckets to no score.
type unasked struct{ store.Store }

func (s unasked) RefreshScores(ctx context.Context, limit int,
	fold func(rating.History) score.Score) ([]rating.Stats, error) {
	return s.Store.RefreshScores(ctx, limit, func(h rating.History) score.Score {
		if len(h.Buckets) == 0 {
			return score.Score{}
		}
		return fold(h)
	})
}

// deaf marks what changes during a fold as folded.
type deaf struct {
	store.Store
	folding atomic.Bool
	score   atomic.Value
}

func (s *deaf) RefreshScores(ctx context.Context, limit int,
	fold func(rating.History) score.Score) ([]rating.Stats, error) {
	defer s.folding.Store(false)
	return s.Store.RefreshScores(ctx, limit, func(h rating.History) score.Score {
		s.folding.Store(true)
		score := fold(h)
		s.score.Store(score)
		return score
	})
}

func (s *deaf) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	during := s.folding.Load()
	outcomes, err := s.Store.ApplyRatings(ctx, batch)
	if during {
		_, failed := s.Store.RefreshScores(ctx, 1000,
			func(rating.History) score.Score { return s.score.Load().(score.Score) })
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

// windowless hands no windows to fold.
type windowless struct{ store.Store }

func (s windowless) RefreshScores(ctx context.Context, limit int,
	fold func(rating.History) score.Score) ([]rating.Stats, error) {
	return s.Store.RefreshScores(ctx, limit, func(h rating.History) score.Score {
		h.Windows = nil
		return fold(h)
	})
}

// lazyWindows records windows, and nobody folds their contents for it.
type lazyWindows struct{ store.Store }

func (s lazyWindows) AddWindow(ctx context.Context, w rating.Window) error {
	if err := s.Store.AddWindow(ctx, w); err != nil {
		return err
	}
	_, err := s.Store.RefreshScores(ctx, 1000, func(h rating.History) score.Score {
		var sum, n int64
		for _, b := range h.Buckets {
			n, sum = n+b.Ratings(), sum+b.Sum()
		}
		return score.Score{Value: float64(sum), Counted: float64(n), Computed: true}
	})
	return err
}

// eternalWindows does not mind what is removed.
type eternalWindows struct{ store.Store }

func (s eternalWindows) RemoveWindow(context.Context, string, string) error { return nil }

// marksNothing forgets to mark.
type marksNothing struct{ store.Store }

func (s marksNothing) MarkChanged(context.Context, []string) error { return nil }

// unopened does not say when a history opened.
type unopened struct{ store.Store }

func (s unopened) HistoryByContent(ctx context.Context, id string) (rating.History, error) {
	h, err := s.Store.HistoryByContent(ctx, id)
	h.Start = time.Time{}
	return h, err
}

// haunted keeps the windows of deleted contents.
type haunted struct {
	store.Store
	mu      sync.Mutex
	windows []rating.Window
}

func (s *haunted) AddWindow(ctx context.Context, w rating.Window) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.windows = append(s.windows, w)
	return s.Store.AddWindow(ctx, w)
}

func (s *haunted) HistoryByContent(ctx context.Context, id string) (rating.History, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, err := s.Store.HistoryByContent(ctx, id)
	h.Windows = slices.DeleteFunc(slices.Clone(s.windows), func(w rating.Window) bool { return w.Content != id })
	return h, err
}
