package storetest_test

import (
	"context"
	"slices"
	"sync"

	"github.com/khodnevis/khodnevis/rating"
	"github.com/khodnevis/khodnevis/store"
)

// losing only withdraws.
type losing struct{ store.Store }

func (s *losing) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	batch.Changes = slices.Clone(batch.Changes)
	for i := range batch.Changes {
		batch.Changes[i].ReassignTo = ""
	}
	return s.Store.ApplyRatings(ctx, batch)
}

// retimed withdraws, and gives the same rating anew.
type retimed struct {
	store.Store
	mu sync.Mutex
}

func (s *retimed) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var again []rating.Change
	for _, c := range batch.Changes {
		found, err := s.RatingsByKey(ctx, []rating.Key{c.Key})
		if err != nil {
			return nil, err
		}
		if c.ReassignTo != "" && len(found) == 1 && !found[0].Withdrawn {
			again = append(again, rating.Change{Key: rating.Key{Content: c.Content, Rater: c.ReassignTo},
				Version: c.Version, Score: found[0].Score, At: c.At})
		}
	}
	outcomes, err := (&losing{s.Store}).ApplyRatings(ctx, batch)
	if err == nil {
		_, err = s.Store.ApplyRatings(ctx, rating.Batch{Changes: again})
	}
	return outcomes, err
}

// recounted shows a new revision after ratings were handed over.
type recounted struct {
	store.Store
	mu    sync.Mutex
	extra map[string]int64
}

func (s *recounted) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.extra == nil {
		s.extra = map[string]int64{}
	}
	for _, c := range batch.Changes {
		if c.ReassignTo != "" {
			s.extra[c.Content]++
		}
	}
	return s.Store.ApplyRatings(ctx, batch)
}

func (s *recounted) StatsByContent(ctx context.Context, ids []string) ([]rating.Stats, error) {
	found, err := s.Store.StatsByContent(ctx, ids)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range found {
		found[i].Revision += s.extra[found[i].Content]
	}
	return found, err
}

// generous remembers what it has withdrawn, and hands it over whoever asks again.
type generous struct {
	store.Store
	mu   sync.Mutex
	last map[rating.Key]rating.Rating
}

func (s *generous) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = map[rating.Key]rating.Rating{}
	}
	var again []rating.Change
	for _, c := range batch.Changes {
		found, err := s.RatingsByKey(ctx, []rating.Key{c.Key})
		if err != nil {
			return nil, err
		}
		if len(found) == 1 && !found[0].Withdrawn {
			s.last[c.Key] = found[0]
		} else if r, ok := s.last[c.Key]; ok && c.ReassignTo != "" {
			again = append(again, rating.Change{Key: rating.Key{Content: c.Content, Rater: c.ReassignTo + "+"},
				Version: c.Version, Score: r.Score, At: r.UpdatedAt})
		}
	}
	outcomes, err := s.Store.ApplyRatings(ctx, batch)
	if err == nil {
		_, err = s.Store.ApplyRatings(ctx, rating.Batch{Changes: again})
	}
	return outcomes, err
}

// overwriting makes room for what is handed over.
type overwriting struct{ store.Store }

func (s overwriting) ApplyRatings(ctx context.Context, batch rating.Batch) ([]rating.Outcome, error) {
	var changes []rating.Change
	for _, c := range batch.Changes {
		if c.ReassignTo == "" {
			continue
		}
		found, err := s.RatingsByKey(ctx, []rating.Key{c.Key})
		if err != nil {
			return nil, err
		}
		if len(found) == 1 && !found[0].Withdrawn {
			changes = append(changes, rating.Change{Key: rating.Key{Content: c.Content, Rater: c.ReassignTo},
				Version: c.Version, Score: found[0].Score, At: found[0].UpdatedAt})
		}
	}
	outcomes, err := (&losing{s.Store}).ApplyRatings(ctx, batch)
	if err == nil {
		_, err = s.Store.ApplyRatings(ctx, rating.Batch{Changes: changes})
	}
	return outcomes, err
}
